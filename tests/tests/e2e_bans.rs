//! Bans in the real Envoy, with two and with four workers: begun by failures on any of them, in force on all of them at once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::{Builder, Gateway, Reload};
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::server::{Answer, Request, Server};
use portcullis_tests::{eventually, filter, refusal};
use serde_json::{Value, json};

/// So many connections that each worker has some.
const CONNECTIONS: usize = 24;
/// So many failures ban an address.
const LIMIT: usize = 40;
/// Where operators call.
const ADMIN: &str = "/admin/bans";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Es256, "k1"));

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn configuration() -> Value {
    let kinds = json!(["auth_failure", "unmatched"]);
    json!({
        "version": 1,
        "providers": {
            "corp": filter::provider(&["ES256"], json!({"inline": jwks([&*KEY])})),
            "people": {"basic": {"clients": {"alice": {"sha256": sha256("wonderland")}, "bob": {"sha256": sha256("builder")}}}},
        },
        "bans": {
            "guessing": {"key": "ip", "count": kinds, "limit": format!("{LIMIT}/10m"), "ban": "15m"},
            "brief": {"key": "ip", "limit": "3/10m", "ban": "2s", "ban_max": "1h"},
            "stuffing": {"key": "username", "limit": "10/10m", "ban": "30m"},
            "service_failures": {"key": "ip", "count_responses": [401, 404], "limit": format!("{LIMIT}/10m")},
            "forging": {"key": "client", "limit": "10/10m", "ban": "30m"},
            "tried": {"key": "ip", "count_responses": "4xx", "limit": format!("{LIMIT}/10m"), "mode": "monitor"},
        },
        "defaults": {"bans": ["guessing"]},
        "rules": [
            {"name": "admin", "match": {"prefix": "/admin"}, "require": "corp", "scopes": {"all": ["ban"]}, "serve": "bans", "bans": []},
            {"name": "brief", "match": {"path": "/brief"}, "require": "corp", "bans": ["brief"]},
            {"name": "login", "match": {"path": "/login"}, "require": "people", "bans": ["stuffing"]},
            {"name": "slow", "match": {"path": "/slow"}, "allow": "public", "payload": {"level": 1}},
            {"name": "orders", "match": {"prefix": "/orders"}, "require": "corp"},
            {"name": "app", "match": {"path": "/app"}, "require": "corp", "bans": ["forging"]},
            {"name": "service", "match": {"prefix": "/service"}, "allow": "public", "bans": ["service_failures"]},
            {"name": "read", "match": {"prefix": "/read"}, "allow": "public", "payload": {"level": 1}, "bans": ["service_failures"]},
            {"name": "tried", "match": {"prefix": "/tried"}, "allow": "public", "bans": ["tried"]},
            {"name": "trial", "match": {"prefix": "/trial"}, "allow": "public", "mode": "monitor", "bans": ["service_failures"]},
        ],
    })
}

fn builder(workers: u32) -> Builder {
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let to_service =
        |prefix: &str| json!({"name": "service", "match": {"prefix": prefix}, "route": {"cluster": "service"}});
    let builder = Gateway::builder().filter(configuration()).workers(workers).cluster("service", SERVICE.port());
    // Answers of Envoy's own, and a service that is down.
    let none = json!({"name": "none", "match": {"prefix": "/service/none"}, "direct_response": {"status": 404}});
    let down = json!({"name": "down", "match": {"prefix": "/service/down"}, "route": {"cluster": "down"}});
    let builder = builder.cluster("down", 1).route(none).route(down);
    ["/service", "/read", "/tried", "/trial"]
        .into_iter()
        .fold(builder, |b, prefix| b.route(to_service(prefix)))
        .route(passed)
}

/// A service with a login of its own, and few paths.
static SERVICE: LazyLock<Server> = LazyLock::new(|| {
    let answer = |request: Request| {
        let ends = |end: &str| request.path.ends_with(end);
        match (request.header("x-password"), &request.body[..]) {
            _ if ends("/fails") => Answer::status(500),
            _ if ends("/absent") => Answer::status(404),
            _ if ends("/forbidden") => Answer::status(403),
            (Some("wonderland"), _) | (_, b"password=wonderland") => Answer::status(200),
            _ if ends("/login") => Answer::status(401),
            _ => Answer::status(200),
        }
    };
    Server::start(0, None, answer).unwrap()
});

static WORLD: LazyLock<Gateway> = LazyLock::new(|| builder(2).start().unwrap_or_else(|error| panic!("{error:#}")));

/// Another address for every test.
fn from(gateway: &Gateway, address: u8) -> Client {
    Client::connect_from(Ipv4Addr::new(127, 0, 3, address), gateway.port()).unwrap()
}

