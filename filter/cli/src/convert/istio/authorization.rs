//! The rules of an `AuthorizationPolicy`: from whom, to what, and when.

use crate::convert::Options;
use crate::convert::claims;
use crate::convert::condition::{Common, Condition, PathSpec, escape, is_regex};
use crate::convert::envoy::matching::{host, other_methods};
use crate::convert::need::Need;
use crate::convert::networks;
use crate::convert::policy::Alternative;
use crate::convert::providers::Providers;
use crate::document::Node;

/// An alternative and its line.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The alternative.
    pub what: Alternative,
    /// Its line.
    pub line: usize,
}

/// What is being put together.
#[derive(Debug, Clone, Default)]
struct Way {
    what: Alternative,
    is_wider: bool,
}

/// Every way that the rules of a policy match, and whether something of it was left out.
pub fn alternatives(spec: &Node, source: &str, options: &Options, providers: &Providers) -> Vec<(Placed, bool)> {
    let mut found = Vec::new();
    let rules = spec.get("rules").map(|member| member.value.elements()).unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        let list = |field: &str| rule.get(field).map(|member| member.value.elements()).filter(|list| !list.is_empty());
        let mut ways = vec![Way::default()];
        if let Some(sources) = list("from") {
            let sources = sources.iter().map(|part| part.at(&["source"]).unwrap_or(part));
            ways = and(
                &ways,
                &sources.flat_map(|part| fields(part, &|k, v| from(k, v, options, providers))).collect::<Vec<_>>(),
            );
        }
        if let Some(operations) = list("to") {
            let operations = operations.iter().map(|part| part.at(&["operation"]).unwrap_or(part));
            ways = and(&ways, &operations.flat_map(|part| fields(part, &to)).collect::<Vec<_>>());
        }
        for condition in list("when").unwrap_or_default() {
            ways = and(&ways, &when(condition, providers));
        }
        for mut way in ways {
            way.what.source = format!("{source} rules[{index}] (line {})", rule.line);
            found.push((Placed { what: way.what, line: rule.line }, way.is_wider));
        }
    }
    found
}

/// All fields of a source or an operation must hold.
fn fields(node: &Node, read: &dyn Fn(&str, &[String]) -> Vec<Way>) -> Vec<Way> {
    let mut ways = vec![Way::default()];
    for member in node.members() {
        ways = and(&ways, &read(&member.key, &texts(&member.value)));
    }
    ways
}

fn texts(node: &Node) -> Vec<String> {
    node.elements().iter().filter_map(Node::text).map(str::to_owned).collect()
}

fn and(left: &[Way], right: &[Way]) -> Vec<Way> {
    let both = |a: &Way, b: &Way| {
        let (condition, unknown) = match a.what.condition.and(&b.what.condition) {
            Common::Condition(condition) => (condition, false),
            Common::Nothing => return None,
            Common::Unknown => (a.what.condition.clone(), true),
        };
        let need = a.what.need.and(&b.what.need);
        let is_wider = a.is_wider || b.is_wider || unknown || need.is_none();
        let except = a.what.except.iter().chain(&b.what.except).cloned().collect();
        let what = Alternative { condition, except, need: need.unwrap_or_default(), source: String::new() };
        Some(Way { what, is_wider })
    };
    left.iter().flat_map(|a| right.iter().filter_map(move |b| both(a, b))).collect()
}

fn unknown() -> Way {
    Way { is_wider: true, ..Way::default() }
}

fn meets(condition: Condition) -> Way {
    Way { what: Alternative { condition, ..Alternative::default() }, is_wider: false }
}

fn needs(need: Need) -> Way {
    Way { what: Alternative { need, ..Alternative::default() }, is_wider: false }
}

