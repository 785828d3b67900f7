//! Portcullis as a proxy-wasm filter.
//!
//! This crate translates between the proxy and `portcullis-engine` and decides nothing: [`host`] holds every host
//! call, [`root`] the life of a configuration in one worker, [`stream`] the life of one request.
#![deny(unsafe_code)]

mod allocator;
mod host;
mod metrics;
mod quick_hash;
mod root;
mod stream;
mod verdict;

use proxy_wasm::types::LogLevel;

// The SDK's macro exports `_initialize` under a fixed symbol, which is `unsafe` to declare.
#[allow(unsafe_code)]
mod start {
    use super::*;

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Info);
        proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
    }}
}
