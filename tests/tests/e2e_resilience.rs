//! The reference gateway, `envoy.yaml` as it stands but for shorter waits: a service that is killed, stalls or is flooded takes
//! no other with it, only what is safe is sent again, and slow clients end.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::config;
use portcullis_tests::eventually;
use portcullis_tests::mint::Token;
use portcullis_tests::paths;
use portcullis_tests::reference::{Grounds, Reference};
use portcullis_tests::server::{Answer, Stall};
use portcullis_tests::services::Service;
use serde_json::{Value, json};

/// Long enough for a slow machine: nothing is asserted about how long it takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    gateway: Reference,
    grounds: Grounds,
    token: String,
}

impl World {
    /// The reference gateway without a limit on requests, and what `change` does to it.
    fn with(change: &mut dyn FnMut(&mut Value)) -> Self {
        let grounds = Grounds::prepare("resilience").unwrap();
        let mut change = |config: &mut Value| {
            config::change_filter(config, &mut |filter| {
                filter["limits"]["per_client"] = json!({"key": "ip", "rate": "100000/s", "burst": 100_000});
                filter["limits"]["in_flight"] = json!({"key": "ip", "concurrency": 10_000});
            });
            change(config);
        };
        let gateway = grounds.start("gateway", &mut change).unwrap();
        let token = Token::of("alice").scope("read_orders write_orders read_reports").sign(&grounds.key);
        let world = Self { gateway, grounds, token };
        // The key set is there.
        assert!(eventually(PATIENCE, || world.status("/reports/1") == 200), "{}", world.gateway.log());
        world.gateway.reports.forget();
        world
    }

    fn connect(&self) -> Client {
        self.gateway.client(&self.grounds.pki).unwrap()
    }

    fn call(&self, method: &str, path: &str) -> Response {
        self.connect().call(&Call::new(method, path).bearer(&self.token)).unwrap()
    }

    fn status(&self, path: &str) -> u16 {
        self.call("GET", path).status
    }

    fn stat(&self, name: &str) -> u64 {
        self.gateway.stat(name).unwrap()
    }

    /// The first bytes of a request: its head up to `length`, which announces a body of that many bytes.
    fn head(&self, method: &str, path: &str, length: usize) -> String {
        let authorization = format!("authorization: Bearer {}", self.token);
        format!("{method} {path} HTTP/1.1\r\nhost: api.demo\r\n{authorization}\r\ncontent-length: {length}\r\n\r\n")
    }
}

/// The cluster of a service.
fn cluster<'a>(config: &'a mut Value, name: &str) -> &'a mut Value {
    let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
    clusters.iter_mut().find(|cluster| cluster["name"] == name).unwrap()
}

/// The listener that clients use, and its HTTP connection manager.
fn chain(config: &mut Value) -> &mut Value {
    &mut config["static_resources"]["listeners"][0]["filter_chains"][0]
}

fn manager(config: &mut Value) -> &mut Value {
    &mut chain(config)["filters"][0]["typed_config"]
}

