//! DPoP: a proof, made for one request, that its sender holds a private key (RFC 9449, sections 4 and 7).

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::compare;
use super::nonce::AcceptedNonces;
use super::target_uri::TargetUri;
use super::thumbprint::Thumbprint;
use crate::answer::Reason;
use crate::jwt::error::Quoted;
use crate::jwt::jwk::SkipReason;
use crate::jwt::self_signed::SelfSigned;
use crate::jwt::{AlgorithmSet, KeyType, TokenError, base64url};
use crate::ports::HostSignatures;
use crate::time::UnixNanos;

/// A well-formed proof, believed in nothing: whoever sent it may have made it for another request.
pub struct DpopProof<'a> {
    jws: SelfSigned<'a>,
    issued_at: UnixNanos,
    jti_hash: [u8; 32],
}

/// The longest proof that is read where the configuration names no other limit, in bytes: room for an RSA key of 8192 bits.
pub const DEFAULT_MAX_PROOF_BYTES: usize = 8 * 1024;
/// How long after its `iat` a proof is taken where the configuration does not say.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(60);
/// How far the clocks of client and gateway may be apart where the configuration does not say.
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(5);

impl<'a> DpopProof<'a> {
    /// Takes the proof out of `values`, all values of the request's `DPoP` headers; `None` where there is no such header.
    ///
    /// Checks 1 to 4 and 7 of RFC 9449, section 4.3: one header with one well-formed JWT; `jti`, `htm`, `htu` and `iat`
    /// present, each of its type; `typ` is `dpop+jwt`; `jwk` is there and holds nothing private.
    ///
    /// # Errors
    /// [`DpopError`] with the first thing that is wrong.
    pub fn parse(values: impl IntoIterator<Item = &'a [u8]>, max_bytes: usize) -> Result<Option<Self>, DpopError> {
        let mut values = values.into_iter();
        let Some(value) = values.next() else { return Ok(None) };
        // Proxies join header lines with commas, and no JWT holds one.
        if values.next().is_some() || value.contains(&b',') {
            return Err(DpopError::Multiple);
        }
        let jws = SelfSigned::parse(value, max_bytes).map_err(DpopError::Malformed)?;
        let jti = required(&jws, "jti")?;
        if jti.len() > MAX_JTI_BYTES {
            return Err(DpopError::Claim { claim: "jti" });
        }
        let jti_hash = Sha256::digest(jti.as_bytes()).into();
        for claim in ["htm", "htu"] {
            required(&jws, claim)?;
        }
        let issued_at =
            jws.times().map_err(DpopError::Malformed)?.issued_at.ok_or(DpopError::Claim { claim: "iat" })?;
        if jws.token_type() != Some(TOKEN_TYPE) {
            return Err(DpopError::TypeRefused { token_type: jws.token_type().map(Quoted::new) });
        }
        let jwk = jws.jwk().ok_or(DpopError::KeyMissing)?;
        if let Some(member) = PRIVATE_MEMBERS.into_iter().find(|member| jwk.contains_key(*member)) {
            return Err(DpopError::KeyPrivate { member });
        }
        Ok(Some(Self { jws, issued_at, jti_hash }))
    }

    /// Judges the proof at `now` against the request that it came with: checks 5, 6 and 8 to 12 of section 4.3, in that order.
    ///
    /// That the access token is bound to the key is for [`Confirmation::check`](super::Confirmation::check), that it is the
    /// proof's first use for [`ReplayStore`](super::ReplayStore).
    ///
    /// Of `algorithms`, those with a shared secret do not count.
    ///
    /// # Errors
    /// [`DpopError`] with the first thing that is wrong.
    pub fn verify(
        &self,
        expectation: &Expectation<'_>,
        algorithms: AlgorithmSet,
        host: &dyn HostSignatures,
        now: UnixNanos,
    ) -> Result<VerifiedProof, DpopError> {
        let algorithm = self.jws.algorithm().map_err(|algorithm| DpopError::AlgorithmRefused { algorithm })?;
        if algorithm.key_type() == KeyType::Secret || !algorithms.contains(algorithm) {
            return Err(DpopError::AlgorithmRefused { algorithm: Quoted::new(algorithm.name()) });
        }
        if !self.jws.holds(algorithm, host).map_err(DpopError::KeyRefused)? {
            return Err(DpopError::SignatureInvalid);
        }
        if required(&self.jws, "htm")? != expectation.method {
            return Err(DpopError::MethodMismatch);
        }
        if TargetUri::parse(required(&self.jws, "htu")?).as_ref() != Some(expectation.uri) {
            return Err(DpopError::UriMismatch);
        }
        let nonce = self.jws.text("nonce").map_err(DpopError::Malformed)?;
        if expectation.nonces.is_some_and(|accepted| !nonce.is_some_and(|nonce| accepted.contains(nonce))) {
            return Err(DpopError::NonceRequired);
        }
        let expires_at = self.check_times(expectation, now)?;
        if let Some(access_token) = expectation.access_token {
            let hash = base64url::decode(required(&self.jws, "ath")?.as_bytes()).unwrap_or_default();
            if !compare::same(&hash, &Sha256::digest(access_token)) {
                return Err(DpopError::TokenMismatch);
            }
        }
        let jwk = self.jws.jwk().ok_or(DpopError::KeyMissing)?;
        let thumbprint = Thumbprint::of(jwk).map_err(|_| DpopError::KeyRefused(SkipReason::NotForSignatures))?;
        Ok(VerifiedProof { thumbprint, jti_hash: self.jti_hash, issued_at: self.issued_at, expires_at })
    }

