//! Envoy's own filters: `jwt_authn` and `rbac`.

mod jwt_authn;
pub mod matching;
mod rbac;

use anyhow::{Result, bail};

use super::Options;
use super::notes::Notes;
use super::policy::{Alternative, Group, Plan, Requirement};
use super::providers::Providers;
use crate::document::Node;
use crate::envoy::{Place, places};

const JWT_AUTHN: &str = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
const RBAC: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";

/// Whether a file is one of Envoy's: it has such a filter, or is one.
pub fn is_envoy(root: &Node) -> bool {
    !found(root, JWT_AUTHN).is_empty() || !found(root, RBAC).is_empty() || is_jwt_authn(root) || is_rbac(root)
}

fn is_jwt_authn(node: &Node) -> bool {
    node.get("providers").is_some() && node.get("version").is_none()
}

fn is_rbac(node: &Node) -> bool {
    node.at(&["rules", "policies"]).is_some() || node.at(&["rules", "action"]).is_some()
}

fn found<'a>(root: &'a Node, name: &str) -> Vec<Place<'a>> {
    let is_it =
        |place: &Place<'_>| place.node.text_at(&["@type"]).and_then(|found| found.rsplit('/').next()) == Some(name);
    let mut found = places(root);
    found.retain(|place| is_it(place) && !place.path.contains("typed_per_filter_config"));
    found
}

/// The connection manager around a place, by its path.
fn manager(place: &Place<'_>) -> String {
    let around = place.ancestors.iter().rev().find(|(_, node)| node.get("http_filters").is_some());
    around.map(|(path, _)| path.clone()).unwrap_or_default()
}

/// Converts the filters of a file.
///
/// # Errors
/// Several connection managers have different ones.
pub fn convert(root: &Node, options: &Options, providers: &mut Providers, notes: &mut Notes) -> Result<Plan> {
    let mut authenticating = found(root, JWT_AUTHN);
    let mut authorising = found(root, RBAC);
    let mut managers: Vec<String> = authenticating.iter().chain(&authorising).map(manager).collect();
    managers.dedup();
    managers.sort();
    managers.dedup();
    if managers.len() > 1 {
        bail!(
            "the file has {} connection managers with such filters: {}\n  hint: convert one at a time",
            managers.len(),
            managers.join(", ")
        );
    }
    let alone = || Place { path: String::new(), node: root, ancestors: Vec::new() };
    if authenticating.is_empty() && is_jwt_authn(root) {
        authenticating.push(alone());
    }
    if authorising.is_empty() && is_rbac(root) {
        authorising.push(alone());
    }
    let mut plan = Plan::default();
    match authenticating.as_slice() {
        [] => plan.groups.push(Group {
            condition: Default::default(),
            requirement: Requirement::Nothing,
            source: String::new(),
        }),
        [one] => plan.groups = jwt_authn::groups(one.node, options, providers, notes),
        [.., last] => bail!("line {}: a second jwt_authn filter\n  hint: convert one at a time", last.node.line),
    }
    for place in &authorising {
        rbac::read(place.node, providers, &mut plan, notes);
    }
    overrides(root, &mut plan, notes);
    Ok(plan)
}

/// Routes and virtual hosts with settings of their own: what those ask for is not known here, so nobody passes there.
fn overrides(root: &Node, plan: &mut Plan, notes: &mut Notes) {
    for place in places(root) {
        let Some(overrides) = place.node.get("typed_per_filter_config") else { continue };
        for member in overrides.value.members() {
            // The settings themselves, or those in an envoy.config.route.v3.FilterConfig.
            let kinds = [member.value.text_at(&["@type"]), member.value.text_at(&["config", "@type"])];
            let ours =
                |kind: &str| kind.ends_with("jwt_authn.v3.PerRouteConfig") || kind.ends_with("rbac.v3.RBACPerRoute");
            if !kinds.into_iter().flatten().any(ours) {
                continue;
            }
            // Where the filter is off, anybody passes in Envoy: the rules without it ask for more.
            if member.value.is_true_at(&["disabled"]) {
                let problem = "is off here; the converted rules ask for what the filter asks for elsewhere";
                notes.stricter(member.line, &member.key, problem, "write a rule with `allow: public` for these paths");
                continue;
            }
            let problem = "has settings of its own on a route: nobody passes there";
            notes.stricter(member.line, &member.key, problem, "write a policy, and name it in the route's metadata");
            let source = format!("{} of a route (line {})", member.key, member.line);
            // On a route, on one of the clusters that it leads to, or on a virtual host.
            let around = place.ancestors.iter().rev().map(|(_, node)| *node);
            let routes = std::iter::once(place.node).chain(around).take_while(|node| node.get("routes").is_none());
            if let Some(section) = routes.into_iter().find_map(|node| node.at(&["match"])) {
                let (condition, _) = matching::route_match(section);
                plan.denied.push(Alternative { condition, source, ..Alternative::default() });
                continue;
            }
            let domains = place.node.at(&["domains"]).map(Node::elements).unwrap_or_default();
            if domains.is_empty() {
                plan.denied.push(Alternative { source: source.clone(), ..Alternative::default() });
            }
            for domain in domains.iter().filter_map(Node::text) {
                let host = matching::host(domain);
                let condition = super::condition::Condition { host, ..Default::default() };
                plan.denied.push(Alternative { condition, source: source.clone(), ..Alternative::default() });
            }
        }
    }
}
