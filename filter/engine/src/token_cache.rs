//! Verified tokens that need no second verification, bounded in bytes.
//!
//! The key is the whole token beside its provider, so two tokens are never taken for each other, whatever their hashes.
//! The hash is seeded, so that nobody can choose tokens that collide. Old entries leave by generation: the table is two
//! maps, and when the young one is full the old one is dropped and the young one takes its place.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;

use siphasher::sip::SipHasher13;

use crate::jwt::VerifiedToken;

/// The cache of one worker.
#[derive(Debug)]
pub struct TokenCache {
    max_bytes: usize,
    young: Generation,
    old: Generation,
    hits: u64,
    misses: u64,
    evicted: u64,
}

#[derive(Debug)]
struct Generation {
    entries: HashMap<Key, Rc<VerifiedToken>, SeededHash>,
    bytes: usize,
}

/// Counts since the last [`TokenCache::take_counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounts {
    /// Tokens found.
    pub hits: u64,
    /// Tokens not found.
    pub misses: u64,
    /// Tokens dropped for want of room.
    pub evicted: u64,
}

/// What an entry costs beside its token's bytes: claims, map slot, key. Measured as about this much for ten claims.
const ENTRY_OVERHEAD: usize = 512;

/// Parsed claims take a multiple of their JSON text.
const CLAIMS_FACTOR: usize = 3;

impl TokenCache {
    /// An empty cache of at most `max_bytes`; zero switches it off. `seed` makes hashes unpredictable.
    pub fn new(max_bytes: usize, seed: (u64, u64)) -> Self {
        let generation = || Generation { entries: HashMap::with_hasher(SeededHash(seed)), bytes: 0 };
        Self { max_bytes, young: generation(), old: generation(), hits: 0, misses: 0, evicted: 0 }
    }

    /// The verified token that `provider` made of exactly these bytes. The caller checks that it still is valid.
    pub fn get(&mut self, provider: u16, token: &[u8]) -> Option<Rc<VerifiedToken>> {
        let key = KeyRef { provider, token };
        if let Some(found) = self.young.get(key) {
            self.hits += 1;
            return Some(found);
        }
        let Some(found) = self.old.remove(key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        self.put(provider, token, Rc::clone(&found));
        Some(found)
    }

    /// Remembers a verified token.
    pub fn insert(&mut self, provider: u16, token: &[u8], verified: Rc<VerifiedToken>) {
        self.put(provider, token, verified);
    }

    fn put(&mut self, provider: u16, token: &[u8], verified: Rc<VerifiedToken>) {
        let bytes = weight(token);
        let half = self.max_bytes / 2;
        if bytes > half {
            return;
        }
        if self.young.bytes + bytes > half {
            std::mem::swap(&mut self.young, &mut self.old);
            self.evicted += self.young.entries.len() as u64;
            self.young.clear();
        }
        let replaced = self.young.entries.insert(Key { provider, token: token.into() }, verified);
        if replaced.is_none() {
            self.young.bytes += bytes;
        }
    }

    /// Forgets one token, as when it has expired.
    pub fn remove(&mut self, provider: u16, token: &[u8]) {
        let key = KeyRef { provider, token };
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Keeps only the tokens of `provider` for which `keep` holds, as when a key was withdrawn.
    pub fn retain(&mut self, provider: u16, keep: impl Fn(&VerifiedToken) -> bool) {
        for generation in [&mut self.young, &mut self.old] {
            generation.entries.retain(|key, token| key.provider != provider || keep(token));
            generation.bytes = generation.entries.keys().map(|key| weight(&key.token)).sum();
        }
    }

    /// The counts since the last call.
    pub fn take_counts(&mut self) -> CacheCounts {
        CacheCounts {
            hits: std::mem::take(&mut self.hits),
            misses: std::mem::take(&mut self.misses),
            evicted: std::mem::take(&mut self.evicted),
        }
    }
}

fn weight(token: &[u8]) -> usize {
    ENTRY_OVERHEAD + token.len() * (1 + CLAIMS_FACTOR)
}

impl Generation {
    fn get(&self, key: KeyRef<'_>) -> Option<Rc<VerifiedToken>> {
        self.entries.get(&key as &dyn AsKey).map(Rc::clone)
    }

    fn remove(&mut self, key: KeyRef<'_>) -> Option<Rc<VerifiedToken>> {
        let removed = self.entries.remove(&key as &dyn AsKey);
        if removed.is_some() {
            self.bytes = self.bytes.saturating_sub(weight(key.token));
        }
        removed
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

/// A hash that nobody outside can aim with: for maps whose keys strangers choose.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeededHash(pub(crate) (u64, u64));

impl BuildHasher for SeededHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0.0, self.0.1)
    }
}

#[derive(Debug)]
struct Key {
    provider: u16,
    token: Box<[u8]>,
}

#[derive(Debug, Clone, Copy)]
struct KeyRef<'a> {
    provider: u16,
    token: &'a [u8],
}

/// Lets a borrowed token look up an owned one without a copy.
trait AsKey {
    fn as_key(&self) -> KeyRef<'_>;
}

impl AsKey for Key {
    fn as_key(&self) -> KeyRef<'_> {
        KeyRef { provider: self.provider, token: &self.token }
    }
}

impl AsKey for KeyRef<'_> {
    fn as_key(&self) -> KeyRef<'_> {
        *self
    }
}

impl<'a> std::borrow::Borrow<dyn AsKey + 'a> for Key {
    fn borrow(&self) -> &(dyn AsKey + 'a) {
        self
    }
}

impl Hash for dyn AsKey + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let key = self.as_key();
        state.write_u16(key.provider);
        state.write(key.token);
    }
}

impl PartialEq for dyn AsKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.as_key(), other.as_key());
        a.provider == b.provider && a.token == b.token
    }
}

impl Eq for dyn AsKey + '_ {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self as &dyn AsKey).hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self as &dyn AsKey == other as &dyn AsKey
    }
}

impl Eq for Key {}
