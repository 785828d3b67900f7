//! Which parser a body gets: that of its declared type, else the one that its beginning asks for.

use crate::bytes::{at, find, part, rest, trimmed};
use crate::own::Kind;
use crate::verdict::{Place, Source};

use super::duplicates::{self, Part};
use super::{MOST, Request, Values, charset, data, graphql, grpc_web, json, multipart, protobuf, xml};

/// Hands on the values of the body.
pub fn inspect(request: &Request<'_>, values: &mut Values<'_, '_>) {
    let declared = request.header(b"content-type").unwrap_or_default();
    let kind = media_type(declared);
    if kind == b"application/grpc" || kind == b"application/grpc+proto" {
        return protobuf::inspect(request.body, values);
    }
    if kind.starts_with(b"application/grpc-web") && grpc_web::inspect(&kind, request.body, values) {
        return;
    }
    if let Some(data) = data::of(&kind, request.body) {
        if is_protobuf(&kind) && protobuf::is_message(request.body) {
            data::pairs(request.body, Source { place: Place::Text, name: b"" }, values);
            return protobuf::inspect(request.body, values);
        }
        values.own(Kind::Text, b"", request.body);
        return data::inspect(data, request.body, (Place::Text, b""), request.body.len(), values);
    }
    let body = charset::in_utf8(request.body);
    let body = &*body;
    if trimmed(body).is_empty() {
        return;
    }
    let query = Part::Pairs(Place::Query, request.query());
    if kind.starts_with(b"multipart/") {
        let fields = multipart::inspect(declared, body, values);
        return repeated([query, Part::Fields(&fields)], values);
    }
    if kind.ends_with(b"urlencoded") {
        values.pairs(Place::Form, body);
        return repeated([query, Part::Pairs(Place::Form, body)], values);
    }
    // RFC 7464 puts a record separator before each text.
    let start = trimmed(body.strip_prefix(b"\x1e").unwrap_or(body));
    if is_graphql(&kind) || (!is_json(&kind) && graphql::is_document(start)) {
        text(body, values);
        graphql::inspect(body, Source { place: Place::Text, name: b"" }, values);
    } else if is_json(&kind) || matches!(at(start, 0), b'{' | b'[') {
        // What is no JSON is read as one value as well: nobody knows what its reader makes of it.
        if json::inspect(body, values.inspection.known().strings, values) || !matches!(at(start, 0), b'{' | b'[' | b'"')
        {
            text(body, values);
        }
    } else if kind.ends_with(b"xml") {
        xml::inspect(body, values);
    } else if at(start, 0) == b'<' && !kind.starts_with(b"text/html") {
        xml::inspect(body, values);
        text(body, values);
    } else {
        pairs_or_text(body, values, query);
    }
}

/// Fields that the query or the body has named already.
fn repeated(query_and_body: [Part<'_>; 2], values: &mut Values<'_, '_>) {
    let groups = duplicates::groups(&query_and_body, 1);
    duplicates::inspect(&groups, values);
    if values.count <= MOST {
        duplicates::ask_own(&groups, values.inspection);
    }
}

/// Unknown and plain text: pairs if it looks like some, one value in any case.
fn pairs_or_text(body: &[u8], values: &mut Values<'_, '_>, query: Part<'_>) {
    let line = part(body, 0, 4096);
    if find(line, b"=", 0).is_some() && !rest(line, 0).iter().any(|&b| b == b' ' || b == b'\n') {
        values.pairs(Place::Form, body);
        repeated([query, Part::Pairs(Place::Form, body)], values);
    } else {
        text(body, values);
    }
}

/// The body as one value.
pub fn text(body: &[u8], values: &mut Values<'_, '_>) {
    values.own(Kind::Text, b"", body);
    values.give(Place::Text, b"", body);
}

/// A type without its parameters, in lower case.
pub fn media_type(declared: &[u8]) -> Vec<u8> {
    let end = declared.iter().position(|&b| b == b';').unwrap_or(declared.len());
    trimmed(part(declared, 0, end)).to_ascii_lowercase()
}

fn is_protobuf(kind: &[u8]) -> bool {
    [
        &b"application/x-protobuf"[..],
        b"application/protobuf",
        b"application/vnd.google.protobuf",
        b"application/x-google-protobuf",
    ]
    .contains(&kind)
}

/// Whether a type says JSON: one document, or one for each line.
pub fn is_json(kind: &[u8]) -> bool {
    [&b"json"[..], b"jsonl", b"jsonlines", b"json-lines", b"json-seq", b"json5"]
        .iter()
        .any(|known| kind.ends_with(known))
}

fn is_graphql(kind: &[u8]) -> bool {
    kind == b"application/graphql"
}
