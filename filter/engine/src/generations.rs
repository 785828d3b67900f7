//! A map bounded in bytes whose old entries leave by generation, in constant time and with no list to keep.
//!
//! It is two maps: when the young one is full, the old one is dropped and the young one takes its place. What is used
//! moves back into the young one. The hash is seeded, so that nobody can choose keys that collide.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use siphasher::sip::SipHasher13;

/// The map; `V` is cheap to clone.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    max_bytes: usize,
    young: Generation<K, V>,
    old: Generation<K, V>,
    evicted: u64,
}

#[derive(Debug)]
struct Generation<K, V> {
    entries: HashMap<K, Entry<V>, SeededHash>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
}

impl<K: Hash + Eq, V: Clone> Generations<K, V> {
    /// An empty map of at most `max_bytes`; zero switches it off. `seed` makes hashes unpredictable.
    pub fn new(max_bytes: usize, seed: (u64, u64)) -> Self {
        let generation = || Generation { entries: HashMap::with_hasher(SeededHash(seed)), bytes: 0 };
        Self { max_bytes, young: generation(), old: generation(), evicted: 0 }
    }

    /// The value under `key`, which is young again.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if let Some(entry) = self.young.entries.get(key) {
            return Some(entry.value.clone());
        }
        let (key, entry) = self.old.remove_entry(key)?;
        let value = entry.value.clone();
        self.put(key, entry);
        Some(value)
    }

    /// Puts `value` under `key`, where it counts as `bytes`. One of more than half the bound is not kept.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.remove(&key);
        if bytes <= self.max_bytes / 2 {
            self.put(key, Entry { value, bytes });
        }
    }

    fn put(&mut self, key: K, entry: Entry<V>) {
        if self.young.bytes.saturating_add(entry.bytes) > self.max_bytes / 2 {
            std::mem::swap(&mut self.young, &mut self.old);
            self.evicted = self.evicted.saturating_add(self.young.entries.len() as u64);
            self.young.clear();
        }
        self.young.bytes = self.young.bytes.saturating_add(entry.bytes);
        self.young.entries.insert(key, entry);
    }

    /// Removes what is under `key`.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.young.remove_entry(key);
        self.old.remove_entry(key);
    }

    /// Keeps only the entries for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        for generation in [&mut self.young, &mut self.old] {
            let mut bytes: usize = 0;
            generation.entries.retain(|key, entry| {
                let kept = keep(key, &entry.value);
                bytes = bytes.saturating_add(if kept { entry.bytes } else { 0 });
                kept
            });
            generation.bytes = bytes;
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// How many entries were dropped for want of room since the last call.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// What all entries together count as.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}

impl<K: Hash + Eq, V> Generation<K, V> {
    fn remove_entry<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<(K, Entry<V>)>
    where
        K: Borrow<Q>,
    {
        let removed = self.entries.remove_entry(key)?;
        self.bytes = self.bytes.saturating_sub(removed.1.bytes);
        Some(removed)
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct SeededHash(pub(crate) (u64, u64));

impl BuildHasher for SeededHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0.0, self.0.1)
    }
}

/// Whoever reads the seed can choose keys that collide.
impl std::fmt::Debug for SeededHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeededHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(max_bytes: usize) -> Generations<u32, u32> {
        Generations::new(max_bytes, (1, 2))
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_leaves() {
        let mut map = map(100);
        map.insert(0, 7, 10);
        for key in 1..100 {
            map.insert(key, key, 10);
            assert_eq!(map.get(&0), Some(7), "after {key}");
        }
        assert_eq!(map.get(&1), None);
        assert!(map.take_evicted() > 80 && map.take_evicted() == 0);
    }

    #[test]
    fn a_new_value_replaces_the_old_one_wherever_it_stands() {
        let mut map = map(40);
        map.insert(1, 1, 10);
        map.insert(2, 2, 10);
        map.insert(3, 3, 10);
        map.insert(1, 9, 10);
        assert_eq!(map.get(&1), Some(9));
        map.insert(1, 8, 21);
        assert_eq!(map.get(&1), None, "a value that is too large is not kept, and neither is the one before it");
    }

    #[test]
    fn a_bound_of_zero_keeps_nothing() {
        let mut map = map(0);
        map.insert(1, 1, 1);
        assert_eq!((map.get(&1), map.bytes()), (None, 0));
    }

    #[test]
    fn retain_and_clear_give_the_room_back() {
        let mut map = map(100);
        (0..8).for_each(|key| map.insert(key, key, 10));
        map.retain(|_, value| value % 2 == 0);
        assert_eq!((map.bytes(), map.get(&1), map.get(&2)), (40, None, Some(2)));
        map.clear();
        assert_eq!((map.bytes(), map.get(&2)), (0, None));
    }

    #[test]
    fn the_seed_is_not_shown() {
        let shown = format!("{:?}", Generations::<u32, u32>::new(10, (987_654_321, 123_456_789)));
        assert!(!shown.contains("987654321") && !shown.contains("123456789"), "{shown}");
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_no_key_gets_another_keys_value(
            steps in prop::collection::vec((0u32..20, 0usize..40, 0u8..4), 0..200),
        ) {
            let mut map = map(100);
            let mut last = HashMap::new();
            for (step, (key, bytes, what)) in steps.into_iter().enumerate() {
                let value = step as u32;
                match what {
                    0 => map.remove(&key),
                    1 => map.retain(|kept, _| *kept != key),
                    _ => {
                        map.insert(key, value, bytes);
                        last.insert(key, value);
                    }
                }
                if what < 2 {
                    prop_assert_eq!(map.get(&key), None);
                } else if let Some(found) = map.get(&key) {
                    prop_assert_eq!(Some(&found), last.get(&key));
                }
                prop_assert!(map.bytes() <= 100);
            }
        }
    }
}
