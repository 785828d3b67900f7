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
    check_clusters(root, filters, findings);
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
    if place.node.get("match").is_none() {
        let problem = "only the metadata of a route is read";
        findings.add(Severity::Warning, ours.line, &path, problem, "move it to the routes that it is meant for");
        return;
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
    for examined in serving(place, filters) {
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

/// Every cluster that a key set or a list of addresses comes from must be in the file, unless clusters come from elsewhere.
fn check_clusters(root: &Node, filters: &[Examined<'_>], findings: &mut Findings) {
    let dynamic = ["cds_config", "ads_config"];
    let from_elsewhere = dynamic.iter().any(|member| root.at(&["dynamic_resources", member]).is_some());
    if !envoy::is_bootstrap(root) || from_elsewhere {
        return;
    }
    let clusters = root.at(&["static_resources", "clusters"]).map(Node::elements).unwrap_or_default();
    let clusters: Vec<String> = clusters.iter().filter_map(|c| Some(c.text_at(&["name"])?.to_owned())).collect();
    for examined in filters {
        let Ok(configuration) = &examined.filter.configuration else { continue };
        for (section, place) in [("providers", "jwks.cluster"), ("address_lists", "cluster")] {
            let declared = configuration.value.get(section).and_then(Value::as_object);
            for (name, entry) in declared.into_iter().flatten() {
                let pointer = format!("/{}", place.replace('.', "/"));
                let Some(cluster) = entry.pointer(&pointer).and_then(Value::as_str) else { continue };
                if !clusters.iter().any(|known| known == cluster) {
                    let path = format!("{}.{place}", member_path(section, name));
                    findings.add_unknown_name(configuration.lines.find(&path), &path, "cluster", cluster, &clusters);
                }
            }
        }
    }
}
