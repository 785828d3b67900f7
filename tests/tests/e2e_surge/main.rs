//! Requests that are shed in the real Envoy while their service is slow: by priority, on a bound that follows how the service answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod workers;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gate::Gate;
use portcullis_tests::gateway::{Builder, Gateway, Reload};
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::{eventually, filter, refusal};
use serde_json::{Value, json};

/// Longer than anything takes that has to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than several windows last.
const WINDOWS: Duration = Duration::from_secs(3);

fn configuration(name: &str, fixed: u64) -> Value {
    let rule = |prefix: &str, surge: &str, priority: &str| {
        json!({"name": prefix.trim_matches('/').replace('/', "-"), "match": {"prefix": prefix}, "allow": "public",
            "surge": surge, "priority": priority})
    };
    json!({
        "version": 1,
        "surge": {
            // A bound that does not move: its least is its most.
            name: {"target": "1m", "min": fixed, "max": fixed},
            "moving": {"target": "300ms", "min": 4, "max": 40},
            "watched": {"target": "300ms", "min": 2, "max": 2, "mode": "monitor"},
            "judged": {"target": "1m", "min": 2, "max": 2},
        },
        "rules": [
            rule("/gate/extra", name, "sheddable"),
            rule("/gate/usual", name, "default"),
            rule("/gate/pay", name, "critical"),
            rule("/nobody", name, "critical"),
            rule("/gate/brief", name, "critical"),
            rule("/gate/moving-extra", "moving", "sheddable"),
            rule("/gate/moving-pay", "moving", "critical"),
            rule("/gate/moving", "moving", "default"),
            rule("/gate/watched", "watched", "default"),
            {"name": "judged", "match": {"path": "/gate/judged"}, "allow": "public", "surge": "judged",
                "input": {"content_types": ["application/json"]}},
            {"name": "other", "match": {"prefix": "/"}, "allow": "public"},
        ],
    })
}

fn builder(gate: &Gate, fixed: u64) -> Builder {
    let brief =
        json!({"name": "brief", "match": {"prefix": "/gate/brief"}, "route": {"cluster": "gate", "timeout": "1s"}});
    let gated = json!({"name": "gate", "match": {"prefix": "/gate"}, "route": {"cluster": "gate", "timeout": "0s"}});
    let nobody = json!({"name": "nobody", "match": {"path": "/nobody"}, "route": {"cluster": "nobody"}});
    // A port that was free a moment ago, and at which nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let builder = Gateway::builder().filter(configuration("fixed", fixed)).workers(1).cluster("gate", gate.port);
    builder.cluster("nobody", free).route(brief).route(gated).route(nobody)
}

fn start(fixed: u64) -> (Gateway, Gate) {
    let gate = Gate::start().unwrap();
    (builder(&gate, fixed).start().unwrap_or_else(|error| panic!("{error:#}")), gate)
}

fn call(path: &str, client: &str) -> Call {
    Call::get(path).header("x-client", client)
}

fn ask(gateway: &Gateway, path: &str, client: &str) -> Response {
    Client::connect(gateway.port()).unwrap().call(&call(path, client)).unwrap()
}

/// Connections with a request each that waits.
fn waiting(gateway: &Gateway, path: &str, client: &str, count: usize) -> Vec<Client> {
    (0..count).map(|_| gateway.send(&call(path, client)).unwrap()).collect()
}

fn gauge(gateway: &Gateway, which: &str, surge: &str) -> u64 {
    gateway.counter(&format!("portcullis_surge_{which}"), &[("surge", surge)]).unwrap()
}

fn comes_to(gateway: &Gateway, surge: &str, count: u64) -> bool {
    eventually(PATIENCE, || gauge(gateway, "in_flight", surge) == count)
}

fn all_answered(connections: Vec<Client>) {
    for mut connection in connections {
        assert_eq!(connection.read(false).unwrap().status, 200);
    }
}

