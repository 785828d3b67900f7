//! What operators have pushed: one bounded value in shared data, and a small number that tells when it has changed.
//!
//! The value is a counter (8 bytes, little endian) and the entries as lines of JSON. Who writes it adds one to the
//! counter, by compare-and-set, and then raises the number to it. Readers look at the number only. If a writer vanishes
//! between the two steps, readers find the new value all the same within [`FULL_LOOK_EVERY`].

use std::time::Duration;

use super::entry::{Entry, Target, What};
use super::list::List;
use super::reader::MAX_SECONDS;
use super::table::HashKey;
use crate::claims::Claims;
use crate::ports::{Expected, SharedStore, StoreUnavailable, Version, WriteOutcome};
use crate::time::UnixNanos;

/// When a push takes effect on the other workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// At their next request: each request reads a small value from shared data, about 0.7 microseconds in Envoy (0.1 as
    /// long as nothing was ever pushed).
    Immediate,
    /// At their next tick, within [`PUSH_TICK`](super::PUSH_TICK); requests pay nothing.
    Tick,
}

/// How pushed entries are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushOptions {
    /// When a push takes effect on the other workers; on the one that takes it, at once.
    pub consistency: Consistency,
    /// How long an entry holds that names no `until`: the longest lifetime of a token. Counts from the push, or from
    /// `before` where that is later.
    pub default_lifetime: Duration,
    /// The most entries.
    pub max_entries: usize,
    /// The most bytes of all entries together, as JSON.
    pub max_bytes: usize,
}

impl Default for PushOptions {
    /// At once, 24 hours, 1,000 entries, 128 KiB.
    fn default() -> Self {
        Self {
            consistency: Consistency::Immediate,
            default_lifetime: Duration::from_secs(24 * 3600),
            max_entries: 1_000,
            max_bytes: 128 * 1024,
        }
    }
}

/// Why a push, a lift or a listing could not be done. Nothing was changed, and nothing was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushError {
    /// Pushes are not switched on.
    Disabled,
    /// `until` has passed already: the entry would do nothing.
    AlreadyOver,
    /// As many entries, none of them expired, stand as may.
    Full,
    /// Too many workers wrote at once: try again.
    Contended,
    /// The host's shared data cannot be used, so the other workers would not learn of it.
    StoreUnavailable,
    /// What stands in shared data is not ours.
    Unreadable,
}

impl PushError {
    /// The stable name for counters and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::AlreadyOver => "already_over",
            Self::Full => "full",
            Self::Contended => "contended",
            Self::StoreUnavailable => "store_unavailable",
            Self::Unreadable => "unreadable",
        }
    }
}

impl std::fmt::Display for PushError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Disabled => "pushed revocations are not switched on",
            Self::AlreadyOver => "`until` has passed already",
            Self::Full => "there is no room for another pushed revocation; lift one, or put them into the list",
            Self::Contended => "too many pushes at once; try again",
            Self::StoreUnavailable => "the host's shared data cannot be used",
            Self::Unreadable => "the pushed revocations in shared data cannot be read",
        })
    }
}

impl std::error::Error for PushError {}

impl From<StoreUnavailable> for PushError {
    fn from(StoreUnavailable: StoreUnavailable) -> Self {
        Self::StoreUnavailable
    }
}

pub(super) const LOG_KEY: &str = "portcullis/revocation/pushed/v1/log";
pub(super) const CHANGES_KEY: &str = "portcullis/revocation/pushed/v1/changes";

/// How often a tick looks at the value itself.
pub(super) const FULL_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a write is tried against other workers. Each lost race means that another one won.
const MAX_TRIES: usize = 64;
/// An entry is kept so long after its time, as long as there is room: a clock that leapt forward and comes back finds it.
const GRACE_SECONDS: u64 = 3600;

/// What this worker knows of what was pushed.
#[derive(Debug)]
pub(super) struct Pushed {
    options: PushOptions,
    key: HashKey,
    list: List,
    /// The changes that `list` contains.
    seen: u64,
    looked_at: Option<UnixNanos>,
}

/// What a look at shared data brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// Something was pushed or lifted.
    Changed,
}

impl Pushed {
    pub fn new(options: PushOptions, key: HashKey) -> Self {
        Self { options, key, list: List::of([], key), seen: 0, looked_at: None }
    }

