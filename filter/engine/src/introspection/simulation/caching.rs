//! How long an answer holds.

use super::*;

fn told(gateway: &mut Gateway, token: &str, json: &str) {
    let id = gateway.ask(0, token);
    gateway.answer_json(id, json);
}

fn asks(gateway: &mut Gateway, token: &str) -> bool {
    matches!(gateway.request(1, token), Fate::Asks(_))
}

#[test]
fn a_good_answer_holds_for_the_configured_time() {
    let mut gateway = gateway();
    told(&mut gateway, "t", &active("alice"));
    gateway.now += 59_999;
    assert_eq!(gateway.request(1, "t"), allowed("alice"));
    gateway.now += 1;
    assert!(asks(&mut gateway, "t"));
}

#[test]
fn a_good_answer_never_outlives_exp() {
    let mut gateway = gateway();
    told(&mut gateway, "t", r#"{"active":true,"sub":"alice","exp":1003.5}"#);
    gateway.now = 1_003_499;
    assert_eq!(gateway.request(1, "t"), allowed("alice"));
    gateway.now = 1_003_500;
    assert!(asks(&mut gateway, "t"), "the server may have prolonged it");
}

#[test]
fn an_exp_far_away_prolongs_nothing() {
    let mut gateway = gateway();
    told(&mut gateway, "t", r#"{"active":true,"sub":"alice","exp":1e300}"#);
    gateway.now += 60_000;
    assert!(asks(&mut gateway, "t"));
}

#[test]
fn a_bad_answer_holds_for_its_own_time() {
    let mut gateway = gateway();
    told(&mut gateway, "t", r#"{"active":false}"#);
    gateway.now += 9_999;
    assert_eq!(gateway.request(1, "t"), Fate::Refused(Refusal::Inactive));
    gateway.now += 1;
    assert!(asks(&mut gateway, "t"));
}

#[test]
fn without_a_cache_every_request_asks_and_still_gets_its_answer() {
    let none = IntrospectionSource { cache: Duration::ZERO, negative_cache: Duration::ZERO, ..source() };
    for none in [none, IntrospectionSource { max_cache_bytes: 0, ..source() }] {
        let mut gateway = Gateway::new(vec![none], WaitLimits::default());
        for (json, expected) in
            [(active("alice"), allowed("alice")), (r#"{"active":false}"#.into(), Fate::Refused(Refusal::Inactive))]
        {
            let id = gateway.ask(0, "t");
            let resumed = gateway.answer_json(id, &json);
            assert_eq!(gateway.judged(resumed, "t"), [expected]);
        }
        assert!(asks(&mut gateway, "t"));
    }
}

#[test]
fn an_answer_that_expires_before_its_request_is_judged_again_is_refused() {
    let mut gateway = gateway();
    let id = gateway.ask(0, "t");
    let resumed = gateway.answer_json(id, r#"{"active":true,"exp":1001}"#);
    gateway.now = 1_001_000;
    assert_eq!(gateway.judged(resumed, "t"), [Fate::Refused(Refusal::Expired)]);
}

#[test]
fn random_tokens_push_out_no_good_one() {
    let mut gateway =
        Gateway::new(vec![IntrospectionSource { max_cache_bytes: 16_000, ..source() }], WaitLimits::default());
    for client in 0..5 {
        told(&mut gateway, &format!("good{client}"), &active("alice"));
    }
    for stranger in 0..2_000 {
        told(&mut gateway, &format!("random{stranger}"), r#"{"active":false}"#);
    }
    for client in 0..5 {
        assert_eq!(gateway.request(1, &format!("good{client}")), allowed("alice"));
    }
    let counts = gateway.introspection.take_counts();
    assert_eq!((counts.hits, counts.evicted), (5, 0));
    assert!(counts.negative_evicted > 1_900 && counts.misses == 2_005);
}

#[test]
fn a_dropped_token_is_asked_about_again() {
    let mut gateway = gateway();
    told(&mut gateway, "a", &active("alice"));
    told(&mut gateway, "b", &active("bob"));
    gateway.introspection.drop_where(PARTNER, |claims| claims.subject() == Some("alice"));
    gateway.introspection.drop_where("nobody", |_| true);
    assert_eq!(gateway.request(1, "b"), allowed("bob"));
    assert!(asks(&mut gateway, "a"));
    gateway.introspection.drop_token(PARTNER, b"b");
    assert!(asks(&mut gateway, "b"));
}

#[test]
fn an_answer_from_before_a_revocation_serves_nobody_who_comes_after_it() {
    type Drop = fn(&mut Introspection);
    let drops: [Drop; 3] = [
        |introspection| introspection.drop_token(PARTNER, b"t"),
        |introspection| introspection.drop_where(PARTNER, |_| false),
        Introspection::drop_all,
    ];
    for drop in drops {
        let mut gateway = gateway();
        let before = gateway.ask(0, "t");
        drop(&mut gateway.introspection);
        let after = gateway.ask(1, "t");
        let resumed = gateway.answer_json(before, &active("alice"));
        assert_eq!(resumed.iter().map(|(request, _)| request.0).collect::<Vec<_>>(), [0]);
        assert_eq!(gateway.request(2, "t"), Fate::Joins, "the old answer is not kept");
        let resumed = gateway.answer_json(after, r#"{"active":false}"#);
        assert_eq!(gateway.judged(resumed, "t"), vec![Fate::Refused(Refusal::Inactive); 2]);
    }
}

#[test]
fn a_clock_that_steps_back_prolongs_an_answer_by_no_more_than_its_time() {
    let mut gateway = gateway();
    told(&mut gateway, "t", &active("alice"));
    gateway.now -= 30_000;
    assert_eq!(gateway.request(1, "t"), allowed("alice"));
    gateway.now -= 30_001;
    assert!(asks(&mut gateway, "t"));
}
