//! `jwt_authn`: providers, and rules that say whose word is needed.

use serde_json::{Map, Value, json};

use super::matching::{Fidelity, route_match};
use crate::convert::Options;
use crate::convert::condition::Condition;
use crate::convert::keys;
use crate::convert::notes::Notes;
use crate::convert::policy::{Group, Requirement};
use crate::convert::providers::{Provider, Providers, plain_name, split_url};
use crate::document::Node;

/// The groups of a filter's rules, the last one for what no rule matches; its providers are added.
pub fn groups(filter: &Node, options: &Options, providers: &mut Providers, notes: &mut Notes) -> Vec<Group> {
    for member in filter.get("providers").map(|member| member.value.members()).unwrap_or_default() {
        let converted = provider(&member.key, &member.value, options, notes);
        providers.0.insert(plain_name(&member.key), converted);
    }
    let mut groups = Vec::new();
    if filter.is_true_at(&["bypass_cors_preflight"]) {
        let headers = ["origin", "access-control-request-method"].map(|name| (name.to_owned(), "*".to_owned()));
        let preflight = Condition::methods(["OPTIONS".to_owned()]);
        let condition = Condition { headers: headers.into_iter().collect(), ..preflight };
        let source = "jwt_authn bypass_cors_preflight".to_owned();
        groups.push(Group { condition, requirement: Requirement::Nothing, source });
    }
    let rules = filter.get("rules").map(|member| member.value.elements()).unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        let source = format!("jwt_authn rules[{index}] (line {})", rule.line);
        let (condition, fidelity) = rule.at(&["match"]).map_or((Condition::default(), Fidelity::Wider), route_match);
        let named = rule.text_at(&["requirement_name"]);
        let requires = match named {
            Some(name) => filter.at(&["requirement_map", name]),
            None => rule.at(&["requires"]),
        };
        let requirement = match (named, requires) {
            (Some(name), None) => {
                notes.stricter(rule.line, &source, &format!("requirement {name:?} is not there"), "");
                Requirement::NoEqual
            }
            (None, None) => Requirement::Nothing,
            (_, Some(node)) => {
                let Some(read) = requirement(node, providers) else {
                    let problem = "a requirement that has no equal: nobody passes";
                    notes.stricter(node.line, &source, problem, "`require` takes one of `any` and `all`");
                    groups.push(Group { condition, requirement: Requirement::NoEqual, source });
                    continue;
                };
                say_what_is_stricter(node, &source, notes);
                read
            }
        };
        match (fidelity, &requirement) {
            (Fidelity::Exact, _) => groups.push(Group { condition, requirement, source }),
            // What a rule lets pass goes to the rules behind it, which ask for no less.
            (Fidelity::Wider, Requirement::Nothing) => {
                let problem = "a match that has no equal: its requests are judged by the rules behind it";
                notes.stricter(rule.line, &source, problem, "write a rule with `allow: public`");
            }
            (Fidelity::Wider, _) => {
                let problem = "a match that has no equal: nobody passes who meets the part of it that has one";
                notes.stricter(rule.line, &source, problem, "rules match path, host, methods and exact headers");
                groups.push(Group { condition, requirement: Requirement::NoEqual, source });
            }
        }
    }
    let by_state = filter.get("filter_state_rules");
    if let Some(member) = by_state {
        let problem = "requirements by filter state have no equal: nobody passes whom no rule is about";
        notes.stricter(member.line, "filter_state_rules", problem, "write rules for what other filters decide");
    }
    let requirement = if by_state.is_some() { Requirement::NoEqual } else { Requirement::Nothing };
    groups.push(Group { condition: Condition::default(), requirement, source: "whatever no rule is about".to_owned() });
    groups
}