    pub fn options(&self) -> &PushOptions {
        &self.options
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn check(&self, claims: &Claims, issued_at: Option<UnixNanos>, now: UnixNanos) -> Option<What> {
        self.list.check(claims, issued_at, now)
    }

    /// Loads what was pushed since the last look, if anything was.
    pub fn observe(&mut self, store: &dyn SharedStore) -> Result<Look, PushError> {
        let changes = changes(store)?.0;
        if changes <= self.seen {
            return Ok(Look::Same);
        }
        let look = self.load(store);
        // What cannot be read is not read again before it changes.
        self.seen = self.seen.max(changes);
        look
    }

    /// As [`Self::observe`], and now and then a look at the value itself.
    pub fn on_tick(&mut self, store: &dyn SharedStore, now: UnixNanos) -> Result<Look, PushError> {
        let is_recent = |at: UnixNanos| at <= now && now.since(at) < FULL_LOOK_EVERY;
        if self.looked_at.is_some_and(is_recent) {
            return self.observe(store);
        }
        self.looked_at = Some(now);
        self.load(store)
    }

    /// Adds an entry, or joins it with the one that has the same target.
    pub fn push(
        &mut self,
        mut entry: Entry<'static>,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<(), PushError> {
        if entry.is_over(now, 0) {
            return Err(PushError::AlreadyOver);
        }
        let lifetime = self.options.default_lifetime.as_secs().max(1);
        let from = now.as_secs().max(entry.before.unwrap_or(0));
        // What is written must be readable: no time is later than a reader accepts.
        entry.until.get_or_insert(from.saturating_add(lifetime).min(MAX_SECONDS));
        let options = self.options;
        self.change(store, |entries| {
            entries.retain(|entry| !entry.is_over(now, GRACE_SECONDS));
            match entries.iter_mut().find(|standing| standing.target == entry.target) {
                // One that is over is not revived with its old times.
                Some(standing) if standing.is_over(now, 0) => *standing = entry.clone(),
                Some(standing) => standing.join(&entry),
                None => entries.push(entry.clone()),
            }
            if !has_room(entries, &options) {
                entries.retain(|entry| !entry.is_over(now, 0));
            }
            if has_room(entries, &options) { Ok(()) } else { Err(PushError::Full) }
        })
    }

    /// Takes an entry back; `false` where none has this target.
    pub fn lift(&mut self, target: &Target<'_>, store: &dyn SharedStore, now: UnixNanos) -> Result<bool, PushError> {
        let mut was_there = false;
        let lifted = self.change(store, |entries| {
            let is_it = |entry: &Entry<'_>| {
                let Target { what, name, issuer } = &entry.target;
                (*what, name, issuer) == (target.what, &target.name, &target.issuer)
            };
            was_there = entries.iter().any(|entry| is_it(entry) && !entry.is_over(now, 0));
            entries.retain(|entry| !is_it(entry));
            Ok(())
        });
        lifted.map(|()| was_there)
    }

    /// What stands and is not over.
    pub fn entries(&self, store: &dyn SharedStore, now: UnixNanos) -> Result<Vec<Entry<'static>>, PushError> {
        let Log { mut entries, .. } = Log::read(store)?;
        entries.retain(|entry| !entry.is_over(now, 0));
        Ok(entries)
    }

    fn change(
        &mut self,
        store: &dyn SharedStore,
        mut change: impl FnMut(&mut Vec<Entry<'static>>) -> Result<(), PushError>,
    ) -> Result<(), PushError> {
        for _ in 0..MAX_TRIES {
            let mut log = Log::read(store)?;
            change(&mut log.entries)?;
            log.changes = log.changes.saturating_add(1);
            if store.compare_and_set(LOG_KEY, &log.encode(), log.expected)? == WriteOutcome::Written {
                self.take(&log);
                return raise(store, log.changes);
            }
        }
        Err(PushError::Contended)
    }

    fn load(&mut self, store: &dyn SharedStore) -> Result<Look, PushError> {
        let Some((value, version)) = store.get(LOG_KEY)? else { return Ok(Look::Same) };
        if Log::changes_of(&value)? <= self.seen {
            return Ok(Look::Same);
        }
        self.take(&Log::decode(&value, version)?);
        Ok(Look::Changed)
    }

    fn take(&mut self, log: &Log) {
        self.list = List::of(&log.entries, self.key);
        self.seen = log.changes;
    }
}

/// The value in shared data.
struct Log {
    changes: u64,
    entries: Vec<Entry<'static>>,
    expected: Expected,
}

impl Log {
    fn read(store: &dyn SharedStore) -> Result<Self, PushError> {
        let Some((value, version)) = store.get(LOG_KEY)? else {
            // Numbers that outlived a lost value go on, or nobody would look.
            return Ok(Self { changes: changes(store)?.0, entries: Vec::new(), expected: Expected::Absent });
        };
        Self::decode(&value, version)
    }

    fn changes_of(value: &[u8]) -> Result<u64, PushError> {
        value.first_chunk().map(|changes| u64::from_le_bytes(*changes)).ok_or(PushError::Unreadable)
    }

    fn decode(value: &[u8], version: Version) -> Result<Self, PushError> {
        let changes = Self::changes_of(value)?;
        let lines = value.get(8..).unwrap_or_default().split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries = lines.map(Entry::from_json).collect::<Result<_, _>>().map_err(|_| PushError::Unreadable)?;
        Ok(Self { changes, entries, expected: Expected::Unchanged(version) })
    }

    fn encode(&self) -> Vec<u8> {
        let mut value = self.changes.to_le_bytes().to_vec();
        for entry in &self.entries {
            value.extend_from_slice(line(entry).as_bytes());
        }
        value
    }
}

/// JSON writes a line break within a text as an escape, so a line is an entry.
fn line(entry: &Entry<'_>) -> String {
    format!("{}\n", entry.to_json())
}

fn has_room(entries: &[Entry<'_>], options: &PushOptions) -> bool {
    let bytes = || entries.iter().map(|entry| line(entry).len()).fold(0, usize::saturating_add);
    entries.len() <= options.max_entries && bytes() <= options.max_bytes
}

/// The number of changes that is announced, 0 where there is none.
fn changes(store: &dyn SharedStore) -> Result<(u64, Expected), PushError> {
    let Some((value, version)) = store.get(CHANGES_KEY)? else { return Ok((0, Expected::Absent)) };
    let changes = value.try_into().map(u64::from_le_bytes).map_err(|_| PushError::Unreadable)?;
    Ok((changes, Expected::Unchanged(version)))
}

/// Announces a change, unless a later one is announced already.
fn raise(store: &dyn SharedStore, to: u64) -> Result<(), PushError> {
    for _ in 0..MAX_TRIES {
        let (standing, expected) = changes(store)?;
        if standing >= to {
            return Ok(());
        }
        if store.compare_and_set(CHANGES_KEY, &to.to_le_bytes(), expected)? == WriteOutcome::Written {
            return Ok(());
        }
    }
    Err(PushError::Contended)
}
