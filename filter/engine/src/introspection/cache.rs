//! Answers that need no second question, good and bad ones in separate room.

use std::rc::Rc;
use std::time::Duration;

use super::active::ActiveToken;
use super::answer::{Refusal, Verdict};
use super::source::IntrospectionSource;
use super::token_key::TokenKey;
use crate::claims::Claims;
use crate::generations::Generations;
use crate::time::UnixNanos;

/// What an entry costs beside its claims: map slots, key, times.
const ENTRY_OVERHEAD: usize = 512;
/// Parsed claims take a multiple of their JSON text.
const CLAIMS_FACTOR: usize = 3;
/// What a refusal costs.
const REFUSAL_BYTES: usize = 128;
/// This part of the room is for refusals.
const REFUSAL_SHARE: usize = 8;

/// Counts since the last [`Introspection::take_counts`](super::Introspection::take_counts), over all providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounts {
    /// Active tokens found.
    pub hits: u64,
    /// Refused tokens found.
    pub negative_hits: u64,
    /// Tokens not found.
    pub misses: u64,
    /// Active tokens dropped for want of room.
    pub evicted: u64,
    /// Refused tokens dropped for want of room.
    pub negative_evicted: u64,
}

/// The answers of one provider.
#[derive(Debug)]
pub(super) struct Cache {
    active: Generations<TokenKey, Kept<Rc<ActiveToken>>>,
    refused: Generations<TokenKey, Kept<Refusal>>,
    times: (Duration, Duration),
    counts: CacheCounts,
}

#[derive(Debug, Clone)]
struct Kept<T> {
    what: T,
    since: UnixNanos,
}

impl<T> Kept<T> {
    /// Younger than `span`. After a step back of the clock it counts as new, but not when the step is longer than `span`.
    fn is_fresh(&self, span: Duration, now: UnixNanos) -> bool {
        now.since(self.since) < span && self.since <= now.plus(span)
    }
}

impl Cache {
    pub fn new(source: &IntrospectionSource, seed: (u64, u64)) -> Self {
        let for_refusals = source.max_cache_bytes / REFUSAL_SHARE;
        Self {
            active: Generations::new(source.max_cache_bytes.saturating_sub(for_refusals), seed),
            refused: Generations::new(for_refusals, seed),
            times: (source.cache, source.negative_cache),
            counts: CacheCounts::default(),
        }
    }

    pub fn get(&mut self, key: TokenKey, now: UnixNanos) -> Option<Verdict> {
        let (cache, negative_cache) = self.times;
        if let Some(kept) = self.active.get(&key) {
            if kept.is_fresh(cache, now) && kept.what.still_valid(now) {
                self.counts.hits = self.counts.hits.saturating_add(1);
                return Some(Verdict::Active(kept.what));
            }
            // Past `exp` the server is asked again, too: it may have prolonged the token.
            self.active.remove(&key);
        }
        if let Some(kept) = self.refused.get(&key) {
            if kept.is_fresh(negative_cache, now) {
                self.counts.negative_hits = self.counts.negative_hits.saturating_add(1);
                return Some(Verdict::Refused(kept.what));
            }
            self.refused.remove(&key);
        }
        self.counts.misses = self.counts.misses.saturating_add(1);
        None
    }

    /// Keeps an answer of `answer_bytes`.
    pub fn insert(&mut self, key: TokenKey, verdict: &Verdict, answer_bytes: usize, now: UnixNanos) {
        let (cache, negative_cache) = self.times;
        self.remove(key);
        match verdict {
            Verdict::Active(token) if !cache.is_zero() => {
                let bytes = answer_bytes.saturating_mul(CLAIMS_FACTOR).saturating_add(ENTRY_OVERHEAD);
                self.active.insert(key, Kept { what: Rc::clone(token), since: now }, bytes);
            }
            Verdict::Refused(refusal) if !negative_cache.is_zero() => {
                self.refused.insert(key, Kept { what: *refusal, since: now }, REFUSAL_BYTES);
            }
            _ => {}
        }
    }

    pub fn remove(&mut self, key: TokenKey) {
        self.active.remove(&key);
        self.refused.remove(&key);
    }

    pub fn remove_where(&mut self, predicate: impl Fn(&Claims) -> bool) {
        self.active.retain(|_, kept| !predicate(kept.what.claims()));
    }

    pub fn clear(&mut self) {
        self.active.clear();
        self.refused.clear();
    }

    /// Adds the counts since the last call to `counts`.
    pub fn drain_counts(&mut self, counts: &mut CacheCounts) {
        let own = std::mem::take(&mut self.counts);
        counts.hits = counts.hits.saturating_add(own.hits);
        counts.negative_hits = counts.negative_hits.saturating_add(own.negative_hits);
        counts.misses = counts.misses.saturating_add(own.misses);
        counts.evicted = counts.evicted.saturating_add(self.active.take_evicted());
        counts.negative_evicted = counts.negative_evicted.saturating_add(self.refused.take_evicted());
    }
}
