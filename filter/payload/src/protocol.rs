//! What the head and the framing of a request say: only signs that no honest client gives.

use crate::arguments::Request;
use crate::bytes::{at, contains, part, rest, trimmed};
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
    for &(name, value) in request.headers {
        header(name, value, inspection);
    }
}

/// Judges what the head says of the body.
pub fn judge_body(request: &Request<'_>, inspection: &mut Inspection<'_>) {
    if request.body.is_empty() {
        return;
    }
    let source = Source { place: Place::Header, name: b"content-type" };
    match request.header(b"content-type") {
        None => inspection.note(id::PROTOCOL_BODY_WITHOUT_TYPE, source, b""),
        Some(kind) => {
            let form = kind.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded");
            if request.method == b"GET" && form {
                inspection.note(id::PROTOCOL_FORM_IN_GET, source, kind);
            }
        }
    }
}

const METHODS: &[&[u8]] = &[b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"];

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
        let boundary =
            parameters.split(|&b| b == b';').find_map(|p| trimmed(p).strip_prefix(b"boundary=")).unwrap_or_default();
        // Readers differ about which of two is meant, and about the forms of RFC 2231.
        let names = || parameters.split(|&b| b == b';').map(trimmed).filter(|p| p.starts_with(b"boundary"));
        let known = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=?\" ".contains(b);
        let usual = [&b"form-data"[..], b"mixed", b"related", b"alternative", b"byteranges"];
        if !usual.contains(&part(kind, 10, kind.len()))
            || boundary.is_empty()
            || names().count() > 1
            || boundary.len() > 74
            || boundary.first() == Some(&b' ')
            || !boundary.iter().all(known)
        {
            inspection.note(id::PROTOCOL_CONTENT_TYPE, source, value);
        }
    }
    let charsets = parameters.split(|&b| b == b';').filter_map(|p| trimmed(p).strip_prefix(b"charset="));
    let mut count = 0;
    for charset in charsets {
        count += 1;
        if !is_known_charset(charset) {
            inspection.note(id::PROTOCOL_CHARSET, source, value);
        }
    }
    if count > 1 {
        inspection.note(id::PROTOCOL_CHARSET, source, value);
    }
    if contains(parameters, b"application/") || contains(parameters, b"text/") || contains(parameters, b"multipart/") {
        inspection.note(id::PROTOCOL_SECOND_CONTENT_TYPE, source, value);
    }
}

/// Whether text of a character set is what it looks like to a filter.
pub fn is_known_charset(name: &[u8]) -> bool {
    let name: Vec<u8> = name.iter().filter(|b| !matches!(b, b'"' | b'\'')).map(u8::to_ascii_lowercase).collect();
    CHARSETS.contains(&trimmed(&name))
}

const CHARSETS: &[&[u8]] = &[b"utf-8", b"utf8", b"iso-8859-1", b"iso-8859-15", b"windows-1252", b"us-ascii"];

fn header(name: &[u8], value: &[u8], inspection: &mut Inspection<'_>) {
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
        b"content-range" => id::PROTOCOL_RANGES,
        // No client of an API has a use for them: httpoxy, WebDAV, headers that other gateways take for their own.
        b"proxy" | b"lock-token" | b"if" | b"x-middleware-subrequest" | b"x-original-url" | b"x-rewrite-url" => {
            id::PROTOCOL_FORBIDDEN_HEADER
        }
        _ => return,
    };
    inspection.note(rule, source, value);
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

/// Judges a header of a part of a multipart body.
pub fn part_header(name: &[u8], value: &[u8], inspection: &mut Inspection<'_>) {
    let source = Source { place: Place::Header, name };
    const KNOWN: &[&[u8]] = &[
        b"content-disposition",
        b"content-type",
        b"content-transfer-encoding",
        b"content-id",
        b"content-length",
        b"content-description",
    ];
    if name.is_empty() {
        return;
    }
    if !KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        inspection.note(id::PROTOCOL_PART_HEADER, source, name);
    } else if name.eq_ignore_ascii_case(b"content-type") {
        content_type(value, inspection);
    } else if name.eq_ignore_ascii_case(b"content-transfer-encoding")
        && !value.eq_ignore_ascii_case(b"binary")
        && !value.eq_ignore_ascii_case(b"8bit")
    {
        inspection.note(id::PROTOCOL_PART_ENCODING, source, value);
    }
}

/// Judges the file name of an upload.
pub fn file_name(name: &[u8], file: &[u8], inspection: &mut Inspection<'_>) {
    let source = Source { place: Place::Upload, name };
    let odd = |text: &[u8]| text.iter().any(|&b| matches!(b, b'"' | b'\'' | b';' | b'=' | b'\\') || b < b' ');
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
