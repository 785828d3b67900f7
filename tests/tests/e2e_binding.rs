//! Tokens that are tied to their sender, in the real Envoy: client certificates (RFC 8705) and DPoP (RFC 9449).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::sync::{Barrier, LazyLock};
use std::thread;

use portcullis_tests::client::{Call, Client, Response, call_h2};
use portcullis_tests::dpop::{self, Proof};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, base64url, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::paths::WorkDir;
use portcullis_tests::pki::{Pki, Usage};
use portcullis_tests::server::Answer;
use portcullis_tests::services::Service;
use portcullis_tests::{refusal, tls};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

struct World {
    gateway: Gateway,
    pki: Pki,
    /// Signs tokens.
    issuer: SigningKey,
    /// Signs proofs.
    holder: SigningKey,
    _services: [Service; 2],
    _dir: WorkDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::start().unwrap_or_else(|error| panic!("{error:#}")));

/// So many connections that both workers have some.
const CONNECTIONS: usize = 32;
const HOST: &str = "https://api.demo";

fn filter(jwks: &Value) -> Value {
    let provider = |change: Value| {
        let mut provider = json!({
            "issuer": "https://idp.demo", "audiences": ["demo-api"], "algorithms": ["ES256"],
            "jwks": {"inline": jwks}, "forward": {"headers": {"x-user": "sub"}},
        });
        if !change.is_null() {
            provider["binding"] = change;
        }
        provider
    };
    let rule = |name: &str| json!({"match": {"prefix": format!("/echo/{name}")}, "require": name});
    json!({
        "version": 1,
        "providers": {
            "plain": provider(json!(null)),
            "bound": provider(json!({"dpop": "required"})),
            "nonce": provider(json!({"dpop_nonce": true})),
            "mtls": provider(json!({"mtls": "required"})),
            "never": provider(json!({"dpop": "never", "mtls": "never"})),
            "mesh": {"certificate": {"allow": ["spiffe://demo/*"]}},
            "session": {
                "introspection": {"cluster": "asked", "path": "/asked", "client_authentication": "none"},
                "token_from": [{"header": "x-session"}],
            },
        },
        "limits": {"by_address": {"key": "ip", "rate": "100000/min"}},
        "rules": [
            rule("plain"), rule("bound"), rule("nonce"), rule("mtls"), rule("never"),
            {"match": {"prefix": "/echo/both"}, "require": {"all": ["plain", "mesh"]}},
            {
                "match": {"prefix": "/echo/session"},
                "require": {"all": ["plain", "session"]}, "limits": ["by_address"],
            },
        ],
    })
}

impl World {
    fn start() -> anyhow::Result<Self> {
        let dir = WorkDir::create("binding")?;
        let pki = Pki::load_or_create(&dir.path().join("pki"))?;
        for name in ["caller", "other"] {
            pki.issue(name, &["caller.demo"], &format!("spiffe://demo/{name}"), Usage::Client)?;
        }
        let issuer = SigningKey::generate(Algorithm::Es256, "k1");
        let holder = SigningKey::generate(Algorithm::Es256, "dpop");
        let service = Service::plain("echo")?;
        let asked = Service::plain("asked")?;
        asked.set_answer(Answer::json(200, &json!({"active": true, "sub": "session"})));
        let gateway = Gateway::builder()
            .filter(filter(&jwks([&issuer])))
            .service(&service)
            .cluster("asked", asked.port())
            .https(&pki)
            .start()?;
        Ok(Self { gateway, pki, issuer, holder, _services: [service, asked], _dir: dir })
    }

    fn connect(&self, identity: Option<&str>) -> Client {
        let config = tls::client(&self.pki, identity, &["http/1.1"]).unwrap();
        Client::connect_tls(self.gateway.port(), config, "localhost").unwrap()
    }

    fn call_as(&self, identity: Option<&str>, call: &Call) -> Response {
        self.connect(identity).call(call).unwrap()
    }

    fn call(&self, call: &Call) -> Response {
        self.call_as(None, call)
    }

    /// A token of alice that is bound to nothing.
    fn unbound(&self) -> String {
        Token::of("alice").sign(&self.issuer)
    }

    /// A token that is bound to `holder`'s DPoP key.
    fn bound(&self) -> String {
        self.bound_to(&self.holder)
    }

    fn bound_to(&self, key: &SigningKey) -> String {
        Token::of("alice").claim("cnf", json!({"jkt": dpop::thumbprint(key)})).sign(&self.issuer)
    }

