//! Requests in flight: "at most 20 at the same time".
//!
//! A request takes a slot before it goes on, and gives it back when its stream ends, however it ends. A worker whose module dies
//! cannot give anything back. So a slot is a lease: it stands under a period of the [lease clock](super::lease), the worker that
//! holds it moves it into each new period, and a slot that was left two periods behind no longer counts.
//!
//! The counter holds the newest period that it has seen (as [`Counter::busy_until`], the period in which nothing of it counts any
//! more) and how many slots stand in that period and in the one before it (the two halves of the memo).
//!
//! **Guarantee.** At most `most` slots are held at any time. A slot of a dead worker comes back after one to two periods. A worker
//! that stands still for longer than [`lease::PERIOD`](super::lease::PERIOD) less its tick can lose its slots while their requests
//! go on: only then is more admitted; as soon as the worker runs again its slots count again, though they exceed the limit.
//!
//! **Clock steps.** None matters: periods are counted, not read from a clock.

use std::num::NonZeroU32;
use std::time::Duration;

use super::algorithm::{Counter, Refused, Spent, Standing, Taken};
use crate::time::UnixNanos;

/// Takes `cost` slots of `counter`, in the quota's period.
///
/// # Errors
/// [`Refused`] where fewer are free. When one becomes free depends on other requests: the wait it names is a guess.
pub fn take(counter: Counter, quota: &Quota, cost: u64) -> Result<Taken, Refused> {
    let slots = Slots::of(counter, quota.period);
    let free = u64::from(quota.most.get()).saturating_sub(slots.held());
    let Some((remaining, cost)) = free.checked_sub(cost).zip(u32::try_from(cost).ok()) else {
        return Err(Refused { retry_after: Some(RETRY), reset_after: Duration::ZERO, repaired: None });
    };
    Ok(Taken {
        counter: slots.with(cost),
        spent: Spent { at: instant(quota.period), amount: u64::from(cost), mark: slots.period, memo: 0 },
        standing: Standing { remaining, more_after: Duration::ZERO, reset_after: Duration::ZERO },
    })
}

/// The counter with `cost` slots that nobody can refuse any more.
pub(super) fn owe(counter: Counter, quota: &Quota, cost: u64) -> Counter {
    Slots::of(counter, quota.period).with(u32::try_from(cost).unwrap_or(u32::MAX))
}

/// The counter without the slots of `spent`; `None` where they no longer count.
pub(super) fn give_back(counter: Counter, quota: &Quota, spent: &Spent) -> Option<Counter> {
    let amount = u32::try_from(spent.amount).unwrap_or(u32::MAX);
    let (slots, found) = Slots::of(counter, quota.period).without(spent.mark, amount);
    (found > 0).then(|| slots.counter())
}

/// The counter once a worker's slots are moved: `held` of them stand in the present period then, and none of those that `stood` under
/// the given periods. Also gives how many of them no longer counted.
pub(super) fn move_slots(counter: Counter, quota: &Quota, stood: &[(u64, u32)], held: u32) -> (Counter, u32) {
    let mut slots = Slots::of(counter, quota.period);
    let mut lost: u32 = 0;
    for (period, count) in stood {
        let (rest, found) = slots.without(*period, *count);
        slots = rest;
        lost = lost.saturating_add(count.saturating_sub(found));
    }
    (slots.with(held), lost)
}

/// The present period of a counter that was last changed by `quota`'s holder.
pub(super) fn period_of(counter: Counter) -> u64 {
    (counter.busy_until / UNIT).saturating_sub(LIFE)
}

/// How many requests of a client may be in flight, and the period of the lease clock in which that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    most: NonZeroU32,
    period: u64,
}

impl Quota {
    /// At most `most` at the same time.
    pub fn new(most: NonZeroU32) -> Self {
        Self { most, period: 0 }
    }

    /// The same quota in a period of the lease clock.
    #[must_use]
    pub fn in_period(self, period: u64) -> Self {
        Self { period, ..self }
    }

    /// How many.
    pub fn most(&self) -> NonZeroU32 {
        self.most
    }

