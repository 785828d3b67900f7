//! A count in any window, wherever it starts.
//!
//! Time is cut into slices of a third of the window (rounded up to the nanosecond). The counter holds the charges of the
//! newest four slices, sixteen bits each, newest in the lowest bits.
//!
//! **Guarantee.** At most `limit` cost is admitted in **every** span of the window's length: such a span touches four slices at
//! most, and their sum never exceeds the limit. The price: a charge is forgotten between one window and one window and a
//! third after it was made, so that a client who is always at its limit gets between three quarters of it and all of it. (The
//! usual interpolation between two windows admits more than the limit whenever requests are not spread evenly.)
//!
//! **Clock steps.** A clock that steps back charges the newest slice, as if no time had passed. If that slice lies more than four
//! slices (and a second) ahead, everything counted moves to the present slice: nobody is locked out for longer than
//! a fresh client who used up the limit just now, and nobody gains. A clock that steps forward forgets as if the time had passed.
//!
//! **Debt.** [`owe`] charges what was used already, up to twice the limit; it is forgotten as all charges are.

use std::num::NonZeroU64;
use std::time::Duration;

use super::algorithm::{CLOCK_SLACK, Counter, LONGEST_SPAN, QuotaError, Refused, Spent, Standing, Taken};
use crate::time::{UnixNanos, nanos};

/// Charges `cost` to `counter` as it stands at `now`.
///
/// # Errors
/// [`Refused`] where the newest slices leave less than `cost` of the limit.
pub fn take(counter: Counter, quota: &Quota, cost: u64, now: UnixNanos) -> Result<Taken, Refused> {
    let (slices, repaired) = quota.current(counter, now);
    let used = slices.sum();
    let newest = cost.checked_add(slices.age(0)).filter(|_| cost <= quota.limit.saturating_sub(used));
    let newest = newest.and_then(|charge| u16::try_from(charge).ok());
    let Some((newest, busy_until)) = newest.zip(slices.end(quota)) else {
        return Err(Refused {
            retry_after: (cost <= quota.limit)
                .then(|| quota.wait_until(&slices, quota.limit.saturating_sub(cost), now)),
            reset_after: quota.wait_until(&slices, 0, now),
            repaired: if repaired { slices.counter(quota) } else { None },
        });
    };
    let charged = slices.with_newest(newest);
    let used = charged.sum();
    Ok(Taken {
        counter: Counter { busy_until, memo: charged.lanes },
        spent: Spent { at: now, amount: cost, mark: charged.newest, memo: 0 },
        standing: Standing {
            remaining: quota.limit.saturating_sub(used),
            more_after: quota.wait_until(&charged, used.saturating_sub(1), now),
            reset_after: quota.wait_until(&charged, 0, now),
        },
    })
}

/// The counter after a charge that nobody can refuse any more, up to twice the limit.
pub(super) fn owe(counter: Counter, quota: &Quota, cost: u64, now: UnixNanos) -> Counter {
    let (slices, _) = quota.current(counter, now);
    let cost = cost.min(quota.limit.saturating_mul(2).saturating_sub(slices.sum()));
    let newest = u16::try_from(slices.age(0).saturating_add(cost)).unwrap_or(u16::MAX);
    slices.with_newest(newest).counter(quota).unwrap_or(counter)
}

/// The counter without the charge, while the slice in which it was made still counts.
pub(super) fn give_back(counter: Counter, quota: &Quota, spent: &Spent, now: UnixNanos) -> Option<Counter> {
    let (slices, _) = quota.current(counter, now);
    let age = u32::try_from(slices.newest.checked_sub(spent.mark)?).ok()?;
    let returned = slices.age(age).min(spent.amount);
    let lanes = slices.lanes.checked_sub(returned.checked_shl(age.checked_mul(LANE_BITS)?)?)?;
    if returned == 0 { None } else { Slices { lanes, ..slices }.counter(quota) }
}

/// How much a client may do in any window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    limit: u64,
    window: Duration,
    /// Nanoseconds: a third of the window, rounded up.
    slice: NonZeroU64,
}

impl Quota {
    /// The greatest limit that the counter's sixteen bits per slice hold.
    pub const GREATEST_LIMIT: u64 = 65_535;

    /// A quota of `limit` in any `window`.
    ///
    /// # Errors
    /// [`QuotaError::TooMany`] above [`Self::GREATEST_LIMIT`] (GCRA counts further); [`QuotaError::EmptyWindow`];
    /// [`QuotaError::TooLong`] for a window over ten years.
    pub fn new(limit: NonZeroU64, window: Duration) -> Result<Self, QuotaError> {
        if limit.get() > Self::GREATEST_LIMIT {
            return Err(QuotaError::TooMany { maximum: Self::GREATEST_LIMIT });
        }
        if window > LONGEST_SPAN {
            return Err(QuotaError::TooLong);
        }
        let slice = NonZeroU64::new(nanos(window).div_ceil(SLICES_PER_WINDOW)).ok_or(QuotaError::EmptyWindow)?;
        Ok(Self { limit: limit.get(), window, slice })
    }

