//! Finds the one credential in a request: header, cookie or query.

use std::borrow::Cow;

use crate::answer::{Denial, Reason};
use crate::http::query;
use crate::http::{RequestHead, RequestPath};

/// A place where a request may carry a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A header, with the word that must stand before the token.
    Header {
        /// Lower-case name.
        name: String,
        /// The authentication scheme (RFC 9110, 11.1), compared without case. `None`: the value is the token.
        scheme: Option<String>,
    },
    /// A cookie by its name (RFC 6265, 4.2).
    Cookie(String),
    /// A query parameter by its name.
    Query(String),
}

/// The one token among all `sources`.
///
/// # Errors
/// A [`Denial`] if more than one token was sent, or one in a form that its scheme does not allow (RFC 6750, 3.1).
pub fn find<'a>(
    head: &'a RequestHead,
    path: &'a RequestPath<'_>,
    sources: impl Iterator<Item = &'a TokenSource>,
) -> Result<Option<Cow<'a, [u8]>>, Denial> {
    let mut found: Option<(&TokenSource, Cow<'a, [u8]>)> = None;
    for source in sources {
        if found.as_ref().is_some_and(|(earlier, _)| *earlier == source) {
            continue;
        }
        let Some(token) = source.read(head, path)? else { continue };
        if found.is_some() {
            return Err(multiple("tokens in several places"));
        }
        found = Some((source, token));
    }
    Ok(found.map(|(_, token)| token))
}

impl TokenSource {
    fn read<'a>(&self, head: &'a RequestHead, path: &'a RequestPath<'_>) -> Result<Option<Cow<'a, [u8]>>, Denial> {
        let token = match self {
            Self::Header { name, scheme } => from_header(head, name, scheme.as_deref())?.map(Cow::Borrowed),
            Self::Cookie(name) => from_cookies(head, name)?.map(Cow::Borrowed),
            Self::Query(name) => from_query(path, name)?,
        };
        match token {
            Some(token) if token.is_empty() => Err(malformed("an empty token")),
            // The b64token of RFC 6750, 2.1. A comma shows two header lines that the proxy joined.
            Some(token) if token.contains(&b',') => Err(multiple("several tokens in one place")),
            Some(token) if !token.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(b)) => {
                Err(malformed("bytes that no token holds"))
            }
            token => Ok(token),
        }
    }
}

fn malformed(detail: &str) -> Denial {
    Denial::new(Reason::CredentialsMalformed, detail)
}

fn multiple(detail: &str) -> Denial {
    Denial::new(Reason::CredentialsMultiple, detail)
}

fn from_header<'a>(head: &'a RequestHead, name: &str, scheme: Option<&str>) -> Result<Option<&'a [u8]>, Denial> {
    let mut values = head.headers().get_all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(multiple("several header lines"));
    }
    let value = value.trim_ascii();
    let Some(scheme) = scheme else { return Ok(Some(value)) };
    let (word, rest) = match value.iter().position(|b| *b == b' ') {
        Some(space) => value.split_at_checked(space).unwrap_or((value, &[])),
        None => (value, [].as_slice()),
    };
    if !word.eq_ignore_ascii_case(scheme.as_bytes()) {
        // Another scheme is another provider's business.
        return Ok(None);
    }
    Ok(Some(rest.trim_ascii()))
}

fn from_cookies<'a>(head: &'a RequestHead, name: &str) -> Result<Option<&'a [u8]>, Denial> {
    let mut found = None;
    // HTTP/2 may split cookies over several header lines (RFC 9113, 8.2.3).
    let pairs = head.headers().get_all("cookie").flat_map(|line| line.split(|b| *b == b';'));
    for pair in pairs {
        let mut halves = pair.trim_ascii().splitn(2, |b| *b == b'=');
        if halves.next() == Some(name.as_bytes()) {
            let value = halves.next().unwrap_or_default();
            let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
            if found.replace(value).is_some() {
                return Err(multiple("several cookies of one name"));
            }
        }
    }
    Ok(found)
}

fn from_query<'a>(path: &'a RequestPath<'_>, name: &str) -> Result<Option<Cow<'a, [u8]>>, Denial> {
    let mut found = None;
    for (key, value) in query::pairs(path.query().unwrap_or_default()) {
        if query::decode(key).as_ref() == name.as_bytes() && found.replace(query::decode(value)).is_some() {
            return Err(multiple("several query parameters of one name"));
        }
    }
    Ok(found)
}
