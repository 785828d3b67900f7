//! Points in time. The engine has no clock: the shell passes `now` into every call that needs it.

use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00Z, as the host's clock gives them; good until the year 2554.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// The instant `seconds` after the epoch; a value past the year 2554 becomes the last representable instant.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Whole milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This instant moved forward by `span`; stops at the last representable instant.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// The span from `earlier` to `self`; zero if `earlier` lies in the future, as after a clock step.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// `span` in nanoseconds; a span over 584 years becomes the longest representable one.
pub fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_yields_no_time() {
        assert_eq!(UnixNanos::from_secs(10).since(UnixNanos::from_secs(11)), Duration::ZERO);
    }

    #[test]
    fn the_far_future_saturates() {
        assert_eq!(UnixNanos::from_secs(u64::MAX).plus(Duration::MAX), UnixNanos(u64::MAX));
    }
}
