//! One JSON Web Key (RFC 7517, section 4; RFC 7518, section 6; RFC 8037, section 2) to one usable key, or the reason why
//! not.

use std::fmt;

use serde_json::{Map, Value};

use super::algorithm::{Algorithm, AlgorithmSet};
use super::base64url;
use super::error::Quoted;
use super::key::{Key, WeakKey};

/// Why a key of a key set is not used. The rest of the set is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// The entry is not a JSON object.
    NotAnObject,
    /// A member is missing, or not of the type or the exact encoding that it must have.
    Malformed {
        /// The member's name.
        member: &'static str,
    },
    /// `use` is not `sig`.
    NotForSignatures,
    /// `key_ops` does not hold `verify`.
    NotForVerification,
    /// A `kty` or `crv` that the gateway does not serve.
    TypeNotServed {
        /// What the entry names.
        key_type: Quoted,
    },
    /// An `alg` that the gateway does not serve, or that needs another type of key.
    AlgorithmNotServed {
        /// What the entry names.
        algorithm: Quoted,
    },
    /// The key's numbers cannot be used.
    Weak(WeakKey),
    /// Another key of the set has the same `kid` and serves the same algorithm: neither is used.
    Ambiguous,
    /// The same key stands in the set already.
    Repeated,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("not a JSON object"),
            Self::Malformed { member } => write!(f, "member `{member}` is missing or malformed"),
            Self::NotForSignatures => f.write_str("`use` is not `sig`"),
            Self::NotForVerification => f.write_str("`key_ops` does not hold `verify`"),
            Self::TypeNotServed { key_type } => write!(f, "key type {key_type} is not served"),
            Self::AlgorithmNotServed { algorithm } => write!(f, "algorithm {algorithm} does not fit this key"),
            Self::Weak(cause) => cause.fmt(f),
            Self::Ambiguous => f.write_str("another key has the same kid and serves the same algorithm"),
            Self::Repeated => f.write_str("the same key stands in the set already"),
        }
    }
}

/// The key that a JWK stands for, from its public members only.
pub(super) fn read(jwk: &Map<String, Value>) -> Result<Key, SkipReason> {
    let key_type = text(jwk, "kty")?.ok_or(SkipReason::Malformed { member: "kty" })?;
    check_use(jwk)?;
    check_operations(jwk, key_type)?;
    let kid = text(jwk, "kid")?;
    let key = match key_type {
        "RSA" => Key::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?),
        "EC" => match curve(jwk)? {
            "P-256" => Key::p256(&bytes(jwk, "x")?, &bytes(jwk, "y")?),
            "P-384" => Key::p384(&bytes(jwk, "x")?, &bytes(jwk, "y")?),
            other => return Err(SkipReason::TypeNotServed { key_type: Quoted::new(other) }),
        },
        "OKP" => match curve(jwk)? {
            "Ed25519" => Key::ed25519(&bytes(jwk, "x")?),
            other => return Err(SkipReason::TypeNotServed { key_type: Quoted::new(other) }),
        },
        "oct" => Key::secret(&bytes(jwk, "k")?),
        other => return Err(SkipReason::TypeNotServed { key_type: Quoted::new(other) }),
    }
    .map_err(SkipReason::Weak)?;
    Ok(bind_to_algorithm(key, text(jwk, "alg")?)?.with_kid(kid.map(str::to_owned)))
}

fn check_use(jwk: &Map<String, Value>) -> Result<(), SkipReason> {
    match text(jwk, "use")? {
        None | Some("sig") => Ok(()),
        Some(_) => Err(SkipReason::NotForSignatures),
    }
}

fn check_operations(jwk: &Map<String, Value>, key_type: &str) -> Result<(), SkipReason> {
    const MALFORMED: SkipReason = SkipReason::Malformed { member: "key_ops" };
    let Some(operations) = jwk.get("key_ops") else { return Ok(()) };
    let operations = operations.as_array().ok_or(MALFORMED)?;
    let names: Vec<&str> = operations.iter().map(Value::as_str).collect::<Option<_>>().ok_or(MALFORMED)?;
    // RFC 7517, 4.3: an operation is not named twice.
    if names.iter().enumerate().any(|(index, name)| names.iter().skip(index.saturating_add(1)).any(|n| n == name)) {
        return Err(MALFORMED);
    }
    // Who shares a secret to sign with shares it to verify with.
    if names.contains(&"verify") || (key_type == "oct" && names.contains(&"sign")) {
        Ok(())
    } else {
        Err(SkipReason::NotForVerification)
    }
}

fn bind_to_algorithm(key: Key, name: Option<&str>) -> Result<Key, SkipReason> {
    let Some(name) = name else { return Ok(key) };
    let refused = || SkipReason::AlgorithmNotServed { algorithm: Quoted::new(name) };
    let algorithm: Algorithm = name.parse().map_err(|_| refused())?;
    let is_secret = key.spki_der().is_empty();
    let bound = key.only_for(AlgorithmSet::only(algorithm));
    if !bound.algorithms().is_empty() {
        Ok(bound)
    } else if is_secret && algorithm.key_type() == super::algorithm::KeyType::Secret {
        Err(SkipReason::Weak(WeakKey::SecretTooShort))
    } else {
        Err(refused())
    }
}

fn curve(jwk: &Map<String, Value>) -> Result<&str, SkipReason> {
    text(jwk, "crv")?.ok_or(SkipReason::Malformed { member: "crv" })
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Result<Option<&'a str>, SkipReason> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(SkipReason::Malformed { member }),
    }
}

