//! One OAuth flow with a real identity provider, Debian's `glewlwyd`: its tokens, its key set, its introspection and
//! revocation, in front of the real Envoy. Where it is not installed, the tests say so and pass.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::elsewhere::skipped;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::glewlwyd::{AUDIENCE, BILLING, GATEWAY, Glewlwyd, INTROSPECT};
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, refusal};
use serde_json::{Value, json};

/// How long the gateway takes the provider's word for an opaque token.
const CACHE: Duration = Duration::from_secs(2);
/// The shortest refresh that there is, the tick of a worker that notices late, and a slow machine.
const AFTER_A_REFRESH: Duration = Duration::from_secs(15);

/// So many connections that both workers have some: that all fall to one has a chance of one in two thousand million.
const CONNECTIONS: usize = 32;

/// A gateway for which the same tokens are JWTs under `/orders/jwt` and opaque under `/orders/opaque`.
struct World {
    provider: Glewlwyd,
    gateway: Gateway,
    _service: Service,
}

impl World {
    /// `None`, and one line that says why, where there is no such provider on this machine.
    fn start() -> Option<Self> {
        if let Some(missing) = Glewlwyd::missing() {
            skipped(&format!("identity provider ({missing} is missing: scripts/setup --with-identity-provider)"));
            return None;
        }
        let provider = Glewlwyd::start().unwrap_or_else(|error| panic!("{error:#}"));
        let service = Service::plain("orders").unwrap();
        let gateway = Gateway::builder()
            .filter(filter(&provider.issuer()))
            .env("INTROSPECTION_TOKEN", &provider.token(GATEWAY, INTROSPECT).unwrap())
            .cluster("idp", provider.port())
            .service(&service)
            .start()
            .unwrap_or_else(|error| panic!("{error:#}"));
        Some(Self { provider, gateway, _service: service })
    }

    fn get(&self, path: &str, token: &str) -> Response {
        Client::connect(self.gateway.port()).unwrap().call(&Call::get(path).bearer(token)).unwrap()
    }

    /// Waits until both workers answer so: each notices for itself.
    fn becomes(&self, path: &str, token: &str, status: u16, patience: Duration) -> Response {
        let agreed = || (0..CONNECTIONS).all(|_| self.get(path, token).status == status);
        assert!(eventually(patience, agreed), "{path} is not {status} everywhere:\n{}", self.gateway.log());
        self.get(path, token)
    }
}

fn filter(issuer: &str) -> Value {
    let (read, write) = (json!({"all": ["orders:read"]}), json!({"all": ["orders:write"]}));
    json!({
        "version": 1,
        "providers": {
            "jwt": {
                "issuer": issuer, "audiences": [AUDIENCE], "algorithms": ["ES256"], "profile": "rfc9068",
                "discovery": {"cluster": "idp", "refresh": "5s", "unknown_kid_cooldown": "1s"},
                "forward": {"headers": {"x-user": "sub", "x-scopes": "scope"}},
            },
            "opaque": {
                "issuer": issuer, "audiences": [AUDIENCE],
                "introspection": {
                    "cluster": "idp", "path": "/api/oidc/introspect", "client_authentication": "bearer",
                    "client_secret": {"env": "INTROSPECTION_TOKEN"},
                    "cache": format!("{}s", CACHE.as_secs()), "negative_cache": "1s",
                },
                "forward": {"headers": {"x-user": "client_id", "x-scopes": "scope"}},
            },
        },
        "rules": [
            {"match": {"prefix": "/orders/jwt/write"}, "require": "jwt", "scopes": write},
            {"match": {"prefix": "/orders/jwt"}, "require": "jwt", "scopes": read},
            {"match": {"prefix": "/orders/opaque/write"}, "require": "opaque", "scopes": write},
            {"match": {"prefix": "/orders/opaque"}, "require": "opaque", "scopes": read},
        ],
    })
}

#[test]
fn a_real_providers_token_passes_with_its_own_scopes_and_no_others() {
    let Some(world) = World::start() else { return };
    let token = world.provider.token(BILLING, "orders:read").unwrap();
    for path in ["/orders/jwt", "/orders/opaque"] {
        let answer = world.get(path, &token);
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.text(), world.gateway.log());
        assert_eq!(answer.upstream_header("x-user"), ["billing"]);
        assert_eq!(answer.upstream_header("x-scopes"), ["orders:read"]);
        refusal::check(&world.get(&format!("{path}/write"), &token), 403, "scope_insufficient").unwrap();
    }
    let both = world.provider.token(BILLING, "orders:read orders:write").unwrap();
    for path in ["/orders/jwt/write", "/orders/opaque/write", "/orders/jwt", "/orders/opaque"] {
        assert_eq!(world.get(path, &both).status, 200, "{path}");
    }
    // One token's claims with another's signature.
    let (claims, signature) = (both.rsplit_once('.').unwrap().0, token.rsplit_once('.').unwrap().1);
    let forged = format!("{claims}.{signature}");
    refusal::check(&world.get("/orders/jwt", &forged), 401, "token_signature_invalid").unwrap();
    refusal::check(&world.get("/orders/opaque", &forged), 401, "token_inactive").unwrap();
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_token_that_the_provider_revokes_is_refused_once_the_cache_is_over() {
    let Some(world) = World::start() else { return };
    let token = world.provider.token(BILLING, "orders:read").unwrap();
    let other = world.provider.token(BILLING, "orders:read").unwrap();
    for token in [&token, &other] {
        assert_eq!(world.get("/orders/opaque", token).status, 200);
    }
    world.provider.revoke(BILLING, &token).unwrap();
    let answer = world.becomes("/orders/opaque", &token, 401, CACHE + Duration::from_secs(5));
    refusal::check(&answer, 401, "token_inactive").unwrap();
    assert_eq!(world.get("/orders/opaque", &other).status, 200, "the client's other token lives on");
    assert_eq!(
        world.get("/orders/jwt", &token).status,
        200,
        "a JWT is good until it expires: nobody asks the provider"
    );
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_key_that_the_provider_rotates_is_followed() {
    let Some(world) = World::start() else { return };
    let old = world.provider.token(BILLING, "orders:read").unwrap();
    assert_eq!(world.get("/orders/jwt", &old).status, 200);
    world.provider.rotate().unwrap();
    let new = world.provider.token(BILLING, "orders:read").unwrap();
    world.becomes("/orders/jwt", &new, 200, AFTER_A_REFRESH);
    world.becomes("/orders/jwt", &old, 401, AFTER_A_REFRESH);
    world.gateway.check_unharmed().unwrap();
}
