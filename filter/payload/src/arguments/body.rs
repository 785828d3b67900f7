//! Which parser a body gets.

use crate::bytes::{find, part, rest, trimmed};
use crate::own::Kind;
use crate::verdict::Place;

use super::{Request, Values, json, multipart, xml};

/// Hands on the values of the body.
pub fn inspect(request: &Request<'_>, values: &mut Values<'_, '_>) {
    let body = request.body;
    if trimmed(body).is_empty() {
        return;
    }
    let declared = request.header(b"content-type").unwrap_or_default();
    let kind = trimmed(part(declared, 0, declared.iter().position(|&b| b == b';').unwrap_or(declared.len())))
        .to_ascii_lowercase();
    if kind.starts_with(b"multipart/") {
        let boundary = multipart::parameter(declared, b"boundary").unwrap_or_default();
        return multipart::inspect(boundary, body, values);
    }
    let first = trimmed(body).first().copied().unwrap_or(0);
    if kind.ends_with(b"json")
        || kind.ends_with(b"ndjson")
        || (first == b'{' || first == b'[') && !kind.ends_with(b"urlencoded")
    {
        json::inspect(body, values);
        // A query of GraphQL is a language of its own; its string is judged as one value already.
        if !matches!(first, b'{' | b'[' | b'"') {
            values.own(Kind::Text, b"", body);
            values.give(Place::Text, b"", body);
        }
        return;
    }
    if kind.ends_with(b"urlencoded") {
        values.pairs(Place::Form, body);
        return;
    }
    if kind.ends_with(b"xml") || (first == b'<' && !kind.starts_with(b"text/html")) {
        xml::inspect(body, values);
        return;
    }
    // Unknown and plain text: pairs if it looks like some, one value in any case.
    let line = part(body, 0, 4096);
    if find(line, b"=", 0).is_some() && !rest(line, 0).iter().any(|&b| b == b' ' || b == b'\n') {
        values.pairs(Place::Form, body);
    } else {
        values.own(Kind::Text, b"", body);
        values.give(Place::Text, b"", body);
    }
}
