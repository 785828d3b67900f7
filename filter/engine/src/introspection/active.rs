//! A token that its issuer's server has called active.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::claims::Claims;
use crate::jwt::claims::Times;
use crate::time::UnixNanos;

/// What a server says of a token that it calls active (RFC 7662, section 2.2). It is made only where the answer is read.
#[derive(Clone, PartialEq)]
pub struct ActiveToken {
    claims: Claims,
    expires_at: Option<UnixNanos>,
    not_before: Option<UnixNanos>,
    leeway: Duration,
}

impl ActiveToken {
    /// Only the reader of answers calls this, after the last check.
    pub(super) fn new(claims: Map<String, Value>, times: &Times, leeway: Duration) -> Self {
        Self { claims: Claims::new(claims), expires_at: times.expires_at, not_before: times.not_before, leeway }
    }

    /// All members of the answer.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// `exp`, if the answer has it. Before 1970 reads as 1970, past 2554 as 2554.
    pub fn expires_at(&self) -> Option<UnixNanos> {
        self.expires_at
    }

    /// `client_id`: the client that the token was issued to.
    pub fn client_id(&self) -> Option<&str> {
        self.claims.text("client_id")
    }

    /// `token_type`, such as `Bearer` or `DPoP` (RFC 6749, section 7.1; compared without case).
    pub fn token_type(&self) -> Option<&str> {
        self.claims.text("token_type")
    }

    /// Whether the token's own times allow its use at `now`.
    pub fn still_valid(&self, now: UnixNanos) -> bool {
        self.expires_at.is_none_or(|exp| now < exp) && self.has_begun(now)
    }

    pub(super) fn has_begun(&self, now: UnixNanos) -> bool {
        self.not_before.is_none_or(|nbf| nbf <= now.plus(self.leeway))
    }
}

/// Claims may be personal data: their names are for logs, their values are not.
impl std::fmt::Debug for ActiveToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActiveToken").field("claims", &self.claims).finish_non_exhaustive()
    }
}
