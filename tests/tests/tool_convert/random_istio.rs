//! Random `AuthorizationPolicy` resources, and what Istio makes of them.

use std::net::Ipv4Addr;

use portcullis_cli::explain::replay::{Answers, Session};
use serde_json::{Value, json};

use super::dice::Dice;
use super::world::{FAR, NEAR, World, judge, now};

const PATHS: [&str; 8] = ["/", "/a", "/a/*", "/a/b", "/ab*", "*", "*/b", "/{*}/b"];

fn list(dice: &mut Dice, of: &[&str]) -> Value {
    dice.some(2, |dice| dice.of(of).into()).into()
}

fn source(dice: &mut Dice) -> Value {
    let principals =
        ["*", "https://idp.demo/*", "https://idp.demo/alice", "https://idp.demo/bob", "*/alice", "https://x/*"];
    match dice.below(6) {
        0 => json!({"requestPrincipals": list(dice, &principals)}),
        1 => json!({"remoteIpBlocks": list(dice, &["10.0.0.0/8", "10.1.2.9/24", "198.51.100.7"])}),
        2 => json!({"notRemoteIpBlocks": list(dice, &["10.0.0.0/8", "198.51.100.7"])}),
        3 => json!({"requestPrincipals": list(dice, &principals), "remoteIpBlocks": ["10.0.0.0/8"]}),
        4 => json!({"ipBlocks": ["10.0.0.0/8"]}),
        _ => json!({"notRequestPrincipals": ["*"]}),
    }
}

fn operation(dice: &mut Dice) -> Value {
    match dice.below(6) {
        0 => json!({"methods": list(dice, &["GET", "POST"])}),
        1 => json!({"notMethods": list(dice, &["GET", "POST"])}),
        2 => json!({"paths": list(dice, &PATHS), "notPaths": list(dice, &PATHS)}),
        3 => json!({"paths": list(dice, &PATHS), "methods": ["GET"]}),
        4 => json!({"hosts": list(dice, &["localhost", "other", "*.other"])}),
        _ => json!({"paths": list(dice, &PATHS)}),
    }
}

fn when(dice: &mut Dice) -> Value {
    let key = dice.of(&[
        "request.auth.claims[plan]",
        "request.auth.claims[groups]",
        "request.auth.claims[org][unit]",
        "request.auth.claims[scope]",
        "request.auth.claims[iss]",
        "request.auth.audiences",
        "request.auth.principal",
        "request.headers[x-a]",
        "remote.ip",
        "source.ip",
    ]);
    let values = match key {
        "request.auth.principal" => list(dice, &["*", "https://idp.demo/alice"]),
        "request.auth.claims[iss]" => list(dice, &["https://idp.demo", "https://x"]),
        "request.auth.audiences" => list(dice, &["demo-api", "other"]),
        "request.headers[x-a]" => list(dice, &["1", "2", "*"]),
        "remote.ip" | "source.ip" => list(dice, &["10.0.0.0/8", "198.51.100.7"]),
        _ => list(dice, &["gold", "basic", "admin", "staff", "a", "a*", "read", "*", "x y"]),
    };
    json!({"key": key, dice.of(&["values", "values", "values", "notValues"]): values})
}

fn rule(dice: &mut Dice) -> Value {
    let mut rule = json!({});
    if dice.below(2) == 0 {
        rule["from"] = dice.some(2, |dice| json!({"source": source(dice)})).into();
    }
    if dice.below(3) > 0 {
        rule["to"] = dice.some(2, |dice| json!({"operation": operation(dice)})).into();
    }
    if dice.below(3) == 0 {
        rule["when"] = dice.some(2, when).into();
    }
    rule
}

/// Whether a header is there, the address, and the claims with the token.
type Sender<'a> = (bool, Ipv4Addr, Option<&'a (Value, String)>);

struct Request<'a> {
    method: &'static str,
    path: &'static str,
    marked: bool,
    address: Ipv4Addr,
    claims: Option<&'a Value>,
}

/// What Istio decides, read from the same resources by other code than the converter's. Where two readings of a claim are
/// possible, the one that admits less.
mod oracle {
    use super::{Request, Value};

