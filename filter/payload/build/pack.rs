//! The code of patterns as it is written to the module: bytes that follow each other in one operation, and the same code once.

use std::collections::{BTreeMap, BTreeSet};

use crate::ops::{self, Op};

/// The code of all patterns.
#[derive(Default)]
pub struct Packed {
    pub ops: Vec<Op>,
    known: BTreeMap<Vec<Op>, u16>,
}

impl Packed {
    /// Adds the code that begins at `start`; gives where it begins here.
    pub fn add(&mut self, all: &[Op], start: u16) -> u16 {
        let code = &all[usize::from(start)..];
        let end = code.iter().position(|op| op[0] == ops::MATCH).unwrap();
        let packed = packed(&code[..=end]);
        let next = u16::try_from(self.ops.len()).unwrap();
        *self.known.entry(packed).or_insert_with_key(|packed| {
            self.ops.extend_from_slice(packed);
            next
        })
    }
}

fn packed(code: &[Op]) -> Vec<Op> {
    let leads =
        |op: &Op| matches!(op[0], ops::SPLIT | ops::JUMP).then(|| usize::from(u16::from_le_bytes([op[2], op[3]])));
    let targets: BTreeSet<usize> =
        code.iter().enumerate().filter_map(|(at, op)| leads(op).map(|distance| at + distance)).collect();
    let (mut out, mut new_at, mut jumps) = (Vec::new(), vec![0; code.len()], Vec::new());
    let mut at = 0;
    while at < code.len() {
        new_at[at] = out.len();
        let is_more = |next: &usize| code[*next][0] == ops::BYTE && !targets.contains(next);
        let more = (at + 1..code.len()).take(2).take_while(is_more).count();
        match code[at] {
            [ops::BYTE, a, ..] if more == 1 => out.push([ops::TWO_BYTES, a, code[at + 1][1], 0]),
            [ops::BYTE, a, ..] if more == 2 => out.push([ops::THREE_BYTES, a, code[at + 1][1], code[at + 2][1]]),
            op => {
                jumps.extend(leads(&op).map(|distance| (out.len(), at + distance)));
                out.push(op);
                at += 1;
                continue;
            }
        }
        at += 1 + more;
    }
    for (from, to) in jumps {
        let distance = u16::try_from(new_at[to] - from).unwrap();
        [out[from][2], out[from][3]] = distance.to_le_bytes();
    }
    out
}
