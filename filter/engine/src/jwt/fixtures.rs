//! Known answers of the RFCs and a small signer, for the tests of this folder.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key, Rsa};
use jwt_compact::{Algorithm as _, AlgorithmSignature as _};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::{Algorithm, KeySet, KeyType};
use crate::ports::{Hash, HostScheme, HostSignatures};

/// RFC 7515, appendix A.1: HS256.
pub const RFC7515_A1_SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
/// RFC 7515, appendix A.1.
pub const RFC7515_A1_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
    .dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// RFC 7515, appendix A.2: RS256, the modulus.
pub const RFC7515_A2_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0B\
    m4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo\
    7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDT\
    W9gb54h4FRWyuXpoQ";
/// RFC 7515, appendix A.2.
pub const RFC7515_A2_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
    .cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcA\
    cQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWE\
    sqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

/// RFC 7515, appendix A.3: ES256.
pub const ES256_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
/// RFC 7515, appendix A.3.
pub const ES256_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
/// RFC 7515, appendix A.3.
pub const ES256_D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
/// RFC 7515, appendix A.3.
pub const RFC7515_A3_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9\
    .eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ\
    .DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// RFC 8037, appendix A.1: Ed25519.
pub const ED25519_D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
/// RFC 8037, appendix A.2.
pub const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// RFC 8037, appendix A.4; its payload is a text, not claims.
pub const RFC8037_A4_JWS: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc\
    .hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Every key that the tests sign with: one for each key type, fixed but for the RSA key, which is made once per run.
pub struct Signer {
    rsa: RsaPrivateKey,
    p256: p256::ecdsa::SigningKey,
    p384: p384::ecdsa::SigningKey,
    ed25519: ed25519_dalek::SigningKey,
    secret: Vec<u8>,
}

impl Signer {
    pub fn get() -> &'static Self {
        static SIGNER: OnceLock<Signer> = OnceLock::new();
        SIGNER.get_or_init(|| Self {
            rsa: RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap(),
            p256: p256::ecdsa::SigningKey::from_slice(&decode(ES256_D)).unwrap(),
            p384: p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap(),
            ed25519: ed25519_dalek::SigningKey::from_bytes(&decode(ED25519_D).try_into().unwrap()),
            secret: decode(RFC7515_A1_SECRET),
        })
    }

    /// The JWKS entry for `algorithm`'s key, with the key type's name as `kid`.
    pub fn jwk(&self, algorithm: Algorithm) -> Value {
        let kid = kid(algorithm);
        match algorithm.key_type() {
            KeyType::Rsa => {
                let (n, e) = (self.rsa.n().to_bytes_be(), self.rsa.e().to_bytes_be());
                json!({"kid": kid, "kty": "RSA", "n": encode(&n), "e": encode(&e)})
            }
            KeyType::EcP256 => json!({"kid": kid, "kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y}),
            KeyType::EcP384 => {
                let point = self.p384.verifying_key().to_encoded_point(false);
                let (x, y) = (encode(point.x().unwrap()), encode(point.y().unwrap()));
                json!({"kid": kid, "kty": "EC", "crv": "P-384", "x": x, "y": y})
            }
            KeyType::Ed25519 => json!({"kid": kid, "kty": "OKP", "crv": "Ed25519", "x": ED25519_X}),
            KeyType::Secret => json!({"kid": kid, "kty": "oct", "k": RFC7515_A1_SECRET}),
        }
    }

    /// A key set with one key of each type.
    pub fn key_set(&self) -> KeySet {
        let one_per_type = [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Hs256];
        let keys: Vec<Value> = one_per_type.into_iter().map(|algorithm| self.jwk(algorithm)).collect();
        let (set, skipped) = KeySet::from_jwks(json!({"keys": keys}).to_string().as_bytes()).unwrap();
        assert_eq!(skipped, []);
        set
    }

    /// The raw signature, as JWS carries it.
    pub fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let rsa = |backend: Rsa| backend.sign(&self.rsa, message).as_bytes().into_owned();
        match algorithm {
            Algorithm::Rs256 => rsa(Rsa::rs256()),
            Algorithm::Rs384 => rsa(Rsa::rs384()),
            Algorithm::Rs512 => rsa(Rsa::rs512()),
            Algorithm::Ps256 => rsa(Rsa::ps256()),
            Algorithm::Ps384 => rsa(Rsa::ps384()),
            Algorithm::Ps512 => rsa(Rsa::ps512()),
            Algorithm::Es256 => {
                let signature: p256::ecdsa::Signature = self.p256.sign(message);
                signature.to_bytes().to_vec()
            }
            Algorithm::Es384 => {
                let signature: p384::ecdsa::Signature = self.p384.sign(message);
                signature.to_bytes().to_vec()
            }
            Algorithm::EdDsa => self.ed25519.sign(message).to_bytes().to_vec(),
            Algorithm::Hs256 => Hs256.sign(&Hs256Key::new(&self.secret), message).as_bytes().into_owned(),
            Algorithm::Hs384 => Hs384.sign(&Hs384Key::new(&self.secret), message).as_bytes().into_owned(),
            Algorithm::Hs512 => Hs512.sign(&Hs512Key::new(&self.secret), message).as_bytes().into_owned(),
        }
    }

    /// A token with exactly this header and these claims, signed with `algorithm` whatever the header says.
    pub fn token(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = self.sign(algorithm, input.as_bytes());
        format!("{input}.{}", encode(&signature))
    }
}

/// The `kid` of the key that [`Signer`] signs `algorithm` with.
pub fn kid(algorithm: Algorithm) -> &'static str {
    match algorithm.key_type() {
        KeyType::Rsa => "rsa",
        KeyType::EcP256 => "p256",
        KeyType::EcP384 => "p384",
        KeyType::Ed25519 => "ed25519",
        KeyType::Secret => "secret",
    }
}

/// A host with cryptography of its own: it reads keys and signatures in DER, and has no PSS and no EdDSA, as Envoy.
pub struct DerHost;

impl HostSignatures for DerHost {
    fn verify(&self, scheme: HostScheme, spki_der: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        match scheme {
            HostScheme::RsaPkcs1(hash) => {
                let key = RsaPublicKey::from_public_key_der(spki_der).unwrap();
                let (padding, digest) = match hash {
                    Hash::Sha256 => (Pkcs1v15Sign::new::<Sha256>(), Sha256::digest(message).to_vec()),
                    Hash::Sha384 => (Pkcs1v15Sign::new::<Sha384>(), Sha384::digest(message).to_vec()),
                    Hash::Sha512 => (Pkcs1v15Sign::new::<Sha512>(), Sha512::digest(message).to_vec()),
                };
                Some(key.verify(padding, &digest, signature).is_ok())
            }
            HostScheme::EcdsaDer(Hash::Sha256) => {
                let key = p256::ecdsa::VerifyingKey::from_public_key_der(spki_der).unwrap();
                let signature = p256::ecdsa::Signature::from_der(signature).unwrap();
                Some(key.verify(message, &signature).is_ok())
            }
            HostScheme::EcdsaDer(Hash::Sha384) => {
                let key = p384::ecdsa::VerifyingKey::from_public_key_der(spki_der).unwrap();
                let signature = p384::ecdsa::Signature::from_der(signature).unwrap();
                Some(key.verify(message, &signature).is_ok())
            }
            HostScheme::EcdsaDer(Hash::Sha512) => None,
        }
    }
}
