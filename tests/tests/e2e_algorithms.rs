//! Every algorithm with keys from every place, and signatures in the style of Project Wycheproof, on both verification
//! paths of a real Envoy: the host's `verify_signature`, and the module's own software.
//!
//! Wycheproof's messages are no tokens, so its vectors cannot pass a gateway. What they vary is made here from signatures
//! of tokens: numbers out of range, swapped and negated, other encodings and lengths, broken PKCS#1 paddings (by the raw
//! private operation). What `ring` made signs; each variant's verdict is known, and both gateways must give it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "and so has one that finds less than it looks for")]

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::idp::Idp;
use portcullis_tests::keys::{Algorithm, SigningKey, base64url};
use portcullis_tests::mint::Token;
use portcullis_tests::{eventually, filter, refusal};
use rsa::BigUint;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use serde_json::{Map, Value, json};

/// Where a provider of the tests has its keys.
const PLACES: [&str; 3] = ["inline", "env", "remote"];

struct World {
    /// Verifies with the host's native cryptography where it serves.
    host: Gateway,
    /// Verifies everything in the module.
    software: Gateway,
    rsa: SigningKey,
    others: Vec<SigningKey>,
    rsa_for_variants: rsa::RsaPrivateKey,
    idp: Idp,
}

static WORLD: LazyLock<World> = LazyLock::new(World::start);

impl World {
    fn start() -> Self {
        let rsa = SigningKey::generate(Algorithm::Rs256, "rsa");
        // A shared secret in an environment variable is text.
        let secret =
            |algorithm: Algorithm, bytes| SigningKey::from_secret(algorithm, algorithm.name(), &vec![b's'; bytes]);
        let others =
            Algorithm::ALL.into_iter().filter(|algorithm| !is_rsa(*algorithm)).map(|algorithm| match algorithm {
                Algorithm::Hs256 => secret(algorithm, 32),
                Algorithm::Hs384 => secret(algorithm, 48),
                Algorithm::Hs512 => secret(algorithm, 64),
                _ => SigningKey::generate(algorithm, algorithm.name()),
            });
        let others: Vec<SigningKey> = others.collect();
        let rsa_for_variants = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        let idp = Idp::plain(&json!({"keys": []})).unwrap();
        let (mut providers, mut environment, mut rules) = (Map::new(), Vec::new(), Vec::new());
        for place in PLACES {
            let mut names = Vec::new();
            for algorithm in Algorithm::ALL {
                let name = algorithm.name();
                let key = if is_rsa(algorithm) {
                    &rsa
                } else {
                    others.iter().find(|key| key.algorithm() == algorithm).unwrap()
                };
                let set = json!({"keys": [key.public_jwk_as(algorithm, name)]});
                let keys = match place {
                    "inline" => json!({"inline": set}),
                    "env" => {
                        environment.push((format!("KEYS_{name}"), set.to_string()));
                        json!({"env": format!("KEYS_{name}")})
                    }
                    _ => {
                        idp.endpoint(&format!("/{name}")).set_json(&set);
                        json!({"cluster": "idp", "path": format!("/{name}")})
                    }
                };
                let mut provider = filter::provider(&[name], keys);
                provider["issuer"] = json!(issuer(name));
                names.push(format!("{place}_{name}"));
                providers.insert(format!("{place}_{name}"), provider);
            }
            rules.push(json!({"name": place, "match": {"path": format!("/{place}")}, "require": {"any": names}}));
        }
        // A secret by itself, not in a key set.
        environment.push(("SECRET".to_owned(), "s".repeat(48)));
        providers.insert("secret".to_owned(), filter::provider(&["HS384"], json!({"env": "SECRET"})));
        rules.push(json!({"name": "secret", "match": {"path": "/secret"}, "require": "secret"}));
        let set = json!({"keys": [variant_jwk(&rsa_for_variants)]});
        providers.insert("variants".to_owned(), filter::provider(&["RS256"], json!({"inline": set})));
        rules.push(json!({"name": "variants", "match": {"path": "/variants"}, "require": "variants"}));
        let configuration = json!({"version": 1, "providers": providers, "rules": rules});
        let start = |software: &str| {
            let mut builder = Gateway::builder().filter(configuration.clone()).idp(&idp);
            for (name, value) in &environment {
                builder = builder.env(name, value);
            }
            let body = json!({"status": 200, "body": {"inline_string": "passed"}});
            let route = json!({"name": "passed", "match": {"prefix": "/"}, "direct_response": body});
            builder.env("PORTCULLIS_SOFTWARE_SIGNATURES", software).route(route).start().unwrap()
        };
        Self { host: start("0"), software: start("1"), rsa, others, rsa_for_variants, idp }
    }

