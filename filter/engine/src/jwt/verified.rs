//! A token that a provider's verifier has accepted.

use std::fmt;

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::claims::{self, Times};
use super::error::TokenError;
use super::key::KeyFingerprint;
use super::verifier::Verifier;
use crate::time::UnixNanos;

/// A token whose signature and claims a [`Verifier`] has accepted. There is no other way to make one.
#[derive(Clone)]
pub struct VerifiedToken {
    claims: Map<String, Value>,
    times: Times,
    algorithm: Algorithm,
    key_fingerprint: KeyFingerprint,
}

impl VerifiedToken {
    /// Only [`Verifier::verify`] calls this, after the last check.
    pub(super) fn new(
        claims: Map<String, Value>,
        times: Times,
        algorithm: Algorithm,
        key_fingerprint: KeyFingerprint,
    ) -> Self {
        Self { claims, times, algorithm, key_fingerprint }
    }

    /// All claims, as the token holds them.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The claim `path`: a name, or names joined with dots that lead into nested objects. An exact name goes first, so
    /// that names with dots in them, such as URLs, can be said too.
    pub fn claim(&self, path: &str) -> Option<&Value> {
        claims::lookup(&self.claims, path)
    }

    /// `sub`: whom the token speaks of, unique for its issuer.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// `iss`: who issued it.
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// `jti`: the token's own name, unique for its issuer.
    pub fn token_id(&self) -> Option<&str> {
        self.text("jti")
    }

    /// The words of `scope`, or of `scp` where there is no `scope`; a string is split at spaces, an array's elements are
    /// words as they stand.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        claims::scopes(&self.claims)
    }

    /// `exp`, without leeway. Before 1970 reads as 1970, past 2554 as 2554.
    pub fn expires_at(&self) -> Option<UnixNanos> {
        self.times.expires_at
    }

    /// `nbf`, without leeway.
    pub fn not_before(&self) -> Option<UnixNanos> {
        self.times.not_before
    }

    /// `iat`.
    pub fn issued_at(&self) -> Option<UnixNanos> {
        self.times.issued_at
    }

    /// The algorithm that the signature was verified with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key that verified it. Once the provider's key set does not contain it any more, the token is worth nothing.
    pub fn key_fingerprint(&self) -> &KeyFingerprint {
        &self.key_fingerprint
    }

    /// Whether the token, taken from a cache, may still be used at `now`: its times are judged again, as at first.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::NotYetValid`] (the clock stepped back), [`TokenError::TooOld`] and the like.
    pub fn still_valid(&self, verifier: &Verifier, now: UnixNanos) -> Result<(), TokenError> {
        verifier.check_times(&self.times, now)
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
