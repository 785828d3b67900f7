//! The engine's counters as the proxy's metrics.

use std::collections::HashMap;

use portcullis_engine::{CounterId, Engine};

use crate::host;
use crate::quick_hash::Quick;

/// The proxy's metric ids by the engine's counters; each metric is defined when it is first counted.
#[derive(Debug, Default)]
pub struct Metrics {
    ids: HashMap<CounterId, Option<u32>, Quick>,
    counts: Vec<(CounterId, u64)>,
}

/// Counts what happens where there is no engine.
pub fn count_once(name: &str) {
    if let Some(id) = host::define_counter(name) {
        host::increment_counter(id, 1);
    }
}

impl Metrics {
    /// Hands the engine's counts to the proxy.
    pub fn flush(&mut self, engine: &mut Engine) {
        engine.take_counts(&mut self.counts);
        for (counter, count) in self.counts.drain(..) {
            let id = *self.ids.entry(counter).or_insert_with(|| host::define_counter(&engine.counter_name(counter)));
            if let Some(id) = id {
                host::increment_counter(id, i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
}
