//! `portcullis convert`: what it makes is a configuration without errors, says what has no equal, and lets no request pass
//! that its input would refuse.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

mod dice;
mod random_envoy;
mod random_istio;
mod world;

use portcullis_cli::explain::replay::{Answers, Session};
use portcullis_tests::paths;
use world::{FAR, World, judge, now};

fn input(world: &World, name: &str) -> String {
    let text = std::fs::read_to_string(paths::root().join("tests/convert").join(name)).unwrap();
    text.replace("@KEYS@", &world.keys())
}

/// Who gets what: the request, the scope of a token if there is one, and what becomes of it.
fn all_hold(world: &World, text: &str, facts: &[(&str, Option<&str>, &str)]) {
    let filter = world.configured(text);
    let mut session = Session::start(&filter, Answers::default(), now()).unwrap();
    for (request, scope, expected) in facts {
        let token = scope.map(|scope| world.token(scope));
        let seen = judge(&filter, &mut session, request, FAR, &[], token.as_deref());
        assert_eq!(seen, *expected, "{request} with {scope:?}\n{text}");
    }
}

#[test]
fn jwt_authn_and_rbac_become_rules() {
    let world = World::new();
    let outcome = world.convert(&input(&world, "jwt_and_rbac.yaml"), &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.said);
    let line =
        |text: &str| input(&world, "jwt_and_rbac.yaml").lines().position(|line| line.contains(text)).unwrap() + 1;
    for said in [
        format!(":{}: no equal: rbac policy \"auditors\"", line("auditors:")),
        format!(":{}: no equal: jwt_authn rules[4]", line("prefix: /search")),
        format!(":{}: note: provider \"remote\": the payload", line("forward_payload_header")),
    ] {
        assert!(outcome.said.contains(&said), "{said}\n{}", outcome.said);
    }
    assert!(outcome.text.contains("# no equal: rbac policy \"auditors\""), "{}", outcome.text);
    assert!(
        outcome
            .text
            .contains("jwks: {cluster: accounts, path: \"/keys?v=1\", authority: accounts.example, refresh: \"600s\"}"),
        "{}",
        outcome.text
    );
    assert!(
        outcome.text.contains("token_from: [{header: x-token, scheme: Bearer}, {cookie: session}]"),
        "{}",
        outcome.text
    );
    all_hold(
        &world,
        &outcome.text,
        &[
            ("GET /healthz", None, "passes"),
            ("GET /orders/1", Some("read_orders"), "passes"),
            ("GET /orders-of-today", Some("read_orders"), "passes"),
            ("GET /catalogue/1", None, "passes"),
            ("GET /catalogue/1", Some(""), "passes"),
            // What must not pass.
            ("GET /orders/1", None, "401"),
            ("GET /orders/1", Some("read_orders_too"), "403"),
            ("POST /orders/1", Some("read_orders"), "403"),
            ("GET /orders/internal/1", Some("read_orders"), "403"),
            ("GET /catalogue/old/1", None, "403"),
            ("GET /account/1", Some("read_orders"), "403"),
            ("GET /search?q=1", Some("read_orders"), "403"),
            ("GET /nowhere", Some("read_orders"), "404"),
        ],
    );
}

#[test]
fn istio_resources_become_rules() {
    let world = World::new();
    let outcome = world.convert(&input(&world, "istio.yaml"), &[]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.said);
    let line = input(&world, "istio.yaml").lines().position(|line| line.contains("ipBlocks")).unwrap() + 1;
    let said = format!(":{line}: no equal: AuthorizationPolicy \"shop\" rules[3]");
    assert!(outcome.said.contains(&said) && outcome.said.lines().count() == 1, "{said}\n{}", outcome.said);
    for written in [
        "addresses-1: {cidrs: [\"198.51.100.7\"]}",
        "addresses-2: {cidrs: [\"10.0.0.0/8\"]}",
        "when: \"jwt.sub == \\\"alice\\\"\", addresses: {allow: addresses-2, deny: addresses-1}}",
        "when: \"jwt.org.plan in [\\\"gold\\\", \\\"silver\\\"] || ",
    ] {
        assert!(outcome.text.contains(written), "{written}\n{}", outcome.text);
    }
    all_hold(
        &world,
        &outcome.text,
        &[
            ("GET /healthz", None, "passes"),
            ("GET /orders/1", Some(""), "passes"),
            ("POST /orders/1", Some("read write_orders"), "passes"),
            ("GET /people/1", Some(""), "passes"),
            ("POST /healthz", None, "404"),
            ("GET /orders/1", None, "401"),
            ("GET /orders/old/1", Some(""), "403"),
            ("POST /orders/1", Some("write"), "403"),
            ("GET /people/boss/1", Some(""), "403"),
            ("GET /ops/1", Some(""), "404"),
            ("GET /desk/1", Some(""), "403"),
            ("GET /plans/1", Some(""), "403"),
            ("GET /plans/1", None, "401"),
            ("GET /orders", Some(""), "404"),
        ],
    );
}

