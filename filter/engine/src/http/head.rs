//! The request head: pseudo-headers and header bytes, checked once.

use std::borrow::Cow;
use std::fmt;

use crate::answer::Reason;

use super::authority::host_of;
use super::bytes::{TOKEN, has_control_byte};
use super::headers::Headers;
use super::method::Method;

/// So much of a header's name is kept for the log.
const MAX_LOGGED_NAME: usize = 64;

/// The head of a request whose pseudo-headers stand once and are valid, and whose header bytes are clean.
#[derive(Debug, Clone)]
pub struct RequestHead {
    headers: Headers,
    method: Method,
    https: bool,
    host: Box<str>,
}

impl RequestHead {
    /// Checks `headers` and takes them over.
    ///
    /// # Errors
    /// [`HeadError`] names the first violation of RFC 9110, section 5 and 9.1, or RFC 9113, section 8.3.1.
    pub fn parse(headers: Headers) -> Result<Self, HeadError> {
        let lines = SingleLines::read(&headers)?;
        let method = Method::parse(required(":method", lines.method)?).map_err(|_| HeadError::Method)?;
        required(":path", lines.path)?;
        let scheme = required(":scheme", lines.scheme)?;
        let https = scheme.eq_ignore_ascii_case(b"https");
        if !https && !scheme.eq_ignore_ascii_case(b"http") {
            return Err(HeadError::Scheme);
        }
        let authority = required(":authority", lines.authority)?;
        let host = host_of(authority).ok_or(HeadError::Authority)?;
        if lines.host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)) {
            return Err(HeadError::HostMismatch);
        }
        Ok(Self { headers, method, https, host })
    }

    /// The same head with another method: what a preflight announces. Its header lines stay, `:method` among them.
    #[must_use]
    pub fn with_method(&self, method: Method) -> Self {
        Self { method, ..self.clone() }
    }

    /// All header lines, pseudo-headers included.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The request method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Whether the client came by TLS, as the proxy says.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The request target as it was sent: what [`RequestPath`](super::path::RequestPath) reads.
    pub fn target(&self) -> &[u8] {
        self.headers.get_all(":path").next().unwrap_or_default()
    }

    /// The query as it was sent, without its `?`; `None` where the target has none.
    pub fn query(&self) -> Option<&[u8]> {
        split_query(self.target()).1
    }

    /// The authority as it was sent, with its port.
    pub fn authority(&self) -> &[u8] {
        self.headers.get_all(":authority").next().unwrap_or_default()
    }

    /// The host in lower case, without port and without a final dot; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// Why a request head is refused, always with status 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadError {
    /// A required pseudo-header does not stand, or is empty.
    Missing {
        /// The pseudo-header.
        name: &'static str,
    },
    /// A header or pseudo-header with one value stands on several lines.
    Repeated {
        /// The header.
        name: &'static str,
    },
    /// A pseudo-header that no request has (RFC 9113, section 8.3).
    UnknownPseudoHeader,
    /// The method is not a token (RFC 9110, section 9.1).
    Method,
    /// The scheme is neither `http` nor `https`.
    Scheme,
    /// The authority is not a host name or address with an optional port.
    Authority,
    /// The `host` header names another host than the authority.
    HostMismatch,
    /// A header's name is not a token (RFC 9110, section 5.1).
    HeaderName,
    /// A header's value has NUL, CR, LF or another control byte (RFC 9110, section 5.5).
    HeaderValue {
        /// The beginning of the header's name, a token, for the log.
        name: Box<str>,
    },
}

impl HeadError {
    /// The reason that logs, counters and the client get.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Missing { .. } | Self::UnknownPseudoHeader | Self::Method | Self::Scheme => Reason::RequestMalformed,
            Self::Repeated { .. } => Reason::HeaderRepeated,
            Self::Authority => Reason::AuthorityMalformed,
            Self::HostMismatch => Reason::HostMismatch,
            Self::HeaderName | Self::HeaderValue { .. } => Reason::HeaderMalformed,
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason().description())?;
        match self {
            Self::Missing { name } | Self::Repeated { name } => write!(f, ": {name}"),
            Self::HeaderValue { name } => write!(f, ": {name}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for HeadError {}

/// A target's path, and its query where it has one.
pub(super) fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = target.splitn(2, |&byte| byte == b'?');
    (parts.next().unwrap_or_default(), parts.next())
}

/// The headers with one value by definition: on two lines, two readers could take different ones.
#[derive(Default)]
struct SingleLines<'a> {
    method: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    protocol: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    authorization: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    dpop: Option<&'a [u8]>,
}

impl<'a> SingleLines<'a> {
    /// Checks every line in one pass, and finds the single ones.
    fn read(headers: &'a Headers) -> Result<Self, HeadError> {
        let mut lines = Self::default();
        for (name, value) in headers.iter() {
            // Envoy gives names in lower case; another host may not.
            let has_capital = name.iter().fold(false, |found, byte| found | byte.is_ascii_uppercase());
            let name = if has_capital { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) };
            lines.keep(&name, value)?;
            if has_control_byte(value) {
                let name = name.iter().take(MAX_LOGGED_NAME).copied().map(char::from).collect::<String>();
                return Err(HeadError::HeaderValue { name: name.into() });
            }
        }
        Ok(lines)
    }

    fn keep(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), HeadError> {
        let (name, line) = match name {
            b":method" => (":method", &mut self.method),
            b":path" => (":path", &mut self.path),
            b":scheme" => (":scheme", &mut self.scheme),
            b":authority" => (":authority", &mut self.authority),
            b":protocol" => (":protocol", &mut self.protocol),
            b"host" => ("host", &mut self.host),
            b"authorization" => ("authorization", &mut self.authorization),
            b"content-type" => ("content-type", &mut self.content_type),
            b"content-length" => ("content-length", &mut self.content_length),
            b"dpop" => ("dpop", &mut self.dpop),
            [] => return Err(HeadError::HeaderName),
            [b':', ..] => return Err(HeadError::UnknownPseudoHeader),
            other if TOKEN.has_all(other) => return Ok(()),
            _ => return Err(HeadError::HeaderName),
        };
        if line.replace(value).is_some() { Err(HeadError::Repeated { name }) } else { Ok(()) }
    }
}

