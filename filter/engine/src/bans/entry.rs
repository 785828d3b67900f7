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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixNanos = UnixNanos::from_secs(1_000_000);

    fn terms() -> Terms {
        let span = Duration::from_secs;
        Terms { offences: 3, window: span(60), ban: span(100), ban_max: span(500), forget: span(1000) }
    }

    fn at(seconds: u64) -> UnixNanos {
        START.plus(Duration::from_secs(seconds))
    }

    fn offend(entry: &mut Entry, seconds: u64) -> Recorded {
        entry.offend(&terms(), at(seconds))
    }

    fn ban_at(entry: &mut Entry, seconds: u64) {
        for _ in 0..3 {
            offend(entry, seconds);
        }
    }

    fn until(recorded: Recorded) -> u64 {
        match recorded {
            Recorded::Begun(ban) => ban.until.as_secs() - START.as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_offence_that_fills_the_window_bans_and_no_earlier_one() {
        let mut entry = Entry::default();
        assert_eq!(offend(&mut entry, 0), Recorded::Counted(1));
        assert_eq!(offend(&mut entry, 59), Recorded::Counted(2));
        assert_eq!(entry.ban(at(59)), None);
        assert_eq!(until(offend(&mut entry, 59)), 159);
        assert!(entry.ban(at(158)).is_some());
        assert_eq!(entry.ban(at(159)), None);
    }

    #[test]
    fn a_window_that_has_passed_counts_no_more() {
        let mut entry = Entry::default();
        offend(&mut entry, 0);
        offend(&mut entry, 30);
        assert_eq!(offend(&mut entry, 60), Recorded::Counted(1));
    }

    #[test]
    fn each_ban_is_twice_as_long_up_to_the_longest_and_is_forgotten_in_the_end() {
        let (mut entry, mut now) = (Entry::default(), 0);
        for expected in [100, 200, 400, 500, 500] {
            offend(&mut entry, now);
            offend(&mut entry, now);
            let end = until(offend(&mut entry, now));
            assert_eq!(end - now, expected);
            now = end;
        }
        now += 1000;
        offend(&mut entry, now);
        offend(&mut entry, now);
        assert_eq!(until(offend(&mut entry, now)) - now, 100);
    }

    #[test]
    fn knocking_at_a_closed_door_does_not_make_the_ban_longer() {
        let mut entry = Entry::default();
        ban_at(&mut entry, 0);
        let before = entry;
        for second in 0..100 {
            assert_eq!(offend(&mut entry, second), Recorded::Standing);
        }
        assert_eq!(entry, before);
        assert_eq!(offend(&mut entry, 100), Recorded::Counted(1));
    }

    #[test]
    fn an_operator_s_ban_is_no_repetition_and_forgets_none() {
        let mut entry = Entry::default();
        assert_eq!(entry.impose(Duration::from_secs(10), &terms(), at(0)).strikes, 0);
        assert_eq!(entry.ban(at(9)).map(|ban| ban.until), Some(at(10)));
        let mut entry = Entry::default();
        ban_at(&mut entry, 0);
        assert_eq!(entry.impose(Duration::from_secs(10), &terms(), at(50)).strikes, 1);
        assert_eq!(entry.ban(at(60)), None);
        assert_eq!(
            until({
                offend(&mut entry, 60);
                offend(&mut entry, 60);
                offend(&mut entry, 60)
            }),
            260
        );
    }

    #[test]
    fn a_clock_that_steps_back_lifts_nothing_and_bans_nothing() {
        let mut entry = Entry::default();
        ban_at(&mut entry, 1000);
        assert!(entry.ban(at(0)).is_some(), "lifted");
        assert!(entry.rebase(at(0)));
        assert!(entry.ban(at(99)).is_some());
        assert_eq!(entry.ban(at(100)), None, "longer than it was given");
        let mut entry = Entry::default();
        offend(&mut entry, 1000);
        offend(&mut entry, 1000);
        assert!(entry.rebase(at(0)));
        assert_eq!(entry.ban(at(0)), None);
        // What was counted stays counted, for as long as a window.
        assert!(matches!({ entry }.offend(&terms(), at(59)), Recorded::Begun(_)));
        assert_eq!(entry.offend(&terms(), at(60)), Recorded::Counted(1));
    }

    #[test]
    fn workers_whose_clocks_differ_a_little_change_nothing() {
        let mut entry = Entry::default();
        offend(&mut entry, 1);
        assert!(!entry.rebase(at(0)));
        assert_eq!(offend(&mut entry, 0), Recorded::Counted(2));
    }

    #[test]
    fn an_entry_is_busy_while_it_counts_and_then_remembers() {
        let mut entry = Entry::default();
        assert_eq!(entry.need(at(0)), Need::Idle);
        offend(&mut entry, 0);
        assert!(matches!(entry.need(at(60)), Need::Busy(_)));
        assert_eq!(entry.need(at(61)), Need::Idle);
        ban_at(&mut entry, 100);
        assert!(matches!(entry.need(at(200)), Need::Busy(_)));
        assert_eq!(entry.need(at(201)), Need::Remembers(at(1200)));
        assert_eq!(entry.need(at(1200)), Need::Idle);
        assert!(Need::Idle < Need::Remembers(at(0)) && Need::Remembers(at(9)) < Need::Busy(at(0)));
    }

    #[test]
    fn no_length_overflows() {
        let longest = Terms { ban: Duration::MAX, ban_max: Duration::MAX, ..terms() };
        assert_eq!(longest.length(u16::MAX), Duration::MAX);
        assert_eq!(terms().length(u16::MAX), Duration::from_secs(500));
        assert_eq!(terms().length(0), Duration::from_secs(100));
    }

    proptest! {
        #[test]
        fn a_stored_entry_is_read_back(
            times in prop::array::uniform3(any::<u64>()), offences: u32, strikes: u16, is_ban: bool
        ) {
            let [since, until, forget_at] = times.map(UnixNanos);
            let entry = Entry { since, until, forget_at, offences, strikes, is_ban };
            prop_assert_eq!(Entry::from_bytes(&entry.to_bytes()), entry);
        }

        /// Against a model that keeps every offence: no ban with fewer than the limit in its window, and none missing where a window of
        /// this length holds twice the limit less one.
        #[test]
        fn bans_are_never_early_and_never_far_too_late(gaps in prop::collection::vec(0..40u64, 1..80)) {
            let (mut entry, mut now, mut log) = (Entry::default(), 0, Vec::new());
            for gap in gaps {
                now += gap;
                match offend(&mut entry, now) {
                    Recorded::Standing => {}
                    Recorded::Counted(_) => {
                        log.push(now);
                        let recent = log.iter().filter(|then| now - **then < 60).count();
                        prop_assert!(recent < 5, "{recent} offences in one window, and no ban");
                    }
                    Recorded::Begun(_) => {
                        log.push(now);
                        prop_assert!(log.iter().filter(|then| now - **then < 60).count() >= 3);
                        log.clear();
                    }
                }
            }
        }
    }
}
