//! Operators list, add and lift bans, through a rule with `serve: bans`.
//!
//! `GET` lists the bans that hold, the newest first. `POST {"ban", "ip"|"principal"|"username"|"client"|"subject", "for"?}` bans, `DELETE` with the
//! same members, or with `{"ban", "id"}` as listed, forgets all about a client. A ban by several parts needs all of them.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::subject::{Claimed, Subject};
use super::{Ban, Bans, Id, Record, Table, Trouble, audit_event, table};
use crate::config::schema::BanKeyPart;
use crate::config::units::Span;
use crate::ports::SharedStore;
use crate::strict_json;
use crate::time::{UnixNanos, to_rfc3339};

/// What a call brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The status of the answer.
    pub status: u16,
    /// The answer's JSON.
    pub body: String,
    /// The ban's index and the event to count, and the audit event, where something has changed.
    pub change: Option<(usize, &'static str, Map<String, Value>)>,
}

/// Why a call cannot be carried out. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The body is not of the form that is asked for.
    Malformed(&'static str),
    /// The table cannot take or tell it.
    Trouble(Trouble),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(what) => f.write_str(what),
            Self::Trouble(trouble) => trouble.fmt(f),
        }
    }
}

impl std::error::Error for CallError {}

impl From<Trouble> for CallError {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Bans {
    /// The bans that hold, as far as the ledger has kept their names.
    ///
    /// # Errors
    /// [`CallError::Trouble`] where the shared data cannot be used.
    pub fn list(&self, bans: &[Ban], store: &dyn SharedStore, now: UnixNanos) -> Result<Done, CallError> {
        let mut listed = Vec::new();
        for record in Record::all(store)? {
            let named = |ban: &Ban| ban.name == record.ban && ban.is_monitored() == record.is_monitored;
            let Some(index) = bans.iter().position(named) else { continue };
            let Some(table) = self.table(index) else { continue };
            let table::Standing::Banned(held) = table.check(store, record.id, now)? else { continue };
            let mut members = Map::new();
            for (name, text) in &record.key {
                members.insert(name.clone(), text.as_str().into());
            }
            members.insert("ban".to_owned(), record.ban.as_str().into());
            members.insert("id".to_owned(), record.id.to_text().into());
            members.insert("cause".to_owned(), record.cause.as_str().into());
            members.insert("mode".to_owned(), if record.is_monitored { "monitor" } else { "enforce" }.into());
            members.insert("since".to_owned(), to_rfc3339(held.since).into());
            members.insert("until".to_owned(), to_rfc3339(held.until).into());
            members.insert("strikes".to_owned(), held.strikes.into());
            listed.push(Value::Object(members));
        }
        Ok(Done { status: 200, body: json!({"bans": listed}).to_string(), change: None })
    }

    /// Bans a client.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn add(&self, bans: &[Ban], body: &[u8], store: &dyn SharedStore, now: UnixNanos) -> Result<Done, CallError> {
        let members = object(body)?;
        let (index, ban, table) = self.named(bans, &members)?;
        let target = Target::read(ban, table, &members, &["for"])?;
        let (Some(id), Some(key)) = (target.id, target.key) else {
            return Err(CallError::Malformed("a new ban needs the parts of the client's key, and no `id`"));
        };
        let length = match members.get("for") {
            None => ban.terms.ban,
            Some(text) => {
                let span = text.as_str().and_then(Span::parse).map(|span| span.0);
                let fits = span.filter(|span| (Duration::from_secs(1)..=LONGEST_BAN).contains(span));
                fits.ok_or(CallError::Malformed("`for` is no duration from `1s` to `366d`"))?
            }
        };
        let held = table.impose(store, id, length, &ban.terms, now)?;
        let (name, cause) = (ban.name.clone(), "operator".to_owned());
        let record = Record { ban: name, is_monitored: ban.is_monitored(), id, key, cause };
        let listed = record.write(store).is_ok();
        let until = to_rfc3339(held.until);
        let body = json!({"banned": true, "listed": listed, "id": id.to_text(), "until": until}).to_string();
        let event = audit_event("client_banned", &record, Some(held), now);
        Ok(Done { status: 201, body, change: Some((index, "added", event)) })
    }

