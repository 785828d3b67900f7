//! `scripts/attack` against the reference gateway: everything is stopped, and a gateway that only watches fails.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::process::{Command, Output};

use portcullis_tests::config;
use portcullis_tests::envoy::Options;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::paths::WorkDir;
use portcullis_tests::pki::Pki;
use portcullis_tests::reference::{Ports, Reference};
use serde_json::{Value, json};

struct World {
    gateway: Reference,
    dir: WorkDir,
}

impl World {
    /// The reference gateway with less patience for slow clients, and its files where `scripts/run` would have them.
    fn start(change: impl Fn(&mut Value)) -> Self {
        let dir = WorkDir::create("attack").unwrap();
        let pki = Pki::load_or_create(&dir.path().join("pki")).unwrap();
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        std::fs::create_dir(dir.path().join("keys")).unwrap();
        std::fs::write(dir.path().join("keys/private.jwk.json"), key.private_jwk().to_string()).unwrap();
        let mut change = |config: &mut Value| {
            let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
            let manager = config.pointer_mut(manager).and_then(Value::as_object_mut).unwrap();
            assert_eq!(manager.insert("request_headers_timeout".to_owned(), json!("2s")), Some(json!("10s")));
            assert_eq!(manager.insert("request_timeout".to_owned(), json!("4s")), Some(json!("60s")));
            config::change_filter(config, &mut |filter| change(filter));
        };
        let set = jwks([&key]);
        let gateway = Reference::start(Ports::ANY, &pki, &set, dir.path(), &Options::default(), &mut change).unwrap();
        Self { gateway, dir }
    }

    fn attack(&self) -> Output {
        let gateway = format!("127.0.0.1:{}", self.gateway.ports().https);
        let mut attack = Command::new(env!("CARGO_BIN_EXE_attack"));
        attack.args(["--gateway", &gateway, "--files"]).arg(self.dir.path()).output().unwrap()
    }
}

/// The row of an attack: sent, stopped, through, and by what.
fn row(table: &str, name: &str) -> (usize, usize, usize, String) {
    let (_, rest) = table.split_once(&format!("\n{name} ")).unwrap();
    // Up to the next attack: reasons go on in lines that are indented.
    let row = rest.split("\n").enumerate().take_while(|(index, line)| *index == 0 || line.starts_with("   "));
    let row = row.map(|(_, line)| line).collect::<Vec<_>>().join(" ");
    let mut words = row.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap();
    let numbers: [usize; 3] = [number(), number(), number()];
    let [sent, stopped, through] = numbers;
    (sent, stopped, through, words.collect::<Vec<_>>().join(" "))
}

#[test]
fn the_reference_gateway_stops_all_of_it_and_serves_others_meanwhile() {
    let world = World::start(|_| {});
    let output = world.attack();
    let table = String::from_utf8(output.stdout).unwrap();
    println!("{table}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{table}");
    for (name, by) in [
        ("probing", "404 route_unmatched"),
        ("probing", "429 banned"),
        ("ambiguous paths", "400 path_encoded_slash"),
        ("brute force", "401 token_"),
        ("brute force", "429 banned"),
        ("stuffing: many accounts", "401 credentials_missing"),
        ("stuffing: one account", "401 credentials_missing"),
        ("stuffing: API keys", "401 credentials_missing"),
        ("token forgery", "401 token_algorithm_refused"),
        ("token forgery", "401 token_signature_invalid"),
        ("token forgery", "401 token_expired"),
        ("token forgery", "401 token_audience_refused"),
        ("more than is allowed", "403 scope_insufficient"),
        ("payloads in queries", "403 payload_attack"),
        ("payloads in bodies", "403 payload_attack"),
        ("payloads in cookies", "403 payload_attack"),
        ("oversized requests", "431 by Envoy"),
        ("oversized requests", "413 body_too_large"),
        ("request smuggling", "400 by Envoy"),
        ("request flood", "429 limit_exceeded"),
        ("slow heads", "connection ended by Envoy"),
        ("slow bodies", "connection ended by Envoy"),
    ] {
        let (sent, stopped, through, stopped_by) = row(&table, name);
        assert_eq!(sent, stopped + through, "{name}");
        assert!(through == 0 || name == "request flood", "{name}");
        assert!(stopped_by.contains(by), "{name}: {by} is not in {stopped_by}");
    }
    world.gateway.check_unharmed().unwrap();
}

/// Where passwords and API keys are taken, wrong ones are wrong, and not only missing; and nobody tries for long, from one address or from many.
#[test]
fn stolen_passwords_and_keys_meet_a_gateway_that_takes_passwords_and_keys() {
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let world = World::start(|filter| {
        filter["providers"]["people"] = json!({"basic": {"clients": {"reader": {"sha256": hash}}}});
        filter["providers"]["machines"] =
            json!({"api_keys": {"header": "x-api-key", "clients": {"billing": {"sha256": hash}}}});
        filter["bans"]["stuffing"] =
            json!({"key": "username", "count": ["auth_failure"], "limit": "20/10m", "ban": "15m"});
        filter["defaults"]["bans"] = json!(["guessing", "stuffing"]);
        filter["policies"]["user"]["require"] = json!({"any": ["corp", "people", "machines"]});
    });
    let output = world.attack();
    let table = String::from_utf8(output.stdout).unwrap();
    println!("{table}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{table}");
    for (name, by) in [
        // By the address, after its hundredth failure.
        ("stuffing: many accounts", "401 credentials_invalid"),
        ("stuffing: many accounts", "429 banned"),
        // By the account, though no address stands out.
        ("stuffing: one account", "401 credentials_invalid"),
        ("stuffing: one account", "429 banned"),
        ("stuffing: API keys", "401 credentials_invalid"),
    ] {
        let (sent, stopped, through, stopped_by) = row(&table, name);
        assert_eq!((sent, through), (stopped, 0), "{name}");
        assert!(stopped_by.contains(by), "{name}: {by} is not in {stopped_by}");
    }
}

#[test]
fn a_gateway_that_only_watches_does_not_pass() {
    let world = World::start(|filter| {
        if let Some(filter) = filter.as_object_mut() {
            filter.insert("mode".to_owned(), json!("monitor"));
        }
    });
    let output = world.attack();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("CAME THROUGH: 200 alg none, no signature"), "{table}");
    assert!(row(&table, "payloads in queries").2 > 0, "{table}");
}

#[test]
fn nothing_else_than_a_gateway_on_this_machine_is_attacked() {
    let attack = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_attack")).args(arguments).output().unwrap();
    for gateway in ["192.0.2.1:443", "gateway.example:443", "0.0.0.0:8443", "[::1]:8443"] {
        let output = attack(&["--gateway", gateway]);
        assert_eq!(output.status.code(), Some(2), "{gateway}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1 alone"), "{gateway}");
    }
    let dir = WorkDir::create("attack-none").unwrap();
    let output = attack(&["--files", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hint: scripts/run starts it"));
}
