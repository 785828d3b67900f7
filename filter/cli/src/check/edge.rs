//! What rules say about addresses and origins, and may not be meant to say.

use portcullis_engine::addresses::{AddressList, AddressSet, AddressSource};
use portcullis_engine::config::document::member_path;
use portcullis_engine::cors::OriginPattern;
use portcullis_engine::policy::{Policy, Rule};

use super::finding::{Notes, Severity};
use super::policy::written;

/// Adds warnings about address lists and CORS.
pub fn check(policy: &Policy, notes: &mut Notes<'_>) {
    unused_lists(policy, notes);
    unasked_rules(policy, notes);
    for (index, rule) in policy.rules.iter().enumerate() {
        // Rules come first, then the named policies, in the order of their names.
        let at = match policy.named.iter().find(|(_, at)| **at == index) {
            Some((name, _)) => member_path("policies", name),
            None if index < policy.index.rules().len() => format!("rules[{index}]"),
            None => "defaults.policy".to_owned(),
        };
        addresses(policy, rule, &at, notes);
        origins(rule, &at, notes);
        if !rule.monitored.is_empty() {
            let names: Vec<&str> = rule.monitored.iter().map(|check| check.as_str()).collect();
            let problem = format!("counts and logs what {} would refuse, and refuses nothing", names.join(", "));
            notes.add(Severity::Hint, &format!("{at}.monitor"), problem, "");
        }
    }
    for (index, meets, _) in written(policy).filter(|(_, meets, rule)| rule.cors.is_some() && !meets.headers.is_empty())
    {
        let names: Vec<&str> = meets.headers.iter().map(|condition| &*condition.name).collect();
        let problem = format!("a preflight carries no {}, and is never this rule's", names.join(", "));
        let hint = "choose rules by path and method where pages of other origins call";
        notes.warn(&format!("rules[{index}].match.headers"), problem, hint);
    }
}

fn unused_lists(policy: &Policy, notes: &mut Notes<'_>) {
    for (index, list) in policy.address_lists.iter().enumerate() {
        let names = |rule: &Rule| {
            rule.addresses.allow.iter().flatten().chain(&rule.addresses.deny).any(|named| *named == index)
        };
        if !policy.rules.iter().any(names) {
            let path = member_path("address_lists", &list.name);
            notes.warn(&path, "no rule and no policy names this list", "name it in `addresses`, or remove it");
        }
    }
}

/// Payload rules of the operator that nothing asks.
fn unasked_rules(policy: &Policy, notes: &mut Notes<'_>) {
    let is_asked = policy.rules.iter().any(|rule| rule.payload.is_some());
    if !policy.own_rules.is_empty() && !is_asked {
        let hint = "payload rules are asked where there is a `payload` section, such as `defaults: {payload: {}}`";
        notes.warn("payload_rules", "no rule asks them", hint);
    }
}

fn inline(list: &AddressList) -> Option<&AddressSet> {
    match &list.source {
        AddressSource::Inline(set) => Some(set),
        AddressSource::Feed(_) => None,
    }
}

/// An allowed list whose every address is denied lets nobody pass.
fn addresses(policy: &Policy, rule: &Rule, at: &str, notes: &mut Notes<'_>) {
    let list = |index: &usize| policy.address_lists.get(*index);
    for allowed in rule.addresses.allow.iter().flatten().filter_map(list) {
        let covering = rule.addresses.deny.iter().filter_map(list).find(|denied| {
            let sets = inline(allowed).zip(inline(denied));
            sets.is_some_and(|(allowed, denied)| allowed.is_within(denied))
        });
        if let Some(denied) = covering {
            let problem = format!("allows the list {:?}, and denies all of it by {:?}", allowed.name, denied.name);
            notes.warn(&format!("{at}.addresses"), problem, "deny beats allow: nobody in that list may call");
        }
    }
}

fn origins(rule: &Rule, at: &str, notes: &mut Notes<'_>) {
    let Some(cors) = &rule.cors else { return };
    let at = format!("{at}.cors.origins");
    if cors.origins.contains(&OriginPattern::Null) {
        let problem = "any page can have the origin `null`, in a sandboxed frame";
        notes.warn(&at, problem, "name the origins that are meant");
    }
    let in_the_clear = cors.origins.iter().find_map(|origin| match origin {
        OriginPattern::Exact(origin) => origin.strip_prefix("http://").map(|host| (origin.clone(), host.to_owned())),
        OriginPattern::Below { scheme, suffix } if scheme == "http://" => {
            Some((format!("http://*{suffix}"), suffix.clone()))
        }
        _ => None,
    });
    let is_local = |host: &str| ["localhost", "127.", "[::1]"].iter().any(|local| host.starts_with(local));
    if let Some((origin, _)) = in_the_clear.filter(|(_, host)| !is_local(host)) {
        let problem = format!("whoever is on the way can be {origin:?}: its pages come in the clear");
        notes.warn(&at, problem, "write https://");
    }
}
