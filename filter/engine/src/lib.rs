//! Every decision of the Portcullis gateway filter.
//!
//! The engine is sans-I/O: it takes events (a request head, a callout's answer, a tick) and says what is to be done.
//! It knows no proxy, no clock and no randomness; time and seeds are arguments, and the host is reached through the
//! small ports of [`ports`]. `filter/README.md` has the map and the walk of a request.
#![forbid(unsafe_code)]

pub mod addresses;
pub mod answer;
mod audit;
pub mod authorisation;
pub mod bans;
mod call;
pub mod callout;
pub mod claims;
pub mod condition;
pub mod config;
pub mod cors;
mod counters;
mod credentials;
mod engine;
mod fnv;
mod forward;
mod gauges;
mod generations;
pub mod global_limits;
pub mod http;
pub mod input;
pub mod internal_token;
pub mod introspection;
pub mod jwt;
pub mod key_sets;
mod limiter;
pub mod limits;
pub mod matching;
pub mod metadata;
pub mod outcome;
mod payload;
pub mod policy;
pub mod ports;
mod principal;
pub mod proof;
mod protobuf;
pub mod responses;
pub mod revocation;
mod routes;
mod scopes;
pub mod shared_list;
pub mod strict_json;
mod surge;
pub mod time;
mod token_cache;
mod walk;

pub use bans::Answerable;
pub use callout::Callout;
pub use counters::{COUNTERS, CounterFamily, CounterId};
pub use engine::{Actions, Engine, FetchResult, HeaderChange, Passage, Seed, Step};
pub use gauges::{GaugeChange, GaugeId, HISTOGRAMS, OWN_TIME, OWN_TIME_EVERY, WAIT_TIME, gauges};
pub use key_sets::{FetchId, RequestId};
pub use limiter::{Settlement, beside_the_service};
pub use payload::{EncodingError, Extent, decoded as decoded_body};
pub use routes::JudgedRoute;
pub use walk::{Body, Wanted};
