//! Bodies that the gateway itself reads, in the real Envoy: with trailers, and of requests that were held for their caller's sake.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::thread;
use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::idp::Idp;
use portcullis_tests::introspection::{Client as Caller, Introspector};
use portcullis_tests::refusal;
use serde_json::json;

/// Where operators call.
const ADMIN: &str = "/admin/revocations";
/// How long the provider takes for its word about a caller.
const ASKED: Duration = Duration::from_millis(300);

/// A gateway that has to ask about every caller anew, and a provider that takes its time.
struct World {
    gateway: Gateway,
    introspection: Introspector,
    _idp: Idp,
}

impl World {
    fn start() -> Self {
        let idp = Idp::plain(&json!({"keys": []})).unwrap();
        let introspection = Introspector::at(&idp, "/introspect", Caller::Post("gw".to_owned(), "s3cret".to_owned()));
        introspection.endpoint().set_delay(ASKED);
        let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
        let gateway = Gateway::builder()
            .filter(json!({
                "version": 1,
                "providers": {"partner": {"introspection": {
                    "cluster": "idp", "path": "/introspect", "client_id": "gw",
                    "client_secret": {"inline": "s3cret"}, "client_authentication": "post",
                }}},
                "revocation": {"push": {}},
                "rules": [
                    {"name": "admin", "match": {"path": ADMIN}, "require": "partner", "scopes": {"all": ["revoke"]},
                     "serve": "revocations"},
                    {"name": "all", "match": {}, "require": "partner"},
                ],
            }))
            .idp(&idp)
            .route(passed)
            .connection_manager("http_protocol_options", json!({"enable_trailers": true}))
            .start()
            .unwrap();
        Self { gateway, introspection, _idp: idp }
    }

    /// A token of an operator, that nobody was asked about yet.
    fn operator(&self, name: &str) -> String {
        let token = format!("operator-{name}");
        self.introspection.activate(&token, json!({"sub": "oscar", "scope": "revoke"}));
        token
    }

    fn connect(&self) -> Client {
        Client::connect(self.gateway.port()).unwrap()
    }

    /// Whether the token with this `jti` is refused as revoked.
    fn is_revoked(&self, jti: &str) -> bool {
        let token = format!("user-{jti}");
        self.introspection.activate(&token, json!({"sub": "alice", "jti": jti}));
        let response = self.connect().call(&Call::get("/orders").bearer(&token)).unwrap();
        if response.status == 200 {
            return false;
        }
        refusal::check(&response, 401, "token_revoked").unwrap();
        true
    }
}

fn pushed(response: &Response) {
    assert_eq!((response.status, response.json()), (201, json!({"revoked": true})), "{}", response.text());
}

fn entry(jti: &str) -> String {
    json!({"jti": jti}).to_string()
}

/// The head of a push whose body comes in chunks.
fn chunked(token: &str) -> Vec<u8> {
    Call::new("POST", ADMIN).bearer(token).header("transfer-encoding", "chunked").to_bytes()
}

fn chunk(bytes: &str) -> Vec<u8> {
    format!("{:x}\r\n{bytes}\r\n", bytes.len()).into_bytes()
}

const TRAILERS: &[u8] = b"0\r\nx-checksum: 1\r\n\r\n";

#[test]
fn the_body_of_a_held_request_waits_with_its_head() {
    let world = World::start();
    let call = Call::new("POST", ADMIN).bearer(&world.operator("whole")).body(entry("whole"));
    pushed(&world.connect().call(&call).unwrap());
    assert!(world.is_revoked("whole"));
    assert!(!world.is_revoked("another"));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn it_may_come_before_and_after_the_verdict() {
    let world = World::start();
    for (name, before) in [("after", 0), ("some", 5), ("all", usize::MAX)] {
        let bytes = Call::new("POST", ADMIN).bearer(&world.operator(name)).body(entry(name)).to_bytes();
        let head = bytes.len() - entry(name).len();
        let (first, second) = bytes.split_at(head.saturating_add(before).min(bytes.len()));
        let mut client = world.connect();
        client.send(first).unwrap();
        thread::sleep(ASKED * 2);
        client.send(second).unwrap();
        pushed(&client.read(false).unwrap());
        assert!(world.is_revoked(name), "{name}");
    }
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn it_may_end_in_trailers() {
    let world = World::start();
    // A caller who is known already is not held.
    for (name, held) in [("held", true), ("known", false)] {
        let operator = world.operator(name);
        if !held {
            for _ in 0..16 {
                let known = world.connect().call(&Call::get(ADMIN).bearer(&operator)).unwrap();
                assert_eq!(known.status, 200, "{}", known.text());
            }
        }
        let mut client = world.connect();
        client.send(&[&chunked(&operator), &chunk(&entry(name))[..], TRAILERS].concat()).unwrap();
        pushed(&client.read(false).unwrap());
        assert!(world.is_revoked(name), "{name}");
    }
    let mut client = world.connect();
    client.send(&[&chunked(&world.operator("late"))[..], &chunk(&entry("late"))].concat()).unwrap();
    thread::sleep(ASKED * 2);
    client.send(TRAILERS).unwrap();
    pushed(&client.read(false).unwrap());
    assert!(world.is_revoked("late"));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn one_that_is_too_large_is_refused_before_and_after_the_verdict() {
    let world = World::start();
    let over = format!("{:<16385}", entry("over"));
    let at_once = Call::new("POST", ADMIN).bearer(&world.operator("at-once")).body(over.as_str());
    refusal::check(&world.connect().call(&at_once).unwrap(), 413, "body_too_large").unwrap();
    let mut client = world.connect();
    client.send(&chunked(&world.operator("later"))).unwrap();
    let (first, second) = over.split_at(8000);
    client.send(&chunk(first)).unwrap();
    thread::sleep(ASKED * 2);
    client.send(&chunk(second)).unwrap();
    refusal::check(&client.read(false).unwrap(), 413, "body_too_large").unwrap();
    assert!(!world.is_revoked("over"));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn who_may_not_call_is_refused_whatever_the_body_is() {
    let world = World::start();
    world.introspection.activate("reader", json!({"sub": "eve", "scope": "read"}));
    let call =
        |token: &str| world.connect().call(&Call::new("POST", ADMIN).bearer(token).body(entry("forbidden"))).unwrap();
    refusal::check(&call("reader"), 403, "scope_insufficient").unwrap();
    refusal::check(&call("stranger"), 401, "token_inactive").unwrap();
    assert!(!world.is_revoked("forbidden"));
}

#[test]
fn a_client_that_leaves_while_it_is_held_changes_nothing() {
    let world = World::start();
    for number in 0..10 {
        let bytes =
            Call::new("POST", ADMIN).bearer(&world.operator(&number.to_string())).body(entry("left")).to_bytes();
        let cut = bytes.len() - number % 2;
        world.connect().send(&bytes[..cut]).unwrap();
    }
    thread::sleep(ASKED * 2);
    assert!(!world.is_revoked("left"));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn an_empty_body_is_malformed_and_not_waited_for() {
    let world = World::start();
    let bytes = Call::new("DELETE", ADMIN).bearer(&world.operator("empty")).to_bytes();
    let mut client = world.connect();
    refusal::check(&client.raw(&bytes).unwrap(), 400, "body_malformed").unwrap();
    world.gateway.check_unharmed().unwrap();
}
