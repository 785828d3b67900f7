//! Roles, paths bound to claims and conditions in the real Envoy: with its addresses, its certificates and its clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, reason = "and so has one that finds less than it looks for")]

use std::sync::LazyLock;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::{Token, unix_seconds};
use portcullis_tests::services::Service;
use portcullis_tests::{filter, refusal};
use serde_json::{Value, json};

struct World {
    gateway: Gateway,
    key: SigningKey,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let mut corp = filter::provider(&["ES256"], json!({"inline": jwks([&key])}));
    corp["roles_from"] = json!(["realm_access.roles", "https://example.com/roles"]);
    let rule = |path: &str, more: Value| {
        let mut rule = json!({"match": {"path": path}, "require": "corp"});
        for (name, value) in more.as_object().unwrap() {
            rule[name] = value.clone();
        }
        rule
    };
    let configuration = json!({
        "version": 1,
        "providers": {"corp": corp},
        "identity_headers": ["x-user"],
        "policies": {
            "own": {"require": "corp", "bind": {"id": "sub"}},
            "acme": {"require": "corp", "when": "jwt.tenant == \"acme\""},
        },
        "rules": [
            rule("/orders/admin", json!({"roles": {"any": ["admin"]}})),
            rule("/orders/users/{id}/**", json!({"bind": {"id": "sub"}})),
            rule("/orders/local", json!({"when": {"name": "loopback", "condition": "cidr('127.0.0.0/8').containsIP(source.address)"}})),
            rule("/orders/remote", json!({"when": "cidr('10.0.0.0/8').containsIP(source.address)"})),
            rule("/orders/fresh", json!({"when": "now - timestamp(jwt.auth_time) < duration('5m')"})),
            rule("/orders/future", json!({"when": "now > timestamp('2100-01-01T00:00:00Z')"})),
            rule("/orders/tenant/{tenant}", json!({"when": [
                "path.tenant == jwt.tenant && query.tenant == jwt.tenant",
                "request.method == 'POST' && request.headers['x-tenant'] == jwt.tenant",
                "request.url_path.startsWith('/orders/') && host.matches('^[0-9.]+$')",
            ]})),
            rule("/orders/spoof", json!({"when": "has(headers['x-user'])"})),
            rule("/orders/watched", json!({"mode": "monitor", "when": "jwt.none == 1"})),
            rule("/orders/mtls", json!({"when": "connection.mtls"})),
            rule("/orders/deep", json!({"when": format!("{}true{}", "(method == 'GET' && !!".repeat(7), ")".repeat(7))})),
            rule("/orders/costly", json!({"when": "jwt.list.all(a, jwt.list.all(b, a + b >= 0))"})),
        ],
    });
    let orders = Service::plain("orders").unwrap();
    let by_route = |name: &str| {
        json!({
            "name": name, "match": {"path_separated_prefix": format!("/orders/by-route/{name}")}, "route": {"cluster": "orders"},
            "metadata": {"filter_metadata": {"portcullis": {"policy": name}}},
        })
    };
    let gateway = Gateway::builder()
        .filter(configuration)
        .service(&orders)
        .route(by_route("own"))
        .route(by_route("acme"))
        .start()
        .unwrap();
    // It runs as long as the tests do.
    std::mem::forget(orders);
    World { gateway, key }
});

fn send(call: &Call) -> Response {
    Client::connect(WORLD.gateway.port()).unwrap().call(call).unwrap()
}

fn get(path: &str, token: &Token) -> Response {
    send(&Call::get(path).bearer(&token.sign(&WORLD.key)))
}

fn alice() -> Token {
    Token::of("alice").claim("tenant", json!("acme"))
}

fn refused(response: &Response, reason: &str) {
    refusal::check(response, 403, reason).unwrap();
}

#[test]
fn roles_of_nested_and_url_like_claims_open_a_path() {
    let path = "/orders/admin";
    assert_eq!(get(path, &alice().claim("realm_access", json!({"roles": ["admin"]}))).status, 200);
    assert_eq!(get(path, &alice().claim("https://example.com/roles", json!("reader admin"))).status, 200);
    refused(&get(path, &alice().claim("realm_access", json!({"roles": ["administrator"]}))), "role_missing");
    refused(&get(path, &alice().claim("roles", json!(["admin"]))), "role_missing");
    refusal::check(&send(&Call::get(path)), 401, "credentials_missing").unwrap();
}

