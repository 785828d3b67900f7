//! Messages of Protocol Buffers without their description: what can be text is a value, what can be a message is read as one.

use crate::bytes::{part, rest};
use crate::own::Kind;
use crate::verdict::{Place, Source};

use super::data::{self, Data};
use super::{MOST, Values, body};

/// Messages in messages that are read; deeper ones are read as text where they are some.
const DEPTH: usize = 12;

/// Hands on every text in a message, by the numbers of its fields (`3.1`). What is no message is one value, or the texts in it.
pub fn inspect(message: &[u8], values: &mut Values<'_, '_>) {
    if fields(message, &mut Vec::new(), values) {
        return;
    }
    match data::is_binary(message) {
        true => data::inspect(Data::Unknown, message, (Place::Text, b""), message.len(), values),
        false => body::text(message, values),
    }
}

/// Hands on the fields of a message as far as it is one; gives whether it is as a whole. Of one that is cut off, what is there counts.
fn fields(message: &[u8], path: &mut Vec<u64>, values: &mut Values<'_, '_>) -> bool {
    let mut left = message;
    while !left.is_empty() {
        let Some((number, content, after)) = field(left) else { return false };
        left = after;
        let Some(content) = content.filter(|_| values.count <= MOST) else { continue };
        path.push(number);
        // A message can look like a text. What is no UTF-8 is no text: a key, a picture.
        if std::str::from_utf8(content).is_ok() {
            let name = path.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
            values.own(Kind::Json, name.as_bytes(), content);
            // A list of small numbers, or a message of them, has zeros that a text has not.
            if content.contains(&0) && is_made_of_numbers(content) {
                data::texts(content, Source { place: Place::Json, name: name.as_bytes() }, values);
            } else {
                values.give(Place::Json, name.as_bytes(), content);
            }
        }
        if path.len() < DEPTH && is_message(content) {
            fields(content, path, values);
        }
        path.pop();
    }
    true
}

/// Whether it holds hardly any text, by its first bytes.
fn is_made_of_numbers(content: &[u8]) -> bool {
    let start = part(content, 0, 256);
    start.iter().filter(|b| b.is_ascii_graphic()).count() * 2 < start.len() || is_message(content)
}

/// Whether it is a message from end to end.
pub fn is_message(content: &[u8]) -> bool {
    let mut left = content;
    while !left.is_empty() {
        let Some((_, _, after)) = field(left) else { return false };
        left = after;
    }
    !content.is_empty()
}

/// Number and content of a field (none of a number), and what follows it.
#[allow(clippy::type_complexity)]
fn field(text: &[u8]) -> Option<(u64, Option<&[u8]>, &[u8])> {
    let (key, after) = number(text)?;
    if key >> 3 == 0 {
        return None;
    }
    let (content, after) = match key & 7 {
        0 => (None, number(after)?.1),
        1 => (None, after.get(8..)?),
        5 => (None, after.get(4..)?),
        2 => {
            let (length, after) = number(after)?;
            let length = usize::try_from(length).ok()?;
            (Some(after.get(..length)?), rest(after, length))
        }
        _ => return None,
    };
    Some((key >> 3, content, after))
}

/// A number of seven bits a byte.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let length = part(text, 0, 10).iter().position(|byte| byte & 0x80 == 0)? + 1;
    let value = part(text, 0, length).iter().rev().fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, rest(text, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_far_as_they_are_some() {
        assert_eq!(field(b"\x0a\x02abc"), Some((1, Some(&b"ab"[..]), &b"c"[..])));
        assert_eq!(field(b"\x08\xac\x02c"), Some((1, None, &b"c"[..])));
        assert_eq!(field(b"\x1512345"), Some((2, None, &b"5"[..])));
        for broken in [
            &b""[..],
            b"\x0a",
            b"\x0a\x05ab",
            b"\x00",
            b"\x0b",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x09123",
        ] {
            assert_eq!(field(broken), None, "{broken:?}");
        }
        assert!(is_message(b"\x0a\x02ab\x10\x01") && !is_message(b"hello, world") && !is_message(b""));
    }
}
