//! Limits in the real Envoy: exact under load on both workers, told to clients as the draft says, and not to be fooled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "and so has one that finds less than it looks for")]

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::server::Answer;
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, filter, refusal};
use serde_json::json;

struct World {
    gateway: Gateway,
    key: SigningKey,
}

/// Each rule has limits of its own, so that the tests of this file do not spend each other's.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let limit = |key: serde_json::Value, rate: &str, burst: u64| json!({"key": key, "rate": rate, "burst": burst});
    let rule = |name: &str, limits: &[&str]| json!({"name": name, "match": {"path": format!("/{name}")}, "allow": "public", "limits": limits});
    let user = |name: &str, limits: &[&str]| json!({"name": name, "match": {"path": format!("/{name}")}, "require": "corp", "limits": limits});
    let configuration = json!({
        "version": 1,
        "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&key])}))},
        "limits": {
            "crowd": limit(json!("principal"), "1/h", 200),
            "many": limit(json!("principal"), "1/h", 50),
            "address": limit(json!("ip"), "1/h", 100),
            "fallback": limit(json!({"first_of": ["principal", "ip"]}), "1/h", 5),
            "told": limit(json!("ip"), "60/min", 3),
            "wide": limit(json!("ip"), "100/min", 10),
            "own": limit(json!("principal"), "10/min", 4),
            "tenant": limit(json!(["rule", "header:x-tenant"]), "1/h", 2),
            "watched": {"key": "ip", "rate": "1/h", "burst": 1, "mode": "monitor"},
            "refilled": limit(json!("ip"), "10/s", 1),
        },
        "rules": [
            user("crowd", &["crowd"]),
            user("many", &["many"]),
            rule("address", &["address"]),
            rule("fallback", &["fallback"]),
            user("fallback-user", &["fallback"]),
            rule("told", &["told"]),
            user("both", &["wide", "own"]),
            rule("two", &["wide", "told"]),
            rule("tenant", &["tenant"]),
            rule("watched", &["watched"]),
            rule("refilled", &["refilled"]),
        ],
    });
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    World { gateway: Gateway::builder().filter(configuration).route(passed).start().unwrap(), key }
});

fn token(subject: &str) -> String {
    Token::of(subject).sign(&WORLD.key)
}

/// Another client for every test: limits by address are spent by nobody else.
fn from(address: u8) -> Client {
    Client::connect_from(Ipv4Addr::new(127, 0, 1, address), WORLD.gateway.port()).unwrap()
}

/// Sends `each` calls over each of the connections at the same time; the statuses of all answers.
fn storm(connections: Vec<(Client, Call)>, each: usize) -> Vec<(usize, u16)> {
    let threads = connections.into_iter().enumerate().map(|(index, (mut client, call))| {
        thread::spawn(move || (0..each).map(|_| (index, client.call(&call).unwrap().status)).collect::<Vec<_>>())
    });
    let threads: Vec<_> = threads.collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

fn admitted(statuses: impl Iterator<Item = u16>) -> usize {
    statuses.filter(|status| *status == 200).count()
}

/// Both workers took part, so that what is counted was counted together.
fn both_workers_served() -> bool {
    let stats = WORLD.gateway.admin("GET", "/stats").unwrap().text();
    let worker = |number: u32| {
        let suffix = format!("worker_{number}.downstream_cx_total: ");
        let served = stats.lines().filter_map(|line| line.split_once(suffix.as_str())?.1.parse::<u64>().ok());
        served.sum::<u64>() > 0
    };
    worker(0) && worker(1)
}

#[test]
fn one_client_on_many_connections_gets_exactly_its_burst() {
    let call = Call::get("/crowd").bearer(&token("crowd"));
    let connections = (0..16).map(|_| (Client::connect(WORLD.gateway.port()).unwrap(), call.clone())).collect();
    let statuses = storm(connections, 125);
    assert_eq!(statuses.len(), 2_000);
    assert_eq!(admitted(statuses.iter().map(|(_, status)| *status)), 200);
    assert!(statuses.iter().all(|(_, status)| [200, 429].contains(status)));
    assert!(both_workers_served());
}

#[test]
fn many_clients_at_once_get_each_exactly_their_own() {
    let connections = (0..16).map(|index| {
        // Four connections for each of four clients.
        let call = Call::get("/many").bearer(&token(&format!("client-{}", index % 4)));
        (Client::connect(WORLD.gateway.port()).unwrap(), call)
    });
    let statuses = storm(connections.collect(), 60);
    for client in 0..4 {
        let own = statuses.iter().filter(|(index, _)| index % 4 == client).map(|(_, status)| *status);
        assert_eq!(admitted(own), 50, "client {client}");
    }
}

#[test]
fn addresses_are_counted_apart() {
    let connections = (0..12).map(|index: u8| (from(10 + index % 3), Call::get("/address")));
    let statuses = storm(connections.collect(), 50);
    for client in 0..3 {
        let own = statuses.iter().filter(|(index, _)| index % 3 == client).map(|(_, status)| *status);
        assert_eq!(admitted(own), 100, "client {client}");
    }
}

#[test]
fn no_header_of_a_client_makes_it_another_client() {
    let headers = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-for", "127.0.1.99, 203.0.113.8"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.10"),
        ("x-envoy-external-address", "203.0.113.11"),
        ("true-client-ip", "203.0.113.12"),
        ("x-client-ip", "203.0.113.13"),
    ];
    let mut client = from(20);
    for _ in 0..5 {
        assert_eq!(client.call(&Call::get("/fallback")).unwrap().status, 200);
    }
    for (name, value) in headers {
        let response = client.call(&Call::get("/fallback").header(name, value)).unwrap();
        refusal::check(&response, 429, "limit_exceeded").unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(from(21).call(&Call::get("/fallback")).unwrap().status, 200, "another address is another client");
}

