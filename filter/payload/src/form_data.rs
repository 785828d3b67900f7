//! The head of a part of `multipart/form-data` (RFC 7578, 4.2), read so strictly that every reader sees the same field or file.

use crate::arguments::percent_decoded;
use crate::bytes::{contains, find, part, rest, trimmed};

/// The longest head that is read. PHP reads in pieces of 5 KiB, and takes what stands behind them for another line.
pub const MAX_HEAD: usize = 2048;

/// What the head of a part says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// The name of its field.
    pub name: &'a [u8],
    /// The name of its file; `None`: it is none.
    pub file: Option<&'a [u8]>,
    /// The name of its file as RFC 2231 writes it, as it stands.
    pub extended_file: Option<&'a [u8]>,
    /// Its `content-type`.
    pub content_type: Option<&'a [u8]>,
}

/// Head and content of a part that begins behind the line of its boundary; `None` where readers could differ about them.
#[must_use]
pub fn read(piece: &[u8]) -> Option<(Head<'_>, &[u8])> {
    let end = find(part(piece, 0, MAX_HEAD + 4), b"\r\n\r\n", 0)?;
    Some((head(part(piece, 0, end))?, rest(piece, end + 4)))
}

/// Whether every reader takes a part for a file, which is data: one with a name, that is no field to anybody.
#[must_use]
pub fn is_file(piece: &[u8]) -> bool {
    let Some((head, _)) = read(piece) else { return false };
    head.file.is_some_and(|file| !file.is_empty()) && head.extended_file.is_none_or(is_plain_extended)
}

/// `utf-8''NAME`: of other forms, some readers make no name, and so no file.
fn is_plain_extended(text: &[u8]) -> bool {
    const CHARSET: &[u8] = b"utf-8''";
    let Some((charset, name)) = text.split_at_checked(CHARSET.len()) else { return false };
    let is_visible = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    charset.eq_ignore_ascii_case(CHARSET) && percent_decoded(name, false).first().is_some_and(is_visible)
}

fn head(text: &[u8]) -> Option<Head<'_>> {
    let (mut disposition, mut content_type, mut encoding) = (None, None, None);
    let mut from = 0;
    while from <= text.len() {
        let to = find(text, b"\r\n", from).unwrap_or(text.len());
        let line = part(text, from, to);
        from = to + 2;
        if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return None;
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (part(line, 0, colon), trimmed(rest(line, colon + 1)));
        // A line that continues another one begins with a blank, which no name has.
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return None;
        }
        let known = match name.to_ascii_lowercase().as_slice() {
            b"content-disposition" => &mut disposition,
            b"content-type" => &mut content_type,
            b"content-transfer-encoding" => &mut encoding,
            // Some readers look for it as a text.
            _ if contains(&value.to_ascii_lowercase(), b"content-disposition") => return None,
            _ => continue,
        };
        if known.replace(value).is_some() {
            return None;
        }
    }
    // What some readers would decode is not what stands there.
    let is_as_it_stands =
        |encoding: &[u8]| [&b"7bit"[..], b"8bit", b"binary"].iter().any(|known| encoding.eq_ignore_ascii_case(known));
    if encoding.is_some_and(|encoding| !is_as_it_stands(encoding)) {
        return None;
    }
    let head = Head { content_type, ..names(disposition?)? };
    Some(head)
}

/// The names of field and file in a `content-disposition`: each once, and none that only some readers see.
fn names(disposition: &[u8]) -> Option<Head<'_>> {
    const KIND: &[u8] = b"form-data";
    let (kind, mut remaining) = disposition.split_at_checked(KIND.len())?;
    if !kind.eq_ignore_ascii_case(KIND) {
        return None;
    }
    let (mut name, mut file, mut extended_file) = (None, None, None);
    loop {
        remaining = remaining.trim_ascii_start();
        if remaining.is_empty() {
            break;
        }
        remaining = remaining.strip_prefix(b";")?.trim_ascii_start();
        let equals = remaining.iter().position(|byte| *byte == b'=')?;
        let key = part(remaining, 0, equals);
        let value = rest(remaining, equals + 1);
        let end = match value.strip_prefix(b"\"") {
            Some(inner) => inner.iter().position(|byte| *byte == b'"')? + 2,
            None => value.iter().position(|byte| !is_token(*byte)).unwrap_or(value.len()),
        };
        let text;
        (text, remaining) = value.split_at_checked(end)?;
        let text = match text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")) {
            Some(inner) => inner,
            // Single quotes are quotes to some.
            None if key != b"filename*" && text.contains(&b'\'') => return None,
            None => text,
        };
        // Readers differ about a quote behind a backslash, and some look for `name=` wherever it stands.
        if text.ends_with(b"\\") || contains(&text.to_ascii_lowercase(), b"name=") {
            return None;
        }
        let known = match key {
            b"name" if text.contains(&b'\\') => return None,
            b"name" => &mut name,
            b"filename" => &mut file,
            b"filename*" => &mut extended_file,
            _ if is_other(key) => continue,
            _ => return None,
        };
        if known.replace(text).is_some() {
            return None;
        }
    }
    Some(Head { name: name?, file, extended_file, content_type: None })
}

