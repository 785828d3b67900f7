//! A module for the bench: how long a hit on one limit takes, beside a get and a set of a value of the same size.
//!
//! A request costs far more than the hit, and differs far more from the next one. Here nothing stands around the hit but a loop, in
//! batches: their median says what a hit costs, whatever else the machine does. The log gets one line for each measurement.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use portcullis_engine::limits::{Algorithm, Demand, Descriptor, Overflow, PartKind, Seed, Table, gcra, headers};
use portcullis_engine::ports::{Expected, SharedStore};
use proxy_wasm::traits::{Context, RootContext};

use self::host::{Level, ProxyHost};

#[path = "../src/allocator.rs"]
mod allocator;
#[allow(dead_code)]
#[path = "../src/host.rs"]
mod host;

#[allow(unsafe_code)]
mod start {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(super::Root { is_done: false }));
    }}
}

struct Root {
    is_done: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        host::set_tick_period(100);
        true
    }

    fn on_tick(&mut self) {
        if !std::mem::replace(&mut self.is_done, true) {
            for clients in [1, 100_000, 1_000_000] {
                measure(clients);
            }
            host::log(Level::Info, "hits: done");
        }
    }
}

/// Each batch is short beside the time for which a system lets a thread run.
const BATCHES: usize = 1_000;
const BATCH: u64 = 100;
/// As many clients as are measured at most.
const CAPACITY: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();
/// The value of a bucket with its thirty-two counters.
const VALUE_BYTES: usize = 1_025;

/// Both by turns, so that both meet the machine as it is.
fn measure(clients: u64) {
    let store: &dyn SharedStore = &ProxyHost::without_signatures();
    let limit = Limit::new(store, clients);
    let keys: Vec<String> = (0..limit.buckets).map(|number| format!("floor/{clients}/{number:06}")).collect();
    let value = vec![1; VALUE_BYTES];
    for key in &keys {
        store.compare_and_set(key, &value, Expected::Absent).unwrap();
    }
    (0..clients).for_each(|client| limit.hit(store, client));
    let (mut hits, mut floors) = (Vec::new(), Vec::new());
    let mut random = 99_u64;
    for _ in 0..BATCHES {
        // A linear congruential generator; its upper bits will do.
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            random >> 33
        };
        let chosen: Vec<u64> = (0..BATCH).map(|_| next() % clients).collect();
        hits.push(timed(|| chosen.iter().for_each(|client| limit.hit(store, *client))));
        let chosen: Vec<&String> = (0..BATCH).filter_map(|_| keys.get(next() as usize % keys.len())).collect();
        floors.push(timed(|| chosen.iter().for_each(|key| get_and_set(store, key))));
    }
    host::log(Level::Info, &format!("hits: clients {clients} hit {} floor {}", median(hits), median(floors)));
}

fn get_and_set(store: &dyn SharedStore, key: &str) {
    let (value, version) = store.get(key).unwrap().unwrap();
    store.compare_and_set(key, &value, Expected::Unchanged(version)).unwrap();
}

/// Nanoseconds for one of a batch.
fn timed(batch: impl FnOnce()) -> u64 {
    let before = host::now();
    batch();
    host::now().0.saturating_sub(before.0) / BATCH
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0)
}

struct Limit {
    name: String,
    table: Table,
    algorithm: Algorithm,
    /// How many buckets so many clients fill.
    buckets: u64,
}

impl Limit {
    fn new(store: &dyn SharedStore, clients: u64) -> Self {
        let most = NonZeroU64::new(1_000_000).unwrap();
        let quota = gcra::Quota::new(most, Duration::from_secs(86_400), most).unwrap();
        let seed = Seed::shared(store, [7; 16]).unwrap();
        let name = format!("limit-{clients}");
        let table = Table::new(&name, CAPACITY, quota.longest_debt(), Overflow::Deny, seed).unwrap();
        let all = u64::from(portcullis_engine::limits::buckets_for(CAPACITY));
        Self { name, table, algorithm: Algorithm::Gcra(quota), buckets: all.min(clients) }
    }

    /// What a request does: whose counter, the charge, and what the client is told.
    fn hit(&self, store: &dyn SharedStore, client: u64) {
        let mut descriptor = Descriptor::new();
        descriptor.start(&self.name).part(PartKind::Principal, "corp", &client.to_le_bytes());
        let demand =
            Demand { table: &self.table, descriptor: descriptor.as_bytes(), algorithm: self.algorithm, cost: 1 };
        let standing = demand.take(store, host::now()).unwrap().standing.unwrap();
        let mut told = String::new();
        headers::push_standing(&mut told, &self.name, &self.algorithm, &standing).unwrap();
        assert!(!told.is_empty());
    }
}
