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
            // The service has said how long it refuses: nobody asks before.
            refusal::check(&from(gateway, 1).call(&Call::get("/budget")).unwrap(), 429, "limit_exceeded_globally")
                .unwrap();
        }
        assert_eq!(service.questions().len(), questions.len());
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
