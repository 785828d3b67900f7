//! What all limit algorithms share: the counter of one client, and the answers to a request.

use std::time::Duration;

use super::{fixed_window, gcra, in_flight, sliding_window};
use crate::time::UnixNanos;

/// How a limit counts; each variant's module says what it guarantees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// An even rate with a burst: the default.
    Gcra(gcra::Quota),
    /// A count per window of the clock, such as the UTC day.
    FixedWindow(fixed_window::Quota),
    /// A count in any window, wherever it starts.
    SlidingWindow(sliding_window::Quota),
    /// Slots of requests that are on their way.
    InFlight(in_flight::Quota),
}

impl Algorithm {
    /// Charges `cost` to `counter` as it stands at `now`.
    ///
    /// # Errors
    /// [`Refused`] where the quota does not hold `cost` at `now`; nothing is charged.
    pub fn take(&self, counter: Counter, cost: u64, now: UnixNanos) -> Result<Taken, Refused> {
        match self {
            Self::Gcra(quota) => gcra::take(counter, quota, cost, now),
            Self::FixedWindow(quota) => fixed_window::take(counter, quota, cost, now),
            Self::SlidingWindow(quota) => sliding_window::take(counter, quota, cost, now),
            Self::InFlight(quota) => in_flight::take(counter, quota, cost),
        }
    }

    /// The counter after a charge that cannot be refused any more, since what it is for has been used already. It may leave a
    /// debt, as the algorithm's module says.
    pub fn owe(&self, counter: Counter, cost: u64, now: UnixNanos) -> Counter {
        match self {
            Self::Gcra(quota) => gcra::owe(counter, quota, cost, now),
            Self::FixedWindow(quota) => fixed_window::owe(counter, quota, cost, now),
            Self::SlidingWindow(quota) => sliding_window::owe(counter, quota, cost, now),
            Self::InFlight(quota) => in_flight::owe(counter, quota, cost),
        }
    }

    /// The counter without what `spent` charged, as far as time has not forgiven it already.
    ///
    /// `None` where there is nothing to give back. It never gives back more than was taken, and after it the counter
    /// admits no more than if the charge had never been made. A clock that stepped back since forfeits the refund.
    pub fn give_back(&self, counter: Counter, spent: &Spent, now: UnixNanos) -> Option<Counter> {
        if now < spent.at {
            return None;
        }
        match self {
            Self::Gcra(_) => gcra::give_back(counter, spent, now),
            Self::FixedWindow(_) => fixed_window::give_back(counter, spent, now),
            Self::SlidingWindow(quota) => sliding_window::give_back(counter, quota, spent, now),
            Self::InFlight(quota) => in_flight::give_back(counter, quota, spent),
        }
    }

    /// The most cost that is ever admitted at once: the burst, the limit of a window, or all slots.
    pub fn most_at_once(&self) -> u64 {
        match self {
            Self::Gcra(quota) => quota.burst().get(),
            Self::FixedWindow(quota) => quota.limit().get(),
            Self::SlidingWindow(quota) => quota.limit(),
            Self::InFlight(quota) => quota.most().get().into(),
        }
    }

    /// The cost that a [`window`](Self::window) admits; where there is none, the slots.
    pub fn per_window(&self) -> u64 {
        match self {
            Self::Gcra(quota) => quota.requests().get(),
            Self::FixedWindow(quota) => quota.limit().get(),
            Self::SlidingWindow(quota) => quota.limit(),
            Self::InFlight(quota) => quota.most().get().into(),
        }
    }

    /// The window that the rate speaks of; `None` for months, which differ in length, and for requests in flight, which have none.
    pub fn window(&self) -> Option<Duration> {
        match self {
            Self::Gcra(quota) => Some(quota.window()),
            Self::FixedWindow(quota) => quota.window(),
            Self::SlidingWindow(quota) => Some(quota.window()),
            Self::InFlight(_) => None,
        }
    }

