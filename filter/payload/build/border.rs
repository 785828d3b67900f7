//! Which bytes can stand around a literal where its pattern matches: right before it and right behind it, and one further where that
//! byte is a space, as in running text nearly all are. Found by running the pattern's code over the literal, on all of its branches at
//! once. Too many bytes cost time at run time, one too few would lose matches.

use std::collections::BTreeSet;

use crate::ops::{self, Class, Op};

/// Bytes that can stand somewhere, and whether the text can end there instead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Border {
    pub bytes: Class,
    pub nothing: bool,
}

impl Border {
    pub const ALL: Self = Self { bytes: [u64::MAX; 4], nothing: true };
    pub const NOTHING: Self = Self { bytes: [0; 4], nothing: true };

    pub fn words(is_word: bool) -> Self {
        let mut border = Self { bytes: [0; 4], nothing: !is_word };
        (0..=255u8).filter(|&b| ops::is_word(b) == is_word).for_each(|b| border.add(b));
        border
    }

    pub fn holds(&self, byte: u8) -> bool {
        ops::holds(&self.bytes, byte)
    }

    fn has_space(&self) -> bool {
        self.holds(b' ')
    }

    pub fn is_empty(&self) -> bool {
        !self.nothing && self.bytes == [0; 4]
    }

    pub fn and(self, other: Self) -> Self {
        Self { bytes: std::array::from_fn(|i| self.bytes[i] & other.bytes[i]), nothing: self.nothing && other.nothing }
    }

    pub fn or(self, other: Self) -> Self {
        Self { bytes: std::array::from_fn(|i| self.bytes[i] | other.bytes[i]), nothing: self.nothing || other.nothing }
    }

    fn add(&mut self, byte: u8) {
        self.bytes[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn without_space(mut self) -> Self {
        self.bytes[usize::from(b' ' >> 6)] &= !(1 << (b' ' & 63));
        self
    }
}

/// What can stand at one side of a literal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Side {
    /// Next to it.
    pub next: Border,
    /// Beyond that, where a space is next to it; everything where none can be.
    pub beyond: Border,
}

impl Side {
    pub const ALL: Self = Self { next: Border::ALL, beyond: Border::ALL };

    /// A space that nothing can stand beyond is none.
    fn new(next: Border, beyond: Border) -> Self {
        match next.has_space() && !beyond.is_empty() {
            true => Self { next, beyond },
            false => Self { next: next.without_space(), beyond: Border::ALL },
        }
    }

    pub fn and(self, next: Border) -> Self {
        Self::new(self.next.and(next), self.beyond)
    }

    pub fn or(self, other: Self) -> Self {
        let beyond = |side: &Self| if side.next.has_space() { side.beyond } else { Border::default() };
        Self::new(self.next.or(other.next), beyond(&self).or(beyond(&other)))
    }

    pub fn is_empty(&self) -> bool {
        self.next.is_empty()
    }
}

/// The code of all patterns, with what it refers to.
pub struct Code<'a> {
    pub ops: &'a [Op],
    pub classes: &'a [Class],
    pub words: Vec<&'a [String]>,
}

/// Where one branch stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Branch {
    code: usize,
    /// How many bytes of a run were taken; or which word of a list, and how much of it.
    count: usize,
    word: Option<usize>,
    /// What the branch asks of the byte before the literal.
    before: Asked,
    /// What it asks of the next byte.
    next: Asked,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Nothing,
    /// A byte of this kind.
    Word(bool),
    /// That there is none.
    End,
}

impl Asked {
    fn border(self) -> Border {
        match self {
            Self::Nothing => Border::ALL,
            Self::Word(is_word) => Border::words(is_word),
            Self::End => Border::NOTHING,
        }
    }
}

