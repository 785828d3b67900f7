//! The reference gateway, `envoy.yaml` as it stands: what Envoy does around the filter.
//!
//! One gateway serves all tests of this file. Each sends its own requests and leaves the gateway as it was.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response, call_h2};
use portcullis_tests::mint::Token;
use portcullis_tests::pki::Usage;
use portcullis_tests::reference::{Grounds, Reference};
use portcullis_tests::{eventually, tls};
use serde_json::{Value, json};

struct World {
    gateway: Reference,
    grounds: Grounds,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::start().unwrap_or_else(|error| panic!("{error:#}")));

impl World {
    fn start() -> anyhow::Result<Self> {
        let grounds = Grounds::prepare("reference")?;
        Ok(Self { gateway: grounds.start("gateway", &mut |_| {})?, grounds })
    }

    fn https(&self) -> Client {
        self.gateway.client(&self.grounds.pki).unwrap()
    }

    fn call(&self, call: &Call) -> Response {
        self.https().call(call).unwrap()
    }

    fn token(&self, subject: &str) -> String {
        Token::of(subject).scope("read_orders write_orders read_reports").sign(&self.grounds.key)
    }
}

#[test]
fn both_services_are_reached_over_mutual_tls() {
    for (subject, service) in [("gateway-a", "orders"), ("gateway-b", "reports")] {
        let response = WORLD.call(&Call::get(&format!("/{service}/17?x=1")).bearer(&WORLD.token(subject)));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["service"], service);
        assert_eq!(response.json()["path"], format!("/{service}/17?x=1"));
    }
}

#[test]
fn http2_reaches_the_same_services() {
    let config = tls::client(&WORLD.grounds.pki, None, &["h2"]).unwrap();
    let call = Call::get("/orders/17").bearer(&WORLD.token("gateway-h2"));
    let response = call_h2(WORLD.gateway.ports().https, Some((config, "localhost")), &call).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn a_service_lets_nobody_in_but_the_gateway() {
    WORLD.grounds.pki.issue("intruder", &["intruder.demo"], "spiffe://demo/intruder", Usage::Client).unwrap();
    for identity in [None, Some("intruder"), Some("orders")] {
        let config = tls::client(&WORLD.grounds.pki, identity, &["http/1.1"]).unwrap();
        let answer = Client::connect_tls(WORLD.gateway.orders.port(), config, "orders.demo")
            .and_then(|mut client| client.call(&Call::get("/orders/17")));
        assert!(answer.is_err(), "{identity:?}: {answer:?}");
    }
    let config = tls::client(&WORLD.grounds.pki, Some("gateway"), &["http/1.1"]).unwrap();
    let mut client = Client::connect_tls(WORLD.gateway.orders.port(), config, "orders.demo").unwrap();
    assert_eq!(client.call(&Call::get("/orders/17")).unwrap().status, 200);
}

#[test]
fn http_in_the_clear_is_only_a_way_to_https() {
    let mut client = Client::connect(WORLD.gateway.ports().http).unwrap();
    let response = client.call(&Call::get("/orders/17").header("host", "localhost")).unwrap();
    assert_eq!(response.status, 301);
    assert!(response.header("location").unwrap().starts_with("https://localhost"), "{response:?}");
}

#[test]
fn every_answer_names_its_request_and_nothing_of_the_inside() {
    for path in ["/healthz", "/orders/17", "/nowhere"] {
        let response = WORLD.call(&Call::get(path).bearer(&WORLD.token("gateway-c")));
        assert!(response.header("x-request-id").is_some(), "{path}: {response:?}");
        assert_eq!(response.header("server"), Some("gateway"), "{path}");
        assert_eq!(response.header("x-envoy-upstream-service-time"), None, "{path}");
    }
}

#[test]
fn a_request_id_from_outside_is_not_believed() {
    let call = Call::get("/orders/17").bearer(&WORLD.token("gateway-d")).header("x-request-id", "mine");
    assert_ne!(WORLD.call(&call).upstream_header("x-request-id"), ["mine"]);
}

#[test]
fn header_names_with_underscores_are_refused() {
    let call = Call::get("/orders/17").bearer(&WORLD.token("gateway-e")).header("x_user", "admin");
    assert_eq!(WORLD.call(&call).status, 400);
}

#[test]
fn a_request_that_is_no_http_ends_its_connection() {
    let mut client = WORLD.https();
    let smuggled =
        b"GET /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(client.raw(smuggled).unwrap().status, 400);
    assert!(client.call(&Call::get("/healthz")).is_err());
}

#[test]
fn odd_line_ends_bring_no_identity_past_the_gateway() {
    // Envoy takes a lone line feed for the end of a line, and a folded line for one: it writes both anew for the service.
    for (number, odd) in ["x-a: 1\nx-user: admin\r\n", "x-a: 1\r\n x-user: admin\r\n"].into_iter().enumerate() {
        let subject = format!("gateway-line-{number}");
        let token = WORLD.token(&subject);
        let message = format!("GET /orders/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n{odd}\r\n");
        let response = WORLD.https().raw(message.as_bytes()).unwrap();
        assert_eq!((response.status, response.upstream_header("x-user")), (200, vec![subject]), "{odd:?}");
    }
}

#[test]
fn tls_before_1_2_is_refused() {
    // A TLS 1.1 ClientHello: version, random, no session, three cipher suites of that time, no compression.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 6, 0xc0, 0x13, 0xc0, 0x14, 0, 0x2f, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut socket = TcpStream::connect(("127.0.0.1", WORLD.gateway.ports().https)).unwrap();
    socket.write_all(&record).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    // A fatal alert, protocol_version (RFC 8446, section 6).
    assert!(answer.starts_with(&[21]) && answer.ends_with(&[2, 70]), "{answer:?}");
}

/// The overload manager of `envoy.yaml`, with less memory than Envoy needs to start.
#[test]
fn without_memory_left_new_requests_get_503_and_the_gateway_stays() {
    let grounds = Grounds::prepare("overload").unwrap();
    let heap = "/overload_manager/resource_monitors/0/typed_config/max_heap_size_bytes";
    let mut change = |config: &mut Value| *config.pointer_mut(heap).unwrap() = json!(1 << 20);
    let gateway = grounds.start("gateway", &mut change).unwrap();
    let active = "overload.envoy.overload_actions.stop_accepting_requests.active";
    assert!(eventually(Duration::from_secs(10), || gateway.stat(active).unwrap() == 1));
    let token = Token::of("alice").scope("read_orders").sign(&grounds.key);
    for call in [Call::get("/orders/17").bearer(&token), Call::get("/orders/17"), Call::get("/healthz")] {
        let response = gateway.client(&grounds.pki).unwrap().call(&call).unwrap();
        assert_eq!((response.status, response.text().as_str()), (503, "envoy overloaded"));
    }
    assert!(gateway.orders.requests().is_empty(), "no service is asked");
    gateway.check_unharmed().unwrap();
}
