//! The one place that turns a stranger's token into a verified one (RFC 7519, section 7.2; RFC 8725, section 3).

use std::time::Duration;

use super::algorithm::AlgorithmSet;
use super::claims::{self, Times};
use super::error::{Quoted, TokenError};
use super::key::Key;
use super::key_set::KeySet;
use super::signature;
use super::token::UntrustedToken;
use super::verified::VerifiedToken;
use crate::ports::HostSignatures;
use crate::time::UnixNanos;

/// What a provider's tokens must be like; the fields are the provider's configuration.
///
/// The default accepts no algorithm, so that it verifies nothing until it is told.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// The issuer, byte for byte; `None` takes any (or none).
    pub issuer: Option<String>,
    /// The audiences of which a token must name at least one; empty: the audience is not judged.
    pub audiences: Vec<String>,
    /// The algorithms that are accepted. Never taken from the token.
    pub algorithms: AlgorithmSet,
    /// The values of `typ` that are accepted, without regard to case and to a leading `application/`. A token without
    /// `typ` counts as `JWT`.
    pub token_types: Vec<String>,
    /// Claims that must be present and not null, each as [`VerifiedToken::claim`] takes it.
    pub required_claims: Vec<String>,
    /// Whether a token must have `exp`.
    pub require_expiry: bool,
    /// How long after `iat` a token is taken; `iat` is then required.
    pub max_age: Option<Duration>,
    /// How far the issuer's clock and ours may be apart.
    pub leeway: Duration,
    /// Which RFC's rules apply besides.
    pub profile: Profile,
}

/// A set of further rules for a provider's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// RFC 7519 alone.
    #[default]
    Jwt,
    /// OAuth 2.0 access tokens (RFC 9068): `typ` is `at+jwt`; `iss`, `exp`, `aud`, `sub`, `client_id`, `iat` and `jti` are
    /// required.
    Rfc9068,
}

impl Default for Verifier {
    fn default() -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
            algorithms: AlgorithmSet::EMPTY,
            token_types: vec!["JWT".to_owned(), "at+jwt".to_owned()],
            required_claims: Vec::new(),
            require_expiry: true,
            max_age: None,
            leeway: Duration::from_secs(30),
            profile: Profile::Jwt,
        }
    }
}

impl Verifier {
    /// Judges `token` at `now`: algorithm, type, key and signature first, the claims only once the signature holds.
    ///
    /// # Errors
    /// [`TokenError`] with the first thing that is wrong. Where it says that
    /// [newer keys may help](TokenError::newer_keys_may_help), the token is worth judging again with a fresh key set.
    pub fn verify(
        &self,
        token: UntrustedToken<'_>,
        keys: &KeySet,
        host: &dyn HostSignatures,
        now: UnixNanos,
    ) -> Result<VerifiedToken, TokenError> {
        let algorithm = match &token.algorithm {
            Ok(algorithm) if self.algorithms.contains(*algorithm) => *algorithm,
            Ok(algorithm) => return Err(TokenError::AlgorithmRefused { algorithm: Quoted::new(algorithm.name()) }),
            Err(name) => return Err(TokenError::AlgorithmRefused { algorithm: name.clone() }),
        };
        self.check_type(token.token_type.as_deref())?;
        let key_fingerprint = keys
            .candidates(algorithm, token.kid.as_deref())?
            .find(|key| signature::verify(algorithm, key, &token.signature, token.signing_input, host))
            .map(Key::fingerprint)
            .ok_or(TokenError::SignatureInvalid { kid_given: token.kid.is_some() })?;
        let times = self.check_claims(&token.claims, now)?;
        Ok(VerifiedToken::new(token.claims, times, algorithm, key_fingerprint))
    }

    /// Judges `exp`, `nbf`, `iat` and `max_age`, each with the leeway.
    pub(super) fn check_times(&self, times: &Times, now: UnixNanos) -> Result<(), TokenError> {
        let leeway = self.leeway;
        match times.expires_at {
            // "On or after" (RFC 7519, 4.1.4): at the very instant it is over.
            Some(expired_at) if now >= expired_at.plus(leeway) => {
                return Err(TokenError::Expired { expired_at, leeway });
            }
            None if self.require_expiry => return Err(missing("exp")),
            _ => {}
        }
        match times.not_before {
            Some(not_before) if now.plus(leeway) < not_before => {
                return Err(TokenError::NotYetValid { not_before, leeway });
            }
            _ => {}
        }
        match (times.issued_at, self.max_age) {
            (Some(issued_at), _) if now.plus(leeway) < issued_at => {
                Err(TokenError::IssuedInFuture { issued_at, leeway })
            }
            (Some(issued_at), Some(max_age)) if now > issued_at.plus(max_age).plus(leeway) => {
                Err(TokenError::TooOld { issued_at, max_age })
            }
            (None, Some(_)) => Err(missing("iat")),
            _ => Ok(()),
        }
    }

    fn check_type(&self, token_type: Option<&str>) -> Result<(), TokenError> {
        let named = media_type(token_type.unwrap_or("JWT"));
        let listed = self.token_types.iter().any(|accepted| media_type(accepted).eq_ignore_ascii_case(named));
        let profile_agrees = match self.profile {
            Profile::Jwt => listed,
            Profile::Rfc9068 => named.eq_ignore_ascii_case("at+jwt"),
        };
        if profile_agrees { Ok(()) } else { Err(TokenError::TypeRefused { token_type: token_type.map(Quoted::new) }) }
    }

    fn check_claims(
        &self,
        claims: &serde_json::Map<String, serde_json::Value>,
        now: UnixNanos,
    ) -> Result<Times, TokenError> {
        let issuer = claims::string(claims, "iss")?;
        claims::string(claims, "sub")?;
        claims::string(claims, "jti")?;
        let audiences = claims::audiences(claims)?;
        let times = claims::times(claims)?;
        if let Some(expected) = &self.issuer {
            let issuer = issuer.ok_or_else(|| missing("iss"))?;
            if issuer != expected {
                return Err(TokenError::IssuerRefused { issuer: Quoted::new(issuer) });
            }
        }
        if !self.audiences.is_empty() {
            let audiences = audiences.ok_or_else(|| missing("aud"))?;
            if !self.audiences.iter().any(|accepted| audiences.contains(&accepted.as_str())) {
                return Err(TokenError::AudienceRefused);
            }
        }
        self.check_times(&times, now)?;
        if self.profile == Profile::Rfc9068 {
            for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
                claims.get(claim).ok_or_else(|| missing(claim))?;
            }
            claims::string(claims, "client_id")?;
        }
        for claim in &self.required_claims {
            match crate::claims::lookup(claims, claim) {
                None | Some(serde_json::Value::Null) => return Err(missing(claim)),
                Some(_) => {}
            }
        }
        Ok(times)
    }
}

fn missing(claim: &str) -> TokenError {
    TokenError::ClaimMissing { claim: claim.to_owned() }
}

/// `typ` without the `application/` that senders leave out (RFC 7515, section 4.1.9).
fn media_type(token_type: &str) -> &str {
    const PREFIX: &str = "application/";
    match token_type.get(..PREFIX.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => token_type.get(PREFIX.len()..).unwrap_or_default(),
        _ => token_type,
    }
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
