//! One value of the shared data: a version byte and thirty-two entries of thirty-two bytes.
//!
//! An entry is the fingerprint (16 bytes, zero if never used), `busy_until` and the algorithm's word (8 bytes each), all little
//! endian. Reading and writing 1 KiB costs the host hardly more than 16 bytes do, so the buckets are large: see
//! [`table`](super::table) for what that buys.

use std::time::Duration;

use super::algorithm::Counter;
use super::hash::Fingerprint;
use crate::time::UnixNanos;

/// The entries of one bucket, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket(Vec<u8>);

/// Where a client's entry stands in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The client has an entry.
    Held(usize, Counter),
    /// It has none, and this entry has been idle for a while.
    Reusable(usize),
    /// It has none, and all entries are busy; the first of them is free at this instant.
    Full { until: UnixNanos },
}

impl Place {
    /// The client's entry, or an unused one for it.
    pub(super) fn or_new(self) -> Option<(usize, Counter)> {
        match self {
            Self::Held(index, counter) => Some((index, counter)),
            Self::Reusable(index) => Some((index, Counter::default())),
            Self::Full { .. } => None,
        }
    }
}

impl Bucket {
    /// A bucket without entries.
    pub(super) fn empty() -> Self {
        let mut bytes = vec![0; BUCKET_BYTES];
        if let Some(version) = bytes.first_mut() {
            *version = LAYOUT;
        }
        Self(bytes)
    }

    /// A stored bucket; `None` if the value is not one.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == BUCKET_BYTES && bytes.first() == Some(&LAYOUT)).then_some(Self(bytes))
    }

    /// The value to be stored.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Finds the entry of `id`, or a place for it.
    pub(super) fn place(&self, id: Fingerprint, now: UnixNanos) -> Place {
        // Most have an entry: nothing else is looked at until that is known.
        if let Some((index, entry)) = self.entries().enumerate().find(|(_, entry)| entry.id == id.bits()) {
            return Place::Held(index, entry.counter());
        }
        let mut reusable = None;
        let mut until = UnixNanos(u64::MAX);
        for (index, entry) in self.entries().enumerate() {
            let free_at = UnixNanos(entry.busy_until).plus(GRACE);
            if free_at <= now {
                reusable = Some(index);
                break;
            }
            until = until.min(free_at);
        }
        match reusable {
            Some(index) => Place::Reusable(index),
            None => Place::Full { until },
        }
    }

    /// Writes one entry.
    pub(super) fn put(&mut self, index: usize, id: Fingerprint, counter: Counter) {
        let (chunks, _) = self.0.get_mut(1..).unwrap_or_default().as_chunks_mut::<ENTRY_BYTES>();
        if let Some(chunk) = chunks.get_mut(index) {
            *chunk = Entry { id: id.bits(), busy_until: counter.busy_until, memo: counter.memo }.to_bytes();
        }
    }

    /// Sets every entry that is busy beyond `believable` to be busy until `back_to`; whether there was one.
    pub(super) fn pull_back(&mut self, believable: UnixNanos, back_to: UnixNanos) -> bool {
        let mut changed = false;
        let (chunks, _) = self.0.get_mut(1..).unwrap_or_default().as_chunks_mut::<ENTRY_BYTES>();
        for chunk in chunks {
            let entry = Entry::from_bytes(chunk);
            if entry.busy_until > believable.0 {
                *chunk = Entry { busy_until: back_to.0, ..entry }.to_bytes();
                changed = true;
            }
        }
        changed
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        let (chunks, _) = self.0.get(1..).unwrap_or_default().as_chunks::<ENTRY_BYTES>();
        chunks.iter().map(Entry::from_bytes)
    }
}

#[derive(Clone, Copy)]
struct Entry {
    id: u128,
    busy_until: u64,
    memo: u64,
}

