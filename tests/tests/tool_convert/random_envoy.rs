//! Random configurations of `jwt_authn` and `rbac`, and what Envoy makes of them.

use std::net::Ipv4Addr;

use portcullis_cli::explain::replay::{Answers, Session};
use serde_json::{Value, json};

use super::dice::Dice;
use super::world::{FAR, NEAR, World, judge, now};

const PATHS: [&str; 6] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/c"];

fn route_match(dice: &mut Dice) -> Value {
    let field = dice.of(&["prefix", "path", "path_separated_prefix", "prefix"]);
    let path = if field == "path_separated_prefix" { dice.of(&PATHS[1..]) } else { dice.of(&PATHS) };
    let mut found = json!({field: path});
    match dice.below(6) {
        0 => found["headers"] = json!([{"name": ":method", "string_match": {"exact": dice.of(&["GET", "POST"])}}]),
        1 => found["headers"] = json!([{"name": "x-a", "string_match": {"exact": "1"}}]),
        2 => found["query_parameters"] = json!([{"name": "q", "present_match": true}]),
        _ => {}
    }
    found
}

fn requires(dice: &mut Dice) -> Value {
    match dice.below(5) {
        0 => json!({}),
        1 => json!({"requires_any": {"requirements": [{"provider_name": "p"}, {"allow_missing": {}}]}}),
        2 => json!({"allow_missing_or_failed": {}}),
        3 => json!({"requires_all": {"requirements": [{"provider_name": "p"}, {"allow_missing": {}}]}}),
        _ => json!({"provider_name": "p"}),
    }
}

fn permission(dice: &mut Dice) -> Value {
    match dice.below(8) {
        0 => json!({"any": true}),
        1 => json!({"header": {"name": ":method", "string_match": {"exact": dice.of(&["GET", "POST"])}}}),
        2 => json!({"header": {"name": "x-a", "present_match": true}}),
        3 => json!({"url_path": {"path": {"exact": dice.of(&PATHS)}}}),
        4 => json!({"and_rules": {"rules": dice.some(2, permission)}}),
        5 => json!({"or_rules": {"rules": dice.some(2, permission)}}),
        6 => json!({"not_rule": permission(dice)}),
        _ => json!({"url_path": {"path": {"prefix": dice.of(&PATHS)}}}),
    }
}

