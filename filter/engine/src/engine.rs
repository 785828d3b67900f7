//! The engine of one configuration in one worker: takes events, says what to do.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::answer::{Answer, Denial, Reason};
use crate::audit;
use crate::config::Problems;
use crate::counters::{CounterId, Counters, Verdict};
use crate::http::{Headers, RequestHead};
use crate::jwt::KeySet;
use crate::key_sets::{self, Event, EventKind, Fetch, FetchId, FetchOutcome, KeySets, RequestId, Resume, WaitLimits};
use crate::limiter::Limiter;
use crate::policy::{Environment, Policy};
use crate::ports::{Ports, SharedStore};
use crate::time::UnixNanos;
use crate::token_cache::TokenCache;
use crate::walk::{Progress, Stop, Walk};

/// Fresh randomness: hash seeds, the worker's id, the spread of retries. No verdict depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    fn word(&self, index: usize) -> u64 {
        let bytes = self.0.get(index * 8..index * 8 + 8).and_then(|slice| slice.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    }
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It goes on, changed so.
    Continue(Passage),
    /// Its head is held back; [`Actions::resume`] will name it.
    Hold,
    /// It is answered so.
    Deny(Answer),
}

/// The changes to a request that passes, and to the response that it gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passage {
    /// Changes to the request's head, in order.
    pub request: Vec<HeaderChange>,
    /// Changes to the response's head, in order.
    pub response: Vec<HeaderChange>,
}

/// A change to a header map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// Every value of the header is removed.
    Remove(String),
    /// The header has this value and no other.
    Set(String, Vec<u8>),
}

/// What the shell is to do beside the request at hand.
#[derive(Debug, Default)]
pub struct Actions {
    /// Requests to send to providers.
    pub fetches: Vec<Fetch>,
    /// Held requests to judge again with [`Engine::resume`].
    pub resume: Vec<RequestId>,
    /// When the next tick is wanted.
    pub next_tick: Duration,
}

/// How a [`Fetch`] ended, as the shell saw it.
#[derive(Debug)]
pub enum FetchResult {
    /// An answer came: its header map in the ABI's serialised form, and its body up to one byte more than allowed.
    Answer {
        /// The header map.
        headers: Vec<u8>,
        /// The body.
        body: Vec<u8>,
    },
    /// Nothing came, or the request could not be sent.
    NoAnswer,
}

/// The engine of one configuration in one worker.
#[derive(Debug)]
pub struct Engine {
    pub(crate) policy: Rc<Policy>,
    pub(crate) key_sets: KeySets<KeySet>,
    pub(crate) tokens: TokenCache,
    pub(crate) limiter: Limiter,
    pub(crate) counters: Counters,
    pub(crate) log: Vec<String>,
    held: HashMap<RequestId, Held>,
    limit_seed: [u8; 16],
}

/// A request that waits for keys.
#[derive(Debug)]
struct Held {
    head: RequestHead,
    progress: Progress,
}

impl Engine {
    /// The engine of a configuration as Envoy hands it over (see [`Policy::from_bytes`]).
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn new(configuration: &[u8], environment: Environment<'_>, seed: Seed) -> Result<Self, Problems> {
        let policy = Policy::from_bytes(configuration, environment)?;
        let limits = WaitLimits { max_waiting: policy.max_waiting, max_wait: policy.max_wait };
        let key_sets = KeySets::new(policy.key_set_sources.clone(), parse_key_set, seed.word(0), seed.word(1), limits);
        let key_sets = key_sets.map_err(|error| {
            let mut problems = Problems::default();
            problems.add("providers", error.to_string());
            problems
        })?;
        let mut limit_seed = [0; 16];
        limit_seed.copy_from_slice(seed.0.get(16..32).unwrap_or(&[0; 16]));
        Ok(Self {
            key_sets,
            tokens: TokenCache::new(policy.token_cache_bytes, (seed.word(2), seed.word(3))),
            limiter: Limiter::default(),
            counters: Counters::default(),
            log: Vec::new(),
            held: HashMap::new(),
            limit_seed,
            policy,
        })
    }

    /// One line about the configuration, for the log at start.
    pub fn summary(&self) -> String {
        let policy = &self.policy;
        format!(
            "{} rules, {} providers, {} limits, mode {}",
            policy.index.rules().len(),
            policy.providers.len(),
            policy.limits.len(),
            policy.mode.as_str()
        )
    }

