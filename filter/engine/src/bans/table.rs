//! The fixed table of bans in shared data: exact over all workers, bounded in memory, never keyed by a client.
//!
//! It is laid out as the table of limits ([`limits::table`](crate::limits::table) says why): a client's keyed hash chooses
//! its one bucket of thirty-two entries, and names it there. An offence reads the bucket and writes it back by
//! compare-and-set, again and again until no other worker was faster. A check reads only, and no bucket exists before its first
//! offence.
//!
//! **Exact.** The offences of a client form one sequence, so a ban begins with exactly the offence that [`Terms`] say,
//! whichever workers saw them, and from that write on each check of each worker finds it. Requests that were checked before, and fail
//! after, are at most one for each other worker: a worker judges one request at a time, and one that was held is checked again.
//!
//! **A busy entry is never given away**: one whose window runs, or whose ban holds. One that only remembers that its client
//! was banned before is, where nothing idle is left; the one that would be forgotten first goes first.
//!
//! **Changes of configuration.** The key is `portcullis/ban/<name>/<mode>/<layout>/<capacity>/<bucket>`. Another capacity is another
//! table, and so are the bans of monitor mode: whoever was only watched is not banned once the ban is enforced.
//! Other terms hold for what begins after them; a ban that holds keeps its end.

use std::num::NonZeroU32;
use std::time::Duration;

use super::entry::{Ban, ENTRY_BYTES, Entry, Need, Recorded, Terms};
use crate::limits::{Fingerprint, Seed, buckets_for};
use crate::ports::{Expected, SharedStore, StoreUnavailable, WriteOutcome};
use crate::time::UnixNanos;

/// The bans of one kind.
#[derive(Debug, Clone)]
pub struct Table {
    /// `portcullis/ban/<name>/<mode>/<layout>/<capacity>/`
    prefix: String,
    buckets: u32,
    seed: Seed,
}

/// A client in a table, by its keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(Fingerprint);

impl Id {
    /// The form in which operators see it.
    pub fn to_text(self) -> String {
        format!("{:032x}", self.0.bits())
    }

    /// Reads what [`Self::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(Fingerprint::from_bits(bits)))
    }
}

/// How a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not banned.
    Free,
    /// It is banned.
    Banned(Ban),
    /// It has no entry, and there is no place for one before this instant.
    Full {
        /// When the first place may become free.
        until: UnixNanos,
    },
}

/// Why a table cannot be used, or a client not be entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// All entries of the client's bucket are busy.
    Full,
    /// Other workers were faster too many times in a row.
    Contended,
    /// The host's shared data cannot be used.
    StoreUnavailable,
    /// The shared data hold something under the table's key that the table did not write.
    Corrupt,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "the table has no place for another client",
            Self::Contended => "other workers changed the entry at every try",
            Self::StoreUnavailable => "the host's shared data cannot be used",
            Self::Corrupt => "the shared data hold something that is no table of bans",
        })
    }
}

impl std::error::Error for Trouble {}

impl From<StoreUnavailable> for Trouble {
    fn from(StoreUnavailable: StoreUnavailable) -> Self {
        Self::StoreUnavailable
    }
}

impl Table {
    /// The table of the ban `name`, with room for `capacity` clients. Nothing is written
    /// before the first offence.
    pub fn new(name: &str, is_monitored: bool, capacity: NonZeroU32, seed: Seed) -> Self {
        let mode = if is_monitored { "monitor" } else { "enforce" };
        Self {
            prefix: format!("portcullis/ban/{name}/{mode}/{LAYOUT}/{capacity}/"),
            buckets: buckets_for(capacity),
            seed,
        }
    }

    /// The client that `descriptor` describes.
    pub fn id(&self, descriptor: &[u8]) -> Id {
        Id(Fingerprint::new(&self.seed, &[descriptor]))
    }

