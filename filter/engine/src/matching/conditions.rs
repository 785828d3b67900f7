//! What a rule may ask of a request beside its path pattern: a regular expression, hosts, methods, headers.

use std::fmt;

use portcullis_pattern::Pattern;

use super::pattern_error::PatternError;
use crate::http::{Headers, Method, RequestPath};

/// A regular expression over the whole path in its one form (without the query), matched in linear time.
///
/// Escapes are as the path's form has them: `é` is `%C3%A9`.
#[derive(Clone)]
pub struct PathRegex(Pattern);

impl PathRegex {
    /// Compiles `source`; the whole path must match, so `^` and `$` are not needed.
    ///
    /// # Errors
    /// [`PatternError::Regex`] with what is wrong, also for an expression that compiles to more than 256 KiB.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        let compiled = Pattern::of_whole_text(source);
        compiled.map(Self).map_err(|error| PatternError::Regex(error.into()))
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        self.0.source()
    }

    /// Whether the whole of `path` matches. The asterisk form never does.
    pub fn matches(&self, path: &RequestPath<'_>) -> bool {
        let path = if path.is_asterisk() { "" } else { path.as_str() };
        !path.is_empty() && self.0.is_match(path.as_bytes())
    }
}

impl fmt::Debug for PathRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A host as a rule names it: `api.example.com`, or `*.example.com` for every name below, at any depth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host, in lower case.
    Exact(Box<str>),
    /// Every host that ends with this text, which begins with a dot.
    Below(Box<str>),
}

impl HostPattern {
    /// Reads a host pattern; case is ignored.
    ///
    /// # Errors
    /// [`PatternError::Host`] for a port, a scheme, or a `*` that is not the whole first label.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let lower = pattern.to_ascii_lowercase();
        let (name, below) = lower.strip_prefix("*.").map_or((lower.as_str(), false), |name| (name, true));
        // The same reader as for requests: what it changes, no request's host can be.
        let readable = crate::http::authority::host_of(name.as_bytes()).is_some_and(|host| *host == *name);
        let bracketed = name.starts_with('[');
        if !readable || name.ends_with('.') || (below && bracketed) {
            return Err(PatternError::Host(pattern.into()));
        }
        Ok(if below { Self::Below(format!(".{name}").into()) } else { Self::Exact(name.into()) })
    }

    /// Whether `host`, in lower case and without port, is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }

    /// Whether every host that `other` means is meant by this pattern too.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (mine, Self::Exact(host)) => mine.matches(host),
            (Self::Below(mine), Self::Below(theirs)) => theirs.ends_with(&**mine),
            (Self::Exact(_), Self::Below(_)) => false,
        }
    }
}

/// What a rule asks of one header. Names compare without case, values byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderCondition {
    /// The header's name.
    pub name: Box<str>,
    /// What its value must be.
    pub value: HeaderValueCondition,
}

/// What a header's value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValueCondition {
    /// Anything: the header stands.
    Present,
    /// Exactly this.
    Exact(Box<[u8]>),
    /// Anything that begins with this.
    Prefix(Box<[u8]>),
}

impl HeaderCondition {
    /// Whether the value matters: then the header must stand on one line.
    pub fn reads_value(&self) -> bool {
        self.value != HeaderValueCondition::Present
    }

    /// Whether `headers` meet the condition. A header on several lines has no value to compare.
    pub fn matches(&self, headers: &Headers) -> bool {
        match &self.value {
            HeaderValueCondition::Present => headers.get_all(&self.name).next().is_some(),
            HeaderValueCondition::Exact(expected) => {
                headers.single(&self.name).is_ok_and(|value| value.is_some_and(|value| *value == **expected))
            }
            HeaderValueCondition::Prefix(prefix) => {
                headers.single(&self.name).is_ok_and(|value| value.is_some_and(|value| value.starts_with(prefix)))
            }
        }
    }

