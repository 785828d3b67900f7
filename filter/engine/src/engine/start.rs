//! How an engine begins: from a configuration, and with its worker.

use std::collections::HashMap;
use std::time::Duration;

use super::{Engine, Seed};
use crate::addresses::AddressLists;
use crate::bans::Bans;
use crate::callout::CalloutIds;
use crate::config::Problems;
use crate::counters::{CounterId, Counters};
use crate::global_limits::Questions;
use crate::internal_token::Minter;
use crate::introspection::Introspection;
use crate::jwt::KeySet;
use crate::key_sets::{KeySets, WaitLimits};
use crate::limiter::Limiter;
use crate::payload::Inspector;
use crate::policy::{Environment, Policy};
use crate::ports::SharedStore;
use crate::revocation::{self, Revocations, Seeds};
use crate::surge::Surges;
use crate::time::UnixNanos;
use crate::token_cache::TokenCache;

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
        let policy = &self.policy;
        let service = policy.limit_service.as_ref();
        self.limiter = Limiter::new(&policy.limits, service, policy.limit_headers, store, self.seed.half());
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

/// The tag of introspection's callout ids; zero is that of the key sets.
const INTROSPECTION_IDS: u8 = 1;
/// ... of questions about global limits.
const LIMIT_SERVICE_IDS: u8 = 4;
