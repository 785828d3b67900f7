//! The gateway's own tokens for services, its key set, and the metadata of its resources, in the real Envoy.
//!
//! Services verify with `ring`: code that the gateway does not share.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, reason = "and so has one that finds less than it looks for")]

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_tests::client::{Call, Client, Response, call_h2};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks, verifies};
use portcullis_tests::mint::{Token, unix_seconds};
use portcullis_tests::refusal;
use portcullis_tests::services::Service;
use serde_json::{Value, json};

const JWKS_PATH: &str = "/.well-known/portcullis/jwks.json";
const METADATA_PATH: &str = "/.well-known/oauth-protected-resource/orders";
const METADATA_URL: &str = "https://api.demo/.well-known/oauth-protected-resource/orders";
const LIFETIME: u64 = 30;
/// So many connections that both workers have some: that all fall to one has a chance of one in two thousand million.
const CONNECTIONS: usize = 32;

/// One gateway signs with ES256 into `authorization`, the other with EdDSA into a header of its own.
struct World {
    plain: Gateway,
    own_header: Gateway,
    key: SigningKey,
    next: SigningKey,
    _service: Service,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::start().unwrap_or_else(|error| panic!("{error:#}")));

fn sha256(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn filter(keys: &Value, internal: &Value) -> Value {
    let corp = json!({
        "issuer": "https://idp.demo", "audiences": ["demo-api"], "algorithms": ["ES256"], "jwks": {"inline": keys},
        "token_from": [{"header": "authorization", "scheme": "Bearer"}, {"cookie": "session"}, {"query": "access_token"}],
        "forward": {"token": "strip", "headers": {"x-user": "sub"}},
    });
    let mut kept = corp.clone();
    kept["forward"]["token"] = json!("keep");
    kept["issuer"] = json!("https://kept.demo");
    json!({
        "version": 1,
        "providers": {
            "corp": corp,
            "kept": kept,
            "apps": {"api_keys": {"clients": {"billing": {"sha256": sha256("key-1"), "scopes": ["read"]}}}},
        },
        "internal_tokens": internal,
        "resources": {"orders": {
            "resource": "https://api.demo/orders", "authorization_servers": ["https://idp.demo"],
            "scopes_supported": ["read", "write"], "name": "Orders", "documentation": "https://docs.demo/orders",
        }},
        "rules": [
            {"match": {"prefix": "/echo/orders"}, "require": "corp", "scopes": {"none": ["banned"]},
             "internal_token": {"audience": "orders"}, "resource": "orders"},
            {"match": {"prefix": "/echo/billing"}, "require": "corp", "internal_token": {"audience": "billing"}},
            {"match": {"prefix": "/echo/kept"}, "require": "kept", "internal_token": {"audience": "kept"}},
            {"match": {"prefix": "/echo/app"}, "require": "apps", "internal_token": {"audience": "app"}},
            {"match": {"prefix": "/echo/optional"}, "require": {"any": ["corp"], "optional": true},
             "internal_token": {"audience": "optional"}},
            {"match": {"prefix": "/echo/none"}, "require": "corp"},
            {"match": {"prefix": "/echo/open"}, "allow": "public"},
        ],
    })
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let next = SigningKey::generate(Algorithm::EdDsa, "next");
        let service = Service::plain("echo")?;
        let start = |internal: &Value, private: &SigningKey| {
            Gateway::builder()
                .filter(filter(&jwks([&key]), internal))
                .env("INTERNAL_KEY", &private.private_jwk().to_string())
                .env("NEXT_KEY", &next.public_jwk().to_string())
                .service(&service)
                .start()
        };
        let plain = json!({
            "issuer": "https://gateway.demo", "key": {"env": "INTERNAL_KEY"}, "lifetime": format!("{LIFETIME}s"),
            "claims": {"roles": "realm_access.roles", "plan": "plan"}, "other_keys": [{"env": "NEXT_KEY"}],
        });
        let own = json!({
            "issuer": "https://gateway.demo", "key": {"env": "INTERNAL_KEY"}, "header": "x-internal-token",
            "token_type": "JWT", "jwks_path": "/keys",
        });
        Ok(Self {
            plain: start(&plain, &SigningKey::generate(Algorithm::Es256, "gw-es256"))?,
            own_header: start(&own, &SigningKey::generate(Algorithm::EdDsa, "gw-eddsa"))?,
            key,
            next,
            _service: service,
        })
    }

    fn token(&self) -> Token {
        let token =
            Token::of("alice").scope("read write").claim("client_id", json!("shop")).claim("plan", json!("gold"));
        token.claim("realm_access", json!({"roles": ["buyer", "admin"]}))
    }
}

