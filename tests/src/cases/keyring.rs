//! The keys of a run, by name: made when they are first asked for, and the same ones from then on.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use crate::keys::{Algorithm, SigningKey, base64url};

/// The secret of the key `secret`, as text: what an operator puts into an environment variable.
pub const SECRET: &str = "a shared secret of the cases, sixty-four bytes or more, so that HS512 takes it too";

/// The key `name`: an algorithm in lower case, then anything after a dash (`es256`, `rs256-mallory`). Its `kid` is its name.
///
/// # Errors
/// The name begins with no algorithm.
pub fn key(name: &str) -> Result<Arc<SigningKey>> {
    made(name).map(|(key, _)| key)
}

/// The private number of the ES256 key `name` (RFC 7518, 6.2.2): what a gateway signs with.
///
/// # Errors
/// There is no such key, or it is of another algorithm.
pub fn private_number(name: &str) -> Result<String> {
    made(name)?.1.ok_or_else(|| anyhow!("{name:?} is no ES256 key"))
}

/// A key, with its private number where it is one of ES256.
type Made = (Arc<SigningKey>, Option<String>);

fn made(name: &str) -> Result<Made> {
    static KEYS: LazyLock<Mutex<HashMap<String, Made>>> = LazyLock::new(Mutex::default);
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = keys.get(name) {
        return Ok(made.clone());
    }
    let wanted = name.split('-').next().unwrap_or_default();
    let (key, number) = if name == "secret" {
        (SigningKey::from_secret(Algorithm::Hs256, name, SECRET.as_bytes()), None)
    } else if wanted == "es256" {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let document = document.map_err(|_| anyhow!("no EC key can be made"))?;
        let number = document.as_ref().get(PRIVATE_NUMBER).map(base64url);
        (SigningKey::es256_from_pkcs8(name, document.as_ref()), number)
    } else {
        (SigningKey::generate(algorithm(wanted)?, name), None)
    };
    let made = (Arc::new(key), number);
    keys.insert(name.to_owned(), made.clone());
    Ok(made)
}

/// Where the private number stands in the PKCS #8 document of a P-256 key (RFC 5958, RFC 5915).
const PRIVATE_NUMBER: std::ops::Range<usize> = 36..68;

/// The algorithm of this name, in any case.
///
/// # Errors
/// There is none.
pub fn algorithm(name: &str) -> Result<Algorithm> {
    let found = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| anyhow!("no algorithm {name:?}"))
}

/// The thumbprint of the key `name` (RFC 7638), as `cnf.jkt` has it; of EC keys alone.
///
/// # Errors
/// There is no such key.
pub fn thumbprint(name: &str) -> Result<String> {
    let jwk = key(name)?.public_jwk();
    let member = |name: &str| jwk.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let text =
        format!("{{\"crv\":\"{}\",\"kty\":\"EC\",\"x\":\"{}\",\"y\":\"{}\"}}", member("crv"), member("x"), member("y"));
    Ok(base64url(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref()))
}
