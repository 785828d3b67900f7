//! Internal tokens that can be handed out again, bounded in bytes.
//!
//! Old ones leave by generation: the table is two maps, and when the young one is full the old one is dropped and the young
//! one takes its place.

use std::collections::HashMap;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use crate::generations::SeededHash;

/// Names a credential together with all that its provider says of it: equal keys get equal tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CredentialKey([u8; 32]);

impl CredentialKey {
    /// The key of `credential` (the token, the API key, the certificate) as `provider` takes it.
    ///
    /// Where the provider's word on one credential can change, as with introspection, [`forget`](super::Minter::forget)
    /// the key when it does.
    pub fn new(provider: u16, credential: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(b"portcullis credential").chain_update(provider.to_be_bytes());
        Self(hash.chain_update(credential).finalize().into())
    }

    /// A key that the caller has made itself.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// It is the hash of a secret.
impl std::fmt::Debug for CredentialKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialKey(..)")
    }
}

/// A token and its times, in seconds since the epoch.
#[derive(Clone)]
pub(super) struct Minted {
    pub token: Rc<str>,
    pub issued_at: u64,
    pub expires_at: u64,
}

/// The tokens of one worker.
pub(super) struct MintedTokens {
    max_bytes: usize,
    young: Generation,
    old: Generation,
    evicted: u64,
}

struct Generation {
    credentials: HashMap<CredentialKey, Tokens, SeededHash>,
    bytes: usize,
}

/// The tokens of one credential, one for each audience: few, since audiences stand in the configuration.
type Tokens = Vec<(Box<str>, Minted)>;

/// What a token costs beside its own bytes: map slot, key, reference counts.
const ENTRY_OVERHEAD: usize = 192;

impl MintedTokens {
    pub(super) fn new(max_bytes: usize, seed: (u64, u64)) -> Self {
        let generation = || Generation { credentials: HashMap::with_hasher(SeededHash(seed)), bytes: 0 };
        Self { max_bytes, young: generation(), old: generation(), evicted: 0 }
    }

    /// The last token for this credential and audience. The caller judges whether it still serves.
    pub(super) fn get(&mut self, key: CredentialKey, audience: &str) -> Option<Minted> {
        if let Some(found) = self.young.get(key, audience) {
            return Some(found.clone());
        }
        let found = self.old.take(key, audience)?;
        self.put(key, audience, found.clone());
        Some(found)
    }

    /// Remembers a token in the place of the last one for this credential and audience.
    pub(super) fn put(&mut self, key: CredentialKey, audience: &str, minted: Minted) {
        self.young.take(key, audience);
        self.old.take(key, audience);
        let bytes = weight(audience, &minted);
        let half = self.max_bytes / 2;
        if bytes > half {
            return;
        }
        if self.young.bytes.saturating_add(bytes) > half {
            std::mem::swap(&mut self.young, &mut self.old);
            self.evicted = self.evicted.saturating_add(self.young.len());
            self.young.clear();
        }
        self.young.bytes = self.young.bytes.saturating_add(bytes);
        self.young.credentials.entry(key).or_default().push((audience.into(), minted));
    }

