//! The lease clock: periods that all workers count together, by which slots of dead workers end.
//!
//! The number of the present period stands in the shared data. A worker that has seen it for [`PERIOD`] counts it up, by
//! compare-and-set, so that each period lasts at least that long for everybody, and every worker has the time to move its slots.
//!
//! **Clock steps.** A worker measures nothing but how long it has seen one number. A clock that steps forward ends one period early,
//! however far it steps, and no slot ends with a single period; one that steps back makes the period begin anew.

use std::time::Duration;

use crate::ports::{Expected, SharedStore, WriteOutcome};
use crate::time::UnixNanos;

/// The lease clock as one worker sees it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeaseClock {
    /// The present period, and since when this worker has known it; `None` before it was first read.
    seen: Option<(u64, UnixNanos)>,
}

impl LeaseClock {
    /// Reads the clock, and counts it up where the period is over. A store that cannot be used leaves everything as it is.
    pub fn read<S: SharedStore + ?Sized>(&mut self, store: &S, now: UnixNanos) {
        let Ok(stored) = store.get(KEY) else { return };
        let (stands, expected) = match &stored {
            None => (0, Expected::Absent),
            // Something that is no number would leave everybody without a clock: it is written anew.
            Some((bytes, version)) => (number(bytes).unwrap_or(0), Expected::Unchanged(*version)),
        };
        let is_over = match self.seen {
            _ if stands == 0 => true,
            Some((period, since)) if period == stands && since <= now => now.since(since) >= PERIOD,
            // It is new to this worker, or the worker's clock has stepped back.
            _ => {
                self.seen = Some((stands, now));
                false
            }
        };
        if !is_over {
            return;
        }
        // Never below what this worker has seen: periods only go up.
        let next = stands.max(self.period().unwrap_or(0)).saturating_add(1);
        // Where another worker was faster, the next reading shows it.
        if store.compare_and_set(KEY, &next.to_le_bytes(), expected) == Ok(WriteOutcome::Written) {
            self.seen = Some((next, now));
        } else if self.seen.is_none() {
            let again = store.get(KEY).ok().flatten().and_then(|(bytes, _)| number(&bytes));
            self.seen = again.map(|period| (period, now));
        }
    }

    /// The present period, as last read.
    pub fn period(&self) -> Option<u64> {
        self.seen.map(|(period, _)| period)
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().map(u64::from_le_bytes).ok()
}

/// How long a period lasts at least. A slot that its worker does not move ends after one to two of them.
pub const PERIOD: Duration = Duration::from_secs(15);
/// How often a worker reads the clock, and moves its slots if there is a new period.
pub const TICK: Duration = Duration::from_secs(3);

const KEY: &str = "portcullis/lease/1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryStore;

    fn at(seconds: u64) -> UnixNanos {
        UnixNanos::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn workers_count_one_period_after_the_other_together() {
        let store = MemoryStore::default();
        let mut workers = [LeaseClock::default(); 3];
        for second in 0..60 {
            for clock in &mut workers {
                clock.read(&store, at(second));
            }
        }
        // Begun at 0, 15, 30 and 45.
        assert_eq!(workers.map(|clock| clock.period()), [Some(4); 3]);
    }

    #[test]
    fn a_step_forward_ends_one_period_and_no_more() {
        let store = MemoryStore::default();
        let mut workers = [LeaseClock::default(); 2];
        let mut read = |second| {
            workers.each_mut().map(|clock| {
                clock.read(&store, at(second));
                clock.period().unwrap()
            })
        };
        assert_eq!(read(0), [1, 1]);
        assert_eq!(read(100_000), [2, 2]);
        assert_eq!(read(100_014), [2, 2]);
        assert_eq!(read(100_015), [3, 3]);
        // And back: the period begins anew.
        assert_eq!(read(10), [3, 3]);
        assert_eq!(read(24), [3, 3]);
        assert_eq!(read(25), [4, 4]);
    }

    #[test]
    fn a_late_worker_starts_with_the_present_period_and_grants_it_its_whole_time() {
        let store = MemoryStore::default();
        let mut early = LeaseClock::default();
        [0, 15, 30].iter().for_each(|second| early.read(&store, at(*second)));
        let mut late = LeaseClock::default();
        late.read(&store, at(44));
        assert_eq!(late.period(), Some(3));
        late.read(&store, at(58));
        assert_eq!(late.period(), Some(3));
        late.read(&store, at(59));
        assert_eq!(late.period(), Some(4));
    }

    #[test]
    fn what_is_no_number_is_written_anew_and_periods_never_go_down() {
        let store = MemoryStore::default();
        let mut clock = LeaseClock::default();
        [0, 15].iter().for_each(|second| clock.read(&store, at(*second)));
        let (_, version) = store.get(KEY).unwrap().unwrap();
        store.compare_and_set(KEY, b"?", Expected::Unchanged(version)).unwrap();
        clock.read(&store, at(16));
        assert_eq!(clock.period(), Some(3));
        let mut other = LeaseClock::default();
        other.read(&store, at(16));
        assert_eq!(other.period(), Some(3));
    }
}
