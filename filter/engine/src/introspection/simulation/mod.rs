//! One worker, its introspection endpoints and a clock, played through: what clients see of their opaque tokens.

mod anything;
mod caching;
mod faults;
mod flights;

use std::time::Duration;

use super::*;
use crate::callout::{Callout, CalloutIds};
use crate::http::query;
use crate::key_sets::{FetchId, FetchOutcome, RequestId, TooManyWaiting, WaitLimits};
use crate::time::UnixNanos;

const PARTNER: &str = "partner";

/// How a request fares.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Active, with this subject.
    Allowed(String),
    Refused(Refusal),
    Unavailable(u64),
    /// It waits, and its question was sent.
    Asks(FetchId),
    /// It waits for a question that was sent before.
    Joins,
}

struct Gateway {
    /// In milliseconds.
    now: u64,
    introspection: Introspection,
    /// All questions ever sent.
    sent: Vec<Callout>,
    events: Vec<Event>,
}

fn source() -> IntrospectionSource {
    let client = ClientAuthentication::Basic { id: "gw".into(), secret: "s".into() };
    IntrospectionSource::new(PARTNER, "idp", "idp.example", "/introspect", client)
}

fn gateway() -> Gateway {
    Gateway::new(vec![source()], WaitLimits::default())
}

impl Gateway {
    fn new(sources: Vec<IntrospectionSource>, limits: WaitLimits) -> Self {
        let introspection = Introspection::new(sources, CalloutIds::new(1, 9), (1, 2), limits).unwrap();
        Self { now: 1_000_000, introspection, sent: Vec::new(), events: Vec::new() }
    }

    fn clock(&self) -> UnixNanos {
        UnixNanos(self.now * 1_000_000)
    }

    /// A request with `token` comes: the shell's part of the walk.
    fn request(&mut self, request: u64, token: &str) -> Fate {
        self.request_at(PARTNER, request, token)
    }

    fn request_at(&mut self, provider: &str, request: u64, token: &str) -> Fate {
        let now = self.clock();
        let lookup = self.introspection.lookup(provider, token.as_bytes(), now);
        let Lookup::Wait(question) = lookup else { return fate(lookup) };
        match self.introspection.wait(RequestId(request), &question, now) {
            Ok(Some(callout)) => {
                let id = callout.id;
                self.sent.push(callout);
                Fate::Asks(id)
            }
            Ok(None) => Fate::Joins,
            Err(TooManyWaiting { retry_after }) => Fate::Unavailable(whole(retry_after)),
        }
    }

    /// The question of a request that must be the first for its token.
    fn ask(&mut self, request: u64, token: &str) -> FetchId {
        match self.request(request, token) {
            Fate::Asks(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, id: FetchId, outcome: FetchOutcome<'_>) -> Vec<(RequestId, Resume)> {
        let actions = self.introspection.on_response(id, outcome, self.clock());
        self.events.extend(actions.events);
        actions.resume
    }

    fn answer_json(&mut self, id: FetchId, json: &str) -> Vec<(RequestId, Resume)> {
        self.answer(id, FetchOutcome::Answer { status: 200, cache_control: None, body: json.as_bytes() })
    }

    /// Plays `millis` of time, tick by tick.
    fn run(&mut self, millis: u64) -> Vec<(RequestId, Resume)> {
        let (end, mut resumed) = (self.now + millis, Vec::new());
        loop {
            let tick = u64::try_from(self.introspection.next_tick().as_millis()).unwrap();
            self.now = (self.now + tick).min(end);
            let actions = self.introspection.on_tick(self.clock());
            self.events.extend(actions.events);
            resumed.extend(actions.resume);
            if self.now == end {
                return resumed;
            }
        }
    }

    /// What becomes of those that waited with `token`.
    fn judged(&self, resumed: Vec<(RequestId, Resume)>, token: &str) -> Vec<Fate> {
        let judge = |(_, resume): (RequestId, Resume)| match resume {
            Resume::Retry(answered) => fate(answered.lookup(PARTNER, token.as_bytes(), self.clock()).unwrap()),
            Resume::GiveUp { retry_after } => Fate::Unavailable(whole(retry_after)),
        };
        resumed.into_iter().map(judge).collect()
    }

    fn names(&self) -> Vec<&'static str> {
        self.events.iter().map(|event| event.kind.name()).collect()
    }
}

fn fate(lookup: Lookup) -> Fate {
    match lookup {
        Lookup::Active(token) => Fate::Allowed(token.claims().subject().unwrap_or_default().to_owned()),
        Lookup::Refused(refusal) => Fate::Refused(refusal),
        Lookup::Unavailable { retry_after } => Fate::Unavailable(whole(retry_after)),
        Lookup::Wait(_) => panic!("a decided lookup waits"),
    }
}

fn whole(retry_after: Duration) -> u64 {
    assert!((1..=10).contains(&retry_after.as_secs()) && retry_after.subsec_nanos() == 0, "{retry_after:?}");
    retry_after.as_secs()
}

/// The token that a question is about.
fn token_of(callout: &Callout) -> String {
    let (_, value) = query::pairs(&callout.body).find(|(name, _)| *name == b"token").unwrap();
    String::from_utf8(query::decode(value).into_owned()).unwrap()
}

fn active(subject: &str) -> String {
    format!(r#"{{"active":true,"sub":"{subject}"}}"#)
}

fn allowed(subject: &str) -> Fate {
    Fate::Allowed(subject.to_owned())
}
