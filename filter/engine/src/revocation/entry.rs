//! One thing that is revoked: what an entry of a list and the body of a push say.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::reader;
pub use super::reader::{EntryError, Member, Problem};
use crate::time::UnixNanos;

/// What an entry revokes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// One token, by its `jti`.
    Token,
    /// A subject's tokens that were issued before a time.
    Subject,
    /// A client's tokens that were issued before a time.
    Client,
    /// All of an issuer's tokens that were issued before a time.
    Issuer,
}

impl What {
    pub(super) const ALL: [Self; 4] = [Self::Token, Self::Subject, Self::Client, Self::Issuer];

    /// The stable name for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Subject => "subject",
            Self::Client => "client",
            Self::Issuer => "issuer",
        }
    }

    /// The array that holds such entries in a list.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Token => "tokens",
            Self::Subject => "subjects",
            Self::Client => "clients",
            Self::Issuer => "issuers",
        }
    }

    /// The member that names it.
    pub const fn member(self) -> Member {
        match self {
            Self::Token => Member::Jti,
            Self::Subject => Member::Sub,
            Self::Client => Member::ClientId,
            Self::Issuer => Member::Iss,
        }
    }
}

/// Whom or what an entry is about. Two entries with the same target are one.
#[derive(Clone, PartialEq, Eq)]
pub struct Target<'t> {
    pub(super) what: What,
    /// The `jti`, `sub`, `client_id` or, of an issuer, `iss`.
    pub(super) name: Cow<'t, str>,
    /// Only this issuer's tokens; of an issuer always `None`.
    pub(super) issuer: Option<Cow<'t, str>>,
}

/// One thing that is revoked.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry<'t> {
    pub(super) target: Target<'t>,
    /// Tokens issued earlier are revoked; seconds since the epoch. `None` exactly for a token.
    pub(super) before: Option<u64>,
    /// Until when the entry holds; seconds since the epoch.
    pub(super) until: Option<u64>,
}

impl Entry<'static> {
    /// Reads the body of a push: `{"jti", "iss"?, "until"?}`, `{"sub", "iss"?, "before", "until"?}`,
    /// `{"client_id", "iss"?, "before", "until"?}` or `{"iss", "before", "until"?}`, times in whole seconds since the epoch.
    ///
    /// # Errors
    /// [`EntryError`]: not JSON, or not one of these forms.
    pub fn from_json(json: &[u8]) -> Result<Self, EntryError> {
        reader::entry(json, true).map(Entry::into_owned)
    }
}

impl Target<'static> {
    /// Reads what an operator wants to lift: as [`Entry::from_json`], where `before` and `until` may stand but say nothing.
    ///
    /// # Errors
    /// [`EntryError`]: not JSON, or not one of these forms.
    pub fn from_json(json: &[u8]) -> Result<Self, EntryError> {
        reader::entry(json, false).map(|entry| entry.into_owned().target)
    }
}

impl Target<'_> {
    /// The kind of target.
    pub fn what(&self) -> What {
        self.what
    }
}

impl<'t> Entry<'t> {
    /// Whom or what it is about.
    pub fn target(&self) -> &Target<'t> {
        &self.target
    }

    /// The JSON form that [`Entry::from_json`] reads.
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        members.insert(self.target.what.member().name().into(), Value::from(&*self.target.name));
        let mut put = |member: Member, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(member.name().into(), value);
            }
        };
        put(Member::Before, self.before.map(Value::from));
        put(Member::Until, self.until.map(Value::from));
        if self.target.what != What::Issuer {
            put(Member::Iss, self.target.issuer.as_deref().map(Value::from));
        }
        Value::Object(members)
    }

    pub(super) fn into_owned(self) -> Entry<'static> {
        let Target { what, name, issuer } = self.target;
        let target = Target {
            what,
            name: Cow::Owned(name.into_owned()),
            issuer: issuer.map(|issuer| Cow::Owned(issuer.into_owned())),
        };
        Entry { target, before: self.before, until: self.until }
    }

    /// Takes over what another entry with the same target says: the later times hold.
    pub(super) fn join(&mut self, other: &Entry<'_>) {
        self.before = self.before.max(other.before);
        // No `until` is later than any.
        self.until = self.until.zip(other.until).map(|(mine, others)| mine.max(others));
    }

    /// Whether the entry has had its time, and `grace_seconds` more.
    pub(super) fn is_over(&self, now: UnixNanos, grace_seconds: u64) -> bool {
        self.until.is_some_and(|until| UnixNanos::from_secs(until.saturating_add(grace_seconds)) <= now)
    }
}

/// Names may be personal data: they are for the operator who asks, and not for logs.
impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("what", &self.what).finish_non_exhaustive()
    }
}

