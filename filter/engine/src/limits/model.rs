//! A model check of the table: every interleaving of a few workers, at every call to the shared data.
//!
//! The workers run the production code. A worker is advanced by one call at a time by running it again from its start: the
//! answers that it has had are replayed from its log, the next call goes to the store, and every later one fails, which makes
//! the code give up; what it then returns is thrown away. The search goes depth first over all choices of the next
//! worker, and visits a state (the store and all logs) once.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::num::{NonZeroU32, NonZeroU64};
use std::rc::Rc;
use std::time::Duration;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::table::{Admitted, Charge, Demand, Overflow, Table};
use super::{Algorithm, Seed, fixed_window, gcra, sliding_window, take_all};
use crate::ports::{Expected, SharedStore, StoreUnavailable, Version, WriteOutcome};
use crate::time::UnixNanos;

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

/// A stored value: shared between all the states that hold it, and told apart by its version and the hash of its bytes.
#[derive(Debug, Clone)]
struct Value {
    bytes: Rc<[u8]>,
    hash: u64,
    version: Version,
}

#[derive(Debug, Clone)]
enum Answer {
    Got(Option<Value>),
    Wrote(WriteOutcome),
}

/// The shared data, copied at every branch of the search.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    values: BTreeMap<Rc<str>, Value>,
    writes: u32,
}

impl Shared {
    /// The same data, to be asked at the end.
    pub(crate) fn to_store(&self) -> crate::ports::memory::MemoryStore {
        let store = crate::ports::memory::MemoryStore::default();
        for (key, value) in &self.values {
            store.compare_and_set(key, &value.bytes, Expected::Absent).unwrap();
        }
        store
    }

    fn get(&self, key: &str) -> Answer {
        Answer::Got(self.values.get(key).cloned())
    }

    fn compare_and_set(&mut self, key: &str, bytes: &[u8], expected: Expected) -> Answer {
        let standing = self.values.get(key).map(|value| value.version);
        let wanted = match expected {
            Expected::Absent => None,
            Expected::Unchanged(version) => Some(version),
        };
        if standing != wanted {
            return Answer::Wrote(WriteOutcome::Conflict);
        }
        self.writes += 1;
        let version = Version(NonZeroU32::new(self.writes).unwrap());
        let hash = SipHasher13::new().hash(bytes).h1;
        self.values.insert(key.into(), Value { bytes: bytes.into(), hash, version });
        Answer::Wrote(WriteOutcome::Written)
    }
}

/// The store as one worker sees it while it is run again: its log, one new call, then nothing.
struct Step {
    inner: RefCell<Inner>,
}

struct Inner {
    shared: Shared,
    log: Vec<Answer>,
    replayed: usize,
    stepped: bool,
}

impl Step {
    fn next(&self, call: impl FnOnce(&mut Shared) -> Answer) -> Result<Answer, StoreUnavailable> {
        let mut inner = self.inner.borrow_mut();
        if let Some(answer) = inner.log.get(inner.replayed).cloned() {
            inner.replayed += 1;
            return Ok(answer);
        }
        if inner.stepped {
            inner.replayed = usize::MAX;
            return Err(StoreUnavailable);
        }
        let answer = call(&mut inner.shared);
        inner.stepped = true;
        inner.log.push(answer.clone());
        inner.replayed += 1;
        Ok(answer)
    }
}

impl SharedStore for Step {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Version)>, StoreUnavailable> {
        match self.next(|shared| shared.get(key))? {
            Answer::Got(value) => Ok(value.map(|value| (value.bytes.to_vec(), value.version))),
            Answer::Wrote(_) => panic!("the worker is not deterministic"),
        }
    }

    fn compare_and_set(&self, key: &str, value: &[u8], expected: Expected) -> Result<WriteOutcome, StoreUnavailable> {
        match self.next(|shared| shared.compare_and_set(key, value, expected))? {
            Answer::Wrote(outcome) => Ok(outcome),
            Answer::Got(_) => panic!("the worker is not deterministic"),
        }
    }
}

/// A worker's requests, one after the other: what became of each.
pub(crate) type Worker<'a> = &'a dyn Fn(&dyn SharedStore) -> Vec<Outcome>;
/// The cost that was admitted, by limit; empty if the request was refused.
pub(crate) type Outcome = Vec<u64>;

