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

use std::num::NonZeroU32;
use std::time::Duration;

use super::algorithm::{Algorithm, CLOCK_SLACK, Counter, Refused, Spent, Standing, Taken};
use super::bucket::{BUCKET_BYTES, Bucket, ENTRIES, GRACE, LAYOUT, Place};
use super::hash::{Fingerprint, Seed};
use super::in_flight;
use crate::ports::{Expected, SharedStore, StoreUnavailable, WriteOutcome};
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

/// One charge that a request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// Where the counter stands.
    pub table: &'a Table,
    /// Whose counter it is: [`Descriptor::as_bytes`](super::Descriptor::as_bytes).
    pub descriptor: &'a [u8],
    /// How much is allowed. One descriptor keeps one algorithm; the tier of a client may choose its quota.
    pub algorithm: Algorithm,
    /// How much is asked.
    pub cost: u64,
}

impl Demand<'_> {
    /// Charges the demand, or says why not.
    ///
    /// # Errors
    /// [`Denied`]. Nothing is charged then. What [`Reason::Contended`], [`Reason::StoreUnavailable`] and
    /// [`Reason::Corrupt`] mean for the request is the operator's `on_error`.
    pub fn take<S: SharedStore + ?Sized>(&self, store: &S, now: UnixNanos) -> Result<Admitted, Denied> {
        for _ in 0..TRIES {
            let decided = self.decide(store, now)?;
            if decided.store(store)? == WriteOutcome::Written {
                return Ok(decided.admitted());
            }
        }
        Err(Denied::because(Reason::Contended))
    }

    /// How the client stands now; charges nothing.
    ///
    /// # Errors
    /// [`Denied`] where not even a cost of zero would be admitted.
    pub fn standing<S: SharedStore + ?Sized>(&self, store: &S, now: UnixNanos) -> Result<Option<Standing>, Denied> {
        Ok(Self { cost: 0, ..*self }.decide(store, now)?.admitted().standing)
    }

    /// Reads the counter and runs the algorithm; an admission still has to be stored.
    pub(super) fn decide<S: SharedStore + ?Sized>(&self, store: &S, now: UnixNanos) -> Result<Decided, Denied> {
        let now = self.algorithm.instant(now);
        let id = Fingerprint::new(&self.table.seed, &[&[OWN, self.algorithm.tag()], self.descriptor]);
        let slot = Slot::Bucket(id.bucket(self.table.buckets));
        let until = match self.decide_at(store, slot, id, now) {
            Ok(decided) => return Ok(decided),
            Err(Unplaced::Denied(reason)) => return Err(Denied::because(reason)),
            Err(Unplaced::Full { until }) => until,
        };
        let full = |until: UnixNanos| Reason::TableFull { retry_after: until.since(now) };
        match self.table.overflow {
            Overflow::Allow => Ok(Decided::uncounted()),
            Overflow::Deny => Err(Denied { reason: full(until), overflowed: true }),
            Overflow::SharedBucket => {
                // Each quota has its own shared counter: a small one must not cut short the debt of a great one.
                let quota = nanos(self.algorithm.longest_debt()).to_le_bytes();
                let id = Fingerprint::new(&self.table.seed, &[&[SHARED, self.algorithm.tag()], &quota]);
                match self.decide_at(store, Slot::Shared, id, now) {
                    Ok(decided) => Ok(Decided { overflowed: true, ..decided }),
                    Err(Unplaced::Denied(reason)) => Err(Denied { reason, overflowed: true }),
                    Err(Unplaced::Full { until }) => Err(Denied { reason: full(until), overflowed: true }),
                }
            }
        }
    }

    fn decide_at<S: SharedStore + ?Sized>(
        &self,
        store: &S,
        slot: Slot,
        id: Fingerprint,
        now: UnixNanos,
    ) -> Result<Decided, Unplaced> {
        let key = self.table.key(slot);
        let mut read = Read::from_store(store, &key)?;
        let (index, counter) = match read.bucket.place(id, now) {
            Place::Held(index, counter) => (index, counter),
            Place::Reusable(index) => (index, Counter::default()),
            Place::Full { until } => {
                let (believable, back_to) = self.table.belief(now);
                // The lease clock never steps back: there, a worker that is behind must not cut what is newer.
                if !self.algorithm.is_in_flight() && read.bucket.pull_back(believable, back_to) {
                    // If another worker was faster, the next request that finds the bucket full does it.
                    read.write_back(store, &key)?;
                }
                return Err(Unplaced::Full { until: until.min(back_to.plus(GRACE)) });
            }
        };
        match self.algorithm.take(counter, self.cost, now) {
            Ok(Taken { counter, spent, standing }) => {
                read.bucket.put(index, id, counter);
                let charge = Charge { place: CounterPlace { slot, id }, algorithm: self.algorithm, spent };
                let write = Some((key, read));
                Ok(Decided { write, charge: Some(charge), standing: Some(standing), overflowed: false })
            }
            Err(refused) => {
                if let Some(repaired) = refused.repaired {
                    // If another worker was faster, the next refusal repairs it.
                    read.bucket.put(index, id, repaired);
                    read.write_back(store, &key)?;
                }
                Err(Unplaced::Denied(Reason::Limit(refused)))
            }
        }
    }
}

