//! Providers, workers, clocks and hosts that fail.

use super::super::source::Plan;
use super::*;
use crate::ports::memory::NoStore;
use crate::ports::{Expected, WriteOutcome};

#[test]
fn keys_are_used_until_keep_stale_after_the_last_good_fetch_and_not_longer() {
    let mut gateway = gateway(3, Provider::Good("a"));
    gateway.run(1_000);
    gateway.provider = Provider::Down;
    gateway.run(590_000);
    assert_eq!(gateway.all_kids(), vec![Some("a".into()); 3]);
    assert_eq!(gateway.count(|kind| matches!(kind, EventKind::StaleServed)), 3);
    gateway.run(15_000);
    assert_eq!(gateway.all_kids(), vec![None; 3]);
    assert_eq!(gateway.request(0, 1, "a"), Verdict::Unavailable);
    assert_eq!(gateway.count(|kind| matches!(kind, EventKind::Expired)), 3);
    gateway.provider = Provider::Good("a");
    gateway.run(61_000);
    assert_eq!(gateway.all_kids(), vec![Some("a".into()); 3]);
}

#[test]
fn a_lying_provider_never_replaces_a_good_set() {
    let lies = [
        Provider::Status(500),
        Provider::Status(204),
        Provider::Status(302),
        Provider::Lies(b""),
        Provider::Lies(b"<html>"),
        Provider::Lies(b"\xff\xfe"),
        Provider::Lies(b"keys:"),
        Provider::Huge,
        Provider::Slow(60_000, "evil"),
        Provider::Lost,
    ];
    for lie in lies {
        let mut gateway = gateway(3, Provider::Good("a"));
        gateway.run(1_000);
        gateway.provider = lie.clone();
        gateway.run(300_000);
        assert_eq!(gateway.all_kids(), vec![Some("a".into()); 3], "{lie:?}");
        gateway.provider = Provider::Good("b");
        gateway.run(70_000);
        assert_eq!(gateway.all_kids(), vec![Some("b".into()); 3], "{lie:?}");
    }
}

#[test]
fn a_leader_that_vanishes_is_replaced_after_its_lease() {
    let mut gateway = gateway(3, Provider::Slow(4_000, "a"));
    gateway.run(500);
    assert_eq!(gateway.fetches.len(), 1);
    let leader = gateway.in_flight[0].1;
    gateway.stop(leader);
    gateway.run(6_000);
    assert_eq!(gateway.fetches.len(), 1, "the lease still runs");
    gateway.run(1_500);
    assert_eq!(gateway.fetches.len(), 2);
    let replaced = |kind: &EventKind| matches!(kind, EventKind::LeaseTaken { replaces_vanished: true, .. });
    assert_eq!(gateway.count(replaced), 1);
    gateway.start(leader);
    gateway.run(5_000);
    assert_eq!(gateway.all_kids(), vec![Some("a".into()); 3]);
}

#[test]
fn a_reloaded_vm_has_the_keys_at_once_even_while_the_provider_is_down() {
    let mut gateway = gateway(2, Provider::Good("a"));
    gateway.run(1_000);
    gateway.provider = Provider::Down;
    gateway.run(200_000);
    gateway.start(1);
    assert_eq!(gateway.kids(1), Some("a".into()));
}

#[test]
fn a_late_answer_of_a_replaced_leader_is_not_used() {
    let store = MemoryStore::default();
    let new = |id| KeySets::new(vec![source()], parse, id, 7, WaitLimits::default()).unwrap();
    let (mut first, mut second) = (new(1), new(2));
    let good = |body: &'static [u8]| FetchOutcome::Answer { status: 200, cache_control: None, body };
    let at = |seconds: u64| UnixNanos::from_secs(1_000 + seconds);
    let early = first.on_tick(at(0), &store).fetches[0].id;
    let late = second.on_tick(at(10), &store).fetches[0].id;
    second.on_response(late, good(b"keys:new"), at(11), &store);
    let actions = first.on_response(early, good(b"keys:old"), at(12), &store);
    assert!(actions.events.iter().any(|event| event.kind == EventKind::AnswerDiscarded));
    for worker in [&first, &second] {
        let Lookup::Ready { keys, generation } = worker.lookup(PROVIDER, at(12)) else { panic!("no keys") };
        assert!(keys.contains("new") && !keys.contains("old"));
        assert_eq!(generation, 2);
    }
    assert_eq!(first.on_response(early, good(b"keys:old"), at(13), &store).events, [], "each answer counts once");
}

#[test]
fn a_clock_that_steps_back_delays_a_refresh_by_no_more_than_a_refresh() {
    for step in [-1_000, -45_000, -3_600_000, -900_000_000] {
        let mut gateway = gateway(3, Provider::Good("a"));
        gateway.run(100_000);
        gateway.clock_step = step;
        gateway.provider = Provider::Good("b");
        gateway.run(61_500);
        assert_eq!(gateway.all_kids(), vec![Some("b".into()); 3], "step of {step} ms");
        gateway.provider = Provider::Down;
        gateway.run(662_000);
        assert_eq!(gateway.all_kids(), vec![None; 3], "keep_stale holds after a step of {step} ms");
    }
}