    /// The most that is admitted in any window.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The window's length.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// The longest time for which a counter stays busy: one window and a third.
    pub fn longest_debt(&self) -> Duration {
        Duration::from_nanos(self.slice.get().saturating_mul(LANES))
    }

    /// The slices as they stand at `now`, and whether they had to be brought back from the future.
    fn current(&self, counter: Counter, now: UnixNanos) -> (Slices, bool) {
        let present = now.0 / self.slice;
        if counter.busy_until <= now.0 {
            return (Slices { newest: present, lanes: 0 }, false);
        }
        let stored =
            Slices { newest: counter.busy_until.div_ceil(self.slice.get()).saturating_sub(LANES), lanes: counter.memo };
        let longest = self.slice.get().saturating_mul(LANES);
        if counter.busy_until > now.0.saturating_add(longest).saturating_add(longest.max(CLOCK_SLACK)) {
            let sum = stored.sum().min(Self::GREATEST_LIMIT);
            return (Slices { newest: present, lanes: sum }, true);
        }
        (stored.advanced_to(present), false)
    }

    /// How long it takes until no more than `most` of the charges is still remembered.
    fn wait_until(&self, slices: &Slices, most: u64, now: UnixNanos) -> Duration {
        let mut left = slices.sum();
        for age in (0..LANES).rev() {
            if left <= most {
                // The slice before this one was the last that had to go.
                let gone = slices.newest.saturating_add(LANES).saturating_sub(age.saturating_add(1));
                let charged = slices.sum() > most;
                return Duration::from_nanos(if charged { self.start_of(gone).saturating_sub(now.0) } else { 0 });
            }
            left = left.saturating_sub(slices.age(u32::try_from(age).unwrap_or(u32::MAX)));
        }
        Duration::from_nanos(self.start_of(slices.newest.saturating_add(LANES)).saturating_sub(now.0))
    }

    fn start_of(&self, slice: u64) -> u64 {
        slice.saturating_mul(self.slice.get())
    }
}

/// The newest four slices: which one is the newest, and the charges of all.
#[derive(Debug, Clone, Copy)]
struct Slices {
    newest: u64,
    lanes: u64,
}

impl Slices {
    /// The charges of the slice that is `age` slices older than the newest.
    fn age(&self, age: u32) -> u64 {
        age.checked_mul(LANE_BITS).and_then(|bits| self.lanes.checked_shr(bits)).unwrap_or(0) & LANE
    }

    fn sum(&self) -> u64 {
        (0..LANES).fold(0, |sum, age| sum + self.age(u32::try_from(age).unwrap_or(u32::MAX)))
    }

    /// The same charges seen from a newer slice; an older one, as after a step back of the clock, changes nothing.
    fn advanced_to(self, present: u64) -> Self {
        let by = u32::try_from(present.saturating_sub(self.newest)).unwrap_or(u32::MAX);
        let lanes = by.checked_mul(LANE_BITS).and_then(|bits| self.lanes.checked_shl(bits)).unwrap_or(0);
        Self { newest: self.newest.max(present), lanes }
    }

    fn with_newest(self, charge: u16) -> Self {
        Self { lanes: (self.lanes & !LANE) | u64::from(charge), ..self }
    }

    /// When the newest slice is forgotten, in nanoseconds since the epoch; `None` after the end of time.
    fn end(&self, quota: &Quota) -> Option<u64> {
        self.newest.checked_add(LANES)?.checked_mul(quota.slice.get())
    }

    fn counter(&self, quota: &Quota) -> Option<Counter> {
        self.end(quota).map(|busy_until| Counter { busy_until, memo: self.lanes })
    }
}

