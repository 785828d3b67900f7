//! Runs the engine on one request, with key sets from files.

use std::time::Duration;

use anyhow::{Result, anyhow};
use portcullis_engine::answer::Reason;
use portcullis_engine::key_sets::Location;
use portcullis_engine::ports::memory::MemoryStore;
use portcullis_engine::ports::{Ports, SoftwareOnly};
use portcullis_engine::time::UnixNanos;
use portcullis_engine::{Actions, Callout, CounterId, Engine, FetchResult, RequestId, Seed, Step};
use serde_json::Value;

use super::request::{Attributes, serialised};
use crate::configured::Configured;

/// What became of the request.
#[derive(Debug)]
pub struct Replayed {
    /// What is to be done with it.
    pub step: Step,
    /// Each decision: the rule's index, the reason, `allowed`, `denied` or `monitored`.
    pub decisions: Vec<(usize, Reason, &'static str)>,
    /// The audit events.
    pub events: Vec<Value>,
    /// Providers whose key set was wanted and not given.
    pub missing_keys: Vec<String>,
}

const REQUEST: RequestId = RequestId(1);

/// Judges a request at `now`.
///
/// # Errors
/// The engine refuses the configuration.
pub fn judge(
    filter: &Configured,
    headers: Vec<u8>,
    attributes: &Attributes,
    key_sets: &[(String, Vec<u8>)],
    now: UnixNanos,
) -> Result<Replayed> {
    let configuration = filter.value.to_string();
    let look_up = |name: &str| Some(filter.environment.look_up(name));
    let mut engine = Engine::new(configuration.as_bytes(), &look_up, Seed([7; 32])).map_err(|e| anyhow!("{e}"))?;
    let store = MemoryStore::default();
    let ports = Ports { store: &store, signatures: &SoftwareOnly, attributes };
    engine.on_start(&store, now);
    let mut provider = Provider { filter, key_sets, missing: Vec::new() };
    let actions = engine.on_tick(ports, now);
    provider.serve(&mut engine, actions, ports, now);
    // What happened until here is not about the request.
    let mut counts = Vec::new();
    engine.take_counts(&mut counts);
    engine.take_log();
    let mut step = engine.on_request_head(REQUEST, headers, ports, now);
    // A token with an unknown key waits for a newer key set; a missing one fails after a while.
    let mut later = now;
    for _ in 0..120 {
        if step != Step::Hold {
            break;
        }
        later = later.plus(Duration::from_secs(1));
        let actions = engine.on_tick(ports, later);
        if provider.serve(&mut engine, actions, ports, later)
            && let Some(next) = engine.resume(REQUEST, ports, now)
        {
            step = next;
        }
    }
    engine.take_counts(&mut counts);
    let decision = |(counter, _): &(CounterId, u64)| match counter {
        CounterId::Decision(rule, reason, verdict) => Some((usize::from(*rule), *reason, verdict.as_str())),
        _ => None,
    };
    Ok(Replayed {
        step,
        decisions: counts.iter().filter_map(decision).collect(),
        events: engine.take_log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect(),
        missing_keys: provider.missing,
    })
}

/// Answers fetches from files.
struct Provider<'a> {
    filter: &'a Configured,
    key_sets: &'a [(String, Vec<u8>)],
    missing: Vec<String>,
}

impl Provider<'_> {
    /// Answers all fetches, and those that they cause. Gives whether the request may be judged again.
    fn serve(&mut self, engine: &mut Engine, actions: Actions, ports: Ports<'_>, now: UnixNanos) -> bool {
        let mut resumed = actions.resume.contains(&REQUEST);
        let mut fetches = actions.callouts;
        while let Some(fetch) = fetches.pop() {
            let result = self.answer(&fetch);
            let actions = engine.on_fetch_result(fetch.id, result, ports, now);
            resumed |= actions.resume.contains(&REQUEST);
            fetches.extend(actions.callouts);
        }
        resumed
    }

    fn answer(&mut self, fetch: &Callout) -> FetchResult {
        let is_asked = |location: &Location| matches!(location, Location::Jwks { path, .. } if *path == fetch.path);
        let mut sources = self.filter.policy.key_set_sources.iter();
        let source = sources.find(|source| source.cluster == fetch.cluster && is_asked(&source.location));
        let Some(source) = source else { return FetchResult::NoAnswer };
        let given = self.key_sets.iter().find(|(provider, _)| *provider == source.provider);
        let status = [(":status".to_owned(), "200".to_owned())];
        match (given, serialised(&status)) {
            (Some((_, keys)), Ok(headers)) => FetchResult::Answer { headers, body: keys.clone() },
            _ => {
                if !self.missing.contains(&source.provider) {
                    self.missing.push(source.provider.clone());
                }
                FetchResult::NoAnswer
            }
        }
    }
}
