//! A count per window of the clock: "1000 per UTC day", "1000000 per month".
//!
//! The counter holds the window's end and how much was charged in it. Windows are whole multiples of their length since
//! 1970-01-01T00:00:00Z, so that a day is the UTC day; or they are the months of the calendar, in UTC.
//!
//! **Guarantee.** At most `limit` cost is admitted in each window. A span of that length which is not aligned to a window may
//! see up to twice the limit (the end of one window and the start of the next); where that matters, use
//! [`sliding_window`](super::sliding_window) or [`gcra`](super::gcra).
//!
//! **Clock steps.** A clock that steps back stays in the window it was in, with its count. If that window ends more than two
//! windows (at least one window and a second; a month counts as 31 days) ahead, its count moves to the window after the present one: nobody is locked
//! out for longer than that, and nobody gains. A clock that steps forward over the end starts a new window.
//!
//! **Debt.** [`owe`] charges what was used already, up to twice the limit; the end of the window ends the debt too.

use std::num::NonZeroU64;
use std::time::Duration;

use super::algorithm::{CLOCK_SLACK, Counter, LONGEST_SPAN, QuotaError, Refused, Spent, Standing, Taken};
use crate::time::{UnixNanos, end_of_month, nanos};

/// Charges `cost` to `counter` as it stands at `now`.
///
/// # Errors
/// [`Refused`] where less than `cost` is left in the window.
pub fn take(counter: Counter, quota: &Quota, cost: u64, now: UnixNanos) -> Result<Taken, Refused> {
    let (current, repaired) = quota.current(counter, now);
    let reset_after = Duration::from_nanos(current.busy_until.saturating_sub(now.0));
    let count =
        current.memo.checked_add(cost).filter(|&count| count <= quota.limit.get() && current.busy_until > now.0);
    let Some(count) = count else {
        return Err(Refused {
            retry_after: (cost <= quota.limit.get()).then_some(reset_after),
            reset_after,
            repaired: repaired.then_some(current),
        });
    };
    let more_after = if count == 0 { Duration::ZERO } else { reset_after };
    Ok(Taken {
        counter: Counter { memo: count, ..current },
        spent: Spent { at: now, amount: cost, mark: current.busy_until, memo: 0 },
        standing: Standing { remaining: quota.limit.get().saturating_sub(count), more_after, reset_after: more_after },
    })
}

/// The counter after a charge that nobody can refuse any more, up to twice the limit.
pub(super) fn owe(counter: Counter, quota: &Quota, cost: u64, now: UnixNanos) -> Counter {
    let (current, _) = quota.current(counter, now);
    let most = quota.limit.get().saturating_mul(2).max(current.memo);
    Counter { memo: current.memo.saturating_add(cost).min(most), ..current }
}

/// The counter without the charge, while the window in which it was made still runs.
pub(super) fn give_back(counter: Counter, spent: &Spent, now: UnixNanos) -> Option<Counter> {
    let runs = spent.mark == counter.busy_until && now.0 < counter.busy_until;
    (runs && spent.amount > 0).then(|| Counter { memo: counter.memo.saturating_sub(spent.amount), ..counter })
}

/// How much a client may do in each window of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    limit: NonZeroU64,
    window: Window,
}

/// Where windows begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// At multiples of so many nanoseconds.
    Length(u64),
    /// With the months of the calendar, in UTC.
    Month,
}

/// The longest month.
const LONGEST_MONTH: u64 = 31 * 86_400 * 1_000_000_000;

impl Quota {
    /// A quota of `limit` in each `window`.
    ///
    /// # Errors
    /// [`QuotaError::EmptyWindow`]; [`QuotaError::TooLong`] for a window over ten years.
    pub fn new(limit: NonZeroU64, window: Duration) -> Result<Self, QuotaError> {
        if window.is_zero() {
            return Err(QuotaError::EmptyWindow);
        }
        if window > LONGEST_SPAN {
            return Err(QuotaError::TooLong);
        }
        Ok(Self { limit, window: Window::Length(nanos(window)) })
    }

