//! New configurations and new routes while requests come, in the real Envoy with two workers: none of them fails, none is judged by
//! an old policy, and what limits have counted stays.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use portcullis_tests::client::{Call, Client};
use portcullis_tests::eventually;
use portcullis_tests::gateway::{Builder, Gateway, Reload};
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::{filter, refusal};
use serde_json::{Value, json};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Es256, "k1"));

/// So many connections that both workers have some.
const CONNECTIONS: usize = 16;
/// How often each connection asks: enough to hit every moment of a change, and little for the machine.
const PACE: Duration = Duration::from_millis(4);

/// A configuration under which alice needs `scope`, with a limit of 5 requests.
fn configuration(scope: &str) -> Value {
    json!({
        "version": 1,
        "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&*KEY])}))},
        "policies": {
            "read": {"require": "corp", "scopes": {"all": ["read"]}},
            "write": {"require": "corp", "scopes": {"all": ["write"]}},
        },
        "limits": {"few": {"key": "principal", "rate": "5/h", "burst": 5}},
        "rules": [
            {"name": "few", "match": {"path": "/few"}, "require": "corp", "limits": ["few"]},
            {"name": "all", "match": {}, "use": scope},
        ],
    })
}

fn bad() -> Value {
    let mut bad = configuration("read");
    bad["rules"][1]["use"] = json!("raed");
    bad
}

fn passed(policy: Option<&str>) -> Value {
    let mut route = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    if let Some(policy) = policy {
        route["metadata"] = json!({"filter_metadata": {"portcullis": {"policy": policy}}});
    }
    route
}

fn builder(policy: Option<&str>) -> Builder {
    Gateway::builder().filter(configuration("read")).route(passed(policy))
}

fn reader() -> String {
    Token::of("alice").scope("read").sign(&KEY)
}

/// What the connections saw while `change` was made and for a moment after it: statuses, with how often.
///
/// Each connection is kept as long as the gateway keeps it, and opened again when the gateway has said that it closes.
fn under_load(gateway: &mut Gateway, change: impl FnOnce(&mut Gateway)) -> BTreeMap<u16, usize> {
    let port = gateway.port();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let ask = || {
            let mut seen = BTreeMap::new();
            let call = Call::get("/x").bearer(&reader());
            let mut client = Client::connect(port).unwrap();
            while !done.load(Ordering::Relaxed) {
                let response = client.call(&call).unwrap();
                *seen.entry(response.status).or_insert(0) += 1;
                // As a client does: a connection that the gateway is about to close is not used again.
                if response.header("connection") == Some("close") {
                    client = Client::connect(port).unwrap();
                }
                thread::sleep(PACE);
            }
            seen
        };
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask)).collect();
        // Should the change panic, the connections stop all the same.
        let _stop = Stop(&done);
        thread::sleep(Duration::from_millis(300));
        change(gateway);
        thread::sleep(Duration::from_millis(300));
        done.store(true, Ordering::Relaxed);
        let mut seen = BTreeMap::new();
        for client in clients {
            for (status, count) in client.join().unwrap() {
                *seen.entry(status).or_insert(0) += count;
            }
        }
        seen
    })
}

/// Says that it is over, however it ended.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connections that both workers have, each used once.
fn connections(gateway: &Gateway) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::connect(gateway.port()).unwrap()).collect();
    for client in &mut clients {
        assert_eq!(client.call(&Call::get("/x").bearer(&reader())).unwrap().status, 200);
    }
    clients
}

fn few(gateway: &Gateway) -> u16 {
    Client::connect(gateway.port()).unwrap().call(&Call::get("/few").bearer(&reader())).unwrap().status
}

#[test]
fn a_new_filter_configuration_holds_at_once_on_connections_that_stand() {
    let mut gateway = builder(None).filter_reloadable().start().unwrap_or_else(|error| panic!("{error:#}"));
    let mut standing = connections(&gateway);
    let seen = under_load(&mut gateway, |gateway| {
        assert_eq!(gateway.reload(configuration("write")).unwrap(), Reload::Accepted);
        // Envoy counts the change before the last worker has it.
        let call = Call::get("/x").bearer(&reader());
        assert!(eventually(Duration::from_secs(2), || {
            standing.iter_mut().all(|client| client.call(&call).unwrap().status == 403)
        }));
        for _ in 0..5 {
            for client in &mut standing {
                refusal::check(&client.call(&call).unwrap(), 403, "scope_insufficient").unwrap();
            }
        }
    });
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200, 403], "{seen:?}");
    gateway.check_unharmed().unwrap();
}

