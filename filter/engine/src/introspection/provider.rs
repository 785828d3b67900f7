//! One provider's questions under way, its answers and its state.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::actions::{Answered, EventKind, Resume};
use super::answer::{Failure, Verdict, verdict};
use super::cache::Cache;
use super::circuit::Circuit;
use super::source::Plan;
use super::token_key::TokenKey;
use crate::callout::{Callout, CalloutIds};
use crate::key_sets::{FetchId, FetchOutcome};
use crate::time::UnixNanos;

/// Added to the time limit of a question: by then the proxy has said how it ended, or never will.
const LOST_SLACK: Duration = Duration::from_secs(1);
/// What a client is told where there is nothing better to tell.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// One provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub plan: Plan,
    pub cache: Cache,
    circuit: Circuit,
    flights: BTreeMap<FetchId, Flight>,
    /// The question that whoever asks about this token now may wait for.
    joinable: BTreeMap<TokenKey, FetchId>,
}

#[derive(Debug)]
struct Flight {
    key: TokenKey,
    since: UnixNanos,
}

impl Provider {
    pub fn new(plan: Plan, seed: (u64, u64)) -> Self {
        Self {
            cache: Cache::new(&plan.source, seed),
            circuit: Circuit::new(seed.0 ^ seed.1.rotate_left(17)),
            flights: BTreeMap::new(),
            joinable: BTreeMap::new(),
            plan,
        }
    }

    /// The question about this token that is under way.
    pub fn under_way(&self, key: TokenKey) -> Option<FetchId> {
        self.joinable.get(&key).copied()
    }

    /// Whether a new question may be asked.
    ///
    /// # Errors
    /// For `Retry-After`: whole seconds, at least one.
    pub fn admit(&self, now: UnixNanos) -> Result<(), Duration> {
        self.circuit.admit(now)?;
        if self.flights.len() < self.plan.source.max_in_flight { Ok(()) } else { Err(SOON) }
    }

    /// Asks about a token; [`Self::admit`] has allowed it.
    pub fn ask(&mut self, key: TokenKey, token: &[u8], ids: &mut CalloutIds, now: UnixNanos) -> Callout {
        let id = ids.fresh();
        self.flights.insert(id, Flight { key, since: now });
        self.joinable.insert(key, id);
        self.circuit.sent(id);
        self.plan.question(id, token)
    }

    pub fn awaits(&self, id: FetchId) -> bool {
        self.flights.contains_key(&id)
    }

    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// The question `id` has ended: what becomes of those who wait for it.
    pub fn finish(
        &mut self,
        id: FetchId,
        outcome: FetchOutcome<'_>,
        now: UnixNanos,
        mut report: impl FnMut(EventKind),
    ) -> Option<Resume> {
        let Flight { key, .. } = self.flights.remove(&id)?;
        // A revocation in the meantime has made it an answer for those who asked before only.
        let is_current = self.joinable.get(&key) == Some(&id);
        if is_current {
            self.joinable.remove(&key);
        }
        match verdict(outcome, &self.plan.source, now) {
            Ok(verdict) => {
                if self.circuit.succeeded() {
                    report(EventKind::Recovered);
                }
                report(match &verdict {
                    Verdict::Active(_) => EventKind::Active,
                    Verdict::Refused(refusal) => EventKind::Refused(*refusal),
                });
                if is_current {
                    let bytes = if let FetchOutcome::Answer { body, .. } = outcome { body.len() } else { 0 };
                    self.cache.insert(key, &verdict, bytes, now);
                }
                Some(Resume::Retry(Answered { provider: Rc::clone(&self.plan.name), key, verdict }))
            }
            Err(failure) => {
                self.failed(id, failure, now, report);
                Some(Resume::GiveUp { retry_after: self.retry_after(now) })
            }
        }
    }

    fn failed(&mut self, id: FetchId, failure: Failure, now: UnixNanos, mut report: impl FnMut(EventKind)) {
        if !failure.is_of_the_server() {
            // It did answer.
            let recovered = self.circuit.succeeded();
            report(EventKind::Failed { failure, failures: 1 });
            if recovered {
                report(EventKind::Recovered);
            }
            return;
        }
        let pause = self.circuit.failed(id, now);
        report(EventKind::Failed { failure, failures: self.circuit.failures() });
        if let Some(pause) = pause {
            report(EventKind::Paused { pause });
        }
    }

    /// A tick: the questions that the proxy has lost.
    pub fn on_tick(&mut self, now: UnixNanos) -> Vec<FetchId> {
        self.circuit.on_tick(now);
        let limit = self.plan.source.timeout.saturating_add(LOST_SLACK);
        let mut lost = Vec::new();
        for (id, flight) in &mut self.flights {
            // After a step back of the clock, the wait begins anew; it does not become as long as the step was.
            flight.since = flight.since.min(now);
            if now.since(flight.since) >= limit {
                lost.push(*id);
            }
        }
        lost
    }

    /// What a client is told to wait before it comes back: whole seconds, at least one.
    pub fn retry_after(&self, now: UnixNanos) -> Duration {
        self.circuit.admit(now).err().unwrap_or(SOON)
    }

    /// Answers that are under way are good for those who wait for them already, and for nobody else.
    pub fn detach(&mut self, key: TokenKey) {
        self.joinable.remove(&key);
    }

    /// The same for every token.
    pub fn detach_all(&mut self) {
        self.joinable.clear();
    }
}
