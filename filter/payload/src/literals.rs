//! Where the literals of the patterns stand in a text.
//!
//! A gate looks at three bytes and at the one before them, and lets few places through; a trie then says which literals begin there.
//! Both are made at build time, and read where they are.

use crate::pattern::Class;
use crate::pattern::ops::holds;
use crate::rules::tables;

/// What a literal, or a pattern that it belongs to, asks of the place where it stands.
pub struct Around {
    /// The bytes that can stand before it.
    pub before: u16,
    /// The bytes that can stand behind it.
    pub behind: u16,
    /// The places that are read, as bits of [`crate::Place`].
    pub places: u16,
    /// The views that are read, as bits of [`crate::views::View`].
    pub views: u8,
    /// The lowest level that asks.
    pub level: u8,
}

/// One literal: what all of its patterns ask, and which they are in [`tables::TARGETS`].
pub struct Literal {
    pub from: u16,
    pub to: u16,
    pub around: Around,
}

/// One pattern that a literal belongs to.
pub struct Target {
    pub pattern: u16,
    pub around: Around,
}

/// Where a literal stands.
pub struct Hit {
    pub literal: &'static Literal,
    pub start: usize,
    last: Option<u8>,
    next: Option<u8>,
}

impl Hit {
    /// Whether the bytes around the literal are such as `around` asks.
    pub fn fits(&self, around: &Around) -> bool {
        stands(around.behind, self.next) && stands(around.before, self.last)
    }
}

fn stands(border: u16, byte: Option<u8>) -> bool {
    let known: Option<&(Class, bool)> = tables::BORDERS.get(usize::from(border));
    known.is_none_or(|(class, nothing)| byte.map_or(*nothing, |byte| holds(class, byte)))
}

/// The class of the end of a text; the others are below.
const END: usize = 63;
/// The classes whose bytes belong to words: letters, digits, the underscore.
const WORDS: u64 = ((1 << 27) - 1) | (1 << 54);

/// Calls `found` for every literal in `text`, in the order in which they begin.
#[inline]
pub fn each(text: &[u8], mut found: impl FnMut(&Hit)) {
    let mut from = 0;
    while let Some(start) = next_open(text, from) {
        walk(text, start, &mut found);
        from = start + 1;
    }
}

/// The first place at or behind `from` that the gate lets through.
#[inline(never)]
fn next_open(text: &[u8], from: usize) -> Option<usize> {
    let class_at = |at: usize| text.get(at).map_or(END, |&byte| class(byte));
    let before = from.checked_sub(1).map_or(END, class_at);
    let (mut kind, mut pair) = (row_of(before), class_at(from) << 6 | class_at(from + 1));
    for (at, &byte) in text.get(from + 2..).unwrap_or_default().iter().enumerate() {
        let third = class(byte);
        if is_open(kind | pair, third) {
            return Some(from + at);
        }
        kind = row_of(pair >> 6);
        pair = (pair << 6 | third) & 0xfff;
    }
    // The last two places, of which the first may have been passed already.
    let last = text.len().checked_sub(1)?;
    for at in from.max(last.saturating_sub(1))..=last {
        let kind = at.checked_sub(1).map_or(0, |before| row_of(class_at(before)));
        if is_open(kind | class_at(at) << 6 | class_at(at + 1), END) {
            return Some(at);
        }
    }
    None
}

/// The rows for literals behind a byte of this class.
#[inline(always)]
fn row_of(class: usize) -> usize {
    ((WORDS >> class & 1) as usize) << 12
}

// A byte is always below 256, and a row within the gate: the compiler drops the checks.
#[allow(clippy::indexing_slicing)]
#[inline(always)]
fn class(byte: u8) -> usize {
    usize::from(tables::BYTE_CLASSES[usize::from(byte)]) & END
}

#[allow(clippy::indexing_slicing)]
#[inline(always)]
fn is_open(row: usize, third: usize) -> bool {
    tables::GATE[row & 0x1fff] >> third & 1 == 1
}

#[inline]
fn walk(text: &[u8], start: usize, found: &mut impl FnMut(&Hit)) {
    const ENDS: u32 = 1 << 8;
    let mut unit = tables::UNITS.first().copied().unwrap_or(0);
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        let node = (unit >> 9) as usize ^ usize::from(byte);
        at += 1;
        unit = tables::UNITS.get(node).copied().unwrap_or(0);
        if unit & 0xff != u32::from(byte) || byte == 0 {
            return;
        }
        if unit & ENDS != 0 {
            let number = tables::LITERAL_AT.get(node).map_or(0, |&number| usize::from(number));
            let Some(literal) = tables::LITERALS.get(number.wrapping_sub(1)) else { return };
            let last = start.checked_sub(1).and_then(|at| text.get(at)).copied();
            found(&Hit { literal, start, last, next: text.get(at).copied() });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::ops::is_word;

    #[test]
    fn the_classes_of_words_are_those_of_word_bytes() {
        for byte in (0..128u8).filter(|b| !b.is_ascii_uppercase()) {
            assert_eq!(WORDS >> class(byte) & 1 == 1, is_word(byte), "{byte}");
        }
    }

    proptest! {
        /// The gate lets every place through where a literal stands that its surroundings allow.
        #[test]
        fn the_gate_loses_no_literal(text in "[ -~]{0,40}|([a-z]{1,6}[ (=/'\"`;_]{0,2}){0,8}|(select|union|`|'|\"|cat|alert|\\(|//){0,8}") {
            let text = text.to_ascii_lowercase().into_bytes();
            let mut found = Vec::new();
            each(&text, |hit| found.push((hit.start, hit.literal.from, hit.fits(&hit.literal.around))));
            found.retain(|hit| hit.2);
            let mut all = Vec::new();
            for start in 0..text.len() {
                walk(&text, start, &mut |hit: &Hit| all.push((hit.start, hit.literal.from, hit.fits(&hit.literal.around))));
            }
            all.retain(|hit| hit.2);
            prop_assert_eq!(found, all);
        }
    }
}
