//! A JWS that brings its own key, as a proof of possession does (RFC 9449, section 4.2): it shows that its sender holds a
//! private key, and nothing about who that is.
//!
//! Access tokens never come this way: [`UntrustedToken`] does not look at `jwk`.

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::claims::{self, Times};
use super::error::{Quoted, TokenError};
use super::jwk::{self, SkipReason};
use super::key::Key;
use super::signature;
use super::token::UntrustedToken;
use crate::ports::HostSignatures;

/// A compact JWS with the `jwk` of its header, read as strictly as a token.
pub(crate) struct SelfSigned<'a> {
    token: UntrustedToken<'a>,
    jwk: Option<Map<String, Value>>,
}

impl<'a> SelfSigned<'a> {
    /// Takes `token` apart as [`UntrustedToken::parse`] does.
    pub(crate) fn parse(token: &'a [u8], max_bytes: usize) -> Result<Self, TokenError> {
        let (token, mut header) = UntrustedToken::parse_with_header(token, max_bytes)?;
        let jwk = match header.remove("jwk") {
            Some(Value::Object(members)) => Some(members),
            _ => None,
        };
        Ok(Self { token, jwk })
    }

    /// The header's `typ`, as it stands there.
    pub(crate) fn token_type(&self) -> Option<&str> {
        self.token.token_type()
    }

    /// The algorithm that the header names; the name where it is none that is served.
    pub(crate) fn algorithm(&self) -> Result<Algorithm, Quoted> {
        self.token.algorithm.clone()
    }

    /// The header's `jwk`, if it is an object.
    pub(crate) fn jwk(&self) -> Option<&Map<String, Value>> {
        self.jwk.as_ref()
    }

    /// The claim `name`, which is a string if it is present.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, TokenError> {
        claims::string(&self.token.claims, name)
    }

    /// `iat`, `nbf` and `exp`.
    pub(crate) fn times(&self) -> Result<Times, TokenError> {
        claims::times(&self.token.claims)
    }

    /// Whether the signature verifies under the key that stands in the header.
    ///
    /// # Errors
    /// [`SkipReason`] where `jwk` is no usable key for signatures.
    pub(crate) fn holds(&self, algorithm: Algorithm, host: &dyn HostSignatures) -> Result<bool, SkipReason> {
        let key: Key = jwk::read(self.jwk.as_ref().ok_or(SkipReason::NotAnObject)?)?;
        Ok(signature::verify(algorithm, &key, &self.token.signature, self.token.signing_input, host))
    }
}