fn call(gateway: &Gateway, call: &Call) -> Response {
    Client::connect(gateway.port()).unwrap().call(call).unwrap()
}

fn get(gateway: &Gateway, path: &str, token: &str) -> Response {
    call(gateway, &Call::get(path).bearer(token))
}

/// The one bearer token that the service got.
fn bearer(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    let [value] = <[String; 1]>::try_from(response.upstream_header("authorization")).unwrap();
    value.strip_prefix("Bearer ").unwrap().to_owned()
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

/// The claims, if the token verifies under the key set that the gateway serves at `path`: what a service does.
fn verified(gateway: &Gateway, path: &str, token: &str, algorithm: Algorithm) -> Value {
    let set = call(gateway, &Call::get(path)).json();
    let header = part(token, 0);
    assert_eq!(header["alg"], algorithm.name());
    let key = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert!(verifies(key, algorithm, input.as_bytes(), &signature), "{token} under {key}");
    part(token, 1)
}

#[test]
fn the_service_gets_a_token_of_the_gateway_in_place_of_the_clients() {
    let before = unix_seconds();
    let theirs = WORLD.token().sign(&WORLD.key);
    let response = get(&WORLD.plain, "/echo/orders", &theirs);
    let ours = bearer(&response);
    assert_ne!(ours, theirs);
    assert!(!response.text().contains(&theirs), "the client's own token is gone");
    assert_eq!(part(&ours, 0)["typ"], "at+jwt");
    let claims = verified(&WORLD.plain, JWKS_PATH, &ours, Algorithm::Es256);
    let (issued, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_u64().unwrap());
    assert!((before - 1..=unix_seconds() + 1).contains(&issued), "{claims}");
    assert_eq!(ends - claims["iat"].as_u64().unwrap(), LIFETIME);
    assert_eq!(claims["nbf"], claims["iat"]);
    assert!(!claims["jti"].as_str().unwrap().is_empty());
    for (name, value) in [
        ("iss", json!("https://gateway.demo")),
        ("sub", json!("alice")),
        ("aud", json!("orders")),
        ("scope", json!("read write")),
        ("client_id", json!("shop")),
        ("orig_iss", json!("https://idp.demo")),
        ("plan", json!("gold")),
        ("roles", json!(["buyer", "admin"])),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(claims.get("realm_access"), None, "only what is named is copied");
}

#[test]
fn the_token_is_meant_for_the_service_of_its_rule() {
    let theirs = WORLD.token().sign(&WORLD.key);
    let ours = bearer(&get(&WORLD.plain, "/echo/billing", &theirs));
    assert_eq!(verified(&WORLD.plain, JWKS_PATH, &ours, Algorithm::Es256)["aud"], "billing");
    let none = get(&WORLD.plain, "/echo/none", &theirs);
    assert_eq!(
        (none.status, none.upstream_header("authorization")),
        (200, vec![]),
        "a rule without: stripped, no more"
    );
}

#[test]
fn it_takes_the_place_of_a_token_that_would_be_kept_too() {
    let theirs = Token::of("alice").claim("iss", json!("https://kept.demo")).sign(&WORLD.key);
    let response = get(&WORLD.plain, "/echo/kept", &theirs);
    assert_eq!(part(&bearer(&response), 1)["aud"], "kept");
    assert!(!response.text().contains(&theirs));
}

#[test]
fn the_clients_token_is_taken_out_of_cookie_and_query_too() {
    let theirs = WORLD.token().sign(&WORLD.key);
    let cookie =
        call(&WORLD.plain, &Call::get("/echo/orders").header("cookie", &format!("a=1; session={theirs}; b=2")));
    assert_eq!(cookie.upstream_header("cookie"), ["a=1; b=2"]);
    let query = call(&WORLD.plain, &Call::get(&format!("/echo/orders?a=1&access_token={theirs}&b=2")));
    assert_eq!(query.json()["path"], "/echo/orders?a=1&b=2");
    for response in [cookie, query] {
        assert_eq!(verified(&WORLD.plain, JWKS_PATH, &bearer(&response), Algorithm::Es256)["sub"], "alice");
        assert!(!response.text().contains(&theirs));
    }
}

#[test]
fn one_token_is_made_per_worker_credential_and_audience() {
    let alice = WORLD.token().claim("jti", json!("reuse")).sign(&WORLD.key);
    let seen = |path: &str, token: &str| -> BTreeSet<String> {
        (0..CONNECTIONS).map(|_| bearer(&get(&WORLD.plain, path, token))).collect()
    };
    let first = seen("/echo/orders", &alice);
    assert!((1..=2).contains(&first.len()), "{} tokens for two workers", first.len());
    assert_eq!(seen("/echo/orders", &alice), first, "used again within its lifetime");
    assert!(seen("/echo/billing", &alice).is_disjoint(&first));
    let bob = Token::of("bob").sign(&WORLD.key);
    for token in seen("/echo/orders", &bob) {
        assert_eq!(part(&token, 1)["sub"], "bob");
    }
}

#[test]
fn no_internal_token_outlasts_the_credential_by_more_than_the_leeway() {
    let end = unix_seconds() + 5;
    let theirs = WORLD.token().claim("exp", json!(end)).sign(&WORLD.key);
    let claims = part(&bearer(&get(&WORLD.plain, "/echo/orders", &theirs)), 1);
    let ends = claims["exp"].as_i64().unwrap();
    assert!((end..=end + 30).contains(&ends), "{ends} after {end}");
    assert!(ends <= claims["iat"].as_i64().unwrap() + i64::try_from(LIFETIME).unwrap());
}

#[test]
fn callers_with_keys_get_one_too_and_nobody_gets_none() {
    let response = call(&WORLD.plain, &Call::get("/echo/app").header("x-api-key", "key-1"));
    let claims = verified(&WORLD.plain, JWKS_PATH, &bearer(&response), Algorithm::Es256);
    assert_eq!((&claims["sub"], &claims["scope"], &claims["aud"]), (&json!("billing"), &json!("read"), &json!("app")));
    let nobody = call(&WORLD.plain, &Call::get("/echo/optional"));
    assert_eq!((nobody.status, nobody.upstream_header("authorization")), (200, vec![]));
}

#[test]
fn a_refused_caller_gets_none() {
    let forged = WORLD.token().sign(&SigningKey::generate(Algorithm::Es256, "k1"));
    refusal::check(&get(&WORLD.plain, "/echo/orders", &forged), 401, "token_signature_invalid").unwrap();
    let banned = Token::of("alice").scope("banned").sign(&WORLD.key);
    refusal::check(&get(&WORLD.plain, "/echo/orders", &banned), 403, "scope_insufficient").unwrap();
    // The gateway's own token is for services: it does not open the gateway itself.
    let ours = bearer(&get(&WORLD.plain, "/echo/orders", &WORLD.token().sign(&WORLD.key)));
    assert_eq!(get(&WORLD.plain, "/echo/orders", &ours).status, 401);
}

#[test]
fn a_header_of_its_own_is_the_gateways_alone() {
    let theirs = WORLD.token().sign(&WORLD.key);
    let forged = Call::get("/echo/orders").bearer(&theirs).header("x-internal-token", "made.up.token");
    let response = call(&WORLD.own_header, &forged);
    assert_eq!(response.status, 200, "{}", response.text());
    let [ours] = <[String; 1]>::try_from(response.upstream_header("x-internal-token")).unwrap();
    let claims = verified(&WORLD.own_header, "/keys", &ours, Algorithm::EdDsa);
    assert_eq!((&claims["sub"], &part(&ours, 0)["typ"]), (&json!("alice"), &json!("JWT")));
    assert!(response.upstream_header("authorization").is_empty(), "stripped");
    // Nor can anybody send it where the gateway sets none, under any spelling.
    for name in ["x-internal-token", "X-Internal-Token", "x_internal_token"] {
        for path in ["/echo/open", "/echo/optional"] {
            let response = call(&WORLD.own_header, &Call::get(path).header(name, "made.up.token"));
            assert!(!response.text().contains("made.up.token"), "{name} at {path}: {}", response.text());
        }
    }
    let h2 = Call::get("/echo/open").header("x-internal-token", "made.up.token");
    let h2 = call_h2(WORLD.own_header.port(), None, &h2).unwrap();
    assert_eq!((h2.status, h2.upstream_header("x-internal-token")), (200, vec![]));
}

#[test]
fn the_key_set_holds_public_halves_only_and_the_next_key_too() {
    let response = call(&WORLD.plain, &Call::get(JWKS_PATH));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/jwk-set+json"));
    assert!(response.header("cache-control").unwrap().contains("max-age="));
    let set = response.json();
    let keys = set["keys"].as_array().unwrap();
    let kids: Vec<&Value> = keys.iter().map(|key| &key["kid"]).collect();
    assert_eq!(kids, ["gw-es256", "next"]);
    assert_eq!(keys[1]["x"], WORLD.next.public_jwk()["x"]);
    for key in keys {
        assert_eq!((key.get("d"), key.get("k")), (None, None), "{key}");
    }
    let other = call(&WORLD.own_header, &Call::get("/keys")).json();
    assert_eq!((&other["keys"][0]["kty"], &other["keys"][0]["crv"]), (&json!("OKP"), &json!("Ed25519")));
}

#[test]
fn a_resource_has_its_metadata_at_the_well_known_path() {
    let response = call(&WORLD.plain, &Call::get(METADATA_PATH));
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    let expected = json!({
        "resource": "https://api.demo/orders", "authorization_servers": ["https://idp.demo"],
        "scopes_supported": ["read", "write"], "resource_name": "Orders",
        "resource_documentation": "https://docs.demo/orders",
    });
    let mut document = response.json();
    document.as_object_mut().unwrap().retain(|name, _| expected.get(name).is_some());
    assert_eq!(document, expected);
}

#[test]
fn documents_answer_head_conditional_requests_and_no_other_method() {
    for path in [METADATA_PATH, JWKS_PATH] {
        let got = call(&WORLD.plain, &Call::get(path));
        let etag = got.header("etag").unwrap().to_owned();
        let head = call(&WORLD.plain, &Call::new("HEAD", path));
        assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(etag.as_str())));
        assert_eq!(head.header("content-length"), Some(got.body.len().to_string().as_str()));
        for tags in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
            // Both answers come over one connection: a 304 has no body that could get in the way.
            let mut client = Client::connect(WORLD.plain.port()).unwrap();
            let not_modified = client.call(&Call::get(path).header("if-none-match", &tags)).unwrap();
            assert_eq!((not_modified.status, not_modified.header("etag")), (304, Some(etag.as_str())), "{tags}");
            assert_eq!(client.call(&Call::get(path)).unwrap().status, 200);
        }
        let modified = call(&WORLD.plain, &Call::get(path).header("if-none-match", "\"other\""));
        assert_eq!((modified.status, &modified.body), (200, &got.body));
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = call(&WORLD.plain, &Call::new(method, path));
            assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method}");
        }
        // Neither a query nor a bad token keeps anybody from a public document.
        assert_eq!(get(&WORLD.plain, &format!("{path}?x=1"), "a.b.c").status, 200);
        let h2 = call_h2(WORLD.plain.port(), None, &Call::get(path)).unwrap();
        assert_eq!((h2.status, &h2.body), (200, &got.body));
    }
}

