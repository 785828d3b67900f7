//! The engine of one configuration in one worker: takes events, says what to do.

mod between;
mod operators;
mod records;
mod refusals;
mod response;
mod start;
mod step;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::rc::Rc;

pub use self::step::{Actions, FetchResult, HeaderChange, Passage, Step};
use crate::addresses::AddressLists;
use crate::answer::{Denial, Reason};
use crate::bans::Bans;
use crate::call::Call;
use crate::callout::Callout;
use crate::counters::{CounterId, Counters};
use crate::global_limits::Questions;
use crate::http::headers::MalformedPairs;
use crate::http::{Headers, RequestHead};
use crate::internal_token::Minter;
use crate::introspection::Introspection;
use crate::jwt::KeySet;
use crate::key_sets::{KeySets, RequestId};
use crate::limiter::Limiter;
use crate::outcome::Outcome;
use crate::payload::Inspector;
use crate::policy::Policy;
use crate::ports::{Ports, SharedStore};
use crate::proof::{NonceIssuer, ReplayStore};
use crate::revocation::Revocations;
use crate::surge::Surges;
use crate::time::UnixNanos;
use crate::token_cache::TokenCache;
use crate::walk::{Asking, Body, Found, Progress, Stop, Walk};

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

/// How many proofs can be remembered at the same time.
pub(crate) const REPLAY_CAPACITY: NonZeroU32 = NonZeroU32::new(65_536).unwrap();

/// A request that waits: for keys, for an answer, for its body.
#[derive(Debug)]
struct Held {
    head: RequestHead,
    progress: Progress,
    /// Where its walk goes on; without it, the walk begins anew.
    asking: Option<Box<Asking>>,
}

impl Engine {
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

    /// The body of a request, asked for by [`Step::NeedBody`], ends in these trailers, in the ABI's serialised form. They are judged with
    /// the body, so this comes before [`on_body`](Self::on_body).
    ///
    /// # Errors
    /// [`MalformedPairs`]: they cannot be read.
    pub fn on_trailers(&mut self, id: RequestId, trailers: Vec<u8>) -> Result<(), MalformedPairs> {
        let trailers = Headers::from_pairs_buffer(trailers)?;
        if let Some((_, suspended)) = self.suspended.get_mut(&id) {
            suspended.end_in(trailers);
        }
        Ok(())
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
