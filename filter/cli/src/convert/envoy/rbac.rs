//! `rbac`: policies of permissions and principals.

use super::matching::{header_match, other_methods, path_matcher};
use crate::convert::claims;
use crate::convert::condition::{Common, Condition};
use crate::convert::need::Need;
use crate::convert::networks;
use crate::convert::notes::Notes;
use crate::convert::policy::{Alternative, Plan};
use crate::convert::providers::Providers;
use crate::document::Node;

/// One of several ways to meet a permission or a principal.
#[derive(Debug, Clone, Default)]
struct Way {
    condition: Condition,
    except: Vec<Condition>,
    need: Need,
    /// Something of it has no equal, and is left out.
    is_wider: bool,
}

/// Adds what a filter allows or denies.
pub fn read(filter: &Node, providers: &Providers, plan: &mut Plan, notes: &mut Notes) {
    if let Some(member) = filter.get("shadow_rules") {
        notes.note(
            member.line,
            "rbac shadow_rules",
            "they decide nothing, and are left out",
            "`mode: monitor` on a rule",
        );
    }
    if let Some(member) = filter.get("matcher") {
        let problem = "a matching tree has no equal: nobody passes";
        notes.stricter(member.line, "rbac matcher", problem, "write rules");
        plan.allowed.push(Vec::new());
        return;
    }
    let Some(rules) = filter.get("rules").map(|member| &member.value) else { return };
    let action = rules.text_at(&["action"]).unwrap_or("ALLOW");
    let mut ways = Vec::new();
    for policy in rules.get("policies").map(|member| member.value.members()).unwrap_or_default() {
        let source = format!("rbac policy {:?} (line {})", policy.key, policy.line);
        let conditional =
            ["condition", "checked_condition", "cel_config"].iter().find_map(|field| policy.value.get(field));
        let list = |field: &str| policy.value.at(&[field]).map(Node::elements).unwrap_or_default();
        let permissions: Vec<Way> = list("permissions").iter().flat_map(permission).collect();
        let principals: Vec<Way> = list("principals").iter().flat_map(|node| principal(node, providers)).collect();
        for a in &permissions {
            for b in &principals {
                let Some(mut way) = and(a, b) else { continue };
                way.is_wider |= conditional.is_some();
                ways.push((way, source.clone(), policy.line));
            }
        }
    }
    match action {
        "ALLOW" => {
            let mut allowed = Vec::new();
            for (way, source, line) in ways {
                if way.is_wider {
                    let problem = "a permission, principal or condition that has no equal: it allows nothing";
                    let hint = "paths, hosts, methods, exact headers, `remote_ip`, issuers, claims and URI names of \
                                certificates have one";
                    notes.stricter(line, &source, problem, hint);
                    continue;
                }
                allowed.push(Alternative { condition: way.condition, except: way.except, need: way.need, source });
            }
            plan.allowed.push(allowed);
        }
        "DENY" => {
            for (way, source, line) in ways {
                let Way { condition, except, need, is_wider } = way;
                plan.deny(Alternative { condition, except, need, source }, is_wider, line, notes);
            }
        }
        other => {
            let line = rules.get("action").map_or(rules.line, |member| member.line);
            notes.note(line, &format!("rbac action {other}"), "it decides nothing, and is left out", "");
        }
    }
}

/// Both; `None` where nothing can be both.
fn and(a: &Way, b: &Way) -> Option<Way> {
    let (condition, unknown) = match a.condition.and(&b.condition) {
        Common::Condition(condition) => (condition, false),
        Common::Nothing => return None,
        Common::Unknown => (a.condition.clone(), true),
    };
    let need = a.need.and(&b.need);
    Some(Way {
        condition,
        except: a.except.iter().chain(&b.except).cloned().collect(),
        is_wider: a.is_wider || b.is_wider || unknown || need.is_none(),
        need: need.unwrap_or_default(),
    })
}

