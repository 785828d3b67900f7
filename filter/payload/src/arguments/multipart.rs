//! The parts of a multipart body (RFC 7578), read as leniently as the frameworks behind read them.

use crate::bytes::{at, contains, find, part, rest, trimmed};
use crate::own::Kind;
use crate::protocol;
use crate::rules::id;
use crate::verdict::{Place, Source};

use super::{Values, body, json, parameters};

/// Parts that are read; more than a form ever has.
const PARTS: usize = 256;

/// A field that is no file: its name and its value.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// Hands on names, file names, part headers and text parts. Gives the fields.
pub fn inspect<'a>(content_type: &[u8], text: &'a [u8], values: &mut Values<'_, '_>) -> Vec<Field<'a>> {
    let mut fields = Vec::new();
    let mut is_read = false;
    for boundary in boundaries(content_type) {
        let delimiter = [b"--", boundary].concat();
        let (strict, loose) = (lines(text, &delimiter, true), lines(text, &delimiter, false));
        is_read |= !loose.is_empty();
        parts(text, &strict, &mut fields, values);
        // To some readers, a delimiter is one wherever it stands.
        if loose.len() > strict.len() {
            parts(text, &loose, &mut fields, values);
        }
    }
    if !is_read {
        body::text(text, values);
    }
    fields
}

/// What readers take for the boundary: some know no single quotes, to some it ends with a comma.
fn boundaries(content_type: &[u8]) -> Vec<&[u8]> {
    let Some(boundary) = parameters::first(content_type, b"boundary") else { return vec![b""] };
    let mut readings = vec![boundary];
    if let Some(comma) = boundary.iter().position(|&b| b == b',') {
        readings.push(part(boundary, 0, comma));
    }
    if let Some(start) = find(content_type, boundary, 0).and_then(|start| start.checked_sub(1))
        && at(content_type, start) == b'\''
    {
        readings.push(part(content_type, start, start + boundary.len() + 2));
    }
    readings
}

/// A delimiter: where it starts and ends, and whether it is the last one.
#[derive(Clone, Copy)]
struct Delimiter {
    start: usize,
    end: usize,
    is_last: bool,
}

/// The delimiters of a body: lines of their own, or anywhere.
fn lines(text: &[u8], delimiter: &[u8], strict: bool) -> Vec<Delimiter> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = find(text, delimiter, from).filter(|_| found.len() <= PARTS) {
        let end = start + delimiter.len();
        let after = rest(text, end);
        let is_last = after.starts_with(b"--");
        let blanks = after.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let is_line = (start == 0 || matches!(text.get(start - 1), Some(b'\n')))
            && (is_last || matches!(rest(after, blanks), [] | [b'\n', ..] | [b'\r', b'\n', ..]));
        if is_line || !strict {
            found.push(Delimiter { start, end: if is_last { end + 2 } else { end }, is_last });
        }
        from = end;
    }
    found
}

fn parts<'a>(text: &'a [u8], delimiters: &[Delimiter], fields: &mut Vec<Field<'a>>, values: &mut Values<'_, '_>) {
    let Some(first) = delimiters.first() else { return };
    // What stands before the first one and behind the last one is nothing to most readers, but not to all.
    around(part(text, 0, first.start), values);
    for (number, delimiter) in delimiters.iter().enumerate() {
        if number >= PARTS {
            values.inspection.note(id::PROTOCOL_TOO_COSTLY, Source { place: Place::Multipart, name: b"" }, b"");
            return;
        }
        let end = delimiters.get(number + 1).map_or(text.len(), |next| next.start);
        let piece = part(text, delimiter.end, end);
        match delimiter.is_last {
            true => around(piece, values),
            false => fields.extend(one(piece, values)),
        }
    }
}

fn around(text: &[u8], values: &mut Values<'_, '_>) {
    if !trimmed(text).is_empty() {
        body::text(text, values);
    }
}

/// What the headers of a part say.
#[derive(Default)]
struct Head<'a> {
    name: &'a [u8],
    /// Every file name: readers differ about which one counts.
    files: Vec<Vec<u8>>,
    /// Whether all readers take it for a file.
    is_file: bool,
    kind: Option<&'a [u8]>,
}

