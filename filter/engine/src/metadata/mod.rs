//! Protected resource metadata (RFC 9728): a document by which a client that knows only a resource finds out who issues
//! tokens for it.
//!
//! ```text
//! ResourceId            https://api.example/orders
//!   well_known_path     /.well-known/oauth-protected-resource/orders      where the gateway serves the document
//!   metadata_url        https://api.example + that path                   what its challenges name
//! ResourceMetadata      the document
//! ```

mod document;
mod resource;

pub use document::{BearerMethod, MetadataError, ResourceMetadata};
pub use resource::{ResourceId, ResourceIdError};
