//! JSON bodies as one flat tree, read strictly and within limits (RFC 8259, RFC 7493).
//!
//! One pass, without recursion. Strings without escapes are not copied.

mod reader;
#[cfg(test)]
mod tests;

use std::fmt;

use self::reader::Reader;
use super::number::Number;
use crate::answer::Reason;
pub use crate::config::schema::NumberRange;
use crate::fnv::Fnv1a;

/// What a document may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonLimits {
    /// Objects and arrays inside each other, the outermost included.
    pub max_depth: usize,
    /// Members of all objects together.
    pub max_keys: usize,
    /// The longest name of a member, in bytes.
    pub max_key: usize,
    /// The longest string, in bytes.
    pub max_string: usize,
    /// Elements of one array.
    pub max_elements: usize,
    /// Whether an object may name a member twice.
    pub duplicate_keys: bool,
    /// Which numbers are taken.
    pub numbers: NumberRange,
}

impl JsonLimits {
    /// Nothing but what is needed to read at all; for values that are bounded elsewhere.
    pub const NONE: Self = Self {
        max_depth: 100,
        max_keys: usize::MAX,
        max_key: usize::MAX,
        max_string: usize::MAX,
        max_elements: usize::MAX,
        duplicate_keys: false,
        numbers: NumberRange::Any,
    };
}

/// Why a document is refused, and the byte where that was seen. Never what stood there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    /// Why.
    pub problem: JsonProblem,
    /// Where, counted from 0.
    pub at: usize,
}

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonProblem {
    /// It is no JSON, or no UTF-8, or begins with a byte order mark, or has bytes behind its value.
    Malformed,
    /// An object names a member twice.
    DuplicateKey,
    /// `max_depth`.
    TooDeep,
    /// `max_keys`.
    TooManyKeys,
    /// `max_key`.
    KeyTooLong,
    /// `max_string`.
    StringTooLong,
    /// `max_elements`.
    TooManyElements,
    /// `numbers`.
    NumberOutOfRange,
}

impl JsonProblem {
    /// The reason of the refusal.
    pub fn reason(self) -> Reason {
        match self {
            Self::Malformed => Reason::InputBodyMalformed,
            Self::DuplicateKey => Reason::InputKeyRepeated,
            Self::TooDeep => Reason::InputTooDeep,
            Self::TooManyKeys | Self::TooManyElements => Reason::InputTooManyValues,
            Self::KeyTooLong | Self::StringTooLong => Reason::InputValueTooLong,
            Self::NumberOutOfRange => Reason::InputNumberOutOfRange,
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.problem {
            JsonProblem::Malformed => "no JSON",
            JsonProblem::DuplicateKey => "an object names a member twice",
            JsonProblem::TooDeep => "more than `max_depth`",
            JsonProblem::TooManyKeys => "more than `max_keys`",
            JsonProblem::KeyTooLong => "longer than `max_key`",
            JsonProblem::StringTooLong => "longer than `max_string`",
            JsonProblem::TooManyElements => "more than `max_elements`",
            JsonProblem::NumberOutOfRange => "not in the range of `numbers`",
        };
        write!(f, "{what}, at byte {}", self.at)
    }
}

/// One value. Those inside of an array or an object follow it; of a member first its name, as a string.
#[derive(Debug, Clone, Copy)]
pub enum Node {
    /// `null`
    Null,
    /// `true` and `false`
    Bool(bool),
    /// A number: its place among the numbers.
    Number(u32),
    /// A string, or the name of a member.
    String(Text),
    /// An array.
    Array(Inside),
    /// An object.
    Object(Inside),
}

/// Where the text of a string is.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The byte of its opening quote in the source.
    quote: u32,
    start: u32,
    length: u32,
    is_escaped: bool,
}

/// What is inside of an array or an object.
#[derive(Debug, Clone, Copy)]
pub struct Inside {
    /// Elements or members.
    pub count: u32,
    /// The node behind the last one.
    end: u32,
}

/// A document that was read.
#[derive(Debug, Default)]
pub struct Document<'a> {
    source: &'a str,
    unescaped: String,
    numbers: Vec<Number>,
    nodes: Vec<Node>,
}

impl<'a> Document<'a> {
    /// Reads a whole document.
    ///
    /// # Errors
    /// [`JsonError`], the first one.
    pub fn read(source: &'a [u8], limits: &JsonLimits) -> Result<Self, JsonError> {
        let malformed = |at| JsonError { problem: JsonProblem::Malformed, at };
        // Offsets have 32 bits; a body that is held in memory is far below.
        if u32::try_from(source.len()).is_err() {
            return Err(malformed(0));
        }
        let text = std::str::from_utf8(source).map_err(|error| malformed(error.valid_up_to()))?;
        Reader::new(text, limits).read()
    }

