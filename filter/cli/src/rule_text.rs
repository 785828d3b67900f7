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

/// The limits at `indices`, with what they admit.
pub fn limits(policy: &Policy, indices: &[usize]) -> String {
    let limits = indices.iter().filter_map(|index| policy.limits.get(*index));
    let texts = limits.map(|limit| {
        let algorithm = &limit.algorithm;
        match algorithm.window() {
            _ if limit.is_in_flight() => format!("{} ({} in flight)", limit.name, algorithm.per_window()),
            Some(window) => format!("{} ({} in {} s)", limit.name, algorithm.per_window(), window.as_secs_f64()),
            None => format!("{} ({} per month)", limit.name, algorithm.per_window()),
        }
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// The bound by which requests of a rule are shed, and their priority.
pub fn surge(policy: &Policy, rule: &Rule) -> String {
    let used = rule.surge.as_ref().and_then(|used| Some((used, policy.surges.get(usize::from(used.index))?)));
    used.map_or_else(String::new, |(used, surge)| {
        let by_claim = used.claim().map(|claim| format!(", or by the claim {claim}")).unwrap_or_default();
        let target = surge.settings.target.as_secs_f64();
        format!("{} (target {target} s), priority {}{by_claim}", surge.name, used.priority(None).as_str())
    })
}

/// The bans of a rule, with what they count.
pub fn bans(policy: &Policy, rule: &Rule) -> String {
    let bans = rule.bans.iter().filter_map(|index| policy.bans.get(*index));
    let texts = bans.map(|ban| {
        let parts: Vec<&str> = ban.key.parts.iter().map(|part| part.as_str()).collect();
        let kinds = ban.offences.iter().map(|offence| offence.as_str().to_owned());
        let statuses = ban.responses.iter().map(|class| format!("{class} of the service"));
        let kinds: Vec<String> = kinds.chain(statuses).collect();
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

/// The limits of a rule that the limit service counts.
pub fn global_limits<'p>(policy: &'p Policy, rule: &'p Rule) -> impl Iterator<Item = &'p str> {
    let indices = rule.limits_by_address.iter().chain(&rule.limits_by_principal);
    let limits = indices.filter_map(|index| policy.limits.get(*index));
    limits.filter(|limit| limit.is_global).map(|limit| limit.name.as_str())
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

/// What requests may look like.
pub fn input(rule: &Rule) -> String {
    let Some(rules) = &rule.input else { return String::new() };
    let mut parts = vec![format!("bodies up to {} bytes", rules.max_body)];
    if rules.schema.is_some() {
        parts.push("JSON that meets a schema".to_owned());
    } else if rules.content_types.is_some() {
        parts.push("some content types".to_owned());
    }
    match rules.parameters.declared.len() {
        0 => {}
        1 => parts.push("1 parameter".to_owned()),
        count => parts.push(format!("{count} parameters")),
    }
    if rules.parameters.denies_unknown {
        parts.push("no other ones in the query".to_owned());
    }
    parts.join(", ")
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
