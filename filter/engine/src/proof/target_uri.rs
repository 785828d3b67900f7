//! The URI that a request is for, in the one spelling that two equal URIs share (RFC 3986, sections 6.2.2 and 6.2.3).

use std::fmt;

use crate::http::RequestHead;
use crate::http::authority::host_of;
use crate::http::bytes::{UNRESERVED, escaped_byte, push_escape};

/// An absolute `http` or `https` URI without query and fragment, normalised.
///
/// Scheme and host are in lower case, the scheme's own port is left out, escapes of unreserved characters are undone and
/// the others in upper case, dot segments are removed, and an empty path is `/`.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUri(String);

impl TargetUri {
    /// The URI that a client wrote down, such as `htu`; its query and fragment are ignored (RFC 9449, section 4.3).
    ///
    /// `None` for what is no such URI: another scheme, user information, a host that
    /// [`RequestHead`] would refuse, an incomplete escape, white space or non-ASCII characters.
    pub fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let rest = rest.split(['?', '#']).next()?;
        let path_at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(path_at)?;
        Self::of_parts(scheme, authority, path)
    }

    /// The URI of a request as it reached the proxy.
    pub fn of_request(head: &RequestHead) -> Option<Self> {
        let scheme = if head.is_https() { "https" } else { "http" };
        let target = str::from_utf8(head.target()).ok()?;
        Self::of_parts(scheme, str::from_utf8(head.authority()).ok()?, target.split(['?', '#']).next()?)
    }

    /// The URI of a request by its parts; `path` without query.
    pub fn of_parts(scheme: &str, authority: &str, path: &str) -> Option<Self> {
        let own_port = match () {
            () if scheme.eq_ignore_ascii_case("https") => 443,
            () if scheme.eq_ignore_ascii_case("http") => 80,
            () => return None,
        };
        let (host, port) = split_port(authority)?;
        let mut uri = scheme.to_ascii_lowercase();
        uri.push_str("://");
        uri.push_str(&host_of(host.as_bytes())?);
        if let Some(port) = port.filter(|port| *port != own_port) {
            uri.push_str(&format!(":{port}"));
        }
        uri.push_str(&without_dot_segments(&with_plain_escapes(path)?)?);
        Some(Self(uri))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TargetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetUri({:?})", self.0)
    }
}

/// Host and port; an empty port is none (RFC 3986, 6.2.3).
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let is_address = host.starts_with('[') && host.ends_with(']');
    if !is_address && host.contains(':') {
        return None;
    }
    // `parse` would take a sign, hence the look at each byte.
    match port {
        "" => Some((host, None)),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some((host, Some(digits.parse().ok()?))),
        _ => None,
    }
}

/// Escapes of unreserved characters undone, all others in upper case (RFC 3986, 6.2.2.1 and 6.2.2.2).
fn with_plain_escapes(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => match escaped_byte(bytes.next(), bytes.next())? {
                plain if UNRESERVED.has(plain) => out.push(char::from(plain)),
                other => push_escape(&mut out, other),
            },
            0x21..=0x7e => out.push(char::from(byte)),
            _ => return None,
        }
    }
    Some(out)
}

/// RFC 3986, 5.2.4, for a path that is empty or begins with a slash.
fn without_dot_segments(path: &str) -> Option<String> {
    if path.is_empty() {
        return Some("/".to_owned());
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment == ".." {
            kept.pop();
        }
        match segment {
            // A dot segment at the end leaves its slash.
            "." | ".." if is_last => kept.push(""),
            "." | ".." => {}
            other => kept.push(other),
        }
    }
    Some(format!("/{}", kept.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;
    use proptest::prelude::*;

    fn normal(uri: &str) -> Option<String> {
        TargetUri::parse(uri).map(|uri| uri.0)
    }

    #[test]
    fn equal_uris_have_one_spelling() {
        for uri in [
            "https://a.example/b/c",
            "HTTPS://A.Example/b/c",
            "https://a.example:443/b/c",
            "https://a.example:0443/b/c",
            "https://a.example:/b/c",
            "https://a.example./b/c",
            "https://a.example/%62/c",
            "https://a.example/b/c?x=/y#z",
            "https://a.example/b/c#?",
            "https://a.example/x/../b/./c",
            "https://a.example/%2e%2E/b/c",
        ] {
            assert_eq!(normal(uri).as_deref(), Some("https://a.example/b/c"), "{uri}");
        }
        assert_eq!(normal("https://a.example").unwrap(), "https://a.example/");
        assert_eq!(normal("https://a.example?q").unwrap(), "https://a.example/");
        assert_eq!(normal("http://[0:0::1]:080/%3a%2f").unwrap(), "http://[::1]/%3A%2F");
        assert_eq!(normal("https://a.example/b/..").unwrap(), "https://a.example/");
        assert_eq!(normal("https://a.example/b/.").unwrap(), "https://a.example/b/");
    }

    #[test]
    fn different_uris_stay_different() {
        let uri = normal("https://a.example/b").unwrap();
        for other in [
            "http://a.example/b",
            "https://b.example/b",
            "https://a.example:8443/b",
            "https://a.example:80/b",
            "https://a.example/B",
            "https://a.example/b/",
            "https://a.example//b",
            "https://a.example/b%2F",
            "https://a.example/b%3Fx",
            "https://a.example/",
        ] {
            assert_ne!(normal(other).unwrap(), uri, "{other}");
        }
    }

    #[test]
    fn what_is_no_plain_http_uri_is_refused() {
        for uri in [
            "",
            "/b",
            "//a.example/b",
            "a.example/b",
            "ftp://a.example/b",
            "https:/a.example/b",
            "https:///b",
            "https://user@a.example/b",
            "https://a.example:x/b",
            "https://a.example:+443/b",
            "https://a.example:65536/b",
            "https://a.example:1:2/b",
            "https://a.example:1:/b",
            "https://[::1]:80:/b",
            "https://[::1/b",
            "https://a b/",
            "https://a.example/b c",
            "https://a.example/\u{e9}",
            "https://a.example/%",
            "https://a.example/%4",
            "https://a.example/%zz",
            "https://a%2eexample/b",
            " https://a.example/b",
            "https://a.example/b\n",
            "https://a.example\\b",
        ] {
            assert_eq!(normal(uri), None, "{uri:?}");
        }
    }

    #[test]
    fn a_request_has_the_uri_that_its_client_wrote() {
        let pairs = [
            (":method", &b"GET"[..]),
            (":scheme", b"https"),
            (":authority", b"API.example:443"),
            (":path", b"/orders/7?page=2"),
        ];
        let head = RequestHead::parse(Headers::from_pairs(&pairs).unwrap()).unwrap();
        assert_eq!(TargetUri::of_request(&head), TargetUri::parse("https://api.example/orders/7"));
    }

    proptest! {
        #[test]
        fn a_normal_uri_is_its_own_normal_form(uri in "https?://[a-z.:\\[\\]0-9]{1,8}(/[a-z.%2-9]{0,6}){0,4}") {
            if let Some(once) = normal(&uri) {
                prop_assert_eq!(normal(&once), Some(once.clone()));
            }
        }

        #[test]
        fn no_text_makes_it_panic(uri in "\\PC{0,40}") {
            let _ = TargetUri::parse(&uri);
            let _ = TargetUri::of_parts("http", &uri, &uri);
        }
    }
}
