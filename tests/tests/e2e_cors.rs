//! CORS in the real Envoy: preflights that never reach a service, and answers that a page can read.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::sync::LazyLock;

use bytes::Bytes;
use portcullis_tests::client::{Call, Client, Response, call_h2};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::server::Answer;
use portcullis_tests::services::Service;
use portcullis_tests::{filter, refusal};
use serde_json::json;

const APP: &str = "https://app.example.com";

struct World {
    gateway: Gateway,
    service: Service,
    key: SigningKey,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let service = Service::plain("orders").unwrap();
    // A service with its own idea of CORS.
    service.set_answer(Answer {
        headers: vec![
            ("access-control-allow-origin".into(), "*".into()),
            ("access-control-allow-credentials".into(), "true".into()),
            ("access-control-allow-private-network".into(), "true".into()),
            ("vary".into(), "accept-encoding".into()),
            ("x-total".into(), "7".into()),
        ],
        body: Bytes::from_static(b"orders"),
        ..Answer::status(200)
    });
    let cors = json!({"origins": [APP], "expose": ["x-total", "retry-after"], "credentials": true});
    let configuration = json!({
        "version": 1,
        "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&key])}))},
        "limits": {"few": {"key": "principal", "rate": "1/h", "burst": 2}},
        "rules": [
            {"name": "down", "match": {"prefix": "/down"}, "allow": "public", "cors": cors},
            {"name": "limited", "match": {"path": "/orders/limited"}, "require": "corp", "limits": ["few"], "cors": cors},
            {"name": "orders", "match": {"prefix": "/orders", "methods": ["GET", "PUT"]}, "require": "corp", "cors": cors},
            {"name": "rest", "match": {}, "require": "corp"},
        ],
    });
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let down = json!({"name": "down", "match": {"prefix": "/down"}, "route": {"cluster": "down"}});
    let gateway = Gateway::builder().filter(configuration).service(&service).cluster("down", nobody).route(down);
    World { gateway: gateway.start().unwrap(), service, key }
});

fn send(call: &Call) -> Response {
    Client::connect(WORLD.gateway.port()).unwrap().call(call).unwrap()
}

fn preflight(path: &str, origin: &str, method: &str) -> Call {
    Call::new("OPTIONS", path).header("origin", origin).header("access-control-request-method", method)
}

fn values<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    response.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_preflight_is_answered_without_a_credential_and_without_the_service() {
    let call = preflight("/orders/1", APP, "PUT").header("access-control-request-headers", "authorization");
    for response in [send(&call), call_h2(WORLD.gateway.port(), None, &call).unwrap()] {
        assert_eq!((response.status, response.body.len()), (204, 0), "{}", response.text());
        assert_eq!(values(&response, "access-control-allow-origin"), [APP]);
        assert_eq!(values(&response, "access-control-allow-credentials"), ["true"]);
        assert_eq!(values(&response, "access-control-allow-methods"), ["PUT"]);
        assert_eq!(values(&response, "access-control-allow-headers"), ["authorization, content-type"]);
        assert_eq!(values(&response, "access-control-max-age"), ["600"]);
        assert!(values(&response, "vary").concat().contains("origin"));
        assert!(response.header("access-control-allow-private-network").is_none());
        assert!(response.header("www-authenticate").is_none());
    }
    let asked = send(&call.clone().header("access-control-request-private-network", "true"));
    assert!(asked.header("access-control-allow-private-network").is_none(), "never given");
    assert!(WORLD.service.requests().iter().all(|request| request.method != "OPTIONS"));
}

#[test]
fn a_preflight_of_another_origin_is_refused_and_one_of_another_method_is_a_request_like_any_other() {
    let response = send(&preflight("/orders/1", "https://evil.example", "GET"));
    refusal::check(&response, 403, "cors_origin_denied").unwrap();
    assert!(response.header("access-control-allow-origin").is_none());
    for path in ["/orders/1", "/inner", "/nothing"] {
        let response = send(&preflight(path, APP, "DELETE"));
        refusal::check(&response, 401, "credentials_missing").unwrap();
        assert!(response.header("access-control-allow-origin").is_none());
    }
}

#[test]
fn the_connection_lives_on_after_a_preflight() {
    let mut client = Client::connect(WORLD.gateway.port()).unwrap();
    for _ in 0..3 {
        assert_eq!(client.call(&preflight("/orders/1", APP, "GET")).unwrap().status, 204);
        let token = Token::of("alice").sign(&WORLD.key);
        let response = client.call(&Call::get("/orders/1").header("origin", APP).bearer(&token)).unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "orders"));
    }
}

#[test]
fn the_response_says_once_who_may_read_it() {
    let token = Token::of("bob").sign(&WORLD.key);
    let response = send(&Call::get("/orders/1").header("origin", APP).bearer(&token));
    assert_eq!(response.status, 200);
    assert_eq!(values(&response, "access-control-allow-origin"), [APP]);
    assert_eq!(values(&response, "access-control-allow-credentials"), ["true"]);
    assert_eq!(values(&response, "access-control-expose-headers"), ["x-total, retry-after"]);
    assert!(response.header("access-control-allow-private-network").is_none());
    let vary = values(&response, "vary").join(", ");
    assert!(vary.contains("accept-encoding") && vary.contains("origin"), "{vary}");
    // Another origin, or none: the service's permission is gone.
    for call in [Call::get("/orders/1").header("origin", "https://evil.example"), Call::get("/orders/1")] {
        let response = send(&call.bearer(&token));
        assert_eq!(response.status, 200);
        assert!(response.header("access-control-allow-origin").is_none());
        assert!(response.header("access-control-allow-credentials").is_none());
        assert!(values(&response, "vary").join(", ").contains("origin"));
    }
}

#[test]
fn a_page_can_read_why_it_was_refused() {
    let response = send(&Call::get("/orders/1").header("origin", APP));
    refusal::check(&response, 401, "credentials_missing").unwrap();
    assert_eq!(values(&response, "access-control-allow-origin"), [APP]);
    assert_eq!(values(&response, "vary"), ["origin"]);
    let token = Token::of("carol").sign(&WORLD.key);
    let call = Call::get("/orders/limited").header("origin", APP).bearer(&token);
    let answers: Vec<_> = (0..3).map(|_| send(&call)).collect();
    let last = answers.last().unwrap();
    refusal::check(last, 429, "limit_exceeded").unwrap();
    assert_eq!(values(last, "access-control-allow-origin"), [APP]);
    let other = send(&Call::get("/orders/1").header("origin", "https://evil.example"));
    refusal::check(&other, 401, "credentials_missing").unwrap();
    assert!(other.header("access-control-allow-origin").is_none());
}

#[test]
fn an_answer_of_envoy_itself_can_be_read_too() {
    let response = send(&Call::get("/down").header("origin", APP));
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(values(&response, "access-control-allow-origin"), [APP]);
}

#[test]
fn nothing_was_harmed() {
    for origin in ["", "null", "*", "https://", "\u{e9}", &"x".repeat(5000)] {
        for call in [preflight("/orders/1", origin, "GET"), preflight("/orders/1", APP, origin)] {
            let status = send(&call).status;
            assert!([204, 400, 401, 403].contains(&status), "{origin:?}: {status}");
        }
    }
    WORLD.gateway.check_unharmed().unwrap();
}
