//! The thumbprint of a public key (RFC 7638; RFC 8037, section 2, for OKP).

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::compare;
use crate::jwt::base64url;

/// The SHA-256 thumbprint of a public JWK: the key's name in `cnf.jkt` (RFC 9449, section 6.1).
#[derive(Clone, Copy)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The thumbprint of `jwk`, an EC, RSA or OKP key. Only the members that make the key go in; all others change nothing.
    ///
    /// The members are hashed as they are written. Whether they are numbers of a usable key is for the caller to check.
    ///
    /// # Errors
    /// [`ThumbprintError`]; for a shared secret (`oct`), too, whose hash would help to guess it.
    pub fn of(jwk: &Map<String, Value>) -> Result<Self, ThumbprintError> {
        let key_type = member(jwk, "kty")?;
        let required: &[&'static str] = match key_type {
            "EC" => &["crv", "kty", "x", "y"],
            "OKP" => &["crv", "kty", "x"],
            "RSA" => &["e", "kty", "n"],
            _ => return Err(ThumbprintError::KeyType),
        };
        // In the order of the names, without white space (RFC 7638, 3.3). No value needs an escape.
        let mut hash = Sha256::new();
        let mut before = "{\"";
        for name in required {
            for part in [before, name, "\":\"", member(jwk, name)?] {
                hash.update(part.as_bytes());
            }
            before = "\",\"";
        }
        hash.update(b"\"}");
        Ok(Self(hash.finalize().into()))
    }

    /// The thumbprint with these bytes, as `jkt` carries them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Thumbprint {
    fn eq(&self, other: &Self) -> bool {
        compare::same(&self.0, &other.0)
    }
}

impl Eq for Thumbprint {}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// Why a key has no thumbprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThumbprintError {
    /// `kty` is none of `EC`, `OKP` and `RSA`.
    KeyType,
    /// A member is missing, or holds other characters than base64url.
    Member {
        /// The member's name.
        name: &'static str,
    },
}

impl fmt::Display for ThumbprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyType => f.write_str("the key is no EC, OKP or RSA key"),
            Self::Member { name } => write!(f, "member `{name}` of the key is missing or malformed"),
        }
    }
}

impl std::error::Error for ThumbprintError {}

fn member<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, ThumbprintError> {
    jwk.get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')))
        .ok_or(ThumbprintError::Member { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::Algorithm;
    use crate::jwt::fixtures::{ED25519_X, ES256_X, ES256_Y, Signer};
    use serde_json::json;

    /// RFC 7638, section 3.1: the modulus.
    const RFC7638_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP\
        ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9\
        c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur\
        -kEgU8awapJzKnqDKgw";

    fn of(jwk: Value) -> Result<Thumbprint, ThumbprintError> {
        Thumbprint::of(jwk.as_object().unwrap())
    }

    #[test]
    fn the_rsa_key_of_rfc_7638_has_its_thumbprint() {
        let jwk = json!({"kty": "RSA", "n": RFC7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"});
        assert_eq!(of(jwk).unwrap().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn the_okp_key_of_rfc_8037_has_its_thumbprint() {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X});
        assert_eq!(of(jwk).unwrap().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn other_members_change_nothing_and_the_keys_own_members_do() {
        let key = json!({"kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y});
        let plain = of(key.clone()).unwrap();
        for (name, value) in [("kid", "x"), ("use", "sig"), ("d", "AA"), ("n", "AA")] {
            let mut more = key.clone();
            more[name] = json!(value);
            assert_eq!(of(more).unwrap(), plain, "{name}");
        }
        for (name, value) in [("crv", "P-384"), ("x", "AA"), ("y", "AA")] {
            let mut other = key.clone();
            other[name] = json!(value);
            assert_ne!(of(other).unwrap(), plain, "{name}");
        }
    }

    #[test]
    fn a_member_that_json_would_escape_is_refused() {
        for x in [json!("a\",\"y\":\"b"), json!("\u{e9}"), json!(""), json!("a="), json!(7), json!(null), json!("a\\b")]
        {
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            assert_eq!(of(jwk), Err(ThumbprintError::Member { name: "x" }), "{x}");
        }
        assert_eq!(of(json!({"kty": "EC", "crv": "P-256", "x": "AA"})), Err(ThumbprintError::Member { name: "y" }));
        assert_eq!(of(json!({"crv": "P-256", "x": "AA"})), Err(ThumbprintError::Member { name: "kty" }));
    }

    #[test]
    fn a_shared_secret_has_no_thumbprint() {
        assert_eq!(of(Signer::get().jwk(Algorithm::Hs256)), Err(ThumbprintError::KeyType));
        assert_eq!(of(json!({"kty": "ec", "crv": "P-256", "x": "AA", "y": "AA"})), Err(ThumbprintError::KeyType));
    }
}
