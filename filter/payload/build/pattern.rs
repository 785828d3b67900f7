//! Compiles the pattern language of the rule files (described in `rules/README.md`) into operations.

use std::collections::BTreeMap;

use crate::ops::{self, Class, Op};

#[derive(Debug, Clone)]
pub enum Node {
    Byte(u8),
    Class(Class),
    Run(Class, u8, u8),
    Group(Vec<Vec<Node>>),
    Optional(Vec<Vec<Node>>),
    Boundary,
    Start,
    End,
    Word(String),
}

/// Everything that patterns share.
#[derive(Default)]
pub struct Tables {
    pub ops: Vec<Op>,
    pub classes: Vec<Class>,
    pub words: BTreeMap<String, Vec<String>>,
    pub used_lists: Vec<String>,
}

/// A pattern: what is searched for, and the code that decides around each place where it stands.
pub struct Compiled {
    pub literals: Vec<String>,
    /// Runs forward from the start of the literal.
    pub forward: u16,
    /// Runs backward from the start of the literal; 0 is none.
    pub backward: u16,
    /// The literal must start at a border of words.
    pub border: bool,
    /// The literal is a whole word of a list: another word byte must not follow.
    pub whole: bool,
    /// The literal stands no further than this from the start of the text; 0 is anywhere.
    pub reach: u16,
    /// Bytes that stand in every match; for patterns over tokens.
    pub needs: u128,
    /// The bytes that a match can start with; for patterns over tokens.
    pub first: u128,
}

/// The bytes below 128 that every match of `nodes` holds.
fn needed(nodes: &[Node]) -> u128 {
    nodes.iter().fold(0, |all, node| {
        all | match node {
            Node::Byte(byte) if *byte < 128 => 1 << byte,
            Node::Run(class, low, _) if *low > 0 && members(class).len() == 1 && members(class)[0] < 128 => {
                1u128 << members(class)[0]
            }
            Node::Class(class) if members(class).len() == 1 && members(class)[0] < 128 => 1u128 << members(class)[0],
            Node::Group(branches) => branches.iter().map(|b| needed(b)).fold(u128::MAX, |a, b| a & b),
            _ => 0,
        }
    })
}

/// The most bytes that a match of `nodes` can take.
fn longest(nodes: &[Node]) -> usize {
    nodes
        .iter()
        .map(|node| match node {
            Node::Byte(_) | Node::Class(_) => 1,
            Node::Run(_, _, 255) => ops::RUN_CAP,
            Node::Run(_, _, high) => usize::from(*high),
            Node::Group(branches) | Node::Optional(branches) => branches.iter().map(|b| longest(b)).max().unwrap_or(0),
            Node::Boundary | Node::Start | Node::End => 0,
            Node::Word(_) => 64,
        })
        .sum()
}

fn first_bytes(nodes: &[Node]) -> u128 {
    match nodes.first() {
        Some(Node::Byte(byte)) if *byte < 128 => 1 << byte,
        Some(Node::Class(class)) => members(class).into_iter().filter(|&b| b < 128).fold(0, |all, b| all | 1 << b),
        _ => u128::MAX,
    }
}

