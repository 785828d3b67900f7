//! What is revoked, in the form in which a token is held against it.

use super::entry::{Entry, What};
use super::reader::{self, ListError};
use super::table::{Builder, Fingerprint, HashKey, Table};
use crate::claims::Claims;
use crate::time::UnixNanos;

/// The compiled form of a list, or of what was pushed. About 1.7 MiB for each 100,000 tokens, whatever their length.
#[derive(Debug)]
pub(super) struct List {
    key: HashKey,
    tokens: Table<Until>,
    cutoffs: Table<Cutoff>,
    /// Which kinds of entries there are at all: for the others no hash is made.
    kinds: Kinds,
}

/// By [`What`], entries without and with an issuer.
type Kinds = [[bool; 2]; What::ALL.len()];

/// Until when an entry holds, in seconds since the epoch; what is too far off for 32 bits (2106) is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Until(u32);

impl Until {
    fn new(seconds: Option<u64>) -> Self {
        Self(seconds.and_then(|seconds| seconds.try_into().ok()).unwrap_or(u32::MAX))
    }

    fn is_over(self, now: UnixNanos) -> bool {
        self.0 != u32::MAX && UnixNanos::from_secs(self.0.into()) <= now
    }
}

/// The tokens that were issued before a time.
#[derive(Debug, Clone, Copy)]
struct Cutoff {
    before: UnixNanos,
    until: Until,
}

impl Cutoff {
    fn join(self, other: Self) -> Self {
        Self { before: self.before.max(other.before), until: self.until.max(other.until) }
    }
}

impl List {
    /// Reads and compiles a list; the format is at [`super`].
    pub fn parse(json: &[u8], max_entries: usize, key: HashKey) -> Result<Self, ListError> {
        let mut compiler = Compiler::new(key);
        reader::list(json, max_entries, |entry| compiler.add(entry))?;
        Ok(compiler.finish())
    }

    pub fn of<'e>(entries: impl IntoIterator<Item = &'e Entry<'e>>, key: HashKey) -> Self {
        let mut compiler = Compiler::new(key);
        entries.into_iter().for_each(|entry| compiler.add(entry));
        compiler.finish()
    }

    /// How many different things it revokes.
    pub fn len(&self) -> usize {
        self.tokens.len().saturating_add(self.cutoffs.len())
    }

    /// The bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.tokens.heap_bytes().saturating_add(self.cutoffs.heap_bytes())
    }

    /// What revokes a token with these claims, if anything does. A token without `iat` counts as issued before any time.
    pub fn check(&self, claims: &Claims, issued_at: Option<UnixNanos>, now: UnixNanos) -> Option<What> {
        let issuer = claims.text("iss");
        // OpenID Connect Core 1.0, section 2, says `azp` where RFC 9068 says `client_id`.
        let names = [
            (What::Token, claims.text("jti")),
            (What::Subject, claims.text("sub")),
            (What::Client, claims.text("client_id")),
            (What::Client, claims.text("azp")),
            (What::Issuer, issuer),
        ];
        let named = names.into_iter().filter_map(|(what, name)| Some((what, name?)));
        named.filter(|(what, name)| self.has(*what, name, issuer, issued_at, now)).map(|(what, _)| what).next()
    }

    fn has(&self, what: What, name: &str, issuer: Option<&str>, issued_at: Option<UnixNanos>, now: UnixNanos) -> bool {
        let [without_issuer, with_issuer] = kind(&self.kinds, what);
        (without_issuer && self.has_entry(what, name, None, issued_at, now))
            || (with_issuer && issuer.is_some() && self.has_entry(what, name, issuer, issued_at, now))
    }

    fn has_entry(
        &self,
        what: What,
        name: &str,
        issuer: Option<&str>,
        issued_at: Option<UnixNanos>,
        now: UnixNanos,
    ) -> bool {
        let fingerprint = Fingerprint::new(self.key, tag(what), name, issuer);
        if what == What::Token {
            return self.tokens.get(fingerprint).is_some_and(|until| !until.is_over(now));
        }
        let is_hit = |cutoff: Cutoff| !cutoff.until.is_over(now) && issued_at.is_none_or(|at| at < cutoff.before);
        self.cutoffs.get(fingerprint).is_some_and(is_hit)
    }
}

struct Compiler {
    key: HashKey,
    tokens: Builder<Until>,
    cutoffs: Builder<Cutoff>,
    kinds: Kinds,
}

impl Compiler {
    fn new(key: HashKey) -> Self {
        Self { key, tokens: Builder::new(), cutoffs: Builder::new(), kinds: Kinds::default() }
    }

    fn add(&mut self, entry: &Entry<'_>) {
        let Entry { target, before, until } = entry;
        let (what, issuer, until) = (target.what, target.issuer.as_deref(), Until::new(*until));
        let fingerprint = Fingerprint::new(self.key, tag(what), &target.name, issuer);
        match before {
            None => self.tokens.add(fingerprint, until),
            Some(before) => self.cutoffs.add(fingerprint, Cutoff { before: UnixNanos::from_secs(*before), until }),
        }
        if let Some([without_issuer, with_issuer]) = self.kinds.get_mut(usize::from(tag(what))) {
            *without_issuer |= issuer.is_none();
            *with_issuer |= issuer.is_some();
        }
    }

    fn finish(self) -> List {
        let Self { key, tokens, cutoffs, kinds } = self;
        List { key, tokens: tokens.build(Until::max), cutoffs: cutoffs.build(Cutoff::join), kinds }
    }
}

fn kind(kinds: &Kinds, what: What) -> [bool; 2] {
    kinds.get(usize::from(tag(what))).copied().unwrap_or_default()
}

fn tag(what: What) -> u8 {
    match what {
        What::Token => 0,
        What::Subject => 1,
        What::Client => 2,
        What::Issuer => 3,
    }
}
