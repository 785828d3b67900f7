//! What is measured and not counted, and under which name an operator finds it. See [`counters`](crate::COUNTERS) for how names carry labels.

use crate::counters::Label;
use crate::surge;

/// One gauge; [`Engine::gauge_name`](crate::Engine::gauge_name) gives its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GaugeId {
    /// Of a bound of a surge.
    Surge(surge::GaugeId),
    /// When the provider at this index gave its last good key set.
    KeySet(u16),
}

/// How a gauge moves. All workers share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaugeChange {
    /// By so much: the gauge is the sum of what the workers have.
    By(i64),
    /// To this value, whichever worker says so.
    To(u64),
}

const KEY_SET: &str = "portcullis_key_set_timestamp_seconds";

/// Every gauge for the reference: its name, its label, and what it tells.
pub fn gauges() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let of_surges = surge::GAUGES.iter().map(|(name, help)| (*name, "surge", *help));
    let help = "when the provider gave its last good key set, in seconds since 1970; not there before the first one";
    of_surges.chain([(KEY_SET, "provider", help)])
}

/// How long the filter itself has computed on a request, in microseconds: its callbacks together, without what they waited for.
pub const OWN_TIME: &str = "portcullis_filter_microseconds";
/// How long a request was held for somebody else's answer, in microseconds.
pub const WAIT_TIME: &str = "portcullis_wait_microseconds";
/// The filter's own time is measured on one of so many requests: reading the clock costs time too.
pub const OWN_TIME_EVERY: u32 = 16;

/// Every histogram for the reference: its name, and what it tells.
pub const HISTOGRAMS: &[(&str, &str)] = &[
    (
        OWN_TIME,
        "how long the filter itself has computed on a request, all its callbacks together; measured on one of 16 requests of each worker",
    ),
    (
        WAIT_TIME,
        "how long a request was held for somebody else's answer (a first key set, introspection, the limit service); of every one that was",
    ),
];

impl GaugeId {
    /// The gauge's name, with the label that `label` looks up.
    pub fn name<'a>(self, label: impl Fn(Label) -> Option<&'a str>) -> String {
        match self {
            Self::Surge(gauge) => gauge.name(|index| label(Label::Surge(index))),
            Self::KeySet(index) => format!("{KEY_SET}.provider.{}", label(Label::Provider(index)).unwrap_or("none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gauge_is_in_the_reference_with_its_label() {
        let ids =
            [GaugeId::Surge(surge::GaugeId::Bound(0)), GaugeId::Surge(surge::GaugeId::InFlight(0)), GaugeId::KeySet(0)];
        let names: Vec<String> = ids.iter().map(|id| id.name(|_| Some("a"))).collect();
        let listed: Vec<String> = gauges().map(|(name, label, _)| format!("{name}.{label}.a")).collect();
        assert_eq!(names, listed);
    }
}