#[derive(Clone)]
struct State {
    shared: Shared,
    logs: Vec<Vec<Answer>>,
    done: Vec<Option<Vec<Outcome>>>,
}

impl State {
    /// A hash that stands for the whole state: 128 bits, so that no two states of a search are taken for one.
    fn fingerprint(&self) -> u128 {
        let mut hasher = SipHasher13::new();
        for (key, value) in &self.shared.values {
            (key, value.hash, value.version.0).hash(&mut hasher);
        }
        for answer in self.logs.iter().flatten() {
            match answer {
                Answer::Got(value) => value.as_ref().map(|value| (value.hash, value.version.0)).hash(&mut hasher),
                Answer::Wrote(outcome) => (*outcome == WriteOutcome::Written).hash(&mut hasher),
            }
        }
        let lengths: Vec<_> = self.logs.iter().map(Vec::len).collect();
        (lengths, &self.done).hash(&mut hasher);
        hasher.finish128().as_u128()
    }
}

/// What the search found.
pub(crate) struct Explored {
    pub(crate) states: usize,
    /// Every end: the store, and the outcomes of all workers.
    pub(crate) ends: Vec<(Shared, Vec<Vec<Outcome>>)>,
}

/// Runs every interleaving of `workers`, starting from an empty store.
pub(crate) fn explore(workers: &[Worker<'_>]) -> Explored {
    let start =
        State { shared: Shared::default(), logs: vec![Vec::new(); workers.len()], done: vec![None; workers.len()] };
    let (mut seen, mut open, mut ends) = (HashSet::from([start.fingerprint()]), vec![start], Vec::new());
    while let Some(state) = open.pop() {
        if state.done.iter().all(Option::is_some) {
            ends.push((state.shared, state.done.into_iter().flatten().collect()));
            continue;
        }
        for (index, worker) in workers.iter().enumerate().filter(|(index, _)| state.done[*index].is_none()) {
            let mut next = state.clone();
            let inner = Inner { shared: next.shared, log: next.logs[index].clone(), replayed: 0, stepped: false };
            let step = Step { inner: RefCell::new(inner) };
            let outcomes = worker(&step);
            let inner = step.inner.into_inner();
            // It came to its end if it made no call after the new one.
            if inner.replayed <= inner.log.len() {
                next.done[index] = Some(outcomes);
            }
            (next.shared, next.logs[index]) = (inner.shared, inner.log);
            if seen.insert(next.fingerprint()) {
                open.push(next);
            }
        }
    }
    Explored { states: seen.len(), ends }
}

fn table(name: &str, overflow: Overflow) -> Table {
    Table::new(name, NonZeroU32::MIN, Duration::from_secs(3600), overflow, Seed::from_bytes([1; 16])).unwrap()
}

fn gcra(burst: u64) -> Algorithm {
    let burst = NonZeroU64::new(burst).unwrap();
    Algorithm::Gcra(gcra::Quota::new(NonZeroU64::MIN, Duration::from_secs(60), burst).unwrap())
}

fn all_algorithms(limit: u64) -> [Algorithm; 3] {
    let (limit_, day) = (NonZeroU64::new(limit).unwrap(), Duration::from_secs(86_400));
    [
        gcra(limit),
        Algorithm::FixedWindow(fixed_window::Quota::new(limit_, day).unwrap()),
        Algorithm::SlidingWindow(sliding_window::Quota::new(limit_, day).unwrap()),
    ]
}

fn demand<'a>(table: &'a Table, algorithm: Algorithm) -> Demand<'a> {
    Demand { table, descriptor: b"alice", algorithm, cost: 1 }
}

fn one(result: Option<Admitted>) -> Outcome {
    result.map_or_else(Vec::new, |_| vec![1])
}

fn admitted(end: &[Vec<Outcome>], limit: usize) -> u64 {
    end.iter().flatten().filter_map(|outcome| outcome.get(limit)).sum()
}

/// What the counter has left at the end, asked with the production code.
fn remaining(shared: &Shared, demand: &Demand<'_>) -> u64 {
    let step =
        Step { inner: RefCell::new(Inner { shared: shared.clone(), log: Vec::new(), replayed: 0, stepped: false }) };
    demand.standing(&step, NOW).unwrap().unwrap().remaining
}

