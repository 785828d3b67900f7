//! What goes on between requests: timers, and the answers of other services.

use std::rc::Rc;
use std::time::Duration;

use super::{Actions, Engine, FetchResult, REPLAY_CAPACITY, plain_text};
use crate::addresses::{self, AddressLists};
use crate::answer::Reason;
use crate::callout::Callout;
use crate::counters::CounterId;
use crate::global_limits::{self, Questions};
use crate::http::{Headers, Method};
use crate::introspection;
use crate::key_sets::{self, Event, EventKind, Fetch, FetchId, FetchOutcome, Resume};
use crate::limits;
use crate::ports::{Ports, SharedStore};
use crate::proof::{NonceIssuer, ReplayStore};
use crate::revocation::Revocations;
use crate::shared_list::Words;
use crate::time::UnixNanos;

impl Engine {
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
    pub(super) fn lease_tick(&self) -> Duration {
        if self.limiter.counts_in_flight() { limits::lease::TICK } else { Duration::MAX }
    }

    pub(super) fn renew_slots(&mut self, store: &dyn SharedStore, now: UnixNanos) {
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
            self.take_up_leases(&ended.leases, ports.store, now);
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

    /// Takes up what happened to lists of addresses.
    pub(super) fn take_up_lists(&mut self, feeds: addresses::Actions) -> Actions {
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

    pub(super) fn log_revocations(&mut self) {
        for event in self.revocations.take_events() {
            self.counters.add(CounterId::Revocation(event.name()));
            if event.is_trouble() {
                self.log.push(format!("portcullis: revocation: {event}"));
            }
        }
    }

    /// Takes up what introspection endpoints said.
    pub(super) fn take_up_answers(&mut self, asked: introspection::Actions, actions: &mut Actions) {
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
    pub(super) fn take_up_limit_service(&mut self, ended: global_limits::Actions, actions: &mut Actions) {
        self.log.extend(ended.events.iter().map(|event| format!("portcullis: limit service: {event}")));
        actions.resume.extend(ended.resume);
    }

    /// Tells the leases what the service has said. It comes before anybody goes on.
    fn take_up_leases(
        &mut self,
        leases: &[(u16, global_limits::Holder, global_limits::News)],
        store: &dyn SharedStore,
        now: UnixNanos,
    ) {
        for (limit, holder, news) in leases {
            if let Some(event) = self.limiter.heed_lease(*limit, holder, *news, store, now) {
                self.counters.add(CounterId::Limit(*limit, event));
            }
        }
    }

    /// Takes up what the key sets report.
    pub(super) fn take_up(&mut self, actions: key_sets::Actions, now: UnixNanos) -> Actions {
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

    pub(super) fn on_key_set_event(&mut self, event: &Event, now: UnixNanos) {
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
        let given_at = match event.kind {
            EventKind::Fetched { .. } => Some(now),
            EventKind::Loaded { fetched_at, .. } => Some(fetched_at),
            _ => None,
        };
        self.key_sets_given.extend(given_at.map(|at| (index, at)));
        self.counters.add(CounterId::Provider(index, event.kind.name()));
        if event.kind.is_trouble() {
            self.log.push(format!("portcullis: provider {}: {}", event.provider, event.kind));
        }
    }

    /// The stores of proofs, where a provider takes DPoP.
    pub(super) fn open_proofs(&mut self, store: &dyn SharedStore, now: UnixNanos) {
        let Some((max_age, leeway)) = self.policy.proof_window() else { return };
        let seed = limits::Seed::shared(store, self.seed.half()).ok();
        self.replays = seed.and_then(|seed| ReplayStore::new("dpop", REPLAY_CAPACITY, max_age, leeway, seed).ok());
        if self.policy.wants_nonces() {
            self.open_nonces(store, now);
        }
    }

    pub(super) fn open_nonces(&mut self, store: &dyn SharedStore, now: UnixNanos) {
        const SLOT: Duration = Duration::from_secs(60);
        // One that could not be opened leaves the old one in place: its nonces end by themselves.
        if let Ok(nonces) = NonceIssuer::shared(store, self.seed.0, SLOT, now) {
            self.nonces = Some(nonces);
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
