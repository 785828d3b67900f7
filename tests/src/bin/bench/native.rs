//! Envoy's own filters, set up to do what the filter does.

use portcullis_tests::keys::{SigningKey, jwks};
use portcullis_tests::mint::{AUDIENCE, ISSUER};
use serde_json::{Value, json};

use crate::authority;
use crate::chains::{api_key, http_filter};
use crate::load::API_KEY_HEADER;

/// How much the native chain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Native {
    /// Everything that the filter does.
    Full,
    /// The same decision, without headers set.
    Silent,
    /// The token alone, without the cache.
    Uncached,
}

/// `jwt_authn`.
pub fn jwt_authn(key: &SigningKey, native: Native) -> Value {
    let mut provider = json!({
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": jwks([key]).to_string()},
        "forward": true,
        "payload_in_metadata": "claims",
    });
    if let Some(provider) = provider.as_object_mut() {
        if native == Native::Full {
            let headers = json!([
                {"header_name": "x-user", "claim_name": "sub"},
                {"header_name": "x-scopes", "claim_name": "scope"},
            ]);
            provider.insert("claim_to_headers".to_owned(), headers);
        }
        if native != Native::Uncached {
            provider.insert("jwt_cache_config".to_owned(), json!({"jwt_cache_size": 1000}));
        }
    }
    http_filter(
        "jwt_authn",
        "jwt_authn.v3.JwtAuthentication",
        json!({
            "providers": {"corp": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}],
        }),
    )
}

/// `rbac` on the scope.
pub fn rbac() -> Value {
    let scope = json!({"metadata": {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "claims"}, {"key": "scope"}],
        "value": {"string_match": {"contains": "read_orders"}},
    }});
    http_filter(
        "rbac",
        "rbac.v3.RBAC",
        json!({"rules": {
            "action": "ALLOW",
            "policies": {"orders": {"permissions": [{"any": true}], "principals": [scope]}},
        }}),
    )
}

/// `local_ratelimit`.
pub fn local_ratelimit(native: Native) -> Value {
    let always = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    let mut config = json!({
        "stat_prefix": "per_client",
        "token_bucket": {"max_tokens": 1_000_000, "tokens_per_fill": 1_000_000, "fill_interval": "1s"},
        "filter_enabled": always,
        "filter_enforced": always,
    });
    if let Some(config) = config.as_object_mut().filter(|_| native == Native::Full) {
        config.insert("enable_x_ratelimit_headers".to_owned(), json!("DRAFT_VERSION_03"));
    }
    http_filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", config)
}

/// `ext_authz` over HTTP: it asks `cluster` about each request and takes over the header that says who calls.
pub fn ext_authz(cluster: &str) -> Value {
    let user = json!({"patterns": [{"exact": authority::USER_HEADER}]});
    http_filter(
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        json!({"http_service": {
            "server_uri": {"uri": "http://127.0.0.1", "cluster": cluster, "timeout": "2s"},
            "authorization_response": {"allowed_upstream_headers": user},
        }}),
    )
}

/// `api_key_auth` with so many keys; it says who calls.
pub fn api_key_auth(count: usize) -> Value {
    let credential = |number| json!({"key": api_key(number), "client": format!("client-{number}")});
    let credentials: Vec<Value> = (0..count).map(credential).collect();
    http_filter(
        "api_key_auth",
        "api_key_auth.v3.ApiKeyAuth",
        json!({
            "credentials": credentials,
            "key_sources": [{"header": API_KEY_HEADER}],
            "forwarding": {"header": authority::USER_HEADER},
        }),
    )
}
