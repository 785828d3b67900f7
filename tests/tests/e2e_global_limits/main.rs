//! Limits over several Envoys: two of them, one real limit service (the crate `limitador` behind the protocol's one method), one
//! budget. And what happens when the service is down, slow, talks nonsense, or belongs to somebody else.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

mod definition;
mod held;
mod leases;
mod redis;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use limitador::RateLimiter;
use limitador::limit::{Context, Limit};
use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::rls::{self, Question, Reply};
use portcullis_tests::server::{Answer, Server, Stall};
use portcullis_tests::{eventually, filter, refusal};
use serde_json::{Value, json};

use self::redis::RedisCounters;

const DOMAIN: &str = "shop";
/// A window that no test outlives.
const DAY: u64 = 86_400;

/// A limit service: Limitador counts, the rest speaks the protocol as Limitador's own server does.
struct Limitador {
    server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    limiter: RateLimiter,
    questions: Vec<Question>,
    /// In place of what Limitador says.
    answer: Option<Answer>,
}

impl Limitador {
    fn start(limiter: RateLimiter) -> Self {
        let state = Arc::new(Mutex::new(State { limiter, questions: Vec::new(), answer: None }));
        let shared = Arc::clone(&state);
        let server = Server::start(0, None, move |request| {
            // Limitador checks, and then counts; questions that come together would both pass.
            let mut state = shared.lock().unwrap();
            assert_eq!((request.version.as_str(), request.path.as_str()), ("HTTP/2.0", rls::PATH));
            assert_eq!(request.header("content-type"), Some("application/grpc"));
            assert_eq!(request.header("te"), Some("trailers"));
            let question = Question::read(&request.body).unwrap();
            let answer = state.answer.clone().unwrap_or_else(|| count(&state.limiter, &question).to_answer());
            state.questions.push(question);
            answer
        });
        Self { server: server.unwrap(), state }
    }

    fn in_memory(limits: impl IntoIterator<Item = Limit>) -> Self {
        let limiter = RateLimiter::new(10_000);
        limits.into_iter().for_each(|limit| assert!(limiter.add_limit(limit)));
        Self::start(limiter)
    }

    /// Counts anew, by these limits.
    fn reset(&self, limits: impl IntoIterator<Item = Limit>) {
        let limiter = RateLimiter::new(10_000);
        limits.into_iter().for_each(|limit| assert!(limiter.add_limit(limit)));
        self.state.lock().unwrap().limiter = limiter;
    }

    fn questions(&self) -> Vec<Question> {
        self.state.lock().unwrap().questions.clone()
    }

    fn answer_with(&self, answer: Option<Answer>) {
        self.state.lock().unwrap().answer = answer;
    }
}

/// `ShouldRateLimit` as Limitador's server does it, headers included.
fn count(limiter: &RateLimiter, question: &Question) -> Reply {
    let descriptors = question.descriptors.iter().map(|d| d.entries.iter().cloned().collect::<HashMap<_, _>>());
    let mut context = Context::default();
    context.list_binding("descriptors".to_owned(), descriptors.collect());
    let checked =
        limiter.check_rate_limited_and_update(&question.domain.clone().into(), &context, question.hits.max(1));
    let mut checked = checked.unwrap();
    let code = if checked.limited { 2 } else { 1 };
    Reply { code, statuses: Vec::new(), headers: checked.response_header().into_iter().collect() }
}

/// A limit of Limitador, as the guide says: for what the gateway calls `name`.
fn limit(name: &str, most: u64) -> Limit {
    let key = format!("descriptors[0]['{name}']");
    let is_asked = format!("{key} != ''");
    Limit::new(DOMAIN, most, DAY, [is_asked.as_str().try_into().unwrap()], [key.as_str().try_into().unwrap()])
}

struct World {
    key: SigningKey,
    configuration: Value,
}

impl World {
    fn new(limits: Value, service: Value) -> Self {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let names: Vec<&String> = limits.as_object().unwrap().keys().collect();
        let public = |name: &String| json!({"name": name, "match": {"path": format!("/{name}")}, "allow": "public", "limits": [name]});
        let user = |name: &String| json!({"name": format!("{name}-user"), "match": {"path": format!("/user/{name}")}, "require": "corp", "limits": [name]});
        let mut rules: Vec<Value> = names.iter().map(|name| public(name)).collect();
        rules.extend(names.iter().map(|name| user(name)));
        let all = json!({"name": "all", "match": {"path": "/user-all"}, "require": "corp", "limits": names, "cost": 2});
        rules.push(all);
        let mut section = json!({"cluster": "limits", "kind": "limitador", "domain": DOMAIN, "timeout": "2s"});
        section.as_object_mut().unwrap().extend(service.as_object().unwrap().clone());
        let configuration = json!({
            "version": 1,
            "providers": {"corp": filter::provider(&["ES256"], json!({"inline": jwks([&key])}))},
            "limit_service": section,
            "limits": limits,
            "rules": rules,
        });
        Self { key, configuration }
    }