    fn key(&self, algorithm: Algorithm) -> &SigningKey {
        if is_rsa(algorithm) { &self.rsa } else { self.others.iter().find(|key| key.algorithm() == algorithm).unwrap() }
    }

    /// Both gateways, each with what it should say it verifies with.
    fn gateways(&self) -> [(&'static str, &Gateway); 2] {
        [("the host", &self.host), ("this module", &self.software)]
    }
}

fn is_rsa(algorithm: Algorithm) -> bool {
    algorithm.name().starts_with(['R', 'P'])
}

fn issuer(algorithm: &str) -> String {
    format!("https://idp.demo/{algorithm}")
}

fn token_of(algorithm: Algorithm) -> Token {
    Token::of("alice").claim("iss", json!(issuer(algorithm.name()))).header("kid", json!(algorithm.name()))
}

fn call(gateway: &Gateway, path: &str, token: &str) -> Response {
    Client::connect(gateway.port()).unwrap().call(&Call::get(path).bearer(token)).unwrap()
}

/// The token with another signature.
fn with_signature(token: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let (input, signature) = token.rsplit_once('.').unwrap();
    format!("{input}.{}", base64url(&change(URL_SAFE_NO_PAD.decode(signature).unwrap())))
}

#[test]
fn each_gateway_says_who_verifies() {
    for (verification, gateway) in WORLD.gateways() {
        gateway.wait_for_log(&format!("signatures by {verification}"), Duration::from_secs(5)).unwrap();
    }
}

#[test]
fn every_algorithm_passes_with_a_good_signature_and_fails_with_an_altered_one() {
    for (verification, gateway) in WORLD.gateways() {
        for place in PLACES {
            for algorithm in Algorithm::ALL {
                let path = format!("/{place}");
                let good = token_of(algorithm).sign_as(WORLD.key(algorithm), algorithm);
                let shown = format!("{} {place} by {verification}", algorithm.name());
                let flip = |at: fn(usize) -> usize| {
                    with_signature(&good, |mut signature| {
                        let at = at(signature.len());
                        signature[at] ^= 1;
                        signature
                    })
                };
                for altered in [flip(|_| 0), flip(|length| length / 2), flip(|length| length - 1)] {
                    let response = call(gateway, &path, &altered);
                    refusal::check(&response, 401, "token_signature_invalid")
                        .unwrap_or_else(|e| panic!("{shown}: {e}"));
                }
                // Good, after the altered ones: no verdict sticks to another token's claims.
                assert_eq!(call(gateway, &path, &good).status, 200, "{shown}");
                assert_eq!(call(gateway, &path, &good).status, 200, "{shown}, from the cache");
            }
        }
        gateway.check_unharmed().unwrap();
    }
}

#[test]
fn a_key_serves_no_other_algorithm_than_its_own() {
    for algorithm in Algorithm::ALL {
        for claimed in Algorithm::ALL.into_iter().filter(|claimed| *claimed != algorithm) {
            // Signed well under one algorithm, sent to the provider of another under the other's name and kid.
            let token = token_of(claimed).header("alg", json!(claimed.name()));
            let token = token.sign_as(WORLD.key(algorithm), algorithm);
            let response = call(&WORLD.host, "/inline", &token);
            assert_eq!(response.status, 401, "{} as {}", algorithm.name(), claimed.name());
            assert_eq!(refusal::reason(&response), "token_signature_invalid");
        }
    }
}

#[test]
fn a_secret_of_the_environment_verifies_without_a_kid() {
    let key = SigningKey::from_secret(Algorithm::Hs384, "any", "s".repeat(48).as_bytes());
    for token in [Token::of("alice").sign(&key), Token::of("alice").header("kid", Value::Null).sign(&key)] {
        assert_eq!(call(&WORLD.host, "/secret", &token).status, 200);
    }
    let other = SigningKey::from_secret(Algorithm::Hs384, "any", "t".repeat(48).as_bytes());
    refusal::check(&call(&WORLD.host, "/secret", &Token::of("alice").sign(&other)), 401, "token_signature_invalid")
        .unwrap();
}

/// Sends one token to both gateways: they agree, and the verdict is `accepted`.
fn judge(path: &str, token: &str, accepted: bool, shown: &str) {
    for (verification, gateway) in WORLD.gateways() {
        let response = call(gateway, path, token);
        let reason = refusal::reason(&response);
        if accepted {
            assert_eq!(response.status, 200, "{shown} by {verification}: {reason}");
        } else {
            assert_eq!(
                (response.status, reason.as_str()),
                (401, "token_signature_invalid"),
                "{shown} by {verification}"
            );
        }
    }
}

mod ecdsa {
    use super::*;

