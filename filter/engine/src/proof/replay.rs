//! The proofs that were used, so that none is used twice (RFC 9449, section 11.1), by any worker.
//!
//! The store is a [`Table`] of limits with a quota of one for each proof, so that it is exact over all workers and bounded in
//! memory. A proof is remembered for longer than it can be accepted; a full store refuses new proofs rather than
//! forget one that is still good.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::dpop::VerifiedProof;
use crate::answer::Reason;
use crate::limits::{self, Algorithm, Demand, Overflow, QuotaError, Seed, Table, TableError, gcra};
use crate::ports::SharedStore;
use crate::time::UnixNanos;

/// Remembers proofs until they have expired.
#[derive(Debug, Clone)]
pub struct ReplayStore {
    table: Table,
    once: Algorithm,
}

impl ReplayStore {
    /// The store `name` with room for `capacity` proofs that have not expired, for proofs that are taken for at most
    /// `max_age` with at most `leeway`.
    ///
    /// It takes about a kilobyte for thirty-two proofs ([`memory_bytes`](limits::memory_bytes)). Give it twice the proofs
    /// that come in `max_age` and two leeways.
    ///
    /// # Errors
    /// [`ReplayStoreError`].
    pub fn new(
        name: &str,
        capacity: NonZeroU32,
        max_age: Duration,
        leeway: Duration,
        seed: Seed,
    ) -> Result<Self, ReplayStoreError> {
        // A proof may come first when its `iat` is still a leeway ahead, and again a leeway after its age: both ends count, and
        // one second makes the window greater than the span between them.
        let window = max_age.saturating_add(leeway.saturating_mul(2)).saturating_add(Duration::from_secs(1));
        let quota = gcra::Quota::new(NonZeroU64::MIN, window, NonZeroU64::MIN).map_err(ReplayStoreError::Window)?;
        let table = Table::new(&format!("dpop-{name}"), capacity, window, Overflow::Deny, seed);
        Ok(Self { table: table.map_err(ReplayStoreError::Table)?, once: Algorithm::Gcra(quota) })
    }

    /// Takes note of `proof`, if it is its first use.
    ///
    /// To be asked last: only the holder of a good token should be able to take a place.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn first_use<S: SharedStore + ?Sized>(
        &self,
        proof: &VerifiedProof,
        store: &S,
        now: UnixNanos,
    ) -> Result<(), ReplayError> {
        let descriptor = [proof.thumbprint().as_bytes().as_slice(), proof.jti_hash()].concat();
        let demand = Demand { table: &self.table, descriptor: &descriptor, algorithm: self.once, cost: 1 };
        match demand.take(store, now).map_err(|denied| denied.reason) {
            Ok(_) => Ok(()),
            Err(limits::Reason::Limit(_)) => Err(ReplayError::Replayed),
            Err(limits::Reason::TableFull { retry_after }) => Err(ReplayError::Full { retry_after }),
            Err(cause) => Err(ReplayError::Unavailable(cause)),
        }
    }
}

/// A store that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayStoreError {
    /// The name is too long.
    Table(TableError),
    /// Proofs are taken for too long.
    Window(QuotaError),
}

impl fmt::Display for ReplayStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(_) => f.write_str("the store of used DPoP proofs has no usable name"),
            Self::Window(_) => f.write_str("DPoP proofs are taken for too long"),
        }
    }
}

impl std::error::Error for ReplayStoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Table(cause) => Some(cause),
            Self::Window(cause) => Some(cause),
        }
    }
}

/// Why a proof is not taken for its first use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayError {
    /// It was used before.
    Replayed,
    /// The store has no place for another proof.
    Full {
        /// When the first place may become free.
        retry_after: Duration,
    },
    /// The shared data cannot be used.
    Unavailable(limits::Reason),
}