    /// A token that is bound to the client certificate `name`.
    fn bound_to_certificate(&self, name: &str) -> String {
        Token::of("alice").claim("cnf", json!({"x5t#S256": self.certificate_hash(name)})).sign(&self.issuer)
    }

    fn certificate_hash(&self, name: &str) -> String {
        let der = CertificateDer::from_pem_file(self.pki.certificate(name)).unwrap();
        base64url(ring::digest::digest(&ring::digest::SHA256, &der).as_ref())
    }
}

/// A GET with a token and a proof.
fn with_proof(path: &str, token: &str, proof: &str) -> Call {
    Call::get(path).header("authorization", &format!("DPoP {token}")).header("dpop", proof)
}

/// A good proof for a GET of `path` with `token`, to be changed.
fn proof(path: &str, token: &str) -> Proof {
    Proof::of("GET", &format!("{HOST}{path}")).with_token(token)
}

fn passed(response: &Response) {
    assert_eq!(response.status, 200, "{:?} {}", response.headers, response.text());
    assert_eq!(response.upstream_header("x-user"), ["alice"]);
}

fn refused(response: &Response, status: u16, reason: &str) {
    refusal::check(response, status, reason).unwrap();
}

fn challenges(response: &Response) -> Vec<&str> {
    let lines = response.headers.iter().filter(|(name, _)| name == "www-authenticate");
    lines.map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_token_that_is_bound_to_a_certificate_passes_with_that_certificate_alone() {
    let token = WORLD.bound_to_certificate("caller");
    for path in ["/echo/plain", "/echo/mtls"] {
        let call = Call::get(path).bearer(&token);
        passed(&WORLD.call_as(Some("caller"), &call));
        refused(&WORLD.call_as(Some("other"), &call), 401, "token_binding_mismatch");
        refused(&WORLD.call(&call), 401, "token_certificate_missing");
    }
    // The token is in the caches of the workers now; a cached one is no less bound.
    for _ in 0..CONNECTIONS {
        refused(&WORLD.call(&Call::get("/echo/plain").bearer(&token)), 401, "token_certificate_missing");
    }
}

#[test]
fn a_certificate_in_a_header_is_no_certificate() {
    let hash = ring::digest::digest(
        &ring::digest::SHA256,
        &CertificateDer::from_pem_file(WORLD.pki.certificate("caller")).unwrap(),
    );
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let call = Call::get("/echo/plain").bearer(&WORLD.bound_to_certificate("caller"));
    let call = call.header("x-forwarded-client-cert", &format!("Hash={hex};URI=spiffe://demo/caller"));
    refused(&WORLD.call(&call), 401, "token_certificate_missing");
}

#[test]
fn where_binding_to_a_certificate_is_required_an_unbound_token_is_refused() {
    let call = Call::get("/echo/mtls").bearer(&WORLD.unbound());
    refused(&WORLD.call_as(Some("caller"), &call), 401, "token_binding_missing");
    passed(&WORLD.call_as(Some("caller"), &Call::get("/echo/plain").bearer(&WORLD.unbound())));
}

#[test]
fn a_confirmation_that_cannot_be_checked_is_refused() {
    let hash = WORLD.certificate_hash("caller");
    let malformed = [
        json!({}),
        json!({"kid": "k1"}),
        json!({"jwk": {}}),
        json!("caller"),
        json!(null),
        json!([]),
        json!({"x5t#S256": ""}),
        json!({"x5t#S256": format!("{hash}=")}),
        json!({"x5t#S256": hash.get(1..)}),
        json!({"x5t#S256": [hash]}),
        json!({"x5t#S256": hash, "jkt": "short"}),
    ];
    for cnf in malformed {
        let token = Token::of("alice").claim("cnf", cnf.clone()).sign(&WORLD.issuer);
        let response = WORLD.call_as(Some("caller"), &Call::get("/echo/plain").bearer(&token));
        assert_eq!(refusal::reason(&response), "token_confirmation_refused", "{cnf}");
        assert_eq!(response.status, 401);
    }
}

#[test]
fn a_bound_token_and_a_certificate_of_the_mesh_can_both_be_asked_for() {
    let call = Call::get("/echo/both").bearer(&WORLD.bound_to_certificate("caller"));
    passed(&WORLD.call_as(Some("caller"), &call));
    // The other certificate is as good to the mesh, and not the token's.
    refused(&WORLD.call_as(Some("other"), &call), 401, "token_binding_mismatch");
    refused(&WORLD.call(&call), 401, "token_certificate_missing");
    refused(&WORLD.call_as(Some("caller"), &Call::get("/echo/both")), 401, "credentials_missing");
}

#[test]
fn a_token_with_two_bindings_needs_both() {
    let cnf = json!({"jkt": dpop::thumbprint(&WORLD.holder), "x5t#S256": WORLD.certificate_hash("caller")});
    let token = Token::of("alice").claim("cnf", cnf).sign(&WORLD.issuer);
    let call = || with_proof("/echo/plain", &token, &proof("/echo/plain", &token).sign(&WORLD.holder));
    passed(&WORLD.call_as(Some("caller"), &call()));
    refused(&WORLD.call_as(Some("other"), &call()), 401, "token_binding_mismatch");
    refused(&WORLD.call(&call()), 401, "token_certificate_missing");
    refused(&WORLD.call_as(Some("caller"), &Call::get("/echo/plain").bearer(&token)), 401, "token_binding_downgraded");
}

#[test]
fn a_good_proof_passes_with_every_accepted_algorithm() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256] {
        let key = SigningKey::generate(algorithm, "any");
        let token = WORLD.bound_to(&key);
        for path in ["/echo/plain", "/echo/bound"] {
            passed(&WORLD.call(&with_proof(path, &token, &proof(path, &token).sign(&key))));
        }
    }
    let key = SigningKey::generate(Algorithm::Es384, "not listed");
    let token = WORLD.bound_to(&key);
    let call = with_proof("/echo/bound", &token, &proof("/echo/bound", &token).sign(&key));
    refused(&WORLD.call(&call), 401, "dpop_proof_algorithm_refused");
}

