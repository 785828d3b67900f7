//! Tokens whose `kid` is not in the key set.

use super::*;

#[test]
fn a_herd_of_unknown_kids_is_one_refetch_and_then_401() {
    for workers in 1..=5 {
        let mut gateway = gateway(workers, Provider::Good("a"));
        gateway.run(10_000);
        let before = gateway.fetches.len();
        for request in 0..100 {
            for index in 0..workers {
                assert_eq!(gateway.request(index, request, "unknown"), Verdict::Waits);
            }
        }
        gateway.run(1_200);
        assert_eq!(gateway.fetches.len(), before + 1);
        assert_eq!(gateway.judged("unknown"), vec![Verdict::Refused; 100 * workers]);
        gateway.run(5_000);
        for index in 0..workers {
            assert_eq!(gateway.request(index, 1, "another"), Verdict::Refused, "the cooldown is for all kids");
        }
        assert_eq!(gateway.fetches.len(), before + 1);
        gateway.run(25_000);
        assert_eq!(gateway.request(0, 1, "another"), Verdict::Waits, "the cooldown is over");
        gateway.run(100);
        assert_eq!(gateway.count(|kind| matches!(kind, EventKind::UnknownKidRefetch { kid_hash: KID_HASH })), 2);
    }
}

#[test]
fn a_steady_stream_of_unknown_kids_costs_the_provider_one_fetch_per_cooldown() {
    let mut gateway = gateway(4, Provider::Good("a"));
    gateway.run(1_000);
    for step in 0..6_000 {
        gateway.request(step % 4, 1_000 + step as u64, "unknown");
        gateway.run(100);
    }
    assert!(gateway.fetches.len() <= 1 + 20 + 12, "{} fetches in ten minutes", gateway.fetches.len());
}

#[test]
fn unknown_kids_during_a_refresh_join_it() {
    let mut gateway = gateway(3, Provider::Slow(3_000, "a"));
    gateway.run(10_000);
    while gateway.fetches.len() < 2 {
        gateway.run(100);
    }
    assert_eq!(gateway.request(1, 1, "unknown"), Verdict::Waits);
    gateway.run(4_000);
    assert_eq!(gateway.judged("unknown"), [Verdict::Refused]);
    assert_eq!(gateway.fetches.len(), 2);
}

#[test]
fn an_unknown_kid_is_503_while_the_provider_fails_and_401_once_it_answers() {
    let mut gateway = gateway(2, Provider::Good("a"));
    gateway.run(10_000);
    gateway.provider = Provider::Down;
    assert_eq!(gateway.request(0, 1, "unknown"), Verdict::Waits);
    gateway.run(200);
    assert!(matches!(gateway.resumed[0].2, Resume::GiveUp { .. }), "there is nothing to judge it with");
    assert_eq!(gateway.judged("unknown"), [Verdict::Unavailable]);
    assert_eq!(gateway.request(1, 2, "unknown"), Verdict::Unavailable, "within the cooldown nobody knows either");
    assert_eq!(gateway.request(1, 3, "a"), Verdict::Allowed);
    gateway.provider = Provider::Good("a");
    gateway.run(4_000);
    assert_eq!(gateway.request(1, 4, "unknown"), Verdict::Refused);
}

#[test]
fn a_kid_that_another_worker_has_fetched_already_costs_no_refetch() {
    let mut gateway = gateway(2, Provider::Good("a"));
    gateway.run(10_000);
    gateway.provider = Provider::Good("a,new");
    while gateway.all_kids().iter().all(|kids| kids.as_deref() != Some("a,new")) {
        gateway.run(1);
    }
    let behind = gateway.all_kids().iter().position(|kids| kids.as_deref() == Some("a")).unwrap();
    assert_eq!(gateway.request(behind, 1, "new"), Verdict::Allowed);
    gateway.run(2_000);
    assert_eq!(gateway.count(|kind| matches!(kind, EventKind::UnknownKidRefetch { .. })), 0);
    assert_eq!(gateway.fetches.len(), 2);
}
