//! The values of a whole request: path, query, headers, cookies, body. For a request that is at hand in one piece; what it reads is bounded.

mod body;
mod charset;
mod data;
mod decode;
mod duplicates;
mod graphql;
mod grpc_web;
mod headers;
mod json;
mod multipart;
mod own;
mod pairs;
mod parameters;
mod protobuf;
mod xml;

use crate::bytes::{part, rest, trimmed};
use crate::own::Kind;
use crate::protocol;
use crate::scanner::Inspection;
use crate::verdict::{Limit, Place, Source};

use duplicates::Part;
use headers::{Credentials, HeaderKind};

pub use decode::percent_decoded;
pub use multipart::MOST_PARTS;
pub use pairs::each as each_pair;

/// Values of a request that were checked against a type which leaves no room for an attack: they are not judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Parameters by place and name: of the query, headers (in lower case), cookies, and forms of both kinds.
    pub parameters: &'a [(Place, Vec<u8>)],
    /// The bytes of a JSON body where such strings begin, in ascending order.
    pub strings: &'a [usize],
}

impl Known<'_> {
    fn has(&self, place: Place, name: &[u8]) -> bool {
        self.parameters.iter().any(|(known, known_name)| *known == place && known_name == name)
    }
}

/// A request as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The target: path and query.
    pub target: &'a [u8],
    /// Names and values, in the order in which they came.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// The body, decompressed.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, value)| value)
    }

    /// The target without what a server never sees of it.
    fn whole_target(&self) -> &'a [u8] {
        part(self.target, 0, self.target.iter().position(|&b| b == b'#').unwrap_or(self.target.len()))
    }

    fn path(&self) -> &'a [u8] {
        let target = self.whole_target();
        part(target, 0, target.iter().position(|&b| b == b'?').unwrap_or(target.len()))
    }

    fn query(&self) -> &'a [u8] {
        let target = self.whole_target();
        target.iter().position(|&b| b == b'?').map_or(&[], |mark| rest(target, mark + 1))
    }
}

/// Values of the head, and of the body, that are read at most, names among them. What has more is not half read: [`Limit::Values`].
pub const MOST: usize = 20_000;

/// Hands every value of the request to the inspection.
pub fn inspect(request: &Request<'_>, inspection: &mut Inspection<'_>) {
    let count = inspect_values_of_head(request, inspection);
    inspection.own_value(Kind::RawBody, b"body", request.body);
    body::inspect(request, &mut Values { inspection, count });
    inspection.judge_own();
}

/// Hands the values of the head to the inspection, for a request whose body is still to come.
pub fn inspect_head(request: &Request<'_>, inspection: &mut Inspection<'_>) {
    inspect_values_of_head(request, inspection);
    inspection.judge_own();
}

/// Hands the values of the body to the inspection.
pub fn inspect_body(request: &Request<'_>, inspection: &mut Inspection<'_>) {
    if inspection.settings().protocol {
        protocol::judge_body(request, inspection);
    }
    // Conditions on the head and on the body can belong to one rule.
    own::head(request, inspection);
    inspection.head_is_done();
    inspection.own_value(Kind::RawBody, b"body", request.body);
    body::inspect(request, &mut Values { inspection, count: 0 });
    inspection.judge_own();
}

/// Hands the trailers of a body to the inspection, as the headers that services make of them. What `request` has is its head.
pub fn inspect_trailers(request: &Request<'_>, trailers: &[(&[u8], &[u8])], inspection: &mut Inspection<'_>) {
    if inspection.settings().protocol {
        protocol::judge_headers(trailers, request.method, inspection);
    }
    own::head(request, inspection);
    inspection.head_is_done();
    own::headers(trailers, inspection);
    let mut values = Values { inspection, count: 0 };
    for &(name, value) in trailers {
        values.header(name, value);
    }
    inspection.judge_own();
}

/// Hands on what a compressed body, as it came, holds for a reader of forms.
pub fn inspect_coded(request: &Request<'_>, inspection: &mut Inspection<'_>) {
    let source = Source { place: Place::Form, name: b"" };
    data::pairs(request.body, source, &mut Values { inspection, count: 0 });
}

/// Whether some reader would take bytes for text, by their beginning: for JSON, XML, or a text without encodings that hide it.
#[must_use]
pub fn reads_as_text(bytes: &[u8]) -> bool {
    !data::is_binary(bytes)
}