fn required<'a>(name: &'static str, value: Option<&'a [u8]>) -> Result<&'a [u8], HeadError> {
    value.filter(|value| !value.is_empty()).ok_or(HeadError::Missing { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &[u8]); 4] =
        [(":method", b"GET"), (":path", b"/a?b=c?d"), (":scheme", b"https"), (":authority", b"API.example.com:8443")];

    fn parse(pairs: &[(&str, &[u8])]) -> Result<RequestHead, HeadError> {
        RequestHead::parse(Headers::from_pairs(pairs).unwrap())
    }

    fn with(name: &'static str, value: &[u8]) -> Result<RequestHead, HeadError> {
        let mut pairs: Vec<(&str, &[u8])> = GOOD.iter().copied().filter(|(n, _)| *n != name).collect();
        pairs.push((name, value));
        parse(&pairs)
    }

    fn and(name: &'static str, value: &[u8]) -> Result<RequestHead, HeadError> {
        let mut pairs: Vec<(&str, &[u8])> = GOOD.to_vec();
        pairs.push((name, value));
        parse(&pairs)
    }

    #[test]
    fn a_good_head_gives_its_parts() {
        let head = parse(&GOOD).unwrap();
        assert_eq!(head.method(), &Method::Get);
        assert_eq!(head.target(), b"/a?b=c?d");
        assert_eq!(head.query(), Some(&b"b=c?d"[..]));
        assert_eq!(head.host(), "api.example.com");
        assert_eq!(head.authority(), b"API.example.com:8443");
        assert!(head.is_https());
    }

    #[test]
    fn each_pseudo_header_must_stand_once_and_hold_something() {
        for (name, value) in GOOD {
            let without: Vec<_> = GOOD.iter().copied().filter(|(n, _)| *n != name).collect();
            assert_eq!(parse(&without).unwrap_err(), HeadError::Missing { name });
            assert_eq!(with(name, b"").unwrap_err(), HeadError::Missing { name });
            assert_eq!(and(name, value).unwrap_err(), HeadError::Repeated { name });
        }
    }

    #[test]
    fn an_unknown_pseudo_header_is_refused() {
        assert_eq!(and(":status", b"200").unwrap_err(), HeadError::UnknownPseudoHeader);
        assert_eq!(and(":", b"").unwrap_err(), HeadError::UnknownPseudoHeader);
        assert_eq!(and(":Path", b"/b").unwrap_err(), HeadError::Repeated { name: ":path" });
    }

    #[test]
    fn a_method_with_a_space_a_strange_scheme_and_two_hosts_are_refused() {
        assert_eq!(with(":method", b"GET /x").unwrap_err(), HeadError::Method);
        assert_eq!(with(":scheme", b"ftp").unwrap_err(), HeadError::Scheme);
        assert_eq!(with(":scheme", b"https://x").unwrap_err(), HeadError::Scheme);
        assert_eq!(with(":authority", b"a.example,b.example").unwrap_err(), HeadError::Authority);
    }

    #[test]
    fn a_host_header_must_agree_with_the_authority() {
        assert!(and("host", b"api.example.com:8443").is_ok());
        for other in [&b"evil.example"[..], b"api.example.com", b"", b"api.example.com.:8443"] {
            assert_eq!(and("host", other).unwrap_err(), HeadError::HostMismatch);
        }
    }

    #[test]
    fn control_bytes_in_a_value_are_refused_but_a_tab_and_high_bytes_are_not() {
        for byte in (0..=255_u8).filter(|b| *b < 0x20 && *b != b'\t' || *b == 0x7f) {
            let error = and("x-a", &[b'a', byte, b'b']).unwrap_err();
            assert_eq!(
                (error.reason(), error),
                (Reason::HeaderMalformed, HeadError::HeaderValue { name: "x-a".into() })
            );
        }
        assert!(and("x-a", b"a\tb\xff").is_ok());
        assert_eq!(with(":path", b"/a\0").unwrap_err().reason(), Reason::HeaderMalformed);
    }

    #[test]
    fn a_header_name_is_a_token() {
        for bad in ["", "a b", "a:b", "a\0", "caf\u{e9}", "a(b)"] {
            let mut pairs = GOOD.to_vec();
            pairs.push((bad, b"x"));
            assert_eq!(parse(&pairs).unwrap_err(), HeadError::HeaderName, "{bad:?}");
        }
    }

    #[test]
    fn a_header_with_one_value_stands_on_one_line() {
        let mut pairs = GOOD.to_vec();
        pairs.extend([("authorization", &b"Bearer a"[..]), ("Authorization", b"Bearer b")]);
        assert_eq!(parse(&pairs).unwrap_err(), HeadError::Repeated { name: "authorization" });
    }
}
