//! The keys of the internal token over a rotation: one signs, others are published beside it.

use serde_json::{Value, json};

use super::error::RingError;
use super::jwk::PublicKey;
use super::signing_key::SigningKey;

/// The key that signs, and the public keys of those before and after it.
///
/// To rotate: publish the next key among `others`; once every service has fetched it, let it sign and keep the last one
/// published until its tokens have ended.
#[derive(Debug)]
pub struct KeyRing {
    active: SigningKey,
    others: Vec<PublicKey>,
}

impl KeyRing {
    /// The most keys of a ring: one that signs, and those of other generations.
    pub const MAX_KEYS: usize = 8;

    /// The media type of [`Self::jwks_json`] (RFC 7517, section 8.5.2).
    pub const JWKS_CONTENT_TYPE: &'static str = "application/jwk-set+json";

    /// A ring of keys.
    ///
    /// # Errors
    /// [`RingError`] where two have one name, or where there are too many.
    pub fn new(active: SigningKey, others: Vec<PublicKey>) -> Result<Self, RingError> {
        if others.len() >= Self::MAX_KEYS {
            return Err(RingError::TooManyKeys);
        }
        let mut kids = vec![active.kid()];
        for key in &others {
            if kids.contains(&key.kid()) {
                return Err(RingError::RepeatedKid { kid: key.kid().to_owned() });
            }
            kids.push(key.kid());
        }
        Ok(Self { active, others })
    }

    /// The key that signs.
    pub fn active(&self) -> &SigningKey {
        &self.active
    }

    /// The key set that services fetch (RFC 7517, section 5): public members only, so that a shared secret never stands
    /// in it. Services of a gateway that signs with HS256 get the secret on another way.
    pub fn jwks_json(&self) -> String {
        let keys: Vec<Value> = self.active.public().into_iter().chain(&self.others).map(PublicKey::to_json).collect();
        json!({ "keys": keys }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::KeySet;
    use crate::jwt::fixtures::{ED25519_D, ED25519_X, ES256_D, ES256_X, ES256_Y, RFC7515_A1_SECRET};

    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "d": ED25519_D, "kid": "new"})
    }

    fn p256(kid: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y, "d": ES256_D, "kid": kid})
    }

    fn signing(jwk: &Value) -> SigningKey {
        SigningKey::from_jwk(jwk.to_string().as_bytes()).unwrap()
    }

    fn public(jwk: &Value) -> PublicKey {
        PublicKey::from_jwk(jwk.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_key_set_has_every_public_key_and_our_own_reader_takes_it_whole() {
        let ring = KeyRing::new(signing(&ed25519()), vec![public(&p256("old"))]).unwrap();
        let (set, skipped) = KeySet::from_jwks(ring.jwks_json().as_bytes()).unwrap();
        assert_eq!(skipped, []);
        assert_eq!(set.keys().iter().filter_map(|key| key.kid()).collect::<Vec<_>>(), ["new", "old"]);
    }

    #[test]
    fn the_key_set_has_no_private_member() {
        let json = KeyRing::new(signing(&ed25519()), vec![public(&p256("old"))]).unwrap().jwks_json();
        for secret in [ED25519_D, ES256_D, "\"d\"", "\"k\""] {
            assert!(!json.contains(secret), "{json}");
        }
    }

    #[test]
    fn a_shared_secret_never_stands_in_the_key_set() {
        let secret = json!({"kty": "oct", "k": RFC7515_A1_SECRET, "kid": "shared"});
        let ring = KeyRing::new(signing(&secret), Vec::new()).unwrap();
        assert_eq!(ring.jwks_json(), r#"{"keys":[]}"#);
    }

    #[test]
    fn two_keys_of_one_name_are_refused() {
        let error = |active, others| KeyRing::new(active, others).unwrap_err();
        let repeated = |kid: &str| RingError::RepeatedKid { kid: kid.to_owned() };
        assert_eq!(error(signing(&p256("new")), vec![public(&ed25519())]), repeated("new"));
        assert_eq!(error(signing(&ed25519()), vec![public(&p256("a")), public(&p256("a"))]), repeated("a"));
    }

    #[test]
    fn a_ring_is_bounded() {
        let others = |count: usize| (0..count).map(|n| public(&p256(&n.to_string()))).collect::<Vec<_>>();
        assert!(KeyRing::new(signing(&ed25519()), others(KeyRing::MAX_KEYS - 1)).is_ok());
        let error = KeyRing::new(signing(&ed25519()), others(KeyRing::MAX_KEYS)).unwrap_err();
        assert_eq!(error, RingError::TooManyKeys);
    }
}
