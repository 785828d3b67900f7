use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::claims::Claims;
use crate::internal_token::{CopiedClaim, PublicKey, SigningKey};
use crate::jwt::fixtures::{ED25519_D, ED25519_X, ES256_D, ES256_X, ES256_Y, RFC7515_A1_SECRET, decode};
use crate::jwt::{Algorithm, AlgorithmSet, KeySet, Profile, TokenError, UntrustedToken, VerifiedToken, Verifier};
use crate::ports::SoftwareOnly;
use crate::scopes::ScopeSource;

const ISSUER: &str = "https://gateway.example";
const NOW: UnixNanos = UnixNanos::from_secs(1_800_000_000);

fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "d": ED25519_D, "kid": "ed"})
}

fn p256() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y, "d": ES256_D, "kid": "ec"})
}

fn secret() -> Value {
    json!({"kty": "oct", "k": RFC7515_A1_SECRET, "kid": "shared"})
}

fn ring(active: &Value, others: &[Value]) -> KeyRing {
    let others = others.iter().map(|jwk| PublicKey::from_jwk(jwk.to_string().as_bytes()).unwrap()).collect();
    KeyRing::new(SigningKey::from_jwk(active.to_string().as_bytes()).unwrap(), others).unwrap()
}

fn minter_of(settings: Settings, active: &Value) -> Minter {
    Minter::new(settings, ring(active, &[]), Seed([7; 32])).unwrap()
}

static SCOPES: ScopeSource = ScopeSource { claim: None, prefix: String::new() };

fn caller(claims: &Claims, number: u8) -> Caller<'_> {
    Caller { claims, scopes: &SCOPES, credential: key(number) }
}

fn minter(active: &Value) -> Minter {
    minter_of(Settings::new(ISSUER), active)
}

fn alice() -> Claims {
    claims(json!({"sub": "alice", "iss": "https://idp.example", "client_id": "shop", "scope": "orders:read"}))
}

fn claims(members: Value) -> Claims {
    Claims::new(members.as_object().unwrap().clone())
}

fn key(n: u8) -> CredentialKey {
    CredentialKey::from_bytes([n; 32])
}

fn later(seconds: u64) -> UnixNanos {
    NOW.plus(Duration::from_secs(seconds))
}

fn verify(token: &str, keys: &KeySet, algorithm: Algorithm, now: UnixNanos) -> Result<VerifiedToken, TokenError> {
    let verifier = Verifier {
        issuer: Some(ISSUER.to_owned()),
        audiences: vec!["orders".to_owned()],
        algorithms: AlgorithmSet::only(algorithm),
        profile: Profile::Rfc9068,
        leeway: Duration::ZERO,
        ..Verifier::default()
    };
    verifier.verify(UntrustedToken::parse(token.as_bytes(), 16 * 1024).unwrap(), keys, &SoftwareOnly, now)
}

fn published(minter: &Minter) -> KeySet {
    KeySet::from_jwks(minter.keys().jwks_json().as_bytes()).unwrap().0
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&decode(token.split('.').nth(index).unwrap())).unwrap()
}

fn expiry(token: &str) -> u64 {
    part(token, 1)["exp"].as_u64().unwrap()
}

#[test]
fn a_service_verifies_the_token_with_the_published_keys() {
    for (jwk, algorithm) in [(ed25519(), Algorithm::EdDsa), (p256(), Algorithm::Es256)] {
        let mut minter = minter(&jwk);
        let token = minter.token(caller(&alice(), 1), "orders", None, NOW).unwrap();
        let verified = verify(&token, &published(&minter), algorithm, NOW).unwrap();
        assert_eq!(verified.claims().subject(), Some("alice"));
        assert_eq!(verified.claims().text("orig_iss"), Some("https://idp.example"));
        assert_eq!(verified.expires_at(), Some(later(60)));
        assert_eq!(part(&token, 0), json!({"alg": algorithm.name(), "kid": jwk["kid"], "typ": "at+jwt"}));
    }
}

#[test]
fn a_service_with_the_shared_secret_verifies_hs256() {
    let token = minter(&secret()).token(caller(&alice(), 1), "orders", None, NOW).unwrap();
    let keys = KeySet::from_secret(&decode(RFC7515_A1_SECRET)).unwrap();
    assert!(verify(&token, &keys, Algorithm::Hs256, NOW).is_ok());
}

#[test]
fn a_token_is_for_one_audience_and_one_span_only() {
    let mut minter = minter(&ed25519());
    let keys = published(&minter);
    let refusal = |token: &str, now| verify(token, &keys, Algorithm::EdDsa, now).unwrap_err();
    let payments = minter.token(caller(&alice(), 1), "payments", None, NOW).unwrap();
    assert_eq!(refusal(&payments, NOW), TokenError::AudienceRefused);
    let orders = minter.token(caller(&alice(), 1), "orders", None, NOW).unwrap();
    assert!(matches!(refusal(&orders, later(60)), TokenError::Expired { .. }));
    assert!(matches!(refusal(&orders, UnixNanos(NOW.0 - 1)), TokenError::NotYetValid { .. }));
}