/// See [`Target`].
impl std::fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("what", &self.target.what)
            .field("before", &self.before)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(json: &str) -> Problem {
        match Entry::from_json(json.as_bytes()) {
            Err(EntryError::Entry(problem)) => problem,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn each_form_is_read_and_written_alike() {
        for json in [
            r#"{"jti":"a"}"#,
            r#"{"iss":"https://idp.example","jti":"a","until":1700000000}"#,
            r#"{"before":1700000000,"sub":"alice"}"#,
            r#"{"before":0,"iss":"i","sub":"ä\"\n","until":1}"#,
            r#"{"before":1,"client_id":"app","iss":"i"}"#,
            r#"{"before":1,"iss":"i","until":253402300799}"#,
        ] {
            let entry = Entry::from_json(json.as_bytes()).unwrap();
            assert_eq!(entry.to_json().to_string(), json);
            assert!(!format!("{entry:?}{:?}", entry.target()).contains("alice"));
        }
    }

    #[test]
    fn a_push_that_is_not_exactly_one_form_is_refused_and_told_why() {
        use {Member::*, Problem::*};
        for (json, expected) in [
            ("{}", NoTarget),
            (r#"{"until":5}"#, NoTarget),
            (r#"{"before":5}"#, NoTarget),
            (r#"{"jti":"a","sub":"b","before":1}"#, SeveralTargets),
            (r#"{"client_id":"a","sub":"b","before":1}"#, SeveralTargets),
            (r#"{"jti":"a","before":1}"#, Misplaced(Before)),
            (r#"{"sub":"a"}"#, Missing(Before)),
            (r#"{"iss":"a"}"#, Missing(Before)),
            (r#"{"client_id":"a","until":1}"#, Missing(Before)),
            (r#"{"jti":""}"#, NotText(Jti)),
            (r#"{"jti":7}"#, NotText(Jti)),
            (r#"{"jti":null}"#, NotText(Jti)),
            (r#"{"jti":["a"]}"#, NotText(Jti)),
            (r#"{"jti":"a","iss":null}"#, NotText(Iss)),
            (r#"{"jti":"a","jti":"a"}"#, Duplicate(Jti)),
            (r#"{"jti":"a","\u006ati":"a"}"#, Duplicate(Jti)),
            (r#"{"jti":"a","Until":5}"#, UnknownMember),
            (r#"{"jti":"a","exp":5}"#, UnknownMember),
            (r#"{"jti":"a","until":"5"}"#, NotSeconds(Until)),
            (r#"{"jti":"a","until":-5}"#, NotSeconds(Until)),
            (r#"{"jti":"a","until":5.5}"#, NotSeconds(Until)),
            (r#"{"jti":"a","until":null}"#, NotSeconds(Until)),
            (r#"{"sub":"a","before":1700000000000}"#, NotSeconds(Before)),
            (r#"{"sub":"a","before":99999999999999999999}"#, NotSeconds(Before)),
            ("[]", NotAnObject),
            (r#""jti""#, NotAnObject),
            ("7", NotAnObject),
            ("null", NotAnObject),
        ] {
            assert_eq!(problem(json), expected, "{json}");
        }
        let long = format!(r#"{{"jti":"{}"}}"#, "x".repeat(1025));
        assert_eq!(problem(&long), NotText(Jti));
        for json in ["", "{", r#"{"jti":"a"}x"#, r#"{"jti":"a",}"#, "{\"jti\":\"\u{1}\"}", r#"{"jti":"\ud800"}"#] {
            assert!(matches!(Entry::from_json(json.as_bytes()), Err(EntryError::Json { .. })), "{json}");
        }
        assert!(matches!(Entry::from_json(b"{\"jti\":\"\xff\"}"), Err(EntryError::Json { .. })));
    }

    #[test]
    fn an_error_does_not_repeat_what_was_sent() {
        for json in
            [r#"{"sub":"secret","before":"secret"}"#, r#"{"secret":1}"#, r#"{"sub":{"secret":1}}"#, r#""secret"#]
        {
            let error = Entry::from_json(json.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_is_to_be_lifted_needs_no_times() {
        let target = |json: &str| Target::from_json(json.as_bytes());
        assert_eq!(target(r#"{"sub":"a"}"#), target(r#"{"sub":"a","before":5,"until":7}"#));
        assert_ne!(target(r#"{"sub":"a"}"#), target(r#"{"sub":"a","iss":"i"}"#));
        assert_eq!(target("{}"), Err(EntryError::Entry(Problem::NoTarget)));
        assert_eq!(target(r#"{"sub":"a","x":5}"#), Err(EntryError::Entry(Problem::UnknownMember)));
    }

    #[test]
    fn joined_entries_hold_for_the_later_times() {
        let entry = |json: &str| Entry::from_json(json.as_bytes()).unwrap();
        let mut one = entry(r#"{"sub":"a","before":5,"until":9}"#);
        one.join(&entry(r#"{"sub":"a","before":7,"until":8}"#));
        assert_eq!(one, entry(r#"{"sub":"a","before":7,"until":9}"#));
        one.join(&entry(r#"{"sub":"a","before":1}"#));
        assert_eq!(one, entry(r#"{"sub":"a","before":7}"#));
        one.join(&entry(r#"{"sub":"a","before":1,"until":5}"#));
        assert_eq!(one.until, None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(json in r#"[\[\]{}",:a-z0-9\\. -]{0,60}"#) {
            let _ = Entry::from_json(json.as_bytes());
            let _ = Target::from_json(json.as_bytes());
        }
    }
}
