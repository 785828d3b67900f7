//! One provider's key set as one worker holds it, and what the worker does about it.

use std::rc::Rc;
use std::time::Duration;

use super::actions::{EventKind, Fetch, FetchId, Resume};
use super::answer::{self, FetchError, FetchOutcome};
use super::control::{Control, OnUnknownKid};
use super::discovery;
use super::pace::{self, MAX_BACKOFF};
use super::shared::Change;
use super::source::Plan;
use super::waiting::{Goal, WaitFor};
use super::worker::{FAILURES_BEFORE_REFUSAL, Lookup, Turn, UnknownKid, Worker};
use crate::time::UnixNanos;

/// A key set: what shared data say of it, what of it is loaded here, and this worker's own fetch.
#[derive(Debug)]
pub(super) struct Held<K> {
    plan: Plan,
    /// The record as this worker last saw it.
    seen: Control,
    keys: Option<Keys<K>>,
    /// A generation that did not load here: not to be parsed again at every tick.
    unloadable: u64,
    fetching: Option<Fetching>,
    age: Age,
}

#[derive(Debug)]
struct Keys<K> {
    set: Rc<K>,
    generation: u64,
    /// The last good fetch that gave these keys. It does not move while a newer generation cannot be loaded: this
    /// worker's keys then grow stale as if the provider were down.
    fetched_at: UnixNanos,
}

#[derive(Debug)]
struct Fetching {
    id: FetchId,
    attempt: u64,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Metadata,
    KeySet,
}

/// What was last reported about the age of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Fresh,
    Stale,
    Expired,
}

impl<K> Held<K> {
    pub fn new(plan: Plan) -> Self {
        let seen = Control::default();
        Self { plan, seen, keys: None, unloadable: 0, fetching: None, age: Age::Fresh }
    }

    pub fn provider(&self) -> &Rc<str> {
        &self.plan.provider
    }

    pub fn awaits(&self, fetch: FetchId) -> bool {
        self.fetching.as_ref().is_some_and(|fetching| fetching.id == fetch)
    }

    /// Whether an attempt is wanted or under way on any worker, as far as this one knows.
    pub fn is_fetching(&self) -> bool {
        self.seen.is_pending() || self.generation() < self.seen.generation
    }

    pub fn until_due(&self, now: UnixNanos) -> Duration {
        self.seen.next_fetch_at.since(now)
    }

