use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::limits::Seed;
use crate::limits::model::explore;
use crate::ports::memory::MemoryStore;
use crate::ports::{Expected, WriteOutcome};

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);
const LEASE: Lease = Lease { size: 3, length: Duration::from_secs(2) };

fn table() -> Table {
    Table::of_leases("t", NonZeroU32::MIN, LONGEST_REFUSAL, Seed::from_bytes([3; 16])).unwrap()
}

fn alice() -> Descriptor {
    let mut descriptor = Descriptor::new();
    descriptor.start("t");
    descriptor
}

fn at(millis: u64) -> UnixNanos {
    NOW.plus(Duration::from_millis(millis))
}

fn spend(counter: &mut Counter, cost: u64, now: UnixNanos) -> Spend {
    let (after, said) = LEASE.spent(*counter, cost, now);
    *counter = after;
    said
}

fn heed(counter: &mut Counter, news: News, now: UnixNanos) {
    *counter = LEASE.after(*counter, news, now);
}

#[test]
fn what_was_granted_is_spent_once_and_then_asked_for_again() {
    let mut counter = Counter::default();
    assert_eq!(spend(&mut counter, 1, NOW), Spend::Ask(3));
    heed(&mut counter, News::Granted(2), NOW);
    let said: Vec<Spend> = (0..3).map(|_| spend(&mut counter, 1, at(100))).collect();
    assert_eq!(said, [Spend::Spent, Spend::Spent, Spend::Ask(3)]);
}

#[test]
fn units_that_are_not_spent_in_time_are_lost() {
    let mut counter = Counter::default();
    heed(&mut counter, News::Granted(2), NOW);
    assert_eq!(spend(&mut counter, 1, at(1_999)), Spend::Spent);
    assert_eq!(spend(&mut counter, 1, at(2_000)), Spend::Ask(3));
}

#[test]
fn a_lease_that_is_added_does_not_make_the_first_one_last() {
    let mut counter = Counter::default();
    heed(&mut counter, News::Granted(2), NOW);
    heed(&mut counter, News::Granted(3), at(1_500));
    assert_eq!(spend(&mut counter, 5, at(1_600)), Spend::Spent);
    heed(&mut counter, News::Granted(2), at(1_700));
    assert_eq!(spend(&mut counter, 1, at(2_500)), Spend::Spent, "nothing was left of the first");
}

#[test]
fn a_cost_above_the_lease_is_asked_for_by_itself() {
    let mut counter = Counter::default();
    assert_eq!(spend(&mut counter, 7, NOW), Spend::Ask(7));
    heed(&mut counter, News::Granted(2), NOW);
    assert_eq!(spend(&mut counter, 3, NOW), Spend::Ask(3), "two are left, and stay");
    assert_eq!(spend(&mut counter, 2, NOW), Spend::Spent);
}

#[test]
fn after_a_lease_was_refused_each_request_asks_for_itself() {
    let mut counter = Counter::default();
    heed(&mut counter, News::TooMuch(None), NOW);
    assert_eq!(spend(&mut counter, 1, at(1_999)), Spend::Ask(1));
    assert_eq!(spend(&mut counter, 1, at(2_000)), Spend::Ask(3));
    heed(&mut counter, News::TooMuch(Some(Duration::from_secs(60))), at(2_000));
    assert_eq!(spend(&mut counter, 1, at(61_000)), Spend::Ask(1), "as long as the service says");
}

#[test]
fn a_refusal_is_remembered_for_as_long_as_the_service_says_and_for_that_cost() {
    let mut counter = Counter::default();
    heed(&mut counter, News::Refused { cost: 2, wait: Some(Duration::from_secs(60)) }, NOW);
    assert_eq!(spend(&mut counter, 2, at(1_000)), Spend::Refused(Duration::from_secs(59)));
    assert_eq!(spend(&mut counter, 5, at(1_000)), Spend::Refused(Duration::from_secs(59)));
    assert_eq!(spend(&mut counter, 1, at(1_000)), Spend::Ask(1), "less may still be there");
    assert_eq!(spend(&mut counter, 2, at(60_000)), Spend::Ask(3));
    let mut counter = Counter::default();
    heed(&mut counter, News::Refused { cost: 1, wait: None }, NOW);
    assert_eq!(spend(&mut counter, 1, at(2_000)), Spend::Ask(3), "where it does not say: as long as a lease");
}

#[test]
fn a_refusal_takes_no_granted_units_away() {
    let mut counter = Counter::default();
    heed(&mut counter, News::Granted(2), NOW);
    heed(&mut counter, News::Refused { cost: 1, wait: Some(Duration::from_secs(60)) }, NOW);
    heed(&mut counter, News::TooMuch(None), NOW);
    assert_eq!([spend(&mut counter, 1, NOW), spend(&mut counter, 1, NOW)], [Spend::Spent; 2]);
}

