//! What a [`KeySets`](super::KeySets) asks of the shell: requests to send, streams to wake, events to log and count.

use std::rc::Rc;
use std::time::Duration;

use super::answer::FetchError;
use crate::time::UnixNanos;

/// What is to be done now. Everything in it may be done at once, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions {
    /// Requests to send. One that cannot be sent is answered with [`FetchOutcome::NoAnswer`](super::FetchOutcome).
    pub fetches: Vec<Fetch>,
    /// Requests of clients that have waited long enough.
    pub resume: Vec<(RequestId, Resume)>,
    /// What happened, for the log and the counters.
    pub events: Vec<Event>,
    /// When the next tick is wanted.
    pub next_tick: Duration,
}

/// Names a [`Fetch`] within its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// Names a client's request within its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A `GET` to a provider. It must end in one [`FetchOutcome`](super::FetchOutcome) within `timeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// To be handed back with the outcome.
    pub id: FetchId,
    /// The proxy's cluster to send it to.
    pub cluster: String,
    /// `:authority`.
    pub authority: String,
    /// `:path`, with a query where there is one.
    pub path: String,
    /// The time limit, from sending to the last byte.
    pub timeout: Duration,
    /// A longer body need not be read: [`FetchOutcome::TooLarge`](super::FetchOutcome).
    pub max_response_bytes: usize,
}

/// What becomes of a client's request that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Judge its token again: there are keys now, or newer ones.
    Retry,
    /// Answer 503: the keys could not be had.
    GiveUp {
        /// For `Retry-After`: whole seconds, at least one.
        retry_after: Duration,
    },
}

/// Something that an operator may want to know about a key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The provider's name.
    pub provider: Rc<str>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a key set. Those of a fetch happen on one worker, the others on each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// This worker fetches for all.
    LeaseTaken {
        /// The attempt's number, over all workers.
        attempt: u64,
        /// The worker that fetched before has vanished in the act.
        replaces_vanished: bool,
    },
    /// An unknown `kid` made this worker ask for a refetch.
    UnknownKidRefetch {
        /// The caller's hash of the `kid`.
        kid_hash: u64,
    },
    /// The provider gave a good key set.
    Fetched {
        /// The attempt whose bytes stand.
        generation: u64,
        /// Whether they differ from those that stood before.
        changed: bool,
        /// Until the next fetch.
        next_in: Duration,
    },
    /// An attempt failed; the standing key set stays.
    FetchFailed {
        /// Why.
        error: FetchError,
        /// Failures in a row.
        failures: u32,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// The answer came when another worker had already taken over; it is not used.
    AnswerDiscarded,
    /// This worker uses a new key set from shared data.
    Loaded {
        /// Its generation.
        generation: u64,
        /// When the provider gave it.
        fetched_at: UnixNanos,
    },
    /// A key set in shared data does not parse here, perhaps because another version of the filter wrote it.
    LoadFailed {
        /// The parser's reason.
        error: FetchError,
    },
    /// The keys are past their refresh, and are used all the same.
    StaleServed,
    /// `keep_stale` has passed: the keys are no longer used.
    Expired,
    /// The host has no shared data: this worker fetches for itself from now on.
    StoreUnavailable,
}

impl EventKind {
    /// The stable name for counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LeaseTaken { .. } => "fetch_started",
            Self::UnknownKidRefetch { .. } => "unknown_kid_refetch",
            Self::Fetched { .. } => "fetched",
            Self::FetchFailed { .. } => "fetch_failed",
            Self::AnswerDiscarded => "answer_discarded",
            Self::Loaded { .. } => "loaded",
            Self::LoadFailed { .. } => "load_failed",
            Self::StaleServed => "stale_served",
            Self::Expired => "expired",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// Whether an operator should look at it: then it is logged.
    pub const fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::FetchFailed { .. }
                | Self::LoadFailed { .. }
                | Self::StaleServed
                | Self::Expired
                | Self::StoreUnavailable
        )
    }
}

impl std::fmt::Display for EventKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LeaseTaken { attempt, replaces_vanished: false } => {
                write!(f, "fetches the key set, attempt {attempt}")
            }
            Self::LeaseTaken { attempt, replaces_vanished: true } => {
                write!(f, "fetches the key set in place of a worker that vanished, attempt {attempt}")
            }
            Self::UnknownKidRefetch { .. } => f.write_str("an unknown key id asks for a fetch"),
            Self::Fetched { changed, next_in, .. } => {
                let what = if *changed { "a new" } else { "the same" };
                write!(f, "fetched {what} key set, next in {} s", next_in.as_secs())
            }
            Self::FetchFailed { error, failures, retry_in } => {
                write!(f, "the key set cannot be fetched: {error}")?;
                if let Some(cause) = std::error::Error::source(error) {
                    write!(f, ": {cause}")?;
                }
                write!(f, " (failure {failures} in a row, next try in {} s)", retry_in.as_secs())
            }
            Self::AnswerDiscarded => f.write_str("an answer came too late and is not used"),
            Self::Loaded { .. } => f.write_str("uses a new key set"),
            Self::LoadFailed { error } => write!(f, "the shared key set cannot be used: {error}"),
            Self::StaleServed => f.write_str("the key set is past its refresh and still used"),
            Self::Expired => f.write_str("the key set is too old and no longer used"),
            Self::StoreUnavailable => f.write_str("the host has no shared data: this worker fetches for itself"),
        }
    }
}