    fn texts<'v>(value: &'v Value, member: &str) -> Option<Vec<&'v str>> {
        Some(value.get(member)?.as_array()?.iter().filter_map(Value::as_str).collect())
    }

    /// Exact, `prefix*`, `*suffix`, `*`.
    fn text(pattern: &str, found: &str) -> bool {
        match (pattern, pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            ("*", ..) => !found.is_empty(),
            (_, Some(suffix), _) => found.ends_with(suffix),
            (_, _, Some(prefix)) => found.starts_with(prefix),
            _ => pattern == found,
        }
    }

    fn path(pattern: &str, found: &str) -> bool {
        match pattern {
            "/{*}/b" => {
                let parts: Vec<&str> = found.split('/').collect();
                matches!(parts.as_slice(), ["", any, "b"] if !any.is_empty())
            }
            _ => text(pattern, found),
        }
    }

    fn address(block: &str, request: &Request<'_>) -> bool {
        let [a, b, c, _] = request.address.octets();
        match block {
            "10.0.0.0/8" => a == 10,
            "10.1.2.9/24" => (a, b, c) == (10, 1, 2),
            exact => request.address.to_string() == exact,
        }
    }

    fn principal(pattern: &str, request: &Request<'_>) -> bool {
        let of = |claims: &Value| Some(format!("{}/{}", claims["iss"].as_str()?, claims["sub"].as_str()?));
        request.claims.and_then(of).is_some_and(|found| text(pattern, &found))
    }

    fn claim(names: &[&str], pattern: &str, request: &Request<'_>) -> bool {
        let found = names.iter().fold(request.claims, |value, name| value?.get(*name));
        match (found, names) {
            (Some(Value::String(found)), ["scope"]) => found.split(' ').any(|word| text(pattern, word)),
            (Some(Value::String(found)), _) => text(pattern, found),
            (Some(Value::Array(list)), _) => list.iter().filter_map(Value::as_str).any(|found| text(pattern, found)),
            _ => false,
        }
    }

    fn condition(condition: &Value, request: &Request<'_>) -> bool {
        let key = condition["key"].as_str().unwrap();
        let one = |value: &str| {
            if let Some(names) = key.strip_prefix("request.auth.claims[").and_then(|rest| rest.strip_suffix(']')) {
                return claim(&names.split("][").collect::<Vec<_>>(), value, request);
            }
            match key {
                "request.auth.audiences" => claim(&["aud"], value, request),
                "request.auth.principal" => principal(value, request),
                "request.headers[x-a]" => request.marked && text(value, "1"),
                "remote.ip" | "source.ip" => address(value, request),
                other => panic!("{other}"),
            }
        };
        texts(condition, "values").is_none_or(|values| values.into_iter().any(one))
            && texts(condition, "notValues").is_none_or(|values| !values.into_iter().any(one))
    }

    fn meets(part: &Value, request: &Request<'_>) -> bool {
        let holds = |member: &str, not: &str, one: &dyn Fn(&str) -> bool| {
            texts(part, member).is_none_or(|values| values.into_iter().any(one))
                && texts(part, not).is_none_or(|values| !values.into_iter().any(one))
        };
        holds("requestPrincipals", "notRequestPrincipals", &|value| principal(value, request))
            && holds("remoteIpBlocks", "notRemoteIpBlocks", &|value| address(value, request))
            && holds("ipBlocks", "notIpBlocks", &|value| address(value, request))
            && holds("methods", "notMethods", &|value| text(value, request.method))
            && holds("paths", "notPaths", &|value| path(value, request.path))
            && holds("hosts", "notHosts", &|value| text(value, "localhost"))
    }

    fn matches(rule: &Value, request: &Request<'_>) -> bool {
        let one_of = |list: &str, part: &str| {
            rule.get(list).is_none_or(|list| list.as_array().unwrap().iter().any(|entry| meets(&entry[part], request)))
        };
        let when = rule.get("when").and_then(Value::as_array);
        one_of("from", "source")
            && one_of("to", "operation")
            && when.is_none_or(|conditions| conditions.iter().all(|one| condition(one, request)))
    }

    pub fn admits(policies: &[Value], request: &Request<'_>) -> bool {
        let of = |action: &'static str| policies.iter().filter(move |policy| policy["spec"]["action"] == action);
        let applies =
            |policy: &Value| policy["spec"]["rules"].as_array().unwrap().iter().any(|rule| matches(rule, request));
        !of("DENY").any(applies) && (of("ALLOW").count() == 0 || of("ALLOW").any(applies))
    }
}