    /// The instant after which `iat` is too long ago. `exp` and `nbf` are not part of a proof, but where they stand, they count.
    fn check_times(&self, expectation: &Expectation<'_>, now: UnixNanos) -> Result<UnixNanos, DpopError> {
        let Expectation { max_age, leeway, .. } = *expectation;
        let issued_at = self.issued_at;
        let times = self.jws.times().map_err(DpopError::Malformed)?;
        if times.not_before.unwrap_or_default().max(issued_at) > now.plus(leeway) {
            return Err(DpopError::IssuedInFuture { issued_at });
        }
        let expires_at = issued_at.plus(max_age).plus(leeway);
        if now > expires_at || times.expires_at.is_some_and(|exp| now >= exp.plus(leeway)) {
            return Err(DpopError::Expired { issued_at });
        }
        Ok(expires_at)
    }
}

impl fmt::Debug for DpopProof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopProof").field("issued_at", &self.issued_at).finish_non_exhaustive()
    }
}

/// What a proof must have been made for.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// The request's method, exact in case.
    pub method: &'a str,
    /// The request's URI.
    pub uri: &'a TargetUri,
    /// The access token that came with the proof, as it was sent; `ath` is then required.
    pub access_token: Option<&'a [u8]>,
    /// The nonces of which the proof must name one; `None` where none is asked for.
    pub nonces: Option<&'a AcceptedNonces>,
    /// How long after its `iat` a proof is taken.
    pub max_age: Duration,
    /// How far the clocks of client and gateway may be apart.
    pub leeway: Duration,
}

/// A proof that was made for this request, now, by the holder of a key. There is no other way to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedProof {
    thumbprint: Thumbprint,
    jti_hash: [u8; 32],
    issued_at: UnixNanos,
    expires_at: UnixNanos,
}

impl VerifiedProof {
    /// The key that its sender holds.
    pub fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// The SHA-256 hash of `jti`.
    pub fn jti_hash(&self) -> &[u8; 32] {
        &self.jti_hash
    }

    /// `iat`.
    pub fn issued_at(&self) -> UnixNanos {
        self.issued_at
    }

    /// The last instant at which it is taken, leeway included.
    pub fn expires_at(&self) -> UnixNanos {
        self.expires_at
    }

    #[cfg(test)]
    pub(super) fn made_up(key: u8, jti: u8, issued_at: UnixNanos) -> Self {
        Self {
            thumbprint: Thumbprint::from_bytes([key; 32]),
            jti_hash: [jti; 32],
            issued_at,
            expires_at: issued_at.plus(DEFAULT_MAX_AGE),
        }
    }
}

