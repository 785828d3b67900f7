//! How the filter is loaded, and the connection manager around it.

use portcullis_engine::policy::{Policy, Provider, ProviderKind};

use super::finding::{Findings, Severity};
use crate::document::Node;
use crate::envoy::{self, Filter};

/// Adds findings about what surrounds a filter.
pub fn check(filter: &Filter<'_>, policy: Option<&Policy>, findings: &mut Findings) {
    if let Some(plugin) = filter.plugin {
        if filter.per_route {
            findings.add(
                Severity::Error,
                plugin.line,
                &filter.path,
                "Envoy takes no configuration of a Wasm filter per route",
                "name a policy in the route's metadata: {filter_metadata: {portcullis: {policy: NAME}}}",
            );
        }
        check_plugin(filter, plugin, policy, findings);
    }
    if let Some((path, manager)) = &filter.manager {
        check_paths(path, manager, findings);
        check_addresses(path, manager, policy, findings);
        check_certificates(filter, path, policy, findings);
        check_resumption(filter, policy, findings);
        check_buffer(filter, policy, findings);
        check_server(path, manager, policy, findings);
    }
}

fn check_plugin(filter: &Filter<'_>, plugin: &Node, policy: Option<&Policy>, findings: &mut Findings) {
    let mut warn = |member: &str, problem: &str, hint: &str| {
        let line = plugin.lines().find(member);
        findings.add(Severity::Warning, line, &format!("{}.{member}", filter.path), problem, hint);
    };
    if !plugin.is_true_at(&["allow_on_headers_stop_iteration"]) {
        let problem = match policy.and_then(reason_to_hold) {
            Some(reason) => {
                format!("{reason}: such a request cannot be held back, and hangs")
            }
            None => "a request whose verdict has to wait cannot be held back".to_owned(),
        };
        warn("allow_on_headers_stop_iteration", &problem, "set `allow_on_headers_stop_iteration: true`");
    }
    let hint = "set `failure_policy: FAIL_RELOAD`: that request gets 503, and a fresh module takes over";
    match plugin.text_at(&["failure_policy"]) {
        Some("FAIL_RELOAD") => {}
        Some("FAIL_OPEN") => warn("failure_policy", "after a failure every request passes unchecked", hint),
        _ if plugin.is_true_at(&["fail_open"]) => {
            warn("fail_open", "after a failure every request passes unchecked", hint)
        }
        _ => warn("failure_policy", "after a failure every request of that worker gets 503, for ever", hint),
    }
    if plugin.text_at(&["vm_config", "vm_id"]).is_none_or(str::is_empty) {
        let problem = "without an id the filter shares its limits and key sets with every other nameless module";
        warn("vm_config.vm_id", problem, "set `vm_id: portcullis`");
    }
}

/// Why requests of this policy have to be held back before their verdict: what reads a body or waits for a callout is
/// listed here.
fn reason_to_hold(policy: &Policy) -> Option<String> {
    if let Some(rule) = policy.rules.iter().find(|rule| rule.serve.is_some()) {
        return Some(format!("rule {:?} reads the body before it decides", rule.label));
    }
    if let Some(rule) = policy.rules.iter().find(|rule| rule.payload.is_some()) {
        return Some(format!("the payload rules of {:?} judge the body", rule.label));
    }
    if let Some(rule) = policy.rules.iter().find(|rule| rule.input.is_some()) {
        return Some(format!("the input checks of {:?} read the body", rule.label));
    }
    if !policy.introspections.is_empty() {
        return Some("opaque tokens wait for their issuer's answer".to_owned());
    }
    (!policy.key_set_sources.is_empty()).then(|| "tokens can wait for their issuer's key set".to_owned())
}

