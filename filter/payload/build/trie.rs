//! The literals as a trie in one array (a double array), and the gate before it: which three bytes a literal can begin with.

use crate::border::Border;

/// The array. The child of `node` by `byte` is at `units[node] >> 9 ^ byte`, if the low byte of the unit there is `byte`. Bit 8 says
/// that a literal ends there.
pub struct Trie {
    pub units: Vec<u32>,
    /// The literal that ends at a node, plus one.
    pub literals: Vec<u16>,
}

#[derive(Default)]
struct Node {
    children: Vec<(u8, usize)>,
    literal: u16,
}

impl Trie {
    /// `literals` are in order, without duplicates, without zero bytes.
    pub fn new<'a>(literals: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut nodes = vec![Node::default()];
        for (number, literal) in literals.enumerate() {
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
            }
            nodes[at].literal = u16::try_from(number + 1).unwrap();
        }
        Self::packed(&nodes)
    }

    /// Gives each node with children a base of its own, so that the byte alone says whether a child is its own.
    fn packed(nodes: &[Node]) -> Self {
        let most = nodes.len() * 2 + 1024;
        let (mut units, mut literals) = (vec![0u32; most], vec![0u16; most]);
        let (mut taken, mut used) = (vec![false; most], vec![false; most]);
        // Slot 0 is the root; a base below 256 would let a byte that is not there lead to it.
        taken[0] = true;
        let (mut first, mut open, mut end) = (256, vec![(0usize, 0usize)], 256);
        while let Some((node, slot)) = open.pop() {
            literals[slot] = nodes[node].literal;
            units[slot] |= u32::from(nodes[node].literal != 0) << 8;
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
        literals.truncate(end);
        Self { units, literals }
    }
}

/// The gate: a row for each pair of classes of bytes and each kind of byte before it, a bit for each class of the third byte.
pub struct Gate {
    /// The class of each byte, below 63; 63 is the end of the text.
    pub classes: [u8; 256],
    /// First the rows for literals behind a byte that belongs to no word, then those behind one that does.
    pub rows: Vec<u64>,
}

const END: u8 = 63;

impl Gate {
    /// A gate for literals with what can stand around each.
    pub fn new<'a>(literals: impl Iterator<Item = (&'a [u8], Border, Border)>) -> Self {
        let classes: [u8; 256] = std::array::from_fn(|byte| class(byte as u8));
        let mut rows = vec![0u64; 2 * 64 * 64];
        for (literal, before, behind) in literals {
            let third = |at: usize| -> u64 {
                match literal.get(at) {
                    Some(&byte) => 1 << classes[usize::from(byte)],
                    None if literal.len() == at => bits(&classes, behind),
                    None => u64::MAX,
                }
            };
            let kinds = [Border::words(false), Border::words(true)];
            for (kind, _) in kinds.iter().enumerate().filter(|(_, kind)| !kind.and(before).is_empty()) {
                let first = classes[usize::from(literal[0])];
                for second in (0..64u8).filter(|&second| third(1) >> second & 1 == 1) {
                    let row = kind << 12 | usize::from(first) << 6 | usize::from(second);
                    // Behind the end there is nothing more.
                    rows[row] |= if second == END { 1 << END } else { third(2) };
                }
            }
        }
        Self { classes, rows }
    }
}

fn bits(classes: &[u8; 256], border: Border) -> u64 {
    let bytes = (0..=255u8).filter(|&byte| border.holds(byte));
    bytes.fold(u64::from(border.nothing) << END, |bits, byte| bits | 1 << classes[usize::from(byte)])
}

fn class(byte: u8) -> u8 {
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
