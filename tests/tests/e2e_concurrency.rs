//! Requests in flight, bounded in the real Envoy with four workers: exactly so many are admitted, and a slot comes back at every end of
//! a stream that there is, and from a module that has died.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "and so has one that finds less than it looks for")]

use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_tests::client::{Call, Client, call_h2};
use portcullis_tests::gate::Gate;
use portcullis_tests::gateway::{Builder, Gateway, Reload};
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::paths::{self, WorkDir};
use portcullis_tests::streams::Streams;
use portcullis_tests::{eventually, filter, refusal};
use serde_json::{Value, json};

/// How many requests of a client may be in flight.
const BOUND: usize = 3;
/// Longer than anything takes that has to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// A slot that nobody moves on ends after two periods of the lease clock and a tick; a busy machine is allowed some more.
const LEASE: Duration = Duration::from_secs(33);

struct World {
    gateway: Gateway,
    gate: Gate,
}

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Es256, "k1"));

fn configuration(name: &str) -> Value {
    json!({
        "version": 1,
        "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&*KEY])}))},
        "limits": {
            "few": {"key": "header:x-client", "concurrency": BOUND},
            "watched": {"key": "header:x-client", "concurrency": 1, "mode": "monitor"},
        },
        "rules": [
            {"name": "ops", "match": {"path": "/ops"}, "require": "corp", "scopes": {"all": ["ops"]}, "serve": "limits"},
            {"name": "identified", "match": {"path": "/identified"}, "require": "corp", "limits": ["few"]},
            {"name": "watched", "match": {"prefix": "/gate/watched"}, "allow": "public", "limits": ["watched"]},
            {"name": name, "match": {"prefix": "/"}, "allow": "public", "limits": ["few"]},
        ],
    })
}

fn builder(gate: &Gate) -> Builder {
    let brief =
        json!({"name": "brief", "match": {"prefix": "/gate/brief"}, "route": {"cluster": "gate", "timeout": "1s"}});
    let gated = json!({"name": "gate", "match": {"prefix": "/gate"}, "route": {"cluster": "gate", "timeout": "0s"}});
    let nobody = json!({"name": "nobody", "match": {"path": "/nobody"}, "route": {"cluster": "nobody"}});
    let direct = json!({"name": "direct", "match": {"prefix": "/direct"}, "direct_response": {"status": 200}});
    // A port that was free a moment ago, and at which nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let builder = Gateway::builder().filter(configuration("all")).workers(4).cluster("gate", gate.port);
    builder.cluster("nobody", free).route(brief).route(gated).route(nobody).route(direct)
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let gate = Gate::start().unwrap();
    World { gateway: builder(&gate).start().unwrap_or_else(|error| panic!("{error:#}")), gate }
});

fn call(path: &str, client: &str) -> Call {
    Call::get(path).header("x-client", client)
}

/// A connection with a request on it that waits.
fn waiting(gateway: &Gateway, path: &str, client: &str) -> Client {
    gateway.send(&call(path, client)).unwrap()
}

/// How many requests of `client` are in flight, as operators see it.
fn in_flight(gateway: &Gateway, client: &str) -> u64 {
    let question = json!({"limit": "few", "key": {"header:x-client": [client]}}).to_string();
    let ask = Call::new("POST", "/ops").bearer(&Token::of("root").scope("ops").sign(&KEY)).body(question);
    let answer = Client::connect(gateway.port()).unwrap().call(&ask).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["used"].as_u64().unwrap()
}

fn comes_to(gateway: &Gateway, client: &str, count: usize) -> bool {
    eventually(PATIENCE, || in_flight(gateway, client) == count as u64)
}

/// All slots of `client`, by requests for `path` that wait; one more is refused.
fn all_slots(world: &World, path: &str, client: &str) -> Vec<Client> {
    let connections = (0..BOUND).map(|_| waiting(&world.gateway, path, client)).collect();
    assert!(comes_to(&world.gateway, client, BOUND));
    let refused = Client::connect(world.gateway.port()).unwrap().call(&call("/direct", client)).unwrap();
    refusal::check(&refused, 429, "concurrency_exceeded").unwrap();
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("ratelimit"), None);
    let policy = format!(r#""few";q={BOUND};qu="concurrent-requests""#);
    assert_eq!(refused.header("ratelimit-policy"), Some(policy.as_str()));
    connections
}

