//! The rules that wait at one place of the index.

use super::conditions::MethodBits;
use super::rule_match::Match;
use crate::http::RequestHead;

/// Stands for "no rule": greater than the index of every rule.
pub(super) const NO_RULE: u32 = u32::MAX;

/// Rules with the same path and host conditions, in their order.
///
/// A rule that can never be first is left out, so that a place with few methods and no header conditions holds few rules,
/// however many were written.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    entries: Vec<Candidate>,
    exhausted: Option<MethodBits>,
}

#[derive(Debug)]
struct Candidate {
    rule: u32,
    methods: MethodBits,
    /// The method and the path alone do not decide: the rule itself must be asked.
    asks_more: bool,
}

impl Candidates {
    /// Appends `rule`, which must come after all that were appended before.
    pub(super) fn push(&mut self, rule: u32, conditions: &Match) {
        let exhausted = self.exhausted.unwrap_or(MethodBits::NONE);
        let methods = conditions.touched_methods();
        if exhausted.contains(methods) {
            return;
        }
        let has_headers = !conditions.headers.is_empty();
        if !has_headers {
            self.exhausted = Some(exhausted.with(conditions.exhausted_methods()));
        }
        let asks_more = has_headers || methods != conditions.exhausted_methods();
        self.entries.push(Candidate { rule, methods, asks_more });
    }

    /// The first rule before `best` that takes the request's method and headers.
    pub(super) fn find(&self, request: &Request<'_>, best: u32) -> Option<u32> {
        let earlier = self.entries.iter().take_while(|entry| entry.rule < best);
        let mut fitting = earlier.filter(|entry| entry.methods.meets(request.method));
        fitting.find(|entry| !entry.asks_more || request.is_taken_by(entry.rule)).map(|entry| entry.rule)
    }

    /// Every rule that waits here.
    pub(super) fn rules(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().map(|entry| entry.rule)
    }
}

/// What candidates ask about a request.
pub(super) struct Request<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) method: MethodBits,
    pub(super) rules: &'a [Match],
}

impl Request<'_> {
    fn is_taken_by(&self, rule: u32) -> bool {
        let rule = self.rules.get(rule as usize);
        rule.is_some_and(|rule| rule.takes_method(self.head.method()) && rule.takes_headers(self.head))
    }
}
