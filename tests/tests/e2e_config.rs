//! Configurations in the real Envoy: refused as a whole, changed while it serves, chosen by the route, and only watching.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "and so has one that finds less than it looks for")]

use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::{Builder, Gateway, Reload};
use portcullis_tests::idp::Idp;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::server::Stall;
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, filter, refusal};
use serde_json::{Value, json};

fn passed(path: &str) -> Value {
    json!({"name": "passed", "match": {"prefix": path}, "direct_response": {"status": 200}})
}

fn builder(configuration: Value) -> Builder {
    Gateway::builder().filter(configuration).route(passed("/"))
}

fn get(gateway: &Gateway, path: &str) -> Response {
    Client::connect(gateway.port()).unwrap().call(&Call::get(path)).unwrap()
}

fn get_as(gateway: &Gateway, path: &str, token: &str) -> Response {
    Client::connect(gateway.port()).unwrap().call(&Call::get(path).bearer(token)).unwrap()
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256, "k1")
}

/// A configuration with many mistakes, and what must be said about each.
fn mistaken() -> (Value, Vec<&'static str>) {
    let configuration = json!({
        "version": 1,
        "mode": "enforced",
        "providers": {"corp": {"audiences": [], "algorithms": ["ES255"], "jwks": {"env": "NOT_SET"}, "issuer": 7}},
        "limits": {"per_client": {"key": "principle", "rate": "fast"}},
        "policies": {"orders": {"extends": "usr", "require": "corp"}},
        "defaults": {"policy": "oders"},
        "rules": [
            {"match": {"path": "orders"}, "use": "orders"},
            {"match": {"regex": "("}, "allow": "public"},
            {"match": {"path": "/x"}, "use": "ordres"},
            {"match": {"path": "/y"}, "allow": "public", "limits": ["per_clent"]},
        ],
        "ruels": [],
    });
    let sayings = vec![
        "mode: \"enforced\" is not known here; did you mean \"enforce\"?",
        "providers.corp.issuer: expected text, found a number",
        "limits.per_client.rate: \"fast\" is not a rate",
        "ruels: unknown field; did you mean \"rules\"?",
    ];
    (configuration, sayings)
}

/// The same, as far as its form goes without a mistake: those of the meaning.
fn senseless() -> (Value, Vec<&'static str>) {
    let (mut configuration, _) = mistaken();
    configuration.as_object_mut().unwrap().remove("ruels");
    configuration["mode"] = json!("enforce");
    configuration["providers"]["corp"]["issuer"] = json!("https://idp.demo");
    configuration["limits"]["per_client"]["rate"] = json!("5/min");
    let sayings = vec![
        "providers.corp.audiences: names no audience",
        "providers.corp.algorithms[0]: no algorithm \"ES255\"",
        "providers.corp.jwks.env: the environment has no variable \"NOT_SET\"",
        "limits.per_client.key: no key part \"principle\"",
        "policies.orders.extends: no policy \"usr\"",
        "defaults.policy: no policy \"oders\"; did you mean \"orders\"?",
        "rules[0].match.path",
        "rules[1].match.regex",
        "rules[2].use: no policy \"ordres\"; did you mean \"orders\"?",
        "rules[3].limits[0]: no limit \"per_clent\"; did you mean \"per_client\"?",
    ];
    (configuration, sayings)
}

#[test]
fn envoy_does_not_start_with_a_bad_configuration_and_names_every_problem() {
    for (configuration, sayings) in [mistaken(), senseless()] {
        let error = builder(configuration).start().expect_err("a refusal");
        let error = format!("{error:#}");
        assert!(error.contains("Unable to create Wasm plugin"), "{error}");
        for saying in &sayings {
            assert!(error.contains(&format!("portcullis: {saying}")), "{saying}: missing in\n{error}");
        }
        assert!(error.contains("the configuration is refused"), "{error}");
    }
    for nothing in [json!({}), json!(null)] {
        assert!(builder(nothing.clone()).start().is_err(), "{nothing}");
    }
}

#[test]
fn a_secret_is_in_no_log_and_in_no_error() {
    let secret = "correct-horse-battery-staple-0123456789";
    let configuration = |algorithm: &str| filter::guarded(filter::provider(&[algorithm], json!({"env": "SECRET"})));
    let refused = builder(configuration("ES256")).env("SECRET", secret).start().expect_err("a refusal");
    let refused = format!("{refused:#}");
    assert!(refused.contains("providers.corp.jwks.env") && !refused.contains("correct-horse"), "{refused}");
    let gateway = builder(configuration("HS256")).env("SECRET", secret).log_level("debug").start().unwrap();
    let token = Token::of("alice").sign(&SigningKey::from_secret(Algorithm::Hs256, "k", secret.as_bytes()));
    assert_eq!(get_as(&gateway, "/x", &token).status, 200);
    let said =
        gateway.log().lines().filter(|line| line.contains("wasm log")).any(|line| line.contains("correct-horse"));
    assert!(!said);
}

