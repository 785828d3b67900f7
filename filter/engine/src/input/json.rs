//! JSON bodies as one flat tree, read strictly and within limits (RFC 8259, RFC 7493).
//!
//! One pass, without recursion. Strings without escapes are not copied.

use std::fmt;

use super::number::Number;
use crate::answer::Reason;
pub use crate::config::schema::NumberRange;

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
        let document = Self { source: text, ..Self::default() };
        Reader { bytes: source, at: 0, limits, keys: 0, open: Vec::new(), document }.read()
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

/// An array or an object that is not closed yet.
struct Open {
    node: usize,
    count: usize,
    is_object: bool,
}

struct Reader<'a, 'l> {
    bytes: &'a [u8],
    at: usize,
    limits: &'l JsonLimits,
    keys: usize,
    open: Vec<Open>,
    document: Document<'a>,
}

impl<'a> Reader<'a, '_> {
    fn read(mut self) -> Result<Document<'a>, JsonError> {
        loop {
            // A value is due, except behind the opening of an empty array or object.
            if !self.value()? {
                continue;
            }
            loop {
                self.blanks();
                let Some(open) = self.open.last_mut() else {
                    return if self.at == self.bytes.len() { Ok(self.document) } else { Err(self.malformed()) };
                };
                open.count += 1;
                let (is_object, count) = (open.is_object, open.count);
                if !is_object && count > self.limits.max_elements {
                    return Err(self.error(JsonProblem::TooManyElements));
                }
                match self.peek() {
                    b',' => {
                        self.at += 1;
                        if is_object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if is_object => self.close()?,
                    b']' if !is_object => self.close()?,
                    _ => return Err(self.malformed()),
                }
            }
        }
    }

    /// Reads a value; of an array or an object that is not empty, its beginning: then false.
    fn value(&mut self) -> Result<bool, JsonError> {
        self.blanks();
        let node = match self.peek() {
            opening @ (b'{' | b'[') => {
                if self.open.len() >= self.limits.max_depth {
                    return Err(self.error(JsonProblem::TooDeep));
                }
                let is_object = opening == b'{';
                self.open.push(Open { node: self.document.nodes.len(), count: 0, is_object });
                let nothing = Inside { count: 0, end: 0 };
                self.document.nodes.push(if is_object { Node::Object(nothing) } else { Node::Array(nothing) });
                self.at += 1;
                self.blanks();
                match (self.peek(), is_object) {
                    (b'}', true) | (b']', false) => {
                        self.close()?;
                        return Ok(true);
                    }
                    (_, true) => self.key()?,
                    (_, false) => {}
                }
                return Ok(false);
            }
            b'"' => Node::String(self.string(self.limits.max_string, JsonProblem::StringTooLong)?),
            b't' => self.word(b"true", Node::Bool(true))?,
            b'f' => self.word(b"false", Node::Bool(false))?,
            b'n' => self.word(b"null", Node::Null)?,
            _ => self.number()?,
        };
        self.document.nodes.push(node);
        Ok(true)
    }

    fn close(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let Some(open) = self.open.pop() else { return Err(self.malformed()) };
        let inside = Inside { count: small(open.count), end: small(self.document.nodes.len()) };
        if let Some(node) = self.document.nodes.get_mut(open.node) {
            *node = if open.is_object { Node::Object(inside) } else { Node::Array(inside) };
        }
        if open.is_object && !self.limits.duplicate_keys && self.document.has_duplicates(small(open.node), inside.count)
        {
            return Err(self.error(JsonProblem::DuplicateKey));
        }
        Ok(())
    }

    fn key(&mut self) -> Result<(), JsonError> {
        self.blanks();
        self.keys += 1;
        if self.keys > self.limits.max_keys {
            return Err(self.error(JsonProblem::TooManyKeys));
        }
        if self.peek() != b'"' {
            return Err(self.malformed());
        }
        let name = self.string(self.limits.max_key, JsonProblem::KeyTooLong)?;
        self.document.nodes.push(Node::String(name));
        self.blanks();
        if self.peek() != b':' {
            return Err(self.malformed());
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &[u8], node: Node) -> Result<Node, JsonError> {
        match self.rest().starts_with(word) {
            true => self.at += word.len(),
            false => return Err(self.malformed()),
        }
        Ok(node)
    }

    fn number(&mut self) -> Result<Node, JsonError> {
        let Some((number, length)) = Number::read(self.rest()) else { return Err(self.malformed()) };
        let is_taken = match self.limits.numbers {
            NumberRange::Safe => number.is_safe(),
            NumberRange::Double => number.is_double(),
            NumberRange::Any => true,
        };
        if !is_taken {
            return Err(self.error(JsonProblem::NumberOutOfRange));
        }
        self.at += length;
        Ok(self.document.push_number(number))
    }

    fn string(&mut self, max: usize, too_long: JsonProblem) -> Result<Text, JsonError> {
        let quote = self.at;
        self.at += 1;
        let begins = self.at;
        let plain = |bytes: &[u8]| bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
        let start = self.document.unescaped.len();
        let mut is_escaped = false;
        loop {
            let Some(length) = plain(self.rest()) else { return Err(self.malformed()) };
            let piece = (self.at, self.at + length);
            self.at += length;
            let written = if is_escaped { self.document.unescaped.len() - start } else { 0 };
            if written + (self.at - if is_escaped { piece.0 } else { begins }) > max {
                return Err(JsonError { problem: too_long, at: quote });
            }
            let is_end = self.peek() == b'"';
            if is_escaped || !is_end {
                // The piece begins and ends next to ASCII.
                let text = self.document.source.get(piece.0..piece.1).unwrap_or_default();
                self.document.unescaped.push_str(text);
            }
            if is_end {
                let end = self.at;
                self.at += 1;
                let (start, length) = match is_escaped {
                    true => (start, self.document.unescaped.len() - start),
                    false => (begins, end - begins),
                };
                return Ok(Text { quote: small(quote), start: small(start), length: small(length), is_escaped });
            }
            if self.peek() != b'\\' {
                return Err(self.malformed());
            }
            is_escaped = true;
            let character = self.escape()?;
            self.document.unescaped.push(character);
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let escaped = self.peek();
        self.at += 1;
        Ok(match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.code()?;
                let code = match high {
                    0xd800..=0xdbff if self.rest().starts_with(b"\\u") => {
                        self.at += 2;
                        match self.code()? {
                            low @ 0xdc00..=0xdfff => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                            _ => return Err(self.malformed()),
                        }
                    }
                    other => other,
                };
                // Half of a pair is no character (RFC 7493, 2.1).
                char::from_u32(code).ok_or_else(|| self.malformed())?
            }
            _ => return Err(self.malformed()),
        })
    }

    fn code(&mut self) -> Result<u32, JsonError> {
        let digits = self.rest().first_chunk::<4>().filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let code = code.ok_or_else(|| self.malformed())?;
        self.at += 4;
        Ok(code)
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn error(&self, problem: JsonProblem) -> JsonError {
        JsonError { problem, at: self.at }
    }

    fn malformed(&self) -> JsonError {
        self.error(JsonProblem::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strict_json;
    use proptest::prelude::*;
    use serde_json::Value;

    fn limits() -> JsonLimits {
        JsonLimits { max_depth: 8, ..JsonLimits::NONE }
    }

    fn value(document: &Document<'_>, index: u32) -> Value {
        match document.node(index) {
            Node::Null => Value::Null,
            Node::Bool(value) => value.into(),
            Node::Number(_) => Value::from(0),
            Node::String(text) => document.text(text).into(),
            Node::Array(_) => document.elements(index).map(|element| value(document, element)).collect(),
            Node::Object(_) => {
                let members = document.members(index);
                members.map(|(name, member)| (document.name(name).to_owned(), value(document, member))).collect()
            }
        }
    }

    fn without_numbers(value: Value) -> Value {
        match value {
            Value::Number(_) => Value::from(0),
            Value::Array(elements) => elements.into_iter().map(without_numbers).collect(),
            Value::Object(members) => members.into_iter().map(|(name, value)| (name, without_numbers(value))).collect(),
            other => other,
        }
    }

    fn problem(json: &str, limits: &JsonLimits) -> JsonProblem {
        Document::read(json.as_bytes(), limits).map(|_| ()).unwrap_err().problem
    }

    #[test]
    fn it_reads_what_it_is() {
        let json = r#" {"a":[1,-2.5,"x\ny",null,true,[],{}],"b":{"c":"\ud83d\ude00é"},"":false} "#;
        let document = Document::read(json.as_bytes(), &limits()).unwrap();
        assert_eq!(value(&document, 0), without_numbers(serde_json::from_str(json).unwrap()));
        assert_eq!(document.nodes.len(), 16);
    }

    #[test]
    fn each_limit_is_a_limit() {
        let limited = |change: fn(&mut JsonLimits)| {
            let mut limits = limits();
            change(&mut limits);
            limits
        };
        for (json, over, change, expected) in [
            ("[[1]]", "[[[1]]]", (|l| l.max_depth = 2) as fn(&mut JsonLimits), JsonProblem::TooDeep),
            (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1,"c":1}}"#, |l| l.max_keys = 2, JsonProblem::TooManyKeys),
            (r#"{"abc":1}"#, r#"{"abcd":1}"#, |l| l.max_key = 3, JsonProblem::KeyTooLong),
            (r#""\u0061bc""#, r#""\u0061bcd""#, |l| l.max_string = 3, JsonProblem::StringTooLong),
            (r#""abc""#, r#""abcd""#, |l| l.max_string = 3, JsonProblem::StringTooLong),
            ("[1,[2,2]]", "[1,[2,2,2]]", |l| l.max_elements = 2, JsonProblem::TooManyElements),
            ("9007199254740991", "9007199254740992", |l| l.numbers = NumberRange::Safe, JsonProblem::NumberOutOfRange),
            ("1e307", "1e309", |l| l.numbers = NumberRange::Double, JsonProblem::NumberOutOfRange),
        ] {
            let limits = limited(change);
            assert!(Document::read(json.as_bytes(), &limits).is_ok(), "{json}");
            assert_eq!(problem(over, &limits), expected, "{over}");
        }
    }

    #[test]
    fn one_name_is_one_name_however_it_is_written() {
        let many: String = (0..20).map(|i| format!("\"k{i}\":1,")).collect();
        for json in
            [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"":1,"":2}}]"#, &format!("{{{many}\"k7\":1}}")]
        {
            assert_eq!(problem(json, &limits()), JsonProblem::DuplicateKey, "{json}");
        }
        assert!(Document::read(br#"{"a":1,"a":2}"#, &JsonLimits { duplicate_keys: true, ..limits() }).is_ok());
        assert!(Document::read(br#"{"a":{"a":1},"b":{"a":1}}"#, &limits()).is_ok());
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for json in [
            "",
            " ",
            "{",
            "[",
            "{}x",
            "{} {}",
            "{'a':1}",
            "{\"a\":1,}",
            "[1,]",
            "[,1]",
            "{,}",
            "// c\n1",
            "NaN",
            "01",
            "1.",
            "\u{feff}1",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\t\"",
            "nul",
            "\"a",
            "\"\\x\"",
            "[1}",
            "{\"a\"}",
            "{1:2}",
            "]",
            "\"\\u12\"",
        ] {
            assert_eq!(problem(json, &limits()), JsonProblem::Malformed, "{json}");
        }
        assert!(
            Document::read(b"\"\xff\"", &limits()).is_err() && Document::read(b"\xff\xfe{\0}\0", &limits()).is_err()
        );
    }

    #[test]
    fn equal_values_have_equal_bytes() {
        let bytes = |json: &str| {
            let mut out = Vec::new();
            Document::read(json.as_bytes(), &limits()).unwrap().write(0, &mut out);
            out
        };
        assert_eq!(bytes(r#"{"a":1.0,"b":["x"]}"#), bytes(r#"{"b":["\u0078"],"a":1e0}"#));
        for (a, b) in [
            ("1", "\"1\""),
            ("0", "false"),
            ("[]", "{}"),
            ("[[1],2]", "[[1,2]]"),
            ("[\"a\",\"b\"]", "[\"ab\",\"\"]"),
            ("null", "0"),
        ] {
            assert_ne!(bytes(a), bytes(b), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(json in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::read(&json, &limits());
        }

        #[test]
        fn it_takes_what_the_other_strict_reader_takes(json in r#"[\[\]{}",:a0-9\\ueE. \-tfn]{0,40}"#) {
            let ours = Document::read(json.as_bytes(), &limits());
            // The other one reads numbers as doubles, and refuses those that are none.
            match strict_json::parse_value(json.as_bytes(), 8) {
                Ok(theirs) => prop_assert_eq!(value(&ours.unwrap(), 0), without_numbers(theirs)),
                Err(_) => prop_assert!(ours.is_err() || json.contains(['e', 'E'])),
            }
        }

        #[test]
        fn structures_read_alike(json in r#"(\{("[ab]{0,2}":(1|"x\\n"|\[2,\{\}\]|null),){0,3}"z":true\})"#) {
            let ours = Document::read(json.as_bytes(), &limits());
            match strict_json::parse_value(json.as_bytes(), 8) {
                Ok(theirs) => prop_assert_eq!(value(&ours.unwrap(), 0), without_numbers(theirs)),
                Err(_) => prop_assert!(ours.is_err()),
            }
        }
    }
}
