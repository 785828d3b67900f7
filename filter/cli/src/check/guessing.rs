//! Places where passwords and codes can be guessed, as often as nothing limits it.

use portcullis_engine::http::Method;
use portcullis_engine::policy::{KeyPart, Policy, Who};
use serde_json::Value;

use super::finding::Notes;

/// Words of a path below which a secret is tried.
const WORDS: &[&str] = &[
    "login",
    "logon",
    "signin",
    "signup",
    "authenticate",
    "token",
    "tokens",
    "password",
    "passwords",
    "passwd",
    "otp",
    "totp",
    "mfa",
    "2fa",
    "pin",
    "verify",
    "recover",
    "recovery",
];

/// Headers in which a client can name any address.
const ADDRESS_HEADERS: &[&str] =
    &["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip"];

/// Adds warnings about rules and limits that let somebody guess.
pub fn check(policy: &Policy, document: &Value, notes: &mut Notes<'_>) {
    for (index, (meets, rule)) in policy.index.rules().iter().zip(&policy.rules).enumerate() {
        let takes_posts = meets.methods.is_empty() || meets.methods.contains(&Method::Post);
        // Guesses come one after the other too: what is in flight limits nothing.
        let counts = |index: &usize| policy.limits.get(*index).is_some_and(|limit| !limit.is_in_flight());
        let limited = rule.limits_by_address.iter().chain(&rule.limits_by_principal).any(counts);
        if limited || !takes_posts || rule.who == Who::Nobody || rule.serve.is_some() {
            continue;
        }
        let fields = ["path", "prefix", "regex"];
        let written = fields.iter().find_map(|field| {
            let path = document.pointer(&format!("/rules/{index}/match/{field}"))?.as_str()?;
            Some((field, guessable(path)?))
        });
        if let Some((field, word)) = written {
            let problem = format!("nothing limits how often a client may try ({word:?})");
            let hint = "name a limit with the key `ip` in the rule's `limits`";
            notes.warn(&format!("rules[{index}].match.{field}"), problem, hint);
        }
    }
    for limit in &policy.limits {
        for part in limit.key.parts() {
            if let KeyPart::Header(name) = part
                && ADDRESS_HEADERS.contains(&name.as_str())
            {
                let problem = format!("a client writes into {name:?} what it likes, and is counted anew each time");
                notes.warn(&format!("limits.{}.key", limit.name), problem, "count by `ip`: Envoy knows the address");
            }
        }
    }
}

/// The word of a path that says that secrets are tried there.
fn guessable(path: &str) -> Option<String> {
    let path = path.to_ascii_lowercase().replace("sign-in", "signin").replace("log-in", "login");
    // A variable, `{token}`, names what stands there, not what is done.
    let words = path.split('/').filter(|segment| !segment.starts_with('{'));
    let mut words = words.flat_map(|segment| segment.split(|c: char| !c.is_ascii_alphanumeric()));
    words.find(|word| WORDS.contains(word)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_of_a_path_tell() {
        for (path, word) in [
            ("/login", Some("login")),
            ("/v1/sign-in/**", Some("signin")),
            ("/oauth2/token", Some("token")),
            ("/account/reset_password", Some("password")),
            ("/orders/{token}", None),
            ("/shopping/**", None),
            ("/pinboard", None),
        ] {
            assert_eq!(guessable(path).as_deref(), word, "{path}");
        }
    }
}
