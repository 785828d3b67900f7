//! Credentials that are guessed, forged, or good for something else.

use portcullis_tests::client::Call;
use portcullis_tests::keys::{Algorithm, SigningKey, base64url, jwks};
use portcullis_tests::mint::unix_seconds;
use serde_json::{Value, json};

use crate::report::Wave;
use crate::target::Target;

/// One sender that guesses tokens until it is banned, and then goes on.
pub fn brute_force(target: &Target) -> Wave {
    let mut wave = Wave::new("brute force");
    let mut attacker = target.attacker();
    for number in 0..160_u32 {
        let guess = target.token().header("alg", json!("ES256")).header("kid", json!(target.key().kid()));
        let guess = guess.with_signature(&number.to_be_bytes().repeat(16));
        wave.add("a guessed token", attacker.call(&Call::get("/orders/17").bearer(&guess)));
    }
    wave
}

/// Tokens that were never issued: each would be let in by some implementation of the past.
pub fn forged_tokens(target: &Target) -> Wave {
    let mut wave = Wave::new("token forgery");
    for (what, token) in forged(target) {
        // Each from elsewhere, so that it is the token that is judged and no ban.
        wave.add(&what, target.attacker().call(&Call::get("/orders/17").bearer(&token)));
    }
    wave
}

fn forged(target: &Target) -> Vec<(String, String)> {
    let key = target.key();
    let kid = json!(key.kid());
    let mut tokens: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| tokens.push((what.to_owned(), token));

    for none in ["none", "None", "NONE", "nOnE", ""] {
        let token = target.token().header("alg", json!(none)).header("kid", kid.clone());
        add("alg none, no signature", token.with_signature(b""));
        add("alg none, some signature", token.with_signature(&[1; 64]));
    }
    let public = key.public_jwk();
    for secret in [
        key.known_bytes(),
        public.to_string().into_bytes(),
        jwks([key]).to_string().into_bytes(),
        b"secret".to_vec(),
        Vec::new(),
    ] {
        for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
            let forger = SigningKey::from_secret(algorithm, key.kid(), &secret);
            add("the public key as a secret", target.token().sign(&forger));
            add("the same, as ES256", target.token().header("alg", json!("ES256")).sign(&forger));
        }
    }
    let forger = SigningKey::generate(Algorithm::Es256, key.kid());
    add("another key under our kid", target.token().sign(&forger));
    add("a key that the token brings", target.token().header("jwk", forger.public_jwk()).sign(&forger));
    add(
        "a key set that the token names",
        target.token().header("jku", json!("http://127.0.0.1:1/jwks.json")).sign(&forger),
    );
    for bad_kid in ["../../../../dev/null", "x' UNION SELECT 'secret';--", "|id", ""] {
        let empty = SigningKey::from_secret(Algorithm::Hs256, bad_kid, b"");
        add("a kid that leads elsewhere", target.token().sign(&empty));
    }
    let (one, other) = (target.good(), target.good());
    let parts = |token: &str| -> Vec<String> { token.split('.').map(str::to_owned).collect() };
    if let ([header, claims, signature], [_, others, _]) = (parts(&one).as_slice(), parts(&other).as_slice()) {
        add("altered claims", format!("{header}.{others}.{signature}"));
        add("a signature of zeros", format!("{header}.{claims}.{}", base64url(&[0; 64])));
        add("no signature", format!("{header}.{claims}."));
        add("two parts", format!("{header}.{claims}"));
    }
    // Well signed, and not good all the same.
    add("expired", target.token().expires_in(-3600).sign(key));
    add("not valid yet", target.token().not_before(3600).sign(key));
    add("issued in the future", target.token().claim("iat", json!(unix_seconds() + 3600)).sign(key));
    add("without an end", target.token().without("exp").sign(key));
    add("without a subject", target.token().without("sub").sign(key));
    for audience in [json!("other-api"), json!([]), json!(["other-api", "https://demo-api"]), Value::Null, json!("")] {
        add("another audience", target.token().claim("aud", audience).sign(key));
    }
    add("another issuer", target.token().claim("iss", json!("https://idp.demo.evil.example")).sign(key));
    add("an unknown extension", target.token().header("crit", json!(["b64"])).header("b64", json!(false)).sign(key));
    add("encrypted", "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a.b.c.d".to_owned());
    tokens
}

/// Good tokens, used for more than they allow, and identities that clients write themselves.
pub fn missing_scopes(target: &Target) -> Wave {
    let mut wave = Wave::new("more than is allowed");
    let mut attacker = target.attacker();
    let reader = || target.token().scope("read_orders").sign(target.key());
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        wave.add(&format!("{method} by a reader"), attacker.call(&Call::new(method, "/orders/17").bearer(&reader())));
    }
    for method in ["GET", "POST"] {
        wave.add("reports of others", attacker.call(&Call::new(method, "/reports/2025").bearer(&reader())));
    }
    for header in ["x-http-method-override", "x-original-url", "x-rewrite-url", "x-user", "x-scopes"] {
        let call = Call::new("DELETE", "/orders/17").bearer(&reader()).header(header, "write_orders");
        wave.add(&format!("DELETE with {header}"), attacker.call(&call));
        wave.add(&format!("{header} without a token"), attacker.call(&Call::get("/orders/17").header(header, "admin")));
    }
    wave
}