#[test]
fn the_first_part_that_a_request_has_is_the_key() {
    // By address on the public rule; by subject, from any address, where there is a token.
    for address in [22, 23] {
        for _ in 0..5 {
            assert_eq!(from(address).call(&Call::get("/fallback")).unwrap().status, 200);
        }
        assert_eq!(from(address).call(&Call::get("/fallback")).unwrap().status, 429);
    }
    let call = Call::get("/fallback-user").bearer(&token("dora"));
    let statuses: Vec<u16> = (0..6).map(|n| from(24 + n).call(&call).unwrap().status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429]);
    let other = Call::get("/fallback-user").bearer(&token("emil"));
    assert_eq!(from(24).call(&other).unwrap().status, 200);
}

#[test]
fn a_composite_key_counts_each_combination() {
    let mut client = from(30);
    let mut status = |tenant: &str| client.call(&Call::get("/tenant").header("x-tenant", tenant)).unwrap().status;
    assert_eq!([status("a"), status("a"), status("a")], [200, 200, 429]);
    assert_eq!([status("b"), status("b"), status("b")], [200, 200, 429]);
    assert_eq!([status("A"), status("a,"), status("a b")], [200, 200, 200]);
}

fn ratelimit(response: &Response) -> (Option<&str>, Option<&str>) {
    (response.header("ratelimit-policy"), response.header("ratelimit"))
}

