//! What the head and the framing of a request say: only signs that no honest client gives.

use crate::arguments::{Request, reads_as_text};
use crate::bytes::{at, contains, part, rest, trimmed};
use crate::form_data::MAX_HEAD;
use crate::media::{self, Parameter};
use crate::rules::id;
use crate::scanner::Inspection;
use crate::verdict::{Place, Source};

/// Judges the head.
pub fn judge(request: &Request<'_>, inspection: &mut Inspection<'_>) {
    let head = |name: &'static [u8]| Source { place: Place::Header, name };
    if request.method.is_empty() || !request.method.iter().all(u8::is_ascii_uppercase) {
        inspection.note(id::PROTOCOL_METHOD, head(b":method"), request.method);
    } else if !METHODS.contains(&request.method) {
        inspection.note(id::PROTOCOL_UNUSUAL_METHOD, head(b":method"), request.method);
    }
    if request.target.contains(&b'#') {
        inspection.note(id::PROTOCOL_FRAGMENT, head(b":path"), request.target);
    }
    if let Some(kind) = request.header(b"content-type") {
        content_type(kind, inspection);
    }
    judge_body(request, inspection);
    if request.body.is_empty() && request.method == b"GET" && request.header(b"content-encoding").is_some() {
        inspection.note(id::PROTOCOL_STACKED_ENCODING, head(b"content-encoding"), b"");
    }
    judge_headers(request.headers, request.method, inspection);
}

/// Judges headers that only harm, or have values that no client sends.
pub fn judge_headers(headers: &[(&[u8], &[u8])], method: &[u8], inspection: &mut Inspection<'_>) {
    for &(name, value) in headers {
        header(name, value, method, inspection);
    }
}

/// Judges what the head says of the body.
pub fn judge_body(request: &Request<'_>, inspection: &mut Inspection<'_>) {
    if request.body.is_empty() {
        return;
    }
    let source = Source { place: Place::Header, name: b"content-type" };
    match request.header(b"content-type") {
        None if says_what_it_is(request.body) => {}
        None => inspection.note(id::PROTOCOL_BODY_WITHOUT_TYPE, source, b""),
        Some(kind) => {
            let form = kind.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded");
            if request.method == b"GET" && form {
                inspection.note(id::PROTOCOL_FORM_IN_GET, source, kind);
            }
        }
    }
}

/// JSON, and what is no text: nobody takes them for something else.
fn says_what_it_is(body: &[u8]) -> bool {
    matches!(at(trimmed(body), 0), b'{' | b'[') || !reads_as_text(body)
}

/// Those of interfaces, and those that only read (RFC 4918, RFC 3253, RFC 5323).
const METHODS: &[&[u8]] =
    &[b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PROPFIND", b"REPORT", b"SEARCH", b"QUERY"];

fn content_type(value: &[u8], inspection: &mut Inspection<'_>) {
    let source = Source { place: Place::Header, name: b"content-type" };
    let lower = value.to_ascii_lowercase();
    let (kind, parameters) = match lower.iter().position(|&b| b == b';') {
        Some(end) => (part(&lower, 0, end), rest(&lower, end + 1)),
        None => (lower.as_slice(), &[][..]),
    };
    let kind = trimmed(kind);
    let mut halves = kind.split(|&b| b == b'/');
    let token = |half: Option<&[u8]>| {
        half.is_some_and(|h| {
            !h.is_empty() && h.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'_'))
        })
    };
    if !token(halves.next()) || !token(halves.next()) || halves.next().is_some() {
        inspection.note(id::PROTOCOL_CONTENT_TYPE, source, value);
    }
    if kind.starts_with(b"multipart/") {
        let usual = [&b"form-data"[..], b"mixed", b"related", b"alternative", b"byteranges"];
        let known = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(b);
        let is_plain = match media::parameter(&lower, b"boundary") {
            Parameter::One(boundary) => {
                (1..=74).contains(&boundary.len()) && boundary.first() != Some(&b' ') && boundary.iter().all(known)
            }
            Parameter::Missing | Parameter::Ambiguous => false,
        };
        if !usual.contains(&part(kind, 10, kind.len())) || !is_plain {
            inspection.note(id::PROTOCOL_CONTENT_TYPE, source, value);
        }
    }
    let is_plain = match media::parameter(&lower, b"charset") {
        Parameter::Missing => true,
        Parameter::One(charset) => is_known_charset(charset),
        Parameter::Ambiguous => false,
    };
    if !is_plain {
        inspection.note(id::PROTOCOL_CHARSET, source, value);
    }
    let names_type = |p: &[u8]| contains(p, b"application/") || contains(p, b"text/") || contains(p, b"multipart/");
    // A document with attachments says what the document is (RFC 2387; SOAP with MTOM).
    let is_package = kind == b"multipart/related" || kind == b"application/xop+xml";
    let is_of_package = |p: &[u8]| {
        is_package
            && [&b"type="[..], b"start-info="].iter().any(|name| p.strip_prefix(*name).is_some_and(is_media_type))
    };
    if parameters.split(|&b| b == b';').map(trimmed).any(|p| names_type(p) && !is_of_package(p)) {
        inspection.note(id::PROTOCOL_SECOND_CONTENT_TYPE, source, value);
    }
}

