//! Verified tokens that need no second verification, bounded in bytes.
//!
//! The key is the whole token beside its provider, so two tokens are never taken for each other, whatever their hashes.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use crate::generations::Generations;
use crate::jwt::VerifiedToken;

/// The cache of one worker.
#[derive(Debug)]
pub struct TokenCache {
    entries: Generations<Key, Rc<VerifiedToken>>,
    hits: u64,
    misses: u64,
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
        Self { entries: Generations::new(max_bytes, seed), hits: 0, misses: 0 }
    }

    /// The verified token that `provider` made of exactly these bytes. The caller checks that it still is valid.
    pub fn get(&mut self, provider: u16, token: &[u8]) -> Option<Rc<VerifiedToken>> {
        let found = self.entries.get(&KeyRef { provider, token } as &dyn AsKey);
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }

    /// Remembers a verified token.
    pub fn insert(&mut self, provider: u16, token: &[u8], verified: Rc<VerifiedToken>) {
        self.entries.insert(Key { provider, token: token.into() }, verified, weight(token));
    }

    /// Forgets one token, as when it has expired.
    pub fn remove(&mut self, provider: u16, token: &[u8]) {
        self.entries.remove(&KeyRef { provider, token } as &dyn AsKey);
    }

    /// Keeps only the tokens of `provider` for which `keep` holds, as when a key was withdrawn.
    pub fn retain(&mut self, provider: u16, keep: impl Fn(&VerifiedToken) -> bool) {
        self.entries.retain(|key, token| key.provider != provider || keep(token));
    }

    /// The counts since the last call.
    pub fn take_counts(&mut self) -> CacheCounts {
        CacheCounts {
            hits: std::mem::take(&mut self.hits),
            misses: std::mem::take(&mut self.misses),
            evicted: self.entries.take_evicted(),
        }
    }
}

fn weight(token: &[u8]) -> usize {
    ENTRY_OVERHEAD + token.len() * (1 + CLAIMS_FACTOR)
}

struct Key {
    provider: u16,
    token: Box<[u8]>,
}

/// Never the token itself.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("provider", &self.provider).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
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