/// What happens to a client for whom the table has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It is refused.
    #[default]
    Deny,
    /// It is admitted without being counted.
    Allow,
    /// All such clients together share one quota.
    SharedBucket,
}

/// A demand that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// How the client stands after it; `None` if it was admitted uncounted ([`Overflow::Allow`]).
    pub standing: Option<Standing>,
    /// What was charged, for [`Table::give_back`]; `None` if it was admitted uncounted.
    pub charge: Option<Charge>,
    /// The table had no place for the client: to be counted, so that the operator can enlarge it.
    pub overflowed: bool,
}

/// A demand that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// The table had no place for the client: to be counted, so that the operator can enlarge it.
    pub overflowed: bool,
}

impl Denied {
    fn because(reason: Reason) -> Self {
        Self { reason, overflowed: false }
    }
}

/// Why a demand was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The quota is used up.
    Limit(Refused),
    /// The table has no place for the client, and the limit says [`Overflow::Deny`].
    TableFull {
        /// When the first place may become free.
        retry_after: Duration,
    },
    /// Other workers were faster too many times in a row.
    Contended,
    /// The host's shared data cannot be used.
    StoreUnavailable,
    /// The shared data hold something under the table's key that the table did not write.
    Corrupt,
}

impl From<StoreUnavailable> for Reason {
    fn from(_: StoreUnavailable) -> Self {
        Self::StoreUnavailable
    }
}

impl From<StoreUnavailable> for Denied {
    fn from(error: StoreUnavailable) -> Self {
        Self::because(error.into())
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Limit(_) => "the quota is used up",
            Self::TableFull { .. } => "the limit's table has no place for another client",
            Self::Contended => "other workers changed the counter at every try",
            Self::StoreUnavailable => "the host's shared data cannot be used",
            Self::Corrupt => "the shared data hold something that is no counter",
        })
    }
}

impl std::error::Error for Reason {}

/// What one admitted demand charged, and where: kept with the request while a refund is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    place: CounterPlace,
    algorithm: Algorithm,
    spent: Spent,
}

/// Where a counter stands in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CounterPlace {
    slot: Slot,
    id: Fingerprint,
}

impl Charge {
    /// The quota that it was charged to.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Where its counter stands.
    pub fn place(&self) -> CounterPlace {
        self.place
    }