fn is_shed(gateway: &Gateway, path: &str) {
    let answer = ask(gateway, path, "anybody");
    refusal::check(&answer, 503, "overloaded").unwrap();
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn the_less_important_are_shed_first_and_all_pass_once_the_service_answers() {
    let (gateway, gate) = start(10);
    gate.let_go("anybody");
    let mut held = waiting(&gateway, "/gate/extra", "stalled", 7);
    assert!(comes_to(&gateway, "fixed", 7));
    is_shed(&gateway, "/gate/extra");
    assert_eq!(ask(&gateway, "/gate/usual", "anybody").status, 200);
    held.extend(waiting(&gateway, "/gate/usual", "stalled", 2));
    assert!(comes_to(&gateway, "fixed", 9));
    is_shed(&gateway, "/gate/usual");
    is_shed(&gateway, "/gate/extra");
    for _ in 0..3 {
        assert_eq!(ask(&gateway, "/gate/pay", "anybody").status, 200);
    }
    held.extend(waiting(&gateway, "/gate/pay", "stalled", 1));
    assert!(comes_to(&gateway, "fixed", 10));
    is_shed(&gateway, "/gate/pay");
    // A rule without `surge`, and those of another bound, do not notice.
    for path in ["/gate/other", "/gate/moving-extra", "/gate/watched"] {
        assert_eq!(ask(&gateway, path, "anybody").status, 200, "{path}");
    }
    assert_eq!(gauge(&gateway, "bound", "fixed"), 10);
    let decided = |rule| {
        let labels = [("rule", rule), ("reason", "overloaded"), ("verdict", "denied")];
        gateway.counter("portcullis_decisions", &labels).unwrap()
    };
    assert_eq!(["gate-extra", "gate-usual", "gate-pay"].map(decided), [2, 1, 1]);
    let shed = |event| gateway.counter("portcullis_surge", &[("surge", "fixed"), ("event", event)]).unwrap();
    assert_eq!(["shed_sheddable", "shed_default", "shed_critical"].map(shed), [2, 1, 1]);
    gate.let_go("stalled");
    all_answered(held);
    assert!(comes_to(&gateway, "fixed", 0));
    for path in ["/gate/extra", "/gate/usual", "/gate/pay"] {
        assert_eq!(ask(&gateway, path, "anybody").status, 200, "{path}");
    }
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_claim_of_the_token_says_who_is_shed() {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let configuration = json!({
        "version": 1,
        "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&key])}))},
        "surge": {"fixed": {"target": "1m", "min": 10, "max": 10}},
        "rules": [{"match": {"prefix": "/gate"}, "require": "corp", "surge": "fixed",
            "priority_from": {"claim": "plan", "values": {"gold": "critical", "free": "sheddable"}}}],
    });
    let gate = Gate::start().unwrap();
    let gateway = builder(&gate, 10).filter(configuration).start().unwrap_or_else(|error| panic!("{error:#}"));
    gate.let_go("anybody");
    let token = |plan: &str| Token::of("alice").claim("plan", json!(plan)).sign(&key);
    let ask = |plan: &str| {
        let call = call("/gate/usual", "anybody").bearer(&token(plan));
        Client::connect(gateway.port()).unwrap().call(&call).unwrap()
    };
    let hold = |plan: &str, count: usize| -> Vec<Client> {
        let call = call("/gate/usual", "stalled").bearer(&token(plan));
        (0..count).map(|_| gateway.send(&call).unwrap()).collect()
    };
    let is_shed = |plan: &str| refusal::check(&ask(plan), 503, "overloaded").unwrap();
    let mut held = hold("free", 7);
    assert!(comes_to(&gateway, "fixed", 7));
    is_shed("free");
    // The claim's other texts leave the rule's own priority.
    assert_eq!([ask("silver").status, ask("gold").status], [200, 200]);
    held.extend(hold("silver", 2));
    assert!(comes_to(&gateway, "fixed", 9));
    is_shed("free");
    is_shed("silver");
    assert_eq!(ask("gold").status, 200);
    // Nobody gives oneself a priority.
    let other = SigningKey::generate(Algorithm::Es256, "k1");
    let forged = Token::of("alice").claim("plan", json!("gold")).sign(&other);
    let forged =
        Client::connect(gateway.port()).unwrap().call(&call("/gate/usual", "anybody").bearer(&forged)).unwrap();
    refusal::check(&forged, 401, "token_signature_invalid").unwrap();
    gate.let_go("stalled");
    all_answered(held);
    assert!(comes_to(&gateway, "fixed", 0));
    assert_eq!(ask("free").status, 200);
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_stalled_service_gets_fewer_and_fewer_requests_and_more_again_when_it_answers() {
    let (gateway, gate) = start(10);
    gate.let_go("anybody");
    assert_eq!(ask(&gateway, "/gate/moving", "anybody").status, 200);
    assert_eq!(gauge(&gateway, "bound", "moving"), 40);
    let held = waiting(&gateway, "/gate/moving", "stalled", 30);
    assert!(comes_to(&gateway, "moving", 30));
    let lowest = || {
        drop(ask(&gateway, "/gate/moving-extra", "anybody"));
        gauge(&gateway, "bound", "moving") == 4
    };
    assert!(eventually(PATIENCE, lowest), "{}", gauge(&gateway, "bound", "moving"));
    assert!(gateway.counter("portcullis_surge", &[("surge", "moving"), ("event", "lowered")]).unwrap() >= 2);
    is_shed(&gateway, "/gate/moving");
    gate.let_go("stalled");
    all_answered(held);
    assert!(comes_to(&gateway, "moving", 0));
    // A few wait again: who is unimportant is shed, and who is important passes.
    let held = waiting(&gateway, "/gate/moving-pay", "stalled again", 3);
    assert!(comes_to(&gateway, "moving", 3));
    is_shed(&gateway, "/gate/moving-extra");
    is_shed(&gateway, "/gate/moving");
    assert_eq!(ask(&gateway, "/gate/moving-pay", "anybody").status, 200);
    gate.let_go("stalled again");
    all_answered(held);
    // With clients that ask for it, the bound grows again.
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let mut connection = Client::connect(gateway.port()).unwrap();
                while !done.load(Ordering::Relaxed) {
                    let status = connection.call(&call("/gate/moving-pay", "anybody")).unwrap().status;
                    assert!([200, 503].contains(&status));
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let grown = eventually(PATIENCE, || gauge(&gateway, "bound", "moving") >= 8);
        done.store(true, Ordering::Relaxed);
        assert!(grown, "{}", gauge(&gateway, "bound", "moving"));
    });
    assert!(gateway.counter("portcullis_surge", &[("surge", "moving"), ("event", "raised")]).unwrap() >= 1);
    assert!(comes_to(&gateway, "moving", 0));
    assert_eq!(ask(&gateway, "/gate/moving-extra", "anybody").status, 200);
    gateway.check_unharmed().unwrap();
}

#[test]
fn places_come_back_at_every_end_of_a_stream() {
    let (gateway, gate) = start(3);
    gate.let_go("anybody");
    let full = |path: &str, client: &str| {
        let held = waiting(&gateway, path, client, 3);
        assert!(comes_to(&gateway, "fixed", 3), "{path}");
        is_shed(&gateway, "/gate/pay");
        held
    };
    let all_are_back = |why: &str| {
        assert!(comes_to(&gateway, "fixed", 0), "{why}");
        assert_eq!(ask(&gateway, "/gate/extra", "anybody").status, 200, "{why}");
    };
    drop(full("/gate/pay", "gone"));
    all_are_back("clients went away");
    let held = full("/gate/pay/reset", "reset");
    gate.let_go("reset");
    for mut connection in held {
        assert_eq!(connection.read(false).unwrap().status, 503);
    }
    all_are_back("the service broke off");
    for mut connection in waiting(&gateway, "/gate/brief", "slow", 3) {
        assert_eq!(connection.read(false).unwrap().status, 504);
    }
    all_are_back("the route's time was up");
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "/nobody", "anybody").status, 503);
    }
    all_are_back("nobody listens");
    // A response that has begun holds no place: neither a slow reader nor a long stream does.
    let mut streams = Vec::new();
    for count in 1..=9 {
        streams.push(gateway.send(&call("/gate/pay/in-body", "streams")).unwrap());
        assert!(eventually(PATIENCE, || gate.waiting("streams") == count));
        all_are_back("a response has begun");
    }
    gate.let_go("streams");
    drop(streams);
    // What a later check refuses takes none.
    let refused = Call::new("POST", "/gate/judged").header("content-type", "application/json").body("{");
    for _ in 0..5 {
        let answer = Client::connect(gateway.port()).unwrap().call(&refused).unwrap();
        refusal::check(&answer, 400, "input_body_malformed").unwrap();
    }
    let good =
        Call::new("POST", "/gate/judged").header("content-type", "application/json").header("x-client", "anybody");
    assert_eq!(Client::connect(gateway.port()).unwrap().call(&good.body("{}")).unwrap().status, 200);
    assert!(comes_to(&gateway, "judged", 0));
    gateway.check_unharmed().unwrap();
}

