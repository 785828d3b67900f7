//! What a refused client is told: a status, a reason code that stays the same for ever, a challenge, a problem document.

mod denial;
mod reason;

pub use denial::{Answer, Denial};
pub use reason::{BearerError, Reason};
