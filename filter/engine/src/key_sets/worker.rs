//! The key sets of one worker: events of the shell in, [`Actions`] out.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::actions::{Actions, Event, EventKind, Fetch, FetchId, RequestId, Resume};
use super::answer::FetchOutcome;
use super::held::Held;
use super::shared::Link;
use super::source::{KeySetSource, Plan, SourceError};
use super::waiting::{Goal, Queue, TooManyWaiting, WaitFor, WaitLimits};
use crate::ports::SharedStore;
use crate::time::UnixNanos;

/// Reads a key set's bytes. `Err` where they are no key set with at least one usable key; the reason goes to the log,
/// so it names no key material.
pub type Parse<K> = fn(&[u8]) -> Result<K, String>;

/// After so many failures in a row, a request without a usable key set is not made to wait.
pub const FAILURES_BEFORE_REFUSAL: u32 = 3;

/// The tick after the start: as soon as the host can do it.
const FIRST_TICK: Duration = Duration::from_millis(10);
/// The tick while requests wait.
const BUSY_TICK: Duration = Duration::from_millis(50);
/// The tick while keys are being fetched.
const FETCHING_TICK: Duration = Duration::from_millis(200);
/// The tick of a worker at rest: so long after another worker's fetch it knows the new keys.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// The key sets of all providers, as one worker holds them. `K` is a parsed key set.
#[derive(Debug)]
pub struct KeySets<K> {
    held: Vec<Held<K>>,
    by_provider: BTreeMap<Rc<str>, usize>,
    queue: Queue<Goal>,
    worker: Worker<K>,
    has_reported_alone: bool,
}

/// What a provider's key set is good for now.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<K> {
    /// Judge with these keys.
    Ready {
        /// The parsed key set.
        keys: Rc<K>,
        /// Changes with the keys: what was verified under another generation must be verified again.
        generation: u64,
    },
    /// Keys are on their way: pass this to [`KeySets::wait`].
    Wait(WaitFor),
    /// Keys cannot be had: 503.
    Unavailable {
        /// For `Retry-After`: whole seconds, at least one.
        retry_after: Duration,
    },
}

/// What becomes of a token whose `kid` is not in the key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKid {
    /// A newer key set has just been found in shared data: look up and judge again.
    Retry,
    /// A refetch will tell: pass this to [`KeySets::wait`].
    Wait(WaitFor),
    /// A fetch has just shown that there is no such key: 401.
    Refuse,
    /// The provider fails, so nobody knows: 503.
    Unavailable {
        /// For `Retry-After`: whole seconds, at least one.
        retry_after: Duration,
    },
}

impl<K> KeySets<K> {
    /// The key sets of `sources` on the worker `worker_id`.
    ///
    /// `worker_id` is random and another one in each VM, after a reload too; `seed` is random and spreads retries.
    ///
    /// # Errors
    /// [`SourceError`] names the first source that cannot be used.
    pub fn new(
        sources: Vec<KeySetSource>,
        parse: Parse<K>,
        worker_id: u64,
        seed: u64,
        limits: WaitLimits,
    ) -> Result<Self, SourceError> {
        let mut held = Vec::with_capacity(sources.len());
        let mut by_provider = BTreeMap::new();
        for source in sources {
            let plan = Plan::new(source)?;
            if by_provider.insert(Rc::clone(&plan.provider), held.len()).is_some() {
                return Err(SourceError::DuplicateProvider(plan.provider.to_string()));
            }
            held.push(Held::new(plan));
        }
        let worker = Worker { id: worker_id, seed, parse, link: Link::default(), last_fetch: 0, out: Out::default() };
        Ok(Self { held, by_provider, queue: Queue::new(limits), worker, has_reported_alone: false })
    }

    /// The worker starts: takes over what stands in shared data. Sends nothing, because a host starts some VMs only
    /// to see whether the configuration loads, and a lease that such a one takes would hold up all others.
    pub fn on_start(&mut self, now: UnixNanos, store: &dyn SharedStore) -> Actions {
        for held in &mut self.held {
            held.observe(&mut self.worker, Turn { now, store });
        }
        Actions { next_tick: FIRST_TICK, ..self.actions(now) }
    }

    /// A tick: takes over what other workers have fetched, begins what is due, and wakes who has waited long enough.
    pub fn on_tick(&mut self, now: UnixNanos, store: &dyn SharedStore) -> Actions {
        for held in &mut self.held {
            let turn = Turn { now, store };
            held.observe(&mut self.worker, turn);
            held.begin_if_due(&mut self.worker, turn);
            held.report_age(&mut self.worker, now);
        }
        self.actions(now)
    }

