use std::cell::Cell;
use std::collections::HashMap;
use std::num::NonZeroU64;

use proptest::prelude::*;

use super::key::Slot;
use super::*;
use crate::limits::algorithm::Algorithm;
use crate::limits::bucket::{BUCKET_BYTES, ENTRIES, LAYOUT};
use crate::limits::{fixed_window, gcra, sliding_window};
use crate::ports::memory::MemoryStore;
use crate::ports::{Expected, StoreUnavailable};

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

fn gcra(requests: u64, seconds: u64, burst: u64) -> Algorithm {
    let (requests, burst) = (NonZeroU64::new(requests).unwrap(), NonZeroU64::new(burst).unwrap());
    Algorithm::Gcra(gcra::Quota::new(requests, Duration::from_secs(seconds), burst).unwrap())
}

fn table(capacity: u32, overflow: Overflow) -> Table {
    let seed = Seed::from_bytes([3; 16]);
    Table::new("clients", NonZeroU32::new(capacity).unwrap(), Duration::from_secs(3600), overflow, seed).unwrap()
}

fn demand<'a>(table: &'a Table, client: &'a [u8], algorithm: Algorithm) -> Demand<'a> {
    Demand { table, descriptor: client, algorithm, cost: 1 }
}

/// A store that fails, or in which another worker is always faster.
struct Hostile {
    get: Result<Option<(Vec<u8>, crate::ports::Version)>, StoreUnavailable>,
    write: Result<WriteOutcome, StoreUnavailable>,
    writes: Cell<u32>,
}

impl SharedStore for Hostile {
    fn get(&self, _: &str) -> Result<Option<(Vec<u8>, crate::ports::Version)>, StoreUnavailable> {
        self.get.clone()
    }

    fn compare_and_set(&self, _: &str, _: &[u8], _: Expected) -> Result<WriteOutcome, StoreUnavailable> {
        self.writes.set(self.writes.get() + 1);
        self.write
    }
}

fn reason(store: &Hostile) -> Reason {
    demand(&table(64, Overflow::Allow), b"alice", gcra(10, 1, 5)).take(store, NOW).unwrap_err().reason
}

#[test]
fn a_client_is_counted_from_its_first_request_on() {
    let (store, table) = (MemoryStore::default(), table(64, Overflow::Deny));
    let alice = demand(&table, b"alice", gcra(1, 1, 3));
    for left in (0..3).rev() {
        assert_eq!(alice.take(&store, NOW).unwrap().standing.unwrap().remaining, left);
    }
    assert!(matches!(alice.take(&store, NOW).unwrap_err().reason, Reason::Limit(_)));
    assert_eq!(demand(&table, b"bob", gcra(1, 1, 3)).take(&store, NOW).unwrap().standing.unwrap().remaining, 2);
}

#[test]
fn asking_how_a_client_stands_charges_nothing() {
    let (store, table) = (MemoryStore::default(), table(64, Overflow::Deny));
    let alice = demand(&table, b"alice", gcra(1, 1, 3));
    assert_eq!(alice.standing(&store, NOW).unwrap().unwrap().remaining, 3);
    assert_eq!(store.key_count(), 0);
}

#[test]
fn a_host_without_shared_data_never_admits() {
    let get = Hostile { get: Err(StoreUnavailable), write: Ok(WriteOutcome::Written), writes: Cell::new(0) };
    let write = Hostile { get: Ok(None), write: Err(StoreUnavailable), writes: Cell::new(0) };
    assert_eq!(reason(&get), Reason::StoreUnavailable);
    assert_eq!(reason(&write), Reason::StoreUnavailable);
}

#[test]
fn a_race_that_is_always_lost_ends_in_a_refusal() {
    let store = Hostile { get: Ok(None), write: Ok(WriteOutcome::Conflict), writes: Cell::new(0) };
    assert_eq!(reason(&store), Reason::Contended);
    assert_eq!(store.writes.get(), TRIES);
}

#[test]
fn a_value_that_is_no_bucket_is_not_overwritten() {
    for bytes in [Vec::new(), vec![0; BUCKET_BYTES], vec![LAYOUT; 3]] {
        let get = Ok(Some((bytes, crate::ports::Version(NonZeroU32::MIN))));
        let store = Hostile { get, write: Ok(WriteOutcome::Written), writes: Cell::new(0) };
        assert_eq!(reason(&store), Reason::Corrupt);
        assert_eq!(store.writes.get(), 0);
    }
}

