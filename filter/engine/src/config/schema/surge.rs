//! Bounds that adapt to what a service bears, and priorities.

use std::collections::BTreeMap;

use super::Mode;
use crate::config::units::Span;
use crate::{section, words};

section! {
    /// A bound of requests in flight to a service that adapts to how fast the service answers. Each worker has one of its own.
    pub struct SurgeSection {
        /// The latency that the service should keep, from the end of the request to the head of the response. If more than a tenth of the answers take longer, the bound falls; else it grows as far as it is used.
        target: Span,
        /// How many requests of a worker may be in flight at least, however slow the service is; 2 or more.
        min: u64 = 4,
        /// How many requests of a worker may be in flight at most. The bound starts there.
        max: u64 = 1000,
        /// `monitor` counts and logs what would be shed.
        mode: Option<Mode>,
    }
}

words! {
    /// Which requests are shed first.
    pub enum Priority {
        /// Last: they have the whole bound.
        Critical = "critical",
        /// While 90 % of the bound are in use.
        Default = "default",
        /// First: while 70 % of the bound are in use.
        Sheddable = "sheddable",
    }
}

section! {
    /// Priorities of callers, by a claim of theirs.
    pub struct PriorityFromSection {
        /// The claim whose text chooses; clients of API keys have `tier`.
        claim: String = "tier",
        /// Text to priority, such as `gold: critical`. Any other text leaves the rule's own.
        values: BTreeMap<String, Priority>,
    }
}
