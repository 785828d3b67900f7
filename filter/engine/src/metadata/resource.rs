//! The name of a protected resource: a URL that clients compare byte by byte (RFC 9728, sections 1.2, 3 and 3.3).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::http::RequestPath;
use crate::http::authority::host_of;

/// A protected resource's identifier, in the one spelling that every reader keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResourceId {
    url: String,
    /// Where the path begins, behind the authority.
    path_at: usize,
}

/// Why a URL does not name a resource (or an issuer).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceIdError {
    /// Longer than 2048 bytes.
    TooLong,
    /// Not `https://`, in lower case; `http://` is taken for loopback hosts only.
    NotHttps,
    /// It has a fragment (`#`).
    Fragment,
    /// It has a query (`?`), by which the gateway could not find the document.
    Query,
    /// It has user information (`@`).
    UserInfo,
    /// The host is missing, not in lower case, or no host with an optional port.
    Authority,
    /// The path is not in its one form: escapes without need, empty or dot segments, odd bytes.
    Path,
}

impl fmt::Display for ResourceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the URL is longer than 2048 bytes",
            Self::NotHttps => "the URL does not begin with `https://` (`http://` is for loopback hosts only)",
            Self::Fragment => "the URL has a fragment",
            Self::Query => "the URL has a query",
            Self::UserInfo => "the URL has user information",
            Self::Authority => "the URL's host is not a lower-case host with an optional port",
            Self::Path => "the URL's path is not in its plain form",
        })
    }
}

impl std::error::Error for ResourceIdError {}

const MAX_BYTES: usize = 2048;

/// The well-known part (RFC 9728, section 3; RFC 8615).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

