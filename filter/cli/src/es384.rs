//! ES384 for jwt-compact, which has every other algorithm that Portcullis knows.

use std::borrow::Cow;
use std::num::NonZeroUsize;

use jwt_compact::jwk::{JsonWebKey, JwkError};
use jwt_compact::{Algorithm, AlgorithmSignature};
use p384::ecdsa::signature::{Signer, Verifier};
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};

/// ECDSA on P-384 with SHA-384 (RFC 7518, section 3.4).
#[derive(Debug, Clone, Copy)]
pub struct Es384;

/// A signature as the 96 bytes of r and s.
#[derive(Debug)]
pub struct Es384Signature(Signature);

impl AlgorithmSignature for Es384Signature {
    const LENGTH: Option<NonZeroUsize> = NonZeroUsize::new(96);

    fn try_from_slice(slice: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(Signature::from_slice(slice)?))
    }

    fn as_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.to_bytes().to_vec())
    }
}

impl Algorithm for Es384 {
    type SigningKey = SigningKey;
    type VerifyingKey = VerifyingKey;
    type Signature = Es384Signature;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed("ES384")
    }

    fn sign(&self, signing_key: &SigningKey, message: &[u8]) -> Es384Signature {
        Es384Signature(signing_key.sign(message))
    }

    fn verify_signature(&self, signature: &Es384Signature, verifying_key: &VerifyingKey, message: &[u8]) -> bool {
        verifying_key.verify(message, &signature.0).is_ok()
    }
}

/// The private JWK of a key (RFC 7518, section 6.2).
pub fn to_jwk(key: &SigningKey) -> JsonWebKey<'static> {
    let point = key.verifying_key().to_encoded_point(false);
    let coordinate = |bytes: Option<&[u8]>| Cow::Owned(bytes.unwrap_or_default().to_vec());
    JsonWebKey::EllipticCurve {
        curve: Cow::Borrowed("P-384"),
        x: coordinate(point.x().map(|x| &**x)),
        y: coordinate(point.y().map(|y| &**y)),
        secret: Some(jwt_compact::alg::SecretBytes::owned(key.to_bytes().to_vec())),
    }
}

/// The key of a private JWK.
///
/// # Errors
/// It is no private key on P-384.
pub fn from_jwk(jwk: &JsonWebKey<'_>) -> Result<SigningKey, JwkError> {
    let JsonWebKey::EllipticCurve { curve, secret, .. } = jwk else {
        return Err(JwkError::UnexpectedValue {
            field: "kty".to_owned(),
            expected: "EC".to_owned(),
            actual: jwk.key_type().to_string(),
        });
    };
    if curve != "P-384" {
        return Err(JwkError::UnexpectedValue {
            field: "crv".to_owned(),
            expected: "P-384".to_owned(),
            actual: curve.to_string(),
        });
    }
    let secret = secret.as_ref().ok_or_else(|| JwkError::NoField("d".to_owned()))?;
    SigningKey::from_slice(secret.as_ref()).map_err(JwkError::custom)
}