    /// The period of the lease clock and the number of the slots that it took, where it is of requests in flight.
    pub fn slots(&self) -> Option<(u64, u32)> {
        self.algorithm.is_in_flight().then_some((self.spent.mark, u32::try_from(self.spent.amount).unwrap_or(u32::MAX)))
    }
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
            prefix: prefix(&seed, TABLE, name, capacity),
            buckets: buckets_for(capacity),
            longest_debt: nanos(longest_debt),
            overflow,
            seed,
        })
    }

    /// The table of the leases of the limit `name`, for [`Table::update`].
    ///
    /// # Errors
    /// As [`Table::new`].
    pub(crate) fn of_leases(
        name: &str,
        capacity: NonZeroU32,
        longest_debt: Duration,
        seed: Seed,
    ) -> Result<Self, TableError> {
        let table = Self::new(name, capacity, longest_debt, Overflow::Deny, seed)?;
        Ok(Self { prefix: prefix(&seed, LEASES, name, capacity), ..table })
    }

    /// Changes the counter of `descriptor` by what `step` makes of it, and gives what `step` says besides; `None` where the table has no
    /// place for it. `step` runs again where another worker was faster.
    ///
    /// # Errors
    /// [`Reason`] where the shared data cannot be used, or other workers are faster too many times in a row: nothing is changed then.
    pub(crate) fn update<S: SharedStore + ?Sized, T>(
        &self,
        store: &S,
        descriptor: &[u8],
        now: UnixNanos,
        mut step: impl FnMut(Counter) -> (Counter, T),
    ) -> Result<Option<T>, Reason> {
        let id = Fingerprint::new(&self.seed, &[&[LEASES], descriptor]);
        let key = self.key(Slot::Bucket(id.bucket(self.buckets)));
        for _ in 0..TRIES {
            let mut read = Read::from_store(store, &key)?;
            let Some((index, before)) = read.bucket.place(id, now).or_new() else { return Ok(None) };
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
    pub(super) fn first_key(&self) -> String {
        self.key(Slot::Bucket(0)).as_str().to_owned()
    }

    fn key(&self, slot: Slot) -> Key {
        let mut key = [0; KEY_BYTES];
        let (prefix, rest) = key.split_at_mut(PREFIX_BYTES);
        prefix.copy_from_slice(&self.prefix);
        match slot {
            Slot::Bucket(number) => write_digits(rest, number.into()),
            Slot::Shared => rest.copy_from_slice(SHARED_KEY),
        }
        Key(key)
    }
}

/// What the keys of a table begin with: the same for all workers, whatever bytes are in the limit's name.
fn prefix(seed: &Seed, kind: u8, name: &str, capacity: NonZeroU32) -> [u8; PREFIX_BYTES] {
    let id = Fingerprint::new(seed, &[&[kind, LAYOUT], &capacity.get().to_le_bytes(), name.as_bytes()]);
    let mut prefix = [0; PREFIX_BYTES];
    let (namespace, rest) = prefix.split_at_mut(NAMESPACE.len());
    namespace.copy_from_slice(NAMESPACE);
    write_digits(rest, u64::try_from(id.bits() >> 64).unwrap_or(u64::MAX));
    prefix
}

/// Fills `text` with the last digits of `number` to the base of 64.
fn write_digits(text: &mut [u8], mut number: u64) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for byte in text.iter_mut().rev() {
        let digit = usize::try_from(number & 63).unwrap_or(0);
        *byte = DIGITS.get(digit).copied().unwrap_or(b'A');
        number >>= 6;
    }
}

/// How many buckets a table has in which `capacity` clients are to have a place each: for fewer than there are entries in a bucket,
/// one; else two and a half times as many entries as clients, since some buckets are fuller than others.
pub fn buckets_for(capacity: NonZeroU32) -> u32 {
    let clients = capacity.get();
    if clients <= ENTRIES { 1 } else { clients.saturating_add(clients).saturating_add(clients / 2).div_ceil(ENTRIES) }
}