    /// The order of the group (SEC 2, sections 2.4.2 and 2.5.1).
    fn order(algorithm: Algorithm) -> BigUint {
        let hex: &[u8] = match algorithm {
            Algorithm::Es256 => b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
            _ => b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        };
        BigUint::parse_bytes(hex, 16).unwrap()
    }

    /// `number` at full length, cut from the left where it is longer.
    fn fixed(number: &BigUint, length: usize) -> Vec<u8> {
        let bytes = number.to_bytes_be();
        let zeros = vec![0; length.saturating_sub(bytes.len())];
        [&zeros[..], &bytes[bytes.len().saturating_sub(length)..]].concat()
    }

    fn der_integer(number: &BigUint) -> Vec<u8> {
        let mut bytes = number.to_bytes_be();
        if bytes.first().is_none_or(|top| *top >= 0x80) {
            bytes.insert(0, 0);
        }
        [&[2, u8::try_from(bytes.len()).unwrap()], &bytes[..]].concat()
    }

    fn der(r: &BigUint, s: &BigUint) -> Vec<u8> {
        let content = [der_integer(r), der_integer(s)].concat();
        [&[0x30, u8::try_from(content.len()).unwrap()], &content[..]].concat()
    }

    #[test]
    fn numbers_out_of_range_other_encodings_and_lengths_are_refused_and_the_negated_s_is_not() {
        for (algorithm, length) in [(Algorithm::Es256, 32), (Algorithm::Es384, 48)] {
            let n = order(algorithm);
            let good = token_of(algorithm).sign(WORLD.key(algorithm));
            let signature = with_parts(&good);
            let (r, s) = (BigUint::from_bytes_be(&signature[..length]), BigUint::from_bytes_be(&signature[length..]));
            let (zero, one) = (BigUint::from(0u8), BigUint::from(1u8));
            let max = (&one << (8 * length)) - &one;
            let pair = |r: &BigUint, s: &BigUint| [fixed(r, length), fixed(s, length)].concat();
            let refused: Vec<(&str, Vec<u8>)> = vec![
                ("r = 0", pair(&zero, &s)),
                ("s = 0", pair(&r, &zero)),
                ("both 0", pair(&zero, &zero)),
                ("r = 1, s = 0", pair(&one, &zero)),
                ("r = s = 1", pair(&one, &one)),
                ("r = n", pair(&n, &s)),
                ("s = n", pair(&r, &n)),
                ("both n", pair(&n, &n)),
                ("r = n, s = 0", pair(&n, &zero)),
                ("r = n - 1", pair(&(&n - &one), &s)),
                ("s = n - 1", pair(&r, &(&n - &one))),
                ("r = n + 1", pair(&(&n + &one), &s)),
                ("r at its greatest", pair(&max, &s)),
                ("s at its greatest", pair(&r, &max)),
                ("both at their greatest", pair(&max, &max)),
                ("r and s swapped", pair(&s, &r)),
                ("r negated", pair(&(&n - &r), &s)),
                ("both negated", pair(&(&n - &r), &(&n - &s))),
                ("r twice", pair(&r, &r)),
                ("s + 1", pair(&r, &((&s + &one) % &n))),
                ("r + n over its end", pair(&(&r + &n), &s)),
                ("s + n over its end", pair(&r, &(&s + &n))),
                ("DER", der(&r, &s)),
                ("DER of the negated s", der(&r, &(&n - &s))),
                ("DER of r + n", der(&(&r + &n), &s)),
                ("a zero before", [&[0][..], &signature].concat()),
                ("a zero behind", [&signature[..], &[0]].concat()),
                ("zeros before both", [&[0][..], &signature[..length], &[0], &signature[length..]].concat()),
                ("a byte short", signature[1..].to_vec()),
                ("a byte cut off", signature[..2 * length - 1].to_vec()),
                ("r alone", signature[..length].to_vec()),
                ("one byte", vec![1]),
                ("as long as for another curve", vec![1; 132]),
                ("twice", [&signature[..], &signature].concat()),
            ];
            for (shown, variant) in refused {
                let token = with_signature(&good, |_| variant);
                judge("/inline", &token, false, &format!("{} with {shown}", algorithm.name()));
            }
            // Whoever signs chooses between s and n - s; JWS does not say which is right (RFC 7518, 3.4).
            for (shown, s) in [("as signed", s.clone()), ("with s negated", &n - &s)] {
                let token = with_signature(&good, |_| pair(&r, &s));
                judge("/inline", &token, true, &format!("{} {shown}", algorithm.name()));
            }
        }
    }

