//! A list that is pulled from a cluster: by one worker for all, kept through outages, never replaced by a bad one.
//!
//! It lives as key sets do ([`crate::key_sets`]), as a document of another kind: a lease in shared data elects who fetches,
//! the others take the new list over within a tick. Revoked tokens and lists of addresses are such lists.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::key_sets::{
    Actions, DocumentKind, EventKind, FetchError, FetchId, FetchOutcome, KeySetSource, KeySets, Location, Lookup,
    RequestId, SourceError, TooManyWaiting, WaitFor, WaitLimits,
};
use crate::ports::SharedStore;
use crate::time::UnixNanos;

/// What happens while there is no list that is young enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The last list holds, however old; without any, it says nothing.
    Keep,
    /// Nobody can tell: 503.
    Deny,
}

/// Where a list comes from, and how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name among lists of its kind, and in shared data.
    pub name: String,
    /// The proxy's cluster to fetch it from.
    pub cluster: String,
    /// `:authority` of the request.
    pub authority: String,
    /// Path and query of the request.
    pub path: String,
    /// The longest time between two fetches; `Cache-Control: max-age` can shorten it.
    pub every: Duration,
    /// The time limit of a fetch.
    pub timeout: Duration,
    /// What happens while there is no list that is young enough.
    pub on_error: OnError,
    /// How long after the last good fetch a list is young enough for [`OnError::Deny`]. Raised to `every` and a little.
    pub max_age: Duration,
}

/// A pulled list on one worker. `T` is the list, compiled.
#[derive(Debug)]
pub struct SharedList<T> {
    name: Rc<str>,
    lists: KeySets<T>,
    on_error: OnError,
    /// The generation that is in use.
    generation: u64,
}

/// What a list is good for now.
#[derive(Debug)]
pub enum Held<T> {
    /// It says this.
    Ready(Rc<T>),
    /// There is none that is young enough, and [`OnError::Keep`] says to go on without.
    Nothing,
    /// The first one is on its way: pass this to [`SharedList::wait`], or answer 503 with one second.
    Wait(WaitFor),
    /// There is none that is young enough: 503.
    Unavailable {
        /// For `Retry-After`: whole seconds, at least one.
        retry_after: Duration,
    },
}

impl<T> SharedList<T> {
    /// The list of `source` on the worker `worker_id`; `parse` compiles it. See [`KeySets::of_kind`].
    ///
    /// # Errors
    /// [`SourceError`] where the list's place cannot be asked.
    pub fn new(
        kind: DocumentKind,
        source: Source,
        parse: impl Fn(&[u8]) -> Result<T, String> + 'static,
        worker_id: u64,
        spread: u64,
        wait: WaitLimits,
    ) -> Result<Self, SourceError> {
        let Source { name, cluster, authority, path, every, timeout, on_error, max_age } = source;
        let shared_name: Rc<str> = name.as_str().into();
        let source = KeySetSource {
            provider: name,
            cluster,
            location: Location::Jwks { authority, path },
            refresh: every,
            keep_stale: if on_error == OnError::Keep { Duration::MAX } else { max_age },
            // Nobody asks for a refetch.
            unknown_kid_cooldown: Duration::ZERO,
            timeout,
        };
        let lists = KeySets::of_kind(kind, vec![source], parse, worker_id, spread, wait)?;
        Ok(Self { name: shared_name, lists, on_error, generation: 0 })
    }

    /// See [`KeySets::on_start`].
    pub fn on_start(&mut self, now: UnixNanos, store: &dyn SharedStore) -> Actions {
        self.lists.on_start(now, store)
    }

    /// See [`KeySets::on_tick`].
    pub fn on_tick(&mut self, now: UnixNanos, store: &dyn SharedStore) -> Actions {
        self.lists.on_tick(now, store)
    }

    /// See [`KeySets::on_response`].
    pub fn on_response(
        &mut self,
        fetch: FetchId,
        outcome: FetchOutcome<'_>,
        now: UnixNanos,
        store: &dyn SharedStore,
    ) -> Actions {
        self.lists.on_response(fetch, outcome, now, store)
    }

    /// What the list says at `now`. Touches nothing but this worker's memory.
    pub fn held(&self, now: UnixNanos) -> Held<T> {
        match (self.lists.lookup(&self.name, now), self.on_error) {
            (Lookup::Ready { keys, .. }, _) => Held::Ready(keys),
            (_, OnError::Keep) => Held::Nothing,
            (Lookup::Wait(wait_for), OnError::Deny) => Held::Wait(wait_for),
            (Lookup::Unavailable { retry_after }, OnError::Deny) => Held::Unavailable { retry_after },
        }
    }

    /// The list, if another one is in use than at the last call.
    pub fn changed(&mut self, now: UnixNanos) -> Option<Rc<T>> {
        match self.lists.lookup(&self.name, now) {
            Lookup::Ready { keys, generation } if generation != self.generation => {
                self.generation = generation;
                Some(keys)
            }
            _ => None,
        }
    }

    /// See [`KeySets::wait`].
    ///
    /// # Errors
    /// [`TooManyWaiting`]: 503.
    pub fn wait(&mut self, request: RequestId, wait_for: WaitFor, now: UnixNanos) -> Result<(), TooManyWaiting> {
        self.lists.wait(&self.name, request, wait_for, now)
    }

    /// See [`KeySets::forget`].
    pub fn forget(&mut self, request: RequestId) {
        self.lists.forget(request);
    }

    /// See [`KeySets::next_tick`].
    pub fn next_tick(&self, now: UnixNanos) -> Duration {
        self.lists.next_tick(now)
    }
}

/// An event of a list in words: a list is no key set, so the parser's reason speaks for itself.
pub struct Words<'e>(pub &'e EventKind);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EventKind::FetchFailed { error, failures, retry_in } => write!(
                f,
                "the list cannot be fetched: {} (failure {failures} in a row, next try in {} s)",
                Cause(error),
                retry_in.as_secs()
            ),
            EventKind::LoadFailed { error } => write!(f, "the shared list cannot be used: {}", Cause(error)),
            EventKind::StaleServed => f.write_str("the list is past its time and still used"),
            EventKind::Expired => f.write_str("the list is too old and no longer used"),
            kind => f.write_str(kind.name()),
        }
    }
}

struct Cause<'e>(&'e FetchError);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            FetchError::KeySet(reason) => f.write_str(reason),
            error => error.fmt(f),
        }
    }
}
