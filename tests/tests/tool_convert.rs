//! `portcullis convert`: what it makes is a configuration without errors, says what has no equal, and lets no request pass
//! that its input would refuse.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_cli::configured::{self, Configured};
use portcullis_cli::environment::EnvironmentArguments;
use portcullis_cli::explain::Report;
use portcullis_cli::explain::replay::{Answers, Session};
use portcullis_cli::explain::request::{Attributes, headers};
use portcullis_engine::time::UnixNanos;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::paths::{self, WorkDir};
use serde_json::{Value, json};

struct World {
    dir: WorkDir,
    key: SigningKey,
}

/// What came out of the command.
struct Outcome {
    code: Option<i32>,
    text: String,
    said: String,
}

impl World {
    fn new() -> Self {
        let dir = WorkDir::create("convert").unwrap();
        Self { dir, key: SigningKey::generate(Algorithm::Es256, "k1") }
    }

    fn keys(&self) -> String {
        jwks([&self.key]).to_string()
    }

    fn convert(&self, input: &str, more: &[&str]) -> Outcome {
        let file = self.dir.path().join("input.yaml");
        std::fs::write(&file, input).unwrap();
        let mut command = Command::new(paths::tool().unwrap());
        let output = command.arg("convert").arg(file).args(more).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome { code: output.status.code(), text: text(output.stdout), said: text(output.stderr) }
    }

    /// The configuration, which `check` finds no error in.
    fn configured(&self, text: &str) -> Configured {
        let file = self.dir.path().join("filter.yaml");
        std::fs::write(&file, text).unwrap();
        let output = Command::new(paths::tool().unwrap()).args(["check", "--assume-env"]).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
        self.loaded(text)
    }

    fn loaded(&self, text: &str) -> Configured {
        let file = self.dir.path().join("filter.yaml");
        std::fs::write(&file, text).unwrap();
        let environment = EnvironmentArguments { env: Vec::new(), assume_env: true };
        configured::load(&file, &environment).unwrap_or_else(|error| panic!("{error:#}\n{text}")).remove(0)
    }

    fn token(&self, scope: &str) -> String {
        Token::of("alice").scope(scope).sign(&self.key)
    }
}

fn now() -> UnixNanos {
    UnixNanos(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap())
}

/// `passes`, or the status.
fn judge(
    filter: &Configured,
    session: &mut Session<'_>,
    request: &str,
    lines: &[String],
    token: Option<&str>,
) -> String {
    let attributes = Attributes {
        address: Ipv4Addr::LOCALHOST.into(),
        route_policy: None,
        route_name: None,
        virtual_host_policy: None,
        certificate: BTreeMap::new(),
    };
    let head = headers(request, lines, token).unwrap();
    let explanation = Report::new(filter, &session.judge(head, b"", &attributes, now()), token).to_json();
    if explanation["passes"] == true { "passes".to_owned() } else { explanation["status"].to_string() }
}

fn input(world: &World, name: &str) -> String {
    let text = std::fs::read_to_string(paths::root().join("tests/convert").join(name)).unwrap();
    text.replace("@KEYS@", &world.keys())
}

/// Who gets what: the request, the scope of a token if there is one, and what becomes of it.
fn all_hold(world: &World, text: &str, facts: &[(&str, Option<&str>, &str)]) {
    let filter = world.configured(text);
    let mut session = Session::start(&filter, Answers::default(), now()).unwrap();
    for (request, scope, expected) in facts {
        let token = scope.map(|scope| world.token(scope));
        let seen = judge(&filter, &mut session, request, &[], token.as_deref());
        assert_eq!(seen, *expected, "{request} with {scope:?}\n{text}");
    }
}