    fn with_parts(token: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(token.rsplit_once('.').unwrap().1).unwrap()
    }

    #[test]
    fn no_key_takes_the_signature_of_another_or_of_another_token() {
        for algorithm in [Algorithm::Es256, Algorithm::Es384] {
            let good = token_of(algorithm).sign(WORLD.key(algorithm));
            let stranger = token_of(algorithm).sign(&SigningKey::generate(algorithm, "k"));
            let other = token_of(algorithm).claim("sub", json!("bob")).sign(WORLD.key(algorithm));
            for from in [stranger, other] {
                let token = with_signature(&good, |_| with_parts(&from));
                judge("/inline", &token, false, algorithm.name());
            }
        }
    }
}

fn variant_jwk(key: &rsa::RsaPrivateKey) -> Value {
    let member = |number: &BigUint| base64url(&number.to_bytes_be());
    json!({"kty": "RSA", "kid": "v", "alg": "RS256", "n": member(key.n()), "e": member(key.e())})
}

mod pkcs1 {
    use super::*;

    /// The DigestInfo of SHA-256 before the digest (RFC 8017, section 9.2, note 1).
    const SHA256: &[u8] = &[0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];

    fn digest(message: &[u8]) -> Vec<u8> {
        ring::digest::digest(&ring::digest::SHA256, message).as_ref().to_vec()
    }

    /// The raw private operation over a whole block.
    fn raw_sign(block: &[u8]) -> Vec<u8> {
        let key = &WORLD.rsa_for_variants;
        let signature = BigUint::from_bytes_be(block).modpow(key.d(), key.n()).to_bytes_be();
        [vec![0; block.len() - signature.len()], signature].concat()
    }

    /// `00 01 FF.. 00 info`, 256 bytes.
    fn block(info: &[u8]) -> Vec<u8> {
        [&[0, 1][..], &vec![0xff; 253 - info.len()], &[0], info].concat()
    }

