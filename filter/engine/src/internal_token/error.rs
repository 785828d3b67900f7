//! What can be wrong with keys, settings and callers of the internal token.

use std::fmt;

use crate::answer::Reason;
use crate::jwt::Algorithm;
use crate::jwt::error::Quoted;
use crate::strict_json::StrictJsonError;

/// Why a JWK cannot be used. No variant holds a part of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Longer than 16 KiB.
    TooLarge,
    /// Not one JSON object in its only reading.
    Json(StrictJsonError),
    /// A member is missing, or not of the type, length or exact encoding that it must have.
    Malformed {
        /// The member's name.
        member: &'static str,
    },
    /// A `kty` or `crv` that the gateway does not sign with.
    TypeNotServed {
        /// What the key names.
        key_type: Quoted,
    },
    /// The public half only, where the gateway is to sign.
    NotPrivate,
    /// A shared secret, where a key is to be published.
    NotPublic,
    /// `use` is not `sig`.
    NotForSignatures,
    /// `key_ops` does not hold the operation that the key is for.
    OperationMissing {
        /// `sign` or `verify`.
        operation: &'static str,
    },
    /// `alg` names another algorithm than the one that the key serves here.
    AlgorithmMismatch {
        /// What the key names.
        algorithm: Quoted,
        /// What it would have to name.
        needed: Algorithm,
    },
    /// The private number is zero or not below the order of the curve.
    PrivateOutOfRange,
    /// The public members do not belong to the private one, or are no point on the curve.
    PublicMismatch,
    /// A secret of fewer than 32 bytes (RFC 7518, section 3.2).
    SecretTooShort,
    /// A shared secret without a `kid`. Its thumbprint would be a hash of the secret (RFC 7638, section 7).
    KidMissing,
    /// A `kid` that is empty, longer than 128 bytes, or not visible ASCII.
    KidUnfit,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the key is longer than 16 KiB"),
            Self::Json(_) => f.write_str("the key is not strict JSON"),
            Self::Malformed { member } => write!(f, "member `{member}` is missing or malformed"),
            Self::TypeNotServed { key_type } => {
                write!(f, "key type {key_type} is not served; known are EC with P-256, OKP with Ed25519, and oct")
            }
            Self::NotPrivate => f.write_str("the key has no private member `d`"),
            Self::NotPublic => f.write_str("a shared secret cannot be published"),
            Self::NotForSignatures => f.write_str("`use` is not `sig`"),
            Self::OperationMissing { operation } => write!(f, "`key_ops` does not hold `{operation}`"),
            Self::AlgorithmMismatch { algorithm, needed } => {
                write!(f, "`alg` is {algorithm}, but this key serves {needed}")
            }
            Self::PrivateOutOfRange => f.write_str("member `d` is zero or not below the order of the curve"),
            Self::PublicMismatch => f.write_str("the public members do not belong to a key on this curve, or to `d`"),
            Self::SecretTooShort => f.write_str("the secret has fewer than 32 bytes"),
            Self::KidMissing => f.write_str("a shared secret needs a `kid`"),
            Self::KidUnfit => f.write_str("`kid` is empty, longer than 128 bytes, or not visible ASCII"),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(cause) => Some(cause),
            _ => None,
        }
    }
}

/// Why keys do not make a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RingError {
    /// Two keys have the same `kid`: a service could not tell which one a token means.
    RepeatedKid {
        /// The name.
        kid: String,
    },
    /// More than [`KeyRing::MAX_KEYS`](super::KeyRing::MAX_KEYS) keys.
    TooManyKeys,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RepeatedKid { kid } => write!(f, "two keys have the kid {kid:?}"),
            Self::TooManyKeys => write!(f, "more than {} keys", super::KeyRing::MAX_KEYS),
        }
    }
}

impl std::error::Error for RingError {}

/// What is wrong with [`Settings`](super::Settings).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsError {
    /// The issuer is empty.
    IssuerMissing,
    /// `typ` is neither `at+jwt` nor `JWT`, in any case and with or without `application/`.
    TokenTypeRefused,
    /// The lifetime is not within 5 seconds to 1 hour.
    LifetimeOutOfRange,
    /// More than 95 percent: services would see tokens that end under way.
    ReuseOutOfRange,
    /// A claim is to be copied to a name that the gateway fills itself.
    NameReserved {
        /// Index in the list of copied claims.
        index: usize,
    },
    /// A claim is to be copied to a name that an earlier one has already, or to no name.
    NameTaken {
        /// Index in the list of copied claims.
        index: usize,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IssuerMissing => f.write_str("the issuer is empty"),
            Self::TokenTypeRefused => f.write_str("the token type is neither `at+jwt` nor `JWT`"),
            Self::LifetimeOutOfRange => f.write_str("the lifetime is not within 5 seconds to 1 hour"),
            Self::ReuseOutOfRange => f.write_str("tokens cannot be reused for more than 95 percent of their lifetime"),
            Self::NameReserved { index } => write!(f, "copied claim {index} has a name that the gateway fills itself"),
            Self::NameTaken { index } => write!(f, "copied claim {index} has an empty name, or that of an earlier one"),
        }
    }
}

impl std::error::Error for SettingsError {}

/// Why a caller gets no internal token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MintError {
    /// The credential ends within this second, or has ended.
    NoLifetimeLeft,
    /// The claims have no `sub`, or none that is text.
    NoSubject,
    /// The token would be longer than the settings allow.
    TooLarge {
        /// The limit in bytes.
        max_bytes: usize,
    },
    /// The arithmetic of the signature failed. Does not happen with a key that was read.
    SigningFailed,
}

impl MintError {
    /// What the client gets and the counters count.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NoLifetimeLeft => Reason::TokenExpired,
            Self::NoSubject => Reason::TokenClaimMissing,
            Self::TooLarge { .. } | Self::SigningFailed => Reason::Internal,
        }
    }
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLifetimeLeft => f.write_str("the credential ends before an internal token could be used"),
            Self::NoSubject => f.write_str("the internal token needs a `sub`"),
            Self::TooLarge { max_bytes } => write!(f, "the internal token would be longer than {max_bytes} bytes"),
            Self::SigningFailed => f.write_str("the internal token could not be signed"),
        }
    }
}

impl std::error::Error for MintError {}
