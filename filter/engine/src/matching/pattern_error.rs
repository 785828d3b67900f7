//! Why a pattern of a rule is refused, and what to write instead.

use std::fmt;

use super::pattern::MAX_SEGMENTS;
use crate::http::PathError;

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternError {
    /// It does not begin with `/`.
    NoLeadingSlash,
    /// It has a `?`.
    Query,
    /// Something follows `**`.
    RestNotLast,
    /// More than 64 segments.
    TooManySegments,
    /// `*`, `{` or `}` beside other characters in one segment.
    PartOfSegment(Box<str>),
    /// What stands in braces is not a name.
    CaptureName(Box<str>),
    /// Two segments capture under one name.
    RepeatedCapture(Box<str>),
    /// A prefix ends with `/` or `/**`.
    PrefixEnd,
    /// Such a path is refused in a request before any rule is read.
    Unreachable(PathError),
    /// A regular expression that cannot be compiled.
    Regex(Box<str>),
    /// A host pattern that no host can match.
    Host(Box<str>),
}

impl PatternError {
    /// A way out, for the one who wrote the pattern.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoLeadingSlash => "begin with `/`; the host goes into `host`",
            Self::Query => "a path has no query; write `%3F` if a question mark in the path is meant",
            Self::RestNotLast => "`**` stands for the rest and must come last; `*` stands for one segment",
            Self::TooManySegments => "end the pattern with `/**`",
            Self::PartOfSegment(_) => "`*` and `{name}` stand for a whole segment; use `regex` for a part of one",
            Self::CaptureName(_) => "use letters, digits and `_`, not beginning with a digit",
            Self::RepeatedCapture(_) => "give each captured segment its own name",
            Self::PrefixEnd => "a prefix ends at a segment by itself: write `/api` for `/api`, `/api/` and all below",
            Self::Unreachable(_) => "such a request is answered with 400 before any rule is read; no rule can match it",
            Self::Regex(_) => "the whole path must match; look-around and back-references do not exist in linear time",
            Self::Host(_) => "write `api.example.com` or `*.example.com`, without scheme, port and path",
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeadingSlash => f.write_str("does not begin with `/`"),
            Self::Query => f.write_str("has a `?`"),
            Self::RestNotLast => f.write_str("`**` is not the last segment"),
            Self::TooManySegments => write!(f, "has more than {MAX_SEGMENTS} segments"),
            Self::PartOfSegment(segment) => write!(f, "`{segment}` has a wildcard in a part of a segment"),
            Self::CaptureName(name) => write!(f, "`{{{name}}}` is not a name"),
            Self::RepeatedCapture(name) => write!(f, "`{{{name}}}` stands twice"),
            Self::PrefixEnd => f.write_str("a prefix ends with a slash or `**`"),
            Self::Unreachable(error) => write!(f, "can never match: {error}"),
            Self::Regex(error) => write!(f, "not a regular expression: {error}"),
            Self::Host(host) => write!(f, "`{host}` is not a host name"),
        }
    }
}

impl std::error::Error for PatternError {}
