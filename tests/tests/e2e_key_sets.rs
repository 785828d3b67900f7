//! Key sets in the real Envoy with two workers: slow, down, lying and rotating providers, and many requests at once.
//!
//! Each test has a gateway and a provider of its own; they run side by side.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "and so has one that finds less than it looks for")]

use std::thread;
use std::time::{Duration, Instant};

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::{Builder, Gateway};
use portcullis_tests::idp::Idp;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::server::{Answer, Stall};
use portcullis_tests::{eventually, filter, refusal};
use serde_json::{Value, json};

/// The shortest refresh that there is.
const REFRESH: &str = "5s";
/// A refresh, the tick of a worker that notices late, and a slow machine.
const AFTER_A_REFRESH: Duration = Duration::from_secs(15);

fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::Es256, kid)
}

fn configuration(change: &[(&str, Value)]) -> Value {
    let mut source = json!({
        "cluster": "idp", "path": "/jwks.json", "refresh": REFRESH, "unknown_kid_cooldown": "30s", "timeout": "1s",
    });
    for (name, value) in change {
        source[name] = value.clone();
    }
    let mut configuration = filter::guarded(filter::provider(&["ES256"], source));
    configuration["max_wait"] = json!("2s");
    configuration
}

fn builder(configuration: Value) -> Builder {
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    Gateway::builder().filter(configuration).route(passed)
}

fn get(gateway: &Gateway, token: &str) -> Response {
    Client::connect(gateway.port()).unwrap().call(&Call::get("/orders").bearer(token)).unwrap()
}

/// So many connections that both workers have some: that all fall to one has a chance of one in two thousand million.
const CONNECTIONS: usize = 32;

/// What each of them says.
fn on_both_workers(gateway: &Gateway, token: &str) -> Vec<u16> {
    (0..CONNECTIONS).map(|_| get(gateway, token).status).collect()
}

fn all_become(gateway: &Gateway, token: &str, status: u16, patience: Duration) {
    let agreed = || on_both_workers(gateway, token).iter().all(|seen| *seen == status);
    assert!(eventually(patience, agreed), "not all {status}: {:?}", on_both_workers(gateway, token));
}

