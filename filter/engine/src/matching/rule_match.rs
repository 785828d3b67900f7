//! What a rule asks of a request: all of its conditions must be met.

use super::conditions::{HeaderCondition, HostPattern, MethodBits, PathRegex};
use super::pattern::PathPattern;
use crate::http::{Method, RequestHead, RequestPath};

/// The conditions of one rule. An empty list, or no path, asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// The path; without it every path is meant, and `*` too.
    pub path: Option<PathCondition>,
    /// The host is one of these.
    pub hosts: Vec<HostPattern>,
    /// The method is one of these. `GET` does not imply `HEAD`.
    pub methods: Vec<Method>,
    /// Every one of these is met.
    pub headers: Vec<HeaderCondition>,
}

/// How a rule names paths.
#[derive(Debug, Clone)]
pub enum PathCondition {
    /// By a pattern, or a prefix (see [`PathPattern::parse_prefix`]).
    Pattern(PathPattern),
    /// By a regular expression over the whole path.
    Regex(PathRegex),
}

impl PathCondition {
    fn matches(&self, path: &RequestPath<'_>) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.matches(path),
            Self::Regex(regex) => regex.matches(path),
        }
    }
}

impl Match {
    /// Whether the request meets every condition: the plain definition of what the index finds.
    pub fn matches(&self, head: &RequestHead, path: &RequestPath<'_>) -> bool {
        self.takes_method(head.method()) && self.matches_but_for_method(head, path)
    }

    /// Whether every condition but the one on the method is met.
    pub fn matches_but_for_method(&self, head: &RequestHead, path: &RequestPath<'_>) -> bool {
        self.path.as_ref().is_none_or(|condition| condition.matches(path))
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| host.matches(head.host())))
            && self.takes_headers(head)
    }

    pub(super) fn takes_method(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    pub(super) fn takes_headers(&self, head: &RequestHead) -> bool {
        self.headers.iter().all(|condition| condition.matches(head.headers()))
    }

    /// The methods of which at least one is taken.
    pub(super) fn touched_methods(&self) -> MethodBits {
        if self.methods.is_empty() {
            return MethodBits::ALL;
        }
        self.methods.iter().fold(MethodBits::NONE, |all, method| all.with(MethodBits::of(method)))
    }

    /// The methods that are all taken: one uncommon method is not all the uncommon ones.
    pub(super) fn exhausted_methods(&self) -> MethodBits {
        if self.methods.is_empty() {
            return MethodBits::ALL;
        }
        let common = self.methods.iter().filter(|method| !matches!(method, Method::Other(_)));
        common.fold(MethodBits::NONE, |all, method| all.with(MethodBits::of(method)))
    }
}
