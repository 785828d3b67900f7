//! An origin as the configuration names it, and as browsers send it (WHATWG HTML, 7.1.1; RFC 6454, 6.2).

/// The origins that one entry means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// Every origin.
    Any,
    /// The opaque origin of sandboxed frames and local files. Anybody can have it.
    Null,
    /// This one.
    Exact(String),
    /// Every name below one: `scheme://`, then one label or more, then this.
    Below {
        /// The scheme with `://`.
        scheme: String,
        /// `.example.com`, with a port where it has one.
        suffix: String,
    },
}

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginError {
    /// There is no scheme.
    NoScheme,
    /// There is something behind host and port.
    NotAlone,
    /// Browsers send origins in lower case.
    UpperCase,
    /// Browsers leave the scheme's own port out.
    DefaultPort,
    /// A star is not the whole first label.
    Wildcard,
    /// Scheme, host or port have bytes that they cannot have.
    Malformed,
}

impl OriginError {
    /// What is wrong.
    pub const fn problem(self) -> &'static str {
        match self {
            Self::NoScheme => "is no origin: it has no scheme",
            Self::NotAlone => "is no origin: it has something behind host and port",
            Self::UpperCase => "would never match: browsers send origins in lower case",
            Self::DefaultPort => "would never match: browsers leave out the scheme's own port",
            Self::Wildcard => "has a star that is not the whole first label",
            Self::Malformed => "is no origin",
        }
    }

    /// A way out.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::UpperCase => "write it in lower case",
            Self::DefaultPort => "leave the port out",
            _ => {
                "write `https://app.example.com`, `https://*.example.com`, `null` or `*`; no path, no slash at the end"
            }
        }
    }
}

impl OriginPattern {
    /// Reads an entry of `cors.origins`.
    ///
    /// # Errors
    /// [`OriginError`] for whatever would never match, or match more than it shows.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        match text {
            "*" => return Ok(Self::Any),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::NoScheme)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(OriginError::UpperCase);
        }
        if rest.contains(['/', '?', '#', '@']) {
            return Err(OriginError::NotAlone);
        }
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
            && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
        let (below, host_and_port) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if host_and_port.contains('*') {
            return Err(OriginError::Wildcard);
        }
        let (host, port) = split_port(host_and_port);
        let is_literal = !below && host.starts_with('[') && host.ends_with(']');
        let is_host = if is_literal {
            host.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok()
        } else {
            !host.is_empty() && host.bytes().all(is_name_byte) && !host.starts_with('.') && !host.contains("..")
        };
        let is_port =
            port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port));
        if !is_scheme || !is_host || !is_port {
            return Err(OriginError::Malformed);
        }
        if matches!((scheme, port), ("https", Some("443")) | ("http", Some("80"))) {
            return Err(OriginError::DefaultPort);
        }
        Ok(if below {
            Self::Below { scheme: format!("{scheme}://"), suffix: format!(".{host_and_port}") }
        } else {
            Self::Exact(text.to_owned())
        })
    }

    /// Whether a browser's `Origin` is meant: compared byte by byte (Fetch, 3.2.5).
    pub fn matches(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Null => origin == b"null",
            Self::Exact(text) => origin == text.as_bytes(),
            Self::Below { scheme, suffix } => {
                let rest = origin.strip_prefix(scheme.as_bytes());
                let names = rest.and_then(|rest| rest.strip_suffix(suffix.as_bytes()));
                // Only a name may stand before the suffix: no slash, no port, no user.
                names.is_some_and(|names| {
                    let labels = names.split(|byte| *byte == b'.');
                    labels.into_iter().all(|label| !label.is_empty() && label.iter().copied().all(is_name_byte))
                })
            }
        }
    }
}

/// The port behind the last colon, unless that colon is inside of brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, origin: &str) -> bool {
        OriginPattern::parse(pattern).unwrap().matches(origin.as_bytes())
    }

    #[test]
    fn an_exact_origin_is_that_one_alone() {
        assert!(matches("https://app.example.com", "https://app.example.com"));
        assert!(matches("http://[::1]:3000", "http://[::1]:3000"));
        assert!(matches("capacitor://localhost", "capacitor://localhost"));
        for other in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://app.example.com/",
            "https://App.example.com",
            "https://xapp.example.com",
            "https://app.example.comx",
            "null",
            "*",
            "",
            "https://app.example.com https://evil.example",
        ] {
            assert!(!matches("https://app.example.com", other), "{other}");
        }
    }

    #[test]
    fn a_wildcard_means_names_below_and_nothing_that_only_looks_so() {
        for origin in ["https://a.example.com", "https://a.b.example.com", "https://x-1.example.com"] {
            assert!(matches("https://*.example.com", origin), "{origin}");
        }
        assert!(matches("https://*.example.com:8443", "https://a.example.com:8443"));
        for other in [
            "https://example.com",
            "https://.example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://evilexample.com",
            "https://evil.example/.example.com",
            "https://evil.example?.example.com",
            "https://evil@a.example.com",
            "https://evil.example:1.example.com",
            "https://a..example.com",
            "https://a.example.com.evil.example",
            "https://A.example.com",
            "https://a%2eexample.com",
            "https://a\u{e9}.example.com",
            "null",
            "*",
        ] {
            assert!(!matches("https://*.example.com", other), "{other}");
        }
    }

    #[test]
    fn null_and_star_mean_what_they_say() {
        assert!(matches("null", "null") && !matches("null", "https://a.example"));
        assert!(matches("*", "null") && matches("*", "https://a.example"));
    }

    #[test]
    fn what_would_never_match_is_an_error() {
        for (text, error) in [
            ("app.example.com", OriginError::NoScheme),
            ("https://app.example.com/", OriginError::NotAlone),
            ("https://app.example.com/path", OriginError::NotAlone),
            ("https://user@app.example.com", OriginError::NotAlone),
            ("https://App.example.com", OriginError::UpperCase),
            ("https://app.example.com:443", OriginError::DefaultPort),
            ("http://app.example.com:80", OriginError::DefaultPort),
            ("https://app.*.com", OriginError::Wildcard),
            ("https://*app.example.com", OriginError::Wildcard),
            ("https://*", OriginError::Wildcard),
            ("https://*.", OriginError::Malformed),
            ("https://", OriginError::Malformed),
            ("https://a b", OriginError::Malformed),
            ("https://a:x", OriginError::Malformed),
            ("https://a:0", OriginError::Malformed),
            ("https://a:08443", OriginError::Malformed),
            ("https://[::1", OriginError::Malformed),
            ("://a", OriginError::Malformed),
        ] {
            assert_eq!(OriginPattern::parse(text), Err(error), "{text}");
        }
    }
}