#[test]
fn who_uploads_slowly_does_not_make_the_service_slow() {
    let (gateway, gate) = start(10);
    gate.let_go("anybody");
    let mut uploads = Vec::new();
    for _ in 0..25 {
        let mut connection = Client::connect(gateway.port()).unwrap();
        let head = b"POST /gate/moving HTTP/1.1\r\nhost: api.demo\r\nx-client: anybody\r\ncontent-length: 4\r\n\r\nab";
        connection.send(head).unwrap();
        uploads.push(connection);
    }
    assert!(comes_to(&gateway, "moving", 25));
    let begun = Instant::now();
    while begun.elapsed() < WINDOWS {
        assert_eq!(ask(&gateway, "/gate/moving-pay", "anybody").status, 200);
        thread::sleep(Duration::from_millis(50));
    }
    for connection in &mut uploads {
        connection.send(b"cd").unwrap();
    }
    all_answered(uploads);
    assert!(comes_to(&gateway, "moving", 0));
    assert_eq!(gauge(&gateway, "bound", "moving"), 40);
    // But once their bodies are there, it is the service that lets them wait.
    let upload = Call::new("POST", "/gate/moving").header("x-client", "stalled").body("abcd");
    let held = (0..25).map(|_| gateway.send(&upload).unwrap()).collect();
    let lowered = || {
        drop(ask(&gateway, "/gate/moving-pay", "anybody"));
        gauge(&gateway, "bound", "moving") < 20
    };
    assert!(eventually(PATIENCE, lowered));
    gate.let_go("stalled");
    all_answered(held);
    gateway.check_unharmed().unwrap();
}

