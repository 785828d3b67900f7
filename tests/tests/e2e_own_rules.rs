//! Payload rules of an operator in the real Envoy: in query, form, JSON, header, cookie and body, over head and body together,
//! enforced and watched.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use portcullis_tests::client::Call;
use portcullis_tests::eventually;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::protected::ProtectedService;
use serde_json::json;

fn start() -> ProtectedService {
    let builder = Gateway::builder().filter(json!({
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
    }));
    ProtectedService::start(builder)
}

fn post(path: &str, kind: &str, body: &str) -> Call {
    Call::new("POST", path).header("content-type", kind).body(body.to_owned())
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

#[test]
fn a_rule_refuses_where_its_targets_say() {
    let world = start();
    world.refuses_attack(&Call::get("/api?u=http%3A%2F%2FCORP.internal%2F"));
    world.refuses_attack(&Call::get("/api?u=corp%25u002einternal"));
    world.refuses_attack(&post("/api", FORM, "a=1&u=corp.internal"));
    world.refuses_attack(&post("/api", JSON, r#"{"a": [{"u": "corp\u002einternal"}]}"#));
    let part = "--b\r\ncontent-disposition: form-data; name=\"u\"\r\n\r\ncorp.internal\r\n--b--\r\n";
    world.refuses_attack(&post("/api", "multipart/form-data; boundary=b", part));
    world.refuses_attack(&Call::get("/api").header("x-target", "corp.internal"));
    world.refuses_attack(&Call::get("/api").header("cookie", "a=1; next=corp.internal"));
    world.refuses_attack(&post("/api", "text/plain", "some %%marker here"));
    // Method and path, with the query or with the body.
    world.refuses_attack(&post("/api/export?columns=*", JSON, "{}"));
    world.refuses_attack(&post("/api/export", JSON, r#"{"columns": "*"}"#));
    // Cut over parameters of one name.
    world.refuses_attack(&Call::get("/api?u=corp.in&a=1&u=ternal"));
    world.refuses_attack(&post("/api?u=corp.in", FORM, "u=ternal"));
    world.passes(&Call::get("/api?u=corp.in&v=ternal"));
    world.passes(&Call::get("/api?u=mycorp.internals"));
    world.passes(&Call::get("/api").header("x-other", "corp.internal"));
    world.passes(&Call::get("/api").header("cookie", "a=corp.internal"));
    // Text is no argument.
    world.passes(&post("/api", "text/plain", "corp.internal"));
    world.passes(&Call::get("/api/export?columns=*"));
    world.passes(&post("/api/import", JSON, r#"{"columns": "*"}"#));
    world.passes(&Call::get("/api/without?u=corp.internal"));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn in_monitor_mode_it_passes_and_the_log_names_the_rule() {
    let world = start();
    for call in [
        Call::get("/api/watched?u=http://corp.internal/of-alice"),
        post("/api/watched", JSON, r#"{"u": "http://corp.internal/of-alice"}"#),
    ] {
        let response = world.passes(&call);
        let event = world.audit_of(&response);
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
    let world = start();
    let long = format!(r#"{{"q": "{}!"}}"#, "a".repeat(60_000));
    world.refuses(&post("/api", JSON, &long), 413, "payload_too_costly");
    world.passes(&post("/api", JSON, r#"{"q": "short"}"#));
    world.gateway.check_unharmed().unwrap();
}
