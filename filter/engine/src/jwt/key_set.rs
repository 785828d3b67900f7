//! A provider's keys, and which of them a token may be verified with (RFC 7517, section 5).

use std::fmt;

use serde_json::Value;

use super::algorithm::Algorithm;
use super::error::{Quoted, TokenError};
use super::jwk::{self, SkipReason};
use super::key::{Key, KeyFingerprint, WeakKey};
use crate::strict_json::{self, StrictJsonError};

/// A provider's keys, ready for use.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    ambiguous_kids: Vec<String>,
    any_kid: bool,
}

/// A key of a JWKS that is not used, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in `keys`, counted from 0.
    pub index: usize,
    /// Its `kid`, where it has one.
    pub kid: Option<Quoted>,
    /// Why it is not used.
    pub reason: SkipReason,
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}]", self.index)?;
        if let Some(kid) = &self.kid {
            write!(f, " (kid {kid})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why a document is not a key set at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySetError {
    /// Longer than [`KeySet::MAX_BYTES`].
    TooLarge,
    /// Not strict JSON, or not an object.
    Json(StrictJsonError),
    /// No array `keys`.
    NoKeys,
    /// More than [`KeySet::MAX_KEYS`] keys.
    TooManyKeys,
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the key set is longer than {} bytes", KeySet::MAX_BYTES),
            Self::Json(_) => f.write_str("the key set is not strict JSON"),
            Self::NoKeys => f.write_str("the key set has no array `keys`"),
            Self::TooManyKeys => write!(f, "the key set has more than {} keys", KeySet::MAX_KEYS),
        }
    }
}

impl std::error::Error for KeySetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(cause) => Some(cause),
            _ => None,
        }
    }
}

impl KeySet {
    /// The longest JWKS that is read.
    pub const MAX_BYTES: usize = 256 * 1024;
    /// The most keys that a JWKS may hold, usable or not.
    pub const MAX_KEYS: usize = 64;
    /// The most keys that are tried for a token without `kid`: each costs a whole verification.
    pub const MAX_KEYS_TRIED: usize = 4;

