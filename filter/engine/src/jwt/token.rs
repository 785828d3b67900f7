//! A token as a client sent it: taken apart strictly, believed in nothing (RFC 7515, section 5.2; RFC 7519, section 7.2).

use std::fmt;

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::base64url;
use super::error::{Quoted, TokenError, TokenPart};
use crate::strict_json;

/// A compact JWS that is well-formed and carries claims, and nothing more: whoever sent it may have made it up.
///
/// The only way to a [`VerifiedToken`](super::VerifiedToken) is [`Verifier::verify`](super::Verifier::verify). `jwk`,
/// `jku`, `x5u`, `x5c` and the like are never read: a token does not say which key to trust.
pub struct UntrustedToken<'a> {
    pub(super) signing_input: &'a [u8],
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: Result<Algorithm, Quoted>,
    pub(super) kid: Option<String>,
    pub(super) token_type: Option<String>,
    pub(super) claims: Map<String, Value>,
}

/// The longest token that is read where the configuration names no other limit, in bytes.
pub const DEFAULT_MAX_TOKEN_BYTES: usize = 16 * 1024;

impl<'a> UntrustedToken<'a> {
    /// Takes `token` apart; it may be at most `max_bytes` long.
    ///
    /// There is one reading only: three non-empty parts of exact base64url, header and claims as JSON objects without
    /// duplicate members, nested at most 8 and 16 deep; `alg` a string; `kid`, `typ` and `cty` strings where present; no
    /// `crit`, and no `b64` but true.
    ///
    /// # Errors
    /// [`TokenError`] with the first thing that is wrong.
    pub fn parse(token: &'a [u8], max_bytes: usize) -> Result<Self, TokenError> {
        Self::parse_with_header(token, max_bytes).map(|(token, _)| token)
    }

    /// The same, with the whole header: for [`SelfSigned`](super::self_signed::SelfSigned), and for no one else.
    pub(super) fn parse_with_header(
        token: &'a [u8],
        max_bytes: usize,
    ) -> Result<(Self, Map<String, Value>), TokenError> {
        if token.len() > max_bytes {
            return Err(TokenError::TooLarge { max_bytes });
        }
        let (signing_input, header, payload, signature) = split(token)?;
        let header = object(TokenPart::Header, header, MAX_HEADER_DEPTH)?;
        check_extensions(&header)?;
        let algorithm = text(&header, "alg")?.ok_or(TokenError::Header { parameter: "alg" })?;
        let algorithm = algorithm.parse().map_err(|_| Quoted::new(algorithm));
        let kid = text(&header, "kid")?.map(str::to_owned);
        let token_type = text(&header, "typ")?.map(str::to_owned);
        text(&header, "cty")?;
        let signature = base64url::decode(signature).ok_or(TokenError::Base64 { part: TokenPart::Signature })?;
        let claims = object(TokenPart::Payload, payload, MAX_CLAIMS_DEPTH)?;
        Ok((Self { signing_input, signature, algorithm, kid, token_type, claims }, header))
    }

    /// The algorithm that the token claims to be signed with; `None` for `none` and for any that is not served.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm.as_ref().ok().copied()
    }

    /// The name of the key that the token claims to be signed with.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The header's `typ`, as it stands there.
    pub fn token_type(&self) -> Option<&str> {
        self.token_type.as_deref()
    }

    /// What the token says its issuer is: good for picking the provider that will judge it, for nothing else.
    pub fn unverified_issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// The client that the token says it was issued to: good for counting what is tried in its name, for nothing else.
    pub fn unverified_client(&self) -> Option<&str> {
        ["client_id", "azp"].into_iter().find_map(|name| self.claims.get(name).and_then(Value::as_str))
    }

    /// The subject that the token names: good for the same.
    pub fn unverified_subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }
}

impl fmt::Debug for UntrustedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntrustedToken").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Room for an embedded `jwk` with its certificates, which are ignored.
const MAX_HEADER_DEPTH: usize = 8;
/// Real tokens nest roles in clients in realms: four levels.
const MAX_CLAIMS_DEPTH: usize = 16;

/// Signing input, header, payload and signature.
type Parts<'a> = (&'a [u8], &'a [u8], &'a [u8], &'a [u8]);

