//! The keyed hash that turns a descriptor into a place in the table.
//!
//! SipHash-1-3 with 128 bits of output, under a key that no client knows: nobody can choose a descriptor that falls into a
//! given bucket, or that equals another client's.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::table::Reason;
use crate::ports::{Expected, SharedStore, WriteOutcome};

/// The hash key of all tables, the same for all workers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 16]);

impl Seed {
    /// The seed that all workers share: `offered` (16 random bytes) if this worker is the first to come, else the one that stands.
    ///
    /// It lives in the shared data and lasts as long as the counters do.
    ///
    /// # Errors
    /// [`Reason::StoreUnavailable`]; [`Reason::Corrupt`] where something else stands under the seed's key.
    pub fn shared<S: SharedStore + ?Sized>(store: &S, offered: [u8; 16]) -> Result<Self, Reason> {
        if let Some((standing, _)) = store.get(SEED_KEY)? {
            return standing.try_into().map(Self).map_err(|_| Reason::Corrupt);
        }
        if store.compare_and_set(SEED_KEY, &offered, Expected::Absent)? == WriteOutcome::Written {
            return Ok(Self(offered));
        }
        let (standing, _) = store.get(SEED_KEY)?.ok_or(Reason::Corrupt)?;
        standing.try_into().map(Self).map_err(|_| Reason::Corrupt)
    }

    /// Another seed, the same for all that know this one and `bytes`.
    pub(super) fn of(&self, bytes: &[u8]) -> Self {
        Self(Fingerprint::new(self, &[&[DERIVED], bytes]).bits().to_le_bytes())
    }

    /// A seed of one's own, for tests and tools.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The full hash of a descriptor. Two clients share a counter only if all 128 bits are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(u128);

impl Fingerprint {
    /// The hash of `parts`; the caller sees to it that different inputs do not concatenate to the same bytes.
    pub(crate) fn new(seed: &Seed, parts: &[&[u8]]) -> Self {
        let mut hasher = SipHasher13::new_with_key(&seed.0);
        for part in parts {
            hasher.write(part);
        }
        Self::from_bits(hasher.finish128().as_u128())
    }

    /// Zero marks an entry that was never used, and is never a client's.
    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(if bits == 0 { 1 } else { bits })
    }

    pub(crate) const fn bits(self) -> u128 {
        self.0
    }

    /// The bucket, out of `buckets`, in which this fingerprint's entry stands.
    pub(crate) fn bucket(self, buckets: u32) -> u32 {
        let high = u64::try_from(self.0 >> 64).unwrap_or(u64::MAX);
        let scaled = (u128::from(high) * u128::from(buckets)) >> 64;
        u32::try_from(scaled).unwrap_or(0)
    }
}

/// What a fingerprint is of, beside the tables': a seed.
const DERIVED: u8 = 4;
const SEED_KEY: &str = "portcullis/limit-seed/1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryStore;

    #[test]
    fn the_first_worker_s_seed_is_everybody_s() {
        let store = MemoryStore::default();
        assert_eq!(Seed::shared(&store, [1; 16]), Ok(Seed([1; 16])));
        assert_eq!(Seed::shared(&store, [2; 16]), Ok(Seed([1; 16])));
    }

    #[test]
    fn a_foreign_value_under_the_seed_s_key_is_no_seed() {
        let store = MemoryStore::default();
        store.compare_and_set(SEED_KEY, b"short", Expected::Absent).unwrap();
        assert_eq!(Seed::shared(&store, [1; 16]), Err(Reason::Corrupt));
    }

    #[test]
    fn the_seed_decides_where_a_client_stands() {
        let bits = |seed| Fingerprint::new(&Seed([seed; 16]), &[b"alice"]).bits();
        assert_ne!(bits(1), bits(2));
        assert_eq!(bits(1), bits(1));
    }

    #[test]
    fn every_bucket_is_within_the_table_and_all_are_used() {
        let seed = Seed([7; 16]);
        let mut used = [0u32; 10];
        for client in 0..10_000u32 {
            used[Fingerprint::new(&seed, &[&client.to_le_bytes()]).bucket(10) as usize] += 1;
        }
        assert!(used.iter().all(|&count| (850..1150).contains(&count)), "{used:?}");
        assert_eq!(Fingerprint::from_bits(u128::MAX).bucket(10), 9);
        assert_eq!(Fingerprint::from_bits(0).bucket(u32::MAX), 0);
    }

    #[test]
    fn debug_output_keeps_the_seed_secret() {
        assert_eq!(format!("{:?}", Seed([9; 16])), "Seed(..)");
    }
}