    /// Reads a JWKS. A key that cannot be used is skipped with the reason; an empty set is a set that verifies nothing.
    ///
    /// A `kid` may repeat where each token still finds one key (RFC 7517, section 4.5): two keys with one `kid` are
    /// ambiguous, and neither is used, if there is an algorithm that both serve. The very same key listed twice is used once.
    ///
    /// # Errors
    /// [`KeySetError`] where the document as a whole is unusable.
    pub fn from_jwks(json: &[u8]) -> Result<(Self, Vec<SkippedKey>), KeySetError> {
        if json.len() > Self::MAX_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let document = strict_json::parse_object(json, MAX_DEPTH).map_err(KeySetError::Json)?;
        let entries = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        if entries.len() > Self::MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let mut skipped = Vec::new();
        let mut read: Vec<(usize, Key)> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let kid = entry.get("kid").and_then(Value::as_str).map(Quoted::new);
            match entry.as_object().ok_or(SkipReason::NotAnObject).and_then(jwk::read) {
                Ok(key) if read.iter().any(|(_, earlier)| earlier.fingerprint() == key.fingerprint()) => {
                    skipped.push(SkippedKey { index, kid, reason: SkipReason::Repeated });
                }
                Ok(key) => read.push((index, key)),
                Err(reason) => skipped.push(SkippedKey { index, kid, reason }),
            }
        }
        let clashes: Vec<bool> =
            read.iter().map(|(index, key)| read.iter().any(|(i, other)| i != index && clash(key, other))).collect();
        let mut set = Self::default();
        for ((index, key), ambiguous) in read.into_iter().zip(clashes) {
            if ambiguous {
                let kid = key.kid().map(Quoted::new);
                skipped.push(SkippedKey { index, kid, reason: SkipReason::Ambiguous });
                set.ambiguous_kids.extend(key.kid().map(str::to_owned));
            } else {
                set.keys.push(key);
            }
        }
        skipped.sort_by_key(|key| key.index);
        Ok((set, skipped))
    }

    /// The one shared secret of a provider that signs with HMAC. A token's `kid` is not looked at: there is no choice.
    ///
    /// # Errors
    /// [`WeakKey::SecretTooShort`] below 32 bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, WeakKey> {
        Ok(Self { keys: vec![Key::secret(secret)?], ambiguous_kids: Vec::new(), any_kid: true })
    }

    /// The usable keys, in the order of the document.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether no key is usable.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the key with this fingerprint still stands; if not, what it verified is no longer to be trusted.
    pub fn contains(&self, fingerprint: &KeyFingerprint) -> bool {
        self.keys.iter().any(|key| key.fingerprint() == *fingerprint)
    }

    /// The keys that a token with this algorithm and `kid` may be verified with: at least one, at most
    /// [`Self::MAX_KEYS_TRIED`], and exactly one where the token names its key.
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`], [`TokenError::KeyMismatch`] or [`TokenError::AmbiguousKey`].
    pub fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        kid: Option<&'a str>,
    ) -> Result<impl Iterator<Item = &'a Key>, TokenError> {
        let looked_for = if self.any_kid { None } else { kid };
        let fitting = move |key: &&Key| {
            key.algorithms().contains(algorithm) && looked_for.is_none_or(|kid| key.kid() == Some(kid))
        };
        match (self.keys.iter().filter(fitting).count(), looked_for) {
            (1, _) => {}
            (0, Some(kid)) if self.ambiguous_kids.iter().any(|ambiguous| ambiguous == kid) => {
                return Err(TokenError::AmbiguousKey { kid: Some(Quoted::new(kid)) });
            }
            (0, Some(kid)) if self.keys.iter().any(|key| key.kid() == Some(kid)) => {
                return Err(TokenError::KeyMismatch { kid: Quoted::new(kid) });
            }
            (0, _) => return Err(TokenError::UnknownKey { kid: kid.map(Quoted::new) }),
            (count, None) if count <= Self::MAX_KEYS_TRIED => {}
            (_, _) => return Err(TokenError::AmbiguousKey { kid: looked_for.map(Quoted::new) }),
        }
        Ok(self.keys.iter().filter(fitting))
    }
}

/// A JWKS is an object with an array of objects with arrays; some room for members that we do not know.
const MAX_DEPTH: usize = 8;

/// Whether some token could mean either key.
fn clash(a: &Key, b: &Key) -> bool {
    a.kid().is_some() && a.kid() == b.kid() && !a.algorithms().intersection(b.algorithms()).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::fixtures::{ED25519_X, ES256_X, ES256_Y};
    use proptest::prelude::*;
    use serde_json::json;

    fn secret(fill: &str, kid: Option<&str>) -> Value {
        let mut jwk = json!({"kty": "oct", "k": fill.repeat(86)});
        if let Some(kid) = kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    fn ec(kid: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": ES256_X, "y": ES256_Y, "kid": kid})
    }

    fn load(keys: &[Value]) -> (KeySet, Vec<SkippedKey>) {
        KeySet::from_jwks(json!({"keys": keys}).to_string().as_bytes()).unwrap()
    }

    fn reasons(skipped: Vec<SkippedKey>) -> Vec<(usize, SkipReason)> {
        skipped.into_iter().map(|key| (key.index, key.reason)).collect()
    }

    fn refusal(set: &KeySet, algorithm: Algorithm, kid: Option<&str>) -> &'static str {
        set.candidates(algorithm, kid).map(Iterator::count).unwrap_err().reason().code()
    }

    #[test]
    fn a_bad_key_is_skipped_and_the_good_ones_serve() {
        let (set, skipped) = load(&[json!(1), json!({"kty": "RSA"}), ec("a"), json!({"kid": "b", "kty": "DSA"})]);
        assert_eq!(set.keys().len(), 1);
        let skipped: Vec<String> = skipped.iter().map(ToString::to_string).collect();
        assert_eq!(
            skipped,
            [
                "keys[0]: not a JSON object",
                "keys[1]: member `n` is missing or malformed",
                "keys[3] (kid \"b\"): key type \"DSA\" is not served",
            ]
        );
    }

    #[test]
    fn two_keys_with_one_kid_for_one_algorithm_are_both_refused() {
        let (set, skipped) = load(&[secret("A", Some("k")), secret("Q", Some("k")), secret("g", Some("other"))]);
        assert_eq!(reasons(skipped), [(0, SkipReason::Ambiguous), (1, SkipReason::Ambiguous)]);
        assert_eq!(refusal(&set, Algorithm::Hs256, Some("k")), "token_key_ambiguous");
        assert!(set.candidates(Algorithm::Hs256, Some("other")).is_ok());
    }

    #[test]
    fn a_kid_may_repeat_across_key_types_and_across_algorithms() {
        let (mut a, mut b) = (secret("A", Some("k")), secret("Q", Some("k")));
        a["alg"] = json!("HS256");
        b["alg"] = json!("HS512");
        let (set, skipped) = load(&[a, b, ec("k")]);
        assert_eq!(skipped, []);
        for algorithm in [Algorithm::Hs256, Algorithm::Hs512, Algorithm::Es256] {
            assert_eq!(set.candidates(algorithm, Some("k")).unwrap().count(), 1);
        }
        assert_eq!(refusal(&set, Algorithm::Hs384, Some("k")), "token_key_mismatch");
    }

    #[test]
    fn the_same_key_listed_twice_serves_once() {
        let (set, skipped) = load(&[ec("k"), ec("k")]);
        assert_eq!(reasons(skipped), [(1, SkipReason::Repeated)]);
        assert_eq!(set.candidates(Algorithm::Es256, Some("k")).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_is_not_for_signatures_makes_nothing_ambiguous() {
        let mut encryption = ec("k");
        encryption["use"] = json!("enc");
        let (set, skipped) = load(&[encryption, ec("k")]);
        assert_eq!(reasons(skipped), [(0, SkipReason::NotForSignatures)]);
        assert!(set.candidates(Algorithm::Es256, Some("k")).is_ok());
    }

    #[test]
    fn a_kid_finds_only_its_own_key() {
        let (set, _) = load(&[ec("a"), secret("A", None), json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X})]);
        assert_eq!(refusal(&set, Algorithm::Es256, Some("b")), "token_key_unknown");
        assert_eq!(refusal(&set, Algorithm::Es256, Some("A")), "token_key_unknown");
        assert_eq!(refusal(&set, Algorithm::Es256, Some("")), "token_key_unknown");
        // A key without kid is not the key that the token names.
        assert_eq!(refusal(&set, Algorithm::EdDsa, Some("x")), "token_key_unknown");
        assert_eq!(refusal(&set, Algorithm::Hs256, Some("a")), "token_key_mismatch");
    }

    #[test]
    fn without_a_kid_the_keys_that_fit_are_tried_up_to_four() {
        let keys: Vec<Value> = ["A", "Q", "g", "w", "B"]
            .into_iter()
            .map(|fill| json!({"kty": "oct", "k": format!("{}AA", fill.repeat(84))}))
            .collect();
        let (four, _) = load(keys.get(..4).unwrap());
        assert_eq!(four.candidates(Algorithm::Hs256, None).unwrap().count(), 4);
        let (five, _) = load(&keys);
        assert_eq!(refusal(&five, Algorithm::Hs256, None), "token_key_ambiguous");
        assert_eq!(refusal(&five, Algorithm::Rs256, None), "token_key_unknown");
    }

    #[test]
    fn an_inline_secret_serves_whatever_kid_a_token_names_and_hmac_only() {
        let set = KeySet::from_secret(&[7; 64]).unwrap();
        assert_eq!(set.candidates(Algorithm::Hs512, Some("any")).unwrap().count(), 1);
        assert_eq!(refusal(&set, Algorithm::Rs256, Some("any")), "token_key_unknown");
        assert_eq!(KeySet::from_secret(b"changeit").unwrap_err(), WeakKey::SecretTooShort);
    }

    #[test]
    fn a_withdrawn_key_is_no_longer_contained() {
        let (before, _) = load(&[ec("a"), secret("A", Some("b"))]);
        let (after, _) = load(&[secret("A", Some("b"))]);
        let fingerprints: Vec<_> = before.keys().iter().map(Key::fingerprint).collect();
        assert!(!after.contains(&fingerprints[0]));
        assert!(after.contains(&fingerprints[1]));
    }

    #[test]
    fn a_document_that_is_no_key_set_is_refused() {
        let error = |json: &str| KeySet::from_jwks(json.as_bytes()).unwrap_err();
        assert_eq!(error("{}"), KeySetError::NoKeys);
        assert_eq!(error(r#"{"keys":{}}"#), KeySetError::NoKeys);
        assert_eq!(error("[]"), KeySetError::Json(StrictJsonError::NotAnObject));
        assert_eq!(error(r#"{"keys":[],"keys":[]}"#), KeySetError::Json(StrictJsonError::DuplicateMember));
        assert!(matches!(error("<html>"), KeySetError::Json(StrictJsonError::Syntax { .. })));
        assert_eq!(error(&" ".repeat(KeySet::MAX_BYTES + 1)), KeySetError::TooLarge);
        assert_eq!(error(&json!({"keys": vec![1; 65]}).to_string()), KeySetError::TooManyKeys);
        assert!(KeySet::from_jwks(b"{\"keys\":[]}").unwrap().0.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(json in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeySet::from_jwks(&json);
        }

        #[test]
        fn no_key_members_make_it_panic(
            kty in "RSA|EC|OKP|oct", crv in "P-256|P-384|Ed25519", a in "[A-Za-z0-9_-]{0,90}", b in "[A-Za-z0-9_-]{0,90}",
        ) {
            let key = json!({"kty": kty, "crv": crv, "n": a, "e": b, "x": a, "y": b, "k": a});
            let _ = KeySet::from_jwks(json!({"keys": [key]}).to_string().as_bytes());
        }
    }
}
