//! All is well: keys come, are refreshed, rotate and are withdrawn.

use super::*;

#[test]
fn the_first_keys_come_before_any_request_and_once_for_all_workers() {
    for workers in 1..=5 {
        let mut gateway = gateway(workers, Provider::Good("a,b"));
        gateway.run(1_000);
        assert_eq!(gateway.fetches.len(), 1);
        assert_eq!(gateway.all_kids(), vec![Some("a,b".into()); workers]);
        assert_eq!(gateway.count(|kind| matches!(kind, EventKind::Loaded { .. })), workers - 1);
    }
}

#[test]
fn each_refresh_is_one_fetch_for_all_workers() {
    for workers in 1..=5 {
        let mut gateway = gateway(workers, Provider::Good("a"));
        gateway.run(3_600_000);
        let count = gateway.fetches.len();
        assert!((60..=68).contains(&count), "{count} fetches in an hour by {workers} workers");
        assert!(gateway.fetches.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 54_000));
        assert_eq!(gateway.count(|kind| matches!(kind, EventKind::Fetched { changed: true, .. })), 1);
        assert_eq!(gateway.count(|kind| matches!(kind, EventKind::StaleServed)), 0);
    }
}

#[test]
fn a_short_max_age_brings_refreshes_forward_but_not_without_bound() {
    let mut gateway = gateway(3, Provider::Cached("max-age=1", "a"));
    gateway.run(600_000);
    assert!((110..=140).contains(&gateway.fetches.len()), "{}", gateway.fetches.len());
}

#[test]
fn equal_bytes_keep_their_generation_so_that_cached_tokens_live() {
    let mut gateway = gateway(2, Provider::Good("a"));
    let held = |gateway: &mut Gateway, index| {
        let now = gateway.clock();
        let Lookup::Ready { keys, generation } = gateway.worker(index).lookup(PROVIDER, now) else { panic!("no keys") };
        (std::rc::Rc::as_ptr(&keys), generation)
    };
    gateway.run(1_000);
    let before = [held(&mut gateway, 0), held(&mut gateway, 1)];
    gateway.run(300_000);
    assert_eq!([held(&mut gateway, 0), held(&mut gateway, 1)], before);
    gateway.provider = Provider::Good("a,b");
    gateway.run(62_000);
    assert_ne!(held(&mut gateway, 0).1, before[0].1);
    assert_ne!(held(&mut gateway, 1).1, before[1].1);
}

#[test]
fn a_withdrawn_key_is_gone_on_all_workers_within_a_refresh_and_a_tick() {
    let mut gateway = gateway(5, Provider::Good("a,b"));
    gateway.run(100_000);
    gateway.provider = Provider::Good("b");
    gateway.run(60_000 + 1_040 + 40);
    assert_eq!(gateway.all_kids(), vec![Some("b".into()); 5]);
}

#[test]
fn two_generations_of_keys_overlap_on_rotation() {
    let mut gateway = gateway(3, Provider::Good("old"));
    gateway.run(90_000);
    gateway.provider = Provider::Good("new,old");
    assert_eq!(gateway.request(0, 1, "new"), Verdict::Waits);
    assert_eq!(gateway.request(1, 1, "old"), Verdict::Allowed, "the old key works all the while");
    gateway.run(200);
    assert_eq!(gateway.judged("new"), [Verdict::Allowed]);
    for index in 0..3 {
        assert_eq!(gateway.request(index, 2, "new"), Verdict::Allowed, "others find the keys in shared data");
        assert_eq!(gateway.request(index, 3, "old"), Verdict::Allowed);
    }
}

#[test]
fn discovery_leads_to_the_key_set_and_both_requests_go_to_the_cluster() {
    let location = Location::Discovery { authority: "idp.example".into(), issuer: ISSUER.into() };
    let store = Box::new(MemoryStore::default());
    let mut gateway = Gateway::new(KeySetSource { location, ..source() }, 3, Provider::Good("a"), store);
    gateway.run(1_000);
    assert_eq!(gateway.all_kids(), vec![Some("a".into()); 3]);
    let paths: Vec<&str> = gateway.fetches.iter().map(|(_, path)| path.as_str()).collect();
    assert_eq!(paths, ["/realms/x/.well-known/openid-configuration", "/k"]);
    gateway.provider = Provider::Slow(4_500, "b");
    gateway.run(72_000);
    assert_eq!(gateway.all_kids(), vec![Some("b".into()); 3], "the lease covers both requests");
    assert_eq!(gateway.fetches.len(), 4);
}

#[test]
fn providers_do_not_share_keys_and_shared_data_hold_two_values_each() {
    let store = MemoryStore::default();
    let other = KeySetSource { provider: "partner".into(), ..source() };
    let mut worker = KeySets::new(vec![source(), other], parse, 1, 7, WaitLimits::default()).unwrap();
    let now = UnixNanos::from_secs(1_000);
    let fetches = worker.on_tick(now, &store).fetches;
    assert_eq!(fetches.len(), 2);
    for (fetch, body) in fetches.iter().zip([b"keys:a", b"keys:b"]) {
        worker.on_response(fetch.id, FetchOutcome::Answer { status: 200, cache_control: None, body }, now, &store);
    }
    for (provider, kid) in [("corp", "a"), ("partner", "b")] {
        let Lookup::Ready { keys, .. } = worker.lookup(provider, now) else { panic!("no keys for {provider}") };
        assert!(keys.contains(kid) && keys.len() == 1);
    }
    assert!(matches!(worker.lookup("nobody", now), Lookup::Unavailable { .. }));
    assert_eq!(store.key_count(), 4);
    let twice = KeySets::new(vec![source(), source()], parse, 1, 7, WaitLimits::default());
    assert_eq!(twice.err(), Some(SourceError::DuplicateProvider(PROVIDER.into())));
}
