//! The state of one client: offences in a window, or a ban, and how often it was banned before. Pure: no store, no clock.

use std::time::Duration;

use crate::time::{UnixNanos, nanos};

/// How many offences ban, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// So many offences within a window ban.
    pub offences: u32,
    /// The window, from its first offence on.
    pub window: Duration,
    /// How long a first ban holds.
    pub ban: Duration,
    /// The longest ban; each holds twice as long as the one before.
    pub ban_max: Duration,
    /// How long after its end a ban still counts for the length of the next one.
    pub forget: Duration,
}

impl Terms {
    /// How long the ban holds that is the client's `strikes`th.
    pub fn length(&self, strikes: u16) -> Duration {
        let doubled = u32::from(strikes.saturating_sub(1));
        let factor = 1u32.checked_shl(doubled).unwrap_or(u32::MAX);
        self.ban.checked_mul(factor).unwrap_or(Duration::MAX).min(self.ban_max)
    }
}

/// What an offence led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is the `n`th of its window.
    Counted(u32),
    /// A ban began.
    Begun(Ban),
    /// The client is banned already: nothing changed.
    Standing,
}

/// A ban that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// When it began.
    pub since: UnixNanos,
    /// When it ends.
    pub until: UnixNanos,
    /// How often the client was banned, this time included, as far as it is remembered; 0 where an operator began it.
    pub strikes: u16,
}

/// What the table stores of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    /// When the window or the ban began.
    since: UnixNanos,
    /// When it ends.
    until: UnixNanos,
    /// When earlier bans count no more.
    forget_at: UnixNanos,
    /// Offences in the window.
    offences: u32,
    strikes: u16,
    is_ban: bool,
}

/// How much an entry is still needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Nothing in it counts any more.
    Idle,
    /// It only remembers that the client was banned; the later this ends, the more it is needed.
    Remembers(UnixNanos),
    /// A window runs, or a ban holds, until then.
    Busy(UnixNanos),
}

impl Entry {
    /// The ban that is in force.
    pub fn ban(&self, now: UnixNanos) -> Option<Ban> {
        let holds = self.is_ban && now < self.until;
        holds.then_some(Ban { since: self.since, until: self.until, strikes: self.strikes })
    }

    /// Counts an offence.
    ///
    /// It never bans before `terms.offences` were counted in one window. An offence while a ban holds does not make it longer.
    pub fn offend(&mut self, terms: &Terms, now: UnixNanos) -> Recorded {
        if self.ban(now).is_some() {
            return Recorded::Standing;
        }
        if self.forget_at <= now {
            self.strikes = 0;
        }
        if self.is_ban || now >= self.until {
            *self = Self { since: now, until: now.plus(terms.window), offences: 0, is_ban: false, ..*self };
        }
        self.offences = self.offences.saturating_add(1);
        if self.offences < terms.offences {
            return Recorded::Counted(self.offences);
        }
        let strikes = self.strikes.saturating_add(1);
        let ban = Ban { since: now, until: now.plus(terms.length(strikes)), strikes };
        *self = Self::banned(ban, terms);
        Recorded::Begun(ban)
    }

    /// A ban that an operator wants, whatever stood there; earlier bans stay remembered.
    pub fn impose(&mut self, length: Duration, terms: &Terms, now: UnixNanos) -> Ban {
        let strikes = if self.is_ban || self.forget_at > now { self.strikes } else { 0 };
        let ban = Ban { since: now, until: now.plus(length), strikes };
        *self = Self::banned(ban, terms);
        ban
    }

    /// How much the entry is needed at `now`.
    pub fn need(&self, now: UnixNanos) -> Need {
        let end = self.until.plus(GRACE);
        if now < end {
            Need::Busy(end)
        } else if self.strikes > 0 && now < self.forget_at {
            Need::Remembers(self.forget_at)
        } else {
            Need::Idle
        }
    }

    /// After the clock has stepped back, a window or a ban begins anew, as long as it was: nothing is lifted, and nothing lasts until
    /// the clock is where it was. Whether there was something to change.
    pub fn rebase(&mut self, now: UnixNanos) -> bool {
        if self.since.0 <= now.0.saturating_add(CLOCK_SLACK) {
            return false;
        }
        let back = self.since.since(now);
        self.since = now;
        self.until = UnixNanos(self.until.0.saturating_sub(nanos(back)));
        self.forget_at = UnixNanos(self.forget_at.0.saturating_sub(nanos(back)));
        true
    }

    fn banned(ban: Ban, terms: &Terms) -> Self {
        let Ban { since, until, strikes } = ban;
        Self { since, until, forget_at: until.plus(terms.forget), offences: 0, strikes, is_ban: true }
    }

    pub fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let times = [self.since, self.until, self.forget_at].map(|time| time.0.to_le_bytes());
        let rest = self.offences.to_le_bytes().into_iter().chain(self.strikes.to_le_bytes());
        let all = times.into_iter().flatten().chain(rest).chain([u8::from(self.is_ban)]);
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }

    pub fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let word = |at: usize| {
            let found = bytes.get(at..at.saturating_add(8)).and_then(|word| word.try_into().ok());
            UnixNanos(u64::from_le_bytes(found.unwrap_or_default()))
        };
        let [.., a, b, c, d, e, f, is_ban, _] = *bytes;
        Self {
            since: word(0),
            until: word(8),
            forget_at: word(16),
            offences: u32::from_le_bytes([a, b, c, d]),
            strikes: u16::from_le_bytes([e, f]),
            is_ban: is_ban == 1,
        }
    }
}

pub(super) const ENTRY_BYTES: usize = 32;
/// How long an entry is kept from other clients after its end: workers read the clock at different moments.
const GRACE: Duration = Duration::from_millis(100);
/// Workers read the clock at slightly different moments; a step back is more than that.
const CLOCK_SLACK: u64 = 1_000_000_000;

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
