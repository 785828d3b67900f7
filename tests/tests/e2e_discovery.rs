//! OpenID Connect Discovery in the real Envoy with two workers: metadata that lead to the keys, and all that does not.
//!
//! Each provider has an issuer of its own and fails in its own way until it is put right.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, reason = "and so has one that finds less than it looks for")]

use std::sync::LazyLock;
use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::idp::Idp;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::server::{Answer, Stall};
use portcullis_tests::{eventually, refusal};
use serde_json::{Map, Value, json};

const PROVIDERS: [&str; 9] = ["good", "other", "slash", "uri", "scheme", "missing", "html", "hangs", "keyless"];
/// So many connections that both workers have some: that all fall to one has a chance of one in two thousand million.
const CONNECTIONS: usize = 32;
/// A refresh, the pause after several failures, and a slow machine.
const RECOVERY: Duration = Duration::from_secs(30);

struct World {
    gateway: Gateway,
    idp: Idp,
    key: SigningKey,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::start().unwrap_or_else(|error| panic!("{error:#}")));

fn issuer(name: &str) -> String {
    format!("https://login.demo:8443/realms/{name}")
}

fn metadata_path(name: &str) -> String {
    format!("/realms/{name}/.well-known/openid-configuration")
}

fn keys_path(name: &str) -> String {
    format!("/keys/{name}")
}

fn metadata(name: &str) -> Value {
    json!({
        "issuer": issuer(name), "jwks_uri": format!("https://keys.demo{}?v=1", keys_path(name)),
        "token_endpoint": "https://login.demo/token", "response_types_supported": ["code"],
    })
}

fn filter() -> Value {
    let provider = |name: &&str| {
        let section = json!({
            "issuer": issuer(name), "audiences": ["demo-api"], "algorithms": ["ES256"],
            "discovery": {"cluster": "idp", "refresh": "5s", "timeout": "500ms"},
        });
        ((*name).to_owned(), section)
    };
    let rule = |name: &&str| json!({"match": {"prefix": format!("/{name}")}, "require": name});
    json!({
        "version": 1,
        "providers": PROVIDERS.iter().map(provider).collect::<Map<_, _>>(),
        "rules": PROVIDERS.iter().map(rule).collect::<Vec<_>>(),
        "max_wait": "1s",
    })
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let idp = Idp::plain(&json!({"keys": []}))?;
        for name in PROVIDERS {
            idp.endpoint(&keys_path(name)).set_json(&jwks([&key]));
            idp.endpoint(&metadata_path(name)).set_json(&metadata(name));
        }
        let with = |name: &str, member: &str, value: &str| {
            let mut document = metadata(name);
            document[member] = json!(value);
            idp.endpoint(&metadata_path(name)).set_json(&document);
        };
        with("other", "issuer", &issuer("good"));
        with("slash", "issuer", &format!("{}/", issuer("slash")));
        with("uri", "jwks_uri", "https://user@keys.demo/keys/uri");
        with("scheme", "jwks_uri", "file:///keys/scheme");
        idp.endpoint(&metadata_path("missing")).set_answer(Answer::status(404));
        idp.endpoint(&metadata_path("html")).set_body("<html>welcome</html>");
        idp.endpoint(&metadata_path("hangs")).set_stall(Stall::BeforeHead);
        idp.endpoint(&keys_path("keyless")).set_answer(Answer::status(404));
        let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
        let gateway = Gateway::builder().filter(filter()).route(passed).idp(&idp).start()?;
        Ok(Self { gateway, idp, key })
    }

    fn token(&self, name: &str) -> String {
        Token::of("alice").claim("iss", json!(issuer(name))).sign(&self.key)
    }

    fn get(&self, name: &str) -> Response {
        let call = Call::get(&format!("/{name}")).bearer(&self.token(name));
        Client::connect(self.gateway.port()).unwrap().call(&call).unwrap()
    }

    fn passes_on_both_workers(&self, name: &str) -> bool {
        (0..CONNECTIONS).all(|_| self.get(name).status == 200)
    }

    /// It is 503 as long as the provider fails, and 200 soon after `put_right`, without a restart.
    fn fails_until(&self, name: &str, log: &str, put_right: impl Fn(&Idp)) {
        for _ in 0..4 {
            let response = self.get(name);
            refusal::check(&response, 503, "keys_unavailable").unwrap();
            assert_eq!(response.header("www-authenticate"), None, "not the token's fault");
        }
        self.gateway.wait_for_log(&format!("provider {name}: "), Duration::from_secs(5)).unwrap();
        let lines = self.gateway.log();
        let told = lines.lines().any(|line| line.contains(&format!("provider {name}: ")) && line.contains(log));
        assert!(told, "the log does not say {log:?}");
        put_right(&self.idp);
        assert!(eventually(RECOVERY, || self.passes_on_both_workers(name)));
    }
}

