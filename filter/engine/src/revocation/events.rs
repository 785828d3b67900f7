//! What an operator may want to know about revocations.

use super::entry::What;
use super::pushed::PushError;
use crate::key_sets::EventKind;
use crate::shared_list::Words;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something about the pulled list.
    List(EventKind),
    /// This worker uses a new list of so many entries.
    ListLoaded {
        /// How many.
        entries: usize,
    },
    /// An operator revoked something, on this worker.
    Pushed(What),
    /// An operator took something back, on this worker.
    Lifted(What),
    /// A push was refused, and the operator was told so.
    PushRefused(PushError),
    /// This worker uses what was pushed elsewhere.
    PushesLoaded {
        /// How many entries stand.
        entries: usize,
    },
    /// What was pushed cannot be read here: what was read before stays.
    PushesUnavailable(PushError),
}

impl Event {
    /// The stable name for counters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::List(kind) => kind.name(),
            Self::ListLoaded { .. } => "list_loaded",
            Self::Pushed(_) => "pushed",
            Self::Lifted(_) => "lifted",
            Self::PushRefused(_) => "push_refused",
            Self::PushesLoaded { .. } => "pushes_loaded",
            Self::PushesUnavailable(_) => "pushes_unavailable",
        }
    }

    /// Whether an operator should look at it: then it is logged.
    pub const fn is_trouble(&self) -> bool {
        match self {
            Self::List(kind) => kind.is_trouble(),
            Self::PushRefused(_) | Self::PushesUnavailable(_) => true,
            Self::ListLoaded { .. } | Self::Pushed(_) | Self::Lifted(_) | Self::PushesLoaded { .. } => false,
        }
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List(kind) => Words(kind).fmt(f),
            Self::ListLoaded { entries } => write!(f, "uses a new list of {entries} entries"),
            Self::Pushed(what) => write!(f, "a {} was revoked by push", what.name()),
            Self::Lifted(what) => write!(f, "a pushed revocation of a {} was lifted", what.name()),
            Self::PushRefused(error) => write!(f, "a push was refused: {error}"),
            Self::PushesLoaded { entries } => write!(f, "uses {entries} pushed entries"),
            Self::PushesUnavailable(error) => write!(f, "what was pushed cannot be read: {error}"),
        }
    }
}
