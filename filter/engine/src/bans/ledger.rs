//! What operators read: who was banned lately, by name. The table knows hashes only.
//!
//! One bounded value in shared data: a line of JSON for each ban that began, the oldest dropped where there is no room. It is
//! written when a ban begins and read when an operator asks; whether a ban still holds is the table's word alone, so nothing goes wrong
//! where a line is lost.

use serde_json::{Map, Value};

use super::table::{Id, Trouble};
use crate::ports::{Expected, SharedStore, WriteOutcome};

/// One ban that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The ban's name.
    pub ban: String,
    /// Whether it is only watched.
    pub is_monitored: bool,
    /// The client in the table.
    pub id: Id,
    /// Whom it is about: `ip`, `principal`, `username_sha256` and so on.
    pub key: Vec<(String, String)>,
    /// The kind of the last offence, or `operator`.
    pub cause: String,
}

impl Record {
    /// Writes the record down. If other workers are faster too many times in a row, it is lost, and the ban holds all the same.
    ///
    /// # Errors
    /// [`Trouble`]; the record is not written then.
    pub fn write(&self, store: &dyn SharedStore) -> Result<(), Trouble> {
        let mut line = self.to_line();
        line.push('\n');
        if line.len() > MAX_LINE {
            return Err(Trouble::Full);
        }
        for _ in 0..TRIES {
            let (standing, expected) = match store.get(LEDGER_KEY)? {
                Some((standing, version)) => (standing, Expected::Unchanged(version)),
                None => (Vec::new(), Expected::Absent),
            };
            let mut kept = newest(&standing, MAX_BYTES.saturating_sub(line.len())).to_vec();
            kept.extend_from_slice(line.as_bytes());
            if store.compare_and_set(LEDGER_KEY, &kept, expected)? == WriteOutcome::Written {
                return Ok(());
            }
        }
        Err(Trouble::Contended)
    }

    /// All records, the newest of each client only, newest first.
    ///
    /// # Errors
    /// [`Trouble`] where the shared data cannot be used.
    pub fn all(store: &dyn SharedStore) -> Result<Vec<Self>, Trouble> {
        let standing = store.get(LEDGER_KEY)?.map(|(standing, _)| standing).unwrap_or_default();
        let lines = standing.rsplit(|b| *b == b'\n');
        let mut found: Vec<Self> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for record in lines.filter_map(Self::from_line) {
            if seen.insert((record.ban.clone(), record.is_monitored, record.id.to_text())) {
                found.push(record);
            }
        }
        Ok(found)
    }

    fn to_line(&self) -> String {
        let mut members = Map::new();
        members.insert("ban".to_owned(), self.ban.as_str().into());
        members.insert("id".to_owned(), self.id.to_text().into());
        members.insert("cause".to_owned(), self.cause.as_str().into());
        if self.is_monitored {
            members.insert("monitor".to_owned(), true.into());
        }
        let key = self.key.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str())));
        members.insert("key".to_owned(), Value::Object(key.collect()));
        Value::Object(members).to_string()
    }

    fn from_line(line: &[u8]) -> Option<Self> {
        let members: Value = serde_json::from_slice(line).ok()?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let key = members.get("key").and_then(Value::as_object)?.iter();
        Some(Self {
            ban: text("ban")?.to_owned(),
            is_monitored: members.get("monitor").and_then(Value::as_bool).unwrap_or(false),
            id: Id::from_text(text("id")?)?,
            key: key.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect(),
            cause: text("cause")?.to_owned(),
        })
    }
}

/// The last whole lines of `standing` that fit into `room`.
fn newest(standing: &[u8], room: usize) -> &[u8] {
    let surplus = standing.len().saturating_sub(room);
    if surplus == 0 {
        return standing;
    }
    // The first line that begins at or after the surplus: a line begins behind the end of another.
    let from = surplus.saturating_sub(1);
    let tail = standing.get(from..).unwrap_or_default();
    match tail.iter().position(|b| *b == b'\n') {
        Some(end) => tail.get(end.saturating_add(1)..).unwrap_or_default(),
        None => &[],
    }
}

/// The longest value: a thousand records of bans by address take about 130 bytes each.
pub const MAX_BYTES: usize = 128 * 1024;
/// The longest record. What stands in it is cut before: this is for the bound.
const MAX_LINE: usize = 1024;
const LEDGER_KEY: &str = "portcullis/ban/ledger/1";
/// Each lost race means that another worker has written.
const TRIES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryStore;

    fn record(number: u32) -> Record {
        Record {
            ban: "guessing".to_owned(),
            is_monitored: number % 2 == 1,
            id: Id::from_text(&format!("{number:032x}")).unwrap(),
            key: vec![("ip".to_owned(), format!("192.0.2.{number}"))],
            cause: "auth_failure".to_owned(),
        }
    }

    #[test]
    fn the_newest_record_of_each_client_is_read_newest_first() {
        let store = MemoryStore::default();
        let again = Record { cause: "operator".to_owned(), ..record(1) };
        for record in [&record(1), &record(2), &again] {
            record.write(&store).unwrap();
        }
        assert_eq!(Record::all(&store).unwrap(), [again, record(2)]);
    }

    #[test]
    fn the_value_is_bounded_and_keeps_the_newest_whole() {
        let store = MemoryStore::default();
        for number in 1..3_000 {
            record(number).write(&store).unwrap();
        }
        let (value, _) = store.get(LEDGER_KEY).unwrap().unwrap();
        assert!(value.len() <= MAX_BYTES && value.len() > MAX_BYTES - 200, "{}", value.len());
        let all = Record::all(&store).unwrap();
        assert!(all.len() >= 1_000, "{}", all.len());
        assert_eq!(all[0], record(2_999));
        assert_eq!(all.last(), Some(&record(3_000 - u32::try_from(all.len()).unwrap())), "the oldest line is whole");
    }

    #[test]
    fn whole_lines_are_kept_and_no_parts() {
        assert_eq!(newest(b"ab\ncd\n", 6), b"ab\ncd\n");
        assert_eq!(newest(b"ab\ncd\n", 5), b"cd\n");
        assert_eq!(newest(b"ab\ncd\n", 3), b"cd\n");
        assert_eq!(newest(b"ab\ncd\n", 2), b"");
        assert_eq!(newest(b"ab\ncd\n", 0), b"");
        assert_eq!(newest(b"no line", 3), b"");
    }

    #[test]
    fn what_is_no_record_is_skipped() {
        let store = MemoryStore::default();
        store.compare_and_set(LEDGER_KEY, b"nonsense\n{}\n\xff\n", Expected::Absent).unwrap();
        record(5).write(&store).unwrap();
        assert_eq!(Record::all(&store).unwrap(), [record(5)]);
    }

    #[test]
    fn a_record_that_is_too_long_is_refused() {
        let long = Record { cause: "x".repeat(2_000), ..record(1) };
        assert_eq!(long.write(&MemoryStore::default()), Err(Trouble::Full));
    }
}
