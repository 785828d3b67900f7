//! Whether a signature verifies: by the host's native cryptography where it serves, in software otherwise, with one
//! verdict.
//!
//! What the two could disagree about (lengths, ranges, encodings) is settled here before either is asked.

use jwt_compact::alg::{Es256, Hs256, Hs384, Hs512, Rsa};
use jwt_compact::{Algorithm as Backend, AlgorithmSignature};
use p384::ecdsa::signature::Verifier as _;

use super::algorithm::Algorithm;
use super::der;
use super::key::{Key, Material};
use crate::ports::{HostScheme, HostSignatures};

/// Whether `signature` over `message` verifies under `key` with `algorithm`.
///
/// `signature` is as JWS carries it: for ECDSA the two numbers r and s at full length, not DER (RFC 7518, section 3.4).
/// False for an algorithm that the key does not serve, whatever the bytes say; HMACs are compared in constant time.
pub fn verify(algorithm: Algorithm, key: &Key, signature: &[u8], message: &[u8], host: &dyn HostSignatures) -> bool {
    if !key.algorithms().contains(algorithm) {
        return false;
    }
    match key.material() {
        Material::Rsa { key: rsa_key, modulus_bytes } => {
            if signature.len() != *modulus_bytes {
                return false;
            }
            let Some((backend, host_serves)) = rsa_backend(algorithm) else { return false };
            let by_host = if host_serves {
                host.verify(HostScheme::RsaPkcs1(algorithm.hash()), key.spki_der(), signature, message)
            } else {
                None
            };
            by_host.unwrap_or_else(|| in_software(&backend, rsa_key, signature, message))
        }
        Material::P256(ec_key) => {
            // Refuses every length but 64 bytes, and r and s outside 1..n-1.
            let Ok(parsed) = p256::ecdsa::Signature::from_slice(signature) else { return false };
            let (r, s) = parsed.split_bytes();
            let in_der = der::ecdsa_signature(&r, &s);
            host.verify(HostScheme::EcdsaDer(algorithm.hash()), key.spki_der(), &in_der, message)
                .unwrap_or_else(|| Es256.verify_signature(&parsed, ec_key, message))
        }
        Material::P384(ec_key) => {
            // Refuses every length but 96 bytes, and r and s outside 1..n-1.
            let Ok(parsed) = p384::ecdsa::Signature::from_slice(signature) else { return false };
            let (r, s) = parsed.split_bytes();
            let in_der = der::ecdsa_signature(&r, &s);
            host.verify(HostScheme::EcdsaDer(algorithm.hash()), key.spki_der(), &in_der, message)
                .unwrap_or_else(|| ec_key.verify(message, &parsed).is_ok())
        }
        // Strict: no small-order R, no S outside the group order, so that a signature has one spelling.
        Material::Ed25519(ed_key) => ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|parsed| ed_key.verify_strict(message, &parsed).is_ok()),
        Material::Secret { hs256, hs384, hs512 } => match algorithm {
            Algorithm::Hs256 => in_software(&Hs256, hs256, signature, message),
            Algorithm::Hs384 => in_software(&Hs384, hs384, signature, message),
            Algorithm::Hs512 => in_software(&Hs512, hs512, signature, message),
            _ => false,
        },
    }
}

/// The software for an RSA algorithm, and whether a host may be asked instead (it has no PSS).
fn rsa_backend(algorithm: Algorithm) -> Option<(Rsa, bool)> {
    match algorithm {
        Algorithm::Rs256 => Some((Rsa::rs256(), true)),
        Algorithm::Rs384 => Some((Rsa::rs384(), true)),
        Algorithm::Rs512 => Some((Rsa::rs512(), true)),
        Algorithm::Ps256 => Some((Rsa::ps256(), false)),
        Algorithm::Ps384 => Some((Rsa::ps384(), false)),
        Algorithm::Ps512 => Some((Rsa::ps512(), false)),
        _ => None,
    }
}

