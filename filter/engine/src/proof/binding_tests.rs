use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::time::UnixNanos;

/// RFC 9449, section 6.1.
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
/// RFC 8705, appendix A: the confirmation and the certificate that it is of.
const X5T_S256: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";
const CERTIFICATE: &str = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcw\
    OVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA\
    4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJ\
    SGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";

fn of(cnf: Value) -> Result<Confirmation, BindingError> {
    Confirmation::of(&Claims::new(json!({"sub": "alice", "cnf": cnf}).as_object().unwrap().clone()))
}

fn proof(key: u8) -> VerifiedProof {
    VerifiedProof::made_up(key, 1, UnixNanos::from_secs(1_000))
}

const NOTHING: Presented<'static> = Presented { dpop: None, certificate_sha256: None, scheme: Scheme::Bearer };
const UNBOUND: Confirmation = Confirmation { jkt: None, x5t_s256: None };

fn bound_to_key(key: u8) -> Confirmation {
    Confirmation { jkt: Some(*proof(key).thumbprint()), ..UNBOUND }
}

fn dpop(demanded: Demanded) -> BindingPolicy {
    BindingPolicy { dpop: demanded, ..BindingPolicy::default() }
}

fn mtls(demanded: Demanded) -> BindingPolicy {
    BindingPolicy { mtls: demanded, ..BindingPolicy::default() }
}

const CHECKED: [Demanded; 2] = [Demanded::WhenPresent, Demanded::Required];
const ALL: [Demanded; 3] = [Demanded::Never, Demanded::WhenPresent, Demanded::Required];

#[test]
fn a_token_without_cnf_is_bound_to_nothing() {
    assert_eq!(Confirmation::of(&Claims::default()), Ok(UNBOUND));
}

#[test]
fn the_confirmations_of_the_rfcs_are_read() {
    let both = of(json!({"jkt": JKT, "x5t#S256": X5T_S256})).unwrap();
    assert_eq!(both.jkt.unwrap().to_string(), JKT);
    let certificate: [u8; 32] = Sha256::digest(STANDARD.decode(CERTIFICATE).unwrap()).into();
    assert_eq!(both.x5t_s256, Some(certificate));
    assert_eq!(of(json!({"jkt": JKT})).unwrap().x5t_s256, None);
}

#[test]
fn the_certificate_of_rfc_8705_passes_with_its_token_only() {
    let certificate: [u8; 32] = Sha256::digest(STANDARD.decode(CERTIFICATE).unwrap()).into();
    let hex: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    let certificate_sha256 = certificate_sha256_from_hex(hex.as_bytes());
    let presented = Presented { certificate_sha256, ..NOTHING };
    for demanded in ALL {
        assert_eq!(of(json!({"x5t#S256": X5T_S256})).unwrap().check(&presented, mtls(demanded)), Ok(()));
    }
    let other = Confirmation { x5t_s256: Some([7; 32]), ..UNBOUND };
    for demanded in CHECKED {
        assert_eq!(other.check(&presented, mtls(demanded)), Err(BindingError::CertificateMismatch));
        assert_eq!(other.check(&NOTHING, mtls(demanded)), Err(BindingError::CertificateMissing));
    }
}

#[test]
fn a_confirmation_that_cannot_be_read_is_never_taken_for_none() {
    for cnf in [json!(null), json!("jkt"), json!([]), json!([{"jkt": JKT}]), json!(7), json!(true)] {
        assert_eq!(of(cnf), Err(BindingError::ConfirmationMalformed { member: "cnf" }));
    }
    for value in [
        json!(null),
        json!(7),
        json!(""),
        json!([JKT]),
        json!({"a": JKT}),
        json!(format!("{JKT}=")),
        json!(JKT.strip_prefix('0')),
        json!(format!("{JKT}AAAA")),
        json!(JKT.replace('-', "+")),
        // RFC 8705, section 3.1, spells a hash with unused bits that are not zero; no encoder writes that.
        json!("bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"),
    ] {
        let error = |member| Err(BindingError::ConfirmationMalformed { member });
        assert_eq!(of(json!({"jkt": value, "x5t#S256": X5T_S256})), error("jkt"), "{value}");
        assert_eq!(of(json!({"jkt": JKT, "x5t#S256": value})), error("x5t#S256"), "{value}");
    }
}

#[test]
fn a_token_that_is_bound_in_another_way_is_refused() {
    for cnf in
        [json!({}), json!({"kid": "k"}), json!({"jwk": {"kty": "EC"}}), json!({"JKT": JKT}), json!({"x5t": "AA"})]
    {
        assert_eq!(of(cnf), Err(BindingError::ConfirmationNotServed));
    }
    assert!(of(json!({"jkt": JKT, "kid": "k"})).is_ok());
}

