//! Path patterns of rules: `/orders/*/items`, `/users/{id}/**`.

use std::borrow::Cow;

use super::pattern_error::PatternError;
use crate::http::path::{PathOptions, RequestPath, decode_segment};

/// A deeper pattern is a mistake, and the index descends one level for each segment.
pub(super) const MAX_SEGMENTS: usize = 64;

/// A path as a rule names it. It is compared with a request's path in its one form, segment by segment.
///
/// `*` stands for one segment that is not empty, `{name}` for the same and captures it, and `**` at the end for the rest,
/// also for none: `/orders/**` matches `/orders`, `/orders/` and all below. Anything else stands for itself; characters
/// that a URL must escape may be written plainly (`/café`) or escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    rest: bool,
    captures: Vec<(usize, Box<str>)>,
}

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// This segment, in the form that request paths have.
    Literal(Box<str>),
    /// Any segment that is not empty.
    Any,
}

impl PathPattern {
    /// Reads a pattern as it stands in a rule's `path`.
    ///
    /// # Errors
    /// [`PatternError`] where no request path could ever match, or where `*`, `**` or `{}` stand in a wrong place.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let body = pattern.strip_prefix('/').ok_or(PatternError::NoLeadingSlash)?;
        if pattern.contains('?') {
            return Err(PatternError::Query);
        }
        let mut parsed = Self { segments: Vec::new(), rest: false, captures: Vec::new() };
        for written in body.split('/') {
            if parsed.rest {
                return Err(PatternError::RestNotLast);
            }
            if parsed.segments.len() >= MAX_SEGMENTS {
                return Err(PatternError::TooManySegments);
            }
            parsed.push(written)?;
        }
        // The literals together must be a path that a request can have; this also sees `//` and `..`.
        let below = if parsed.rest { "/x" } else { "" };
        let sample: String =
            parsed.segments.iter().flat_map(|segment| ["/", segment.sample()]).chain([below]).collect();
        let options = PathOptions { max_bytes: usize::MAX, ..PathOptions::default() };
        RequestPath::parse_with(sample.as_bytes(), &options).map_err(PatternError::Unreachable)?;
        Ok(parsed)
    }

    /// Reads a rule's `prefix`: the path itself and all below, so that `/api` matches `/api/x` and never `/apix`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); also where the prefix ends with a slash or with `**`.
    pub fn parse_prefix(prefix: &str) -> Result<Self, PatternError> {
        if prefix == "/" {
            return Ok(Self { segments: Vec::new(), rest: true, captures: Vec::new() });
        }
        if prefix.ends_with('/') || prefix.ends_with("/**") {
            return Err(PatternError::PrefixEnd);
        }
        Ok(Self { rest: true, ..Self::parse(prefix)? })
    }

    /// Whether `path` matches, and nothing else is asked. The index gives the same answer faster.
    pub fn matches(&self, path: &RequestPath<'_>) -> bool {
        if path.is_asterisk() {
            return false;
        }
        let mut segments = path.segments();
        let matched = self.segments.iter().all(|expected| segments.next().is_some_and(|found| expected.matches(found)));
        matched && (self.rest || segments.next().is_none())
    }

    /// The names in braces, from left to right.
    pub fn capture_names(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|(_, name)| &**name)
    }

    /// What the names in braces stand for in a `path` that matches, decoded.
    pub fn captures<'a>(&'a self, path: &'a RequestPath<'_>) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let mut segments = path.segments().enumerate();
        self.captures.iter().filter_map(move |(position, name)| {
            let (_, segment) = segments.find(|(at, _)| at == position)?;
            Some((&**name, decode_segment(segment)))
        })
    }

    /// Whether every path that `other` matches is matched by this pattern too. Exact: never a wrong yes or no.
    pub fn covers(&self, other: &Self) -> bool {
        let enough = if self.rest { other.segments.len() >= self.segments.len() } else { other.has_length_of(self) };
        enough && self.segments.iter().zip(&other.segments).all(|(mine, theirs)| mine.covers(theirs))
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) fn has_rest(&self) -> bool {
        self.rest
    }

    fn has_length_of(&self, other: &Self) -> bool {
        !self.rest && self.segments.len() == other.segments.len()
    }

    fn push(&mut self, written: &str) -> Result<(), PatternError> {
        let braced = written.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match (written, braced) {
            ("**", _) => self.rest = true,
            ("*", _) => self.segments.push(Segment::Any),
            (_, Some(name)) => {
                if !is_capture_name(name) {
                    return Err(PatternError::CaptureName(name.into()));
                }
                if self.capture_names().any(|known| known == name) {
                    return Err(PatternError::RepeatedCapture(name.into()));
                }
                self.captures.push((self.segments.len(), name.into()));
                self.segments.push(Segment::Any);
            }
            _ if written.contains(['*', '{', '}']) => return Err(PatternError::PartOfSegment(written.into())),
            _ => self.segments.push(Segment::Literal(literal_form(written)?)),
        }
        Ok(())
    }
}

impl Segment {
    fn matches(&self, found: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *found,
            Self::Any => !found.is_empty(),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Any, Self::Literal(literal)) => !literal.is_empty(),
            (Self::Literal(mine), Self::Literal(theirs)) => mine == theirs,
            (Self::Literal(_), Self::Any) => false,
        }
    }

    /// A segment that matches.
    fn sample(&self) -> &str {
        match self {
            Self::Literal(literal) => literal,
            Self::Any => "x",
        }
    }
}

