//! What a refused client is told: a status, a reason code that stays the same for ever, a challenge, a problem document.

mod denial;
mod local;
mod reason;

pub use denial::{Answer, Denial};
pub use local::{LocalAnswer, LocalDocument};
pub use reason::{BearerError, Reason};
