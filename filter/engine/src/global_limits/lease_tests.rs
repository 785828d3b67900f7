use std::num::{NonZeroU32, NonZeroU64};

use proptest::prelude::*;

use super::*;
use crate::limits::model::explore;
use crate::limits::{Seed, fixed_window};
use crate::ports::memory::MemoryStore;
use crate::ports::{Expected, WriteOutcome};

const NOW: UnixNanos = UnixNanos::from_secs(1_000_000);
const LEASE: Lease = Lease { size: 3, length: Duration::from_secs(2) };

fn table() -> Table {
    table_of("limits")
}

/// The leases of a service.
fn table_of(service: &str) -> Table {
    Table::of_leases("t", NonZeroU32::MIN, LEASE.longest(), Seed::from_bytes([3; 16]), service.as_bytes()).unwrap()
}

fn alice() -> Holder {
    holder("alice", 10, 60)
}

/// Somebody who may so much in so many seconds.
fn holder(name: &str, requests: u64, seconds: u64) -> Holder {
    let mut descriptor = Descriptor::new();
    descriptor.start("t").part(crate::limits::PartKind::Principal, "corp", name.as_bytes());
    let requests = NonZeroU64::new(requests).unwrap();
    let quota = fixed_window::Quota::new(requests, Duration::from_secs(seconds)).unwrap();
    Holder::new(descriptor, &Algorithm::FixedWindow(quota))
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

const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn refused(cost: u64, wait: Duration) -> News {
    News::Refused { cost, wait: Some(wait) }
}

#[test]
fn after_a_lease_was_refused_each_request_asks_for_itself() {
    let mut counter = Counter::default();
    heed(&mut counter, News::TooMuch(None), NOW);
    assert_eq!(spend(&mut counter, 1, at(1_999)), Spend::Ask(1));
    assert_eq!(spend(&mut counter, 1, at(2_000)), Spend::Ask(3));
    heed(&mut counter, News::TooMuch(Some(Duration::from_secs(5))), at(2_000));
    assert_eq!(spend(&mut counter, 1, at(6_999)), Spend::Ask(1), "as long as the service says");
    assert_eq!(spend(&mut counter, 1, at(7_000)), Spend::Ask(3));
    heed(&mut counter, News::TooMuch(Some(MONTH)), at(7_000));
    assert_eq!(spend(&mut counter, 1, at(16_999)), Spend::Ask(1));
    assert_eq!(spend(&mut counter, 1, at(17_000)), Spend::Ask(3), "ten seconds at most");
}

#[test]
fn a_refusal_is_remembered_for_as_long_as_the_service_says_and_for_that_cost() {
    let mut counter = Counter::default();
    heed(&mut counter, refused(2, Duration::from_secs(6)), NOW);
    assert_eq!(spend(&mut counter, 2, at(1_000)), Spend::Refused(Duration::from_secs(5)));
    assert_eq!(spend(&mut counter, 5, at(1_000)), Spend::Refused(Duration::from_secs(5)));
    assert_eq!(spend(&mut counter, 1, at(1_000)), Spend::Ask(1), "less may still be there");
    assert_eq!(spend(&mut counter, 2, at(6_000)), Spend::Ask(3));
    let mut counter = Counter::default();
    heed(&mut counter, News::Refused { cost: 1, wait: None }, NOW);
    assert_eq!(spend(&mut counter, 1, at(2_000)), Spend::Ask(3), "where it does not say: as long as a lease");
}

#[test]
fn a_refusal_for_a_month_is_told_for_a_month_and_asked_about_again_after_ten_seconds() {
    let mut counter = Counter::default();
    heed(&mut counter, refused(1, MONTH), NOW);
    let after = |millis: u64| Spend::Refused(MONTH - Duration::from_millis(millis));
    assert_eq!(spend(&mut counter, 1, NOW), after(0));
    assert_eq!(spend(&mut counter, 1, at(9_999)), after(9_999));
    assert_eq!(spend(&mut counter, 1, at(10_000)), Spend::Ask(3));
    // The budget was reset at the service.
    heed(&mut counter, News::Granted(2), at(10_000));
    assert_eq!(spend(&mut counter, 1, at(10_000)), Spend::Spent);
}

#[test]
fn what_a_client_is_told_is_never_earlier_than_the_service_said_and_less_than_a_second_later() {
    for wait in [1, 999, 1_000, 9_999, 10_000, 10_001, 17_500, 86_400_000] {
        let (mut counter, wait) = (Counter::default(), Duration::from_millis(wait));
        heed(&mut counter, refused(1, wait), NOW);
        let Spend::Refused(told) = spend(&mut counter, 1, NOW) else { panic!("{wait:?}") };
        assert!(told >= wait && told < wait + Duration::from_secs(1), "{wait:?}: {told:?}");
    }
    let mut counter = Counter::default();
    heed(&mut counter, refused(1, Duration::MAX), NOW);
    assert!(matches!(spend(&mut counter, 1, NOW), Spend::Refused(told) if told > MONTH * 12));
    assert_eq!(spend(&mut counter, 1, at(10_000)), Spend::Ask(3));
}

#[test]
fn the_last_word_of_the_service_is_what_a_client_is_told() {
    let mut counter = Counter::default();
    heed(&mut counter, refused(1, MONTH), NOW);
    heed(&mut counter, refused(1, Duration::from_secs(20)), at(1_000));
    assert_eq!(spend(&mut counter, 1, at(1_000)), Spend::Refused(Duration::from_secs(20)));
    assert_eq!(spend(&mut counter, 1, at(11_000)), Spend::Ask(3));
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
fn a_clock_that_steps_back_locks_nobody_out() {
    for news in [refused(1, MONTH), refused(1, Duration::from_secs(5)), News::TooMuch(Some(MONTH))] {
        let mut counter = Counter::default();
        heed(&mut counter, news, at(3_600_000));
        assert_eq!(spend(&mut counter, 1, NOW), Spend::Ask(3), "an hour back: {news:?}");
    }
    // A small step makes the memory as much longer, but never longer than ten seconds.
    let mut counter = Counter::default();
    heed(&mut counter, refused(1, Duration::from_secs(5)), at(4_000));
    assert!(matches!(spend(&mut counter, 1, NOW), Spend::Refused(_)));
    assert_eq!(spend(&mut counter, 1, at(9_000)), Spend::Ask(3));
}

#[test]
fn what_an_old_clock_left_takes_no_place() {
    let (store, table) = (MemoryStore::default(), table());
    let mut refusals = 0;
    let fill = |now: UnixNanos, refusals: &mut u32| {
        for client in 0..1_000 {
            let holder = holder(&client.to_string(), 10, 60);
            LEASE.heed(&table, &holder, refused(1, MONTH), &store, now).unwrap();
            let is_kept = LEASE.spend(&table, &holder, 1, &store, now) == Spend::Refused(MONTH);
            *refusals += u32::from(is_kept);
        }
    };
    fill(at(86_400_000), &mut refusals);
    let room = refusals;
    assert!(room > 0 && room < 1_000, "{room}");
    refusals = 0;
    // A day back: they all would be busy for a day.
    fill(NOW, &mut refusals);
    assert_eq!(refusals, room);
}

#[test]
fn a_full_table_is_told_where_it_costs_a_question_or_units() {
    let (store, table) = (MemoryStore::default(), table());
    let spends: Vec<(Holder, Spend)> = (0..1_000)
        .map(|client| {
            let holder = holder(&client.to_string(), 10, 60);
            LEASE.heed(&table, &holder, News::Granted(1), &store, NOW).unwrap();
            let spend = LEASE.spend(&table, &holder, 1, &store, NOW);
            (holder, spend)
        })
        .collect();
    assert!(spends.iter().all(|(_, spend)| [Spend::Spent, Spend::NoPlace].contains(spend)));
    let (without, _) = spends.iter().find(|(_, spend)| *spend == Spend::NoPlace).unwrap();
    let heed = |news| LEASE.heed(&table, without, news, &store, NOW).unwrap();
    assert!(!heed(News::Granted(2)), "two units are lost");
    assert!(heed(News::Granted(0)) && heed(News::TooMuch(None)) && heed(refused(1, MONTH)), "nothing is");
    // Its neighbours' leases end, and it has a place.
    assert_eq!(LEASE.spend(&table, without, 1, &store, at(3_000)), Spend::Ask(3));
}

#[test]
fn another_rate_is_another_lease() {
    let (store, table) = (MemoryStore::default(), table());
    let spend = |holder: &Holder| LEASE.spend(&table, holder, 1, &store, NOW);
    LEASE.heed(&table, &alice(), refused(1, MONTH), &store, NOW).unwrap();
    assert_eq!(spend(&alice()), Spend::Refused(MONTH));
    assert_eq!(spend(&holder("alice", 50, 60)), Spend::Ask(3), "she bought gold, or the operator gives her more");
    assert_eq!(spend(&holder("alice", 10, 30)), Spend::Ask(3), "in a shorter window");
    let monthly = fixed_window::Quota::monthly(NonZeroU64::new(10).unwrap());
    let monthly = Holder::new(alice().descriptor, &Algorithm::FixedWindow(monthly));
    assert_eq!(spend(&monthly), Spend::Ask(3));
    assert_eq!(spend(&holder("bob", 10, 60)), Spend::Ask(3));
    // What one was granted, the other does not spend.
    LEASE.heed(&table, &monthly, News::Granted(2), &store, NOW).unwrap();
    assert_eq!(spend(&alice()), Spend::Refused(MONTH));
    assert_eq!(spend(&monthly), Spend::Spent);
}

#[test]
fn another_service_is_asked_anew() {
    let store = MemoryStore::default();
    let (before, after) = (table_of("one"), table_of("two"));
    LEASE.heed(&before, &alice(), refused(1, MONTH), &store, NOW).unwrap();
    assert_eq!(LEASE.spend(&after, &alice(), 1, &store, NOW), Spend::Ask(3));
    LEASE.heed(&after, &alice(), News::Granted(1), &store, NOW).unwrap();
    assert_eq!(LEASE.spend(&after, &alice(), 1, &store, NOW), Spend::Spent);
    assert_eq!(LEASE.spend(&before, &alice(), 1, &store, NOW), Spend::Refused(MONTH));
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
        Spend::NoPlace | Spend::Unusable => return None,
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
