//! JSON Web Keys of the gateway itself: strict reading, and the public half that services get.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::error::KeyError;
use crate::jwt::error::Quoted;
use crate::jwt::{Algorithm, Key};
use crate::strict_json;

/// A public key as it is published: what it takes to verify, and no private member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    point: Point,
}

/// The coordinates, in exact base64url.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Point {
    P256 { x: String, y: String },
    Ed25519 { x: String },
}

impl PublicKey {
    /// Reads the public members of a JWK on P-256 or Ed25519; private ones may stand there and are dropped.
    ///
    /// Without `kid` the key is named by its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn from_jwk(json: &[u8]) -> Result<Self, KeyError> {
        let jwk = Jwk::parse(json)?;
        jwk.check_use("verify", "sign")?;
        let kind = jwk.kind()?;
        let point = match kind {
            Kind::P256 => {
                let (x, y) = (jwk.bytes("x")?, jwk.bytes("y")?);
                Key::p256(&x, &y).map_err(|_| KeyError::PublicMismatch)?;
                Point::p256(&x, &y)
            }
            Kind::Ed25519 => {
                let x = jwk.bytes("x")?;
                Key::ed25519(&x).map_err(|_| KeyError::PublicMismatch)?;
                Point::ed25519(&x)
            }
            Kind::Secret => return Err(KeyError::NotPublic),
        };
        jwk.check_algorithm(kind)?;
        Ok(Self::named(jwk.kid()?, point))
    }

    /// The key with this point, under `kid` or its thumbprint.
    pub(super) fn named(kid: Option<String>, point: Point) -> Self {
        Self { kid: kid.unwrap_or_else(|| point.thumbprint()), point }
    }

    /// The key's name in the set.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key's thumbprint (RFC 7638; RFC 8037, appendix A.3), in base64url.
    pub fn thumbprint(&self) -> String {
        self.point.thumbprint()
    }

    /// The algorithm that it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match self.point {
            Point::P256 { .. } => Algorithm::Es256,
            Point::Ed25519 { .. } => Algorithm::EdDsa,
        }
    }

    /// The entry of a JWKS.
    pub(super) fn to_json(&self) -> Value {
        let (kid, alg) = (&self.kid, self.algorithm().name());
        match &self.point {
            Point::P256 { x, y } => {
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": alg, "use": "sig"})
            }
            Point::Ed25519 { x } => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": alg, "use": "sig"})
            }
        }
    }
}

impl Point {
    pub(super) fn p256(x: &[u8], y: &[u8]) -> Self {
        Self::P256 { x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) }
    }

    pub(super) fn ed25519(x: &[u8]) -> Self {
        Self::Ed25519 { x: URL_SAFE_NO_PAD.encode(x) }
    }

    fn thumbprint(&self) -> String {
        // The required members in the order of their names, nothing else (RFC 7638, section 3). Base64url needs no escape.
        let members = match self {
            Self::P256 { x, y } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(Sha256::digest(members))
    }
}

/// The kinds of keys that the gateway signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    P256,
    Ed25519,
    Secret,
}

impl Kind {
    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::Ed25519 => Algorithm::EdDsa,
            Self::Secret => Algorithm::Hs256,
        }
    }
}

/// A JWK taken apart. What may be secret is wiped when it is dropped, and it has no `Debug`.
pub(super) struct Jwk(Map<String, Value>);

impl Drop for Jwk {
    fn drop(&mut self) {
        for value in self.0.values_mut() {
            if let Value::String(text) = value {
                drop(Zeroizing::new(std::mem::take(text)));
            }
        }
    }
}

impl Jwk {
    pub(super) fn parse(json: &[u8]) -> Result<Self, KeyError> {
        const MAX_BYTES: usize = 16 * 1024;
        if json.len() > MAX_BYTES {
            return Err(KeyError::TooLarge);
        }
        strict_json::parse_object(json, 8).map(Self).map_err(KeyError::Json)
    }

    pub(super) fn kind(&self) -> Result<Kind, KeyError> {
        let key_type = self.text("kty")?.ok_or(KeyError::Malformed { member: "kty" })?;
        let name = match key_type {
            "oct" => return Ok(Kind::Secret),
            "EC" | "OKP" => self.text("crv")?.ok_or(KeyError::Malformed { member: "crv" })?,
            other => other,
        };
        match (key_type, name) {
            ("EC", "P-256") => Ok(Kind::P256),
            ("OKP", "Ed25519") => Ok(Kind::Ed25519),
            _ => Err(KeyError::TypeNotServed { key_type: Quoted::new(name) }),
        }
    }