    /// The worker starts. Gives when the first tick is wanted.
    pub fn on_start(&mut self, store: &dyn SharedStore, now: UnixNanos) -> Duration {
        self.limiter = Limiter::new(&self.policy.limits, store, self.limit_seed);
        let actions = self.key_sets.on_start(now, store);
        self.take_up(actions, now).next_tick
    }

    /// A request begins; `headers` is its header map in the ABI's serialised form.
    pub fn on_request_head(&mut self, id: RequestId, headers: Vec<u8>, ports: Ports<'_>, now: UnixNanos) -> Step {
        let Ok(headers) = Headers::from_pairs_buffer(headers) else {
            let denial = Denial::new(Reason::RequestMalformed, "the header map cannot be read");
            return self.refuse_unreadable(denial, None, ports, now);
        };
        let request_id = plain_text(&headers, "x-request-id").map(str::to_owned);
        match RequestHead::parse(headers) {
            Ok(head) => self.judge(id, head, Progress::default(), ports, now),
            Err(error) => {
                let denial = Denial::new(error.reason(), error.to_string());
                self.refuse_unreadable(denial, request_id.as_deref(), ports, now)
            }
        }
    }

    /// Judges a held request again; its stream is the effective one. `None`: it is not held (any more).
    pub fn resume(&mut self, id: RequestId, ports: Ports<'_>, now: UnixNanos) -> Option<Step> {
        let held = self.held.remove(&id)?;
        Some(self.judge(id, held.head, held.progress, ports, now))
    }

    /// The stream of a request has ended.
    pub fn forget(&mut self, id: RequestId) {
        if self.held.remove(&id).is_some() {
            self.key_sets.forget(id);
        }
    }

    /// When a tick is wanted while requests are held.
    pub fn next_tick(&self, now: UnixNanos) -> Duration {
        self.key_sets.next_tick(now)
    }

    /// The worker's timer fired.
    pub fn on_tick(&mut self, ports: Ports<'_>, now: UnixNanos) -> Actions {
        let counts = self.tokens.take_counts();
        for (event, count) in [("hit", counts.hits), ("miss", counts.misses), ("evicted", counts.evicted)] {
            self.counters.add_many(CounterId::TokenCache(event), count);
        }
        let actions = self.key_sets.on_tick(now, ports.store);
        self.take_up(actions, now)
    }

    /// A fetch ended.
    pub fn on_fetch_result(&mut self, id: FetchId, result: FetchResult, ports: Ports<'_>, now: UnixNanos) -> Actions {
        let actions = match &result {
            FetchResult::NoAnswer => self.key_sets.on_response(id, FetchOutcome::NoAnswer, now, ports.store),
            FetchResult::Answer { headers, body } => {
                let headers = Headers::from_pairs_buffer(headers.clone()).ok();
                let outcome = outcome(headers.as_ref(), body);
                self.key_sets.on_response(id, outcome, now, ports.store)
            }
        };
        self.take_up(actions, now)
    }

    /// The most bytes of a fetched body that are of use.
    pub fn max_fetch_bytes(&self) -> usize {
        key_sets::MAX_RESPONSE_BYTES
    }

    /// The log lines since the last call.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// Moves the counts since the last call into `out`, replacing what is there.
    pub fn take_counts(&mut self, out: &mut Vec<(CounterId, u64)>) {
        self.counters.take_into(out);
    }

    /// The name of a counter.
    pub fn counter_name(&self, counter: CounterId) -> String {
        let policy = &self.policy;
        counter.name(
            |rule| policy.rule_label(rule),
            |index| policy.provider_label(index),
            |index| policy.limit_label(index),
        )
    }

    fn judge(
        &mut self,
        id: RequestId,
        head: RequestHead,
        mut progress: Progress,
        ports: Ports<'_>,
        now: UnixNanos,
    ) -> Step {
        let policy = Rc::clone(&self.policy);
        let stop = match Walk::new(self, &policy, &head, &mut progress, ports, now).run() {
            Ok(passage) => return Step::Continue(passage),
            Err(stop) => stop,
        };
        match stop {
            Stop::Denied(answer) => Step::Deny(answer),
            Stop::Wait { provider, wait_for } => match self.key_sets.wait(&provider, id, wait_for, now) {
                Ok(()) => {
                    self.held.insert(id, Held { head, progress });
                    Step::Hold
                }
                Err(full) => {
                    progress.gave_up = Some((Reason::KeysWaitersFull, full.retry_after));
                    match Walk::new(self, &policy, &head, &mut progress, ports, now).run() {
                        Ok(passage) => Step::Continue(passage),
                        Err(Stop::Denied(answer)) => Step::Deny(answer),
                        // The walk does not wait again once it gave up.
                        Err(Stop::Wait { .. }) => Step::Deny(self.internal_answer()),
                    }
                }
            },
        }
    }