#[test]
fn a_clock_that_steps_back_during_a_fetch_does_not_block_the_next() {
    let mut gateway = gateway(3, Provider::Lost);
    gateway.run(1_000);
    gateway.clock_step = -3_600_000;
    gateway.provider = Provider::Good("a");
    gateway.run(1_500);
    assert_eq!(gateway.all_kids(), vec![Some("a".into()); 3]);
}

#[test]
fn metadata_of_another_issuer_bring_no_keys() {
    let location = Location::Discovery { authority: "idp.example".into(), issuer: "https://other.example".into() };
    let store = Box::new(MemoryStore::default());
    let mut gateway = Gateway::new(KeySetSource { location, ..source() }, 2, Provider::Good("a"), store);
    gateway.run(30_000);
    assert_eq!(gateway.all_kids(), vec![None; 2]);
    let mismatch = FetchError::Discovery(DiscoveryError::IssuerMismatch);
    assert!(gateway.count(|kind| matches!(kind, EventKind::FetchFailed { error, .. } if *error == mismatch)) > 2);
    assert!(gateway.fetches.iter().all(|(_, path)| path.ends_with("/openid-configuration")));
}

#[test]
fn each_worker_fetches_for_itself_where_the_host_has_no_shared_data() {
    let mut gateway = Gateway::new(source(), 3, Provider::Good("a"), Box::new(NoStore));
    gateway.run(1_000);
    assert_eq!(gateway.fetches.len(), 3);
    assert_eq!(gateway.all_kids(), vec![Some("a".into()); 3]);
    assert_eq!(gateway.count(|kind| matches!(kind, EventKind::StoreUnavailable)), 3);
}

#[test]
fn of_workers_that_tick_in_the_same_instant_one_fetches() {
    let (store, count) = (MemoryStore::default(), std::sync::atomic::AtomicUsize::new(0));
    for round in 0..50 {
        std::thread::scope(|scope| {
            for id in 0..4 {
                let (store, count) = (&store, &count);
                scope.spawn(move || {
                    let mut worker = KeySets::new(vec![source()], parse, id, id, WaitLimits::default()).unwrap();
                    // Each round is a refresh later, and the last round's answer never came.
                    let now = UnixNanos::from_secs(1_000 + round * 60);
                    worker.on_start(now, store);
                    let fetches = worker.on_tick(now, store).fetches.len();
                    count.fetch_add(fetches, std::sync::atomic::Ordering::Relaxed);
                });
            }
        });
    }
    assert_eq!(count.into_inner(), 50);
}

/// A worker with another version of the filter, to which `b` is not a good set.
fn parse_without_b(body: &[u8]) -> Result<Kids, String> {
    parse(body).and_then(|kids| if kids.contains("b") { Err("b is unheard of".into()) } else { Ok(kids) })
}

#[test]
fn keys_do_not_stay_fresh_on_a_worker_that_cannot_load_newer_ones() {
    let store = MemoryStore::default();
    let new = |parse: fn(&[u8]) -> Result<Kids, String>, id| {
        KeySets::new(vec![source()], parse, id, 7, WaitLimits::default()).unwrap()
    };
    let (mut leader, mut picky) = (new(parse, 1), new(parse_without_b, 2));
    let mut complaints = 0;
    for seconds in (1_000..2_000).step_by(10) {
        let now = UnixNanos::from_secs(seconds);
        let body: &[u8] = if seconds < 1_100 { b"keys:a" } else { b"keys:b" };
        for fetch in leader.on_tick(now, &store).fetches {
            leader.on_response(fetch.id, FetchOutcome::Answer { status: 200, cache_control: None, body }, now, &store);
        }
        let events = picky.on_tick(now, &store).events;
        complaints += events.iter().filter(|event| matches!(event.kind, EventKind::LoadFailed { .. })).count();
        let is_ready = matches!(picky.lookup(PROVIDER, now), Lookup::Ready { .. });
        assert_eq!(is_ready, seconds <= 1_060 + 600, "at {seconds}");
    }
    assert_eq!(complaints, 1, "it parses what it cannot read once, not at every tick");
}

#[test]
fn a_body_that_is_behind_its_record_is_not_loaded() {
    let store = MemoryStore::default();
    let new = |id| KeySets::new(vec![source()], parse, id, 7, WaitLimits::default()).unwrap();
    let now = UnixNanos::from_secs(1_000);
    let mut leader = new(1);
    let fetch = leader.on_tick(now, &store).fetches[0].id;
    leader.on_response(fetch, FetchOutcome::Answer { status: 200, cache_control: None, body: b"keys:a" }, now, &store);
    let body_key = Plan::new(source(), &DocumentKind::KEY_SET).unwrap().body_key;
    let (mut body, version) = store.get(&body_key).unwrap().unwrap();
    body[0] = 0;
    assert_eq!(store.compare_and_set(&body_key, &body, Expected::Unchanged(version)), Ok(WriteOutcome::Written));
    let mut late = new(2);
    late.on_tick(now, &store);
    assert!(matches!(late.lookup(PROVIDER, now), Lookup::Wait(_)));
}