    /// How the client stands; one read, where nobody has to be told that the clock has stepped back.
    ///
    /// # Errors
    /// [`Trouble`] where the shared data cannot be used.
    pub fn check(&self, store: &dyn SharedStore, id: Id, now: UnixNanos) -> Result<Standing, Trouble> {
        let key = self.key(id);
        let Some(mut read) = Read::existing(store, &key)? else { return Ok(Standing::Free) };
        if read.bucket.rebase(now) {
            // If another worker is faster, it does the same, or the next check does.
            read.write_back(store, &key)?;
        }
        Ok(match read.bucket.place(id.0, now) {
            Place::Held(_, entry) => entry.ban(now).map_or(Standing::Free, Standing::Banned),
            Place::Usable(_) => Standing::Free,
            Place::Full { until } => Standing::Full { until },
        })
    }

    /// Counts an offence of the client.
    ///
    /// # Errors
    /// [`Trouble`]; nothing is counted then.
    pub fn offend(&self, store: &dyn SharedStore, id: Id, terms: &Terms, now: UnixNanos) -> Result<Recorded, Trouble> {
        self.change(store, id, now, |entry| match entry.offend(terms, now) {
            Recorded::Standing => (Recorded::Standing, Write::Nothing),
            recorded => (recorded, Write::Entry),
        })
    }

    /// Bans the client for `length`, from now on, whatever stood there.
    ///
    /// # Errors
    /// [`Trouble`]; nothing has changed then.
    pub fn impose(
        &self,
        store: &dyn SharedStore,
        id: Id,
        length: Duration,
        terms: &Terms,
        now: UnixNanos,
    ) -> Result<Ban, Trouble> {
        self.change(store, id, now, |entry| (entry.impose(length, terms, now), Write::Entry))
    }

    /// Forgets all of the client: its ban, its offences and its earlier bans. Gives the ban that was in force.
    ///
    /// # Errors
    /// [`Trouble`]; nothing has changed then.
    pub fn lift(&self, store: &dyn SharedStore, id: Id, now: UnixNanos) -> Result<Option<Ban>, Trouble> {
        let lifted = self.change(store, id, now, |entry| {
            let ban = entry.ban(now);
            let write = if *entry == Entry::default() { Write::Nothing } else { Write::Entry };
            *entry = Entry::default();
            (ban, write)
        });
        // A client for whom there is no place has no ban.
        if lifted == Err(Trouble::Full) { Ok(None) } else { lifted }
    }

    fn change<T>(
        &self,
        store: &dyn SharedStore,
        id: Id,
        now: UnixNanos,
        mut change: impl FnMut(&mut Entry) -> (T, Write),
    ) -> Result<T, Trouble> {
        let key = self.key(id);
        for _ in 0..TRIES {
            let mut read = Read::from_store(store, &key)?;
            read.bucket.rebase(now);
            let (index, mut entry) = match read.bucket.place(id.0, now) {
                Place::Held(index, entry) => (index, entry),
                Place::Usable(index) => (index, Entry::default()),
                Place::Full { .. } => return Err(Trouble::Full),
            };
            let (result, write) = change(&mut entry);
            if write == Write::Nothing {
                return Ok(result);
            }
            read.bucket.put(index, id.0, entry);
            if read.write_back(store, &key)? == WriteOutcome::Written {
                return Ok(result);
            }
        }
        Err(Trouble::Contended)
    }

    fn key(&self, id: Id) -> String {
        let number = id.0.bucket(self.buckets).to_string();
        let mut key = String::with_capacity(self.prefix.len().saturating_add(number.len()));
        key.push_str(&self.prefix);
        key.push_str(&number);
        key
    }
}

/// How much shared memory a table takes at most, in bytes: for `portcullis check`.
pub fn memory_bytes(name: &str, capacity: NonZeroU32) -> u64 {
    const KEY_BYTES_BESIDE_NAME: u64 = 48;
    /// The host's hash node, two string headers and allocator rounding.
    const HOST_BYTES_PER_KEY: u64 = 160;
    let key = u64::try_from(name.len()).unwrap_or(u64::MAX).saturating_add(KEY_BYTES_BESIDE_NAME);
    let value = u64::try_from(BUCKET_BYTES).unwrap_or(u64::MAX);
    let each = key.saturating_add(value).saturating_add(HOST_BYTES_PER_KEY);
    u64::from(buckets_for(capacity)).saturating_mul(each)
}

/// Whether a change has to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Nothing,
    Entry,
}