/// Fills a table of one bucket with clients who are busy for an hour.
fn full(overflow: Overflow) -> (MemoryStore, Table) {
    let (store, table) = (MemoryStore::default(), table(ENTRIES, overflow));
    for client in 0..ENTRIES {
        demand(&table, &client.to_le_bytes(), gcra(1, 3600, 1)).take(&store, NOW).unwrap();
    }
    (store, table)
}

#[test]
fn a_full_table_refuses_newcomers_and_says_when_there_is_room() {
    let (store, table) = full(Overflow::Deny);
    let newcomer = demand(&table, b"newcomer", gcra(1, 3600, 1));
    let denied = newcomer.take(&store, NOW).unwrap_err();
    let Reason::TableFull { retry_after } = denied.reason else { panic!("{denied:?}") };
    assert!(denied.overflowed);
    assert!(newcomer.take(&store, NOW.plus(retry_after)).is_ok());
}

#[test]
fn a_newcomer_never_resets_a_busy_client() {
    for overflow in [Overflow::Deny, Overflow::Allow, Overflow::SharedBucket] {
        let (store, table) = full(overflow);
        for newcomer in 0..100u64 {
            let _ = demand(&table, &newcomer.to_be_bytes(), gcra(1, 3600, 1)).take(&store, NOW);
        }
        for client in 0..ENTRIES {
            let denied = demand(&table, &client.to_le_bytes(), gcra(1, 3600, 1)).take(&store, NOW).unwrap_err();
            assert!(matches!(denied.reason, Reason::Limit(_)) && !denied.overflowed);
        }
    }
}

#[test]
fn allowed_overflow_is_admitted_uncounted_and_marked() {
    let (store, table) = full(Overflow::Allow);
    for _ in 0..3 {
        let admitted = demand(&table, b"newcomer", gcra(1, 3600, 1)).take(&store, NOW).unwrap();
        assert_eq!(admitted, Admitted { standing: None, charge: None, overflowed: true });
    }
}

#[test]
fn shared_overflow_gives_all_newcomers_one_quota() {
    let (store, table) = full(Overflow::SharedBucket);
    let quota = gcra(2, 3600, 2);
    assert!(demand(&table, b"one", quota).take(&store, NOW).unwrap().overflowed);
    let second = demand(&table, b"two", quota).take(&store, NOW).unwrap();
    let denied = demand(&table, b"three", quota).take(&store, NOW).unwrap_err();
    assert!(matches!(denied.reason, Reason::Limit(_)) && denied.overflowed);
    assert_eq!(table.give_back(&store, &second.charge.unwrap(), NOW), Ok(true));
    assert!(demand(&table, b"three", quota).take(&store, NOW).is_ok());
    assert_eq!(store.key_count(), 2);
}

#[test]
fn a_table_that_the_clock_left_in_the_future_frees_itself() {
    let (store, table) = full(Overflow::Deny);
    let back = UnixNanos::from_secs(1_000);
    let newcomer = demand(&table, b"newcomer", gcra(1, 3600, 1));
    let Reason::TableFull { retry_after } = newcomer.take(&store, back).unwrap_err().reason else { panic!() };
    assert!(retry_after <= Duration::from_secs(3601));
    assert!(newcomer.take(&store, back.plus(Duration::from_secs(3601))).is_ok());
}

#[test]
fn the_repair_after_a_step_back_is_stored() {
    let (store, table) = (MemoryStore::default(), table(64, Overflow::Deny));
    let alice = demand(&table, b"alice", gcra(1, 1, 1));
    alice.take(&store, NOW).unwrap();
    let back = UnixNanos::from_secs(1_000);
    assert!(alice.take(&store, back).is_err());
    assert!(alice.take(&store, back.plus(Duration::from_secs(1))).is_ok());
}

/// Counts the calls to the host.
#[derive(Default)]
struct Counting {
    store: MemoryStore,
    gets: Cell<u32>,
    writes: Cell<u32>,
}

impl SharedStore for Counting {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, crate::ports::Version)>, StoreUnavailable> {
        self.gets.set(self.gets.get() + 1);
        self.store.get(key)
    }

    fn compare_and_set(&self, key: &str, value: &[u8], expected: Expected) -> Result<WriteOutcome, StoreUnavailable> {
        self.writes.set(self.writes.get() + 1);
        self.store.compare_and_set(key, value, expected)
    }
}

