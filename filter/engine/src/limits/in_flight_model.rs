//! The model check of requests in flight: every interleaving of workers that take slots, give them back and move them on, at every call
//! to the shared data; and workers that die.

use std::cell::{Cell, RefCell};
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::model::{Outcome, Worker, explore};
use super::table::{Charge, Demand, Overflow, Table};
use super::{Algorithm, Seed, gcra, in_flight, take_all};
use crate::ports::SharedStore;
use crate::ports::memory::MemoryStore;
use crate::time::UnixNanos;

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);

fn table(name: &str) -> Table {
    let debt = quota(1, 1).longest_debt();
    Table::new(name, NonZeroU32::MIN, debt, Overflow::Deny, Seed::from_bytes([1; 16])).unwrap()
}

fn quota(most: u32, period: u64) -> in_flight::Quota {
    in_flight::Quota::new(NonZeroU32::new(most).unwrap()).in_period(period)
}

fn demand(table: &Table, quota: in_flight::Quota) -> Demand<'_> {
    Demand { table, descriptor: b"alice", algorithm: Algorithm::InFlight(quota), cost: 1 }
}

fn take(store: &dyn SharedStore, table: &Table, quota: in_flight::Quota) -> Option<Charge> {
    demand(table, quota).take(store, NOW).ok().and_then(|admitted| admitted.charge)
}

/// Gives one slot back as a worker does that has no other; whether it arrived.
fn give_back(store: &dyn SharedStore, table: &Table, charge: &Charge, quota: in_flight::Quota) -> bool {
    let (period, count) = charge.slots().unwrap();
    table.move_slots(store, charge, &quota, &[(period, count)], 0) == Ok(Some((0, 0)))
        || matches!(table.move_slots(store, charge, &quota, &[], 0), Ok(Some((_, 0))))
}

/// How many slots are free, asked with the production code.
fn free(store: &dyn SharedStore, table: &Table, quota: in_flight::Quota) -> u64 {
    demand(table, quota).standing(store, NOW).map_or(0, |standing| standing.unwrap().remaining)
}

/// What a worker's request does with its slot.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    GivesBack,
    /// Is still in flight at the end. If more than the limit were ever in flight at the same time, they would be so at the end of a
    /// search in which none of them gives back.
    Holds,
}

