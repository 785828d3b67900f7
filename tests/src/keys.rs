//! Signing keys of every algorithm, made and used with `ring`: code that the engine does not share.
//!
//! A key that cannot be made is a broken machine, not a case to handle, so these functions panic.
#![expect(clippy::expect_used, reason = "a test without its keys has failed")]

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RsaKeyPair,
};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use serde_json::{Value, json};

/// A JWS algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the registry")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Hs256,
    Hs384,
    Hs512,
}

impl Algorithm {
    /// Every algorithm that Portcullis verifies.
    pub const ALL: [Self; 12] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
    ];

    /// The value of `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// How `ring` signs with an RSA key under this algorithm.
    fn rsa_encoding(self) -> Option<&'static dyn signature::RsaEncoding> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_SHA512),
            _ => None,
        }
    }

    /// The HMAC under this algorithm.
    fn hmac(self) -> Option<hmac::Algorithm> {
        match self {
            Self::Hs256 => Some(hmac::HMAC_SHA256),
            Self::Hs384 => Some(hmac::HMAC_SHA384),
            Self::Hs512 => Some(hmac::HMAC_SHA512),
            _ => None,
        }
    }
}

/// A private or secret key with its `kid`.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    material: Material,
    /// The number or seed behind an EC or Ed25519 key; empty for others.
    private: Vec<u8>,
}

enum Material {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl SigningKey {
    /// A fresh key: RSA of 2048 bits, a secret as long as the hash.
    pub fn generate(algorithm: Algorithm, kid: &str) -> Self {
        let random = SystemRandom::new();
        let mut private = Vec::new();
        let material = match algorithm {
            Algorithm::Es256 => {
                let (key, document) = ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                // Where `ring` puts the number (RFC 5208, RFC 5915): its documents are of fixed length.
                private = document.get(36..68).expect("the number of a P-256 key").to_vec();
                Material::Ecdsa(key)
            }
            Algorithm::Es384 => Material::Ecdsa(ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).0),
            Algorithm::EdDsa => {
                private = random_bytes(32, &random);
                Material::Ed25519(Ed25519KeyPair::from_seed_unchecked(&private).expect("an Ed25519 key"))
            }
            Algorithm::Hs256 => Material::Secret(random_bytes(32, &random)),
            Algorithm::Hs384 => Material::Secret(random_bytes(48, &random)),
            Algorithm::Hs512 => Material::Secret(random_bytes(64, &random)),
            _ => return Self::generate_rsa(algorithm, kid, 2048),
        };
        Self { kid: kid.to_owned(), algorithm, material, private }
    }