    /// Lifts a ban, and forgets all about the client.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn lift(&self, bans: &[Ban], body: &[u8], store: &dyn SharedStore, now: UnixNanos) -> Result<Done, CallError> {
        let members = object(body)?;
        let (index, ban, table) = self.named(bans, &members)?;
        let target = Target::read(ban, table, &members, &["id"])?;
        let id = target.id.ok_or(CallError::Malformed("`id` is none, or a part of the client's key is missing"))?;
        let lifted = table.lift(store, id, now)?;
        let body = json!({"lifted": lifted.is_some()}).to_string();
        let (name, cause) = (ban.name.clone(), "operator".to_owned());
        let key = target.key.unwrap_or_default();
        let record = Record { ban: name, is_monitored: ban.is_monitored(), id, key, cause };
        let event = |held| audit_event("ban_lifted", &record, Some(held), now);
        Ok(Done { status: 200, body, change: lifted.map(|held| (index, "lifted", event(held))) })
    }

    fn named<'b>(&self, bans: &'b [Ban], members: &Map<String, Value>) -> Result<(usize, &'b Ban, &Table), CallError> {
        let name = members.get("ban").and_then(Value::as_str);
        let index = bans.iter().position(|ban| Some(ban.name.as_str()) == name);
        let found = index.and_then(|index| Some((index, bans.get(index)?)));
        let (index, ban) = found.ok_or(CallError::Malformed("`ban` names no ban of the configuration"))?;
        Ok((index, ban, self.table(index).ok_or(Trouble::StoreUnavailable)?))
    }
}

/// Whom a call is about.
struct Target {
    /// `None` where neither an id nor a whole key was given.
    id: Option<Id>,
    /// The parts as operators see them; `None` where only the id was given.
    key: Option<Vec<(String, String)>>,
}

impl Target {
    fn read(ban: &Ban, table: &Table, members: &Map<String, Value>, others: &[&str]) -> Result<Self, CallError> {
        let is_part = |name: &str| ban.key.parts.iter().any(|part| part.as_str() == name);
        if members.keys().any(|name| name != "ban" && !others.contains(&name.as_str()) && !is_part(name)) {
            return Err(CallError::Malformed("a member is not known, or is no part of this ban's key"));
        }
        let text = |part: BanKeyPart| {
            let text = members.get(part.as_str()).and_then(Value::as_str);
            text.filter(|text| !text.is_empty() && text.len() <= MAX_NAME)
        };
        if let Some(id) = members.get("id") {
            if members.keys().any(|name| is_part(name)) {
                return Err(CallError::Malformed("`id` stands alone"));
            }
            return Ok(Self { id: id.as_str().and_then(Id::from_text), key: None });
        }
        // A network is named by any of its addresses; as listed, its length stands behind it.
        let address = text(BanKeyPart::Ip).and_then(|text| {
            let suffix = format!("/{}", ban.key.prefix.bits());
            let address = text.strip_suffix(&suffix).unwrap_or(text);
            address.parse::<IpAddr>().ok()
        });
        let claimed = |part: BanKeyPart| text(part).map(|text| text.as_bytes().to_vec());
        let subject = Subject {
            address: &|| address,
            principal: text(BanKeyPart::Principal).and_then(|text| text.split_once('/')),
            claimed: &Claimed {
                username: claimed(BanKeyPart::Username),
                client: claimed(BanKeyPart::Client),
                subject: claimed(BanKeyPart::Subject),
            },
        };
        let descriptor = ban.key.describe(&subject).ok_or(CallError::Malformed(
            "a part of the client's key is missing or malformed: `ip` an address, `principal` PROVIDER/SUBJECT, `username`, `client` and `subject` a name",
        ))?;
        Ok(Self { id: Some(table.id(descriptor.as_bytes())), key: Some(ban.key.shown(&subject)) })
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, CallError> {
    match strict_json::parse_value(body, 2) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(CallError::Malformed("the body is no JSON object")),
    }
}

const LONGEST_BAN: Duration = Duration::from_secs(366 * 86_400);
/// The longest subject or user name.
const MAX_NAME: usize = 1024;

#[cfg(test)]
#[path = "operators_tests.rs"]
mod tests;
