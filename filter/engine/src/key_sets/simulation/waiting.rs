//! Requests that come before the keys.

use super::*;

#[test]
fn requests_before_the_first_keys_wait_and_are_then_allowed() {
    let mut gateway = gateway(3, Provider::Slow(2_000, "a"));
    gateway.run(100);
    for index in 0..3 {
        assert_eq!(gateway.request(index, 1, "a"), Verdict::Waits);
    }
    gateway.run(1_500);
    assert_eq!(gateway.judged("a"), []);
    gateway.run(700);
    assert_eq!(gateway.judged("a"), [Verdict::Allowed; 3]);
    assert_eq!(gateway.fetches.len(), 1);
}

#[test]
fn waiting_is_bounded_in_number_and_time() {
    let mut gateway = gateway(2, Provider::Lost);
    gateway.run(100);
    for request in 0..256 {
        assert_eq!(gateway.request(0, request, "a"), Verdict::Waits);
    }
    assert_eq!(gateway.request(0, 256, "a"), Verdict::Unavailable);
    assert_eq!(gateway.request(1, 256, "a"), Verdict::Waits, "each worker has its own queue");
    gateway.worker(0).forget(RequestId(7));
    assert_eq!(gateway.request(0, 257, "a"), Verdict::Waits);
    gateway.run(5_100);
    let judged = gateway.judged("a");
    assert_eq!((judged.len(), gateway.worker(0).waiting()), (257, 0));
    assert!(judged.iter().all(|verdict| *verdict == Verdict::Unavailable));
}

#[test]
fn a_provider_that_was_never_up_is_503_at_once_after_a_few_failures_and_recovers() {
    let mut gateway = gateway(3, Provider::Down);
    gateway.run(30);
    assert_eq!(gateway.request(0, 1, "a"), Verdict::Waits);
    gateway.run(10_000);
    assert_eq!(gateway.judged("a"), [Verdict::Unavailable]);
    assert_eq!(gateway.request(0, 2, "a"), Verdict::Unavailable);
    gateway.run(3_600_000);
    assert!(gateway.fetches.len() < 140, "{} fetches from a provider that is down", gateway.fetches.len());
    gateway.provider = Provider::Good("a");
    gateway.run(61_000);
    assert_eq!(gateway.all_kids(), vec![Some("a".into()); 3]);
}
