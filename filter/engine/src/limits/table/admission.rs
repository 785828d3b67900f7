//! What becomes of a demand: admitted with a charge, or refused.

use std::time::Duration;

use super::key::Slot;
use crate::limits::algorithm::{Algorithm, Refused, Spent, Standing};
use crate::limits::hash::Fingerprint;
use crate::ports::StoreUnavailable;

/// A demand that was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// How the client stands after it; `None` if it was admitted uncounted ([`Overflow::Allow`]).
    pub standing: Option<Standing>,
    /// What was charged, for [`Table::give_back`]; `None` if it was admitted uncounted.
    pub charge: Option<Charge>,
    /// The table had no place for the client: to be counted, so that the operator can enlarge it.
    pub overflowed: bool,
}

/// A demand that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// The table had no place for the client: to be counted, so that the operator can enlarge it.
    pub overflowed: bool,
}

impl Denied {
    pub(super) fn because(reason: Reason) -> Self {
        Self { reason, overflowed: false }
    }
}

/// Why a demand was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The quota is used up.
    Limit(Refused),
    /// The table has no place for the client, and the limit says [`Overflow::Deny`].
    TableFull {
        /// When the first place may become free.
        retry_after: Duration,
    },
    /// Other workers were faster too many times in a row.
    Contended,
    /// The host's shared data cannot be used.
    StoreUnavailable,
    /// The shared data hold something under the table's key that the table did not write.
    Corrupt,
}

impl From<StoreUnavailable> for Reason {
    fn from(_: StoreUnavailable) -> Self {
        Self::StoreUnavailable
    }
}

impl From<StoreUnavailable> for Denied {
    fn from(error: StoreUnavailable) -> Self {
        Self::because(error.into())
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Limit(_) => "the quota is used up",
            Self::TableFull { .. } => "the limit's table has no place for another client",
            Self::Contended => "other workers changed the counter at every try",
            Self::StoreUnavailable => "the host's shared data cannot be used",
            Self::Corrupt => "the shared data hold something that is no counter",
        })
    }
}

impl std::error::Error for Reason {}

/// What one admitted demand charged, and where: kept with the request while a refund is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    pub(super) place: CounterPlace,
    pub(super) algorithm: Algorithm,
    pub(super) spent: Spent,
}

/// Where a counter stands in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CounterPlace {
    pub(super) slot: Slot,
    pub(super) id: Fingerprint,
}

impl Charge {
    /// The quota that it was charged to.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Where its counter stands.
    pub fn place(&self) -> CounterPlace {
        self.place
    }

    /// The period of the lease clock and the number of the slots that it took, where it is of requests in flight.
    pub fn slots(&self) -> Option<(u64, u32)> {
        self.algorithm.is_in_flight().then_some((self.spent.mark, u32::try_from(self.spent.amount).unwrap_or(u32::MAX)))
    }
}