    /// What a client is told of `standing`: what is left of the quota, and the seconds in which it should use no more than that.
    ///
    /// A window of the clock ends when it does. Elsewhere the rate brings back so much in the time that is told: whoever spends what is left
    /// evenly over it, or at once and then waits for it, keeps to the rate, and nobody takes `999` with `1` second for a thousand per second.
    pub fn told(&self, standing: &Standing) -> (u64, Duration) {
        let remaining = standing.remaining.min(self.per_window());
        match (self, self.window()) {
            (Self::Gcra(_) | Self::SlidingWindow(_), Some(window)) => {
                let nanos =
                    window.as_nanos().saturating_mul(remaining.into()).div_ceil(self.per_window().max(1).into());
                let refill = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                (remaining, refill.max(standing.more_after))
            }
            _ => (remaining, standing.more_after),
        }
    }

    /// The longest time for which one counter can stay busy after its last charge.
    pub fn longest_debt(&self) -> Duration {
        match self {
            Self::Gcra(quota) => quota.longest_debt(),
            Self::FixedWindow(quota) => quota.longest_debt(),
            Self::SlidingWindow(quota) => quota.longest_debt(),
            Self::InFlight(quota) => quota.longest_debt(),
        }
    }

    /// Whether it counts requests in flight, so that what is charged is given back when the request ends.
    pub fn is_in_flight(&self) -> bool {
        matches!(self, Self::InFlight(_))
    }

    /// The same in a period of the lease clock, where that matters.
    #[must_use]
    pub fn in_period(self, period: u64) -> Self {
        match self {
            Self::InFlight(quota) => Self::InFlight(quota.in_period(period)),
            other => other,
        }
    }

    /// The instant by which a table tells whether counters are idle, at `now`: requests in flight have a clock of their own.
    pub(super) fn instant(&self, now: UnixNanos) -> UnixNanos {
        match self {
            Self::InFlight(quota) => quota.instant(),
            Self::Gcra(_) | Self::FixedWindow(_) | Self::SlidingWindow(_) => now,
        }
    }

    /// Tells the algorithms apart in hashes: a limit that changes its algorithm starts with new counters instead of
    /// misreading the old ones.
    pub(super) fn tag(&self) -> u8 {
        match self {
            Self::Gcra(_) => 1,
            Self::FixedWindow(_) => 2,
            Self::SlidingWindow(_) => 3,
            Self::InFlight(_) => 4,
        }
    }
}

/// What a limit remembers about one client: two words, the same for all algorithms.
///
/// The default is a client that was never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Counter {
    /// Nanoseconds since the epoch from which on the counter holds nothing: it may then be forgotten without a loss.
    pub busy_until: u64,
    /// The algorithm's own word.
    pub memo: u64,
}

/// How a client stands after a request that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How much more cost would be admitted at once.
    pub remaining: u64,
    /// When `remaining` next grows without further requests; zero if nothing is in use.
    pub more_after: Duration,
    /// When the whole quota is available again without further requests.
    pub reset_after: Duration,
}

/// A request that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The counter with the charge: to be stored before the request goes on.
    pub counter: Counter,
    /// What was charged, for giving it back.
    pub spent: Spent,
    /// What the client may be told.
    pub standing: Standing,
}

/// A request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The wait after which the same request is admitted if nothing else comes in between. `None`: no wait helps,
    /// since the cost is greater than the whole quota.
    pub retry_after: Option<Duration>,
    /// When the whole quota is available again without further requests.
    pub reset_after: Duration,
    /// A counter to be stored although nothing was charged: the clock stepped back so far that the old one would lock
    /// the client out.
    pub repaired: Option<Counter>,
}

/// What one admitted request charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub(super) at: UnixNanos,
    /// GCRA: nanoseconds of debt. Windows: the cost.
    pub(super) amount: u64,
    /// GCRA: the arrival time after the charge. Windows: which window.
    pub(super) mark: u64,
    /// GCRA: the counter's memo at the charge.
    pub(super) memo: u64,
}

