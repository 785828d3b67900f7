//! Every verdict as a client, an operator's log and an operator's dashboard see it, in the real Envoy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "and so has one that finds less than it looks for")]

use std::sync::LazyLock;
use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response, call_h2};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, filter, refusal};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

struct World {
    gateway: Gateway,
    key: SigningKey,
    _orders: Service,
}

/// The first port of all: nothing listens there.
const CLOSED_PORT: u16 = 1;

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let mut corp = filter::provider(&["ES256"], json!({"inline": jwks([&key])}));
    corp["token_from"] = json!([{"header": "authorization", "scheme": "Bearer"}, {"query": "access_token"}]);
    let gone = filter::provider(&["ES256"], json!({"cluster": "closed", "path": "/jwks.json"}));
    let configuration = json!({
        "version": 1,
        "providers": {"corp": corp, "gone": gone},
        "limits": {"once": {"key": "ip", "rate": "1/h", "burst": 1}},
        "policies": {
            "user": {"require": {"any": ["corp"]}},
            "orders": {"extends": "user", "scopes": {"all": ["read_orders", "see_orders"]}},
        },
        "defaults": {"policy": "user"},
        "max_wait": "200ms",
        "answers": {"realm": "orders"},
        "rules": [
            {"name": "open", "match": {"path": "/orders/open"}, "allow": "public"},
            {"name": "any_user", "match": {"path": "/orders/user"}},
            {"name": "closed", "match": {"path": "/orders/closed"}, "allow": "nobody"},
            {"name": "once", "match": {"path": "/orders/once"}, "allow": "public", "limits": ["once"]},
            {"name": "gone", "match": {"path": "/orders/gone"}, "require": {"any": ["gone"]}},
            {"name": "audited", "match": {"path": "/orders/audited"}, "audit": {"sample_allowed": "100%"}},
            {"name": "sampled", "match": {"path": "/orders/sampled"}, "allow": "public", "audit": {"sample_allowed": "1/2"}},
            {"name": "needs_header", "match": {"path": "/orders/header"}, "allow": "public",
             "headers": {"require": ["x-tenant"]}},
            {"name": "orders", "match": {"prefix": "/orders"}, "use": "orders"},
        ],
    });
    let orders = Service::plain("orders").unwrap();
    let builder = Gateway::builder().filter(configuration).service(&orders).cluster("closed", CLOSED_PORT);
    World { gateway: builder.access_log().start().unwrap(), key, _orders: orders }
});

fn call(call: &Call) -> Response {
    Client::connect(WORLD.gateway.port()).unwrap().call(call).unwrap()
}

fn token() -> String {
    Token::of("alice").scope("read_orders").sign(&WORLD.key)
}

fn altered(token: &str) -> String {
    let (input, _) = token.rsplit_once('.').unwrap();
    let (_, signature) =
        Token::of("bob").sign(&WORLD.key).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    format!("{input}.{signature}")
}

/// The line of the access log about the request with this id.
fn access_line(request_id: &str) -> Value {
    let find = || {
        let log = WORLD.gateway.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["access"] == "end").find(|line| line["request"] == request_id)
    };
    assert!(eventually(Duration::from_secs(5), || find().is_some()), "no access log line for {request_id}");
    find().unwrap()
}

fn counter(rule: &str, reason: &str, verdict: &str) -> u64 {
    let labels = [("rule", rule), ("reason", reason), ("verdict", verdict)];
    WORLD.gateway.counter("portcullis_decisions", &labels).unwrap()
}

