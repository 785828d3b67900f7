//! The literals as a trie in one array (a double array), and the gate before it: which three bytes a literal can begin with.

use crate::border::{Border, Side};

/// The array. The child of `node` by `byte` is at `units[node] >> 9 & 0x7fff ^ byte`, if the low byte of the unit there is `byte`. Bit 8
/// says that a literal ends there; the highest byte, which views are read for the literals that begin so.
pub struct Trie {
    pub units: Vec<u32>,
    /// The group of the literal that ends at a node.
    pub groups: Vec<u16>,
}

#[derive(Default)]
struct Node {
    children: Vec<(u8, usize)>,
    group: Option<u16>,
    views: u8,
}

impl Trie {
    /// `literals` are in order, without duplicates, without zero bytes; each with its group and the views that are read for it.
    pub fn new<'a>(literals: impl Iterator<Item = (&'a [u8], (u16, u8))>) -> Self {
        let mut nodes = vec![Node::default()];
        for (literal, (group, views)) in literals {
            let mut at = 0;
            for &byte in literal {
                at = match nodes[at].children.last() {
                    Some(&(last, child)) if last == byte => child,
                    _ => {
                        nodes.push(Node::default());
                        let child = nodes.len() - 1;
                        nodes[at].children.push((byte, child));
                        child
                    }
                };
                nodes[at].views |= views;
            }
            nodes[at].group = Some(group);
        }
        Self::packed(&nodes)
    }

    /// Gives each node with children a base of its own, so that the byte alone says whether a child is its own.
    fn packed(nodes: &[Node]) -> Self {
        let most = nodes.len() * 2 + 1024;
        let (mut units, mut groups) = (vec![0u32; most], vec![0u16; most]);
        let (mut taken, mut used) = (vec![false; most], vec![false; most]);
        // Slot 0 is the root; a base below 256 would let a byte that is not there lead to it.
        taken[0] = true;
        let (mut first, mut open, mut end) = (256, vec![(0usize, 0usize)], 256);
        while let Some((node, slot)) = open.pop() {
            groups[slot] = nodes[node].group.unwrap_or(0);
            units[slot] |= u32::from(nodes[node].group.is_some()) << 8 | u32::from(nodes[node].views) << 24;
            let children = &nodes[node].children;
            let Some(&(lowest, _)) = children.first() else { continue };
            while taken[first] {
                first += 1;
            }
            let mut try_at = first;
            let base = loop {
                let base = try_at ^ usize::from(lowest);
                let is_free = !taken[try_at] && !used[base] && base >= 256;
                if is_free && children.iter().all(|&(byte, _)| !taken[base ^ usize::from(byte)]) {
                    break base;
                }
                try_at += 1;
            };
            used[base] = true;
            assert!(base < 1 << 15, "more literals than the trie has room for");
            units[slot] |= u32::try_from(base).unwrap() << 9;
            for &(byte, child) in children {
                let at = base ^ usize::from(byte);
                taken[at] = true;
                units[at] |= u32::from(byte);
                end = end.max(at | 255);
                open.push((child, at));
            }
        }
        // No byte leads beyond the end: a base's block of 256 is whole.
        let end = end.max(used.iter().rposition(|&used| used).unwrap_or(0) | 255) + 1;
        units.truncate(end);
        groups.truncate(end);
        Self { units, groups }
    }
}

/// The gate: a row for each pair of classes of bytes and each kind of byte before it, a bit for each class of the third byte.
pub struct Gate {
    /// First the rows for literals behind a byte that belongs to no word, then those behind one that does.
    pub rows: Vec<u64>,
}

const END: u8 = 63;

impl Gate {
    /// A gate for literals with what can stand around each.
    pub fn new<'a>(literals: impl Iterator<Item = (&'a [u8], Around)>) -> Self {
        let mut rows = vec![0u64; 2 * 64 * 64];
        for (literal, around) in literals {
            let third = |at: usize, second: u8| -> u64 {
                match literal.get(at) {
                    Some(&byte) => 1 << class_of(byte),
                    None if literal.len() == at => around.behind,
                    None if literal.len() + 1 == at && second == class_of(b' ') => around.beyond_behind,
                    None => u64::MAX,
                }
            };
            let kinds = [Border::words(false), Border::words(true)].map(bits);
            for (kind, _) in kinds.iter().enumerate().filter(|(_, kind)| **kind & around.before != 0) {
                let first = class_of(literal[0]);
                for second in (0..64u8).filter(|&second| third(1, END) >> second & 1 == 1) {
                    let row = kind << 12 | usize::from(first) << 6 | usize::from(second);
                    // Behind the end there is nothing more.
                    rows[row] |= if second == END { 1 << END } else { third(2, second) };
                }
            }
        }
        Self { rows }
    }
}

/// What can stand around a literal, as classes of bytes, a bit for each: next to it, and beyond that where a space is next to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Around {
    pub before: u64,
    pub behind: u64,
    pub beyond_before: u64,
    pub beyond_behind: u64,
}

impl Around {
    pub fn new(before: Side, behind: Side) -> Self {
        Self {
            before: bits(before.next),
            behind: bits(behind.next),
            beyond_before: bits(before.beyond),
            beyond_behind: bits(behind.beyond),
        }
    }
}

/// The letters among the classes.
const LETTERS: u64 = (1 << 26) - 1;
/// The space among them.
const SPACE: u64 = 1 << 27;

impl Around {
    /// The same by shapes, a bit for each: a letter, a space and a letter, a space and another byte, or another byte at each side.
    pub fn shapes(&self) -> u16 {
        let kinds = |next: u64, beyond: u64| {
            [
                next & LETTERS != 0,
                next & SPACE != 0 && beyond & LETTERS != 0,
                next & SPACE != 0 && beyond & !LETTERS != 0,
                next & !(LETTERS | SPACE) != 0,
            ]
        };
        let before = kinds(self.before, self.beyond_before);
        let behind = kinds(self.behind, self.beyond_behind);
        (0..16).filter(|shape| before[shape / 4] && behind[shape % 4]).fold(0, |shapes, shape| shapes | 1 << shape)
    }
}

/// The classes of all bytes; the end of the text is one more, 63.
pub fn classes() -> [u8; 256] {
    std::array::from_fn(|byte| class_of(byte as u8))
}

fn bits(border: Border) -> u64 {
    let bytes = (0..=255u8).filter(|&byte| border.holds(byte));
    bytes.fold(u64::from(border.nothing) << END, |bits, byte| bits | 1 << class_of(byte))
}

fn class_of(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => byte - b'a',
        b'0'..=b'9' => 26,
        b' '..=b'/' => 27 + (byte - b' '),
        b':'..=b'@' => 43 + (byte - b':'),
        b'['..=b'`' => 50 + (byte - b'['),
        b'{'..=b'~' => 56 + (byte - b'{'),
        b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => 60,
        128.. => 61,
        _ => 62,
    }
}
