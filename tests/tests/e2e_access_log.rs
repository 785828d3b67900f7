//! What the reference gateway's access log says of a request, and the report that is made of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::sync::LazyLock;

use portcullis_tests::client::{Call, Response};
use portcullis_tests::config;
use portcullis_tests::mint::Token;
use portcullis_tests::paths::{self, WorkDir};
use portcullis_tests::reference::{Grounds, Reference};
use serde_json::{Value, json};

struct World {
    gateway: Reference,
    /// The same gateway in monitor mode.
    watching: Reference,
    grounds: Grounds,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::start().unwrap_or_else(|error| panic!("{error:#}")));

impl World {
    fn start() -> anyhow::Result<Self> {
        let grounds = Grounds::prepare("access-log")?;
        let start = |mode: &str| {
            let mut change = |gateway: &mut Value| {
                config::change_filter(gateway, &mut |filter| filter["mode"] = json!(mode));
            };
            grounds.start(mode, &mut change)
        };
        let (gateway, watching) = (start("enforce")?, start("monitor")?);
        Ok(Self { gateway, watching, grounds })
    }

    fn token(&self) -> String {
        Token::of("log-alice").scope("read_orders").sign(&self.grounds.key)
    }

    /// Sends it; gives the answer and its line of the access log.
    fn call(&self, gateway: &Reference, call: &Call) -> (Response, Value) {
        let response = gateway.client(&self.grounds.pki).unwrap().call(call).unwrap();
        let line = gateway.access_log_of(&response).unwrap();
        (response, line)
    }
}

#[test]
fn an_allowed_request_is_logged_with_its_caller_and_rule() {
    let (response, line) = WORLD.call(&WORLD.gateway, &Call::get("/orders/17?secret=1").bearer(&WORLD.token()));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(line["verdict"], "allowed");
    assert_eq!(line["reason"], "ok");
    assert_eq!(line["rule"], "orders_read");
    assert_eq!(line["principal"], "log-alice");
    assert_eq!((&line["path"], &line["upstream"]), (&json!("/orders/17"), &json!("orders")));
    assert_eq!(line["trace"].as_str().map(str::len), Some(32), "{line}");
}

#[test]
fn a_refused_request_is_logged_with_its_reason() {
    let (response, line) = WORLD.call(&WORLD.gateway, &Call::get("/orders/17"));
    assert_eq!(response.status, 401);
    assert_eq!((&line["verdict"], &line["reason"]), (&json!("denied"), &json!("credentials_missing")));
    assert_eq!((&line["rule"], &line["principal"]), (&json!("orders_read"), &Value::Null));
    assert_eq!(line["details"], "portcullis_credentials_missing");

    let (response, line) = WORLD.call(&WORLD.gateway, &Call::new("DELETE", "/orders/17").bearer(&WORLD.token()));
    assert_eq!(response.status, 403);
    assert_eq!((&line["reason"], &line["principal"]), (&json!("scope_insufficient"), &json!("log-alice")));
}

#[test]
fn a_refusal_of_the_body_and_of_no_rule_are_logged_too() {
    let token = Token::of("log-bob").scope("write_orders").sign(&WORLD.grounds.key);
    let attack = Call::new("POST", "/orders").bearer(&token).header("content-type", "application/json");
    let (response, line) =
        WORLD.call(&WORLD.gateway, &attack.body(r#"{"note": "1' UNION SELECT password FROM users--"}"#));
    assert_eq!(response.status, 403, "{}", response.text());
    assert_eq!((&line["reason"], &line["principal"]), (&json!("payload_attack"), &json!("log-bob")));

    let (response, line) = WORLD.call(&WORLD.gateway, &Call::get("/nowhere"));
    assert_eq!(response.status, 404);
    assert_eq!((&line["rule"], &line["reason"]), (&json!("none"), &json!("route_unmatched")));
}

#[test]
fn what_monitor_mode_lets_pass_is_not_logged_as_if_nothing_had_been() {
    let (response, line) = WORLD.call(&WORLD.watching, &Call::get("/orders/17"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!((&line["verdict"], &line["reason"]), (&json!("monitored"), &json!("credentials_missing")));

    let (_, line) = WORLD.call(&WORLD.watching, &Call::get("/orders/17").bearer(&WORLD.token()));
    assert_eq!(line["verdict"], "allowed");
}

#[test]
fn the_report_is_made_of_the_gateways_own_log() {
    let path = "/orders/%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let name = "<script>alert(2)</script>";
    let token = Token::of(name).scope("nothing").sign(&WORLD.grounds.key);
    WORLD.call(&WORLD.gateway, &Call::get(path));
    let (response, line) = WORLD.call(&WORLD.gateway, &Call::get("/orders/9").bearer(&token));
    assert_eq!((response.status, &line["principal"]), (403, &json!(name)));
    WORLD.call(&WORLD.gateway, &Call::get("/orders/1").bearer(&WORLD.token()));

    let dir = WorkDir::create("report").unwrap();
    let log = dir.path().join("access.log");
    std::fs::write(&log, WORLD.gateway.log()).unwrap();
    let report = || Command::new(paths::tool().unwrap());
    let output = report().arg("report").arg(&log).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = String::from_utf8(output.stdout).unwrap();
    for said in ["orders_read", "scope_insufficient", "127.0.0.1", "&lt;script&gt;alert(2)&lt;/script&gt;"] {
        assert!(page.contains(said), "{said}");
    }
    assert!(!page.contains("<script"), "a stranger's markup is in the page");
    assert!(!page.contains("No line has a time"));

    // What is no log is an error with a way out, and no empty page.
    let no_log = dir.path().join("other.txt");
    std::fs::write(&no_log, "192.0.2.1 - - [22/Nov/2026] \"GET / HTTP/1.1\" 200\n").unwrap();
    let output = report().arg("report").arg(&no_log).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hint: JSON lines are expected"));
}
