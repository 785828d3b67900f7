//! What responses look like behind the real Envoy, and which of it is Envoy's own to say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use bytes::Bytes;
use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::{Builder, Gateway};
use portcullis_tests::refusal;
use portcullis_tests::server::Answer;
use portcullis_tests::services::Service;
use serde_json::{Value, json};

/// A service that tells all about itself.
fn talkative() -> Service {
    let service = Service::plain("orders").unwrap();
    let headers = [
        ("server", "Apache/2.4.1 (Unix) PHP/8.1"),
        ("x-powered-by", "PHP/8.1"),
        ("x-aspnet-version", "4.0.30319"),
        ("x-runtime", "0.0123"),
        ("x-inner", "10.0.0.7"),
        ("x-frame-options", "SAMEORIGIN"),
    ];
    service.set_answer(Answer {
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Bytes::from_static(b"orders"),
        ..Answer::status(200)
    });
    service
}

fn configuration() -> Value {
    json!({
        "version": 1,
        "defaults": {"responses": {"security_headers": true, "hide": ["x-inner"]}},
        "rules": [
            {"name": "nobody", "match": {"prefix": "/orders/nobody"}, "allow": "nobody"},
            {"name": "off", "match": {"prefix": "/orders/off"}, "allow": "public", "responses": {"security_headers": false}},
            {"name": "own", "match": {"prefix": "/orders/own"}, "allow": "public",
             "responses": {"security_headers": true, "set": {"server": "api", "x-frame-options": "DENY"}}},
            {"name": "orders", "match": {"prefix": "/orders"}, "allow": "public"},
        ],
    })
}

fn builder(service: &Service) -> Builder {
    Gateway::builder().filter(configuration()).service(service)
}

fn get(gateway: &Gateway, path: &str) -> Response {
    Client::connect(gateway.port()).unwrap().call(&Call::get(path)).unwrap()
}

fn values<'r>(response: &'r Response, name: &str) -> Vec<&'r str> {
    response.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_talkative_service_is_made_careful_and_silent() {
    let service = talkative();
    let gateway = builder(&service).start().unwrap();
    let response = get(&gateway, "/orders");
    assert_eq!((response.status, response.text().as_str()), (200, "orders"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        // The service's own word stays.
        ("x-frame-options", "SAMEORIGIN"),
    ] {
        assert_eq!(values(&response, name), [value], "{name}");
    }
    for gone in [
        "x-powered-by",
        "x-aspnet-version",
        "x-runtime",
        "x-inner",
        "x-envoy-upstream-service-time",
        "strict-transport-security",
    ] {
        assert!(response.header(gone).is_none(), "{gone}: {:?}", response.headers);
    }
    assert_eq!(values(&get(&gateway, "/orders/own"), "x-frame-options"), ["DENY"]);
    let as_it_is = get(&gateway, "/orders/off");
    assert_eq!(values(&as_it_is, "x-powered-by"), ["PHP/8.1"]);
    assert!(as_it_is.header("x-envoy-upstream-service-time").is_some() && as_it_is.header("referrer-policy").is_none());
    gateway.check_unharmed().unwrap();
}

#[test]
fn the_gateways_own_answers_are_dressed_the_same() {
    let service = talkative();
    let gateway = builder(&service).start().unwrap();
    for (path, status, reason) in [
        ("/orders/nobody", 403, "rule_denied"),
        ("/nothing", 404, "route_unmatched"),
        ("/a/../b", 400, "path_dot_segment"),
    ] {
        let response = get(&gateway, path);
        refusal::check(&response, status, reason).unwrap();
        assert_eq!(values(&response, "x-content-type-options"), ["nosniff"], "{path}");
        assert_eq!(values(&response, "x-frame-options"), ["DENY"], "{path}");
        assert_eq!(values(&response, "cache-control"), ["no-store"], "{path}");
    }
}

#[test]
fn over_tls_browsers_are_told_to_stay_there() {
    let service = talkative();
    // What a proxy in front says is believed where it is trusted; a client's own word is not.
    let trusting = builder(&service).connection_manager("xff_num_trusted_hops", json!(1)).start().unwrap();
    let call = Call::get("/orders").header("x-forwarded-for", "192.0.2.1").header("x-forwarded-proto", "https");
    let response = Client::connect(trusting.port()).unwrap().call(&call).unwrap();
    let strict = ["max-age=31536000; includeSubDomains"];
    assert_eq!(values(&response, "strict-transport-security"), strict);
    let gateway = builder(&service).start().unwrap();
    let response = Client::connect(gateway.port()).unwrap().call(&call).unwrap();
    assert!(response.header("strict-transport-security").is_none());
}

/// `server` is written by Envoy's connection manager after all filters: what the filter can do depends on its setting.
#[test]
fn server_is_masked_where_envoy_passes_it_through() {
    let service = talkative();
    let seen = |transformation: &str| {
        let gateway = builder(&service).connection_manager("server_header_transformation", json!(transformation));
        let gateway = gateway.start().unwrap();
        ["/orders", "/orders/own", "/orders/off", "/nothing"].map(|path| {
            let response = get(&gateway, path);
            values(&response, "server").join("|")
        })
    };
    // Unless told otherwise, Envoy overwrites whatever stands there.
    assert_eq!(seen("OVERWRITE"), ["envoy", "envoy", "envoy", "envoy"]);
    // What the filter removes, Envoy adds again; what it sets stays.
    assert_eq!(seen("APPEND_IF_ABSENT"), ["envoy", "api", "Apache/2.4.1 (Unix) PHP/8.1", "envoy"]);
    // This alone leaves it to the filter.
    assert_eq!(seen("PASS_THROUGH"), ["", "api", "Apache/2.4.1 (Unix) PHP/8.1", ""]);
    let named = builder(&service).connection_manager("server_name", json!("gateway")).start().unwrap();
    assert_eq!(values(&get(&named, "/orders"), "server"), ["gateway"]);
}