    /// `use` must be `sig` and `key_ops` must hold one of the two, where they are given.
    pub(super) fn check_use(&self, operation: &'static str, or: &'static str) -> Result<(), KeyError> {
        if !matches!(self.text("use")?, None | Some("sig")) {
            return Err(KeyError::NotForSignatures);
        }
        let Some(operations) = self.0.get("key_ops") else { return Ok(()) };
        const MALFORMED: KeyError = KeyError::Malformed { member: "key_ops" };
        let operations = operations.as_array().ok_or(MALFORMED)?;
        let names: Vec<&str> = operations.iter().map(Value::as_str).collect::<Option<_>>().ok_or(MALFORMED)?;
        if names.contains(&operation) || names.contains(&or) {
            Ok(())
        } else {
            Err(KeyError::OperationMissing { operation })
        }
    }

    pub(super) fn check_algorithm(&self, kind: Kind) -> Result<(), KeyError> {
        let needed = kind.algorithm();
        match self.text("alg")? {
            Some(name) if name != needed.name() => {
                Err(KeyError::AlgorithmMismatch { algorithm: Quoted::new(name), needed })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn kid(&self) -> Result<Option<String>, KeyError> {
        match self.text("kid")? {
            None => Ok(None),
            Some(kid) if (1..=128).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Some(kid.to_owned()))
            }
            Some(_) => Err(KeyError::KidUnfit),
        }
    }

    pub(super) fn has(&self, member: &str) -> bool {
        self.0.contains_key(member)
    }

    /// The bytes that a member stands for: exact base64url, at least one byte.
    pub(super) fn bytes(&self, member: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.text(member)?
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .filter(|bytes| !bytes.is_empty())
            .map(Zeroizing::new)
            .ok_or(KeyError::Malformed { member })
    }

    fn text(&self, member: &'static str) -> Result<Option<&str>, KeyError> {
        match self.0.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(KeyError::Malformed { member }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::fixtures::{ED25519_D, ED25519_X, ES256_D, ES256_X, ES256_Y};

    fn read(jwk: &Value) -> Result<PublicKey, KeyError> {
        PublicKey::from_jwk(jwk.to_string().as_bytes())
    }

    fn ec() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y})
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_a3() {
        let key = read(&json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X})).unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(key.kid(), key.thumbprint());
    }

    #[test]
    fn the_thumbprint_does_not_depend_on_other_members() {
        let mut named = ec();
        named["kid"] = json!("k1");
        named["alg"] = json!("ES256");
        named["d"] = json!(ES256_D);
        assert_eq!(read(&named).unwrap().thumbprint(), read(&ec()).unwrap().kid());
    }

    #[test]
    fn a_private_member_never_comes_out_again() {
        for jwk in [
            json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "d": ED25519_D}),
            json!({"kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y, "d": ES256_D}),
        ] {
            let shown = read(&jwk).unwrap().to_json();
            assert_eq!(shown.get("d"), None);
            assert!(!shown.to_string().contains(jwk["d"].as_str().unwrap()));
        }
    }

    #[test]
    fn what_cannot_be_published_is_refused() {
        let with = |member: &str, value: Value| {
            let mut jwk = ec();
            jwk[member] = value;
            read(&jwk).unwrap_err()
        };
        assert_eq!(read(&json!({"kty": "oct", "k": "A".repeat(43)})).unwrap_err(), KeyError::NotPublic);
        assert_eq!(with("x", json!(ES256_Y)), KeyError::PublicMismatch);
        assert_eq!(with("x", json!("AA")), KeyError::PublicMismatch);
        assert_eq!(with("x", json!(null)), KeyError::Malformed { member: "x" });
        assert_eq!(with("use", json!("enc")), KeyError::NotForSignatures);
        assert_eq!(with("key_ops", json!(["encrypt"])), KeyError::OperationMissing { operation: "verify" });
        assert_eq!(with("kid", json!("")), KeyError::KidUnfit);
        assert!(matches!(with("alg", json!("EdDSA")), KeyError::AlgorithmMismatch { needed: Algorithm::Es256, .. }));
        let weak = json!({"kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43)});
        assert_eq!(read(&weak).unwrap_err(), KeyError::PublicMismatch);
    }
}