fn bytes(jwk: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, SkipReason> {
    text(jwk, member)?
        .and_then(|text| base64url::decode(text.as_bytes()))
        .filter(|bytes| !bytes.is_empty())
        .ok_or(SkipReason::Malformed { member })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::fixtures::{ES256_X, ES256_Y};
    use serde_json::json;

    fn p256() -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y})
    }

    fn oct(bytes: usize) -> Value {
        json!({"kty": "oct", "k": "A".repeat((bytes * 8).div_ceil(6))})
    }

    fn read_with(mut jwk: Value, member: &str, value: Value) -> Result<Key, SkipReason> {
        jwk[member] = value;
        read(jwk.as_object().unwrap())
    }

    #[test]
    fn a_key_is_used_for_signatures_only() {
        assert!(read_with(p256(), "use", json!("sig")).is_ok());
        assert_eq!(read_with(p256(), "use", json!("enc")).unwrap_err(), SkipReason::NotForSignatures);
        assert_eq!(read_with(p256(), "use", json!("SIG")).unwrap_err(), SkipReason::NotForSignatures);
        assert_eq!(read_with(p256(), "use", json!(null)).unwrap_err(), SkipReason::Malformed { member: "use" });
    }

    #[test]
    fn key_ops_must_hold_verify() {
        assert!(read_with(p256(), "key_ops", json!(["verify"])).is_ok());
        assert!(read_with(p256(), "key_ops", json!(["sign", "verify"])).is_ok());
        assert!(read_with(oct(32), "key_ops", json!(["sign"])).is_ok());
        for operations in [json!([]), json!(["sign"]), json!(["Verify"]), json!(["encrypt", "wrapKey"])] {
            assert_eq!(read_with(p256(), "key_ops", operations).unwrap_err(), SkipReason::NotForVerification);
        }
        for operations in [json!("verify"), json!(["verify", 1]), json!(["verify", "verify"]), json!({"verify": 1})] {
            let malformed = SkipReason::Malformed { member: "key_ops" };
            assert_eq!(read_with(p256(), "key_ops", operations).unwrap_err(), malformed);
        }
    }

    #[test]
    fn a_key_with_alg_serves_that_algorithm_only() {
        let bound = read_with(oct(64), "alg", json!("HS384")).unwrap();
        assert_eq!(bound.algorithms(), AlgorithmSet::only(Algorithm::Hs384));
        for algorithm in ["HS256", "ES384", "RS256", "none", "ECDH-ES", "es256", ""] {
            let reason = read_with(p256(), "alg", json!(algorithm)).unwrap_err();
            assert_eq!(reason, SkipReason::AlgorithmNotServed { algorithm: Quoted::new(algorithm) });
        }
        assert_eq!(read_with(p256(), "alg", json!(7)).unwrap_err(), SkipReason::Malformed { member: "alg" });
    }

    #[test]
    fn a_secret_must_be_as_long_as_its_algorithms_hash() {
        let too_short = SkipReason::Weak(WeakKey::SecretTooShort);
        assert_eq!(read_with(oct(32), "alg", json!("HS512")).unwrap_err(), too_short);
        assert_eq!(read_with(oct(48), "alg", json!("HS512")).unwrap_err(), too_short);
        assert!(read_with(oct(64), "alg", json!("HS512")).is_ok());
    }

    #[test]
    fn kty_and_crv_decide_the_type_and_must_fit() {
        assert!(matches!(read_with(p256(), "crv", json!("P-521")), Err(SkipReason::TypeNotServed { .. })));
        assert!(matches!(read_with(p256(), "crv", json!("secp256k1")), Err(SkipReason::TypeNotServed { .. })));
        assert_eq!(read_with(p256(), "crv", json!("P-384")).unwrap_err(), SkipReason::Weak(WeakKey::NotOnCurve));
        assert!(matches!(read_with(p256(), "kty", json!("OKP")), Err(SkipReason::TypeNotServed { .. })));
        assert!(matches!(read_with(p256(), "kty", json!("ec")), Err(SkipReason::TypeNotServed { .. })));
        assert_eq!(read_with(p256(), "kty", json!("RSA")).unwrap_err(), SkipReason::Malformed { member: "n" });
        assert_eq!(read_with(p256(), "kty", json!(1)).unwrap_err(), SkipReason::Malformed { member: "kty" });
    }

    #[test]
    fn numbers_are_exact_base64url() {
        for x in [json!(format!("{ES256_X}=")), json!(ES256_X.replace('v', "/")), json!(""), json!(1), json!(null)] {
            assert_eq!(read_with(p256(), "x", x).unwrap_err(), SkipReason::Malformed { member: "x" });
        }
    }

    #[test]
    fn a_coordinate_of_another_length_is_refused() {
        let padded = format!("AA{ES256_X}");
        assert!(read_with(p256(), "x", json!(padded)).is_err());
    }

    #[test]
    fn private_members_and_unknown_members_change_nothing() {
        let plain = read(p256().as_object().unwrap()).unwrap();
        let private = read_with(p256(), "d", json!("not even base64url!")).unwrap();
        assert_eq!(plain.fingerprint(), private.fingerprint());
        assert!(read_with(p256(), "x5c", json!(["garbage"])).is_ok());
    }

    #[test]
    fn a_kid_is_a_string() {
        assert_eq!(read_with(p256(), "kid", json!("")).unwrap().kid(), Some(""));
        assert_eq!(read_with(p256(), "kid", json!(1)).unwrap_err(), SkipReason::Malformed { member: "kid" });
    }
}
