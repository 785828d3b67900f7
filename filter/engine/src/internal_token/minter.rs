//! Who makes internal tokens, once per credential and audience.

use std::fmt;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::cache::{CredentialKey, Minted, MintedTokens};
use super::error::{MintError, SettingsError};
use super::key_ring::KeyRing;
use super::payload::{Caller, Occasion, payload};
use super::settings::Settings;
use crate::Seed;
use crate::time::UnixNanos;

/// Makes the internal tokens of one worker.
pub struct Minter {
    settings: Settings,
    keys: KeyRing,
    /// The header of every token, in base64url.
    header: String,
    /// What every `jti` of this minter begins with.
    id_prefix: String,
    minted_ever: u64,
    cache: MintedTokens,
    minted: u64,
    reused: u64,
}

/// Counts since the last [`Minter::take_counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MintCounts {
    /// Tokens made.
    pub minted: u64,
    /// Tokens handed out again.
    pub reused: u64,
    /// Tokens dropped for want of room.
    pub evicted: u64,
}

impl Minter {
    /// A minter that signs with the active key of `keys`. `seed` is fresh randomness, another for every minter: it makes
    /// `jti` unique over all workers and restarts.
    ///
    /// # Errors
    /// Everything that is wrong with `settings`.
    pub fn new(settings: Settings, keys: KeyRing, seed: Seed) -> Result<Self, Vec<SettingsError>> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let cache = MintedTokens::new(settings.cache_bytes, hash_seed(&seed));
        let header = header(&settings, &keys);
        Ok(Self { header, id_prefix: id_prefix(&seed), settings, keys, minted_ever: 0, cache, minted: 0, reused: 0 })
    }

    /// The internal token for a caller that was let through, as a service behind `audience` gets it.
    ///
    /// The same credential, audience and expiry get the same token until
    /// [`Settings::reuse_percent`] of its lifetime is over. `credential_expires_at` is until when the gateway takes the
    /// credential, leeway included if the token is to last as long; no internal token ends later. A token that ends with
    /// its credential is handed out until then, since a new one would not last longer. The text is base64url and dots
    /// only: it fits into a header as it is.
    ///
    /// # Errors
    /// [`MintError`]
    pub fn token(
        &mut self,
        caller: Caller<'_>,
        audience: &str,
        credential_expires_at: Option<UnixNanos>,
        now: UnixNanos,
    ) -> Result<Rc<str>, MintError> {
        let key = caller.credential;
        let ends_at = credential_expires_at.map(UnixNanos::as_secs);
        if let Some(minted) = self.cache.get(key, audience)
            && self.serves_still(&minted, ends_at, now)
        {
            self.reused = self.reused.saturating_add(1);
            return Ok(minted.token);
        }
        let issued_at = now.as_secs();
        let expires_at = issued_at.saturating_add(self.settings.lifetime.as_secs()).min(ends_at.unwrap_or(u64::MAX));
        if expires_at <= issued_at {
            return Err(MintError::NoLifetimeLeft);
        }
        self.minted_ever = self.minted_ever.saturating_add(1);
        let token_id = format!("{}-{}", self.id_prefix, self.minted_ever);
        let payload = payload(&self.settings, caller, Occasion { audience, token_id, issued_at, expires_at })?;
        let token: Rc<str> = self.sign(&Value::Object(payload))?.into();
        self.minted = self.minted.saturating_add(1);
        self.cache.put(key, audience, Minted { token: Rc::clone(&token), issued_at, expires_at });
        Ok(token)
    }

    /// Forgets the tokens of one credential: the caller signed out, or the provider says other things of it now.
    pub fn forget(&mut self, key: CredentialKey) {
        self.cache.forget(key);
    }

    /// Signs with the active key of `keys` from now on, and forgets what the last one signed.
    pub fn replace_keys(&mut self, keys: KeyRing) {
        self.header = header(&self.settings, &keys);
        self.keys = keys;
        self.cache.clear();
    }

    /// The keys, for the key set that services fetch.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// What the tokens that are kept take of memory, in bytes.
    pub fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// The counts since the last call.
    pub fn take_counts(&mut self) -> MintCounts {
        MintCounts {
            minted: std::mem::take(&mut self.minted),
            reused: std::mem::take(&mut self.reused),
            evicted: self.cache.take_evicted(),
        }
    }

    fn serves_still(&self, minted: &Minted, ends_at: Option<u64>, now: UnixNanos) -> bool {
        // A clock that stepped back: `nbf` would lie in the future for a service whose clock is right.
        if now < UnixNanos::from_secs(minted.issued_at) || ends_at.is_some_and(|end| end < minted.expires_at) {
            return false;
        }
        let lifetime = minted.expires_at.saturating_sub(minted.issued_at);
        let percent = if ends_at == Some(minted.expires_at) { 100 } else { u64::from(self.settings.reuse_percent) };
        // Seconds times percent over 100, in nanoseconds: at most one hour, far from overflow.
        let span = lifetime.saturating_mul(percent).saturating_mul(10_000_000);
        now.0 < UnixNanos::from_secs(minted.issued_at).0.saturating_add(span)
    }

    fn sign(&self, payload: &Value) -> Result<String, MintError> {
        // The longest signature is 64 bytes, 86 characters.
        const SIGNATURE_AND_DOTS: usize = 88;
        let max_bytes = self.settings.max_token_bytes;
        let json = payload.to_string();
        let mut token = String::with_capacity(self.header.len() + json.len() * 4 / 3 + SIGNATURE_AND_DOTS + 4);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(json, &mut token);
        if token.len() > max_bytes {
            return Err(MintError::TooLarge { max_bytes });
        }
        let signature = self.keys.active().sign(token.as_bytes()).ok_or(MintError::SigningFailed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        if token.len() > max_bytes { Err(MintError::TooLarge { max_bytes }) } else { Ok(token) }
    }
}

/// Shows no token and no key.
impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter").field("settings", &self.settings).field("keys", &self.keys).finish_non_exhaustive()
    }
}

fn header(settings: &Settings, keys: &KeyRing) -> String {
    let key = keys.active();
    let header = json!({"alg": key.algorithm().name(), "kid": key.kid(), "typ": settings.token_type});
    URL_SAFE_NO_PAD.encode(header.to_string())
}

/// A `jti` is for everyone to read, the seed is not: other hashes hang on it.
fn id_prefix(seed: &Seed) -> String {
    let hash = derived(seed, b"portcullis internal token id");
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or_default())
}

fn hash_seed(seed: &Seed) -> (u64, u64) {
    let hash = derived(seed, b"portcullis internal token cache");
    let word = |from: usize| {
        let bytes = hash.get(from..from.saturating_add(8)).and_then(|slice| slice.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    (word(0), word(8))
}

fn derived(seed: &Seed, purpose: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(purpose).chain_update(seed.0).finalize().into()
}

#[cfg(test)]
#[path = "minter_tests.rs"]
mod tests;