    /// The longest that a slot stands without being moved on, on the clock of [`instant`](Self::instant).
    pub fn longest_debt(&self) -> Duration {
        Duration::from_nanos(LIFE * UNIT)
    }

    /// The quota's period as an instant, so that a table can tell idle counters: one second for each.
    pub(super) fn instant(&self) -> UnixNanos {
        instant(self.period)
    }
}

fn instant(period: u64) -> UnixNanos {
    UnixNanos(period.saturating_mul(UNIT))
}

/// The slots of a counter in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slots {
    period: u64,
    present: u32,
    before: u32,
}

impl Slots {
    fn of(counter: Counter, period: u64) -> Self {
        if counter.busy_until == 0 {
            return Self { period, present: 0, before: 0 };
        }
        let newest = period_of(counter);
        let (present, before) = ((counter.memo >> 32) as u32, counter.memo as u32);
        // A worker that has not seen the newest period yet works in it all the same.
        match period.saturating_sub(newest) {
            0 => Self { period: newest, present, before },
            1 => Self { period, present: 0, before: present },
            _ => Self { period, present: 0, before: 0 },
        }
    }

    fn held(self) -> u64 {
        u64::from(self.present).saturating_add(u64::from(self.before))
    }

    fn with(self, more: u32) -> Counter {
        Self { present: self.present.saturating_add(more), ..self }.counter()
    }

    /// Without up to `count` slots of a period, and how many there were of them.
    fn without(self, period: u64, count: u32) -> (Self, u32) {
        if period == self.period {
            let found = count.min(self.present);
            (Self { present: self.present - found, ..self }, found)
        } else if period.checked_add(1) == Some(self.period) {
            let found = count.min(self.before);
            (Self { before: self.before - found, ..self }, found)
        } else {
            (self, 0)
        }
    }

    fn counter(self) -> Counter {
        let (period, newest, older) = match (self.present, self.before) {
            // Nothing is held: the entry can go to another client at once.
            (0, 0) => return Counter::default(),
            // Without slots of the present period it is a counter of the period before.
            (0, before) => (self.period.saturating_sub(1), before, 0),
            (present, before) => (self.period, present, before),
        };
        Counter {
            busy_until: period.saturating_add(LIFE).saturating_mul(UNIT),
            memo: (u64::from(newest) << 32) | u64::from(older),
        }
    }
}