fn is_capture_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A literal segment in the form of request paths, by the same normaliser.
fn literal_form(written: &str) -> Result<Box<str>, PatternError> {
    let mut target = String::from("/");
    for character in written.chars() {
        match character {
            ' ' => target.push_str("%20"),
            ascii if ascii.is_ascii() => target.push(ascii),
            other => {
                let mut utf8 = [0; 4];
                let bytes = other.encode_utf8(&mut utf8).bytes();
                bytes.for_each(|byte| crate::http::bytes::push_escape(&mut target, byte));
            }
        }
    }
    let options = PathOptions { max_bytes: usize::MAX, ..PathOptions::default() };
    let path = RequestPath::parse_with(target.as_bytes(), &options).map_err(PatternError::Unreachable)?;
    Ok(path.segments().next().unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::PathError;

    fn matches(pattern: &str, path: &str) -> bool {
        PathPattern::parse(pattern).unwrap().matches(&RequestPath::parse(path.as_bytes()).unwrap())
    }

    #[test]
    fn a_pattern_without_wildcards_is_exact() {
        assert!(matches("/orders", "/orders"));
        assert!(matches("/orders", "/%6frders"));
        assert!(matches("/", "/"));
        for other in ["/", "/orders/", "/orders/1", "/order", "/Orders", "/ordersx"] {
            assert!(!matches("/orders", other), "{other}");
        }
    }

    #[test]
    fn a_star_is_one_segment_that_is_not_empty() {
        assert!(matches("/a/*", "/a/b") && matches("/a/*/c", "/a/b/c") && matches("/*", "/%2A"));
        for other in ["/a", "/a/", "/a/b/", "/a/b/c", "/b/a"] {
            assert!(!matches("/a/*", other), "{other}");
        }
        assert!(!matches("/*", "/"));
    }

    #[test]
    fn two_stars_are_the_rest_and_also_none() {
        for path in ["/a", "/a/", "/a/b", "/a/b/c/"] {
            assert!(matches("/a/**", path), "{path}");
        }
        assert!(!matches("/a/**", "/ab") && !matches("/a/**", "/") && matches("/**", "/"));
        assert!(!matches("/a/*/**", "/a/") && matches("/a/*/**", "/a/b"));
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let prefix = PathPattern::parse_prefix("/api").unwrap();
        for (path, expected) in [("/api", true), ("/api/", true), ("/api/x", true), ("/apix", false), ("/", false)] {
            assert_eq!(prefix.matches(&RequestPath::parse(path.as_bytes()).unwrap()), expected, "{path}");
        }
        assert!(PathPattern::parse_prefix("/").unwrap().matches(&RequestPath::parse(b"/x").unwrap()));
        assert_eq!(PathPattern::parse_prefix("/api/"), Err(PatternError::PrefixEnd));
        assert_eq!(PathPattern::parse_prefix("/api/**"), Err(PatternError::PrefixEnd));
        assert!(PathPattern::parse_prefix("/api*").is_err());
    }

    #[test]
    fn captures_are_decoded_and_keep_their_order() {
        let pattern = PathPattern::parse("/users/{id}/*/{file_name}/**").unwrap();
        let path = RequestPath::parse(b"/users/caf%C3%A9/x/a%20b/c").unwrap();
        let captures: Vec<_> = pattern.captures(&path).collect();
        assert_eq!(captures, [("id", "café".into()), ("file_name", "a b".into())]);
    }

    #[test]
    fn literals_may_be_written_plainly_or_escaped() {
        assert_eq!(PathPattern::parse("/café x"), PathPattern::parse("/caf%c3%a9%20x"));
        assert!(matches("/a|b", "/a%7cb") && matches("/100%25", "/100%25") && matches("/%2A", "/*"));
        assert!(!matches("/%2A", "/x"));
    }

    #[test]
    fn a_pattern_that_no_request_can_meet_is_refused() {
        use PathError::*;
        for (pattern, error) in [
            ("/a//b", EmptySegment),
            ("//", EmptySegment),
            ("/a/../b", DotSegment),
            ("/./*", DotSegment),
            ("/a/%2e", DotSegment),
            ("/a%2fb", EncodedSlash),
            ("/a;b", Parameters),
            ("/a\\b", Backslash),
            ("/a#b", Fragment),
            ("/100%", BadEscape),
            ("/%2541", DoubleEncoded),
            ("/a\tb", ControlByte),
            ("/a//**", EmptySegment),
            ("/%ff", BadUtf8),
        ] {
            assert_eq!(PathPattern::parse(pattern), Err(PatternError::Unreachable(error)), "{pattern}");
        }
    }

    #[test]
    fn a_misplaced_wildcard_is_refused() {
        for pattern in [
            "", "a", "*", "**", "/a?b", "/**/a", "/**/", "/**/**", "/a*", "/***", "/{a", "/a}", "/{a}b", "/{}", "/{1}",
            "/{a-b}", "/{a}/{a}", "/{*}", "/{a/b}", "/{é}",
        ] {
            let error = PathPattern::parse(pattern).unwrap_err();
            assert!(!error.hint().is_empty() && !error.to_string().is_empty(), "{pattern}");
        }
        assert_eq!(PathPattern::parse(&"/a".repeat(65)), Err(PatternError::TooManySegments));
    }
}