#[test]
fn never_more_than_the_limit_are_in_flight_and_every_release_arrives() {
    use Then::{GivesBack, Holds};
    let table = table("t");
    let run = |store: &dyn SharedStore, most: u32, requests: &[Then]| -> Vec<Outcome> {
        let request = |then: &Then| {
            let Some(charge) = take(store, &table, quota(most, 5)) else { return Vec::new() };
            match then {
                Holds => vec![1],
                GivesBack => vec![if table.give_back(store, &charge, NOW) == Ok(true) { 0 } else { 99 }],
            }
        };
        requests.iter().map(request).collect()
    };
    let programs: [(u32, &[&[Then]]); 5] = [
        (1, &[&[GivesBack, Holds], &[GivesBack, Holds]]),
        (2, &[&[GivesBack, Holds, Holds], &[Holds, GivesBack]]),
        (1, &[&[Holds], &[Holds], &[GivesBack, Holds]]),
        (2, &[&[Holds], &[GivesBack], &[Holds, Holds]]),
        (9, &[&[GivesBack, GivesBack], &[Holds, GivesBack]]),
    ];
    for (most, requests) in programs {
        let workers: Vec<_> = requests.iter().map(|own| move |store: &dyn SharedStore| run(store, most, own)).collect();
        let explored = explore(&workers.iter().map(|worker| worker as Worker<'_>).collect::<Vec<_>>());
        assert!(explored.states > 100, "{}", explored.states);
        let wanted = requests.iter().copied().flatten().filter(|then| **then == Holds).count() as u64;
        let mut most_held = 0;
        for (shared, end) in &explored.ends {
            let held: u64 = end.iter().flatten().flatten().sum();
            assert!(held <= u64::from(most), "{end:?}");
            assert_eq!(free(&shared.to_store(), &table, quota(most, 5)), u64::from(most) - held, "{end:?}");
            most_held = most_held.max(held);
        }
        assert_eq!(most_held, wanted.min(most.into()), "what fits is admitted");
    }
}

#[test]
fn the_first_slot_of_a_client_is_taken_once() {
    let table = table("t");
    let worker = |store: &dyn SharedStore| vec![vec![u64::from(take(store, &table, quota(1, 5)).is_some())]];
    for (_, end) in explore(&[&worker, &worker, &worker]).ends {
        assert_eq!(end.iter().flatten().flatten().sum::<u64>(), 1);
    }
}

#[test]
fn slots_that_are_moved_while_others_take_and_give_back_are_neither_lost_nor_doubled() {
    let table = table("t");
    // Holds one slot from period 5 on, and moves it into 6, while its clock already says so and that of the others does not.
    let moving = |store: &dyn SharedStore| {
        let Some(charge) = take(store, &table, quota(3, 5)) else { return vec![vec![0]] };
        let stood = [charge.slots().unwrap()];
        match table.move_slots(store, &charge, &quota(3, 6), &stood, 1) {
            Ok(Some((_, 0))) => vec![vec![1]],
            _ => vec![vec![9]],
        }
    };
    let passing = |store: &dyn SharedStore| {
        let Some(charge) = take(store, &table, quota(3, 5)) else { return vec![vec![0]] };
        vec![vec![if table.give_back(store, &charge, NOW) == Ok(true) { 0 } else { 9 }]]
    };
    let explored = explore(&[&moving, &passing, &moving]);
    assert!(explored.states > 500, "{}", explored.states);
    for (shared, end) in &explored.ends {
        let held: u64 = end.iter().flatten().flatten().sum();
        assert!(held <= 2, "{end:?}");
        let store = shared.to_store();
        for period in [6, 7] {
            assert_eq!(free(&store, &table, quota(3, period)), 3 - held, "period {period}: {end:?}");
        }
        assert_eq!(free(&store, &table, quota(3, 8)), 3, "left behind, all of them end");
    }
}

#[test]
fn with_another_limit_none_is_taken_if_one_refuses() {
    let (slots, rate) = (table("slots"), table("rate"));
    let once = gcra::Quota::new(NonZeroU64::MIN, Duration::from_secs(60), NonZeroU64::MIN).unwrap();
    let rated = Demand { table: &rate, descriptor: b"alice", algorithm: Algorithm::Gcra(once), cost: 1 };
    for slots_first in [true, false] {
        let worker = |store: &dyn SharedStore| {
            let in_flight = demand(&slots, quota(2, 5));
            let demands = if slots_first { [in_flight, rated] } else { [rated, in_flight] };
            let mut admitted = Vec::new();
            vec![vec![u64::from(take_all(store, &demands, NOW, &mut admitted).is_ok())]]
        };
        for (shared, end) in explore(&[&worker, &worker]).ends {
            // The rate admits one: the other's slot is given back.
            assert_eq!(end.iter().flatten().flatten().sum::<u64>(), 1);
            assert_eq!(free(&shared.to_store(), &slots, quota(2, 5)), 1);
        }
    }
}

#[test]
fn slots_of_a_dead_worker_end_and_those_of_others_do_not() {
    let store = MemoryStore::default();
    let table = table("t");
    let dead = take(&store, &table, quota(2, 5)).unwrap();
    let alive = take(&store, &table, quota(2, 5)).unwrap();
    let period = Cell::new(alive.slots().unwrap().0);
    let seen = RefCell::new(Vec::new());
    for now in 5..12 {
        assert_eq!(table.move_slots(&store, &alive, &quota(2, now), &[(period.get(), 1)], 1), Ok(Some((now, 0))));
        period.set(now);
        seen.borrow_mut().push(free(&store, &table, quota(2, now)));
    }
    assert_eq!(*seen.borrow(), [0, 0, 1, 1, 1, 1, 1]);
    // Should it come back, it takes nothing from anybody.
    assert_eq!(table.give_back(&store, &dead, NOW), Ok(false));
    assert!(give_back(&store, &table, &dead, quota(2, 11)));
    assert_eq!(free(&store, &table, quota(2, 11)), 1);
}

#[test]
fn an_entry_without_slots_is_anybody_s_and_one_with_slots_is_not() {
    let store = MemoryStore::default();
    let table = table("t");
    let of = |client: u8, period| {
        let algorithm = Algorithm::InFlight(quota(1, period));
        Demand { table: &table, descriptor: &[client], algorithm, cost: 1 }.take(&store, NOW)
    };
    let charges: Vec<_> = (0..32).map(|client| of(client, 5).unwrap().charge.unwrap()).collect();
    assert!(of(32, 5).unwrap_err().overflowed);
    // A worker that is far behind takes nobody's place either, nor does it cut what is newer.
    assert!(of(32, 1).is_err());
    assert!(of(0, 5).is_err());
    assert_eq!(table.give_back(&store, &charges[7], NOW), Ok(true));
    assert!(of(32, 5).is_ok());
    assert!(of(33, 7).is_err(), "two periods later nothing counts, and for one more the places are kept");
    assert!(of(33, 8).is_ok());
}
