//! Leases: units of a global limit that the service has granted ahead, and that all workers of this proxy spend from shared data.
//!
//! What stands there of one [`Holder`] is a [`Counter`] of the lease's own [`Table`]: units that are left, or that the service has refused,
//! and until when. All changes go by compare-and-set.
//!
//! **Guarantee.** No more is ever spent than the service has granted: a unit is put there after its grant, and taken once. A unit
//! that is not spent in time is lost, and stays counted at the service: clients get less then, never more. A lease that is added to another
//! never makes that one last longer.
//!
//! **A refusal** is remembered for [`MEMORY`] at most, however long the service says: then it is asked anew, so that a budget that was
//! raised or reset there is heeded. The client is told what the service has said. Another rate, or another service, never meets what was
//! said to the one before: both are part of the holder.
//!
//! **Clock steps.** What would last longer than a lease, or such a memory, ever does is a remnant of an old clock, and means nothing.

use std::time::Duration;

use crate::limits::{Algorithm, Counter, Descriptor, Reason, Table, whole_seconds};
use crate::ports::SharedStore;
use crate::time::{UnixNanos, nanos};

use super::Asked;

/// How much is asked for ahead, and for how long it may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How many units are asked for at once.
    pub size: u32,
    /// How long they may be spent.
    pub length: Duration,
}

/// Whose lease it is: a client, and how much it may. The table knows the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The client.
    pub descriptor: Descriptor,
    /// What the service is told that it may: the requests, and the window in nanoseconds (zero for a month).
    rate: (u64, u64),
}

impl Holder {
    /// The lease of a client that may as much as `algorithm` says.
    pub fn new(descriptor: Descriptor, algorithm: &Algorithm) -> Self {
        Self { descriptor, rate: rate(algorithm) }
    }

    /// Whether a question about `asked` is one for this lease.
    pub fn is_of(&self, asked: &Asked) -> bool {
        self.descriptor == asked.descriptor && self.rate == rate(&asked.algorithm)
    }

    /// Its name in the table, in parts of which only the last has no fixed length.
    fn parts(&self) -> [[u8; 8]; 2] {
        let (requests, window) = self.rate;
        [requests.to_le_bytes(), window.to_le_bytes()]
    }
}

fn rate(algorithm: &Algorithm) -> (u64, u64) {
    (algorithm.per_window(), algorithm.window().map_or(0, nanos))
}

/// What a lease says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spend {
    /// Its cost was taken.
    Spent,
    /// The service has to be asked, for so many units.
    Ask(u64),
    /// The service has refused as much a moment ago, and has said that it will for so long.
    Refused(Duration),
    /// The table has no place for the client: the service has to be asked for the request alone.
    NoPlace,
    /// The shared data fail: likewise.
    Unusable,
}

/// What the service has said to a question for units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// So many units are there beyond what the requests cost that have asked.
    Granted(u64),
    /// The units of a lease are not there; fewer may be.
    TooMuch(Option<Duration>),
    /// Not even the cost of one request is there.
    Refused {
        /// That cost.
        cost: u64,
        /// For how long, where the service says it.
        wait: Option<Duration>,
    },
}

impl Lease {
    /// Takes `cost` from what stands there, or says what to do.
    pub fn spend(&self, table: &Table, holder: &Holder, cost: u64, store: &dyn SharedStore, now: UnixNanos) -> Spend {
        let spent = update(table, holder, store, now, |counter| self.spent(counter, cost, now));
        spent.map_or(Spend::Unusable, |spent| spent.unwrap_or(Spend::NoPlace))
    }