/// A fault of the metadata: they are put right by themselves.
fn metadata_fail(name: &str, log: &str) {
    WORLD.fails_until(name, log, |idp| idp.endpoint(&metadata_path(name)).set_json(&metadata(name)));
}

#[test]
fn the_metadata_lead_to_the_keys() {
    assert!(eventually(Duration::from_secs(5), || WORLD.passes_on_both_workers("good")));
    let asked = WORLD.idp.endpoint(&metadata_path("good")).requests();
    assert_eq!((asked[0].method.as_str(), asked[0].header("host")), ("GET", Some("login.demo:8443")));
    let keys = WORLD.idp.endpoint(&keys_path("good")).requests();
    assert_eq!((keys[0].path.as_str(), keys[0].header("host")), ("/keys/good?v=1", Some("keys.demo")));
    // Another provider's token is no good here, and a forged one is refused as such.
    let get =
        |token: &str| Client::connect(WORLD.gateway.port()).unwrap().call(&Call::get("/good").bearer(token)).unwrap();
    refusal::check(&get(&WORLD.token("other")), 401, "token_issuer_refused").unwrap();
    let stranger = SigningKey::generate(Algorithm::Es256, "k1");
    let forged = Token::of("alice").claim("iss", json!(issuer("good"))).sign(&stranger);
    refusal::check(&get(&forged), 401, "token_signature_invalid").unwrap();
}

#[test]
fn metadata_of_another_issuer_are_not_followed() {
    metadata_fail("other", "name another issuer");
    assert!(WORLD.idp.endpoint(&keys_path("other")).hits() >= 1, "followed once they were right");
}

#[test]
fn an_issuer_is_compared_to_the_letter() {
    metadata_fail("slash", "name another issuer");
}

#[test]
fn a_jwks_uri_with_user_info_is_not_followed() {
    metadata_fail("uri", "jwks_uri is not a URL that can be asked for");
}

#[test]
fn a_jwks_uri_of_another_scheme_is_not_followed() {
    metadata_fail("scheme", "jwks_uri is not a URL that can be asked for");
}

#[test]
fn metadata_that_are_not_there_mean_503() {
    metadata_fail("missing", "404");
}

#[test]
fn metadata_that_are_no_json_mean_503() {
    metadata_fail("html", "the metadata are not a JSON object");
}

#[test]
fn a_provider_that_hangs_means_503_within_the_time_to_wait() {
    metadata_fail("hangs", "cannot be fetched");
}

#[test]
fn keys_that_are_not_where_the_metadata_say_mean_503() {
    WORLD.fails_until("keyless", "404", |idp| idp.endpoint(&keys_path("keyless")).set_json(&jwks([&WORLD.key])));
}

#[test]
fn keys_that_move_are_found_at_their_new_place() {
    // A provider of its own: the others' keys stay where they are.
    let (old, new) = (SigningKey::generate(Algorithm::Es256, "old"), SigningKey::generate(Algorithm::Es256, "new"));
    let idp = Idp::plain(&json!({"keys": []})).unwrap();
    idp.endpoint(&metadata_path("good")).set_json(&metadata("good"));
    idp.endpoint(&keys_path("good")).set_json(&jwks([&old]));
    let passed = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": {"status": 200}});
    let gateway = Gateway::builder().filter(filter()).route(passed).idp(&idp).start().unwrap();
    let status = |key: &SigningKey| {
        let token = Token::of("alice").claim("iss", json!(issuer("good"))).sign(key);
        Client::connect(gateway.port()).unwrap().call(&Call::get("/good").bearer(&token)).unwrap().status
    };
    assert!(eventually(Duration::from_secs(5), || status(&old) == 200));
    idp.endpoint("/moved").set_json(&jwks([&new]));
    let mut document = metadata("good");
    document["jwks_uri"] = json!("https://keys.demo/moved");
    idp.endpoint(&metadata_path("good")).set_json(&document);
    idp.endpoint(&keys_path("good")).set_answer(Answer::status(410));
    assert!(eventually(RECOVERY, || status(&new) == 200));
    assert!(eventually(RECOVERY, || (0..CONNECTIONS).all(|_| status(&old) == 401)), "the old keys are withdrawn");
    gateway.check_unharmed().unwrap();
}
