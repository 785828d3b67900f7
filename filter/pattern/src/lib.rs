//! Regular expressions that an operator writes: for paths, conditions, schemas and payload rules.
//!
//! An automaton is made as texts need its states, and answers with about two machine operations for each byte. Its memory is
//! bounded: once that is full it begins anew, and at worst a byte costs what the expression has states. Nothing goes back.
//!
//! The syntax is that of the crate `regex`, which is nearly RE2's: no look-around, no back-references. `\w`, `\d`, `\s` and `\b`
//! are about ASCII, `\p{...}` is not there.

mod ascii;
mod literals;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures, pikevm::PikeVM};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, Look};

/// An expression about characters that compiles to more bytes is refused: `.{1,800}` is near it.
const LARGEST_OF_TEXT: usize = 256 * 1024;
/// The same for bytes, of which rule sets have lists of many words.
const LARGEST_OF_BYTES: usize = 1 << 20;

/// The states that a pattern keeps, in bytes of memory. They are made as texts need them.
const KEPT: usize = 128 * 1024;

/// A compiled expression. Copies share its states.
#[derive(Clone)]
pub struct Pattern(Rc<Compiled>);

struct Compiled {
    source: Box<str>,
    nfa: NFA,
    dfa: DFA,
    cache: RefCell<Cache>,
    literals: Option<Vec<Vec<u8>>>,
    states: u64,
}

impl Pattern {
    /// Compiles an expression about characters: `.` is one of them, but for line breaks.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn of_text(source: &str) -> Result<Self, String> {
        Self::compiled(source, &parsed(source, Alphabet::Characters)?, LARGEST_OF_TEXT)
    }

    /// The same, of which nothing but the whole text is a match.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn of_whole_text(source: &str) -> Result<Self, String> {
        let whole =
            Hir::concat(vec![Hir::look(Look::Start), parsed(source, Alphabet::Characters)?, Hir::look(Look::End)]);
        Self::compiled(source, &whole, LARGEST_OF_TEXT)
    }

    /// Compiles an expression about bytes: `.` is any of them, `\xff` that of the number 255.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn of_bytes(source: &str) -> Result<Self, String> {
        Self::compiled(source, &parsed(source, Alphabet::Bytes)?, LARGEST_OF_BYTES)
    }

    fn compiled(source: &str, hir: &Hir, limit: usize) -> Result<Self, String> {
        let failed = |error: thompson::BuildError| match error.size_limit() {
            Some(_) => format!("it compiles to more than {} KiB", limit / 1024),
            None => error.to_string(),
        };
        let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(limit));
        let config = config.which_captures(WhichCaptures::Implicit);
        let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).map_err(failed)?;
        let config = DFA::config().cache_capacity(KEPT).skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa.clone());
        let dfa = dfa.map_err(|error| error.to_string())?;
        Ok(Self(Rc::new(Compiled {
            source: source.into(),
            nfa,
            cache: RefCell::new(dfa.create_cache()),
            dfa,
            literals: literals::needed(hir),
            states: literals::states(hir),
        })))
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Lower-case texts one of which stands in everything that matches, in any case; `None` where none is known.
    pub fn literals(&self) -> Option<&[Vec<u8>]> {
        self.0.literals.as_deref()
    }

    /// About how many states the expression has: at worst, the steps for one byte.
    pub fn states(&self) -> u64 {
        self.0.states
    }

    /// Whether it matches somewhere.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let input = Input::new(text).earliest(true);
        // It gives up nowhere, and is never asked within itself.
        let found = self.0.cache.try_borrow_mut().ok().map(|mut cache| self.0.dfa.try_search_fwd(&mut cache, &input));
        match found {
            Some(Ok(found)) => found.is_some(),
            _ => self.find(text).is_some(),
        }
    }

    /// Where it matches first. Slow: to be asked once it is known to match.
    pub fn find(&self, text: &[u8]) -> Option<Range<usize>> {
        let machine = PikeVM::builder().build_from_nfa(self.0.nfa.clone()).ok()?;
        machine.find(&mut machine.create_cache(), text).map(|found| found.range())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.source)
    }
}

/// What an expression is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    Characters,
    Bytes,
}

fn parsed(source: &str, alphabet: Alphabet) -> Result<Hir, String> {
    let spelled_out = ascii::spelled_out(source)?;
    let is_text = alphabet == Alphabet::Characters;
    let mut parser = ParserBuilder::new();
    parser.unicode(is_text).utf8(false).dot_matches_new_line(!is_text);
    parser.build().parse(if is_text { &spelled_out } else { source }).map_err(|error| last_line(&error.to_string()))
}

/// Errors of the parser draw the expression, and say in the last line what is wrong.
fn last_line(error: &str) -> String {
    let line = error.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