/// How much shared memory a table takes at most, in bytes: for `portcullis check`.
///
/// Values and the host's bookkeeping, for all buckets and the shared overflow bucket. Buckets are created when they are
/// first used, and stay.
pub fn memory_bytes(capacity: NonZeroU32) -> u64 {
    let buckets = u64::from(buckets_for(capacity)).saturating_add(1);
    let value = u64::try_from(BUCKET_BYTES).unwrap_or(u64::MAX);
    buckets.saturating_mul(value.saturating_add(HOST_BYTES_PER_KEY))
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

/// An admission that is not yet stored.
pub(super) struct Decided {
    write: Option<(Key, Read)>,
    charge: Option<Charge>,
    standing: Option<Standing>,
    overflowed: bool,
}

impl Decided {
    /// Admitted without a counter.
    fn uncounted() -> Self {
        Self { write: None, charge: None, standing: None, overflowed: true }
    }

    /// Stores the charge, if the bucket is still as it was read.
    pub(super) fn store<S: SharedStore + ?Sized>(&self, store: &S) -> Result<WriteOutcome, StoreUnavailable> {
        match &self.write {
            Some((key, read)) => read.write_back(store, key),
            None => Ok(WriteOutcome::Written),
        }
    }

    /// The answer, once it is stored.
    pub(super) fn admitted(&self) -> Admitted {
        Admitted { standing: self.standing, charge: self.charge, overflowed: self.overflowed }
    }
}

/// Why a bucket admitted nothing.
enum Unplaced {
    /// The client has no entry, and all entries are busy until then at least.
    Full {
        until: UnixNanos,
    },
    Denied(Reason),
}

impl From<Reason> for Unplaced {
    fn from(reason: Reason) -> Self {
        Self::Denied(reason)
    }
}

impl From<StoreUnavailable> for Unplaced {
    fn from(error: StoreUnavailable) -> Self {
        Self::Denied(error.into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Slot {
    Bucket(u32),
    Shared,
}

/// A bucket as it was read, and what has to hold when it is written.
struct Read {
    bucket: Bucket,
    expected: Expected,
}

impl Read {
    fn from_store<S: SharedStore + ?Sized>(store: &S, key: &Key) -> Result<Self, Reason> {
        match store.get(key.as_str())? {
            None => Ok(Self { bucket: Bucket::empty(), expected: Expected::Absent }),
            Some((bytes, version)) => Ok(Self {
                bucket: Bucket::from_bytes(bytes).ok_or(Reason::Corrupt)?,
                expected: Expected::Unchanged(version),
            }),
        }
    }

    fn write_back<S: SharedStore + ?Sized>(&self, store: &S, key: &Key) -> Result<WriteOutcome, StoreUnavailable> {
        store.compare_and_set(key.as_str(), self.bucket.as_bytes(), self.expected)
    }
}

/// A key on the stack: made for every request, without an allocation.
struct Key([u8; KEY_BYTES]);

impl Key {
    fn as_str(&self) -> &str {
        // Always ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A compare-and-set fails only when another worker's succeeds, so this many failures in a row mean that many requests of others
/// to the same bucket within some 100 us.
const TRIES: u32 = 128;
const LONGEST_NAME: usize = 64;
const NAMESPACE: &[u8; 3] = b"pl/";
/// The namespace, and 64 bits.
const PREFIX_BYTES: usize = NAMESPACE.len() + 11;
/// The prefix, and 32 bits.
const KEY_BYTES: usize = PREFIX_BYTES + 6;
/// In place of a bucket's number, whose first digit is one of the first four.
const SHARED_KEY: &[u8; 6] = b"shared";
/// The host's hash node with the key, the value's header and allocator rounding; about 100 bytes measured, rounded up.
const HOST_BYTES_PER_KEY: u64 = 160;
/// What a fingerprint is of: a client's own descriptor, the counter that clients without a place share, or a table: of counters, or of
/// leases, and a lease in it.
const OWN: u8 = 0;
const SHARED: u8 = 1;
const TABLE: u8 = 2;
const LEASES: u8 = 3;

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
