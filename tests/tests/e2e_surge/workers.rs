//! The same over two and over four workers, among which Envoy spreads connections evenly: each has the bound for itself, and the service gets what
//! all of them admit, and not one request more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use portcullis_tests::client::Client;
use portcullis_tests::gate::Gate;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::streams::Streams;
use portcullis_tests::{eventually, refusal};

use super::{PATIENCE, all_answered, ask, builder, call, comes_to, gauge, waiting};

/// The bound of each worker.
const BOUND: usize = 10;
/// Rules of the same bound: sheddable, default and critical.
const PRIORITIES: [&str; 3] = ["/gate/extra", "/gate/usual", "/gate/pay"];

/// What all workers admit.
fn all(workers: usize) -> usize {
    workers * BOUND
}

/// So many that every worker has to shed some, even if it has a few less of them than the others.
fn crowd_of(workers: usize) -> usize {
    2 * all(workers)
}

fn start(workers: usize) -> (Gateway, Gate) {
    let gate = Gate::start().unwrap();
    gate.let_go("anybody");
    let gateway = builder(&gate, BOUND as u64)
        .workers(u32::try_from(workers).unwrap())
        .balanced()
        .start()
        .unwrap_or_else(|error| panic!("{error:#}"));
    (gateway, gate)
}

fn connect(gateway: &Gateway, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client::connect(gateway.port()).unwrap()).collect()
}

fn open_connections(gateway: &Gateway) -> u64 {
    gateway.stat("http.test.downstream_cx_active").unwrap()
}

/// How many have been shed, of each priority.
fn shed(gateway: &Gateway) -> [u64; 3] {
    ["shed_sheddable", "shed_default", "shed_critical"]
        .map(|event| gateway.counter("portcullis_surge", &[("surge", "fixed"), ("event", event)]).unwrap())
}

fn nobody_is_shed(gateway: &Gateway) {
    let before = shed(gateway);
    for path in PRIORITIES.into_iter().cycle().take(5 * PRIORITIES.len()) {
        assert_eq!(ask(gateway, path, "anybody").status, 200, "{path}");
    }
    assert_eq!(shed(gateway), before);
}

#[test]
fn every_worker_sheds_the_less_important_first() {
    for workers in [2, 4] {
        each_sheds_the_less_important_first(workers);
    }
}

fn each_sheds_the_less_important_first(workers: usize) {
    let (gateway, gate) = start(workers);
    let of_each = |count: usize| (count * workers) as u64;
    let mut on_each = connect(&gateway, workers);
    // Each worker has one before others come.
    assert!(eventually(PATIENCE, || open_connections(&gateway) == of_each(1)));
    let mut each = |passes: [bool; 3]| {
        for (path, passes) in PRIORITIES.into_iter().zip(passes) {
            for connection in &mut on_each {
                let answer = connection.call(&call(path, "anybody")).unwrap();
                match passes {
                    true => assert_eq!(answer.status, 200, "{path}"),
                    false => refusal::check(&answer, 503, "overloaded").unwrap(),
                }
            }
        }
    };
    let mut held = waiting(&gateway, "/gate/pay", "stalled", 5 * workers);
    assert!(comes_to(&gateway, "fixed", of_each(5)));
    each([true, true, true]);
    assert_eq!(shed(&gateway), [0, 0, 0], "half of the places are free");
    held.extend(waiting(&gateway, "/gate/extra", "stalled", 2 * workers));
    assert!(comes_to(&gateway, "fixed", of_each(7)));
    each([false, true, true]);
    held.extend(waiting(&gateway, "/gate/usual", "stalled", 2 * workers));
    assert!(comes_to(&gateway, "fixed", of_each(9)));
    each([false, false, true]);
    held.extend(waiting(&gateway, "/gate/pay", "stalled", workers));
    assert!(comes_to(&gateway, "fixed", of_each(10)));
    each([false, false, false]);
    assert_eq!(shed(&gateway), [of_each(3), of_each(2), of_each(1)]);
    assert_eq!(gauge(&gateway, "bound", "fixed"), of_each(BOUND));
    assert!(eventually(PATIENCE, || gate.waiting("stalled") == all(workers)));
    gate.let_go("stalled");
    all_answered(held);
    assert!(comes_to(&gateway, "fixed", 0));
    each([true, true, true]);
    gateway.check_unharmed().unwrap();
}

#[test]
fn the_service_never_has_more_than_all_workers_admit() {
    for workers in [2, 4] {
        it_never_has_more_than_all_admit(workers);
    }
}

