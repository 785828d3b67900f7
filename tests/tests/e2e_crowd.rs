//! A crowd at full speed: 100,000 requests of 5,000 clients over all workers of a real Envoy, and each client is admitted exactly
//! as often as a model of its limit says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::thread;
use std::time::Duration;

use portcullis_tests::client::{Call, Client};
use portcullis_tests::eventually;
use portcullis_tests::gateway::Gateway;
use serde_json::json;

const CLIENTS: usize = 5_000;
const REQUESTS: usize = 100_000;
const CONNECTIONS: usize = 40;
const BURST: usize = 10;
/// What all clients together may have on the shared rule: less than they would have alone.
const SHARED: usize = 20_000;

/// Who sends each request: few clients send much, most send a little, and every connection has requests of all.
fn senders() -> Vec<Vec<usize>> {
    let mut dice: u64 = 0x5DEE_CE66;
    let mut next = || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(dice >> 33).unwrap()
    };
    (0..CONNECTIONS)
        .map(|_| {
            (0..REQUESTS / CONNECTIONS)
                .map(|_| {
                    let range = [CLIENTS, CLIENTS, CLIENTS / 10, CLIENTS / 100][next() % 4];
                    next() % range
                })
                .collect()
        })
        .collect()
}

/// Sends all of it at once; how many requests of each client were admitted and refused.
fn storm(port: u16, path: &'static str, senders: &[Vec<usize>]) -> Vec<(usize, usize)> {
    let counted = thread::scope(|scope| {
        let threads = senders.iter().map(|senders| {
            scope.spawn(move || {
                let mut client = Client::connect(port).unwrap();
                let mut counted = vec![(0, 0); CLIENTS];
                for sender in senders {
                    let call = Call::get(path).header("x-client", &format!("c-{sender}"));
                    match client.call(&call).unwrap().status {
                        200 => counted[*sender].0 += 1,
                        429 => counted[*sender].1 += 1,
                        other => panic!("{other}"),
                    }
                }
                counted
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let mut total = vec![(0, 0); CLIENTS];
    for (all, (admitted, refused)) in counted.iter().flat_map(|counted| counted.iter().enumerate()) {
        total[all].0 += admitted;
        total[all].1 += refused;
    }
    total
}

fn gateway(workers: u32) -> Gateway {
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let each = json!({"key": "header:x-client", "rate": "1/d", "burst": BURST, "capacity": CLIENTS});
    Gateway::builder()
        .filter(json!({
            "version": 1,
            "limits": {
                "own": each,
                "own_of_shared": each,
                "shared": {"key": "rule", "quota": format!("{SHARED}/month")},
            },
            "rules": [
                {"name": "own", "match": {"path": "/own"}, "allow": "public", "limits": ["own"]},
                {"name": "shared", "match": {"path": "/shared"}, "allow": "public", "limits": ["own_of_shared", "shared"]},
            ],
        }))
        .workers(workers)
        .route(passed)
        .start()
        .unwrap()
}

fn exact_on(workers: u32) {
    let gateway = gateway(workers);
    let senders = senders();
    let mut sent = vec![0; CLIENTS];
    senders.iter().flatten().for_each(|sender| sent[*sender] += 1);
    assert!(sent.iter().filter(|sent| **sent > BURST).count() > 1_000, "too few clients reach their limit");

    let counted = storm(gateway.port(), "/own", &senders);
    for (client, ((admitted, refused), sent)) in counted.iter().zip(&sent).enumerate() {
        assert_eq!((*admitted, *refused), ((*sent).min(BURST), sent.saturating_sub(BURST)), "client {client}");
    }

    // Whom one limit refuses, the other does not charge: all that is shared is spent, and nobody has more than its own.
    let counted = storm(gateway.port(), "/shared", &senders);
    assert_eq!(counted.iter().map(|(admitted, _)| admitted).sum::<usize>(), SHARED);
    assert!(counted.iter().zip(&sent).all(|((admitted, _), sent)| *admitted <= (*sent).min(BURST)));

    assert!(gateway.every_worker_served().unwrap());
    let refused = |rule: &str| {
        let labels = [("rule", rule), ("reason", "limit_exceeded"), ("verdict", "denied")];
        usize::try_from(gateway.counter("portcullis_decisions", &labels).unwrap()).unwrap()
    };
    let refused_alone: usize = sent.iter().map(|sent| sent.saturating_sub(BURST)).sum();
    assert!(
        eventually(Duration::from_secs(5), || refused("own") == refused_alone
            && refused("shared") == REQUESTS - SHARED),
        "{} and {} are counted",
        refused("own"),
        refused("shared")
    );
    for reason in ["limit_overflow", "limit_unavailable"] {
        assert_eq!(gateway.counter("portcullis_decisions", &[("reason", reason)]).unwrap(), 0, "{reason}");
    }
    gateway.check_unharmed().unwrap();
}

#[test]
fn every_client_gets_exactly_its_own_on_four_workers() {
    exact_on(4);
}

#[test]
fn every_client_gets_exactly_its_own_on_two_workers() {
    exact_on(2);
}
