//! Who is asked: about opaque tokens by the filter as RFC 7662 says, by `ext_authz` with the request itself; about global limits as
//! Envoy's rate limit service is.

use anyhow::Result;
use portcullis_tests::mint::unix_seconds;
use portcullis_tests::rls::{self, Reply};
use portcullis_tests::server::{Answer, Server};
use serde_json::json;

/// The path of the introspection endpoint.
pub const INTROSPECTION_PATH: &str = "/introspect";

/// The header in which `ext_authz` learns who calls.
pub const USER_HEADER: &str = "x-user";

const USER: &str = "4f1c9b52-8f0e-4f0b-9a37-2d6f1c0a7e55";

/// A server in this process that takes every token for a good one, and has room in every limit; its time is not Envoy's.
///
/// # Errors
/// No port is free.
pub fn start() -> Result<Server> {
    let introspected = Answer::json(
        200,
        &json!({
            "active": true,
            "sub": USER,
            "client_id": "web-shop",
            "scope": "openid profile read_orders write_orders",
            "exp": unix_seconds().saturating_add(3600),
        }),
    );
    let mut allowed = Answer::status(200);
    allowed.headers.push((USER_HEADER.to_owned(), USER.to_owned()));
    let admitted = Reply { code: 1, ..Reply::default() }.to_answer();
    Server::start(0, None, move |request| match request.path.as_str() {
        INTROSPECTION_PATH => introspected.clone(),
        rls::PATH => admitted.clone(),
        _ => allowed.clone(),
    })
}
