//! The parts of a multipart body (RFC 7578), read as leniently as the frameworks behind read them.

use crate::bytes::{find, part, rest, trimmed};
use crate::own::Kind;
use crate::protocol;
use crate::rules::id;
use crate::verdict::{Place, Source};

use super::Values;

/// Parts that are read; more than a form ever has.
const PARTS: usize = 256;

/// Hands on names, file names, part headers and text parts.
pub fn inspect(boundary: &[u8], body: &[u8], values: &mut Values<'_, '_>) {
    let mut delimiter = b"--".to_vec();
    delimiter.extend_from_slice(boundary);
    let Some(mut at) = find(body, &delimiter, 0) else {
        values.own(Kind::Text, b"", body);
        values.give(Place::Text, b"", body);
        return;
    };
    for _ in 0..PARTS {
        let start = at + delimiter.len();
        let end = find(body, &delimiter, start).unwrap_or(body.len());
        let piece = part(body, start, end);
        if !piece.starts_with(b"--") {
            one(piece, values);
        }
        if end >= body.len() {
            return;
        }
        at = end;
    }
    values.inspection.note(id::PROTOCOL_TOO_COSTLY, Source { place: Place::Multipart, name: b"" }, b"");
}

fn one(piece: &[u8], values: &mut Values<'_, '_>) {
    let piece = piece.strip_prefix(b"\r\n").or_else(|| piece.strip_prefix(b"\n")).unwrap_or(piece);
    let (head, content) = if let Some(end) = find(piece, b"\r\n\r\n", 0) {
        (part(piece, 0, end), rest(piece, end + 4))
    } else if let Some(end) = find(piece, b"\n\n", 0) {
        (part(piece, 0, end), rest(piece, end + 2))
    } else {
        (piece, &[][..])
    };
    let content = content.strip_suffix(b"\r\n").unwrap_or(content);
    let (mut name, mut file, mut kind) = (&[][..], None, None);
    for line in head.split(|&b| b == b'\n') {
        let line = trimmed(line);
        let (key, value) = match line.iter().position(|&b| b == b':') {
            Some(colon) => (part(line, 0, colon), trimmed(rest(line, colon + 1))),
            None => (line, &[][..]),
        };
        protocol::part_header(key, value, values.inspection);
        if key.eq_ignore_ascii_case(b"content-disposition") {
            name = parameter(value, b"name").unwrap_or_default();
            file = parameter(value, b"filename*").or_else(|| parameter(value, b"filename"));
            continue;
        }
        if key.eq_ignore_ascii_case(b"content-type") {
            kind = Some(value);
        }
        values.give(Place::Header, key, value);
    }
    values.give(Place::Name, name, name);
    values.own(Kind::BodyName, name, name);
    if let Some(file) = file {
        values.own(Kind::FileName, name, file);
        values.give(Place::Upload, name, file);
        protocol::file_name(name, file, values.inspection);
    }
    // What is uploaded as a file is data; what says it is text, or says nothing, is read.
    let text = match kind {
        None => true,
        Some(kind) => ["text/", "application/json", "application/xml", "application/x-www-form"]
            .iter()
            .any(|known| kind.get(..known.len()).is_some_and(|head| head.eq_ignore_ascii_case(known.as_bytes()))),
    };
    if text || file.is_none() {
        values.own(Kind::Multipart, name, content);
        values.give(Place::Multipart, name, content);
    } else {
        // The start of any file shows what it is.
        values.give(Place::Multipart, name, part(content, 0, 512));
    }
}

/// A parameter of a header, quoted or not.
pub fn parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut from = 0;
    loop {
        let found = value.get(from..)?.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))? + from;
        from = found + name.len();
        let separated = found == 0 || matches!(value.get(found - 1), Some(b';' | b' ' | b'\t'));
        let after = rest(value, from);
        let blanks = after.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
        let Some(after) = rest(after, blanks).strip_prefix(b"=") else { continue };
        if !separated {
            continue;
        }
        let after = trimmed(after);
        return Some(match after.split_first() {
            Some((&quote @ (b'"' | b'\''), inner)) => {
                // The last quote that a parameter or the end follows: names with quotes in them are read whole.
                let end = (0..inner.len())
                    .find(|&i| {
                        inner.get(i) == Some(&quote)
                            && matches!(inner.get(i + 1), None | Some(b';' | b' '))
                            && inner.get(i.wrapping_sub(1)) != Some(&b'\\')
                    })
                    .unwrap_or(inner.len());
                part(inner, 0, end)
            }
            _ => part(after, 0, after.iter().position(|&b| b == b';').unwrap_or(after.len())),
        });
    }
}
