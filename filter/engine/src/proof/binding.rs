//! Whether the sender of a token is the one that it was issued to (RFC 7800, section 3; RFC 9449, sections 6 and 7; RFC
//! 8705, section 3).

use std::fmt;

use serde_json::Value;

use super::compare;
use super::dpop::VerifiedProof;
use super::thumbprint::Thumbprint;
use crate::answer::Reason;
use crate::claims::Claims;
use crate::http::bytes::escaped_byte;
use crate::jwt::base64url;

/// What a token is bound to; by default, to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confirmation {
    /// The thumbprint of a DPoP key (`jkt`).
    pub jkt: Option<Thumbprint>,
    /// The SHA-256 hash of a client certificate in DER (`x5t#S256`).
    pub x5t_s256: Option<[u8; 32]>,
}

impl Confirmation {
    /// Reads `cnf`. A token without it is bound to nothing.
    ///
    /// Beside a member that is served, others are not looked at (RFC 7800, section 3.1).
    ///
    /// # Errors
    /// [`BindingError::ConfirmationMalformed`]; [`BindingError::ConfirmationNotServed`] where the token is bound in a way that
    /// the gateway cannot check: it must not pass as if it were bound to nothing.
    pub fn of(claims: &Claims) -> Result<Self, BindingError> {
        let members = match claims.members().get("cnf") {
            None => return Ok(Self::default()),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(BindingError::ConfirmationMalformed { member: "cnf" }),
        };
        let hash = |member: &'static str| match members.get(member) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .and_then(|text| <[u8; 32]>::try_from(base64url::decode(text.as_bytes())?).ok())
                .map(Some)
                .ok_or(BindingError::ConfirmationMalformed { member }),
        };
        let (jkt, x5t_s256) = (hash("jkt")?.map(Thumbprint::from_bytes), hash("x5t#S256")?);
        if jkt.is_none() && x5t_s256.is_none() {
            return Err(BindingError::ConfirmationNotServed);
        }
        Ok(Self { jkt, x5t_s256 })
    }

    /// Judges how the token was sent. All that it is bound to must be there, as far as `policy` asks for it.
    ///
    /// # Errors
    /// [`BindingError`] with the first thing that is wrong.
    pub fn check(&self, presented: &Presented<'_>, policy: BindingPolicy) -> Result<(), BindingError> {
        self.check_dpop(presented, policy.dpop)?;
        self.check_certificate(presented, policy.mtls)
    }

    fn check_dpop(&self, presented: &Presented<'_>, demanded: Demanded) -> Result<(), BindingError> {
        match (demanded, presented.scheme, &self.jkt) {
            (Demanded::Never, Scheme::Dpop, _) => Err(BindingError::DpopNotAccepted),
            (Demanded::Never, Scheme::Bearer, _) | (Demanded::WhenPresent, Scheme::Bearer, None) => Ok(()),
            (Demanded::Required, Scheme::Bearer, None) | (_, Scheme::Dpop, None) => {
                Err(BindingError::NotBound { to: "a DPoP key" })
            }
            // Even with a good proof beside it: whoever takes it as a bearer token takes it without one, too.
            (_, Scheme::Bearer, Some(_)) => Err(BindingError::Downgraded),
            (_, Scheme::Dpop, Some(jkt)) => match presented.dpop {
                None => Err(BindingError::ProofMissing),
                Some(proof) if proof.thumbprint() == jkt => Ok(()),
                Some(_) => Err(BindingError::KeyMismatch),
            },
        }
    }

    fn check_certificate(&self, presented: &Presented<'_>, demanded: Demanded) -> Result<(), BindingError> {
        match (demanded, &self.x5t_s256, &presented.certificate_sha256) {
            (Demanded::Never, ..) | (Demanded::WhenPresent, None, _) => Ok(()),
            (Demanded::Required, None, _) => Err(BindingError::NotBound { to: "a client certificate" }),
            (_, Some(_), None) => Err(BindingError::CertificateMissing),
            (_, Some(bound), Some(presented)) if compare::same(bound, presented) => Ok(()),
            (_, Some(_), Some(_)) => Err(BindingError::CertificateMismatch),
        }
    }
}

