//! The engine's counters as the proxy's metrics.

use std::collections::HashMap;

use portcullis_engine::CounterId;

use crate::host;

/// The proxy's metric ids by the engine's counter ids; each metric is defined when it is first counted.
#[derive(Debug, Default)]
pub struct Metrics {
    ids: HashMap<CounterId, Option<u32>>,
}

impl Metrics {
    /// Adds one to the counter; `name` is asked only the first time.
    pub fn count(&mut self, counter: CounterId, name: impl FnOnce() -> String) {
        let id = *self.ids.entry(counter).or_insert_with(|| host::define_counter(&name()));
        if let Some(id) = id {
            host::increment_counter(id, 1);
        }
    }
}
