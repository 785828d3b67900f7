//! What the verifier accepts and, mostly, what it refuses.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::jwt::fixtures::{
    DerHost, ES256_X, ES256_Y, RFC7515_A1_SECRET, RFC7515_A1_TOKEN, RFC7515_A2_N, RFC7515_A2_TOKEN, RFC7515_A3_TOKEN,
    Signer, decode, encode, kid,
};
use crate::jwt::{Algorithm, DEFAULT_MAX_TOKEN_BYTES};
use crate::ports::{HostScheme, SoftwareOnly};

const NOW: u64 = 1_700_000_000;

fn verifier() -> Verifier {
    Verifier { algorithms: Algorithm::ALL.into_iter().collect(), ..Verifier::default() }
}

fn judge_at(verifier: &Verifier, keys: &KeySet, token: &str, now: UnixNanos) -> Result<VerifiedToken, TokenError> {
    let token = UntrustedToken::parse(token.as_bytes(), DEFAULT_MAX_TOKEN_BYTES)?;
    verifier.verify(token, keys, &SoftwareOnly, now)
}

fn judge(verifier: &Verifier, token: &str) -> Result<VerifiedToken, TokenError> {
    judge_at(verifier, &Signer::get().key_set(), token, UnixNanos::from_secs(NOW))
}

fn code(result: Result<VerifiedToken, TokenError>) -> &'static str {
    result.map_or_else(|error| error.reason().code(), |_| "accepted")
}

fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "kid": kid(algorithm)})
}

