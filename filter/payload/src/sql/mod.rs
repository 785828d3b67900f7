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

/// From how many quotes of each kind a reading starts whatever follows, and goes as far as tokens are read.
const STARTS: usize = 3;

/// The longest tag between two dollars.
const TAG: usize = 32;

/// How far a reading from a later quote goes.
const FURTHER: usize = 256;

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
    if kinds & mask::SHELL != 0 {
        judge_behind_dollars(text, tokens, evidence, steps);
    }
    if kinds & mask::QUOTE == 0 {
        return;
    }
    let ends = Ends::of(text);
    for quote in [b'\'', b'"', b'`'] {
        let (mut from, mut opened, mut count) = (0, None, 0);
        while let Some(found) = position(rest(text, from), quote) {
            let at = from + found;
            from = at + 1;
            count += 1;
            let mut behind = rest(text, from);
            let before = opened.replace(at);
            if count > STARTS {
                // Of several in a row, only the last can close a string.
                if behind.first() == Some(&quote) {
                    continue;
                }
                behind = behind.trim_ascii_start();
                if !goes_on(behind, ends.comment > at) {
                    continue;
                }
                behind = part(behind, 0, FURTHER);
            }
            if (count == 2 && is_quotation(text, before, at, &ends))
                || is_text_with_a_dash(text, at, quote, &ends)
                || is_argument(text, before, at, &ends)
                || ends_attribute(text, before, at)
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

/// Judges what stands behind `$$` or `$tag$`, which close a string of PostgreSQL as quotes do.
fn judge_behind_dollars(text: &[u8], tokens: &mut Tokens, evidence: &mut Evidence<'_>, steps: &mut Steps) {
    let (mut from, mut count) = (0, 0);
    while let Some(found) = position(rest(text, from), b'$') {
        let at = from + found;
        from = at + 1;
        let tag = rest(text, from).iter().take(TAG).take_while(|&&b| b.is_ascii_alphanumeric() || b == b'_').count();
        if rest(text, from + tag).first() != Some(&b'$') {
            continue;
        }
        let behind = rest(text, from + tag + 1);
        if !goes_on(behind.trim_ascii_start(), false) {
            continue;
        }
        count += 1;
        if count > STARTS {
            return;
        }
        tokens.read(part(behind, 0, FURTHER), b'$');
        if tokens.len() > 1 {
            search_tokens(tokens.kinds(), rest(text, at), evidence, steps);
        }
    }
}

/// Where a text has its last comment and its last line end: in front of what is exempt, they do no harm.
struct Ends {
    comment: usize,
    line: usize,
}

impl Ends {
    fn of(text: &[u8]) -> Self {
        let comment = text.windows(2).rposition(|two| two == b"--" || two == b"/*" || two.contains(&b'#'));
        let line = text.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        Self { comment: comment.unwrap_or(0), line: line.unwrap_or(0) }
    }
}

/// Whether a statement could go on like this behind a string; a list goes on where a comment cuts off what the statement had there.
fn goes_on(behind: &[u8], is_commented: bool) -> bool {
    let closed = behind.iter().take_while(|&&byte| byte <= b' ' || byte == b')').count();
    let behind = rest(behind, closed);
    match behind.first() {
        Some(b',') => is_commented,
        Some(b'#' | b';' | b'|' | b'&' | b'=' | b'<' | b'>' | b'!' | b'^' | b'*' | b'/' | b'%' | b'+' | b'-') => true,
        Some(byte) if byte.is_ascii_alphabetic() => {
            let length = behind.iter().take(24).take_while(|&&b| b.is_ascii_alphanumeric() || b == b'_').count();
            words::kind(part(behind, 0, length)).is_some_and(|kind| !matches!(kind, b'f' | b'g' | b'T' | b'y' | b'E'))
        }
        _ => false,
    }
}

/// Whether the string that ends at `at` is the last argument of a call or of a list, and no statement goes on behind that: `open("door");`,
/// `contains(Name,'x') or ..`.
fn is_argument(text: &[u8], opened: Option<usize>, at: usize, ends: &Ends) -> bool {
    let Some(opened) = opened else { return false };
    if ends.comment > at || !rest(text, at + 1).starts_with(b")") {
        return false;
    }
    let before = part(text, 0, opened).trim_ascii_end();
    if !matches!(before, [.., b','] | [.., b'a'..=b'z' | b'0'..=b'9' | b'_', b'(']) {
        return false;
    }
    let closed = rest(text, at + 1).iter().take_while(|&&byte| byte <= b' ' || byte == b')').count();
    match rest(text, at + 1 + closed) {
        [] | [b',' | b'.' | b':' | b'{' | b']' | b'}', ..] => true,
        [b';', behind @ ..] => {
            let behind = behind.trim_ascii_start();
            let length = behind.iter().take(24).take_while(|byte| byte.is_ascii_alphabetic()).count();
            !matches!(words::kind(part(behind, 0, length)), Some(b'E' | b'S' | b'I' | b'U'))
        }
        behind => !goes_on(behind, false) || is_filter(text),
    }
}

/// Whether a value is a condition of OData: its functions are none of SQL.
fn is_filter(text: &[u8]) -> bool {
    const CALLS: &[&[u8]] =
        &[b"contains(", b"startswith(", b"endswith(", b"substringof(", b"indexof(", b"tolower(", b"toupper("];
    CALLS.iter().any(|call| text.starts_with(call))
}

/// Whether the value of the last attribute of a tag ends at `at`.
fn ends_attribute(text: &[u8], opened: Option<usize>, at: usize) -> bool {
    let behind = rest(text, at + 1);
    if !(behind.starts_with(b">") || behind.starts_with(b"/>") || behind.starts_with(b" />")) {
        return false;
    }
    let Some(opened) = opened else { return false };
    let before = part(text, 0, opened);
    let Some(open) = before.iter().rposition(|byte| matches!(byte, b'<' | b'>')) else { return false };
    let Some((b'=', tag)) = rest(before, open).split_last() else { return false };
    // Not what SQL reads as comparisons: `1 <a.b='c'> 2`, `1 <a and b='c'> 2`.
    let attribute =
        tag.iter().rev().take_while(|&&byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b':')).count();
    matches!(tag, [b'<', letter, ..] if letter.is_ascii_alphabetic())
        && attribute > 0
        && tag.len().checked_sub(attribute + 1).and_then(|at| tag.get(at)).is_some_and(|&byte| is_blank(byte))
        && !rest(tag, 1)
            .split(|&byte| !byte.is_ascii_alphanumeric() && byte != b'_')
            .any(|word| matches!(words::kind(word), Some(b'&' | b'=' | b'o' | b'!' | b'D' | b'U')))
}

/// Whether a quotation with blanks in it ends at `at`, and dashes follow with who said it: `"To be or not to be" -- William`.
fn is_quotation(text: &[u8], opened: Option<usize>, at: usize, ends: &Ends) -> bool {
    let behind = rest(text, at + 1);
    let blanks = behind.iter().take_while(|&&byte| is_blank(byte)).count();
    let dashes = rest(behind, blanks).iter().take_while(|&&byte| byte == b'-').count();
    let name = rest(behind, blanks + dashes);
    // Behind the end of its line a statement would go on.
    if dashes < 2 || !name.starts_with(b" ") || ends.line > at + blanks {
        return false;
    }
    if part(behind, 0, blanks).contains(&b'\n')
        && part(text, at.saturating_sub(FURTHER), at).iter().filter(|&&byte| byte == b' ').count() > 3
    {
        return true;
    }
    let Some(opened) = opened else { return false };
    let said = part(text, opened + 1, at);
    (opened == 0 || matches!(part(text, opened - 1, opened), [byte] if is_blank(*byte) || *byte == b'('))
        && said.first().is_some_and(|&byte| !is_blank(byte))
        && said.iter().filter(|&&byte| byte == b' ').count() > 1
        && blanks > 0
        && name.get(1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte >= 128)
}

/// Whether the quote at `at` opens the name of an option, and is closed again: `an option "--select x" of it`. MySQL, where strings
/// stand in such quotes, wants a blank behind the dashes of a comment.
fn is_text_with_a_dash(text: &[u8], at: usize, quote: u8, ends: &Ends) -> bool {
    let behind = rest(text, at + 1);
    at > 0
        && quote == b'"'
        && ends.line <= at
        && matches!(part(text, at - 1, at), [b' ' | b':' | b',' | b'(' | b'[' | b'{'])
        && matches!(behind, [b'-', b'-', letter, ..] if letter.is_ascii_alphanumeric())
        && behind.iter().take(200).skip(3).any(|&byte| byte == quote)
}