/// Whether a name is that of a parameter which nobody takes for `name` or `filename`: not by capitals, quotes or RFC 2231's `*`, nor by its end.
fn is_other(key: &[u8]) -> bool {
    !key.is_empty()
        && key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && !contains(&key.to_ascii_lowercase(), b"name")
}

/// A byte of a token (RFC 9110, 5.6.2).
#[must_use]
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "content-disposition: form-data; name=\"f\"; filename=\"x.png\"";

    fn file(head: &str) -> bool {
        is_file(format!("{head}\r\n\r\ndata").as_bytes())
    }

    #[test]
    fn a_file_is_one_to_every_reader() {
        for head in [
            FILE.to_owned(),
            format!("{FILE}\r\nContent-Type: image/png"),
            format!("{FILE}; filename*=UTF-8''%E3%81%82.png; size=7"),
            "Content-Disposition: form-data; name=f; filename=x.png; filename*=utf-8''x.png".to_owned(),
            "CONTENT-DISPOSITION:form-data;filename=\"it's.png\";name=\"it's\"".to_owned(),
        ] {
            assert!(file(&head), "{head}");
        }
        for head in [
            "content-disposition: form-data; name=\"f\"".to_owned(),
            "content-disposition: form-data; filename=\"x\"".to_owned(),
            "content-disposition: form-data; name=\"f\"; filename=\"\"".to_owned(),
            "content-disposition: form-data; name=\"f\"; filename*=utf-8''x".to_owned(),
            format!("{FILE}; filename=\"\""),
            format!("{FILE}; filename*=utf-8''"),
            format!("{FILE}; filename*=utf-8''%20"),
            format!("{FILE}; filename*=utf-7''x"),
            format!("{FILE}; filename*=x"),
            format!("{FILE}; filename*0=\"\""),
            format!("{FILE}; Filename=\"\""),
            format!("{FILE}; name=\"g\""),
            format!("{FILE}; x=a\"; y=b\""),
            format!("{FILE}; x'=1; y'=2"),
            format!("{FILE}; x='a"),
            format!("{FILE}; x-name=\"g\""),
            format!("{FILE}; x=\"name=g\""),
            format!("{FILE}\r\n{FILE}"),
            format!("{FILE}\r\ncontent-disposition: form-data; name=\"f\""),
            format!("content-disposition: form-data; name=\"f\"\r\n{FILE}"),
            format!("{FILE}\r\ncontent-type: image/png\r\ncontent-type: text/plain"),
            format!("{FILE}\r\ncontent-transfer-encoding: base64"),
            format!("{FILE}\r\nx: content-disposition: form-data; name=\"g\""),
            format!("{FILE}\r\nx"),
            format!("{FILE}\r\n x: y"),
            format!("{FILE}\nx: y"),
            format!("{FILE}\rx: y"),
            format!("{FILE}\r\nx: {}", "y".repeat(MAX_HEAD)),
            "content-disposition: form-data; name=\"f\"; x=a\"; filename=x.png; y=b\"".to_owned(),
            "content-disposition: form-data; name=\"f\"; x'=1; filename=\"x.png\"; y'=2".to_owned(),
            "content-disposition: attachment; name=\"f\"; filename=\"x.png\"".to_owned(),
        ] {
            assert!(!file(&head), "{head}");
        }
        assert!(!is_file(format!("{FILE}\n\ndata").as_bytes()));
        assert!(!is_file(format!("{FILE}\r\n\ndata\r\n\r\n").as_bytes()));
        assert!(!is_file(FILE.as_bytes()));
    }
}
