//! Why a token is refused: for the log, for the counters, and for the client.

use std::fmt;
use std::time::Duration;

use crate::answer::Reason;
use crate::strict_json::StrictJsonError;
use crate::time::UnixNanos;

/// Why a token is refused.
///
/// `Display` is for the log: precise, and never the token or its signature; what it shows of a header or a claim is
/// cut short and escaped ([`Quoted`]). [`reason_code`](Self::reason_code) is for counters and `problem+json`;
/// [`reason`](Self::reason) is all that the client learns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than the provider allows.
    TooLarge {
        /// The limit in bytes.
        max_bytes: usize,
    },
    /// Not three non-empty parts with dots between (RFC 7515, section 7.1).
    NotCompactJws,
    /// Five parts: an encrypted token (RFC 7516), which the gateway does not open.
    Encrypted,
    /// A part is not exact base64url without padding.
    Base64 {
        /// Which part.
        part: TokenPart,
    },
    /// A part is not one JSON object in its only reading.
    Json {
        /// Which part.
        part: TokenPart,
        /// What is wrong with it.
        cause: StrictJsonError,
    },
    /// A header parameter is missing or of the wrong type.
    Header {
        /// The parameter's name.
        parameter: &'static str,
    },
    /// The header demands an extension (`crit`, or `b64` with another value than true); the gateway understands none.
    CriticalHeader {
        /// The parameter that demands it.
        parameter: &'static str,
    },
    /// The provider does not list this algorithm. `none` ends here too.
    AlgorithmRefused {
        /// What the header names.
        algorithm: Quoted,
    },
    /// The provider does not accept this `typ`.
    TypeRefused {
        /// What the header names; nothing where `typ` is absent.
        token_type: Option<Quoted>,
    },
    /// The key set has no key for this token; a newer key set might.
    UnknownKey {
        /// The `kid` that the header names, if it names one.
        kid: Option<Quoted>,
    },
    /// The key set has this `kid`, but on a key that does not serve the token's algorithm.
    KeyMismatch {
        /// The `kid` that the header names.
        kid: Quoted,
    },
    /// More than one key could be meant: a `kid` that two keys claim, or no `kid` and too many keys that fit.
    AmbiguousKey {
        /// The `kid` that the header names, if it names one.
        kid: Option<Quoted>,
    },
    /// The signature does not verify under the key, or under any key that fits.
    SignatureInvalid {
        /// Whether the token named its key. Without a `kid`, a rotated key looks like a bad signature.
        kid_given: bool,
    },
    /// A claim that is required is absent (or null).
    ClaimMissing {
        /// The claim, as the configuration or the RFC names it.
        claim: String,
    },
    /// A registered claim has a value of the wrong type (RFC 7519, section 4.1).
    ClaimMalformed {
        /// The claim's name.
        claim: &'static str,
    },
    /// `iss` is not the provider's issuer.
    IssuerRefused {
        /// What the token says.
        issuer: Quoted,
    },
    /// `aud` names none of the provider's audiences.
    AudienceRefused,
    /// `exp` plus leeway has passed.
    Expired {
        /// The token's `exp`.
        expired_at: UnixNanos,
        /// The provider's leeway.
        leeway: Duration,
    },
    /// `nbf` less leeway has not come yet.
    NotYetValid {
        /// The token's `nbf`.
        not_before: UnixNanos,
        /// The provider's leeway.
        leeway: Duration,
    },
    /// `iat` lies in the future by more than the leeway.
    IssuedInFuture {
        /// The token's `iat`.
        issued_at: UnixNanos,
        /// The provider's leeway.
        leeway: Duration,
    },
    /// `iat` is longer ago than the provider's `max_age` plus leeway.
    TooOld {
        /// The token's `iat`.
        issued_at: UnixNanos,
        /// The provider's `max_age`.
        max_age: Duration,
    },
}

/// A part of a compact token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPart {
    /// The JOSE header.
    Header,
    /// The claims.
    Payload,
    /// The signature.
    Signature,
}

impl fmt::Display for TokenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// A stranger's text, made fit for a log line: at most 48 characters, in quotes, control characters escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    const MAX_CHARS: usize = 48;

    /// Takes what the log may show of `text`.
    pub fn new(text: &str) -> Self {
        Self(text.chars().take(Self::MAX_CHARS.saturating_add(1)).collect())
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars().take(Self::MAX_CHARS).flat_map(char::escape_debug) {
            fmt::Write::write_char(f, c)?;
        }
        f.write_str(if self.0.chars().nth(Self::MAX_CHARS).is_some() { "\"..." } else { "\"" })
    }
}

