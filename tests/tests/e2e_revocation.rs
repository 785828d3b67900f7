//! Revoked tokens in the real Envoy with two workers: a list that is pulled, and what operators push.
//!
//! What is pushed is tested on one gateway; each test of the list has a gateway and a server of its own, side by side.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use portcullis_tests::client::{Call, Client, Response, call_h2};
use portcullis_tests::gateway::{Builder, Gateway, Reload};
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::{Token, unix_seconds};
use portcullis_tests::server::Answer;
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, filter, refusal};
use serde_json::{Value, json};

/// So many connections that both workers have some.
const CONNECTIONS: usize = 24;
/// The shortest interval that there is, the tick of a worker that notices late, and a slow machine.
const AFTER_AN_INTERVAL: Duration = Duration::from_secs(12);
/// The issuer of the second provider.
const PARTNER: &str = "https://partner.demo";
/// Where operators call.
const ADMIN: &str = "/admin/revocations";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Es256, "k1"));

/// Two providers, a rule for everybody's requests and one for operators.
fn configuration(revocation: Value) -> Value {
    let inline = json!({"inline": jwks([&*KEY])});
    let mut partner = filter::provider(&["ES256"], inline.clone());
    partner["issuer"] = json!(PARTNER);
    let pushes = !revocation["push"].is_null();
    let mut configuration = json!({
        "version": 1,
        "providers": {
            "corp": filter::provider(&["ES256"], inline),
            "partner": partner,
            "apps": {"api_keys": {"clients": {"billing": {"sha256": sha256("key-1")}}}},
        },
        "revocation": revocation,
        "rules": [
            {"name": "both", "match": {"prefix": "/both"}, "require": {"all": ["apps", "corp"]}},
            {"name": "all", "match": {}, "require": {"any": ["corp", "partner"]}},
        ],
    });
    if pushes {
        let admin = json!({
            "name": "admin", "match": {"prefix": "/admin"},
            "require": "corp", "scopes": {"all": ["revoke"]}, "serve": "revocations",
        });
        configuration["rules"].as_array_mut().unwrap().insert(0, admin);
    }
    configuration
}

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn builder(revocation: Value) -> Builder {
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    Gateway::builder().filter(configuration(revocation)).route(passed)
}

fn pulled(change: &[(&str, Value)]) -> Value {
    let mut section = json!({"cluster": "revoked", "path": "/revoked.json", "every": "5s", "timeout": "2s"});
    for (name, value) in change {
        section[name] = value.clone();
    }
    section
}

static PUSHED: LazyLock<Gateway> =
    LazyLock::new(|| builder(json!({"push": {}})).start().unwrap_or_else(|error| panic!("{error:#}")));

fn connections(gateway: &Gateway) -> Vec<Client> {
    (0..CONNECTIONS).map(|_| Client::connect(gateway.port()).unwrap()).collect()
}

fn call(gateway: &Gateway, call: &Call) -> Response {
    Client::connect(gateway.port()).unwrap().call(call).unwrap()
}

fn status(gateway: &Gateway, token: &str) -> u16 {
    call(gateway, &Call::get("/orders").bearer(token)).status
}