#[test]
fn a_bound_path_is_for_its_user_alone() {
    assert_eq!(get("/orders/users/alice/1", &alice()).status, 200);
    assert_eq!(get("/orders/users/al%20ice", &Token::of("al ice")).status, 200);
    refused(&get("/orders/users/bob/1", &alice()), "path_claim_mismatch");
    refused(&get("/orders/users/alice%20/1", &alice()), "path_claim_mismatch");
    refusal::check(&get("/orders/users/bob/../alice", &Token::of("bob")), 400, "path_dot_segment").unwrap();
}

#[test]
fn a_condition_sees_the_address_that_envoy_sees() {
    assert_eq!(get("/orders/local", &alice()).status, 200);
    refused(&get("/orders/remote", &alice()), "condition_false");
    // The gateway is the edge: it believes no address that a client claims to have.
    let call = Call::get("/orders/remote").bearer(&alice().sign(&WORLD.key)).header("x-forwarded-for", "10.0.0.1");
    refused(&send(&call), "condition_false");
}

#[test]
fn a_condition_sees_the_time() {
    let login = |seconds: i64| alice().claim("auth_time", json!(unix_seconds() - seconds));
    assert_eq!(get("/orders/fresh", &login(10)).status, 200);
    refused(&get("/orders/fresh", &login(600)), "condition_false");
    refused(&get("/orders/fresh", &alice()), "condition_error");
    refused(&get("/orders/future", &alice()), "condition_false");
}

#[test]
fn several_conditions_on_path_query_headers_and_method_must_all_hold() {
    let call = |path: &str| {
        Call::new("POST", path)
            .bearer(&alice().sign(&WORLD.key))
            .header("host", &format!("127.0.0.1:{}", WORLD.gateway.port()))
    };
    let tenant = |call: Call, name: &str| send(&call.header("x-tenant", name)).status;
    assert_eq!(tenant(call("/orders/tenant/acme?tenant=acme"), "acme"), 200);
    assert_eq!(tenant(call("/orders/tenant/acme?tenant=%61cme"), "acme"), 200);
    for (path, name) in [
        ("/orders/tenant/other?tenant=acme", "acme"),
        ("/orders/tenant/acme?tenant=other", "acme"),
        ("/orders/tenant/acme?tenant=acme&tenant=acme", "acme"),
        ("/orders/tenant/acme", "acme"),
        ("/orders/tenant/acme?tenant=acme", "other"),
        ("/orders/tenant/acme?tenant=acme", ""),
    ] {
        assert_eq!(tenant(call(path), name), 403, "{path} {name}");
    }
    refused(&send(&call("/orders/tenant/acme?tenant=acme")), "condition_error");
    let twice = call("/orders/tenant/acme?tenant=acme").header("x-tenant", "acme").header("x-tenant", "acme");
    assert_eq!(send(&twice).status, 403);
}

#[test]
fn what_only_the_gateway_may_say_counts_for_nothing() {
    let call = Call::get("/orders/spoof").bearer(&alice().sign(&WORLD.key)).header("x-user", "root");
    refused(&send(&call), "condition_false");
    refused(&get("/orders/mtls", &alice()), "condition_false");
}

#[test]
fn a_policy_that_the_route_names_has_conditions_and_no_path_variables() {
    assert_eq!(get("/orders/by-route/acme", &alice()).status, 200);
    refused(&get("/orders/by-route/acme", &Token::of("bob").claim("tenant", json!("other"))), "condition_false");
    refused(&get("/orders/by-route/acme", &Token::of("bob")), "condition_error");
    refused(&get("/orders/by-route/own/alice", &alice()), "path_claim_mismatch");
}

#[test]
fn monitor_mode_lets_pass_what_has_no_answer_and_records_it() {
    assert_eq!(get("/orders/watched", &alice()).status, 200);
    let log = WORLD.gateway.log();
    let line = log.lines().find(|line| line.contains("request_monitored") && line.contains("condition_error"));
    assert!(line.is_some_and(|line| line.contains("when[0]")), "{log}");
}

#[test]
fn a_token_cannot_make_a_condition_run_for_long() {
    assert_eq!(get("/orders/deep", &alice()).status, 200);
    let list: Vec<u32> = (0..1000).collect();
    let token = alice().claim("list", json!(list)).sign(&WORLD.key);
    let call = Call::get("/orders/costly").bearer(&token);
    let begun = std::time::Instant::now();
    refused(&send(&call), "condition_error");
    assert!(begun.elapsed().as_secs() < 2, "a million steps were asked for: {:?}", begun.elapsed());
    assert_eq!(get("/orders/costly", &alice().claim("list", json!([1, 2, 3]))).status, 200);
}