fn all(parts: &[Node], read: &dyn Fn(&Node) -> Vec<Way>) -> Vec<Way> {
    let mut ways = vec![Way::default()];
    for part in parts {
        let next = read(part);
        ways = ways.iter().flat_map(|way| next.iter().filter_map(|other| and(way, other))).collect();
    }
    ways
}

fn unknown() -> Vec<Way> {
    vec![Way { is_wider: true, ..Way::default() }]
}

fn of_condition(condition: Condition) -> Vec<Way> {
    vec![Way { condition, ..Way::default() }]
}

fn permission(node: &Node) -> Vec<Way> {
    let [member] = node.members() else { return unknown() };
    let parts = |field: &str| member.value.at(&[field]).map(Node::elements).unwrap_or_default();
    match member.key.as_str() {
        "any" if member.value.to_value() == true => vec![Way::default()],
        "header" => header(&member.value),
        "url_path" => path(&member.value),
        "and_rules" => all(parts("rules"), &permission),
        "or_rules" => parts("rules").iter().flat_map(permission).collect(),
        "not_rule" => not(&permission(&member.value)),
        _ => unknown(),
    }
}

fn header(node: &Node) -> Vec<Way> {
    let mut condition = Condition::default();
    let is_exact = header_match(node, &mut condition);
    vec![Way { condition, is_wider: !is_exact, ..Way::default() }]
}

fn path(node: &Node) -> Vec<Way> {
    node.at(&["path"]).and_then(path_matcher).map_or_else(unknown, |path| of_condition(Condition::path(path)))
}

/// What is not one of `ways`: other methods, or everything but these paths.
fn not(ways: &[Way]) -> Vec<Way> {
    let plain = ways.iter().all(|way| !way.is_wider && way.except.is_empty() && way.need == Need::default());
    if !plain {
        return unknown();
    }
    let methods: Option<Vec<String>> = ways
        .iter()
        .map(|way| match (&way.condition.methods, way.condition.path.is_some() || way.condition.host.is_some()) {
            (Some(methods), false) if way.condition.headers.is_empty() => {
                Some(methods.iter().cloned().collect::<Vec<_>>())
            }
            _ => None,
        })
        .collect::<Option<Vec<_>>>()
        .map(|lists| lists.concat());
    match methods {
        Some(methods) => of_condition(other_methods(&methods)),
        None => vec![Way { except: ways.iter().map(|way| way.condition.clone()).collect(), ..Way::default() }],
    }
}

fn principal(node: &Node, providers: &Providers) -> Vec<Way> {
    let [member] = node.members() else { return unknown() };
    let parts = |field: &str| member.value.at(&[field]).map(Node::elements).unwrap_or_default();
    let read = |node: &Node| principal(node, providers);
    match member.key.as_str() {
        "any" if member.value.to_value() == true => vec![Way::default()],
        "header" => header(&member.value),
        "url_path" => path(&member.value),
        "and_ids" => all(parts("ids"), &read),
        "or_ids" => parts("ids").iter().flat_map(read).collect(),
        "authenticated" => certificate(&member.value),
        "remote_ip" => network(&member.value).map_or_else(unknown, |network| {
            vec![Way { need: Need { networks: Some(vec![network]), ..Need::default() }, ..Way::default() }]
        }),
        "not_id" => not_addresses(&principal(&member.value, providers)),
        "metadata" => claim(&member.value, providers).map_or_else(unknown, |need| vec![Way { need, ..Way::default() }]),
        _ => unknown(),
    }
}

/// `CidrRange` of `remote_ip`: the address that a proxy in front may have told is the one that our lists judge.
/// `source_ip` and `direct_remote_ip` are the peer's.
fn network(node: &Node) -> Option<String> {
    let address = node.text_at(&["address_prefix"])?;
    let length = node.at(&["prefix_len"]).map_or_else(|| "0".to_owned(), |length| length.to_value().to_string());
    networks::masked(&format!("{address}/{}", length.trim_matches('"')))
}