#[test]
fn challenges_point_to_the_metadata_of_the_resource() {
    let wanted = format!("resource_metadata=\"{METADATA_URL}\"");
    let bare = call(&WORLD.plain, &Call::get("/echo/orders"));
    refusal::check(&bare, 401, "credentials_missing").unwrap();
    let expired = get(&WORLD.plain, "/echo/orders", &Token::of("alice").expires_in(-300).sign(&WORLD.key));
    refusal::check(&expired, 401, "token_expired").unwrap();
    for response in [bare, expired] {
        let challenge = response.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer ") && challenge.contains(&wanted), "{challenge}");
    }
    let other = call(&WORLD.plain, &Call::get("/echo/billing"));
    assert!(!other.header("www-authenticate").unwrap().contains("resource_metadata"), "a rule without resource");
}

#[test]
fn neither_private_keys_nor_internal_tokens_are_logged() {
    let ours = bearer(&get(&WORLD.plain, "/echo/orders", &WORLD.token().sign(&WORLD.key)));
    let response = get(&WORLD.plain, "/echo/orders", "a.b.c");
    WORLD.plain.audit_of(response.header("x-request-id").unwrap()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    for gateway in [&WORLD.plain, &WORLD.own_header] {
        let log = gateway.log();
        assert!(!log.contains(&ours) && !log.contains("\"d\":"));
        gateway.check_unharmed().unwrap();
    }
}