#[test]
fn jwt_authn_and_rbac_become_rules() {
    let world = World::new();
    let outcome = world.convert(&input(&world, "jwt_and_rbac.yaml"), &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.said);
    let line =
        |text: &str| input(&world, "jwt_and_rbac.yaml").lines().position(|line| line.contains(text)).unwrap() + 1;
    for said in [
        format!(":{}: no equal: rbac policy \"auditors\"", line("auditors:")),
        format!(":{}: no equal: jwt_authn rules[4]", line("prefix: /search")),
        format!(":{}: note: provider \"remote\": the payload", line("forward_payload_header")),
    ] {
        assert!(outcome.said.contains(&said), "{said}\n{}", outcome.said);
    }
    assert!(outcome.text.contains("# no equal: rbac policy \"auditors\""), "{}", outcome.text);
    assert!(
        outcome
            .text
            .contains("jwks: {cluster: accounts, path: \"/keys?v=1\", authority: accounts.example, refresh: \"600s\"}"),
        "{}",
        outcome.text
    );
    assert!(
        outcome.text.contains("token_from: [{header: x-token, scheme: Bearer}, {cookie: session}]"),
        "{}",
        outcome.text
    );
    all_hold(
        &world,
        &outcome.text,
        &[
            ("GET /healthz", None, "passes"),
            ("GET /orders/1", Some("read_orders"), "passes"),
            ("GET /orders-of-today", Some("read_orders"), "passes"),
            ("GET /catalogue/1", None, "passes"),
            ("GET /catalogue/1", Some(""), "passes"),
            // What must not pass.
            ("GET /orders/1", None, "401"),
            ("GET /orders/1", Some("read_orders_too"), "403"),
            ("POST /orders/1", Some("read_orders"), "403"),
            ("GET /orders/internal/1", Some("read_orders"), "403"),
            ("GET /catalogue/old/1", None, "403"),
            ("GET /account/1", Some("read_orders"), "403"),
            ("GET /search?q=1", Some("read_orders"), "403"),
            ("GET /nowhere", Some("read_orders"), "404"),
        ],
    );
}

#[test]
fn istio_resources_become_rules() {
    let world = World::new();
    let outcome = world.convert(&input(&world, "istio.yaml"), &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.said);
    let line = input(&world, "istio.yaml").lines().position(|line| line.contains("ipBlocks")).unwrap() + 1;
    let said = format!(":{line}: no equal: AuthorizationPolicy \"shop\" rules[3]");
    assert!(outcome.said.contains(&said) && outcome.said.lines().count() == 1, "{said}\n{}", outcome.said);
    all_hold(
        &world,
        &outcome.text,
        &[
            ("GET /healthz", None, "passes"),
            ("GET /orders/1", Some(""), "passes"),
            ("POST /orders/1", Some("read write_orders"), "passes"),
            ("GET /people/1", Some(""), "passes"),
            ("POST /healthz", None, "404"),
            ("GET /orders/1", None, "401"),
            ("GET /orders/old/1", Some(""), "403"),
            ("POST /orders/1", Some("write"), "403"),
            ("GET /people/boss/1", Some(""), "403"),
            ("GET /ops/1", Some(""), "404"),
            ("GET /orders", Some(""), "404"),
        ],
    );
}