impl ResourceId {
    /// Reads a resource's URL.
    ///
    /// Clients compare it byte by byte with what they asked for (section 3.3), so that only the spelling is taken that
    /// their URL parsers leave alone.
    ///
    /// # Errors
    /// [`ResourceIdError`]
    pub fn parse(url: &str) -> Result<Self, ResourceIdError> {
        let path_at = path_start(url)?;
        Ok(Self { url: url.to_owned(), path_at })
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// `host` or `host:port`.
    pub fn authority(&self) -> &str {
        let before_path = self.url.get(..self.path_at).unwrap_or_default();
        before_path.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The resource's own path; empty where the URL has none.
    pub fn path(&self) -> &str {
        self.url.get(self.path_at..).unwrap_or_default()
    }

    /// The path of the metadata document: the well-known part goes between host and path, and a path of `/` alone counts
    /// as none (section 3.1).
    pub fn well_known_path(&self) -> String {
        let path = if self.path() == "/" { "" } else { self.path() };
        format!("{WELL_KNOWN}{path}")
    }

    /// The URL of the metadata document, as a challenge names it (section 5.1).
    pub fn metadata_url(&self) -> String {
        let origin = self.url.get(..self.path_at).unwrap_or_default();
        format!("{origin}{}", self.well_known_path())
    }
}

/// Checks the URL of a resource, an issuer or a key set, and says where its path begins.
pub(super) fn path_start(url: &str) -> Result<usize, ResourceIdError> {
    if url.len() > MAX_BYTES {
        return Err(ResourceIdError::TooLong);
    }
    if url.contains('#') {
        return Err(ResourceIdError::Fragment);
    }
    if url.contains('?') {
        return Err(ResourceIdError::Query);
    }
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(ResourceIdError::NotHttps),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or(ResourceIdError::Authority)?;
    if authority.contains('@') {
        return Err(ResourceIdError::UserInfo);
    }
    let host = host_of(authority.as_bytes()).ok_or(ResourceIdError::Authority)?;
    // The host as we read it must be the host as it stands there: lower case, no final dot, an address in its short form.
    let port = authority.strip_prefix(&*host).ok_or(ResourceIdError::Authority)?;
    if !(port.is_empty() || is_plain_port(port, secure)) {
        return Err(ResourceIdError::Authority);
    }
    if !secure && !is_loopback(&host) {
        return Err(ResourceIdError::NotHttps);
    }
    let plain = path.is_empty() || RequestPath::parse(path.as_bytes()).is_ok_and(|read| read.as_str() == path);
    if plain { Ok(url.len().saturating_sub(path.len())) } else { Err(ResourceIdError::Path) }
}

/// Whether `port` is `:` and a number without leading zeros that is not the scheme's own, which parsers take away.
fn is_plain_port(port: &str, secure: bool) -> bool {
    let own = if secure { 443 } else { 80 };
    port.strip_prefix(':')
        .and_then(|digits| digits.parse::<u16>().ok().filter(|number| number.to_string() == digits))
        .is_some_and(|number| number != 0 && number != own)
}

fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::parse::<Ipv6Addr>);
    host == "localhost"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || address.is_some_and(|address| address.is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(url: &str) -> ResourceId {
        ResourceId::parse(url).unwrap()
    }

    #[test]
    fn the_documents_of_rfc_9728_3_1_are_found() {
        let path = |url| id(url).well_known_path();
        assert_eq!(path("https://resource.example.com"), "/.well-known/oauth-protected-resource");
        assert_eq!(path("https://resource.example.com/"), "/.well-known/oauth-protected-resource");
        assert_eq!(path("https://resource.example.com/resource1"), "/.well-known/oauth-protected-resource/resource1");
        assert_eq!(path("https://api.example:8443/a/b/"), "/.well-known/oauth-protected-resource/a/b/");
    }

    #[test]
    fn the_documents_url_keeps_host_and_port() {
        let url = id("https://resource.example.com:8443/resource1").metadata_url();
        assert_eq!(url, "https://resource.example.com:8443/.well-known/oauth-protected-resource/resource1");
        assert_eq!(
            id("http://[::1]:8080/x").metadata_url(),
            "http://[::1]:8080/.well-known/oauth-protected-resource/x"
        );
        assert_eq!(id("https://api.example:8443/x").authority(), "api.example:8443");
        assert_eq!((id("https://api.example").path(), id("https://api.example/").path()), ("", "/"));
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for url in ["http://localhost", "http://127.0.0.1:8080/x", "http://127.9.9.9", "http://[::1]"] {
            assert!(ResourceId::parse(url).is_ok(), "{url}");
        }
        for url in [
            "http://api.example",
            "http://localhost.example",
            "http://128.0.0.1",
            "http://[::2]",
            "http://127.0.0.1.example",
            "HTTPS://api.example",
            "Https://api.example",
            "ftp://api.example",
            "//api.example",
            "api.example",
            "urn:orders",
            "https:/api.example",
            "",
        ] {
            assert_eq!(ResourceId::parse(url), Err(ResourceIdError::NotHttps), "{url}");
        }
    }

    #[test]
    fn query_fragment_and_user_information_are_refused() {
        for (url, error) in [
            ("https://api.example/#x", ResourceIdError::Fragment),
            ("https://api.example/#", ResourceIdError::Fragment),
            ("https://api.example?x", ResourceIdError::Query),
            ("https://api.example/?", ResourceIdError::Query),
            ("https://user@api.example", ResourceIdError::UserInfo),
            ("https://user:pass@api.example/x", ResourceIdError::UserInfo),
        ] {
            assert_eq!(ResourceId::parse(url), Err(error), "{url}");
        }
    }

    #[test]
    fn a_host_that_parsers_would_write_otherwise_is_refused() {
        for host in [
            "",
            ":8443",
            "API.example",
            "api.example.",
            "api..example",
            "api.example:",
            "api.example:0",
            "api.example:443",
            "api.example:08443",
            "api.example:65536",
            "api.example:+1",
            "api example",
            "ápi.example",
            "[0:0:0:0:0:0:0:1]",
            "[::1",
            "api%2eexample",
            "a,b",
            "a\r\nb",
        ] {
            assert_eq!(ResourceId::parse(&format!("https://{host}/x")), Err(ResourceIdError::Authority), "{host}");
        }
        assert_eq!(ResourceId::parse("http://localhost:80"), Err(ResourceIdError::Authority));
    }

    #[test]
    fn a_path_that_parsers_would_write_otherwise_is_refused() {
        for path in
            ["/a//b", "/a/../b", "/./", "/%61", "/a%2fb", "/a b", "/ä", "/a\\b", "/a;b", "/%zz", "/a\nb", "/\"x"]
        {
            assert_eq!(ResourceId::parse(&format!("https://api.example{path}")), Err(ResourceIdError::Path), "{path}");
        }
        let long = format!("https://api.example/{}", "a".repeat(2048));
        assert_eq!(ResourceId::parse(&long), Err(ResourceIdError::TooLong));
    }

    proptest! {
        #[test]
        fn the_gateway_reads_the_documents_path_as_it_stands(
            url in "https://[a-z.:@\\[\\]0-9]{0,6}[/a-z%.;\"?#é]{0,12}",
        ) {
            if let Ok(id) = ResourceId::parse(&url) {
                let path = id.well_known_path();
                let read = RequestPath::parse(path.as_bytes());
                prop_assert_eq!(read.as_ref().map(RequestPath::as_str), Ok(path.as_str()));
                prop_assert_eq!(format!("https://{}{}", id.authority(), id.path()), url);
            }
        }
    }
}