pub fn compile(text: &str, tables: &mut Tables, literal_free: bool) -> Result<Compiled, String> {
    let (left, right) = match text.split_once("<<") {
        Some((left, right)) => (Some(left), right),
        None => (None, text),
    };
    let nodes = parse(right)?;
    let literals = if literal_free { Vec::new() } else { prefixes(&nodes, tables)? };
    let mut reach = 0;
    let backward = match left {
        None => 0,
        Some(left) => {
            let nodes = parse(left)?;
            if matches!(nodes.first(), Some(Node::Start)) {
                reach = u16::try_from(longest(&nodes) + 1).unwrap_or(0);
            }
            emit_pattern(&reversed(nodes), tables)?
        }
    };
    let forward = emit_pattern(&nodes, tables)?;
    let border = match nodes.first() {
        Some(Node::Boundary) => literals.iter().all(|l| l.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')),
        Some(Node::Word(list)) => {
            tables.words[list].iter().all(|w| w.bytes().all(|b| ops::is_word(b) || matches!(b, b'.' | b'-')))
        }
        _ => false,
    };
    // A literal that goes on behind its word says nothing of what follows the word.
    let whole = border && matches!(nodes.first(), Some(Node::Word(list)) if tables.words[list] == literals);
    Ok(Compiled {
        literals,
        forward,
        backward,
        border,
        whole,
        reach,
        needs: needed(&nodes),
        first: first_bytes(&nodes),
    })
}

fn class_of(set: impl Fn(u8) -> bool) -> Class {
    let mut class = [0; 4];
    for byte in 0..=255u8 {
        if set(byte) {
            class[usize::from(byte >> 6)] |= 1u64 << (byte & 63);
        }
    }
    class
}

fn blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    let mut branches = reader.branches()?;
    if reader.at < text.len() {
        return Err(format!("unexpected `)` at {} of {text}", reader.at));
    }
    Ok(if branches.len() == 1 { branches.remove(0) } else { vec![Node::Group(branches)] })
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or("the pattern ends too early")?;
        self.at += 1;
        Ok(byte)
    }

    fn branches(&mut self) -> Result<Vec<Vec<Node>>, String> {
        let mut branches = vec![Vec::new()];
        while let Some(byte) = self.peek() {
            match byte {
                b')' => break,
                b'|' => {
                    self.at += 1;
                    branches.push(Vec::new());
                }
                _ => {
                    let nodes = self.item()?;
                    branches.last_mut().unwrap().extend(nodes);
                }
            }
        }
        Ok(branches)
    }

    fn item(&mut self) -> Result<Vec<Node>, String> {
        let node = match self.next()? {
            b'^' => return Ok(vec![Node::Start]),
            b'$' => return Ok(vec![Node::End]),
            b' ' => return Ok(vec![Node::Run(class_of(blank), 1, 255)]),
            b'~' => return Ok(vec![Node::Run(class_of(blank), 0, 255)]),
            b'(' => {
                let branches = self.branches()?;
                if self.next()? != b')' {
                    return Err("a group is not closed".into());
                }
                if self.peek() == Some(b'?') {
                    self.at += 1;
                    return Ok(vec![Node::Optional(branches)]);
                }
                if let Some((low, high)) = self.count()? {
                    // A repeated group is written out; without a number it repeats six times at most.
                    let high = if high == 255 { low.max(6) } else { high };
                    if high > 12 {
                        return Err("a group repeats at most 12 times".into());
                    }
                    let mut nodes = vec![Node::Group(branches.clone()); usize::from(low)];
                    let mut tail: Vec<Node> = Vec::new();
                    for _ in low..high {
                        let mut inner = vec![Node::Group(branches.clone())];
                        inner.extend(tail);
                        tail = vec![Node::Optional(vec![inner])];
                    }
                    nodes.extend(tail);
                    return Ok(nodes);
                }
                return Ok(vec![Node::Group(branches)]);
            }
            b'{' => {
                let start = self.at;
                while self.next()? != b'}' {}
                return Ok(vec![Node::Word(String::from_utf8_lossy(&self.text[start..self.at - 1]).into_owned())]);
            }
            b'[' => Node::Class(self.class()?),
            b'.' => Node::Class(class_of(|_| true)),
            b'\\' => match self.next()? {
                b'b' => return Ok(vec![Node::Boundary]),
                b'w' => Node::Class(class_of(ops::is_word)),
                b'd' => Node::Class(class_of(|b| b.is_ascii_digit())),
                b'h' => Node::Class(class_of(|b| b.is_ascii_hexdigit())),
                b's' => Node::Class(class_of(blank)),
                b'S' => Node::Class(class_of(|b| !blank(b))),
                b'W' => Node::Class(class_of(|b| !ops::is_word(b))),
                b'n' => Node::Byte(b'\n'),
                b'r' => Node::Byte(b'\r'),
                b't' => Node::Byte(b'\t'),
                b'x' => {
                    let (a, b) = (self.next()?, self.next()?);
                    Node::Byte(
                        u8::from_str_radix(&format!("{}{}", a as char, b as char), 16).map_err(|e| e.to_string())?,
                    )
                }
                other if other.is_ascii_alphanumeric() => return Err(format!("unknown escape `\\{}`", other as char)),
                other => Node::Byte(other),
            },
            other => Node::Byte(other),
        };
        let class = match &node {
            Node::Byte(byte) => class_of(|b| b == *byte),
            Node::Class(class) => *class,
            _ => return Ok(vec![node]),
        };
        Ok(vec![match self.count()? {
            Some((low, high)) => Node::Run(class, low, high),
            None => node,
        }])
    }

    fn count(&mut self) -> Result<Option<(u8, u8)>, String> {
        let counts = match self.peek() {
            Some(b'*') => (0, 255),
            Some(b'+') => (1, 255),
            Some(b'?') => (0, 1),
            Some(b'{') if self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit) => {
                let start = self.at + 1;
                while self.next()? != b'}' {}
                let inner = String::from_utf8_lossy(&self.text[start..self.at - 1]).into_owned();
                let (low, high) = inner.split_once(',').unwrap_or((&inner, &inner));
                let low = low.parse().map_err(|_| format!("bad count {inner}"))?;
                let high =
                    if high.is_empty() { 255 } else { high.parse().map_err(|_| format!("bad count {inner}"))? };
                return Ok(Some((low, high)));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(counts))
    }

    fn class(&mut self) -> Result<Class, String> {
        let negated = self.peek() == Some(b'^');
        if negated {
            self.at += 1;
        }
        let mut set = [false; 256];
        let mut first = true;
        loop {
            let byte = self.next()?;
            if byte == b']' && !first {
                break;
            }
            first = false;
            let low = if byte == b'\\' {
                match self.next()? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'x' => {
                        let (a, b) = (self.next()?, self.next()?);
                        u8::from_str_radix(&format!("{}{}", a as char, b as char), 16).map_err(|e| e.to_string())?
                    }
                    b's' => {
                        (0..=255u8).filter(|&b| blank(b)).for_each(|b| set[usize::from(b)] = true);
                        continue;
                    }
                    b'w' => {
                        (0..=255u8).filter(|&b| ops::is_word(b)).for_each(|b| set[usize::from(b)] = true);
                        continue;
                    }
                    b'd' => {
                        (b'0'..=b'9').for_each(|b| set[usize::from(b)] = true);
                        continue;
                    }
                    other => other,
                }
            } else {
                byte
            };
            if self.peek() == Some(b'-') && self.text.get(self.at + 1).is_some_and(|&b| b != b']') {
                self.at += 1;
                let mut high = self.next()?;
                if high == b'\\' {
                    high = match self.next()? {
                        b'x' => {
                            let (a, b) = (self.next()?, self.next()?);
                            u8::from_str_radix(&format!("{}{}", a as char, b as char), 16).map_err(|e| e.to_string())?
                        }
                        other => other,
                    };
                }
                (low..=high).for_each(|b| set[usize::from(b)] = true);
            } else {
                set[usize::from(low)] = true;
            }
        }
        Ok(class_of(|b| set[usize::from(b)] != negated))
    }
}

