//! A rule in words.

use portcullis_engine::addresses::AddressSource;
use portcullis_engine::authorisation::NamedCondition;
use portcullis_engine::cors::OriginPattern;
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

/// The roles, path bindings and conditions of a rule.
pub fn authorisation(rule: &Rule) -> String {
    let mut parts = Vec::new();
    parts.extend(Some(roles(rule)).filter(|text| !text.is_empty()));
    parts.extend(Some(bindings(rule)).filter(|text| !text.is_empty()));
    // A table has room for names; `explain` shows the conditions themselves.
    parts.extend(rule.authorisation.when.iter().map(|named| match &named.name {
        Some(name) => format!("when {name:?}"),
        None => format!("when {}", named.condition.source()),
    }));
    parts.join("; ")
}

/// The roles that a caller must have.
pub fn roles(rule: &Rule) -> String {
    let roles = &rule.authorisation.roles;
    let mut parts = Vec::new();
    if !roles.all.is_empty() {
        parts.push(format!("role {}", roles.all.join(" and ")));
    }
    if !roles.any.is_empty() {
        parts.push(format!("role {}", roles.any.join(" or ")));
    }
    if !roles.none.is_empty() {
        parts.push(format!("not role {}", roles.none.join(", not role ")));
    }
    parts.join("; ")
}

/// The path variables that must equal claims.
pub fn bindings(rule: &Rule) -> String {
    let bound = rule.authorisation.bind.iter().map(|bound| format!("{{{}}} is {}", bound.variable, bound.claim));
    bound.collect::<Vec<_>>().join(" and ")
}

/// The conditions, by their names where they have some.
pub fn conditions(rule: &Rule) -> String {
    let text = |(index, named): (usize, &NamedCondition)| match &named.name {
        Some(_) => format!("{}: {}", named.label(index), named.condition.source()),
        None => format!("when {}", named.condition.source()),
    };
    rule.authorisation.when.iter().enumerate().map(text).collect::<Vec<_>>().join("; ")
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

/// The bans of a rule, with what they count.
pub fn bans(policy: &Policy, rule: &Rule) -> String {
    let bans = rule.bans.iter().filter_map(|index| policy.bans.get(*index));
    let texts = bans.map(|ban| {
        let parts: Vec<&str> = ban.key.parts.iter().map(|part| part.as_str()).collect();
        let kinds: Vec<&str> = ban.offences.iter().map(|offence| offence.as_str()).collect();
        let (terms, parts, kinds) = (&ban.terms, parts.join(" and "), kinds.join(" or "));
        let seconds = terms.window.as_secs();
        format!("{} ({} of {kinds} in {seconds} s, by {parts})", ban.name, terms.offences)
    });
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() { String::new() } else { format!("not banned by {}", texts.join(", ")) }
}

/// The lists that the client's address must and must not be in.
pub fn addresses(policy: &Policy, rule: &Rule) -> String {
    let names = |what: &str, indices: &[usize]| {
        let lists = indices.iter().filter_map(|index| policy.address_lists.get(*index));
        let names: Vec<&str> = lists.map(|list| list.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    };
    let allow = rule.addresses.allow.as_deref().unwrap_or_default();
    let parts = [names("in", allow), names("not in", &rule.addresses.deny)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The lists of a rule that only a running gateway has.
pub fn fetched_lists<'p>(policy: &'p Policy, rule: &'p Rule) -> impl Iterator<Item = &'p str> {
    let indices = rule.addresses.allow.iter().flatten().chain(&rule.addresses.deny);
    let lists = indices.filter_map(|index| policy.address_lists.get(*index));
    lists.filter(|list| matches!(list.source, AddressSource::Feed(_))).map(|list| list.name.as_str())
}

/// Pages of which origins may call.
pub fn cors(rule: &Rule) -> String {
    let Some(cors) = &rule.cors else { return String::new() };
    let origin = |pattern: &OriginPattern| match pattern {
        OriginPattern::Any => "*".to_owned(),
        OriginPattern::Null => "null".to_owned(),
        OriginPattern::Exact(origin) => origin.clone(),
        OriginPattern::Below { scheme, suffix } => format!("{scheme}*{suffix}"),
    };
    format!("pages of {} may call", cors.origins.iter().map(origin).collect::<Vec<_>>().join(", "))
}

/// Which attacks are looked for.
pub fn payload(rule: &Rule) -> String {
    let Some(rules) = &rule.payload else { return String::new() };
    let settings = &rules.settings;
    let without = settings.without.iter().map(|family| family.as_str());
    let without = without.chain(settings.without_rules.iter().map(|rule| rule.as_str())).collect::<Vec<_>>();
    let less = if without.is_empty() { String::new() } else { format!(", without {}", without.join(", ")) };
    format!("level {}, {} points, bodies up to {} bytes{less}", settings.level, settings.threshold, rules.max_body)
}
