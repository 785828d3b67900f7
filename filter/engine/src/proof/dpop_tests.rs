use super::*;
use crate::jwt::Algorithm;
use crate::jwt::fixtures::{DerHost, Signer};
use crate::ports::SoftwareOnly;
use crate::ports::memory::MemoryStore;
use crate::proof::NonceIssuer;
use proptest::prelude::*;
use serde_json::{Value, json};

/// RFC 9449, section 4.1.
const RFC9449_4_1: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklD\
    UkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAt\
    MjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia\
    WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
/// RFC 9449, section 7.1.
const RFC9449_7_1: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklD\
    UkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAt\
    MjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z\
    WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yR\
    qzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
/// RFC 9449, section 7.1.
const RFC9449_TOKEN: &[u8] = b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
/// RFC 9449, section 6.1: the key of both proofs.
const RFC9449_JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

const NOW: UnixNanos = UnixNanos::from_secs(1_700_000_000);
const TOKEN: &[u8] = b"token";

fn asymmetric() -> AlgorithmSet {
    Algorithm::ALL.into_iter().filter(|algorithm| algorithm.key_type() != KeyType::Secret).collect()
}

fn uri(text: &str) -> TargetUri {
    TargetUri::parse(text).unwrap()
}

fn expectation<'a>(method: &'a str, uri: &'a TargetUri) -> Expectation<'a> {
    let (max_age, leeway) = (DEFAULT_MAX_AGE, DEFAULT_LEEWAY);
    Expectation { method, uri, access_token: None, nonces: None, max_age, leeway }
}

fn parse(proof: &str) -> Result<Option<DpopProof<'_>>, DpopError> {
    DpopProof::parse([proof.as_bytes()], DEFAULT_MAX_PROOF_BYTES)
}

fn header() -> Value {
    json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": Signer::get().jwk(Algorithm::Es256)})
}

fn claims() -> Value {
    let ath = base64url::encode(&Sha256::digest(TOKEN));
    json!({"jti": "j1", "htm": "POST", "htu": "https://api.example/orders", "iat": NOW.as_secs(), "ath": ath})
}

/// Judges a proof with this header and these claims against `POST https://api.example/orders` with a token.
fn judge(header: &Value, claims: &Value) -> Result<VerifiedProof, DpopError> {
    judge_text(&Signer::get().token(Algorithm::Es256, header, claims))
}

fn judge_text(proof: &str) -> Result<VerifiedProof, DpopError> {
    let uri = uri("https://api.example/orders");
    let expectation = Expectation { access_token: Some(TOKEN), ..expectation("POST", &uri) };
    parse(proof)?.unwrap().verify(&expectation, asymmetric(), &SoftwareOnly, NOW)
}

fn with_header(member: &str, value: Value) -> Result<VerifiedProof, DpopError> {
    let mut header = header();
    header[member] = value;
    judge(&header, &claims())
}

fn with_claim(name: &str, value: Value) -> Result<VerifiedProof, DpopError> {
    let mut claims = claims();
    claims[name] = value;
    judge(&header(), &claims)
}

fn without(mut object: Value, member: &str) -> Value {
    object.as_object_mut().unwrap().remove(member);
    object
}

#[test]
fn the_token_request_of_rfc_9449_verifies_at_its_time() {
    let uri = uri("https://server.example.com/token");
    let proof = parse(RFC9449_4_1).unwrap().unwrap();
    let at =
        |seconds| proof.verify(&expectation("POST", &uri), asymmetric(), &SoftwareOnly, UnixNanos::from_secs(seconds));
    let verified = at(1_562_262_616).unwrap();
    assert_eq!(verified.thumbprint().to_string(), RFC9449_JKT);
    assert_eq!(verified.issued_at(), UnixNanos::from_secs(1_562_262_616));
    assert_eq!(verified.expires_at(), UnixNanos::from_secs(1_562_262_681));
    assert_eq!(verified.jti_hash()[..], Sha256::digest("-BwC3ESc6acc2lTc")[..]);
    assert!(at(1_562_262_681).is_ok() && at(1_562_262_611).is_ok());
    assert!(matches!(at(1_562_262_682), Err(DpopError::Expired { .. })));
    assert!(matches!(at(1_562_262_610), Err(DpopError::IssuedInFuture { .. })));
}

