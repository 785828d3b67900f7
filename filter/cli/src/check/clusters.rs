//! The clusters that the filter asks: whether they are there and speak what is asked in, and whether anybody can listen in or answer in their place.

use std::net::IpAddr;

use portcullis_engine::config::document::member_path;
use serde_json::Value;

use super::Examined;
use super::finding::{Findings, Severity};
use crate::document::Node;
use crate::envoy;

/// Adds findings about every cluster that a filter's configuration names, unless clusters come from elsewhere.
pub fn check(root: &Node, filters: &[Examined<'_>], findings: &mut Findings) {
    let dynamic = ["cds_config", "ads_config"];
    let from_elsewhere = dynamic.iter().any(|member| root.at(&["dynamic_resources", member]).is_some());
    if !envoy::is_bootstrap(root) || from_elsewhere {
        return;
    }
    let clusters = root.at(&["static_resources", "clusters"]).map(Node::elements).unwrap_or_default();
    let names: Vec<String> = clusters.iter().filter_map(|c| Some(c.text_at(&["name"])?.to_owned())).collect();
    for examined in filters {
        let Ok(configuration) = &examined.filter.configuration else { continue };
        for (path, name) in named(&configuration.value) {
            let line = configuration.lines.find(&path);
            match clusters.iter().find(|cluster| cluster.text_at(&["name"]) == Some(name)) {
                None => findings.add_unknown_name(line, &path, "cluster", name, &names),
                Some(cluster) if is_open(cluster) => {
                    let problem = format!("what cluster {name:?} says comes in the clear over a network");
                    let hint = "whoever is in between can put in keys and answers of their own: give the cluster a \
                                `transport_socket` with TLS, or reach it over loopback";
                    findings.add(Severity::Warning, line, &path, problem, hint);
                }
                Some(_) => {}
            }
        }
        let service = ["limit_service", "cluster"];
        let asked = configuration.value.pointer(&format!("/{}", service.join("/"))).and_then(Value::as_str);
        let cluster = asked.and_then(|name| clusters.iter().find(|cluster| cluster.text_at(&["name"]) == Some(name)));
        if let (Some(name), Some(cluster)) = (asked, cluster)
            && !speaks_http2(cluster)
        {
            let path = service.join(".");
            let problem =
                format!("cluster {name:?} does not speak HTTP/2, which gRPC needs: no question would be answered");
            let hint = "give the cluster `typed_extension_protocol_options` with `http2_protocol_options: {}` in \
                        `explicit_http_config`, as in docs/guide.md";
            findings.add(Severity::Warning, configuration.lines.find(&path), &path, problem, hint);
        }
    }
}

/// Whether Envoy speaks HTTP/2 to the cluster; with `auto_config`, TLS decides (ALPN).
fn speaks_http2(cluster: &Node) -> bool {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let options = cluster.at(&["typed_extension_protocol_options", OPTIONS]);
    let has = |path: &[&str]| options.is_some_and(|options| options.at(path).is_some());
    cluster.get("http2_protocol_options").is_some()
        || has(&["explicit_http_config", "http2_protocol_options"])
        || (has(&["auto_config"]) && cluster.get("transport_socket").is_some())
}

/// Every member `cluster` of a configuration, with its path.
fn named(configuration: &Value) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let providers = configuration.get("providers").and_then(Value::as_object);
    for (name, provider) in providers.into_iter().flatten() {
        for kind in ["jwks", "discovery", "introspection"] {
            let cluster = provider.pointer(&format!("/{kind}/cluster")).and_then(Value::as_str);
            found
                .extend(cluster.map(|cluster| (format!("{}.{kind}.cluster", member_path("providers", name)), cluster)));
        }
    }
    let lists = configuration.get("address_lists").and_then(Value::as_object);
    for (name, list) in lists.into_iter().flatten() {
        let cluster = list.get("cluster").and_then(Value::as_str);
        found.extend(cluster.map(|cluster| (format!("{}.cluster", member_path("address_lists", name)), cluster)));
    }
    // Other sections stand at the top, and say `cluster` themselves.
    for (section, value) in configuration.as_object().into_iter().flatten().filter(|(name, _)| *name != "providers") {
        let cluster = value.get("cluster").and_then(Value::as_str);
        found.extend(cluster.map(|cluster| (format!("{section}.cluster"), cluster)));
    }
    found
}

/// Whether the cluster speaks without TLS to an address that is not of this machine.
fn is_open(cluster: &Node) -> bool {
    let has_tls = cluster.get("transport_socket").is_some() || cluster.get("transport_socket_matches").is_some();
    !has_tls && addresses(cluster).iter().any(|address| !is_loopback(address))
}

fn addresses(cluster: &Node) -> Vec<String> {
    let places = envoy::places(cluster);
    let sockets = places.iter().filter_map(|place| place.node.at(&["socket_address"])?.text_at(&["address"]));
    sockets.map(str::to_owned).collect()
}

/// Whether an address as Envoy writes it stays on this machine.
pub fn is_loopback(address: &str) -> bool {
    let name = address.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
