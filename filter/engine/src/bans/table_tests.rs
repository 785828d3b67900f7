//! Facts about the table of bans, and the check of every interleaving of a few workers.

use super::*;
use crate::limits::model::{self, Worker};
use crate::ports::memory::MemoryStore;

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

fn terms(offences: u32) -> Terms {
    let span = Duration::from_secs;
    Terms { offences, window: span(60), ban: span(100), ban_max: span(400), forget: span(1000) }
}

fn table() -> Table {
    Table::new("guessing", false, NonZeroU32::MIN, Seed::from_bytes([1; 16]))
}

fn later(seconds: u64) -> UnixNanos {
    NOW.plus(Duration::from_secs(seconds))
}

fn is_banned(table: &Table, store: &dyn SharedStore, id: Id, now: UnixNanos) -> bool {
    matches!(table.check(store, id, now).unwrap(), Standing::Banned(_))
}

fn ban(table: &Table, store: &dyn SharedStore, id: Id, now: UnixNanos) {
    assert!(matches!(table.offend(store, id, &terms(1), now).unwrap(), Recorded::Begun(_)));
}

#[test]
fn a_ban_holds_for_its_client_alone_and_ends() {
    let (table, store) = (table(), MemoryStore::default());
    let (alice, bob) = (table.id(b"alice"), table.id(b"bob"));
    assert_eq!(table.offend(&store, alice, &terms(2), NOW), Ok(Recorded::Counted(1)));
    assert_eq!(table.check(&store, alice, NOW), Ok(Standing::Free));
    assert!(matches!(table.offend(&store, alice, &terms(2), NOW), Ok(Recorded::Begun(_))));
    assert!(is_banned(&table, &store, alice, later(99)));
    assert!(!is_banned(&table, &store, bob, NOW));
    assert!(!is_banned(&table, &store, alice, later(100)));
}

#[test]
fn a_good_client_writes_nothing_and_creates_nothing() {
    let (table, store) = (table(), MemoryStore::default());
    table.check(&store, table.id(b"alice"), NOW).unwrap();
    assert_eq!(store.key_count(), 0);
}

#[test]
fn a_banned_client_s_offences_write_nothing() {
    let (table, store) = (table(), MemoryStore::default());
    let alice = table.id(b"alice");
    ban(&table, &store, alice, NOW);
    let key = table.key(alice);
    let (_, before) = store.get(&key).unwrap().unwrap();
    assert_eq!(table.offend(&store, alice, &terms(1), NOW), Ok(Recorded::Standing));
    assert_eq!(store.get(&key).unwrap().unwrap().1, before);
}

#[test]
fn no_place_is_taken_from_a_busy_client_and_the_memory_of_old_bans_goes_first() {
    let (table, store) = (table(), MemoryStore::default());
    let ids: Vec<Id> = (0..33u8).map(|client| table.id(&[client])).collect();
    for id in &ids[..32] {
        ban(&table, &store, *id, NOW);
    }
    assert_eq!(table.offend(&store, ids[32], &terms(1), NOW), Err(Trouble::Full));
    assert!(matches!(table.check(&store, ids[32], NOW), Ok(Standing::Full { .. })));
    assert_eq!(table.lift(&store, ids[32], NOW), Ok(None));
    assert!(ids[..32].iter().all(|id| is_banned(&table, &store, *id, NOW)));
    // All bans are over, and remembered: a newcomer takes one of their places.
    ban(&table, &store, ids[32], later(200));
    let repeated = |id: Id| match table.offend(&store, id, &terms(1), later(200)) {
        Ok(Recorded::Begun(ban)) => ban.strikes,
        other => panic!("{other:?}"),
    };
    assert_eq!(ids[1..32].iter().filter(|id| repeated(**id) == 2).count(), 31);
    assert!(is_banned(&table, &store, ids[32], later(200)));
}

#[test]
fn lifting_forgets_everything() {
    let (table, store) = (table(), MemoryStore::default());
    let alice = table.id(b"alice");
    assert_eq!(table.lift(&store, alice, NOW), Ok(None));
    assert_eq!(store.key_count(), 0);
    ban(&table, &store, alice, NOW);
    assert!(table.lift(&store, alice, NOW).unwrap().is_some());
    assert!(!is_banned(&table, &store, alice, NOW));
    let Ok(Recorded::Begun(again)) = table.offend(&store, alice, &terms(1), NOW) else { panic!() };
    assert_eq!(again.strikes, 1);
}

#[test]
fn an_operator_s_ban_holds_as_long_as_it_says() {
    let (table, store) = (table(), MemoryStore::default());
    let alice = table.id(b"alice");
    let imposed = table.impose(&store, alice, Duration::from_secs(7), &terms(3), NOW).unwrap();
    assert_eq!(imposed.until, later(7));
    assert!(is_banned(&table, &store, alice, later(6)));
    assert!(!is_banned(&table, &store, alice, later(7)));
}

#[test]
fn a_clock_that_steps_back_lifts_nothing() {
    let (table, store) = (table(), MemoryStore::default());
    let alice = table.id(b"alice");
    ban(&table, &store, alice, later(5_000));
    assert!(is_banned(&table, &store, alice, NOW));
    assert!(is_banned(&table, &store, alice, later(99)));
    assert!(!is_banned(&table, &store, alice, later(100)), "it lasts no longer than it was given");
}

