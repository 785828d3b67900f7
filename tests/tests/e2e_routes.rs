//! Policies that Envoy's own routes name, in the real Envoy, and what happens when a header that the filter changes leads to another
//! route than the one that the request was judged by.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::sync::LazyLock;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::{Builder, Gateway};
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::{filter, refusal};
use serde_json::{Value, json};

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Es256, "k1"));

fn configuration(routes: Value) -> Value {
    let mut corp = filter::provider(&["ES256"], json!({"inline": jwks([&*KEY])}));
    corp["forward"] = json!({"headers": {"x-tenant": "tenant"}});
    json!({
        "version": 1,
        "providers": {"corp": corp},
        "routes": routes,
        "policies": {
            "user": {"require": "corp"},
            "reader": {"extends": "user", "scopes": {"all": ["read"]}},
            "writer": {"extends": "user", "scopes": {"all": ["write"]}},
            "admin": {"extends": "user", "scopes": {"all": ["admin"]}},
        },
        "rules": [{"name": "open", "match": {"prefix": "/open"}, "allow": "public"}, {"name": "all", "match": {}, "use": "user"}],
    })
}

/// A route that answers by itself, and says which one it is.
fn route(name: &str, matches: Value, policy: Option<&str>) -> Value {
    let mut route = json!({
        "name": name,
        "match": matches,
        "direct_response": {"status": 200, "body": {"inline_string": name}},
    });
    if let Some(policy) = policy {
        route["metadata"] = metadata(policy);
    }
    route
}

fn metadata(policy: &str) -> Value {
    json!({"filter_metadata": {"portcullis": {"policy": policy}}})
}

fn gateway(routes: Value, builder: impl FnOnce(Builder) -> Builder) -> Gateway {
    builder(Gateway::builder().filter(configuration(routes))).start().unwrap_or_else(|error| panic!("{error:#}"))
}

fn get(gateway: &Gateway, call: &Call) -> Response {
    Client::connect(gateway.port()).unwrap().call(call).unwrap()
}

fn token(scope: &str) -> String {
    Token::of("alice").scope(scope).sign(&KEY)
}

/// One virtual host with a policy of its own, and routes with and without one.
fn with_virtual_host(builder: Builder) -> Builder {
    let virtual_host = json!({
        "name": "reports", "domains": ["*"], "metadata": metadata("reader"),
        "routes": [
            route("by-metadata", json!({"prefix": "/metadata"}), Some("admin")),
            route("by-name", json!({"prefix": "/name"}), None),
            route("by-virtual-host", json!({"prefix": "/"}), None),
        ],
    });
    builder.connection_manager("route_config", json!({"name": "test", "virtual_hosts": [virtual_host]}))
}

#[test]
fn the_route_beats_its_name_and_that_beats_the_virtual_host() {
    let names = json!({"by-name": "writer", "by-metadata": "writer"});
    let gateway = gateway(json!({"metadata": ["route", "virtual_host"], "names": names}), with_virtual_host);
    for (path, scope) in [("/metadata", "admin"), ("/name", "write"), ("/elsewhere", "read"), ("/open", "read")] {
        assert_eq!(get(&gateway, &Call::get(path).bearer(&token(scope))).status, 200, "{path}");
        refusal::check(&get(&gateway, &Call::get(path)), 401, "credentials_missing").unwrap();
        for other in ["admin", "write", "read"].into_iter().filter(|other| *other != scope) {
            let refused = get(&gateway, &Call::get(path).bearer(&token(other)));
            refusal::check(&refused, 403, "scope_insufficient").unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
    gateway.check_unharmed().unwrap();
}

#[test]
fn what_the_configuration_does_not_read_selects_nothing() {
    let gateway = gateway(json!({"metadata": []}), with_virtual_host);
    for path in ["/metadata", "/name", "/elsewhere"] {
        assert_eq!(get(&gateway, &Call::get(path).bearer(&token("nothing"))).status, 200, "{path}");
        refusal::check(&get(&gateway, &Call::get(path)), 401, "credentials_missing").unwrap();
    }
    assert_eq!(get(&gateway, &Call::get("/open")).status, 200);
}

/// Routes that match on the header that the filter sets from the claim `tenant`.
fn by_tenant(gold: Option<&'static str>, others: Option<&'static str>) -> impl FnOnce(Builder) -> Builder {
    move |builder| {
        let header = json!([{"name": "x-tenant", "string_match": {"exact": "gold"}}]);
        builder.route(route("gold", json!({"prefix": "/", "headers": header}), gold)).route(route(
            "others",
            json!({"prefix": "/"}),
            others,
        ))
    }
}

fn of_tenant(tenant: &str, scope: &str) -> Call {
    Call::get("/").bearer(&Token::of("alice").scope(scope).claim("tenant", tenant.into()).sign(&KEY))
}

#[test]
fn a_header_that_the_filter_sets_cannot_lead_past_the_policy_of_another_route() {
    // Both ways: from a route that names a policy, and from the rules to such a route.
    for others in [Some("reader"), None] {
        let gateway = gateway(json!({}), by_tenant(Some("admin"), others));
        let silver = get(&gateway, &of_tenant("silver", "read"));
        assert_eq!((silver.status, silver.text()), (200, "others".to_owned()));
        let refused = get(&gateway, &of_tenant("gold", "read"));
        refusal::check(&refused, 500, "route_changed").unwrap();
        assert!(!refused.text().contains("gold"), "{}", refused.text());
        let event = gateway.audit_of(refused.header("x-request-id").unwrap()).unwrap();
        assert_eq!(event["event.reason"], "route_changed", "{event}");
        gateway.check_unharmed().unwrap();
    }
}

#[test]
fn a_clients_own_identity_header_does_not_choose_the_policy() {
    // Without the check, the open policy of one route would let everybody into the other.
    let gateway = gateway(json!({}), by_tenant(Some("user"), Some("admin")));
    let forged = of_tenant("silver", "read").header("x-tenant", "gold");
    refusal::check(&get(&gateway, &forged), 400, "identity_header_sent").unwrap();
    refusal::check(
        &get(&gateway, &of_tenant("silver", "read").header("X-Tenant", "gold")),
        400,
        "identity_header_sent",
    )
    .unwrap();
    refusal::check(&get(&gateway, &of_tenant("silver", "read")), 403, "scope_insufficient").unwrap();
    gateway.check_unharmed().unwrap();
}

#[test]
fn another_route_of_the_same_policy_may_serve() {
    for policy in [Some("reader"), None] {
        let gateway = gateway(json!({}), by_tenant(policy, policy));
        for tenant in ["gold", "silver"] {
            let answer = get(&gateway, &of_tenant(tenant, "read"));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(get(&gateway, &of_tenant("gold", "read")).text(), "gold", "Envoy picks the route again");
    }
}

#[test]
fn in_monitor_mode_it_is_recorded() {
    let mut configuration = configuration(json!({}));
    configuration["mode"] = json!("monitor");
    let gateway = by_tenant(Some("admin"), Some("reader"))(Gateway::builder().filter(configuration)).start().unwrap();
    let answer = get(&gateway, &of_tenant("gold", "read"));
    assert_eq!((answer.status, answer.text()), (200, "gold".to_owned()));
    let event = gateway.audit_of(answer.header("x-request-id").unwrap()).unwrap();
    assert_eq!(
        (&event["event.action"], &event["event.reason"]),
        (&json!("request_monitored"), &json!("route_changed"))
    );
}
