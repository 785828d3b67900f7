//! A compact table from fingerprints to values: sorted once, then found by the fingerprint's first bits.
//!
//! A fingerprint is 96 bits of SipHash-1-3 under a key that no client knows. A token that is not listed is refused only if
//! its fingerprint equals a listed one: with 200,000 entries the chance is 3e-24 for each check.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// The key of the fingerprints, this worker's own.
#[derive(Clone, Copy)]
pub(super) struct HashKey(pub [u8; 16]);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// Stands for a name of a kind, and the issuer that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fingerprint {
    high: u64,
    low: u32,
}

impl Fingerprint {
    /// No two of `kind`, `name` and `issuer` give the same bytes to hash.
    pub fn new(key: HashKey, kind: u8, name: &str, issuer: Option<&str>) -> Self {
        let mut hasher = SipHasher13::new_with_key(&key.0);
        hasher.write_u8(kind);
        hasher.write_u8(u8::from(issuer.is_some()));
        hasher.write_u64(u64::try_from(name.len()).unwrap_or(u64::MAX));
        hasher.write(name.as_bytes());
        hasher.write(issuer.unwrap_or_default().as_bytes());
        let hash = hasher.finish128();
        // The value beside it is 4 bytes or a multiple of 8: 32 bits more cost no memory.
        Self { high: hash.h1, low: u32::try_from(hash.h2 >> 32).unwrap_or(u32::MAX) }
    }

    fn bucket(self, shift: u32) -> u64 {
        self.high.checked_shr(shift).unwrap_or(0)
    }
}

/// Values by fingerprint.
#[derive(Debug)]
pub(super) struct Table<V> {
    slots: Vec<Slot<V>>,
    /// Where each bucket begins in `slots`; one more than there are buckets.
    starts: Vec<u32>,
    /// Takes a fingerprint's high word to its bucket.
    shift: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slot<V> {
    // Two fields and not a `Fingerprint`, so that a small value lies in what would be padding.
    high: u64,
    low: u32,
    value: V,
}

impl<V> Slot<V> {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint { high: self.high, low: self.low }
    }
}

/// How many slots a bucket has on average.
const SLOTS_PER_BUCKET: usize = 4;

/// Takes entries for a [`Table`].
#[derive(Debug)]
pub(super) struct Builder<V> {
    slots: Vec<Slot<V>>,
}

impl<V: Copy> Builder<V> {
    pub fn new() -> Self {
        Self { slots: Vec::new() }
    }

    pub fn add(&mut self, fingerprint: Fingerprint, value: V) {
        let Fingerprint { high, low } = fingerprint;
        self.slots.push(Slot { high, low, value });
    }

    /// The table; entries with the same fingerprint become one, whose value `join` makes of theirs.
    pub fn build(self, join: impl Fn(V, V) -> V) -> Table<V> {
        let mut slots = self.slots;
        slots.sort_unstable_by_key(Slot::fingerprint);
        slots.dedup_by(|later, kept| {
            let same = later.fingerprint() == kept.fingerprint();
            if same {
                kept.value = join(kept.value, later.value);
            }
            same
        });
        slots.shrink_to_fit();
        let buckets = (slots.len() / SLOTS_PER_BUCKET).max(1).next_power_of_two();
        let shift = u64::BITS.saturating_sub(buckets.ilog2());
        let mut starts = Vec::with_capacity(buckets.saturating_add(1));
        let mut rest = slots.iter().map(|slot| slot.fingerprint().bucket(shift)).peekable();
        let mut start = 0u32;
        for bucket in (0u64..).take(buckets) {
            starts.push(start);
            while rest.next_if_eq(&bucket).is_some() {
                start = start.saturating_add(1);
            }
        }
        starts.push(start);
        Table { slots, starts, shift }
    }
}

impl<V: Copy> Table<V> {
    pub fn get(&self, fingerprint: Fingerprint) -> Option<V> {
        let bucket = usize::try_from(fingerprint.bucket(self.shift)).ok()?;
        let start = usize::try_from(*self.starts.get(bucket)?).ok()?;
        let end = usize::try_from(*self.starts.get(bucket.checked_add(1)?)?).ok()?;
        let slot = self.slots.get(start..end)?.iter().find(|slot| slot.fingerprint() == fingerprint)?;
        Some(slot.value)
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let slots = self.slots.capacity().saturating_mul(size_of::<Slot<V>>());
        slots.saturating_add(self.starts.capacity().saturating_mul(size_of::<u32>()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const KEY: HashKey = HashKey([7; 16]);

    fn fingerprint(name: &str) -> Fingerprint {
        Fingerprint::new(KEY, 0, name, None)
    }

    #[test]
    fn an_empty_table_has_nothing() {
        let table = Builder::<u32>::new().build(u32::max);
        assert_eq!((table.get(fingerprint("a")), table.len()), (None, 0));
        assert_eq!(table.get(Fingerprint { high: u64::MAX, low: u32::MAX }), None);
    }

    #[test]
    fn every_entry_is_found_and_nothing_else() {
        for count in [1u32, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 1000, 10_000] {
            let mut builder = Builder::new();
            (0..count).for_each(|n| builder.add(fingerprint(&format!("in-{n}")), n));
            let table = builder.build(u32::max);
            assert_eq!(table.len(), count as usize);
            assert!((0..count).all(|n| table.get(fingerprint(&format!("in-{n}"))) == Some(n)));
            assert!((0..count).all(|n| table.get(fingerprint(&format!("out-{n}"))).is_none()));
        }
    }

    #[test]
    fn kind_name_issuer_and_key_each_make_another_fingerprint() {
        let one = Fingerprint::new(KEY, 0, "ab", Some("c"));
        for other in [
            Fingerprint::new(KEY, 1, "ab", Some("c")),
            Fingerprint::new(KEY, 0, "a", Some("bc")),
            Fingerprint::new(KEY, 0, "abc", Some("")),
            Fingerprint::new(KEY, 0, "abc", None),
            Fingerprint::new(KEY, 0, "ab", None),
            Fingerprint::new(HashKey([8; 16]), 0, "ab", Some("c")),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_hundred_thousand_entries_take_less_than_two_mebibytes() {
        let mut builder = Builder::new();
        (0..100_000u32).for_each(|n| builder.add(fingerprint(&n.to_string()), n));
        let bytes = builder.build(u32::max).heap_bytes();
        assert!(bytes < 2 << 20, "{bytes}");
    }

    #[test]
    fn debug_output_keeps_the_key_secret() {
        assert_eq!(format!("{KEY:?}"), "HashKey(..)");
    }

    proptest! {
        #[test]
        fn it_is_a_map(entries in prop::collection::vec((any::<u64>(), 0u32..3, any::<u32>()), 0..200)) {
            // Few different high words: full buckets, and fingerprints that differ in the low word only.
            let fingerprints = |(high, low, _): (u64, u32, u32)| Fingerprint { high: ((high % 5) << 61) | (high % 3), low };
            let (mut builder, mut map) = (Builder::new(), BTreeMap::new());
            for entry in &entries {
                builder.add(fingerprints(*entry), entry.2);
                let value = map.entry(fingerprints(*entry)).or_insert(0);
                *value = entry.2.max(*value);
            }
            let table = builder.build(u32::max);
            prop_assert_eq!(table.len(), map.len());
            for (high, low) in (0..5u64).flat_map(|a| (0..3u64).map(move |b| (a << 61) | b)).flat_map(|h| (0..4).map(move |l| (h, l))) {
                let fingerprint = Fingerprint { high, low };
                prop_assert_eq!(table.get(fingerprint), map.get(&fingerprint).copied());
            }
        }
    }
}
