//! The key that the gateway signs with, from a private JWK (RFC 7517; RFC 7518, section 6; RFC 8037, section 2).

use std::fmt;

use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{Algorithm as _, AlgorithmSignature as _};
use p256::ecdsa::signature::Signer as _;

use super::error::KeyError;
use super::jwk::{Jwk, Kind, Point, PublicKey};
use crate::jwt::Algorithm;

/// A private key with its name. It wipes itself when it is dropped, and shows nothing of itself.
pub struct SigningKey {
    kid: String,
    material: Material,
    public: Option<PublicKey>,
}

enum Material {
    P256(p256::ecdsa::SigningKey),
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Secret(Hs256Key),
}

impl SigningKey {
    /// Reads a private JWK: `EC` on `P-256` signs with ES256, `OKP` on `Ed25519` with EdDSA, `oct` with HS256.
    ///
    /// Strict: the public members must stand there and belong to `d`; `use`, `key_ops` and `alg` must fit where they are
    /// given. Without `kid` a key pair is named by its thumbprint (RFC 7638); a shared secret must have a `kid`.
    ///
    /// # Errors
    /// [`KeyError`]; it holds no part of the key.
    pub fn from_jwk(json: &[u8]) -> Result<Self, KeyError> {
        let jwk = Jwk::parse(json)?;
        let kind = jwk.kind()?;
        jwk.check_use("sign", "sign")?;
        jwk.check_algorithm(kind)?;
        let kid = jwk.kid()?;
        if kind != Kind::Secret && !jwk.has("d") {
            return Err(KeyError::NotPrivate);
        }
        let (material, point) = match kind {
            Kind::P256 => p256(&jwk)?,
            Kind::Ed25519 => ed25519(&jwk)?,
            Kind::Secret => {
                let secret = jwk.bytes("k")?;
                if secret.len() < 32 {
                    return Err(KeyError::SecretTooShort);
                }
                let material = Material::Secret(Hs256Key::new(&*secret));
                return Ok(Self { kid: kid.ok_or(KeyError::KidMissing)?, material, public: None });
            }
        };
        let public = PublicKey::named(kid, point);
        Ok(Self { kid: public.kid().to_owned(), material, public: Some(public) })
    }

