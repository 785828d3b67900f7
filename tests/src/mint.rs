//! Tokens: good ones in a line, and any forgery, for every part can be set as it shall stand.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::keys::{Algorithm, SigningKey, base64url};

/// The issuer of the demo and of the tests' default configuration.
pub const ISSUER: &str = "https://idp.demo";
/// The audience of the demo and of the tests' default configuration.
pub const AUDIENCE: &str = "demo-api";

/// A token to be: claims and header are changed until it is signed.
///
/// It starts as a good one: [`ISSUER`], [`AUDIENCE`], issued now, good for ten minutes. `alg`, `kid` and `typ: JWT`
/// come with the signature unless set before.
#[derive(Debug, Clone)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Token {
    /// A good token of `subject`.
    pub fn of(subject: &str) -> Self {
        let token = Self { header: Map::new(), claims: Map::new() };
        token
            .claim("iss", json!(ISSUER))
            .claim("aud", json!(AUDIENCE))
            .claim("sub", json!(subject))
            .claim("iat", json!(unix_seconds()))
            .expires_in(600)
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Takes a claim away.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a header member; `alg` and `kid` set here stand, whatever key signs.
    pub fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    /// Sets `scope`: names separated by spaces (RFC 8693, section 4.2).
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", json!(scope))
    }

    /// Sets `exp` to `seconds` from now; negative is in the past.
    pub fn expires_in(self, seconds: i64) -> Self {
        self.claim("exp", json!(unix_seconds().saturating_add(seconds)))
    }

    /// Sets `nbf` to `seconds` from now.
    pub fn not_before(self, seconds: i64) -> Self {
        self.claim("nbf", json!(unix_seconds().saturating_add(seconds)))
    }

    /// The token, signed by `key`.
    pub fn sign(&self, key: &SigningKey) -> String {
        self.sign_as(key, key.algorithm())
    }

    /// The token, signed by `key` under another algorithm of the same key type.
    pub fn sign_as(&self, key: &SigningKey, algorithm: Algorithm) -> String {
        let input = self.signing_input(algorithm.name(), Some(key.kid()));
        let signature = key.sign_as(algorithm, input.as_bytes());
        format!("{input}.{}", base64url(&signature))
    }

    /// The token with `signature` as its third part, whatever it is; `alg` as set by [`Token::header`], else `none`.
    pub fn with_signature(&self, signature: &[u8]) -> String {
        format!("{}.{}", self.signing_input("none", None), base64url(signature))
    }

    /// Header and claims in base64url, joined by a dot: what a signature covers.
    fn signing_input(&self, algorithm: &str, kid: Option<&str>) -> String {
        let mut header = self.header.clone();
        header.entry("alg").or_insert_with(|| json!(algorithm));
        header.entry("typ").or_insert_with(|| json!("JWT"));
        if let Some(kid) = kid {
            header.entry("kid").or_insert_with(|| json!(kid));
        }
        // `null` stands for "leave it out", so that a test can ask for a token without `kid` or `typ`.
        header.retain(|_, value| !value.is_null());
        signing_input(&Value::Object(header).to_string(), &Value::Object(self.claims.clone()).to_string())
    }
}

/// A correctly signed token of exactly these texts: duplicate members, broken JSON, odd whitespace.
pub fn sign_raw(header: &str, claims: &str, key: &SigningKey) -> String {
    let input = signing_input(header, claims);
    let signature = key.sign(input.as_bytes());
    format!("{input}.{}", base64url(&signature))
}

/// Now, in seconds since 1970.
pub fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn signing_input(header: &str, claims: &str) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::keys::verifies;

    fn header_of(token: &str) -> Value {
        let part = token.split('.').next().unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn the_signature_covers_header_and_claims() {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let token = Token::of("alice").scope("read_orders").sign(&key);
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(verifies(&key.public_jwk(), Algorithm::Es256, input.as_bytes(), &signature));
        assert_eq!(header_of(&token), json!({"alg": "ES256", "kid": "k1", "typ": "JWT"}));
    }

    #[test]
    fn a_forger_sets_the_header_as_it_likes() {
        let key = SigningKey::generate(Algorithm::Hs256, "k1");
        let token = Token::of("mallory").header("alg", json!("none")).header("kid", Value::Null).sign(&key);
        assert_eq!(header_of(&token), json!({"alg": "none", "typ": "JWT"}));
        assert!(Token::of("mallory").with_signature(b"").ends_with('.'));
    }
}