impl ReplayError {
    /// The reason that counters, audit lines and the client get.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Replayed => Reason::DpopProofReplayed,
            Self::Full { .. } => Reason::DpopReplayStoreFull,
            Self::Unavailable(_) => Reason::DpopReplayStoreUnavailable,
        }
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replayed => "the DPoP proof was used before",
            Self::Full { .. } => "the store of used DPoP proofs has no place for another",
            Self::Unavailable(_) => "the store of used DPoP proofs cannot be used",
        })
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable(cause) => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::limits::model::{Worker, explore};
    use crate::ports::memory::{MemoryStore, NoStore};
    use crate::proof::{DEFAULT_LEEWAY, DEFAULT_MAX_AGE};

    const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

    fn replay_store(capacity: u32) -> ReplayStore {
        let seed = Seed::from_bytes([7; 16]);
        ReplayStore::new("all", NonZeroU32::new(capacity).unwrap(), DEFAULT_MAX_AGE, DEFAULT_LEEWAY, seed).unwrap()
    }

    fn proof(key: u8, jti: u8) -> VerifiedProof {
        VerifiedProof::made_up(key, jti, NOW)
    }

    #[test]
    fn a_proof_is_taken_once() {
        let (store, replays) = (MemoryStore::default(), replay_store(64));
        assert_eq!(replays.first_use(&proof(1, 1), &store, NOW), Ok(()));
        for seconds in 0..=60 {
            let later = NOW.plus(Duration::from_secs(seconds));
            assert_eq!(replays.first_use(&proof(1, 1), &store, later), Err(ReplayError::Replayed));
        }
    }

    #[test]
    fn another_jti_and_another_key_are_other_proofs() {
        let (store, replays) = (MemoryStore::default(), replay_store(64));
        for other in [proof(1, 1), proof(1, 2), proof(2, 1), proof(2, 2)] {
            assert_eq!(replays.first_use(&other, &store, NOW), Ok(()));
        }
    }

    #[test]
    fn a_proof_is_remembered_for_as_long_as_it_could_be_accepted() {
        let (store, replays) = (MemoryStore::default(), replay_store(64));
        let earliest = UnixNanos(NOW.0 - 5_000_000_000);
        replays.first_use(&proof(1, 1), &store, earliest).unwrap();
        let latest = NOW.plus(DEFAULT_MAX_AGE).plus(DEFAULT_LEEWAY);
        assert_eq!(replays.first_use(&proof(1, 1), &store, latest), Err(ReplayError::Replayed));
    }

    #[test]
    fn a_clock_that_steps_back_forgets_nothing() {
        let (store, replays) = (MemoryStore::default(), replay_store(64));
        replays.first_use(&proof(1, 1), &store, NOW).unwrap();
        for seconds in [1, 60, 3_600, 900_000] {
            let earlier = UnixNanos(NOW.0 - seconds * 1_000_000_000);
            assert_eq!(replays.first_use(&proof(1, 1), &store, earlier), Err(ReplayError::Replayed));
        }
    }

    #[test]
    fn a_full_store_refuses_new_proofs_and_forgets_no_old_one() {
        let (store, replays) = (MemoryStore::default(), replay_store(1));
        for jti in 0..32 {
            replays.first_use(&proof(1, jti), &store, NOW).unwrap();
        }
        let Err(ReplayError::Full { retry_after }) = replays.first_use(&proof(1, 99), &store, NOW) else {
            panic!("not full");
        };
        for jti in 0..32 {
            assert_eq!(replays.first_use(&proof(1, jti), &store, NOW), Err(ReplayError::Replayed));
        }
        assert_eq!(replays.first_use(&proof(1, 99), &store, NOW.plus(retry_after)), Ok(()));
        assert_eq!(store.key_count(), 1);
    }

    #[test]
    fn a_host_without_shared_data_takes_no_proof() {
        let error = replay_store(64).first_use(&proof(1, 1), &NoStore, NOW).unwrap_err();
        assert_eq!(error.reason().status(), 503);
        assert_eq!(error, ReplayError::Unavailable(limits::Reason::StoreUnavailable));
    }

    #[test]
    fn of_several_workers_exactly_one_takes_a_proof_in_every_interleaving() {
        let replays = replay_store(64);
        let worker = |store: &dyn SharedStore| {
            let taken = replays.first_use(&proof(1, 1), store, NOW).is_ok();
            vec![if taken { vec![1_u64] } else { Vec::new() }]
        };
        for workers in 2..=3 {
            let explored = explore(&vec![&worker as Worker<'_>; workers]);
            assert!(explored.states > 10, "{}", explored.states);
            for (_, end) in explored.ends {
                assert_eq!(end.iter().flatten().filter(|outcome| !outcome.is_empty()).count(), 1);
            }
        }
    }

    #[test]
    fn of_several_threads_exactly_one_takes_each_proof() {
        let (store, replays, start) = (MemoryStore::default(), replay_store(1_024), Barrier::new(4));
        let taken: usize = std::thread::scope(|scope| {
            let run = || {
                start.wait();
                (0..200).filter(|jti| replays.first_use(&proof(1, *jti), &store, NOW).is_ok()).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 200);
    }

    #[test]
    fn a_store_without_a_usable_name_or_window_is_refused() {
        let make = |name: &str, max_age| {
            ReplayStore::new(name, NonZeroU32::MIN, max_age, DEFAULT_LEEWAY, Seed::from_bytes([7; 16])).unwrap_err()
        };
        assert!(matches!(make(&"x".repeat(60), DEFAULT_MAX_AGE), ReplayStoreError::Table(_)));
        assert_eq!(make("all", Duration::MAX), ReplayStoreError::Window(QuotaError::TooLong));
    }
}