fn inspect_values_of_head(request: &Request<'_>, inspection: &mut Inspection<'_>) -> usize {
    if inspection.settings().protocol {
        protocol::judge(request, inspection);
    }
    let (path, query) = (request.path(), request.query());
    own::head(request, inspection);
    let mut values = Values { inspection, count: 0 };
    values.give(Place::Path, b"", &percent_decoded(path, false));
    // A segment is a parameter as well: judged on its own if it is more than a word.
    for segment in path
        .split(|&b| b == b'/')
        .filter(|s| s.len() > 15 || !s.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')))
    {
        if segment.len() + 1 < path.len() || path.first() == Some(&b'/') {
            values.give(Place::Path, b"", &percent_decoded(segment, false));
        }
    }
    values.pairs(Place::Query, query);
    duplicates::inspect(&duplicates::groups(&[Part::Pairs(Place::Query, query)], 0), &mut values);
    for &(name, value) in request.headers {
        values.header(name, value);
    }
    values.count
}

/// Counts values, and passes them on.
pub(crate) struct Values<'a, 'b> {
    pub inspection: &'a mut Inspection<'b>,
    pub count: usize,
}

impl Values<'_, '_> {
    pub(crate) fn give(&mut self, place: Place, name: &[u8], value: &[u8]) {
        self.count += 1;
        if self.count <= MOST {
            self.inspection.value(Source { place, name }, value);
        } else if self.count == MOST + 1 {
            self.inspection.exceed(Limit::Values);
        }
    }

    /// A value for an operator's rules, as long as there are not too many of them.
    pub(crate) fn own(&mut self, kind: Kind, name: &[u8], value: &[u8]) {
        if self.count <= MOST {
            self.inspection.own_value(kind, name, value);
        }
    }

    pub(crate) fn pair(&mut self, place: Place, name: &[u8], value: &[u8]) {
        self.give(Place::Name, name, name);
        // Those of the query were asked about with the head.
        if place == Place::Form {
            self.own(Kind::BodyName, name, name);
            self.own(Kind::Form, name, value);
        }
        if !self.inspection.known().has(place, name) {
            self.give(place, name, value);
            self.inside(place, name, value);
        }
    }

    /// What GraphQL over HTTP puts into parameters: a document, and JSON beside it.
    fn inside(&mut self, place: Place, name: &[u8], value: &[u8]) {
        if name == b"query" && graphql::is_document(value) {
            graphql::inspect(value, Source { place, name }, self);
        } else if matches!(name, b"variables" | b"extensions" | b"operations")
            && matches!(trimmed(value).first(), Some(b'{' | b'['))
        {
            // What is no JSON in it was judged with the whole.
            let _ = json::inspect(value, &[], self);
        }
    }

    /// The pairs of a query or a form. Where a name is none, the whole is also judged in one piece: `&` and `=` were part of it.
    pub(crate) fn pairs(&mut self, place: Place, text: &[u8]) {
        let mut odd = false;
        pairs::each(text, b'&', true, |name, value| {
            odd |= name.iter().any(|b| {
                matches!(
                    b,
                    b'<' | b'>' | b'"' | b'\'' | b'(' | b';' | b'#' | b'`' | b'!' | b'/' | b'|' | b'&' | b'{' | b','
                )
            });
            self.pair(place, name, value);
        });
        if odd {
            self.give(place, b"", &percent_decoded(text, true));
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        if self.inspection.known().has(Place::Header, name) {
            return;
        }
        match headers::kind(name) {
            HeaderKind::Cookie => {
                pairs::each(value, b';', false, |name, value| {
                    // Cookies have no encoding of their own; most applications decode percent signs.
                    self.give(Place::Cookie, name, name);
                    if !self.inspection.known().has(Place::Cookie, name) {
                        self.give(Place::Cookie, name, value);
                    }
                });
                duplicates::inspect(&duplicates::groups(&[Part::Pairs(Place::Cookie, value)], 0), self);
            }
            HeaderKind::UserAgent => self.give(Place::UserAgent, name, value),
            HeaderKind::Referer => self.give(Place::Referer, name, &percent_decoded(value, false)),
            HeaderKind::Credentials => match headers::credentials(value) {
                Credentials::Token => {}
                Credentials::User(user) => self.give(Place::Header, name, &user),
                Credentials::Text(text) => self.give(Place::Header, name, text),
            },
            HeaderKind::Formal(form) if form.fits(value) => {}
            HeaderKind::Formal(_) | HeaderKind::Other => self.give(Place::Header, name, trimmed(value)),
        }
    }
}
