//! Leases: units of a global limit that the service has granted ahead, and that all workers of this proxy spend from shared data.
//!
//! What stands there of one client is a [`Counter`] of the lease's own [`Table`]: units that are left, or that the service has refused,
//! and until when. All changes go by compare-and-set.
//!
//! **Guarantee.** No more is ever spent than the service has granted: a unit is put there after its grant, and taken once. A unit
//! that is not spent in time is lost, and stays counted at the service: clients get less then, never more. A lease that is added to another
//! never makes that one last longer.
//!
//! **Clock steps.** Units that would last longer than a lease ever does are remnants of an old clock, and lost.

use std::time::Duration;

use crate::limits::{Counter, Descriptor, Reason, Table};
use crate::ports::SharedStore;
use crate::time::UnixNanos;

/// How much is asked for ahead, and for how long it may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How many units are asked for at once.
    pub size: u32,
    /// How long they may be spent.
    pub length: Duration,
}

/// What a lease says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spend {
    /// Its cost was taken.
    Spent,
    /// The service has to be asked, for so many units.
    Ask(u64),
    /// The service has refused as much, and has said that it will for so long.
    Refused(Duration),
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
    ///
    /// Where shared data fail, or have no place for the client, the service is asked for the request alone.
    pub fn spend(
        &self,
        table: &Table,
        descriptor: &Descriptor,
        cost: u64,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Spend {
        let spent = table.update(store, descriptor.as_bytes(), now, |counter| self.spent(counter, cost, now));
        spent.ok().flatten().unwrap_or(Spend::Ask(cost))
    }

    /// Takes up what the service has said.
    ///
    /// # Errors
    /// [`Reason`] where the shared data cannot be used: then what was granted is lost.
    pub fn heed(
        &self,
        table: &Table,
        descriptor: &Descriptor,
        news: News,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<(), Reason> {
        table.update(store, descriptor.as_bytes(), now, |counter| (self.after(counter, news, now), ())).map(|_| ())
    }

    /// Puts back what a request has taken that is refused after all; what the lease no longer lasts for is lost.
    ///
    /// # Errors
    /// [`Reason`] where the shared data cannot be used: then it is lost.
    pub fn put_back(
        &self,
        table: &Table,
        descriptor: &Descriptor,
        cost: u64,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<(), Reason> {
        let back = |counter| match self.state(counter, now) {
            State::Units { left, until } => State::Units { left: left.saturating_add(bounded(cost)), until }.counter(),
            State::Nothing | State::Singly { .. } | State::Refused { .. } => counter,
        };
        table.update(store, descriptor.as_bytes(), now, |counter| (back(counter), ())).map(|_| ())
    }

    fn spent(&self, counter: Counter, cost: u64, now: UnixNanos) -> (Counter, Spend) {
        let size = u64::from(self.size);
        match self.state(counter, now) {
            State::Units { left, until } => match u64::from(left).checked_sub(cost) {
                Some(left) => (State::Units { left: bounded(left), until }.counter(), Spend::Spent),
                None => (counter, Spend::Ask(size.max(cost))),
            },
            State::Refused { cost: refused, until } if cost >= u64::from(refused) => {
                (counter, Spend::Refused(until.since(now)))
            }
            State::Refused { .. } | State::Singly { .. } => (counter, Spend::Ask(cost)),
            State::Nothing => (counter, Spend::Ask(size.max(cost))),
        }
    }

    fn after(&self, counter: Counter, news: News, now: UnixNanos) -> Counter {
        let ends = |wait: Option<Duration>| now.plus(wait.unwrap_or(self.length).min(LONGEST_REFUSAL));
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
            (News::Refused { cost, wait }, State::Refused { cost: before, until }) => {
                State::Refused { cost: before.min(bounded(cost)), until: until.max(ends(wait)) }.counter()
            }
            (News::Refused { cost, wait }, _) => State::Refused { cost: bounded(cost), until: ends(wait) }.counter(),
        }
    }

    fn state(&self, counter: Counter, now: UnixNanos) -> State {
        let until = UnixNanos(counter.busy_until);
        if until <= now {
            return State::Nothing;
        }
        // The lower half.
        let amount = counter.memo as u32;
        match counter.memo >> 32 {
            UNITS if until <= now.plus(self.length) => State::Units { left: amount, until },
            SINGLY => State::Singly { until },
            REFUSED => State::Refused { cost: amount, until },
            _ => State::Nothing,
        }
    }
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
    /// Requests of such a cost were refused.
    Refused {
        cost: u32,
        until: UnixNanos,
    },
}

impl State {
    fn counter(self) -> Counter {
        let (kind, amount, until) = match self {
            Self::Nothing => return Counter::default(),
            Self::Units { left, until } => (UNITS, left, until),
            Self::Singly { until } => (SINGLY, 0, until),
            Self::Refused { cost, until } => (REFUSED, cost, until),
        };
        Counter { busy_until: until.0, memo: (kind << 32) | u64::from(amount) }
    }
}

fn bounded(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// The longest that a refusal is remembered, whatever the service says: the longest month, and a day.
pub const LONGEST_REFUSAL: Duration = Duration::from_secs(32 * 86_400);
const UNITS: u64 = 1;
const SINGLY: u64 = 2;
const REFUSED: u64 = 3;

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