    fn internal_answer(&self) -> Answer {
        let denial = Denial::new(Reason::Internal, "a request that gave up waiting waited again");
        Answer::new(&denial, &self.policy.realm, &self.policy.type_base, None)
    }

    /// A head that cannot be read is refused before any rule, in monitor mode too: nobody can say what it would mean
    /// to the service.
    fn refuse_unreadable(
        &mut self,
        denial: Denial,
        request_id: Option<&str>,
        ports: Ports<'_>,
        now: UnixNanos,
    ) -> Step {
        self.counters.add(CounterId::Decision(u16::MAX, denial.reason, Verdict::Denied));
        let event = audit::Event {
            now,
            denial: &denial,
            verdict: Verdict::Denied,
            rule: "none",
            method: None,
            path: None,
            client: ports.attributes.source_address(),
            subject: None,
            provider: None,
            request_id,
        };
        self.log.push(event.to_line());
        Step::Deny(Answer::new(&denial, &self.policy.realm, &self.policy.type_base, request_id))
    }

    /// Takes up what the key sets report.
    fn take_up(&mut self, actions: key_sets::Actions, now: UnixNanos) -> Actions {
        for event in &actions.events {
            self.on_key_set_event(event, now);
        }
        let mut resume = Vec::with_capacity(actions.resume.len());
        for (id, how) in actions.resume {
            if let (Resume::GiveUp { retry_after }, Some(held)) = (how, self.held.get_mut(&id)) {
                held.progress.gave_up = Some((Reason::KeysUnavailable, retry_after));
            }
            resume.push(id);
        }
        Actions { fetches: actions.fetches, resume, next_tick: actions.next_tick }
    }

    fn on_key_set_event(&mut self, event: &Event, now: UnixNanos) {
        let policy = Rc::clone(&self.policy);
        let position = policy.providers.iter().position(|provider| *provider.name == *event.provider);
        let Some(index) = position.and_then(|index| u16::try_from(index).ok()) else { return };
        match &event.kind {
            // The worker that fetched has the keys by that alone; the others load them from shared data.
            EventKind::Loaded { .. } | EventKind::Fetched { .. } => {
                if let key_sets::Lookup::Ready { keys, .. } = self.key_sets.lookup(&event.provider, now) {
                    self.tokens.retain(index, |token| keys.contains(token.key_fingerprint()));
                }
            }
            EventKind::Expired => self.tokens.retain(index, |_| false),
            _ => {}
        }
        self.counters.add(CounterId::Provider(index, event.kind.name()));
        if event.kind.is_trouble() {
            self.log.push(format!("portcullis: provider {}: {}", event.provider, event.kind));
        }
    }
}

/// A header's value where it stands once and is plain text.
pub(crate) fn plain_text<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.text(name).ok().flatten()
}

fn parse_key_set(json: &[u8]) -> Result<KeySet, String> {
    let (keys, skipped) = KeySet::from_jwks(json).map_err(|error| error.to_string())?;
    if keys.is_empty() {
        // A set that verifies nothing would turn good tokens into 401; the keys at hand are better than that.
        let first = skipped.first().map(|key| format!(": {key}")).unwrap_or_default();
        return Err(format!("it has no usable key{first}"));
    }
    Ok(keys)
}

fn outcome<'a>(headers: Option<&'a Headers>, body: &'a [u8]) -> FetchOutcome<'a> {
    let status = headers.and_then(|headers| plain_text(headers, ":status")).and_then(|status| status.parse().ok());
    match (headers, status) {
        (Some(headers), Some(status)) if body.len() <= key_sets::MAX_RESPONSE_BYTES => {
            FetchOutcome::Answer { status, cache_control: headers.get_all("cache-control").next(), body }
        }
        (Some(_), Some(_)) => FetchOutcome::TooLarge,
        _ => FetchOutcome::NoAnswer,
    }
}
