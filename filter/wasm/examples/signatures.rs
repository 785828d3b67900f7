//! A module for tests: says which signatures verify, by the filter's own host call and the engine's own verification.
//!
//! Conformance vectors sign messages that are no tokens, so no request through the filter itself could carry them. A body
//! to this module is an array of questions `[algorithm, JWK, signature, message]`, the last two in base64url; the answer has two
//! characters for each: `+` or `-` for the verdict (`.`: the key is not used), then how often the host itself decided.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_engine::jwt::{Algorithm, KeySet, signature};
use portcullis_engine::ports::{HostScheme, HostSignatures};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use serde_json::{Value, json};

use self::host::{Buffer, ProxyHost};

#[allow(dead_code)]
#[path = "../src/host.rs"]
mod host;

#[allow(unsafe_code)]
mod start {
    proxy_wasm::main! {{
        proxy_wasm::set_http_context(|_, _| Box::new(super::Stream));
    }}
}

struct Stream;

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if end_of_stream {
            let body = host::buffer(Buffer::Request, size).unwrap();
            let questions: Vec<(String, Value, String, String)> = serde_json::from_slice(&body).unwrap();
            let answers: String = questions.iter().map(answer).collect();
            host::send_local_response(200, "answered", &[("content-type", "text/plain".to_owned())], &answers);
        }
        Action::Pause
    }
}

/// The host's cryptography, and how often it gave a verdict.
struct Counted {
    host: ProxyHost,
    verdicts: Cell<u32>,
}

impl HostSignatures for Counted {
    fn verify(&self, scheme: HostScheme, spki_der: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        let verdict = self.host.verify(scheme, spki_der, signature, message);
        self.verdicts.set(self.verdicts.get() + u32::from(verdict.is_some()));
        verdict
    }
}

fn answer((algorithm, jwk, signature, message): &(String, Value, String, String)) -> String {
    let algorithm = Algorithm::ALL.into_iter().find(|known| known.name() == algorithm).unwrap();
    let (keys, _) = KeySet::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    let Some(key) = keys.keys().first() else { return ".0".to_owned() };
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let host = Counted { host: ProxyHost::probe(), verdicts: Cell::new(0) };
    let verified = signature::verify(algorithm, key, &decode(signature), &decode(message), &host);
    format!("{}{}", if verified { '+' } else { '-' }, host.verdicts.get())
}
