//! Reads a value as SQL would be read after it was pasted into a statement: as it stands, and from within each kind of quotes.
//!
//! Each reading becomes a short string of token kinds, and the rules with `view: tokens` say which strings are an injection. That is
//! libinjection's idea; the kinds, the folding and the rules are our own.

mod tokens;
mod words;

pub use tokens::Tokens;

use crate::bytes::{is_blank, part, position, rest};
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
        let (mut from, mut opened) = (0, None);
        for _ in 0..STARTS {
            let Some(found) = position(rest(text, from), quote) else { break };
            let at = from + found;
            from = at + 1;
            let behind = rest(text, from);
            let before = opened.replace(at);
            if is_quotation(text, before, at)
                || is_text_with_a_dash(text, at, quote)
                || is_argument(text, before, at)
                || ends_attribute(text, at)
            {
                continue;
            }
            tokens.read(behind, quote);
            if tokens.len() > 1 {
                search_tokens(tokens.kinds(), rest(text, at), evidence, steps);
            }
        }
    }
}

/// Whether the string that ends at `at` is the last argument of a call or of a list: `open("door");`, `contains(Name,'x') or ..`.
fn is_argument(text: &[u8], opened: Option<usize>, at: usize) -> bool {
    let Some(opened) = opened else { return false };
    let before = part(text, 0, opened).trim_ascii_end();
    matches!(before, [.., b','] | [.., b'a'..=b'z' | b'0'..=b'9' | b'_', b'(']) && rest(text, at + 1).starts_with(b")")
}

/// Whether the value of the last attribute of a tag ends at `at`.
fn ends_attribute(text: &[u8], at: usize) -> bool {
    let behind = rest(text, at + 1);
    if !(behind.starts_with(b">") || behind.starts_with(b"/>") || behind.starts_with(b" />")) {
        return false;
    }
    let before = part(text, 0, at);
    let Some(open) = before.iter().rposition(|byte| matches!(byte, b'<' | b'>')) else { return false };
    matches!(part(before, open, open + 2), [b'<', letter] if letter.is_ascii_alphabetic())
}

/// Whether a quotation with blanks in it ends at `at`, and dashes follow with who said it: `"To be or not to be" -- William`.
fn is_quotation(text: &[u8], opened: Option<usize>, at: usize) -> bool {
    let behind = rest(text, at + 1);
    let blanks = behind.iter().take_while(|&&byte| is_blank(byte)).count();
    let dashes = rest(behind, blanks).iter().take_while(|&&byte| byte == b'-').count();
    let name = rest(behind, blanks + dashes);
    if part(behind, 0, blanks).contains(&b'\n')
        && dashes > 1
        && name.starts_with(b" ")
        && part(text, 0, at).iter().filter(|&&byte| byte == b' ').count() > 3
    {
        return true;
    }
    let Some(opened) = opened else { return false };
    let said = part(text, opened + 1, at);
    (opened == 0 || matches!(part(text, opened - 1, opened), [byte] if is_blank(*byte) || *byte == b'('))
        && said.first().is_some_and(|&byte| !is_blank(byte))
        && said.iter().filter(|&&byte| byte == b' ').count() > 1
        && blanks > 0
        && dashes > 1
        && name.starts_with(b" ")
        && name.get(1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte >= 128)
}

/// Whether what the quote at `at` opens is text that begins like a comment, and is closed again: `an option "--select x" of it`.
fn is_text_with_a_dash(text: &[u8], at: usize, quote: u8) -> bool {
    let behind = rest(text, at + 1);
    at > 0
        && matches!(part(text, at - 1, at), [b' ' | b':' | b',' | b'(' | b'[' | b'{'])
        && (behind.starts_with(b"#") || behind.starts_with(b"--"))
        && behind.iter().take(200).skip(3).any(|&byte| byte == quote)
}