#[test]
fn what_has_an_equal_exits_with_0_and_what_cannot_be_converted_with_2() {
    let world = World::new();
    let keys = world.keys();
    let whole = format!(
        "providers: {{p: {{issuer: https://idp.demo, audiences: [demo-api], local_jwks: {{inline_string: '{keys}'}}}}}}\n\
         rules: [{{match: {{prefix: /}}, requires: {{provider_name: p}}}}]\n"
    );
    let outcome = world.convert(&whole, &[]);
    assert_eq!((outcome.code, outcome.said.as_str()), (Some(0), ""));
    all_hold(&world, &outcome.text, &[("GET /", Some(""), "passes"), ("GET /", None, "401")]);
    let without = whole.replace("audiences: [demo-api], ", "");
    let outcome = world.convert(&without, &[]);
    assert!(outcome.code == Some(1) && outcome.said.contains("--audience"), "{}", outcome.said);
    all_hold(&world, &outcome.text, &[("GET /", Some(""), "401")]);
    let outcome = world.convert(&without, &["--audience", "demo-api"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.said);
    all_hold(&world, &outcome.text, &[("GET /", Some(""), "passes")]);
    let two = "kind: AuthorizationPolicy\nspec: {selector: {matchLabels: {app: a}}}\n---\nkind: AuthorizationPolicy\nspec: {selector: {matchLabels: {app: b}}}\n";
    for input in ["version: 1\n", "a: [\n", two] {
        assert_eq!(world.convert(input, &[]).code, Some(2), "{input}");
    }
}

#[test]
fn what_is_not_seen_does_not_pass_as_nothing() {
    let world = World::new();
    let keys = world.keys();
    let jwt_authn = |provider: &str, rules: &str| {
        format!(
            "http_filters:\n- typed_config:\n    \"@type\": a/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication\n    \
             providers: {{p: {{issuer: https://idp.demo, audiences: [demo-api], local_jwks: {{inline_string: '{keys}'}}{provider}}}}}\n    \
             rules: {rules}\n"
        )
    };
    let optional =
        "[{match: {prefix: /}, requires: {requires_any: {requirements: [{provider_name: p}, {allow_missing: {}}]}}}]";
    // A bad token is refused wherever the input would look for one.
    let outcome = world.convert(&jwt_authn("", optional), &[]);
    let bad = "GET /?access_token=bad";
    all_hold(&world, &outcome.text, &[("GET /", None, "passes"), (bad, None, "401")]);
    let outcome =
        world.convert(&jwt_authn(", from_headers: [{name: a}, {name: x, value_prefix: \"a:\"}]", optional), &[]);
    assert_eq!(outcome.code, Some(1));
    all_hold(&world, &outcome.text, &[("GET /", None, "403")]);
    // Conditions that cannot be checked open nothing.
    let strict = "[{match: {prefix: /}, requires: {provider_name: p}}]";
    for provider in [", max_lifetime: 60s", ", subjects: {exact: bob}"] {
        let outcome = world.convert(&jwt_authn(provider, strict), &[]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.said);
        all_hold(&world, &outcome.text, &[("GET /", Some(""), "403")]);
    }
    // Nor does a route with settings of its own, nor a cluster of one, nor a virtual host.
    let own = "typed_per_filter_config: {jwt: {\"@type\": a/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig, requirement_name: x}}";
    let wrapped = "typed_per_filter_config: {jwt: {\"@type\": a/envoy.config.route.v3.FilterConfig, config: {\"@type\": a/envoy.extensions.filters.http.rbac.v3.RBACPerRoute}}}";
    for routes in [
        format!("{{domains: [\"*\"], routes: [{{match: {{prefix: /own}}, {own}}}]}}"),
        format!("{{domains: [\"*\"], routes: [{{match: {{prefix: /own}}, {wrapped}}}]}}"),
        format!(
            "{{domains: [\"*\"], routes: [{{match: {{prefix: /own}}, route: {{weighted_clusters: {{clusters: [{{name: c, {own}}}]}}}}}}]}}"
        ),
    ] {
        let text = format!("{}route_config: {{virtual_hosts: [{routes}]}}\n", jwt_authn("", strict));
        let outcome = world.convert(&text, &[]);
        assert_eq!(outcome.code, Some(1), "{}", outcome.said);
        all_hold(&world, &outcome.text, &[("GET /own", Some(""), "403"), ("GET /", Some(""), "passes")]);
    }
    let text = format!(
        "{}route_config: {{virtual_hosts: [{{domains: [\"*\"], routes: [], {own}}}]}}\n",
        jwt_authn("", strict)
    );
    all_hold(&world, &world.convert(&text, &[]).text, &[("GET /", Some(""), "403")]);
}