/// A field of `source`: one of the values.
fn from(field: &str, values: &[String], options: &Options, providers: &Providers) -> Vec<Way> {
    let certificates = |names: Vec<Option<String>>| {
        let known: Vec<String> = names.iter().flatten().cloned().collect();
        let mut ways = Vec::new();
        if !known.is_empty() {
            ways.push(needs(Need { certificates: Some(known), ..Need::default() }));
        }
        ways.extend(names.iter().filter(|name| name.is_none()).map(|_| unknown()));
        ways
    };
    match field {
        "principals" => certificates(values.iter().map(|name| spiffe(name)).collect()),
        "namespaces" => certificates(
            values
                .iter()
                .map(|name| (!name.contains('*')).then(|| format!("spiffe://{}/ns/{name}/*", options.trust_domain)))
                .collect(),
        ),
        "requestPrincipals" => values.iter().flat_map(|value| request_principal(value, providers)).collect(),
        "remoteIpBlocks" => vec![within(values)],
        "notRemoteIpBlocks" => vec![outside(values)],
        _ => vec![unknown()],
    }
}

/// `cluster.local/ns/a/sa/b`, or the beginning of such a name.
fn spiffe(name: &str) -> Option<String> {
    let star = name.find('*');
    let at_end = star.is_none_or(|at| at.saturating_add(1) == name.len());
    at_end.then(|| format!("spiffe://{name}"))
}

/// An address in one of these networks, where a proxy in front may have told it. (`ipBlocks` is about the peer.)
fn within(values: &[String]) -> Way {
    let networks: Option<Vec<String>> = values.iter().map(|text| networks::masked(text)).collect();
    networks.map_or_else(unknown, |networks| needs(Need { networks: Some(networks), ..Need::default() }))
}

fn outside(values: &[String]) -> Way {
    let networks: Option<Vec<String>> = values.iter().map(|text| networks::masked(text)).collect();
    networks.map_or_else(unknown, |not_networks| needs(Need { not_networks, ..Need::default() }))
}

/// `issuer/subject`, with `*` in place of either or both.
fn request_principal(value: &str, providers: &Providers) -> Vec<Way> {
    let of = |names: Vec<String>| Need { providers: Some(names), ..Need::default() };
    if value == "*" {
        return vec![needs(of(providers.names()))];
    }
    if let Some(issuer) = value.strip_suffix("/*").filter(|issuer| !issuer.contains('*')) {
        return vec![needs(of(providers.of_issuer(issuer)))];
    }
    let with_subject = |names: Vec<String>, subject: &str| match claims::is(&["sub"], subject) {
        Some(condition) if !subject.is_empty() => needs(Need { conditions: vec![condition], ..of(names) }),
        _ => unknown(),
    };
    if let Some(subject) = value.strip_prefix("*/").filter(|subject| !subject.contains(['*', '/'])) {
        return vec![with_subject(providers.names(), subject)];
    }
    if value.contains('*') {
        return vec![unknown()];
    }
    // Where an issuer ends and a subject begins is for the issuers that are known to say.
    let ends = value.match_indices('/').filter_map(|(at, _)| value.split_at_checked(at));
    ends.filter_map(|(issuer, subject)| {
        let names = providers.of_issuer(issuer);
        (!names.is_empty()).then(|| with_subject(names, subject.strip_prefix('/').unwrap_or_default()))
    })
    .collect()
}

/// A field of `operation`: one of the values.
fn to(field: &str, values: &[String]) -> Vec<Way> {
    let path_ways = || values.iter().map(|value| path(value).map_or_else(unknown, |path| meets(Condition::path(path))));
    match field {
        "methods" if values.iter().all(|method| !method.contains('*')) => {
            vec![meets(Condition::methods(values.iter().cloned()))]
        }
        "notMethods" if values.iter().all(|method| !method.contains('*')) => vec![meets(other_methods(values))],
        "paths" => path_ways().collect(),
        "notPaths" => {
            let ways: Vec<Way> = path_ways().collect();
            let is_wider = ways.iter().any(|way| way.is_wider);
            let except = ways.into_iter().map(|way| way.what.condition).collect();
            vec![Way { what: Alternative { except, ..Alternative::default() }, is_wider }]
        }
        "hosts" => {
            let hosts = values.iter().map(|value| {
                let wide = value.strip_prefix('*').is_some_and(|rest| !rest.starts_with('.'));
                match host(value).filter(|_| !wide) {
                    Some(host) => meets(Condition { host: Some(host), ..Condition::default() }),
                    None => unknown(),
                }
            });
            hosts.collect()
        }
        _ => vec![unknown()],
    }
}

