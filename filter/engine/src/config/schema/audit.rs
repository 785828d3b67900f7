//! What the operator's log is told.

use crate::audit::Sample;
use crate::section;

section! {
    /// Which audit events are written. Refusals always are.
    pub struct AuditSection {
        /// The share of allowed requests that have an event too (`request_allowed`), such as `1%` or `1/1000`; `0%`: none. Chosen by the request id: wherever the share is the same, so is the choice.
        sample_allowed: Sample = "0%",
    }
}
