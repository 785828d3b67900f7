//! The engine's counters as the proxy's metrics.

use std::collections::HashMap;
use std::time::Duration;

use portcullis_engine::{CounterId, Engine, GaugeChange, GaugeId};

use crate::host;
use crate::quick_hash::Quick;

/// The proxy's metric ids by the engine's counters; each metric is defined when it is first counted.
#[derive(Debug, Default)]
pub struct Metrics {
    ids: HashMap<CounterId, Option<u32>, Quick>,
    counts: Vec<(CounterId, u64)>,
    gauge_ids: HashMap<GaugeId, Option<u32>, Quick>,
    changes: Vec<(GaugeId, GaugeChange)>,
    histogram_ids: HashMap<&'static str, Option<u32>, Quick>,
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
        engine.take_gauges(&mut self.changes);
        for (gauge, change) in self.changes.drain(..) {
            let id = *self.gauge_ids.entry(gauge).or_insert_with(|| host::define_gauge(&engine.gauge_name(gauge)));
            match (id, change) {
                (Some(id), GaugeChange::By(change)) => host::increment_metric(id, change),
                (Some(id), GaugeChange::To(value)) => host::record_metric(id, value),
                (None, _) => {}
            }
        }
    }

    /// Adds a time to a histogram, in microseconds.
    pub fn record(&mut self, histogram: &'static str, time: Duration) {
        let id = *self.histogram_ids.entry(histogram).or_insert_with(|| host::define_histogram(histogram));
        if let Some(id) = id {
            host::record_metric(id, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }
}