fn principal(dice: &mut Dice) -> Value {
    let claim = |claim: &str, value: Value| json!({"metadata": {"filter": "envoy.filters.http.jwt_authn", "path": [{"key": "p"}, {"key": claim}], "value": value}});
    let near = json!({"address_prefix": "10.9.0.0", "prefix_len": 8});
    let plan = json!({"string_match": {"exact": dice.of(&["gold", "basic"])}});
    let group = json!({"list_match": {"one_of": {"string_match": {"exact": dice.of(&["admin", "staff"])}}}});
    match dice.below(12) {
        0 | 1 => json!({"any": true}),
        7 => json!({"remote_ip": near}),
        8 => json!({"not_id": {"remote_ip": near}}),
        9 => claim("plan", plan),
        10 => claim("groups", group),
        11 => json!({"metadata": {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{"key": "p"}, {"key": "org"}, {"key": "unit"}],
            "value": {"string_match": {dice.of(&["prefix", "suffix", "contains", "exact"]): "a"}},
        }}),
        2 => {
            claim("scope", json!({"list_match": {"one_of": {"string_match": {"exact": dice.of(&["read", "write"])}}}}))
        }
        3 => claim("iss", json!({"string_match": {"exact": "https://idp.demo"}})),
        4 => json!({"and_ids": {"ids": dice.some(2, principal)}}),
        5 => json!({"not_id": principal(dice)}),
        _ => json!({"source_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}),
    }
}

/// Whether a header is there, the address, and the claims with the token.
type Sender<'a> = (bool, Ipv4Addr, Option<&'a (&'a Value, String)>);

/// A request as the oracle sees it; its token verifies.
struct Request<'a> {
    method: &'static str,
    target: &'static str,
    marked: bool,
    address: Ipv4Addr,
    claims: Option<&'a Value>,
}

/// What Envoy decides, read from the same configuration by other code than the converter's.
mod oracle {
    use super::{Request, Value};

    fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
        value.pointer(pointer).and_then(Value::as_str)
    }

    fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
        value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn path(request: &Request<'_>) -> &'static str {
        request.target.split('?').next().unwrap()
    }

    fn header(matcher: &Value, request: &Request<'_>) -> bool {
        let value = match text(matcher, "/name").unwrap() {
            ":method" => Some(request.method),
            _ => request.marked.then_some("1"),
        };
        match text(matcher, "/string_match/exact") {
            Some(exact) => value == Some(exact),
            None => value.is_some(),
        }
    }

    fn route(matcher: &Value, request: &Request<'_>) -> bool {
        let path = path(request);
        let below =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        text(matcher, "/prefix").is_none_or(|prefix| path.starts_with(prefix))
            && text(matcher, "/path").is_none_or(|exact| path == exact)
            && text(matcher, "/path_separated_prefix").is_none_or(below)
            && list(matcher, "/headers").iter().all(|matcher| header(matcher, request))
            && (matcher.get("query_parameters").is_none() || request.target.contains("?q="))
    }

    fn authenticated(requires: &Value, request: &Request<'_>) -> bool {
        let Some((kind, part)) = requires.as_object().and_then(|members| members.iter().next()) else { return true };
        match kind.as_str() {
            "provider_name" => request.claims.is_some(),
            "requires_any" => list(part, "/requirements").iter().any(|part| authenticated(part, request)),
            "requires_all" => list(part, "/requirements").iter().all(|part| authenticated(part, request)),
            _ => true,
        }
    }

    /// Whether the filter verified a token, and so left its claims to RBAC.
    fn leaves_claims(requires: &Value, request: &Request<'_>) -> bool {
        requires.as_object().is_some_and(|members| !members.is_empty()) && request.claims.is_some()
    }

    fn permitted(permission: &Value, request: &Request<'_>) -> bool {
        let (kind, part) = permission.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "any" => true,
            "header" => header(part, request),
            "url_path" => {
                text(part, "/path/exact").is_none_or(|exact| path(request) == exact)
                    && text(part, "/path/prefix").is_none_or(|prefix| path(request).starts_with(prefix))
            }
            "and_rules" => list(part, "/rules").iter().all(|part| permitted(part, request)),
            "or_rules" => list(part, "/rules").iter().any(|part| permitted(part, request)),
            "not_rule" => !permitted(part, request),
            other => panic!("{other}"),
        }
    }

    /// Whether a claim, with a scope that was split, is what the matcher asks for.
    fn matches(found: &Value, matcher: &Value) -> bool {
        if let Some(entry) = text(matcher, "/list_match/one_of/string_match/exact") {
            return found.as_array().is_some_and(|list| list.iter().any(|found| found == entry));
        }
        let Some(found) = found.as_str() else { return false };
        let (kind, wanted) = matcher["string_match"].as_object().unwrap().iter().next().unwrap();
        let wanted = wanted.as_str().unwrap();
        match kind.as_str() {
            "exact" => found == wanted,
            "prefix" => found.starts_with(wanted),
            "suffix" => found.ends_with(wanted),
            "contains" => found.contains(wanted),
            other => panic!("{other}"),
        }
    }

    fn is(principal: &Value, request: &Request<'_>, claims: bool) -> bool {
        let (kind, part) = principal.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "any" => true,
            "source_ip" => false,
            "remote_ip" => request.address.octets()[0] == 10,
            "and_ids" => list(part, "/ids").iter().all(|part| is(part, request, claims)),
            "not_id" => !is(part, request, claims),
            "metadata" => {
                let names = list(part, "/path").iter().skip(1).filter_map(|part| text(part, "/key"));
                let found = names.fold(request.claims.filter(|_| claims), |value, name| value?.get(name));
                found.is_some_and(|found| matches(found, &part["value"]))
            }
            other => panic!("{other}"),
        }
    }

    pub fn admits(jwt_authn: &Value, rbacs: &[Value], request: &Request<'_>) -> bool {
        let rule = list(jwt_authn, "/rules").iter().find(|rule| route(&rule["match"], request));
        let nothing = Value::Null;
        let requires = rule.and_then(|rule| rule.get("requires")).unwrap_or(&nothing);
        let claims = leaves_claims(requires, request);
        authenticated(requires, request)
            && rbacs.iter().all(|rbac| {
                let policies = rbac["rules"]["policies"].as_object().unwrap();
                let matches = |policy: &Value| {
                    list(policy, "/permissions").iter().any(|permission| permitted(permission, request))
                        && list(policy, "/principals").iter().any(|principal| is(principal, request, claims))
                };
                policies.values().any(matches) == (rbac["rules"]["action"] == "ALLOW")
            })
    }
}