/// A quota that cannot be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaError {
    /// The window is zero.
    EmptyWindow,
    /// The window, or the time in which the burst refills, is over [`LONGEST_SPAN`].
    TooLong,
    /// The limit is above what this algorithm can count.
    TooMany {
        /// The greatest limit that it can count.
        maximum: u64,
    },
}

impl std::fmt::Display for QuotaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EmptyWindow => f.write_str("the window is zero"),
            Self::TooLong => f.write_str("the window, or the time in which the burst refills, is over ten years"),
            Self::TooMany { maximum } => write!(f, "this algorithm counts to {maximum} at most"),
        }
    }
}

impl std::error::Error for QuotaError {}

/// The longest window, and the longest refill of a burst: ten years.
pub const LONGEST_SPAN: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How far the clock may step back before a counter in the future is taken for a remnant of the old clock, where the
/// quota's own time is shorter: workers read the clock at slightly different moments.
pub(super) const CLOCK_SLACK: u64 = 1_000_000_000;

/// `wait` in whole seconds, rounded up, as `Retry-After` needs it (RFC 9110, section 10.2.3).
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn told(algorithm: Algorithm, remaining: u64, more_after: u64) -> (u64, u64) {
        let more_after = Duration::from_millis(more_after);
        let standing = Standing { remaining, more_after, reset_after: Duration::from_secs(60) };
        let (remaining, window) = algorithm.told(&standing);
        (remaining, whole_seconds(window))
    }

    #[test]
    fn what_is_told_as_left_is_never_more_than_the_rate_brings_in_the_time_that_is_told() {
        let number = |number| NonZeroU64::new(number).unwrap();
        let minute = Duration::from_secs(60);
        let gcra = |burst| Algorithm::Gcra(gcra::Quota::new(number(1_000), minute, number(burst)).unwrap());
        assert_eq!(told(gcra(1_000), 999, 60), (999, 60));
        assert_eq!(told(gcra(1_000), 1, 60), (1, 1));
        assert_eq!(told(gcra(1_000), 0, 60), (0, 1));
        assert_eq!(told(gcra(1_000), 1_000, 0), (1_000, 60), "nothing is in use");
        assert_eq!(told(gcra(10), 9, 60), (9, 1));
        assert_eq!(told(gcra(5_000), 4_999, 60), (1_000, 60), "a burst above the rate: one window's worth");
        let slow = Algorithm::Gcra(gcra::Quota::new(number(2), minute, number(2)).unwrap());
        assert_eq!((told(slow, 1, 30_000), told(slow, 0, 29_500)), ((1, 30), (0, 30)));
        let sliding = Algorithm::SlidingWindow(sliding_window::Quota::new(number(100), minute).unwrap());
        assert_eq!((told(sliding, 50, 1), told(sliding, 0, 1)), ((50, 30), (0, 1)));
        // A window of the clock has an end, and a client may know it.
        let fixed = Algorithm::FixedWindow(fixed_window::Quota::new(number(1_000), minute).unwrap());
        assert_eq!(told(fixed, 900, 7_000), (900, 7));
        let monthly = Algorithm::FixedWindow(fixed_window::Quota::monthly(number(1_000)));
        assert_eq!(told(monthly, 900, 3_600_000), (900, 3_600));
        let endless = Algorithm::Gcra(gcra::Quota::new(number(u64::MAX), minute, number(1)).unwrap());
        assert_eq!(told(endless, u64::MAX, 0), (u64::MAX, 60));
    }

    #[test]
    fn a_wait_is_rounded_up_and_a_whole_second_is_not() {
        assert_eq!(whole_seconds(Duration::ZERO), 0);
        assert_eq!(whole_seconds(Duration::from_nanos(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(1)), 1);
        assert_eq!(whole_seconds(Duration::new(1, 1)), 2);
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