const SLICES_PER_WINDOW: u64 = 3;
/// A window that does not start with a slice touches one slice more.
const LANES: u64 = SLICES_PER_WINDOW + 1;
const LANE_BITS: u32 = 16;
const LANE: u64 = 0xffff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Six in any thirty seconds: slices of ten seconds.
    fn six() -> Quota {
        Quota::new(NonZeroU64::new(6).unwrap(), Duration::from_secs(30)).unwrap()
    }

    fn charged(charges: &[(u64, u64)]) -> Counter {
        charges.iter().fold(Counter::default(), |counter, &(at, cost)| {
            take(counter, &six(), cost, UnixNanos::from_secs(at)).unwrap().counter
        })
    }

    #[test]
    fn old_slices_leave_one_by_one() {
        let counter = charged(&[(105, 2), (115, 1), (125, 3)]);
        let at = |seconds, cost| take(counter, &six(), cost, UnixNanos::from_secs(seconds));
        assert_eq!(at(139, 1).unwrap_err().retry_after, Some(Duration::from_secs(1)));
        assert_eq!(at(139, 3).unwrap_err().retry_after, Some(Duration::from_secs(11)));
        assert_eq!(at(139, 4).unwrap_err().retry_after, Some(Duration::from_secs(21)));
        assert_eq!(at(139, 1).unwrap_err().reset_after, Duration::from_secs(21));
        assert_eq!(at(140, 1).unwrap().standing.remaining, 1);
        assert_eq!(at(150, 1).unwrap().standing.remaining, 2);
        assert_eq!(at(160, 1).unwrap().standing.remaining, 5);
    }

    #[test]
    fn a_cost_above_the_limit_is_never_admitted() {
        for cost in [7, 65_536, u64::MAX] {
            let refused = take(Counter::default(), &six(), cost, UnixNanos::from_secs(1)).unwrap_err();
            assert_eq!(refused.retry_after, None);
        }
    }

    #[test]
    fn the_end_of_time_refuses_instead_of_wrapping() {
        assert!(take(Counter::default(), &six(), 1, UnixNanos(u64::MAX)).is_err());
    }

    #[test]
    fn a_step_back_charges_the_newest_slice() {
        let counter = charged(&[(125, 3)]);
        let taken = take(counter, &six(), 1, UnixNanos::from_secs(101)).unwrap();
        assert_eq!(taken.standing.remaining, 2);
        assert_eq!(taken.counter.busy_until, counter.busy_until);
    }

    #[test]
    fn a_great_step_back_counts_everything_as_just_used() {
        let counter = charged(&[(1_000_005, 2), (1_000_015, 4)]);
        let refused = take(counter, &six(), 1, UnixNanos::from_secs(100)).unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_secs(40)));
        let repaired = refused.repaired.unwrap();
        assert!(take(repaired, &six(), 1, UnixNanos::from_secs(139)).is_err());
        assert!(take(repaired, &six(), 6, UnixNanos::from_secs(140)).is_ok());
    }

    #[test]
    fn a_refund_leaves_the_slice_in_which_it_was_charged() {
        let first = take(Counter::default(), &six(), 2, UnixNanos::from_secs(105)).unwrap();
        let second = take(first.counter, &six(), 4, UnixNanos::from_secs(115)).unwrap();
        let back = give_back(second.counter, &six(), &first.spent, UnixNanos::from_secs(116)).unwrap();
        assert_eq!(take(back, &six(), 0, UnixNanos::from_secs(116)).unwrap().standing.remaining, 2);
        assert_eq!(give_back(back, &six(), &first.spent, UnixNanos::from_secs(116)), None);
        assert_eq!(give_back(second.counter, &six(), &first.spent, UnixNanos::from_secs(145)), None);
    }

    #[test]
    fn a_debt_is_at_most_the_limit_and_is_forgotten() {
        let owing = owe(charged(&[(105, 5)]), &six(), 3, UnixNanos::from_secs(115));
        let refused = take(owing, &six(), 1, UnixNanos::from_secs(115)).unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_secs(25)));
        let most = owe(owing, &six(), u64::MAX, UnixNanos::from_secs(115));
        assert_eq!(take(most, &six(), 6, UnixNanos::from_secs(149)).unwrap_err().repaired, None);
        assert!(take(most, &six(), 6, UnixNanos::from_secs(150)).is_ok());
        let great = Quota::new(NonZeroU64::new(Quota::GREATEST_LIMIT).unwrap(), Duration::from_secs(30)).unwrap();
        let lanes = owe(Counter::default(), &great, u64::MAX, UnixNanos::from_secs(115)).memo;
        assert_eq!(lanes, 65_535, "no lane runs over into the next");
    }

    #[test]
    fn quotas_that_cannot_be_counted_are_refused() {
        let many = NonZeroU64::new(65_536).unwrap();
        assert_eq!(Quota::new(many, Duration::from_secs(1)), Err(QuotaError::TooMany { maximum: 65_535 }));
        assert_eq!(Quota::new(NonZeroU64::MIN, Duration::ZERO), Err(QuotaError::EmptyWindow));
        assert_eq!(Quota::new(NonZeroU64::MIN, Duration::MAX), Err(QuotaError::TooLong));
    }

    proptest! {
        #[test]
        fn no_window_anywhere_admits_more_than_the_limit(
            steps in prop::collection::vec((0..20u64, 1..4u64), 1..80), window in 1..100u64,
        ) {
            let quota = Quota::new(NonZeroU64::new(6).unwrap(), Duration::from_nanos(window)).unwrap();
            let (mut now, mut counter, mut admitted) = (6_000u64, Counter::default(), Vec::<(u64, u64)>::new());
            for (gap, cost) in steps {
                now += gap;
                let recent = |length| admitted.iter().filter(|&&(at, _)| at + length > now).map(|&(_, c)| c).sum::<u64>();
                match take(counter, &quota, cost, UnixNanos(now)) {
                    Ok(taken) => {
                        prop_assert!(recent(window) + cost <= 6);
                        counter = taken.counter;
                        admitted.push((now, cost));
                    }
                    // What is older than four slices never counts.
                    Err(refused) => {
                        prop_assert!(recent(window.div_ceil(3) * 4) + cost > 6);
                        let wait = UnixNanos(now).plus(refused.retry_after.unwrap());
                        prop_assert!(take(counter, &quota, cost, wait).is_ok());
                        prop_assert!(take(counter, &quota, cost, UnixNanos(wait.0 - 1)).is_err());
                    }
                }
            }
        }
    }
}
