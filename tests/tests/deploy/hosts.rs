//! The real Envoy, with the examples' configurations and the settings that Istio and Envoy Gateway make of them.
//!
//! Neither host runs here. What they hand to Envoy is known from their sources: Istio sets neither `vm_id` nor
//! `allow_on_headers_stop_iteration`; Envoy Gateway sets a `vm_id`, leaves the filter off and turns it on by route, and knows
//! `fail_open` only.

use std::time::{Duration, Instant};

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::idp::Idp;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, paths, refusal};
use serde_json::json;

use crate::configuration;

struct World {
    gateway: Gateway,
    orders: Service,
    key: SigningKey,
    _idp: Idp,
}

impl World {
    /// Envoy as `host` would set it up, in front of `orders`.
    fn start(host: &str) -> Self {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let idp = Idp::plain(&jwks([&key])).unwrap();
        let orders = Service::plain("orders").unwrap();
        let mut filter = configuration(host);
        filter["mode"] = json!("enforce");
        let cluster = filter["providers"]["corp"]["jwks"]["cluster"].as_str().unwrap().to_owned();
        let mut config = json!({
            "root_id": "portcullis",
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": paths::module().unwrap()}},
            },
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": filter.to_string()},
        });
        let mut route = json!({"match": {"prefix": "/"}, "route": {"cluster": "orders"}});
        let mut entry = json!({"name": "portcullis"});
        if host == "istio.yaml" {
            config["name"] = json!("istio-ingress.portcullis");
            config["failure_policy"] = json!("FAIL_RELOAD");
        } else {
            config["name"] = json!("portcullis");
            config["fail_open"] = json!(false);
            config["vm_config"]["vm_id"] = json!("envoyextensionpolicy/gateway/portcullis/wasm/0");
            entry["disabled"] = json!(true);
            let on = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}});
            route["typed_per_filter_config"] = json!({"portcullis": on});
        }
        entry["typed_config"] =
            json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": config});
        let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
        let filters = json!([entry, {"name": "envoy.filters.http.router", "typed_config": {"@type": router}}]);
        let builder = Gateway::builder().route(route).cluster("orders", orders.port()).cluster(&cluster, idp.port());
        let builder = builder.connection_manager("http_filters", filters);
        let gateway = builder.connection_manager("request_timeout", json!("2s")).start().unwrap();
        let world = Self { gateway, orders, key, _idp: idp };
        let ready = || world.send(&world.get("/orders/1", "warm")).status == 200;
        assert!(eventually(Duration::from_secs(20), ready), "{}", world.gateway.log());
        world.orders.forget();
        world
    }

    fn send(&self, call: &Call) -> Response {
        Client::connect(self.gateway.port()).unwrap().call(call).unwrap()
    }

    fn get(&self, path: &str, subject: &str) -> Call {
        Call::get(path).bearer(&self.token(subject).sign(&self.key))
    }

    fn token(&self, subject: &str) -> Token {
        let token = Token::of(subject).claim("iss", json!("https://idp.example")).claim("aud", json!("orders-api"));
        token.scope("read_orders write_orders")
    }

    fn refused(&self, call: &Call, status: u16, reason: &str) {
        let before = self.orders.hits();
        refusal::check(&self.send(call), status, reason).unwrap();
        assert_eq!(self.orders.hits(), before, "{reason}: it reached the service");
    }
}

fn identity_rules_limits_and_attacks_in_heads(host: &str) {
    let world = World::start(host);
    let response = world.send(&world.get("/orders/7", "alice").header("x-user", "admin"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.upstream_header("x-user"), ["alice"]);
    assert_eq!(response.upstream_header("authorization"), Vec::<String>::new());

    world.refused(&Call::get("/orders/7"), 401, "credentials_missing");
    world.refused(&world.get("/nowhere", "alice"), 404, "route_unmatched");
    world.refused(&world.get("/orders/..%2freports", "alice"), 400, "path_encoded_slash");
    world.refused(&world.get("/orders/7?q=1%27%20or%20%271%27%3D%271", "alice"), 403, "payload_attack");
    let reader = world.token("bob").scope("read_orders").sign(&world.key);
    world.refused(&Call::new("POST", "/orders").bearer(&reader).body("{}"), 403, "scope_insufficient");

    // A body passes where no rule reads it.
    let writer = world.token("carol").sign(&world.key);
    let response = world.send(&Call::new("POST", "/orders").bearer(&writer).body(r#"{"item": "bread"}"#));
    assert_eq!((response.status, &response.json()["body"]), (200, &json!(r#"{"item": "bread"}"#)));

    // Shared by both workers: never more than the burst and what has come back since.
    let started = Instant::now();
    let admitted = (0..150).filter(|_| world.send(&world.get("/orders/8", "dave")).status == 200).count();
    let most = 61 + usize::try_from(started.elapsed().as_secs()).unwrap() * 10 + 10;
    assert!((60..=most).contains(&admitted), "{admitted} admitted, at most {most} may be");
    world.gateway.check_unharmed().unwrap();
}

/// Why the examples have no rule that judges bodies: such a request waits until the proxy gives it up. It is never let through.
fn a_body_that_a_rule_must_judge_never_passes(host: &str) {
    let world = World::start(host);
    for body in ["harmless", "<script>alert(1)</script>"] {
        let response = world.send(&world.get("/orders/7", "alice").body(body));
        assert_eq!(response.status, 504, "{}", response.text());
        assert_eq!(world.orders.hits(), 0, "{:?}", world.orders.requests());
    }
}

#[test]
fn as_istio_sets_it_up() {
    identity_rules_limits_and_attacks_in_heads("istio.yaml");
}

#[test]
fn as_envoy_gateway_sets_it_up() {
    identity_rules_limits_and_attacks_in_heads("envoy-gateway.yaml");
}

#[test]
fn bodies_under_istio() {
    a_body_that_a_rule_must_judge_never_passes("istio.yaml");
}

#[test]
fn bodies_under_envoy_gateway() {
    a_body_that_a_rule_must_judge_never_passes("envoy-gateway.yaml");
}