#[test]
fn a_request_costs_one_read_and_one_write_and_a_refused_one_no_write() {
    let two = NonZeroU64::new(2).unwrap();
    let algorithms = [
        gcra(2, 3600, 2),
        Algorithm::FixedWindow(fixed_window::Quota::monthly(two)),
        Algorithm::SlidingWindow(sliding_window::Quota::new(two, Duration::from_secs(3600)).unwrap()),
    ];
    for algorithm in algorithms {
        let (store, table) = (Counting::default(), table(64, Overflow::Deny));
        let mut charge = None;
        for _ in 0..2 {
            charge = demand(&table, b"alice", algorithm).take(&store, NOW).unwrap().charge;
        }
        assert!(demand(&table, b"alice", algorithm).take(&store, NOW).is_err());
        assert_eq!((store.gets.get(), store.writes.get()), (3, 2));
        assert_eq!(table.give_back(&store, &charge.unwrap(), NOW), Ok(true));
        assert!(table.owe(&store, &charge.unwrap(), 1, NOW).unwrap().is_some());
        assert_eq!((store.gets.get(), store.writes.get()), (5, 4));
    }
}

#[test]
fn a_debt_is_charged_to_the_same_client() {
    for overflow in [Overflow::Deny, Overflow::SharedBucket] {
        let (store, table) = (MemoryStore::default(), table(64, overflow));
        let alice = demand(&table, b"alice", gcra(1, 1, 3));
        let charge = alice.take(&store, NOW).unwrap().charge.unwrap();
        assert!(matches!(table.owe(&store, &charge, 4, NOW), Ok(Some(_))));
        let Reason::Limit(refused) = alice.take(&store, NOW).unwrap_err().reason else { panic!() };
        assert_eq!(refused.retry_after, Some(Duration::from_secs(3)));
        assert!(demand(&table, b"bob", gcra(1, 1, 3)).take(&store, NOW).is_ok());
    }
}

#[test]
fn a_debt_of_a_client_that_was_forgotten_begins_anew() {
    let (store, table) = (MemoryStore::default(), table(64, Overflow::Deny));
    let alice = demand(&table, b"alice", gcra(1, 1, 3));
    let charge = alice.take(&store, NOW).unwrap().charge.unwrap();
    let later = NOW.plus(Duration::from_secs(60));
    assert!(table.owe(&store, &charge, 3, later).unwrap().is_some());
    assert!(alice.take(&store, later).is_err());
}

#[test]
fn a_new_algorithm_does_not_misread_the_old_counter() {
    let (store, table) = (MemoryStore::default(), table(64, Overflow::Deny));
    demand(&table, b"alice", gcra(1, 3600, 1)).take(&store, NOW).unwrap();
    let day = fixed_window::Quota::new(NonZeroU64::MIN, Duration::from_secs(86_400)).unwrap();
    let any = sliding_window::Quota::new(NonZeroU64::MIN, Duration::from_secs(86_400)).unwrap();
    for algorithm in [Algorithm::FixedWindow(day), Algorithm::SlidingWindow(any)] {
        assert!(demand(&table, b"alice", algorithm).take(&store, NOW).is_ok());
        assert!(demand(&table, b"alice", algorithm).take(&store, NOW).is_err());
    }
}

#[test]
fn a_new_capacity_is_a_new_table() {
    let store = MemoryStore::default();
    let quota = gcra(1, 3600, 1);
    assert!(demand(&table(64, Overflow::Deny), b"alice", quota).take(&store, NOW).is_ok());
    assert!(demand(&table(64, Overflow::Deny), b"alice", quota).take(&store, NOW).is_err());
    assert!(demand(&table(65, Overflow::Deny), b"alice", quota).take(&store, NOW).is_ok());
}

#[test]
fn keys_come_from_the_configuration_alone() {
    let key = |name: &str, capacity, slot| {
        let seed = Seed::from_bytes([0; 16]);
        let table = Table::new(name, NonZeroU32::new(capacity).unwrap(), Duration::ZERO, Overflow::Deny, seed);
        table.unwrap().key(slot).as_str().to_owned()
    };
    let (buckets, longest) = ([0, 1, 63, 64, u32::MAX].map(Slot::Bucket), "n".repeat(LONGEST_NAME));
    let mut keys = Vec::new();
    for slot in buckets.into_iter().chain([Slot::Shared]) {
        keys.extend([key("a", 64, slot), key("a", 65, slot), key("b", 64, slot), key(&longest, u32::MAX, slot)]);
    }
    // What a host keeps within its map, each only once, and text.
    assert!(
        keys.iter().all(|key| key.len() <= 22 && key.starts_with("pl/") && key.bytes().all(|b| b.is_ascii_graphic()))
    );
    let different: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert_eq!(different.len(), keys.len());
    for name in ["", &"n".repeat(LONGEST_NAME + 1)] {
        let table = Table::new(name, NonZeroU32::MIN, Duration::ZERO, Overflow::Deny, Seed::from_bytes([0; 16]));
        assert_eq!(table.unwrap_err(), TableError::Name { longest: LONGEST_NAME });
    }
}

