//! Routes and clusters, as far as the filter and they rely on each other.

use std::collections::BTreeSet;

use portcullis_engine::config::document::member_path;
use portcullis_engine::config::suggest;
use portcullis_engine::policy::Policy;
use serde_json::Value;

use super::Examined;
use super::finding::{Findings, Severity};
use crate::document::Node;
use crate::envoy::{self, Place};

/// The name under which routes speak to the filter.
const NAMESPACE: &str = "portcullis";

/// Adds findings about the routes and clusters of a file.
pub fn check(root: &Node, filters: &[Examined<'_>], findings: &mut Findings) {
    if filters.iter().all(|examined| examined.filter.plugin.is_none()) {
        return;
    }
    let places = envoy::places(root);
    for place in &places {
        if let Some(metadata) = place.node.at(&["metadata", "filter_metadata"]) {
            check_metadata(place, metadata, filters, findings);
        }
        if place.node.get("match").is_some() {
            check_route_match(place, filters, findings);
        }
        if let Some(overrides) = place.node.at(&["typed_per_filter_config"]) {
            check_overrides(place, overrides, findings);
        }
    }
    check_unused_policies(root, &places, filters, findings);
    check_hosts(&places, filters, findings);
    check_route_names(&places, filters, findings);
}

/// The filters that serve what stands at `place`: those of its connection manager, or all for routes that stand alone.
fn serving<'a>(place: &Place<'_>, filters: &'a [Examined<'a>]) -> Vec<&'a Examined<'a>> {
    let around = |examined: &&Examined<'_>| {
        examined.filter.manager.as_ref().is_some_and(|(path, _)| place.ancestors.iter().any(|(p, _)| p == path))
    };
    let in_manager = place.ancestors.iter().any(|(_, node)| node.get("http_filters").is_some());
    if in_manager { filters.iter().filter(around).collect() } else { filters.iter().collect() }
}

fn check_metadata(place: &Place<'_>, metadata: &Node, filters: &[Examined<'_>], findings: &mut Findings) {
    let path = format!("{}.metadata.filter_metadata", place.path);
    for member in metadata.members().iter().filter(|member| member.key != NAMESPACE) {
        if member.value.get("policy").is_some() && suggest::nearest(&member.key, [NAMESPACE]).is_some() {
            let problem = format!("{:?} is not read by the filter", member.key);
            let path = member_path(&path, &member.key);
            findings.add(Severity::Warning, member.line, &path, problem, "did you mean \"portcullis\"?");
        }
    }
    let Some(ours) = metadata.get(NAMESPACE) else { return };
    let path = member_path(&path, NAMESPACE);
    let serving = serving(place, filters);
    if place.node.get("match").is_none() {
        let reads = |examined: &&&Examined<'_>| {
            let configuration = examined.filter.configuration.as_ref().ok();
            let read = configuration.and_then(|found| found.value.pointer("/routes/metadata")?.as_array());
            read.is_some_and(|read| read.iter().any(|whose| whose == "virtual_host"))
        };
        let of_host = place.node.get("domains").is_some();
        if !of_host || !serving.iter().any(|examined| reads(&examined)) {
            let problem = if of_host {
                "the metadata of virtual hosts are not read"
            } else {
                "only the metadata of routes and virtual hosts are read"
            };
            let hint = if of_host {
                "set `routes: {metadata: [route, virtual_host]}`, or move it to the routes that it is meant for"
            } else {
                "move it to the routes that it is meant for"
            };
            findings.add(Severity::Warning, ours.line, &path, problem, hint);
            return;
        }
    }
    for member in ours.value.members().iter().filter(|member| member.key != "policy") {
        let path = member_path(&path, &member.key);
        findings.add(Severity::Warning, member.line, &path, "is not read by the filter", "known here: \"policy\"");
    }
    let Some(member) = ours.value.get("policy") else { return };
    let path = member_path(&path, "policy");
    let Some(name) = member.value.text() else {
        findings.add(Severity::Error, member.line, &path, "is no text", "the name of a policy");
        return;
    };
    for examined in serving {
        let Ok(configuration) = &examined.filter.configuration else { continue };
        let policies = names_in(&configuration.value, "policies");
        if !policies.iter().any(|policy| policy == name) {
            findings.add_unknown_name(member.line, &path, "policy", name, &policies);
        }
    }
}

fn names_in(configuration: &Value, section: &str) -> Vec<String> {
    let members = configuration.get(section).and_then(Value::as_object);
    members.map(|members| members.keys().cloned().collect()).unwrap_or_default()
}

/// Envoy picks the route again after a header was written: it must not depend on headers that the filter writes.
fn check_route_match(place: &Place<'_>, filters: &[Examined<'_>], findings: &mut Findings) {
    let conditions = place.node.at(&["match", "headers"]).map(Node::elements).unwrap_or_default();
    for (index, condition) in conditions.iter().enumerate() {
        let Some(name) = condition.text_at(&["name"]).map(str::to_ascii_lowercase) else { continue };
        let policies = serving(place, filters).into_iter().filter_map(|examined| examined.policy.as_deref());
        if policies.into_iter().any(|policy| written_headers(policy).contains(&name.replace('_', "-"))) {
            findings.add(
                Severity::Warning,
                condition.line,
                &format!("{}.match.headers[{index}]", place.path),
                format!(
                    "the filter writes or removes {name:?}: another route may serve the request than the one it judged"
                ),
                "match on another header",
            );
        }
    }
}

/// The headers of a request that the filter may set or remove, with `-` for `_`.
fn written_headers(policy: &Policy) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = policy.identity_headers.iter().cloned().collect();
    for rule in &policy.rules {
        names.extend(rule.headers.remove.iter().map(|name| name.replace('_', "-")));
        names.extend(rule.headers.set.iter().map(|(name, _)| name.replace('_', "-")));
    }
    if policy.providers.iter().any(|provider| provider.strip) {
        names.extend(["authorization".to_owned(), "cookie".to_owned()]);
    }
    names
}

