//! DPoP proofs (RFC 9449): good ones in a line, and any forgery. Made with `ring`, which the engine does not share.
#![expect(clippy::expect_used, reason = "a test without randomness has failed")]

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value, json};

use crate::keys::{SigningKey, base64url};
use crate::mint::unix_seconds;

/// A proof to be: claims and header are changed until it is signed.
///
/// It starts as a good one without `ath`: for a method and a URI, made now, with a `jti` of its own. `alg` and `jwk` come
/// with the signature unless set before.
#[derive(Debug, Clone)]
pub struct Proof {
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Proof {
    /// A proof for `method` and `uri`.
    pub fn of(method: &str, uri: &str) -> Self {
        let mut jti = [0; 16];
        SystemRandom::new().fill(&mut jti).expect("the system's randomness");
        Self { header: Map::new(), claims: Map::new() }
            .header("typ", json!("dpop+jwt"))
            .claim("jti", json!(base64url(&jti)))
            .claim("htm", json!(method))
            .claim("htu", json!(uri))
            .made(0)
    }

    /// Sets `ath`: the proof goes with this access token.
    pub fn with_token(self, token: &str) -> Self {
        self.claim("ath", json!(base64url(digest(&SHA256, token.as_bytes()).as_ref())))
    }

    /// Sets `iat` to `seconds` from now; negative is in the past.
    pub fn made(self, seconds: i64) -> Self {
        self.claim("iat", json!(unix_seconds().saturating_add(seconds)))
    }

    /// Sets a claim; `null` leaves it out.
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// Sets a header member; `null` leaves it out, and what is set stands whatever key signs.
    pub fn header(mut self, name: &str, value: Value) -> Self {
        self.header.insert(name.to_owned(), value);
        self
    }

    /// The proof, signed by `key`, with the key's public half in it.
    pub fn sign(&self, key: &SigningKey) -> String {
        let input = self.signing_input(key);
        format!("{input}.{}", base64url(&key.sign(input.as_bytes())))
    }

    /// The proof with `signature` as its third part, whatever it is, and `key`'s public half in it.
    pub fn with_signature(&self, key: &SigningKey, signature: &[u8]) -> String {
        format!("{}.{}", self.signing_input(key), base64url(signature))
    }

    fn signing_input(&self, key: &SigningKey) -> String {
        let mut header = self.header.clone();
        header.entry("alg").or_insert_with(|| json!(key.algorithm().name()));
        header.entry("jwk").or_insert_with(|| jwk(key));
        let part = |members: &Map<String, Value>| {
            let mut members = members.clone();
            members.retain(|_, value| !value.is_null());
            base64url(Value::Object(members).to_string().as_bytes())
        };
        format!("{}.{}", part(&header), part(&self.claims))
    }
}

/// The public JWK of `key` and nothing besides, as a proof carries it.
pub fn jwk(key: &SigningKey) -> Value {
    let mut jwk = key.public_jwk();
    if let Some(members) = jwk.as_object_mut() {
        members.retain(|name, _| !matches!(name.as_str(), "kid" | "alg" | "use"));
    }
    jwk
}

/// What binds a token to `key`: the value of `cnf.jkt`, the key's thumbprint (RFC 7638).
pub fn thumbprint(key: &SigningKey) -> String {
    // The members that are left are the required ones, and they are written in the order of their names.
    base64url(digest(&SHA256, jwk(key).to_string().as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::keys::{Algorithm, verifies};

    #[test]
    fn a_proof_verifies_under_the_key_that_it_carries() {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        let proof = Proof::of("GET", "https://api.demo/").sign(&key);
        let (input, signature) = proof.rsplit_once('.').unwrap();
        let header = URL_SAFE_NO_PAD.decode(input.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(verifies(header.get("jwk").unwrap(), Algorithm::Es256, input.as_bytes(), &signature));
    }

    #[test]
    fn the_members_of_a_thumbprint_stand_in_the_order_of_their_names() {
        let key = SigningKey::generate(Algorithm::Es256, "k1");
        assert!(jwk(&key).to_string().starts_with(r#"{"crv":"P-256","kty":"EC","x":""#));
    }
}
