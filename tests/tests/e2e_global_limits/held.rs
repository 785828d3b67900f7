//! Requests that wait for the limit service: their bodies, clients that go away, a service that hangs under load, a new configuration.

use portcullis_tests::services::Service;

use super::*;

fn yes(delay: Duration) -> Answer {
    Answer { delay, ..Reply { code: 1, ..Reply::default() }.to_answer() }
}

fn world(service: Value) -> World {
    let limits = json!({
        "by_ip": {"key": "ip", "rate": "10000/min", "scope": "global"},
        "by_user": {"key": "principal", "rate": "10000/min", "scope": "global"},
    });
    let mut world = World::new(limits, service);
    let judged = json!({"name": "judged", "match": {"prefix": "/orders"}, "require": "corp", "limits": ["by_ip", "by_user"], "payload": {}});
    world.configuration["rules"].as_array_mut().unwrap().push(judged);
    world
}

#[test]
fn a_body_waits_for_both_answers_and_is_judged_after_them() {
    let service = Limitador::in_memory([]);
    service.answer_with(Some(yes(Duration::from_millis(200))));
    let orders = Service::plain("orders").unwrap();
    let world = world(json!({}));
    let builder = Gateway::builder().filter(world.configuration.clone()).service(&orders);
    let gateway = builder.http2_cluster("limits", service.server.port()).start().unwrap();
    let token = Token::of("alice").sign(&world.key);
    let post = |body: Vec<u8>| {
        let call = Call::new("POST", "/orders/1").bearer(&token).header("content-type", "text/plain").body(body);
        Client::connect(gateway.port()).unwrap().call(&call).unwrap()
    };
    let long = vec![b'a'; 100_000];
    let passed = post(long.clone());
    assert_eq!((passed.status, &passed.json()["body_bytes"]), (200, &json!(long.len())));
    refusal::check(&post(b"1' UNION SELECT password FROM users--".to_vec()), 403, "payload_attack").unwrap();
    service.answer_with(Some(Reply { code: 2, ..Reply::default() }.to_answer()));
    refusal::check(&post(long), 429, "limit_exceeded_globally").unwrap();
    assert_eq!(orders.hits(), 1, "the service saw nothing of the others");
    // One by address and one by identity for each of the first two.
    assert_eq!(service.questions().len(), 5);
}

#[test]
fn clients_that_go_away_cost_nothing_and_harm_nobody() {
    let service = Limitador::in_memory([]);
    service.answer_with(Some(yes(Duration::from_millis(300))));
    let gateway = world(json!({})).gateway(service.server.port());
    for _ in 0..100 {
        drop(gateway.send(&Call::get("/by_ip")).unwrap());
    }
    assert!(eventually(Duration::from_secs(10), || service.questions().len() == 100));
    service.answer_with(None);
    assert_eq!(get(&gateway, "/by_ip").status, 200);
    // An answer for somebody who is gone is an answer.
    assert_eq!(counted(&gateway, "by_ip", "service_failed"), 0);
    assert!(!gateway.log().contains("limit service:"), "{}", gateway.log());
    gateway.check_unharmed().unwrap();
}

#[test]
fn no_more_questions_are_under_way_than_may_and_the_rest_is_decided_here() {
    let service = Limitador::in_memory([]);
    service.answer_with(Some(Answer { stall: Stall::BeforeHead, ..yes(Duration::ZERO) }));
    let gateways = [world(json!({"max_in_flight": 3, "timeout": "2s"})).gateway(service.server.port())];
    // Two workers, three questions each; the others are let in at once, by the local counter.
    assert_eq!(storm(&gateways, 1, "/by_ip", 50), 400);
    let asked = service.questions().len();
    assert!((1..=30).contains(&asked), "{asked} questions for 400 requests");
    gateways[0].check_unharmed().unwrap();
}

#[test]
fn a_request_that_waits_while_the_configuration_changes_gets_an_answer() {
    let service = Limitador::in_memory([]);
    service.answer_with(Some(yes(Duration::from_secs(2))));
    let world = world(json!({"timeout": "4s"}));
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let builder = Gateway::builder().filter(world.configuration.clone()).route(passed).filter_reloadable();
    let mut gateway = builder.http2_cluster("limits", service.server.port()).start().unwrap();
    let port = gateway.port();
    let waiting = thread::spawn(move || Client::connect(port).unwrap().call(&Call::get("/by_ip")).unwrap().status);
    assert!(eventually(Duration::from_secs(5), || service.questions().len() == 1));
    let mut local = world.configuration.clone();
    local["mode"] = json!("monitor");
    gateway.reload(local).unwrap();
    assert_eq!(waiting.join().unwrap(), 200);
    service.answer_with(None);
    assert_eq!(get(&gateway, "/by_ip").status, 200);
    gateway.check_unharmed().unwrap();
}