fn check_overrides(place: &Place<'_>, overrides: &Node, findings: &mut Findings) {
    for member in overrides.members().iter().filter(|member| member.key.contains(NAMESPACE)) {
        if member.value.is_true_at(&["disabled"]) {
            let path = member_path(&format!("{}.typed_per_filter_config", place.path), &member.key);
            let problem = "these requests pass without the filter";
            findings.add(
                Severity::Warning,
                member.line,
                &path,
                problem,
                "a rule with `allow: public` still keeps them clean",
            );
        }
    }
}

/// Policies that neither a rule nor another policy nor a route names. Only a whole file tells: its routes are known.
fn check_unused_policies(root: &Node, places: &[Place<'_>], filters: &[Examined<'_>], findings: &mut Findings) {
    let from_elsewhere =
        places.iter().any(|place| place.node.get("rds").is_some() || place.node.get("lds_config").is_some());
    if !envoy::is_bootstrap(root) || from_elsewhere {
        return;
    }
    let on_routes: BTreeSet<&str> = places
        .iter()
        .filter_map(|place| place.node.text_at(&["metadata", "filter_metadata", NAMESPACE, "policy"]))
        .collect();
    for examined in filters {
        let Ok(configuration) = &examined.filter.configuration else { continue };
        let value = &configuration.value;
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let members = |section: &str| -> Vec<&Value> {
            match value.get(section) {
                Some(Value::Object(members)) => members.values().collect(),
                Some(Value::Array(elements)) => elements.iter().collect(),
                _ => Vec::new(),
            }
        };
        let extended = members("policies").into_iter().filter_map(|policy| policy.get("extends")?.as_str());
        let by_name = value.pointer("/routes/names").and_then(Value::as_object).into_iter().flatten();
        let by_name = by_name.filter_map(|(_, policy)| policy.as_str());
        let used = members("rules").into_iter().filter_map(|rule| rule.get("use")?.as_str());
        let named: BTreeSet<&str> = extended
            .chain(used)
            .chain(by_name)
            .chain(text("/defaults/policy"))
            .chain(on_routes.iter().copied())
            .collect();
        for name in names_in(value, "policies").iter().filter(|name| !named.contains(name.as_str())) {
            let path = member_path("policies", name);
            let problem = "no rule, no policy and no route names this policy";
            let hint = "name it in a `use`, or remove it";
            findings.add(Severity::Warning, configuration.lines.find(&path), &path, problem, hint);
        }
    }
}

/// A rule for a host that Envoy serves to nobody never matches.
fn check_hosts(places: &[Place<'_>], filters: &[Examined<'_>], findings: &mut Findings) {
    for examined in filters {
        let (Ok(configuration), Some((manager, node))) = (&examined.filter.configuration, &examined.filter.manager)
        else {
            continue;
        };
        if node.get("rds").is_some() || node.get("scoped_routes").is_some() {
            continue;
        }
        let of_manager = places.iter().filter(|place| place.path.starts_with(manager.as_str()));
        let domains = of_manager.filter_map(|place| place.node.at(&["domains"]));
        let domains: Vec<&str> = domains.flat_map(Node::elements).filter_map(Node::text).collect();
        let rules = configuration.value.get("rules").and_then(Value::as_array).into_iter().flatten();
        for (index, rule) in rules.enumerate() {
            let Some(host) = rule.pointer("/match/host").and_then(Value::as_str) else { continue };
            let serves = |domain: &&str| {
                let domain = domain.split(':').next().unwrap_or_default().to_ascii_lowercase();
                let host = host.to_ascii_lowercase();
                let inside = |wide: &str, narrow: &str| wide.strip_prefix('*').is_some_and(|end| narrow.ends_with(end));
                domain == host || inside(&domain, &host) || inside(&host, &domain) || domain.ends_with('*')
            };
            if !domains.is_empty() && !domains.iter().any(serves) {
                let path = format!("rules[{index}].match.host");
                let problem = format!("can never match: no virtual host of Envoy has the domain {host:?}");
                let known: Vec<&str> = domains.clone();
                let hint = match suggest::nearest(host, known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("known: {}", domains.join(", ")),
                };
                findings.add(Severity::Warning, configuration.lines.find(&path), &path, problem, &hint);
            }
        }
    }
}

/// A policy of a route that is not there guards nothing.
fn check_route_names(places: &[Place<'_>], filters: &[Examined<'_>], findings: &mut Findings) {
    for examined in filters {
        let (Ok(configuration), Some((manager, node))) = (&examined.filter.configuration, &examined.filter.manager)
        else {
            continue;
        };
        if node.get("rds").is_some() || node.get("scoped_routes").is_some() {
            continue;
        }
        let of_manager = places.iter().filter(|place| place.path.starts_with(manager.as_str()));
        let routes = of_manager.filter(|place| place.node.get("match").is_some());
        let routes: Vec<&str> = routes.filter_map(|place| place.node.text_at(&["name"])).collect();
        let named = configuration.value.pointer("/routes/names").and_then(Value::as_object);
        for name in named.into_iter().flatten().map(|(name, _)| name).filter(|name| !routes.contains(&name.as_str())) {
            let path = member_path("routes.names", name);
            let problem = format!("no route of Envoy is called {name:?}: the policy guards nothing");
            let hint = match suggest::nearest(name, routes.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known: {}", suggest::listed(&routes)),
            };
            findings.add(Severity::Warning, configuration.lines.find(&path), &path, problem, &hint);
        }
    }
}