/// Other addresses than those of one way.
fn not_addresses(ways: &[Way]) -> Vec<Way> {
    let [way] = ways else { return unknown() };
    let plain = !way.is_wider && way.except.is_empty() && way.condition == Condition::default();
    match way.need.other_addresses().filter(|_| plain) {
        Some(need) => vec![Way { need, ..Way::default() }],
        None => unknown(),
    }
}

/// Names of certificates: URIs only, since Envoy looks at others only where there is none.
fn certificate(node: &Node) -> Vec<Way> {
    let name = match node.at(&["principal_name"]) {
        None => Some("spiffe://*".to_owned()),
        Some(name) if name.is_true_at(&["ignore_case"]) => None,
        Some(name) => {
            let exact = name.text_at(&["exact"]).filter(|name| !name.contains('*')).map(str::to_owned);
            let prefix = name.text_at(&["prefix"]).filter(|name| !name.contains('*'));
            exact.or_else(|| prefix.map(|prefix| format!("{prefix}*"))).filter(|name| name.contains("://"))
        }
    };
    let Some(name) = name else { return unknown() };
    vec![Way { need: Need { certificates: Some(vec![name]), ..Need::default() }, ..Way::default() }]
}

/// A claim that jwt_authn has left in the metadata: issuers and scopes have an equal.
fn claim(node: &Node, providers: &Providers) -> Option<Need> {
    if node.text_at(&["filter"]) != Some("envoy.filters.http.jwt_authn") || node.is_true_at(&["invert"]) {
        return None;
    }
    let keys: Vec<&str> = node.at(&["path"])?.elements().iter().filter_map(|part| part.text_at(&["key"])).collect();
    let [payload, claim, inside @ ..] = keys.as_slice() else { return None };
    let exact = node.text_at(&["value", "string_match", "exact"]);
    let listed = node.text_at(&["value", "list_match", "one_of", "string_match", "exact"]);
    // Those whose claims stand there: the others' tokens have no such claim to RBAC.
    let here =
        |name: &&String| providers.0.get(*name).is_some_and(|known| known.payload_key.as_deref() == Some(payload));
    let with = |condition: String| {
        let names = providers.0.keys().filter(here).cloned().collect();
        Need { providers: Some(names), ..Need::condition(condition) }
    };
    let way: Vec<&str> = std::iter::once(*claim).chain(inside.iter().copied()).collect();
    match (*claim, exact, listed) {
        _ if !inside.is_empty() => text_of_claim(&way, node).map(with),
        ("iss", Some(issuer), _) => {
            let names = providers.of_issuer(issuer).iter().filter(here).cloned().collect();
            Some(Need { providers: Some(names), ..Need::default() })
        }
        // A word of a list is a word of our scopes. The scope as one text is not, nor is a part of it.
        ("scope", _, Some(scope)) if !scope.contains(' ') && !scope.is_empty() => {
            let splits = |name: &&String| providers.0.get(*name).is_some_and(|known| known.splits_scope);
            let names = providers.0.keys().filter(here).filter(splits).cloned().collect();
            Some(Need { providers: Some(names), scopes: vec![vec![scope.to_owned()]], ..Need::default() })
        }
        // What jwt_authn has split is a list there and a text here.
        ("iss" | "scope" | "scp", ..) => None,
        _ => text_of_claim(&way, node).map(with),
    }
}

/// What is asked of a claim: a text, or one of a list.
fn text_of_claim(way: &[&str], node: &Node) -> Option<String> {
    let text = |name: &str| node.text_at(&["value", "string_match", name]);
    if node.at(&["value", "string_match"]).is_some_and(|matcher| matcher.is_true_at(&["ignore_case"])) {
        return None;
    }
    if let Some(exact) = text("exact") {
        return claims::is(way, exact);
    }
    if let Some(entry) = node.text_at(&["value", "list_match", "one_of", "string_match", "exact"]) {
        return claims::lists(way, entry);
    }
    let functions = [("prefix", "startsWith"), ("suffix", "endsWith"), ("contains", "contains")];
    functions.into_iter().find_map(|(matcher, function)| claims::matches(way, function, text(matcher)?))
}
