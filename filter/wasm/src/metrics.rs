//! The engine's counters as the proxy's metrics.

use std::collections::HashMap;

use portcullis_engine::{CounterId, Engine, GaugeId};

use crate::host;
use crate::quick_hash::Quick;

/// The proxy's metric ids by the engine's counters; each metric is defined when it is first counted.
#[derive(Debug, Default)]
pub struct Metrics {
    ids: HashMap<CounterId, Option<u32>, Quick>,
    counts: Vec<(CounterId, u64)>,
    gauge_ids: HashMap<GaugeId, Option<u32>, Quick>,
    changes: Vec<(GaugeId, i64)>,
}

/// Counts what happens where there is no engine.
pub fn count_once(name: &str) {
    if let Some(id) = host::define_counter(name) {
        host::increment_metric(id, 1);
    }
}

impl Metrics {
    /// Hands the engine's counts to the proxy.
    pub fn flush(&mut self, engine: &mut Engine) {
        engine.take_counts(&mut self.counts);
        for (counter, count) in self.counts.drain(..) {
            let id = *self.ids.entry(counter).or_insert_with(|| host::define_counter(&engine.counter_name(counter)));
            if let Some(id) = id {
                host::increment_metric(id, i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        // By how much they change, and not what they are: workers share one gauge, which is their sum.
        engine.take_gauges(&mut self.changes);
        for (gauge, change) in self.changes.drain(..) {
            let id = *self.gauge_ids.entry(gauge).or_insert_with(|| host::define_gauge(&engine.gauge_name(gauge)));
            if let Some(id) = id {
                host::increment_metric(id, change);
            }
        }
    }
}
