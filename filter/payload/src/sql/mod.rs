//! Reads a value as SQL would be read after it was pasted into a statement: as it stands, and from within each kind of quotes.
//!
//! Each reading becomes a short string of token kinds, and the rules with `view: tokens` say which strings are an injection. That is
//! libinjection's idea; the kinds, the folding and the rules are our own.

mod tokens;
mod words;

pub use tokens::Tokens;

use crate::bytes::{position, rest};
use crate::mask;
use crate::pattern::Steps;
use crate::scanner::{Evidence, search_tokens};
use crate::verdict::Place;

/// From how many quotes of each kind a reading starts.
const STARTS: usize = 3;

/// Judges every reading of a value.
pub fn judge(text: &[u8], kinds: u16, tokens: &mut Tokens, evidence: &mut Evidence<'_>, steps: &mut Steps) {
    // A user agent is no value that reaches a database unquoted, and its form is all parentheses and semicolons.
    let place = evidence.place();
    if place != Place::UserAgent || !text.starts_with(b"mozilla") {
        tokens.read(text, b'b');
        if tokens.len() > 2 {
            search_tokens(tokens.kinds(), text, evidence, steps);
        }
    }
    if kinds & mask::QUOTE == 0 {
        return;
    }
    for quote in [b'\'', b'"', b'`'] {
        let mut from = 0;
        for _ in 0..STARTS {
            let Some(found) = position(rest(text, from), quote) else { break };
            let at = from + found;
            from = at + 1;
            tokens.read(rest(text, from), quote);
            if tokens.len() > 1 {
                search_tokens(tokens.kinds(), rest(text, at), evidence, steps);
            }
        }
    }
}
