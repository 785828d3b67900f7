//! JSON Web Tokens, strictly: from a stranger's bytes to a [`VerifiedToken`] (RFC 7515 to 7519, 8037, 8725, 9068).
//!
//! ```text
//! bytes -> UntrustedToken::parse      one reading only: exact base64url, strict JSON, no extensions
//!       -> Verifier::verify           algorithm and type as configured, one key by kid, signature, then the claims
//!       -> VerifiedToken              the only thing that authorisation takes
//! ```
//!
//! The algorithm comes from the provider's configuration and the key from its [`KeySet`]; the token only picks among them.
//! A key is bound to its type and algorithms when it is loaded, so that no token can have an RSA key read as an HMAC
//! secret. [`signature::verify`] asks the host's native cryptography where it serves, with the verdict of the software.

pub mod algorithm;
mod base64url;
pub(crate) mod claims;
mod der;
pub mod error;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod jwk;
pub mod key;
pub mod key_set;
pub mod signature;
mod token;
mod verified;
mod verifier;

pub use algorithm::{Algorithm, AlgorithmSet, KeyType};
pub use error::TokenError;
pub use key::{Key, KeyFingerprint};
pub use key_set::{KeySet, KeySetError, SkippedKey};
pub use token::{DEFAULT_MAX_TOKEN_BYTES, UntrustedToken};
pub use verified::VerifiedToken;
pub use verifier::{Profile, Verifier};
