//! Opaque tokens: the server that issued one is asked what it is worth (RFC 7662).
//!
//! One [`Introspection`] lives in each worker. What a client sees follows from five rules:
//!
//! - **One question per token at a time.** Whoever brings a token while it is being asked about waits for the same
//!   answer.
//! - **Only an answer about exactly this token counts.** An [`ActiveToken`] is made in one place, of a strict
//!   `"active": true`; what was answered to a waiting request is handed to it ([`Answered`]), cache or no cache.
//! - **Never 401 for want of an answer.** A server that is down, slow, or says what RFC 7662 does not allow makes a 503.
//!   After three failures in a row it is left alone for 1 to 10 seconds; then a single question finds out.
//! - **An answer lives as long as the configuration says, and never past `exp`.** Good and bad answers have separate
//!   room, so that a stranger's random tokens push out no client's good one.
//! - **A stranger's input moves no bound**: tokens asked about at a time, requests that wait, bytes of a token, of an
//!   answer and of the cache are fixed.
//!
//! No token and no secret is ever shown; cached tokens are known by their SHA-256 only.

mod actions;
mod active;
mod answer;
mod cache;
mod circuit;
mod client;
mod provider;
#[cfg(test)]
mod simulation;
mod source;
mod token_key;
mod worker;

pub use actions::{Actions, Answered, Event, EventKind, Resume};
pub use active::ActiveToken;
pub use answer::{Failure, MAX_RESPONSE_BYTES, Malformed, Refusal};
pub use cache::CacheCounts;
pub(crate) use circuit::Circuit;
pub use circuit::MAX_PAUSE;
pub use client::ClientAuthentication;
pub use source::{IntrospectionSource, SourceError};
pub use worker::{Introspection, Lookup, Question};