    /// The key's name, as the tokens' header has it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm that it signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::P256(_) => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
            Material::Secret(_) => Algorithm::Hs256,
        }
    }

    /// The half that may be published; a shared secret has none.
    pub fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    /// The signature as JWS carries it. The same message always gets the same one: ECDSA takes its nonce from key and
    /// message (RFC 6979), so that no weak randomness can give the key away.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.material {
            Material::P256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).ok()?;
                Some(signature.to_bytes().to_vec())
            }
            Material::Ed25519(key) => Some(key.try_sign(message).ok()?.to_bytes().to_vec()),
            Material::Secret(key) => Some(Hs256.sign(key, message).as_bytes().into_owned()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

fn p256(jwk: &Jwk) -> Result<(Material, Point), KeyError> {
    let d = jwk.bytes("d")?;
    // The library would fill up a shorter number.
    if d.len() != 32 {
        return Err(KeyError::Malformed { member: "d" });
    }
    let key = p256::ecdsa::SigningKey::from_slice(&d).map_err(|_| KeyError::PrivateOutOfRange)?;
    let point = key.verifying_key().to_encoded_point(false);
    let (x, y) = point.x().zip(point.y()).ok_or(KeyError::PrivateOutOfRange)?;
    if **jwk.bytes("x")? != **x || **jwk.bytes("y")? != **y {
        return Err(KeyError::PublicMismatch);
    }
    let point = Point::p256(x, y);
    Ok((Material::P256(key), point))
}

fn ed25519(jwk: &Jwk) -> Result<(Material, Point), KeyError> {
    let d = jwk.bytes("d")?;
    let seed = <&[u8; 32]>::try_from(d.as_slice()).map_err(|_| KeyError::Malformed { member: "d" })?;
    let key = Box::new(ed25519_dalek::SigningKey::from_bytes(seed));
    let x = key.verifying_key().to_bytes();
    // Signing with a public half that is not the private one's gives the private one away.
    if jwk.bytes("x")?.as_slice() != x {
        return Err(KeyError::PublicMismatch);
    }
    Ok((Material::Ed25519(key), Point::ed25519(&x)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::error::Quoted;
    use crate::jwt::fixtures::{
        ED25519_D, ED25519_X, ES256_D, ES256_X, ES256_Y, RFC7515_A1_SECRET, RFC7515_A1_TOKEN, RFC8037_A4_JWS, decode,
        encode,
    };
    use crate::strict_json::StrictJsonError;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn ec() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y, "d": ES256_D})
    }

    fn okp() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "d": ED25519_D})
    }

    fn oct(bytes: usize) -> Value {
        json!({"kty": "oct", "k": encode(&vec![7; bytes]), "kid": "s"})
    }

    fn read(jwk: &Value) -> Result<SigningKey, KeyError> {
        SigningKey::from_jwk(jwk.to_string().as_bytes())
    }

    fn refusal(mut jwk: Value, member: &str, value: Value) -> KeyError {
        jwk[member] = value;
        read(&jwk).unwrap_err()
    }

    fn without(mut jwk: Value, member: &str) -> KeyError {
        jwk.as_object_mut().unwrap().remove(member);
        read(&jwk).unwrap_err()
    }

    #[test]
    fn eddsa_signs_as_rfc_8037_a4_does() {
        let (input, signature) = RFC8037_A4_JWS.rsplit_once('.').unwrap();
        assert_eq!(encode(&read(&okp()).unwrap().sign(input.as_bytes()).unwrap()), signature);
    }

    #[test]
    fn hs256_signs_as_rfc_7515_a1_does() {
        let (input, signature) = RFC7515_A1_TOKEN.rsplit_once('.').unwrap();
        let key = read(&json!({"kty": "oct", "k": RFC7515_A1_SECRET, "kid": "a1"})).unwrap();
        assert_eq!(encode(&key.sign(input.as_bytes()).unwrap()), signature);
    }

    #[test]
    fn es256_signs_as_rfc_6979_a_2_5_does() {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
        let number = |hex: &str| -> Vec<u8> {
            hex.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
        };
        let coordinate = |hex: &str| encode(&number(hex));
        let key = read(&json!({
            "kty": "EC", "crv": "P-256",
            "d": coordinate("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"),
            "x": coordinate("60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"),
            "y": coordinate("7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"),
        }))
        .unwrap();
        let r = "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716";
        let s = "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8";
        assert_eq!(key.sign(b"sample").unwrap(), number(&format!("{r}{s}")));
    }

    #[test]
    fn a_key_says_its_algorithm_and_its_name() {
        assert_eq!(read(&ec()).unwrap().algorithm(), Algorithm::Es256);
        assert_eq!(read(&okp()).unwrap().algorithm(), Algorithm::EdDsa);
        assert_eq!(read(&oct(32)).unwrap().algorithm(), Algorithm::Hs256);
        assert_eq!(read(&okp()).unwrap().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let mut named = ec();
        named["kid"] = json!("2026-10");
        assert_eq!(read(&named).unwrap().kid(), "2026-10");
        assert_eq!(read(&named).unwrap().public().unwrap().kid(), "2026-10");
    }

    #[test]
    fn a_shared_secret_has_no_public_half_and_needs_a_name() {
        assert_eq!(read(&oct(32)).unwrap().public(), None);
        assert_eq!(without(oct(32), "kid"), KeyError::KidMissing);
    }

    #[test]
    fn a_short_secret_is_refused() {
        for bytes in [1, 16, 31] {
            assert_eq!(read(&oct(bytes)).unwrap_err(), KeyError::SecretTooShort);
        }
        assert_eq!(refusal(oct(32), "k", json!("")), KeyError::Malformed { member: "k" });
        assert_eq!(without(oct(32), "k"), KeyError::Malformed { member: "k" });
    }

    #[test]
    fn another_type_of_key_is_refused_by_its_name() {
        let named = |name: &str| KeyError::TypeNotServed { key_type: Quoted::new(name) };
        assert_eq!(refusal(ec(), "crv", json!("P-384")), named("P-384"));
        assert_eq!(refusal(ec(), "crv", json!("Ed25519")), named("Ed25519"));
        assert_eq!(refusal(okp(), "crv", json!("X25519")), named("X25519"));
        assert_eq!(refusal(okp(), "crv", json!("Ed448")), named("Ed448"));
        assert_eq!(refusal(ec(), "kty", json!("RSA")), named("RSA"));
        assert_eq!(refusal(ec(), "kty", json!("ec")), named("ec"));
        assert_eq!(without(ec(), "kty"), KeyError::Malformed { member: "kty" });
        assert_eq!(without(ec(), "crv"), KeyError::Malformed { member: "crv" });
    }

    #[test]
    fn the_public_half_alone_does_not_sign() {
        assert_eq!(without(ec(), "d"), KeyError::NotPrivate);
        assert_eq!(without(okp(), "d"), KeyError::NotPrivate);
    }

    #[test]
    fn a_public_half_of_another_key_is_refused() {
        assert_eq!(refusal(okp(), "x", json!(ES256_X)), KeyError::PublicMismatch);
        assert_eq!(refusal(ec(), "x", json!(ED25519_X)), KeyError::PublicMismatch);
        assert_eq!(refusal(ec(), "y", json!(ES256_X)), KeyError::PublicMismatch);
        assert_eq!(refusal(ec(), "d", json!(ED25519_D)), KeyError::PublicMismatch);
        assert_eq!(without(okp(), "x"), KeyError::Malformed { member: "x" });
        assert_eq!(without(ec(), "y"), KeyError::Malformed { member: "y" });
    }

    #[test]
    fn a_private_number_has_one_length_and_lies_in_range() {
        let malformed = KeyError::Malformed { member: "d" };
        for bytes in [1, 24, 31, 33, 64] {
            assert_eq!(refusal(ec(), "d", json!(encode(&vec![1; bytes]))), malformed);
            assert_eq!(refusal(okp(), "d", json!(encode(&vec![1; bytes]))), malformed);
        }
        assert_eq!(refusal(ec(), "d", json!(format!("{ES256_D}="))), malformed);
        assert_eq!(refusal(ec(), "d", json!(7)), malformed);
        for d in [[0; 32], [0xff; 32]] {
            assert_eq!(refusal(ec(), "d", json!(encode(&d))), KeyError::PrivateOutOfRange);
        }
    }

    #[test]
    fn use_operations_and_algorithm_must_fit() {
        assert_eq!(refusal(ec(), "use", json!("enc")), KeyError::NotForSignatures);
        for operations in [json!([]), json!(["verify"])] {
            assert_eq!(refusal(ec(), "key_ops", operations), KeyError::OperationMissing { operation: "sign" });
        }
        assert_eq!(refusal(ec(), "key_ops", json!("sign")), KeyError::Malformed { member: "key_ops" });
        let needed = Algorithm::Hs256;
        let mismatch = KeyError::AlgorithmMismatch { algorithm: Quoted::new("HS512"), needed };
        assert_eq!(refusal(oct(64), "alg", json!("HS512")), mismatch);
        assert!(matches!(refusal(ec(), "alg", json!("none")), KeyError::AlgorithmMismatch { .. }));
    }

    #[test]
    fn a_kid_is_visible_ascii() {
        for kid in [String::new(), "a b".into(), "a\r\nb".into(), "ä".into(), "k".repeat(129)] {
            assert_eq!(refusal(okp(), "kid", json!(kid)), KeyError::KidUnfit);
        }
        assert_eq!(refusal(okp(), "kid", json!(1)), KeyError::Malformed { member: "kid" });
    }

    #[test]
    fn what_is_no_jwk_is_refused() {
        let error = |text: &str| SigningKey::from_jwk(text.as_bytes()).unwrap_err();
        assert!(matches!(error("-----BEGIN PRIVATE KEY-----"), KeyError::Json(StrictJsonError::Syntax { .. })));
        assert_eq!(error("[]"), KeyError::Json(StrictJsonError::NotAnObject));
        assert_eq!(error(r#"{"kty":"oct","kty":"EC"}"#), KeyError::Json(StrictJsonError::DuplicateMember));
        assert_eq!(error(&" ".repeat(20_000)), KeyError::TooLarge);
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let key = read(&ec()).unwrap();
        let numbers = decode(ES256_D).iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let shown = format!("{key:?} {key:#?}");
        assert!(!shown.contains(ES256_D) && !shown.contains(&numbers), "{shown}");
        let error = refusal(ec(), "d", json!(format!("{ES256_D}=")));
        assert!(!format!("{error} {error:?}").contains("jpsQ"));
    }

    proptest! {
        #[test]
        fn no_jwk_makes_it_panic(d in "[A-Za-z0-9_=-]{0,50}", kty in "EC|OKP|oct|RSA", crv in "P-256|Ed25519|") {
            let _ = read(&json!({"kty": kty, "crv": crv, "d": d, "k": d, "x": d, "y": ES256_Y}));
        }
    }
}