/// A token that is good for another hour, with `changes` made to its claims; a null takes a claim out.
fn with_claims(changes: Value) -> String {
    let mut claims = json!({"iss": "https://idp.example", "sub": "alice", "exp": NOW + 3600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    Signer::get().token(Algorithm::Hs256, &header(Algorithm::Hs256), &claims)
}

fn with_header(changes: Value) -> String {
    let mut header = header(Algorithm::Hs256);
    for (name, value) in changes.as_object().unwrap() {
        header[name] = value.clone();
    }
    header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    Signer::get().token(Algorithm::Hs256, &header, &json!({"exp": NOW + 3600}))
}

#[test]
fn every_algorithm_is_accepted_where_the_provider_lists_it_and_refused_where_not() {
    for algorithm in Algorithm::ALL {
        let token = Signer::get().token(algorithm, &header(algorithm), &json!({"exp": NOW + 1, "sub": "alice"}));
        let accepted = judge(&verifier(), &token).unwrap();
        assert_eq!((accepted.claims().subject(), accepted.algorithm()), (Some("alice"), algorithm));
        let others = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        assert_eq!(code(judge(&Verifier { algorithms: others, ..verifier() }, &token)), "token_algorithm_refused");
        assert_eq!(code(judge(&Verifier::default(), &token)), "token_algorithm_refused");
    }
}

#[test]
fn the_tokens_of_rfc_7515_verify_at_their_time_and_not_after() {
    let jwks = json!({"keys": [
        {"kty": "oct", "k": RFC7515_A1_SECRET},
        {"kty": "RSA", "n": RFC7515_A2_N, "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y},
    ]});
    let (keys, skipped) = KeySet::from_jwks(jwks.to_string().as_bytes()).unwrap();
    assert_eq!(skipped, []);
    for token in [RFC7515_A1_TOKEN, RFC7515_A2_TOKEN, RFC7515_A3_TOKEN] {
        let accepted = judge_at(&verifier(), &keys, token, UnixNanos::from_secs(1_300_819_379)).unwrap();
        assert_eq!(accepted.issuer(), Some("joe"));
        assert_eq!(accepted.claims().get("http://example.com/is_root"), Some(&json!(true)));
        assert_eq!(accepted.expires_at(), Some(UnixNanos::from_secs(1_300_819_380)));
        let later = UnixNanos::from_secs(1_300_819_380 + 30);
        assert_eq!(code(judge_at(&verifier(), &keys, token, later)), "token_expired");
    }
}

#[test]
fn alg_none_is_refused_in_every_spelling_with_and_without_a_signature() {
    let claims = encode(json!({"exp": NOW + 1}).to_string().as_bytes());
    for name in ["none", "None", "NONE", "nOnE"] {
        let header = encode(format!(r#"{{"alg":"{name}"}}"#).as_bytes());
        assert_eq!(code(judge(&verifier(), &format!("{header}.{claims}.AA"))), "token_algorithm_refused");
        assert_eq!(code(judge(&verifier(), &format!("{header}.{claims}."))), "token_malformed");
        assert_eq!(code(judge(&verifier(), &format!("{header}.{claims}"))), "token_malformed");
    }
}

#[test]
fn a_public_key_is_never_an_hmac_secret() {
    let signer = Signer::get();
    let keys = signer.key_set();
    for asymmetric in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let public = keys.candidates(asymmetric, Some(kid(asymmetric))).unwrap().next().unwrap().spki_der().to_vec();
        let input = format!(
            "{}.{}",
            encode(json!({"alg": "HS256", "kid": kid(asymmetric)}).to_string().as_bytes()),
            encode(json!({"exp": NOW + 1}).to_string().as_bytes())
        );
        for secret in [public, signer.jwk(asymmetric).to_string().into_bytes()] {
            use jwt_compact::{Algorithm as _, AlgorithmSignature as _};
            let mac = jwt_compact::alg::Hs256.sign(&jwt_compact::alg::Hs256Key::new(&secret), input.as_bytes());
            let token = format!("{input}.{}", encode(&mac.as_bytes()));
            assert_eq!(code(judge(&verifier(), &token)), "token_key_mismatch");
        }
    }
}

#[test]
fn keys_that_the_token_brings_along_are_ignored() {
    let intruder = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(intruder.verifying_key().as_bytes())});
    for own_key in [
        json!({"jwk": jwk}),
        json!({"jku": "https://intruder.example/jwks.json"}),
        json!({"x5u": "https://intruder.example/cert.pem"}),
        json!({"x5c": ["MIIB"], "x5t": "AA", "x5t#S256": "AA"}),
    ] {
        let mut forged = json!({"alg": "EdDSA", "kid": "ed25519"});
        forged.as_object_mut().unwrap().extend(own_key.as_object().unwrap().clone());
        let claims = json!({"exp": NOW + 1});
        let input = format!("{}.{}", encode(forged.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = ed25519_dalek::Signer::sign(&intruder, input.as_bytes()).to_bytes();
        assert_eq!(code(judge(&verifier(), &format!("{input}.{}", encode(&signature)))), "token_signature_invalid");
        // A good token may carry them: they neither help nor harm.
        let good = Signer::get().token(Algorithm::EdDsa, &forged, &claims);
        assert_eq!(code(judge(&verifier(), &good)), "accepted");
    }
}

#[test]
fn a_kid_that_leads_nowhere_is_an_unknown_key() {
    for kid in ["", "other", "../../dev/null", "' OR 1=1 --", "RSA", "secret\u{0}", "http://intruder.example"] {
        let error = judge(&verifier(), &with_header(json!({"kid": kid}))).unwrap_err();
        assert_eq!(error.reason().code(), "token_key_unknown", "{kid}");
        assert!(error.newer_keys_may_help());
    }
}

#[test]
fn without_a_kid_every_fitting_key_is_tried() {
    let signer = Signer::get();
    let other = json!({"kty": "oct", "k": encode(&[9; 64]), "kid": "first"});
    let jwks = json!({"keys": [other, signer.jwk(Algorithm::Hs256)]});
    let (keys, _) = KeySet::from_jwks(jwks.to_string().as_bytes()).unwrap();
    let token = signer.token(Algorithm::Hs256, &json!({"alg": "HS256"}), &json!({"exp": NOW + 1}));
    let accepted = judge_at(&verifier(), &keys, &token, UnixNanos::from_secs(NOW)).unwrap();
    assert_eq!(accepted.key_fingerprint(), &keys.keys()[1].fingerprint());
    assert_eq!(code(judge(&verifier(), &token)), "accepted");

    let forged = format!("{}.{}", token.rsplit_once('.').unwrap().0, encode(&[0; 32]));
    let error = judge_at(&verifier(), &keys, &forged, UnixNanos::from_secs(NOW)).unwrap_err();
    assert_eq!(error, TokenError::SignatureInvalid { kid_given: false });
    assert!(error.newer_keys_may_help());
}

#[test]
fn a_bad_signature_under_a_named_key_asks_for_no_new_keys() {
    let token = with_claims(json!({}));
    let (input, _) = token.rsplit_once('.').unwrap();
    let error = judge(&verifier(), &format!("{input}.{}", encode(&[0; 32]))).unwrap_err();
    assert_eq!(error, TokenError::SignatureInvalid { kid_given: true });
    assert!(!error.newer_keys_may_help());
}

#[test]
fn claims_are_judged_only_after_the_signature() {
    let expired = with_claims(json!({"exp": 1, "iss": 7, "aud": 7}));
    let (input, _) = expired.rsplit_once('.').unwrap();
    assert_eq!(code(judge(&verifier(), &format!("{input}.{}", encode(&[0; 32])))), "token_signature_invalid");
}

#[test]
fn a_token_expires_at_exp_plus_leeway_to_the_nanosecond() {
    let token = with_claims(json!({"exp": NOW}));
    let keys = Signer::get().key_set();
    let last = UnixNanos::from_secs(NOW + 30).0 - 1;
    assert_eq!(code(judge_at(&verifier(), &keys, &token, UnixNanos(last))), "accepted");
    assert_eq!(code(judge_at(&verifier(), &keys, &token, UnixNanos(last + 1))), "token_expired");
    let strict = Verifier { leeway: Duration::ZERO, ..verifier() };
    assert_eq!(code(judge(&strict, &token)), "token_expired");
    assert_eq!(code(judge(&strict, &with_claims(json!({"exp": NOW as f64 + 0.5})))), "accepted");
    assert_eq!(code(judge(&strict, &with_claims(json!({"exp": NOW as f64 - 0.5})))), "token_expired");
}

#[test]
fn exp_is_required_unless_the_configuration_says_otherwise() {
    let token = with_claims(json!({"exp": null}));
    assert_eq!(judge(&verifier(), &token).unwrap_err(), missing("exp"));
    let eternal = Verifier { require_expiry: false, ..verifier() };
    assert_eq!(code(judge(&eternal, &token)), "accepted");
    assert_eq!(code(judge(&eternal, &with_claims(json!({"exp": 1})))), "token_expired");
}

#[test]
fn a_token_is_not_taken_before_nbf_less_leeway() {
    assert_eq!(code(judge(&verifier(), &with_claims(json!({"nbf": NOW + 30})))), "accepted");
    assert_eq!(code(judge(&verifier(), &with_claims(json!({"nbf": NOW + 31})))), "token_not_yet_valid");
    assert_eq!(code(judge(&verifier(), &with_claims(json!({"nbf": 1e300})))), "token_not_yet_valid");
    assert_eq!(code(judge(&verifier(), &with_claims(json!({"nbf": -1e300})))), "accepted");
}

#[test]
fn a_token_from_the_future_is_refused() {
    assert_eq!(code(judge(&verifier(), &with_claims(json!({"iat": NOW + 30})))), "accepted");
    assert_eq!(code(judge(&verifier(), &with_claims(json!({"iat": NOW + 31})))), "token_issued_in_future");
    assert_eq!(code(judge(&verifier(), &with_claims(json!({"iat": u64::MAX})))), "token_issued_in_future");
}

#[test]
fn max_age_counts_from_iat_which_is_then_required() {
    let young = Verifier { max_age: Some(Duration::from_secs(60)), ..verifier() };
    assert_eq!(code(judge(&young, &with_claims(json!({"iat": NOW - 90})))), "accepted");
    assert_eq!(code(judge(&young, &with_claims(json!({"iat": NOW - 91})))), "token_too_old");
    assert_eq!(code(judge(&young, &with_claims(json!({"iat": -5})))), "token_too_old");
    assert_eq!(judge(&young, &with_claims(json!({}))).unwrap_err(), missing("iat"));
}

#[test]
fn dates_of_the_wrong_type_are_malformed_and_extreme_ones_do_no_harm() {
    for claim in ["exp", "nbf", "iat"] {
        for value in [json!("1700000000"), json!(true), json!([1]), json!({})] {
            let token = with_claims(json!({claim: value}));
            assert_eq!(judge(&verifier(), &token).unwrap_err(), TokenError::ClaimMalformed { claim });
        }
    }
    let extreme = Verifier { leeway: Duration::MAX, max_age: Some(Duration::MAX), ..verifier() };
    for exp in [json!(i64::MIN), json!(u64::MAX), json!(1e308), json!(-1e308), json!(5e-324)] {
        let token = with_claims(json!({"exp": exp, "iat": exp, "nbf": exp}));
        for now in [UnixNanos(0), UnixNanos(u64::MAX)] {
            let _ = judge_at(&extreme, &Signer::get().key_set(), &token, now);
            let _ = judge_at(&verifier(), &Signer::get().key_set(), &token, now);
        }
    }
}

#[test]
fn the_issuer_is_exact() {
    let corp = Verifier { issuer: Some("https://idp.example".into()), ..verifier() };
    assert_eq!(code(judge(&corp, &with_claims(json!({})))), "accepted");
    for issuer in
        ["https://idp.example/", "HTTPS://idp.example", "https://idp.example.evil", "", " https://idp.example"]
    {
        assert_eq!(code(judge(&corp, &with_claims(json!({"iss": issuer})))), "token_issuer_refused", "{issuer}");
    }
    assert_eq!(judge(&corp, &with_claims(json!({"iss": null}))).unwrap_err(), missing("iss"));
}

#[test]
fn one_audience_of_the_providers_must_be_named() {
    let orders = Verifier { audiences: vec!["orders".into(), "shop".into()], ..verifier() };
    for audience in [json!("orders"), json!(["x", "shop"]), json!(["orders"])] {
        assert_eq!(code(judge(&orders, &with_claims(json!({"aud": audience})))), "accepted", "{audience}");
    }
    for audience in [json!("order"), json!("orders shop"), json!(["x"]), json!([]), json!(""), json!("ORDERS")] {
        assert_eq!(
            code(judge(&orders, &with_claims(json!({"aud": audience})))),
            "token_audience_refused",
            "{audience}"
        );
    }
    assert_eq!(judge(&orders, &with_claims(json!({}))).unwrap_err(), missing("aud"));
}

#[test]
fn an_audience_that_nobody_asks_for_must_still_be_well_formed() {
    assert_eq!(code(judge(&verifier(), &with_claims(json!({"aud": "whoever"})))), "accepted");
    for audience in [json!(1), json!({}), json!(["a", null])] {
        assert_eq!(code(judge(&verifier(), &with_claims(json!({"aud": audience})))), "token_claim_malformed");
    }
}

#[test]
fn iss_sub_and_jti_are_strings() {
    for claim in ["iss", "sub", "jti"] {
        for value in [json!(1), json!(["alice"]), json!({"a": 1}), json!(true)] {
            let token = with_claims(json!({claim: value}));
            assert_eq!(judge(&verifier(), &token).unwrap_err(), TokenError::ClaimMalformed { claim });
        }
    }
}

#[test]
fn required_claims_must_be_there_and_not_null() {
    let strict = Verifier { required_claims: vec!["sub".into(), "realm.roles".into()], ..verifier() };
    assert_eq!(code(judge(&strict, &with_claims(json!({"realm": {"roles": []}})))), "accepted");
    assert_eq!(judge(&strict, &with_claims(json!({}))).unwrap_err(), missing("realm.roles"));
    assert_eq!(judge(&strict, &with_claims(json!({"realm": {"roles": null}}))).unwrap_err(), missing("realm.roles"));
    assert_eq!(judge(&strict, &with_claims(json!({"sub": null}))).unwrap_err(), missing("sub"));
}

#[test]
fn other_token_types_are_refused() {
    for token_type in [json!(null), json!("JWT"), json!("jwt"), json!("at+jwt"), json!("application/at+JWT")] {
        assert_eq!(code(judge(&verifier(), &with_header(json!({"typ": token_type})))), "accepted", "{token_type}");
    }
    for token_type in
        ["dpop+jwt", "logout+jwt", "id+jwt", "", "application/", "JWT ", "application/application/JWT", "é"]
    {
        assert_eq!(
            code(judge(&verifier(), &with_header(json!({"typ": token_type})))),
            "token_type_refused",
            "{token_type}"
        );
    }
}

#[test]
fn a_token_without_typ_counts_as_jwt() {
    let explicit = Verifier { token_types: vec!["application/AT+jwt".into()], ..verifier() };
    assert_eq!(code(judge(&explicit, &with_header(json!({"typ": "at+jwt"})))), "accepted");
    assert_eq!(code(judge(&explicit, &with_header(json!({"typ": null})))), "token_type_refused");
    assert_eq!(code(judge(&explicit, &with_header(json!({"typ": "JWT"})))), "token_type_refused");
}

#[test]
fn the_access_token_profile_asks_for_its_type_and_all_its_claims() {
    let strict = Verifier { profile: Profile::Rfc9068, ..verifier() };
    let all = json!({"iss": "i", "exp": NOW + 1, "aud": "a", "sub": "s", "client_id": "c", "iat": NOW, "jti": "j"});
    let sign = |typ: &str, claims: &Value| {
        let header = json!({"alg": "ES256", "kid": "p256", "typ": typ});
        code(judge(&strict, &Signer::get().token(Algorithm::Es256, &header, claims)))
    };
    assert_eq!(sign("at+jwt", &all), "accepted");
    assert_eq!(sign("application/at+jwt", &all), "accepted");
    assert_eq!(sign("JWT", &all), "token_type_refused");
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        let mut without = all.clone();
        without.as_object_mut().unwrap().remove(claim);
        assert_eq!(sign("at+jwt", &without), "token_claim_missing", "{claim}");
        let mut odd = all.clone();
        odd[claim] = json!({});
        assert_eq!(sign("at+jwt", &odd), "token_claim_malformed", "{claim}");
    }
}

#[test]
fn an_inline_secret_verifies_whatever_the_kid() {
    let keys = KeySet::from_secret(&decode(RFC7515_A1_SECRET)).unwrap();
    let token = with_header(json!({"kid": "whatever"}));
    assert_eq!(code(judge_at(&verifier(), &keys, &token, UnixNanos::from_secs(NOW))), "accepted");
    let other = KeySet::from_secret(&[7; 64]).unwrap();
    assert_eq!(code(judge_at(&verifier(), &other, &token, UnixNanos::from_secs(NOW))), "token_signature_invalid");
}

#[test]
fn a_cached_token_is_valid_as_long_as_its_times_are() {
    let young = Verifier { max_age: Some(Duration::from_secs(600)), ..verifier() };
    let token = judge(&young, &with_claims(json!({"exp": NOW + 3600, "nbf": NOW, "iat": NOW}))).unwrap();
    let at = |verifier: &Verifier, seconds| {
        token
            .still_valid(verifier, UnixNanos::from_secs(seconds))
            .map_or_else(|error| error.reason().code(), |()| "valid")
    };
    assert_eq!(at(&young, NOW + 630), "valid");
    assert_eq!(at(&young, NOW + 631), "token_too_old");
    assert_eq!(at(&verifier(), NOW + 3629), "valid");
    assert_eq!(at(&verifier(), NOW + 3630), "token_expired");
    assert_eq!(at(&verifier(), NOW - 31), "token_not_yet_valid");
}

#[test]
fn no_error_shows_the_token_or_its_signature() {
    let token = with_claims(json!({"exp": 1}));
    let error = judge(&verifier(), &token).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(token.split('.').all(|part| !shown.contains(part)), "{shown}");
}

#[test]
fn a_host_that_answers_decides_and_one_that_does_not_leaves_it_to_software() {
    struct Never(Cell<bool>);
    impl HostSignatures for Never {
        fn verify(&self, _: HostScheme, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            self.0.set(true);
            Some(false)
        }
    }
    let text = Signer::get().token(Algorithm::Rs256, &header(Algorithm::Rs256), &json!({"exp": NOW + 1}));
    let keys = Signer::get().key_set();
    let judge_with = |host: &dyn HostSignatures| {
        let token = UntrustedToken::parse(text.as_bytes(), 4096).unwrap();
        code(verifier().verify(token, &keys, host, UnixNanos::from_secs(NOW)))
    };
    let never = Never(Cell::new(false));
    assert_eq!(judge_with(&never), "token_signature_invalid");
    assert!(never.0.get());
    assert_eq!(judge_with(&DerHost), "accepted");
    assert_eq!(judge_with(&SoftwareOnly), "accepted");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_change_of_one_byte_is_refused_on_both_paths(
        algorithm in proptest::sample::select(Algorithm::ALL.to_vec()),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let good = Signer::get().token(algorithm, &header(algorithm), &json!({"exp": NOW + 1, "sub": "alice"}));
        let mut token = good.clone().into_bytes();
        let at = at.index(token.len());
        let changed = token[at] != byte;
        token[at] = byte;
        let keys = Signer::get().key_set();
        for host in [&SoftwareOnly as &dyn HostSignatures, &DerHost] {
            let verdict = UntrustedToken::parse(&token, 4096)
                .and_then(|token| verifier().verify(token, &keys, host, UnixNanos::from_secs(NOW)));
            prop_assert_eq!(verdict.is_err(), changed);
        }
    }

    #[test]
    fn no_claims_make_it_panic(claims in "[\\[\\]{}\":,a-z0-9.e-]{0,30}", exp in any::<f64>()) {
        let claims = format!(r#"{{"exp":{exp:e},"x":"{}","scope":[{}]}}"#, encode(claims.as_bytes()), claims);
        let input = format!("{}.{}", encode(header(Algorithm::Hs256).to_string().as_bytes()), encode(claims.as_bytes()));
        let signature = Signer::get().sign(Algorithm::Hs256, input.as_bytes());
        let _ = judge(&verifier(), &format!("{input}.{}", encode(&signature))).map(|token| token.claims().scopes().count());
    }
}