fn split(token: &[u8]) -> Result<Parts<'_>, TokenError> {
    let dots = token.iter().filter(|byte| **byte == b'.').count();
    if dots == 4 {
        return Err(TokenError::Encrypted);
    }
    if dots != 2 {
        return Err(TokenError::NotCompactJws);
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(TokenError::NotCompactJws);
    };
    if header.is_empty() || payload.is_empty() || signature.is_empty() {
        return Err(TokenError::NotCompactJws);
    }
    let signed_bytes = header.len().saturating_add(payload.len()).saturating_add(1);
    let signing_input = token.get(..signed_bytes).ok_or(TokenError::NotCompactJws)?;
    Ok((signing_input, header, payload, signature))
}

fn object(part: TokenPart, encoded: &[u8], max_depth: usize) -> Result<Map<String, Value>, TokenError> {
    let json = base64url::decode(encoded).ok_or(TokenError::Base64 { part })?;
    strict_json::parse_object(&json, max_depth).map_err(|cause| TokenError::Json { part, cause })
}

/// The gateway understands no extension, so a header that demands one is refused (RFC 7515, 4.1.11; RFC 7797, 6).
fn check_extensions(header: &Map<String, Value>) -> Result<(), TokenError> {
    if header.contains_key("crit") {
        return Err(TokenError::CriticalHeader { parameter: "crit" });
    }
    match header.get("b64") {
        None | Some(Value::Bool(true)) => Ok(()),
        Some(_) => Err(TokenError::CriticalHeader { parameter: "b64" }),
    }
}

