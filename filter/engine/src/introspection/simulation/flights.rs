//! Questions under way, and those who wait for them.

use super::*;

#[test]
fn a_hundred_requests_with_one_token_make_one_question() {
    let mut gateway = gateway();
    let id = gateway.ask(0, "t");
    assert!((1..100).all(|request| gateway.request(request, "t") == Fate::Joins));
    let resumed = gateway.answer_json(id, &active("alice"));
    assert_eq!(gateway.judged(resumed, "t"), vec![allowed("alice"); 100]);
    assert_eq!((gateway.sent.len(), gateway.introspection.waiting(), gateway.introspection.in_flight()), (1, 0, 0));
    assert_eq!(gateway.request(100, "t"), allowed("alice"));
}

#[test]
fn every_token_has_its_own_question_and_answer() {
    let mut gateway = gateway();
    let (one, other) = (gateway.ask(0, "one"), gateway.ask(1, "other"));
    assert_eq!(gateway.sent.iter().map(token_of).collect::<Vec<_>>(), ["one", "other"]);
    let resumed = gateway.answer_json(other, &active("bob"));
    assert_eq!(resumed.len(), 1);
    assert_eq!(gateway.judged(resumed, "other"), [allowed("bob")]);
    let resumed = gateway.answer_json(one, r#"{"active":false}"#);
    assert_eq!(gateway.judged(resumed, "one"), [Fate::Refused(Refusal::Inactive)]);
}

#[test]
fn an_answer_serves_no_other_token_and_no_other_provider() {
    let mut gateway = gateway();
    let id = gateway.ask(0, "t");
    let resumed = gateway.answer_json(id, &active("alice"));
    let [(_, Resume::Retry(answered))] = resumed.as_slice() else { panic!("{resumed:?}") };
    let now = gateway.clock();
    assert!(answered.lookup(PARTNER, b"t", now).is_some());
    assert_eq!(answered.lookup(PARTNER, b"T", now), None);
    assert_eq!(answered.lookup("other", b"t", now), None);
}

#[test]
fn two_providers_are_asked_apart() {
    let other = IntrospectionSource { provider: "other".into(), cluster: "idp2".into(), ..source() };
    let mut gateway = Gateway::new(vec![source(), other], WaitLimits::default());
    let id = gateway.ask(0, "t");
    assert!(matches!(gateway.request_at("other", 1, "t"), Fate::Asks(_)));
    gateway.answer_json(id, &active("alice"));
    assert_eq!(gateway.request(2, "t"), allowed("alice"));
    assert_eq!(gateway.request_at("other", 3, "t"), Fate::Joins);
    assert_eq!(gateway.request_at("nobody", 4, "t"), Fate::Unavailable(1));
}

#[test]
fn an_answer_that_nobody_awaits_changes_nothing() {
    let mut gateway = gateway();
    let id = gateway.ask(0, "t");
    assert_eq!(gateway.answer_json(FetchId(1), &active("evil")), []);
    assert_eq!(gateway.answer_json(FetchId(id.0 + 1), &active("evil")), []);
    assert_eq!(gateway.answer_json(id, r#"{"active":false}"#).len(), 1);
    assert_eq!(gateway.answer_json(id, &active("evil")), [], "the second answer to one question");
    assert_eq!(gateway.request(1, "t"), Fate::Refused(Refusal::Inactive));
}

#[test]
fn who_has_gone_is_not_resumed_and_the_answer_is_kept() {
    let mut gateway = gateway();
    let id = gateway.ask(0, "t");
    gateway.request(1, "t");
    gateway.introspection.forget(RequestId(0));
    let resumed = gateway.answer_json(id, &active("alice"));
    assert_eq!(resumed.iter().map(|(request, _)| request.0).collect::<Vec<_>>(), [1]);
    gateway.introspection.forget(RequestId(0));
    assert_eq!(gateway.request(2, "t"), allowed("alice"));
}

#[test]
fn tokens_under_way_are_bounded_for_each_provider() {
    let small = IntrospectionSource { max_in_flight: 2, ..source() };
    let other = IntrospectionSource { provider: "other".into(), ..small.clone() };
    let mut gateway = Gateway::new(vec![small, other], WaitLimits::default());
    let id = gateway.ask(0, "a");
    gateway.ask(1, "b");
    assert_eq!(gateway.request(2, "c"), Fate::Unavailable(1));
    assert_eq!(gateway.request(3, "a"), Fate::Joins, "it needs no question of its own");
    assert!(matches!(gateway.request_at("other", 4, "c"), Fate::Asks(_)));
    gateway.answer_json(id, &active("alice"));
    assert!(matches!(gateway.request(5, "c"), Fate::Asks(_)));
}

#[test]
fn waiting_requests_are_bounded_and_no_question_is_sent_for_one_that_may_not_wait() {
    let mut gateway = Gateway::new(vec![source()], WaitLimits { max_waiting: 2, ..WaitLimits::default() });
    gateway.ask(0, "a");
    assert_eq!(gateway.request(1, "a"), Fate::Joins);
    assert_eq!(gateway.request(2, "a"), Fate::Unavailable(1));
    assert_eq!(gateway.request(3, "b"), Fate::Unavailable(1));
    assert_eq!((gateway.sent.len(), gateway.introspection.in_flight()), (1, 1));
}

#[test]
fn a_token_that_is_too_long_is_refused_without_a_question() {
    let mut gateway = gateway();
    assert_eq!(gateway.request(0, &"x".repeat(4097)), Fate::Refused(Refusal::TooLarge));
    assert!(matches!(gateway.request(1, &"x".repeat(4096)), Fate::Asks(_)));
}

#[test]
fn nothing_of_a_token_is_shown() {
    let mut gateway = gateway();
    let Lookup::Wait(question) = gateway.introspection.lookup(PARTNER, b"geheim", gateway.clock()) else { panic!() };
    let id = gateway.ask(0, "geheim");
    let under_way = format!("{question:?} {:?} {:?}", gateway.introspection, gateway.sent);
    let resumed = gateway.answer_json(id, &active("vertraulich"));
    let after = format!("{resumed:?} {:?} {:?}", gateway.introspection, gateway.events);
    for secret in ["geheim", "vertraulich", "Z3c6cw"] {
        assert!(!under_way.contains(secret) && !after.contains(secret), "{secret}: {under_way} {after}");
    }
}
