//! The generic cell rate algorithm: an even rate with a burst, in one word per client.
//!
//! The counter holds the theoretical arrival time: the instant at which the bucket is full again. A request of cost `c`
//! moves it `c` emission intervals on, and is admitted if it then stands at most `burst` intervals ahead of now.
//!
//! **Guarantee.** Whatever is sent, at most `burst + floor(length / interval)` cost is admitted in any span of time of that
//! `length`, with `interval = ceil(window / requests)` nanoseconds: over one window that is `burst + requests`, and in the
//! long run never more than `requests` per `window`. Rounding the interval up costs a client less than one nanosecond
//! per request.
//!
//! **Clock steps.** A clock that steps back refills nothing: the debt stays where it is, and the client waits longer. If the
//! counter stands further ahead than twice the burst's own time (at least one second more than the burst), only a large step
//! back (or a smaller burst in a new configuration) explains it; the counter is then set to an empty bucket at the new
//! time, so that nobody is locked out until the clock catches up, and nobody gains. A clock that steps forward by `d`
//! refills as if `d` had passed, a full burst at most.
//!
//! **Tiers.** One counter may be charged by quotas of different rates, as its client changes its tier. The counter is a time,
//! and so says in every quota whose burst refills in the same time which share of the burst is in use: a client takes its
//! share along, and neither gains a full bucket nor loses one. A counter that a slower quota of the same limit explains is no
//! remnant of an old clock: each of them is told the longest refill of all ([`Quota::beside`]).
//!
//! **Debt.** [`owe`] charges what was used already, up to one burst more than the bucket holds.

use std::num::NonZeroU64;
use std::time::Duration;

use super::algorithm::{CLOCK_SLACK, Counter, LONGEST_SPAN, QuotaError, Refused, Spent, Standing, Taken};
use crate::time::{UnixNanos, nanos};

/// Charges `cost` to `counter` as it stands at `now`.
///
/// # Errors
/// [`Refused`] where less than `cost` is left of the burst.
pub fn take(counter: Counter, quota: &Quota, cost: u64, now: UnixNanos) -> Result<Taken, Refused> {
    let (counter, repaired) = quota.repair(counter, now);
    let start = counter.busy_until.max(now.0);
    let span = cost.checked_mul(quota.interval);
    let end = span.and_then(|span| start.checked_add(span));
    let refused = || Refused {
        // Only a cost above the burst cannot be had by waiting: everything else fits an idle counter.
        retry_after: end
            .filter(|_| cost <= quota.burst.get())
            .map(|end| Duration::from_nanos(end.saturating_sub(now.0).saturating_sub(quota.tolerance))),
        reset_after: Duration::from_nanos(start.saturating_sub(now.0)),
        repaired: repaired.then_some(counter),
    };
    let (Some(span), Some(end)) = (span, end) else { return Err(refused()) };
    let debt = end.saturating_sub(now.0);
    let Some(room) = quota.tolerance.checked_sub(debt) else { return Err(refused()) };
    let remaining = room / quota.interval;
    let next = remaining.saturating_add(1).saturating_mul(quota.interval).saturating_sub(room);
    Ok(Taken {
        counter: Counter { busy_until: end, memo: counter.memo },
        spent: Spent { at: now, amount: span, mark: end, memo: counter.memo },
        standing: Standing {
            remaining,
            more_after: Duration::from_nanos(if debt == 0 { 0 } else { next }),
            reset_after: Duration::from_nanos(debt),
        },
    })
}

/// The counter after a charge that nobody can refuse any more, at most one burst below empty.
pub(super) fn owe(counter: Counter, quota: &Quota, cost: u64, now: UnixNanos) -> Counter {
    let (counter, _) = quota.repair(counter, now);
    let start = counter.busy_until.max(now.0);
    let most = now.0.saturating_add(quota.tolerance).saturating_add(quota.tolerance).max(start);
    let end = start.saturating_add(cost.saturating_mul(quota.interval)).min(most);
    Counter { busy_until: end, memo: counter.memo }
}