/// `None`: it has no equal.
fn requirement(node: &Node, providers: &mut Providers) -> Option<Requirement> {
    let [member] = node.members() else {
        return node.members().is_empty().then_some(Requirement::Nothing);
    };
    let one = |name: String| Requirement::Providers { names: vec![name], all: false, optional: false };
    let usable = |name: &str, providers: &Providers| Some(plain_name(name)).filter(|name| !providers.is_unusable(name));
    match member.key.as_str() {
        "provider_name" => usable(member.value.text()?, providers).map(one),
        "provider_and_audiences" => {
            let name = usable(member.value.text_at(&["provider_name"])?, providers)?;
            let audiences = member.value.at(&["audiences"]).map(Node::elements).unwrap_or_default();
            let audiences: Vec<String> = audiences.iter().filter_map(|node| node.text().map(str::to_owned)).collect();
            if audiences.is_empty() {
                return Some(one(name));
            }
            Some(one(providers.with_audiences(&name, &audiences)))
        }
        "allow_missing" | "allow_missing_or_failed" => {
            let names = providers.names();
            if names.iter().any(|name| !providers.sees_every_token(name)) {
                return None;
            }
            if names.is_empty() {
                return Some(Requirement::Nothing);
            }
            Some(Requirement::Providers { names, all: false, optional: true })
        }
        "requires_any" => {
            let (mut names, mut optional) = (Vec::new(), false);
            for part in member.value.at(&["requirements"]).map(Node::elements).unwrap_or_default() {
                match part.members() {
                    [member] if member.key.starts_with("allow_missing") => optional = true,
                    _ => match requirement(part, providers) {
                        Some(Requirement::Providers { names: more, all: false, optional: false }) => names.extend(more),
                        // A way that has no equal is left out: fewer pass.
                        None => {}
                        Some(_) => return None,
                    },
                }
            }
            names.dedup();
            // A bad token that is not seen would count as none.
            let is_seen = !optional || names.iter().all(|name| providers.sees_every_token(name));
            (!names.is_empty() && is_seen).then_some(Requirement::Providers { names, all: false, optional })
        }
        "requires_all" => {
            let mut names = Vec::new();
            for part in member.value.at(&["requirements"]).map(Node::elements).unwrap_or_default() {
                match requirement(part, providers)? {
                    Requirement::Providers { optional: true, .. } => {}
                    Requirement::Providers { names: more, all, .. } if all || more.len() == 1 => names.extend(more),
                    Requirement::Nothing => {}
                    _ => return None,
                }
            }
            names.dedup();
            match names.len() {
                // All parts let a missing token pass: that is what `allow_missing` alone means.
                0 => None,
                1 => Some(Requirement::Providers { names, all: false, optional: false }),
                _ => Some(Requirement::Providers { names, all: true, optional: false }),
            }
        }
        _ => None,
    }
}

fn say_what_is_stricter(node: &Node, source: &str, notes: &mut Notes) {
    let lines: Vec<(usize, bool)> = crate::envoy::places(node)
        .iter()
        .flat_map(|place| place.node.members())
        .filter(|member| member.key.starts_with("allow_missing"))
        .map(|member| (member.line, member.key.ends_with("_or_failed")))
        .collect();
    for (line, failed) in lines {
        if failed {
            let problem = "a bad token is refused here, and let through by `allow_missing_or_failed`";
            notes.stricter(line, source, problem, "write `allow: public` where tokens do not matter");
        }
    }
}

fn provider(name: &str, node: &Node, options: &Options, notes: &mut Notes) -> Provider {
    let mut provider = Provider::default();
    let mut section = Map::new();
    let what = format!("provider {name:?}");
    if let Some(issuer) = node.text_at(&["issuer"]) {
        section.insert("issuer".to_owned(), json!(issuer));
    }
    let audiences =
        node.at(&["audiences"]).map(Node::to_value).filter(|list| list.as_array().is_some_and(|l| !l.is_empty()));
    section.insert("audiences".to_owned(), audiences.unwrap_or_else(|| options.audience(&what, node.line, notes)));
    let inline = node.text_at(&["local_jwks", "inline_string"]);
    section.insert("algorithms".to_owned(), json!(keys::algorithms(inline, options, &mut provider.comments)));
    section.insert("jwks".to_owned(), key_set(name, node, inline, &mut provider, notes));
    places_of_tokens(node, &what, &mut section, &mut provider, notes);
    provider.payload_key = node.text_at(&["payload_in_metadata"]).map(str::to_owned);
    let split = node.at(&["normalize_payload_in_metadata", "space_delimited_claims"]).map(Node::elements);
    provider.splits_scope = split.unwrap_or_default().iter().any(|claim| claim.text() == Some("scope"));
    let mut claims = Map::new();
    let skew = node.at(&["clock_skew_seconds"]).map(Node::to_value).and_then(|value| value.as_u64()).unwrap_or(60);
    claims.insert("leeway".to_owned(), json!(format!("{}s", skew.clamp(1, 300))));
    if skew > 300 {
        notes.stricter(node.line, &what, "its clock skew is above five minutes", "five minutes are the most");
    }
    section.insert("claims".to_owned(), Value::Object(claims));
    if !node.is_true_at(&["require_expiration"]) {
        provider.comments.push("A token without `exp` is refused here, and taken by jwt_authn.".to_owned());
    }
    let mut forward = Map::new();
    let keeps = node.is_true_at(&["forward"]);
    forward.insert("token".to_owned(), json!(if keeps { "keep" } else { "strip" }));
    let mut headers = Map::new();
    for claim in node.at(&["claim_to_headers"]).map(Node::elements).unwrap_or_default() {
        if let (Some(header), Some(claim)) = (claim.text_at(&["header_name"]), claim.text_at(&["claim_name"])) {
            headers.insert(header.to_ascii_lowercase(), json!(claim));
        }
    }
    if !headers.is_empty() {
        forward.insert("headers".to_owned(), Value::Object(headers));
    }
    section.insert("forward".to_owned(), Value::Object(forward));
    if let Some(member) = node.get("forward_payload_header") {
        let problem = "the payload as a whole goes to no service";
        notes.note(member.line, &what, problem, "name the claims that are needed in `forward.headers`");
    }
    for (field, hint) in [
        ("max_lifetime", "`claims.max_age` bounds the age of tokens, not the time that they are made for"),
        ("subjects", "name those that may pass in an issuer of their own"),
    ] {
        if let Some(member) = node.get(field) {
            let problem = format!("`{field}` has no equal: nobody passes by this provider's word");
            notes.stricter(member.line, &what, &problem, hint);
            provider.is_unusable = true;
        }
    }
    provider.section = section;
    provider
}

