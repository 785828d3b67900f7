//! Texts and attribute values of an XML document, and names that are none; the document itself is judged for its DOCTYPE and entities.

use crate::bytes::{at, find, is_blank, part, rest, trimmed};
use crate::own::Kind;
use crate::protocol;
use crate::rules::id;
use crate::verdict::{Place, Source};

use super::Values;

/// Hands on every text by the name of its element, and every attribute's value by its own. A text that comments or CDATA sections cut is
/// one value, as its reader gets it. Comments, instructions and the DOCTYPE have no name.
pub fn inspect(text: &[u8], values: &mut Values<'_, '_>) {
    let source = Source { place: Place::Xml, name: b"" };
    let (mut run, mut names) = (Vec::new(), Vec::new());
    let mut open_elements = Elements::default();
    let mut i = 0;
    while i < text.len() {
        let open = find(text, b"<", i).unwrap_or(text.len());
        run.extend_from_slice(part(text, i, open));
        let tail = rest(text, open);
        if tail.starts_with(b"<![CDATA[") {
            let end = find(text, b"]]>", open).unwrap_or(text.len());
            run.extend_from_slice(part(text, open + 9, end));
            i = end + 3;
            continue;
        }
        if tail.starts_with(b"<!--") {
            let end = find(text, b"-->", open).unwrap_or(text.len());
            values.give(Place::Xml, b"", part(text, open, end));
            i = end + 3;
            continue;
        }
        if tail.starts_with(b"<?") {
            let end = find(text, b"?>", open).unwrap_or(text.len());
            declaration(part(text, open + 2, end), values);
            i = end + 2;
            continue;
        }
        if !trimmed(&run).is_empty() {
            xml(values, open_elements.last(), trimmed(&run));
        }
        run.clear();
        if tail.len() > 2 && tail.get(..9).is_some_and(|head| head.eq_ignore_ascii_case(b"<!doctype")) {
            // An internal subset, an identifier of something outside: only these make a DOCTYPE more than a name.
            let end = find(text, b"]>", open).or_else(|| find(text, b">", open)).unwrap_or(text.len());
            let doctype = part(text, open, end + 2);
            values.give(Place::Xml, b"", doctype);
            if doctype.contains(&b'[') || find(doctype, b"\"", 0).is_some() {
                values.inspection.note(id::XML_DOCTYPE_IN_BODY, source, doctype);
            }
            i = end + 1;
        } else {
            let end = tag_end(text, open);
            let tag = part(text, open + 1, end);
            attributes(tag, &mut names, values);
            open_elements.pass(tag);
            i = end + 1;
        }
    }
    if !trimmed(&run).is_empty() {
        xml(values, open_elements.last(), trimmed(&run));
    }
}

/// The names of the elements that a place in a document is in.
#[derive(Default)]
struct Elements<'a> {
    names: Vec<&'a [u8]>,
    /// How many deeper ones there are, whose names are not kept.
    deeper: usize,
}

/// Elements in elements whose names are kept; what stands deeper has none.
const DEPTH: usize = 64;

impl<'a> Elements<'a> {
    fn last(&self) -> &'a [u8] {
        if self.deeper > 0 { b"" } else { self.names.last().copied().unwrap_or_default() }
    }

    /// Goes past a tag, of which the angles are left out.
    fn pass(&mut self, tag: &'a [u8]) {
        if tag.first() == Some(&b'/') {
            match self.deeper {
                0 => drop(self.names.pop()),
                _ => self.deeper -= 1,
            }
        } else if tag.last() != Some(&b'/') && tag.first() != Some(&b'!') {
            match self.names.len() {
                ..DEPTH => self.names.push(part(tag, 0, tag.iter().position(is_border).unwrap_or(tag.len()))),
                _ => self.deeper += 1,
            }
        }
    }
}

/// What stands around names.
fn is_border(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'/' | b'=' | b'"' | b'\'')
}

/// `<?xml encoding="..."?>` can name a character set that hides the rest; another instruction is a value.
fn declaration(text: &[u8], values: &mut Values<'_, '_>) {
    if !text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"xml ")) {
        values.give(Place::Xml, b"", text);
        return;
    }
    let Some(start) = find(text, b"encoding", 0) else { return };
    let after = rest(text, start + 8);
    let name = after.split(|b| matches!(b, b'"' | b'\'')).nth(1).unwrap_or_default();
    // UTF-16 was read as such already, if it is true.
    let is_wide = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"utf-16"));
    if !is_wide && !protocol::is_known_charset(name) {
        values.inspection.note(id::PROTOCOL_CHARSET, Source { place: Place::Xml, name: b"" }, name);
    }
}

fn xml(values: &mut Values<'_, '_>, element: &[u8], text: &[u8]) {
    values.own(Kind::Xml, element, text);
    values.give(Place::Xml, element, text);
}

fn tag_end(text: &[u8], open: usize) -> usize {
    let mut quote = 0;
    for (i, &byte) in rest(text, open).iter().enumerate() {
        match byte {
            _ if quote != 0 => quote = if byte == quote { 0 } else { quote },
            b'"' | b'\'' => quote = byte,
            b'>' => return open + i,
            _ => {}
        }
    }
    text.len()
}

/// Hands on the values of a tag's attributes; and the rest of it, its names, where that holds more than names have.
fn attributes(tag: &[u8], names: &mut Vec<u8>, values: &mut Values<'_, '_>) {
    names.clear();
    let (mut i, mut behind) = (0, 0);
    while let Some(equals) = find(tag, b"=", i) {
        let mut start = equals + 1;
        while matches!(at(tag, start), b' ' | b'\t' | b'\n' | b'\r') {
            start += 1;
        }
        let quote = at(tag, start);
        if quote != b'"' && quote != b'\'' {
            i = equals + 1;
            continue;
        }
        let end = find(tag, &[quote], start + 1).unwrap_or(tag.len());
        let before = trimmed(part(tag, i, equals));
        let name = rest(before, before.iter().rposition(is_border).map_or(0, |border| border + 1));
        values.own(Kind::XmlAttribute, name, part(tag, start + 1, end));
        values.give(Place::Xml, name, part(tag, start + 1, end));
        names.extend_from_slice(part(tag, behind, equals));
        names.push(b' ');
        i = end + 1;
        behind = i;
    }
    names.extend_from_slice(rest(tag, behind));
    let names = names.strip_prefix(b"/").unwrap_or(names);
    let names = trimmed(names.strip_suffix(b"/").unwrap_or(names));
    if !names.iter().all(|&b| is_of_name(b) || is_blank(b)) {
        values.give(Place::Name, names, names);
    }
}

/// Letters of any alphabet, and what stands in names (XML 1.0, 2.3).
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | 128..)
}