/// The property that matters: whatever the input is, nothing passes that it would refuse.
#[test]
fn nothing_passes_that_the_input_would_refuse() {
    let world = World::new();
    let keys = world.keys();
    // As RBAC sees them: with the scope in words.
    let callers = [
        json!({"iss": "https://idp.demo", "scope": []}),
        json!({"iss": "https://idp.demo", "scope": ["read"], "plan": "gold", "groups": ["admin"]}),
        json!({"iss": "https://idp.demo", "scope": ["read", "write"], "plan": "basic", "groups": ["staff", "x"], "org": {"unit": "a"}}),
        // Claims of other types than anybody expects.
        json!({"iss": "https://idp.demo", "scope": ["write"], "plan": ["gold"], "groups": "admin", "org": {"unit": "bab"}}),
        json!({"iss": "https://idp.demo", "scope": ["write"], "plan": {"gold": 1}, "groups": {"admin": 1, "staff": 1}, "org": "a"}),
    ];
    let token = |claims: &Value| {
        let mut claims = claims.clone();
        let words: Vec<&str> = claims["scope"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        claims["scope"] = words.join(" ").into();
        world.token_with(&claims)
    };
    let callers: Vec<(&Value, String)> = callers.iter().map(|claims| (claims, token(claims))).collect();
    let senders: Vec<Sender<'_>> = [(false, FAR), (true, FAR), (false, NEAR)]
        .into_iter()
        .flat_map(|(marked, address)| {
            let callers = callers.iter().map(Some).chain([None]);
            callers.map(move |caller| (marked, address, caller))
        })
        .collect();
    let mut dice = Dice(7);
    let (mut passed, mut refused, mut stricter) = (0, 0, 0);
    for round in 0..100 {
        let rules: Vec<Value> = (0..dice.below(4))
            .map(|_| json!({"match": route_match(&mut dice), "requires": requires(&mut dice)}))
            .collect();
        let jwt_authn = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"p": {
                "issuer": "https://idp.demo", "audiences": ["demo-api"], "local_jwks": {"inline_string": keys},
                "payload_in_metadata": "p", "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]},
            }},
            "rules": rules,
        });
        let actions: &[&str] = dice.of(&[&["ALLOW"][..], &["ALLOW", "DENY"], &["DENY"], &["ALLOW", "ALLOW"], &[]]);
        let rbacs: Vec<Value> = actions
            .iter()
            .map(|action| {
                let policies: serde_json::Map<String, Value> = (0..=dice.below(3))
                    .map(|number| {
                        let policy =
                            json!({"permissions": dice.some(2, permission), "principals": dice.some(2, principal)});
                        (format!("policy-{number}"), policy)
                    })
                    .collect();
                json!({
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
                    "rules": {"action": action, "policies": policies},
                })
            })
            .collect();
        let filters: Vec<Value> =
            [&jwt_authn].into_iter().chain(&rbacs).map(|config| json!({"typed_config": config})).collect();
        let outcome = world.convert(&json!({"http_filters": filters}).to_string(), &[]);
        assert!(matches!(outcome.code, Some(0 | 1)), "{}", outcome.said);
        let filter = world.loaded(&outcome.text);
        let mut session = Session::start(&filter, Answers::default(), now()).unwrap();
        for target in ["/", "/a", "/a/", "/a/b", "/a/b/c/d", "/ab", "/abc", "/c", "/c?q=1", "/a/b?q=1", "/x"] {
            for method in ["GET", "POST", "PUT"] {
                for (marked, address, caller) in &senders {
                    let claims = caller.map(|(claims, _)| *claims);
                    let request = Request { method, target, marked: *marked, address: *address, claims };
                    let lines: Vec<String> = if *marked { vec!["x-a: 1".to_owned()] } else { Vec::new() };
                    let token = caller.map(|(_, token)| token.as_str());
                    let asked = format!("{method} {target}");
                    let ours = judge(&filter, &mut session, &asked, *address, &lines, token) == "passes";
                    let theirs = oracle::admits(&jwt_authn, &rbacs, &request);
                    assert!(
                        theirs || !ours,
                        "round {round}: {asked}, x-a {marked}, from {address}, {claims:?} passes\n{:#}\n{rbacs:#?}\n{}",
                        jwt_authn["rules"],
                        outcome.text
                    );
                    match (theirs, ours) {
                        (true, true) => passed += 1,
                        (false, false) => refused += 1,
                        _ => stricter += 1,
                    }
                }
            }
        }
    }
    println!("{passed} pass in both, {refused} in none, {stricter} only in the input");
    assert!(passed > stricter && refused > 1000, "{passed} {refused} {stricter}");
}
