//! `portcullis explain`, `routes` and `schema`, as a user types them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use portcullis_cli::document::{Language, read};
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::paths::{self, WorkDir};
use serde_json::Value;

fn portcullis(arguments: &[&str]) -> Output {
    Command::new(paths::tool().unwrap()).current_dir(paths::root()).args(arguments).output().unwrap()
}

/// A key set in a file, and a token of its key.
struct World {
    dir: WorkDir,
    key: SigningKey,
}

impl World {
    fn new() -> Self {
        let dir = WorkDir::create("explain").unwrap();
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        std::fs::write(dir.path().join("jwks.json"), jwks([&key]).to_string()).unwrap();
        Self { dir, key }
    }

    /// Explains a request to the reference gateway.
    fn explain(&self, request: &str, token: Option<&str>, more: &[&str]) -> (Option<i32>, Value) {
        let key_set = format!("corp={}", self.dir.path().join("jwks.json").display());
        let mut arguments = vec!["explain", "envoy.yaml", "--json", "--request", request];
        arguments.extend(["--jwks", &key_set]);
        arguments.extend(token.iter().flat_map(|token| ["--token", token]));
        arguments.extend(more);
        let output = portcullis(&arguments);
        let explanation = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), explanation)
    }

    fn token(&self, scope: &str) -> String {
        Token::of("alice").scope(scope).sign(&self.key)
    }
}