/// The counter without the part of a charge that time has not forgiven yet; `None` where none is left.
///
/// A charge occupies the span of `amount` that ends at the arrival time it led to; the part of it that lies behind `now`
/// has been worked off and must not be given a second time. What was taken off the counter since (`memo` counts it) may have
/// moved the charge that much nearer to now, but no further than to the front: only what stood before it moves it.
pub(super) fn give_back(counter: Counter, spent: &Spent, now: UnixNanos) -> Option<Counter> {
    let taken_off = counter.memo.wrapping_sub(spent.memo);
    let before = spent.mark.saturating_sub(spent.amount).saturating_sub(spent.at.0);
    let end = spent.mark.saturating_sub(taken_off.min(before)).min(counter.busy_until);
    let amount = end.saturating_sub(now.0).min(spent.amount);
    (amount > 0).then(|| Counter {
        busy_until: counter.busy_until.saturating_sub(amount),
        memo: counter.memo.wrapping_add(amount),
    })
}

/// How much a client may do: `requests` per `window` evenly, and up to `burst` of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    requests: NonZeroU64,
    window: Duration,
    burst: NonZeroU64,
    /// Nanoseconds between two requests at the even rate, rounded up.
    interval: u64,
    /// Nanoseconds that the arrival time may run ahead: `burst` intervals.
    tolerance: u64,
    /// Nanoseconds: the longest tolerance of all quotas that charge the same counters.
    longest: u64,
}

impl Quota {
    /// A quota of `requests` per `window` with a burst.
    ///
    /// # Errors
    /// [`QuotaError::EmptyWindow`]; [`QuotaError::TooLong`] where `window`, or the refill of the whole burst, takes over ten
    /// years.
    pub fn new(requests: NonZeroU64, window: Duration, burst: NonZeroU64) -> Result<Self, QuotaError> {
        if window.is_zero() {
            return Err(QuotaError::EmptyWindow);
        }
        let interval = nanos(window).div_ceil(requests.get());
        let tolerance = interval.checked_mul(burst.get()).ok_or(QuotaError::TooLong)?;
        if tolerance.max(nanos(window)) > nanos(LONGEST_SPAN) {
            return Err(QuotaError::TooLong);
        }
        Ok(Self { requests, window, burst, interval, tolerance, longest: tolerance })
    }

    /// The same quota beside others that charge the same counters, of which the slowest refills in `longest`.
    #[must_use]
    pub fn beside(self, longest: Duration) -> Self {
        Self { longest: nanos(longest).max(self.tolerance), ..self }
    }

    /// Requests per [`window`](Self::window).
    pub fn requests(&self) -> NonZeroU64 {
        self.requests
    }

    /// The time in which [`requests`](Self::requests) refill.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// The most that is admitted at once.
    pub fn burst(&self) -> NonZeroU64 {
        self.burst
    }

    /// The longest time for which requests keep a counter busy: the refill of the whole burst.
    pub fn longest_debt(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }

    /// A counter from a clock that has stepped back since, set to an empty bucket at `now`; and whether that was needed.
    fn repair(&self, counter: Counter, now: UnixNanos) -> (Counter, bool) {
        let slack = self.longest.max(CLOCK_SLACK);
        let believable = now.0.saturating_add(self.longest).saturating_add(slack);
        if counter.busy_until <= believable {
            return (counter, false);
        }
        let empty = now.0.saturating_add(self.longest);
        let taken_off = counter.busy_until.saturating_sub(empty);
        (Counter { busy_until: empty, memo: counter.memo.wrapping_add(taken_off) }, true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn quota(requests: u64, window: Duration, burst: u64) -> Quota {
        Quota::new(NonZeroU64::new(requests).unwrap(), window, NonZeroU64::new(burst).unwrap()).unwrap()
    }

    /// Ten per second, five at once.
    fn ten() -> Quota {
        quota(10, Duration::from_secs(1), 5)
    }

    fn after_a_burst(quota: &Quota, now: UnixNanos) -> Counter {
        take(Counter::default(), quota, quota.burst().get(), now).unwrap().counter
    }

    #[test]
    fn a_new_client_has_the_burst_and_not_one_more() {
        let (now, mut counter) = (UnixNanos::from_secs(100), Counter::default());
        for left in (0..5).rev() {
            let taken = take(counter, &ten(), 1, now).unwrap();
            assert_eq!(taken.standing.remaining, left);
            counter = taken.counter;
        }
        let refused = take(counter, &ten(), 1, now).unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_millis(100)));
        assert_eq!(refused.reset_after, Duration::from_millis(500));
        assert_eq!(refused.repaired, None);
    }

