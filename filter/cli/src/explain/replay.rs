//! Runs the engine on requests, with what providers would answer given beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, anyhow};
use portcullis_engine::addresses::AddressSource;
use portcullis_engine::answer::Reason;
use portcullis_engine::key_sets::Location;
use portcullis_engine::ports::memory::MemoryStore;
use portcullis_engine::ports::{Attributes, Ports, SoftwareOnly};
use portcullis_engine::time::UnixNanos;
use portcullis_engine::{Actions, Body, Callout, CounterId, Engine, FetchResult, RequestId, Seed, Step};
use serde_json::{Value, json};

use super::request::serialised;
use crate::configured::Configured;

/// What became of a request.
#[derive(Debug)]
pub struct Replayed {
    /// What is to be done with it.
    pub step: Step,
    /// Each decision: the rule's index, the reason, `allowed`, `denied` or `monitored`.
    pub decisions: Vec<(usize, Reason, &'static str)>,
    /// The audit events.
    pub events: Vec<Value>,
    /// What was wanted of a provider and not given.
    pub missing: BTreeSet<Missing>,
}

/// What was not given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// The key set of this provider.
    KeySet(String),
    /// The word of this provider's introspection endpoint about the token.
    Introspection(String),
    /// The list of revoked tokens.
    RevocationList,
    /// This list of addresses.
    AddressList(String),
}

/// What providers answer.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Key sets, by provider.
    pub key_sets: BTreeMap<String, Served>,
    /// What introspection endpoints say, by provider.
    pub introspections: BTreeMap<String, Word>,
    /// The list of revoked tokens.
    pub revocation_list: Option<Served>,
    /// Fetched lists of addresses, by name.
    pub address_lists: BTreeMap<String, Served>,
}

/// An answer over HTTP.
#[derive(Debug, Clone)]
pub struct Served {
    /// Its status.
    pub status: u16,
    /// Its header lines.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// What an introspection endpoint says of a token.
#[derive(Debug, Clone)]
pub enum Word {
    /// The same of every token.
    OfEvery(Served),
    /// Something of each token that it knows, as it stands in the form that asks; all others are not active.
    Of(BTreeMap<String, Served>),
}

impl Served {
    /// A good answer with this body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into() }
    }
}

/// An engine with everything around it, which remembers what requests have cost: limits, caches, pushed revocations.
#[derive(Debug)]
pub struct Session<'a> {
    filter: &'a Configured,
    engine: Engine,
    store: MemoryStore,
    answers: Answers,
    missing: BTreeSet<Missing>,
    last: u64,
}

impl<'a> Session<'a> {
    /// Starts the engine at `now`, and lets it fetch what it can.
    ///
    /// # Errors
    /// The engine refuses the configuration.
    pub fn start(filter: &'a Configured, answers: Answers, now: UnixNanos) -> Result<Self> {
        let configuration = filter.value.to_string();
        let look_up = |name: &str| Some(filter.environment.look_up(name));
        let mut engine = Engine::new(configuration.as_bytes(), &look_up, Seed([7; 32])).map_err(|e| anyhow!("{e}"))?;
        let store = MemoryStore::default();
        engine.on_start(&store, now);
        let mut session = Self { filter, engine, store, answers, missing: BTreeSet::new(), last: 0 };
        session.tick(&Nobody, now);
        Ok(session)
    }

