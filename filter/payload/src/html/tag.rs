//! The tokenizer: one tag and its attributes, with the errors that browsers forgive.

use crate::bytes::{at, is_blank, part, rest};

/// A tag that opens.
pub struct Tag<'a> {
    pub start: usize,
    pub name: &'a [u8],
    /// Where its attributes start.
    pub attributes: usize,
    /// Behind its `>`, or the end of the text.
    pub end: usize,
}

/// An attribute.
pub struct Attribute<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub has_value: bool,
    /// Its quote is not closed before the text ends.
    pub is_open: bool,
}

/// A tag longer than this is read up to here only.
const LONGEST: usize = 4096;

/// Reads the tag whose `<` stands at `start`.
pub fn read(text: &[u8], start: usize) -> Option<Tag<'_>> {
    let mut i = start + 1;
    // Old parsers skip blanks, control bytes and slashes in front of a name.
    while i < start + 8
        && (at(text, i) == b'/' || at(text, i) == b'!' || at(text, i) == b'?' || at(text, i) < b' ')
        && i < text.len()
    {
        i += 1;
    }
    let name = rest(text, i);
    let length =
        name.iter().take(40).take_while(|&&b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_')).count();
    let name = part(name, 0, length);
    if !name.first().is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    let attributes = i + length;
    Some(Tag { start, name, attributes, end: end_of(text, attributes) })
}

/// The end of the tag: a `>` outside of quoted attribute values.
fn end_of(text: &[u8], from: usize) -> usize {
    let (mut i, mut quote, mut after_equals) = (from, 0, false);
    let limit = text.len().min(from + LONGEST);
    while i < limit {
        let byte = at(text, i);
        if quote != 0 {
            if byte == quote {
                quote = 0;
            }
        } else if byte == b'>' {
            return i + 1;
        } else if byte == b'<' {
            // A tag in a tag: the inner one is read on its own.
            return i;
        } else if after_equals
            && matches!(byte, b'"' | b'\'' | b'`')
            && rest(text, i + 1).iter().take(LONGEST).any(|&b| b == byte)
        {
            quote = byte;
        }
        if !is_blank(byte) {
            after_equals = byte == b'=';
        }
        i += 1;
    }
    limit
}

/// The attributes between `from` and `to`.
pub fn attributes(text: &[u8], from: usize, to: usize) -> impl Iterator<Item = Attribute<'_>> {
    let text = part(text, 0, to);
    let mut i = from;
    std::iter::from_fn(move || {
        while i < text.len()
            && (is_blank(at(text, i))
                || at(text, i) < b' '
                || matches!(at(text, i), b'/' | b'"' | b'\'' | b'`' | b'=' | b'>' | b'<' | b'\\' | b',' | b';'))
        {
            i += 1;
        }
        let start = i;
        while i < text.len()
            && !is_blank(at(text, i))
            && at(text, i) >= b' '
            && !matches!(at(text, i), b'=' | b'>' | b'/' | b'"' | b'\'')
        {
            i += 1;
        }
        if i >= text.len() && start >= i {
            return None;
        }
        let name = part(text, start, i);
        let mut next = i;
        while is_blank(at(text, next)) || (at(text, next) < b' ' && next < text.len()) {
            next += 1;
        }
        if at(text, next) != b'=' {
            if i == start {
                i += 1;
            }
            return Some(Attribute { name, value: &[], has_value: false, is_open: false });
        }
        i = next + 1;
        while i < text.len() && (is_blank(at(text, i)) || at(text, i) < b' ') {
            i += 1;
        }
        let quote = at(text, i);
        let mut is_open = false;
        let value = if matches!(quote, b'"' | b'\'' | b'`') {
            let inner = rest(text, i + 1);
            let end = inner.iter().position(|&b| b == quote);
            is_open = end.is_none();
            let length = end.unwrap_or(inner.len());
            i += length + 2;
            part(inner, 0, length)
        } else {
            let inner = rest(text, i);
            let length = inner.iter().position(|&b| is_blank(b) || b == b'>').unwrap_or(inner.len());
            i += length;
            part(inner, 0, length)
        };
        Some(Attribute { name, value, has_value: true, is_open })
    })
}