#[test]
fn keys_and_memory_are_bounded_whatever_clients_send() {
    let (store, table) = (MemoryStore::default(), table(320, Overflow::SharedBucket));
    for client in 0..20_000u32 {
        let _ = demand(&table, &client.to_le_bytes(), gcra(1, 3600, 1)).take(&store, NOW);
    }
    assert_eq!(store.key_count(), 26);
    assert!(memory_bytes(NonZeroU32::new(320).unwrap()) >= 26 * 1025);
    assert_eq!(memory_bytes(NonZeroU32::new(1_000_000).unwrap()) / 1_000_000, 92);
    assert!(memory_bytes(NonZeroU32::MAX) > 0);
}

#[test]
fn as_many_clients_as_the_capacity_have_a_place() {
    let (store, table) = (MemoryStore::default(), table(64_000, Overflow::Deny));
    let overflowed = |clients: std::ops::Range<u32>| {
        let quota = gcra(1, 3600, 1);
        clients.filter(|c| demand(&table, &c.to_le_bytes(), quota).take(&store, NOW).is_err()).count()
    };
    // Poisson, of 160,000 entries: 1.4e-7 of 64,000 is a hundredth of a client; 0.55 % of 120,000 is 660.
    assert_eq!(overflowed(0..64_000), 0);
    let at_three_quarters = overflowed(64_000..120_000);
    assert!((400..1_000).contains(&at_three_quarters), "{at_three_quarters}");
}

#[test]
fn four_workers_at_full_speed_admit_exactly_the_limit() {
    const CLIENTS: u32 = 5_000;
    let store = MemoryStore::default();
    let quota = gcra(1, 3600, 7);
    let admitted: Vec<HashMap<u32, u32>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4u32)
            .map(|worker| {
                let store = &store;
                scope.spawn(move || {
                    let table = table(10_000, Overflow::Deny);
                    let mut admitted = HashMap::new();
                    for request in 0..CLIENTS * 5 {
                        // Each worker meets the clients in another order, and each client twenty times in all.
                        let client = request.wrapping_mul(7 + 2 * worker) % CLIENTS;
                        if demand(&table, &client.to_le_bytes(), quota).take(store, NOW).is_ok() {
                            *admitted.entry(client).or_default() += 1;
                        }
                    }
                    admitted
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    for client in 0..CLIENTS {
        assert_eq!(admitted.iter().filter_map(|one| one.get(&client)).sum::<u32>(), 7, "client {client}");
    }
}

proptest! {
    #[test]
    fn many_clients_in_one_bucket_are_counted_as_if_each_were_alone(
        steps in prop::collection::vec((0..400u64, 0..60u8, 1..3u64), 1..300),
    ) {
        // One bucket for up to sixty clients: those that have a place are counted exactly, also after others took over.
        let (store, table) = (MemoryStore::default(), table(ENTRIES, Overflow::Deny));
        let algorithm = gcra(10, 1, 3);
        let mut alone: HashMap<u8, Counter> = HashMap::new();
        let mut now = NOW;
        for (millis, client, cost) in steps {
            now = now.plus(Duration::from_millis(millis / 20));
            let taken = Demand { cost, ..demand(&table, &[client], algorithm) }.take(&store, now);
            let counter = alone.entry(client).or_default();
            let expected = algorithm.take(*counter, cost, now);
            match taken {
                Err(Denied { reason: Reason::TableFull { .. }, .. }) => {}
                Err(denied) => prop_assert_eq!(denied.reason, Reason::Limit(expected.unwrap_err())),
                Ok(admitted) => {
                    let expected = expected.unwrap();
                    prop_assert_eq!(admitted.standing, Some(expected.standing));
                    *counter = expected.counter;
                }
            }
        }
    }
}
