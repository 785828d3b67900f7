//! Reads entries and lists from JSON as a stream: a list of 200,000 entries is never held as a tree.
//!
//! Strict, since a member that is misread is a token that is not revoked: unknown members, duplicates and wrong types are
//! errors. Errors say where, and never what stood there.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::entry::{Entry, Target, What};

/// The most bytes of a `jti`, `sub`, `client_id` or `iss`.
pub const MAX_NAME_BYTES: usize = 1024;
/// The greatest time, 9999-12-31T23:59:59Z: a time in milliseconds is a mistake, not a date in the far future.
pub(super) const MAX_SECONDS: u64 = 253_402_300_799;

/// A member of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// `jti`
    Jti,
    /// `sub`
    Sub,
    /// `client_id`
    ClientId,
    /// `iss`
    Iss,
    /// `before`
    Before,
    /// `until`
    Until,
}

impl Member {
    const ALL: [Self; 6] = [Self::Jti, Self::Sub, Self::ClientId, Self::Iss, Self::Before, Self::Until];

    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Sub => "sub",
            Self::ClientId => "client_id",
            Self::Iss => "iss",
            Self::Before => "before",
            Self::Until => "until",
        }
    }
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// It is not an object (in `tokens`: not a text either).
    NotAnObject,
    /// It has a member that no entry has.
    UnknownMember,
    /// It has a member twice.
    Duplicate(Member),
    /// It has a member that does not go with what it revokes.
    Misplaced(Member),
    /// It lacks a member.
    Missing(Member),
    /// It names none of `jti`, `sub`, `client_id` and `iss`.
    NoTarget,
    /// It names more than one of `jti`, `sub` and `client_id`.
    SeveralTargets,
    /// The member is not a text of 1 to [`MAX_NAME_BYTES`] bytes.
    NotText(Member),
    /// The member is not a whole number of seconds since the epoch, up to the year 9999.
    NotSeconds(Member),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("not an object"),
            Self::UnknownMember => {
                f.write_str("a member that is none of `jti`, `sub`, `client_id`, `iss`, `before`, `until`")
            }
            Self::Duplicate(member) => write!(f, "`{}` stands twice", member.name()),
            Self::Misplaced(member) => write!(f, "`{}` has no place here", member.name()),
            Self::Missing(member) => write!(f, "`{}` is missing", member.name()),
            Self::NoTarget => f.write_str("none of `jti`, `sub`, `client_id`, `iss` is there"),
            Self::SeveralTargets => f.write_str("more than one of `jti`, `sub`, `client_id` is there"),
            Self::NotText(member) => write!(f, "`{}` is not a text of 1 to {MAX_NAME_BYTES} bytes", member.name()),
            Self::NotSeconds(member) => {
                write!(f, "`{}` is not a whole number of seconds since 1970 (up to the year 9999)", member.name())
            }
        }
    }
}

/// Why the body of a push is refused: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryError {
    /// Not JSON.
    Json {
        /// Where the reader gave up; counted from 1.
        line: usize,
        /// The byte in that line; counted from 1.
        column: usize,
    },
    /// JSON, but not an entry.
    Entry(Problem),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { line, column } => write!(f, "no valid JSON at line {line}, column {column}"),
            Self::Entry(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for EntryError {}

/// Why a list is refused. The list before it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListError {
    /// Not JSON.
    Json {
        /// Where the reader gave up; counted from 1.
        line: usize,
        /// The byte in that line; counted from 1.
        column: usize,
    },
    /// Not an object.
    NotAnObject,
    /// `version` is missing or is not 1.
    Version,
    /// A member that no list has.
    UnknownMember,
    /// A member stands twice.
    Duplicate,
    /// The member is not an array.
    NotAnArray(What),
    /// An entry is none.
    Entry {
        /// The array that it is in.
        section: What,
        /// Its place there, counted from 0.
        index: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// There are more entries than may be.
    TooManyEntries {
        /// How many may be.
        max: usize,
    },
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { line, column } => write!(f, "no valid JSON at line {line}, column {column}"),
            Self::NotAnObject => f.write_str("not an object"),
            Self::Version => f.write_str("version: not 1"),
            Self::UnknownMember => {
                f.write_str("a member that is none of `version`, `tokens`, `subjects`, `clients`, `issuers`")
            }
            Self::Duplicate => f.write_str("a member stands twice"),
            Self::NotAnArray(what) => write!(f, "{}: not an array", what.section()),
            Self::Entry { section, index, problem } => write!(f, "{}[{index}]: {problem}", section.section()),
            Self::TooManyEntries { max } => write!(f, "more than {max} entries"),
        }
    }
}

