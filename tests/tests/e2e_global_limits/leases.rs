//! Limits with a lease: few questions, and still not one request beyond the budget.

use super::*;

fn world(size: u64, length: &str) -> World {
    let lease = json!({"size": size, "for": length});
    let budget = json!({"key": "ip", "rate": "100000/d", "scope": "global", "lease": lease});
    World::new(json!({"budget": budget}), json!({"on_error": "deny"}))
}

#[test]
fn all_workers_of_two_gateways_spend_leases_of_one_budget_and_not_one_request_more() {
    for workers in [2, 4] {
        let service = Limitador::in_memory([limit("budget", 305)]);
        let world = world(20, "1m");
        let gateways = [0, 1].map(|_| world.gateway_of(workers, service.server.port()));
        // 1600 calls of one client; fifteen leases, and five units for which no lease is to be had.
        assert_eq!(storm(&gateways, 1, "/budget", 100), 305, "{workers} workers");
        let questions = service.questions();
        assert!((15 + 5..=100).contains(&questions.len()), "{} questions for 1600 calls", questions.len());
        assert!(questions.iter().all(|question| [1, 20].contains(&question.hits)));
        for gateway in &gateways {
            refusal::check(&from(gateway, 1).call(&Call::get("/budget")).unwrap(), 429, "limit_exceeded_globally")
                .unwrap();
        }
        // Nobody has asked but where the refusal was ten seconds old: for a lease, and for one alone.
        assert!(service.questions().len() <= questions.len() + 4);
        // Another client has a budget of its own.
        assert_eq!(from(&gateways[1], 2).call(&Call::get("/budget")).unwrap().status, 200);
        let leased = || gateways.iter().map(|gateway| counted(gateway, "budget", "leased")).sum::<u64>();
        assert!(eventually(Duration::from_secs(5), || leased() >= 200), "{}", leased());
        gateways.iter().for_each(|gateway| gateway.check_unharmed().unwrap());
    }
}

#[test]
fn a_refusal_that_is_remembered_says_why_and_how_long_to_wait() {
    let service = Limitador::in_memory([limit("budget", 1)]);
    let gateway = world(10, "2s").gateway(service.server.port());
    let answers: Vec<Response> = (0..3).map(|_| from(&gateway, 1).call(&Call::get("/budget")).unwrap()).collect();
    assert_eq!(answers[0].status, 200);
    assert!(answers[0].header("ratelimit").unwrap().starts_with(r#""budget";r=99999"#), "{:?}", answers[0]);
    for refused in &answers[1..] {
        refusal::check(refused, 429, "limit_exceeded_globally").unwrap();
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((DAY - 60..=DAY).contains(&wait), "what Limitador says: {wait}");
    }
    // A lease, one alone, one that was refused; and the third call asked nobody.
    let hits: Vec<u64> = service.questions().iter().map(|question| question.hits).collect();
    assert_eq!(hits, [10, 1, 1]);
    let events = || ["service_refused", "refused_again"].map(|event| counted(&gateway, "budget", event));
    assert!(eventually(Duration::from_secs(5), || events() == [1, 1]), "{:?}", events());
}

#[test]
fn what_was_granted_is_spent_while_the_service_is_away_and_then_its_absence_counts() {
    let service = Limitador::in_memory([limit("budget", 1_000)]);
    let gateway = world(10, "1m").gateway(service.server.port());
    let ask = || from(&gateway, 1).call(&Call::get("/budget")).unwrap();
    assert_eq!(ask().status, 200);
    service.answer_with(Some(Answer::status(503)));
    let statuses: Vec<u16> = (0..9).map(|_| ask().status).collect();
    assert_eq!(statuses, [200; 9]);
    refusal::check(&ask(), 503, "limit_service_unavailable").unwrap();
    service.answer_with(None);
    assert!(eventually(Duration::from_secs(15), || ask().status == 200));
    gateway.check_unharmed().unwrap();
}

#[test]
fn requests_that_come_while_a_lease_is_on_its_way_wait_for_it_together() {
    let service = Limitador::in_memory([]);
    let slow = Answer { delay: Duration::from_millis(300), ..Reply { code: 1, ..Reply::default() }.to_answer() };
    service.answer_with(Some(slow));
    let gateways = [world(100, "1m").gateway_of(1, service.server.port())];
    assert_eq!(storm(&gateways, 1, "/budget", 10), 80);
    assert_eq!(service.questions().len(), 1, "eight connections, one question");
}

/// A gateway whose configuration can change, and whose client has used up the budget at the service for the day.
fn used_up(world: &World, service: &Limitador) -> Gateway {
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let builder = Gateway::builder().filter(world.configuration.clone()).route(passed).filter_reloadable();
    let gateway = builder.http2_cluster("limits", service.server.port()).start().unwrap();
    assert_eq!(from(&gateway, 1).call(&Call::get("/budget")).unwrap().status, 200);
    refusal::check(&from(&gateway, 1).call(&Call::get("/budget")).unwrap(), 429, "limit_exceeded_globally").unwrap();
    gateway
}

#[test]
fn a_budget_that_is_reset_at_the_service_is_there_within_seconds() {
    let service = Limitador::in_memory([limit("budget", 1)]);
    let gateway = used_up(&world(10, "1m"), &service);
    service.reset([limit("budget", 1_000)]);
    let statuses = || from(&gateway, 1).call(&Call::get("/budget")).unwrap().status;
    assert!(eventually(Duration::from_secs(15), || statuses() == 200), "the service had refused for a day");
    gateway.check_unharmed().unwrap();
}

#[test]
fn what_a_service_has_refused_binds_no_other_rate_and_no_other_domain() {
    let service = Limitador::in_memory([limit("budget", 1)]);
    let raised = |world: &mut World| world.configuration["limits"]["budget"]["rate"] = json!("200000/d");
    let moved = |world: &mut World| world.configuration["limit_service"]["domain"] = json!("shop2");
    for change in [&raised as &dyn Fn(&mut World), &moved] {
        service.reset([limit("budget", 1)]);
        let mut world = world(10, "1m");
        let mut gateway = used_up(&world, &service);
        change(&mut world);
        // The service has a budget for what it is asked about now.
        service.reset([limit("budget", 1_000)]);
        gateway.reload(world.configuration).unwrap();
        let asked = service.questions().len();
        assert_eq!(from(&gateway, 1).call(&Call::get("/budget")).unwrap().status, 200);
        assert_eq!(service.questions().len(), asked + 1);
        gateway.check_unharmed().unwrap();
    }
}

#[test]
fn clients_for_whom_the_table_of_leases_has_no_place_are_counted() {
    let service = Limitador::in_memory([]);
    let mut world = world(2, "1m");
    let limit = &mut world.configuration["limits"]["budget"];
    (limit["capacity"], limit["on_overflow"]) = (json!(1), json!("allow"));
    let gateway = world.gateway(service.server.port());
    for _ in 0..2 {
        (1..=60).for_each(|client| assert_eq!(from(&gateway, client).call(&Call::get("/budget")).unwrap().status, 200));
    }
    let events = || ["lease_overflow", "leased"].map(|event| counted(&gateway, "budget", event));
    let asked_alone = || service.questions().iter().filter(|question| question.hits == 1).count() as u64;
    // Thirty-two have a lease, and spend it; the others ask each time.
    assert!(eventually(Duration::from_secs(5), || events() == [2 * 28, 32]), "{:?}", events());
    assert_eq!(asked_alone(), 2 * 28);
    gateway.check_unharmed().unwrap();
}
