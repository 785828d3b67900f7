//! The fixed table of counters in shared data: exact over all workers, bounded in memory, never keyed by a client.
//!
//! A table has entries in buckets of thirty-two, two and a half times as many as its `capacity` of clients. A descriptor's keyed hash chooses its one bucket and is its
//! name in it. A request reads the bucket, runs the algorithm on its entry, and writes the bucket back by compare-and-set; if
//! another worker was faster, it reads again and decides anew.
//!
//! **Exact.** All workers charge a descriptor under one key, the first charge included (a bucket is created together with
//! its first entry, if absent). Each write states which version it was decided on, so the charges of a descriptor form one
//! sequence, and what the algorithm guarantees for a sequence holds for all workers together. An entry is given to another
//! descriptor only when it has been idle for a tenth of a second, so that a worker whose `now` is that old still finds the
//! counter; forgetting it then changes nothing.
//!
//! **Why one bucket of thirty-two, and not two choices of eight.** A second bucket would cost a second read (0.7 us) and,
//! worse, allow two workers to enter one descriptor in two places. A read and a write of 1 KiB cost 0.06 us more than of
//! 16 bytes, and thirty-two entries spread the load as well as two choices do. A client overflows if its bucket holds more
//! than thirty-two *busy* ones; with Poisson load, as a share of clients that are busy at the same time:
//!
//! | busy clients / entries | 25 % | 40 % | 50 % | 75 % | 90 % |
//! |---|---|---|---|---|---|
//! | share that overflows | 5e-12 | 1.4e-7 | 1.5e-5 | 0.55 % | 3.3 % |
//!
//! So that as many clients as `capacity` says have a place, there are two and a half times as many entries ([`buckets_for`]); idle
//! clients take none.
//!
//! **Overflow** is the caller's choice ([`Overflow`]) and marked in the answer, so that it can be counted.
//!
//! **Keys.** A bucket's key is a hash of the table's name, layout and capacity, and the bucket's number: twenty bytes. Strings of up to 22
//! lie within the host's map (libc++); a longer key would cost it an allocation and one more line of memory at every access.
//!
//! **Changes of configuration.** A new capacity (or layout) is a new, empty table: each client starts with a full quota once, and the old table's memory stays until the proxy restarts,
//! since the host cannot delete. A new rate, burst or window keeps the counters; a new algorithm starts new ones.
//!
//! **Clock.** If the clock has stepped back far, busy entries of clients who do not come back could fill a bucket for long:
//! when a bucket is full, entries further ahead than any quota of the table explains are cut to `longest_debt` from now.

mod admission;
mod demand;
mod key;
mod read;
mod size;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

pub use self::admission::{Admitted, Charge, CounterPlace, Denied, Reason};
pub(super) use self::demand::Decided;
pub use self::demand::{Demand, Overflow};
use self::key::{Key, PREFIX_BYTES, Slot};
use self::read::Read;
pub use self::size::{buckets_for, memory_bytes};
use super::algorithm::{CLOCK_SLACK, Counter};
use super::bucket::Place;
use super::hash::{Fingerprint, Seed};
use super::in_flight;
use crate::ports::{SharedStore, WriteOutcome};
use crate::time::{UnixNanos, nanos};

/// The counters of one limit.
#[derive(Debug, Clone)]
pub struct Table {
    /// What stands before a bucket's number in its key.
    prefix: [u8; PREFIX_BYTES],
    buckets: u32,
    longest_debt: u64,
    overflow: Overflow,
    seed: Seed,
}