#[test]
fn an_update_is_taken_or_refused_as_a_whole_and_limits_survive_it() {
    let key = key();
    let configuration = |open: &str, burst: u64| {
        json!({
            "version": 1,
            "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&key])}))},
            "limits": {"few": {"key": "principal", "rate": "1/h", "burst": burst}},
            "rules": [
                {"match": {"path": open}, "allow": "public"},
                {"match": {"path": "/few"}, "require": "corp", "limits": ["few"]},
            ],
        })
    };
    let mut gateway = builder(configuration("/one", 3)).reloadable().start().unwrap();
    let token = Token::of("alice").sign(&key);
    let few = |gateway: &Gateway| get_as(gateway, "/few", &token).status;
    assert_eq!([few(&gateway), few(&gateway), get(&gateway, "/one").status], [200, 200, 200]);
    for (bad, sayings) in [mistaken(), senseless()] {
        assert_eq!(gateway.reload(bad).unwrap(), Reload::Rejected);
        for saying in sayings {
            gateway.wait_for_log(&format!("portcullis: {saying}"), Duration::from_secs(5)).unwrap();
        }
        assert_eq!([get(&gateway, "/one").status, get(&gateway, "/two").status], [200, 404]);
    }
    assert_eq!(gateway.reload(configuration("/two", 3)).unwrap(), Reload::Accepted);
    // Old connections drain; new ones are served by the new configuration at once.
    assert!(eventually(Duration::from_secs(5), || get(&gateway, "/two").status == 200));
    assert_eq!(get(&gateway, "/one").status, 404);
    // Two of three are spent, update or not.
    assert_eq!([few(&gateway), few(&gateway), few(&gateway)], [200, 429, 429]);
    gateway.check_unharmed().unwrap();
}

