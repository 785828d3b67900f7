//! The questions of one worker: what is under way, who waits for it, and whether the service may be asked at all.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::answer::{self, Answer, Failure};
use super::{Group, Holder, LimitService, News, question};
use crate::callout::{Callout, CalloutIds};
use crate::http::Headers;
use crate::introspection::Circuit;
use crate::key_sets::{FetchId, RequestId};
use crate::time::UnixNanos;

/// Added to the time limit of a question: by then the proxy has said how it ended, or never will.
const LOST_SLACK: Duration = Duration::from_secs(1);
/// More requests do not wait at a time: beyond `max_in_flight` they can where they wait for leases together.
const MAX_WAITING: usize = 65_536;
/// The tick while questions are under way.
const BUSY_TICK: Duration = Duration::from_millis(100);

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// Requests all of whose questions have ended: [`Questions::take`] has the answers.
    pub resume: Vec<RequestId>,
    /// What happened, for the log.
    pub events: Vec<Event>,
    /// What leases are to learn, by limit and holder.
    pub leases: Vec<(u16, Holder, News)>,
}

/// Something that an operator may want to know about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A question brought no answer.
    Failed {
        /// Why.
        failure: Failure,
        /// Failures in a row.
        failures: u32,
    },
    /// The service is left alone for so long.
    Paused(Duration),
    /// It answers again.
    Recovered,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { failure, failures } => write!(f, "{failure} (failure {failures} in a row)"),
            Self::Paused(pause) => write!(f, "the service is left alone for {} ms", pause.as_millis()),
            Self::Recovered => f.write_str("the service answers again"),
        }
    }
}

/// The questions of one worker.
#[derive(Debug)]
pub struct Questions {
    service: LimitService,
    ids: CalloutIds,
    circuit: Circuit,
    flights: BTreeMap<FetchId, Flight>,
    waiting: BTreeMap<RequestId, Vec<Option<Result<Answer, Failure>>>>,
}

#[derive(Debug)]
struct Flight {
    /// The requests that wait for it, and which of their questions it is.
    waiters: Vec<(RequestId, usize)>,
    /// Where its one limit has a lease.
    lease: Option<Asked>,
    /// How many descriptors it has.
    descriptors: usize,
    since: UnixNanos,
}

/// A question about a limit with a lease.
#[derive(Debug)]
struct Asked {
    limit: u16,
    holder: Holder,
    /// The units.
    asks: u64,
    /// How many of them those who wait for it cost.
    owed: u64,
}

impl Asked {
    fn of(group: &Group) -> Option<Self> {
        let about = group.limits.first().filter(|_| group.is_leased)?;
        Some(Self { limit: about.limit, holder: about.holder(), asks: group.asks, owed: group.cost })
    }

    /// Whether the same units admit the request of `group` too.
    fn holds(&self, group: &Group) -> bool {
        // A client that may more or less than this one is asked about with another rate.
        let is_same = |about: &super::Asked| about.limit == self.limit && self.holder.is_of(about);
        group.is_leased
            && group.asks > group.cost
            && group.limits.first().is_some_and(is_same)
            && self.owed.saturating_add(group.cost) <= self.asks
    }

    fn news(self, answer: &Answer) -> (u16, Holder, News) {
        let said = answer.statuses.first().filter(|status| status.is_over).and_then(|status| status.reset_after);
        let wait = said.or(answer.headers.reset_after);
        let news = match answer.is_over {
            false => News::Granted(self.asks.saturating_sub(self.owed)),
            true if self.asks > self.owed => News::TooMuch(wait),
            true => News::Refused { cost: self.owed, wait },
        };
        (self.limit, self.holder, news)
    }
}