impl fmt::Debug for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TokenError {
    /// The reason that counters, audit lines and the client get: fixed words, nothing about keys or configuration.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::TokenTooLarge,
            Self::NotCompactJws | Self::Base64 { .. } | Self::Json { .. } | Self::Header { .. } => {
                Reason::TokenMalformed
            }
            Self::Encrypted => Reason::TokenEncrypted,
            Self::CriticalHeader { .. } => Reason::TokenHeaderCritical,
            Self::AlgorithmRefused { .. } => Reason::TokenAlgorithmRefused,
            Self::TypeRefused { .. } => Reason::TokenTypeRefused,
            Self::UnknownKey { .. } => Reason::TokenKeyUnknown,
            Self::KeyMismatch { .. } => Reason::TokenKeyMismatch,
            Self::AmbiguousKey { .. } => Reason::TokenKeyAmbiguous,
            Self::SignatureInvalid { .. } => Reason::TokenSignatureInvalid,
            Self::ClaimMissing { .. } => Reason::TokenClaimMissing,
            Self::ClaimMalformed { .. } => Reason::TokenClaimMalformed,
            Self::IssuerRefused { .. } => Reason::TokenIssuerRefused,
            Self::AudienceRefused => Reason::TokenAudienceRefused,
            Self::Expired { .. } => Reason::TokenExpired,
            Self::NotYetValid { .. } => Reason::TokenNotYetValid,
            Self::IssuedInFuture { .. } => Reason::TokenIssuedInFuture,
            Self::TooOld { .. } => Reason::TokenTooOld,
        }
    }

    /// Whether the provider may have published a key since, under which this token verifies: worth one refetch of the
    /// key set, after which the token is judged again.
    pub const fn newer_keys_may_help(&self) -> bool {
        matches!(self, Self::UnknownKey { .. } | Self::SignatureInvalid { kid_given: false })
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { max_bytes } => write!(f, "the token is longer than {max_bytes} bytes"),
            Self::NotCompactJws => f.write_str("the token is not three non-empty parts with dots between"),
            Self::Encrypted => f.write_str("the token is encrypted (five parts)"),
            Self::Base64 { part } => write!(f, "the token's {part} is not exact base64url"),
            Self::Json { part, .. } => write!(f, "the token's {part} is not strict JSON"),
            Self::Header { parameter } => write!(f, "header parameter `{parameter}` is missing or not a string"),
            Self::CriticalHeader { parameter } => write!(f, "header parameter `{parameter}` demands an extension"),
            Self::AlgorithmRefused { algorithm } => write!(f, "the provider does not list algorithm {algorithm}"),
            Self::TypeRefused { token_type: Some(token_type) } => write!(f, "token type {token_type} is not accepted"),
            Self::TypeRefused { token_type: None } => f.write_str("a token without `typ` is not accepted"),
            Self::UnknownKey { kid: Some(kid) } => write!(f, "the key set has no key with kid {kid}"),
            Self::UnknownKey { kid: None } => f.write_str("the token names no kid, and no key fits its algorithm"),
            Self::KeyMismatch { kid } => write!(f, "the key with kid {kid} does not serve the token's algorithm"),
            Self::AmbiguousKey { kid: Some(kid) } => write!(f, "more than one key in the key set has kid {kid}"),
            Self::AmbiguousKey { kid: None } => f.write_str("the token names no kid, and too many keys fit"),
            Self::SignatureInvalid { .. } => f.write_str("the signature does not verify"),
            Self::ClaimMissing { claim } => write!(f, "claim `{claim}` is missing"),
            Self::ClaimMalformed { claim } => write!(f, "claim `{claim}` is malformed"),
            Self::IssuerRefused { issuer } => write!(f, "issuer {issuer} is not the provider's"),
            Self::AudienceRefused => f.write_str("the token's audience is none of the provider's"),
            Self::Expired { expired_at, leeway } => {
                write!(f, "expired at {} (leeway {} s)", expired_at.as_secs(), leeway.as_secs())
            }
            Self::NotYetValid { not_before, leeway } => {
                write!(f, "not valid before {} (leeway {} s)", not_before.as_secs(), leeway.as_secs())
            }
            Self::IssuedInFuture { issued_at, leeway } => {
                write!(f, "issued in the future, at {} (leeway {} s)", issued_at.as_secs(), leeway.as_secs())
            }
            Self::TooOld { issued_at, max_age } => {
                write!(f, "issued at {}, more than {} s ago", issued_at.as_secs(), max_age.as_secs())
            }
        }
    }
}

impl std::error::Error for TokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_cannot_break_the_log_line() {
        let error = TokenError::UnknownKey { kid: Some(Quoted::new("a\n\"b\u{1b}[31m\u{202e}")) };
        let line = error.to_string();
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
        assert!(line.contains(r#""a\n\"b"#), "{line}");
    }

    #[test]
    fn a_long_text_is_cut_short() {
        let quoted = Quoted::new(&"x".repeat(10_000)).to_string();
        assert_eq!(quoted, format!("\"{}\"...", "x".repeat(48)));
        assert_eq!(Quoted::new("").to_string(), "\"\"");
    }
}
