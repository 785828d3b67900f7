//! What a client sent, as checked types: the header map, the request head, the path and the query.
//!
//! All of it works on bytes that a stranger chose. A value of [`RequestHead`] or [`RequestPath`] has passed every check
//! of its module, so the code behind has nothing left to validate.

pub(crate) mod authority;
pub(crate) mod bytes;
pub mod head;
pub mod headers;
pub mod method;
pub mod path;
pub mod query;

pub use head::{HeadError, RequestHead};
pub use headers::Headers;
pub use method::Method;
pub use path::{PathError, RequestPath};