impl std::error::Error for ListError {}

/// One entry; without `times`, `before` may be missing.
pub(super) fn entry(json: &[u8], times: bool) -> Result<Entry<'_>, EntryError> {
    let cause = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = EntrySeed { form: Form::Any { times }, cause: &cause }.deserialize(&mut reader);
    read.and_then(|entry| reader.end().map(|()| entry)).map_err(|error| match cause.get() {
        Some(problem) if error.is_data() => EntryError::Entry(problem),
        _ if error.is_data() => EntryError::Entry(Problem::NotAnObject),
        _ => EntryError::Json { line: error.line(), column: error.column() },
    })
}

/// Reads a list and hands each entry to `take`.
pub(super) fn list(json: &[u8], max_entries: usize, mut take: impl FnMut(&Entry<'_>)) -> Result<(), ListError> {
    let cause = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let seed = ListSeed { room: max_entries, max_entries, take: &mut take, cause: &cause };
    seed.deserialize(&mut reader).and_then(|()| reader.end()).map_err(|error| match cause.get() {
        Some(cause) if error.is_data() => cause,
        _ if error.is_data() => ListError::NotAnObject,
        _ => ListError::Json { line: error.line(), column: error.column() },
    })
}

/// The cause travels beside serde's error, which holds a text only, and a text that may repeat what was sent.
trait Cause<C> {
    fn refuse<E: Error>(&self, cause: C) -> E;
    /// Names the cause of a failure that has none yet.
    fn name<T, E>(&self, result: Result<T, E>, cause: impl FnOnce() -> C) -> Result<T, E>;
}

impl<C: Copy> Cause<C> for Cell<Option<C>> {
    fn refuse<E: Error>(&self, cause: C) -> E {
        self.set(Some(cause));
        E::custom("refused")
    }

    fn name<T, E>(&self, result: Result<T, E>, cause: impl FnOnce() -> C) -> Result<T, E> {
        if result.is_err() && self.get().is_none() {
            self.set(Some(cause()));
        }
        result
    }
}

/// What an entry may look like where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// An entry of this array.
    In(What),
    /// Any kind; without `times`, `before` may be missing or misplaced.
    Any { times: bool },
}

#[derive(Clone, Copy)]
struct EntrySeed<'c> {
    form: Form,
    cause: &'c Cell<Option<Problem>>,
}

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = Entry<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl EntrySeed<'_> {
    /// A text alone is a `jti`, among tokens.
    fn token<'de, E: Error>(self, name: Cow<'de, str>) -> Result<Entry<'de>, E> {
        if self.form != Form::In(What::Token) {
            return Err(self.cause.refuse(Problem::NotAnObject));
        }
        let name = checked(name).map_err(|()| self.cause.refuse(Problem::NotText(Member::Jti)))?;
        Ok(Entry { target: Target { what: What::Token, name, issuer: None }, before: None, until: None })
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = Entry<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Entry<'de>, E> {
        self.token(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Entry<'de>, E> {
        self.token(Cow::Owned(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key_seed(Text)? {
            let Some(member) = Member::ALL.into_iter().find(|member| member.name() == name) else {
                return Err(self.cause.refuse(Problem::UnknownMember));
            };
            let is_duplicate = match member {
                Member::Before | Member::Until => {
                    let seconds = self.cause.name(map.next_value_seed(Seconds), || Problem::NotSeconds(member))?;
                    let place = if member == Member::Before { &mut members.before } else { &mut members.until };
                    place.replace(seconds).is_some()
                }
                Member::Jti | Member::Sub | Member::ClientId | Member::Iss => {
                    let text =
                        map.next_value_seed(Text).and_then(|text| checked(text).map_err(|()| A::Error::custom("")));
                    let text = self.cause.name(text, || Problem::NotText(member))?;
                    let place = match member {
                        Member::Jti => &mut members.jti,
                        Member::Sub => &mut members.sub,
                        Member::ClientId => &mut members.client_id,
                        _ => &mut members.iss,
                    };
                    place.replace(text).is_some()
                }
            };
            if is_duplicate {
                return Err(self.cause.refuse(Problem::Duplicate(member)));
            }
        }
        members.entry(self.form).map_err(|problem| self.cause.refuse(problem))
    }
}

/// The members of an entry as they stand.
#[derive(Default)]
struct Members<'t> {
    jti: Option<Cow<'t, str>>,
    sub: Option<Cow<'t, str>>,
    client_id: Option<Cow<'t, str>>,
    iss: Option<Cow<'t, str>>,
    before: Option<u64>,
    until: Option<u64>,
}