/// A media type, in quotes or not.
fn is_media_type(text: &[u8]) -> bool {
    let bare = text.strip_prefix(b"\"").unwrap_or(text);
    let bare = bare.strip_suffix(b"\"").unwrap_or(bare);
    let mut halves = bare.split(|&b| b == b'/');
    let is_token = |half: &[u8]| {
        !half.is_empty() && half.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'_'))
    };
    halves.next().is_some_and(is_token) && halves.next().is_some_and(is_token) && halves.next().is_none()
}

/// Whether text of a character set is what it looks like to a filter.
pub fn is_known_charset(name: &[u8]) -> bool {
    let name: Vec<u8> = name.iter().filter(|b| !matches!(b, b'"' | b'\'')).map(u8::to_ascii_lowercase).collect();
    CHARSETS.contains(&trimmed(&name))
}

const CHARSETS: &[&[u8]] = &[b"utf-8", b"utf8", b"iso-8859-1", b"iso-8859-15", b"windows-1252", b"us-ascii"];

fn header(name: &[u8], value: &[u8], method: &[u8], inspection: &mut Inspection<'_>) {
    /// The longest name below.
    const LONGEST: usize = 24;
    let source = Source { place: Place::Header, name };
    let mut lower = [0; LONGEST];
    let Some(room) = lower.get_mut(..name.len()) else { return };
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    let rule = match &*room {
        b"accept" => return accept(value, source, inspection),
        b"accept-encoding" if value.len() > LONGEST_ACCEPT_ENCODING => id::PROTOCOL_ACCEPT_ENCODING,
        b"host" if value.is_empty() => id::PROTOCOL_EMPTY_HOST,
        b"content-length" if value.is_empty() || !value.iter().all(u8::is_ascii_digit) => id::PROTOCOL_CONTENT_LENGTH,
        b"range" if value.iter().filter(|&&b| b == b',').count() > 5 => id::PROTOCOL_RANGES,
        b"content-encoding" | b"transfer-encoding" if contains(value, b",") => id::PROTOCOL_STACKED_ENCODING,
        b"x-up-devcap-post-charset" => id::PROTOCOL_CHARSET,
        b"x-http-method-override" | b"x-method-override" | b"x-http-method" => id::PROTOCOL_METHOD_OVERRIDE,
        b"cookie" if trimmed(value).starts_with(b"$Version") => id::PROTOCOL_OLD_COOKIE,
        b"content-range" if is_upload_range(method, value) => return,
        b"content-range" => id::PROTOCOL_RANGES,
        // No client of an API has a use for them: httpoxy, WebDAV, headers that other gateways take for their own.
        b"proxy" | b"lock-token" | b"if" | b"x-middleware-subrequest" | b"x-original-url" | b"x-rewrite-url" => {
            id::PROTOCOL_FORBIDDEN_HEADER
        }
        _ => return,
    };
    inspection.note(rule, source, value);
}