fn key_set(name: &str, node: &Node, inline: Option<&str>, provider: &mut Provider, notes: &mut Notes) -> Value {
    let what = format!("provider {name:?}");
    let mut jwks = Map::new();
    if let Some(remote) = node.at(&["remote_jwks"]) {
        let cluster = remote.text_at(&["http_uri", "cluster"]).unwrap_or_default();
        let uri = remote.text_at(&["http_uri", "uri"]).unwrap_or_default();
        let (authority, path) = split_url(uri).unwrap_or_else(|| (cluster.to_owned(), uri.to_owned()));
        jwks.insert("cluster".to_owned(), json!(cluster));
        jwks.insert("path".to_owned(), json!(path));
        jwks.insert("authority".to_owned(), json!(authority));
        if let Some(span) = remote.text_at(&["cache_duration"]).filter(|span| keys::is_span(span)) {
            jwks.insert("refresh".to_owned(), json!(span));
        }
        return Value::Object(jwks);
    }
    match inline.map(serde_json::from_str::<Value>) {
        Some(Ok(keys)) if keys.get("keys").is_some() => {
            jwks.insert("inline".to_owned(), keys);
        }
        Some(Ok(key)) if key.get("kty").is_some() => {
            jwks.insert("inline".to_owned(), json!({"keys": [key]}));
        }
        _ => {
            let own = format!("{}_JWKS", plain_name(name).to_ascii_uppercase().replace('-', "_"));
            let variable = node.text_at(&["local_jwks", "environment_variable"]).unwrap_or(&own);
            jwks.insert("env".to_owned(), json!(variable));
            let problem = format!("its key set is taken from the variable {variable:?} of the filter's VM");
            notes.note(node.line, &what, &problem, "put the key set there, as JSON");
            provider.comments.push(format!("The key set goes into the variable {variable}."));
        }
    }
    Value::Object(jwks)
}

fn places_of_tokens(
    node: &Node,
    what: &str,
    section: &mut Map<String, Value>,
    provider: &mut Provider,
    notes: &mut Notes,
) {
    let mut places = Vec::new();
    let elements = |field: &str| node.at(&[field]).map(Node::elements).unwrap_or_default();
    for header in elements("from_headers") {
        let name = header.text_at(&["name"]).unwrap_or_default().to_ascii_lowercase();
        let prefix = header.text_at(&["value_prefix"]).unwrap_or_default();
        match prefix.strip_suffix(' ') {
            None if prefix.is_empty() => places.push(json!({"header": name})),
            Some(scheme) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) && !scheme.is_empty() => {
                places.push(json!({"header": name, "scheme": scheme}));
            }
            _ => {
                let problem = format!("tokens after {prefix:?} have no equal: they are not found");
                notes.stricter(header.line, what, &problem, "a scheme is one word before a space");
                provider.misses_places = true;
            }
        }
    }
    for parameter in elements("from_params").iter().filter_map(Node::text) {
        places.push(json!({"query": parameter}));
    }
    for cookie in elements("from_cookies").iter().filter_map(Node::text) {
        places.push(json!({"cookie": cookie}));
    }
    let says_nothing = ["from_headers", "from_params", "from_cookies"].iter().all(|field| elements(field).is_empty());
    if places.is_empty() && says_nothing {
        section.insert("token_from".to_owned(), keys::default_places(&mut provider.comments));
    } else if places.is_empty() {
        provider.is_unusable = true;
    } else {
        section.insert("token_from".to_owned(), Value::Array(places));
    }
}
