//! The engine of one configuration in one worker: takes events, says what to do.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use crate::addresses::{self, AddressLists};
use crate::answer::{Answer, Denial, LocalAnswer, Reason};
use crate::audit;
use crate::bans::{self, Bans, Case, Offence, Subject};
use crate::call::{BanChange, Call, MAX_CALL_BYTES, limits as limits_call};
use crate::callout::{Callout, CalloutIds};
use crate::config::Problems;
use crate::config::schema::{Mode, Serve};
use crate::counters::{CounterId, Counters, Verdict};
use crate::global_limits::{self, Questions};
use crate::http::{Headers, Method, RequestHead};
use crate::internal_token::Minter;
use crate::introspection::{self, Introspection};
use crate::jwt::KeySet;
use crate::key_sets::{self, Event, EventKind, Fetch, FetchId, FetchOutcome, KeySets, RequestId, Resume, WaitLimits};
use crate::limiter::{Limiter, Settlement, Warning};
use crate::limits;
use crate::outcome::Outcome;
use crate::payload::Inspector;
use crate::policy::{Environment, Policy};
use crate::ports::{Ports, SharedStore};
use crate::proof::{NonceIssuer, ReplayStore};
use crate::responses::Dress;
use crate::revocation::{self, Revocations, Seeds};
use crate::routes::JudgedRoute;
use crate::shared_list::Words;
use crate::surge::{GaugeId, Surges};
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
            let walk = Walk::go_on(self, &policy, &held.head, &mut held.progress, ports, now, *suspended);
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
        let request_id = judged.request_id.as_deref();
        self.decide(judged.rule, denial.reason, verdict, None);
        let event = audit::Event {
            now,
            denial: &denial,
            verdict,
            rule: rule.map_or("none", |rule| rule.label.as_str()),
            method: None,
            path: None,
            client: ports.attributes.source_address(),
            subject: None,
            provider: None,
            request_id,
        };
        self.log.push(event.to_line());
        if monitored {
            return None;
        }
        let mut answer = Answer::new(&denial, &policy.realm, &policy.type_base, request_id);
        if let Some(rules) = policy.responses_of(judged.rule) {
            Dress { rules: Rc::clone(rules), is_https: false, is_identified: false }.put_on(&mut answer.headers);
        }
        Some(answer)
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

    fn count_surges(&mut self) {
        for (surge, event) in self.surges.take_events() {
            self.counters.add(CounterId::Surge(surge, event));
        }
    }

    /// Counts and logs quotas whose `warn_at` was reached.
    pub(crate) fn warn(
        &mut self,
        warnings: &[Warning],
        caller: Option<&str>,
        request_id: Option<&str>,
        now: UnixNanos,
    ) {
        for warning in warnings {
            self.counters.add(CounterId::Limit(warning.limit, "warned"));
            let limit = self.policy.limit_label(warning.limit).unwrap_or_default();
            self.log.push(audit::quota_line(limit, warning.share, caller, request_id, now));
        }
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

    /// When a tick is wanted while requests are held.
    pub fn next_tick(&self, now: UnixNanos) -> Duration {
        const AT_ONCE: Duration = Duration::from_millis(1);
        if !self.outbox.is_empty() {
            return AT_ONCE;
        }
        let lists = self.revocations.next_tick(now).min(self.addresses.next_tick(now));
        let asked = self.questions.as_ref().and_then(Questions::next_tick).unwrap_or(Duration::MAX);
        let own = self.key_sets.next_tick(now).min(self.introspection.next_tick()).min(lists);
        own.min(asked).min(self.lease_tick())
    }

    /// When slots of requests in flight are looked after next.
    fn lease_tick(&self) -> Duration {
        if self.limiter.counts_in_flight() { limits::lease::TICK } else { Duration::MAX }
    }

    fn renew_slots(&mut self, store: &dyn SharedStore, now: UnixNanos) {
        for (limit, event) in self.limiter.renew(store, now) {
            self.counters.add(CounterId::Limit(limit, event));
        }
    }

    /// The worker's timer fired.
    pub fn on_tick(&mut self, ports: Ports<'_>, now: UnixNanos) -> Actions {
        let counts = self.tokens.take_counts();
        for (event, count) in [("hit", counts.hits), ("miss", counts.misses), ("evicted", counts.evicted)] {
            self.counters.add_many(CounterId::TokenCache(event), count);
        }
        let counts = self.introspection.take_counts();
        for (event, count) in [
            ("introspected_hit", counts.hits),
            ("introspected_negative_hit", counts.negative_hits),
            ("introspected_miss", counts.misses),
            ("introspected_evicted", counts.evicted),
        ] {
            self.counters.add_many(CounterId::TokenCache(event), count);
        }
        if let Some(minter) = &mut self.minter {
            let counts = minter.take_counts();
            self.counters.add_many(CounterId::TokenCache("internal_minted"), counts.minted);
            self.counters.add_many(CounterId::TokenCache("internal_reused"), counts.reused);
        }
        if self.replays.is_none() {
            self.open_proofs(ports.store, now);
        }
        if self.policy.wants_nonces() {
            self.open_nonces(ports.store, now);
        }
        self.renew_slots(ports.store, now);
        let lists = self.revocations.on_tick(now, ports.store);
        self.log_revocations();
        let feeds = self.addresses.on_tick(now, ports.store);
        let feeds = self.take_up_lists(feeds);
        let asked = self.introspection.on_tick(now);
        let keys = self.key_sets.on_tick(now, ports.store);
        let mut actions = self.take_up(keys, now);
        self.take_up_answers(asked, &mut actions);
        if let Some(questions) = &mut self.questions {
            let ended = questions.on_tick(now);
            actions.next_tick = actions.next_tick.min(questions.next_tick().unwrap_or(Duration::MAX));
            self.take_up_limit_service(ended, &mut actions);
        }
        actions.callouts.extend(lists.fetches.into_iter().map(get));
        actions.callouts.extend(feeds.callouts);
        actions.callouts.append(&mut self.outbox);
        actions.next_tick = actions.next_tick.min(lists.next_tick).min(feeds.next_tick).min(self.lease_tick());
        actions
    }

    /// A callout ended.
    pub fn on_fetch_result(&mut self, id: FetchId, result: FetchResult, ports: Ports<'_>, now: UnixNanos) -> Actions {
        let (headers, trailers, body) = match result {
            FetchResult::NoAnswer => (None, Vec::new(), Vec::new()),
            FetchResult::Answer { headers, trailers, body } => {
                (Headers::from_pairs_buffer(headers).ok(), trailers, body)
            }
        };
        if let Some(questions) = self.questions.as_mut().filter(|questions| questions.owns(id)) {
            let trailers = Headers::from_pairs_buffer(trailers).ok();
            let answer = headers.as_ref().map(|headers| (headers, trailers.as_ref(), body.as_slice()));
            let ended = questions.on_response(id, answer, now);
            let mut actions = Actions { next_tick: self.next_tick(now), ..Actions::default() };
            self.take_up_limit_service(ended, &mut actions);
            return actions;
        }
        let answer = |max_bytes: usize| outcome(headers.as_ref(), &body, max_bytes);
        if self.introspection.owns(id) {
            let asked = self.introspection.on_response(id, answer(introspection::MAX_RESPONSE_BYTES), now);
            let mut actions = Actions { next_tick: self.next_tick(now), ..Actions::default() };
            self.take_up_answers(asked, &mut actions);
            return actions;
        }
        if AddressLists::is_own_fetch(id) {
            let feeds = self.addresses.on_response(id, answer, now, ports.store);
            let callouts = self.take_up_lists(feeds).callouts;
            return Actions { callouts, next_tick: self.next_tick(now), ..Actions::default() };
        }
        if Revocations::is_own_fetch(id) {
            let max_bytes = self.policy.revocation.list.as_ref().map_or(0, |list| list.max_bytes);
            let lists = self.revocations.on_response(id, answer(max_bytes), now, ports.store);
            self.log_revocations();
            let callouts = lists.fetches.into_iter().map(get).collect();
            return Actions { callouts, next_tick: self.next_tick(now), ..Actions::default() };
        }
        let keys = self.key_sets.on_response(id, answer(key_sets::MAX_RESPONSE_BYTES), now, ports.store);
        self.take_up(keys, now)
    }

    /// The log lines since the last call.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// What became of the request that the last call was about, where the proxy's access log wants to know. It belongs to that
    /// request: take it before the next call.
    pub fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    /// Counts a decision, and keeps it for the access log.
    pub(crate) fn decide(&mut self, rule: u16, reason: Reason, verdict: Verdict, principal: Option<&str>) {
        self.counters.add(CounterId::Decision(rule, reason, verdict));
        self.tell(rule, reason, verdict, principal);
    }

    /// Keeps a decision for the access log.
    pub(crate) fn tell(&mut self, rule: u16, reason: Reason, verdict: Verdict, principal: Option<&str>) {
        if self.policy.tells_access_log {
            let rule = self.policy.rule_label(rule).unwrap_or("none");
            self.outcome = Some(Outcome::new(rule, verdict, reason, principal));
        }
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
            |index| policy.address_list_label(index),
            |index| policy.ban_label(index),
            |index| policy.surge_label(index),
            |index| policy.own_rules.names().nth(usize::from(index)),
        )
    }

    /// Moves how the gauges have changed since the last call into `out`, replacing what is there.
    pub fn take_gauges(&mut self, out: &mut Vec<(GaugeId, i64)>) {
        out.clear();
        self.surges.take_gauges(out);
    }

    /// The name of a gauge.
    pub fn gauge_name(&self, gauge: GaugeId) -> String {
        gauge.name(|index| self.policy.surge_label(index))
    }

    /// The last request of this configuration has ended: its gauges go back to nothing.
    pub fn retire(&mut self) {
        self.surges.retire();
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
                    let walk = Walk::go_on(self, &policy, &head, &mut progress, ports, now, suspended);
                    walk.run_on_answers(charged, &groups, answers)
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

    fn begin_call(&mut self, id: RequestId, call: Call, ports: Ports<'_>, now: UnixNanos) -> Step {
        if call.wants_body() {
            self.calls.insert(id, call);
            return Step::NeedBody(Wanted::up_to(MAX_CALL_BYTES));
        }
        self.answer_call(&call, Some(&[]), ports, now)
    }

    fn answer_call(&mut self, call: &Call, body: Option<&[u8]>, ports: Ports<'_>, now: UnixNanos) -> Step {
        let answered = match call.serve {
            Serve::Revocations => call.answer(&mut self.revocations, body, ports.store, now),
            Serve::Bans => {
                let answered = call.answer_bans(&self.bans, &self.policy.bans, body, ports.store, now);
                answered.map(|(answer, change)| (answer, change.map(|change| self.count_ban(change))))
            }
            Serve::Limits => {
                let limits = limits_call::Limits { limiter: &self.limiter, policy: &self.policy };
                call.answer_about_limits(&limits, body, ports.store, now).map(|answer| (answer, None))
            }
        };
        self.log_revocations();
        match answered {
            Ok((mut answer, event)) => {
                self.decide(call.rule, Reason::Ok, Verdict::Allowed, call.caller());
                self.log.extend(event);
                if let Some(dress) = self.dress_of_call(call) {
                    dress.put_on(&mut answer.headers);
                }
                Step::Answer(answer)
            }
            Err(denial) => Step::Deny(self.refuse_call(call, &denial, now)),
        }
    }

    /// Counts what an operator has changed; gives the audit event.
    fn count_ban(&mut self, change: BanChange) -> String {
        self.counters.add(CounterId::Ban(u16::try_from(change.ban).unwrap_or(u16::MAX), change.event));
        change.line
    }

    fn refuse_call(&mut self, call: &Call, denial: &Denial, now: UnixNanos) -> Answer {
        self.decide(call.rule, denial.reason, Verdict::Denied, call.caller());
        self.log.push(call.refusal_line(denial, self.policy.rule_label(call.rule), now));
        let mut answer = Answer::new(denial, &self.policy.realm, &self.policy.type_base, call.request_id.as_deref());
        if let Some(dress) = self.dress_of_call(call) {
            dress.put_on(&mut answer.headers);
        }
        answer
    }

    fn dress_of_call(&self, call: &Call) -> Option<Dress> {
        let rules = Rc::clone(self.policy.responses_of(call.rule)?);
        Some(Dress { rules, is_https: call.is_https, is_identified: true })
    }

    /// The stores of proofs, where a provider takes DPoP.
    fn open_proofs(&mut self, store: &dyn SharedStore, now: UnixNanos) {
        let Some((max_age, leeway)) = self.policy.proof_window() else { return };
        let seed = limits::Seed::shared(store, self.seed.half()).ok();
        self.replays = seed.and_then(|seed| ReplayStore::new("dpop", REPLAY_CAPACITY, max_age, leeway, seed).ok());
        if self.policy.wants_nonces() {
            self.open_nonces(store, now);
        }
    }

    fn open_nonces(&mut self, store: &dyn SharedStore, now: UnixNanos) {
        const SLOT: Duration = Duration::from_secs(60);
        // One that could not be opened leaves the old one in place: its nonces end by themselves.
        if let Ok(nonces) = NonceIssuer::shared(store, self.seed.0, SLOT, now) {
            self.nonces = Some(nonces);
        }
    }

    /// Takes up what happened to lists of addresses.
    fn take_up_lists(&mut self, feeds: addresses::Actions) -> Actions {
        let policy = Rc::clone(&self.policy);
        let number = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
        for (index, event) in feeds.events {
            self.counters.add(CounterId::AddressList(number(index), event.name()));
            if event.is_trouble() {
                let name = policy.address_list_label(number(index)).unwrap_or_default();
                self.log.push(format!("portcullis: address list {name}: {}", Words(&event)));
            }
        }
        for index in feeds.loaded {
            self.counters.add(CounterId::AddressList(number(index), "list_loaded"));
        }
        let text_or_json =
            |fetch| Callout { headers: vec![("accept", "text/plain, application/json".to_owned())], ..get(fetch) };
        Actions {
            callouts: feeds.fetches.into_iter().map(text_or_json).collect(),
            next_tick: feeds.next_tick,
            ..Actions::default()
        }
    }

    fn log_revocations(&mut self) {
        for event in self.revocations.take_events() {
            self.counters.add(CounterId::Revocation(event.name()));
            if event.is_trouble() {
                self.log.push(format!("portcullis: revocation: {event}"));
            }
        }
    }

    /// Takes up what introspection endpoints said.
    fn take_up_answers(&mut self, asked: introspection::Actions, actions: &mut Actions) {
        for event in &asked.events {
            let policy = &self.policy;
            let position = policy.providers.iter().position(|provider| *provider.name == *event.provider);
            if let Some(index) = position.and_then(|index| u16::try_from(index).ok()) {
                self.counters.add(CounterId::Provider(index, event.kind.name()));
            }
            if event.kind.is_trouble() {
                self.log.push(format!("portcullis: provider {}: {}", event.provider, event.kind));
            }
        }
        for (id, how) in asked.resume {
            if let Some(held) = self.held.get_mut(&id) {
                match how {
                    introspection::Resume::Retry(answer) => held.progress.answered.push(answer),
                    introspection::Resume::GiveUp { retry_after } => {
                        held.progress.gave_up = Some((Reason::ProviderUnavailable, retry_after));
                    }
                }
            }
            actions.resume.push(id);
        }
        actions.next_tick = actions.next_tick.min(asked.next_tick);
    }

    /// Takes up what happened to questions about global limits.
    fn take_up_limit_service(&mut self, ended: global_limits::Actions, actions: &mut Actions) {
        self.log.extend(ended.events.iter().map(|event| format!("portcullis: limit service: {event}")));
        actions.resume.extend(ended.resume);
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
        self.decide(u16::MAX, denial.reason, Verdict::Denied, None);
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
        self.count_unreadable(&denial, request_id, ports, now);
        let mut answer = Answer::new(&denial, &self.policy.realm, &self.policy.type_base, request_id);
        if let Some(rules) = &self.policy.responses {
            Dress { rules: Rc::clone(rules), is_https: false, is_identified: false }.put_on(&mut answer.headers);
        }
        Step::Deny(answer)
    }

    /// A head that cannot be read is the offence of an address; there is no walk on which it would be counted.
    fn count_unreadable(&mut self, denial: &Denial, request_id: Option<&str>, ports: Ports<'_>, now: UnixNanos) {
        let Some(offence) = Offence::of(denial.reason) else { return };
        let policy = Rc::clone(&self.policy);
        let address = || ports.attributes.source_address();
        let subject = Subject { address: &address, principal: None, username: None };
        for index in &policy.default_bans {
            let Some(ban) = policy.bans.get(*index).filter(|ban| ban.offences.contains(&offence)) else { continue };
            let case = Case { subject: &subject, offence, rule: "none", request_id };
            let outcome = self.bans.offend(*index, ban, &case, ports.store, now);
            self.take_up_offence(*index, outcome);
        }
    }

    /// Takes up what an offence led to.
    pub(crate) fn take_up_offence(&mut self, ban: usize, outcome: bans::Outcome) {
        for event in outcome.events {
            self.counters.add(CounterId::Ban(u16::try_from(ban).unwrap_or(u16::MAX), event));
        }
        self.log.extend(outcome.line);
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
        let callouts = actions.fetches.into_iter().map(get).collect();
        Actions { callouts, resume, next_tick: actions.next_tick }
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

/// A fetch as a callout.
fn get(fetch: Fetch) -> Callout {
    Callout {
        id: fetch.id,
        cluster: fetch.cluster,
        authority: fetch.authority,
        path: fetch.path,
        method: Method::Get,
        headers: vec![("accept", "application/json".to_owned())],
        body: Vec::new(),
        timeout: fetch.timeout,
        max_response_bytes: fetch.max_response_bytes,
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

fn outcome<'a>(headers: Option<&'a Headers>, body: &'a [u8], max_bytes: usize) -> FetchOutcome<'a> {
    let status = headers.and_then(|headers| plain_text(headers, ":status")).and_then(|status| status.parse().ok());
    match (headers, status) {
        (Some(headers), Some(status)) if body.len() <= max_bytes => {
            FetchOutcome::Answer { status, cache_control: headers.get_all("cache-control").next(), body }
        }
        (Some(_), Some(_)) => FetchOutcome::TooLarge,
        _ => FetchOutcome::NoAnswer,
    }
}
