//! Limits: how often a client may do something, exact over all workers and bounded in memory.
//!
//! A request that a limit covers is described by a [`Descriptor`] (whose counter is it?), counted by an [`Algorithm`]
//! (how much is allowed?) in a [`Table`] (where does the counter stand?). [`take_all`] charges several limits or none.
//! [`headers`] tells the client about it. Slots of requests in flight are counted alike ([`in_flight`]), under the [`lease`] clock.
//!
//! The algorithms are pure: [`Counter`] in, new [`Counter`] or refusal out. The table is the only part that talks to the
//! [`SharedStore`](crate::ports::SharedStore), by compare-and-set alone; what each of them guarantees, also on clock
//! steps, is written on its module.

pub mod algorithm;
pub mod descriptor;
pub mod fixed_window;
pub mod gcra;
pub mod headers;
pub mod in_flight;
pub mod lease;
pub mod sliding_window;
pub mod table;
pub mod together;

mod bucket;
mod hash;

#[cfg(test)]
mod in_flight_model;
#[cfg(test)]
pub(crate) mod model;

pub use algorithm::{Algorithm, Counter, QuotaError, Refused, Spent, Standing, Taken, whole_seconds};
pub use descriptor::{Descriptor, Part, PartKind};
pub(crate) use hash::Fingerprint;
pub use hash::Seed;
pub use table::{
    Admitted, Charge, CounterPlace, Demand, Denied, Overflow, Reason, Table, TableError, buckets_for, memory_bytes,
};
pub use together::{DeniedAll, take_all};