fn in_software<B: Backend>(backend: &B, key: &B::VerifyingKey, signature: &[u8], message: &[u8]) -> bool {
    // The backends take a slice of exactly this length and would panic on another.
    if B::Signature::LENGTH.is_some_and(|length| length.get() != signature.len()) {
        return false;
    }
    B::Signature::try_from_slice(signature).is_ok_and(|parsed| backend.verify_signature(&parsed, key, message))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::jwt::KeySet;
    use crate::jwt::fixtures::{DerHost, ED25519_X, RFC8037_A4_JWS, Signer, decode, kid};
    use crate::ports::SoftwareOnly;
    use proptest::prelude::*;
    use serde_json::json;

    /// Counts what it is asked and answers everything with yes.
    #[derive(Default)]
    struct Gullible {
        asked: Cell<u32>,
    }

    impl HostSignatures for Gullible {
        fn verify(&self, _: HostScheme, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            self.asked.set(self.asked.get() + 1);
            Some(true)
        }
    }

    fn with_key<R>(algorithm: Algorithm, check: impl FnOnce(&Key) -> R) -> R {
        let jwk = Signer::get().jwk(algorithm);
        let (keys, _) = KeySet::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        check(keys.candidates(algorithm, Some(kid(algorithm))).unwrap().next().unwrap())
    }

    fn any_algorithm() -> impl Strategy<Value = Algorithm> {
        proptest::sample::select(Algorithm::ALL.to_vec())
    }

    #[test]
    fn every_algorithm_verifies_its_own_signature_on_both_paths() {
        for algorithm in Algorithm::ALL {
            let signature = Signer::get().sign(algorithm, b"message");
            with_key(algorithm, |key| {
                for host in [&SoftwareOnly as &dyn HostSignatures, &DerHost] {
                    assert!(verify(algorithm, key, &signature, b"message", host), "{algorithm}");
                    assert!(!verify(algorithm, key, &signature, b"massage", host), "{algorithm}");
                    assert!(!verify(algorithm, key, &signature, b"", host), "{algorithm}");
                }
            });
        }
    }

    #[test]
    fn a_key_never_serves_an_algorithm_of_another_type_or_hash() {
        for signed_with in Algorithm::ALL {
            let signature = Signer::get().sign(signed_with, b"message");
            for algorithm in Algorithm::ALL {
                with_key(signed_with, |key| {
                    let accepted = verify(algorithm, key, &signature, b"message", &DerHost);
                    assert_eq!(accepted, algorithm == signed_with, "{signed_with} as {algorithm}");
                });
            }
        }
    }

    #[test]
    fn the_host_is_asked_for_pkcs1_and_ecdsa_only() {
        for algorithm in Algorithm::ALL {
            let host = Gullible::default();
            let signature = Signer::get().sign(algorithm, b"message");
            let accepted = with_key(algorithm, |key| verify(algorithm, key, &signature, b"another", &host));
            let served = matches!(algorithm.name().get(..2), Some("RS" | "ES"));
            assert_eq!((accepted, host.asked.get()), (served, u32::from(served)), "{algorithm}");
        }
    }

    #[test]
    fn a_signature_of_the_wrong_length_never_reaches_the_host() {
        let host = Gullible::default();
        for algorithm in Algorithm::ALL {
            let good = Signer::get().sign(algorithm, b"message");
            let zero_before = [&[0][..], &good].concat();
            let zero_behind = [&good[..], &[0]].concat();
            for signature in [&[][..], &good[1..], &good[..good.len() - 1], &zero_before, &zero_behind, &[0; 10_000]] {
                assert!(
                    !with_key(algorithm, |key| verify(algorithm, key, signature, b"message", &host)),
                    "{algorithm}"
                );
            }
        }
        assert_eq!(host.asked.get(), 0);
    }

    #[test]
    fn ecdsa_numbers_outside_their_range_never_reach_the_host() {
        let host = Gullible::default();
        for (algorithm, length) in [(Algorithm::Es256, 32), (Algorithm::Es384, 48)] {
            let (zero, one, max) = (vec![0; length], [vec![0; length - 1], vec![1]].concat(), vec![0xff; length]);
            for (r, s) in [(&zero, &one), (&one, &zero), (&zero, &zero), (&max, &one), (&one, &max)] {
                let signature = [&r[..], s].concat();
                assert!(!with_key(algorithm, |key| verify(algorithm, key, &signature, b"message", &host)));
            }
        }
        assert_eq!(host.asked.get(), 0);
    }

    #[test]
    fn a_der_encoded_ecdsa_signature_is_refused() {
        let raw = p256::ecdsa::Signature::from_slice(&Signer::get().sign(Algorithm::Es256, b"message")).unwrap();
        let der = raw.to_der();
        with_key(Algorithm::Es256, |key| {
            for host in [&SoftwareOnly as &dyn HostSignatures, &DerHost] {
                assert!(!verify(Algorithm::Es256, key, der.as_bytes(), b"message", host));
            }
        });
    }

    #[test]
    fn the_rfc_8037_signature_verifies() {
        let (input, signature) = RFC8037_A4_JWS.rsplit_once('.').unwrap();
        let key = Key::ed25519(&decode(ED25519_X)).unwrap();
        assert!(verify(Algorithm::EdDsa, &key, &decode(signature), input.as_bytes(), &SoftwareOnly));
        assert!(!verify(Algorithm::EdDsa, &key, &decode(signature), b"", &SoftwareOnly));
    }

    #[test]
    fn an_ed25519_signature_has_one_spelling() {
        // S + L satisfies the equation as S does; only the range check tells them apart.
        const L: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut signature = Signer::get().sign(Algorithm::EdDsa, b"message");
        let mut carry = 0;
        for (byte, l) in signature[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(l) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        with_key(Algorithm::EdDsa, |key| {
            assert!(!verify(Algorithm::EdDsa, key, &signature, b"message", &SoftwareOnly));
        });
    }

    #[test]
    fn an_all_zero_signature_never_verifies() {
        for algorithm in Algorithm::ALL {
            let length = Signer::get().sign(algorithm, b"message").len();
            for host in [&SoftwareOnly as &dyn HostSignatures, &DerHost] {
                assert!(!with_key(algorithm, |key| verify(algorithm, key, &vec![0; length], b"message", host)));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn both_paths_agree_on_every_changed_signature(
            algorithm in any_algorithm(), at in any::<proptest::sample::Index>(), flip in 0..=255_u8, cut in 0..3_usize,
        ) {
            let mut signature = Signer::get().sign(algorithm, b"message");
            let at = at.index(signature.len());
            signature[at] ^= flip;
            signature.truncate(signature.len() - cut);
            with_key(algorithm, |key| {
                let software = verify(algorithm, key, &signature, b"message", &SoftwareOnly);
                assert_eq!(software, verify(algorithm, key, &signature, b"message", &DerHost));
                assert_eq!(software, flip == 0 && cut == 0);
            });
        }

        #[test]
        fn no_bytes_make_it_panic(
            algorithm in any_algorithm(), signature in proptest::collection::vec(any::<u8>(), 0..300), message in any::<[u8; 8]>(),
        ) {
            with_key(algorithm, |key| {
                assert!(!verify(algorithm, key, &signature, &message, &DerHost));
                assert!(!verify(algorithm, key, &signature, &message, &SoftwareOnly));
            });
        }
    }
}