    /// A quota of `limit` in each month of the calendar, in UTC.
    pub fn monthly(limit: NonZeroU64) -> Self {
        Self { limit, window: Window::Month }
    }

    /// The most that is admitted in a window.
    pub fn limit(&self) -> NonZeroU64 {
        self.limit
    }

    /// A window's length; `None` for months, which differ.
    pub fn window(&self) -> Option<Duration> {
        match self.window {
            Window::Length(length) => Some(Duration::from_nanos(length)),
            Window::Month => None,
        }
    }

    /// The longest time for which a counter stays busy: one window.
    pub fn longest_debt(&self) -> Duration {
        Duration::from_nanos(self.longest())
    }

    fn longest(&self) -> u64 {
        match self.window {
            Window::Length(length) => length,
            Window::Month => LONGEST_MONTH,
        }
    }

    /// The end of the window that holds the instant `at`.
    fn end_of(&self, at: u64) -> u64 {
        match self.window {
            Window::Length(length) => at.checked_div(length).unwrap_or(0).saturating_add(1).saturating_mul(length),
            Window::Month => end_of_month(UnixNanos(at)).0,
        }
    }

    /// The counter of the window that runs at `now`, and whether it had to be brought back from the future.
    fn current(&self, counter: Counter, now: UnixNanos) -> (Counter, bool) {
        let slack = self.longest().max(CLOCK_SLACK);
        if counter.busy_until <= now.0 {
            (Counter { busy_until: self.end_of(now.0), memo: 0 }, false)
        } else if counter.busy_until > now.0.saturating_add(self.longest()).saturating_add(slack) {
            (Counter { busy_until: self.end_of(self.end_of(now.0)), ..counter }, true)
        } else {
            (counter, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::parse_rfc3339;

    const MINUTE: Duration = Duration::from_secs(60);

    fn three_a_minute() -> Quota {
        Quota::new(NonZeroU64::new(3).unwrap(), MINUTE).unwrap()
    }

    fn full_at(now: UnixNanos) -> Taken {
        take(Counter::default(), &three_a_minute(), 3, now).unwrap()
    }

    #[test]
    fn the_window_is_that_of_the_clock() {
        let full = full_at(UnixNanos::from_secs(119));
        assert_eq!(
            full.standing,
            Standing { remaining: 0, more_after: Duration::from_secs(1), reset_after: Duration::from_secs(1) }
        );
        let refused = take(full.counter, &three_a_minute(), 1, UnixNanos(119_999_999_999)).unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_nanos(1)));
        assert_eq!(take(full.counter, &three_a_minute(), 1, UnixNanos::from_secs(120)).unwrap().standing.remaining, 2);
    }

    #[test]
    fn a_cost_above_the_limit_is_never_admitted() {
        for cost in [4, u64::MAX] {
            let refused = take(Counter::default(), &three_a_minute(), cost, UnixNanos::from_secs(1)).unwrap_err();
            assert_eq!(refused.retry_after, None);
        }
    }

    #[test]
    fn the_end_of_time_refuses_instead_of_wrapping() {
        assert!(take(Counter::default(), &three_a_minute(), 1, UnixNanos(u64::MAX)).is_err());
    }

    #[test]
    fn a_step_back_into_the_window_before_keeps_the_count() {
        let full = full_at(UnixNanos::from_secs(120));
        let refused = take(full.counter, &three_a_minute(), 1, UnixNanos::from_secs(100)).unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_secs(80)));
    }

    #[test]
    fn a_great_step_back_waits_for_the_window_after_next_at_most() {
        let full = full_at(UnixNanos::from_secs(1_000_000));
        let refused = take(full.counter, &three_a_minute(), 1, UnixNanos::from_secs(100)).unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_secs(80)));
        let repaired = refused.repaired.unwrap();
        assert!(take(repaired, &three_a_minute(), 1, UnixNanos::from_secs(179)).is_err());
        assert!(take(repaired, &three_a_minute(), 1, UnixNanos::from_secs(180)).is_ok());
    }

    #[test]
    fn a_refund_counts_in_its_own_window_only() {
        let now = UnixNanos::from_secs(60);
        let full = full_at(now);
        let back = give_back(full.counter, &full.spent, now).unwrap();
        assert_eq!(take(back, &three_a_minute(), 0, now).unwrap().standing.remaining, 3);
        let next = full_at(UnixNanos::from_secs(120));
        assert_eq!(give_back(next.counter, &full.spent, UnixNanos::from_secs(120)), None);
        assert_eq!(give_back(full.counter, &full.spent, UnixNanos::from_secs(120)), None);
    }

    #[test]
    fn a_month_is_that_of_the_calendar() {
        let at = |text: &str| parse_rfc3339(text).unwrap();
        let quota = Quota::monthly(NonZeroU64::new(3).unwrap());
        let full = take(Counter::default(), &quota, 3, at("2028-02-10T12:00:00Z")).unwrap();
        assert_eq!(full.counter.busy_until, at("2028-03-01").0);
        assert!(take(full.counter, &quota, 1, at("2028-02-29T23:59:59Z")).is_err());
        let next = take(full.counter, &quota, 1, at("2028-03-01")).unwrap();
        assert_eq!((next.standing.remaining, next.counter.busy_until), (2, at("2028-04-01").0));
        let december = take(Counter::default(), &quota, 1, at("2026-12-31T23:59:59Z")).unwrap();
        assert_eq!(december.counter.busy_until, at("2027-01-01").0);
        // A clock that steps back a few weeks keeps the count; one that steps back further moves it to the next month.
        assert!(take(full.counter, &quota, 1, at("2028-01-20")).unwrap_err().repaired.is_none());
        let repaired = take(full.counter, &quota, 1, at("2027-06-20")).unwrap_err().repaired.unwrap();
        assert_eq!((repaired.memo, repaired.busy_until), (3, at("2027-08-01").0));
    }

    #[test]
    fn a_debt_is_at_most_the_limit_and_ends_with_the_window() {
        let now = UnixNanos::from_secs(60);
        let owing = owe(Counter::default(), &three_a_minute(), 4, now);
        assert_eq!(take(owing, &three_a_minute(), 1, now).unwrap_err().retry_after, Some(MINUTE));
        assert_eq!(owe(owing, &three_a_minute(), u64::MAX, now).memo, 6);
        assert!(take(owing, &three_a_minute(), 3, UnixNanos::from_secs(120)).is_ok());
    }

    #[test]
    fn a_smaller_limit_counts_what_a_greater_one_has_charged() {
        let now = UnixNanos::from_secs(60);
        let ten = Quota::new(NonZeroU64::new(10).unwrap(), MINUTE).unwrap();
        let counter = take(Counter::default(), &ten, 8, now).unwrap().counter;
        assert!(take(counter, &three_a_minute(), 1, now).is_err());
        assert_eq!(take(counter, &ten, 0, now).unwrap().standing.remaining, 2);
    }

    #[test]
    fn quotas_that_cannot_be_counted_are_refused() {
        assert_eq!(Quota::new(NonZeroU64::MIN, Duration::ZERO), Err(QuotaError::EmptyWindow));
        assert_eq!(Quota::new(NonZeroU64::MIN, Duration::MAX), Err(QuotaError::TooLong));
    }

    proptest! {
        #[test]
        fn no_window_admits_more_than_the_limit_and_none_refuses_below_it(
            steps in prop::collection::vec((0..40u64, 0..4u64), 1..60),
        ) {
            let (mut now, mut counter, mut counted) = (6_000u64, Counter::default(), std::collections::HashMap::new());
            for (gap, cost) in steps {
                now += gap;
                let taken = take(counter, &three_a_minute(), cost, UnixNanos::from_secs(now));
                let sum: &mut u64 = counted.entry(now / 60).or_default();
                prop_assert_eq!(taken.is_ok(), *sum + cost <= 3);
                if let Ok(taken) = taken {
                    *sum += cost;
                    counter = taken.counter;
                }
            }
        }
    }
}
