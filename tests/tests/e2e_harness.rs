//! The harness itself: what the other end-to-end tests rely on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use portcullis_tests::client::{Call, Client, call_h2};
use portcullis_tests::gateway::{Gateway, Reload};
use portcullis_tests::idp::{Idp, JWKS_PATH};
use portcullis_tests::paths::WorkDir;
use portcullis_tests::pki::Pki;
use portcullis_tests::server::{Answer, Stall};
use portcullis_tests::services::Service;
use serde_json::json;

#[test]
fn a_service_echoes_what_reached_it() {
    let orders = Service::plain("orders").unwrap();
    let gateway = Gateway::builder().service(&orders).start().unwrap();
    let call = Call::new("POST", "/orders/1?q=%2f").header("x-dup", "1").header("x-dup", "2").body("hello");
    let response = Client::connect(gateway.port()).unwrap().call(&call).unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(
        (response.json()["path"].as_str(), response.json()["body"].as_str()),
        (Some("/orders/1?q=%2f"), Some("hello"))
    );
    assert_eq!(response.upstream_header("x-dup"), ["1", "2"]);
    assert_eq!(orders.requests()[0].header_values("x-dup"), ["1", "2"]);
    assert_eq!(call_h2(gateway.port(), None, &Call::get("/orders/2")).unwrap().status, 200);
    assert_eq!(orders.hits(), 2);
}

#[test]
fn one_connection_carries_many_requests() {
    let orders = Service::plain("orders").unwrap();
    let gateway = Gateway::builder().service(&orders).start().unwrap();
    let mut client = Client::connect(gateway.port()).unwrap();
    for _ in 0..50 {
        assert_eq!(client.call(&Call::get("/orders/1")).unwrap().status, 200);
        assert_eq!(client.call(&Call::get("/nowhere")).unwrap().status, 404);
        assert_eq!(client.call(&Call::new("HEAD", "/orders/1")).unwrap().status, 200);
    }
    assert_eq!(gateway.stat("http.test.downstream_cx_total").unwrap(), 1);
}

#[test]
fn clients_of_other_loopback_addresses_are_other_clients() {
    let orders = Service::plain("orders").unwrap();
    let gateway = Gateway::builder().service(&orders).start().unwrap();
    let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, 9), gateway.port()).unwrap();
    let response = client.call(&Call::get("/orders/1")).unwrap();
    assert_eq!(response.upstream_header("x-forwarded-for"), ["127.0.0.9"]);
}

#[test]
fn a_service_behind_mutual_tls_is_reached_and_a_wrong_one_is_not() {
    let dir = WorkDir::create("mtls").unwrap();
    let pki = Pki::load_or_create(dir.path()).unwrap();
    let orders = Service::start("orders", 0, &pki).unwrap();
    let gateway = Gateway::builder().mtls_service(&orders, &pki).start().unwrap();
    let call = Call::get("/orders/1");
    assert_eq!(Client::connect(gateway.port()).unwrap().call(&call).unwrap().status, 200);
    // On the same port now another service, with a good certificate of its own.
    let port = orders.port();
    orders.stop();
    let reports = Service::start("reports", port, &pki).unwrap();
    assert_eq!(Client::connect(gateway.port()).unwrap().call(&call).unwrap().status, 503);
    assert_eq!(reports.hits(), 0);
}

#[test]
fn an_identity_provider_answers_stalls_and_counts_as_told() {
    let idp = Idp::plain(&json!({"keys": []})).unwrap();
    let get = || Client::connect(idp.port()).unwrap().call(&Call::get(JWKS_PATH)).unwrap();
    assert_eq!((get().status, get().json()), (200, json!({"keys": []})));
    idp.jwks().set_status(503);
    idp.jwks().set_header("cache-control", "max-age=1");
    let answer = get();
    assert_eq!((answer.status, answer.header("cache-control")), (503, Some("max-age=1")));
    idp.jwks().set_answer(Answer { delay: Duration::from_millis(200), ..Answer::status(204) });
    let started = Instant::now();
    assert_eq!(get().status, 204);
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!(idp.jwks().hits(), 4);
    idp.jwks().set_answer(Answer { stall: Stall::InBody, ..Answer::json(200, &json!({"keys": []})) });
    let mut client = Client::connect(idp.port()).unwrap();
    client.send(&Call::get(JWKS_PATH).to_bytes()).unwrap();
    let port = idp.port();
    std::thread::sleep(Duration::from_millis(100));
    idp.stop();
    assert!(client.read(false).is_err());
    assert!(Client::connect(port).is_err());
}

#[test]
fn a_refused_configuration_is_reported_with_envoys_reason() {
    let refused = Gateway::builder().connection_manager("server_nme", json!("x")).start();
    let message = format!("{:#}", refused.err().unwrap());
    assert!(message.contains("server_nme"), "{message}");
}

#[test]
fn a_good_configuration_replaces_the_old_one_and_a_bad_one_does_not() {
    let public = |path: &str| json!({"version": 1, "rules": [{"match": {"path": path}, "allow": "public"}]});
    let orders = Service::plain("orders").unwrap();
    let mut gateway = Gateway::builder().filter(public("/orders/1")).service(&orders).reloadable().start().unwrap();
    let status =
        |gateway: &Gateway, path: &str| Client::connect(gateway.port()).unwrap().call(&Call::get(path)).unwrap().status;
    assert_eq!((status(&gateway, "/orders/1"), status(&gateway, "/orders/2")), (200, 404));
    assert_eq!(gateway.reload(json!({"version": 1, "ruels": []})).unwrap(), Reload::Rejected);
    assert_eq!((status(&gateway, "/orders/1"), status(&gateway, "/orders/2")), (200, 404));
    assert_eq!(gateway.reload(public("/orders/2")).unwrap(), Reload::Accepted);
    assert_eq!((status(&gateway, "/orders/1"), status(&gateway, "/orders/2")), (404, 200));
}

#[test]
fn counters_carry_their_labels() {
    let gateway = Gateway::builder().filter(json!({"version": 1, "rules": []})).start().unwrap();
    assert_eq!(Client::connect(gateway.port()).unwrap().call(&Call::get("/")).unwrap().status, 404);
    let started = Instant::now();
    // Counted in the worker, handed to Envoy on the tick.
    while started.elapsed() < Duration::from_secs(10) {
        let counters = gateway.prometheus().unwrap();
        let line = counters.lines().find(|line| line.starts_with("portcullis_decisions{"));
        if let Some(line) = line {
            assert!(line.contains(r#"reason="route_unmatched""#) && line.contains(r#"verdict="denied""#), "{line}");
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no counter:\n{}", gateway.prometheus().unwrap());
}

#[test]
fn a_gateway_is_gone_once_it_is_dropped() {
    let gateway = Gateway::builder().reloadable().start().unwrap();
    let process = std::path::PathBuf::from(format!("/proc/{}", gateway.process_id()));
    assert!(process.exists());
    drop(gateway);
    assert!(!process.exists());
}
