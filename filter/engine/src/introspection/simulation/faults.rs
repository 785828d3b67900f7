//! A server that is down, slow, lies, or refuses the gateway itself.

use super::*;

const REFUSED: FetchOutcome<'_> = FetchOutcome::Answer { status: 401, cache_control: None, body: b"" };

/// Fails three questions: the server is left alone. Gives the pause in milliseconds.
fn break_it(gateway: &mut Gateway) -> u64 {
    for request in 0..3 {
        let id = gateway.ask(request, &format!("broken{request}"));
        gateway.answer(id, FetchOutcome::NoAnswer);
    }
    let pause = gateway.events.iter().find_map(|event| match event.kind {
        EventKind::Paused { pause } => Some(pause),
        _ => None,
    });
    u64::try_from(pause.unwrap().as_millis()).unwrap()
}

#[test]
fn no_failure_ever_refuses_a_token_and_none_is_kept() {
    let lies: [&[u8]; 6] =
        [b"", b"<html>", br#"{"active":"true"}"#, br#"{}"#, br#"{"active":true,"active":true}"#, b"\xff\xfe"];
    let answers = lies.map(|body| FetchOutcome::Answer { status: 200, cache_control: None, body });
    let statuses = [302, 400, 401, 403, 404, 429, 500, 503];
    let statuses =
        statuses.map(|status| FetchOutcome::Answer { status, cache_control: None, body: br#"{"active":false}"# });
    for outcome in [FetchOutcome::NoAnswer, FetchOutcome::TooLarge].into_iter().chain(answers).chain(statuses) {
        let mut gateway = gateway();
        let id = gateway.ask(0, "t");
        let resumed = gateway.answer(id, outcome);
        assert_eq!(gateway.judged(resumed, "t"), [Fate::Unavailable(1)], "{outcome:?}");
        let id = gateway.ask(1, "t");
        gateway.answer_json(id, &active("alice"));
        assert_eq!(gateway.request(2, "t"), allowed("alice"), "after {outcome:?}");
    }
}

#[test]
fn a_server_that_never_answers_holds_nobody() {
    let mut gateway = Gateway::new(
        vec![IntrospectionSource { timeout: Duration::from_secs(2), ..source() }],
        WaitLimits { max_wait: Duration::from_secs(30), ..WaitLimits::default() },
    );
    gateway.ask(0, "t");
    assert_eq!(gateway.request(1, "t"), Fate::Joins);
    assert_eq!(gateway.run(2_900), []);
    let resumed = gateway.run(200);
    assert_eq!(gateway.judged(resumed, "t"), vec![Fate::Unavailable(1); 2]);
    assert_eq!((gateway.introspection.in_flight(), gateway.introspection.waiting()), (0, 0));
    assert_eq!(gateway.names(), ["introspection_failed"]);
}

#[test]
fn a_slow_server_makes_nobody_wait_for_longer_than_may_be_and_its_answer_is_kept() {
    let slow = IntrospectionSource { timeout: Duration::from_secs(20), ..source() };
    let mut gateway = Gateway::new(vec![slow], WaitLimits::default());
    let id = gateway.ask(0, "t");
    let resumed = gateway.run(5_100);
    assert_eq!(gateway.judged(resumed, "t"), [Fate::Unavailable(1)]);
    assert_eq!(gateway.request(1, "t"), Fate::Joins);
    assert_eq!(gateway.answer_json(id, &active("alice")).len(), 1);
    assert_eq!(gateway.request(2, "t"), allowed("alice"));
}

#[test]
fn a_failing_server_is_left_alone_and_one_question_finds_out() {
    let mut gateway = gateway();
    let id = gateway.ask(90, "known");
    gateway.answer_json(id, &active("alice"));
    let pause = break_it(&mut gateway);
    assert!(matches!(gateway.request(4, "t"), Fate::Unavailable(_)));
    assert_eq!(gateway.request(5, "known"), allowed("alice"), "what is known needs no server");
    gateway.now += pause;
    let probe = gateway.ask(6, "t");
    assert_eq!(gateway.request(7, "t"), Fate::Joins);
    assert_eq!(gateway.request(8, "u"), Fate::Unavailable(1));
    let resumed = gateway.answer_json(probe, &active("bob"));
    assert_eq!(gateway.judged(resumed, "t"), vec![allowed("bob"); 2]);
    gateway.ask(9, "u");
    assert!(gateway.names().contains(&"introspection_recovered"));
}

#[test]
fn a_question_that_finds_out_and_is_lost_does_not_keep_the_server_out_for_ever() {
    let mut gateway = gateway();
    gateway.now += break_it(&mut gateway);
    gateway.ask(6, "t");
    gateway.run(6_100 + 10_000);
    let id = gateway.ask(7, "t");
    gateway.answer_json(id, &active("alice"));
    assert_eq!(gateway.request(8, "t"), allowed("alice"));
}

#[test]
fn a_server_that_is_down_is_asked_seldom() {
    let mut gateway = gateway();
    for request in 0..36_000 {
        if let Fate::Asks(id) = gateway.request(request, &format!("t{request}")) {
            gateway.answer(id, FetchOutcome::NoAnswer);
        }
        gateway.now += 100;
    }
    assert!(gateway.sent.len() < 900, "{} questions in an hour", gateway.sent.len());
}

#[test]
fn a_server_that_refuses_the_gateway_is_an_event_of_its_own() {
    let mut gateway = gateway();
    let id = gateway.ask(0, "t");
    let resumed = gateway.answer(id, REFUSED);
    assert_eq!(gateway.judged(resumed, "t"), [Fate::Unavailable(1)]);
    assert_eq!(gateway.names(), ["introspection_client_refused"]);
    assert!(gateway.events.iter().all(|event| event.kind.is_trouble() && *event.provider == *PARTNER));
}

#[test]
fn a_stranger_whose_tokens_the_server_does_not_take_cannot_have_it_left_alone() {
    let mut gateway = gateway();
    for request in 0..100 {
        let id = gateway.ask(request, &format!("odd{request}"));
        gateway.answer(id, FetchOutcome::Answer { status: 400, cache_control: None, body: b"" });
    }
    assert!(!gateway.names().contains(&"introspection_paused"));
}

#[test]
fn one_providers_outage_is_not_anothers() {
    let other = IntrospectionSource { provider: "other".into(), ..source() };
    let mut gateway = Gateway::new(vec![source(), other], WaitLimits::default());
    break_it(&mut gateway);
    assert!(matches!(gateway.request(4, "t"), Fate::Unavailable(_)));
    assert!(matches!(gateway.request_at("other", 5, "t"), Fate::Asks(_)));
}

#[test]
fn a_clock_that_steps_back_loses_no_waiter() {
    let mut gateway = gateway();
    gateway.now += 500_000;
    gateway.ask(0, "t");
    gateway.now -= 500_000;
    let resumed = gateway.run(6_200);
    assert_eq!(gateway.judged(resumed, "t"), [Fate::Unavailable(1)]);
    assert_eq!(gateway.introspection.in_flight(), 0);
}