/// A piece of an upload that can be resumed: `bytes 0-99/200`, `bytes 0-99/*`, and `bytes */200`, which asks how much has come.
fn is_upload_range(method: &[u8], value: &[u8]) -> bool {
    let is_number = |text: &[u8]| (1..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let Some(range) = trimmed(value).strip_prefix(b"bytes ") else { return false };
    let mut halves = range.split(|&b| b == b'/');
    let (Some(piece), Some(size), None) = (halves.next(), halves.next(), halves.next()) else { return false };
    let mut ends = piece.split(|&b| b == b'-');
    let is_piece = piece == b"*"
        || (ends.next().is_some_and(is_number) && ends.next().is_some_and(is_number) && ends.next().is_none());
    matches!(method, b"PUT" | b"PATCH" | b"POST") && is_piece && (size == b"*" || is_number(size))
}

/// Browsers name five codings in half of this.
const LONGEST_ACCEPT_ENCODING: usize = 100;

/// No client asks for nothing, nor for a character set by a parameter that `Accept` does not have, unless it means another reader.
fn accept(value: &[u8], source: Source<'_>, inspection: &mut Inspection<'_>) {
    if value.is_empty() {
        inspection.note(id::PROTOCOL_FORBIDDEN_HEADER, source, value);
    }
    const CHARSET: &[u8] = b"charset=";
    for parameter in value.split(|b| matches!(b, b';' | b',')).map(trimmed) {
        let Some((name, charset)) = parameter.split_at_checked(CHARSET.len()) else { continue };
        if name.eq_ignore_ascii_case(CHARSET) && !is_known_charset(charset) {
            inspection.note(id::PROTOCOL_CHARSET, source, value);
        }
    }
}

/// Judges a header of a part of a multipart body; one without a colon has no value.
pub fn part_header(name: &[u8], value: Option<&[u8]>, inspection: &mut Inspection<'_>) {
    let source = Source { place: Place::Header, name };
    if name.is_empty() {
        return;
    }
    let Some(value) = value else { return inspection.note(id::PROTOCOL_PART_HEADER, source, name) };
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    let is_token = name.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    // Those that say how the part is to be read are none that all readers know.
    if !is_token || is(b"content-encoding") || is(b"transfer-encoding") {
        inspection.note(id::PROTOCOL_PART_HEADER, source, name);
    } else if is(b"content-type") {
        content_type(value, inspection);
    } else if is(b"content-transfer-encoding")
        && ![&b"binary"[..], b"8bit", b"7bit"].iter().any(|known| value.eq_ignore_ascii_case(known))
    {
        inspection.note(id::PROTOCOL_PART_ENCODING, source, value);
    }
}

/// Judges the head of a part as a whole: how often it says what the part is, and how long it is.
pub fn part_head(head: &[u8], dispositions: usize, content_types: usize, inspection: &mut Inspection<'_>) {
    let mut note = |name, excerpt: &[u8]| {
        inspection.note(id::PROTOCOL_PART_HEADER, Source { place: Place::Header, name }, excerpt);
    };
    if dispositions > 1 {
        note(b"content-disposition", b"");
    }
    if content_types > 1 {
        note(b"content-type", b"");
    }
    if head.len() > MAX_HEAD {
        note(b"", part(head, 0, 64));
    }
}

/// Judges the file name of an upload.
pub fn file_name(name: &[u8], file: &[u8], inspection: &mut Inspection<'_>) {
    let source = Source { place: Place::Upload, name };
    let odd = |text: &[u8]| {
        text.iter().enumerate().any(|(i, &b)| match b {
            b'\'' => !is_apostrophe(part(text, 0, i), rest(text, i + 1)),
            _ => matches!(b, b'"' | b';' | b'=' | b'\\') || b < b' ',
        })
    };
    if odd(file) || odd(name) {
        inspection.note(id::PROTOCOL_ODD_FILE_NAME, source, file);
    }
    let lower = file.to_ascii_lowercase();
    let mut pieces = lower.split(|&b| b == b'.').skip(1);
    if pieces.any(|piece| {
        RUNNABLE.contains(&part(piece, 0, piece.iter().position(|b| !b.is_ascii_alphanumeric()).unwrap_or(piece.len())))
    }) || matches!(lower.as_slice(), b".htaccess" | b".user.ini" | b"web.config")
        || at(file, 0) == 0 && !file.is_empty()
    {
        inspection.note(id::UPLOAD_RUNNABLE_FILE, source, file);
    }
}

/// Whether a quote between two texts is an apostrophe: `O'Brien`, `l'image`, `mum's`, `Chris' photo`.
fn is_apostrophe(before: &[u8], behind: &[u8]) -> bool {
    let is_letter = |b: &u8| b.is_ascii_alphabetic() || *b >= 128;
    let letters_before = before.iter().rev().take_while(|b| is_letter(b)).count();
    let word = part(behind, 0, behind.iter().take_while(|b| is_letter(b)).count());
    letters_before > 0
        && match word {
            [] => behind.first() == Some(&b' '),
            [b'A'..=b'Z' | 128.., ..] | b"s" | b"t" | b"d" | b"m" | b"ll" | b"re" | b"ve" => true,
            _ => letters_before == 1,
        }
}

/// What servers run when it is asked for.
const RUNNABLE: &[&[u8]] = &[
    b"php",
    b"php3",
    b"php4",
    b"php5",
    b"php7",
    b"phtml",
    b"phar",
    b"phps",
    b"jsp",
    b"jspx",
    b"jspf",
    b"asp",
    b"aspx",
    b"ashx",
    b"asmx",
    b"asa",
    b"cer",
    b"cgi",
    b"shtml",
    b"htaccess",
    b"cfm",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apostrophe_is_no_quote() {
        let is_one = |name: &str| {
            let (before, behind) = name.split_once('\'').unwrap();
            is_apostrophe(before.as_bytes(), behind.as_bytes())
        };
        for name in [
            "O'Brien.png",
            "l'image.png",
            "mum's.jpg",
            "Chris' cv.pdf",
            "D'Arcy",
            "we'll see",
            "Gda\u{144}sk'Eins",
            "aujourd'\u{fa}",
        ] {
            assert!(is_one(name), "{name}");
        }
        for name in ["te'st.txt", "'a.txt", "a.txt'", "1'or'1", "a '", "x'='x", "report.'php", "abc'union"] {
            assert!(!is_one(name), "{name}");
        }
    }
}
