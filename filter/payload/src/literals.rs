//! Where the literals of the patterns stand in a text.
//!
//! A gate looks at three bytes and at the one before them, and lets few places through; a trie then says which literals begin there.
//! Both are made at build time, and read where they are.

use crate::rules::tables;
use crate::views::View;

/// What can stand around a literal where a pattern matches: sets of classes of bytes, in [`tables::CLASS_SETS`].
pub struct Around {
    /// Right before it.
    pub before: u16,
    /// Right behind it.
    pub behind: u16,
    /// One further, where a space is right before it.
    pub beyond_before: u16,
    /// One further, where a space is right behind it.
    pub beyond_behind: u16,
}

/// Literals that belong to the same patterns, and what all of these ask of the place where one stands.
pub struct Group {
    /// The patterns: `from..to` in [`tables::TARGETS`].
    pub from: u16,
    pub to: u16,
    /// In [`tables::AROUND`].
    pub around: u16,
    /// The same by [`Hit::shape`], a bit for each.
    pub shapes: u16,
    /// The places that are read, as bits of [`crate::Place`].
    pub places: u16,
    /// The views that are read, as bits of [`crate::views::View`].
    pub views: u8,
    /// The lowest level that asks.
    pub level: u8,
}

/// One pattern of a group, and what it asks of what stands around.
pub struct Target {
    pub pattern: u16,
    pub around: u16,
    pub shapes: u16,
}

/// Where a literal stands.
pub struct Hit {
    pub group: &'static Group,
    pub start: usize,
    before: Side,
    behind: Side,
    /// What kinds of bytes stand around it, as one bit: what nearly all literals in running text fail at.
    shape: u16,
}

/// The classes of the bytes at one side of a literal.
#[derive(Clone, Copy)]
struct Side {
    next: usize,
    /// Of the byte beyond a space.
    beyond: Option<usize>,
}

impl Hit {
    /// Whether the bytes around the literal are such as `around` asks, of which `shapes` is a summary.
    #[inline]
    pub fn fits(&self, shapes: u16, around: u16) -> bool {
        if shapes & self.shape == 0 {
            return false;
        }
        let Some(asked) = tables::AROUND.get(usize::from(around)) else { return true };
        self.behind.fits(asked.behind, asked.beyond_behind) && self.before.fits(asked.before, asked.beyond_before)
    }
}

impl Side {
    #[inline(always)]
    fn new(next: usize, beyond: impl FnOnce() -> usize) -> Self {
        Self { next, beyond: (next == SPACE).then(beyond) }
    }

    /// A letter, a space and a letter, a space and another byte, or another byte.
    #[inline(always)]
    fn kind(self) -> u16 {
        match self.beyond {
            None if self.next < LETTERS => 0,
            None => 3,
            Some(beyond) if beyond < LETTERS => 1,
            Some(_) => 2,
        }
    }

    #[inline(always)]
    fn fits(self, next: u16, beyond: u16) -> bool {
        holds(next, self.next) && self.beyond.is_none_or(|class| holds(beyond, class))
    }
}

#[inline(always)]
fn holds(set: u16, class: usize) -> bool {
    tables::CLASS_SETS.get(usize::from(set)).is_none_or(|set| set >> (class & 63) & 1 == 1)
}

/// The class of the end of a text; the others are below.
const END: usize = 63;
/// The classes whose bytes belong to words: letters, digits, the underscore.
const WORDS: u64 = ((1 << 27) - 1) | (1 << 54);
/// The classes below are those of letters.
const LETTERS: usize = 26;
/// The class of the space.
const SPACE: usize = 27;
/// How many places of a text are looked at before literals are looked for at the open ones.
const BLOCK: usize = 64;

/// Calls `found` for every literal in `text` for which one of `views` is read, in the order in which they begin.
#[inline]
pub fn each(text: &[u8], views: u8, mut found: impl FnMut(&Hit)) {
    let gate = if views & View::TEXT == 0 { &tables::DERIVED_GATE } else { &tables::GATE };
    let mut open = [0; BLOCK];
    for from in (0..text.len()).step_by(BLOCK) {
        let count = open_places(gate, text, from, &mut open);
        for &start in open.iter().take(count) {
            walk(text, start, views, &mut found);
        }
    }
}

/// Which three bytes a literal can begin with: see `build/trie.rs`.
type Gate = [u64; 8192];

/// Writes down which of the places from `from` on the gate lets through, and gives how many these are. Without a branch for each: in
/// running text it could not be foreseen.
#[inline(never)]
fn open_places(gate: &Gate, text: &[u8], from: usize, open: &mut [usize; BLOCK]) -> usize {
    let before = from.checked_sub(1).map_or(END, |before| class_at(text, before));
    let (mut kind, mut pair) = (row_of(before), class_at(text, from) << 6 | class_at(text, from + 1));
    let mut count = 0;
    let mut look = |at: usize, third: usize| {
        if let Some(slot) = open.get_mut(count) {
            *slot = at;
        }
        count += is_open(gate, kind | pair, third);
        kind = row_of(pair >> 6);
        pair = (pair << 6 | third) & 0xfff;
    };
    let block = text.get(from + 2..).unwrap_or_default();
    let block = block.get(..BLOCK).unwrap_or(block);
    for (at, &byte) in block.iter().enumerate() {
        look(from + at, class(byte));
    }
    // The last two places of the text.
    for at in from + block.len()..text.len().min(from + BLOCK) {
        look(at, END);
    }
    count
}