/// All slots are free again, and each can be used.
fn all_are_back(world: &World, client: &str) {
    assert!(comes_to(&world.gateway, client, 0), "{} are still in flight", in_flight(&world.gateway, client));
    world.gate.let_go(client);
    let statuses: Vec<u16> = (0..2 * BOUND)
        .map(|_| Client::connect(world.gateway.port()).unwrap().call(&call("/direct", client)).unwrap().status)
        .collect();
    // One after the other, and the end of one may still be on its way when the next comes on another worker.
    assert!(statuses.iter().filter(|status| **status == 200).count() >= BOUND, "{statuses:?}");
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn of_many_at_once_exactly_the_bound_is_admitted_on_four_workers() {
    admits_exactly_the_bound(&WORLD);
}

#[test]
fn of_many_at_once_exactly_the_bound_is_admitted_on_two_workers() {
    let gate = Gate::start().unwrap();
    let gateway = builder(&gate).workers(2).start().unwrap_or_else(|error| panic!("{error:#}"));
    admits_exactly_the_bound(&World { gateway, gate });
}

fn admits_exactly_the_bound(world: &World) {
    let gateway = &world.gateway;
    for round in ["crowd-1", "crowd-2", "crowd-3"] {
        let answers = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..40 {
                let answers = &answers;
                scope.spawn(move || {
                    let mut connection = Client::connect(gateway.port()).unwrap();
                    let status = connection.call(&call("/gate/answer", round)).unwrap().status;
                    answers.lock().unwrap().push(status);
                });
            }
            // All others are refused while these wait.
            assert!(eventually(PATIENCE, || answers.lock().unwrap().len() == 40 - BOUND));
            assert_eq!(in_flight(gateway, round), BOUND as u64);
            assert!(answers.lock().unwrap().iter().all(|status| *status == 429));
            world.gate.let_go(round);
        });
        let answers = answers.into_inner().unwrap();
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), BOUND, "{answers:?}");
        assert_eq!(world.gate.most_at_once(round), BOUND, "at the service");
        assert!(comes_to(gateway, round, 0));
    }
    assert!(gateway.counter("portcullis_decisions", &[("reason", "concurrency_exceeded")]).unwrap() >= 3 * 37);
    gateway.check_unharmed().unwrap();
}

#[test]
fn slots_come_back_when_answers_end() {
    let connections = all_slots(&WORLD, "/gate/answer", "answered");
    WORLD.gate.let_go("answered");
    for mut connection in connections {
        assert_eq!(connection.read(false).unwrap().status, 200);
    }
    all_are_back(&WORLD, "answered");
}

#[test]
fn slots_come_back_when_clients_go_away() {
    drop(all_slots(&WORLD, "/gate/answer", "gone"));
    all_are_back(&WORLD, "gone");
    drop(all_slots(&WORLD, "/gate/in-body", "gone-in-body"));
    all_are_back(&WORLD, "gone-in-body");
}

#[test]
fn slots_come_back_when_the_service_is_too_slow() {
    let connections: Vec<Client> = (0..BOUND).map(|_| waiting(&WORLD.gateway, "/gate/brief", "slow")).collect();
    for mut connection in connections {
        assert_eq!(connection.read(false).unwrap().status, 504);
    }
    all_are_back(&WORLD, "slow");
}

#[test]
fn slots_come_back_when_the_service_breaks_off() {
    let connections = all_slots(&WORLD, "/gate/reset", "reset");
    WORLD.gate.let_go("reset");
    for mut connection in connections {
        assert_eq!(connection.read(false).unwrap().status, 503);
    }
    all_are_back(&WORLD, "reset");
    let connections = all_slots(&WORLD, "/gate/in-body", "reset-in-body");
    WORLD.gate.let_go("reset-in-body");
    for mut connection in connections {
        assert!(connection.read(false).is_err(), "the body is cut short");
    }
    all_are_back(&WORLD, "reset-in-body");
}

#[test]
fn slots_come_back_when_nobody_can_be_reached_and_when_the_gateway_answers_itself() {
    for (path, client, status) in [("/nobody", "unreached", 503), ("/identified", "unidentified", 401)] {
        let mut connection = Client::connect(WORLD.gateway.port()).unwrap();
        for n in 0..4 * BOUND {
            // On one connection a stream has ended before the next begins.
            assert_eq!(connection.call(&call(path, client)).unwrap().status, status, "{n}");
        }
        all_are_back(&WORLD, client);
    }
}

#[test]
fn slots_of_http2_streams_come_back_and_a_reset_stream_gives_back_its_own_alone() {
    let world = &*WORLD;
    thread::scope(|scope| {
        let answers: Vec<_> = (0..BOUND)
            .map(|_| scope.spawn(|| call_h2(world.gateway.port(), None, &call("/gate/answer", "h2")).unwrap().status))
            .collect();
        assert!(comes_to(&world.gateway, "h2", BOUND));
        assert_eq!(call_h2(world.gateway.port(), None, &call("/gate/answer", "h2")).unwrap().status, 429);
        world.gate.let_go("h2");
        assert!(answers.into_iter().all(|answer| answer.join().unwrap() == 200));
    });
    all_are_back(world, "h2");
    // Three streams of one connection, of which one is reset while the connection stays.
    let mut streams = Streams::connect(world.gateway.port()).unwrap();
    for _ in 0..BOUND {
        streams.send(&call("/gate/answer", "h2-reset")).unwrap();
    }
    assert!(comes_to(&world.gateway, "h2-reset", BOUND));
    streams.reset_last();
    assert!(comes_to(&world.gateway, "h2-reset", BOUND - 1));
    // The others go with their connection.
    drop(streams);
    all_are_back(world, "h2-reset");
}