/// Clients wait this long for a service.
fn answer_within(config: &mut Value, time: &str) {
    let routes = manager(config)["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().unwrap();
    for route in routes.iter_mut().filter_map(|route| route.get_mut("route")) {
        route["timeout"] = json!(time);
    }
}

fn here() -> Answer {
    Answer::json(200, &json!({"here": true}))
}

fn never() -> Answer {
    Answer { stall: Stall::BeforeHead, ..here() }
}

#[test]
fn a_killed_service_is_503_and_its_neighbour_untouched_until_it_is_back() {
    let mut world = World::with(&mut |_| {});
    assert_eq!(world.status("/orders/1"), 200);
    let port = world.gateway.orders.port();
    // Something has to stand in its place in the harness; it listens elsewhere.
    std::mem::replace(&mut world.gateway.orders, Service::plain("orders").unwrap()).stop();
    for _ in 0..15 {
        let (gone, there) = (world.call("GET", "/orders/1"), world.status("/reports/1"));
        assert_eq!((gone.status, gone.json()["type"].as_str(), there), (503, Some("about:blank"), 200));
    }
    // After ten failures nobody tries any more, for a while.
    let ejected = || world.stat("cluster.orders.outlier_detection.ejections_enforced_total") > 0;
    assert!(eventually(PATIENCE, || ejected() || world.status("/orders/1") != 503));
    assert!(ejected());
    assert_eq!(world.stat("cluster.reports.outlier_detection.ejections_enforced_total"), 0);
    world.gateway.orders = Service::start("orders", port, &world.grounds.pki).unwrap();
    assert!(eventually(PATIENCE, || world.status("/orders/1") == 200));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn trouble_behind_the_gateway_is_told_without_a_word_about_it() {
    let world = World::with(&mut |config| answer_within(config, "0.3s"));
    let check = |path: &str, status: u16| {
        let response = world.call("GET", path);
        assert_eq!(response.status, status, "{}", response.text());
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{}", response.text());
        let id = response.header("x-request-id").unwrap();
        assert_eq!(response.json(), json!({"type": "about:blank", "status": status, "request_id": id}));
    };
    world.gateway.orders.set_answer(never());
    check("/orders/1", 504);
    // What a service says itself goes through as it is, and so does what the filter says.
    world.gateway.reports.set_answer(Answer::json(503, &json!({"mine": 1})));
    assert_eq!(world.call("GET", "/reports/1").json(), json!({"mine": 1}));
    let denied = world.connect().call(&Call::get("/orders/1")).unwrap();
    assert_eq!((denied.status, &denied.json()["reason"]), (401, &json!("credentials_missing")));
}

#[test]
fn a_stalled_service_is_504_is_asked_once_per_request_and_then_left_alone() {
    let world = World::with(&mut |config| answer_within(config, "0.3s"));
    world.gateway.orders.set_answer(never());
    let statuses: Vec<u16> = (0..5).map(|_| world.status("/orders/1")).collect();
    assert_eq!(statuses, [504; 5]);
    // Not again for one that did not answer in time: that would be load for who has too much of it.
    assert_eq!(world.gateway.orders.hits(), 5);
    assert_eq!(world.status("/reports/1"), 200);
    assert!(eventually(PATIENCE, || world.status("/orders/1") == 503));
    let hits = world.gateway.orders.hits();
    assert_eq!((world.status("/orders/1"), world.status("/reports/1")), (503, 200));
    assert_eq!(world.gateway.orders.hits(), hits, "it is asked while it is left alone");
    world.gateway.orders.set_answer(here());
    assert!(eventually(PATIENCE, || world.status("/orders/1") == 200));
}

#[test]
fn a_service_that_answers_500_is_asked_on_and_never_twice() {
    let world = World::with(&mut |_| {});
    for status in [500, 503] {
        world.gateway.orders.forget();
        world.gateway.orders.set_answer(Answer::status(status));
        assert_eq!(world.status("/orders/1"), status);
        assert_eq!(world.gateway.orders.hits(), 1, "{status}");
    }
    // Whoever finds a request that fails does not close the service for others.
    world.gateway.orders.set_answer(Answer::status(500));
    for _ in 0..30 {
        assert_eq!(world.status("/orders/1"), 500);
    }
    world.gateway.orders.set_answer(here());
    assert_eq!(world.status("/orders/1"), 200);
}

#[test]
fn a_flooded_service_takes_its_share_and_no_more() {
    let world = World::with(&mut |_| {});
    let mut reference = config::load(&paths::root().join("envoy.yaml")).unwrap();
    let share = &cluster(&mut reference, "reports")["circuit_breakers"]["thresholds"][0];
    let share = ["max_requests", "max_pending_requests"].map(|name| share[name].as_u64().unwrap()).iter().sum::<u64>();
    world.gateway.reports.set_answer(never());
    let request = world.head("GET", "/reports/1", 0);
    let mut flood = Vec::new();
    for _ in 0..share + 20 {
        let mut client = world.connect();
        client.send(request.as_bytes()).unwrap();
        flood.push(client);
    }
    let turned_away = || world.stat("cluster.reports.upstream_rq_pending_overflow");
    assert!(eventually(PATIENCE, || turned_away() > 0), "{}", world.gateway.log());
    // At once, while the others wait: nobody stands in line without end.
    assert_eq!(world.status("/reports/1"), 503);
    for _ in 0..20 {
        assert_eq!(world.status("/orders/1"), 200);
    }
    assert_eq!(world.stat("cluster.orders.upstream_rq_pending_overflow"), 0);
    world.gateway.reports.set_answer(here());
    drop(flood);
    assert!(eventually(PATIENCE, || world.status("/reports/1") == 200));
    world.gateway.check_unharmed().unwrap();
}

/// A service in the clear that takes each request and closes the connection; how many it took.
fn breaking_service() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (port, taken) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&taken);
    // It ends with the process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 4096];
            if stream.read(&mut bytes).is_ok_and(|length| length > 0) {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (port, taken)
}

#[test]
fn only_what_reads_is_sent_again_when_the_connection_broke() {
    let (port, taken) = breaking_service();
    let world = World::with(&mut |config| {
        let orders = cluster(config, "orders");
        orders.as_object_mut().unwrap().remove("transport_socket");
        let endpoint = &mut orders["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        endpoint["address"]["socket_address"]["port_value"] = json!(port);
    });
    assert_eq!(world.call("GET", "/orders/1").status, 503);
    assert_eq!(taken.swap(0, Ordering::SeqCst), 3, "one, and two more tries");
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        assert_eq!(world.call(method, "/orders/1").status, 503, "{method}");
        assert_eq!(taken.swap(0, Ordering::SeqCst), 1, "{method}");
    }
}

/// What comes back on a connection until it ends; it must end.
fn until_closed(client: &mut Client) -> Option<u16> {
    let answer = client.read(false).ok().map(|response| response.status);
    assert!(client.call(&Call::get("/healthz")).is_err(), "the connection is still there");
    answer
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    let world = World::with(&mut |config| manager(config)["request_headers_timeout"] = json!("1s"));
    let mut slow: Vec<Client> = (0..20).map(|_| world.connect()).collect();
    for client in &mut slow {
        client.send(b"GET /healthz HTTP/1.1\r\nhost: api.demo\r\nx-").unwrap();
    }
    assert_eq!(world.status("/orders/1"), 200);
    for client in &mut slow {
        assert!(matches!(until_closed(client), Some(408) | None));
    }
    assert!(world.stat("http.https.downstream_rq_header_timeout") > 0);
}

#[test]
fn a_body_that_trickles_is_cut_off_and_reaches_no_service() {
    let world = World::with(&mut |config| manager(config)["request_timeout"] = json!("2s"));
    let mut client = world.connect();
    client.send(world.head("POST", "/orders", 1000).as_bytes()).unwrap();
    // Something moves all the time: an idle timeout alone would never end this.
    let trickle = |client: &mut Client| {
        std::thread::sleep(Duration::from_millis(100));
        client.send(b"a").is_err() || world.stat("http.https.downstream_rq_timeout") > 0
    };
    assert!(eventually(PATIENCE, || trickle(&mut client)));
    assert!(matches!(client.read(false).map(|response| response.status), Ok(408) | Err(_)));
    assert_eq!(world.gateway.orders.hits(), 0);
    assert_eq!(world.status("/orders/1"), 200);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let world = World::with(&mut |config| manager(config)["stream_idle_timeout"] = json!("1s"));
    let body = vec![b'a'; 32 << 20];
    world.gateway.orders.set_answer(Answer { body: body.into(), ..here() });
    let mut client = world.connect();
    client.send(world.head("GET", "/orders/1", 0).as_bytes()).unwrap();
    assert!(eventually(PATIENCE, || world.stat("http.https.downstream_rq_idle_timeout") > 0));
    assert_eq!(world.status("/reports/1"), 200);
    assert!(client.read(false).is_err(), "the whole answer came");
}

#[test]
fn a_connection_without_a_handshake_or_without_a_request_is_closed() {
    let world = World::with(&mut |config| {
        chain(config)["transport_socket_connect_timeout"] = json!("1s");
        manager(config)["common_http_protocol_options"]["idle_timeout"] = json!("1s");
    });
    let mut silent = TcpStream::connect((Ipv4Addr::LOCALHOST, world.gateway.ports().https)).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.write_all(&[22, 3, 1]).unwrap();
    assert!(matches!(silent.read(&mut [0; 64]), Ok(0) | Err(_)));
    let mut idle = world.connect();
    assert!(until_closed(&mut idle).is_none());
    let timeouts = world.gateway.admin("GET", "/stats?filter=transport_socket_connect_timeout").unwrap().text();
    assert!(timeouts.lines().any(|line| !line.ends_with(": 0")), "{timeouts}");
}

#[test]
fn heads_have_a_bound_in_number_and_in_size() {
    let world = World::with(&mut |_| {});
    let many = (0..101).fold(Call::get("/healthz"), |call, number| call.header(&format!("x-{number}"), "1"));
    assert_eq!(world.connect().call(&many).unwrap().status, 431);
    let large = Call::get("/healthz").header("x-large", &"a".repeat(33 << 10));
    assert_eq!(world.connect().call(&large).unwrap().status, 431);
    let fine =
        (0..50).fold(Call::get("/healthz"), |call, number| call.header(&format!("x-{number}"), &"a".repeat(200)));
    assert_eq!(world.connect().call(&fine).unwrap().status, 200);
}
