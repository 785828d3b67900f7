//! Portcullis on a real Envoy: what the end-to-end tests and the demo of `scripts/run` share.
//!
//! Everything here is the real thing on loopback: the pinned Envoy with the built module, TLS and mTLS with a demo
//! certificate authority, HTTP services, an identity provider's key set endpoint. A test usually needs three lines:
//! a [`services::Service`], a [`gateway::Gateway`] in front of it, and a request of [`client::Client`].
//! What is started is stopped when its handle is dropped, and at the latest when the process ends.
#![forbid(unsafe_code)]

pub mod cases;
pub mod client;
pub mod collector;
pub mod config;
pub mod dpop;
pub mod elsewhere;
pub mod envoy;
pub mod files;
pub mod filter;
pub mod gate;
pub mod gateway;
pub mod glewlwyd;
pub mod idp;
pub mod introspection;
pub mod keys;
pub mod live;
pub mod mint;
pub mod paths;
mod pieces;
pub mod pki;
pub mod process;
pub mod prometheus;
pub mod protected;
pub mod protobuf;
pub mod redis;
pub mod reference;
pub mod refusal;
pub mod rls;
pub mod server;
pub mod services;
pub mod streams;
pub mod tls;

use std::time::{Duration, Instant};

/// Asks `condition` again and again until it holds; `false` if it does not within `patience`.
pub fn eventually(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