#[test]
fn the_same_input_gives_the_same_token() {
    for jwk in [ed25519(), p256(), secret()] {
        let token = || minter(&jwk).token(caller(&alice(), 1), "orders", None, NOW).unwrap();
        assert_eq!(token(), token());
    }
}

#[test]
fn a_token_never_outlives_its_credential() {
    let mut minter = minter(&ed25519());
    let mut end =
        |n, expires_at| minter.token(caller(&alice(), n), "orders", Some(expires_at), NOW).map(|t| expiry(&t));
    assert_eq!(end(1, later(3600)), Ok(later(60).as_secs()));
    assert_eq!(end(2, later(60)), Ok(later(60).as_secs()));
    assert_eq!(end(3, later(30)), Ok(later(30).as_secs()));
    assert_eq!(end(4, UnixNanos(later(30).0 + 999_999_999)), Ok(later(30).as_secs()));
    for over in [UnixNanos(0), NOW, UnixNanos(NOW.0 - 1), UnixNanos(NOW.0 + 999_999_999)] {
        assert_eq!(end(5, over), Err(MintError::NoLifetimeLeft));
    }
    assert_eq!(end(6, UnixNanos(u64::MAX)), Ok(later(60).as_secs()));
}

#[test]
fn a_token_is_reused_until_the_chosen_part_of_its_life_is_over() {
    let mut minter = minter(&ed25519());
    let mut token = |at| minter.token(caller(&alice(), 1), "orders", Some(later(3600)), at).unwrap();
    let first = token(UnixNanos(NOW.0 + 500_000_000));
    assert_eq!(token(UnixNanos(later(48).0 - 1)), first);
    let second = token(later(48));
    assert_ne!(second, first);
    assert_eq!(expiry(&second), later(108).as_secs());
    assert_eq!(minter.take_counts(), MintCounts { minted: 2, reused: 1, evicted: 0 });
    assert_eq!(minter.take_counts(), MintCounts::default());
}

#[test]
fn a_token_that_ends_with_its_credential_is_reused_to_the_end() {
    let mut minter = minter(&ed25519());
    let mut token = |at| minter.token(caller(&alice(), 1), "orders", Some(later(40)), at);
    let first = token(NOW).unwrap();
    assert_eq!(token(later(39)).unwrap(), first);
    assert_eq!(token(later(40)), Err(MintError::NoLifetimeLeft));
}

#[test]
fn a_credential_whose_end_moved_gets_a_new_token() {
    let mut minter = minter(&ed25519());
    let mut token = |end, at| minter.token(caller(&alice(), 1), "orders", Some(later(end)), later(at)).unwrap();
    let first = token(3600, 0);
    let sooner = token(20, 1);
    assert_eq!((expiry(&first), expiry(&sooner)), (later(60).as_secs(), later(20).as_secs()));
    assert_eq!(token(3600, 2), sooner);
    assert_eq!(expiry(&token(3600, 17)), later(77).as_secs());
}

#[test]
fn a_clock_that_stepped_back_gets_a_new_token() {
    let mut minter = minter(&ed25519());
    let first = minter.token(caller(&alice(), 1), "orders", None, later(10)).unwrap();
    let second = minter.token(caller(&alice(), 1), "orders", None, NOW).unwrap();
    assert_ne!(first, second);
    assert_eq!(part(&second, 1)["nbf"], NOW.as_secs());
}

#[test]
fn credentials_and_audiences_have_tokens_of_their_own() {
    let mut minter = minter(&ed25519());
    let mut ids = std::collections::BTreeSet::new();
    for (n, audience) in [(1, "orders"), (1, "payments"), (2, "orders"), (2, "payments")] {
        let token = minter.token(caller(&alice(), n), audience, None, NOW).unwrap();
        assert_eq!(part(&token, 1)["aud"], audience);
        assert!(ids.insert(part(&token, 1)["jti"].to_string()));
    }
}

#[test]
fn token_ids_of_different_seeds_differ_and_do_not_show_the_seed() {
    let id = |seed| {
        let mut minter = Minter::new(Settings::new(ISSUER), ring(&ed25519(), &[]), Seed(seed)).unwrap();
        part(&minter.token(caller(&alice(), 1), "orders", None, NOW).unwrap(), 1)["jti"].as_str().unwrap().to_owned()
    };
    assert_ne!(id([7; 32]), id([8; 32]));
    assert!(!id([7; 32]).contains(&crate::jwt::fixtures::encode(&[7; 12])));
}

#[test]
fn a_forgotten_credential_gets_a_new_token() {
    let mut minter = minter(&ed25519());
    let first = minter.token(caller(&alice(), 1), "orders", None, NOW).unwrap();
    minter.forget(key(1));
    assert_ne!(minter.token(caller(&claims(json!({"sub": "alice"})), 1), "orders", None, NOW).unwrap(), first);
}

