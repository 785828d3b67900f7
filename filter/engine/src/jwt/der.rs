//! The little DER that a host's cryptography asks for: public keys as SubjectPublicKeyInfo, ECDSA signatures as two
//! integers (X.690; RFC 5280, section 4.1.2.7; RFC 3279, section 2.2.3).

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// The OID and parameters of `rsaEncryption` (RFC 3279, section 2.3.1).
const RSA_ENCRYPTION: [u8; 15] =
    [SEQUENCE, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// `id-ecPublicKey` with the named curve secp256r1 (RFC 5480, section 2.1.1).
const EC_P256: [u8; 21] = [
    SEQUENCE, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07,
];

/// `id-ecPublicKey` with the named curve secp384r1 (RFC 5480, section 2.1.1).
const EC_P384: [u8; 18] =
    [SEQUENCE, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// `id-Ed25519` (RFC 8410, section 3).
const ED25519: [u8; 7] = [SEQUENCE, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// The SubjectPublicKeyInfo of an RSA key; `modulus` and `exponent` are unsigned, big-endian.
pub(super) fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = element(SEQUENCE, &[unsigned(modulus), unsigned(exponent)].concat());
    spki(&RSA_ENCRYPTION, &key)
}

/// The SubjectPublicKeyInfo of a point on P-256, uncompressed (0x04, x, y).
pub(super) fn p256_spki(point: &[u8]) -> Vec<u8> {
    spki(&EC_P256, point)
}

/// The SubjectPublicKeyInfo of a point on P-384, uncompressed (0x04, x, y).
pub(super) fn p384_spki(point: &[u8]) -> Vec<u8> {
    spki(&EC_P384, point)
}

/// The SubjectPublicKeyInfo of an Ed25519 key.
pub(super) fn ed25519_spki(key: &[u8]) -> Vec<u8> {
    spki(&ED25519, key)
}

/// An ECDSA signature from its two numbers, unsigned and big-endian: minimal, as DER wants it.
pub(super) fn ecdsa_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[unsigned(r), unsigned(s)].concat())
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let mut bits = Vec::with_capacity(key.len().saturating_add(1));
    bits.push(0); // no unused bits
    bits.extend_from_slice(key);
    element(SEQUENCE, &[algorithm, &element(BIT_STRING, &bits)].concat())
}

/// `number` as a DER INTEGER: no leading zeros, but one where the top bit would read as a minus sign.
fn unsigned(number: &[u8]) -> Vec<u8> {
    let mut digits = number;
    while let [0, rest @ ..] = digits {
        digits = rest;
    }
    let mut content = Vec::with_capacity(digits.len().saturating_add(1));
    if digits.first().is_none_or(|top| *top >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    element(INTEGER, &content)
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len().saturating_add(6));
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let digits: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            // A length has at most eight bytes.
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
            out.extend_from_slice(&digits);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use p256::pkcs8::EncodePublicKey as _;
    use proptest::prelude::*;

    #[test]
    fn integers_are_minimal_and_never_negative() {
        assert_eq!(unsigned(&[]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(unsigned(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(unsigned(&[0x7f]), [2, 1, 0x7f]);
        assert_eq!(unsigned(&[0, 0x80]), [2, 2, 0, 0x80]);
    }

    #[test]
    fn long_contents_get_the_long_length_form() {
        assert_eq!(element(4, &[7; 127])[..2], [4, 127]);
        assert_eq!(element(4, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(element(4, &[7; 256])[..4], [4, 0x82, 1, 0]);
    }

    #[test]
    fn keys_are_written_as_other_libraries_write_them() {
        let p256 = p256::SecretKey::from_slice(&[7; 32]).unwrap().public_key();
        let point = p256::elliptic_curve::sec1::ToEncodedPoint::to_encoded_point(&p256, false);
        assert_eq!(p256_spki(point.as_bytes()), p256.to_public_key_der().unwrap().as_bytes());

        let p384 = p384::SecretKey::from_slice(&[7; 48]).unwrap().public_key();
        let point = p384::elliptic_curve::sec1::ToEncodedPoint::to_encoded_point(&p384, false);
        assert_eq!(p384_spki(point.as_bytes()), p384.to_public_key_der().unwrap().as_bytes());

        let modulus = [0xa5; 256];
        let exponent = [1, 0, 1];
        let rsa = rsa::RsaPublicKey::new(rsa::BigUint::from_bytes_be(&modulus), 65_537_u32.into()).unwrap();
        assert_eq!(rsa_spki(&modulus, &exponent), rsa.to_public_key_der().unwrap().as_bytes());
        assert_eq!(ed25519_spki(&[9; 32]).len(), 44);
    }

    proptest! {
        #[test]
        fn signatures_are_written_as_other_libraries_write_them(r in any::<[u8; 32]>(), s in any::<[u8; 32]>()) {
            if let Ok(signature) = p256::ecdsa::Signature::from_scalars(r, s) {
                let der = signature.to_der();
                prop_assert_eq!(ecdsa_signature(&r, &s), der.as_bytes());
            }
        }
    }
}