    /// For `Retry-After`: until the next attempt, in whole seconds from one to [`MAX_BACKOFF`].
    pub fn retry_after(&self, now: UnixNanos) -> Duration {
        let wait = self.until_due(now).min(MAX_BACKOFF);
        Duration::from_secs(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    pub fn lookup(&self, now: UnixNanos) -> Lookup<K> {
        match self.usable(now) {
            Some(keys) => Lookup::Ready { keys: Rc::clone(&keys.set), generation: keys.generation },
            None if self.seen.failures >= FAILURES_BEFORE_REFUSAL => {
                Lookup::Unavailable { retry_after: self.retry_after(now) }
            }
            None => Lookup::Wait(WaitFor(Goal::Keys)),
        }
    }

    /// What becomes of a request that waits for `goal`; `None` where it goes on waiting.
    pub fn verdict(&self, goal: Goal, now: UnixNanos) -> Option<Resume> {
        let give_up = Resume::GiveUp { retry_after: self.retry_after(now) };
        match goal {
            Goal::Keys if self.usable(now).is_some() => Some(Resume::Retry),
            Goal::Keys => (self.seen.failures >= FAILURES_BEFORE_REFUSAL).then_some(give_up),
            Goal::Attempt(attempt) if self.seen.settled < attempt => None,
            Goal::Attempt(_) if self.seen.failures > 0 => Some(give_up),
            Goal::Attempt(_) => (self.generation() >= self.seen.generation).then_some(Resume::Retry),
        }
    }

    /// Looks at shared data, and loads what is newer there.
    pub fn observe(&mut self, worker: &mut Worker<K>, turn: Turn<'_>) {
        let control = worker.link.control(turn.store, &self.plan);
        self.note(control, worker, turn);
    }

    /// Begins an attempt if one is due and no other worker is faster.
    pub fn begin_if_due(&mut self, worker: &mut Worker<K>, turn: Turn<'_>) {
        let Self { plan, seen, .. } = self;
        if !seen.is_due(turn.now, &plan.timing) {
            return;
        }
        let begin = |control: &Control| {
            control.is_due(turn.now, &plan.timing).then(|| control.begin(worker.id, turn.now, &plan.timing))
        };
        let control = match worker.link.change(turn.store, plan, begin) {
            Change::Contended => return,
            Change::Declined(control) => return self.note(control, worker, turn),
            Change::Made(control) => control,
        };
        self.note(control, worker, turn);
        let replaces_vanished = control.attempt.saturating_sub(1) > control.settled;
        worker.report(&self.plan.provider, EventKind::LeaseTaken { attempt: control.attempt, replaces_vanished });
        let step = if self.plan.issuer.is_some() { Step::Metadata } else { Step::KeySet };
        let (authority, path) = (self.plan.authority.clone(), self.plan.path.clone());
        self.send(step, authority, path, control.attempt, worker);
    }

    /// This worker's fetch has ended.
    pub fn on_response(&mut self, outcome: FetchOutcome<'_>, worker: &mut Worker<K>, turn: Turn<'_>) {
        let Some(Fetching { attempt, step, .. }) = self.fetching.take() else { return };
        let control = worker.link.control(turn.store, &self.plan);
        if !control.is_held(worker.id, attempt) {
            self.note(control, worker, turn);
            return worker.report(&self.plan.provider, EventKind::AnswerDiscarded);
        }
        let result = match step {
            Step::Metadata => self.follow_metadata(outcome, attempt, worker, turn),
            Step::KeySet => self.take_key_set(outcome, attempt, control.generation, worker, turn),
        };
        if let Err(error) = result {
            self.fail(error, attempt, worker, turn);
        }
    }

    /// A token names a key that is not in the set.
    pub fn unknown_kid(&mut self, kid_hash: u64, worker: &mut Worker<K>, turn: Turn<'_>) -> UnknownKid {
        let (now, timing, mine) = (turn.now, self.plan.timing, self.generation());
        let ask = |control: &Control| {
            let wanted = control.generation <= mine && control.on_unknown_kid(now, &timing) == OnUnknownKid::Ask;
            wanted.then(|| control.ask(now, &timing))
        };
        let (control, has_asked) = match worker.link.change(turn.store, &self.plan, ask) {
            Change::Made(control) => (control, true),
            Change::Declined(control) => (control, false),
            Change::Contended => return UnknownKid::Unavailable { retry_after: self.retry_after(now) },
        };
        if has_asked {
            worker.report(&self.plan.provider, EventKind::UnknownKidRefetch { kid_hash });
        }
        self.note(control, worker, turn);
        match self.lookup(now) {
            Lookup::Unavailable { retry_after } => return UnknownKid::Unavailable { retry_after },
            Lookup::Wait(wait_for) => return UnknownKid::Wait(wait_for),
            Lookup::Ready { generation, .. } if generation != mine => return UnknownKid::Retry,
            Lookup::Ready { .. } => {}
        }
        if control.generation > self.generation() {
            return UnknownKid::Wait(WaitFor(Goal::Attempt(control.settled)));
        }
        match control.on_unknown_kid(now, &timing) {
            OnUnknownKid::Ask => UnknownKid::Wait(WaitFor(Goal::Attempt(control.attempt.saturating_add(1)))),
            OnUnknownKid::Await(attempt) => UnknownKid::Wait(WaitFor(Goal::Attempt(attempt))),
            OnUnknownKid::Refuse => UnknownKid::Refuse,
            OnUnknownKid::CannotKnow => UnknownKid::Unavailable { retry_after: self.retry_after(now) },
        }
    }

    /// Reports, once each time, that the keys have grown stale or have expired.
    pub fn report_age(&mut self, worker: &mut Worker<K>, now: UnixNanos) {
        let Some(keys) = &self.keys else { return };
        let age = match now.since(keys.fetched_at) {
            span if span > self.plan.timing.usable_for => Age::Expired,
            span if span > self.plan.timing.fresh_for => Age::Stale,
            _ => Age::Fresh,
        };
        if age > self.age {
            let kind = if age == Age::Expired { EventKind::Expired } else { EventKind::StaleServed };
            worker.report(&self.plan.provider, kind);
        }
        self.age = age;
    }

    fn generation(&self) -> u64 {
        self.keys.as_ref().map_or(0, |keys| keys.generation)
    }

    fn usable(&self, now: UnixNanos) -> Option<&Keys<K>> {
        self.keys.as_ref().filter(|keys| now.since(keys.fetched_at) <= self.plan.timing.usable_for)
    }

    /// Takes the record for true, and loads the key set that it announces.
    fn note(&mut self, control: Control, worker: &mut Worker<K>, turn: Turn<'_>) {
        self.seen = control;
        if control.generation > self.generation() && control.generation > self.unloadable {
            self.load(worker, turn);
        }
        if let Some(keys) = &mut self.keys
            && (1..=keys.generation).contains(&control.generation)
        {
            keys.fetched_at = control.fetched_at;
        }
    }

    fn load(&mut self, worker: &mut Worker<K>, turn: Turn<'_>) {
        // A body may be ahead of the record that will announce it. One that is behind is not what was announced.
        let body = worker.link.body(turn.store, &self.plan).filter(|body| body.generation >= self.seen.generation);
        let Some(body) = body else { return };
        match (worker.parse)(&body.document) {
            Ok(set) => {
                let (generation, fetched_at) = (body.generation, self.seen.fetched_at);
                self.keys = Some(Keys { set: Rc::new(set), generation, fetched_at });
                worker.report(&self.plan.provider, EventKind::Loaded { generation, fetched_at });
            }
            Err(reason) => {
                self.unloadable = self.seen.generation;
                let error = FetchError::key_set(reason);
                worker.report(&self.plan.provider, EventKind::LoadFailed { error });
            }
        }
    }

    fn send(&mut self, step: Step, authority: String, path: String, attempt: u64, worker: &mut Worker<K>) {
        let (cluster, timeout) = (self.plan.cluster.clone(), self.plan.timing.timeout);
        let max_response_bytes = worker.kind.max_bytes;
        let id = worker.send(|id| Fetch { id, cluster, authority, path, timeout, max_response_bytes });
        self.fetching = Some(Fetching { id, attempt, step });
    }

    /// The metadata came: on to the key set that they name, under a lease that begins anew.
    fn follow_metadata(
        &mut self,
        outcome: FetchOutcome<'_>,
        attempt: u64,
        worker: &mut Worker<K>,
        turn: Turn<'_>,
    ) -> Result<(), FetchError> {
        let (document, _) = answer::document(outcome, worker.kind.max_bytes)?;
        let issuer = self.plan.issuer.as_deref().unwrap_or_default();
        let place = discovery::jwks_place(document, issuer).map_err(FetchError::Discovery)?;
        let renew =
            |control: &Control| control.is_held(worker.id, attempt).then(|| control.renew(turn.now, &self.plan.timing));
        match worker.link.change(turn.store, &self.plan, renew) {
            Change::Made(control) => {
                self.note(control, worker, turn);
                self.send(Step::KeySet, place.authority, place.path, attempt, worker);
            }
            Change::Declined(_) | Change::Contended => {
                worker.report(&self.plan.provider, EventKind::AnswerDiscarded);
            }
        }
        Ok(())
    }

    /// The key set came: it is put up for all workers, if it is good.
    fn take_key_set(
        &mut self,
        outcome: FetchOutcome<'_>,
        attempt: u64,
        standing: u64,
        worker: &mut Worker<K>,
        turn: Turn<'_>,
    ) -> Result<(), FetchError> {
        let (document, cache_control) = answer::document(outcome, worker.kind.max_bytes)?;
        let set = (worker.parse)(document).map_err(FetchError::key_set)?;
        let next_in = pace::until_refresh(
            answer::interval(cache_control, self.plan.timing.refresh),
            pace::chance(worker.seed, attempt),
        );
        let published = worker.link.publish(turn.store, &self.plan, attempt, document);
        let change = published.map(|generation| {
            worker.link.change(turn.store, &self.plan, |control| {
                let is_held = control.is_held(worker.id, attempt);
                is_held.then(|| control.succeed(generation, turn.now, next_in))
            })
        });
        let Some(Change::Made(control)) = change else {
            worker.report(&self.plan.provider, EventKind::AnswerDiscarded);
            return Ok(());
        };
        let generation = control.generation;
        if self.generation() != generation {
            self.keys = Some(Keys { set: Rc::new(set), generation, fetched_at: turn.now });
        }
        self.note(control, worker, turn);
        let changed = generation != standing;
        worker.report(&self.plan.provider, EventKind::Fetched { generation, changed, next_in });
        Ok(())
    }

    fn fail(&mut self, error: FetchError, attempt: u64, worker: &mut Worker<K>, turn: Turn<'_>) {
        let chance = pace::chance(worker.seed, attempt);
        let refresh = self.plan.timing.refresh;
        let fail = |control: &Control| {
            let retry_in = pace::until_retry(control.failures.saturating_add(1), refresh, chance);
            control.is_held(worker.id, attempt).then(|| control.fail(turn.now, retry_in))
        };
        let kind = match worker.link.change(turn.store, &self.plan, fail) {
            Change::Made(control) => {
                self.note(control, worker, turn);
                EventKind::FetchFailed { error, failures: control.failures, retry_in: self.until_due(turn.now) }
            }
            Change::Declined(_) | Change::Contended => EventKind::AnswerDiscarded,
        };
        worker.report(&self.plan.provider, kind);
    }
}