    /// A fresh RSA key of `bits` (2048 or more: `ring` signs with no less).
    pub fn generate_rsa(algorithm: Algorithm, kid: &str, bits: usize) -> Self {
        // `ring` makes no RSA keys.
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).expect("an RSA key");
        let der = key.to_pkcs1_der().expect("the key just made");
        let material = Material::Rsa(RsaKeyPair::from_der(der.as_bytes()).expect("the key just made"));
        Self { kid: kid.to_owned(), algorithm, material, private: Vec::new() }
    }

    /// A symmetric key of a given secret: to play HS/RS confusion, for one.
    pub fn from_secret(algorithm: Algorithm, kid: &str, secret: &[u8]) -> Self {
        Self { kid: kid.to_owned(), algorithm, material: Material::Secret(secret.to_vec()), private: Vec::new() }
    }

    /// An ES256 key from its PKCS #8 document, as `ring` makes it.
    pub fn es256_from_pkcs8(kid: &str, document: &[u8]) -> Self {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document, &SystemRandom::new());
        let material = Material::Ecdsa(pair.expect("a P-256 key"));
        let private = document.get(36..68).expect("the number of a P-256 key").to_vec();
        Self { kid: kid.to_owned(), algorithm: Algorithm::Es256, material, private }
    }

    /// An ES256 key from its private JWK, as `portcullis keys` writes it; `None` where it is no such key.
    pub fn es256_from_jwk(jwk: &Value) -> Option<Self> {
        let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
        let private = member("d")?;
        let point = [&[4][..], &member("x")?, &member("y")?].concat();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, &point, &SystemRandom::new());
        let kid = jwk.get("kid")?.as_str()?.to_owned();
        Some(Self { kid, algorithm: Algorithm::Es256, material: Material::Ecdsa(pair.ok()?), private })
    }

    /// The key's `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm that it was made for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The signature over `message` under the key's algorithm, in the form of RFC 7518 (ECDSA as r and s).
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_as(self.algorithm, message)
    }

    /// The same with another algorithm of the same key type: an RSA key signs under PS256 as well as RS256.
    pub fn sign_as(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.material {
            Material::Rsa(key) => {
                let encoding = algorithm.rsa_encoding().expect("an algorithm of RSA");
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(encoding, &random, message, &mut signature).expect("an RSA signature");
                signature
            }
            Material::Ecdsa(key) => key.sign(&random, message).expect("an ECDSA signature").as_ref().to_vec(),
            Material::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Material::Secret(secret) => {
                let key = hmac::Key::new(algorithm.hmac().expect("an algorithm of HMAC"), secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
        }
    }

    /// The JWK that verifies: the public half, or the secret itself of a symmetric key (RFC 7517).
    pub fn public_jwk(&self) -> Value {
        let mut jwk = match &self.material {
            Material::Rsa(key) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({"kty": "RSA", "n": base64url(&public.n), "e": base64url(&public.e)})
            }
            Material::Ecdsa(key) => {
                // An uncompressed point: 04, x, y.
                let point = key.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if self.algorithm == Algorithm::Es384 { "P-384" } else { "P-256" };
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Material::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_key().as_ref())})
            }
            Material::Secret(secret) => json!({"kty": "oct", "k": base64url(secret)}),
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), json!(self.kid));
            members.insert("alg".to_owned(), json!(self.algorithm.name()));
            members.insert("use".to_owned(), json!("sig"));
        }
        jwk
    }

    /// The JWK that signs: a key of ES256 or EdDSA with its private member `d`, or the secret itself of a symmetric key.
    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.public_jwk();
        if let Some(members) = jwk.as_object_mut()
            && !self.private.is_empty()
        {
            members.insert("d".to_owned(), json!(base64url(&self.private)));
        }
        jwk
    }

    /// The JWK as if the key had been made for `algorithm` (of the same key type) and were called `kid`.
    pub fn public_jwk_as(&self, algorithm: Algorithm, kid: &str) -> Value {
        let mut jwk = self.public_jwk();
        if let Some(members) = jwk.as_object_mut() {
            members.insert("alg".to_owned(), json!(algorithm.name()));
            members.insert("kid".to_owned(), json!(kid));
        }
        jwk
    }

    /// The bytes of a symmetric key; of an asymmetric one what an attacker may know: its public key.
    pub fn known_bytes(&self) -> Vec<u8> {
        match &self.material {
            Material::Rsa(key) => key.public_key().as_ref().to_vec(),
            Material::Ecdsa(key) => key.public_key().as_ref().to_vec(),
            Material::Ed25519(key) => key.public_key().as_ref().to_vec(),
            Material::Secret(secret) => secret.clone(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm.name(), self.kid)
    }
}

/// The key set document of these keys (RFC 7517, section 5).
pub fn jwks<'a>(keys: impl IntoIterator<Item = &'a SigningKey>) -> Value {
    json!({"keys": keys.into_iter().map(SigningKey::public_jwk).collect::<Vec<_>>()})
}

/// Whether `signature` over `message` verifies under `jwk` and `algorithm`, by `ring` alone.
pub fn verifies(jwk: &Value, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let member = |name: &str| {
        let text = jwk.get(name).and_then(Value::as_str).unwrap_or_default();
        URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
    };
    if let Some(algorithm) = algorithm.hmac() {
        return hmac::verify(&hmac::Key::new(algorithm, &member("k")), message, signature).is_ok();
    }
    let point = || [vec![4], member("x"), member("y")].concat();
    let rsa = |parameters| {
        let key = signature::RsaPublicKeyComponents { n: member("n"), e: member("e") };
        key.verify(parameters, message, signature).is_ok()
    };
    let plain = |algorithm: &'static dyn signature::VerificationAlgorithm, key: Vec<u8>| {
        signature::UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
    };
    match algorithm {
        Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 => plain(&signature::ECDSA_P256_SHA256_FIXED, point()),
        Algorithm::Es384 => plain(&signature::ECDSA_P384_SHA384_FIXED, point()),
        Algorithm::EdDsa => plain(&signature::ED25519, member("x")),
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => false,
    }
}

/// Base64url without padding (RFC 7515, section 2).
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn ecdsa(algorithm: &'static signature::EcdsaSigningAlgorithm, random: &SystemRandom) -> (EcdsaKeyPair, Vec<u8>) {
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, random).expect("an EC key");
    let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), random).expect("the key just made");
    (key, document.as_ref().to_vec())
}

fn random_bytes(length: usize, random: &SystemRandom) -> Vec<u8> {
    use ring::rand::SecureRandom;
    let mut bytes = vec![0; length];
    random.fill(&mut bytes).expect("the system's randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_signs_what_its_jwk_verifies() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm, "k");
            let signature = key.sign(b"message");
            assert!(verifies(&key.public_jwk(), algorithm, b"message", &signature), "{}", algorithm.name());
            assert!(!verifies(&key.public_jwk(), algorithm, b"massage", &signature), "{}", algorithm.name());
        }
    }
}
