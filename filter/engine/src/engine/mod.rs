//! The engine of one configuration in one worker: takes events, says what to do.

mod between;
mod operators;
mod records;
mod refusals;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use crate::addresses::AddressLists;
use crate::answer::{Answer, Denial, LocalAnswer, Reason};
use crate::bans::Bans;
use crate::call::Call;
use crate::callout::{Callout, CalloutIds};
use crate::config::Problems;
use crate::config::schema::Mode;
use crate::counters::{CounterId, Counters, Verdict};
use crate::global_limits::Questions;
use crate::http::{Headers, RequestHead};
use crate::internal_token::Minter;
use crate::introspection::Introspection;
use crate::jwt::KeySet;
use crate::key_sets::{KeySets, RequestId, WaitLimits};
use crate::limiter::{Limiter, Settlement};
use crate::outcome::Outcome;
use crate::payload::Inspector;
use crate::policy::{Environment, Policy};
use crate::ports::{Ports, SharedStore};
use crate::proof::{NonceIssuer, ReplayStore};
use crate::responses::Dress;
use crate::revocation::{self, Revocations, Seeds};
use crate::routes::JudgedRoute;
use crate::surge::Surges;
use crate::time::UnixNanos;
use crate::token_cache::TokenCache;
use crate::walk::{Asking, Body, Found, Progress, Stop, Walk, Wanted};

/// Fresh randomness: hash seeds, the worker's id, the spread of retries. No verdict depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    fn half(&self) -> [u8; 16] {
        self.0.last_chunk().copied().unwrap_or_default()
    }

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
    /// Its head is held back until so much of its body is there, which goes to [`Engine::on_body`].
    NeedBody(Wanted),
    /// The gateway itself has the answer.
    Answer(LocalAnswer),
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
    /// What the route said about the policy, for [`Engine::check_route`] once the response is there: the changes to the
    /// request's head may have led to another route.
    pub judged: Option<JudgedRoute>,
    /// Charges of limits that the response may change: for [`Engine::settle`] once it is there.
    pub settlement: Option<Settlement>,
    /// Whether [`Engine::on_sent`] and [`Engine::on_answered`] want to know of this request.
    pub is_timed: bool,
    /// Further changes, which depend on what the response's head is: [`Dress::changes`].
    pub dress: Option<Dress>,
}

/// A change to a header map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// Every value of the header is removed.
    Remove(String),
    /// The header has this value and no other.
    Set(String, Vec<u8>),
    /// The header has this value too, on a line of its own.
    Add(String, Vec<u8>),
}

/// What the shell is to do beside the request at hand.
#[derive(Debug, Default)]
pub struct Actions {
    /// Requests to send to providers.
    pub callouts: Vec<Callout>,
    /// Held requests to judge again with [`Engine::resume`].
    pub resume: Vec<RequestId>,
    /// When the next tick is wanted.
    pub next_tick: Duration,
}