    #[test]
    fn only_the_one_padding_of_pkcs1_is_accepted() {
        let input = Token::of("alice").header("alg", json!("RS256")).header("kid", json!("v")).with_signature(b"");
        let input = input.trim_end_matches('.').to_owned();
        let digest = digest(input.as_bytes());
        let info = [SHA256, &digest].concat();
        let good = block(&info);
        let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut block = good.clone();
            edit(&mut block);
            block
        };
        // A DigestInfo with another inside, filled up to the length that the block needs.
        let filled = |info: &[u8], ff: usize, tail: u8| {
            let head = [&[0, 1][..], &vec![0xff; ff], &[0], info].concat();
            [&head[..], &vec![tail; 256 - head.len()]].concat()
        };
        let without_null = [&[0x30, 0x2f, 0x30, 0x0b][..], &SHA256[4..15], &[4, 0x20], &digest].concat();
        let null_too_long = [&[0x30, 0x32, 0x30, 0x0e][..], &SHA256[4..15], &[5, 1, 0, 4, 0x20], &digest].concat();
        let long_length = [&[0x30, 0x81, 0x31][..], &SHA256[2..], &digest].concat();
        let sha512_oid = edited(&|block| block[256 - 32 - 5] = 3);
        let refused: Vec<(&str, Vec<u8>)> = vec![
            ("no NULL parameter", block(&without_null)),
            ("a long NULL parameter", block(&null_too_long)),
            ("BER length", block(&long_length)),
            ("the digest alone", block(&digest)),
            ("another hash's name", sha512_oid),
            ("the digest of another message", block(&[SHA256, &self::digest(b"other")].concat())),
            ("a digest cut short", block(&info[..info.len() - 1])),
            ("block type 0", edited(&|block| block[1] = 0)),
            ("block type 2", edited(&|block| block[1] = 2)),
            ("a padding byte other than FF", edited(&|block| block[100] = 0xfe)),
            ("the first padding byte 00", edited(&|block| block[2] = 0)),
            ("the last padding byte 00", edited(&|block| block[256 - info.len() - 2] = 0)),
            ("no separator", edited(&|block| block[256 - info.len() - 1] = 0xff)),
            ("bytes behind the digest (e = 3 style)", filled(&info, 8, 0)),
            ("bytes behind, all ones", filled(&info, 8, 0xff)),
            ("no padding at all", filled(&info, 0, 0)),
            ("one byte behind", filled(&info, 253 - info.len() - 1, 0)),
            ("a PSS block", [&vec![0x5a; 255][..], &[0xbc]].concat()),
            ("zero", vec![0; 256]),
            ("one", [&vec![0; 255][..], &[1]].concat()),
        ];
        let send = |signature: &[u8], accepted: bool, shown: &str| {
            judge("/variants", &format!("{input}.{}", base64url(signature)), accepted, &format!("RS256 with {shown}"));
        };
        for (shown, block) in refused {
            send(&raw_sign(&block), false, shown);
        }
        let signature = raw_sign(&good);
        let n = WORLD.rsa_for_variants.n();
        let number = BigUint::from_bytes_be(&signature);
        for (shown, variant) in [
            ("a zero before the signature", [&[0][..], &signature].concat()),
            ("a zero behind the signature", [&signature[..], &[0]].concat()),
            ("a byte stripped", signature[1..].to_vec()),
            ("a byte cut off", signature[..255].to_vec()),
            ("the signature negated", (n - &number).to_bytes_be()),
            ("the signature plus n", (n + &number).to_bytes_be()),
            ("n itself", n.to_bytes_be()),
            ("n - 1", (n - BigUint::from(1u8)).to_bytes_be()),
            ("all ones", vec![0xff; 256]),
            ("zeros", vec![0; 256]),
            ("the block itself", good.clone()),
            ("the signature twice", [&signature[..], &signature].concat()),
            ("one byte", vec![0]),
        ] {
            send(&variant, false, shown);
        }
        send(&signature, true, "the one right padding");
    }

    #[test]
    fn a_signature_that_begins_with_a_zero_keeps_it() {
        // Tokens are tried until a signature is shorter than the modulus: one in 256 is.
        for attempt in 0..20_000 {
            let token = Token::of("alice").claim("n", json!(attempt)).header("kid", json!("v"));
            let input = token.header("alg", json!("RS256")).with_signature(b"");
            let input = input.trim_end_matches('.').to_owned();
            let signature = raw_sign(&block(&[SHA256, &digest(input.as_bytes())].concat()));
            if signature[0] == 0 {
                judge("/variants", &format!("{input}.{}", base64url(&signature)), true, "a zero at its start");
                judge("/variants", &format!("{input}.{}", base64url(&signature[1..])), false, "its zero stripped");
                return;
            }
        }
        panic!("no such signature");
    }
}

#[test]
fn every_remote_key_set_was_fetched_once_by_each_gateway() {
    // The two gateways are two fleets; within each, the workers share.
    assert!(eventually(Duration::from_secs(10), || {
        Algorithm::ALL.iter().all(|a| WORLD.idp.endpoint(&format!("/{}", a.name())).hits() >= 2)
    }));
    for algorithm in Algorithm::ALL {
        assert_eq!(WORLD.idp.endpoint(&format!("/{}", algorithm.name())).hits(), 2, "{}", algorithm.name());
    }
}
