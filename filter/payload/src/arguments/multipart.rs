//! The parts of a multipart body (RFC 7578), read as leniently as the frameworks behind read them.

use crate::bytes::{at, contains, find, part, rest, trimmed};
use crate::form_data;
use crate::own::Kind;
use crate::protocol;
use crate::rules::id;
use crate::verdict::{Limit, Place, Source};

use super::{Values, body, data, json, parameters, xml};

/// Parts that are read; more than a form ever has. A body with more is not half read: [`Limit::Parts`].
pub const MOST_PARTS: usize = 256;

/// Boundaries that the parts are looked for with, and the longest one; RFC 2046 has 70 bytes.
const READINGS: usize = 6;
const LONGEST_BOUNDARY: usize = 200;

/// A field that is no file: its name and its value.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// Hands on names, file names, part headers and text parts. Gives the fields.
pub fn inspect<'a>(content_type: &[u8], text: &'a [u8], values: &mut Values<'_, '_>) -> Vec<Field<'a>> {
    let mut fields = Vec::new();
    let boundaries = boundaries(content_type);
    let (mut is_read, mut is_left_out) = (false, boundaries.len() > READINGS);
    for boundary in boundaries.into_iter().take(READINGS) {
        // Looking for one that repeats itself takes as long as it is.
        if boundary.len() > LONGEST_BOUNDARY {
            is_left_out = true;
            continue;
        }
        let delimiter = [b"--", boundary.as_slice()].concat();
        let (strict, loose) = (lines(text, &delimiter, true), lines(text, &delimiter, false));
        is_read |= !loose.is_empty();
        parts(text, &strict, &mut fields, values);
        // To some readers, a delimiter is one wherever it stands.
        if loose.len() > strict.len() {
            parts(text, &loose, &mut fields, values);
        }
    }
    if is_left_out {
        values.inspection.exceed(Limit::Parts);
    }
    if !is_read || is_left_out {
        body::text(text, values);
    }
    fields
}

/// What readers take for the boundary: some know no single quotes, to some it ends with a comma, and some look for its name as a text
/// anywhere in the line (PHP). At most so many that it shows where there are more.
fn boundaries(content_type: &[u8]) -> Vec<Vec<u8>> {
    const NAME: &[u8] = b"boundary";
    let mut readings: Vec<Vec<u8>> = Vec::new();
    let mut add = |reading: &[u8]| {
        if readings.len() <= READINGS && !reading.is_empty() && !readings.iter().any(|known| known == reading) {
            readings.push(reading.to_vec());
        }
    };
    parameters::each(content_type, |name, value| {
        if trimmed(name).eq_ignore_ascii_case(NAME) {
            add(value);
        }
    });
    if let Some((extended, _)) = parameters::extended(content_type, NAME) {
        add(&extended);
    }
    let lower = content_type.to_ascii_lowercase();
    let mut from = 0;
    for _ in 0..READINGS {
        let Some(equals) = find(&lower, NAME, from).and_then(|start| find(content_type, b"=", start)) else { break };
        from = equals;
        let value = rest(content_type, equals + 1);
        let inner = value.strip_prefix(b"\"");
        let is_end = |byte: &u8| if inner.is_some() { *byte == b'"' } else { matches!(byte, b',' | b';') };
        let value = inner.unwrap_or(value);
        let value = part(value, 0, value.iter().position(is_end).unwrap_or(value.len()));
        add(value);
        add(trimmed(value.split(|byte| *byte == b'"').next().unwrap_or_default()));
    }
    if find(&lower, NAME, from).is_some_and(|start| contains(rest(&lower, start), b"=")) {
        readings.resize(READINGS + 1, Vec::new());
    } else if readings.is_empty() {
        readings.push(Vec::new());
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
    while let Some(start) = find(text, delimiter, from).filter(|_| found.len() <= MOST_PARTS + 1) {
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
        // The delimiter behind the last part begins none.
        if number > MOST_PARTS || (number == MOST_PARTS && !delimiter.is_last) {
            return values.inspection.exceed(Limit::Parts);
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
    /// Whether it says what the part is for.
    has_disposition: bool,
}

fn one<'a>(piece: &'a [u8], values: &mut Values<'_, '_>) -> Option<Field<'a>> {
    let blanks = piece.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let piece = rest(piece, blanks);
    let piece = piece.strip_prefix(b"\r\n").or_else(|| piece.strip_prefix(b"\n")).unwrap_or(piece);
    let is_file = form_data::is_file(piece);
    let (head, content) = divided(piece);
    let content = content.strip_suffix(b"\r\n").or_else(|| content.strip_suffix(b"\n")).unwrap_or(content);
    let mut head = read_head(head, values);
    head.is_file = is_file;
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
    // Who reads fields needs names, and a type says what a part without one is.
    let is_nameless = !head.has_disposition && head.kind.is_some();
    let declared = body::media_type(head.kind.unwrap_or_default());
    if (head.is_file || is_nameless)
        && let Some(data) = data::of(&declared, content)
    {
        data::inspect(data, content, (Place::Multipart, head.name), data::LOOKED_AT, values);
        return None;
    }
    if head.is_file && !is_text {
        // The start of any file shows what it is.
        values.give(Place::Multipart, head.name, part(content, 0, data::LOOKED_AT));
        return None;
    }
    if is_nameless && declared.ends_with(b"xml") {
        // The document that attachments belong to (RFC 2387).
        xml::inspect(content, values);
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
    let (mut dispositions, mut kinds) = (0, 0);
    while !rest_of_head.is_empty() {
        let line = trimmed(folded(&mut rest_of_head));
        let colon = line.iter().position(|&b| b == b':');
        let (key, value) = match colon {
            Some(colon) => (trimmed(part(line, 0, colon)), trimmed(rest(line, colon + 1))),
            None => (line, line),
        };
        protocol::part_header(key, colon.map(|_| value), values.inspection);
        if key.eq_ignore_ascii_case(b"content-disposition") {
            dispositions += 1;
            head.has_disposition = true;
            disposition(value, &mut head, values);
            continue;
        }
        if key.eq_ignore_ascii_case(b"content-type") {
            kinds += 1;
            head.kind = Some(value);
        }
        values.give(Place::Header, key, value);
    }
    protocol::part_head(text, dispositions, kinds, values.inspection);
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