#[test]
fn many_changes_under_load_lose_no_request_and_no_count() {
    let mut gateway = builder(None).filter_reloadable().start().unwrap();
    assert_eq!([few(&gateway), few(&gateway), few(&gateway)], [200; 3]);
    let seen = under_load(&mut gateway, |gateway| {
        for number in 0..12 {
            let mut changed = configuration("read");
            changed["identity_headers"] = json!([format!("x-change-{number}")]);
            assert_eq!(gateway.reload(changed).unwrap(), Reload::Accepted);
        }
    });
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200], "{seen:?}");
    assert_eq!([few(&gateway), few(&gateway), few(&gateway)], [200, 200, 429]);
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let mut gateway = builder(None).filter_reloadable().start().unwrap();
    let seen = under_load(&mut gateway, |gateway| assert_eq!(gateway.reload(bad()).unwrap(), Reload::Rejected));
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200], "{seen:?}");
    gateway
        .wait_for_log("portcullis: rules[1].use: no policy \"raed\"; did you mean \"read\"?", Duration::from_secs(5))
        .unwrap();
    let refused = || gateway.counter("portcullis_configurations", &[("event", "refused")]).unwrap();
    assert!(eventually(Duration::from_secs(5), || refused() > 0));
    assert!(gateway.counter("portcullis_configurations", &[("event", "accepted")]).unwrap() >= 2);
    assert_eq!(gateway.reload(configuration("write")).unwrap(), Reload::Accepted);
    assert!(eventually(Duration::from_secs(5), || {
        let mut client = Client::connect(gateway.port()).unwrap();
        client.call(&Call::get("/x").bearer(&reader())).unwrap().status == 403
    }));
    gateway.check_unharmed().unwrap();
}

#[test]
fn new_routes_with_another_policy_hold_at_once_on_connections_that_stand() {
    let mut gateway = builder(Some("read")).reroutable().start().unwrap_or_else(|error| panic!("{error:#}"));
    let mut standing = connections(&gateway);
    let seen = under_load(&mut gateway, |gateway| {
        assert_eq!(gateway.reroute(vec![passed(Some("write"))]).unwrap(), Reload::Accepted);
        let call = Call::get("/x").bearer(&reader());
        assert!(eventually(Duration::from_secs(2), || {
            standing.iter_mut().all(|client| client.call(&call).unwrap().status == 403)
        }));
    });
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200, 403], "{seen:?}");
    // A policy that is not there lets nobody pass.
    assert_eq!(gateway.reroute(vec![passed(Some("wirte"))]).unwrap(), Reload::Accepted);
    let call = Call::get("/x").bearer(&reader());
    assert!(eventually(Duration::from_secs(2), || {
        standing.iter_mut().all(|client| client.call(&call).unwrap().status == 500)
    }));
    gateway.check_unharmed().unwrap();
}

#[test]
fn with_a_new_listener_standing_connections_end_with_the_drain_time_and_none_fails() {
    let mut gateway = builder(None).reloadable().drain_seconds(2).start().unwrap();
    assert_eq!([few(&gateway), few(&gateway), few(&gateway)], [200; 3]);
    let seen = under_load(&mut gateway, |gateway| {
        assert_eq!(gateway.reload(configuration("write")).unwrap(), Reload::Accepted);
        let refused = || {
            let mut client = Client::connect(gateway.port()).unwrap();
            client.call(&Call::get("/x").bearer(&reader())).unwrap().status == 403
        };
        assert!(eventually(Duration::from_secs(5), || (0..CONNECTIONS).all(|_| refused())));
        thread::sleep(Duration::from_secs(3));
    });
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [200, 403], "{seen:?}");
    assert_eq!([few(&gateway), few(&gateway), few(&gateway)], [200, 200, 429]);
    gateway.check_unharmed().unwrap();
}
