//! The values of the head for an operator's rules: all of them, also what the built-in rules leave to other checks.

use crate::bytes::{part, rest, trimmed};
use crate::own::Kind;
use crate::scanner::Inspection;
use crate::verdict::{Limit, Place};

use super::duplicates::{self, Part};
use super::{MOST, Request, pairs, percent_decoded};

/// Hands on method, target, headers and cookies.
pub fn head(request: &Request<'_>, inspection: &mut Inspection<'_>) {
    if inspection.settings().own.is_empty() {
        return;
    }
    inspection.own_value(Kind::Method, b"method", request.method);
    inspection.own_value(Kind::Uri, b"uri", request.target);
    let target = part(request.target, 0, request.target.iter().position(|&b| b == b'#').unwrap_or(usize::MAX));
    let mark = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
    let query = rest(target, mark + 1);
    inspection.own_value(Kind::Path, b"path", &percent_decoded(part(target, 0, mark), false));
    inspection.own_value(Kind::QueryString, b"query", query);
    let mut count = 0;
    pairs::each(query, b'&', true, |name, value| {
        count += 1;
        if count <= MOST {
            inspection.own_value(Kind::QueryName, name, name);
            inspection.own_value(Kind::Query, name, value);
        }
    });
    count += headers(request.headers, inspection);
    if count <= MOST {
        let cookies = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"));
        let cookies: Vec<Part<'_>> = cookies.map(|(_, value)| Part::Pairs(Place::Cookie, value)).collect();
        for parts in [&[Part::Pairs(Place::Query, query)][..], &cookies] {
            duplicates::ask_own(&duplicates::groups(parts, 0), inspection);
        }
    } else {
        inspection.exceed(Limit::Values);
    }
}

/// Hands on headers and cookies. Gives the number of cookies.
pub fn headers(headers: &[(&[u8], &[u8])], inspection: &mut Inspection<'_>) -> usize {
    let mut count = 0;
    if inspection.settings().own.is_empty() {
        return count;
    }
    for &(name, value) in headers {
        // HTTP/2's word for `host`, and the proxy's.
        let name = if name == b":authority" { b"host" } else { name };
        inspection.own_value(Kind::HeaderName, name, name);
        inspection.own_value(Kind::Header, name, trimmed(value));
        if name.eq_ignore_ascii_case(b"cookie") {
            pairs::each(value, b';', false, |name, value| {
                count += 1;
                if count <= MOST {
                    inspection.own_value(Kind::CookieName, name, name);
                    inspection.own_value(Kind::Cookie, name, value);
                }
            });
        }
    }
    count
}