#[test]
fn what_has_an_equal_exits_with_0_and_what_cannot_be_converted_with_2() {
    let world = World::new();
    let keys = world.keys();
    let whole = format!(
        "providers: {{p: {{issuer: https://idp.demo, audiences: [demo-api], local_jwks: {{inline_string: '{keys}'}}}}}}\n\
         rules: [{{match: {{prefix: /}}, requires: {{provider_name: p}}}}]\n"
    );
    let outcome = world.convert(&whole, &[]);
    assert_eq!((outcome.code, outcome.said.as_str()), (Some(0), ""));
    all_hold(&world, &outcome.text, &[("GET /", Some(""), "passes"), ("GET /", None, "401")]);
    let without = whole.replace("audiences: [demo-api], ", "");
    let outcome = world.convert(&without, &[]);
    assert!(outcome.code == Some(1) && outcome.said.contains("--audience"), "{}", outcome.said);
    all_hold(&world, &outcome.text, &[("GET /", Some(""), "401")]);
    let outcome = world.convert(&without, &["--audience", "demo-api"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.said);
    all_hold(&world, &outcome.text, &[("GET /", Some(""), "passes")]);
    let two = "kind: AuthorizationPolicy\nspec: {selector: {matchLabels: {app: a}}}\n---\nkind: AuthorizationPolicy\nspec: {selector: {matchLabels: {app: b}}}\n";
    for input in ["version: 1\n", "a: [\n", two] {
        assert_eq!(world.convert(input, &[]).code, Some(2), "{input}");
    }
}

#[test]
fn what_is_not_seen_does_not_pass_as_nothing() {
    let world = World::new();
    let keys = world.keys();
    let jwt_authn = |provider: &str, rules: &str| {
        format!(
            "http_filters:\n- typed_config:\n    \"@type\": a/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication\n    \
             providers: {{p: {{issuer: https://idp.demo, audiences: [demo-api], local_jwks: {{inline_string: '{keys}'}}{provider}}}}}\n    \
             rules: {rules}\n"
        )
    };
    let optional =
        "[{match: {prefix: /}, requires: {requires_any: {requirements: [{provider_name: p}, {allow_missing: {}}]}}}]";
    // A bad token is refused wherever the input would look for one.
    let outcome = world.convert(&jwt_authn("", optional), &[]);
    let bad = "GET /?access_token=bad";
    all_hold(&world, &outcome.text, &[("GET /", None, "passes"), (bad, None, "401")]);
    let outcome =
        world.convert(&jwt_authn(", from_headers: [{name: a}, {name: x, value_prefix: \"a:\"}]", optional), &[]);
    assert_eq!(outcome.code, Some(1));
    all_hold(&world, &outcome.text, &[("GET /", None, "403")]);
    // Conditions that cannot be checked open nothing.
    let strict = "[{match: {prefix: /}, requires: {provider_name: p}}]";
    for provider in [", max_lifetime: 60s", ", subjects: {exact: bob}"] {
        let outcome = world.convert(&jwt_authn(provider, strict), &[]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.said);
        all_hold(&world, &outcome.text, &[("GET /", Some(""), "403")]);
    }
    // Nor does a route with settings of its own, nor a cluster of one, nor a virtual host.
    let own = "typed_per_filter_config: {jwt: {\"@type\": a/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig, requirement_name: x}}";
    let wrapped = "typed_per_filter_config: {jwt: {\"@type\": a/envoy.config.route.v3.FilterConfig, config: {\"@type\": a/envoy.extensions.filters.http.rbac.v3.RBACPerRoute}}}";
    for routes in [
        format!("{{domains: [\"*\"], routes: [{{match: {{prefix: /own}}, {own}}}]}}"),
        format!("{{domains: [\"*\"], routes: [{{match: {{prefix: /own}}, {wrapped}}}]}}"),
        format!(
            "{{domains: [\"*\"], routes: [{{match: {{prefix: /own}}, route: {{weighted_clusters: {{clusters: [{{name: c, {own}}}]}}}}}}]}}"
        ),
    ] {
        let text = format!("{}route_config: {{virtual_hosts: [{routes}]}}\n", jwt_authn("", strict));
        let outcome = world.convert(&text, &[]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.said);
        all_hold(&world, &outcome.text, &[("GET /own", Some(""), "403"), ("GET /", Some(""), "passes")]);
    }
    let text = format!(
        "{}route_config: {{virtual_hosts: [{{domains: [\"*\"], routes: [], {own}}}]}}\n",
        jwt_authn("", strict)
    );
    all_hold(&world, &world.convert(&text, &[]).text, &[("GET /", Some(""), "403")]);
}

/// Random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    fn some(&mut self, most: usize, make: impl Fn(&mut Self) -> Value) -> Vec<Value> {
        (0..=self.below(most)).map(|_| make(self)).collect()
    }
}

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
    match dice.below(7) {
        0 | 1 => json!({"any": true}),
        2 => {
            claim("scope", json!({"list_match": {"one_of": {"string_match": {"exact": dice.of(&["read", "write"])}}}}))
        }
        3 => claim("iss", json!({"string_match": {"exact": "https://idp.demo"}})),
        4 => json!({"and_ids": {"ids": dice.some(2, principal)}}),
        5 => json!({"not_id": principal(dice)}),
        _ => json!({"source_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}),
    }
}

/// A request as the oracle sees it; its token verifies.
struct Request {
    method: &'static str,
    target: &'static str,
    marked: bool,
    scopes: Option<&'static [&'static str]>,
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

    fn path(request: &Request) -> &'static str {
        request.target.split('?').next().unwrap()
    }

    fn header(matcher: &Value, request: &Request) -> bool {
        let value = match text(matcher, "/name").unwrap() {
            ":method" => Some(request.method),
            _ => request.marked.then_some("1"),
        };
        match text(matcher, "/string_match/exact") {
            Some(exact) => value == Some(exact),
            None => value.is_some(),
        }
    }

    fn route(matcher: &Value, request: &Request) -> bool {
        let path = path(request);
        let below =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        text(matcher, "/prefix").is_none_or(|prefix| path.starts_with(prefix))
            && text(matcher, "/path").is_none_or(|exact| path == exact)
            && text(matcher, "/path_separated_prefix").is_none_or(below)
            && list(matcher, "/headers").iter().all(|matcher| header(matcher, request))
            && (matcher.get("query_parameters").is_none() || request.target.contains("?q="))
    }

    fn authenticated(requires: &Value, request: &Request) -> bool {
        let Some((kind, part)) = requires.as_object().and_then(|members| members.iter().next()) else { return true };
        match kind.as_str() {
            "provider_name" => request.scopes.is_some(),
            "requires_any" => list(part, "/requirements").iter().any(|part| authenticated(part, request)),
            "requires_all" => list(part, "/requirements").iter().all(|part| authenticated(part, request)),
            _ => true,
        }
    }

    /// Whether the filter verified a token, and so left its claims to RBAC.
    fn leaves_claims(requires: &Value, request: &Request) -> bool {
        requires.as_object().is_some_and(|members| !members.is_empty()) && request.scopes.is_some()
    }

    fn permitted(permission: &Value, request: &Request) -> bool {
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

    fn is(principal: &Value, request: &Request, claims: bool) -> bool {
        let (kind, part) = principal.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "any" => true,
            "source_ip" => false,
            "and_ids" => list(part, "/ids").iter().all(|part| is(part, request, claims)),
            "not_id" => !is(part, request, claims),
            "metadata" => match text(part, "/value/list_match/one_of/string_match/exact") {
                Some(scope) => claims && request.scopes.is_some_and(|scopes| scopes.contains(&scope)),
                None => claims,
            },
            other => panic!("{other}"),
        }
    }

    pub fn admits(jwt_authn: &Value, rbacs: &[Value], request: &Request) -> bool {
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
    let tokens: BTreeMap<&str, String> =
        ["", "read", "write", "read write"].into_iter().map(|scope| (scope, world.token(scope))).collect();
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
                for (marked, scopes) in [
                    (false, None),
                    (true, None),
                    (false, Some(&["read"][..])),
                    (true, Some(&["read", "write"][..])),
                    (false, Some(&[][..])),
                ] {
                    let request = Request { method, target, marked, scopes };
                    let lines: Vec<String> = if marked { vec!["x-a: 1".to_owned()] } else { Vec::new() };
                    let token = scopes.map(|scopes| tokens[scopes.join(" ").as_str()].as_str());
                    let ours = judge(&filter, &mut session, &format!("{method} {target}"), &lines, token) == "passes";
                    let theirs = oracle::admits(&jwt_authn, &rbacs, &request);
                    assert!(
                        theirs || !ours,
                        "round {round}: {method} {target}, x-a {marked}, {scopes:?} passes\n{:#}\n{rbacs:#?}\n{}",
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