#[test]
fn a_new_capacity_and_monitor_mode_are_tables_of_their_own() {
    let seed = Seed::from_bytes([1; 16]);
    let store = MemoryStore::default();
    let watched = Table::new("guessing", true, NonZeroU32::MIN, seed);
    let larger = Table::new("guessing", false, NonZeroU32::new(64).unwrap(), seed);
    let alice = table().id(b"alice");
    ban(&watched, &store, alice, NOW);
    assert!(!is_banned(&table(), &store, alice, NOW));
    assert!(!is_banned(&larger, &store, alice, NOW));
}

#[test]
fn what_is_no_bucket_is_trouble_and_not_an_empty_one() {
    let (table, store) = (table(), MemoryStore::default());
    let alice = table.id(b"alice");
    store.compare_and_set(&table.key(alice), b"something else", Expected::Absent).unwrap();
    assert_eq!(table.check(&store, alice, NOW), Err(Trouble::Corrupt));
    assert_eq!(table.offend(&store, alice, &terms(1), NOW), Err(Trouble::Corrupt));
}

#[test]
fn an_id_is_written_and_read() {
    let id = table().id(b"alice");
    assert_eq!(Id::from_text(&id.to_text()), Some(id));
    for text in ["", "abc", "+0000000000000000000000000000001", "zz"] {
        assert_eq!(Id::from_text(text), None);
    }
}

/// A worker that meets `tries` bad requests of one client, one after the other: first the check, then, if it passes, the offence.
/// The outcome of a request is `[1, 0]` if it was let in to fail, `[1, 1]` if a ban began with it, and empty if a ban refused it.
fn attacked(tries: usize, limit: u32) -> impl Fn(&dyn SharedStore) -> Vec<model::Outcome> {
    move |store| {
        let table = table();
        let id = table.id(b"mallory");
        let mut outcomes = Vec::new();
        let mut has_seen_it = false;
        for _ in 0..tries {
            // A store that fails here means that this run of the worker is thrown away.
            match table.check(store, id, NOW) {
                Ok(Standing::Free) => assert!(!has_seen_it, "a ban was lost"),
                Ok(Standing::Banned(_)) => {
                    outcomes.push(Vec::new());
                    continue;
                }
                _ => return outcomes,
            }
            match table.offend(store, id, &terms(limit), NOW) {
                Ok(recorded) => {
                    has_seen_it = !matches!(recorded, Recorded::Counted(_));
                    outcomes.push(vec![1, u64::from(matches!(recorded, Recorded::Begun(_)))]);
                }
                Err(_) => return outcomes,
            }
        }
        outcomes
    }
}

/// In every interleaving: one ban begins, with exactly the offence that the terms say and with none where there are fewer; and beyond
/// it each other worker lets in one request at most, the one that it had checked already.
fn assert_exact(workers: u64, tries: usize, limit: u32) -> usize {
    let worker = attacked(tries, limit);
    let each: Vec<Worker<'_>> = (0..workers).map(|_| &worker as Worker<'_>).collect();
    let explored = model::explore(&each);
    let (asked, limit) = (workers * u64::try_from(tries).unwrap(), u64::from(limit));
    assert!(!explored.ends.is_empty());
    for (_, end) in &explored.ends {
        let sum = |column: usize| end.iter().flatten().filter_map(|outcome| outcome.get(column)).sum::<u64>();
        let (let_in, begun) = (sum(0), sum(1));
        assert!(let_in >= asked.min(limit), "{end:?}");
        assert!(let_in < limit + workers, "{end:?}");
        assert_eq!(begun, u64::from(let_in >= limit), "{end:?}");
    }
    explored.states
}

#[test]
fn two_workers_ban_with_exactly_the_offence_that_the_terms_say() {
    for limit in 1..=4 {
        assert!(assert_exact(2, 3, limit) > 30);
    }
    assert_exact(2, 3, 9);
}

#[test]
fn three_workers_ban_with_exactly_the_offence_that_the_terms_say() {
    for limit in 1..=3 {
        assert!(assert_exact(3, 2, limit) > 200);
    }
}

#[test]
fn a_lift_and_an_offence_at_the_same_time_lose_neither() {
    // The last of two offences and an operator's lift: whatever comes first, both are carried out.
    let offending = |store: &dyn SharedStore| {
        let table = table();
        let id = table.id(b"mallory");
        let mut begun = Vec::new();
        for _ in 0..2 {
            match table.offend(store, id, &terms(2), NOW) {
                Ok(recorded) => begun.push(vec![u64::from(matches!(recorded, Recorded::Begun(_)))]),
                Err(_) => return begun,
            }
        }
        begun
    };
    let lifting = |store: &dyn SharedStore| {
        let table = table();
        match table.lift(store, table.id(b"mallory"), NOW) {
            Ok(lifted) => vec![vec![u64::from(lifted.is_some())]],
            Err(_) => Vec::new(),
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    for (_, end) in model::explore(&[&offending, &lifting]).ends {
        let [offended, lifted] = end.as_slice() else { panic!("{end:?}") };
        let begun: u64 = offended.iter().flatten().sum();
        seen.insert((begun, lifted.iter().flatten().sum::<u64>()));
    }
    // The lift came before the first offence or after the ban, or between: then the count began anew.
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(0, 0), (1, 0), (1, 1)]);
}