    fn gateway(&self, port: u16) -> Gateway {
        self.gateway_of(2, port)
    }

    fn gateway_of(&self, workers: u32, port: u16) -> Gateway {
        let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
        let builder = Gateway::builder().filter(self.configuration.clone()).workers(workers).route(passed);
        builder.http2_cluster("limits", port).start().unwrap()
    }

    fn user(&self, gateway: &Gateway, path: &str, name: &str) -> Response {
        let token = Token::of(name).sign(&self.key);
        Client::connect(gateway.port()).unwrap().call(&Call::get(path).bearer(&token)).unwrap()
    }
}

fn from(gateway: &Gateway, address: u8) -> Client {
    Client::connect_from(Ipv4Addr::new(127, 0, 3, address), gateway.port()).unwrap()
}

fn get(gateway: &Gateway, path: &str) -> Response {
    Client::connect(gateway.port()).unwrap().call(&Call::get(path)).unwrap()
}

/// Sends `each` calls over each of eight connections to each gateway at the same time; how many passed.
fn storm(gateways: &[Gateway], address: u8, path: &'static str, each: usize) -> usize {
    let clients = gateways.iter().flat_map(|gateway| (0..8).map(move |_| from(gateway, address)));
    let threads: Vec<_> = clients
        .map(|mut client| {
            thread::spawn(move || (0..each).filter(|_| client.call(&Call::get(path)).unwrap().status == 200).count())
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

fn counted(gateway: &Gateway, limit: &str, event: &str) -> u64 {
    gateway.counter("portcullis_limit_events", &[("limit", limit), ("event", event)]).unwrap()
}

#[test]
fn two_gateways_spend_one_budget_and_not_one_request_more() {
    let service = Limitador::in_memory([limit("budget", 100)]);
    let world = World::new(json!({"budget": {"key": "ip", "rate": "100/d", "scope": "global"}}), json!({}));
    let gateways = [world.gateway(service.server.port()), world.gateway(service.server.port())];
    // 320 calls of one client over both; alone, each gateway would let 100 pass.
    assert_eq!(storm(&gateways, 1, "/budget", 20), 100);
    // Each gateway has asked as often as its own counter admits, at most.
    let asked = service.questions().len();
    assert!((100..=200).contains(&asked), "{asked} questions");
    // Another client has a budget of its own.
    assert_eq!(from(&gateways[1], 2).call(&Call::get("/budget")).unwrap().status, 200);
    for gateway in &gateways {
        assert!(eventually(Duration::from_secs(5), || counted(gateway, "budget", "asked") > 0));
        assert_eq!(counted(gateway, "budget", "service_failed"), 0);
        gateway.check_unharmed().unwrap();
    }
}

#[test]
fn two_limit_services_on_one_redis_count_for_two_gateways() {
    let Some(redis) = redis::start() else { return };
    let limitador = || {
        let limiter = RateLimiter::new_with_storage(Box::new(RedisCounters::new(redis.connect().unwrap())));
        assert!(limiter.add_limit(limit("budget", 60)));
        Limitador::start(limiter)
    };
    let services = [limitador(), limitador()];
    let world = World::new(json!({"budget": {"key": "ip", "rate": "100/d", "scope": "global"}}), json!({}));
    let gateways = services.each_ref().map(|service| world.gateway(service.server.port()));
    assert_eq!(storm(&gateways, 1, "/budget", 20), 60);
    let refused = from(&gateways[0], 1).call(&Call::get("/budget")).unwrap();
    assert_eq!(refused.status, 429);
    assert!(services.iter().all(|service| !service.questions().is_empty()), "both were asked");
    // A service that starts anew knows what was counted: the counters are not its own.
    let late = limitador();
    let gateway = world.gateway(late.server.port());
    let refused = from(&gateway, 1).call(&Call::get("/budget")).unwrap();
    refusal::check(&refused, 429, "limit_exceeded_globally").unwrap();
    assert_eq!(from(&gateway, 2).call(&Call::get("/budget")).unwrap().status, 200);
}

#[test]
fn a_refusal_of_the_service_says_why_and_how_long_to_wait() {
    let service = Limitador::in_memory([limit("few", 2)]);
    let world = World::new(json!({"few": {"key": "principal", "rate": "50/min", "scope": "global"}}), json!({}));
    let gateways = [world.gateway(service.server.port()), world.gateway(service.server.port())];
    let first = world.user(&gateways[0], "/user/few", "alice");
    assert_eq!(first.status, 200);
    assert!(first.header("ratelimit").unwrap().starts_with(r#""few";r=1"#), "as Limitador has it: {first:?}");
    assert_eq!(world.user(&gateways[1], "/user/few", "alice").status, 200);
    let refused = world.user(&gateways[0], "/user/few", "alice");
    refusal::check(&refused, 429, "limit_exceeded_globally").unwrap();
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((DAY - 60..=DAY).contains(&wait), "what Limitador says: {wait}");
    assert_eq!(world.user(&gateways[0], "/user/few", "bob").status, 200);
    assert!(eventually(Duration::from_secs(5), || counted(&gateways[0], "few", "service_refused") == 1));
    let first = &service.questions()[0];
    assert_eq!((first.domain.as_str(), first.hits), (DOMAIN, 1));
    assert_eq!(first.descriptors[0].text(), "few=principal=corp:alice");
}

#[test]
fn several_limits_are_one_question_and_none_is_charged_if_one_refuses() {
    let limits = [limit("by_user", 10), limit("by_method", 4)];
    let service = Limitador::in_memory(limits);
    let world = World::new(
        json!({
            "by_user": {"key": "principal", "rate": "50/min", "scope": "global"},
            "by_method": {"key": ["claim:sub", "method"], "rate": "50/min", "scope": "global"},
        }),
        json!({}),
    );
    let gateway = world.gateway(service.server.port());
    // Each costs two.
    let statuses: Vec<u16> = (0..3).map(|_| world.user(&gateway, "/user-all", "alice").status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    let questions = service.questions();
    assert_eq!((questions.len(), questions[0].descriptors[0].entries.len(), questions[0].hits), (3, 2, 2));
    // Six of ten are left: the refused question has charged nothing.
    let statuses: Vec<u16> = (0..7).map(|_| world.user(&gateway, "/user/by_user", "alice").status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 429]);
}

#[test]
fn another_kind_of_service_gets_a_descriptor_for_each_limit() {
    let service = Limitador::in_memory([]);
    let limits = json!({
        "by_user": {"key": "principal", "rate": "50/min", "scope": "global"},
        "by_method": {"key": ["claim:sub", "method"], "rate": "5/30s", "scope": "global"},
    });
    let world = World::new(limits, json!({"kind": "ratelimit"}));
    let gateway = world.gateway(service.server.port());
    // As envoyproxy/ratelimit answers: how each descriptor stands.
    let statuses = vec![(1, 9, 4, 30), (1, 50, 20, 30)];
    service.answer_with(Some(Reply { code: 1, statuses, headers: Vec::new() }.to_answer()));
    let passed = world.user(&gateway, "/user-all", "alice");
    assert_eq!(passed.status, 200);
    assert_eq!(passed.header("ratelimit"), Some(r#""by_method";r=4;t=30, "by_user";r=20;t=30"#));
    let question = &service.questions()[0];
    let texts: Vec<String> = question.descriptors.iter().map(rls::Descriptor::text).collect();
    assert_eq!(texts, ["limit=by_method claim:sub=alice method=GET", "limit=by_user principal=corp:alice"]);
    let rates: Vec<_> = question.descriptors.iter().map(|descriptor| descriptor.rate).collect();
    assert_eq!(rates, [None, Some((50, 2))], "no word for 30 seconds; 50 per minute");
    let statuses = vec![(1, 9, 4, 30), (2, 50, 0, 30)];
    service.answer_with(Some(Reply { code: 2, statuses, headers: Vec::new() }.to_answer()));
    let refused = world.user(&gateway, "/user-all", "alice");
    refusal::check(&refused, 429, "limit_exceeded_globally").unwrap();
    assert_eq!(refused.header("ratelimit"), Some(r#""by_user";r=0;t=30"#));
    assert_eq!(refused.header("retry-after"), Some("30"));
}

#[test]
fn a_flood_does_not_leave_the_process() {
    let service = Limitador::in_memory([limit("flooded", 1_000_000)]);
    let world = World::new(json!({"flooded": {"key": "ip", "rate": "30/d", "scope": "global"}}), json!({}));
    let gateways = [world.gateway(service.server.port())];
    assert_eq!(storm(&gateways, 1, "/flooded", 500), 30);
    assert_eq!(service.questions().len(), 30, "4000 requests, 30 questions");
}

#[test]
fn without_the_service_each_gateway_counts_for_itself() {
    // Nobody listens there.
    let port = portcullis_tests::server::listen(0).unwrap().local_addr().unwrap().port();
    let world = World::new(json!({"budget": {"key": "ip", "rate": "40/d", "scope": "global"}}), json!({}));
    let gateways = [world.gateway(port), world.gateway(port)];
    assert_eq!(storm(&gateways, 1, "/budget", 20), 80, "forty on each");
    for gateway in &gateways {
        assert!(eventually(Duration::from_secs(5), || counted(gateway, "budget", "service_failed") == 40));
        assert!(gateway.log().contains("limit service: grpc-status 14"), "{}", gateway.log());
        gateway.check_unharmed().unwrap();
    }
}

#[test]
fn what_says_nothing_is_neither_yes_nor_no() {
    let service = Limitador::in_memory([limit("budget", 1_000)]);
    let limits = json!({"budget": {"key": "ip", "rate": "1000/d", "scope": "global"}});
    let strict = World::new(limits.clone(), json!({"on_error": "deny", "timeout": "300ms"}));
    let lenient = World::new(limits, json!({"timeout": "300ms"}));
    let gateways = [strict.gateway(service.server.port()), lenient.gateway(service.server.port())];
    let grpc = vec![("content-type".to_owned(), "application/grpc".to_owned())];
    let trailers = |status: &str| vec![("grpc-status".to_owned(), status.to_owned())];
    let good = Reply { code: 1, ..Reply::default() }.to_answer();
    let nonsense = [
        Answer { stall: Stall::BeforeHead, ..good.clone() },
        Answer { stall: Stall::InBody, ..good.clone() },
        Answer { status: 503, ..good.clone() },
        Answer { trailers: trailers("14"), ..good.clone() },
        Answer { trailers: Vec::new(), ..good.clone() },
        Answer { headers: grpc.clone(), trailers: trailers("0"), body: "\0\0\0\0\u{7f}".into(), ..Answer::status(200) },
        Answer { headers: grpc, trailers: trailers("0"), body: vec![b'x'; 200_000].into(), ..Answer::status(200) },
        Answer::json(200, &json!({"overall_code": "OK"})),
        // UNKNOWN, as Limitador says of an empty domain.
        Reply::default().to_answer(),
    ];
    for answer in nonsense {
        // So that the last failures leave nobody alone.
        let ready = |gateway: &Gateway| {
            service.answer_with(None);
            eventually(Duration::from_secs(15), || {
                let before = service.questions().len();
                get(gateway, "/budget").status == 200 && service.questions().len() > before
            })
        };
        assert!(gateways.iter().all(ready), "the service is asked again once it answers");
        service.answer_with(Some(answer.clone()));
        let refused = get(&gateways[0], "/budget");
        refusal::check(&refused, 503, "limit_service_unavailable")
            .unwrap_or_else(|error| panic!("{answer:?}: {error}"));
        assert_eq!(get(&gateways[1], "/budget").status, 200, "{answer:?}");
    }
    gateways.iter().for_each(|gateway| gateway.check_unharmed().unwrap());
}

#[test]
fn a_domain_that_the_service_does_not_know_leaves_the_local_limit() {
    let service = Limitador::in_memory([limit("budget", 1)]);
    let limits = json!({"budget": {"key": "ip", "rate": "5/d", "scope": "global"}});
    let world = World::new(limits, json!({"domain": "somebody-else"}));
    let gateways = [world.gateway(service.server.port())];
    assert_eq!(storm(&gateways, 1, "/budget", 5), 5, "Limitador admits what it has no limit for");
}

#[test]
fn in_monitor_mode_the_service_is_asked_and_nobody_is_refused() {
    let service = Limitador::in_memory([limit("watched", 2)]);
    let limits = json!({"watched": {"key": "ip", "rate": "50/d", "scope": "global", "mode": "monitor"}});
    let world = World::new(limits, json!({"on_error": "deny"}));
    let gateway = world.gateway(service.server.port());
    let responses: Vec<Response> = (0..5).map(|_| get(&gateway, "/watched")).collect();
    assert!(responses.iter().all(|response| response.status == 200 && response.header("ratelimit").is_none()));
    let labels = [("rule", "watched"), ("reason", "limit_exceeded_globally"), ("verdict", "monitored")];
    assert!(eventually(Duration::from_secs(5), || gateway.counter("portcullis_decisions", &labels).unwrap() == 3));
    assert_eq!(service.questions().len(), 5);
}
