//! Texts and attribute values of an XML document; the document itself is judged for its DOCTYPE and entities.

use crate::bytes::{at, find, part, rest, trimmed};
use crate::own::Kind;
use crate::protocol;
use crate::rules::id;
use crate::verdict::{Place, Source};

use super::Values;

/// Hands on every text and every attribute value. A text that comments or CDATA sections cut is one value, as its reader gets it.
pub fn inspect(text: &[u8], values: &mut Values<'_, '_>) {
    let source = Source { place: Place::Xml, name: b"" };
    let mut run = Vec::new();
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
            xml(values, trimmed(&run));
        }
        run.clear();
        if tail.len() > 2 && tail.get(..9).is_some_and(|head| head.eq_ignore_ascii_case(b"<!doctype")) {
            // An internal subset, an identifier of something outside: only these make a DOCTYPE more than a name.
            let end = find(text, b"]>", open).or_else(|| find(text, b">", open)).unwrap_or(text.len());
            let doctype = part(text, open, end + 2);
            values.give(Place::Xml, b"doctype", doctype);
            if doctype.contains(&b'[') || find(doctype, b"\"", 0).is_some() {
                values.inspection.note(id::XML_DOCTYPE_IN_BODY, source, doctype);
            }
            i = end + 1;
        } else {
            let end = tag_end(text, open);
            attributes(part(text, open + 1, end), values);
            i = end + 1;
        }
    }
    if !trimmed(&run).is_empty() {
        xml(values, trimmed(&run));
    }
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
        values.inspection.note(id::PROTOCOL_CHARSET, Source { place: Place::Xml, name: b"encoding" }, name);
    }
}

fn xml(values: &mut Values<'_, '_>, text: &[u8]) {
    values.own(Kind::Xml, b"", text);
    values.give(Place::Xml, b"", text);
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

fn attributes(tag: &[u8], values: &mut Values<'_, '_>) {
    let mut i = 0;
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
        values.own(Kind::XmlAttribute, b"", part(tag, start + 1, end));
        values.give(Place::Xml, b"", part(tag, start + 1, end));
        i = end + 1;
    }
}