/// The filter must see the path as the client sent it.
fn check_paths(path: &str, manager: &Node, findings: &mut Findings) {
    let repairs = [
        (manager.is_true_at(&["normalize_path"]), "normalize_path", "set `normalize_path: false`"),
        (manager.is_true_at(&["merge_slashes"]), "merge_slashes", "set `merge_slashes: false`"),
        (
            matches!(
                manager.text_at(&["path_with_escaped_slashes_action"]),
                Some("UNESCAPE_AND_FORWARD" | "UNESCAPE_AND_REDIRECT")
            ),
            "path_with_escaped_slashes_action",
            "set `path_with_escaped_slashes_action: KEEP_UNCHANGED`",
        ),
    ];
    for (_, member, hint) in repairs.into_iter().filter(|(repairs, ..)| *repairs) {
        let line = manager.get(member).map_or(manager.line, |member| member.line);
        let problem = "paths are repaired before the filter sees them: it cannot refuse an ambiguous one any more";
        findings.add(Severity::Warning, line, &format!("{path}.{member}"), problem, hint);
    }
}

/// A limit or a rule by address is as good as the address.
fn check_addresses(path: &str, manager: &Node, policy: Option<&Policy>, findings: &mut Findings) {
    let counts_by_address = policy.is_some_and(|policy| {
        let limits = policy.limits.iter().any(|limit| limit.key.reads_address());
        limits || policy.bans.iter().any(|ban| ban.key.reads_address())
    });
    let judges_by_address = policy.is_some_and(|policy| policy.rules.iter().any(|rule| !rule.addresses.is_empty()));
    let is_settled =
        manager.is_true_at(&["use_remote_address"]) || manager.get("original_ip_detection_extensions").is_some();
    if (counts_by_address || judges_by_address) && !is_settled {
        let line = manager.get("use_remote_address").map_or(manager.line, |member| member.line);
        findings.add(
            Severity::Warning,
            line,
            &format!("{path}.use_remote_address"),
            match judges_by_address {
                true => "a client can choose the address that rules judge it by, with `x-forwarded-for`",
                false => "a client can choose the address that limits and bans count it by, with `x-forwarded-for`",
            },
            "set `use_remote_address: true`, and `xff_num_trusted_hops` where proxies of yours stand in front",
        );
    }
}

/// A certificate is worth something once Envoy has verified it.
fn check_certificates(filter: &Filter<'_>, manager: &str, policy: Option<&Policy>, findings: &mut Findings) {
    let by_certificate = policy.and_then(by_certificate);
    let (Some(provider), Some((chain_path, chain))) = (by_certificate, &filter.chain) else { return };
    let context = chain.at(&["transport_socket", "typed_config", "common_tls_context"]);
    let validation = context
        .and_then(|context| context.get("validation_context").or_else(|| context.get("combined_validation_context")));
    let elsewhere = context.is_some_and(|context| context.get("validation_context_sds_secret_config").is_some());
    let line = |node: &Node| node.get("transport_socket").map_or(node.line, |member| member.line);
    match validation {
        None if !elsewhere => {
            let problem =
                format!("Envoy asks for no client certificate here: provider {:?} knows nobody", provider.name);
            let hint = "set `validation_context: {trusted_ca: ...}` in the listener's TLS context";
            let path = format!("{chain_path}.transport_socket");
            findings.add(Severity::Warning, line(chain), &path, problem, hint);
        }
        Some(member) if member.value.text_at(&["trust_chain_verification"]) == Some("ACCEPT_UNTRUSTED") => {
            let at = member.value.get("trust_chain_verification").map_or(member.line, |member| member.line);
            let problem = "certificates of any authority come through unverified";
            let hint = "remove it: `VERIFY_TRUST_CHAIN` is the default";
            findings.add(Severity::Warning, at, &format!("{manager}.trust_chain_verification"), problem, hint);
        }
        _ => {}
    }
}

fn by_certificate(policy: &Policy) -> Option<&Provider> {
    policy.providers.iter().find(|provider| matches!(provider.kind, ProviderKind::Certificate(_)))
}