#[test]
fn the_resource_request_of_rfc_9449_verifies_with_its_token_only() {
    let uri = uri("https://resource.example.org/protectedresource");
    let proof = parse(RFC9449_7_1).unwrap().unwrap();
    for host in [&SoftwareOnly as &dyn HostSignatures, &DerHost] {
        let with = |token| {
            let expectation = Expectation { access_token: Some(token), ..expectation("GET", &uri) };
            proof.verify(&expectation, asymmetric(), host, UnixNanos::from_secs(1_562_262_618))
        };
        assert_eq!(with(RFC9449_TOKEN).unwrap().thumbprint().to_string(), RFC9449_JKT);
        assert_eq!(with(&RFC9449_TOKEN[1..]), Err(DpopError::TokenMismatch));
    }
}

#[test]
fn a_request_without_the_header_has_no_proof() {
    assert!(DpopProof::parse(std::iter::empty(), DEFAULT_MAX_PROOF_BYTES).unwrap().is_none());
}

#[test]
fn two_proofs_are_refused_in_two_headers_and_in_one() {
    let one = RFC9449_4_1.as_bytes();
    let refusal = |values: &[&'static [u8]]| DpopProof::parse(values.iter().copied(), 8192).unwrap_err();
    assert_eq!(refusal(&[one, one]), DpopError::Multiple);
    assert_eq!(refusal(&[one, b""]), DpopError::Multiple);
    assert_eq!(refusal(&[b"", b""]), DpopError::Multiple);
    assert_eq!(refusal(&[b","]), DpopError::Multiple);
    assert_eq!(parse(&format!("{RFC9449_4_1}, {RFC9449_7_1}")).unwrap_err(), DpopError::Multiple);
    assert_eq!(DpopError::Multiple.reason().status(), 400);
}

#[test]
fn what_is_not_one_strict_jwt_is_malformed() {
    for proof in ["", "a", "a.b.c", "....", " ", "Bearer x", &format!(" {RFC9449_4_1}"), &format!("{RFC9449_4_1}=")] {
        assert!(matches!(parse(proof), Err(DpopError::Malformed(_))), "{proof}");
    }
    let too_large = DpopProof::parse([RFC9449_4_1.as_bytes()], 100).unwrap_err();
    assert_eq!(too_large, DpopError::Malformed(TokenError::TooLarge { max_bytes: 100 }));
    assert!(matches!(with_header("crit", json!(["x"])), Err(DpopError::Malformed(_))));
    assert!(matches!(with_header("b64", json!(false)), Err(DpopError::Malformed(_))));
}

#[test]
fn every_claim_is_required() {
    for claim in ["jti", "htm", "htu", "iat", "ath"] {
        assert_eq!(judge(&header(), &without(claims(), claim)), Err(DpopError::Claim { claim }));
        for wrong in [json!(null), json!(["x"]), json!({}), json!(true)] {
            let refused = with_claim(claim, wrong).unwrap_err();
            assert!(matches!(refused, DpopError::Malformed(TokenError::ClaimMalformed { .. })), "{claim}: {refused}");
        }
    }
    for claim in ["jti", "htm", "htu"] {
        assert_eq!(with_claim(claim, json!("")), Err(DpopError::Claim { claim }));
    }
}

#[test]
fn a_jti_has_256_bytes_at_most() {
    assert!(with_claim("jti", json!("x".repeat(256))).is_ok());
    assert_eq!(with_claim("jti", json!("x".repeat(257))), Err(DpopError::Claim { claim: "jti" }));
    assert_ne!(with_claim("jti", json!("a")).unwrap().jti_hash(), with_claim("jti", json!("A")).unwrap().jti_hash());
}

#[test]
fn the_type_is_exactly_dpop_jwt() {
    for wrong in ["JWT", "at+jwt", "DPOP+JWT", "application/dpop+jwt", "dpop+jwt ", ""] {
        assert!(matches!(with_header("typ", json!(wrong)), Err(DpopError::TypeRefused { .. })), "{wrong}");
    }
    assert_eq!(judge(&without(header(), "typ"), &claims()), Err(DpopError::TypeRefused { token_type: None }));
}

#[test]
fn only_a_listed_asymmetric_algorithm_is_taken() {
    for wrong in ["none", "es256", "HS256", "HS512", "ES512", ""] {
        assert!(matches!(with_header("alg", json!(wrong)), Err(DpopError::AlgorithmRefused { .. })), "{wrong}");
    }
    let uri = uri("https://api.example/orders");
    let token = Signer::get().token(Algorithm::Es256, &header(), &claims());
    let proof = parse(&token).unwrap().unwrap();
    for algorithms in [AlgorithmSet::EMPTY, AlgorithmSet::only(Algorithm::EdDsa)] {
        let refused = proof.verify(&expectation("POST", &uri), algorithms, &SoftwareOnly, NOW);
        assert!(matches!(refused, Err(DpopError::AlgorithmRefused { .. })));
    }
}

#[test]
fn a_shared_secret_proves_nothing_even_where_it_is_listed() {
    let jwk = without(Signer::get().jwk(Algorithm::Hs256), "k");
    let header = json!({"typ": "dpop+jwt", "alg": "HS256", "jwk": jwk});
    let token = Signer::get().token(Algorithm::Hs256, &header, &claims());
    let uri = uri("https://api.example/orders");
    let all = Algorithm::ALL.into_iter().collect();
    let refused = parse(&token).unwrap().unwrap().verify(&expectation("POST", &uri), all, &SoftwareOnly, NOW);
    assert!(matches!(refused, Err(DpopError::AlgorithmRefused { .. })));
}

#[test]
fn every_asymmetric_algorithm_serves() {
    for algorithm in asymmetric().iter() {
        let header = json!({"typ": "dpop+jwt", "alg": algorithm.name(), "jwk": Signer::get().jwk(algorithm)});
        let verified = judge_text(&Signer::get().token(algorithm, &header, &claims())).unwrap();
        let jwk = Signer::get().jwk(algorithm);
        assert_eq!(*verified.thumbprint(), Thumbprint::of(jwk.as_object().unwrap()).unwrap());
    }
}

#[test]
fn the_key_is_a_whole_public_key_in_the_header() {
    assert_eq!(judge(&without(header(), "jwk"), &claims()), Err(DpopError::KeyMissing));
    for wrong in [json!(null), json!("key"), json!([header()["jwk"]])] {
        assert_eq!(with_header("jwk", wrong), Err(DpopError::KeyMissing));
    }
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let mut jwk = header()["jwk"].clone();
        jwk[member] = json!(null);
        assert_eq!(with_header("jwk", jwk), Err(DpopError::KeyPrivate { member }));
    }
    let mut jwks = vec![json!({}), json!({"kty": "oct"}), without(header()["jwk"].clone(), "y")];
    for (member, value) in [("use", "enc"), ("crv", "P-384"), ("alg", "RS256"), ("x", "AA"), ("kty", "OKP")] {
        jwks.push(header()["jwk"].clone());
        jwks.last_mut().unwrap()[member] = json!(value);
    }
    for jwk in jwks {
        assert!(matches!(with_header("jwk", jwk.clone()), Err(DpopError::KeyRefused(_))), "{jwk}");
    }
}