/// One refusal and all that is to be seen of it.
struct Case {
    call: Call,
    status: u16,
    reason: &'static str,
    rule: &'static str,
    challenge: Option<&'static str>,
    user: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let case = |call, status, reason, rule| Case { call, status, reason, rule, challenge: None, user: None };
    let get = Call::get;
    vec![
        case(get("/orders/..%2Freports"), 400, "path_encoded_slash", "none"),
        case(get("/orders/header"), 400, "header_missing", "needs_header"),
        Case {
            challenge: Some(
                r#"Bearer realm="orders", error="invalid_request", error_description="the credentials are malformed""#,
            ),
            ..case(get("/orders/user").header("authorization", "Bearer a b"), 400, "credentials_malformed", "any_user")
        },
        Case {
            challenge: Some(r#"Bearer realm="orders""#),
            ..case(get("/orders/user"), 401, "credentials_missing", "any_user")
        },
        Case {
            challenge: Some(
                r#"Bearer realm="orders", error="invalid_token", error_description="the token is not accepted""#,
            ),
            ..case(get("/orders/user").bearer(&altered(&token())), 401, "token_signature_invalid", "any_user")
        },
        Case {
            challenge: Some(
                r#"Bearer realm="orders", error="invalid_token", error_description="the token has expired""#,
            ),
            ..case(
                get(&format!("/orders/user?access_token={}", Token::of("alice").expires_in(-100).sign(&WORLD.key))),
                401,
                "token_expired",
                "any_user",
            )
        },
        Case {
            challenge: Some(
                "Bearer realm=\"orders\", error=\"insufficient_scope\", \
                 error_description=\"the token lacks a required scope\", scope=\"read_orders see_orders\"",
            ),
            user: Some("alice"),
            ..case(get("/orders/17").bearer(&token()), 403, "scope_insufficient", "orders")
        },
        case(get("/orders/closed"), 403, "rule_denied", "closed"),
        case(get("/nowhere"), 404, "route_unmatched", "none"),
        case(get("/orders/gone").bearer(&token()), 503, "keys_unavailable", "gone"),
    ]
}

/// No token that the tests of this file sent is in the log, nor any part of a signature that is long enough to be told
/// from chance.
fn assert_no_token_in_log(tokens: &[String]) {
    let log = WORLD.gateway.log();
    for token in tokens {
        for part in token.split('.') {
            let pieces = (0..part.len().saturating_sub(12)).map(|start| &part[start..start + 12]);
            if let Some(piece) = pieces.into_iter().find(|piece| log.contains(*piece)) {
                panic!("a piece of a token is in the log: {piece}");
            }
        }
    }
}

#[test]
fn every_refusal_has_its_status_challenge_document_details_and_audit_line() {
    let mut tokens = Vec::new();
    for case in cases() {
        let response = call(&case.call);
        refusal::check(&response, case.status, case.reason).unwrap();
        assert_eq!(response.header("www-authenticate"), case.challenge, "{}", case.reason);
        let id = response.header("x-request-id").unwrap();
        let access = access_line(id);
        assert_eq!(access["details"], format!("portcullis_{}", case.reason));
        assert_eq!(access["status"], case.status);
        let event = WORLD.gateway.audit_of(id).unwrap();
        assert_eq!(event["event.action"], "request_denied");
        assert_eq!(event["event.reason"], case.reason);
        assert_eq!(event["rule.name"], case.rule, "{}", case.reason);
        assert_eq!(event["http.request.method"], "GET");
        assert_eq!(event["http.response.status_code"], case.status);
        assert_eq!(event["source.ip"], "127.0.0.1");
        assert_eq!(event["user.id"].as_str(), case.user);
        assert_eq!(event["url.path"].as_str(), access["path"].as_str());
        let text = String::from_utf8(case.call.to_bytes()).unwrap();
        tokens.extend(
            text.split([' ', '=', '\r', '\n']).filter(|word| word.matches('.').count() == 2).map(str::to_owned),
        );
        let counted = || counter(case.rule, case.reason, "denied") > 0;
        assert!(eventually(Duration::from_secs(5), counted), "{} is not counted", case.reason);
    }
    tokens.retain(|word| word.starts_with("ey"));
    assert_eq!(tokens.len(), 4);
    assert_no_token_in_log(&tokens);
    WORLD.gateway.check_unharmed().unwrap();
}

#[test]
fn a_used_up_limit_is_answered_with_429_and_says_when_to_come_back() {
    assert_eq!(call(&Call::get("/orders/once")).status, 200);
    let response = call(&Call::get("/orders/once"));
    refusal::check(&response, 429, "limit_exceeded").unwrap();
    let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    assert_eq!(response.header("www-authenticate"), None);
    let id = response.header("x-request-id").unwrap();
    assert_eq!(access_line(id)["details"], "portcullis_limit_exceeded");
    assert_eq!(WORLD.gateway.audit_of(id).unwrap()["rule.name"], "once");
}

#[test]
fn what_passes_reaches_the_service_and_is_counted_by_its_rule() {
    let before = counter("open", "ok", "allowed");
    for _ in 0..3 {
        let response = call(&Call::get("/orders/open"));
        assert_eq!((response.status, response.json()["service"].as_str()), (200, Some("orders")));
    }
    assert!(eventually(Duration::from_secs(5), || counter("open", "ok", "allowed") == before + 3));
    let response = call(&Call::get("/orders/user").bearer(&token()));
    assert_eq!(response.upstream_header("x-user"), ["alice"]);
    let id = response.upstream_header("x-request-id").remove(0);
    // The log is written in order: once a later refusal is there, this one's line would be too.
    let later = call(&Call::get("/orders/user"));
    WORLD.gateway.audit_of(later.header("x-request-id").unwrap()).unwrap();
    let events = WORLD.gateway.audit();
    assert!(events.iter().all(|event| event["http.request.id"] != *id), "what passes has no audit line");
}

#[test]
fn an_allowed_request_of_the_sample_has_an_event_of_the_same_names() {
    let token = token();
    let response = call(&Call::get("/orders/audited?secret=1").bearer(&token));
    assert_eq!(response.status, 200, "{}", response.text());
    let id = response.header("x-request-id").unwrap();
    let event = WORLD.gateway.audit_of(id).unwrap();
    let expected = json!({
        "@timestamp": event["@timestamp"], "event.kind": "event", "event.action": "request_allowed", "event.reason": "ok",
        "rule.name": "audited", "http.request.method": "GET", "url.path": "/orders/audited", "source.ip": "127.0.0.1",
        "user.id": "alice", "portcullis.provider": "corp", "http.request.id": id, "portcullis.sample": 1.0,
    });
    assert_eq!(event, expected);
    assert_no_token_in_log(&[token]);
    // A refusal has the one event that it always has.
    let refused = call(&Call::get("/orders/audited"));
    let event = WORLD.gateway.audit_of(refused.header("x-request-id").unwrap()).unwrap();
    assert_eq!(event["event.action"], "request_denied");
}

#[test]
fn the_sample_is_chosen_by_the_request_id_in_every_worker() {
    let ids: Vec<String> =
        (0..40).map(|_| call(&Call::get("/orders/sampled")).header("x-request-id").unwrap().to_owned()).collect();
    // Written in order by each worker: once the last refusals are there, so are these.
    for _ in 0..4 {
        WORLD.gateway.audit_of(call(&Call::get("/orders/user")).header("x-request-id").unwrap()).unwrap();
    }
    let is_chosen = |id: &&String| digest(&SHA256, id.as_bytes()).as_ref()[0] < 0x80;
    let expected: Vec<&String> = ids.iter().filter(is_chosen).collect();
    let events = WORLD.gateway.audit();
    let has_event = |id: &&String| events.iter().any(|event| event["http.request.id"] == id.as_str());
    assert_eq!(ids.iter().filter(has_event).collect::<Vec<_>>(), expected);
    assert!(!expected.is_empty() && expected.len() < ids.len(), "{expected:?}");
}

#[test]
fn a_head_request_is_refused_with_the_same_head_and_no_body() {
    let mut client = Client::connect(WORLD.gateway.port()).unwrap();
    for _ in 0..2 {
        let response = client.call(&Call::new("HEAD", "/orders/user")).unwrap();
        assert_eq!((response.status, response.body.len()), (401, 0));
        assert_eq!(response.header("www-authenticate"), Some(r#"Bearer realm="orders""#));
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
    }
}

#[test]
fn a_refusal_keeps_the_connection_in_step() {
    let mut client = Client::connect(WORLD.gateway.port()).unwrap();
    for _ in 0..3 {
        refusal::check(&client.call(&Call::get("/orders/user")).unwrap(), 401, "credentials_missing").unwrap();
        assert_eq!(client.call(&Call::get("/orders/open")).unwrap().status, 200);
    }
}

#[test]
fn http2_gets_the_same_refusals() {
    for case in cases() {
        let response = call_h2(WORLD.gateway.port(), None, &case.call).unwrap();
        refusal::check(&response, case.status, case.reason).unwrap();
        assert_eq!(response.header("www-authenticate"), case.challenge, "{}", case.reason);
    }
}

#[test]
fn a_grpc_call_is_refused_in_grpcs_own_way() {
    // UNAUTHENTICATED and PERMISSION_DENIED of gRPC.
    for (token, code, challenge) in [(None, "16", "Bearer realm"), (Some(token()), "7", "insufficient_scope")] {
        let mut call =
            Call::new("POST", "/orders/Query").header("content-type", "application/grpc").header("te", "trailers");
        if let Some(token) = token {
            call = call.bearer(&token);
        }
        let response = call_h2(WORLD.gateway.port(), None, &call).unwrap();
        assert_eq!((response.status, response.header("grpc-status")), (200, Some(code)), "{response:?}");
        assert!(response.header("www-authenticate").unwrap().contains(challenge), "{response:?}");
        assert_eq!(response.header("content-type"), Some("application/grpc"), "{response:?}");
    }
}

#[test]
fn a_body_that_is_still_coming_does_not_change_the_refusal() {
    let call = Call::new("POST", "/orders/17").bearer(&altered(&token())).body(vec![b'x'; 300_000]);
    refusal::check(&self::call(&call), 401, "token_signature_invalid").unwrap();
    let mut client = Client::connect(WORLD.gateway.port()).unwrap();
    let head = Call::new("POST", "/orders/17").header("transfer-encoding", "chunked").to_bytes();
    client.send(&head).unwrap();
    refusal::check(&client.read(false).unwrap(), 401, "credentials_missing").unwrap();
}