#[test]
fn the_scheme_is_read_without_regard_to_case() {
    let token = WORLD.bound();
    for scheme in ["dpop", "DPOP", "dPoP"] {
        let proof = proof("/echo/plain", &token).sign(&WORLD.holder);
        let call = Call::get("/echo/plain").header("authorization", &format!("{scheme} {token}"));
        passed(&WORLD.call(&call.header("dpop", &proof)));
    }
}

#[test]
fn a_proof_passes_over_http_2_as_well_and_once() {
    let token = WORLD.bound();
    let call = with_proof("/echo/plain", &token, &proof("/echo/plain", &token).sign(&WORLD.holder));
    let send = || {
        let config = tls::client(&WORLD.pki, None, &["h2"]).unwrap();
        call_h2(WORLD.gateway.port(), Some((config, "localhost")), &call).unwrap()
    };
    passed(&send());
    refused(&send(), 401, "dpop_proof_replayed");
}

#[test]
fn a_proof_that_was_used_is_refused_on_every_worker() {
    let token = WORLD.bound();
    let call = with_proof("/echo/plain", &token, &proof("/echo/plain", &token).sign(&WORLD.holder));
    let mut client = WORLD.connect(None);
    passed(&client.call(&call).unwrap());
    refused(&client.call(&call).unwrap(), 401, "dpop_proof_replayed");
    for _ in 0..CONNECTIONS {
        refused(&WORLD.call(&call), 401, "dpop_proof_replayed");
    }
}