impl Table {
    /// The table of the limit `name` with room for `capacity` clients that are busy at the same time. Nothing is written before the first request.
    ///
    /// `longest_debt` is the longest [`Algorithm::longest_debt`] of the quotas that are counted in it.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn new(
        name: &str,
        capacity: NonZeroU32,
        longest_debt: Duration,
        overflow: Overflow,
        seed: Seed,
    ) -> Result<Self, TableError> {
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(TableError::Name { longest: LONGEST_NAME });
        }
        Ok(Self {
            prefix: key::prefix(&seed, TABLE, name, capacity),
            buckets: buckets_for(capacity),
            longest_debt: nanos(longest_debt),
            overflow,
            seed,
        })
    }

    /// The table of the leases of the limit `name`, for [`Table::update`]; what was granted by one `service` is not there for another.
    ///
    /// `longest_debt` is the longest time for which an entry is busy.
    ///
    /// # Errors
    /// As [`Table::new`].
    pub(crate) fn of_leases(
        name: &str,
        capacity: NonZeroU32,
        longest_debt: Duration,
        seed: Seed,
        service: &[u8],
    ) -> Result<Self, TableError> {
        let table = Self::new(name, capacity, longest_debt, Overflow::Deny, seed)?;
        // The same buckets: what was said by the service before is idle soon, and its places are taken again.
        Ok(Self { prefix: key::prefix(&seed, LEASES, name, capacity), seed: seed.of(service), ..table })
    }

    /// Changes the counter that `parts` name by what `step` makes of it, and gives what `step` says besides; `None` where the table has no
    /// place for it. `step` runs again where another worker was faster, and takes an entry that is busy for longer than any is for
    /// nothing: only a clock that has stepped back explains it.
    ///
    /// # Errors
    /// [`Reason`] where the shared data cannot be used, or other workers are faster too many times in a row: nothing is changed then.
    pub(crate) fn update<S: SharedStore + ?Sized, T>(
        &self,
        store: &S,
        parts: &[&[u8]; 3],
        now: UnixNanos,
        mut step: impl FnMut(Counter) -> (Counter, T),
    ) -> Result<Option<T>, Reason> {
        let [one, two, three] = parts;
        let id = Fingerprint::new(&self.seed, &[&[LEASES], one, two, three]);
        let key = self.key(Slot::Bucket(id.bucket(self.buckets)));
        for _ in 0..TRIES {
            let mut read = Read::from_store(store, &key)?;
            let place = match read.bucket.place(id, now) {
                // Remnants of an old clock mean nothing to anybody: their places are free.
                Place::Full { .. } if read.bucket.pull_back(self.belief(now).0, UnixNanos(0)) => {
                    read.bucket.place(id, now)
                }
                place => place,
            };
            let Some((index, before)) = place.or_new() else { return Ok(None) };
            let (after, said) = step(before);
            if before == after {
                return Ok(Some(said));
            }
            read.bucket.put(index, id, after);
            if read.write_back(store, &key)? == WriteOutcome::Written {
                return Ok(Some(said));
            }
        }
        Err(Reason::Contended)
    }

    /// Gives back what `charge` took from this table, as far as time has not forgiven it already; whether there was something
    /// to give.
    ///
    /// It never gives back more than was taken. If other workers are faster too many times in a row, or the entry
    /// went to another client, nothing is given back: a refund may be lost, a limit is never exceeded.
    ///
    /// # Errors
    /// [`Reason`] where the shared data cannot be used.
    pub fn give_back<S: SharedStore + ?Sized>(
        &self,
        store: &S,
        charge: &Charge,
        now: UnixNanos,
    ) -> Result<bool, Reason> {
        let now = charge.algorithm.instant(now);
        let changed = self.change(store, charge, now, |place| match place {
            Place::Held(index, counter) => {
                Some((index, counter, charge.algorithm.give_back(counter, &charge.spent, now)?))
            }
            Place::Reusable(_) | Place::Full { .. } => None,
        })?;
        Ok(changed.is_some())
    }

    /// Charges `cost` more than `charge` took from this table, although nobody can refuse it any more: it may leave a debt. Gives
    /// the counters before and after, or `None` where the entry went to another client and there is no place for a new one.
    ///
    /// # Errors
    /// [`Reason`] where the shared data cannot be used, or other workers are faster too many times in a row.
    pub fn owe<S: SharedStore + ?Sized>(
        &self,
        store: &S,
        charge: &Charge,
        cost: u64,
        now: UnixNanos,
    ) -> Result<Option<(Counter, Counter)>, Reason> {
        let now = charge.algorithm.instant(now);
        self.change(store, charge, now, |place| {
            let (index, before) = place.or_new()?;
            Some((index, before, charge.algorithm.owe(before, cost, now)))
        })
    }

    /// Moves a worker's slots of the counter of `charge` into `quota`'s period: `held` of them stand there then, and none of those that
    /// `stood` under the given periods. Gives the period, and how many no longer counted; `None` where slots are to be held and the
    /// table has no place for them.
    ///
    /// # Errors
    /// [`Reason`] where the shared data cannot be used, or other workers are faster too many times in a row: nothing is changed then.
    pub fn move_slots<S: SharedStore + ?Sized>(
        &self,
        store: &S,
        charge: &Charge,
        quota: &in_flight::Quota,
        stood: &[(u64, u32)],
        held: u32,
    ) -> Result<Option<(u64, u32)>, Reason> {
        let mut lost = 0;
        let changed = self.change(store, charge, quota.instant(), |place| {
            let (index, before) = place.or_new()?;
            let (after, missing) = in_flight::move_slots(before, quota, stood, held);
            lost = missing;
            Some((index, before, after))
        })?;
        Ok(changed.map(|(_, after)| (in_flight::period_of(after), lost)))
    }

    /// Changes the counter of `charge` by what `change` makes of its place, if anything; gives the counters before and after.
    fn change<S: SharedStore + ?Sized>(
        &self,
        store: &S,
        charge: &Charge,
        now: UnixNanos,
        mut change: impl FnMut(Place) -> Option<(usize, Counter, Counter)>,
    ) -> Result<Option<(Counter, Counter)>, Reason> {
        let key = self.key(charge.place.slot);
        for _ in 0..TRIES {
            let mut read = Read::from_store(store, &key)?;
            let Some((index, before, after)) = change(read.bucket.place(charge.place.id, now)) else { return Ok(None) };
            if before == after {
                return Ok(Some((before, after)));
            }
            read.bucket.put(index, charge.place.id, after);
            if read.write_back(store, &key)? == WriteOutcome::Written {
                return Ok(Some((before, after)));
            }
        }
        Err(Reason::Contended)
    }

    /// The instant up to which an entry may be busy at `now`, and the one to which a later one is cut.
    fn belief(&self, now: UnixNanos) -> (UnixNanos, UnixNanos) {
        let back_to = now.0.saturating_add(self.longest_debt);
        let believable = back_to.saturating_add(self.longest_debt).saturating_add(CLOCK_SLACK);
        (UnixNanos(believable), UnixNanos(back_to))
    }

    /// The key of the first bucket.
    #[cfg(test)]
    pub(in crate::limits) fn first_key(&self) -> String {
        self.key(Slot::Bucket(0)).as_str().to_owned()
    }

    fn key(&self, slot: Slot) -> Key {
        Key::new(&self.prefix, slot)
    }
}

/// A table that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableError {
    /// The limit's name is empty or too long for a key.
    Name {
        /// The greatest length in bytes.
        longest: usize,
    },
}

impl std::fmt::Display for TableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name { longest } => write!(f, "a limit's name has 1 to {longest} bytes"),
        }
    }
}

impl std::error::Error for TableError {}

/// A compare-and-set fails only when another worker's succeeds, so this many failures in a row mean that many requests of others
/// to the same bucket within some 100 us.
const TRIES: u32 = 128;
const LONGEST_NAME: usize = 64;
/// What a fingerprint is of, beside the demands': a table of counters, or one of leases and a lease in it.
const TABLE: u8 = 2;
const LEASES: u8 = 3;