    /// Whether every request that meets `other` meets this condition too.
    pub fn covers(&self, other: &Self) -> bool {
        use HeaderValueCondition::{Exact, Prefix, Present};
        self.name.eq_ignore_ascii_case(&other.name)
            && match (&self.value, &other.value) {
                (Present, _) => true,
                (Exact(mine), Exact(theirs)) => mine == theirs,
                (Prefix(mine), Exact(theirs) | Prefix(theirs)) => theirs.starts_with(mine),
                (Exact(_) | Prefix(_), _) => false,
            }
    }
}

/// The methods that a rule takes, for quick comparison: a bit for each common one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MethodBits(u16);

impl MethodBits {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(0x3ff);

    /// The bit of `method`; all uncommon methods share one.
    pub(super) fn of(method: &Method) -> Self {
        Self(match method {
            Method::Get => 1,
            Method::Head => 1 << 1,
            Method::Post => 1 << 2,
            Method::Put => 1 << 3,
            Method::Delete => 1 << 4,
            Method::Options => 1 << 5,
            Method::Patch => 1 << 6,
            Method::Connect => 1 << 7,
            Method::Trace => 1 << 8,
            Method::Other(_) => 1 << 9,
        })
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex_matches(source: &str, path: &str) -> bool {
        PathRegex::parse(source).unwrap().matches(&RequestPath::parse(path.as_bytes()).unwrap())
    }

    #[test]
    fn a_regular_expression_meets_the_whole_path() {
        assert!(regex_matches("/orders/[0-9]+", "/orders/17"));
        assert!(regex_matches("/a|/b", "/b"));
        for path in ["/orders/17/x", "/x/orders/17", "/orders/"] {
            assert!(!regex_matches("/orders/[0-9]+", path), "{path}");
        }
        assert!(!regex_matches("/a|/b", "/b/c"), "an alternative is anchored too");
        assert!(!regex_matches("(?m)/a$", "/a/b"));
    }

    #[test]
    fn an_expression_cannot_break_out_of_its_anchors() {
        for source in ["a)|(b", "(", "[", "a(?=b)", r"(a)\1", "a{1000}{1000}{1000}", "([a-z/]{0,100}){0,100}"] {
            assert!(PathRegex::parse(source).is_err(), "{source}");
        }
        assert!(regex_matches("(?i)/a", "/A") && !regex_matches("(?i)/a", "/A/"));
        assert!(regex_matches("(?x) /a # note", "/a") && !regex_matches("(?x) /a # note", "/ab"));
    }

    #[test]
    fn a_wildcard_host_means_every_name_below_and_not_the_name_itself() {
        let below = HostPattern::parse("*.Example.com").unwrap();
        assert!(below.matches("a.example.com") && below.matches("a.b.example.com"));
        for other in ["example.com", "aexample.com", ".example.com", "a.example.com.evil", "a.example.org"] {
            assert!(!below.matches(other), "{other}");
        }
        assert!(HostPattern::parse("[::1]").unwrap().matches("[::1]"));
    }

    #[test]
    fn a_host_pattern_that_no_host_can_be_is_refused() {
        for bad in [
            "",
            "*",
            "*.",
            "a.*",
            "a*.b",
            "*a.b",
            "**.b",
            "a:80",
            "http://a",
            "a/b",
            "a.",
            "*.[::1]",
            "a b",
            "é.example",
            "*.a.",
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_header_on_two_lines_has_no_value_to_compare() {
        let headers = Headers::from_pairs(&[("x-v", b"a1"), ("x-v", b"a1"), ("x-w", b"a1")]).unwrap();
        let meets = |name: &str, value| HeaderCondition { name: name.into(), value }.matches(&headers);
        assert!(meets("x-v", HeaderValueCondition::Present));
        assert!(!meets("x-v", HeaderValueCondition::Exact(b"a1"[..].into())));
        assert!(!meets("x-v", HeaderValueCondition::Prefix(b"a"[..].into())));
        assert!(meets("X-W", HeaderValueCondition::Exact(b"a1"[..].into())));
        assert!(meets("x-w", HeaderValueCondition::Prefix(b"a"[..].into())));
        assert!(!meets("x-w", HeaderValueCondition::Exact(b"A1"[..].into())));
        assert!(!meets("x-z", HeaderValueCondition::Present));
    }
}
