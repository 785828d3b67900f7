//! The opaque tokens of one worker: events of the shell in, [`Actions`] out.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::actions::{Actions, Event, EventKind, Resume};
use super::active::ActiveToken;
use super::answer::{Refusal, Verdict};
use super::cache::CacheCounts;
use super::provider::{Provider, SOON};
use super::source::{IntrospectionSource, Plan, SourceError};
use super::token_key::TokenKey;
use crate::callout::{Callout, CalloutIds};
use crate::claims::Claims;
use crate::key_sets::{FetchId, FetchOutcome, Queue, RequestId, TooManyWaiting, WaitLimits};
use crate::time::UnixNanos;

/// The tick while questions are under way.
const BUSY_TICK: Duration = Duration::from_millis(100);
/// The tick of a worker at rest.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// What is known of the opaque tokens of all providers, on one worker.
#[derive(Debug)]
pub struct Introspection {
    providers: Vec<Provider>,
    by_name: BTreeMap<Rc<str>, usize>,
    queue: Queue<FetchId>,
    ids: CalloutIds,
}

/// What a token is worth now.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// The server calls it active, and it meets the configuration.
    Active(Rc<ActiveToken>),
    /// It is refused: 401.
    Refused(Refusal),
    /// The server must be asked, or is being asked: pass this to [`Introspection::wait`].
    Wait(Question),
    /// The server cannot be asked: 503.
    Unavailable {
        /// For `Retry-After`: whole seconds, at least one.
        retry_after: Duration,
    },
}

impl Lookup {
    pub(super) fn decided(verdict: &Verdict, now: UnixNanos) -> Self {
        match verdict {
            Verdict::Active(token) if token.still_valid(now) => Self::Active(Rc::clone(token)),
            Verdict::Active(_) => Self::Refused(Refusal::Expired),
            Verdict::Refused(refusal) => Self::Refused(*refusal),
        }
    }
}

/// A token that is to be asked about; comes from `lookup` and goes into `wait`.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    provider: usize,
    key: TokenKey,
    token: Box<[u8]>,
}

