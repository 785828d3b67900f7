//! A rule in words.

use portcullis_engine::policy::{Policy, Rule, Who};

/// Who may pass.
pub fn who(policy: &Policy, rule: &Rule) -> String {
    match &rule.who {
        Who::Everybody => "everybody".to_owned(),
        Who::Nobody => "nobody".to_owned(),
        Who::VouchedFor(required) => {
            let names = required.providers.iter().filter_map(|index| policy.providers.get(*index));
            let names: Vec<&str> = names.map(|provider| provider.name.as_str()).collect();
            let names = names.join(if required.all { " and " } else { " or " });
            if required.optional { format!("{names}, or nobody") } else { names }
        }
    }
}

/// The scopes that a token must have.
pub fn scopes(rule: &Rule) -> String {
    let mut parts = Vec::new();
    if !rule.scopes.all.is_empty() {
        parts.push(rule.scopes.all.join(" and "));
    }
    if !rule.scopes.any.is_empty() {
        parts.push(format!("one of {}", rule.scopes.any.join(", ")));
    }
    if !rule.scopes.none.is_empty() {
        parts.push(format!("not {}", rule.scopes.none.join(", not ")));
    }
    parts.join("; ")
}

/// The limits at `indices`, with their rates.
pub fn limits(policy: &Policy, indices: &[usize]) -> String {
    let limits = indices.iter().filter_map(|index| policy.limits.get(*index));
    let texts = limits.map(|limit| {
        let quota = &limit.quota;
        format!("{} ({} in {} s)", limit.name, quota.requests(), quota.window().as_secs_f64())
    });
    texts.collect::<Vec<_>>().join(", ")
}
