//! Every decision of the Portcullis gateway filter.
//!
//! The engine is sans-I/O: it takes events (a request head, a callout's answer, a tick) and says what is to be done.
//! It knows no proxy, no clock and no randomness; time and seeds are arguments, and the host is reached through the
//! small ports of [`ports`]. `filter/README.md` has the map and the walk of a request.
#![forbid(unsafe_code)]

pub mod limits;
pub mod ports;
pub mod time;