#[test]
fn a_token_passes_with_its_own_key_only() {
    let (own, other) = (proof(1), proof(2));
    let with = |proof| Presented { dpop: proof, scheme: Scheme::Dpop, ..NOTHING };
    for demanded in CHECKED {
        let check = |proof| bound_to_key(1).check(&with(proof), dpop(demanded));
        assert_eq!(check(Some(&own)), Ok(()));
        assert_eq!(check(Some(&other)), Err(BindingError::KeyMismatch));
        assert_eq!(check(None), Err(BindingError::ProofMissing));
    }
}

#[test]
fn a_bound_token_never_passes_as_a_bearer_token() {
    let own = proof(1);
    for demanded in CHECKED {
        for dpop_proof in [None, Some(&own)] {
            let presented = Presented { dpop: dpop_proof, ..NOTHING };
            assert_eq!(bound_to_key(1).check(&presented, dpop(demanded)), Err(BindingError::Downgraded));
        }
    }
}

#[test]
fn an_unbound_token_never_passes_with_the_scheme_dpop() {
    let own = proof(1);
    for demanded in CHECKED {
        for dpop_proof in [None, Some(&own)] {
            let presented = Presented { dpop: dpop_proof, scheme: Scheme::Dpop, ..NOTHING };
            let error = UNBOUND.check(&presented, dpop(demanded)).unwrap_err();
            assert_eq!(error, BindingError::NotBound { to: "a DPoP key" });
        }
    }
}

#[test]
fn an_unbound_token_passes_unless_a_binding_is_required() {
    assert_eq!(UNBOUND.check(&NOTHING, BindingPolicy::default()), Ok(()));
    assert!(matches!(UNBOUND.check(&NOTHING, dpop(Demanded::Required)), Err(BindingError::NotBound { .. })));
    assert!(matches!(UNBOUND.check(&NOTHING, mtls(Demanded::Required)), Err(BindingError::NotBound { .. })));
    let with_certificate = Presented { certificate_sha256: Some([7; 32]), ..NOTHING };
    assert!(matches!(UNBOUND.check(&with_certificate, mtls(Demanded::Required)), Err(BindingError::NotBound { .. })));
}

#[test]
fn a_token_that_is_bound_twice_needs_both() {
    let own = proof(1);
    let both = Confirmation { x5t_s256: Some([7; 32]), ..bound_to_key(1) };
    let presented = Presented { dpop: Some(&own), certificate_sha256: Some([7; 32]), scheme: Scheme::Dpop };
    assert_eq!(both.check(&presented, BindingPolicy::default()), Ok(()));
    let without = Presented { certificate_sha256: None, ..presented };
    assert_eq!(both.check(&without, BindingPolicy::default()), Err(BindingError::CertificateMissing));
    let without = Presented { dpop: None, ..presented };
    assert_eq!(both.check(&without, BindingPolicy::default()), Err(BindingError::ProofMissing));
}

#[test]
fn a_gateway_that_never_looks_takes_bound_tokens_and_no_dpop() {
    let never = BindingPolicy { mtls: Demanded::Never, dpop: Demanded::Never };
    let both = Confirmation { x5t_s256: Some([7; 32]), ..bound_to_key(1) };
    assert_eq!(both.check(&NOTHING, never), Ok(()));
    let presented = Presented { scheme: Scheme::Dpop, ..NOTHING };
    assert_eq!(both.check(&presented, never), Err(BindingError::DpopNotAccepted));
}

#[test]
fn a_hash_is_64_hexadecimal_digits() {
    let lower = "00ff".repeat(16);
    assert_eq!(certificate_sha256_from_hex(lower.as_bytes()).unwrap()[..3], [0, 255, 0]);
    assert_eq!(certificate_sha256_from_hex(lower.to_uppercase().as_bytes()).unwrap()[30..], [0, 255]);
    for bad in [
        "",
        "00",
        lower.strip_prefix('0').unwrap(),
        lower.strip_prefix("00").unwrap(),
        &format!("{lower}00"),
        &lower.replace("ff", "fg"),
        &lower.replace("ff", "+f"),
    ] {
        assert_eq!(certificate_sha256_from_hex(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn every_refusal_is_a_401_of_its_own_kind() {
    for error in [
        BindingError::ConfirmationNotServed,
        BindingError::NotBound { to: "x" },
        BindingError::Downgraded,
        BindingError::ProofMissing,
        BindingError::KeyMismatch,
        BindingError::DpopNotAccepted,
        BindingError::CertificateMissing,
        BindingError::CertificateMismatch,
    ] {
        assert_eq!(error.reason().status(), 401, "{error}");
    }
}