/// Never the token itself.
impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Introspection {
    /// The introspection endpoints `sources`, on one worker.
    ///
    /// `ids` are used by nobody else on this worker. `seed` is random: it spreads retries and makes hashes
    /// unpredictable. `limits` hold over all providers.
    ///
    /// # Errors
    /// [`SourceError`] names the first source that cannot be used.
    pub fn new(
        sources: Vec<IntrospectionSource>,
        ids: CalloutIds,
        seed: (u64, u64),
        limits: WaitLimits,
    ) -> Result<Self, SourceError> {
        let mut providers = Vec::with_capacity(sources.len());
        let mut by_name = BTreeMap::new();
        for source in sources {
            let plan = Plan::new(source)?;
            if by_name.insert(Rc::clone(&plan.name), providers.len()).is_some() {
                return Err(SourceError::DuplicateProvider(plan.name.to_string()));
            }
            providers.push(Provider::new(plan, seed));
        }
        Ok(Self { providers, by_name, queue: Queue::new(limits), ids })
    }

    /// What `token` is worth at `provider` now. Asks nobody yet.
    pub fn lookup(&mut self, provider: &str, token: &[u8], now: UnixNanos) -> Lookup {
        let Some(index) = self.by_name.get(provider).copied() else {
            return Lookup::Unavailable { retry_after: SOON };
        };
        let Some(provider) = self.providers.get_mut(index) else {
            return Lookup::Unavailable { retry_after: SOON };
        };
        if token.len() > provider.plan.source.max_token_bytes {
            return Lookup::Refused(Refusal::TooLarge);
        }
        let key = TokenKey::of(token);
        if let Some(verdict) = provider.cache.get(key, now) {
            return Lookup::decided(&verdict, now);
        }
        match provider.admit(now) {
            Err(retry_after) if provider.under_way(key).is_none() => Lookup::Unavailable { retry_after },
            _ => Lookup::Wait(Question { provider: index, key, token: token.into() }),
        }
    }

    /// Lets a client's request wait for the answer. It comes back in [`Actions::resume`], once, unless it is forgotten.
    ///
    /// Gives the request to send where nobody has asked about this token yet. If it cannot be sent, its outcome is
    /// [`FetchOutcome::NoAnswer`].
    ///
    /// # Errors
    /// [`TooManyWaiting`] where as many requests wait, or as many tokens are asked about, as may: 503.
    pub fn wait(
        &mut self,
        request: RequestId,
        question: &Question,
        now: UnixNanos,
    ) -> Result<Option<Callout>, TooManyWaiting> {
        let Question { provider: index, key, token } = question;
        let provider = self.providers.get_mut(*index).ok_or(TooManyWaiting { retry_after: SOON })?;
        if let Some(id) = provider.under_way(*key) {
            let has_room = self.queue.push(request, *index, id, now);
            return has_room.then_some(None).ok_or(TooManyWaiting { retry_after: provider.retry_after(now) });
        }
        provider.admit(now).map_err(|retry_after| TooManyWaiting { retry_after })?;
        if !self.queue.has_room_for(request) {
            return Err(TooManyWaiting { retry_after: SOON });
        }
        let callout = provider.ask(*key, token, &mut self.ids, now);
        self.queue.push(request, *index, callout.id, now);
        Ok(Some(callout))
    }

    /// The client of a waiting request has gone. The question goes on: its answer serves the next one.
    pub fn forget(&mut self, request: RequestId) {
        self.queue.forget(request);
    }

    /// Whether the outcome of `id` belongs to [`Self::on_response`].
    pub fn owns(&self, id: FetchId) -> bool {
        self.ids.owns(id)
    }

    /// A question has ended. An id that is no longer awaited changes nothing.
    pub fn on_response(&mut self, id: FetchId, outcome: FetchOutcome<'_>, now: UnixNanos) -> Actions {
        let (mut events, mut ended) = (Vec::new(), BTreeMap::new());
        if let Some(provider) = self.providers.iter_mut().find(|provider| provider.awaits(id)) {
            finish(provider, id, outcome, now, &mut events, &mut ended);
        }
        self.actions(&ended, events, now)
    }

    /// A tick: gives up on questions that the proxy has lost, and on requests that have waited too long.
    pub fn on_tick(&mut self, now: UnixNanos) -> Actions {
        let (mut events, mut ended) = (Vec::new(), BTreeMap::new());
        for provider in &mut self.providers {
            for id in provider.on_tick(now) {
                finish(provider, id, FetchOutcome::NoAnswer, now, &mut events, &mut ended);
            }
        }
        self.actions(&ended, events, now)
    }

    fn actions(&mut self, ended: &BTreeMap<FetchId, Resume>, events: Vec<Event>, now: UnixNanos) -> Actions {
        let providers = &self.providers;
        let retry_after = |index: usize| providers.get(index).map_or(SOON, |provider| provider.retry_after(now));
        let resume = self.queue.release(
            now,
            |_, id| ended.get(&id).cloned(),
            |index| Resume::GiveUp { retry_after: retry_after(index) },
        );
        Actions { resume, events, next_tick: self.next_tick() }
    }

    /// When the next tick is wanted: sooner while questions are under way, so ask again after [`Self::wait`].
    pub fn next_tick(&self) -> Duration {
        if self.in_flight() > 0 || self.waiting() > 0 { BUSY_TICK } else { IDLE_TICK }
    }

    /// How many requests wait on this worker.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How many questions are under way on this worker.
    pub fn in_flight(&self) -> usize {
        self.providers.iter().map(Provider::in_flight).sum()
    }

    /// Forgets what is known of `token`, as when it was revoked. An answer under way serves only those who wait for it.
    pub fn drop_token(&mut self, provider: &str, token: &[u8]) {
        let key = TokenKey::of(token);
        if let Some(provider) = self.provider_mut(provider) {
            provider.cache.remove(key);
            provider.detach(key);
        }
    }

    /// Forgets the tokens of `provider` whose claims `predicate` holds for; likewise.
    pub fn drop_where(&mut self, provider: &str, predicate: impl Fn(&Claims) -> bool) {
        if let Some(provider) = self.provider_mut(provider) {
            provider.cache.remove_where(predicate);
            provider.detach_all();
        }
    }

    /// Forgets all tokens of all providers; likewise.
    pub fn drop_all(&mut self) {
        for provider in &mut self.providers {
            provider.cache.clear();
            provider.detach_all();
        }
    }

    /// The cache's counts since the last call.
    pub fn take_counts(&mut self) -> CacheCounts {
        let mut counts = CacheCounts::default();
        self.providers.iter_mut().for_each(|provider| provider.cache.drain_counts(&mut counts));
        counts
    }

    fn provider_mut(&mut self, name: &str) -> Option<&mut Provider> {
        self.by_name.get(name).and_then(|index| self.providers.get_mut(*index))
    }
}

/// Ends the question `id` with `outcome`.
fn finish(
    provider: &mut Provider,
    id: FetchId,
    outcome: FetchOutcome<'_>,
    now: UnixNanos,
    events: &mut Vec<Event>,
    ended: &mut BTreeMap<FetchId, Resume>,
) {
    let name = Rc::clone(&provider.plan.name);
    let report = |kind: EventKind| events.push(Event { provider: Rc::clone(&name), kind });
    if let Some(resume) = provider.finish(id, outcome, now, report) {
        ended.insert(id, resume);
    }
}
