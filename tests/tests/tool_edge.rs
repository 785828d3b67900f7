//! `portcullis check` and `explain` about addresses, CORS, responses and checks that only watch.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use portcullis_tests::paths::{self, WorkDir};
use serde_json::Value;

fn portcullis(arguments: &[&str]) -> Output {
    Command::new(paths::tool().unwrap()).current_dir(paths::root()).args(arguments).output().unwrap()
}

/// A filter configuration with these lines about addresses and pages.
fn file(dir: &WorkDir, name: &str, lines: &str) -> String {
    let text = format!(
        "version: 1\nproviders:\n  apps: {{api_keys: {{clients: {{a: {{sha256: \"{}\"}}}}}}}}\nlimits:\n  all: {{key: ip, rate: 9/s}}\ndefaults: {{limits: [all]}}\n{lines}",
        "0".repeat(64)
    );
    let file = dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn findings(file: &str) -> Vec<(String, String)> {
    let output = portcullis(&["check", "--json", file]);
    let found: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |finding: &Value, member: &str| finding[member].as_str().unwrap_or_default().to_owned();
    let found = found.as_array().unwrap().iter();
    found.map(|finding| (text(finding, "path"), text(finding, "problem"))).collect()
}

#[test]
fn what_is_hardly_meant_is_found() {
    let dir = WorkDir::create("check-edge").unwrap();
    let file = file(
        &dir,
        "planted.yaml",
        r#"address_lists:
  office: {cidrs: [192.0.2.0/25, 192.0.2.64/26]}
  wide: {cidrs: [192.0.2.0/24]}
  unused: {cidrs: [198.51.100.7]}
rules:
- {match: {path: /a}, require: apps, addresses: {allow: [office], deny: [wide]}}
- {match: {path: /b}, require: apps, cors: {origins: ["null"]}}
- {match: {path: /c}, require: apps, cors: {origins: ["http://app.example.com"]}}
- {match: {path: /d, headers: {x-version: "2"}}, require: apps, cors: {origins: ["https://app.example.com"]}}
- {match: {path: /e}, require: apps, monitor: [headers], headers: {require: [x-a]}}
- {match: {path: /f}, require: apps, cors: {origins: ["http://localhost:3000"]}}
"#,
    );
    let found = findings(&file);
    for (path, says) in [
        ("rules[0].addresses", "denies all of it by \"wide\""),
        ("address_lists.unused", "no rule and no policy names this list"),
        ("rules[1].cors.origins", "any page can have the origin `null`"),
        ("rules[2].cors.origins", "its pages come in the clear"),
        ("rules[3].match.headers", "a preflight carries no x-version"),
        ("rules[4].monitor", "counts and logs what headers would refuse"),
    ] {
        let is_it = |(at, problem): &&(String, String)| at == path && problem.contains(says);
        assert_eq!(found.iter().filter(is_it).count(), 1, "{path}: {found:#?}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn a_gateway_that_puts_server_back_or_cannot_tell_addresses_is_found() {
    let dir = WorkDir::create("check-edge").unwrap();
    let reference = std::fs::read_to_string(paths::root().join("envoy.yaml")).unwrap();
    let planted = reference
        .replacen(
            "defaults: {policy: user, unmatched: deny",
            "address_lists: {bad: {cluster: feeed, path: /x}}\n                    defaults: {policy: user, responses: {security_headers: on}, addresses: {deny: [bad]}, unmatched: deny",
            1,
        )
        .replacen("          server_name: gateway\n", "", 1)
        .replacen("use_remote_address: true", "use_remote_address: false", 1);
    assert_ne!(planted, reference);
    let file = dir.path().join("envoy.yaml");
    std::fs::write(&file, planted).unwrap();
    let found = findings(&file.display().to_string());
    for (path, says) in [
        ("server_header_transformation", "Envoy adds `server: envoy` again"),
        ("use_remote_address", "a client can choose the address that rules judge it by"),
        ("address_lists.bad.cluster", "no cluster \"feeed\""),
    ] {
        assert!(found.iter().any(|(at, problem)| at.ends_with(path) && problem.contains(says)), "{path}: {found:#?}");
    }
}

const EXPLAINED: &str = r#"address_lists:
  office: {cidrs: [192.0.2.0/24]}
  bad: {cluster: feed, path: /bad.txt}
rules:
- {match: {path: /admin}, allow: public, addresses: {allow: [office], deny: [bad]}, cors: {origins: ["https://app.example.com"]}}
"#;

fn verdict(explanation: &Value, check: &str) -> (String, String) {
    let checks = explanation["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["check"] == check).unwrap();
    (found["verdict"].as_str().unwrap().to_owned(), found["why"].as_str().unwrap().to_owned())
}

#[test]
fn the_address_and_the_origin_are_explained() {
    let dir = WorkDir::create("explain-edge").unwrap();
    let file = file(&dir, "filter.yaml", EXPLAINED);
    let explain = |request: &str, address: &str, more: &[&str]| -> Value {
        let mut arguments = vec!["explain", &file, "--json", "--request", request, "--address", address];
        arguments.extend(more);
        let output = portcullis(&arguments);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    let passes = explain("GET /admin", "192.0.2.7", &[]);
    assert_eq!(passes["passes"], true, "{passes:#}");
    assert_eq!(verdict(&passes, "address"), ("passed".into(), "in office; not in bad".into()));
    assert_eq!(verdict(&passes, "cross-origin"), ("passed".into(), "pages of https://app.example.com may call".into()));
    assert!(passes["notes"].to_string().contains("give it with --address-list bad=FILE"), "{passes:#}");
    let list = dir.path().join("bad.txt");
    std::fs::write(&list, "192.0.2.0/29 # neighbours\n").unwrap();
    let list = format!("bad={}", list.display());
    let listed = explain("GET /admin", "192.0.2.7", &["--address-list", &list]);
    assert_eq!(
        (&listed["reason"], listed["notes"].to_string()),
        (&Value::from("address_denied"), "[]".to_owned()),
        "{listed:#}"
    );
    let passes = explain("GET /admin", "192.0.2.8", &["--address-list", &list]);
    assert_eq!((&passes["passes"], passes["notes"].to_string()), (&Value::from(true), "[]".to_owned()), "{passes:#}");
    let unknown = list.replace("bad=", "office=");
    let output = portcullis(&["explain", &file, "--request", "GET /", "--address-list", &unknown]);
    assert_eq!(output.status.code(), Some(2), "a list in the configuration is not fetched");
    let refused = explain("GET /admin", "198.51.100.7", &[]);
    assert_eq!(refused["reason"], "address_denied");
    assert_eq!(verdict(&refused, "address").0, "refused");
    assert_eq!(verdict(&refused, "identity").0, "not reached");
    let asks = ["--header", "access-control-request-method: GET", "--header"];
    let preflight = |origin: &str| explain("OPTIONS /admin", "192.0.2.7", &[&asks[..], &[origin]].concat());
    let evil = preflight("origin: https://evil.example");
    assert_eq!(
        (&evil["reason"], verdict(&evil, "cross-origin").0),
        (&Value::from("cors_origin_denied"), "refused".into())
    );
    let good = preflight("origin: https://app.example.com");
    assert_eq!(good["status"], 204, "{good:#}");
    assert_eq!(verdict(&good, "identity").0, "not reached");
}
