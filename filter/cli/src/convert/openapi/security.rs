//! Security requirements of an OpenAPI document as providers and what rules ask of callers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::schema::resolved;
use crate::convert::Options;
use crate::convert::notes::Notes;
use crate::convert::providers::{Provider, Providers, plain_name, split_url};

/// What stands where only the operator knows what belongs.
const PLACEHOLDER: &str = "CHANGE-ME";

/// Adds what an operation's `security` asks for to its rule: `allow: nobody` where it has no equal.
pub fn ask(
    security: &Value,
    api: &Value,
    place: (&str, usize),
    options: &Options,
    providers: &mut Providers,
    notes: &mut Notes,
) -> Map<String, Value> {
    let (what, line) = place;
    let alternatives: Vec<&Map<String, Value>> =
        security.as_array().into_iter().flatten().filter_map(Value::as_object).collect();
    let is_optional = alternatives.iter().any(|names| names.is_empty());
    let alternatives: Vec<BTreeMap<String, Vec<&str>>> =
        alternatives.into_iter().filter(|names| !names.is_empty()).map(with_scopes).collect();
    let Some(first) = alternatives.first() else {
        return Map::from_iter([("allow".to_owned(), json!("public"))]);
    };
    // One credential each, and the same scopes: any of them will do.
    let is_simple = alternatives.iter().all(|names| names.len() == 1)
        && alternatives.iter().all(|names| names.values().eq(first.values()));
    let mut chosen = first.clone();
    if is_simple {
        chosen = alternatives.iter().flat_map(|names| names.clone()).collect();
    } else if alternatives.len() > 1 {
        let problem = "asks for one of several things that no rule asks for together: the first one is asked for";
        notes.stricter(line, what, problem, "write a rule of your own where callers use another one");
    }
    let mut with: Vec<&String> = chosen.iter().filter(|(_, scopes)| !scopes.is_empty()).map(|(name, _)| name).collect();
    if !is_simple && with.len() > 1 {
        notes.stricter(line, what, "asks for scopes of several credentials at once", "write a rule of your own");
        return Map::from_iter([("allow".to_owned(), json!("nobody"))]);
    }
    // The first one's word is the identity, whose scopes are looked at.
    with.extend(chosen.keys().filter(|name| chosen.get(*name).is_some_and(Vec::is_empty)));
    let mut names = Vec::new();
    for scheme in with {
        match provider(scheme, api, options, providers, notes) {
            Some(name) => names.push(name),
            None => return Map::from_iter([("allow".to_owned(), json!("nobody"))]),
        }
    }
    let list = if is_simple { "any" } else { "all" };
    let mut require = Map::from_iter([(list.to_owned(), json!(names))]);
    let mut scopes: Vec<&str> = chosen.values().flatten().copied().collect();
    scopes.sort_unstable();
    scopes.dedup();
    let mut asked = Map::new();
    if is_optional {
        require.insert("optional".to_owned(), json!(true));
    } else if !scopes.is_empty() {
        asked.insert("scopes".to_owned(), json!({"all": scopes}));
    }
    let is_plain = names.len() == 1 && !is_optional;
    asked.insert("require".to_owned(), if is_plain { json!(names.first()) } else { Value::Object(require) });
    asked
}

fn with_scopes(names: &Map<String, Value>) -> BTreeMap<String, Vec<&str>> {
    let scopes = |value| Value::as_array(value).into_iter().flatten().filter_map(Value::as_str).collect();
    names.iter().map(|(name, value)| (name.clone(), scopes(value))).collect()
}

/// The provider for a security scheme; made where there is none yet.
fn provider(
    scheme: &str,
    api: &Value,
    options: &Options,
    providers: &mut Providers,
    notes: &mut Notes,
) -> Option<String> {
    let name: String = plain_name(scheme).chars().take(64).collect();
    if providers.0.contains_key(&name) {
        return Some(name);
    }
    let what = format!("security scheme {scheme:?}");
    let schemes = api.pointer("/components/securitySchemes");
    let Some(written) = schemes.and_then(|schemes| schemes.get(scheme)) else {
        notes.stricter(0, &what, "is not there: nobody passes", "declare it in components.securitySchemes");
        return None;
    };
    let written = resolved(api, written);
    let text = |member: &str| written.get(member).and_then(Value::as_str).unwrap_or_default();
    let client = json!({PLACEHOLDER: {"sha256": "0".repeat(64)}});
    let fill_in = |notes: &mut Notes, problem: &str, hint: &str| {
        notes.stricter(0, &what, &format!("{problem}: nobody passes until they are filled in"), hint);
    };
    let section = match (text("type"), text("scheme").to_ascii_lowercase().as_str()) {
        ("http", "basic") => {
            fill_in(
                notes,
                "the clients are not described",
                "put them in place of CHANGE-ME, with the SHA-256 of each password",
            );
            json!({"basic": {"clients": client}})
        }
        ("apiKey", _) => {
            fill_in(
                notes,
                "the clients are not described",
                "put them in place of CHANGE-ME, with the SHA-256 of each key",
            );
            let place = match text("in") {
                place @ ("query" | "cookie") => place,
                _ => "header",
            };
            json!({"api_keys": {place: text("name"), "clients": client}})
        }
        ("mutualTLS", _) => {
            fill_in(notes, "the names in certificates are not described", "put them in place of CHANGE-ME");
            json!({"certificate": {"identity": "uri_san", "allow": [format!("spiffe://{PLACEHOLDER}")]}})
        }
        ("http", "bearer") | ("oauth2" | "openIdConnect", _) => {
            let described = text("openIdConnectUrl").strip_suffix("/.well-known/openid-configuration");
            let issuer = described.map_or_else(|| format!("https://{PLACEHOLDER}.example"), str::to_owned);
            let host = split_url(&issuer).map_or_else(|| PLACEHOLDER.to_owned(), |(host, _)| host);
            if described.is_none() {
                fill_in(
                    notes,
                    "the issuer is not described",
                    "put it in place of CHANGE-ME, and name the Envoy cluster that serves its keys",
                );
            }
            json!({
                "issuer": issuer,
                "audiences": options.audience(&what, 0, notes),
                "algorithms": options.algorithms,
                "discovery": {"cluster": host},
            })
        }
        (kind, scheme) => {
            notes.stricter(
                0,
                &what,
                &format!("{kind} {scheme} has no equal: nobody passes"),
                "write a rule of your own",
            );
            return None;
        }
    };
    let section = section.as_object().cloned().unwrap_or_default();
    providers.0.insert(name.clone(), Provider { section, ..Provider::default() });
    Some(name)
}