/// Where a client's entry stands in its bucket.
enum Place {
    /// It has one.
    Held(usize, Entry),
    /// It has none, and this one may be used.
    Usable(usize),
    /// It has none, and all are busy.
    Full { until: UnixNanos },
}

/// A version byte, then the entries: the hash (16 bytes, zero if never used), and what [`Entry::to_bytes`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bucket(Vec<u8>);

impl Bucket {
    fn empty() -> Self {
        let mut bytes = vec![0; BUCKET_BYTES];
        if let Some(version) = bytes.first_mut() {
            *version = LAYOUT;
        }
        Self(bytes)
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == BUCKET_BYTES && bytes.first() == Some(&LAYOUT)).then_some(Self(bytes))
    }

    fn place(&self, id: Fingerprint, now: UnixNanos) -> Place {
        let mut best: Option<(Need, usize)> = None;
        for (index, chunk) in self.chunks().iter().enumerate() {
            let (owner, entry) = split(chunk);
            if owner == id.bits() {
                return Place::Held(index, entry);
            }
            let need = entry.need(now);
            if best.is_none_or(|(least, _)| need < least) {
                best = Some((need, index));
            }
        }
        match best {
            Some((Need::Busy(until), _)) => Place::Full { until },
            Some((_, index)) => Place::Usable(index),
            None => Place::Full { until: now },
        }
    }

    fn put(&mut self, index: usize, id: Fingerprint, entry: Entry) {
        if let Some(chunk) = self.chunks_mut().get_mut(index) {
            *chunk = join(id.bits(), entry);
        }
    }

    /// See [`Entry::rebase`]; whether there was something to change.
    fn rebase(&mut self, now: UnixNanos) -> bool {
        let mut changed = false;
        for chunk in self.chunks_mut() {
            let (owner, mut entry) = split(chunk);
            if entry.rebase(now) {
                *chunk = join(owner, entry);
                changed = true;
            }
        }
        changed
    }

    fn chunks(&self) -> &[[u8; SLOT_BYTES]] {
        self.0.get(1..).unwrap_or_default().as_chunks().0
    }

    fn chunks_mut(&mut self) -> &mut [[u8; SLOT_BYTES]] {
        self.0.get_mut(1..).unwrap_or_default().as_chunks_mut().0
    }
}

fn split(chunk: &[u8; SLOT_BYTES]) -> (u128, Entry) {
    let owner = chunk.first_chunk().copied().unwrap_or_default();
    let entry = chunk.last_chunk().copied().unwrap_or_default();
    (u128::from_le_bytes(owner), Entry::from_bytes(&entry))
}

fn join(owner: u128, entry: Entry) -> [u8; SLOT_BYTES] {
    let mut chunk = [0; SLOT_BYTES];
    let all = owner.to_le_bytes().into_iter().chain(entry.to_bytes());
    chunk.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    chunk
}

/// A bucket as it was read, and what has to hold when it is written.
struct Read {
    bucket: Bucket,
    expected: Expected,
}

impl Read {
    fn existing(store: &dyn SharedStore, key: &str) -> Result<Option<Self>, Trouble> {
        let Some((bytes, version)) = store.get(key)? else { return Ok(None) };
        let bucket = Bucket::from_bytes(bytes).ok_or(Trouble::Corrupt)?;
        Ok(Some(Self { bucket, expected: Expected::Unchanged(version) }))
    }

    fn from_store(store: &dyn SharedStore, key: &str) -> Result<Self, Trouble> {
        let absent = || Self { bucket: Bucket::empty(), expected: Expected::Absent };
        Ok(Self::existing(store, key)?.unwrap_or_else(absent))
    }

    fn write_back(&self, store: &dyn SharedStore, key: &str) -> Result<WriteOutcome, StoreUnavailable> {
        store.compare_and_set(key, &self.bucket.0, self.expected)
    }
}

/// A compare-and-set fails only when another worker's succeeds: so many failures in a row do not happen by chance.
const TRIES: u32 = 128;
const ENTRIES: u32 = 32;
const SLOT_BYTES: usize = 16 + ENTRY_BYTES;
const BUCKET_BYTES: usize = 1 + ENTRIES as usize * SLOT_BYTES;
/// The layout's version: in the value and in the key.
const LAYOUT: u8 = 2;

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
