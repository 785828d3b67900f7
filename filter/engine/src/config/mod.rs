//! What the operator writes, read into typed sections, with every mistake reported at once.
//!
//! [`document`] walks the tree and collects problems, [`section`] makes a struct, its reader and its JSON Schema from
//! one declaration, [`schema`] declares every section. The rest of the engine never sees a section: `policy` checks
//! them against each other and compiles them.

pub mod document;
pub mod protobuf_struct;
pub mod schema;
pub mod section;
pub mod suggest;
pub mod units;

pub use document::{Node, Problem, Problems};
pub use schema::Config;
pub use section::Read;
