//! A charge that a request asks for: decided on what was read, and admitted once it is stored.

use super::admission::{Admitted, Charge, CounterPlace, Denied, Reason};
use super::key::{Key, Slot};
use super::read::Read;
use super::{TRIES, Table};
use crate::limits::algorithm::{Algorithm, Counter, Standing, Taken};
use crate::limits::bucket::{GRACE, Place};
use crate::limits::hash::Fingerprint;
use crate::ports::{SharedStore, StoreUnavailable, WriteOutcome};
use crate::time::{UnixNanos, nanos};

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
    pub(in crate::limits) fn decide<S: SharedStore + ?Sized>(
        &self,
        store: &S,
        now: UnixNanos,
    ) -> Result<Decided, Denied> {
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

/// An admission that is not yet stored.
pub(in crate::limits) struct Decided {
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
    pub(in crate::limits) fn store<S: SharedStore + ?Sized>(
        &self,
        store: &S,
    ) -> Result<WriteOutcome, StoreUnavailable> {
        match &self.write {
            Some((key, read)) => read.write_back(store, key),
            None => Ok(WriteOutcome::Written),
        }
    }

    /// The answer, once it is stored.
    pub(in crate::limits) fn admitted(&self) -> Admitted {
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

/// What a fingerprint is of: a client's own descriptor, or the counter that clients without a place share.
const OWN: u8 = 0;
const SHARED: u8 = 1;