fn verdict<'a>(explanation: &'a Value, check: &str) -> (&'a str, &'a str) {
    let checks = explanation["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["check"] == check).unwrap();
    (found["verdict"].as_str().unwrap(), found["why"].as_str().unwrap())
}

#[test]
fn a_request_that_passes_shows_its_rule_and_what_goes_on() {
    let world = World::new();
    let token = world.token("read_orders");
    let (code, explanation) = world.explain("GET /orders/1", Some(&token), &["--header", "x-user: eve"]);
    assert_eq!((code, &explanation["passes"]), (Some(0), &Value::Bool(true)), "{explanation:#}");
    assert_eq!(explanation["rule"]["path"], "rules[1]");
    let text = std::fs::read_to_string(paths::root().join("envoy.yaml")).unwrap();
    let line = text.lines().position(|line| line.contains("use: orders_read")).unwrap() + 1;
    assert_eq!(explanation["rule"]["line"], line);
    assert_eq!(verdict(&explanation, "scopes").0, "passed");
    let request: Vec<&str> = explanation["request"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(request, ["removed x-user", "set x-scopes: read_orders", "set x-user: alice"]);
}

#[test]
fn a_refusal_names_its_check_and_what_comes_after_is_not_reached() {
    let world = World::new();
    let token = world.token("read_orders");
    let forged = Token::of("alice").sign(&SigningKey::generate(Algorithm::Es256, "k1"));
    for (request, token, more, reason, check) in [
        ("POST /orders/1", Some(&token), &[][..], "scope_insufficient", "scopes"),
        ("GET /orders/1", None, &[], "credentials_missing", "identity"),
        ("GET /orders/1", Some(&forged), &[], "token_signature_invalid", "identity"),
        ("GET /orders/1", Some(&token), &["--now", "5000000000"], "token_expired", "identity"),
        ("GET /orders/%2e%2e", Some(&token), &[], "path_dot_segment", "request"),
        ("GET /nowhere", Some(&token), &[], "route_unmatched", "rule"),
        ("GET /x", Some(&token), &["--route-policy", "nobody"], "route_policy_unknown", "rule"),
        ("GET /x", Some(&token), &["--route-policy", "reports"], "scope_insufficient", "scopes"),
    ] {
        let (code, explanation) = world.explain(request, token.map(String::as_str), more);
        assert_eq!((code, explanation["reason"].as_str()), (Some(1), Some(reason)), "{request}: {explanation:#}");
        assert_eq!(verdict(&explanation, check).0, "refused", "{request}: {explanation:#}");
        let checks = explanation["checks"].as_array().unwrap();
        let after = checks.iter().skip_while(|found| found["check"] != check).skip(1);
        assert!(after.clone().all(|found| found["verdict"] == "not reached"), "{request}: {explanation:#}");
    }
}

#[test]
fn roles_bound_paths_and_conditions_are_explained_one_by_one() {
    let world = World::new();
    let mut corp = portcullis_tests::filter::provider(&["ES256"], serde_json::json!({"inline": jwks([&world.key])}));
    corp["roles_from"] = serde_json::json!("realm_access.roles");
    let file = world.dir.path().join("filter.json");
    let configuration = serde_json::json!({
        "version": 1,
        "providers": {"corp": corp},
        "rules": [{
            "match": {"path": "/users/{id}"}, "require": "corp", "roles": {"any": ["staff", "admin"]}, "bind": {"id": "sub"},
            "when": ["method == \"GET\"", {"name": "tenant", "condition": "jwt.tenant == query.tenant"}],
        }],
    });
    std::fs::write(&file, configuration.to_string()).unwrap();
    let explain = |request: &str, token: &Token| -> Value {
        let token = token.sign(&world.key);
        let file = file.to_str().unwrap();
        let output = portcullis(&["explain", file, "--json", "--request", request, "--token", &token]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    let staff = || Token::of("alice").claim("realm_access", serde_json::json!({"roles": ["staff"]}));
    let acme = || staff().claim("tenant", serde_json::json!("acme"));
    let explanation = explain("GET /users/alice?tenant=acme", &acme());
    assert_eq!(verdict(&explanation, "roles"), ("passed", "needs role staff or admin"), "{explanation:#}");
    assert_eq!(verdict(&explanation, "path and claims"), ("passed", "{id} is sub"));
    let conditions = "when method == \"GET\"; when[1] \"tenant\": jwt.tenant == query.tenant";
    assert_eq!(verdict(&explanation, "conditions"), ("passed", conditions));
    for (request, token, check, why) in [
        (
            "GET /users/alice?tenant=acme",
            Token::of("alice"),
            "roles",
            "role_missing: none of the roles [\"staff\", \"admin\"]",
        ),
        ("GET /users/bob", acme(), "path and claims", "path_claim_mismatch: {id} is not the claim \"sub\""),
        ("POST /users/alice", acme(), "conditions", "condition_false: when[0] (method == \"GET\")"),
        (
            "GET /users/alice?tenant=acme",
            staff(),
            "conditions",
            "condition_error: when[1] \"tenant\": column 5: there is no \"tenant\" (jwt.tenant == query.tenant)",
        ),
    ] {
        let explanation = explain(request, &token);
        assert_eq!(verdict(&explanation, check), ("refused", why), "{request}: {explanation:#}");
    }
    let table = String::from_utf8(portcullis(&["routes", file.to_str().unwrap()]).stdout).unwrap();
    let authorisation = "role staff or admin; {id} is sub; when method == \"GET\"; when \"tenant\"";
    assert!(table.contains(authorisation), "{table}");
}

#[test]
fn a_key_set_that_is_not_given_is_asked_for() {
    let world = World::new();
    let token = world.token("read_orders");
    let output = portcullis(&["explain", "envoy.yaml", "--request", "GET /orders/1", "--token", &token]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("503 keys_unavailable") && text.contains("--jwks corp=FILE"), "{text}");
    assert!(!text.contains(&token) && !text.contains('\u{1b}'), "no token, and no colours but on a terminal: {text}");
}

#[test]
fn what_cannot_be_explained_exits_with_2() {
    for arguments in [
        &["explain", "/nowhere.yaml", "--request", "GET /"][..],
        &["explain", "envoy.yaml", "--request", "/orders"],
        &["explain", "envoy.yaml", "--request", "GET /", "--jwks", "nobody=Cargo.toml"],
        &["explain", "Cargo.toml", "--request", "GET /"],
        &["explain", "envoy.yaml"],
    ] {
        assert_eq!(portcullis(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_table_tells_who_may_call_what() {
    let output = portcullis(&["routes", "envoy.yaml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> =
        text.lines().map(|line| line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect()).collect();
    let limit = "per_client (60 in 60 s), in_flight (50 in flight)";
    for row in [
        vec!["health", "/healthz", "everybody", "-", "-", "-", "enforce", "-"],
        vec!["orders_read", "GET,HEAD /orders/**", "corp", "read_orders", "-", limit, "enforce", "-"],
        vec!["orders_write", "/orders/**", "corp", "write_orders", "-", limit, "enforce", "-"],
        vec![
            "policy-reports",
            "routes that name the policy reports",
            "corp",
            "read_reports",
            "-",
            limit,
            "enforce",
            "-",
        ],
    ] {
        assert!(rows.contains(&row), "{row:?}\n{text}");
    }
}

#[test]
fn the_table_comes_as_json_too() {
    let output = portcullis(&["routes", "--json", "--assume-env", "tests/check/good.yaml"]);
    let rules: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let at = |path: &str| rules.iter().find(|rule| rule["path"] == path).unwrap();
    assert_eq!(at("rules[0]")["who"], "everybody");
    assert_eq!(at("rules[2]")["match"], "GET,HEAD /payments/**");
    assert_eq!(
        (&at("rules[2]")["scopes"]["all"][0], &at("rules[2]")["limits"][0]),
        (&"read_payments".into(), &"per_client".into())
    );
    assert_eq!(
        (&at("rules[3]")["internal_token"], &at("rules[6]")["serves"]),
        (&"payments".into(), &"revocations".into())
    );
    assert_eq!(at("policies.reports")["match"], "routes that name the policy reports");
    assert_eq!(portcullis(&["routes", "/nowhere.yaml"]).status.code(), Some(2));
}

#[test]
fn explain_takes_what_a_request_brings_beside_its_head() {
    let dir = WorkDir::create("explain").unwrap();
    let explain = |more: &[&str]| {
        let arguments = [
            &["explain", "tests/check/good.yaml", "--assume-env", "--json", "--header", "host: partners.bank.example"],
            more,
        ]
        .concat();
        let output = portcullis(&arguments);
        let explanation: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), explanation["reason"].as_str().unwrap().to_owned())
    };
    let refused = |reason: &str| (Some(1), reason.to_owned());
    let passes = || (Some(0), "ok".to_owned());
    let mesh = ["--request", "GET /clearing/1"];
    assert_eq!(explain(&mesh), refused("credentials_missing"));
    assert_eq!(explain(&[&mesh[..], &["--certificate", "uri_san=spiffe://bank.example/a"]].concat()), passes());
    assert_eq!(explain(&[&mesh[..], &["--certificate", "uri_san=spiffe://other/a"]].concat()).0, Some(1));
    let opaque = ["--request", "GET /partners/1", "--token", "opaque"];
    assert_eq!(explain(&opaque), refused("provider_unavailable"));
    for (said, expected) in
        [("{\"active\": true, \"sub\": \"a\"}", passes()), ("{\"active\": false}", refused("token_inactive"))]
    {
        let file = dir.path().join("said.json");
        std::fs::write(&file, said).unwrap();
        let said = format!("partner={}", file.display());
        assert_eq!(explain(&[&opaque[..], &["--introspection", &said]].concat()), expected);
    }
    let login = ["--request", "POST /login", "--address", "192.0.2.7", "--at", "2027-01-15T08:00:00Z"];
    assert_eq!(explain(&[&login[..], &["--times", "5"]].concat()), passes());
    assert_eq!(explain(&[&login[..], &["--times", "6"]].concat()), refused("limit_exceeded"));
}

/// The schema as editors use it: a validator that knows JSON Schema takes every example and refuses a misspelt field.
#[test]
fn a_validator_of_json_schema_takes_the_examples() {
    let schema: Value = serde_json::from_slice(&portcullis(&["schema"]).stdout).unwrap();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("portcullis.json", schema).unwrap();
    let index = compiler.compile("portcullis.json", &mut schemas).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(paths::root().join("docs/examples")).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        // `on` is a boolean to Envoy, and to the YAML 1.1 of editors.
        let mut value = read(&text, Language::Yaml).unwrap().0.to_value();
        if let Err(error) = schemas.validate(&value, index) {
            panic!("{}: {error:#}", file.display());
        }
        value["ruls"] = Value::Null;
        assert!(schemas.validate(&value, index).is_err(), "{}", file.display());
        seen += 1;
    }
    assert!(seen >= 5);
}

#[test]
fn the_schema_is_json_and_the_references_are_those_of_docs() {
    let schema: Value = serde_json::from_slice(&portcullis(&["schema"]).stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for (option, file) in [("--markdown", "reference.md"), ("--reasons", "reasons.md")] {
        let written = std::fs::read_to_string(paths::root().join("docs").join(file)).unwrap();
        let made = String::from_utf8(portcullis(&["schema", option]).stdout).unwrap();
        assert!(written == made, "docs/{file} is not what the code says: run scripts/docs");
    }
}

#[test]
fn a_limit_service_is_not_asked_and_that_is_said() {
    let dir = WorkDir::create("explain-global").unwrap();
    let file = dir.path().join("global.yaml");
    let configuration = "version: 1
limit_service: {cluster: limits, kind: limitador, on_error: deny}
limits: {shared: {key: ip, rate: 3/min, scope: global}}
rules: [{match: {}, allow: public, limits: [shared]}]
";
    std::fs::write(&file, configuration).unwrap();
    let explain = |times: &str| {
        let file = file.display().to_string();
        portcullis(&["explain", &file, "--request", "GET /", "--times", times])
    };
    let passed = explain("3");
    assert_eq!(passed.status.code(), Some(0), "{passed:?}");
    let said = String::from_utf8(passed.stdout).unwrap();
    assert!(said.contains("the limit service is not asked about \"shared\""), "{said}");
    assert_eq!(explain("4").status.code(), Some(1), "the local counter is");
}