#[test]
fn a_signature_of_another_key_is_refused() {
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"});
    assert_eq!(with_header("jwk", jwk), Err(DpopError::SignatureInvalid));
    let rsa = Signer::get().jwk(Algorithm::Rs256);
    assert_eq!(with_header("jwk", rsa), Err(DpopError::SignatureInvalid));
    assert_eq!(with_header("alg", json!("ES384")), Err(DpopError::SignatureInvalid));
}

#[test]
fn the_method_is_exact() {
    for wrong in ["GET", "post", "POST ", "*"] {
        assert_eq!(with_claim("htm", json!(wrong)), Err(DpopError::MethodMismatch));
    }
}

#[test]
fn the_uri_is_compared_in_its_normal_form_without_query() {
    for same in
        ["HTTPS://API.EXAMPLE:443/orders", "https://api.example/%6frders?a=b#c", "https://api.example/x/../orders"]
    {
        assert!(with_claim("htu", json!(same)).is_ok(), "{same}");
    }
    for other in [
        "http://api.example/orders",
        "https://api.example:8443/orders",
        "https://api.example/Orders",
        "https://api.example/orders/",
        "https://api.example/",
        "https://api.example.evil/orders",
        "https://user@api.example/orders",
        "/orders",
        "orders",
        "https://evil.example/?https://api.example/orders",
    ] {
        assert_eq!(with_claim("htu", json!(other)), Err(DpopError::UriMismatch), "{other}");
    }
}

