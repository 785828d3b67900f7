//! Places where passwords and codes can be guessed, as often as nothing limits it, and limits that a client gets around.

use portcullis_engine::config::schema::Mode;
use portcullis_engine::http::Method;
use portcullis_engine::matching::HostPattern;
use portcullis_engine::policy::{KeyPart, Limit, Overflow, Policy, Rule, Who};
use serde_json::Value;

use super::finding::{Notes, Severity};

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

/// Adds warnings about rules and limits that let somebody guess, and hints about limits that a client gets around.
pub fn check(policy: &Policy, document: &Value, notes: &mut Notes<'_>) {
    for (index, (meets, rule)) in policy.index.rules().iter().zip(&policy.rules).enumerate() {
        let takes_posts = meets.methods.is_empty() || meets.methods.contains(&Method::Post);
        if !takes_posts || rule.who == Who::Nobody || rule.serve.is_some() {
            continue;
        }
        // Guesses come one after the other too: what is in flight limits nothing.
        let guards: Vec<&Limit> = limits_of(policy, rule).filter(|limit| !limit.is_in_flight()).collect();
        // Where all of the gateway is watched, everybody knows that nothing is refused yet.
        let refuses = |limit: &&Limit| policy.mode == Mode::Monitor || !is_watched(rule, limit);
        if guards.iter().any(refuses) {
            continue;
        }
        let fields = ["path", "prefix", "regex"];
        let written = fields.iter().find_map(|field| {
            let path = document.pointer(&format!("/rules/{index}/match/{field}"))?.as_str()?;
            Some((field, guessable(path)?))
        });
        let Some((field, word)) = written else { continue };
        let at = format!("rules[{index}].match.{field}");
        if guards.is_empty() {
            let problem = format!("nothing limits how often a client may try ({word:?})");
            notes.warn(&at, problem, "name a limit with the key `ip` in the rule's `limits`");
            continue;
        }
        let names = guards.iter().map(|limit| format!("{:?}", limit.name)).collect::<Vec<_>>().join(", ");
        let problem = format!("nothing limits how often a client may try ({word:?}): {names} is only watched");
        let hint = match rule.mode {
            Mode::Monitor => "the rule is in monitor mode: write `mode: enforce` there once you have seen enough",
            Mode::Enforce => "the limit is in monitor mode: write `mode: enforce` there, or name another one beside it",
        };
        notes.warn(&at, problem, hint);
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
        keys_that_clients_write(policy, limit, notes);
    }
}

/// The limits of a rule.
fn limits_of<'a>(policy: &'a Policy, rule: &'a Rule) -> impl Iterator<Item = &'a Limit> {
    rule.limits_by_address.iter().chain(&rule.limits_by_principal).filter_map(|index| policy.limits.get(*index))
}

fn is_watched(rule: &Rule, limit: &Limit) -> bool {
    rule.mode == Mode::Monitor || limit.mode == Mode::Monitor
}

/// A limit of which a client gets another counter whenever it writes something else, unless one beside it bounds that.
fn keys_that_clients_write(policy: &Policy, limit: &Limit, notes: &mut Notes<'_>) {
    let Some(written) = written_by_clients(policy, limit) else { return };
    let rules = || policy.rules.iter().filter(|rule| limits_of(policy, rule).any(|one| one.name == limit.name));
    let has_another = |rule: &Rule| {
        let is_plain = |other: &Limit| other.key.parts().any(is_fixed) && written_by_clients(policy, other).is_none();
        limits_of(policy, rule).any(|other| !other.is_in_flight() && is_plain(other) && !is_watched(rule, other))
    };
    if rules().next().is_none() || rules().all(has_another) {
        return;
    }
    let who = if limit.key.reads_address() { "one address" } else { "a client" };
    let filled = match limit.overflow {
        Overflow::Deny => "; once they fill the table, others are refused",
        Overflow::Allow | Overflow::SharedBucket => "",
    };
    let problem = format!("{who} gets a new counter with each new value of `{written}`, which clients write{filled}");
    let hint = "name a limit by `ip` or by an identity beside it; where a proxy in front sets the value, it must overwrite what clients send";
    notes.add(Severity::Hint, &format!("limits.{}.key", limit.name), problem, hint);
}

/// The part of a limit's key that clients write, where that gives them more counters; `None` also for what is warned of already.
fn written_by_clients(policy: &Policy, limit: &Limit) -> Option<String> {
    let is_identity = |choice: &[KeyPart]| choice.iter().all(|part| is_fixed(part) && !matches!(part, KeyPart::Ip(_)));
    // A caller who has shown who he is can be called to account.
    if !limit.key.reads_address() && limit.key.choices().iter().any(|choice| is_identity(choice)) {
        return None;
    }
    let names_hosts = |index: usize| {
        let meets = policy.index.rules().get(index);
        meets.is_some_and(|m| !m.hosts.is_empty() && m.hosts.iter().all(|host| matches!(host, HostPattern::Exact(_))))
    };
    let mut found = limit.key.choices().iter().flat_map(|choice| {
        // Every request has an address: what stands behind it is never asked.
        choice.iter().take_while(|part| !matches!(part, KeyPart::Ip(_)))
    });
    let is_written = |part: &KeyPart| match part {
        KeyPart::Header(name) => !ADDRESS_HEADERS.contains(&name.as_str()),
        KeyPart::Query(_) => true,
        KeyPart::Host => policy
            .rules
            .iter()
            .enumerate()
            .any(|(index, rule)| !names_hosts(index) && limits_of(policy, rule).any(|one| one.name == limit.name)),
        _ => false,
    };
    found.find(|part| is_written(part)).map(KeyPart::text)
}

/// Whether a part of a key is not for the client to choose.
fn is_fixed(part: &KeyPart) -> bool {
    matches!(part, KeyPart::Ip(_) | KeyPart::Principal | KeyPart::ClientId | KeyPart::ApiKey | KeyPart::Claim(_))
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