impl<'t> Members<'t> {
    fn entry(self, form: Form) -> Result<Entry<'t>, Problem> {
        let Self { jti, sub, client_id, iss, before, until } = self;
        let named = [(What::Token, jti), (What::Subject, sub), (What::Client, client_id)];
        let mut named = named.into_iter().filter_map(|(what, name)| Some((what, name?)));
        let (what, name, issuer) = match (named.next(), iss) {
            (Some((what, name)), issuer) => (what, name, issuer),
            (None, Some(issuer)) => (What::Issuer, issuer, None),
            (None, None) => return Err(Problem::NoTarget),
        };
        let second = named.next();
        match form {
            // An issuer's entry has no other name; another kind lacks its own.
            Form::In(wanted) if wanted != what && wanted == What::Issuer => {
                return Err(Problem::Misplaced(what.member()));
            }
            Form::In(wanted) if wanted != what && second.is_none() => return Err(Problem::Missing(wanted.member())),
            _ if second.is_some() => return Err(Problem::SeveralTargets),
            _ => {}
        }
        let target = Target { what, name, issuer };
        match (what, before) {
            _ if form == Form::Any { times: false } => {}
            (What::Token, Some(_)) => return Err(Problem::Misplaced(Member::Before)),
            (What::Subject | What::Client | What::Issuer, None) => return Err(Problem::Missing(Member::Before)),
            _ => {}
        }
        Ok(Entry { target, before, until })
    }
}

fn checked(text: Cow<'_, str>) -> Result<Cow<'_, str>, ()> {
    if (1..=MAX_NAME_BYTES).contains(&text.len()) { Ok(text) } else { Err(()) }
}

struct ListSeed<'c, 't> {
    room: usize,
    max_entries: usize,
    take: &'t mut dyn FnMut(&Entry<'_>),
    cause: &'c Cell<Option<ListError>>,
}

impl<'de> DeserializeSeed<'de> for ListSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ListSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let (mut has_version, mut seen) = (false, [false; What::ALL.len()]);
        while let Some(name) = map.next_key_seed(Text)? {
            if name == "version" {
                if std::mem::replace(&mut has_version, true) {
                    return Err(self.cause.refuse(ListError::Duplicate));
                }
                if self.cause.name(map.next_value_seed(Seconds), || ListError::Version)? != 1 {
                    return Err(self.cause.refuse(ListError::Version));
                }
                continue;
            }
            let section = What::ALL.into_iter().zip(&mut seen).find(|(what, _)| what.section() == name);
            let Some((what, seen)) = section else { return Err(self.cause.refuse(ListError::UnknownMember)) };
            if std::mem::replace(seen, true) {
                return Err(self.cause.refuse(ListError::Duplicate));
            }
            let result = map.next_value_seed(SectionSeed { what, list: &mut self });
            self.cause.name(result, || ListError::NotAnArray(what))?;
        }
        if has_version { Ok(()) } else { Err(self.cause.refuse(ListError::Version)) }
    }
}

struct SectionSeed<'l, 'c, 't> {
    what: What,
    list: &'l mut ListSeed<'c, 't>,
}

impl<'de> DeserializeSeed<'de> for SectionSeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for SectionSeed<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let (section, list, problem) = (self.what, self.list, Cell::new(None));
        for index in 0.. {
            let entry = array.next_element_seed(EntrySeed { form: Form::In(section), cause: &problem });
            let entry = list.cause.name(entry, || ListError::Entry {
                section,
                index,
                problem: problem.get().unwrap_or(Problem::NotAnObject),
            })?;
            let Some(entry) = entry else { break };
            list.room = match list.room.checked_sub(1) {
                Some(room) => room,
                None => return Err(list.cause.refuse(ListError::TooManyEntries { max: list.max_entries })),
            };
            (list.take)(&entry);
        }
        Ok(())
    }
}

/// A text, borrowed where it has no escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// A whole number of seconds since the epoch.
struct Seconds;

impl<'de> DeserializeSeed<'de> for Seconds {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_u64(self)
    }
}

impl Visitor<'_> for Seconds {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<u64, E> {
        if seconds <= MAX_SECONDS { Ok(seconds) } else { Err(E::custom("")) }
    }
}
