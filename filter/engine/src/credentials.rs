//! Finds the one credential in a request: header, cookie or query.

use std::borrow::Cow;

use crate::answer::{Denial, Reason};
use crate::engine::HeaderChange;
use crate::http::bytes::ByteSet;
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

/// A token as it was found, not looked at yet.
#[derive(Debug, Clone)]
pub struct Credential<'a> {
    /// The place where it was.
    pub source: &'a TokenSource,
    /// The token.
    pub token: Cow<'a, [u8]>,
}

/// The one token among all `sources`.
///
/// # Errors
/// A [`Denial`] if more than one token was sent, or one in a form that its scheme does not allow (RFC 6750, 3.1).
pub fn find<'a>(
    head: &'a RequestHead,
    path: &'a RequestPath<'_>,
    sources: impl Iterator<Item = &'a TokenSource>,
) -> Result<Option<Credential<'a>>, Denial> {
    let mut found: Option<Credential<'a>> = None;
    for source in sources {
        if found.as_ref().is_some_and(|earlier| earlier.source == source) {
            continue;
        }
        let Some(token) = source.read(head, path)? else { continue };
        if found.is_some() {
            return Err(multiple("tokens in several places"));
        }
        found = Some(Credential { source, token });
    }
    Ok(found)
}

impl Credential<'_> {
    /// The changes that take the token out of the request before it goes on.
    pub fn removal(&self, head: &RequestHead) -> Vec<HeaderChange> {
        match self.source {
            TokenSource::Header { name, scheme } => {
                let mut changes = vec![HeaderChange::Remove(name.clone())];
                // The proof belongs to the token: it is of no use to the service.
                if scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("DPoP")) {
                    changes.push(HeaderChange::Remove("dpop".to_owned()));
                }
                changes
            }
            TokenSource::Cookie(name) => {
                let others: Vec<&[u8]> = cookies(head).filter(|pair| cookie_name(pair) != name.as_bytes()).collect();
                let line = others.join(b"; ".as_slice());
                vec![if line.is_empty() {
                    HeaderChange::Remove("cookie".to_owned())
                } else {
                    HeaderChange::Set("cookie".to_owned(), line)
                }]
            }
            TokenSource::Query(name) => {
                let mut target = head.target().split(|b| *b == b'?').next().unwrap_or_default().to_vec();
                let others = head.query().unwrap_or_default().split(|b| *b == b'&').filter(|pair| {
                    let key = pair.split(|b| *b == b'=').next().unwrap_or_default();
                    query::decode(key).as_ref() != name.as_bytes()
                });
                for (index, pair) in others.enumerate() {
                    target.push(if index == 0 { b'?' } else { b'&' });
                    target.extend_from_slice(pair);
                }
                vec![HeaderChange::Set(":path".to_owned(), target)]
            }
        }
    }
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
            // An API key is of the operator's making.
            Some(token) if matches!(self, Self::Header { scheme: None, .. }) => {
                match token.iter().all(u8::is_ascii_graphic) {
                    true => Ok(Some(token)),
                    false => Err(malformed("bytes that no key holds")),
                }
            }
            // The b64token of RFC 6750, 2.1. A comma shows two header lines that the proxy joined.
            Some(token) if token.contains(&b',') => Err(multiple("several tokens in one place")),
            Some(token) if !B64TOKEN.has_all(&token) => Err(malformed("bytes that no token holds")),
            token => Ok(token),
        }
    }
}

/// The bytes of a b64token.
static B64TOKEN: ByteSet = ByteSet::letters_digits_and(b"-._~+/=");

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
    // Spaces alone stand between scheme and token (RFC 9110, 11.4).
    let start = rest.iter().position(|b| *b != b' ').unwrap_or(rest.len());
    Ok(Some(rest.get(start..).unwrap_or_default()))
}

/// All cookies; HTTP/2 may split them over several header lines (RFC 9113, 8.2.3).
fn cookies(head: &RequestHead) -> impl Iterator<Item = &[u8]> {
    let pairs = head.headers().get_all("cookie").flat_map(|line| line.split(|b| *b == b';'));
    pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn cookie_name(pair: &[u8]) -> &[u8] {
    pair.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii()
}

fn from_cookies<'a>(head: &'a RequestHead, name: &str) -> Result<Option<&'a [u8]>, Denial> {
    let mut found = None;
    for pair in cookies(head).filter(|pair| cookie_name(pair) == name.as_bytes()) {
        let value = pair.splitn(2, |b| *b == b'=').nth(1).unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        if found.replace(value).is_some() {
            return Err(multiple("several cookies of one name"));
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
