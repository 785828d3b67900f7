//! Every single check of a rule, enforced and watched in the real Envoy: the watched one refuses nothing, counts and logs what
//! it would have refused, and no other check becomes weaker for it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, filter, refusal};
use serde_json::{Value, json};

/// A check: what a rule says, the request that it refuses, and how.
struct Watched {
    check: &'static str,
    rule: Value,
    method: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: &'static str,
    status: u16,
    reason: &'static str,
}

fn checks() -> Vec<Watched> {
    let base =
        || Watched { check: "", rule: json!({}), method: "GET", header: None, body: "", status: 403, reason: "" };
    let scopes = json!({"scopes": {"all": ["write_orders"]}});
    let origins = json!({"cors": {"origins": ["https://app.example.com"]}});
    let payload = json!({"payload": {}});
    vec![
        Watched {
            check: "addresses",
            rule: json!({"addresses": {"allow": "office"}}),
            reason: "address_denied",
            ..base()
        },
        Watched { check: "scopes", rule: scopes, reason: "scope_insufficient", ..base() },
        Watched { check: "roles", rule: json!({"roles": {"any": ["admin"]}}), reason: "role_missing", ..base() },
        Watched { check: "bind", rule: json!({"bind": {"id": "sub"}}), reason: "path_claim_mismatch", ..base() },
        Watched { check: "when", rule: json!({"when": "jwt.sub == 'bob'"}), reason: "condition_false", ..base() },
        Watched {
            check: "headers",
            rule: json!({"headers": {"require": ["x-tenant"]}}),
            status: 400,
            reason: "header_missing",
            ..base()
        },
        Watched {
            check: "cors",
            rule: origins,
            method: "OPTIONS",
            header: Some(("origin", "https://evil.example")),
            reason: "cors_origin_denied",
            ..base()
        },
        Watched {
            check: "payload",
            rule: payload,
            method: "POST",
            body: "{\"q\": \"<script>alert(document.cookie)</script>\"}",
            reason: "payload_attack",
            ..base()
        },
    ]
}

fn call(gateway: &Gateway, kind: &str, watched: &Watched, token: Option<&str>) -> Response {
    let mut call = Call::new(watched.method, &format!("/api/{kind}/{}/7", watched.check));
    if let Some((name, value)) = watched.header {
        call = call.header(name, value).header("access-control-request-method", "GET");
    }
    if !watched.body.is_empty() {
        call = call.header("content-type", "application/json").body(watched.body);
    }
    if let Some(token) = token {
        call = call.bearer(token);
    }
    Client::connect(gateway.port()).unwrap().call(&call).unwrap()
}

#[test]
fn a_watched_check_refuses_nothing_and_tells_what_it_would_have_refused() {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let rules: Vec<Value> = checks()
        .iter()
        .flat_map(|watched| {
            ["enforced", "watched"].map(|kind| {
                let mut rule = watched.rule.clone();
                rule["name"] = json!(format!("{}_{kind}", watched.check));
                rule["match"] = json!({"path": format!("/api/{kind}/{}/{{id}}", watched.check)});
                if kind == "watched" {
                    rule["monitor"] = json!([watched.check]);
                }
                rule
            })
        })
        .collect();
    let service = Service::plain("api").unwrap();
    let gateway = Gateway::builder()
        .filter(json!({
            "version": 1,
            "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&key])}))},
            "address_lists": {"office": {"cidrs": ["192.0.2.0/24"]}},
            "policies": {"user": {"require": "corp"}},
            "defaults": {"policy": "user"},
            "rules": rules,
        }))
        .service(&service)
        .start()
        .unwrap();
    let token = Token::of("alice").scope("read_orders").sign(&key);
    for watched in checks() {
        let Watched { check, status, reason, .. } = &watched;
        let seen = service.requests().len();
        let refused = call(&gateway, "enforced", &watched, Some(&token));
        refusal::check(&refused, *status, reason).unwrap_or_else(|error| panic!("{check}: {error}"));
        assert_eq!(service.requests().len(), seen, "{check}: the service saw what was refused");
        let passed = call(&gateway, "watched", &watched, Some(&token));
        // A preflight has its answer from the gateway, and that tells the page nothing.
        if *check == "cors" {
            assert_eq!(passed.header("access-control-allow-origin"), None, "{check}");
        } else {
            assert_eq!(passed.status, 200, "{check}: {}", passed.text());
            assert_eq!(service.requests().len(), seen + 1, "{check}");
            let nobody = call(&gateway, "watched", &watched, None);
            refusal::check(&nobody, 401, "credentials_missing").unwrap_or_else(|error| panic!("{check}: {error}"));
        }
        let rule = format!("{check}_watched");
        let labels = [("rule", rule.as_str()), ("reason", reason), ("verdict", "monitored")];
        let count = || gateway.counter("portcullis_decisions", &labels).unwrap();
        assert!(eventually(Duration::from_secs(5), || count() >= 1), "{check}: not counted");
        let logged = || {
            let log = gateway.log();
            log.lines().any(|line| line.contains("request_monitored") && line.contains(&rule) && line.contains(reason))
        };
        assert!(eventually(Duration::from_secs(5), logged), "{check}: no line in the log");
    }
    gateway.check_unharmed().unwrap();
}