fn one<'a>(piece: &'a [u8], values: &mut Values<'_, '_>) -> Option<Field<'a>> {
    let blanks = piece.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let piece = rest(piece, blanks);
    let piece = piece.strip_prefix(b"\r\n").or_else(|| piece.strip_prefix(b"\n")).unwrap_or(piece);
    let (head, content) = divided(piece);
    let content = content.strip_suffix(b"\r\n").or_else(|| content.strip_suffix(b"\n")).unwrap_or(content);
    let head = read_head(head, values);
    values.give(Place::Name, head.name, head.name);
    values.own(Kind::BodyName, head.name, head.name);
    for file in &head.files {
        values.own(Kind::FileName, head.name, file);
        values.give(Place::Upload, head.name, file);
        protocol::file_name(head.name, file, values.inspection);
    }
    let is_kind = |known: &str| {
        head.kind
            .and_then(|kind| kind.get(..known.len()))
            .is_some_and(|start| start.eq_ignore_ascii_case(known.as_bytes()))
    };
    // What is uploaded as a file is data; what says it is text, or says nothing, is read.
    let is_text = head.kind.is_none()
        || ["text/", "application/json", "application/xml", "application/x-www-form", "application/graphql"]
            .iter()
            .any(|known| is_kind(known));
    if head.is_file && !is_text {
        // The start of any file shows what it is.
        values.give(Place::Multipart, head.name, part(content, 0, 512));
        return None;
    }
    values.own(Kind::Multipart, head.name, content);
    if values.inspection.known().has(Place::Multipart, head.name) {
        return Some((head.name, content));
    }
    let is_json = is_kind("application/json");
    if !is_json || json::inspect(content, &[], values) {
        values.give(Place::Multipart, head.name, content);
    }
    if !is_json {
        values.inside(Place::Multipart, head.name, content);
    }
    Some((head.name, content))
}

/// Head and content of a part: the first empty line is between them, whatever its ends are.
fn divided(piece: &[u8]) -> (&[u8], &[u8]) {
    let mut from = 0;
    if let Some(content) = piece.strip_prefix(b"\r\n").or_else(|| piece.strip_prefix(b"\n")) {
        return (b"", content);
    }
    while let Some(end) = find(piece, b"\n", from) {
        let after = rest(piece, end + 1);
        if let Some(content) = after.strip_prefix(b"\r\n").or_else(|| after.strip_prefix(b"\n")) {
            return (part(piece, 0, end), content);
        }
        from = end + 1;
    }
    (piece, b"")
}

fn read_head<'a>(text: &'a [u8], values: &mut Values<'_, '_>) -> Head<'a> {
    let mut head = Head::default();
    let mut rest_of_head = text;
    while !rest_of_head.is_empty() {
        let line = trimmed(folded(&mut rest_of_head));
        let colon = line.iter().position(|&b| b == b':');
        let (key, value) = match colon {
            Some(colon) => (trimmed(part(line, 0, colon)), trimmed(rest(line, colon + 1))),
            None => (line, line),
        };
        protocol::part_header(key, value, values.inspection);
        if key.eq_ignore_ascii_case(b"content-disposition") {
            disposition(value, &mut head, values);
            continue;
        }
        if key.eq_ignore_ascii_case(b"content-type") {
            head.kind = Some(value);
        }
        values.give(Place::Header, key, value);
    }
    head
}

/// The next header line, with the lines that continue it (RFC 5322, 2.2.3).
fn folded<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let whole = *text;
    let mut end = 0;
    loop {
        end = find(whole, b"\n", end).map_or(whole.len(), |end| end + 1);
        if end == whole.len() || !matches!(at(whole, end), b' ' | b'\t') {
            *text = rest(whole, end);
            return part(whole, 0, end);
        }
    }
}

fn disposition<'a>(value: &'a [u8], head: &mut Head<'a>, values: &mut Values<'_, '_>) {
    parameters::each(value, |key, value| {
        let is = |known: &[u8]| trimmed(key).eq_ignore_ascii_case(known);
        if is(b"name") && head.name.is_empty() {
            head.name = value;
        } else if is(b"name") || is(b"name*") {
            // A second name is a value that somebody reads.
            values.give(Place::Name, value, value);
        } else if is(b"filename") {
            head.files.push(value.to_vec());
            // With a capital, a blank or nothing in it, some readers see no file.
            head.is_file |= key == b"filename" && !value.is_empty();
        }
    });
    if let Some((file, charset)) = parameters::extended(value, b"filename") {
        if !charset.is_empty() && !protocol::is_known_charset(charset) {
            values.inspection.note(id::PROTOCOL_CHARSET, Source { place: Place::Upload, name: head.name }, charset);
        }
        head.files.push(file);
    }
    if contains(value, b"name*") && head.name.is_empty() {
        values.give(Place::Name, b"name*", value);
    }
}