/// Envoy says of no certificate that it was verified where a client resumes an earlier TLS session.
fn check_resumption(filter: &Filter<'_>, policy: Option<&Policy>, findings: &mut Findings) {
    let (Some(provider), Some((chain_path, chain))) = (policy.and_then(by_certificate), &filter.chain) else { return };
    let Some(context) = chain.at(&["transport_socket", "typed_config"]) else { return };
    let resumes: Vec<&str> = ["disable_stateless_session_resumption", "disable_stateful_session_resumption"]
        .into_iter()
        .filter(|member| !context.is_true_at(&[member]))
        .collect();
    if !resumes.is_empty() {
        let line = context.get("common_tls_context").map_or(context.line, |member| member.line);
        findings.add(
            Severity::Warning,
            line,
            &format!("{chain_path}.transport_socket.typed_config"),
            format!(
                "a client that resumes its TLS session has no verified certificate: provider {:?} refuses it",
                provider.name
            ),
            &format!("set `{}: true`", resumes.join(": true` and `")),
        );
    }
}

/// What Envoy buffers of a body when the listener does not say.
const DEFAULT_BUFFER_BYTES: usize = 1024 * 1024;

/// Envoy itself refuses a body that does not fit its buffer, before the filter has judged it.
fn check_buffer(filter: &Filter<'_>, policy: Option<&Policy>, findings: &mut Findings) {
    let (Some(policy), Some((path, listener))) = (policy, &filter.listener) else { return };
    let longest = policy.rules.iter().filter_map(|rule| {
        let for_payload = rule.payload.as_ref().map(|rules| rules.max_body);
        let for_input = rule.input.as_ref().map(|rules| rules.max_body);
        Some((for_payload.max(for_input)?, rule))
    });
    let Some((max_body, rule)) = longest.max_by_key(|(max_body, _)| *max_body) else { return };
    let member = listener.get("per_connection_buffer_limit_bytes");
    let buffer = match member {
        None => Some(DEFAULT_BUFFER_BYTES),
        // Protobuf's JSON takes a number, and a number as text.
        Some(member) => member.value.to_value().to_string().trim_matches('"').parse().ok(),
    };
    if let Some(buffer) = buffer
        && buffer < max_body
    {
        findings.add(
            Severity::Warning,
            member.map_or(listener.line, |member| member.line),
            &format!("{path}.per_connection_buffer_limit_bytes"),
            format!(
                "Envoy answers 413 to a body of more than {buffer} bytes, and {:?} has `max_body` of {max_body}",
                rule.label
            ),
            &format!("set `per_connection_buffer_limit_bytes: {max_body}`, or a smaller `max_body`"),
        );
    }
}

/// Envoy writes `server` after all filters.
fn check_server(path: &str, manager: &Node, policy: Option<&Policy>, findings: &mut Findings) {
    let hides = |policy: &Policy| {
        let rules = policy.rules.iter().filter_map(|rule| rule.responses.as_ref());
        rules.chain(&policy.responses).any(|rules| rules.hidden.iter().any(|name| name == "server"))
    };
    let passes = manager.text_at(&["server_header_transformation"]) == Some("PASS_THROUGH");
    if policy.is_some_and(hides) && !passes && manager.text_at(&["server_name"]).is_none() {
        let line = manager.get("server_header_transformation").map_or(manager.line, |member| member.line);
        findings.add(
            Severity::Hint,
            line,
            &format!("{path}.server_header_transformation"),
            "`security_headers` removes `server`, and Envoy adds `server: envoy` again",
            "set `server_header_transformation: PASS_THROUGH`, or a `server_name` of your own",
        );
    }
}

/// Without tags, the labels of the counters stay in their names.
pub fn check_statistics(root: &Node, findings: &mut Findings) {
    if !envoy::is_bootstrap(root) {
        return;
    }
    let tags = root.at(&["stats_config", "stats_tags"]).map(Node::elements).unwrap_or_default();
    let has = |name: &str| tags.iter().any(|tag| tag.text_at(&["tag_name"]) == Some(name));
    let missing: Vec<&str> = ["rule", "reason", "verdict"].into_iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        findings.add(
            Severity::Hint,
            root.lines().find("stats_config.stats_tags"),
            "stats_config.stats_tags",
            format!("{} will be no labels of the filter's counters", missing.join(", ")),
            "copy the tags from the reference gateway's envoy.yaml",
        );
    }
}
