//! Failures that only the service sees: a password that it refuses, a path that it does not have.

use super::Sender;

/// Who answers to which bans for the service's response to a request that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answerable {
    /// The index of the rule that has let it in.
    pub(crate) rule: u16,
    /// The indexes of the bans that count responses of this request.
    pub(crate) bans: Vec<usize>,
    /// What was known of its sender.
    pub(crate) sender: Sender,
    /// The proxy's request id.
    pub(crate) request_id: Option<String>,
}
