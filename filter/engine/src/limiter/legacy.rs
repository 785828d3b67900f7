//! The headers from before the draft: `X-RateLimit-Limit`, `-Remaining` and `-Reset`, of the one limit that is nearest to its end.
//!
//! No document defines them. `-Limit` is what a window admits; `-Remaining` and `-Reset` are the numbers of `RateLimit`: what is left, and the
//! seconds within which the client should use no more.

use crate::engine::HeaderChange;
use crate::limits::{Algorithm, Standing, whole_seconds};
use std::time::Duration;

/// How a client stands, in three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legacy {
    limit: u64,
    remaining: u64,
    reset: u64,
}

const LIMIT: &str = "x-ratelimit-limit";
pub(super) const REMAINING: &str = "x-ratelimit-remaining";
const RESET: &str = "x-ratelimit-reset";

/// Whether a change sets one of the headers.
pub(super) fn is_one(change: &HeaderChange) -> bool {
    matches!(change, HeaderChange::Set(name, _) if [LIMIT, REMAINING, RESET].contains(&name.as_str()))
}

impl Legacy {
    /// Of a request that was admitted.
    pub fn new(algorithm: &Algorithm, standing: &Standing) -> Self {
        let (remaining, window) = algorithm.told(standing);
        Self::told(algorithm.per_window(), remaining, window)
    }

    /// As another that counts says: what a window admits, what is left of it, the seconds until there is more.
    pub fn told(limit: u64, remaining: u64, reset: Duration) -> Self {
        Self { limit, remaining, reset: whole_seconds(reset) }
    }

    /// Of one that was refused.
    pub fn used_up(algorithm: &Algorithm, wait: Duration) -> Self {
        Self { limit: algorithm.per_window(), remaining: 0, reset: whole_seconds(wait).max(1) }
    }

    /// The one of two with less left.
    #[must_use]
    pub fn tighter(self, other: Self) -> Self {
        if other.remaining < self.remaining { other } else { self }
    }

    /// The headers.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        [(LIMIT, self.limit.to_string()), (REMAINING, self.remaining.to_string()), (RESET, self.reset.to_string())]
    }

    /// Puts the headers into a response, unless those of a tighter limit stand there.
    pub fn tell(&self, response: &mut Vec<HeaderChange>) {
        let standing = response.iter().find_map(|change| match change {
            HeaderChange::Set(name, value) if name == REMAINING => std::str::from_utf8(value).ok()?.parse::<u64>().ok(),
            _ => None,
        });
        if standing.is_some_and(|remaining| remaining <= self.remaining) {
            return;
        }
        response.retain(|change| !is_one(change));
        let headers = self.headers().into_iter();
        response.extend(headers.map(|(name, value)| HeaderChange::Set(name.to_owned(), value.into_bytes())));
    }
}
