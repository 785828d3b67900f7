//! Ways past the filter, and what of credentials gets out around it.

use std::collections::BTreeSet;

use super::Examined;
use super::clusters::is_loopback;
use super::finding::{Findings, Severity};
use crate::document::{Kind, Node};
use crate::envoy::{self, Place};

/// Adds findings about listeners that reach a guarded service without the filter, the admin port, and access logs.
pub fn check(root: &Node, filters: &[Examined<'_>], findings: &mut Findings) {
    if filters.iter().all(|examined| examined.filter.plugin.is_none()) {
        return;
    }
    let places = envoy::places(root);
    unguarded_managers(&places, filters, findings);
    for place in &places {
        filter_switched_off(place, filters, findings);
        access_log(place, findings);
    }
    if let Some(address) = root.at(&["admin", "address", "socket_address"])
        && let Some(member) = address.get("address")
        && member.value.text().is_some_and(|address| !is_loopback(address))
    {
        let problem = "whoever reaches the admin port can read the configuration and stop the gateway";
        findings.add(Severity::Warning, member.line, "admin.address", problem, "bind it to 127.0.0.1");
    }
}

/// A connection manager without the filter, whose routes lead to a cluster that another one guards.
fn unguarded_managers(places: &[Place<'_>], filters: &[Examined<'_>], findings: &mut Findings) {
    let guards: BTreeSet<&str> =
        filters.iter().filter_map(|examined| Some(examined.filter.manager.as_ref()?.0.as_str())).collect();
    let routed = |manager: &Place<'_>| -> Vec<(usize, String, String)> {
        let below = places.iter().filter(|place| place.path.starts_with(&format!("{}.route_config", manager.path)));
        let clusters = below.filter_map(|place| {
            let cluster = place.node.at(&["route"])?.get("cluster")?;
            Some((cluster.line, place.path.clone(), cluster.value.text()?.to_owned()))
        });
        clusters.collect()
    };
    let managers = places.iter().filter(|place| place.node.get("http_filters").is_some());
    let (guarded, open): (Vec<&Place<'_>>, Vec<&Place<'_>>) =
        managers.partition(|place| guards.contains(place.path.as_str()));
    let guarded: BTreeSet<String> = guarded.into_iter().flat_map(routed).map(|(_, _, cluster)| cluster).collect();
    for (line, path, cluster) in open.into_iter().flat_map(routed) {
        if guarded.contains(&cluster) {
            let problem = format!("cluster {cluster:?} is reached here without the filter that guards it elsewhere");
            let hint = "put the filter into this connection manager too, or take the route out";
            findings.add(Severity::Warning, line, &format!("{path}.route.cluster"), problem, hint);
        }
    }
}

/// `disabled: true` on the entry of `http_filters` that is ours.
fn filter_switched_off(place: &Place<'_>, filters: &[Examined<'_>], findings: &mut Findings) {
    let ours = filters.iter().any(|examined| examined.filter.path.starts_with(&format!("{}.typed_config", place.path)));
    let in_chain = place.path.rsplit('.').next().is_some_and(|last| last.starts_with("http_filters["));
    if ours
        && in_chain
        && let Some(member) = place.node.get("disabled")
        && place.node.is_true_at(&["disabled"])
    {
        let problem = "the filter is off wherever a route does not switch it on";
        let hint = "remove it, and let rules with `allow: public` say what everybody may call";
        findings.add(Severity::Warning, member.line, &format!("{}.disabled", place.path), problem, hint);
    }
}

/// Credentials in access logs.
fn access_log(place: &Place<'_>, findings: &mut Findings) {
    let inside =
        place.path.contains("access_log") || place.ancestors.iter().any(|(path, _)| path.contains("access_log"));
    if !inside {
        return;
    }
    for member in place.node.members() {
        let Kind::Scalar(_) = member.value.kind else { continue };
        let text = member.value.text().unwrap_or_default().to_ascii_uppercase();
        let Some(header) = ["AUTHORIZATION", "COOKIE", "X-API-KEY", "DPOP", "PROXY-AUTHORIZATION"]
            .into_iter()
            .find(|header| text.contains(&format!("%REQ({header})")) || text.contains(&format!("%REQ({header}):")))
        else {
            continue;
        };
        let problem =
            format!("the header {:?} goes into the access log, credentials and all", header.to_ascii_lowercase());
        let path = format!("{}.{}", place.path, member.key);
        findings.add(Severity::Warning, member.line, &path, problem, "leave it out: the filter's log names the caller");
    }
}