#[test]
fn a_client_is_told_what_it_has_left() {
    let mut client = from(40);
    let call = Call::get("/told");
    let response = client.call(&call).unwrap();
    assert_eq!(ratelimit(&response), (Some(r#""told";q=60;w=60"#), Some(r#""told";r=2;t=2"#)));
    client.call(&call).unwrap();
    assert_eq!(ratelimit(&client.call(&call).unwrap()), (Some(r#""told";q=60;w=60"#), Some(r#""told";r=0;t=1"#)));
    let response = client.call(&call).unwrap();
    refusal::check(&response, 429, "limit_exceeded").unwrap();
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(ratelimit(&response), (Some(r#""told";q=60;w=60"#), Some(r#""told";r=0;t=1"#)));
    // One header line each, not one per limit or retry.
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert_eq!(response.headers.iter().filter(|(n, _)| n == name).count(), 1, "{name}");
    }
}

#[test]
fn several_limits_are_told_as_one_list() {
    let both = |response: &Response| {
        let (policy, standing) = ratelimit(response);
        (policy.unwrap_or_default().to_owned(), standing.unwrap_or_default().to_owned())
    };
    // Two limits that are charged together.
    let response = from(41).call(&Call::get("/two")).unwrap();
    let (policy, standing) = both(&response);
    assert_eq!(policy, r#""wide";q=100;w=60, "told";q=60;w=60"#);
    assert_eq!(standing, r#""wide";r=9;t=6, "told";r=2;t=2"#);
    // One charged before the token is read, one after.
    let response = from(42).call(&Call::get("/both").bearer(&token("fritz"))).unwrap();
    let (policy, standing) = both(&response);
    assert_eq!(policy, r#""wide";q=100;w=60, "own";q=10;w=60"#);
    assert_eq!(standing, r#""wide";r=9;t=6, "own";r=3;t=18"#);
}

#[test]
fn what_the_service_says_of_its_own_limits_reaches_the_client_beside_ours() {
    let orders = Service::plain("orders").unwrap();
    let configuration = json!({
        "version": 1,
        "limits": {"ours": {"key": "ip", "rate": "100/min"}},
        "defaults": {"limit_headers": "both"},
        "rules": [{"name": "all", "match": {}, "allow": "public", "limits": ["ours"]}],
    });
    let gateway = Gateway::builder().filter(configuration).service(&orders).start().unwrap();
    let told = |headers: &[(&str, &str)]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        orders.set_answer(Answer { headers, ..Answer::status(200) });
        let response = Client::connect(gateway.port()).unwrap().call(&Call::get("/orders/1")).unwrap();
        let values = |name: &str| {
            let values = response.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
            values.collect::<Vec<_>>().join(", ")
        };
        ["ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining"].map(values)
    };
    let policy = r#""ours";q=100;w=60"#;
    assert_eq!(told(&[]), [policy, r#""ours";r=99;t=60"#, "100", "99"]);
    let theirs = [("RateLimit-Policy", r#""theirs";q=5;w=60"#), ("RateLimit", r#""theirs";r=4;t=50"#)];
    let both = format!(r#""theirs";q=5;w=60, {policy}"#);
    assert_eq!(told(&theirs), [&both, r#""theirs";r=4;t=50, "ours";r=98;t=59"#, "100", "98"]);
    let older = [("x-ratelimit-limit", "5"), ("x-ratelimit-remaining", "4"), ("ratelimit", "limit=5, remaining=4")];
    assert_eq!(told(&older), [policy, r#""ours";r=97;t=59"#, "5", "4"]);
    gateway.check_unharmed().unwrap();
}

#[test]
fn retry_after_is_when_a_retry_is_admitted() {
    let mut client = from(43);
    assert_eq!(client.call(&Call::get("/refilled")).unwrap().status, 200);
    let mut refused = client.call(&Call::get("/refilled")).unwrap();
    // A stalled machine may refill before the second request.
    for _ in 0..20 {
        if refused.status == 429 {
            break;
        }
        refused = client.call(&Call::get("/refilled")).unwrap();
    }
    refusal::check(&refused, 429, "limit_exceeded").unwrap();
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(eventually(Duration::from_secs(1), || client.call(&Call::get("/refilled")).unwrap().status == 200));
}

#[test]
fn a_limit_in_monitor_mode_admits_tells_nothing_and_is_counted() {
    let mut client = from(44);
    for _ in 0..5 {
        let response = client.call(&Call::get("/watched")).unwrap();
        assert_eq!(response.status, 200);
        assert_eq!((ratelimit(&response), response.header("retry-after")), ((None, None), None));
    }
    let labels = [("rule", "watched"), ("reason", "limit_exceeded"), ("verdict", "monitored")];
    let counted = || WORLD.gateway.counter("portcullis_decisions", &labels).unwrap() == 4;
    assert!(eventually(Duration::from_secs(5), counted));
    let allowed = [("rule", "watched"), ("reason", "ok"), ("verdict", "allowed")];
    assert!(eventually(Duration::from_secs(5), || {
        WORLD.gateway.counter("portcullis_decisions", &allowed).unwrap() == 5
    }));
    let monitored = WORLD.gateway.audit();
    let monitored = monitored.iter().filter(|event| event["rule.name"] == "watched");
    assert!(monitored.clone().count() == 4 && monitored.into_iter().all(|e| e["event.action"] == "request_monitored"));
}

#[test]
fn a_refused_token_costs_its_owner_nothing() {
    let good = Call::get("/both").bearer(&token("greta"));
    let forged = Call::get("/both").bearer(&Token::of("greta").sign(&SigningKey::generate(Algorithm::Es256, "k1")));
    let mut client = from(45);
    for _ in 0..6 {
        assert_eq!(client.call(&forged).unwrap().status, 401);
    }
    for left in [3, 2] {
        let response = client.call(&good).unwrap();
        assert!(ratelimit(&response).1.unwrap().contains(&format!("\"own\";r={left}")), "{response:?}");
    }
    WORLD.gateway.check_unharmed().unwrap();
}
