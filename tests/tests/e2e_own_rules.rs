//! Payload rules of an operator in the real Envoy: in query, form, JSON, header, cookie and body, over head and body together,
//! enforced and watched.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, refusal};
use serde_json::json;

struct World {
    gateway: Gateway,
    service: Service,
}

impl World {
    fn start() -> Self {
        let service = Service::plain("api").unwrap();
        let gateway = Gateway::builder()
            .filter(json!({
                "version": 1,
                "payload_rules": {
                    "internal-hosts": {
                        "targets": ["args", "header:x-target", "cookie:next"], "transform": ["url_decode_uni", "lowercase"],
                        "regex": r"\bcorp\.internal\b", "message": "names an internal host", "tags": ["ssrf"],
                    },
                    "marker": {"targets": ["raw_body"], "contains": ["%%marker"]},
                    "export": {"all": [
                        {"targets": ["method"], "equals": ["POST"]},
                        {"targets": ["path"], "ends_with": ["/export"]},
                        {"targets": ["arg:columns"], "equals": ["*"]},
                    ]},
                    "slow": {"targets": ["args"], "regex": "(?:[a-z]{1,40}[0-9]?){1,40}!"},
                },
                "defaults": {"payload": {"max_body": "64KiB"}},
                "rules": [
                    {"name": "watched", "match": {"prefix": "/api/watched"}, "allow": "public", "payload": {"mode": "monitor"}},
                    {"name": "without", "match": {"prefix": "/api/without"}, "allow": "public",
                     "payload": {"without_rules": ["internal-hosts"]}},
                    {"name": "all", "match": {}, "allow": "public"},
                ],
            }))
            .service(&service)
            .start()
            .unwrap();
        Self { gateway, service }
    }

    fn call(&self, call: &Call) -> Response {
        Client::connect(self.gateway.port()).unwrap().call(call).unwrap()
    }

    /// The call is refused, and the service never hears of it.
    fn refuses(&self, call: &Call, what: &str) {
        let before = self.service.requests().len();
        let response = self.call(call);
        refusal::check(&response, 403, "payload_attack").unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(self.service.requests().len(), before, "{what}: the service saw it");
    }

    /// The call reaches the service.
    fn passes(&self, call: &Call, what: &str) {
        let before = self.service.requests().len();
        assert_eq!(self.call(call).status, 200, "{what}");
        assert_eq!(self.service.requests().len(), before + 1, "{what}");
    }
}

fn post(path: &str, kind: &str, body: &str) -> Call {
    Call::new("POST", path).header("content-type", kind).body(body.to_owned())
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

#[test]
fn a_rule_refuses_where_its_targets_say() {
    let world = World::start();
    world.refuses(&Call::get("/api?u=http%3A%2F%2FCORP.internal%2F"), "the query");
    world.refuses(&Call::get("/api?u=corp%25u002einternal"), "what only the transformation opens");
    world.refuses(&post("/api", FORM, "a=1&u=corp.internal"), "a form");
    world.refuses(&post("/api", JSON, r#"{"a": [{"u": "corp\u002einternal"}]}"#), "JSON");
    let part = "--b\r\ncontent-disposition: form-data; name=\"u\"\r\n\r\ncorp.internal\r\n--b--\r\n";
    world.refuses(&post("/api", "multipart/form-data; boundary=b", part), "multipart");
    world.refuses(&Call::get("/api").header("x-target", "corp.internal"), "a header");
    world.refuses(&Call::get("/api").header("cookie", "a=1; next=corp.internal"), "a cookie");
    world.refuses(&post("/api", "text/plain", "some %%marker here"), "the body as it is");
    world.refuses(&post("/api/export?columns=*", JSON, "{}"), "method, path and query");
    world.refuses(&post("/api/export", JSON, r#"{"columns": "*"}"#), "method, path and body");
    world.refuses(&Call::get("/api?u=corp.in&a=1&u=ternal"), "cut over two parameters of one name");
    world.refuses(&post("/api?u=corp.in", FORM, "u=ternal"), "cut over query and form");
    world.passes(&Call::get("/api?u=corp.in&v=ternal"), "cut over two names");
    world.passes(&Call::get("/api?u=mycorp.internals"), "another name");
    world.passes(&Call::get("/api").header("x-other", "corp.internal"), "another header");
    world.passes(&Call::get("/api").header("cookie", "a=corp.internal"), "another cookie");
    world.passes(&post("/api", "text/plain", "corp.internal"), "text is no argument");
    world.passes(&Call::get("/api/export?columns=*"), "another method");
    world.passes(&post("/api/import", JSON, r#"{"columns": "*"}"#), "another path");
    world.passes(&Call::get("/api/without?u=corp.internal"), "left out by its name");
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn in_monitor_mode_it_passes_and_the_log_names_the_rule() {
    let world = World::start();
    for call in [
        Call::get("/api/watched?u=http://corp.internal/of-alice"),
        post("/api/watched", JSON, r#"{"u": "http://corp.internal/of-alice"}"#),
    ] {
        let response = world.call(&call);
        assert_eq!(response.status, 200);
        let event = world.gateway.audit_of(response.header("x-request-id").unwrap()).unwrap();
        assert_eq!(
            (&event["event.action"], &event["event.reason"]),
            (&json!("request_monitored"), &json!("payload_attack"))
        );
        let message = event["message"].as_str().unwrap();
        for part in ["internal-hosts", "names an internal host", "ssrf", "without_rules: [internal-hosts]"] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
        assert!(!message.contains("alice") && !message.contains("internal\""), "{message}");
    }
    assert_eq!(world.service.requests().len(), 2);
    let count = || {
        let labels = [("rule", "watched"), ("signature", "internal-hosts")];
        world.gateway.counter("portcullis_payload", &labels).unwrap()
    };
    assert!(eventually(Duration::from_secs(5), || count() == 2), "{}", count());
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn what_costs_too_much_is_refused_and_does_not_stop_the_worker() {
    let world = World::start();
    let long = format!(r#"{{"q": "{}!"}}"#, "a".repeat(60_000));
    world.refuses(&post("/api", JSON, &long), "an expression of many states on a long value");
    world.passes(&post("/api", JSON, r#"{"q": "short"}"#), "a short one");
    world.gateway.check_unharmed().unwrap();
}