/// How a token was sent.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The proof that came with it, already verified against this request and this token.
    pub dpop: Option<&'a VerifiedProof>,
    /// The SHA-256 hash of the client certificate (DER) that the proxy has verified.
    pub certificate_sha256: Option<[u8; 32]>,
    /// The authentication scheme.
    pub scheme: Scheme,
}

/// The authentication scheme of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer`, and every other place that a token is taken from: a cookie, a header of its own.
    Bearer,
    /// `DPoP`.
    Dpop,
}

/// What a rule asks of the tokens that it takes. The default checks whatever a token is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BindingPolicy {
    /// Binding to client certificates.
    pub mtls: Demanded,
    /// Binding to DPoP keys.
    pub dpop: Demanded,
}

impl BindingPolicy {
    /// Whether every token must be bound to a client certificate.
    pub fn mtls_is_required(self) -> bool {
        self.mtls == Demanded::Required
    }
}

/// Whether a kind of binding is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demanded {
    /// The gateway does not look at it, as one that knows nothing of it: bound tokens pass without a proof. Right only where
    /// another hop checks them.
    Never,
    /// A token that is bound must come with its key; one that is not bound passes.
    #[default]
    WhenPresent,
    /// Only bound tokens pass, with their key.
    Required,
}

/// Why a token is refused to this sender. `Display` is for the log; [`reason`](Self::reason) is all that the client learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindingError {
    /// `cnf` is not an object, or a member of it is not the base64url of 32 bytes.
    ConfirmationMalformed {
        /// `cnf`, or its member.
        member: &'static str,
    },
    /// `cnf` holds nothing that the gateway serves (`jkt`, `x5t#S256`).
    ConfirmationNotServed,
    /// The token is bound to nothing where it has to be.
    NotBound {
        /// What it should be bound to.
        to: &'static str,
    },
    /// The token is bound to a DPoP key and was sent as a bearer token.
    Downgraded,
    /// The scheme is DPoP, and there is no proof.
    ProofMissing,
    /// The proof is of another key.
    KeyMismatch,
    /// The rule takes no DPoP.
    DpopNotAccepted,
    /// The token is bound to a client certificate, and there is none.
    CertificateMissing,
    /// The client certificate is another one.
    CertificateMismatch,
}

impl BindingError {
    /// The reason that counters, audit lines and the client get.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::ConfirmationMalformed { .. } | Self::ConfirmationNotServed => Reason::TokenConfirmationRefused,
            Self::NotBound { .. } => Reason::TokenBindingMissing,
            Self::Downgraded => Reason::TokenBindingDowngraded,
            Self::ProofMissing => Reason::DpopProofMissing,
            Self::KeyMismatch | Self::CertificateMismatch => Reason::TokenBindingMismatch,
            Self::DpopNotAccepted => Reason::DpopNotAccepted,
            Self::CertificateMissing => Reason::TokenCertificateMissing,
        }
    }
}

impl fmt::Display for BindingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfirmationMalformed { member } => write!(f, "`{member}` of the token's confirmation is malformed"),
            Self::ConfirmationNotServed => f.write_str("the token's `cnf` has neither `jkt` nor `x5t#S256`"),
            Self::NotBound { to } => write!(f, "the token is not bound to {to}"),
            Self::Downgraded => f.write_str("the token is bound to a DPoP key and was sent as a bearer token"),
            Self::ProofMissing => f.write_str("the scheme is DPoP, and there is no DPoP header"),
            Self::KeyMismatch => f.write_str("the token is bound to another DPoP key"),
            Self::DpopNotAccepted => f.write_str("DPoP is not accepted here"),
            Self::CertificateMissing => f.write_str("the token is bound to a client certificate, and there is none"),
            Self::CertificateMismatch => f.write_str("the token is bound to another client certificate"),
        }
    }
}

impl std::error::Error for BindingError {}

/// A SHA-256 hash in 64 hexadecimal digits, as Envoy gives that of a client certificate
/// (`connection.sha256_peer_certificate_digest`, and `Hash` of `x-forwarded-client-cert`).
pub fn certificate_sha256_from_hex(hex: &[u8]) -> Option<[u8; 32]> {
    let (pairs, []) = hex.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| escaped_byte(Some(*high), Some(*low))).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
#[path = "binding_tests.rs"]
mod tests;
