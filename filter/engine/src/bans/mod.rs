//! Bans: who fails too often is refused for a while, by all workers at once.
//!
//! A refusal that is an [`Offence`], or a failure that the service sees ([`Answerable`]), is counted for its sender ([`BanKey`]) in a
//! [`Table`] in shared data; so many within a window ([`Terms`]) begin a ban, each longer than the one before. A request pays one read of shared data for each ban of its
//! rule; a good one never writes. Operators see and change bans through a rule with `serve: bans` ([`operators`]).

pub mod operators;
pub mod table;

mod entry;
mod ledger;
mod offence;
mod response;
mod subject;

use std::num::NonZeroU32;

use serde_json::{Map, Value};

use crate::config::schema::{BanOverflow, Mode, OnError, StatusClass};
use crate::limits::{Seed, whole_seconds};
use crate::ports::SharedStore;
use crate::time::{UnixNanos, to_rfc3339};

pub use entry::{Ban as Standing, Recorded, Terms};
pub use ledger::MAX_BYTES as LEDGER_BYTES;
pub use ledger::Record;
pub use offence::{Cause, Offence};
pub use response::Answerable;
pub use subject::{BanKey, Claimed, Sender, Stage, Subject};
pub use table::{Id, Table, Trouble, memory_bytes};

/// A compiled ban.
#[derive(Debug, Clone)]
pub struct Ban {
    /// The name in the configuration.
    pub name: String,
    /// Who is banned.
    pub key: BanKey,
    /// Which offences count.
    pub offences: Vec<Offence>,
    /// Which responses of the service count.
    pub responses: Vec<StatusClass>,
    /// How many of them ban, and for how long.
    pub terms: Terms,
    /// How many clients can be told apart at the same time.
    pub capacity: NonZeroU32,
    /// What happens to a client for whom there is no place.
    pub overflow: BanOverflow,
    /// What happens if shared data cannot be used.
    pub on_error: OnError,
    /// Whether refusals of this ban are carried out. In monitor mode of the whole filter none is.
    pub mode: Mode,
}

/// The tables of all bans, as one worker uses them.
#[derive(Debug, Default)]
pub struct Bans {
    tables: Vec<Option<Table>>,
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Its sender is banned for so many seconds more.
    Banned {
        /// Whole seconds, at least one.
        retry_after: u64,
        /// How often it was banned before.
        strikes: u16,
    },
    /// There is no place for its sender, and the ban says `on_overflow: deny`.
    Overflow {
        /// Whole seconds, at least one.
        retry_after: u64,
    },
    /// Nobody can tell whether its sender is banned, and the ban says `on_error: deny`.
    Unavailable(Trouble),
}

/// What an offence led to, for counters and the log.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The events to count.
    pub events: Vec<&'static str>,
    /// The events of the kind of offence to count.
    pub offences: Vec<(&'static str, &'static str)>,
    /// The audit event of a ban that began.
    pub line: Option<String>,
}

/// An offence, and who is to answer for it.
pub struct Case<'a> {
    /// What is known of the sender.
    pub subject: &'a Subject<'a>,
    /// What was done.
    pub cause: Cause,
    /// The rule's name.
    pub rule: &'a str,
    /// The proxy's request id.
    pub request_id: Option<&'a str>,
}

impl Bans {
    /// Opens the tables. `offered` seeds the hash if no worker has done so yet.
    pub fn new(bans: &[Ban], store: &dyn SharedStore, offered: [u8; 16]) -> Self {
        if bans.is_empty() {
            return Self::default();
        }
        let seed = Seed::shared(store, offered).ok();
        let open = |ban: &Ban| seed.map(|seed| Table::new(&ban.name, ban.mode == Mode::Monitor, ban.capacity, seed));
        Self { tables: bans.iter().map(open).collect() }
    }