    #[test]
    fn the_wait_that_was_told_is_exact() {
        let now = UnixNanos::from_secs(100);
        let counter = after_a_burst(&ten(), now);
        let wait = take(counter, &ten(), 2, now).unwrap_err().retry_after.unwrap();
        assert!(take(counter, &ten(), 2, UnixNanos(now.plus(wait).0 - 1)).is_err());
        assert!(take(counter, &ten(), 2, now.plus(wait)).is_ok());
    }

    #[test]
    fn more_comes_at_the_next_interval_and_all_at_the_reset() {
        let now = UnixNanos(100 * SECOND);
        let taken = take(Counter::default(), &ten(), 2, now).unwrap();
        assert_eq!(taken.standing.more_after, Duration::from_millis(100));
        assert_eq!(taken.standing.reset_after, Duration::from_millis(200));
        let later = UnixNanos(now.0 + 30_000_000);
        assert_eq!(take(taken.counter, &ten(), 0, later).unwrap().standing.more_after, Duration::from_millis(70));
        assert_eq!(take(Counter::default(), &ten(), 0, now).unwrap().standing.more_after, Duration::ZERO);
    }

    #[test]
    fn a_cost_above_the_burst_is_never_admitted() {
        for cost in [6, u64::MAX / SECOND, u64::MAX] {
            let refused = take(Counter::default(), &ten(), cost, UnixNanos::from_secs(1)).unwrap_err();
            assert_eq!(refused.retry_after, None);
        }
    }

    #[test]
    fn the_end_of_time_refuses_instead_of_wrapping() {
        let refused = take(Counter::default(), &ten(), 1, UnixNanos(u64::MAX)).unwrap_err();
        assert_eq!(refused.retry_after, None);
    }

    #[test]
    fn refill_stops_at_burst() {
        let counter = after_a_burst(&ten(), UnixNanos::from_secs(100));
        assert!(take(counter, &ten(), 6, UnixNanos::from_secs(1_000_000)).is_err());
        assert_eq!(take(counter, &ten(), 0, UnixNanos::from_secs(1_000_000)).unwrap().standing.remaining, 5);
    }

