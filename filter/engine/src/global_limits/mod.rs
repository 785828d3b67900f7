//! Limits over several proxies: a service that counts for all of them is asked, over Envoy's rate limit service protocol
//! (`envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`, gRPC over HTTP/2).
//!
//! One [`Questions`] lives in each worker. What a client sees follows from these rules:
//!
//! - **The local counter comes first.** A limit of scope `global` has a counter here too, of the same rate; what that one
//!   refuses is refused, and nobody is asked. So each proxy asks about a client at most as often as the limit admits it.
//! - **One question for all limits of a request**; a limit in monitor mode is asked about apart, since
//!   it must not refuse what the others admit.
//! - **The service has the last word, within its time.** The request is held until its answer is there. One that does not come,
//!   or says nothing, counts for neither side: then the local counter alone decides, or the request is refused, as configured.
//! - **A service that fails is left alone**: after three failures in a row, for 1 to 10 seconds; then a single question
//!   finds out.
//! - **A limit with a lease is asked about ahead** ([`lease`]): all workers spend what was granted, and only one that finds nothing left
//!   asks. Requests of its client that come meanwhile wait for the same answer, as many as it can admit.
//! - **No secret leaves**: a value that could be a credential goes out as a hash.

mod answer;
mod entries;
mod lease;
mod question;
mod worker;

use std::time::Duration;

use crate::config::schema::LimitServiceKind;
use crate::limits::{Algorithm, Charge, Descriptor, Standing};

pub use answer::{Answer, Failure, MAX_RESPONSE_BYTES, Status, Window};
pub use entries::{Values, entries};
pub use lease::{Holder, Lease, News, Spend};
pub use worker::{Actions, Event, Questions};

/// The service, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitService {
    /// The proxy's cluster that is asked; it must speak HTTP/2.
    pub cluster: String,
    /// `:authority` of the request.
    pub authority: String,
    /// Which descriptors it reads.
    pub kind: LimitServiceKind,
    /// The service's name for our limits.
    pub domain: String,
    /// The time limit of a question.
    pub timeout: Duration,
    /// Whether a request is refused that the service says nothing about.
    pub deny_on_error: bool,
    /// Whether each descriptor says what the limit is.
    pub sends_rates: bool,
    /// What goes out in the clear.
    pub values: Values,
    /// The most questions that one worker asks at a time.
    pub max_in_flight: usize,
}

impl LimitService {
    /// What its answers depend on: what was said to a question of another cluster, domain or form says nothing about this one's.
    pub fn identity(&self) -> Vec<u8> {
        let mut identity = vec![self.kind as u8, u8::from(self.sends_rates), u8::from(self.values == Values::Hashed)];
        for text in [&self.cluster, &self.authority, &self.domain] {
            identity.extend(text.len().to_le_bytes());
            identity.extend(text.as_bytes());
        }
        identity
    }

    /// How many descriptors a question about so many limits has.
    fn descriptors(&self, limits: usize) -> usize {
        match self.kind {
            LimitServiceKind::Limitador => 1,
            LimitServiceKind::Ratelimit => limits,
        }
    }
}

/// Limits that the service is asked about in one question, all of which admit the request here.
#[derive(Debug, Default)]
pub struct Group {
    /// The limits, one descriptor each.
    pub limits: Vec<Asked>,
    /// What the request costs each of them.
    pub cost: u64,
    /// What the service is asked for: more than the cost where a lease is.
    pub asks: u64,
    /// Its one limit has a lease.
    pub is_leased: bool,
    /// Groups of the same number stand or fall together.
    pub set: usize,
    /// Leases out of which the cost was taken already: it is put back if the service refuses.
    pub spent: Vec<(u16, Holder)>,
    /// What was charged to limits beside them that no service counts: given back if the service refuses.
    pub others: Vec<(u16, Charge)>,
}

/// A limit that the service is asked about.
#[derive(Debug)]
pub struct Asked {
    /// Its index.
    pub limit: u16,
    /// Whose counter it is.
    pub descriptor: Descriptor,
    /// How much the client may.
    pub algorithm: Algorithm,
    /// How it stands here; `None` where the table is full.
    pub standing: Option<Standing>,
}

impl Asked {
    /// Whose lease it is, where the limit has leases.
    pub fn holder(&self) -> Holder {
        Holder::new(self.descriptor.clone(), &self.algorithm)
    }
}