/// Exact, `prefix*`, `*suffix`, `*`, or a template with `{*}` and `{**}`.
fn path(value: &str) -> Option<PathSpec> {
    if value == "*" {
        return Some(PathSpec::Prefix("/".to_owned()));
    }
    if value.contains("{*}") || value.contains("{**}") {
        let parts: Option<Vec<String>> = value
            .split('/')
            .skip(1)
            .map(|part| match part {
                "{*}" => Some("[^/]+".to_owned()),
                "{**}" => Some(".*".to_owned()),
                plain => PathSpec::is_plain(&format!("/{plain}")).then(|| escape(plain)),
            })
            .collect();
        let source = format!("/{}", parts?.join("/"));
        return is_regex(&source).then_some(PathSpec::Regex(source));
    }
    let plain = |text: &str| PathSpec::is_plain(text).then(|| text.to_owned());
    match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(suffix), _) => {
            let is_plain = PathSpec::is_plain(&format!("/{suffix}"));
            is_plain.then(|| PathSpec::Regex(format!(".*{}", escape(suffix))))
        }
        (_, Some(prefix)) => plain(prefix).map(PathSpec::Prefix),
        _ => plain(value).map(PathSpec::Exact),
    }
}

/// A condition of `when`.
fn when(condition: &Node, providers: &Providers) -> Vec<Way> {
    let key = condition.text_at(&["key"]).unwrap_or_default();
    let values = condition.at(&["values"]).map(texts).unwrap_or_default();
    if let Some(others) = condition.at(&["notValues"]).map(texts).filter(|others| !others.is_empty()) {
        return match (key, values.as_slice()) {
            ("remote.ip", []) => vec![outside(&others)],
            _ => vec![unknown()],
        };
    }
    let inside = |prefix: &str| key.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(']'));
    let is_word = |value: &String| !value.contains(['*', ' ']) && !value.is_empty();
    if let Some(name) = inside("request.headers[") {
        let name = name.to_ascii_lowercase();
        let ways = values.iter().map(|value| match value.as_str() {
            _ if name.starts_with(':') => unknown(),
            "*" => meets(Condition { headers: [(name.clone(), "*".to_owned())].into(), ..Condition::default() }),
            exact if !exact.contains('*') => {
                meets(Condition { headers: [(name.clone(), exact.to_owned())].into(), ..Condition::default() })
            }
            _ => unknown(),
        });
        return ways.collect();
    }
    match (key, inside("request.auth.claims[")) {
        ("remote.ip", _) => vec![within(&values)],
        ("request.auth.principal", _) => values.iter().flat_map(|value| request_principal(value, providers)).collect(),
        ("request.auth.audiences", _) => vec![claim(&["aud"], &values)],
        ("request.auth.presenter", _) => vec![claim(&["azp"], &values)],
        (_, Some("scope")) if values.iter().all(is_word) && !values.is_empty() => {
            vec![needs(Need { scopes: vec![values], ..Need::default() })]
        }
        (_, Some("iss")) if values.iter().all(is_word) => {
            let names = values.iter().flat_map(|issuer| providers.of_issuer(issuer)).collect();
            vec![needs(Need { providers: Some(names), ..Need::default() })]
        }
        // Words of a text are split there, and nowhere here.
        (_, Some("scope" | "scp" | "permission")) => vec![unknown()],
        (_, Some(names)) => vec![claim(&names.split("][").collect::<Vec<_>>(), &values)],
        _ => vec![unknown()],
    }
}

/// A claim that is one of these texts, or a list with one of them.
fn claim(names: &[&str], values: &[String]) -> Way {
    let is_exact = values.iter().all(|value| !value.contains(['*', ' ']) && !value.is_empty());
    match claims::has_one_of(names, values).filter(|_| is_exact) {
        Some(condition) => needs(Need::condition(condition)),
        None => unknown(),
    }
}