impl Questions {
    /// No question yet. `ids` are used by nobody else on this worker; `seed` spreads the pauses of workers.
    pub fn new(service: LimitService, ids: CalloutIds, seed: u64) -> Self {
        Self { service, ids, circuit: Circuit::new(seed), flights: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    /// Whether a request is refused about which the service says nothing.
    pub fn denies_on_error(&self) -> bool {
        self.service.deny_on_error
    }

    /// Whether the answer to a question that is under way will do for `group` too.
    pub fn is_under_way(&self, group: &Group) -> bool {
        self.flights.values().any(|flight| flight.lease.as_ref().is_some_and(|lease| lease.holds(group)))
    }

    /// Whether so many more questions may be asked now.
    pub fn may_ask(&self, questions: usize, now: UnixNanos) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        if questions == 0 {
            return true;
        }
        let under_way = self.flights.len().saturating_add(questions);
        under_way <= self.service.max_in_flight && self.circuit.admit(now).is_ok()
    }

    /// The questions about the limits of a request, one for each of `groups`; the request then waits for all answers.
    pub fn ask(&mut self, request: RequestId, groups: &[Group], now: UnixNanos) -> Vec<Callout> {
        self.waiting.insert(request, groups.iter().map(|_| None).collect());
        let mut callouts = Vec::with_capacity(groups.len());
        for (place, group) in groups.iter().enumerate() {
            let mut leases =
                self.flights.values_mut().filter_map(|flight| Some((flight.lease.as_mut()?, &mut flight.waiters)));
            if let Some((lease, waiters)) = leases.find(|(lease, _)| lease.holds(group)) {
                lease.owed = lease.owed.saturating_add(group.cost);
                waiters.push((request, place));
                continue;
            }
            let id = self.ids.fresh();
            let descriptors = self.service.descriptors(group.limits.len());
            let flight = Flight { waiters: vec![(request, place)], lease: Asked::of(group), descriptors, since: now };
            self.flights.insert(id, flight);
            self.circuit.sent(id);
            callouts.push(question::callout(&self.service, group, id));
        }
        callouts
    }

    /// Whether `id` is that of a question.
    pub fn owns(&self, id: FetchId) -> bool {
        self.ids.owns(id)
    }

    /// A question has ended; `None`: without an answer. An id that is no longer awaited changes nothing.
    pub fn on_response(
        &mut self,
        id: FetchId,
        answer: Option<(&Headers, Option<&Headers>, &[u8])>,
        now: UnixNanos,
    ) -> Actions {
        let mut actions = Actions::default();
        let Some(flight) = self.flights.remove(&id) else { return actions };
        let read = match answer {
            Some((headers, trailers, body)) => answer::read(headers, trailers, body, flight.descriptors),
            None => Err(Failure::NoAnswer),
        };
        self.finish(id, flight, read, now, &mut actions);
        actions
    }

    /// A tick: gives up on questions that the proxy has lost.
    pub fn on_tick(&mut self, now: UnixNanos) -> Actions {
        self.circuit.on_tick(now);
        let limit = self.service.timeout.saturating_add(LOST_SLACK);
        let mut lost = Vec::new();
        for (id, flight) in &mut self.flights {
            // After a step back of the clock, the wait begins anew; it does not become as long as the step was.
            flight.since = flight.since.min(now);
            if now.since(flight.since) >= limit {
                lost.push(*id);
            }
        }
        let mut actions = Actions::default();
        for id in lost {
            if let Some(flight) = self.flights.remove(&id) {
                self.finish(id, flight, Err(Failure::NoAnswer), now, &mut actions);
            }
        }
        actions
    }

    /// The answers to a request's questions, in their order; what is not there has failed. Gives them out once.
    pub fn take(&mut self, request: RequestId) -> Vec<Result<Answer, Failure>> {
        let answers = self.waiting.remove(&request).unwrap_or_default();
        answers.into_iter().map(|answer| answer.unwrap_or(Err(Failure::NoAnswer))).collect()
    }

    /// The client of a waiting request has gone. Its questions go on: they tell whether the service answers.
    pub fn forget(&mut self, request: RequestId) {
        self.waiting.remove(&request);
    }

    /// When the next tick is wanted, if one is.
    pub fn next_tick(&self) -> Option<Duration> {
        (!self.flights.is_empty()).then_some(BUSY_TICK)
    }

    fn is_answered(&self, request: RequestId) -> bool {
        self.waiting.get(&request).is_some_and(|answers| answers.iter().all(Option::is_some))
    }

    fn finish(
        &mut self,
        id: FetchId,
        flight: Flight,
        read: Result<Answer, Failure>,
        now: UnixNanos,
        actions: &mut Actions,
    ) {
        match &read {
            Ok(_) => {
                if self.circuit.succeeded() {
                    actions.events.push(Event::Recovered);
                }
            }
            Err(failure) => {
                let pause = self.circuit.failed(id, now);
                actions.events.push(Event::Failed { failure: *failure, failures: self.circuit.failures() });
                actions.events.extend(pause.map(Event::Paused));
            }
        }
        if let (Ok(answer), Some(lease)) = (&read, flight.lease) {
            actions.leases.push(lease.news(answer));
        }
        for (request, place) in flight.waiters {
            let Some(place) = self.waiting.get_mut(&request).and_then(|answers| answers.get_mut(place)) else {
                continue;
            };
            *place = Some(read.clone());
            if self.is_answered(request) {
                actions.resume.push(request);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::global_limits::Values;
    use crate::limits::Descriptor;

    fn questions() -> Questions {
        let service = LimitService {
            cluster: "limits".into(),
            authority: "limits".into(),
            kind: crate::config::schema::LimitServiceKind::Ratelimit,
            domain: "shop".into(),
            timeout: Duration::from_millis(100),
            deny_on_error: false,
            sends_rates: false,
            values: Values::Hashed,
            max_in_flight: 3,
        };
        Questions::new(service, CalloutIds::new(9, 7), 7)
    }

    fn at(millis: u64) -> UnixNanos {
        UnixNanos(1_000_000_000_000 + millis * 1_000_000)
    }

    fn two() -> [Group; 2] {
        [Group::default(), Group::default()]
    }

    #[test]
    fn a_request_goes_on_once_all_its_questions_have_ended() {
        let mut questions = questions();
        let asked = questions.ask(RequestId(1), &two(), at(0));
        assert_eq!(questions.on_response(asked[1].id, None, at(1)).resume, []);
        assert_eq!(questions.on_response(asked[1].id, None, at(1)), Actions::default(), "an answer counts once");
        assert_eq!(questions.on_response(asked[0].id, None, at(2)).resume, [RequestId(1)]);
        assert_eq!(questions.take(RequestId(1)), [Err(Failure::NoAnswer), Err(Failure::NoAnswer)]);
        assert_eq!(questions.take(RequestId(1)), []);
    }

    /// A request of `cost` that asks for ten units of the lease of client `name`.
    fn leased(name: &str, cost: u64) -> [Group; 1] {
        leased_of(name, cost, 10)
    }

    fn leased_of(name: &str, cost: u64, rate: u64) -> [Group; 1] {
        let mut descriptor = Descriptor::new();
        descriptor.start(name);
        let rate = std::num::NonZeroU64::new(rate).unwrap();
        let quota = crate::limits::fixed_window::Quota::new(rate, Duration::from_secs(60)).unwrap();
        let algorithm = crate::limits::Algorithm::FixedWindow(quota);
        let limits = vec![super::super::Asked { limit: 3, descriptor, algorithm, standing: None }];
        [Group { limits, cost, asks: 10, is_leased: true, ..Group::default() }]
    }

    fn answer(code: u8) -> Vec<u8> {
        vec![0, 0, 0, 0, 2, 8, code]
    }

    fn headers() -> Headers {
        let pairs: [(&str, &[u8]); 3] =
            [(":status", b"200"), ("content-type", b"application/grpc"), ("grpc-status", b"0")];
        Headers::from_pairs(&pairs).unwrap()
    }

    #[test]
    fn requests_wait_for_a_lease_together_as_many_as_it_holds() {
        let mut questions = questions();
        let asked = questions.ask(RequestId(1), &leased("alice", 4), at(0));
        assert!(questions.is_under_way(&leased("alice", 6)[0]));
        assert_eq!(questions.ask(RequestId(2), &leased("alice", 5), at(0)).len(), 0);
        assert!(!questions.is_under_way(&leased("alice", 2)[0]), "one is left");
        assert!(!questions.is_under_way(&leased("bob", 1)[0]));
        assert!(!questions.is_under_way(&leased_of("alice", 1, 50)[0]), "in another tier");
        assert_eq!(questions.ask(RequestId(3), &leased("alice", 2), at(0)).len(), 1);
        let ended = questions.on_response(asked[0].id, Some((&headers(), None, &answer(1))), at(1));
        assert_eq!(ended.resume, [RequestId(1), RequestId(2)]);
        let news: Vec<News> = ended.leases.into_iter().map(|(_, _, news)| news).collect();
        assert_eq!(news, [News::Granted(1)], "what those who waited do not cost");
        assert_eq!(questions.take(RequestId(2)), [Ok(Answer::default())]);
    }

    #[test]
    fn a_lease_that_is_refused_says_nothing_about_less() {
        let mut questions = questions();
        let news_of = |questions: &mut Questions, groups: &[Group]| {
            let asked = questions.ask(RequestId(1), groups, at(0));
            let ended = questions.on_response(asked[0].id, Some((&headers(), None, &answer(2))), at(1));
            ended.leases.into_iter().map(|(_, _, news)| news).collect::<Vec<_>>()
        };
        assert_eq!(news_of(&mut questions, &leased("alice", 1)), [News::TooMuch(None)]);
        let [group] = leased("alice", 1);
        let alone = Group { asks: 1, ..group };
        assert!(!questions.is_under_way(&alone));
        assert_eq!(news_of(&mut questions, &[alone]), [News::Refused { cost: 1, wait: None }]);
    }

    #[test]
    fn no_more_questions_are_under_way_than_may() {
        let mut questions = questions();
        assert!(questions.may_ask(2, at(0)));
        questions.ask(RequestId(1), &two(), at(0));
        assert!(questions.may_ask(1, at(0)) && !questions.may_ask(2, at(0)));
    }

    #[test]
    fn a_service_that_fails_is_left_alone_and_one_question_finds_out() {
        let mut questions = questions();
        let mut events = Vec::new();
        for request in 0..3 {
            let asked = questions.ask(RequestId(request), &[Group::default()], at(0));
            events.extend(questions.on_response(asked[0].id, None, at(0)).events);
        }
        let Some(Event::Paused(pause)) = events.last() else { panic!("{events:?}") };
        assert!(!questions.may_ask(1, at(1)));
        let after = at(0).plus(*pause);
        assert!(questions.may_ask(1, after));
        questions.ask(RequestId(9), &[Group::default()], after);
        assert!(!questions.may_ask(1, after), "one question finds out");
    }

    #[test]
    fn a_question_that_the_proxy_loses_ends_by_itself() {
        let mut questions = questions();
        questions.ask(RequestId(1), &[Group::default()], at(0));
        assert_eq!(questions.next_tick(), Some(BUSY_TICK));
        assert_eq!(questions.on_tick(at(1_099)), Actions::default());
        assert_eq!(questions.on_tick(at(1_100)).resume, [RequestId(1)]);
        assert_eq!(questions.next_tick(), None);
    }

    #[test]
    fn a_client_that_goes_away_leaves_nobody_waiting() {
        let mut questions = questions();
        let asked = questions.ask(RequestId(1), &[Group::default()], at(0));
        questions.forget(RequestId(1));
        assert_eq!(questions.on_response(asked[0].id, None, at(1)).resume, []);
    }
}
