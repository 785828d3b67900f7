//! API keys, user and password, client certificates, and their combinations, in the real Envoy.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::sync::{Arc, LazyLock};

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::paths::WorkDir;
use portcullis_tests::pki::{Pki, Usage};
use portcullis_tests::services::Service;
use portcullis_tests::tls;
use serde_json::{Value, json};

struct World {
    gateway: Gateway,
    pki: Pki,
    key: SigningKey,
    _service: Service,
    _dir: WorkDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::start().unwrap_or_else(|error| panic!("{error:#}")));

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn filter(jwks: &Value) -> Value {
    json!({
        "version": 1,
        "providers": {
            "corp": {
                "issuer": "https://idp.demo", "audiences": ["demo-api"], "algorithms": ["ES256"],
                "jwks": {"inline": jwks}, "forward": {"headers": {"x-user": "sub"}},
            },
            "apps": {
                "api_keys": {"clients": {
                    "billing": {"sha256": [sha256("key-old"), sha256("key-new")], "scopes": ["read"], "attributes": {"org": "acme"}},
                    "retired": {"sha256": sha256("key-retired"), "not_after": "2020-01-01"},
                }},
                "forward": {"token": "strip", "headers": {"x-user": "sub", "x-org": "org"}},
            },
            "query": {"api_keys": {"query": "api_key", "clients": {"q": {"sha256": sha256("key-q")}}}, "forward": {"token": "strip"}},
            "cookie": {"api_keys": {"cookie": "key", "clients": {"c": {"sha256": sha256("key-c")}}}, "forward": {"token": "strip"}},
            "machines": {
                "basic": {"clients": {"robot": {"sha256": sha256("secret:with:colon"), "scopes": ["read"]}}},
                "forward": {"token": "strip", "headers": {"x-user": "sub"}},
            },
            "mesh": {
                "certificate": {"allow": ["spiffe://demo/*"], "scopes": ["read"]},
                "forward": {"headers": {"x-user": "sub"}},
            },
        },
        "policies": {"either": {"require": {"any": ["corp", "apps"]}}},
        "rules": [
            {"match": {"prefix": "/echo/key"}, "require": "apps", "scopes": {"all": ["read"]}},
            {"match": {"prefix": "/echo/query"}, "require": "query"},
            {"match": {"prefix": "/echo/cookie"}, "require": "cookie"},
            {"match": {"prefix": "/echo/basic"}, "require": "machines", "scopes": {"all": ["read"]}},
            {"match": {"prefix": "/echo/mesh"}, "require": "mesh", "scopes": {"all": ["read"]}},
            {"match": {"prefix": "/echo/either"}, "use": "either"},
            {"match": {"prefix": "/echo/both"}, "require": {"all": ["corp", "mesh"]}},
            {"match": {"prefix": "/echo/optional"}, "require": {"any": ["corp"], "optional": true}},
        ],
    })
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let dir = WorkDir::create("identities")?;
        let pki = Pki::load_or_create(&dir.path().join("pki"))?;
        pki.issue("caller", &["caller.demo"], "spiffe://demo/caller", Usage::Client)?;
        pki.issue("stranger", &["stranger.demo"], "spiffe://elsewhere/stranger", Usage::Client)?;
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let service = Service::plain("echo")?;
        let gateway = Gateway::builder().filter(filter(&jwks([&key]))).service(&service).https(&pki).start()?;
        Ok(Self { gateway, pki, key, _service: service, _dir: dir })
    }

    fn call_as(&self, identity: Option<&str>, call: &Call) -> Response {
        let config = tls::client(&self.pki, identity, &["http/1.1"]).unwrap();
        Client::connect_tls(self.gateway.port(), config, "localhost").unwrap().call(call).unwrap()
    }

    fn call(&self, call: &Call) -> Response {
        self.call_as(None, call)
    }

    fn token(&self) -> String {
        Token::of("alice").sign(&self.key)
    }
}

fn reason(response: &Response) -> (u16, String) {
    (response.status, response.json()["reason"].as_str().unwrap_or_default().to_owned())
}

fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!(reason(response), (status, code.to_owned()), "{}", response.text());
}

#[test]
fn an_api_key_names_its_client_and_stays_at_the_gateway() {
    for key in ["key-old", "key-new"] {
        let response = WORLD.call(&Call::get("/echo/key").header("x-api-key", key).header("x-user", "root"));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.upstream_header("x-user"), ["billing"]);
        assert_eq!(response.upstream_header("x-org"), ["acme"]);
        assert!(response.upstream_header("x-api-key").is_empty());
    }
}

#[test]
fn a_wrong_key_is_refused_and_so_is_the_hash_that_stands_in_the_configuration() {
    for key in ["key", "key-ol", "KEY-OLD", &sha256("key-old")] {
        refused(&WORLD.call(&Call::get("/echo/key").header("x-api-key", key)), 401, "credentials_invalid");
    }
    refused(&WORLD.call(&Call::get("/echo/key")), 401, "credentials_missing");
    refused(&WORLD.call(&Call::get("/echo/key").header("x-api-key", "key-retired")), 401, "credentials_expired");
    let twice = Call::get("/echo/key").header("x-api-key", "key-old").header("x-api-key", "key-new");
    refused(&WORLD.call(&twice), 400, "credentials_multiple");
}