fn text<'h>(header: &'h Map<String, Value>, parameter: &'static str) -> Result<Option<&'h str>, TokenError> {
    match header.get(parameter) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Header { parameter }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::fixtures::{RFC7515_A1_TOKEN, encode};
    use proptest::prelude::*;

    fn refusal(token: &str) -> TokenError {
        UntrustedToken::parse(token.as_bytes(), DEFAULT_MAX_TOKEN_BYTES).unwrap_err()
    }

    fn with_header(header: &str) -> String {
        format!("{}.{}.AA", encode(header.as_bytes()), encode(b"{}"))
    }

    fn with_claims(claims: &str) -> String {
        format!("{}.{}.AA", encode(br#"{"alg":"HS256"}"#), encode(claims.as_bytes()))
    }

    #[test]
    fn a_well_formed_token_shows_what_it_claims() {
        let token = UntrustedToken::parse(RFC7515_A1_TOKEN.as_bytes(), DEFAULT_MAX_TOKEN_BYTES).unwrap();
        assert_eq!(token.algorithm(), Some(Algorithm::Hs256));
        assert_eq!(token.token_type(), Some("JWT"));
        assert_eq!(token.kid(), None);
        assert_eq!(token.unverified_issuer(), Some("joe"));
        assert_eq!(token.signing_input.len() + 1 + 43, RFC7515_A1_TOKEN.len());
    }

    #[test]
    fn a_token_over_the_limit_is_not_looked_at() {
        let token = RFC7515_A1_TOKEN.as_bytes();
        assert!(UntrustedToken::parse(token, token.len()).is_ok());
        let max_bytes = token.len() - 1;
        assert_eq!(UntrustedToken::parse(token, max_bytes).unwrap_err(), TokenError::TooLarge { max_bytes });
        assert_eq!(refusal(&"....".repeat(5000)).reason().code(), "token_too_large");
    }

    #[test]
    fn any_other_number_of_parts_is_refused() {
        for token in ["", ".", "..", "...", "a", "a.b", "a..c", ".b.c", "a.b.", "a.b.c.d", "a.b.c.d.e.f", "a.b.c."] {
            assert_eq!(refusal(token), TokenError::NotCompactJws, "{token}");
        }
        assert_eq!(refusal("a.b.c.d.e"), TokenError::Encrypted);
        assert_eq!(refusal("...."), TokenError::Encrypted);
    }

    #[test]
    fn base64url_is_exact_in_every_part() {
        let good: Vec<&str> = RFC7515_A1_TOKEN.split('.').collect();
        let parts = [TokenPart::Header, TokenPart::Payload, TokenPart::Signature];
        for (index, part) in parts.into_iter().enumerate() {
            for bad in [
                format!("{}=", good[index]),
                format!("{} ", good[index]),
                format!("\n{}", good[index]),
                format!("{}A", &good[index].replace('e', "+")),
                format!("{}AAA?", good[index]),
                "A".to_owned(),
                "AB".to_owned(),
            ] {
                let mut parts = good.clone();
                parts[index] = &bad;
                let error = refusal(&parts.join("."));
                assert_eq!(error, TokenError::Base64 { part }, "{bad}");
            }
        }
    }

    #[test]
    fn a_header_or_claims_that_are_no_plain_object_are_refused() {
        for json in ["[]", "null", "\"{}\"", "1", " ", "{", "{}{}", "{\"alg\":\"HS256\",\"alg\":\"HS256\"}"] {
            let error = refusal(&with_header(json));
            assert!(matches!(error, TokenError::Json { part: TokenPart::Header, .. }), "{json}");
            let error = refusal(&with_claims(json));
            assert!(matches!(error, TokenError::Json { part: TokenPart::Payload, .. }), "{json}");
        }
    }

    #[test]
    fn a_duplicate_claim_is_refused_however_deep() {
        for claims in [r#"{"sub":"a","sub":"b"}"#, r#"{"a":[{"b":1,"b":1}]}"#, r#"{"exp":1,"\u0065xp":2}"#] {
            assert_eq!(refusal(&with_claims(claims)).reason().code(), "token_malformed");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(UntrustedToken::parse(with_claims(&nested(16)).as_bytes(), 1000).is_ok());
        assert!(matches!(refusal(&with_claims(&nested(17))), TokenError::Json { part: TokenPart::Payload, .. }));
        assert!(matches!(refusal(&with_header(&nested(9))), TokenError::Json { part: TokenPart::Header, .. }));
    }

    #[test]
    fn alg_is_a_string_and_kid_typ_cty_are_strings_where_present() {
        for (header, parameter) in [
            ("{}", "alg"),
            (r#"{"alg":null}"#, "alg"),
            (r#"{"alg":["HS256"]}"#, "alg"),
            (r#"{"alg":256}"#, "alg"),
            (r#"{"ALG":"HS256"}"#, "alg"),
            (r#"{"alg":"HS256","kid":1}"#, "kid"),
            (r#"{"alg":"HS256","kid":null}"#, "kid"),
            (r#"{"alg":"HS256","typ":["JWT"]}"#, "typ"),
            (r#"{"alg":"HS256","cty":{}}"#, "cty"),
        ] {
            assert_eq!(refusal(&with_header(header)), TokenError::Header { parameter }, "{header}");
        }
    }

    #[test]
    fn an_extension_that_the_header_demands_is_refused() {
        for crit in [r#"["exp"]"#, r#"["b64"]"#, "[]", "null", "\"exp\"", "{}", r#"["alg"]"#, "[1]"] {
            let error = refusal(&with_header(&format!(r#"{{"alg":"HS256","exp":1,"crit":{crit}}}"#)));
            assert_eq!(error, TokenError::CriticalHeader { parameter: "crit" }, "{crit}");
        }
        for b64 in ["false", "null", "\"true\"", "1"] {
            let error = refusal(&with_header(&format!(r#"{{"alg":"HS256","b64":{b64}}}"#)));
            assert_eq!(error, TokenError::CriticalHeader { parameter: "b64" }, "{b64}");
        }
        assert!(UntrustedToken::parse(with_header(r#"{"alg":"HS256","b64":true}"#).as_bytes(), 1000).is_ok());
    }

    #[test]
    fn none_and_unknown_algorithms_are_no_algorithm() {
        for name in ["none", "NONE", "nOnE", "HS256 ", "hs256", "RSA-OAEP", ""] {
            let token = with_header(&format!(r#"{{"alg":"{name}"}}"#));
            assert_eq!(UntrustedToken::parse(token.as_bytes(), 1000).unwrap().algorithm(), None, "{name}");
        }
    }

    #[test]
    fn an_issuer_of_another_type_picks_no_provider() {
        let token = with_claims(r#"{"iss":["https://idp.example"]}"#);
        assert_eq!(UntrustedToken::parse(token.as_bytes(), 1000).unwrap().unverified_issuer(), None);
    }

    #[test]
    fn debug_shows_neither_claims_nor_signature() {
        let token = UntrustedToken::parse(RFC7515_A1_TOKEN.as_bytes(), 1000).unwrap();
        assert_eq!(format!("{token:?}"), "UntrustedToken { algorithm: Ok(Hs256), .. }");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(token in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = UntrustedToken::parse(&token, 256);
        }

        #[test]
        fn no_header_and_claims_make_it_panic(header in "\\PC{0,40}", claims in "\\PC{0,40}") {
            let token = format!("{}.{}.AA", encode(header.as_bytes()), encode(claims.as_bytes()));
            let _ = UntrustedToken::parse(token.as_bytes(), 1000);
        }
    }
}
