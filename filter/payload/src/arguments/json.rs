//! Keys and strings of a JSON document, also of one that is not well formed: what a lenient parser would see.

use crate::bytes::{at, hex, part, rest};
use crate::own::Kind;
use crate::rules::id;
use crate::verdict::{Place, Source};

use super::{Values, graphql};

/// Hands on every key and every string; those that begin at `known` bytes are for an operator's rules only, as are numbers, `true`,
/// `false` and `null`. Gives whether there is something in it that JSON does not have.
pub fn inspect(text: &[u8], known: &[usize], values: &mut Values<'_, '_>) -> bool {
    let mut key: Vec<u8> = Vec::new();
    let mut string: Vec<u8> = Vec::new();
    let (mut i, mut depth, mut documents, mut is_odd) = (0, 0u32, 0usize, false);
    while let Some(&byte) = text.get(i) {
        // Some readers take strings in single quotes.
        if byte != b'"' && byte != b'\'' {
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                let end = i + rest(text, i).iter().take_while(|b| is_scalar(**b)).count().max(1);
                let scalar = part(text, i, end);
                is_odd |= byte.is_ascii_alphabetic() && !matches!(scalar, b"true" | b"false" | b"null" | b"NaN");
                values.own(Kind::Json, &key, scalar);
                i = end;
                continue;
            }
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | 0x1e => {}
                _ => is_odd = true,
            }
            i += 1;
            continue;
        }
        is_odd |= byte == b'\'';
        let quote = i;
        i += 1 + unescape(rest(text, i + 1), byte, &mut string);
        let mut next = i;
        while matches!(at(text, next), b' ' | b'\t' | b'\n' | b'\r') {
            next += 1;
        }
        if at(text, next) == b':' {
            values.own(Kind::BodyName, &string, &string);
            values.give(Place::Name, &string, &string);
            std::mem::swap(&mut key, &mut string);
            i = next + 1;
            operator(&key, rest(text, i), depth, values);
        } else {
            values.own(Kind::Json, &key, &string);
            if known.binary_search(&quote).is_err() {
                values.give(Place::Json, &key, &string);
            }
            if key == b"query" && graphql::is_document(&string) {
                documents += 1;
                graphql::inspect(&string, Source { place: Place::Json, name: &key }, values);
            }
        }
    }
    graphql::judge_batch(documents, values);
    is_odd
}

/// A byte of a number, or of `true`, `false` and `null`.
fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// An operator of a document database as a key: compared with nothing, or where a field's name should be.
fn operator(key: &[u8], after: &[u8], depth: u32, values: &mut Values<'_, '_>) {
    if key.first() != Some(&b'$') {
        return;
    }
    let after = crate::bytes::trimmed(part(after, 0, 16));
    let compares = matches!(
        key,
        b"$ne" | b"$gt" | b"$gte" | b"$lt" | b"$lte" | b"$nin" | b"$regex" | b"$exists" | b"$eq" | b"$not"
    );
    let nothing = [&b"\"\""[..], b"null", b"-1", b"\".*", b"\"^", b"true", b"[]", b"{}", b"\"a", b"\"0\""]
        .iter()
        .any(|known| after.starts_with(known));
    let query = compares
        || matches!(
            key,
            b"$elemMatch"
                | b"$text"
                | b"$where"
                | b"$in"
                | b"$all"
                | b"$size"
                | b"$mod"
                | b"$type"
                | b"$expr"
                | b"$slice"
        );
    if (compares && nothing && key != b"$regex" && key != b"$exists") || (query && depth <= 1) {
        values.inspection.note(id::NOSQLI_COMPARISON, Source { place: Place::Json, name: key }, after);
    }
}

/// Writes the string whose opening `quote` stands before `text`. Gives the bytes up to and with its closing quote.
pub fn unescape(text: &[u8], quote: u8, out: &mut Vec<u8>) -> usize {
    out.clear();
    let mut i = 0;
    loop {
        let tail = rest(text, i);
        let plain = tail.iter().position(|&b| b == quote || b == b'\\').unwrap_or(tail.len());
        out.extend_from_slice(part(tail, 0, plain));
        i += plain;
        let Some(&byte) = text.get(i) else { break };
        match byte {
            _ if byte == quote => return i + 1,
            b'\\' => {
                let escaped = at(text, i + 1);
                i += 2;
                match escaped {
                    b'n' => out.push(b'\n'),
                    b'r' => out.push(b'\r'),
                    b't' => out.push(b'\t'),
                    b'b' => out.push(8),
                    b'f' => out.push(12),
                    b'u' => match code(part(text, i, i + 4)) {
                        Some(high @ 0xd800..=0xdbff) if part(text, i + 4, i + 6) == b"\\u" => {
                            let low = code(part(text, i + 6, i + 10)).unwrap_or(0xdc00);
                            let pair = 0x10000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                            push(pair, out);
                            i += 10;
                        }
                        Some(unit) => {
                            push(unit, out);
                            i += 4;
                        }
                        None => out.extend_from_slice(b"\\u"),
                    },
                    b'"' | b'\\' | b'/' => out.push(escaped),
                    b'\'' if quote == b'\'' => out.push(escaped),
                    _ => {
                        out.push(b'\\');
                        if i <= text.len() {
                            out.push(escaped);
                        }
                    }
                }
            }
            _ => {
                out.push(byte);
                i += 1;
            }
        }
    }
    text.len()
}

fn push(code: u32, out: &mut Vec<u8>) {
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn code(digits: &[u8]) -> Option<u32> {
    if digits.len() != 4 {
        return None;
    }
    digits.iter().try_fold(0, |code, &digit| Some(code << 4 | u32::from(hex(digit)?)))
}