/// How a [`Callout`] ended, as the shell saw it.
#[derive(Debug)]
pub enum FetchResult {
    /// An answer came: its header map in the ABI's serialised form, its trailers, and its body up to one byte more than allowed.
    Answer {
        /// The header map.
        headers: Vec<u8>,
        /// The trailers in the same form; empty where there are none.
        trailers: Vec<u8>,
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
    /// What the limit service is asked, where there is one.
    pub(crate) questions: Option<Questions>,
    pub(crate) surges: Surges,
    pub(crate) bans: Bans,
    pub(crate) counters: Counters,
    pub(crate) log: Vec<String>,
    pub(crate) introspection: Introspection,
    pub(crate) revocations: Revocations,
    pub(crate) addresses: AddressLists,
    pub(crate) minter: Option<Minter>,
    pub(crate) inspector: Option<Inspector>,
    pub(crate) replays: Option<ReplayStore>,
    pub(crate) nonces: Option<NonceIssuer>,
    held: HashMap<RequestId, Held>,
    /// Calls to the gateway itself whose bodies are on their way.
    calls: HashMap<RequestId, Call>,
    /// Requests whose bodies are to be judged, and on their way.
    suspended: HashMap<RequestId, (Held, Box<Found>)>,
    /// Questions about opaque tokens, to be sent with the next tick: callouts belong to the root context.
    outbox: Vec<Callout>,
    /// What became of the request at hand.
    outcome: Option<Outcome>,
    /// When providers gave their key sets, since the proxy's metrics were told last.
    key_sets_given: Vec<(u16, UnixNanos)>,
    /// What is left of the sample of allowed requests that have no id.
    sampled: u64,
    seed: Seed,
}

/// The tag of introspection's callout ids; zero is that of the key sets.
const INTROSPECTION_IDS: u8 = 1;
/// ... of questions about global limits.
const LIMIT_SERVICE_IDS: u8 = 4;

/// How many proofs can be remembered at the same time.
const REPLAY_CAPACITY: NonZeroU32 = NonZeroU32::new(65_536).unwrap();

/// A request that waits: for keys, for an answer, for its body.
#[derive(Debug)]
struct Held {
    head: RequestHead,
    progress: Progress,
    /// Where its walk goes on; without it, the walk begins anew.
    asking: Option<Box<Asking>>,
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
        let problem = |path: &str, error: &dyn std::fmt::Display| {
            let mut problems = Problems::default();
            problems.add(path, error.to_string());
            problems
        };
        let ids = CalloutIds::new(INTROSPECTION_IDS, seed.word(1));
        let cache_seed = (seed.word(2), seed.word(3));
        let introspection = Introspection::new(policy.introspections.clone(), ids, cache_seed, limits)
            .map_err(|error| problem("providers", &error))?;
        let seeds = Seeds { worker_id: seed.word(0), spread: seed.word(1), hash_key: seed.half() };
        let options = revocation::Options { wait: limits, ..policy.revocation.clone() };
        let revocations = Revocations::new(options, seeds).map_err(|error| problem("revocation", &error))?;
        let addresses = AddressLists::new(&policy.address_lists, seed.word(0), seed.word(1));
        let addresses = addresses.map_err(|(_, error)| problem("address_lists", &error))?;
        let minter = match &policy.internal_tokens {
            None => None,
            Some(tokens) => {
                let keys = tokens.keys().ok_or_else(|| problem("internal_tokens", &"the keys cannot be read"))?;
                let minter = Minter::new(tokens.settings.clone(), keys, seed);
                Some(minter.map_err(|_| problem("internal_tokens", &"the settings do not fit"))?)
            }
        };
        let questions = policy
            .limit_service
            .clone()
            .map(|service| Questions::new(service, CalloutIds::new(LIMIT_SERVICE_IDS, seed.word(1)), seed.word(0)));
        let inspector = match policy.rules.iter().any(|rule| rule.payload.is_some()) {
            true => Some(Inspector::new().ok_or_else(|| problem("defaults.payload", &"the rules cannot be read"))?),
            false => None,
        };
        Ok(Self {
            introspection,
            revocations,
            addresses,
            minter,
            replays: None,
            nonces: None,
            calls: HashMap::new(),
            suspended: HashMap::new(),
            inspector,
            outbox: Vec::new(),
            outcome: None,
            key_sets_given: Vec::new(),
            sampled: 0,
            seed,
            key_sets,
            tokens: TokenCache::new(policy.token_cache_bytes, (seed.word(2), seed.word(3))),
            limiter: Limiter::default(),
            questions,
            surges: Surges::new(policy.surges.iter().map(|surge| surge.settings)),
            bans: Bans::default(),
            counters: Counters::default(),
            log: Vec::new(),
            held: HashMap::new(),
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
        self.counters.add(CounterId::Configuration("accepted"));
        self.limiter = Limiter::new(&self.policy.limits, self.policy.limit_headers, store, self.seed.half());
        self.renew_slots(store, now);
        self.bans = Bans::new(&self.policy.bans, store, self.seed.half());
        self.open_proofs(store, now);
        let lists = self.revocations.on_start(now, store);
        self.log_revocations();
        let feeds = self.addresses.on_start(now, store);
        let feeds = self.take_up_lists(feeds);
        let actions = self.key_sets.on_start(now, store);
        self.take_up(actions, now).next_tick.min(lists.next_tick).min(feeds.next_tick).min(self.lease_tick())
    }

    /// A request begins; `headers` is its header map in the ABI's serialised form.
    pub fn on_request_head(&mut self, id: RequestId, headers: Vec<u8>, ports: Ports<'_>, now: UnixNanos) -> Step {
        let Ok(headers) = Headers::from_pairs_buffer(headers) else {
            let denial = Denial::new(Reason::RequestMalformed, "the header map cannot be read");
            return self.refuse_unreadable(denial, None, ports, now);
        };
        let request_id = plain_text(&headers, "x-request-id").map(str::to_owned);
        match RequestHead::parse(headers) {
            Ok(head) => self.judge(id, Held { head, progress: Progress::default(), asking: None }, ports, now),
            Err(error) => {
                let denial = Denial::new(error.reason(), error.to_string());
                self.refuse_unreadable(denial, request_id.as_deref(), ports, now)
            }
        }
    }

    /// Judges a held request again; its stream is the effective one. `None`: it is not held (any more).
    pub fn resume(&mut self, id: RequestId, ports: Ports<'_>, now: UnixNanos) -> Option<Step> {
        let held = self.held.remove(&id)?;
        Some(self.judge(id, held, ports, now))
    }

    /// The body of a request is there for which [`Step::NeedBody`] asked.
    pub fn on_body(&mut self, id: RequestId, body: Body<'_>, ports: Ports<'_>, now: UnixNanos) -> Step {
        if let Some((mut held, suspended)) = self.suspended.remove(&id) {
            let policy = Rc::clone(&self.policy);
            let walk = Walk::new(self, &policy, &held.head, &mut held.progress, ports, now).go_on(*suspended);
            let step = match walk.run_on_body(body) {
                Ok(passage) => Step::Continue(passage),
                Err(Stop::Denied(answer)) => Step::Deny(answer),
                Err(_) => Step::Deny(self.internal_answer()),
            };
            self.free_place(id, &step);
            return step;
        }
        let whole = match body {
            Body::Whole(bytes) => Some(bytes),
            Body::Longer(_) => None,
        };
        match self.calls.remove(&id) {
            Some(call) => self.answer_call(&call, whole, ports, now),
            None => Step::Deny(self.internal_answer()),
        }
    }

    /// The response of a request is there whose head was changed: whether the route that served it names the same policy as
    /// the one that it was judged by. If not, the client gets this answer instead of the response.
    pub fn check_route(&mut self, judged: &JudgedRoute, ports: Ports<'_>, now: UnixNanos) -> Option<Answer> {
        let policy = Rc::clone(&self.policy);
        let served_by = policy.routes.select(&policy.named, ports.attributes);
        if served_by == judged.selected {
            return None;
        }
        let denial = Denial::new(Reason::RouteChanged, "a header that the filter changed led to another route");
        let rule = policy.rules.get(usize::from(judged.rule));
        let monitored = policy.mode == Mode::Monitor || rule.is_some_and(|rule| rule.mode == Mode::Monitor);
        let verdict = if monitored { Verdict::Monitored } else { Verdict::Denied };
        let answer = self.refuse_without_walk(&denial, verdict, judged.rule, judged.request_id.as_deref(), ports, now);
        (!monitored).then_some(answer)
    }

    /// The response of a request is there whose limits depend on it; `headers` is its header map in the ABI's serialised form.
    pub fn settle(&mut self, settlement: &Settlement, headers: Vec<u8>, store: &dyn SharedStore, now: UnixNanos) {
        let policy = Rc::clone(&self.policy);
        let costs = policy.rules.get(usize::from(settlement.rule)).map(|rule| &rule.costs);
        let Some((settling, paid)) = costs.and_then(|costs| Some((costs.settling.as_ref()?, costs.each))) else {
            return;
        };
        // A head that cannot be read says nothing about the cost: what was charged stays.
        let Ok(response) = Headers::from_pairs_buffer(headers) else { return };
        let rule = (settling, paid);
        let settled = self.limiter.settle(&policy.limits, rule, &settlement.charges, &response, store, now);
        for (limit, event) in settled.events {
            self.counters.add(CounterId::Limit(limit, event));
        }
        self.warn(&settled.warnings, settlement.caller.as_deref(), settlement.request_id.as_deref(), now);
    }

    /// The whole of a request has gone on to its service ([`Passage::is_timed`]).
    pub fn on_sent(&mut self, id: RequestId, now: UnixNanos) {
        self.surges.on_sent(id, now);
    }

    /// The head of the response is there ([`Passage::is_timed`]); `headers` is its header map in the ABI's serialised form.
    pub fn on_answered(&mut self, id: RequestId, headers: Vec<u8>, now: UnixNanos) {
        let headers = Headers::from_pairs_buffer(headers).ok();
        let status = headers.as_ref().and_then(|headers| plain_text(headers, ":status"));
        let failed = status.is_some_and(|status| status.starts_with('5'));
        self.surges.on_answered(id, failed, now);
        self.count_surges();
    }

    /// Whether [`end`](Self::end) has to be called for every request, and not only for one that was not decided.
    pub fn tracks_requests(&self) -> bool {
        self.limiter.counts_in_flight() || !self.policy.surges.is_empty()
    }

    /// The stream of a request has ended, however that was.
    pub fn end(&mut self, id: RequestId, store: &dyn SharedStore, now: UnixNanos) {
        self.surges.on_end(id, now);
        self.count_surges();
        for (limit, event) in self.limiter.end(id, store) {
            self.counters.add(CounterId::Limit(limit, event));
        }
        self.calls.remove(&id);
        self.suspended.remove(&id);
        if self.held.remove(&id).is_some() {
            self.key_sets.forget(id);
            self.introspection.forget(id);
            if let Some(questions) = &mut self.questions {
                questions.forget(id);
            }
        }
    }

    fn judge(&mut self, id: RequestId, held: Held, ports: Ports<'_>, now: UnixNanos) -> Step {
        let step = self.walk(id, held, ports, now);
        self.free_place(id, &step);
        self.count_surges();
        step
    }

    /// A request that does not reach its service needs no place there.
    fn free_place(&mut self, id: RequestId, step: &Step) {
        if matches!(step, Step::Deny(_) | Step::Answer(_)) {
            self.surges.withdraw(id);
        }
    }

    fn walk(&mut self, id: RequestId, held: Held, ports: Ports<'_>, now: UnixNanos) -> Step {
        let policy = Rc::clone(&self.policy);
        let Held { head, mut progress, mut asking } = held;
        // The second round is for a request that would have to wait and may not: it does not wait again.
        for _ in 0..2 {
            let walked = match asking.take() {
                None => Walk::new(self, &policy, &head, &mut progress, ports, now).run(),
                Some(asking) => {
                    let Asking { groups, charged, suspended } = *asking;
                    let answers = self.questions.as_mut().map(|questions| questions.take(id)).unwrap_or_default();
                    let walk = Walk::new(self, &policy, &head, &mut progress, ports, now).go_on(suspended);
                    walk.run_on_answers(charged, groups, answers)
                }
            };
            self.limiter.keep(id, std::mem::take(&mut progress.slots));
            if let Some(surge) = progress.place.take() {
                self.surges.keep(id, surge);
            }
            let stop = match walked {
                Ok(passage) => return Step::Continue(passage),
                Err(stop) => stop,
            };
            let (reason, waiting) = match stop {
                Stop::Denied(answer) => return Step::Deny(answer),
                Stop::Answered(answer) => return Step::Answer(answer),
                Stop::Serve { rule, serve, caller } => {
                    return self.begin_call(id, Call::new(&head, rule, serve, caller), ports, now);
                }
                Stop::NeedBody(suspended, wanted) => {
                    self.suspended.insert(id, (Held { head, progress, asking: None }, suspended));
                    return Step::NeedBody(wanted);
                }
                Stop::AskLimits(asking) => {
                    let callouts = self.questions.as_mut().map(|questions| questions.ask(id, &asking.groups, now));
                    self.outbox.extend(callouts.into_iter().flatten());
                    self.held.insert(id, Held { head, progress, asking: Some(asking) });
                    return Step::Hold;
                }
                Stop::Wait { provider, wait_for } => {
                    (Reason::KeysWaitersFull, self.key_sets.wait(&provider, id, wait_for, now))
                }
                Stop::Ask(question) => {
                    let asked = self.introspection.wait(id, &question, now);
                    (Reason::ProviderWaitersFull, asked.map(|callout| self.outbox.extend(callout)))
                }
            };
            match waiting {
                Ok(()) => {
                    self.held.insert(id, Held { head, progress, asking: None });
                    return Step::Hold;
                }
                Err(full) => progress.gave_up = Some((reason, full.retry_after)),
            }
        }
        Step::Deny(self.internal_answer())
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
