//! Windows, quotas, tiers and costs in the real Envoy: exact on four workers, and settled by real responses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::{eventually, filter, refusal};
use serde_json::{Value, json};

struct World {
    gateway: Gateway,
    key: SigningKey,
}

/// Each rule has limits of its own, so that the tests of this file do not spend each other's.
static WORLD: LazyLock<World> = LazyLock::new(|| world(4));

fn world(workers: u32) -> World {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let public = |name: &str, more: Value| {
        let mut rule = json!({"name": name, "match": {"prefix": format!("/{name}")}, "allow": "public"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    let user = |name: &str, limit: &str| json!({"name": name, "match": {"path": format!("/{name}")}, "require": "corp", "limits": [limit]});
    let configuration = json!({
        "version": 1,
        "defaults": {"limit_headers": "both"},
        "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&key])}))},
        "limits": {
            "daily": {"key": "ip", "quota": "200/day", "warn_at": "80%"},
            "window": {"key": "ip", "rate": "150/d", "algorithm": "fixed_window"},
            "sliding": {"key": "ip", "rate": "150/d", "algorithm": "sliding_window"},
            "tiered": {"key": "principal", "rate": "10/h", "tiers": {"claim": "plan", "values": {"gold": "40/h"}}},
            "refunded": {"key": "ip", "quota": "40/day"},
            "costly": {"key": "ip", "rate": "60/h"},
            "routed": {"key": ["ip", "route"], "rate": "2/h"},
        },
        "rules": [
            public("daily", json!({"limits": ["daily"]})),
            public("window", json!({"limits": ["window"]})),
            public("sliding", json!({"limits": ["sliding"]})),
            user("tiered", "tiered"),
            public("refunded", json!({"limits": ["refunded"], "refund_on": ["5xx"]})),
            public("costly", json!({"limits": ["costly"], "cost_from": {"response_header": "x-cost", "max": 20}})),
            public("routed", json!({"limits": ["routed"]})),
            {"name": "ops", "match": {"path": "/ops"}, "require": "corp", "scopes": {"all": ["read_limits"]}, "serve": "limits"},
        ],
    });
    let answers = |name: &str, prefix: &str, status: u16| json!({"name": name, "match": {"prefix": prefix}, "direct_response": {"status": status}});
    let costs = json!({
        "name": "costs", "match": {"prefix": "/costly/much"}, "direct_response": {"status": 200},
        "response_headers_to_add": [{"header": {"key": "x-cost", "value": "1000"}}],
    });
    let gateway = Gateway::builder()
        .filter(configuration)
        .workers(workers)
        .route(costs)
        .route(answers("fails", "/refunded/fails", 503))
        .route(answers("one", "/routed/one", 200))
        .route(answers("passed", "/", 200));
    World { gateway: gateway.start().unwrap(), key }
}

fn from(address: u8) -> Client {
    Client::connect_from(Ipv4Addr::new(127, 0, 2, address), WORLD.gateway.port()).unwrap()
}

/// Sends `each` calls over each of sixteen connections of one address at the same time; how many were answered with `status`.
fn storm(address: u8, path: &str, each: usize, status: u16) -> usize {
    storm_at(&WORLD.gateway, address, path, each, status)
}

fn storm_at(gateway: &Gateway, address: u8, path: &str, each: usize, status: u16) -> usize {
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let client = Client::connect_from(Ipv4Addr::new(127, 0, 2, address), gateway.port());
            let (mut client, call) = (client.unwrap(), Call::get(path));
            thread::spawn(move || (0..each).filter(|_| client.call(&call).unwrap().status == status).count())
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

fn remaining(response: &Response) -> u64 {
    response.header("x-ratelimit-remaining").unwrap().parse().unwrap()
}

fn ask(question: &Value) -> Value {
    let token = Token::of("operator").scope("read_limits").sign(&WORLD.key);
    let call = Call::new("POST", "/ops").bearer(&token).body(question.to_string().into_bytes());
    let response = Client::connect(WORLD.gateway.port()).unwrap().call(&call).unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_slice(&response.body).unwrap()
}

#[test]
fn a_quota_is_exact_on_all_workers_warns_once_and_is_reported() {
    assert_eq!(storm(1, "/daily", 40, 200), 200);
    let refused = from(1).call(&Call::get("/daily")).unwrap();
    refusal::check(&refused, 429, "limit_exceeded").unwrap();
    assert_eq!(refused.header("ratelimit-policy"), Some(r#""daily";q=200;w=86400"#));
    assert_eq!((refused.header("x-ratelimit-limit"), remaining(&refused)), (Some("200"), 0));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() <= 86_400);
    let labels = [("limit", "daily"), ("event", "warned")];
    let warned = || WORLD.gateway.counter("portcullis_limit_events", &labels).unwrap();
    assert!(eventually(Duration::from_secs(5), || warned() == 1));
    let report = ask(&json!({"limit": "daily", "key": {"ip": "127.0.2.1"}}));
    assert_eq!((&report["used"], &report["remaining"]), (&json!(200), &json!(0)));
    let report = ask(&json!({"limit": "daily", "key": {"ip": "127.0.2.99"}}));
    assert_eq!((&report["used"], &report["remaining"]), (&json!(0), &json!(200)));
}

#[test]
fn windows_are_exact_on_all_workers() {
    assert_eq!(storm(2, "/window", 30, 200), 150);
    assert_eq!(storm(3, "/sliding", 30, 200), 150);
}

#[test]
fn quotas_and_windows_are_exact_on_two_workers() {
    let world = world(2);
    for (path, most) in [("/daily", 200), ("/window", 150), ("/sliding", 150)] {
        assert_eq!(storm_at(&world.gateway, 1, path, 30, 200), most, "{path}");
    }
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_tier_is_told_and_a_change_of_it_gives_no_full_bucket() {
    let mut client = from(4);
    let mut call = |plan: Option<&str>| {
        let token = Token::of("alice");
        let token = match plan {
            Some(plan) => token.claim("plan", json!(plan)),
            None => token,
        };
        client.call(&Call::get("/tiered").bearer(&token.sign(&WORLD.key))).unwrap()
    };
    for _ in 0..5 {
        assert_eq!(call(None).status, 200);
    }
    let gold = call(Some("gold"));
    assert_eq!(gold.header("ratelimit-policy"), Some(r#""tiered";q=40;w=3600"#));
    assert_eq!(remaining(&gold), 19, "half of the bucket is used, in any tier");
    for _ in 0..19 {
        assert_eq!(call(Some("gold")).status, 200);
    }
    assert_eq!((call(Some("gold")).status, call(None).status, call(Some("bronze")).status), (429, 429, 429));
}

#[test]
fn what_fails_at_the_service_is_given_back_on_all_workers() {
    // Sixteen at a time of forty: never more in flight than the bucket holds, and 480 in all.
    assert_eq!(storm(5, "/refunded/fails", 30, 503), 480);
    let response = from(5).call(&Call::get("/refunded")).unwrap();
    assert_eq!((response.status, remaining(&response)), (200, 39));
    let labels = [("limit", "refunded"), ("event", "refunded")];
    assert!(eventually(Duration::from_secs(5), || {
        WORLD.gateway.counter("portcullis_limit_events", &labels).unwrap() == 480
    }));
}

#[test]
fn a_cost_of_the_response_is_charged_up_to_its_maximum() {
    let mut client = from(6);
    let much = client.call(&Call::get("/costly/much")).unwrap();
    assert_eq!((much.status, remaining(&much)), (200, 59));
    let next = client.call(&Call::get("/costly")).unwrap();
    assert_eq!(remaining(&next), 39, "twenty, whatever the response claims");
    let statuses: Vec<u16> = (0..3).map(|_| client.call(&Call::get("/costly/much")).unwrap().status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    let report = ask(&json!({"limit": "costly", "key": {"ip": "127.0.2.6"}}));
    assert_eq!(report["remaining"], json!(0));
}

#[test]
fn routes_are_counted_apart() {
    let mut client = from(7);
    let mut status = |path: &str| client.call(&Call::get(path)).unwrap().status;
    assert_eq!([status("/routed/one"), status("/routed/one"), status("/routed/one/b")], [200, 200, 429]);
    assert_eq!([status("/routed/two"), status("/routed/three"), status("/routed/four")], [200, 200, 429]);
}

#[test]
fn nobody_asks_without_the_scope() {
    let token = Token::of("mallory").sign(&WORLD.key);
    let body = json!({"limit": "daily", "key": {"ip": "127.0.2.1"}}).to_string().into_bytes();
    let call = Call::new("POST", "/ops").bearer(&token).body(body);
    let response = Client::connect(WORLD.gateway.port()).unwrap().call(&call).unwrap();
    refusal::check(&response, 403, "scope_insufficient").unwrap();
    WORLD.gateway.check_unharmed().unwrap();
}