    /// Takes up what the service has said; `false` where it has granted units that are lost, since the table has no place for them.
    ///
    /// # Errors
    /// [`Reason`] where the shared data cannot be used: then what was granted is lost.
    pub fn heed(
        &self,
        table: &Table,
        holder: &Holder,
        news: News,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<bool, Reason> {
        let heeded = update(table, holder, store, now, |counter| (self.after(counter, news, now), ()))?;
        Ok(heeded.is_some() || !matches!(news, News::Granted(1..)))
    }

    /// Puts back what a request has taken that is refused after all; what the lease no longer lasts for is lost.
    ///
    /// # Errors
    /// [`Reason`] where the shared data cannot be used: then it is lost.
    pub fn put_back(
        &self,
        table: &Table,
        holder: &Holder,
        cost: u64,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<(), Reason> {
        let back = |counter| match self.state(counter, now) {
            State::Units { left, until } => State::Units { left: left.saturating_add(bounded(cost)), until }.counter(),
            State::Nothing | State::Singly { .. } | State::Refused { .. } => counter,
        };
        update(table, holder, store, now, |counter| (back(counter), ())).map(|_| ())
    }

    /// The longest time for which anything stands in its table.
    pub fn longest(&self) -> Duration {
        self.length.max(MEMORY)
    }

    fn spent(&self, counter: Counter, cost: u64, now: UnixNanos) -> (Counter, Spend) {
        let size = u64::from(self.size);
        match self.state(counter, now) {
            State::Units { left, until } => match u64::from(left).checked_sub(cost) {
                Some(left) => (State::Units { left: bounded(left), until }.counter(), Spend::Spent),
                None => (counter, Spend::Ask(size.max(cost))),
            },
            State::Refused { cost: refused, until, told_beyond } if cost >= u64::from(refused) => {
                let told = until.plus(Duration::from_secs(told_beyond.into()));
                (counter, Spend::Refused(told.since(now)))
            }
            State::Refused { .. } | State::Singly { .. } => (counter, Spend::Ask(cost)),
            State::Nothing => (counter, Spend::Ask(size.max(cost))),
        }
    }

    fn after(&self, counter: Counter, news: News, now: UnixNanos) -> Counter {
        let remembered = |wait: Option<Duration>| wait.unwrap_or(self.length).min(MEMORY);
        let ends = |wait| now.plus(remembered(wait));
        match (news, self.state(counter, now)) {
            (News::Granted(0), _) => counter,
            (News::Granted(units), State::Units { left, until }) if left > 0 => {
                let until = until.min(now.plus(self.length));
                State::Units { left: left.saturating_add(bounded(units)), until }.counter()
            }
            (News::Granted(units), _) => State::Units { left: bounded(units), until: now.plus(self.length) }.counter(),
            // What was granted to another worker meanwhile is there to be spent.
            (_, State::Units { left: 1.., .. }) => counter,
            (News::TooMuch(_), State::Refused { .. }) => counter,
            (News::TooMuch(wait), _) => State::Singly { until: ends(wait) }.counter(),
            (News::Refused { cost, wait }, before) => {
                let (cost, ends) = (bounded(cost), ends(wait));
                let (cost, until) = match before {
                    State::Refused { cost: before, until, .. } => (before.min(cost), until.max(ends)),
                    State::Nothing | State::Singly { .. } | State::Units { .. } => (cost, ends),
                };
                // The service's last word is what the client is told.
                let told = now.plus(wait.unwrap_or(self.length));
                State::Refused { cost, until, told_beyond: told_beyond(told.since(until)) }.counter()
            }
        }
    }

    fn state(&self, counter: Counter, now: UnixNanos) -> State {
        let until = UnixNanos(counter.busy_until);
        if until <= now {
            return State::Nothing;
        }
        // The lower half, and the middle: it has thirty bits.
        let (amount, beyond) = (counter.memo as u32, (counter.memo >> 32) as u32 & MOST_BEYOND);
        match counter.memo >> 62 {
            UNITS if until <= now.plus(self.length) => State::Units { left: amount, until },
            SINGLY if until <= now.plus(MEMORY) => State::Singly { until },
            REFUSED if until <= now.plus(MEMORY) => State::Refused { cost: amount, until, told_beyond: beyond },
            _ => State::Nothing,
        }
    }
}

fn update<T>(
    table: &Table,
    holder: &Holder,
    store: &dyn SharedStore,
    now: UnixNanos,
    step: impl FnMut(Counter) -> (Counter, T),
) -> Result<Option<T>, Reason> {
    let [requests, window] = holder.parts();
    table.update(store, &[&requests, &window, holder.descriptor.as_bytes()], now, step)
}

/// What stands there of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Nothing,
    /// To be spent; none may be left.
    Units {
        left: u32,
        until: UnixNanos,
    },
    /// A lease was refused: each request is asked about by itself.
    Singly {
        until: UnixNanos,
    },
    /// Requests of such a cost were refused. The client is told to wait until so many seconds after `until`.
    Refused {
        cost: u32,
        until: UnixNanos,
        told_beyond: u32,
    },
}

impl State {
    fn counter(self) -> Counter {
        let (kind, beyond, amount, until) = match self {
            Self::Nothing => return Counter::default(),
            Self::Units { left, until } => (UNITS, 0, left, until),
            Self::Singly { until } => (SINGLY, 0, 0, until),
            Self::Refused { cost, until, told_beyond } => (REFUSED, told_beyond, cost, until),
        };
        Counter { busy_until: until.0, memo: (kind << 62) | (u64::from(beyond) << 32) | u64::from(amount) }
    }
}

fn bounded(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// In whole seconds, since that is how clients are told.
fn told_beyond(wait: Duration) -> u32 {
    u32::try_from(whole_seconds(wait)).unwrap_or(MOST_BEYOND).min(MOST_BEYOND)
}

/// The longest that a refusal is remembered, whatever the service says: a budget that is raised, reset or bought is there again after
/// so long at most.
pub const MEMORY: Duration = Duration::from_secs(10);
/// Thirty-four years; no answer says more than one ([`super::answer`]).
const MOST_BEYOND: u32 = (1 << 30) - 1;
const UNITS: u64 = 1;
const SINGLY: u64 = 2;
const REFUSED: u64 = 3;

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