#[test]
fn in_monitor_mode_nobody_is_shed_and_what_would_be_is_counted() {
    let (gateway, gate) = start(10);
    let held = waiting(&gateway, "/gate/watched", "watched", 5);
    let labels = [("rule", "gate-watched"), ("reason", "overloaded"), ("verdict", "monitored")];
    assert!(eventually(PATIENCE, || gateway.counter("portcullis_decisions", &labels).unwrap() == 4));
    assert_eq!(gauge(&gateway, "in_flight", "watched"), 1);
    gate.let_go("watched");
    all_answered(held);
    assert!(comes_to(&gateway, "watched", 0));
    // And where the whole filter only watches.
    let mut configuration = configuration("fixed", 2);
    configuration.as_object_mut().unwrap().insert("mode".to_owned(), json!("monitor"));
    let gateway = builder(&gate, 2).filter(configuration).start().unwrap_or_else(|error| panic!("{error:#}"));
    let held = waiting(&gateway, "/gate/extra", "monitored", 5);
    let labels = [("rule", "gate-extra"), ("reason", "overloaded"), ("verdict", "monitored")];
    assert!(eventually(PATIENCE, || gateway.counter("portcullis_decisions", &labels).unwrap() == 4));
    gate.let_go("monitored");
    all_answered(held);
    gateway.check_unharmed().unwrap();
}

#[test]
fn the_gauges_of_workers_add_up_and_a_new_configuration_leaves_nothing_behind() {
    let gate = Gate::start().unwrap();
    let started = builder(&gate, 6).workers(2).filter_reloadable().start();
    let mut gateway = started.unwrap_or_else(|error| panic!("{error:#}"));
    let asked = || {
        gate.let_go("anybody");
        drop(ask(&gateway, "/gate/pay", "anybody"));
        gauge(&gateway, "bound", "fixed") == 12
    };
    assert!(eventually(PATIENCE, asked), "each worker that has served a request has its own bound");
    let held = waiting(&gateway, "/gate/pay", "stalled", 4);
    assert!(comes_to(&gateway, "fixed", 4));
    assert_eq!(gateway.reload(configuration("renamed", 6)).unwrap(), Reload::Accepted);
    assert_eq!(ask(&gateway, "/gate/pay", "anybody").status, 200);
    assert!(gauge(&gateway, "bound", "renamed") >= 6);
    // Those that the old configuration has admitted are still in flight, and it is there for them.
    assert_eq!(gauge(&gateway, "in_flight", "fixed"), 4);
    gate.let_go("stalled");
    all_answered(held);
    assert!(comes_to(&gateway, "fixed", 0));
    let retired = eventually(PATIENCE, || gauge(&gateway, "bound", "fixed") == 0);
    assert!(retired, "{}", gauge(&gateway, "bound", "fixed"));
    gateway.check_unharmed().unwrap();
}