fn reversed(nodes: Vec<Node>) -> Vec<Node> {
    let branches = |b: Vec<Vec<Node>>| b.into_iter().map(reversed).collect();
    let mut nodes: Vec<Node> = nodes
        .into_iter()
        .map(|node| match node {
            Node::Group(b) => Node::Group(branches(b)),
            Node::Optional(b) => Node::Optional(branches(b)),
            other => other,
        })
        .collect();
    nodes.reverse();
    nodes
}

fn members(class: &Class) -> Vec<u8> {
    (0..=255).filter(|&b| ops::holds(class, b)).collect()
}

/// The literals of which one stands at the start of every match.
fn prefixes(nodes: &[Node], tables: &Tables) -> Result<Vec<String>, String> {
    let (literals, _) = expand(nodes, tables, &mut None)?;
    let mut literals: Vec<String> =
        literals.into_iter().map(|l| l.into_iter().map(|b| b as char).collect::<String>()).collect();
    literals.sort();
    literals.dedup();
    // One byte is enough if it is a rare one: each of them in a text costs a look.
    let short =
        |l: &&String| l.is_empty() || (l.len() == 1 && l.chars().all(|c| c.is_ascii_alphanumeric() || c == ' '));
    match literals.iter().find(short) {
        Some(short) => Err(format!("a pattern must start with two fixed bytes or a symbol, not `{short}`")),
        None => Ok(literals),
    }
}

/// The literals at the start, and whether the whole of `nodes` is in them.
fn expand(nodes: &[Node], tables: &Tables, stop: &mut Option<usize>) -> Result<(Vec<Vec<u8>>, bool), String> {
    let mut found: Vec<Vec<u8>> = vec![Vec::new()];
    for (index, node) in nodes.iter().enumerate() {
        let (next, whole): (Vec<Vec<u8>>, bool) = match node {
            Node::Byte(byte) => (vec![vec![*byte]], true),
            Node::Boundary | Node::Start => (vec![Vec::new()], true),
            Node::Class(class) if members(class).len() <= 8 => {
                (members(class).into_iter().map(|b| vec![b]).collect(), true)
            }
            Node::Run(class, 0, 1) if members(class).len() <= 4 => {
                (std::iter::once(Vec::new()).chain(members(class).into_iter().map(|b| vec![b])).collect(), true)
            }
            Node::Optional(branches) => {
                let (mut all, mut whole) = (vec![Vec::new()], true);
                for branch in branches {
                    let (some, branch_whole) = expand(branch, tables, &mut None)?;
                    all.extend(some);
                    whole &= branch_whole;
                }
                (all, whole)
            }
            Node::Group(branches) => {
                let (mut all, mut whole) = (Vec::new(), true);
                for branch in branches {
                    let (some, branch_whole) = expand(branch, tables, &mut None)?;
                    all.extend(some);
                    whole &= branch_whole;
                }
                (all, whole)
            }
            Node::Word(list) => {
                let words = tables.words.get(list).ok_or_else(|| format!("no word list {list}"))?;
                (words.iter().map(|w| w.as_bytes().to_vec()).collect(), true)
            }
            _ => {
                *stop = Some(index);
                return Ok((found, false));
            }
        };
        if next.len() * found.len() > 2000 || (next.len() > 1 && found.len() > 40 && found.iter().all(|l| l.len() > 2))
        {
            return Ok((found, false));
        }
        found = found.iter().flat_map(|a| next.iter().map(move |b| [a.as_slice(), b].concat())).collect();
        if !whole || found.iter().all(|l| l.len() >= 12) {
            *stop = whole.then_some(index + 1);
            return Ok((found, false));
        }
    }
    *stop = Some(nodes.len());
    Ok((found, true))
}

