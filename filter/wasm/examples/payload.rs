//! The payload rules alone as a module: how much of the filter they are (`scripts/build --sizes`).
//!
//! It judges its own configuration as every part of a request, so that the linker keeps all that judging needs.

use portcullis_payload::{Scanner, Scratch, Settings, arguments};
use proxy_wasm::traits::{Context, RootContext};

#[allow(unsafe_code)]
mod start {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(super::Root));
    }}
}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let Some(scanner) = Scanner::new() else { return false };
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        let (settings, mut scratch) = (Settings::default(), Scratch::default());
        let headers: [(&[u8], &[u8]); 2] = [(b"content-type", &bytes), (b"cookie", &bytes)];
        let request = arguments::Request { method: &bytes, target: &bytes, headers: &headers, body: &bytes };
        let mut inspection = scanner.begin(&settings, &mut scratch);
        arguments::inspect(&request, &mut inspection);
        inspection.finish().findings().is_empty()
    }
}
