//! The signed internal token: what a service gets of a caller, whatever credential the caller showed to the gateway.
//!
//! ```text
//! private JWK -> SigningKey -> KeyRing        one key signs, the next and the last one are published beside it
//! claims of the caller + audience -> Minter   a short-lived JWT, made once per credential and audience, then reused
//! KeyRing::jwks_json                          the public keys, which the gateway serves to its services
//! ```
//!
//! A service verifies one issuer, one algorithm and its own audience. `sub` names the caller as the original issuer did,
//! and `orig_iss` names that issuer: where callers come from several issuers, only the two together name one caller.

mod cache;
mod error;
mod jwk;
mod key_ring;
mod minter;
mod payload;
mod settings;
mod signing_key;

pub use cache::CredentialKey;
pub use error::{KeyError, MintError, RingError, SettingsError};
pub use jwk::PublicKey;
pub use key_ring::KeyRing;
pub use minter::{MintCounts, Minter};
pub use payload::Caller;
pub use settings::{CopiedClaim, Settings};
pub use signing_key::SigningKey;