#[test]
fn requests_that_wait_for_keys_survive_an_update() {
    let key = key();
    let idp = Idp::plain(&jwks([&key])).unwrap();
    idp.jwks().set_delay(Duration::from_millis(1_500));
    let remote = json!({"cluster": "idp", "path": "/jwks.json"});
    let configuration = filter::guarded(filter::provider(&["ES256"], remote));
    let mut gateway = builder(configuration.clone()).idp(&idp).reloadable().start().unwrap();
    let token = Token::of("alice").sign(&key);
    let call = Call::get("/x").bearer(&token);
    let mut clients: Vec<Client> = (0..6).map(|_| gateway.send(&call).unwrap()).collect();
    let mut changed = configuration;
    changed["rules"] = json!([{"match": {"path": "/y"}, "use": "user"}]);
    assert_eq!(gateway.reload(changed).unwrap(), Reload::Accepted);
    // Each is judged by the configuration under which it came.
    for client in &mut clients {
        let answer = client.read(false).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(eventually(Duration::from_secs(10), || get_as(&gateway, "/y", &token).status == 200));
    assert_eq!(get_as(&gateway, "/x", &token).status, 404);
    gateway.check_unharmed().unwrap();
}

#[test]
fn clients_that_leave_while_they_wait_are_forgotten() {
    let key = key();
    let idp = Idp::plain(&jwks([&key])).unwrap();
    idp.jwks().set_stall(Stall::BeforeHead);
    let remote = json!({"cluster": "idp", "path": "/jwks.json", "timeout": "1s"});
    let mut configuration = filter::guarded(filter::provider(&["ES256"], remote));
    configuration["max_wait"] = json!("30s");
    let orders = Service::plain("orders").unwrap();
    let gateway = Gateway::builder().filter(configuration).service(&orders).idp(&idp).start().unwrap();
    let call = Call::new("POST", "/orders/1").bearer(&Token::of("alice").sign(&key)).body("hello");
    let clients: Vec<Client> = (0..20).map(|_| gateway.send(&call).unwrap()).collect();
    let active = || gateway.stat("http.test.downstream_rq_active").unwrap();
    assert!(eventually(Duration::from_secs(5), || active() == 20), "{}", active());
    drop(clients);
    assert!(eventually(Duration::from_secs(5), || active() == 0), "{}", active());
    idp.jwks().set_json(&jwks([&key]));
    let answer = || Client::connect(gateway.port()).unwrap().call(&call).unwrap();
    assert!(eventually(Duration::from_secs(15), || answer().status == 200));
    let echoes: Vec<String> = orders.requests().iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    assert!(echoes.iter().all(|body| body == "hello"));
    assert!(echoes.len() < 5, "requests of clients that left were sent on: {}", echoes.len());
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_held_request_goes_on_whole_once_the_keys_are_there() {
    let key = key();
    let idp = Idp::plain(&jwks([&key])).unwrap();
    idp.jwks().set_delay(Duration::from_millis(800));
    let remote = json!({"cluster": "idp", "path": "/jwks.json"});
    let mut configuration = filter::guarded(filter::provider(&["ES256"], remote));
    configuration["limits"] = json!({"few": {"key": "ip", "rate": "5/h", "burst": 5}});
    configuration["defaults"]["limits"] = json!(["few"]);
    let orders = Service::plain("orders").unwrap();
    let gateway = Gateway::builder().filter(configuration).service(&orders).idp(&idp).workers(1).start().unwrap();
    let body = vec![b'x'; 200_000];
    let call =
        Call::new("POST", "/orders/1").bearer(&Token::of("alice").sign(&key)).header("x-user", "root").body(body);
    let answer = Client::connect(gateway.port()).unwrap().call(&call).unwrap();
    assert_eq!((answer.status, &answer.json()["body_bytes"]), (200, &json!(200_000)));
    assert_eq!(answer.upstream_header("x-user"), ["alice"]);
    // Charged once, though judged twice, and told all the same.
    assert!(answer.header("ratelimit").unwrap().starts_with(r#""few";r=4"#), "{answer:?}");
    gateway.check_unharmed().unwrap();
}

#[test]
fn the_policy_of_the_route_beats_the_rules() {
    let key = key();
    let configuration = json!({
        "version": 1,
        "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&key])}))},
        "policies": {
            "user": {"require": "corp"},
            "reader": {"extends": "user", "scopes": {"all": ["read"]}},
        },
        "rules": [{"name": "open", "match": {}, "allow": "public"}],
    });
    let route = |path: &str, policy: Value| {
        let mut route = passed(path);
        route["metadata"] = json!({"filter_metadata": {"portcullis": {"policy": policy}}});
        route
    };
    let gateway = Gateway::builder()
        .filter(configuration)
        .route(route("/reader", json!("reader")))
        .route(route("/typo", json!("raeder")))
        .route(route("/odd", json!(["reader"])))
        .route(route("/number", json!(1)))
        .route(passed("/"))
        .start()
        .unwrap();
    assert_eq!(get(&gateway, "/elsewhere").status, 200);
    refusal::check(&get(&gateway, "/reader"), 401, "credentials_missing").unwrap();
    let refused = get_as(&gateway, "/reader", &Token::of("alice").scope("write").sign(&key));
    refusal::check(&refused, 403, "scope_insufficient").unwrap();
    let event = gateway.audit_of(refused.header("x-request-id").unwrap()).unwrap();
    assert_eq!((&event["rule.name"], &event["user.id"]), (&json!("policy-reader"), &json!("alice")));
    assert_eq!(get_as(&gateway, "/reader", &Token::of("alice").scope("read").sign(&key)).status, 200);
    for path in ["/typo", "/odd", "/number"] {
        refusal::check(&get(&gateway, path), 500, "route_policy_unknown")
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    gateway.check_unharmed().unwrap();
}

#[test]
fn monitor_mode_refuses_nothing_and_says_what_it_would_have_refused() {
    let key = key();
    let mut configuration = filter::guarded(filter::provider(&["ES256"], json!({"inline": jwks([&key])})));
    configuration["mode"] = json!("monitor");
    configuration["limits"] = json!({"once": {"key": "ip", "rate": "1/h", "burst": 1}});
    configuration["rules"] = json!([
        {"name": "closed", "match": {"path": "/closed"}, "allow": "nobody"},
        {"name": "once", "match": {"path": "/once"}, "allow": "public", "limits": ["once"]},
        {"name": "strict", "match": {"path": "/strict"}, "allow": "public", "headers": {"require": ["x-tenant"]}},
        {"name": "scoped", "match": {"path": "/scoped"}, "scopes": {"all": ["read"]}},
        {"name": "user", "match": {"prefix": "/user"}},
    ]);
    let gateway = builder(configuration).start().unwrap();
    let token = Token::of("alice").sign(&key);
    let expired = Token::of("alice").expires_in(-100).sign(&key);
    get(&gateway, "/once");
    for (path, token, rule, reason) in [
        ("/closed", None, "closed", "rule_denied"),
        ("/once", None, "once", "limit_exceeded"),
        ("/strict", None, "strict", "header_missing"),
        ("/scoped", Some(&token), "scoped", "scope_insufficient"),
        ("/user", None, "user", "credentials_missing"),
        ("/user", Some(&expired), "user", "token_expired"),
        ("/nowhere", None, "none", "route_unmatched"),
        ("/user/..%2f", None, "none", "path_encoded_slash"),
    ] {
        let response = match token {
            None => get(&gateway, path),
            Some(token) => get_as(&gateway, path, token),
        };
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert_eq!(response.header("ratelimit"), None);
        let event = gateway.audit_of(response.header("x-request-id").unwrap()).unwrap();
        assert_eq!(event["event.action"], "request_monitored", "{event}");
        assert_eq!((event["event.reason"].as_str(), event["rule.name"].as_str()), (Some(reason), Some(rule)));
        let labels = [("rule", rule), ("reason", reason), ("verdict", "monitored")];
        assert!(
            eventually(Duration::from_secs(5), || gateway.counter("portcullis_decisions", &labels).unwrap() == 1),
            "{reason}"
        );
    }
    assert_eq!(gateway.counter("portcullis_decisions", &[("verdict", "denied")]).unwrap(), 0);
}