fn connections(gateway: &Gateway, address: u8) -> Vec<Client> {
    (0..CONNECTIONS).map(|_| from(gateway, address)).collect()
}

fn good() -> Call {
    Call::get("/orders/1").bearer(&Token::of("alice").sign(&KEY))
}

/// A token that nobody with the key has signed.
fn bad(path: &str) -> Call {
    let forged = Token::of("alice").header("alg", json!("ES256")).header("kid", json!("k1"));
    Call::get(path).bearer(&forged.with_signature(&[7; 64]))
}

fn banned(response: &Response) -> u64 {
    refusal::check(response, 429, "banned").unwrap();
    response.header("retry-after").unwrap().parse().unwrap()
}

/// Fails on all connections at the same time until each has met the ban; how many requests were let in to fail.
fn attack(clients: Vec<Client>, call: &Call) -> usize {
    let threads = clients.into_iter().map(|mut client| {
        let call = call.clone();
        thread::spawn(move || {
            let mut failures = 0;
            loop {
                let response = client.call(&call).unwrap();
                match response.status {
                    429 => return failures,
                    401 | 404 if failures <= LIMIT * 2 => failures += 1,
                    other => panic!("{other} after {failures} failures"),
                }
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

/// The guarantee of `bans/table.rs`, under a storm: the ban begins with exactly the offence that the configuration says, and each
/// other worker lets in one more request at most. From then on every worker refuses.
fn a_storm_is_banned_by_all_workers(gateway: &Gateway, workers: u32, address: u8) {
    let let_in = attack(connections(gateway, address), &bad("/orders/1"));
    let most = LIMIT + usize::try_from(workers).unwrap() - 1;
    assert!((LIMIT..=most).contains(&let_in), "{let_in} failures were let in, not {LIMIT} to {most}");
    assert!(gateway.every_worker_served().unwrap());
    for mut client in connections(gateway, address) {
        assert!((880..=900).contains(&banned(&client.call(&good()).unwrap())));
    }
    for mut client in connections(gateway, address + 1) {
        assert_eq!(client.call(&good()).unwrap().status, 200, "another address is another client");
    }
}

#[test]
fn a_storm_of_failures_is_banned_by_both_workers_at_once() {
    a_storm_is_banned_by_all_workers(&WORLD, 2, 1);
}

#[test]
fn a_storm_of_failures_is_banned_by_four_workers_at_once() {
    let gateway = builder(4).start().unwrap();
    for round in 0..5 {
        a_storm_is_banned_by_all_workers(&gateway, 4, 1 + 2 * round);
    }
}

#[test]
fn probing_for_paths_is_banned() {
    let let_in = attack(connections(&WORLD, 10), &Call::get("/wp-login.php"));
    assert!((LIMIT..=LIMIT + 1).contains(&let_in), "{let_in}");
    banned(&from(&WORLD, 10).call(&good()).unwrap());
}

/// `n` calls, one after the other, over connections to all workers in turn; each must be answered with `status`.
fn in_turn(clients: &mut [Client], n: usize, call: &Call, status: u16) {
    let connections = clients.len();
    for number in 0..n {
        let response = clients[number % connections].call(call).unwrap();
        assert_eq!(response.status, status, "call {number}: {}", response.text());
    }
}

/// Answers of the service are counted over all workers, and the ban begins with exactly the one that the configuration says.
fn failures_of_the_service_ban(gateway: &Gateway, address: u8) {
    let (good, bad) = (Call::get("/service/login").header("x-password", "wonderland"), Call::get("/service/login"));
    let mut clients = connections(gateway, address);
    let mut others = connections(gateway, address + 1);
    in_turn(&mut clients, LIMIT - 1, &bad, 401);
    // What goes well counts for nothing, and neither does what the service or the proxy is to blame for.
    in_turn(&mut clients, LIMIT, &good, 200);
    in_turn(&mut clients, LIMIT, &Call::get("/service/fails"), 500);
    in_turn(&mut clients, LIMIT, &Call::get("/service/forbidden"), 403);
    in_turn(&mut clients, LIMIT, &Call::get("/service/none/absent"), 404);
    in_turn(&mut clients, LIMIT, &Call::get("/service/down"), 503);
    in_turn(&mut others, LIMIT - 1, &Call::get("/service/absent"), 404);
    in_turn(&mut clients, 1, &bad, 401);
    for client in &mut clients {
        assert!((880..=900).contains(&banned(&client.call(&good).unwrap())));
    }
    in_turn(&mut others, CONNECTIONS, &good, 200);
    assert!(gateway.every_worker_served().unwrap());
}

#[test]
fn failures_of_the_service_ban_after_exactly_so_many_on_two_workers() {
    failures_of_the_service_ban(&WORLD, 80);
    let seen = |labels: &[(&str, &str)]| WORLD.counter("portcullis_offences", labels).unwrap();
    let of = [("ban", "service_failures"), ("offence", "response")];
    assert!(eventually(Duration::from_secs(10), || {
        seen(&[of[0], of[1], ("event", "counted")]) >= 2 * LIMIT as u64 - 1
            && seen(&[of[0], of[1], ("event", "banned")]) >= 1
    }));
    let log = WORLD.log();
    let begun = log.lines().find(|line| line.contains("client_banned") && line.contains("127.0.3.80")).unwrap();
    assert!(
        begun.contains(r#""portcullis.ban.cause":"response""#) && begun.contains(r#""http.response.status_code":401"#)
    );
}

#[test]
fn failures_of_the_service_ban_after_exactly_so_many_on_four_workers() {
    let gateway = builder(4).start().unwrap();
    for round in 0..5 {
        failures_of_the_service_ban(&gateway, 80 + 2 * round);
    }
}

/// Requests that are at the service already when the ban begins end there: at most one for each connection.
#[test]
fn a_storm_of_guesses_at_the_service_is_banned() {
    let gateway = builder(4).start().unwrap();
    for (address, path) in [(100, "/service/login"), (101, "/service/absent"), (102, "/read/login")] {
        let call =
            Call::new("POST", path).header("content-type", "application/x-www-form-urlencoded").body("password=guess");
        let let_in = attack(connections(&gateway, address), &call);
        assert!((LIMIT..LIMIT + CONNECTIONS).contains(&let_in), "{let_in} guesses at {path}");
        for mut client in connections(&gateway, address) {
            banned(&client.call(&call).unwrap());
        }
        let good = call.body("password=wonderland");
        let expected = if path.ends_with("absent") { 404 } else { 200 };
        assert_eq!(from(&gateway, 110).call(&good).unwrap().status, expected, "another address is another client");
    }
}

#[test]
fn what_the_service_answers_is_only_counted_in_monitor_mode() {
    for workers in [2, 4] {
        let gateway = builder(workers).start().unwrap();
        let mut clients = connections(&gateway, 112);
        in_turn(&mut clients, 2 * LIMIT, &Call::get("/tried/login"), 401);
        in_turn(&mut clients, CONNECTIONS, &Call::get("/tried/orders"), 200);
        let counted = |event: &str| gateway.counter("portcullis_bans", &[("ban", "tried"), ("event", event)]).unwrap();
        let watched = (LIMIT + CONNECTIONS) as u64;
        assert!(eventually(Duration::from_secs(10), || counted("begun") == 1 && counted("monitored") == watched));
        // A rule that is only watched counts for no ban that is enforced.
        in_turn(&mut clients, 2 * LIMIT, &Call::get("/trial/login"), 401);
        in_turn(&mut clients, CONNECTIONS, &Call::get("/service/orders"), 200);
    }
}

#[test]
fn a_ban_ends_and_the_next_one_is_twice_as_long() {
    let mut client = from(&WORLD, 20);
    let call = Call::get("/brief").bearer(&Token::of("alice").sign(&KEY));
    for expected in [2, 4, 8] {
        for _ in 0..3 {
            refusal::check(&client.call(&bad("/brief")).unwrap(), 401, "token_signature_invalid").unwrap();
        }
        let begun = Instant::now();
        let wait = banned(&client.call(&call).unwrap());
        assert!((expected - 1..=expected).contains(&wait), "{wait} s, not {expected} s");
        if expected == 8 {
            break;
        }
        assert!(eventually(Duration::from_secs(30), || client.call(&call).unwrap().status == 200));
        let held = begun.elapsed().as_secs_f64();
        assert!(held > f64::from(u32::try_from(expected).unwrap()) - 1.0, "it held for {held} s only");
    }
}

#[test]
fn stuffing_of_one_account_from_many_addresses_is_seen() {
    let login = |user: &str, password: &str| {
        Call::get("/login").header("authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    };
    for address in 0..10 {
        let response = from(&WORLD, 30 + address).call(&login("alice", &format!("guess-{address}"))).unwrap();
        refusal::check(&response, 401, "credentials_invalid").unwrap();
    }
    for address in 40..44 {
        // Right or wrong: from now on nobody learns which.
        banned(&from(&WORLD, address).call(&login("alice", "wonderland")).unwrap());
        banned(&from(&WORLD, address).call(&login("alice", "another-guess")).unwrap());
        assert_eq!(from(&WORLD, address).call(&login("bob", "builder")).unwrap().status, 200);
    }
    assert!(!WORLD.log().contains("guess-"));
    assert!(WORLD.log().contains("client_banned"));
}

fn forging_for_one_client_is_seen(gateway: &Gateway, address: u8) {
    let by = |client: &str| Token::of("alice").claim("client_id", json!(client));
    let call = |token: &str| Call::get("/app").bearer(token);
    let forged = by("shop").header("alg", json!("ES256")).header("kid", json!("k1")).with_signature(&[7; 64]);
    for number in 0..10 {
        let response = from(gateway, address + number).call(&call(&forged)).unwrap();
        refusal::check(&response, 401, "token_signature_invalid").unwrap();
    }
    for mut client in connections(gateway, address + 10) {
        // Good tokens too: the guide says so.
        banned(&client.call(&call(&by("shop").sign(&KEY))).unwrap());
        assert_eq!(client.call(&call(&by("office").sign(&KEY))).unwrap().status, 200);
    }
    assert!(!gateway.log().contains("shop"));
}

#[test]
fn forging_for_one_client_from_many_addresses_is_seen_on_two_and_on_four_workers() {
    forging_for_one_client_is_seen(&WORLD, 120);
    forging_for_one_client_is_seen(&builder(4).start().unwrap(), 120);
}

#[test]
fn operators_list_add_and_lift_bans_for_all_workers() {
    let operator = Token::of("op").scope("ban").sign(&KEY);
    let call = |method: &str, body: Value| {
        let call = Call::new(method, ADMIN).bearer(&operator);
        let call = if body.is_null() { call } else { call.body(body.to_string()) };
        from(&WORLD, 50).call(&call).unwrap()
    };
    let key = json!({"ban": "guessing", "ip": "127.0.3.51"});
    let mut added = key.clone();
    added["for"] = json!("1h");
    let response = call("POST", added);
    assert_eq!(response.status, 201, "{}", response.text());
    let id = response.json()["id"].clone();
    for mut client in connections(&WORLD, 51) {
        assert!((3590..=3600).contains(&banned(&client.call(&good()).unwrap())));
    }
    let listed = call("GET", Value::Null).json();
    let found = listed["bans"].as_array().unwrap().iter().find(|ban| ban["id"] == id).unwrap().clone();
    assert_eq!((&found["ip"], &found["cause"]), (&json!("127.0.3.51"), &json!("operator")));
    assert_eq!(call("DELETE", key).json(), json!({"lifted": true}));
    for mut client in connections(&WORLD, 51) {
        assert_eq!(client.call(&good()).unwrap().status, 200);
    }
    let mallory = Call::new("DELETE", ADMIN).bearer(&Token::of("mallory").sign(&KEY)).body("{}");
    refusal::check(&from(&WORLD, 52).call(&mallory).unwrap(), 403, "scope_insufficient").unwrap();
    assert!(eventually(Duration::from_secs(10), || {
        let stats = WORLD.admin("GET", "/stats/prometheus").unwrap().text();
        let has = |event: &str| {
            stats.lines().any(|line| line.contains(&format!("event=\"{event}\"")) && line.contains("ban=\"guessing\""))
        };
        stats.contains("portcullis_bans{") && has("added") && has("lifted") && has("refused")
    }));
    let log = WORLD.log();
    assert!(log.contains(r#""event.action":"ban_lifted""#) && log.contains(r#""user.id":"op""#));
}

#[test]
fn a_request_whose_body_was_on_its_way_is_refused_with_the_others() {
    let head = b"POST /slow HTTP/1.1\r\nhost: api.demo\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n";
    let (mut early, mut other) = (from(&WORLD, 70), from(&WORLD, 71));
    early.send(head).unwrap();
    other.send(head).unwrap();
    thread::sleep(Duration::from_millis(300));
    attack(connections(&WORLD, 70), &bad("/orders/1"));
    early.send(b"hello").unwrap();
    other.send(b"hello").unwrap();
    banned(&early.read(false).unwrap());
    assert_eq!(other.read(false).unwrap().status, 200);
}

#[test]
fn bans_survive_a_new_configuration() {
    let mut gateway = builder(2).filter_reloadable().start().unwrap();
    attack(connections(&gateway, 60), &bad("/orders/1"));
    let mut changed = configuration();
    changed["rules"].as_array_mut().unwrap().push(json!({"match": {"path": "/new"}, "allow": "public"}));
    assert_eq!(gateway.reload(changed).unwrap(), Reload::Accepted);
    assert!(eventually(Duration::from_secs(10), || from(&gateway, 61).call(&Call::get("/new")).unwrap().status == 200));
    for mut client in connections(&gateway, 60) {
        banned(&client.call(&good()).unwrap());
        banned(&client.call(&Call::get("/new")).unwrap());
    }
}
