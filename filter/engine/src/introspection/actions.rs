//! What an [`Introspection`](super::Introspection) asks of the shell: streams to wake, events to log and count.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::answer::{Failure, Refusal, Verdict};
use super::token_key::TokenKey;
use super::worker::Lookup;
use crate::key_sets::RequestId;
use crate::time::UnixNanos;

/// What is to be done now. Everything in it may be done at once, in any order.
#[derive(Debug, Clone, PartialEq)]
pub struct Actions {
    /// Requests of clients whose wait is over.
    pub resume: Vec<(RequestId, Resume)>,
    /// What happened, for the log and the counters.
    pub events: Vec<Event>,
    /// When the next tick is wanted.
    pub next_tick: Duration,
}

/// What becomes of a client's request that waited.
#[derive(Debug, Clone, PartialEq)]
pub enum Resume {
    /// Judge it again, with this answer at hand.
    Retry(Answered),
    /// Answer 503: nothing could be learnt of its token.
    GiveUp {
        /// For `Retry-After`: whole seconds, at least one.
        retry_after: Duration,
    },
}

/// An answer about one token, for the requests that waited for it. It serves them even where nothing is cached.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub(super) provider: Rc<str>,
    pub(super) key: TokenKey,
    pub(super) verdict: Verdict,
}

impl Answered {
    /// The answer, if it is about exactly this token of this provider.
    pub fn lookup(&self, provider: &str, token: &[u8], now: UnixNanos) -> Option<Lookup> {
        (*self.provider == *provider && self.key == TokenKey::of(token)).then(|| Lookup::decided(&self.verdict, now))
    }
}

/// Something that an operator may want to know about an introspection endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The provider's name.
    pub provider: Rc<str>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened at an introspection endpoint, as this worker saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A token was called active, and meets the configuration.
    Active,
    /// A token was called inactive, or does not meet the configuration.
    Refused(Refusal),
    /// A question brought no answer.
    Failed {
        /// Why.
        failure: Failure,
        /// Failures in a row.
        failures: u32,
    },
    /// The endpoint is left alone.
    Paused {
        /// For so long.
        pause: Duration,
    },
    /// The endpoint answers again.
    Recovered,
}

impl EventKind {
    /// The stable name for counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Active => "introspection_active",
            Self::Refused(_) => "introspection_refused",
            Self::Failed { failure: Failure::ClientRefused(_), .. } => "introspection_client_refused",
            Self::Failed { .. } => "introspection_failed",
            Self::Paused { .. } => "introspection_paused",
            Self::Recovered => "introspection_recovered",
        }
    }

    /// Whether an operator should look at it: then it is logged.
    pub const fn is_trouble(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Paused { .. } | Self::Recovered)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("a token is active"),
            Self::Refused(refusal) => write!(f, "a token is refused: {refusal}"),
            Self::Failed { failure, failures } => write!(f, "{failure} (failure {failures} in a row)"),
            Self::Paused { pause } => {
                write!(f, "the introspection endpoint is left alone for {} ms", pause.as_millis())
            }
            Self::Recovered => f.write_str("the introspection endpoint answers again"),
        }
    }
}