fn assert_exact(workers: usize, takes: usize, limit: u64, algorithm: Algorithm) -> usize {
    let table = table("t", Overflow::Deny);
    let run = |store: &dyn SharedStore| {
        (0..takes).map(|_| one(demand(&table, algorithm).take(store, NOW).ok())).collect::<Vec<_>>()
    };
    let explored = explore(&vec![&run as Worker<'_>; workers]);
    let asked = u64::try_from(workers * takes).unwrap();
    assert!(!explored.ends.is_empty());
    for (shared, end) in &explored.ends {
        // Never more than the limit, never less while there is a demand, and the store knows of every one.
        assert_eq!(admitted(end, 0), asked.min(limit));
        assert_eq!(remaining(shared, &demand(&table, algorithm)), limit.saturating_sub(asked));
    }
    explored.states
}

#[test]
fn two_workers_admit_exactly_the_limit_in_every_interleaving() {
    for algorithm in all_algorithms(3) {
        let states = assert_exact(2, 3, 3, algorithm);
        assert!(states > 100, "{states}");
    }
}

#[test]
fn three_workers_admit_exactly_the_limit_in_every_interleaving() {
    for algorithm in all_algorithms(2) {
        let states = assert_exact(3, 2, 2, algorithm);
        assert!(states > 1_000, "{states}");
    }
}

#[test]
fn no_charge_is_lost_while_the_limit_is_not_reached() {
    for algorithm in all_algorithms(9) {
        assert_exact(2, 3, 9, algorithm);
        assert_exact(3, 1, 9, algorithm);
    }
}

#[test]
fn a_store_without_compare_would_be_caught() {
    // The check checks itself: a worker that reads and then writes without a comparison loses charges.
    let careless = |store: &dyn SharedStore| {
        let before = store.get("k").ok().flatten().map_or(0, |(value, _)| value.len());
        let (_, version) = store.get("k").ok().flatten().unzip();
        let expected = version.map_or(Expected::Absent, Expected::Unchanged);
        let _ = store.compare_and_set("k", &vec![0; before + 1], expected);
        vec![vec![1]]
    };
    let explored = explore(&[&careless, &careless]);
    assert!(explored.ends.iter().any(|(shared, _)| shared.values["k"].bytes.len() < 2));
}

#[test]
fn workers_with_different_clocks_admit_no_more() {
    let table = table("t", Overflow::Deny);
    let at = |now: UnixNanos| {
        let table = &table;
        move |store: &dyn SharedStore| {
            (0..2).map(|_| one(demand(table, gcra(2)).take(store, now).ok())).collect::<Vec<_>>()
        }
    };
    let (early, late) = (at(NOW), at(NOW.plus(Duration::from_millis(50))));
    for (_, end) in explore(&[&early, &late]).ends {
        assert_eq!(admitted(&end, 0), 2);
    }
}

#[test]
fn a_refund_under_way_never_admits_more_than_the_limit() {
    let (wide, narrow) = (table("wide", Overflow::Deny), table("narrow", Overflow::Deny));
    for (wide_quota, narrow_quota) in all_algorithms(3).into_iter().zip(all_algorithms(1)) {
        let asking = |times: u32, store: &dyn SharedStore| {
            let demands = [demand(&wide, wide_quota), demand(&narrow, narrow_quota)];
            (0..times)
                .map(|_| {
                    let mut admitted = Vec::new();
                    let taken = take_all(store, &demands, NOW, &mut admitted);
                    assert_eq!(admitted.len(), if taken.is_ok() { 2 } else { 0 });
                    vec![1; admitted.len()]
                })
                .collect::<Vec<_>>()
        };
        let (once, twice) = (|store: &dyn SharedStore| asking(1, store), |store: &dyn SharedStore| asking(2, store));
        let wide_only = |store: &dyn SharedStore| {
            (0..2).map(|_| one(demand(&wide, wide_quota).take(store, NOW).ok())).collect::<Vec<_>>()
        };
        let mut all = 0;
        for workers in [vec![&twice as Worker<'_>, &twice], vec![&once, &once, &wide_only]] {
            let explored = explore(&workers);
            all += explored.states;
            for (shared, end) in &explored.ends {
                let (on_wide, on_narrow) = (admitted(end, 0), admitted(end, 1));
                assert!(on_wide <= 3 && on_narrow <= 1, "{end:?}");
                // What was refused has left nothing behind: the counters know exactly what was admitted.
                assert_eq!(remaining(shared, &demand(&wide, wide_quota)), 3 - on_wide);
                assert_eq!(remaining(shared, &demand(&narrow, narrow_quota)), 1 - on_narrow);
            }
        }
        assert!(all > 1_000, "{all}");
    }
}

#[test]
fn a_refund_that_runs_against_charges_gives_back_once() {
    let table = table("t", Overflow::Deny);
    for algorithm in all_algorithms(2) {
        let refunding = |store: &dyn SharedStore| {
            let Ok(taken) = demand(&table, algorithm).take(store, NOW) else { return vec![Vec::new()] };
            let charge: Charge = taken.charge.unwrap();
            let first = table.give_back(store, &charge, NOW) == Ok(true);
            // Its cost counts as admitted only if the refund was not made.
            vec![vec![u64::from(!first)]]
        };
        let taking = |store: &dyn SharedStore| {
            (0..2).map(|_| one(demand(&table, algorithm).take(store, NOW).ok())).collect::<Vec<_>>()
        };
        let explored = explore(&[&refunding, &taking, &refunding]);
        for (shared, end) in &explored.ends {
            let standing = admitted(end, 0);
            assert!(standing <= 2);
            assert_eq!(remaining(shared, &demand(&table, algorithm)), 2 - standing);
        }
    }
}

#[test]
fn a_debt_that_runs_against_charges_is_never_lost() {
    let table = table("t", Overflow::Deny);
    for algorithm in all_algorithms(4) {
        // A request that turns out to have cost three in all.
        let owing = |store: &dyn SharedStore| {
            let Ok(taken) = demand(&table, algorithm).take(store, NOW) else { return vec![Vec::new()] };
            let stored = table.owe(store, &taken.charge.unwrap(), 2, NOW);
            vec![vec![1, if matches!(stored, Ok(Some(_))) { 2 } else { 0 }]]
        };
        let taking = |store: &dyn SharedStore| {
            (0..2).map(|_| one(demand(&table, algorithm).take(store, NOW).ok())).collect::<Vec<_>>()
        };
        for (shared, end) in &explore(&[&owing, &taking, &owing]).ends {
            let (taken, owed) = (admitted(end, 0), admitted(end, 1));
            // What is admitted stays within the limit, and only what was used beyond it is a debt.
            assert!(taken <= 4 && (owed == 2 || owed == 4), "{end:?}");
            let step = Step {
                inner: RefCell::new(Inner { shared: shared.clone(), log: Vec::new(), replayed: 0, stepped: false }),
            };
            let left = match demand(&table, algorithm).standing(&step, NOW) {
                Ok(standing) => standing.unwrap().remaining,
                Err(_) => 0,
            };
            assert_eq!(left, 4u64.saturating_sub(taken + owed), "{end:?}");
        }
    }
}

#[test]
fn the_last_place_in_a_bucket_goes_to_one_client() {
    let table = table("t", Overflow::SharedBucket);
    let fill = |store: &dyn SharedStore| {
        for client in 0..31u8 {
            Demand { descriptor: &[client], ..demand(&table, gcra(1)) }.take(store, NOW).unwrap();
        }
    };
    // One worker is alone until it has filled all but one place: the search starts there.
    let store = crate::ports::memory::MemoryStore::default();
    fill(&store);
    let key = &table.first_key();
    let (bytes, _) = store.get(key).unwrap().unwrap();
    let newcomer = |client: &'static [u8]| {
        let (table, bytes) = (&table, bytes.clone());
        move |store: &dyn SharedStore| {
            // Whoever comes first lays the table.
            let _ = store.compare_and_set(key, &bytes, Expected::Absent);
            let demand = Demand { descriptor: client, ..demand(table, gcra(1)) };
            (0..2)
                .map(|_| match demand.take(store, NOW) {
                    Ok(admitted) if admitted.overflowed => vec![0, 1],
                    Ok(_) => vec![1, 0],
                    Err(_) => Vec::new(),
                })
                .collect::<Vec<_>>()
        }
    };
    let (one, two, three) = (newcomer(b"one"), newcomer(b"two"), newcomer(b"three"));
    for (shared, end) in explore(&[&one, &two, &three]).ends {
        // One has the place, the two others share one request.
        assert_eq!((admitted(&end, 0), admitted(&end, 1)), (1, 1));
        assert_eq!(shared.values.len(), 2);
    }
}