impl Entry {
    fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |index: usize| words.get(index).map_or(0, |word| u64::from_le_bytes(*word));
        Self { id: u128::from(word(0)) | (u128::from(word(1)) << 64), busy_until: word(2), memo: word(3) }
    }

    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let (id, words) = bytes.split_at_mut(16);
        id.copy_from_slice(&self.id.to_le_bytes());
        let (busy_until, memo) = words.split_at_mut(8);
        busy_until.copy_from_slice(&self.busy_until.to_le_bytes());
        memo.copy_from_slice(&self.memo.to_le_bytes());
        bytes
    }

    fn counter(&self) -> Counter {
        Counter { busy_until: self.busy_until, memo: self.memo }
    }
}

/// Entries per bucket.
pub(super) const ENTRIES: u32 = 32;
/// How long an idle entry is kept from other clients: workers read the clock at different moments, and one that read it just
/// before the entry became idle must still find it.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// The length of a stored bucket.
pub(super) const BUCKET_BYTES: usize = 1 + ENTRIES as usize * ENTRY_BYTES;
/// The layout's version: in the value and in the key.
pub(super) const LAYOUT: u8 = 2;
const ENTRY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos(100_001_000);

    fn id(bits: u128) -> Fingerprint {
        Fingerprint::from_bits(bits)
    }

    fn full_of_busy() -> Bucket {
        let mut bucket = Bucket::empty();
        for index in 0..ENTRIES as usize {
            bucket.put(index, id(index as u128 + 1), Counter { busy_until: 2_000 + index as u64, memo: 7 });
        }
        bucket
    }

    #[test]
    fn an_entry_is_found_as_it_was_written() {
        let mut bucket = Bucket::empty();
        let counter = Counter { busy_until: u64::MAX, memo: 0x0102_0304_0506_0708 };
        bucket.put(31, id(u128::MAX), counter);
        let stored = Bucket::from_bytes(bucket.as_bytes().to_vec()).unwrap();
        assert_eq!(stored.place(id(u128::MAX), NOW), Place::Held(31, counter));
    }

    #[test]
    fn fingerprints_that_differ_in_one_bit_are_two_clients() {
        for bit in 0..128 {
            let mut bucket = Bucket::empty();
            bucket.put(0, id(1 << 64), Counter { busy_until: 2_000, memo: 0 });
            assert_eq!(bucket.place(id((1 << 64) ^ (1 << bit)), NOW), Place::Reusable(1));
        }
    }

    #[test]
    fn a_busy_entry_is_never_reused_and_an_idle_one_is_after_a_grace() {
        let mut bucket = full_of_busy();
        let free = UnixNanos(100_002_000);
        assert_eq!(bucket.place(id(99), NOW), Place::Full { until: free });
        assert_eq!(bucket.place(id(99), UnixNanos(free.0 - 1)), Place::Full { until: free });
        assert_eq!(bucket.place(id(99), free), Place::Reusable(0));
        bucket.put(5, id(6), Counter { busy_until: 1_000, memo: 0 });
        assert_eq!(bucket.place(id(99), NOW), Place::Reusable(5));
    }

    #[test]
    fn an_own_entry_behind_an_idle_one_is_found_first() {
        let mut bucket = full_of_busy();
        bucket.put(0, id(1), Counter::default());
        assert!(matches!(bucket.place(id(32), NOW), Place::Held(31, _)));
    }

    #[test]
    fn values_that_are_no_bucket_are_refused() {
        let good = Bucket::empty();
        assert!(Bucket::from_bytes(good.as_bytes().to_vec()).is_some());
        for bytes in [Vec::new(), vec![LAYOUT], vec![0; BUCKET_BYTES], vec![LAYOUT; BUCKET_BYTES + 1]] {
            assert_eq!(Bucket::from_bytes(bytes), None);
        }
    }

    #[test]
    fn only_entries_from_the_far_future_are_pulled_back() {
        let mut bucket = full_of_busy();
        assert!(!bucket.pull_back(UnixNanos(2_031), UnixNanos(1_500)));
        assert!(bucket.pull_back(UnixNanos(2_030), UnixNanos(1_500)));
        assert_eq!(bucket.place(id(32), NOW), Place::Held(31, Counter { busy_until: 1_500, memo: 7 }));
        assert_eq!(bucket.place(id(31), NOW), Place::Held(30, Counter { busy_until: 2_030, memo: 7 }));
    }
}