impl Code<'_> {
    /// What can stand before and behind `literal` where the code at `forward` matches from its start on.
    pub fn around(&self, forward: u16, literal: &[u8]) -> (Border, Side) {
        let start = Branch { code: forward.into(), count: 0, word: None, before: Asked::Nothing, next: Asked::Nothing };
        let (mut branches, mut done) = (BTreeSet::from([start]), BTreeSet::new());
        for (at, &byte) in literal.iter().enumerate() {
            let last = at.checked_sub(1).map(|at| literal[at]);
            branches = self.behind_one(&self.spread(branches, last, byte, &mut done), byte);
        }
        let (mut before, mut behind) = (Border::default(), Border::default());
        let branches = self.spread(branches, literal.last().copied(), 0, &mut done);
        for branch in &branches {
            let bytes = self.next_of(branch);
            if !bytes.is_empty() {
                before = before.or(branch.before.border());
                behind = behind.or(bytes);
            }
        }
        let mut behind = Side::new(behind, self.beyond_space(&branches));
        // A branch that matched within the literal asks nothing of what follows it.
        for asked in done {
            before = before.or(asked.border());
            behind = Side::ALL;
        }
        (before, behind)
    }

    /// What can stand before `literal` where the code at `backward` matches from its start on.
    pub fn before(&self, backward: u16, first: u8) -> Side {
        let start =
            Branch { code: backward.into(), count: 0, word: None, before: Asked::Nothing, next: Asked::Nothing };
        let branches = self.spread(BTreeSet::from([start]), Some(first), 0, &mut BTreeSet::new());
        let next = branches.iter().map(|branch| self.before_of(branch)).fold(Border::default(), Border::or);
        // A pattern that matched already asks nothing of what stands further before.
        let mut beyond = Border::default();
        for branch in self.spread(self.behind_one(&branches, b' '), Some(b' '), 0, &mut BTreeSet::new()) {
            beyond = beyond.or(self.before_of(&branch));
        }
        let is_matched = |branch: &Branch| self.ops[branch.code][0] == ops::MATCH;
        Side::new(next, if branches.iter().any(is_matched) { Border::ALL } else { beyond })
    }

    /// What a branch that is read backward can take next.
    fn before_of(&self, branch: &Branch) -> Border {
        match self.ops[branch.code][0] {
            ops::START => branch.next.border().and(Border::NOTHING),
            ops::END => Border::ALL,
            // Words are not read backward.
            ops::WORD => Border::default(),
            _ => self.next_of(branch),
        }
    }

    /// What can stand behind a space that the branches take next.
    fn beyond_space(&self, branches: &BTreeSet<Branch>) -> Border {
        if branches.iter().any(|branch| self.ops[branch.code][0] == ops::MATCH) {
            return Border::ALL;
        }
        let mut beyond = Border::default();
        for branch in self.spread(self.behind_one(branches, b' '), Some(b' '), 0, &mut BTreeSet::new()) {
            beyond = beyond.or(self.next_of(&branch));
        }
        beyond
    }

    fn behind_one(&self, branches: &BTreeSet<Branch>, byte: u8) -> BTreeSet<Branch> {
        branches.iter().filter_map(|&branch| self.take(branch, byte)).collect()
    }

    /// The branches from which a byte is taken next, or the end is reached. `last` is the byte before, `None` at the literal's
    /// start; `first` is the byte behind, 0 where it is not known.
    fn spread(
        &self,
        branches: BTreeSet<Branch>,
        last: Option<u8>,
        first: u8,
        done: &mut BTreeSet<Asked>,
    ) -> BTreeSet<Branch> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Branch> = branches.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(branch) = open.pop() {
            if !seen.insert(branch) {
                continue;
            }
            let [kind, a, low, high] = self.ops[branch.code];
            let distance = usize::from(low) + 256 * usize::from(high);
            let on = Branch { code: branch.code + 1, count: 0, word: None, ..branch };
            match kind {
                ops::SPLIT => open.extend([on, Branch { code: branch.code + distance, ..on }]),
                ops::JUMP => open.push(Branch { code: branch.code + distance, ..on }),
                ops::BOUNDARY => match last {
                    Some(last) => {
                        let asked = Asked::Word(!ops::is_word(last));
                        if branch.next == Asked::Nothing || branch.next == asked {
                            open.push(Branch { next: asked, ..on });
                        }
                    }
                    None => {
                        let asked = Asked::Word(!ops::is_word(first));
                        match branch.before {
                            Asked::Nothing => open.push(Branch { before: asked, ..on }),
                            before if before == asked || before == Asked::End => open.push(on),
                            _ => {}
                        }
                    }
                },
                ops::START if last.is_none() => open.push(Branch { before: Asked::End, ..on }),
                ops::RUN | ops::RUN_HIGH | ops::RUN_HIGHER | ops::RUN_HIGHEST => {
                    if branch.count >= usize::from(low) {
                        open.push(on);
                    }
                    found.insert(branch);
                }
                ops::WORD if branch.word.is_none() => {
                    let list = self.words[distance].iter().enumerate();
                    let fits = |word: &String| first == 0 || word.as_bytes().first() == Some(&first);
                    let words = list.filter(|(_, word)| fits(word)).map(|(number, _)| number);
                    open.extend(words.map(|word| Branch { word: Some(word), ..branch }));
                }
                ops::WORD => {
                    let word = self.words[distance][branch.word.unwrap()].as_bytes();
                    if branch.count < word.len() {
                        found.insert(branch);
                    } else {
                        // A list without phrases takes whole words.
                        let next = if a == 0 && word.len() < 40 { Asked::Word(false) } else { Asked::Nothing };
                        open.push(Branch { next, ..on });
                    }
                }
                _ => {
                    found.insert(branch);
                    let matched = !matches!(kind, ops::BYTE | ops::CLASS | ops::START | ops::END);
                    if matched && last.is_some() && first != 0 && branch.next.border().holds(first) {
                        done.insert(branch.before);
                    }
                }
            }
        }
        found
    }

    /// The branch behind one more byte.
    fn take(&self, branch: Branch, byte: u8) -> Option<Branch> {
        if !self.next_of(&branch).holds(byte) {
            return None;
        }
        let kind = self.ops[branch.code][0];
        let taken = Branch { count: branch.count + 1, next: Asked::Nothing, ..branch };
        match kind {
            ops::RUN | ops::RUN_HIGH | ops::RUN_HIGHER | ops::RUN_HIGHEST | ops::WORD => Some(taken),
            ops::BYTE | ops::CLASS => Some(Branch { code: branch.code + 1, count: 0, word: None, ..taken }),
            _ => None,
        }
    }

    /// The bytes that a branch can take next.
    fn next_of(&self, branch: &Branch) -> Border {
        let [kind, a, low, high] = self.ops[branch.code];
        let class = |index: usize| Border { bytes: self.classes[index], nothing: false };
        let bytes = match kind {
            ops::BYTE => {
                let mut border = Border::default();
                border.add(a);
                border
            }
            ops::CLASS => class(usize::from(a) + 256 * usize::from(low)),
            ops::RUN | ops::RUN_HIGH | ops::RUN_HIGHER | ops::RUN_HIGHEST => {
                let limit = if high == 255 { ops::RUN_CAP } else { usize::from(high) };
                match branch.count < limit {
                    true => class(usize::from(a) + 256 * ops::page(kind)),
                    false => Border::default(),
                }
            }
            ops::WORD => {
                let list = self.words[usize::from(low) + 256 * usize::from(high)];
                let mut border = Border::default();
                if let Some(&byte) = branch.word.and_then(|word| list[word].as_bytes().get(branch.count)) {
                    border.add(byte);
                }
                border
            }
            // Within the text this is no start.
            ops::START => Border::default(),
            ops::END => Border::NOTHING,
            _ => Border::ALL,
        };
        bytes.and(branch.next.border())
    }
}