fn emit_pattern(nodes: &[Node], tables: &mut Tables) -> Result<u16, String> {
    let start = u16::try_from(tables.ops.len()).map_err(|_| "too many operations")?;
    emit(nodes, tables)?;
    tables.ops.push([ops::MATCH, 0, 0, 0]);
    Ok(start)
}

fn class_index(class: Class, tables: &mut Tables) -> Result<[u8; 2], String> {
    let index = tables.classes.iter().position(|c| *c == class).unwrap_or_else(|| {
        tables.classes.push(class);
        tables.classes.len() - 1
    });
    u16::try_from(index).ok().filter(|&i| i < 1024).map(u16::to_le_bytes).ok_or_else(|| "more than 1024 classes".into())
}

fn offset(kind: u8, distance: usize) -> Result<Op, String> {
    let distance = u16::try_from(distance).map_err(|_| "a jump is too far")?;
    let [low, high] = distance.to_le_bytes();
    Ok([kind, 0, low, high])
}

fn emit(nodes: &[Node], tables: &mut Tables) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Byte(byte) => tables.ops.push([ops::BYTE, *byte, 0, 0]),
            Node::Class(class) => {
                let [index, high] = class_index(*class, tables)?;
                tables.ops.push([ops::CLASS, index, high, 0]);
            }
            Node::Run(class, low, high) => {
                let [index, page] = class_index(*class, tables)?;
                let kind = [ops::RUN, ops::RUN_HIGH, ops::RUN_HIGHER, ops::RUN_HIGHEST][usize::from(page)];
                tables.ops.push([kind, index, *low, *high]);
            }
            Node::Group(branches) => emit_branches(branches, tables)?,
            Node::Optional(branches) => {
                let split = tables.ops.len();
                tables.ops.push([0; 4]);
                emit_branches(branches, tables)?;
                tables.ops[split] = offset(ops::SPLIT, tables.ops.len() - split)?;
            }
            Node::Boundary => tables.ops.push([ops::BOUNDARY, 0, 0, 0]),
            Node::Start => tables.ops.push([ops::START, 0, 0, 0]),
            Node::End => tables.ops.push([ops::END, 0, 0, 0]),
            Node::Word(list) => {
                if !tables.words.contains_key(list) {
                    return Err(format!("no word list {list}"));
                }
                let index = tables.used_lists.iter().position(|l| l == list).unwrap_or_else(|| {
                    tables.used_lists.push(list.clone());
                    tables.used_lists.len() - 1
                });
                // A list with paths or phrases in it matches at its words' starts, whatever follows.
                let words = &tables.words[list];
                let phrases = words.iter().any(|w| w.bytes().any(|b| !(ops::is_word(b) || matches!(b, b'.' | b'-'))));
                tables.ops.push([ops::WORD, u8::from(phrases), index as u8, 0]);
            }
        }
    }
    Ok(())
}

fn emit_branches(branches: &[Vec<Node>], tables: &mut Tables) -> Result<(), String> {
    let mut ends = Vec::new();
    for (number, branch) in branches.iter().enumerate() {
        if number + 1 == branches.len() {
            emit(branch, tables)?;
        } else {
            let split = tables.ops.len();
            tables.ops.push([0; 4]);
            emit(branch, tables)?;
            ends.push(tables.ops.len());
            tables.ops.push([0; 4]);
            tables.ops[split] = offset(ops::SPLIT, tables.ops.len() - split)?;
        }
    }
    for end in ends {
        tables.ops[end] = offset(ops::JUMP, tables.ops.len() - end)?;
    }
    Ok(())
}
