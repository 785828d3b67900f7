//! A token that a provider's verifier has accepted.

use std::fmt;

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::claims::Times;
use super::error::TokenError;
use super::key::KeyFingerprint;
use super::verifier::Verifier;
use crate::claims::Claims;
use crate::time::UnixNanos;

/// A token whose signature and claims a [`Verifier`] has accepted. There is no other way to make one.
#[derive(Clone)]
pub struct VerifiedToken {
    claims: Claims,
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
        Self { claims: Claims::new(claims), times, algorithm, key_fingerprint }
    }

    /// All claims, as the token holds them.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// `iss`: who issued it.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.text("iss")
    }

    /// `jti`: the token's own name, unique for its issuer.
    pub fn token_id(&self) -> Option<&str> {
        self.claims.text("jti")
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
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}
