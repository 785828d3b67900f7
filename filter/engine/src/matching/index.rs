//! The compiled list of all rules: a request's cost does not grow with their number.

use std::borrow::Cow;
use std::fmt;

use super::candidates::{Candidates, NO_RULE, Request};
use super::conditions::{HostPattern, MethodBits};
use super::pattern::PathPattern;
use super::rule_match::{Match, PathCondition};
use super::trie::{Search, SegmentMap, Trie};
use crate::answer::Reason;
use crate::http::{Method, RequestHead, RequestPath};

/// Finds the first of many rules that a request meets.
///
/// Hosts are looked up first (the name itself, then one wildcard for each label, then rules for every host), and in each a
/// tree of path segments is searched. Only regular expressions are tried one by one, and only those that stand before the
/// best rule found in the trees; so are rules that differ in nothing but header conditions.
#[derive(Debug, Default)]
pub struct RuleIndex {
    rules: Vec<Match>,
    any_host: Scope,
    exact_hosts: SegmentMap<Scope>,
    hosts_below: SegmentMap<Scope>,
    /// Headers whose values some rule reads.
    compared_headers: Vec<Box<str>>,
}

/// The rules that share one host condition.
#[derive(Debug, Default)]
struct Scope {
    any_path: Candidates,
    patterns: Trie,
    regexes: Vec<u32>,
}

/// The rule that a request meets.
#[derive(Debug, Clone)]
pub struct Found<'a> {
    /// The rule's place in the list, from 0.
    pub index: usize,
    pattern: Option<&'a PathPattern>,
    path: &'a RequestPath<'a>,
}

impl<'a> Found<'a> {
    /// The pattern's names in braces and what they stand for, decoded. Reading them allocates only to decode.
    pub fn captures(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        let path = self.path;
        self.pattern.into_iter().flat_map(move |pattern| pattern.captures(path))
    }

    /// What `{name}` stands for.
    pub fn capture(&self, name: &str) -> Option<Cow<'a, str>> {
        self.captures().find_map(|(known, value)| (known == name).then_some(value))
    }
}

/// A header by whose value rules choose stands on several lines: the service may read another value than the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedHeader {
    /// The header, as the rule names it.
    pub name: Box<str>,
}

impl RepeatedHeader {
    /// The reason that logs, counters and the client get.
    pub fn reason(&self) -> Reason {
        Reason::HeaderRepeated
    }
}

impl fmt::Display for RepeatedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules choose by the header {}, and it stands on several lines", self.name)
    }
}

impl std::error::Error for RepeatedHeader {}

impl RuleIndex {
    /// Compiles `rules`, which stay in their order.
    pub fn new(rules: Vec<Match>) -> Self {
        let mut index = Self::default();
        for (number, rule) in (0..NO_RULE).zip(&rules) {
            if rule.hosts.is_empty() {
                index.any_host.insert(number, rule);
            }
            for host in &rule.hosts {
                let scope = match host {
                    HostPattern::Exact(name) => index.exact_hosts.entry(name.clone()).or_default(),
                    HostPattern::Below(suffix) => index.hosts_below.entry(suffix.clone()).or_default(),
                };
                scope.insert(number, rule);
            }
            for condition in rule.headers.iter().filter(|condition| condition.reads_value()) {
                if !index.compared_headers.contains(&condition.name) {
                    index.compared_headers.push(condition.name.clone());
                }
            }
        }
        Self { rules, ..index }
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[Match] {
        &self.rules
    }

    /// The first rule that the request meets; `None` where it meets none.
    ///
    /// # Errors
    /// [`RepeatedHeader`] where a header that some rule compares stands on several lines.
    pub fn find<'a>(
        &'a self,
        head: &RequestHead,
        path: &'a RequestPath<'a>,
    ) -> Result<Option<Found<'a>>, RepeatedHeader> {
        for name in &self.compared_headers {
            head.headers().single(name).map_err(|_| RepeatedHeader { name: name.clone() })?;
        }
        let (best, _) = self.first_match(head, path);
        let rule = self.rules.get(best as usize);
        Ok(rule.map(|rule| {
            let pattern = match &rule.path {
                Some(PathCondition::Pattern(pattern)) => Some(pattern),
                _ => None,
            };
            Found { index: best as usize, pattern, path }
        }))
    }

    /// The methods by which the request would meet some rule, sorted: what `Allow` lists beside a 405
    /// (RFC 9110, section 15.5.6). Empty where the path is unknown, and where a rule takes every method.
    ///
    /// Meant for a request that met no rule; it looks at every rule with a matching path.
    pub fn find_path_ignoring_method(&self, head: &RequestHead, path: &RequestPath<'_>) -> Vec<Method> {
        let mut methods = Vec::new();
        let mut add = |rule: u32| {
            if let Some(rule) = self.rules.get(rule as usize).filter(|rule| rule.matches_but_for_method(head, path)) {
                methods.extend(rule.methods.iter().cloned());
            }
        };
        self.scopes_of(head.host()).for_each(|scope| scope.for_each_possible_match(path, &mut add));
        methods.sort();
        methods.dedup();
        methods
    }

    /// The first rule's index or [`NO_RULE`], and how many places of the index were looked at.
    fn first_match(&self, head: &RequestHead, path: &RequestPath<'_>) -> (u32, usize) {
        let request = Request { head, method: MethodBits::of(head.method()), rules: &self.rules };
        let mut search = Search { request: &request, best: NO_RULE, steps: 0 };
        for scope in self.scopes_of(head.host()) {
            search.consider(&scope.any_path);
            if !path.is_asterisk() {
                scope.patterns.search(path.as_str(), &mut search);
            }
        }
        for scope in self.scopes_of(head.host()) {
            self.try_regexes(scope, path, &mut search);
        }
        (search.best, search.steps)
    }

    fn try_regexes(&self, scope: &Scope, path: &RequestPath<'_>, search: &mut Search<'_>) {
        for &number in &scope.regexes {
            if number >= search.best {
                return;
            }
            search.steps = search.steps.saturating_add(1);
            if self.rules.get(number as usize).is_some_and(|rule| rule.matches(search.request.head, path)) {
                search.best = number;
            }
        }
    }

    fn scopes_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Scope> {
        let dots = if self.hosts_below.is_empty() { "" } else { host };
        let below = dots.match_indices('.').filter_map(|(at, _)| self.hosts_below.get(host.get(at..)?));
        std::iter::once(&self.any_host).chain(self.exact_hosts.get(host)).chain(below)
    }
}

impl Scope {
    fn insert(&mut self, number: u32, rule: &Match) {
        match &rule.path {
            None => self.any_path.push(number, rule),
            Some(PathCondition::Pattern(pattern)) => self.patterns.insert(pattern, number, rule),
            Some(PathCondition::Regex(_)) => {
                if self.regexes.last() != Some(&number) {
                    self.regexes.push(number);
                }
            }
        }
    }

    fn for_each_possible_match(&self, path: &RequestPath<'_>, visit: &mut impl FnMut(u32)) {
        self.any_path.rules().for_each(&mut *visit);
        self.regexes.iter().copied().for_each(&mut *visit);
        if !path.is_asterisk() {
            self.patterns.for_each_match(path.as_str(), visit);
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