/// As many requests at the same moment, each on a connection of its own.
fn at_once(gateway: &Gateway, tokens: Vec<String>) -> Vec<Response> {
    let port = gateway.port();
    let clients: Vec<_> = tokens.into_iter().map(|token| (Client::connect(port).unwrap(), token)).collect();
    let threads = clients
        .into_iter()
        .map(|(mut client, token)| thread::spawn(move || client.call(&Call::get("/orders").bearer(&token)).unwrap()));
    let threads: Vec<_> = threads.collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn requests_that_come_before_the_first_key_set_wait_for_it() {
    let (key, stranger) = (key("k1"), key("k1"));
    let idp = Idp::plain(&jwks([&key])).unwrap();
    idp.jwks().set_delay(Duration::from_millis(700));
    let gateway = builder(configuration(&[])).idp(&idp).start().unwrap();
    let good = Token::of("alice").sign(&key);
    let forged = Token::of("alice").sign(&stranger);
    let tokens = (0..20).map(|index| if index % 4 == 3 { forged.clone() } else { good.clone() }).collect();
    let answers = at_once(&gateway, tokens);
    for (index, answer) in answers.iter().enumerate() {
        match index % 4 {
            3 => refusal::check(answer, 401, "token_signature_invalid").unwrap(),
            _ => assert_eq!(answer.status, 200, "{}", answer.text()),
        }
    }
    assert_eq!(idp.jwks().hits(), 1, "one fetch for both workers");
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_provider_that_is_down_at_the_start_means_503_and_recovers_without_a_restart() {
    let key = key("k1");
    let idp = Idp::plain(&jwks([&key])).unwrap();
    idp.jwks().set_stall(Stall::BeforeHead);
    let gateway = builder(configuration(&[])).idp(&idp).start().unwrap();
    let good = Token::of("alice").sign(&key);
    let started = Instant::now();
    let answer = get(&gateway, &good);
    refusal::check(&answer, 503, "keys_unavailable").unwrap();
    assert_eq!(answer.header("www-authenticate"), None, "not the token's fault");
    assert!(started.elapsed() < Duration::from_secs(10));
    // A forged token gets no other answer: nobody can tell.
    refusal::check(&get(&gateway, &Token::of("eve").sign(&self::key("k1"))), 503, "keys_unavailable").unwrap();
    gateway.wait_for_log("provider corp: the key set cannot be fetched", Duration::from_secs(5)).unwrap();
    idp.jwks().set_json(&jwks([&key]));
    all_become(&gateway, &good, 200, AFTER_A_REFRESH);
    gateway.check_unharmed().unwrap();
}

#[test]
fn the_places_to_wait_are_bounded_and_a_client_that_leaves_frees_its_own() {
    let key = key("k1");
    let idp = Idp::plain(&jwks([&key])).unwrap();
    idp.jwks().set_stall(Stall::BeforeHead);
    let mut configuration = configuration(&[("timeout", json!("20s"))]);
    configuration["max_waiting"] = json!(2);
    configuration["max_wait"] = json!("30s");
    let gateway = builder(configuration).idp(&idp).workers(1).start().unwrap();
    let good = Call::get("/orders").bearer(&Token::of("alice").sign(&key));
    let wait = || gateway.send(&good).unwrap();
    let active = || gateway.stat("http.test.downstream_rq_active").unwrap();
    let (first, mut second) = (wait(), wait());
    assert!(eventually(Duration::from_secs(5), || active() == 2));
    let full = Client::connect(gateway.port()).unwrap().call(&good).unwrap();
    refusal::check(&full, 503, "keys_waiters_full").unwrap();
    drop(first);
    assert!(eventually(Duration::from_secs(5), || active() == 1));
    let mut third = wait();
    assert!(eventually(Duration::from_secs(5), || active() == 2), "the place of the client that left is free");
    idp.jwks().set_json(&jwks([&key]));
    drop(idp);
    // The fetch under way ends without an answer; nobody is left hanging.
    for client in [&mut second, &mut third] {
        refusal::check(&client.read(false).unwrap(), 503, "keys_unavailable").unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(active(), 0);
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_provider_that_lies_changes_nothing() {
    let key = key("k1");
    let idp = Idp::plain(&jwks([&key])).unwrap();
    let configuration = configuration(&[("refresh", json!("10m")), ("unknown_kid_cooldown", json!("1s"))]);
    let gateway = builder(configuration).idp(&idp).start().unwrap();
    let good = Token::of("alice").sign(&key);
    all_become(&gateway, &good, 200, Duration::from_secs(5));
    let stranger = Token::of("eve").sign(&self::key("unknown"));
    let huge = format!("{{\"keys\": [], \"pad\": \"{}\"}}", "x".repeat(400 << 10));
    let text = |body: &str| Answer { body: body.to_owned().into(), ..Answer::status(200) };
    let lies = [
        ("status 500", Answer::status(500)),
        ("is not strict JSON", text("<html>Sign in</html>")),
        ("longer than", text(&huge)),
        ("no usable key", Answer::json(200, &json!({"keys": []}))),
        ("no usable key", Answer::json(200, &json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}))),
        ("no array `keys`", Answer::json(200, &json!({"key": "value"}))),
        ("is not strict JSON", Answer::json(200, &json!([]))),
        ("status 302", Answer { headers: vec![("location".into(), "/jwks.json?2".into())], ..Answer::status(302) }),
        ("status 204", Answer::status(204)),
    ];
    for (complaint, lie) in lies {
        let seen = gateway.log().matches("cannot be fetched").count();
        idp.jwks().set_answer(lie);
        // An unknown key id makes the gateway ask; what the lie says about that key is no answer.
        let asked = || {
            let answer = get(&gateway, &stranger);
            answer.status == 503 && refusal::check(&answer, 503, "keys_unavailable").is_ok()
        };
        assert!(eventually(AFTER_A_REFRESH, asked), "{complaint}: nobody asked");
        let log = gateway.log();
        let complaints: Vec<&str> = log.lines().filter(|line| line.contains("cannot be fetched")).skip(seen).collect();
        assert!(
            !complaints.is_empty() && complaints.iter().all(|line| line.contains(complaint)),
            "{complaint}: {complaints:?}"
        );
        assert_eq!(on_both_workers(&gateway, &good), [200; CONNECTIONS], "{complaint}");
        // The truth ends the row of failures.
        idp.jwks().set_json(&jwks([&key]));
        assert!(eventually(AFTER_A_REFRESH, || get(&gateway, &stranger).status == 401), "{complaint}: no recovery");
    }
    gateway.check_unharmed().unwrap();
}

#[test]
fn keys_are_kept_while_the_provider_is_down_and_no_longer_than_that() {
    let key = key("k1");
    let idp = Idp::plain(&jwks([&key])).unwrap();
    let gateway =
        builder(configuration(&[("keep_stale", json!("14s")), ("timeout", json!("100ms"))])).idp(&idp).start().unwrap();
    let good = Token::of("alice").sign(&key);
    all_become(&gateway, &good, 200, Duration::from_secs(5));
    let since = Instant::now();
    idp.jwks().set_answer(Answer::status(503));
    gateway.wait_for_log("past its refresh and still used", Duration::from_secs(20)).unwrap();
    assert_eq!(on_both_workers(&gateway, &good), [200; CONNECTIONS]);
    // New tokens too: it is the keys that are kept, not the verdicts.
    assert_eq!(on_both_workers(&gateway, &Token::of("bob").sign(&key)), [200; CONNECTIONS]);
    // Nobody knows of a new key now: it is not the token's fault.
    refusal::check(&get(&gateway, &Token::of("bob").sign(&self::key("k2"))), 503, "keys_unavailable").unwrap();
    all_become(&gateway, &good, 503, Duration::from_secs(30));
    assert!(since.elapsed() > Duration::from_secs(8), "dropped after {:?}", since.elapsed());
    gateway.wait_for_log("too old and no longer used", Duration::from_secs(5)).unwrap();
    idp.jwks().set_json(&jwks([&key]));
    all_become(&gateway, &good, 200, AFTER_A_REFRESH);
}

#[test]
fn a_new_key_is_taken_after_one_fetch_however_many_ask_for_it() {
    let (old, new) = (key("old"), key("new"));
    let idp = Idp::plain(&jwks([&old])).unwrap();
    let gateway = builder(configuration(&[("refresh", json!("10m"))])).idp(&idp).start().unwrap();
    all_become(&gateway, &Token::of("alice").sign(&old), 200, Duration::from_secs(5));
    assert_eq!(idp.jwks().hits(), 1);
    // Slow, so that the herd is there before the answer.
    idp.jwks().set_answer(Answer { delay: Duration::from_millis(500), ..Answer::json(200, &jwks([&old, &new])) });
    idp.jwks().forget();
    let herd = (0..50).map(|index| Token::of(&format!("user-{index}")).sign(&new)).collect();
    let answers = at_once(&gateway, herd);
    assert!(answers.iter().all(|answer| answer.status == 200), "{:?}", answers.iter().find(|a| a.status != 200));
    assert_eq!(idp.jwks().hits(), 1, "one fetch for the whole herd");
    // Both generations are good, on both workers.
    assert_eq!(on_both_workers(&gateway, &Token::of("alice").sign(&old)), [200; CONNECTIONS]);
    assert_eq!(on_both_workers(&gateway, &Token::of("bob").sign(&new)), [200; CONNECTIONS]);
    // Strangers' kids, each another one, cause no further fetch within the cooldown.
    let strangers = (0..50).map(|index| Token::of("eve").sign(&key(&format!("made-up-{index}")))).collect();
    for answer in at_once(&gateway, strangers) {
        refusal::check(&answer, 401, "token_key_unknown").unwrap();
    }
    assert_eq!(idp.jwks().hits(), 1, "within the cooldown nobody is asked");
    gateway.check_unharmed().unwrap();
}

#[test]
fn a_withdrawn_key_is_refused_after_a_refresh_from_the_cache_too() {
    let (old, new) = (key("old"), key("new"));
    let idp = Idp::plain(&jwks([&old, &new])).unwrap();
    let gateway = builder(configuration(&[])).idp(&idp).start().unwrap();
    let (leaked, good) = (Token::of("alice").sign(&old), Token::of("alice").sign(&new));
    all_become(&gateway, &leaked, 200, Duration::from_secs(5));
    assert_eq!(on_both_workers(&gateway, &good), [200; CONNECTIONS]);
    idp.jwks().set_json(&jwks([&new]));
    all_become(&gateway, &leaked, 401, AFTER_A_REFRESH);
    refusal::check(&get(&gateway, &leaked), 401, "token_key_unknown").unwrap();
    assert_eq!(on_both_workers(&gateway, &good), [200; CONNECTIONS]);
    // The same kid with another key is another key.
    let replaced = key("new");
    idp.jwks().set_json(&jwks([&replaced]));
    all_become(&gateway, &good, 401, AFTER_A_REFRESH);
    assert_eq!(on_both_workers(&gateway, &Token::of("alice").sign(&replaced)), [200; CONNECTIONS]);
}

#[test]
fn a_cluster_that_does_not_exist_means_503_and_a_clear_line_in_the_log() {
    let key = key("k1");
    let idp = Idp::plain(&jwks([&key])).unwrap();
    let mut gateway = builder(configuration(&[("cluster", json!("ipd"))])).idp(&idp).start().unwrap();
    let good = Token::of("alice").sign(&key);
    for _ in 0..3 {
        refusal::check(&get(&gateway, &good), 503, "keys_unavailable").unwrap();
    }
    gateway.wait_for_log("cluster \"ipd\" cannot be called", Duration::from_secs(5)).unwrap();
    assert!(gateway.envoy_mut().is_running().unwrap());
    gateway.check_unharmed().unwrap();
}