#[test]
fn in_monitor_mode_all_pass_and_what_would_be_refused_is_counted() {
    let connections: Vec<Client> = (0..5).map(|_| waiting(&WORLD.gateway, "/gate/watched", "watched")).collect();
    let labels = [("rule", "watched"), ("reason", "concurrency_exceeded"), ("verdict", "monitored")];
    assert!(eventually(PATIENCE, || WORLD.gateway.counter("portcullis_decisions", &labels).unwrap() == 4));
    WORLD.gate.let_go("watched");
    for mut connection in connections {
        assert_eq!(connection.read(false).unwrap().status, 200);
    }
    WORLD.gateway.check_unharmed().unwrap();
}

#[test]
fn a_new_configuration_neither_loses_nor_doubles_what_is_in_flight() {
    let gate = Gate::start().unwrap();
    let gateway = builder(&gate).filter_reloadable().start().unwrap_or_else(|error| panic!("{error:#}"));
    let mut world = World { gateway, gate };
    let mut connections = all_slots(&world, "/gate/answer", "alice");
    assert_eq!(world.gateway.reload(configuration("renamed")).unwrap(), Reload::Accepted);
    // The old configuration keeps its slots alive for as long as its requests run, however long that is.
    let begun = Instant::now();
    while begun.elapsed() < LEASE {
        assert_eq!(in_flight(&world.gateway, "alice"), BOUND as u64, "after {:?}", begun.elapsed());
        let refused = Client::connect(world.gateway.port()).unwrap().call(&call("/direct", "alice")).unwrap();
        assert_eq!(refused.status, 429);
        thread::sleep(Duration::from_secs(1));
    }
    // What was taken under the old one comes back under the new one, and is there for it.
    drop(connections.pop());
    assert!(comes_to(&world.gateway, "alice", BOUND - 1));
    connections.push(waiting(&world.gateway, "/gate/answer", "alice"));
    assert!(comes_to(&world.gateway, "alice", BOUND));
    world.gate.let_go("alice");
    for mut connection in connections {
        assert_eq!(connection.read(false).unwrap().status, 200);
    }
    all_are_back(&world, "alice");
}

#[test]
fn slots_of_a_module_that_died_come_back_and_not_before_their_lease_ends() {
    let dir = WorkDir::create("mortal").unwrap();
    let module = dir.path().join("mortal.wasm");
    std::fs::write(&module, mortal(&std::fs::read(paths::module().unwrap()).unwrap())).unwrap();
    let gate = Gate::start().unwrap();
    let trailers = json!({"enable_trailers": true});
    let builder = builder(&gate).module(&module).workers(1).connection_manager("http_protocol_options", trailers);
    let gateway = builder.start().unwrap_or_else(|error| panic!("{error:#}"));
    let held: Vec<Client> = (0..BOUND).map(|_| waiting(&gateway, "/gate/answer", "alice")).collect();
    assert!(comes_to(&gateway, "alice", BOUND));
    let fatal = b"POST /gate/answer HTTP/1.1\r\nhost: api.demo\r\nx-client: bob\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n";
    let mut culprit = Client::connect(gateway.port()).unwrap();
    culprit.send(fatal).unwrap();
    let reloaded = || gateway.stat("wasm.portcullis.vm_reload_success").unwrap_or(0) > 0;
    let alive = || {
        let answer = Client::connect(gateway.port()).unwrap().call(&call("/direct", "carol"));
        answer.is_ok_and(|answer| answer.status == 200) && reloaded()
    };
    assert!(eventually(PATIENCE, alive), "{}", gateway.log());
    drop(held);
    // Nobody gave them back: they stand until their lease ends.
    assert_eq!(in_flight(&gateway, "alice"), BOUND as u64);
    let begun = Instant::now();
    assert!(eventually(3 * LEASE, || in_flight(&gateway, "alice") == 0));
    assert!(begun.elapsed() > Duration::from_secs(5), "a period of the lease clock has to pass");
    let answers = (0..BOUND).map(|_| waiting(&gateway, "/gate/answer", "alice")).collect::<Vec<_>>();
    assert!(comes_to(&gateway, "alice", BOUND));
    drop(answers);
}

/// The module with `proxy_on_request_trailers` made the same as `proxy_on_configure`, which the SDK does not forgive a stream: a request
/// with trailers kills it, as a defect would.
fn mortal(module: &[u8]) -> Vec<u8> {
    let entry = |name: &str| {
        let with_length = [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &[0]].concat();
        let places: Vec<usize> = module
            .windows(with_length.len())
            .enumerate()
            .filter(|(_, w)| *w == with_length)
            .map(|(at, _)| at)
            .collect();
        assert_eq!(places.len(), 1, "{name}");
        places[0] + with_length.len()
    };
    let length = |at: usize| 1 + module[at..].iter().take_while(|byte| **byte & 0x80 != 0).count();
    let (from, to) = (entry("proxy_on_configure"), entry("proxy_on_request_trailers"));
    assert_eq!(length(from), length(to), "indices of one length, so that nothing moves");
    let mut mortal = module.to_vec();
    mortal[to..to + length(to)].copy_from_slice(&module[from..from + length(from)]);
    mortal
}