/// For how many periods a slot counts: the one in which it was moved, and the next.
const LIFE: u64 = 2;
/// A period as nanoseconds of the clock by which the table tells idle counters.
const UNIT: u64 = 1_000_000_000;
/// What a refused client is told to wait.
pub const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn three(period: u64) -> Quota {
        Quota::new(NonZeroU32::new(3).unwrap()).in_period(period)
    }

    fn free(counter: Counter, period: u64) -> u64 {
        take(counter, &three(period), 0).map_or(0, |taken| taken.standing.remaining)
    }

    #[test]
    fn slots_are_taken_and_given_back() {
        let first = take(Counter::default(), &three(7), 1).unwrap();
        assert_eq!(first.standing.remaining, 2);
        let full = take(first.counter, &three(7), 2).unwrap();
        let refused = take(full.counter, &three(7), 1).unwrap_err();
        assert_eq!(refused.retry_after, Some(RETRY));
        let back = give_back(full.counter, &three(7), &first.spent).unwrap();
        assert_eq!(free(back, 7), 1);
        assert_eq!(give_back(back, &three(7), &full.spent), Some(Counter::default()));
        assert_eq!(give_back(Counter::default(), &three(7), &first.spent), None);
    }

    #[test]
    fn a_slot_counts_in_its_period_and_the_next() {
        let taken = take(Counter::default(), &three(7), 2).unwrap();
        assert_eq!([free(taken.counter, 7), free(taken.counter, 8), free(taken.counter, 9)], [1, 1, 3]);
        // What is left two periods behind cannot be given back from the slots of others.
        let other = take(taken.counter, &three(9), 1).unwrap();
        assert_eq!(give_back(other.counter, &three(9), &taken.spent), None);
    }

    #[test]
    fn a_worker_that_is_behind_works_in_the_newest_period() {
        let newer = take(Counter::default(), &three(8), 1).unwrap();
        let behind = take(newer.counter, &three(7), 1).unwrap();
        assert_eq!((behind.spent.mark, behind.standing.remaining), (8, 1));
        assert_eq!(free(behind.counter, 9), 1);
    }

    #[test]
    fn moved_slots_live_on_and_left_ones_end() {
        let mine = take(Counter::default(), &three(7), 1).unwrap();
        let both = take(mine.counter, &three(7), 1).unwrap();
        let (moved, lost) = move_slots(both.counter, &three(8), &[(7, 1)], 1);
        assert_eq!((free(moved, 8), free(moved, 9), lost), (1, 2, 0));
        // The one that stood still comes back too late, and counts all the same.
        let (late, lost) = move_slots(moved, &three(9), &[(7, 1)], 1);
        assert_eq!((free(late, 9), lost), (1, 1));
        let (over, lost) = move_slots(late, &three(9), &[(3, 5)], 5);
        assert_eq!((free(over, 9), lost), (0, 5));
    }

    #[test]
    fn an_entry_without_slots_is_free_at_once() {
        let taken = take(Counter::default(), &three(7), 1).unwrap();
        assert_eq!(move_slots(taken.counter, &three(8), &[(7, 1)], 0), (Counter::default(), 0));
        assert!(take(Counter::default(), &three(7), 4).is_err());
        assert_eq!(take(Counter::default(), &three(7), 0).unwrap().counter, Counter::default());
    }

    #[test]
    fn great_numbers_do_not_wrap() {
        let most = Quota::new(NonZeroU32::MAX).in_period(1_000_000_000);
        let taken = take(Counter::default(), &most, u64::from(u32::MAX)).unwrap();
        assert!(take(taken.counter, &most, 1).is_err());
        assert!(take(Counter::default(), &most, u64::MAX).is_err());
        let last = most.in_period(u64::MAX);
        let _ = move_slots(taken.counter, &last, &[(u64::MAX, u32::MAX), (0, u32::MAX)], u32::MAX);
    }

    proptest! {
        /// Workers that take, give back, move their slots in time and sometimes die: against plain lists.
        #[test]
        fn the_counter_knows_exactly_the_slots_that_count(steps in prop::collection::vec((0..5u8, 0..3usize), 1..80)) {
            let (mut counter, mut period) = (Counter::default(), 1u64);
            // Of each worker, the periods of its slots.
            let mut held: [Vec<u64>; 3] = Default::default();
            for (what, worker) in steps {
                match what {
                    0 | 1 => {
                        let standing: usize = held.iter().map(Vec::len).sum();
                        let taken = take(counter, &three(period), 1);
                        prop_assert_eq!(taken.is_ok(), standing < 3);
                        if let Ok(taken) = taken {
                            held[worker].push(taken.spent.mark);
                            counter = taken.counter;
                        }
                    }
                    2 => if let Some(mark) = held[worker].pop() {
                        let spent = Spent { at: UnixNanos(0), amount: 1, mark, memo: 0 };
                        counter = give_back(counter, &three(period), &spent).unwrap();
                    },
                    3 => {
                        period += 1;
                        for (index, slots) in held.iter_mut().enumerate() {
                            // The third worker is dead: it moves nothing, and its old slots end.
                            if index == 2 {
                                slots.retain(|mark| mark + LIFE > period);
                                continue;
                            }
                            let stood: Vec<(u64, u32)> = slots.iter().map(|mark| (*mark, 1)).collect();
                            let (moved, lost) = move_slots(counter, &three(period), &stood, slots.len() as u32);
                            prop_assert_eq!(lost, 0);
                            counter = moved;
                            slots.iter_mut().for_each(|mark| *mark = period);
                        }
                    }
                    _ => {
                        let standing: usize = held.iter().map(Vec::len).sum();
                        prop_assert_eq!(free(counter, period), 3 - standing as u64);
                        prop_assert!(standing == 0 || counter.busy_until > period * UNIT, "a busy entry is never idle");
                    }
                }
            }
        }
    }
}