    /// A fetch has ended. An id that is no longer awaited changes nothing.
    pub fn on_response(
        &mut self,
        fetch: FetchId,
        outcome: FetchOutcome<'_>,
        now: UnixNanos,
        store: &dyn SharedStore,
    ) -> Actions {
        if let Some(held) = self.held.iter_mut().find(|held| held.awaits(fetch)) {
            held.on_response(outcome, &mut self.worker, Turn { now, store });
        }
        self.actions(now)
    }

    /// What the key set of `provider` is good for at `now`. Touches nothing but this worker's memory.
    pub fn lookup(&self, provider: &str, now: UnixNanos) -> Lookup<K> {
        let held = self.by_provider.get(provider).and_then(|index| self.held.get(*index));
        held.map_or(Lookup::Unavailable { retry_after: IDLE_TICK }, |held| held.lookup(now))
    }

    /// A token names a key that the provider's set lacks; `kid_hash` is for the log only.
    pub fn unknown_kid(
        &mut self,
        provider: &str,
        kid_hash: u64,
        now: UnixNanos,
        store: &dyn SharedStore,
    ) -> UnknownKid {
        match self.by_provider.get(provider).and_then(|index| self.held.get_mut(*index)) {
            Some(held) => held.unknown_kid(kid_hash, &mut self.worker, Turn { now, store }),
            None => UnknownKid::Unavailable { retry_after: IDLE_TICK },
        }
    }

    /// Lets a client's request wait. It comes back in [`Actions::resume`], once, unless it is forgotten.
    ///
    /// # Errors
    /// [`TooManyWaiting`] where [`WaitLimits::max_waiting`] requests wait already: 503.
    pub fn wait(
        &mut self,
        provider: &str,
        request: RequestId,
        wait_for: WaitFor,
        now: UnixNanos,
    ) -> Result<(), TooManyWaiting> {
        let index = self.by_provider.get(provider).ok_or(TooManyWaiting { retry_after: IDLE_TICK })?;
        let has_room = self.queue.push(request, *index, wait_for.0, now);
        let retry_after = self.held.get(*index).map_or(IDLE_TICK, |held| held.retry_after(now));
        has_room.then_some(()).ok_or(TooManyWaiting { retry_after })
    }

    /// The client of a waiting request has gone.
    pub fn forget(&mut self, request: RequestId) {
        self.queue.forget(request);
    }

    /// How many requests wait on this worker.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// When the next tick is wanted: sooner while requests wait, so ask again after [`Self::wait`].
    pub fn next_tick(&self, now: UnixNanos) -> Duration {
        if self.queue.len() > 0 {
            return BUSY_TICK;
        }
        let wanted = self
            .held
            .iter()
            .map(|held| if held.is_fetching() { FETCHING_TICK } else { held.until_due(now).max(BUSY_TICK) });
        wanted.min().unwrap_or(IDLE_TICK).min(IDLE_TICK)
    }

    /// Wakes those whose wait is over, and empties the out tray.
    fn actions(&mut self, now: UnixNanos) -> Actions {
        if self.worker.link.is_alone() && !self.has_reported_alone {
            self.has_reported_alone = true;
            for held in &self.held {
                self.worker.report(held.provider(), EventKind::StoreUnavailable);
            }
        }
        let held = &self.held;
        let resume = self.queue.release(
            now,
            |index, goal| held.get(index).and_then(|held| held.verdict(goal, now)),
            |index| Resume::GiveUp { retry_after: held.get(index).map_or(IDLE_TICK, |held| held.retry_after(now)) },
        );
        let Out { fetches, events } = std::mem::take(&mut self.worker.out);
        Actions { fetches, resume, events, next_tick: self.next_tick(now) }
    }
}

/// What the key sets of a worker have in common.
#[derive(Debug)]
pub(super) struct Worker<K> {
    pub id: u64,
    pub seed: u64,
    pub parse: Parse<K>,
    pub link: Link,
    last_fetch: u64,
    out: Out,
}

/// What is to go out with the next [`Actions`].
#[derive(Debug, Default)]
struct Out {
    fetches: Vec<Fetch>,
    events: Vec<Event>,
}

/// The moment in which the shell called, and the store that it lent.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub now: UnixNanos,
    pub store: &'a dyn SharedStore,
}

impl<K> Worker<K> {
    pub fn report(&mut self, provider: &Rc<str>, kind: EventKind) {
        self.out.events.push(Event { provider: Rc::clone(provider), kind });
    }

    /// Sends the request that `fetch` makes of a fresh id.
    pub fn send(&mut self, fetch: impl FnOnce(FetchId) -> Fetch) -> FetchId {
        self.last_fetch = self.last_fetch.wrapping_add(1);
        let id = FetchId(self.last_fetch);
        self.out.fetches.push(fetch(id));
        id
    }
}
