//! Opaque tokens in the real Envoy with two workers: an introspection endpoint that is fast, slow, down and lying.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "and so has one that finds less than it looks for")]
#![allow(clippy::print_stdout, reason = "a measurement is there to be read")]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_tests::client::{Call, Client, Response, call_h2};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::idp::Idp;
use portcullis_tests::introspection::{self, Introspector, form};
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::{Token, unix_seconds};
use portcullis_tests::server::{Answer, Stall};
use portcullis_tests::services::Service;
use portcullis_tests::{eventually, refusal};
use serde_json::{Value, json};

/// Every byte of it is one that a form or a header changes.
const SECRET: &str = "geheim: a+b%c&d=\u{e9}";
const ID: &str = "gate:way";
/// So many connections that both workers have some: that all fall to one has a chance of one in two thousand million.
const CONNECTIONS: usize = 32;
const WORKERS: usize = 2;
/// Three failures make a pause of at most two seconds; then one question finds out.
const RECOVERY: Duration = Duration::from_secs(20);

struct World {
    gateway: Gateway,
    service: Service,
    key: SigningKey,
    partner: Introspector,
    post: Introspector,
    brief: Introspector,
    strict: Introspector,
    lenient: Introspector,
    broken: Introspector,
    held: Introspector,
    late: Introspector,
    slow: Introspector,
    _idp: Idp,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::start().unwrap_or_else(|error| panic!("{error:#}")));

fn opaque(path: &str, change: Value) -> Value {
    let mut section = json!({
        "cluster": "idp", "path": path, "authority": "idp.demo", "client_id": ID,
        "client_secret": {"env": "IDP_SECRET"}, "cache": "60s",
    });
    for (name, value) in change.as_object().unwrap() {
        section[name] = value.clone();
    }
    json!({"introspection": section, "forward": {"headers": {"x-user": "sub", "x-scopes": "scope", "x-plan": "plan"}}})
}

fn filter(jwks: &Value) -> Value {
    let mut strict = opaque("/strict", json!({}));
    strict["issuer"] = json!("https://idp.demo");
    strict["audiences"] = json!(["demo-api"]);
    let mut lenient = opaque("/lenient", json!({"on_error": "allow", "timeout": "300ms"}));
    lenient["forward"]["token"] = json!("strip");
    json!({
        "version": 1,
        "providers": {
            "corp": {
                "issuer": "https://idp.demo", "audiences": ["demo-api"], "algorithms": ["ES256"],
                "jwks": {"inline": jwks}, "forward": {"headers": {"x-user": "sub"}},
            },
            "partner": opaque("/introspect", json!({})),
            "post": opaque("/post", json!({"client_authentication": "post"})),
            "brief": opaque("/brief", json!({"cache": "1s", "negative_cache": "1s"})),
            "strict": strict,
            "lenient": lenient,
            "broken": opaque("/broken", json!({})),
            "held": opaque("/held", json!({})),
            "late": opaque("/late", json!({})),
            "slow": opaque("/slow", json!({"timeout": "300ms"})),
        },
        "limits": {"many": {"key": "ip", "rate": "1000000/min"}},
        "rules": [
            {"name": "partner", "match": {"prefix": "/echo/partner"}, "require": "partner", "scopes": {"all": ["read"]}},
            {"match": {"prefix": "/echo/post"}, "require": "post"},
            {"match": {"prefix": "/echo/brief"}, "require": "brief"},
            {"match": {"prefix": "/echo/strict"}, "require": "strict"},
            {"name": "lenient", "match": {"prefix": "/echo/lenient"}, "require": "lenient", "scopes": {"all": ["read"]}},
            {"match": {"prefix": "/echo/broken"}, "require": "broken"},
            {"match": {"prefix": "/echo/held"}, "require": "held"},
            {"match": {"prefix": "/echo/late"}, "require": "late"},
            {"match": {"prefix": "/echo/slow"}, "require": "slow"},
            {"match": {"prefix": "/echo/mixed"}, "require": {"any": ["corp", "partner"]}},
            {"match": {"prefix": "/echo/limited"}, "require": "partner", "limits": ["many"]},
        ],
    })
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let idp = Idp::plain(&jwks([&key]))?;
        let basic = || introspection::Client::Basic(ID.to_owned(), SECRET.to_owned());
        let at = |path: &str| Introspector::at(&idp, path, basic());
        let post = introspection::Client::Post(ID.to_owned(), SECRET.to_owned());
        let service = Service::plain("echo")?;
        let gateway = Gateway::builder()
            .filter(filter(&jwks([&key])))
            .env("IDP_SECRET", SECRET)
            .service(&service)
            .idp(&idp)
            .start()?;
        Ok(Self {
            partner: at("/introspect"),
            post: Introspector::at(&idp, "/post", post),
            brief: at("/brief"),
            strict: at("/strict"),
            lenient: at("/lenient"),
            broken: at("/broken"),
            held: at("/held"),
            late: at("/late"),
            slow: at("/slow"),
            gateway,
            service,
            key,
            _idp: idp,
        })
    }

    fn call(&self, call: &Call) -> Response {
        Client::connect(self.gateway.port()).unwrap().call(call).unwrap()
    }

    fn get(&self, path: &str, token: &str) -> Response {
        self.call(&Call::get(path).bearer(token))
    }

    /// What each of many connections says, one after the other.
    fn on_both_workers(&self, path: &str, token: &str) -> Vec<u16> {
        (0..CONNECTIONS).map(|_| self.get(path, token).status).collect()
    }

    /// The requests for `path` that reached the service.
    fn reached(&self, path: &str) -> usize {
        self.service.requests().iter().filter(|request| request.path == path).count()
    }
}