/// As for Envoy's own filters: whatever the input is, nothing passes that it would refuse.
#[test]
fn nothing_passes_that_istio_would_refuse() {
    let world = World::new();
    let keys = world.keys();
    let base = json!({"iss": "https://idp.demo", "sub": "alice", "aud": ["demo-api"]});
    let callers = [
        json!({"scope": "read write", "plan": "gold", "groups": ["admin", "x"], "org": {"unit": "a"}}),
        json!({"scope": "readers", "plan": "basic", "groups": "staff", "org": {"unit": ["a", "b"]}, "sub": "bob"}),
        // Claims of other types than anybody expects.
        json!({"scope": ["read"], "plan": {"gold": 1, "a": 2}, "groups": {"admin": 1}, "org": "unit"}),
        json!({"plan": ["gold"], "groups": [], "sub": "carol"}),
    ];
    let callers: Vec<(Value, String)> = callers
        .into_iter()
        .map(|own| {
            let mut claims = base.clone();
            claims.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            let token = world.token_with(&claims);
            (claims, token)
        })
        .collect();
    let senders: Vec<Sender<'_>> = [(false, FAR), (true, FAR), (false, NEAR)]
        .into_iter()
        .flat_map(|(marked, address)| {
            callers.iter().map(Some).chain([None]).map(move |caller| (marked, address, caller))
        })
        .collect();
    let mut dice = Dice(11);
    let (mut passed, mut refused, mut stricter) = (0, 0, 0);
    for round in 0..150 {
        let actions: &[&str] = dice.of(&[&["ALLOW"][..], &["ALLOW", "DENY"], &["DENY"], &["ALLOW", "ALLOW"]]);
        let policies: Vec<Value> = actions
            .iter()
            .enumerate()
            .map(|(number, action)| {
                json!({
                    "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
                    "metadata": {"name": format!("p{number}")},
                    "spec": {"action": action, "rules": dice.some(3, rule)},
                })
            })
            .collect();
        let authentication = json!({
            "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication", "metadata": {"name": "r"},
            "spec": {"jwtRules": [{"issuer": "https://idp.demo", "audiences": ["demo-api"], "jwks": keys}]},
        });
        let documents: Vec<String> = [&authentication].into_iter().chain(&policies).map(Value::to_string).collect();
        let outcome = world.convert(&documents.join("\n---\n"), &[]);
        assert!(matches!(outcome.code, Some(0 | 1)), "{}", outcome.said);
        let filter = world.loaded(&outcome.text);
        let mut session = Session::start(&filter, Answers::default(), now()).unwrap();
        for path in ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/abc", "/x/y/b", "/b"] {
            for method in ["GET", "POST", "PUT"] {
                for (marked, address, caller) in &senders {
                    let claims = caller.map(|(claims, _)| claims);
                    let request = Request { method, path, marked: *marked, address: *address, claims };
                    let lines: Vec<String> = if *marked { vec!["x-a: 1".to_owned()] } else { Vec::new() };
                    let token = caller.map(|(_, token)| token.as_str());
                    let asked = format!("{method} {path}");
                    let ours = judge(&filter, &mut session, &asked, *address, &lines, token) == "passes";
                    let theirs = oracle::admits(&policies, &request);
                    assert!(
                        theirs || !ours,
                        "round {round}: {asked}, x-a {marked}, from {address}, {claims:?} passes\n{policies:#?}\n{}",
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
    assert!(passed > 4000 && refused > 4000, "{passed} {refused} {stricter}");
}