/// Uses the token on each connection, so that both workers have it in their caches.
fn passes_everywhere(clients: &mut [Client], token: &str) {
    for client in clients {
        let response = client.call(&Call::get("/orders").bearer(token)).unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

fn refused_everywhere(clients: &mut [Client], token: &str) {
    for client in clients {
        refusal::check(&client.call(&Call::get("/orders").bearer(token)).unwrap(), 401, "token_revoked").unwrap();
    }
}

fn becomes_refused_everywhere(clients: &mut [Client], token: &str) {
    let mut refused = || {
        let mut answers = clients.iter_mut().map(|client| client.call(&Call::get("/orders").bearer(token)).unwrap());
        answers.all(|answer| answer.status == 401)
    };
    assert!(eventually(AFTER_AN_INTERVAL, &mut refused), "the list did not take effect in time");
    refused_everywhere(clients, token);
}

fn token(subject: &str, jti: &str) -> Token {
    Token::of(subject).claim("jti", json!(jti))
}

fn signed(token: Token) -> String {
    token.sign(&KEY)
}

/// The token of an operator who may revoke.
fn operator() -> String {
    signed(Token::of("oscar").scope("read revoke"))
}

fn admin(method: &str, body: impl Into<Vec<u8>>) -> Call {
    Call::new(method, ADMIN).bearer(&operator()).body(body)
}

fn push(gateway: &Gateway, entry: &Value) -> Response {
    let response = call(gateway, &admin("POST", entry.to_string()));
    assert_eq!(response.status, 201, "{}", response.text());
    assert_eq!(response.json(), json!({"revoked": true}));
    response
}

fn lift(gateway: &Gateway, target: &Value) -> bool {
    let response = call(gateway, &admin("DELETE", target.to_string()));
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["lifted"].as_bool().unwrap()
}

fn listing(gateway: &Gateway) -> Value {
    let response = call(gateway, &admin("GET", ""));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    response.json()
}

// What operators push.

#[test]
fn a_push_holds_with_the_very_next_request_on_every_worker() {
    let mut clients = connections(&PUSHED);
    for round in 0..20 {
        let jti = format!("next-{round}");
        let token = signed(token("alice", &jti));
        passes_everywhere(&mut clients, &token);
        push(&PUSHED, &json!({"jti": jti}));
        refused_everywhere(&mut clients, &token);
    }
    passes_everywhere(&mut clients, &signed(token("alice", "next")));
    PUSHED.check_unharmed().unwrap();
}

#[test]
fn a_subject_a_client_or_an_issuer_can_be_revoked_up_to_a_time() {
    let mut clients = connections(&PUSHED);
    let now = unix_seconds();
    let issued = |token: Token, ago: i64| token.claim("iat", json!(now - ago));
    let subject = |ago| signed(issued(Token::of("sally"), ago));
    let client = |ago, claim: &str| signed(issued(Token::of("carol"), ago).claim(claim, json!("app-7")));
    let issuer = |ago| signed(issued(Token::of("paul").claim("iss", json!(PARTNER)), ago));
    let before = now - 100;
    let olds = [subject(200), client(200, "client_id"), client(200, "azp"), issuer(200)];
    let news = [subject(50), client(50, "client_id"), client(50, "azp"), issuer(50)];
    for token in olds.iter().chain(&news) {
        passes_everywhere(&mut clients, token);
    }
    push(&PUSHED, &json!({"sub": "sally", "before": before}));
    push(&PUSHED, &json!({"client_id": "app-7", "before": before}));
    push(&PUSHED, &json!({"iss": PARTNER, "before": before}));
    for token in &olds {
        refused_everywhere(&mut clients, token);
    }
    for token in &news {
        passes_everywhere(&mut clients, token);
    }
    let undated = signed(Token::of("sally").without("iat"));
    refused_everywhere(&mut clients, &undated);
    passes_everywhere(&mut clients, &signed(issued(Token::of("sally2"), 200)));
}

#[test]
fn with_an_issuer_an_entry_is_about_its_tokens_alone() {
    let of = |issuer: &str| signed(token("alice", "shared-jti").claim("iss", json!(issuer)));
    push(&PUSHED, &json!({"jti": "shared-jti", "iss": PARTNER}));
    assert_eq!(status(&PUSHED, &of(PARTNER)), 401);
    assert_eq!(status(&PUSHED, &of("https://idp.demo")), 200);
}

#[test]
fn an_entry_ends_at_its_time() {
    let token = signed(token("alice", "short"));
    push(&PUSHED, &json!({"jti": "short", "until": unix_seconds() + 2}));
    assert_eq!(status(&PUSHED, &token), 401);
    assert!(eventually(Duration::from_secs(5), || status(&PUSHED, &token) == 200));
    assert!(!listing(&PUSHED).to_string().contains("\"short\""));
    let over = call(&PUSHED, &admin("POST", json!({"jti": "x", "until": unix_seconds() - 1}).to_string()));
    refusal::check(&over, 400, "body_malformed").unwrap();
}

#[test]
fn what_was_pushed_is_listed_and_can_be_lifted() {
    let mut clients = connections(&PUSHED);
    let token = signed(token("alice", "lifted"));
    let listed = || {
        let listing = listing(&PUSHED);
        assert_eq!(listing["version"], 1);
        listing["tokens"].as_array().unwrap().iter().filter(|entry| entry["jti"] == "lifted").count()
    };
    assert_eq!(listed(), 0);
    push(&PUSHED, &json!({"jti": "lifted"}));
    push(&PUSHED, &json!({"jti": "lifted"}));
    assert_eq!(listed(), 1);
    refused_everywhere(&mut clients, &token);
    assert!(!lift(&PUSHED, &json!({"jti": "lifted", "iss": PARTNER})), "that is another entry");
    refused_everywhere(&mut clients, &token);
    assert!(lift(&PUSHED, &json!({"jti": "lifted"})));
    passes_everywhere(&mut clients, &token);
    assert_eq!(listed(), 0);
    assert!(!lift(&PUSHED, &json!({"jti": "lifted"})));
}

#[test]
fn only_who_has_the_scope_may_call() {
    let body = json!({"jti": "guarded"}).to_string();
    for method in ["GET", "POST", "DELETE", "PUT"] {
        let call_with = |call_: Call| call(&PUSHED, &call_.body(body.clone()));
        let without = call_with(Call::new(method, ADMIN));
        refusal::check(&without, 401, "credentials_missing").unwrap();
        let unscoped = call_with(Call::new(method, ADMIN).bearer(&signed(Token::of("alice").scope("read"))));
        refusal::check(&unscoped, 403, "scope_insufficient").unwrap();
        let nearly = call_with(Call::new(method, ADMIN).bearer(&signed(Token::of("alice").scope("revoke_all"))));
        refusal::check(&nearly, 403, "scope_insufficient").unwrap();
        let expired =
            call_with(Call::new(method, ADMIN).bearer(&signed(Token::of("oscar").scope("revoke").expires_in(-60))));
        refusal::check(&expired, 401, "token_expired").unwrap();
    }
    assert_eq!(status(&PUSHED, &signed(token("alice", "guarded"))), 200);
}

#[test]
fn an_operator_whose_token_was_revoked_can_do_nothing_more() {
    let operator = signed(token("mallory", "operator").scope("revoke"));
    let list = || call(&PUSHED, &Call::get(ADMIN).bearer(&operator));
    assert_eq!(list().status, 200);
    push(&PUSHED, &json!({"jti": "operator"}));
    refusal::check(&list(), 401, "token_revoked").unwrap();
    let lift = Call::new("DELETE", ADMIN).bearer(&operator).body(json!({"jti": "operator"}).to_string());
    refusal::check(&call(&PUSHED, &lift), 401, "token_revoked").unwrap();
}

#[test]
fn a_body_that_is_no_revocation_is_refused() {
    let now = unix_seconds();
    for body in [
        "",
        "{",
        "{}",
        "[]",
        "null",
        "jti=abc",
        r#"{"jti":"a","jti":"b"}"#,
        r#"{"jti":"a","sub":"b","before":1}"#,
        r#"{"jti":7}"#,
        r#"{"jti":""}"#,
        r#"{"jti":"a","reason":"stolen"}"#,
        r#"{"sub":"alice"}"#,
        r#"{"sub":"alice","before":"now"}"#,
        &format!(r#"{{"sub":"alice","before":{now}000}}"#),
        "{\"jti\":\"\u{0}\"}",
        r#"{"jti":"a"} {"jti":"b"}"#,
    ] {
        refusal::check(&call(&PUSHED, &admin("POST", body)), 400, "body_malformed").unwrap();
    }
    refusal::check(&call(&PUSHED, &admin("POST", b"{\"jti\":\"\xff\"}".to_vec())), 400, "body_malformed").unwrap();
    refusal::check(&call(&PUSHED, &admin("DELETE", "{}")), 400, "body_malformed").unwrap();
    assert_eq!(status(&PUSHED, &signed(Token::of("alice"))), 200);
}

#[test]
fn another_method_is_told_which_there_are() {
    for method in ["PUT", "PATCH", "OPTIONS"] {
        let response = call(&PUSHED, &admin(method, r#"{"jti":"a"}"#));
        refusal::check(&response, 405, "method_not_allowed").unwrap();
        assert_eq!(response.header("allow"), Some("GET, HEAD, POST, DELETE"));
    }
    let mut client = Client::connect(PUSHED.port()).unwrap();
    client.send(&admin("HEAD", "").to_bytes()).unwrap();
    let head = client.read(true).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
}

/// Sends a POST as chunks, each by itself.
fn in_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Response {
    let mut client = Client::connect(PUSHED.port()).unwrap();
    let head = Call::new("POST", ADMIN).bearer(&operator()).header("transfer-encoding", "chunked");
    client.send(&head.to_bytes()).unwrap();
    for chunk in chunks {
        let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        // The gateway may have answered and closed before the end.
        if client.send(&framed).is_err() {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    let _ = client.send(b"0\r\n\r\n");
    client.read(false).unwrap()
}

#[test]
fn a_body_may_come_in_pieces_of_any_size() {
    let body = json!({"jti": "pieces", "iss": "https://idp.demo"}).to_string();
    for size in [1, 7, body.len()] {
        let response = in_chunks(body.as_bytes().chunks(size));
        assert_eq!(response.status, 201, "{size}: {}", response.text());
        assert_eq!(status(&PUSHED, &signed(token("alice", "pieces"))), 401);
        assert!(lift(&PUSHED, &json!({"jti": "pieces", "iss": "https://idp.demo"})));
    }
    // With a known length, in two parts, after a pause; and after an interim answer.
    let bytes = admin("POST", json!({"jti": "halves"}).to_string()).header("expect", "100-continue").to_bytes();
    let mut client = Client::connect(PUSHED.port()).unwrap();
    let (first, second) = bytes.split_at(bytes.len() - 6);
    client.send(first).unwrap();
    thread::sleep(Duration::from_millis(100));
    let response = client.raw(second).unwrap();
    assert_eq!(response.status, 201, "{}", response.text());
    // Spaces count, and the limit itself is allowed.
    let full = format!("{:<16384}", json!({"jti": "full"}).to_string());
    assert_eq!(call(&PUSHED, &admin("POST", full)).status, 201);
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_ends() {
    let over = format!("{:<16385}", json!({"jti": "over"}).to_string());
    let huge = "x".repeat(300_000);
    for body in [&over, &huge] {
        refusal::check(&call(&PUSHED, &admin("POST", body.as_str())), 413, "body_too_large").unwrap();
        refusal::check(&call(&PUSHED, &admin("DELETE", body.as_str())), 413, "body_too_large").unwrap();
        refusal::check(&in_chunks(body.as_bytes().chunks(1000)), 413, "body_too_large").unwrap();
        refusal::check(&in_chunks([body.as_bytes()]), 413, "body_too_large").unwrap();
    }
    let h2 = call_h2(PUSHED.port(), None, &admin("POST", over.as_str())).unwrap();
    refusal::check(&h2, 413, "body_too_large").unwrap();
    assert_eq!(status(&PUSHED, &signed(token("alice", "over"))), 200);
}

#[test]
fn a_call_whose_client_leaves_does_nothing() {
    let bytes = admin("POST", json!({"jti": "left"}).to_string()).to_bytes();
    for _ in 0..20 {
        let mut client = Client::connect(PUSHED.port()).unwrap();
        client.send(bytes.split_last().unwrap().1).unwrap();
    }
    assert_eq!(status(&PUSHED, &signed(token("alice", "left"))), 200);
    PUSHED.check_unharmed().unwrap();
}

#[test]
fn operators_may_call_over_http_2() {
    let token = signed(token("alice", "h2"));
    assert_eq!(status(&PUSHED, &token), 200);
    let send = |call: &Call| call_h2(PUSHED.port(), None, call).unwrap();
    let response = send(&admin("POST", json!({"jti": "h2"}).to_string()));
    assert_eq!(response.status, 201, "{}", response.text());
    assert_eq!(status(&PUSHED, &token), 401);
    assert!(send(&admin("GET", "")).text().contains("\"h2\""));
    assert_eq!(send(&admin("DELETE", json!({"jti": "h2"}).to_string())).json(), json!({"lifted": true}));
    assert_eq!(status(&PUSHED, &token), 200);
    refusal::check(&send(&admin("POST", "")), 400, "body_malformed").unwrap();
}

#[test]
fn the_log_names_the_operator_and_not_the_revoked() {
    let event_of = |response: &Response| PUSHED.audit_of(response.header("x-request-id").unwrap()).unwrap();
    let entry = json!({"sub": "whistleblower", "before": 1});
    let event = event_of(&push(&PUSHED, &entry));
    assert_eq!((&event["event.action"], &event["user.id"]), (&json!("token_revoked"), &json!("oscar")), "{event}");
    let response = call(&PUSHED, &admin("DELETE", entry.to_string()));
    let event = event_of(&response);
    assert_eq!((&event["event.action"], &event["user.id"]), (&json!("revocation_lifted"), &json!("oscar")), "{event}");
    let event = event_of(&call(&PUSHED, &admin("POST", "{}")));
    assert!(event.to_string().contains("body_malformed") && event["user.id"] == "oscar", "{event}");
    assert!(!PUSHED.log().contains("whistleblower"));
}

#[test]
fn calls_are_counted() {
    let gateway = builder(json!({"push": {"max_entries": 2}})).start().unwrap();
    for jti in ["a", "b"] {
        push(&gateway, &json!({"jti": jti}));
    }
    refusal::check(&call(&gateway, &admin("POST", r#"{"jti":"c"}"#)), 507, "call_failed").unwrap();
    assert_eq!(status(&gateway, &signed(token("alice", "c"))), 200);
    assert_eq!(status(&gateway, &signed(token("alice", "a"))), 401, "nothing makes room for what does not fit");
    assert!(lift(&gateway, &json!({"jti": "a"})));
    let event = |event: &str| gateway.counter("portcullis_revocation", &[("event", event)]).unwrap();
    assert!(eventually(Duration::from_secs(5), || event("lifted") == 1));
    assert_eq!((event("pushed"), event("push_refused")), (2, 1));
    let decision = |reason: &str, verdict: &str| {
        let labels = [("rule", "admin"), ("reason", reason), ("verdict", verdict)];
        gateway.counter("portcullis_decisions", &labels).unwrap()
    };
    assert_eq!(decision("ok", "allowed"), 3);
    assert_eq!(decision("call_failed", "denied"), 1);
    gateway.check_unharmed().unwrap();
}

#[test]
fn what_was_pushed_outlives_a_new_configuration() {
    let mut gateway = builder(json!({"push": {}})).reloadable().start().unwrap();
    let revoked = signed(token("alice", "reload"));
    push(&gateway, &json!({"jti": "reload"}));
    let mut other = configuration(json!({"push": {"lifetime": "2h"}}));
    other["identity_headers"] = json!(["x-reloaded"]);
    assert_eq!(gateway.reload(other).unwrap(), Reload::Accepted);
    // Some connections may meet the old listener for a moment: it refuses the token, too.
    for _ in 0..20 {
        refused_everywhere(&mut connections(&gateway), &revoked);
    }
    assert!(listing(&gateway).to_string().contains("\"reload\""));
    assert!(lift(&gateway, &json!({"jti": "reload"})));
    passes_everywhere(&mut connections(&gateway), &revoked);
    gateway.check_unharmed().unwrap();
}

#[test]
fn by_tick_a_push_holds_everywhere_in_a_moment() {
    let gateway = builder(json!({"push": {"consistency": "tick"}})).start().unwrap();
    let mut clients = connections(&gateway);
    let token = signed(token("alice", "tick"));
    passes_everywhere(&mut clients, &token);
    push(&gateway, &json!({"jti": "tick"}));
    let started = Instant::now();
    becomes_refused_everywhere(&mut clients, &token);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn every_credential_of_a_request_is_held_against_what_is_revoked() {
    let send = |jti: &str| {
        let call_ = Call::get("/both").header("x-api-key", "key-1").bearer(&signed(token("alice", jti)));
        call(&PUSHED, &call_)
    };
    assert_eq!(send("second").status, 200);
    push(&PUSHED, &json!({"jti": "second"}));
    // The first provider's word is the identity; the second's token is no less revoked.
    refusal::check(&send("second"), 401, "token_revoked").unwrap();
    assert_eq!(send("another").status, 200);
}

// The list.

fn list_server(list: &Value) -> Service {
    let server = Service::plain("revoked").unwrap();
    server.set_answer(Answer::json(200, list));
    server
}

#[test]
fn a_new_list_holds_on_every_worker_within_the_interval_for_cached_tokens_too() {
    let server = list_server(&json!({"version": 1}));
    let gateway = builder(pulled(&[])).cluster("revoked", server.port()).start().unwrap();
    let mut clients = connections(&gateway);
    let now = unix_seconds();
    let old = |token: Token| signed(token.claim("iat", json!(now - 100)));
    let revoked = [
        signed(token("alice", "j1")),
        signed(token("alice", "j2")),
        old(Token::of("sally")),
        old(Token::of("carol").claim("client_id", json!("app-7"))),
        old(Token::of("paul").claim("iss", json!(PARTNER))),
    ];
    let good = [
        signed(token("alice", "j3")),
        signed(token("alice", "j2").claim("iss", json!(PARTNER))),
        signed(Token::of("sally")),
        old(Token::of("carol").claim("client_id", json!("app-8"))),
        signed(Token::of("paul").claim("iss", json!(PARTNER))),
    ];
    for token in revoked.iter().chain(&good) {
        passes_everywhere(&mut clients, token);
    }
    let before = now - 50;
    server.set_answer(Answer::json(
        200,
        &json!({
            "version": 1,
            "tokens": ["j1", {"jti": "j2", "iss": "https://idp.demo"}, {"jti": "j3", "until": now - 10}],
            "subjects": [{"sub": "sally", "before": before}],
            "clients": [{"client_id": "app-7", "before": before}],
            "issuers": [{"iss": PARTNER, "before": before}],
        }),
    ));
    let started = Instant::now();
    becomes_refused_everywhere(&mut clients, &revoked[0]);
    println!("a new list took effect on both workers after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    for token in &revoked {
        refused_everywhere(&mut clients, token);
    }
    for token in &good {
        passes_everywhere(&mut clients, token);
    }
    // What is no longer in the list is no longer revoked.
    server.set_answer(Answer::json(200, &json!({"version": 1})));
    let lifted = || (0..CONNECTIONS).all(|_| status(&gateway, &revoked[0]) == 200);
    assert!(eventually(AFTER_AN_INTERVAL, lifted));
    gateway.check_unharmed().unwrap();
}

#[test]
fn one_worker_fetches_for_all_and_once_per_interval() {
    let server = list_server(&json!({"version": 1, "tokens": ["j1"]}));
    let gateway = builder(pulled(&[])).cluster("revoked", server.port()).start().unwrap();
    let mut clients = connections(&gateway);
    becomes_refused_everywhere(&mut clients, &signed(token("alice", "j1")));
    server.forget();
    let started = Instant::now();
    assert!(eventually(Duration::from_secs(12), || server.hits() >= 2));
    assert!(started.elapsed() > Duration::from_millis(4400), "{:?}", started.elapsed());
    let request = server.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/revoked.json"));
    assert!(request.header("authorization").is_none());
    let event = |event: &str| gateway.counter("portcullis_revocation", &[("event", event)]).unwrap();
    assert!(eventually(Duration::from_secs(5), || event("list_loaded") >= 2), "each worker has loaded one");
}

#[test]
fn a_server_that_is_down_leaves_the_list_in_force() {
    let server = list_server(&json!({"version": 1, "tokens": ["j1"]}));
    let gateway = builder(pulled(&[("max_age", json!("5s"))])).cluster("revoked", server.port()).start().unwrap();
    let mut clients = connections(&gateway);
    let (revoked, good) = (signed(token("alice", "j1")), signed(token("alice", "j2")));
    becomes_refused_everywhere(&mut clients, &revoked);
    server.stop();
    gateway.wait_for_log("revocation: the list cannot be fetched", AFTER_AN_INTERVAL).unwrap();
    // Well beyond `max_age`, which `keep` does not care for.
    thread::sleep(Duration::from_secs(6));
    refused_everywhere(&mut clients, &revoked);
    passes_everywhere(&mut clients, &good);
    gateway.check_unharmed().unwrap();
}

#[test]
fn without_any_list_keep_lets_good_tokens_pass_and_deny_does_not() {
    let gone = Service::plain("revoked").unwrap();
    let port = gone.port();
    gone.stop();
    let keep = builder(pulled(&[])).cluster("revoked", port).start().unwrap();
    let deny = builder(pulled(&[("on_error", json!("deny"))])).cluster("revoked", port).start().unwrap();
    let good = signed(Token::of("alice"));
    for _ in 0..5 {
        assert_eq!(status(&keep, &good), 200);
        let refused = call(&deny, &Call::get("/orders").bearer(&good));
        refusal::check(&refused, 503, "revocation_unavailable").unwrap();
        assert_eq!(refused.header("www-authenticate"), None, "not the token's fault");
    }
}

#[test]
fn with_deny_a_list_that_is_too_old_means_503_until_there_is_a_new_one() {
    let list = json!({"version": 1, "tokens": ["j1"]});
    let server = list_server(&list);
    let section = pulled(&[("on_error", json!("deny")), ("max_age", json!("6s"))]);
    let gateway = builder(section).cluster("revoked", server.port()).start().unwrap();
    let (revoked, good) = (signed(token("alice", "j1")), signed(token("alice", "j2")));
    let mut clients = connections(&gateway);
    becomes_refused_everywhere(&mut clients, &revoked);
    passes_everywhere(&mut clients, &good);
    server.set_answer(Answer::status(500));
    let unavailable = || (0..CONNECTIONS).all(|_| status(&gateway, &good) == 503);
    assert!(eventually(Duration::from_secs(20), unavailable));
    let response = call(&gateway, &Call::get("/orders").bearer(&good));
    refusal::check(&response, 503, "revocation_unavailable").unwrap();
    // Who sends no token is told as ever.
    refusal::check(&call(&gateway, &Call::get("/orders")), 401, "credentials_missing").unwrap();
    server.set_answer(Answer::json(200, &list));
    assert!(eventually(Duration::from_secs(20), || (0..CONNECTIONS).all(|_| status(&gateway, &good) == 200)));
    refused_everywhere(&mut clients, &revoked);
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_list_that_lies_never_replaces_a_good_one() {
    let server = list_server(&json!({"version": 1, "tokens": ["j1"]}));
    let section = pulled(&[("max_size", json!("64KiB")), ("max_entries", json!(100))]);
    let gateway = builder(section).cluster("revoked", server.port()).start().unwrap();
    let (revoked, good) = (signed(token("alice", "j1")), signed(token("alice", "j2")));
    let mut clients = connections(&gateway);
    becomes_refused_everywhere(&mut clients, &revoked);
    let raw = |body: &str| Answer { body: body.to_owned().into(), ..Answer::json(200, &json!({})) };
    let large: Vec<String> = (0..10_000).map(|index| format!("id-{index}")).collect();
    let many: Vec<String> = (0..101).map(|index| format!("id-{index}")).collect();
    let lies = [
        raw(""),
        raw("<html>maintenance</html>"),
        raw(r#"{"version":1,"tokens":["#),
        raw(r#"{"tokens":[]}"#),
        raw(r#"{"version":2,"tokens":["j2"]}"#),
        raw(r#"{"version":1,"token":["j2"]}"#),
        Answer::json(200, &json!({"version": 1, "tokens": large})),
        Answer::json(200, &json!({"version": 1, "tokens": many})),
    ];
    for (index, lie) in lies.into_iter().enumerate() {
        server.forget();
        server.set_answer(lie);
        assert!(eventually(Duration::from_secs(12), || server.hits() > 0), "no fetch of lie {index}");
        refused_everywhere(&mut clients, &revoked);
        passes_everywhere(&mut clients, &good);
    }
    server.set_answer(Answer::json(200, &json!({"version": 1, "tokens": ["j2"]})));
    becomes_refused_everywhere(&mut clients, &good);
    let failed = gateway.counter("portcullis_revocation", &[("event", "fetch_failed")]).unwrap();
    assert!(failed >= 8, "{failed}");
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_hundred_thousand_entries_load_while_requests_go_on() {
    const ENTRIES: usize = 100_000;
    let server = list_server(&json!({"version": 1}));
    let gateway = builder(pulled(&[])).cluster("revoked", server.port()).start().unwrap();
    let good = signed(token("alice", "not listed"));
    let revoked = signed(token("alice", "00000000-0000-4000-8000-000000077777"));
    let mut clients = connections(&gateway);
    passes_everywhere(&mut clients, &good);
    passes_everywhere(&mut clients, &revoked);
    let mut measured = |rounds: usize| {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..rounds {
            for client in &mut clients {
                let started = Instant::now();
                let status = client.call(&Call::get("/orders").bearer(&good)).unwrap().status;
                times.push(started.elapsed());
                assert_eq!(status, 200);
            }
        }
        times.sort();
        (times[times.len() / 2], times[times.len() - 1])
    };
    let without = measured(40);
    let ids: Vec<String> = (0..ENTRIES).map(|index| format!("00000000-0000-4000-8000-{index:012}")).collect();
    let list = json!({"version": 1, "tokens": ids});
    println!("{ENTRIES} entries, {} bytes", list.to_string().len());
    server.forget();
    server.set_answer(Answer::json(200, &list));
    let (mut slowest, started) = (Duration::ZERO, Instant::now());
    let all_refuse = || (0..CONNECTIONS).all(|_| status(&gateway, &revoked) == 401);
    let mut fetched_at = None;
    while !all_refuse() {
        slowest = slowest.max(measured(1).1);
        if fetched_at.is_none() && server.hits() > 0 {
            fetched_at = Some(Instant::now());
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the list did not load: {}", gateway.log());
    }
    let loaded = fetched_at.map(|at| at.elapsed());
    let with = measured(40);
    println!("from the fetch to both workers: {loaded:?}; slowest request meanwhile {slowest:?}");
    println!("median and slowest request: {without:?} without, {with:?} with the list");
    gateway.check_unharmed().unwrap();
}