#[test]
fn of_many_uses_of_one_proof_at_once_exactly_one_passes() {
    let token = WORLD.bound();
    for _ in 0..5 {
        let call = with_proof("/echo/plain", &token, &proof("/echo/plain", &token).sign(&WORLD.holder));
        let start = Barrier::new(CONNECTIONS);
        let answers: Vec<Response> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CONNECTIONS).map(|_| WORLD.connect(None)).collect();
            let threads: Vec<_> = clients
                .into_iter()
                .map(|mut client| {
                    let (start, call) = (&start, &call);
                    scope.spawn(move || {
                        start.wait();
                        client.call(call).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(good.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
        bad.iter().for_each(|answer| refused(answer, 401, "dpop_proof_replayed"));
    }
}

#[test]
fn another_proof_with_the_same_jti_counts_as_a_replay_for_the_same_key_alone() {
    let token = WORLD.bound();
    let jti = json!(format!("jti of {}", std::process::id()));
    let first = proof("/echo/plain", &token).claim("jti", jti.clone()).sign(&WORLD.holder);
    passed(&WORLD.call(&with_proof("/echo/plain", &token, &first)));
    let again = proof("/echo/bound", &token).claim("jti", jti.clone()).made(-1).sign(&WORLD.holder);
    refused(&WORLD.call(&with_proof("/echo/bound", &token, &again)), 401, "dpop_proof_replayed");
    let other = SigningKey::generate(Algorithm::Es256, "other");
    let token = WORLD.bound_to(&other);
    let of_other = proof("/echo/plain", &token).claim("jti", jti).sign(&other);
    passed(&WORLD.call(&with_proof("/echo/plain", &token, &of_other)));
}

#[test]
fn a_refused_proof_is_not_used_up() {
    let token = WORLD.bound();
    let good = proof("/echo/plain", &token).sign(&WORLD.holder);
    // Another request, another token, a bearer: none of them takes the place of the rightful use.
    refused(&WORLD.call(&with_proof("/echo/bound", &token, &good)), 401, "dpop_proof_request_mismatch");
    refused(&WORLD.call(&with_proof("/echo/plain", &WORLD.unbound(), &good)), 401, "dpop_proof_token_mismatch");
    refused(&WORLD.call(&with_proof("/echo/plain", "a.b.c", &good)), 401, "token_malformed");
    let bearer = Call::get("/echo/plain").bearer(&token).header("dpop", &good);
    refused(&WORLD.call(&bearer), 401, "token_binding_downgraded");
    passed(&WORLD.call(&with_proof("/echo/plain", &token, &good)));
}

#[test]
fn a_request_that_waits_for_another_provider_has_not_replayed_its_own_proof() {
    let token = WORLD.bound();
    for session in ["s1", "s2", "s1"] {
        let proof = proof("/echo/session", &token).sign(&WORLD.holder);
        let call = with_proof("/echo/session", &token, &proof).header("x-session", session);
        let response = WORLD.call(&call);
        passed(&response);
        assert!(response.header("ratelimit").is_some(), "what its limits said before it waited, it is told after");
        refused(&WORLD.call(&call), 401, "dpop_proof_replayed");
    }
}

#[test]
fn a_proof_is_for_one_method_and_one_uri() {
    let token = WORLD.bound();
    let send = |proof: Proof| {
        let proof = proof.with_token(&token).sign(&WORLD.holder);
        WORLD.call(&with_proof("/echo/plain/a?page=2", &token, &proof))
    };
    for htu in [
        "https://api.demo/echo/plain/a",
        "https://API.demo:443/echo/plain/a",
        "https://api.demo/echo/plain/a?page=3",
        "https://api.demo/echo/plain/a#top",
        "https://api.demo/echo/plain/%61",
    ] {
        passed(&send(Proof::of("GET", htu)));
    }
    for htm in ["POST", "get", "HEAD"] {
        refused(&send(Proof::of(htm, "https://api.demo/echo/plain/a")), 401, "dpop_proof_request_mismatch");
    }
    for htu in [
        "https://api.demo/echo/plain",
        "https://api.demo/echo/plain/a/",
        "https://api.demo/echo/plain/A",
        "https://api.demo/",
        "https://api.demo.evil/echo/plain/a",
        "https://evil.demo/echo/plain/a",
        "https://api.demo:8443/echo/plain/a",
        "https://api.demo@evil.demo/echo/plain/a",
        "http://api.demo/echo/plain/a",
        "/echo/plain/a",
        "api.demo/echo/plain/a",
    ] {
        refused(&send(Proof::of("GET", htu)), 401, "dpop_proof_request_mismatch");
    }
}

#[test]
fn a_proof_is_for_now() {
    let token = WORLD.bound();
    let send = |proof: &Proof| WORLD.call(&with_proof("/echo/plain", &token, &proof.sign(&WORLD.holder)));
    for seconds in [-50, 0, 3] {
        passed(&send(&proof("/echo/plain", &token).made(seconds)));
    }
    for seconds in [-70, -3600, -1_000_000_000] {
        refused(&send(&proof("/echo/plain", &token).made(seconds)), 401, "dpop_proof_expired");
    }
    for seconds in [30, 3600, 1_000_000_000_000] {
        refused(&send(&proof("/echo/plain", &token).made(seconds)), 401, "dpop_proof_issued_in_future");
    }
    let over = proof("/echo/plain", &token).claim("exp", json!(1_000_000_000));
    refused(&send(&over), 401, "dpop_proof_expired");
}

#[test]
fn a_proof_is_for_one_token() {
    let (token, other) = (WORLD.bound(), WORLD.bound_to(&SigningKey::generate(Algorithm::Es256, "x")));
    let send = |proof: Proof| WORLD.call(&with_proof("/echo/plain", &token, &proof.sign(&WORLD.holder)));
    refused(&send(proof("/echo/plain", &other)), 401, "dpop_proof_token_mismatch");
    refused(&send(proof("/echo/plain", &format!("{token} "))), 401, "dpop_proof_token_mismatch");
    refused(&send(proof("/echo/plain", &token).claim("ath", json!("%%%"))), 401, "dpop_proof_token_mismatch");
    refused(&send(proof("/echo/plain", &token).claim("ath", json!(null))), 401, "dpop_proof_malformed");
    refused(&send(proof("/echo/plain", &token).claim("ath", json!(""))), 401, "dpop_proof_malformed");
}

#[test]
fn a_proof_of_another_key_does_not_help() {
    let token = WORLD.bound();
    let thief = SigningKey::generate(Algorithm::Es256, "thief");
    let own = proof("/echo/plain", &token).sign(&thief);
    refused(&WORLD.call(&with_proof("/echo/plain", &token, &own)), 401, "token_binding_mismatch");
    // The holder's public key is no secret; to sign with it is another matter.
    let forged = proof("/echo/plain", &token).header("jwk", dpop::jwk(&WORLD.holder)).sign(&thief);
    refused(&WORLD.call(&with_proof("/echo/plain", &token, &forged)), 401, "dpop_proof_signature_invalid");
    for signature in [&[][..], &[0; 64], &[0xff; 64], &[1; 63]] {
        let forged = proof("/echo/plain", &token).with_signature(&WORLD.holder, signature);
        let response = WORLD.call(&with_proof("/echo/plain", &token, &forged));
        assert_eq!(response.status, 401, "{}", response.text());
        assert!(
            ["dpop_proof_signature_invalid", "dpop_proof_malformed"].contains(&refusal::reason(&response).as_str())
        );
    }
}

#[test]
fn a_proof_without_an_asymmetric_signature_is_refused() {
    let token = WORLD.bound();
    let send = |proof: &str| WORLD.call(&with_proof("/echo/plain", &token, proof));
    let secret = SigningKey::generate(Algorithm::Hs256, "secret");
    let own_secret = proof("/echo/plain", &token).sign(&secret);
    let public = SigningKey::from_secret(Algorithm::Hs256, "public", &WORLD.holder.known_bytes());
    let confused = proof("/echo/plain", &token).header("jwk", dpop::jwk(&WORLD.holder)).sign(&public);
    for algorithm in ["none", "None", "", "HS256", "ES256K", "RS1", "es256"] {
        for signature in [&[][..], &[0; 64]] {
            let proof = proof("/echo/plain", &token).header("alg", json!(algorithm));
            let response = send(&proof.with_signature(&WORLD.holder, signature));
            assert_eq!(response.status, 401, "{algorithm}: {}", response.text());
            let reason = refusal::reason(&response);
            assert!(["dpop_proof_algorithm_refused", "dpop_proof_malformed"].contains(&reason.as_str()), "{reason}");
        }
    }
    for proof in [own_secret, confused] {
        let response = send(&proof);
        assert_eq!(response.status, 401, "{}", response.text());
        let reason = refusal::reason(&response);
        assert!(["dpop_proof_algorithm_refused", "dpop_proof_key_refused"].contains(&reason.as_str()), "{reason}");
    }
}

#[test]
fn a_proof_that_tells_its_private_key_is_refused() {
    let token = WORLD.bound();
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let mut jwk = dpop::jwk(&WORLD.holder);
        jwk[member] = json!("AAAA");
        let proof = proof("/echo/plain", &token).header("jwk", jwk).sign(&WORLD.holder);
        refused(&WORLD.call(&with_proof("/echo/plain", &token, &proof)), 401, "dpop_proof_key_refused");
    }
}

#[test]
fn what_is_no_proof_is_refused() {
    let token = WORLD.bound();
    let good = || proof("/echo/plain", &token);
    let malformed = [
        String::new(),
        "a.b.c".to_owned(),
        token.clone(),
        format!("{}.", good().sign(&WORLD.holder)),
        format!("{}=", good().sign(&WORLD.holder)),
        good().header("typ", json!("JWT")).sign(&WORLD.holder),
        good().header("typ", json!(null)).sign(&WORLD.holder),
        good().header("jwk", json!(null)).sign(&WORLD.holder),
        good().header("jwk", json!("k1")).sign(&WORLD.holder),
        good().header("crit", json!(["exp"])).sign(&WORLD.holder),
        good().claim("jti", json!(null)).sign(&WORLD.holder),
        good().claim("jti", json!("")).sign(&WORLD.holder),
        good().claim("jti", json!("x".repeat(300))).sign(&WORLD.holder),
        good().claim("jti", json!(7)).sign(&WORLD.holder),
        good().claim("htm", json!(null)).sign(&WORLD.holder),
        good().claim("htu", json!(["https://api.demo/echo/plain"])).sign(&WORLD.holder),
        good().claim("iat", json!(null)).sign(&WORLD.holder),
        good().claim("iat", json!("now")).sign(&WORLD.holder),
        good().claim("padding", json!("x".repeat(9000))).sign(&WORLD.holder),
    ];
    for proof in malformed {
        let response = WORLD.call(&with_proof("/echo/plain", &token, &proof));
        assert_eq!((response.status, refusal::reason(&response).as_str()), (401, "dpop_proof_malformed"), "{proof}");
    }
    let without = Call::get("/echo/plain").header("authorization", &format!("DPoP {token}"));
    refused(&WORLD.call(&without), 401, "dpop_proof_missing");
}

#[test]
fn two_proofs_are_one_too_many() {
    let token = WORLD.bound();
    let good = || proof("/echo/plain", &token).sign(&WORLD.holder);
    let two_lines = with_proof("/echo/plain", &token, &good()).header("dpop", &good());
    refused(&WORLD.call(&two_lines), 400, "header_repeated");
    let same_twice = good();
    let same_twice = with_proof("/echo/plain", &token, &same_twice).header("dpop", &same_twice);
    refused(&WORLD.call(&same_twice), 400, "header_repeated");
    let one_line = with_proof("/echo/plain", &token, &format!("{}, {}", good(), good()));
    refused(&WORLD.call(&one_line), 400, "dpop_proof_multiple");
}

#[test]
fn a_bound_token_never_passes_as_a_bearer_token() {
    let token = WORLD.bound();
    for path in ["/echo/plain", "/echo/bound", "/echo/nonce"] {
        refused(&WORLD.call(&Call::get(path).bearer(&token)), 401, "token_binding_downgraded");
        let with_proof = Call::get(path).bearer(&token).header("dpop", &proof(path, &token).sign(&WORLD.holder));
        refused(&WORLD.call(&with_proof), 401, "token_binding_downgraded");
    }
    // Cached by a rightful use on many connections, it still does not.
    for _ in 0..CONNECTIONS {
        passed(&WORLD.call(&with_proof("/echo/plain", &token, &proof("/echo/plain", &token).sign(&WORLD.holder))));
        refused(&WORLD.call(&Call::get("/echo/plain").bearer(&token)), 401, "token_binding_downgraded");
    }
    let both = with_proof("/echo/plain", &token, &proof("/echo/plain", &token).sign(&WORLD.holder)).bearer(&token);
    assert_eq!(WORLD.call(&both).status, 400);
}

#[test]
fn an_unbound_token_does_not_pass_with_the_scheme_dpop() {
    let token = WORLD.unbound();
    let send = |path: &str| WORLD.call(&with_proof(path, &token, &proof(path, &token).sign(&WORLD.holder)));
    for path in ["/echo/plain", "/echo/bound"] {
        refused(&send(path), 401, "token_binding_missing");
    }
    passed(&WORLD.call(&Call::get("/echo/plain").bearer(&token)));
    refused(&WORLD.call(&Call::get("/echo/bound").bearer(&token)), 401, "token_binding_missing");
}

#[test]
fn where_another_hop_checks_the_binding_the_gateway_does_not() {
    passed(&WORLD.call(&Call::get("/echo/never").bearer(&WORLD.bound())));
    passed(&WORLD.call(&Call::get("/echo/never").bearer(&WORLD.bound_to_certificate("caller"))));
    // The scheme is not among those that are taken there.
    let token = WORLD.bound();
    let call = with_proof("/echo/never", &token, &proof("/echo/never", &token).sign(&WORLD.holder));
    refused(&WORLD.call(&call), 401, "credentials_missing");
}

#[test]
fn a_nonce_is_asked_for_and_then_taken_on_every_worker() {
    let token = WORLD.bound();
    let send = |proof: &Proof| WORLD.call(&with_proof("/echo/nonce", &token, &proof.sign(&WORLD.holder)));
    let response = send(&proof("/echo/nonce", &token));
    refused(&response, 401, "dpop_nonce_required");
    let line = challenges(&response).into_iter().find(|line| line.starts_with("DPoP ")).unwrap().to_owned();
    assert!(line.contains("error=\"use_dpop_nonce\""), "{line}");
    let nonce = response.header("dpop-nonce").unwrap().to_owned();
    assert!(nonce.len() >= 16, "{nonce}");
    for _ in 0..CONNECTIONS {
        passed(&send(&proof("/echo/nonce", &token).claim("nonce", json!(nonce))));
    }
    for wrong in [json!(""), json!("x"), json!(format!("{nonce}A")), json!(nonce.get(1..)), json!(nonce.to_lowercase())]
    {
        let response = send(&proof("/echo/nonce", &token).claim("nonce", wrong));
        refused(&response, 401, "dpop_nonce_required");
        assert!(response.header("dpop-nonce").is_some());
    }
    let response = send(&proof("/echo/nonce", &token).claim("nonce", json!([nonce])));
    refused(&response, 401, "dpop_proof_malformed");
    // A nonce is no ticket for a second use.
    let twice = proof("/echo/nonce", &token).claim("nonce", json!(nonce));
    passed(&send(&twice));
    refused(&send(&twice), 401, "dpop_proof_replayed");
}

#[test]
fn each_scheme_has_a_challenge_line_of_its_own() {
    let response = WORLD.call(&Call::get("/echo/nonce"));
    refused(&response, 401, "credentials_missing");
    let lines = challenges(&response);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("Bearer realm="), "{lines:?}");
    assert!(lines[1].starts_with("DPoP "), "{lines:?}");
    for algorithm in ["ES256", "EdDSA", "RS256", "PS256"] {
        assert!(lines[1].contains("algs=\"") && lines[1].contains(algorithm), "{lines:?}");
    }
    assert!(lines.iter().all(|line| !line.contains("error=")), "nothing was sent: {lines:?}");

    let response = WORLD.call(&Call::get("/echo/bound"));
    assert!(challenges(&response).iter().all(|line| line.starts_with("DPoP ")), "{:?}", challenges(&response));
    // DPoP is offered where the configuration speaks of it, and taken wherever it is not switched off.
    for path in ["/echo/plain", "/echo/never"] {
        let response = WORLD.call(&Call::get(path));
        assert!(challenges(&response).iter().all(|line| line.starts_with("Bearer ")), "{:?}", challenges(&response));
    }

    let token = WORLD.bound();
    let old = proof("/echo/plain", &token).made(-3600).sign(&WORLD.holder);
    let response = WORLD.call(&with_proof("/echo/plain", &token, &old));
    let lines = challenges(&response);
    let of_dpop = lines.iter().find(|line| line.starts_with("DPoP ")).unwrap();
    assert!(of_dpop.contains("error=\"invalid_dpop_proof\""), "{lines:?}");
    assert!(lines.iter().filter(|line| line.starts_with("Bearer ")).all(|line| !line.contains("error=")), "{lines:?}");
}

#[test]
fn neither_tokens_nor_proofs_are_logged() {
    let token = WORLD.bound();
    let good = proof("/echo/plain", &token).sign(&WORLD.holder);
    let call = with_proof("/echo/plain", &token, &good);
    passed(&WORLD.call(&call));
    let replayed = WORLD.call(&call);
    refused(&replayed, 401, "dpop_proof_replayed");
    let old = proof("/echo/plain", &token).made(-3600).sign(&WORLD.holder);
    let expired = WORLD.call(&with_proof("/echo/plain", &token, &old));
    for (response, reason) in [(&replayed, "dpop_proof_replayed"), (&expired, "dpop_proof_expired")] {
        let event = WORLD.gateway.audit_of(response.header("x-request-id").unwrap()).unwrap();
        assert!(event.to_string().contains(reason), "{event}");
    }
    let log = WORLD.gateway.log();
    for secret in [&token, &good, &old] {
        for part in secret.split('.') {
            assert!(!log.contains(part), "the log tells {part}");
        }
    }
    WORLD.gateway.check_unharmed().unwrap();
}