#[test]
fn units_from_a_clock_that_stepped_back_are_lost() {
    let mut counter = Counter::default();
    heed(&mut counter, News::Granted(2), at(3_600_000));
    assert_eq!(spend(&mut counter, 1, NOW), Spend::Ask(3));
}

#[test]
fn what_is_put_back_can_be_spent_while_the_lease_lasts() {
    let (store, table, alice) = (MemoryStore::default(), table(), alice());
    LEASE.heed(&table, &alice, News::Granted(1), &store, NOW).unwrap();
    assert_eq!(LEASE.spend(&table, &alice, 1, &store, NOW), Spend::Spent);
    LEASE.put_back(&table, &alice, 1, &store, NOW).unwrap();
    assert_eq!(LEASE.spend(&table, &alice, 1, &store, NOW), Spend::Spent);
    LEASE.put_back(&table, &alice, 1, &store, at(2_000)).unwrap();
    assert_eq!(LEASE.spend(&table, &alice, 1, &store, at(2_000)), Spend::Ask(3));
}

/// The service: a budget that stands in the same store, so that its answers interleave too.
fn granted(store: &dyn SharedStore, budget: usize, units: usize) -> Option<bool> {
    const KEY: &str = "the service";
    loop {
        let (used, version) = store.get(KEY).ok()?.map_or((0, None), |(value, version)| (value.len(), Some(version)));
        if used + units > budget {
            return Some(false);
        }
        let expected = version.map_or(Expected::Absent, Expected::Unchanged);
        if store.compare_and_set(KEY, &vec![1; used + units], expected).ok()? == WriteOutcome::Written {
            return Some(true);
        }
    }
}

/// One request, as a worker does it: from the lease, else from the service, for a lease and then for itself.
fn admitted(table: &Table, store: &dyn SharedStore, budget: usize) -> Option<bool> {
    let alice = alice();
    let units = match LEASE.spend(table, &alice, 1, store, NOW) {
        Spend::Spent => return Some(true),
        Spend::Refused(_) => return Some(false),
        Spend::Ask(units) => units,
    };
    let heed = |news| LEASE.heed(table, &alice, news, store, NOW).ok();
    if granted(store, budget, usize::try_from(units).ok()?)? {
        heed(News::Granted(units - 1))?;
        return Some(true);
    }
    if units > 1 {
        heed(News::TooMuch(None))?;
        if granted(store, budget, 1)? {
            return Some(true);
        }
    }
    heed(News::Refused { cost: 1, wait: None })?;
    Some(false)
}

#[test]
fn in_every_interleaving_as_much_is_spent_as_was_granted_and_no_unit_more() {
    let table = table();
    // A budget of four: one lease of three, and one alone.
    let worker = |times: usize| {
        let table = &table;
        move |store: &dyn SharedStore| {
            (0..times).map(|_| vec![u64::from(admitted(table, store, 4) == Some(true))]).collect::<Vec<_>>()
        }
    };
    let (one, three) = (worker(1), worker(3));
    let mut states = 0;
    for workers in [vec![&three as crate::limits::model::Worker<'_>, &three], vec![&one, &one, &one]] {
        let explored = explore(&workers);
        states += explored.states;
        for (shared, end) in &explored.ends {
            let store = shared.to_store();
            let spent: u64 = end.iter().flatten().flatten().sum();
            let granted = store.get("the service").unwrap().map_or(0, |(value, _)| value.len()) as u64;
            let mut left = 0;
            while LEASE.spend(&table, &alice(), 1, &store, NOW) == Spend::Spent {
                left += 1;
            }
            assert!(granted <= 4);
            assert_eq!(spent + left, granted, "{end:?}");
        }
    }
    assert!(states > 1_000, "{states}");
}

proptest! {
    #[test]
    fn no_order_of_events_spends_more_than_was_granted(
        events in prop::collection::vec((0..5u8, 1..6u64, 0..1_500u64), 1..60),
    ) {
        let (mut counter, mut now) = (Counter::default(), NOW);
        let (mut granted, mut spent) = (0, 0);
        for (event, units, millis) in events {
            now = now.plus(Duration::from_millis(millis));
            match event {
                0 => {
                    heed(&mut counter, News::Granted(units), now);
                    granted += units;
                }
                1 => heed(&mut counter, News::TooMuch(None), now),
                2 => heed(&mut counter, News::Refused { cost: units, wait: Some(Duration::from_millis(millis)) }, now),
                _ => spent += if spend(&mut counter, units, now) == Spend::Spent { units } else { 0 },
            }
            prop_assert!(spent <= granted);
        }
    }
}