#[test]
fn a_key_in_the_query_or_a_cookie_is_taken_out_and_the_rest_stays() {
    let response = WORLD.call(&Call::get("/echo/query?a=1&api_key=key-q&b=2"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["path"], "/echo/query?a=1&b=2");
    refused(&WORLD.call(&Call::get("/echo/query?api_key=key-q&api_key=key-q")), 400, "credentials_multiple");
    let response = WORLD.call(&Call::get("/echo/cookie").header("cookie", "a=1; key=key-c; b=2"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.upstream_header("cookie"), ["a=1; b=2"]);
    refused(&WORLD.call(&Call::get("/echo/cookie").header("cookie", "key=key-x")), 401, "credentials_invalid");
}

#[test]
fn a_user_needs_its_own_password() {
    let basic = |text: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    let call = |authorization: &str| WORLD.call(&Call::get("/echo/basic").header("authorization", authorization));
    let response = call(&basic("robot:secret:with:colon"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.upstream_header("x-user"), ["robot"]);
    assert!(response.upstream_header("authorization").is_empty());
    for wrong in ["robot:secret", "robot:", "root:secret:with:colon", ":secret:with:colon"] {
        refused(&call(&basic(wrong)), 401, "credentials_invalid");
    }
    refused(&call("Basic !!!!"), 400, "credentials_malformed");
    refused(&call("Bearer abc"), 401, "credentials_missing");
}

#[test]
fn a_verified_certificate_is_an_identity() {
    let response = WORLD.call_as(Some("caller"), &Call::get("/echo/mesh"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.upstream_header("x-user"), ["spiffe://demo/caller"]);
    refused(&WORLD.call(&Call::get("/echo/mesh")), 401, "credentials_missing");
    refused(&WORLD.call_as(Some("stranger"), &Call::get("/echo/mesh")), 403, "certificate_refused");
}

#[test]
fn a_certificate_that_envoy_did_not_verify_is_none() {
    let service = Service::plain("echo").unwrap();
    // Without an authority, Envoy asks for a certificate and takes any.
    let gateway = Gateway::builder()
        .filter(filter(&jwks([&WORLD.key])))
        .service(&service)
        .https(&WORLD.pki)
        .tls_context(|context| {
            context["common_tls_context"]["validation_context"] =
                json!({"trusted_ca": {"filename": WORLD.pki.ca()}, "trust_chain_verification": "ACCEPT_UNTRUSTED"});
        })
        .start()
        .unwrap();
    let other = WorkDir::create("other-authority").unwrap();
    let other = Pki::load_or_create(&other.path().join("pki")).unwrap();
    other.issue("caller", &["caller.demo"], "spiffe://demo/caller", Usage::Client).unwrap();
    let call = |pki: &Pki| {
        let config = tls::client_of_another_authority(&WORLD.pki, pki, "caller").unwrap();
        Client::connect_tls(gateway.port(), config, "localhost").unwrap().call(&Call::get("/echo/mesh")).unwrap()
    };
    refused(&call(&other), 401, "credentials_missing");
    assert_eq!(call(&WORLD.pki).status, 200);
}

#[test]
fn a_resumed_session_has_no_verified_certificate_unless_envoy_resumes_none() {
    let service = Service::plain("echo").unwrap();
    // As it is where nothing is said of resumption.
    let resuming = Gateway::builder()
        .filter(filter(&jwks([&WORLD.key])))
        .service(&service)
        .https(&WORLD.pki)
        .tls_context(|context| {
            let context = context.as_object_mut().unwrap();
            assert!(context.remove("disable_stateless_session_resumption").is_some());
            assert!(context.remove("disable_stateful_session_resumption").is_some());
        })
        .start()
        .unwrap();
    // Both calls come from one client, which keeps its session.
    let calls = |port: u16| {
        let config = tls::client(&WORLD.pki, Some("caller"), &["http/1.1"]).unwrap();
        let call = || {
            let mut client = Client::connect_tls(port, Arc::clone(&config), "localhost").unwrap();
            reason(&client.call(&Call::get("/echo/mesh")).unwrap())
        };
        [call(), call()]
    };
    let passes = (200, String::new());
    assert_eq!(calls(resuming.port()), [passes.clone(), (401, "credentials_missing".to_owned())]);
    assert_eq!(calls(WORLD.gateway.port()), [passes.clone(), passes]);
}

#[test]
fn one_of_several_providers_suffices_but_not_two_credentials_at_once() {
    let token = WORLD.token();
    assert_eq!(WORLD.call(&Call::get("/echo/either").bearer(&token)).status, 200);
    assert_eq!(WORLD.call(&Call::get("/echo/either").header("x-api-key", "key-new")).status, 200);
    refused(&WORLD.call(&Call::get("/echo/either")), 401, "credentials_missing");
    for key in ["key-new", "wrong"] {
        let both = Call::get("/echo/either").bearer(&token).header("x-api-key", key);
        refused(&WORLD.call(&both), 400, "credentials_multiple");
    }
}

#[test]
fn all_of_several_means_every_one() {
    let with_token = Call::get("/echo/both").bearer(&WORLD.token());
    let response = WORLD.call_as(Some("caller"), &with_token);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.upstream_header("x-user"), ["alice"], "the first provider's word is the identity");
    refused(&WORLD.call(&with_token), 401, "credentials_missing");
    refused(&WORLD.call_as(Some("caller"), &Call::get("/echo/both")), 401, "credentials_missing");
    refused(&WORLD.call_as(Some("stranger"), &with_token), 403, "certificate_refused");
    refused(&WORLD.call_as(Some("caller"), &Call::get("/echo/both").bearer("a.b.c")), 401, "token_malformed");
}

#[test]
fn an_optional_credential_may_be_left_out_but_not_be_wrong() {
    let response = WORLD.call(&Call::get("/echo/optional").header("x-user", "root"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.upstream_header("x-user").is_empty(), "nobody is nobody");
    assert_eq!(WORLD.call(&Call::get("/echo/optional").bearer(&WORLD.token())).upstream_header("x-user"), ["alice"]);
    refused(&WORLD.call(&Call::get("/echo/optional").bearer("a.b.c")), 401, "token_malformed");
}
