//! Lists of addresses in the real Envoy with two workers: written and fetched, and whose address it is that counts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::{Builder, Gateway, Reload};
use portcullis_tests::server::Answer;
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, refusal};
use serde_json::{Value, json};

/// So many connections that both workers have some.
const CONNECTIONS: usize = 24;
/// The shortest interval that there is, the tick of a worker that notices late, and a slow machine.
const AFTER_AN_INTERVAL: Duration = Duration::from_secs(15);

fn builder(configuration: Value) -> Builder {
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    Gateway::builder().filter(configuration).route(passed)
}

/// 127.0.1.0/24 is the office, and .66 in it may call nothing.
fn written() -> Value {
    json!({
        "version": 1,
        "address_lists": {
            "office": {"cidrs": ["127.0.1.0/24", "2001:db8::/32", "198.51.100.7"]},
            "banned": {"cidrs": ["127.0.1.66", "2001:db8:bad::/48", "198.51.100.66"]},
        },
        "defaults": {"addresses": {"deny": ["banned"]}},
        "rules": [
            {"name": "admin", "match": {"prefix": "/admin"}, "allow": "public", "addresses": {"allow": ["office"]}},
            {"name": "watched", "match": {"prefix": "/watched"}, "allow": "public", "addresses": {"allow": ["office"]}, "monitor": ["addresses"]},
            {"name": "all", "match": {}, "allow": "public"},
        ],
    })
}

fn call_from(gateway: &Gateway, last: u8, call: &Call) -> Response {
    Client::connect_from(Ipv4Addr::new(127, 0, 1, last), gateway.port()).unwrap().call(call).unwrap()
}