/// A token that no other test has.
fn fresh() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("opaque.token-{}~+/{:020}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn reader() -> Value {
    json!({"sub": "alice", "scope": "read write", "plan": "gold"})
}

fn refused(response: &Response, status: u16, reason: &str) {
    refusal::check(response, status, reason).unwrap();
}

fn unavailable(response: &Response) {
    refused(response, 503, "provider_unavailable");
    assert_eq!(response.header("www-authenticate"), None, "not the token's fault");
}

#[test]
fn an_active_token_passes_with_its_claims_as_headers() {
    let token = fresh();
    WORLD.partner.activate(&token, reader());
    let response = WORLD.call(&Call::get("/echo/partner").bearer(&token).header("x-user", "root"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.upstream_header("x-user"), ["alice"]);
    assert_eq!(response.upstream_header("x-scopes"), ["read write"]);
    assert_eq!(response.upstream_header("x-plan"), ["gold"]);
    assert_eq!(response.upstream_header("authorization"), [format!("Bearer {token}")]);
    let over_h2 = call_h2(WORLD.gateway.port(), None, &Call::get("/echo/partner").bearer(&token)).unwrap();
    assert_eq!((over_h2.status, over_h2.upstream_header("x-user")), (200, vec!["alice".to_owned()]));
}

#[test]
fn the_scopes_of_the_answer_are_those_of_the_caller() {
    let token = fresh();
    WORLD.partner.activate(&token, json!({"sub": "bob", "scope": "reader write"}));
    for _ in 0..2 {
        let response = WORLD.get("/echo/partner", &token);
        refused(&response, 403, "scope_insufficient");
        assert!(response.header("www-authenticate").unwrap().contains("scope=\"read\""), "{response:?}");
    }
    let bare = fresh();
    WORLD.partner.activate(&bare, json!({}));
    refused(&WORLD.get("/echo/partner", &bare), 403, "scope_insufficient");
}

#[test]
fn a_token_that_is_not_active_is_refused_as_such() {
    let response = WORLD.get("/echo/partner", &fresh());
    refused(&response, 401, "token_inactive");
    assert!(response.header("www-authenticate").unwrap().contains("error=\"invalid_token\""), "{response:?}");
    refused(&WORLD.call(&Call::get("/echo/partner")), 401, "credentials_missing");
}

#[test]
fn what_the_configuration_asks_of_issuer_audience_and_times_holds_for_active_tokens_too() {
    let good = json!({"sub": "alice", "iss": "https://idp.demo", "aud": ["other", "demo-api"]});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let ask = |claims: Value| {
        let token = fresh();
        WORLD.strict.activate(&token, claims);
        WORLD.get("/echo/strict", &token)
    };
    assert_eq!(ask(good.clone()).status, 200);
    refused(&ask(with("iss", json!("https://idp.demo/"))), 401, "token_issuer_refused");
    refused(&ask(with("aud", json!("other"))), 401, "token_audience_refused");
    refused(&ask(json!({"sub": "alice"})), 401, "token_audience_refused");
    refused(&ask(with("exp", json!(unix_seconds() - 1))), 401, "token_expired");
    refused(&ask(with("nbf", json!(unix_seconds() + 300))), 401, "token_not_yet_valid");
    // A wrong type is the server's failure, not the token's.
    unavailable(&ask(with("exp", json!("never"))));
    assert_eq!(ask(good).status, 200);
}

#[test]
fn many_requests_with_one_new_token_ask_once_per_worker() {
    let token = fresh();
    WORLD.partner.activate(&token, reader());
    let port = WORLD.gateway.port();
    let clients: Vec<_> = (0..40).map(|_| Client::connect(port).unwrap()).collect();
    let threads = clients.into_iter().map(|mut client| {
        let call = Call::get("/echo/partner").bearer(&token);
        thread::spawn(move || client.call(&call).unwrap().status)
    });
    let threads: Vec<_> = threads.collect();
    let statuses: Vec<u16> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(statuses, [200; 40]);
    let asked = WORLD.partner.questions(&token).len();
    assert!((1..=WORKERS).contains(&asked), "{asked} questions");
}

#[test]
fn an_answer_is_kept_and_ends_with_the_tokens_own_time() {
    let token = fresh();
    let mut claims = reader();
    let end = unix_seconds() + 6;
    claims["exp"] = json!(end);
    WORLD.partner.activate(&token, claims);
    assert_eq!(WORLD.on_both_workers("/echo/partner", &token), [200; CONNECTIONS]);
    let asked = WORLD.partner.questions(&token).len();
    assert_eq!(asked, WORKERS, "one question per worker");
    assert_eq!(WORLD.on_both_workers("/echo/partner", &token), [200; CONNECTIONS]);
    assert_eq!(WORLD.partner.questions(&token).len(), asked, "what is known is not asked for");
    // The server still calls it active, yet its time is over: at `exp`, long before `cache` ends.
    let expired = || WORLD.get("/echo/partner", &token).status == 401;
    assert!(eventually(Duration::from_secs(12), expired));
    assert!(unix_seconds() >= end, "not before its time");
    refused(&WORLD.get("/echo/partner", &token), 401, "token_expired");
}

#[test]
fn an_answer_is_kept_no_longer_than_the_configuration_says() {
    let token = fresh();
    WORLD.brief.activate(&token, reader());
    assert_eq!(WORLD.get("/echo/brief", &token).status, 200);
    WORLD.brief.revoke(&token);
    let gone = || WORLD.on_both_workers("/echo/brief", &token).iter().all(|status| *status == 401);
    assert!(eventually(Duration::from_secs(5), gone), "revoked at the server, passed for longer than `cache`");
}

#[test]
fn a_refusal_is_kept_for_a_while_and_then_asked_about_again() {
    let token = fresh();
    assert_eq!(WORLD.on_both_workers("/echo/partner", &token), [401; CONNECTIONS]);
    assert_eq!(WORLD.partner.questions(&token).len(), WORKERS, "one question per worker");
    let token = fresh();
    refused(&WORLD.get("/echo/brief", &token), 401, "token_inactive");
    WORLD.brief.activate(&token, reader());
    let passes = || WORLD.get("/echo/brief", &token).status == 200;
    assert!(eventually(Duration::from_secs(5), passes));
}

#[test]
fn a_server_that_fails_means_503_and_recovers_without_a_restart() {
    let known = fresh();
    WORLD.broken.activate(&known, reader());
    assert_eq!(WORLD.on_both_workers("/echo/broken", &known), [200; CONNECTIONS]);
    let garbage = [
        Answer::status(500),
        Answer::json(403, &json!({"error": "invalid_client"})),
        Answer::json(200, &json!({"active": "true"})),
        Answer::json(200, &json!([])),
        Answer { body: r#"{"active":false,"active":true}"#.into(), ..Answer::status(200) },
        Answer { body: "<html>".into(), ..Answer::status(200) },
        Answer { body: format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(1 << 20)).into(), ..Answer::status(200) },
        Answer::status(302),
    ];
    for answer in garbage {
        WORLD.broken.endpoint().set_answer(answer);
        let token = fresh();
        unavailable(&WORLD.get("/echo/broken", &token));
        assert_eq!(WORLD.get("/echo/broken", &known).status, 200, "what is known goes on to serve");
    }
    // By now the server is left alone: nobody waits for it, and few ask.
    let started = Instant::now();
    let before = WORLD.broken.endpoint().hits();
    WORLD.on_both_workers("/echo/broken", &fresh()).iter().for_each(|status| assert_eq!(*status, 503));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(WORLD.broken.endpoint().hits() < before + CONNECTIONS / 2, "it is not asked each time");
    WORLD.gateway.wait_for_log("provider broken: ", Duration::from_secs(5)).unwrap();
    WORLD.broken.serve();
    let token = fresh();
    WORLD.broken.activate(&token, reader());
    let back = || WORLD.on_both_workers("/echo/broken", &token).iter().all(|status| *status == 200);
    assert!(eventually(RECOVERY, back));
}

#[test]
fn a_server_that_hangs_costs_a_request_no_more_than_the_time_limit() {
    for stall in [Stall::BeforeHead, Stall::InBody] {
        WORLD.slow.serve();
        WORLD.slow.endpoint().set_stall(stall);
        let token = fresh();
        WORLD.slow.activate(&token, reader());
        let started = Instant::now();
        unavailable(&WORLD.get("/echo/slow", &token));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
    WORLD.slow.serve();
    let token = fresh();
    WORLD.slow.activate(&token, reader());
    let back = || WORLD.on_both_workers("/echo/slow", &token).iter().all(|status| *status == 200);
    assert!(eventually(RECOVERY, back));
}

#[test]
fn a_server_that_is_not_there_means_503_until_it_is() {
    let idp = Idp::plain(&json!({"keys": []})).unwrap();
    let port = idp.port();
    idp.stop();
    let configuration = json!({
        "version": 1,
        "providers": {"partner": opaque("/introspect", json!({})), "nowhere": opaque("/x", json!({"cluster": "ipd"}))},
        "rules": [
            {"match": {"prefix": "/echo/nowhere"}, "require": "nowhere"},
            {"match": {}, "require": "partner"},
        ],
    });
    let gateway = Gateway::builder()
        .filter(configuration)
        .env("IDP_SECRET", SECRET)
        .service(&WORLD.service)
        .cluster("idp", port)
        .start()
        .unwrap();
    let token = fresh();
    let get = |path: &str| Client::connect(gateway.port()).unwrap().call(&Call::get(path).bearer(&token)).unwrap();
    for _ in 0..5 {
        unavailable(&get("/echo/down"));
    }
    // A cluster that Envoy does not know is the operator's mistake, and the log says so.
    unavailable(&get("/echo/nowhere"));
    gateway.wait_for_log("cluster \"ipd\" cannot be called", Duration::from_secs(5)).unwrap();
    let idp = Idp::plain_at(port, &json!({"keys": []})).unwrap();
    let basic = introspection::Client::Basic(ID.to_owned(), SECRET.to_owned());
    Introspector::at(&idp, "/introspect", basic).activate(&token, reader());
    assert!(eventually(RECOVERY, || (0..CONNECTIONS).all(|_| get("/echo/down").status == 200)));
    gateway.check_unharmed().unwrap();
}

#[test]
fn on_error_allow_lets_pass_as_nobody_and_counts_it() {
    let counted = || {
        let labels = [("rule", "lenient"), ("reason", "provider_unavailable"), ("verdict", "monitored")];
        WORLD.gateway.counter("portcullis_decisions", &labels).unwrap()
    };
    let good = fresh();
    WORLD.lenient.activate(&good, reader());
    let response = WORLD.get("/echo/lenient", &good);
    assert_eq!((response.status, response.upstream_header("x-user")), (200, vec!["alice".to_owned()]));
    let before = counted();
    WORLD.lenient.endpoint().set_answer(Answer::status(503));
    let call = Call::get("/echo/lenient").bearer(&fresh()).header("x-user", "root").header("x-scopes", "read");
    let response = WORLD.call(&call);
    assert_eq!(response.status, 200, "{}", response.text());
    for name in ["x-user", "x-scopes", "x-plan"] {
        assert!(response.upstream_header(name).is_empty(), "{name}: nobody is nobody");
    }
    assert!(response.upstream_header("authorization").is_empty(), "stripped, verified or not");
    let event = WORLD.gateway.audit_of(response.header("x-request-id").unwrap()).unwrap();
    let event = event.to_string();
    assert!(event.contains("provider_unavailable") && event.contains("monitored"), "{event}");
    assert!(eventually(Duration::from_secs(5), || counted() == before + 1), "{} then {}", before, counted());
    // Only the server's failure is forgiven, not its word.
    WORLD.lenient.serve();
    let refused_again = || refusal::reason(&WORLD.get("/echo/lenient", &fresh())) == "token_inactive";
    assert!(eventually(RECOVERY, refused_again));
    let poor = fresh();
    WORLD.lenient.activate(&poor, json!({"sub": "bob", "scope": "write"}));
    let judged = || refusal::reason(&WORLD.get("/echo/lenient", &poor)) == "scope_insufficient";
    assert!(eventually(RECOVERY, judged));
}

#[test]
fn the_gateway_identifies_itself_in_the_header_or_in_the_form() {
    let token = fresh();
    WORLD.partner.activate(&token, reader());
    assert_eq!(WORLD.get("/echo/partner", &token).status, 200);
    let asked = &WORLD.partner.questions(&token)[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/introspect"));
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked.header("accept"), Some("application/json"));
    assert_eq!(asked.header("host"), Some("idp.demo"));
    // RFC 6749, 2.3.1: both are encoded as in a form before they are joined.
    let pair = STANDARD.encode("gate%3Away:geheim%3A+a%2Bb%25c%26d%3D%C3%A9");
    assert_eq!(asked.header_values("authorization"), [format!("Basic {pair}")]);
    let fields = form(&asked.body);
    assert_eq!(fields["token"], token);
    assert_eq!((fields.get("client_id"), fields.get("client_secret")), (None, None));

    let token = fresh();
    WORLD.post.activate(&token, reader());
    assert_eq!(WORLD.get("/echo/post", &token).status, 200);
    let asked = &WORLD.post.questions(&token)[0];
    let fields = form(&asked.body);
    assert_eq!((fields["client_id"].as_str(), fields["client_secret"].as_str()), (ID, SECRET));
    assert_eq!((fields["token"].as_str(), asked.header("authorization")), (token.as_str(), None));
}

#[test]
fn a_token_cannot_add_fields_to_the_question() {
    for token in ["a&client_id=x", "a%26token=b", "a=b", "a+b"] {
        let before = WORLD.post.endpoint().hits();
        let response = WORLD.get("/echo/post", token);
        assert!([400, 401].contains(&response.status), "{token}: {}", response.text());
        let requests = WORLD.post.endpoint().requests();
        for asked in requests.get(before..).unwrap_or_default() {
            assert_eq!(form(&asked.body)["client_id"], ID, "{token}");
        }
    }
}

#[test]
fn a_body_waits_with_its_request_and_arrives_whole() {
    let token = fresh();
    WORLD.held.activate(&token, reader());
    let body: Vec<u8> = (0..200_000_u32).map(|index| b'a' + u8::try_from(index % 26).unwrap()).collect();
    WORLD.held.endpoint().set_delay(Duration::from_millis(1500));
    let (path, chunked) = ("/echo/held/whole", "/echo/held/whole-chunked");
    let started = Instant::now();
    let mut client = Client::connect(WORLD.gateway.port()).unwrap();
    client.send(&Call::new("POST", path).bearer(&token).body(body.clone()).to_bytes()).unwrap();
    let mut other = Client::connect(WORLD.gateway.port()).unwrap();
    let head = Call::new("POST", chunked).bearer(&token).header("transfer-encoding", "chunked").to_bytes();
    let chunks: Vec<u8> = body.chunks(10_000).flat_map(|chunk| [b"2710\r\n", chunk, b"\r\n"].concat()).collect();
    other.send(&[&head, &chunks[..], b"0\r\n\r\n"].concat()).unwrap();
    thread::sleep(Duration::from_millis(200));
    assert_eq!((WORLD.reached(path), WORLD.reached(chunked)), (0, 0), "nothing leaves before the verdict");
    assert!(started.elapsed() < Duration::from_millis(1400), "a slow machine: this test has seen nothing");
    WORLD.held.endpoint().set_delay(Duration::ZERO);
    for client in [&mut client, &mut other] {
        let response = client.read(false).unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(
            (response.upstream_header("x-user"), response.json()["body_bytes"].as_u64()),
            (vec!["alice".to_owned()], Some(200_000))
        );
    }
    let requests = WORLD.service.requests();
    let arrived = requests.iter().filter(|request| [path, chunked].contains(&request.path.as_str()));
    assert_eq!(arrived.filter(|request| request.body == body).count(), 2, "byte for byte");
}

#[test]
fn a_body_beyond_the_buffer_passes_with_a_known_token_and_is_refused_while_its_request_waits() {
    // Envoy holds a megabyte per connection unless told otherwise.
    const SIZE: usize = 3_000_000;
    let known = fresh();
    WORLD.partner.activate(&known, reader());
    assert_eq!(WORLD.on_both_workers("/echo/partner", &known), [200; CONNECTIONS]);
    let path = "/echo/partner/large";
    let response = WORLD.call(&Call::new("POST", path).bearer(&known).body(vec![b'x'; SIZE]));
    assert_eq!((response.status, response.json()["body_bytes"].as_u64()), (200, Some(3_000_000)));
    assert_eq!(WORLD.reached(path), 1);
    WORLD.late.endpoint().set_delay(Duration::from_secs(1));
    let token = fresh();
    WORLD.late.activate(&token, reader());
    let path = "/echo/late/large";
    // The answer may come while the body is still being sent.
    let mut client = Client::connect(WORLD.gateway.port()).unwrap();
    let _ = client.send(&Call::new("POST", path).bearer(&token).body(vec![b'x'; SIZE]).to_bytes());
    if let Ok(response) = client.read(false) {
        assert_eq!(response.status, 413, "{}", response.text());
    }
    assert!(eventually(Duration::from_secs(5), || WORLD.get("/echo/late", &token).status == 200));
    assert_eq!(WORLD.reached(path), 0, "not a part of it");
}

#[test]
fn a_refused_request_with_a_body_never_reaches_the_service() {
    let path = "/echo/partner/refused";
    let response = WORLD.call(&Call::new("POST", path).bearer(&fresh()).body(vec![b'x'; 100_000]));
    refused(&response, 401, "token_inactive");
    assert_eq!(WORLD.reached(path), 0);
}

#[test]
fn the_places_to_wait_are_bounded_and_a_client_that_leaves_frees_its_own() {
    let idp = Idp::plain(&json!({"keys": []})).unwrap();
    let basic = introspection::Client::Basic(ID.to_owned(), SECRET.to_owned());
    let partner = Introspector::at(&idp, "/introspect", basic);
    let configuration = json!({
        "version": 1,
        "providers": {"partner": opaque("/introspect", json!({"timeout": "20s"}))},
        "rules": [{"match": {}, "require": "partner"}],
        "max_waiting": 2, "max_wait": "30s",
    });
    let gateway = Gateway::builder()
        .filter(configuration)
        .env("IDP_SECRET", SECRET)
        .service(&WORLD.service)
        .idp(&idp)
        .workers(1)
        .start()
        .unwrap();
    partner.endpoint().set_delay(Duration::from_millis(1500));
    let token = fresh();
    partner.activate(&token, reader());
    let good = Call::get("/echo/leaving").bearer(&token);
    let wait = || gateway.send(&good).unwrap();
    let active = || gateway.stat("http.test.downstream_rq_active").unwrap();
    let (first, mut second) = (wait(), wait());
    assert!(eventually(Duration::from_secs(5), || active() == 2));
    let third = Client::connect(gateway.port()).unwrap().call(&good).unwrap();
    refused(&third, 503, "provider_waiters_full");
    drop(first);
    assert!(eventually(Duration::from_secs(5), || active() == 1));
    let mut fourth = wait();
    assert_eq!((second.read(false).unwrap().status, fourth.read(false).unwrap().status), (200, 200));
    assert_eq!(partner.questions(&token).len(), 1, "one question for all of them");
    // Nobody waits for this one any more; its answer serves the next.
    let token = fresh();
    partner.activate(&token, reader());
    let gone = gateway.send(&Call::get("/echo/leaving").bearer(&token)).unwrap();
    assert!(eventually(Duration::from_secs(5), || partner.questions(&token).len() == 1));
    drop(gone);
    assert!(eventually(Duration::from_secs(5), || active() == 0));
    let passes = || Client::connect(gateway.port()).unwrap().call(&Call::get("/echo/x").bearer(&token)).unwrap().status;
    assert_eq!(passes(), 200);
    assert_eq!(partner.questions(&token).len(), 1);
    gateway.check_unharmed().unwrap();
}

#[test]
fn one_rule_takes_tokens_of_both_kinds() {
    let opaque = fresh();
    WORLD.partner.activate(&opaque, reader());
    let jwt = Token::of("carol").sign(&WORLD.key);
    assert_eq!(WORLD.get("/echo/mixed", &opaque).upstream_header("x-user"), ["alice"]);
    assert_eq!(WORLD.get("/echo/mixed", &jwt).upstream_header("x-user"), ["carol"]);
    assert!(WORLD.partner.questions(&jwt).is_empty(), "a token that verifies is nobody else's business");
    // A bad token of a known issuer is refused by its keys; the other provider is not asked for a second opinion.
    let forged = Token::of("carol").sign(&SigningKey::generate(Algorithm::Es256, "k1"));
    refused(&WORLD.get("/echo/mixed", &forged), 401, "token_signature_invalid");
    assert!(WORLD.partner.questions(&forged).is_empty());
    refused(&WORLD.get("/echo/mixed", &fresh()), 401, "token_inactive");
    // A token of another issuer in the form of a JWT may well be one that the partner knows.
    let foreign = Token::of("dave").claim("iss", json!("https://partner.demo")).sign(&WORLD.key);
    WORLD.partner.activate(&foreign, json!({"sub": "dave"}));
    assert_eq!(WORLD.get("/echo/mixed", &foreign).upstream_header("x-user"), ["dave"]);
}

#[test]
fn a_request_may_wait_for_keys_and_then_for_an_answer() {
    let idp = Idp::plain(&jwks([&WORLD.key])).unwrap();
    idp.jwks().set_delay(Duration::from_millis(400));
    let basic = introspection::Client::Basic(ID.to_owned(), SECRET.to_owned());
    let partner = Introspector::at(&idp, "/introspect", basic);
    let mut second = opaque("/introspect", json!({}));
    second["token_from"] = json!([{"header": "x-partner"}]);
    let configuration = json!({
        "version": 1,
        "providers": {
            "corp": {
                "issuer": "https://idp.demo", "audiences": ["demo-api"], "algorithms": ["ES256"],
                "jwks": {"cluster": "idp", "path": "/jwks.json"}, "forward": {"headers": {"x-user": "sub"}},
            },
            "partner": second,
        },
        "rules": [{"match": {}, "require": {"all": ["corp", "partner"]}}],
    });
    let gateway = Gateway::builder().filter(configuration).env("IDP_SECRET", SECRET).service(&WORLD.service).idp(&idp);
    let gateway = gateway.start().unwrap();
    let (jwt, token) = (Token::of("carol").sign(&WORLD.key), fresh());
    partner.activate(&token, reader());
    let call = Call::get("/echo/both").bearer(&jwt).header("x-partner", &token);
    let started = Instant::now();
    let response = Client::connect(gateway.port()).unwrap().call(&call).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.upstream_header("x-user"), ["carol"]);
    println!("after keys that take 400 ms: {:?}", started.elapsed());
    let wrong = Call::get("/echo/both").bearer(&jwt).header("x-partner", &fresh());
    refused(&Client::connect(gateway.port()).unwrap().call(&wrong).unwrap(), 401, "token_inactive");
    gateway.check_unharmed().unwrap();
}

#[test]
fn the_headers_of_a_limit_stand_in_an_answer_that_had_to_wait() {
    let token = fresh();
    WORLD.partner.activate(&token, reader());
    let names = || {
        let response = WORLD.get("/echo/limited", &token);
        assert_eq!(response.status, 200, "{}", response.text());
        let names = response.headers.into_iter().map(|(name, _)| name).filter(|name| name.contains("ratelimit"));
        names.collect::<Vec<_>>()
    };
    let waited = names();
    assert!(!waited.is_empty());
    assert_eq!(waited, names());
}

#[test]
fn neither_token_nor_secret_is_ever_logged() {
    let (good, bad, lost) = (fresh(), fresh(), fresh());
    let shown = "geheim";
    WORLD.post.activate(&good, reader());
    assert_eq!(WORLD.get("/echo/post", &good).status, 200);
    let response = WORLD.get("/echo/post", &bad);
    refused(&response, 401, "token_inactive");
    // Inactive by the endpoint's word, in the form of an answer that cannot be used.
    WORLD.strict.activate(&lost, json!({"sub": lost, "exp": lost}));
    unavailable(&WORLD.get("/echo/strict", &lost));
    WORLD.gateway.audit_of(response.header("x-request-id").unwrap()).unwrap();
    let log = WORLD.gateway.log();
    for secret in [good.as_str(), &bad, &lost, shown, &STANDARD.encode(format!("{ID}:{SECRET}"))] {
        assert!(!log.contains(secret), "{secret} stands in the log");
    }
    WORLD.gateway.check_unharmed().unwrap();
}

#[test]
fn a_question_costs_about_a_round_trip() {
    const ROUNDS: usize = 60;
    let mut client = Client::connect(WORLD.gateway.port()).unwrap();
    let mut median = |token: &mut dyn FnMut() -> String| {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..ROUNDS {
            let call = Call::get("/echo/partner").bearer(&token());
            let started = Instant::now();
            assert_eq!(client.call(&call).unwrap().status, 200);
            times.push(started.elapsed());
        }
        times.sort();
        times[ROUNDS / 2]
    };
    let known = fresh();
    WORLD.partner.activate(&known, reader());
    let cached = median(&mut || known.clone());
    let asked = median(&mut || {
        let token = fresh();
        WORLD.partner.activate(&token, reader());
        token
    });
    // The callout leaves with the next tick, a millisecond later at the earliest.
    println!("median of {ROUNDS}: cached {cached:?}, asked {asked:?}, the question {:?}", asked.saturating_sub(cached));
}
