//! A module that does nothing: what each has, whatever it does (`scripts/build --sizes`).

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
        self.get_plugin_configuration().is_some()
    }
}