    pub(super) fn forget(&mut self, key: CredentialKey) {
        for generation in [&mut self.young, &mut self.old] {
            for (audience, minted) in generation.credentials.remove(&key).unwrap_or_default() {
                generation.bytes = generation.bytes.saturating_sub(weight(&audience, &minted));
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// Tokens dropped for want of room since the last call.
    pub(super) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// What the cache holds now, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.young.bytes.saturating_add(self.old.bytes)
    }
}

fn weight(audience: &str, minted: &Minted) -> usize {
    ENTRY_OVERHEAD.saturating_add(audience.len()).saturating_add(minted.token.len())
}

impl Generation {
    fn get(&self, key: CredentialKey, audience: &str) -> Option<&Minted> {
        self.credentials.get(&key)?.iter().find(|(name, _)| **name == *audience).map(|(_, minted)| minted)
    }

    fn take(&mut self, key: CredentialKey, audience: &str) -> Option<Minted> {
        let tokens = self.credentials.get_mut(&key)?;
        let at = tokens.iter().position(|(name, _)| **name == *audience)?;
        let (_, minted) = tokens.swap_remove(at);
        if tokens.is_empty() {
            self.credentials.remove(&key);
        }
        self.bytes = self.bytes.saturating_sub(weight(audience, &minted));
        Some(minted)
    }

    fn len(&self) -> u64 {
        self.credentials.values().map(|tokens| tokens.len() as u64).sum()
    }

    fn clear(&mut self) {
        self.credentials.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u8) -> CredentialKey {
        CredentialKey::from_bytes([n; 32])
    }

    fn minted(token: &str) -> Minted {
        Minted { token: token.into(), issued_at: 0, expires_at: 60 }
    }

    fn token(cache: &mut MintedTokens, n: u8, audience: &str) -> Option<String> {
        cache.get(key(n), audience).map(|minted| minted.token.to_string())
    }

    #[test]
    fn each_credential_has_one_token_per_audience() {
        let mut cache = MintedTokens::new(10_000, (1, 2));
        cache.put(key(1), "a", minted("1a"));
        cache.put(key(1), "b", minted("1b"));
        cache.put(key(2), "a", minted("2a"));
        cache.put(key(1), "a", minted("1a again"));
        assert_eq!(token(&mut cache, 1, "a").as_deref(), Some("1a again"));
        assert_eq!(token(&mut cache, 1, "b").as_deref(), Some("1b"));
        assert_eq!(token(&mut cache, 2, "a").as_deref(), Some("2a"));
        assert_eq!(token(&mut cache, 2, "b"), None);
    }

    #[test]
    fn a_forgotten_credential_has_no_token_for_any_audience() {
        let mut cache = MintedTokens::new(1_000, (1, 2));
        for (n, audience) in [(1, "a"), (1, "b"), (2, "a"), (3, "a")] {
            cache.put(key(n), audience, minted("t"));
        }
        cache.forget(key(1));
        assert_eq!((token(&mut cache, 1, "a"), token(&mut cache, 1, "b")), (None, None));
        assert!(token(&mut cache, 3, "a").is_some());
    }

    #[test]
    fn keys_of_different_providers_differ() {
        assert!(CredentialKey::new(0, b"x") != CredentialKey::new(1, b"x"));
        assert!(CredentialKey::new(0, b"x") != CredentialKey::new(0, b"y"));
        assert!(CredentialKey::new(7, b"x") == CredentialKey::new(7, b"x"));
        assert_eq!(format!("{:?}", CredentialKey::new(0, b"x")), "CredentialKey(..)");
    }

    #[test]
    fn without_room_nothing_is_kept() {
        for max_bytes in [0, 1, 200] {
            let mut cache = MintedTokens::new(max_bytes, (1, 2));
            cache.put(key(1), "a", minted("t"));
            assert_eq!((token(&mut cache, 1, "a"), cache.bytes()), (None, 0));
        }
    }

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_leaves() {
        let mut cache = MintedTokens::new(2_000, (1, 2));
        for n in 0..100 {
            cache.put(key(n), "a", minted("t"));
            cache.get(key(0), "a");
        }
        assert!(token(&mut cache, 0, "a").is_some());
        assert_eq!(token(&mut cache, 1, "a"), None);
        assert!(cache.take_evicted() > 80);
    }

    proptest! {
        #[test]
        fn it_never_outgrows_its_bytes_and_counts_them_right(
            steps in proptest::collection::vec((0..4_u8, 0..12_u8, "[ab]", 0..300_usize), 0..200),
        ) {
            let mut cache = MintedTokens::new(3_000, (1, 2));
            for (action, n, audience, length) in steps {
                match action {
                    0 | 1 => cache.put(key(n), &audience, minted(&"x".repeat(length))),
                    2 => drop(cache.get(key(n), &audience)),
                    _ => cache.forget(key(n)),
                }
                prop_assert!(cache.bytes() <= 3_000);
                let entries = cache.young.credentials.values().chain(cache.old.credentials.values()).flatten();
                let counted: usize = entries.map(|(audience, minted)| weight(audience, minted)).sum();
                prop_assert_eq!(cache.bytes(), counted);
            }
        }
    }
}