#[test]
fn a_nonce_is_demanded_where_the_gateway_gives_them() {
    let issuer = NonceIssuer::shared(&MemoryStore::default(), [1; 32], Duration::from_secs(60), NOW).unwrap();
    let (nonces, uri) = (issuer.accepted(NOW), uri("https://api.example/orders"));
    let expectation = Expectation { nonces: Some(&nonces), ..expectation("POST", &uri) };
    let with = |claims: &Value| {
        let token = Signer::get().token(Algorithm::Es256, &header(), claims);
        parse(&token)?.unwrap().verify(&expectation, asymmetric(), &SoftwareOnly, NOW)
    };
    let mut claims = claims();
    assert_eq!(with(&claims), Err(DpopError::NonceRequired));
    for wrong in ["", "x", &issuer.fresh(NOW.plus(Duration::from_secs(60)))] {
        claims["nonce"] = json!(wrong);
        assert_eq!(with(&claims), Err(DpopError::NonceRequired));
    }
    claims["nonce"] = json!(7);
    assert!(matches!(with(&claims), Err(DpopError::Malformed(_))));
    claims["nonce"] = json!(issuer.fresh(NOW));
    assert!(with(&claims).is_ok());
}

#[test]
fn a_proof_is_good_around_its_iat_only() {
    let now = NOW.as_secs();
    for good in [now - 65, now - 60, now, now + 5] {
        assert!(with_claim("iat", json!(good)).is_ok());
    }
    for old in [json!(now - 66), json!(0), json!(-1), json!(now as f64 - 65.5)] {
        assert!(matches!(with_claim("iat", old), Err(DpopError::Expired { .. })));
    }
    for early in [json!(now + 6), json!(u64::MAX), json!(1e300), json!(now as f64 + 5.5)] {
        assert!(matches!(with_claim("iat", early), Err(DpopError::IssuedInFuture { .. })));
    }
}

#[test]
fn exp_and_nbf_count_where_they_stand() {
    let now = NOW.as_secs();
    assert!(with_claim("exp", json!(now + 1)).is_ok() && with_claim("nbf", json!(now)).is_ok());
    assert!(matches!(with_claim("exp", json!(now - 5)), Err(DpopError::Expired { .. })));
    assert!(matches!(with_claim("nbf", json!(now + 6)), Err(DpopError::IssuedInFuture { .. })));
    assert!(matches!(with_claim("exp", json!("soon")), Err(DpopError::Malformed(_))));
}

#[test]
fn the_hash_of_the_access_token_is_exact() {
    let hash = base64url::encode(&Sha256::digest(TOKEN));
    for wrong in [format!("{hash}="), hash.split_at(1).1.to_owned(), hash.to_lowercase(), "token".to_owned()] {
        assert_eq!(with_claim("ath", json!(wrong)), Err(DpopError::TokenMismatch), "{wrong}");
    }
    assert_eq!(with_claim("ath", json!("")), Err(DpopError::Claim { claim: "ath" }));
}

#[test]
fn a_refusal_shows_nothing_of_the_proof() {
    let secret = "s3cr3t";
    for error in [
        with_claim("ath", json!(secret)).unwrap_err(),
        with_claim("htu", json!(format!("https://api.example/{secret}"))).unwrap_err(),
        with_claim("nonce", json!([secret])).unwrap_err(),
    ] {
        assert!(!format!("{error} {error:?}").contains(secret));
    }
    let shown = format!("{:?}", parse(RFC9449_4_1).unwrap().unwrap());
    assert!(!shown.contains("BwC3"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_change_of_one_byte_is_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut proof = RFC9449_7_1.as_bytes().to_vec();
        let at = at.index(proof.len());
        prop_assume!(proof[at] != byte);
        proof[at] = byte;
        let uri = uri("https://resource.example.org/protectedresource");
        let expectation = Expectation { access_token: Some(RFC9449_TOKEN), ..expectation("GET", &uri) };
        let now = UnixNanos::from_secs(1_562_262_618);
        let accepted = DpopProof::parse([proof.as_slice()], DEFAULT_MAX_PROOF_BYTES)
            .is_ok_and(|proof| proof.unwrap().verify(&expectation, asymmetric(), &SoftwareOnly, now).is_ok());
        prop_assert!(!accepted);
    }

    #[test]
    fn no_bytes_make_it_panic(proof in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = DpopProof::parse([proof.as_slice()], 256);
    }

    #[test]
    fn no_signed_claims_make_it_panic(jti in "\\PC{0,8}", htm in "\\PC{0,8}", htu in "\\PC{0,30}", iat in any::<f64>()) {
        let claims = json!({"jti": jti, "htm": htm, "htu": htu, "iat": iat, "ath": htu, "nonce": htm});
        prop_assert!(judge(&header(), &claims).is_err());
    }
}
