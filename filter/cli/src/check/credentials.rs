//! Credentials that are worth less than they look: secrets in the open, clients that have ended, scopes that nobody has.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_engine::config::document::member_path;
use portcullis_engine::policy::{Policy, Provider, ProviderKind, Who};
use portcullis_engine::time::{UnixNanos, parse_rfc3339};
use serde_json::Value;

use super::finding::Notes;

/// Beyond this a token lives on noticeably after its end.
const LONG_LEEWAY: Duration = Duration::from_secs(120);

/// Adds warnings about the credentials that the policy of `document` takes.
pub fn check(policy: &Policy, document: &Value, notes: &mut Notes<'_>) {
    for provider in &policy.providers {
        let path = member_path("providers", &provider.name);
        let Some(written) = document.get("providers").and_then(|providers| providers.get(&provider.name)) else {
            continue;
        };
        secrets_in_the_open(&path, written, notes);
        clients(&path, written, notes);
        certificates(&path, written, notes);
        if let ProviderKind::Jwt(jwt) = &provider.kind
            && jwt.verifier.leeway > LONG_LEEWAY
        {
            let problem = format!("a token is taken for {} s after its end", jwt.verifier.leeway.as_secs());
            notes.warn(&format!("{path}.claims.leeway"), problem, "clocks differ by seconds: `30s` is enough");
        }
        if written.pointer("/introspection/on_error").and_then(Value::as_str) == Some("allow") {
            let problem = "while the provider cannot be asked, every token passes unchecked";
            notes.warn(&format!("{path}.introspection.on_error"), problem, "leave it at `deny`");
        }
    }
    for (at, key) in [("/internal_tokens/key", "internal_tokens.key")] {
        if document.pointer(&format!("{at}/inline")).is_some() {
            secret_in_the_open(&format!("{key}.inline"), "the gateway's signing key", notes);
        }
    }
    scopes_that_nobody_has(policy, document, notes);
}

fn secret_in_the_open(path: &str, what: &str, notes: &mut Notes<'_>) {
    let problem = format!("{what} stands in the configuration, and so in Envoy's config dump");
    notes.warn(path, problem, "write `env: NAME`, and pass the variable on to the filter's VM");
}

fn secrets_in_the_open(path: &str, written: &Value, notes: &mut Notes<'_>) {
    if written.pointer("/introspection/client_secret/inline").is_some() {
        secret_in_the_open(&format!("{path}.introspection.client_secret.inline"), "the gateway's own secret", notes);
    }
    let keys = written.pointer("/jwks/inline/keys").and_then(Value::as_array);
    let is_secret = |key: &Value| key.get("kty").and_then(Value::as_str) == Some("oct");
    for (index, _) in keys.into_iter().flatten().enumerate().filter(|(_, key)| is_secret(key)) {
        secret_in_the_open(&format!("{path}.jwks.inline.keys[{index}]"), "a shared secret", notes);
    }
}

fn clients(path: &str, written: &Value, notes: &mut Notes<'_>) {
    if written.pointer("/api_keys/query").is_some() {
        let problem = "keys in URLs end up in logs and histories";
        notes.warn(&format!("{path}.api_keys.query"), problem, "take them from a header");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = UnixNanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
    for kind in ["api_keys", "basic"] {
        let clients = written.pointer(&format!("/{kind}/clients")).and_then(Value::as_object);
        for (name, client) in clients.into_iter().flatten() {
            let end = client.get("not_after").and_then(Value::as_str);
            if let Some(end) = end
                && parse_rfc3339(end).is_some_and(|end| end <= now)
            {
                let at = member_path(&format!("{path}.{kind}.clients"), name);
                let problem = format!("the client has ended: every request of it is refused since {end}");
                notes.warn(&format!("{at}.not_after"), problem, "remove the client, or give it another day");
            }
        }
    }
}

fn certificates(path: &str, written: &Value, notes: &mut Notes<'_>) {
    let names = written.pointer("/certificate/allow").and_then(Value::as_array);
    let everyone = |name: &Value| matches!(name.as_str(), Some("*" | "spiffe://*"));
    if let Some(index) = names.and_then(|names| names.iter().position(everyone)) {
        let problem = "takes whoever has any certificate of the authority";
        notes.warn(&format!("{path}.certificate.allow[{index}]"), problem, "name those that may call");
    }
}

/// Scopes that a rule asks for and no identity that it takes can have. What is in tokens is not known here, so only
/// rules that take nothing but clients and certificates are looked at.
fn scopes_that_nobody_has(policy: &Policy, document: &Value, notes: &mut Notes<'_>) {
    for (index, rule) in policy.rules.iter().enumerate().take(policy.index.rules().len()) {
        let Who::VouchedFor(required) = &rule.who else { continue };
        // With `all`, the first one's word is the identity.
        let deciding = required.providers.get(..if required.all { 1 } else { required.providers.len() });
        let providers = deciding.unwrap_or_default().iter().filter_map(|index| policy.providers.get(*index));
        let Some(granted) = providers.map(|provider| granted(provider, document)).collect::<Option<Vec<_>>>() else {
            continue;
        };
        let granted: BTreeSet<&str> = granted.into_iter().flatten().collect();
        let missing = |scope: &&String| !granted.contains(scope.as_str());
        let no_one = if rule.scopes.any.iter().all(|scope| missing(&scope)) { rule.scopes.any.first() } else { None };
        let Some(scope) = rule.scopes.all.iter().find(missing).or(no_one) else { continue };
        let own = format!("rules[{index}].scopes");
        let used = document.pointer(&format!("/rules/{index}/use")).and_then(Value::as_str);
        let in_rule = document.pointer(&format!("/rules/{index}/scopes")).is_some();
        let path = match used {
            Some(policy) if !in_rule => format!("{}.scopes", member_path("policies", policy)),
            _ => own,
        };
        let problem = format!("nobody that rules[{index}] takes has the scope {scope:?}");
        let hint = match portcullis_engine::config::suggest::nearest(scope, granted.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "grant it to a client, or ask for another one".to_owned(),
        };
        notes.warn(&path, problem, &hint);
    }
}

/// Every scope that an identity of this provider can have; `None` where tokens tell.
fn granted<'d>(provider: &Provider, document: &'d Value) -> Option<Vec<&'d str>> {
    let written = document.get("providers")?.get(&provider.name)?;
    let words = |section: &'d Value| -> Vec<&'d str> {
        let scopes = section.get("scopes").and_then(Value::as_array);
        scopes.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    match &provider.kind {
        ProviderKind::Clients(_) => {
            let section = written.get("api_keys").or_else(|| written.get("basic"))?;
            let clients = section.get("clients")?.as_object()?;
            Some(clients.values().flat_map(words).collect())
        }
        ProviderKind::Certificate(_) => Some(words(written.get("certificate")?)),
        _ => None,
    }
}
