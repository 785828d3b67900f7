//! Configurations of the filter, as tests need them again and again.

use serde_json::{Value, json};

use crate::mint::{AUDIENCE, ISSUER};

/// A provider for tokens of [`Token::of`](crate::mint::Token::of): `jwks` as the configuration writes it.
pub fn provider(algorithms: &[&str], jwks: Value) -> Value {
    json!({
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "algorithms": algorithms,
        "jwks": jwks,
        "claims": {"require": ["sub"]},
        "forward": {"headers": {"x-user": "sub", "x-scopes": "scope"}},
    })
}

/// A configuration in which the provider `corp` vouches for everybody, on every path.
pub fn guarded(corp: Value) -> Value {
    json!({
        "version": 1,
        "providers": {"corp": corp},
        "policies": {"user": {"require": {"any": ["corp"]}}},
        "defaults": {"policy": "user"},
        "rules": [{"name": "all", "match": {}, "use": "user"}],
    })
}
