//! The life of the providers' key sets: fetched before they are needed, once for all workers, and kept through outages.
//!
//! One [`KeySets`] lives in each worker. They know each other only through a small record in shared data
//! (`control.rs`): whoever's tick first finds a fetch due takes a lease and fetches; the others see the new generation
//! on their next tick and load it. What a client sees follows from four rules:
//!
//! - **Never 401 for want of keys.** Without a usable key set a request waits a little ([`WaitLimits`]), and is then
//!   told 503. After [`FAILURES_BEFORE_REFUSAL`] failures in a row it is told so at once.
//! - **A good set is replaced only by a good set.** A wrong status, garbage, an empty or a huge answer is a failure: the
//!   standing keys stay until `keep_stale` after the last good fetch. A good set that lacks a key withdraws that key,
//!   on all workers within one refresh and a tick.
//! - **An unknown `kid` causes one fetch per cooldown**, however many requests and workers meet it. They wait for it and
//!   are judged with the new set. Within the cooldown they are refused at once (401); but where that fetch failed, nobody
//!   can know, and the answer is 503 until a fetch succeeds.
//! - **A stranger's input moves no bound**: requests that wait, bytes of an answer, keys in shared data and fetches per
//!   time are fixed by the configuration.

mod actions;
mod answer;
mod control;
mod discovery;
mod held;
mod pace;
mod shared;
#[cfg(test)]
mod simulation;
mod source;
mod waiting;
mod worker;

pub use actions::{Actions, Event, EventKind, Fetch, FetchId, RequestId, Resume};
pub use answer::{FetchError, FetchOutcome, MAX_RESPONSE_BYTES};
pub use discovery::DiscoveryError;
pub(crate) use discovery::{is_authority, is_path};
pub use pace::MAX_BACKOFF;
pub(crate) use pace::{chance, until_retry};
pub use source::{KeySetSource, Location, MIN_COOLDOWN, MIN_REFRESH, SourceError, TIMEOUT_BOUNDS};
pub(crate) use waiting::Queue;
pub use waiting::{TooManyWaiting, WaitFor, WaitLimits};
pub use worker::{FAILURES_BEFORE_REFUSAL, KeySets, Lookup, Parse, UnknownKid};