fn it_never_has_more_than_all_admit(workers: usize) {
    let (gateway, gate) = start(workers);
    let all = all(workers);
    let done = AtomicBool::new(false);
    let crowd = connect(&gateway, crowd_of(workers));
    thread::scope(|scope| {
        for mut connection in crowd {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let status = connection.call(&call("/gate/pay", "crowd")).unwrap().status;
                    assert!([200, 503].contains(&status), "{status}");
                    // The shed ones leave the processor to the others.
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        // In each round all places are taken, given back and taken anew, while the rest of the crowd goes on asking.
        let full = (0..5).all(|_| {
            gate.keep("crowd");
            let is_full = eventually(PATIENCE, || gate.waiting("crowd") == all);
            gate.let_go("crowd");
            is_full
        });
        done.store(true, Ordering::Relaxed);
        assert!(full, "{} of {all} are at the service", gate.waiting("crowd"));
    });
    assert_eq!(gate.most_at_once("crowd"), all);
    assert!(comes_to(&gateway, "fixed", 0));
    nobody_is_shed(&gateway);
    gateway.check_unharmed().unwrap();
}

/// Envoy counts connections that are still being closed when it hands out others.
fn connections_are_closed(gateway: &Gateway) -> bool {
    eventually(PATIENCE, || open_connections(gateway) == 0)
}

/// Sends the request over so many connections that no worker has a place left.
fn all_places(workers: usize, gateway: &Gateway, request: &[u8]) -> Vec<Client> {
    assert!(connections_are_closed(gateway));
    let before = shed(gateway)[2];
    let mut crowd = connect(gateway, crowd_of(workers));
    crowd.iter_mut().for_each(|connection| connection.send(request).unwrap());
    assert!(comes_to(gateway, "fixed", all(workers) as u64), "{} are in flight", gauge(gateway, "in_flight", "fixed"));
    assert!(eventually(PATIENCE, || shed(gateway)[2] == before + (crowd_of(workers) - all(workers)) as u64));
    crowd
}

/// All places are free, and all of them can be used.
fn all_are_back(workers: usize, gateway: &Gateway, gate: &Gate, after: &str) {
    assert!(comes_to(gateway, "fixed", 0), "{after}: {} are in flight", gauge(gateway, "in_flight", "fixed"));
    nobody_is_shed(gateway);
    let client = format!("after {after}");
    let crowd = all_places(workers, gateway, &call("/gate/pay", &client).to_bytes());
    assert!(eventually(PATIENCE, || gate.waiting(&client) == all(workers)), "{after}: {}", gate.waiting(&client));
    gate.let_go(&client);
    for mut connection in crowd {
        assert!([200, 503].contains(&connection.read(false).unwrap().status), "{after}");
    }
    assert_eq!(gate.most_at_once(&client), all(workers), "{after}");
    assert!(comes_to(gateway, "fixed", 0), "{after}");
}

#[test]
fn on_every_worker_places_come_back_at_every_end_of_a_stream() {
    for workers in [2, 4] {
        places_come_back_at_every_end_of_a_stream(workers);
    }
}

fn places_come_back_at_every_end_of_a_stream(workers: usize) {
    let (gateway, gate) = start(workers);
    let all = all(workers);
    all_are_back(workers, &gateway, &gate, "the start");
    drop(all_places(workers, &gateway, &call("/gate/pay", "gone").to_bytes()));
    all_are_back(workers, &gateway, &gate, "clients went away");
    drop(all_places(workers, &gateway, b"POST /gate/pay HTTP/1.1\r\nhost: api.demo\r\ncontent-length: 4\r\n\r\nab"));
    all_are_back(workers, &gateway, &gate, "clients went away within their uploads");
    let crowd = all_places(workers, &gateway, &call("/gate/pay/reset", "reset").to_bytes());
    gate.let_go("reset");
    for mut connection in crowd {
        assert_eq!(connection.read(false).unwrap().status, 503);
    }
    all_are_back(workers, &gateway, &gate, "the service broke off");
    assert!(connections_are_closed(&gateway));
    let mut crowd = connect(&gateway, crowd_of(workers));
    for (path, status) in [("/gate/brief", 504), ("/nobody", 503)] {
        crowd.iter_mut().for_each(|connection| connection.send(&call(path, "slow").to_bytes()).unwrap());
        let statuses: Vec<u16> = crowd.iter_mut().map(|connection| connection.read(false).unwrap().status).collect();
        // Others are shed: how many depends on how soon the first have ended.
        assert!(statuses.iter().all(|seen| [status, 503].contains(seen)), "{path}: {statuses:?}");
        assert!(statuses.iter().filter(|seen| **seen == status).count() >= all, "{path}: {statuses:?}");
    }
    drop(crowd);
    all_are_back(workers, &gateway, &gate, "the route's time was up, and nobody listened");
    assert!(connections_are_closed(&gateway));
    let mut connections: Vec<Streams> = (0..3 * workers).map(|_| Streams::connect(gateway.port()).unwrap()).collect();
    for streams in &mut connections {
        (0..BOUND).for_each(|_| streams.send(&call("/gate/pay", "h2")).unwrap());
    }
    assert!(comes_to(&gateway, "fixed", all as u64));
    connections.iter_mut().for_each(Streams::reset);
    assert!(comes_to(&gateway, "fixed", 0), "while their connections stay");
    drop(connections);
    all_are_back(workers, &gateway, &gate, "streams were reset");
    gateway.check_unharmed().unwrap();
}