#[test]
fn over_a_rotation_old_and_new_tokens_verify_with_one_key_set() {
    let mut minter = minter(&p256());
    let old = minter.token(caller(&alice(), 1), "orders", None, NOW).unwrap();
    minter.replace_keys(ring(&ed25519(), &[p256()]));
    let new = minter.token(caller(&alice(), 1), "orders", None, NOW).unwrap();
    let keys = published(&minter);
    assert!(verify(&old, &keys, Algorithm::Es256, NOW).is_ok());
    assert!(verify(&new, &keys, Algorithm::EdDsa, NOW).is_ok());
    minter.replace_keys(ring(&ed25519(), &[]));
    assert!(verify(&old, &published(&minter), Algorithm::Es256, NOW).is_err());
}

#[test]
fn a_token_too_long_for_a_header_is_not_made() {
    let copied = vec![CopiedClaim { path: "roles".into(), name: "roles".into() }];
    let mut minter = minter_of(Settings { copied, ..Settings::new(ISSUER) }, &ed25519());
    let many = claims(json!({"sub": "a", "roles": vec!["role"; 2_000]}));
    let error = minter.token(caller(&many, 1), "orders", None, NOW).unwrap_err();
    assert_eq!(error, MintError::TooLarge { max_bytes: 8 * 1024 });
    assert!(minter.token(caller(&alice(), 1), "orders", None, NOW).is_ok());
}

#[test]
fn without_a_cache_every_request_gets_a_new_token() {
    let mut minter = minter_of(Settings { cache_bytes: 0, ..Settings::new(ISSUER) }, &ed25519());
    let mut token = || minter.token(caller(&alice(), 1), "orders", None, NOW).unwrap();
    assert_ne!(token(), token());
    assert_eq!(minter.cached_bytes(), 0);
}

#[test]
fn wrong_settings_make_no_minter() {
    let settings = Settings { issuer: String::new(), reuse_percent: 100, ..Settings::new("") };
    let problems = Minter::new(settings, ring(&ed25519(), &[]), Seed([0; 32])).unwrap_err();
    assert_eq!(problems, [SettingsError::IssuerMissing, SettingsError::ReuseOutOfRange]);
}

#[test]
fn nothing_secret_is_shown() {
    for (jwk, private) in [(ed25519(), ED25519_D), (p256(), ES256_D), (secret(), RFC7515_A1_SECRET)] {
        let mut minter = minter(&jwk);
        let token = minter.token(caller(&alice(), 1), "orders", None, NOW).unwrap();
        let shown = format!("{minter:?}");
        assert!(!shown.contains(private) && !shown.contains(&*token) && !shown.contains("alice"), "{shown}");
        let bytes = format!("{:?}", &decode(private)[..4]);
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }
}

proptest! {
    #[test]
    fn whatever_claims_say_the_token_fits_into_a_header(sub in ".{1,20}", role in any::<String>(), audience in ".{0,20}") {
        let copied = vec![CopiedClaim { path: "role".into(), name: "role".into() }];
        let mut minter = minter_of(Settings { copied, ..Settings::new(ISSUER) }, &secret());
        let token = minter.token(caller(&claims(json!({"sub": sub, "role": role})), 1), &audience, None, NOW).unwrap();
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        prop_assert_eq!(token.matches('.').count(), 2);
        prop_assert_eq!(part(&token, 0), json!({"alg": "HS256", "kid": "shared", "typ": "at+jwt"}));
        let payload = part(&token, 1);
        prop_assert_eq!(payload["sub"].as_str(), Some(sub.as_str()));
        prop_assert_eq!(payload["role"].as_str(), Some(role.as_str()));
        prop_assert_eq!(payload["aud"].as_str(), Some(audience.as_str()));
    }

    #[test]
    fn a_service_always_sees_its_part_of_the_lifetime(
        lifetime in 5..120_u64,
        percent in 0..=95_u8,
        steps in proptest::collection::vec(0..20_000_000_000_u64, 1..30),
    ) {
        let settings =
            Settings { lifetime: Duration::from_secs(lifetime), reuse_percent: percent, ..Settings::new(ISSUER) };
        let mut minter = minter_of(settings, &secret());
        let mut now = NOW;
        for step in steps {
            now = UnixNanos(now.0 + step);
            let token = minter.token(caller(&alice(), 1), "orders", None, now).unwrap();
            let left = UnixNanos::from_secs(expiry(&token)).since(now).as_nanos();
            let least = u128::from(lifetime) * 10_000_000 * u128::from(100 - percent);
            // A new token may have lost the begun second.
            prop_assert!(left + 1_000_000_000 > least.min(u128::from(lifetime) * 1_000_000_000), "{left} {least}");
            prop_assert!(left > 0);
        }
    }
}