/// Why a proof is refused. `Display` is for the log; [`reason`](Self::reason) is all that the client learns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DpopError {
    /// More than one `DPoP` header, or more than one value in it.
    Multiple,
    /// Not one well-formed JWT, or a claim is of the wrong type.
    Malformed(TokenError),
    /// A claim is missing, empty or too long.
    Claim {
        /// The claim's name.
        claim: &'static str,
    },
    /// `typ` is not `dpop+jwt`.
    TypeRefused {
        /// What the header names.
        token_type: Option<Quoted>,
    },
    /// `jwk` is missing or not an object.
    KeyMissing,
    /// `jwk` holds a private key: it is now known to others.
    KeyPrivate {
        /// The private member.
        member: &'static str,
    },
    /// `jwk` cannot be used: its type, its use, its numbers.
    KeyRefused(SkipReason),
    /// `alg` is not listed, or not asymmetric.
    AlgorithmRefused {
        /// What the header names.
        algorithm: Quoted,
    },
    /// The signature does not verify under `jwk`.
    SignatureInvalid,
    /// `htm` is another method.
    MethodMismatch,
    /// `htu` is another URI.
    UriMismatch,
    /// `nonce` is missing, or none that the gateway gave lately (RFC 9449, section 9).
    NonceRequired,
    /// `iat` is too long ago.
    Expired {
        /// The proof's `iat`.
        issued_at: UnixNanos,
    },
    /// `iat` lies in the future.
    IssuedInFuture {
        /// The proof's `iat`.
        issued_at: UnixNanos,
    },
    /// `ath` is the hash of another access token.
    TokenMismatch,
}

impl DpopError {
    /// The reason that counters, audit lines and the client get.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Multiple => Reason::DpopProofMultiple,
            Self::Malformed(_) | Self::Claim { .. } | Self::TypeRefused { .. } | Self::KeyMissing => {
                Reason::DpopProofMalformed
            }
            Self::KeyPrivate { .. } | Self::KeyRefused(_) => Reason::DpopProofKeyRefused,
            Self::AlgorithmRefused { .. } => Reason::DpopProofAlgorithmRefused,
            Self::SignatureInvalid => Reason::DpopProofSignatureInvalid,
            Self::MethodMismatch | Self::UriMismatch => Reason::DpopProofRequestMismatch,
            Self::NonceRequired => Reason::DpopNonceRequired,
            Self::Expired { .. } => Reason::DpopProofExpired,
            Self::IssuedInFuture { .. } => Reason::DpopProofIssuedInFuture,
            Self::TokenMismatch => Reason::DpopProofTokenMismatch,
        }
    }
}

impl fmt::Display for DpopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multiple => f.write_str("more than one DPoP proof was sent"),
            Self::Malformed(_) => f.write_str("the DPoP proof is not one well-formed JWT"),
            Self::Claim { claim } => write!(f, "claim `{claim}` of the DPoP proof is missing or malformed"),
            Self::TypeRefused { token_type: Some(token_type) } => write!(f, "a DPoP proof has no type {token_type}"),
            Self::TypeRefused { token_type: None } => f.write_str("the DPoP proof has no `typ`"),
            Self::KeyMissing => f.write_str("the DPoP proof has no `jwk`"),
            Self::KeyPrivate { member } => write!(f, "the DPoP proof's `jwk` holds the private member `{member}`"),
            Self::KeyRefused(reason) => write!(f, "the DPoP proof's `jwk` cannot be used: {reason}"),
            Self::AlgorithmRefused { algorithm } => write!(f, "algorithm {algorithm} is not accepted for DPoP proofs"),
            Self::SignatureInvalid => f.write_str("the DPoP proof's signature does not verify"),
            Self::MethodMismatch => f.write_str("the DPoP proof was made for another method"),
            Self::UriMismatch => f.write_str("the DPoP proof was made for another URI"),
            Self::NonceRequired => f.write_str("the DPoP proof has no nonce that the gateway gave lately"),
            Self::Expired { issued_at } => {
                write!(f, "the DPoP proof was made too long ago, at {}", issued_at.as_secs())
            }
            Self::IssuedInFuture { issued_at } => {
                write!(f, "the DPoP proof was made in the future, at {}", issued_at.as_secs())
            }
            Self::TokenMismatch => f.write_str("the DPoP proof was made for another access token"),
        }
    }
}

impl std::error::Error for DpopError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Malformed(cause) => Some(cause),
            _ => None,
        }
    }
}

fn required<'p>(jws: &'p SelfSigned<'_>, claim: &'static str) -> Result<&'p str, DpopError> {
    let text = jws.text(claim).map_err(DpopError::Malformed)?;
    text.filter(|text| !text.is_empty()).ok_or(DpopError::Claim { claim })
}

const TOKEN_TYPE: &str = "dpop+jwt";
/// A UUID has 36 bytes, and the RFC asks for 96 random bits.
const MAX_JTI_BYTES: usize = 256;
/// RFC 7518, sections 6.2.2, 6.3.2 and 6.4; RFC 8037, section 2.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

#[cfg(test)]
#[path = "dpop_tests.rs"]
mod tests;