#[test]
fn lists_hold_for_every_connection_on_both_workers() {
    let gateway = builder(written()).start().unwrap();
    for _ in 0..CONNECTIONS {
        assert_eq!(call_from(&gateway, 7, &Call::get("/admin")).status, 200);
        refusal::check(&call_from(&gateway, 66, &Call::get("/admin")), 403, "address_denied").unwrap();
        refusal::check(&call_from(&gateway, 66, &Call::get("/")), 403, "address_denied").unwrap();
        // 127.0.0.1 is not the office.
        let elsewhere = Client::connect(gateway.port()).unwrap().call(&Call::get("/admin")).unwrap();
        refusal::check(&elsewhere, 403, "address_denied").unwrap();
    }
    let denied = [("rule", "admin"), ("reason", "address_denied"), ("verdict", "denied")];
    let count = || gateway.counter("portcullis_decisions", &denied).unwrap();
    assert!(eventually(Duration::from_secs(5), || count() == 2 * CONNECTIONS as u64), "{}", count());
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_watched_check_counts_and_logs_what_it_would_refuse() {
    let gateway = builder(written()).start().unwrap();
    let response = Client::connect(gateway.port()).unwrap().call(&Call::get("/watched")).unwrap();
    assert_eq!(response.status, 200);
    let event = gateway.audit_of(response.header("x-request-id").unwrap()).unwrap();
    assert_eq!(event.get("event.action"), Some(&json!("request_monitored")), "{event}");
    assert_eq!(event.get("event.reason"), Some(&json!("address_denied")), "{event}");
    let labels = [("rule", "watched"), ("reason", "address_denied"), ("verdict", "monitored")];
    assert!(eventually(Duration::from_secs(5), || gateway.counter("portcullis_decisions", &labels).unwrap() == 1));
}

#[test]
fn without_trusted_hops_no_header_makes_another_address() {
    let gateway = builder(written()).start().unwrap();
    for (name, value) in [
        ("x-forwarded-for", "127.0.1.7"),
        ("x-forwarded-for", "198.51.100.7, 127.0.1.7"),
        ("forwarded", "for=127.0.1.7"),
        ("x-real-ip", "127.0.1.7"),
        ("x-envoy-external-address", "127.0.1.7"),
    ] {
        let response = Client::connect(gateway.port()).unwrap().call(&Call::get("/admin").header(name, value)).unwrap();
        refusal::check(&response, 403, "address_denied").unwrap_or_else(|error| panic!("{name}: {error}"));
        let response = call_from(&gateway, 66, &Call::get("/").header(name, value));
        refusal::check(&response, 403, "address_denied").unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn behind_a_trusted_proxy_the_address_is_the_one_that_it_saw() {
    // One proxy of ours stands in front: the last entry of x-forwarded-for is what it saw.
    let gateway = builder(written()).connection_manager("xff_num_trusted_hops", json!(1)).start().unwrap();
    let call = |path: &str, forwarded: &str| {
        let call = Call::get(path).header("x-forwarded-for", forwarded);
        Client::connect(gateway.port()).unwrap().call(&call).unwrap()
    };
    for inside in ["198.51.100.7", "203.0.113.1, 198.51.100.7", "2001:db8::7", "::ffff:198.51.100.7"] {
        assert_eq!(call("/admin", inside).status, 200, "{inside}");
    }
    for outside in [
        "198.51.100.8",
        "198.51.100.7, 203.0.113.1",
        "2001:db9::1",
        "198.51.100.66",
        "2001:db8:bad::1",
        "::ffff:198.51.100.66",
    ] {
        refusal::check(&call("/admin", outside), 403, "address_denied").unwrap_or_else(|e| panic!("{outside}: {e}"));
    }
    // What the proxy did not write is the client's own invention, and the address is then the connection's.
    for odd in ["garbage", "198.51.100.7, garbage"] {
        refusal::check(&call("/admin", odd), 403, "address_denied").unwrap_or_else(|error| panic!("{odd}: {error}"));
    }
    gateway.check_unharmed().unwrap();
}

fn feed(lines: &str) -> Answer {
    Answer {
        headers: vec![("content-type".into(), "text/plain".into())],
        body: Bytes::from(lines.to_owned()),
        ..Answer::status(200)
    }
}

fn pulled(change: &[(&str, Value)]) -> Value {
    let mut list = json!({"cluster": "feed", "path": "/bad.txt", "every": "5s", "timeout": "2s"});
    for (name, value) in change {
        list.as_object_mut().unwrap().insert((*name).to_owned(), value.clone());
    }
    json!({
        "version": 1,
        "address_lists": {"bad": list},
        "rules": [{"name": "all", "match": {}, "allow": "public", "addresses": {"deny": ["bad"]}}],
    })
}

/// The status on many connections, so on both workers; all must be the same.
fn status_everywhere(gateway: &Gateway) -> Option<u16> {
    let statuses: Vec<u16> = (0..CONNECTIONS)
        .map(|_| Client::connect(gateway.port()).unwrap().call(&Call::get("/")).unwrap().status)
        .collect();
    let first = statuses.first().copied()?;
    statuses.iter().all(|status| *status == first).then_some(first)
}

fn becomes(gateway: &Gateway, status: u16) -> Duration {
    let started = Instant::now();
    assert!(eventually(AFTER_AN_INTERVAL, || status_everywhere(gateway) == Some(status)), "{}", gateway.log());
    started.elapsed()
}

#[test]
fn a_fetched_list_holds_on_both_workers_and_is_fetched_once_for_all() {
    let server = Service::plain("feed").unwrap();
    server.set_answer(feed("# nobody\n"));
    let mut gateway = builder(pulled(&[])).cluster("feed", server.port()).reloadable().start().unwrap();
    assert!(eventually(Duration::from_secs(5), || server.hits() > 0));
    assert_eq!(status_everywhere(&gateway), Some(200));
    server.set_answer(feed("203.0.113.0/24\n127.0.0.0/8 # this machine\n"));
    println!("a new list took effect on both workers after {:?}", becomes(&gateway, 403));
    // A document with one bad line is no list: the old one stays.
    server.set_answer(feed("198.51.100.0/24\nnot an address\n"));
    gateway
        .wait_for_log("address list bad: the list cannot be fetched: line 2 is no address", AFTER_AN_INTERVAL)
        .unwrap();
    assert_eq!(status_everywhere(&gateway), Some(403));
    // So does it where the server is gone, and when the configuration changes.
    let mut other = pulled(&[]);
    other.as_object_mut().unwrap().insert("identity_headers".to_owned(), json!(["x-reloaded"]));
    assert_eq!(gateway.reload(other).unwrap(), Reload::Accepted);
    assert_eq!(status_everywhere(&gateway), Some(403));
    server.set_answer(feed("[\"203.0.113.0/24\"]"));
    becomes(&gateway, 200);
    // Two workers and Envoy's main thread tick, and all of them have had the list from one fetch for each interval.
    server.forget();
    let started = Instant::now();
    std::thread::sleep(Duration::from_secs(11));
    let most = started.elapsed().as_secs() / 4 + 1;
    assert!((1..=most).contains(&(server.hits() as u64)), "{} fetches", server.hits());
    let loaded = gateway.counter("portcullis_address_list", &[("list", "bad"), ("event", "list_loaded")]).unwrap();
    assert!(loaded >= 4, "{loaded}");
    gateway.check_unharmed().unwrap();
}

#[test]
fn without_its_list_a_strict_rule_answers_503_until_it_comes() {
    let server = Service::plain("feed").unwrap();
    server.set_answer(Answer::status(500));
    let strict = [("on_error", json!("deny"))];
    let gateway = builder(pulled(&strict)).cluster("feed", server.port()).start().unwrap();
    let response = Client::connect(gateway.port()).unwrap().call(&Call::get("/")).unwrap();
    refusal::check(&response, 503, "address_list_unavailable").unwrap();
    assert_eq!(status_everywhere(&gateway), Some(503));
    server.set_answer(feed("203.0.113.0/24\n"));
    becomes(&gateway, 200);
}

#[test]
fn a_hundred_thousand_networks_are_fetched_and_serve() {
    let server = Service::plain("feed").unwrap();
    let mut lines: String =
        (0..100_000u32).map(|n| format!("{}/30\n", Ipv4Addr::from_bits(0x0b00_0000 + n * 8))).collect();
    println!("a list of 100,000 networks has {} bytes", lines.len());
    lines.push_str("127.0.0.1\n");
    server.set_answer(feed(&lines));
    let gateway = builder(pulled(&[])).cluster("feed", server.port()).start().unwrap();
    becomes(&gateway, 403);
    assert_eq!(call_from(&gateway, 7, &Call::get("/")).status, 200);
    gateway.check_unharmed().unwrap();
}
