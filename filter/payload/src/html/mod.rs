//! Reads markup in a value as a browser would: tags, attributes, and what they run.

mod tag;

use crate::bytes::{at, is_blank, part, rest};
use crate::mask;
use crate::rules::{id, tables};
use crate::scanner::Evidence;

/// Judges every tag of a value.
pub fn judge(text: &[u8], kinds: u16, evidence: &mut Evidence<'_>) {
    if kinds & mask::ANGLE == 0 {
        return;
    }
    let mut i = 0;
    while let Some(found) = rest(text, i).iter().position(|&b| b == b'<') {
        let start = i + found;
        i = start + 1;
        let Some(tag) = tag::read(text, start) else { continue };
        i = tag.end.max(i);
        name(&tag, text, evidence);
        // A bounded number of attributes of a tag; a tag has a handful.
        for attribute in tag::attributes(text, tag.attributes, tag.end).take(64) {
            one(&attribute, text, start, evidence);
            if attribute.is_open && tag.end == text.len() && is_dangling(&tag, &attribute) {
                evidence.add(id::XSS_DANGLING_ATTRIBUTE, part(text, start, start + 64));
            }
        }
    }
}

fn name(tag: &tag::Tag<'_>, text: &[u8], evidence: &mut Evidence<'_>) {
    let excerpt = part(text, tag.start, tag.start + 64);
    let local = tag.name.iter().position(|&b| b == b':').map_or(tag.name, |colon| rest(tag.name, colon + 1));
    if local == b"script" || tag.name.starts_with(b"script") {
        evidence.add(id::XSS_SCRIPT_TAG, excerpt);
    } else if tables::HTML_ACTIVE_TAGS.holds(local) {
        evidence.add(id::XSS_ACTIVE_TAG, excerpt);
    } else if tables::HTML_EMBEDDING_TAGS.holds(local) {
        evidence.add(id::XSS_EMBEDDING_TAG, excerpt);
    }
}

fn one(attribute: &tag::Attribute<'_>, text: &[u8], start: usize, evidence: &mut Evidence<'_>) {
    let excerpt = part(text, start, start + 64);
    let name = attribute.name;
    if name.len() > 4
        && name.starts_with(b"on")
        && rest(name, 2).iter().all(u8::is_ascii_alphabetic)
        && attribute.has_value
    {
        evidence.add(id::XSS_EVENT_ATTRIBUTE, excerpt);
    }
    let local = name.iter().position(|&b| b == b':').map_or(name, |colon| rest(name, colon + 1));
    if tables::HTML_URL_ATTRIBUTES.holds(local) && runs_script(attribute.value) {
        evidence.add(id::XSS_SCRIPT_URL, excerpt);
    }
    if matches!(name, b"srcdoc" | b"formaction" | b"datasrc" | b"datafld" | b"dataformatas") && attribute.has_value {
        evidence.add(id::XSS_ACTIVE_ATTRIBUTE, excerpt);
    }
    if name == b"style" && active_style(attribute.value) {
        evidence.add(id::XSS_ACTIVE_STYLE, excerpt);
    }
}

/// True for an address elsewhere that goes on with what follows on the page.
fn is_dangling(tag: &tag::Tag<'_>, attribute: &tag::Attribute<'_>) -> bool {
    let value = attribute.value;
    tables::HTML_URL_ATTRIBUTES.holds(attribute.name)
        && (value.starts_with(b"//") || value.starts_with(b"http"))
        && (tag.name == b"base" || matches!(value.last(), Some(b'?' | b'=' | b'&')))
        && !value.iter().any(|&byte| is_blank(byte))
}

/// True for URLs whose scheme runs code, with all that browsers skip inside of them.
fn runs_script(value: &[u8]) -> bool {
    let mut head = [0u8; 16];
    let visible = value.iter().copied().filter(|&b| b > b' ' && b != 127);
    for (slot, byte) in head.iter_mut().zip(visible) {
        *slot = byte;
    }
    const SCHEMES: &[&[u8]] = &[
        b"javascript:",
        b"vbscript:",
        b"livescript:",
        b"mocha:",
        b"data:text/html",
        b"data:image/svg",
        b"data:;base64",
        b"data:text/javas",
        b"data:,",
        b"jar:http",
    ];
    SCHEMES.iter().any(|scheme| head.starts_with(scheme))
}

fn active_style(value: &[u8]) -> bool {
    // Comments and backslashes are how such words are hidden.
    let mut visible = [0u8; 256];
    let (mut used, mut i) = (0, 0);
    while i < value.len() && used < visible.len() {
        if part(value, i, i + 2) == b"/*" {
            i = crate::bytes::find(value, b"*/", i + 2).map_or(value.len(), |end| end + 2);
            continue;
        }
        let mut byte = at(value, i);
        i += 1;
        if byte == b'\\' {
            // Escapes of CSS: up to six hexadecimal digits, and a blank that belongs to them.
            let digits = rest(value, i).iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
            if digits > 1 {
                let code = part(value, i, i + digits)
                    .iter()
                    .fold(0u32, |code, &d| code << 4 | u32::from(crate::bytes::hex(d).unwrap_or(0)));
                byte = u8::try_from(code).unwrap_or(b'?').to_ascii_lowercase();
                i += digits + usize::from(at(value, i + digits) == b' ');
            }
        }
        if byte > b' '
            && byte != b'\\'
            && let Some(slot) = visible.get_mut(used)
        {
            *slot = byte;
            used += 1;
        }
    }
    let visible = part(&visible, 0, used);
    const WORDS: &[&[u8]] = &[
        b"expression(",
        b"javascript:",
        b"vbscript:",
        b"-moz-binding",
        b"behavior:",
        b"behaviour:",
        b"@import",
        b"-o-link",
        b"<img",
        b"<s",
        b"onerror=",
        b"url(data:",
    ];
    WORDS.iter().any(|word| crate::bytes::contains(visible, word))
}