/// The rows for literals behind a byte of this class.
#[inline(always)]
fn row_of(class: usize) -> usize {
    ((WORDS >> class & 1) as usize) << 12
}

#[inline(always)]
fn class_at(text: &[u8], at: usize) -> usize {
    text.get(at).map_or(END, |&byte| class(byte))
}

// A byte is always below 256, and a row within the gate: the compiler drops the checks.
#[allow(clippy::indexing_slicing)]
#[inline(always)]
fn class(byte: u8) -> usize {
    usize::from(tables::BYTE_CLASSES[usize::from(byte)]) & END
}

#[allow(clippy::indexing_slicing)]
#[inline(always)]
fn is_open(gate: &Gate, row: usize, third: usize) -> usize {
    (gate[row & 0x1fff] >> (third & 63) & 1) as usize
}

#[inline]
fn walk(text: &[u8], start: usize, views: u8, found: &mut impl FnMut(&Hit)) {
    const ENDS: u32 = 1 << 8;
    let views = u32::from(views) << 24;
    let mut unit = tables::UNITS.first().copied().unwrap_or(0);
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        let node = (unit >> 9 & 0x7fff) as usize ^ usize::from(byte);
        at += 1;
        unit = tables::UNITS.get(node).copied().unwrap_or(0);
        if unit & 0xff != u32::from(byte) || unit & views == 0 {
            return;
        }
        if unit & ENDS != 0 {
            let group = tables::GROUP_AT.get(node).and_then(|&group| tables::GROUPS.get(usize::from(group)));
            let Some(group) = group else { return };
            let class_before = |distance| start.checked_sub(distance).map_or(END, |at| class_at(text, at));
            let before = Side::new(class_before(1), || class_before(2));
            let behind = Side::new(class_at(text, at), || class_at(text, at + 1));
            found(&Hit { group, start, before, behind, shape: 1 << (before.kind() * 4 + behind.kind()) });
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

    /// Every literal in `text` for which a pattern of these views would be tried: those that the gate lets through, and those at all places.
    fn found(text: &[u8], views: u8) -> [Vec<(usize, u16)>; 2] {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        let fits = |hit: &Hit| {
            let Group { from, to, around, shapes, .. } = *hit.group;
            let targets = tables::TARGETS.get(usize::from(from)..usize::from(to)).unwrap_or_default();
            hit.fits(shapes, around)
                && targets.iter().any(|target| {
                    tables::PATTERNS.get(usize::from(target.pattern)).is_some_and(|pattern| pattern.views & views != 0)
                        && hit.fits(target.shapes, target.around)
                })
        };
        each(text, views, |hit| open.extend(fits(hit).then_some((hit.start, hit.group.from))));
        for start in 0..text.len() {
            walk(text, start, views, &mut |hit: &Hit| all.extend(fits(hit).then_some((hit.start, hit.group.from))));
        }
        [open, all]
    }

    proptest! {
        /// The gate lets every place through where a literal stands that its surroundings allow.
        #[test]
        fn the_gate_loses_no_literal(text in "[ -~]{0,40}|([a-z]{1,6}[ (=/'\"`;_]{0,2}){0,8}|(select|union|`|'|\"|cat|alert|\\(|//){0,8}") {
            let [open, all] = found(&text.to_ascii_lowercase().into_bytes(), 0xff);
            prop_assert_eq!(open, all);
        }

        /// The same beside bytes of all kinds, at the ends of the blocks in which places are looked at, and for views of their own.
        #[test]
        fn the_gate_loses_no_literal_in_long_texts_of_any_bytes(
            pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..3), 0..PIECES.len()), 0..60),
            views in prop_oneof![Just(0xff), Just(View::TEXT), Just(View::Sql as u8), Just(View::Shell as u8), Just(View::Path as u8)],
        ) {
            let mut text = Vec::new();
            for (bytes, piece) in &pieces {
                text.extend_from_slice(bytes);
                text.extend_from_slice(PIECES.get(*piece).copied().unwrap_or_default().as_bytes());
            }
            text.make_ascii_lowercase();
            let [open, all] = found(&text, views);
            prop_assert_eq!(open, all);
        }
    }

    const PIECES: &[&str] = &[
        "select",
        "union",
        "`",
        "'",
        "\"",
        "cat",
        "alert(",
        "//",
        "/etc/passwd",
        "../",
        "<script",
        "javascript:",
        "sleep(",
        "${jndi:",
        "{{",
        " ",
        "eval",
        "$(",
        "information_schema",
        ";",
        "|",
        "x",
        "system(",
        "document.cookie",
        "0x",
        "\n",
        "php://",
        "@@version",
        "__proto__",
    ];
}