    /// Gives other answers from now on.
    pub fn answer_with(&mut self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.answers);
    }

    /// Judges a request at `now`.
    pub fn judge(&mut self, headers: Vec<u8>, body: &[u8], attributes: &dyn Attributes, now: UnixNanos) -> Replayed {
        self.last = self.last.saturating_add(1);
        let id = RequestId(self.last);
        self.tick(attributes, now);
        // What happened until here is not about the request.
        let mut counts = Vec::new();
        self.engine.take_counts(&mut counts);
        self.engine.take_log();
        counts.clear();
        let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes };
        let mut step = self.engine.on_request_head(id, headers, ports, now);
        // A token with an unknown key waits for a newer key set, an opaque one for its issuer; what does not come fails
        // after a while.
        let mut later = now;
        for round in 0..200 {
            if step != Step::Hold {
                break;
            }
            later = later.plus(Duration::from_millis(if round < 100 { 20 } else { 1000 }));
            let resumed = self.tick(attributes, later).contains(&id);
            let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes };
            if resumed && let Some(next) = self.engine.resume(id, ports, now) {
                step = next;
            }
        }
        if let Step::NeedBody(wanted) = step {
            let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes };
            step = self.engine.on_body(id, Body::of(body, wanted), ports, now);
        }
        self.engine.end(id, &self.store, now);
        self.engine.take_counts(&mut counts);
        let decision = |(counter, _): &(CounterId, u64)| match counter {
            CounterId::Decision(rule, reason, verdict) => Some((usize::from(*rule), *reason, verdict.as_str())),
            _ => None,
        };
        Replayed {
            step,
            decisions: counts.iter().filter_map(decision).collect(),
            events: self.engine.take_log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect(),
            missing: self.missing.clone(),
        }
    }

    /// One tick, and all answers that it leads to. Gives the requests that may be judged again.
    fn tick(&mut self, attributes: &dyn Attributes, now: UnixNanos) -> Vec<RequestId> {
        let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes };
        let Actions { mut callouts, mut resume, .. } = self.engine.on_tick(ports, now);
        while let Some(fetch) = callouts.pop() {
            let result = self.answer(&fetch);
            let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes };
            let actions = self.engine.on_fetch_result(fetch.id, result, ports, now);
            resume.extend(actions.resume);
            callouts.extend(actions.callouts);
        }
        resume
    }

    fn answer(&mut self, fetch: &Callout) -> FetchResult {
        let (served, missing) = self.find(fetch);
        self.missing.extend(missing.filter(|_| served.is_none()));
        let Some(served) = served else { return FetchResult::NoAnswer };
        let status = [(":status".to_owned(), served.status.to_string())];
        let headers: Vec<(String, String)> = status.into_iter().chain(served.headers).collect();
        let body = served.body.into_iter().take(fetch.max_response_bytes.saturating_add(1)).collect();
        serialised(&headers).map_or(FetchResult::NoAnswer, |headers| FetchResult::Answer {
            headers,
            trailers: Vec::new(),
            body,
        })
    }

    /// The answer to a question, and what is missing where there is none.
    fn find(&self, fetch: &Callout) -> (Option<Served>, Option<Missing>) {
        let policy = &self.filter.policy;
        for source in policy.key_set_sources.iter().filter(|source| source.cluster == fetch.cluster) {
            let given = self.answers.key_sets.get(&source.provider);
            let missing = Missing::KeySet(source.provider.clone());
            match &source.location {
                Location::Jwks { path, .. } if *path == fetch.path => return (given.cloned(), Some(missing)),
                // The metadata lead to the key set that was given, wherever it is in truth.
                Location::Discovery { .. } if fetch.path == DISCOVERED_PATH => return (given.cloned(), Some(missing)),
                Location::Discovery { issuer, .. } if fetch.path.ends_with("/.well-known/openid-configuration") => {
                    let jwks_uri = format!("https://{}{DISCOVERED_PATH}", fetch.authority);
                    let metadata = json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string();
                    return (given.map(|_| Served::ok(metadata)), Some(missing));
                }
                _ => {}
            }
        }
        let is_asked = |cluster: &str, path: &str| cluster == fetch.cluster && path == fetch.path;
        if let Some(source) = policy.introspections.iter().find(|source| is_asked(&source.cluster, &source.path)) {
            let form = String::from_utf8_lossy(&fetch.body);
            let token = form.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
            let said = self.answers.introspections.get(&source.provider).map(|word| match word {
                Word::OfEvery(served) => served.clone(),
                Word::Of(known) => known.get(token).cloned().unwrap_or_else(|| Served::ok("{\"active\": false}")),
            });
            return (said, Some(Missing::Introspection(source.provider.clone())));
        }
        if policy.limit_service.as_ref().is_some_and(|service| service.cluster == fetch.cluster) {
            // A gRPC message with `overall_code: OK`: what the service has counted, nobody knows here.
            let admitted = Served { status: 200, headers: grpc_headers(), body: vec![0, 0, 0, 0, 2, 8, 1] };
            return (Some(admitted), None);
        }
        if policy.revocation.list.as_ref().is_some_and(|list| is_asked(&list.cluster, &list.path)) {
            return (self.answers.revocation_list.clone(), Some(Missing::RevocationList));
        }
        for list in &policy.address_lists {
            if let AddressSource::Feed(feed) = &list.source
                && is_asked(&feed.source.cluster, &feed.source.path)
            {
                let given = self.answers.address_lists.get(&list.name).cloned();
                return (given, Some(Missing::AddressList(list.name.clone())));
            }
        }
        (None, None)
    }
}

fn grpc_headers() -> Vec<(String, String)> {
    let lines = [("content-type", "application/grpc"), ("grpc-status", "0")];
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Where discovered key sets are found.
const DISCOVERED_PATH: &str = "/explain/jwks.json";

/// Ticks are about no request.
struct Nobody;

impl Attributes for Nobody {
    fn source_address(&self) -> Option<std::net::IpAddr> {
        None
    }

    fn route_policy(&self) -> Option<Vec<u8>> {
        None
    }
}
