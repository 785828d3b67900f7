//! One pass over the bytes of a document.

use super::{Document, Inside, JsonError, JsonLimits, JsonProblem, Node, NumberRange, Text, small};
use crate::input::number::Number;

/// An array or an object that is not closed yet.
struct Open {
    node: usize,
    count: usize,
    is_object: bool,
}

/// Reads one document.
pub(super) struct Reader<'a, 'l> {
    bytes: &'a [u8],
    at: usize,
    limits: &'l JsonLimits,
    keys: usize,
    open: Vec<Open>,
    document: Document<'a>,
}

impl<'a, 'l> Reader<'a, 'l> {
    pub(super) fn new(source: &'a str, limits: &'l JsonLimits) -> Self {
        let document = Document { source, ..Document::default() };
        Self { bytes: source.as_bytes(), at: 0, limits, keys: 0, open: Vec::new(), document }
    }

    /// The whole document.
    pub(super) fn read(mut self) -> Result<Document<'a>, JsonError> {
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
