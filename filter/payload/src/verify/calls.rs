//! Calls of functions that only one language has.

use crate::bytes::{is_blank, part, rest};
use crate::pattern::ops::is_word;
use crate::rules::{id, tables};
use crate::scanner::Evidence;

/// Looks at the name before each opening parenthesis.
pub fn judge(text: &[u8], evidence: &mut Evidence<'_>) {
    if !text.contains(&b'(') {
        return;
    }
    for (at, _) in text.iter().enumerate().filter(|&(_, &b)| b == b'(').take(256) {
        let before = part(text, 0, at);
        let end = before.iter().rposition(|&b| !is_blank(b)).map_or(0, |i| i + 1);
        // The longest name of PHP has 39 letters; names are looked up from the longest end of the word on.
        let start = before.iter().take(end).rposition(|&b| !is_word(b)).map_or(0, |i| i + 1);
        let name = part(before, start, end);
        // A page of the manual: `opendir(3)`.
        let is_reference = matches!(rest(text, at + 1), [b'0'..=b'9', b')', ..]);
        if !is_reference && (6..=48).contains(&name.len()) && name.contains(&b'_') && tables::PHP_KNOWN.holds(name) {
            evidence.add(id::PHP_KNOWN_CALL, name);
            return;
        }
    }
}