    /// Whether the request's sender is banned. Requests that lack a part of the key are not.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(
        &self,
        index: usize,
        ban: &Ban,
        subject: &Subject<'_>,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<(), Refusal> {
        let unavailable = |trouble: Trouble| match ban.on_error {
            OnError::Deny => Err(Refusal::Unavailable(trouble)),
            OnError::Allow => Ok(()),
        };
        let Some(descriptor) = ban.key.describe(subject) else { return Ok(()) };
        let Some(table) = self.table(index) else { return unavailable(Trouble::StoreUnavailable) };
        let wait = |until: UnixNanos| whole_seconds(until.since(now)).max(1);
        match table.check(store, table.id(descriptor.as_bytes()), now) {
            Ok(table::Standing::Free) => Ok(()),
            Ok(table::Standing::Banned(held)) => {
                Err(Refusal::Banned { retry_after: wait(held.until), strikes: held.strikes })
            }
            Ok(table::Standing::Full { until }) => match ban.overflow {
                BanOverflow::Allow => Ok(()),
                BanOverflow::Deny => Err(Refusal::Overflow { retry_after: wait(until) }),
            },
            Err(trouble) => unavailable(trouble),
        }
    }

    /// Counts an offence, where the ban is about it.
    pub fn offend(&self, index: usize, ban: &Ban, case: &Case<'_>, store: &dyn SharedStore, now: UnixNanos) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(descriptor) = ban.key.describe(case.subject) else { return outcome };
        let Some(table) = self.table(index) else {
            outcome.events.push("error");
            return outcome;
        };
        let id = table.id(descriptor.as_bytes());
        let cause = case.cause.as_str();
        match table.offend(store, id, &ban.terms, now) {
            Ok(Recorded::Standing) => {}
            Ok(Recorded::Counted(_)) => outcome.offences.push((cause, "counted")),
            Ok(Recorded::Begun(held)) => {
                outcome.events.push("begun");
                outcome.offences.extend([(cause, "counted"), (cause, "banned")]);
                let record = ban.record(id, case.subject, cause);
                outcome.line = Some(ban.begun_line(&record, held, case, now));
                if record.write(store).is_err() {
                    outcome.events.push("unlisted");
                }
            }
            Err(Trouble::Full) => outcome.events.push("overflow"),
            Err(_) => outcome.events.push("error"),
        }
        outcome
    }

    fn table(&self, index: usize) -> Option<&Table> {
        self.tables.get(index).and_then(Option::as_ref)
    }
}

impl Ban {
    /// Whether the ban is only watched.
    pub fn is_monitored(&self) -> bool {
        self.mode == Mode::Monitor
    }

    fn record(&self, id: Id, subject: &Subject<'_>, cause: &str) -> Record {
        let (ban, key, cause) = (self.name.clone(), self.key.shown(subject), cause.to_owned());
        Record { ban, is_monitored: self.is_monitored(), id, key, cause }
    }

    /// The audit event of a ban that began.
    fn begun_line(&self, record: &Record, held: Standing, case: &Case<'_>, now: UnixNanos) -> String {
        let mut event = audit_event("client_banned", record, Some(held), now);
        event.insert("rule.name".to_owned(), case.rule.into());
        event.insert("http.request.id".to_owned(), case.request_id.into());
        if let Cause::Response(status) = case.cause {
            event.insert("http.response.status_code".to_owned(), status.into());
        }
        Value::Object(event).to_string()
    }
}

/// What all audit events of bans hold.
fn audit_event(action: &str, record: &Record, held: Option<Standing>, now: UnixNanos) -> Map<String, Value> {
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| drop(event.insert(name.to_owned(), value));
    put("@timestamp", to_rfc3339(now).into());
    put("event.kind", "alert".into());
    put("event.action", action.into());
    put("portcullis.ban", record.ban.as_str().into());
    put("portcullis.ban.id", record.id.to_text().into());
    put("portcullis.ban.cause", record.cause.as_str().into());
    put("portcullis.ban.mode", if record.is_monitored { "monitor" } else { "enforce" }.into());
    for (name, text) in &record.key {
        let field = match name.as_str() {
            "ip" => "source.ip",
            "principal" => "user.target.id",
            "client_sha256" => "portcullis.ban.client.hash",
            _ => "user.target.hash",
        };
        put(field, text.as_str().into());
    }
    if let Some(held) = held {
        put("portcullis.ban.until", to_rfc3339(held.until).into());
        put("portcullis.ban.strikes", held.strikes.into());
    }
    event
}

#[cfg(test)]
mod tests;
