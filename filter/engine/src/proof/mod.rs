//! Tokens that are worth nothing without a key: proof of possession by DPoP (RFC 9449) and by client certificates (RFC 8705).
//!
//! ```text
//! DPoP header -> DpopProof::parse      one header, strict JWT, a public key of its own
//!             -> DpopProof::verify     section 4.3: signature, method, URI, nonce, time, access token
//!             -> VerifiedProof         which key the sender holds
//! claims      -> Confirmation::of      which key the token is bound to (`cnf`, RFC 7800)
//!             -> Confirmation::check   the two are the same, and no bound token passes as a bearer token
//!             -> ReplayStore::first_use  the proof was never seen before, by any worker: last, so that only holders of a
//!                                      good token take places in the store
//! ```

mod binding;
mod compare;
mod dpop;
mod nonce;
mod replay;
mod target_uri;
mod thumbprint;

pub use binding::{
    BindingError, BindingPolicy, Confirmation, Demanded, Presented, Scheme, certificate_sha256_from_hex,
};
pub use dpop::{
    DEFAULT_LEEWAY, DEFAULT_MAX_AGE, DEFAULT_MAX_PROOF_BYTES, DpopError, DpopProof, Expectation, VerifiedProof,
};
pub use nonce::{AcceptedNonces, NonceError, NonceIssuer};
pub use replay::{ReplayError, ReplayStore, ReplayStoreError};
pub use target_uri::TargetUri;
pub use thumbprint::{Thumbprint, ThumbprintError};