    #[test]
    fn a_small_step_back_gives_nothing_away() {
        let counter = after_a_burst(&ten(), UnixNanos::from_secs(100));
        let refused = take(counter, &ten(), 1, UnixNanos(100 * SECOND - SECOND / 2)).unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_millis(600)));
        assert_eq!(refused.repaired, None);
    }

    #[test]
    fn a_great_step_back_leaves_an_empty_bucket_and_no_lock_out() {
        let counter = after_a_burst(&ten(), UnixNanos::from_secs(1_000_000));
        let back = UnixNanos::from_secs(100);
        let refused = take(counter, &ten(), 1, back).unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_millis(100)));
        // The repaired counter must be stored: without it the client would be refused again and again.
        let repaired = refused.repaired.unwrap();
        assert!(take(repaired, &ten(), 1, UnixNanos(back.0 + 99_999_999)).is_err());
        assert!(take(repaired, &ten(), 1, UnixNanos(back.0 + 100_000_000)).is_ok());
    }

    #[test]
    fn a_client_that_changes_its_tier_takes_along_the_share_that_it_has_used() {
        let now = UnixNanos::from_secs(100);
        let (free, gold) = (quota(60, Duration::from_secs(60), 60), quota(600, Duration::from_secs(60), 600));
        let half = take(Counter::default(), &free, 30, now).unwrap().counter;
        assert_eq!(take(half, &gold, 0, now).unwrap().standing.remaining, 300);
        let full = take(half, &gold, 300, now).unwrap().counter;
        assert!(take(full, &free, 1, now).is_err() && take(full, &gold, 1, now).is_err());
    }

    #[test]
    fn a_quick_tier_does_not_cut_short_the_debt_of_a_slow_one() {
        let now = UnixNanos::from_secs(100);
        let slow = quota(1, Duration::from_secs(3600), 1);
        let quick = quota(10, Duration::from_secs(1), 10);
        let used_up = take(Counter::default(), &slow, 1, now).unwrap().counter;
        // Alone, the quick quota takes such a counter for a remnant of an old clock.
        assert!(take(used_up, &quick, 1, now).unwrap_err().repaired.is_some());
        let refused = take(used_up, &quick.beside(slow.longest_debt()), 1, now).unwrap_err();
        assert_eq!(refused.repaired, None);
        assert!(refused.retry_after.unwrap() > Duration::from_secs(3598));
    }

    #[test]
    fn a_debt_is_at_most_one_burst_and_is_worked_off() {
        let now = UnixNanos::from_secs(100);
        let owing = owe(Counter::default(), &ten(), 7, now);
        assert_eq!(take(owing, &ten(), 1, now).unwrap_err().retry_after, Some(Duration::from_millis(300)));
        let most = owe(owing, &ten(), u64::MAX, now);
        assert_eq!(most.busy_until, now.0 + SECOND);
        assert_eq!(owe(most, &ten(), 1, now), most);
        let refused = take(most, &ten(), 1, now).unwrap_err();
        assert_eq!((refused.retry_after, refused.repaired), (Some(Duration::from_millis(600)), None));
        assert!(take(most, &ten(), 1, now.plus(Duration::from_millis(600))).is_ok());
    }

    #[test]
    fn quotas_that_cannot_be_counted_are_refused() {
        let one = NonZeroU64::MIN;
        assert_eq!(Quota::new(one, Duration::ZERO, one), Err(QuotaError::EmptyWindow));
        assert_eq!(Quota::new(one, Duration::MAX, one), Err(QuotaError::TooLong));
        assert_eq!(Quota::new(one, Duration::from_secs(1), NonZeroU64::MAX), Err(QuotaError::TooLong));
        assert!(Quota::new(NonZeroU64::MAX, Duration::from_nanos(1), one).is_ok());
    }

    #[test]
    fn a_refund_gives_back_what_was_taken_once() {
        let now = UnixNanos::from_secs(100);
        let taken = take(Counter::default(), &ten(), 5, now).unwrap();
        let back = give_back(taken.counter, &taken.spent, now).unwrap();
        assert_eq!(take(back, &ten(), 0, now).unwrap().standing.remaining, 5);
        assert_eq!(give_back(back, &taken.spent, now), None);
    }

    #[test]
    fn refunds_in_any_order_give_back_everything() {
        let now = UnixNanos::from_secs(100);
        let first = take(Counter::default(), &ten(), 1, now).unwrap();
        let second = take(first.counter, &ten(), 2, now).unwrap();
        let third = take(second.counter, &ten(), 2, now).unwrap();
        let (one, two, three) = (first.spent, second.spent, third.spent);
        for order in [
            [one, two, three],
            [one, three, two],
            [two, one, three],
            [two, three, one],
            [three, one, two],
            [three, two, one],
        ] {
            let back = order.iter().fold(third.counter, |counter, spent| give_back(counter, spent, now).unwrap());
            assert_eq!(back.busy_until, now.0);
        }
    }

    #[test]
    fn what_time_has_forgiven_is_not_given_back() {
        let now = UnixNanos::from_secs(100);
        let first = take(Counter::default(), &ten(), 1, now).unwrap();
        let later = UnixNanos::from_secs(200);
        let full = take(first.counter, &ten(), 5, later).unwrap();
        assert_eq!(give_back(full.counter, &first.spent, later), None);
        let half = UnixNanos(now.0 + 50_000_000);
        let back = give_back(first.counter, &first.spent, half).unwrap();
        assert_eq!(back.busy_until, half.0);
    }

    /// One step of a history: how far the clock moves before it, and what is asked.
    fn history() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((prop_oneof![Just(0), 0..50u64, 0..5_000u64], 1..4u64), 1..60)
    }

    proptest! {
        #[test]
        fn it_admits_what_an_exact_token_bucket_admits(
            interval in 1..1_000u64, burst in 1..8u64, requests in 1..50u64, steps in history(),
        ) {
            // The reference counts tokens, in fractions of `window`, and refills them: nothing of the arrival time's logic.
            let window = interval * requests;
            let quota = quota(requests, Duration::from_nanos(window), burst);
            let (mut now, mut counter) = (1_000_000u64, Counter::default());
            let (full, mut tokens) = (i128::from(burst) * i128::from(window), i128::from(burst) * i128::from(window));
            for (gap, cost) in steps {
                now += gap;
                tokens = full.min(tokens + i128::from(gap) * i128::from(requests));
                let price = i128::from(cost) * i128::from(window);
                let taken = take(counter, &quota, cost, UnixNanos(now));
                prop_assert_eq!(taken.is_ok(), tokens >= price);
                if let Ok(taken) = taken {
                    tokens -= price;
                    counter = taken.counter;
                    prop_assert_eq!(i128::from(taken.standing.remaining), tokens / i128::from(window));
                }
            }
        }

        #[test]
        fn no_span_of_time_admits_more_than_burst_and_rate(
            window in 1..5_000u64, burst in 1..8u64, requests in 1..50u64, steps in history(),
        ) {
            let quota = quota(requests, Duration::from_nanos(window), burst);
            let (mut now, mut counter, mut admitted) = (1_000_000u64, Counter::default(), Vec::new());
            for (gap, cost) in steps {
                now += gap;
                if let Ok(taken) = take(counter, &quota, cost, UnixNanos(now)) {
                    counter = taken.counter;
                    admitted.push((now, cost));
                }
            }
            for first in 0..admitted.len() {
                let mut sum = 0i128;
                for &(at, cost) in &admitted[first..] {
                    sum += i128::from(cost);
                    let length = i128::from(at - admitted[first].0);
                    // sum <= burst + length * requests / window, without a fraction.
                    prop_assert!((sum - i128::from(burst)) * i128::from(window) <= length * i128::from(requests));
                }
            }
        }

        #[test]
        fn after_a_refund_nothing_is_admitted_that_would_not_be_without_the_charge(
            steps in prop::collection::vec((0..120_000_000u64, 1..4u64, any::<bool>(), 0..4usize), 1..40),
        ) {
            // `kept` holds the charges that stand; a counter that saw only these may never be fuller than the real one.
            let quota = ten();
            let (mut now, mut real) = (SECOND, Counter::default());
            let (mut kept, mut open) = (Vec::new(), Vec::new());
            for (id, (gap, cost, refund_later, refund_at)) in steps.into_iter().enumerate() {
                now += gap;
                if refund_at < open.len() {
                    let (spent, refunded) = open.remove(refund_at);
                    real = give_back(real, &spent, UnixNanos(now)).unwrap_or(real);
                    kept.retain(|&(id, _, _)| id != refunded);
                }
                if let Ok(taken) = take(real, &quota, cost, UnixNanos(now)) {
                    real = taken.counter;
                    kept.push((id, now, cost));
                    if refund_later {
                        open.push((taken.spent, id));
                    }
                }
                let standing = kept.iter().fold(0, |until: u64, &(_, at, cost)| until.max(at) + cost * 100_000_000);
                prop_assert!(real.busy_until.max(now) >= standing.max(now));
            }
        }

        #[test]
        fn steps_back_of_the_clock_never_refill(steps in prop::collection::vec((any::<bool>(), 0..300_000_000u64), 1..60)) {
            let start = 1_000 * SECOND;
            let (mut now, mut first, mut last, mut forward, mut repairs, mut admitted) = (start, start, start, 0, 0, 0);
            let mut counter = Counter::default();
            for (back, gap) in steps {
                (now, forward) = if back { (now - gap, forward) } else { (now + gap, forward + gap) };
                (first, last) = (first.min(now), last.max(now));
                match take(counter, &ten(), 1, UnixNanos(now)) {
                    Ok(taken) => (counter, admitted) = (taken.counter, admitted + 1),
                    Err(Refused { repaired: Some(repaired), .. }) => (counter, repairs) = (repaired, repairs + 1),
                    Err(_) => {}
                }
            }
            prop_assert!(admitted <= 5 + forward / 100_000_000);
            prop_assert!(repairs > 0 || admitted <= 5 + (last - first) / 100_000_000);
        }
    }
}