    /// A list of single values that are no JSON: parameters of a request.
    pub fn of_values(values: impl Iterator<Item = Scalar<'a>>, is_list: bool) -> Self {
        let mut document = Self::default();
        if is_list {
            document.nodes.push(Node::Array(Inside { count: 0, end: 1 }));
        }
        let mut count = 0;
        for value in values {
            let node = match value {
                Scalar::Bool(value) => Node::Bool(value),
                Scalar::Number(number) => document.push_number(number),
                Scalar::Text(text) => {
                    let start = small(document.unescaped.len());
                    document.unescaped.push_str(text);
                    Node::String(Text { quote: 0, start, length: small(text.len()), is_escaped: true })
                }
            };
            document.nodes.push(node);
            count += 1;
        }
        let end = small(document.nodes.len());
        if is_list && let Some(list) = document.nodes.first_mut() {
            *list = Node::Array(Inside { count, end });
        }
        document
    }

    fn push_number(&mut self, number: Number) -> Node {
        let index = small(self.numbers.len());
        self.numbers.push(number);
        Node::Number(index)
    }

    /// The value at `index`; `null` where there is none.
    pub fn node(&self, index: u32) -> Node {
        self.nodes.get(index as usize).copied().unwrap_or(Node::Null)
    }

    /// A number.
    pub fn number(&self, index: u32) -> Number {
        self.numbers.get(index as usize).copied().unwrap_or_else(|| Number::of(0))
    }

    /// What a string says.
    pub fn text(&self, text: Text) -> &str {
        let (start, end) = (text.start as usize, text.start as usize + text.length as usize);
        let within = if text.is_escaped { self.unescaped.as_str() } else { self.source };
        within.get(start..end).unwrap_or_default()
    }

    /// The name of a member, at its node.
    pub fn name(&self, index: u32) -> &str {
        match self.node(index) {
            Node::String(text) => self.text(text),
            _ => "",
        }
    }

    /// The byte of a string's opening quote in the source.
    pub fn quote(&self, index: u32) -> Option<u32> {
        match self.node(index) {
            Node::String(text) => Some(text.quote),
            _ => None,
        }
    }

    /// The node behind a value.
    pub fn behind(&self, index: u32) -> u32 {
        match self.node(index) {
            Node::Array(inside) | Node::Object(inside) => inside.end,
            _ => index + 1,
        }
    }

    /// The elements of an array.
    pub fn elements(&self, array: u32) -> impl Iterator<Item = u32> + '_ {
        let end = self.behind(array);
        let mut next = array + 1;
        std::iter::from_fn(move || {
            (next < end).then(|| {
                let element = next;
                next = self.behind(element);
                element
            })
        })
    }

    /// The members of an object: the nodes of name and value.
    pub fn members(&self, object: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let end = self.behind(object);
        let mut next = object + 1;
        std::iter::from_fn(move || {
            (next < end).then(|| {
                let name = next;
                next = self.behind(name + 1);
                (name, name + 1)
            })
        })
    }

    /// Writes the bytes that only equal values share: numbers by what they are worth, members in the order of their names.
    pub fn write(&self, index: u32, out: &mut Vec<u8>) {
        let length = |out: &mut Vec<u8>, length: usize| out.extend_from_slice(&length.to_be_bytes());
        match self.node(index) {
            Node::Null => out.push(b'0'),
            Node::Bool(value) => out.push(if value { b't' } else { b'f' }),
            Node::Number(number) => {
                out.push(b'n');
                self.number(number).write(out);
            }
            Node::String(text) => {
                let text = self.text(text);
                out.push(b's');
                length(out, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Node::Array(inside) => {
                out.push(b'a');
                length(out, inside.count as usize);
                self.elements(index).for_each(|element| self.write(element, out));
            }
            Node::Object(inside) => {
                out.push(b'o');
                length(out, inside.count as usize);
                let mut members: Vec<(u32, u32)> = self.members(index).collect();
                members.sort_by(|a, b| self.name(a.0).cmp(self.name(b.0)));
                for (name, value) in members {
                    self.write(name, out);
                    self.write(value, out);
                }
            }
        }
    }

    fn has_duplicates(&self, object: u32, count: u32) -> bool {
        const FEW: u32 = 8;
        if count <= FEW {
            return self.members(object).enumerate().any(|(index, (name, _))| {
                self.members(object).take(index).any(|(other, _)| self.name(other) == self.name(name))
            });
        }
        let mut hashes: Vec<u64> =
            self.members(object).map(|(name, _)| Fnv1a::of(self.name(name).as_bytes())).collect();
        hashes.sort_unstable();
        if hashes.windows(2).all(|pair| matches!(pair, [a, b] if a != b)) {
            return false;
        }
        // A client can make two names of one hash, which costs no more than this.
        let mut names: Vec<&str> = self.members(object).map(|(name, _)| self.name(name)).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
    }
}

/// A value of a parameter.
#[derive(Debug, Clone, Copy)]
pub enum Scalar<'a> {
    /// `true` and `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// Anything else.
    Text(&'a str),
}

/// A length or an index: both are below the length of the source, which has 32 bits.
fn small(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
