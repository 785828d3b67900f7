//! Path patterns as a tree with one level for each segment.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::candidates::{Candidates, NO_RULE, Request};
use super::pattern::{PathPattern, Segment};
use super::rule_match::Match;
use crate::fnv::Fnv1a;

/// Path patterns by segments. Each node knows the first rule at or below it, so that a search leaves out what can no
/// longer win.
#[derive(Debug, Default)]
pub(super) struct Trie {
    root: Node,
}

#[derive(Debug)]
struct Node {
    literals: SegmentMap<Node>,
    any: Option<Box<Node>>,
    ends_here: Candidates,
    rest: Candidates,
    first_rule: u32,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            literals: SegmentMap::default(),
            any: None,
            ends_here: Candidates::default(),
            rest: Candidates::default(),
            first_rule: NO_RULE,
        }
    }
}

impl Trie {
    /// Adds `rule`, which must come after all that were added before.
    pub(super) fn insert(&mut self, pattern: &PathPattern, rule: u32, conditions: &Match) {
        let mut node = &mut self.root;
        node.first_rule = node.first_rule.min(rule);
        for segment in pattern.segments() {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(literal.clone()).or_default(),
                Segment::Any => node.any.get_or_insert_default(),
            };
            node.first_rule = node.first_rule.min(rule);
        }
        let place = if pattern.has_rest() { &mut node.rest } else { &mut node.ends_here };
        place.push(rule, conditions);
    }

    /// The first rule before `search.best` whose pattern matches `path`, a path that begins with a slash.
    pub(super) fn search(&self, path: &str, search: &mut Search<'_>) {
        self.root.search(path.strip_prefix('/'), search);
    }

    /// How many rules wait in all.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        fn count(node: &Node) -> usize {
            let own = node.rest.rules().count() + node.ends_here.rules().count();
            own + node.literals.values().chain(node.any.as_deref()).map(count).sum::<usize>()
        }
        count(&self.root)
    }

    /// Calls `visit` with every rule whose pattern matches `path`, in no particular order.
    pub(super) fn for_each_match(&self, path: &str, visit: &mut impl FnMut(u32)) {
        self.root.for_each_match(path.strip_prefix('/'), visit);
    }
}

/// A search under way.
pub(super) struct Search<'a> {
    pub(super) request: &'a Request<'a>,
    /// The first rule found so far; [`NO_RULE`] before one is found.
    pub(super) best: u32,
    /// How many places were looked at: what a search costs.
    pub(super) steps: usize,
}

impl Search<'_> {
    pub(super) fn consider(&mut self, candidates: &Candidates) {
        self.steps = self.steps.saturating_add(1);
        if let Some(rule) = candidates.find(self.request, self.best) {
            self.best = rule;
        }
    }
}

impl Node {
    /// `left` is the path behind the slash that ended the last segment, `None` behind the last one.
    ///
    /// A node is reached on one way only, so a search never takes more steps than there are nodes, whatever the path.
    /// Patterns have at most 64 segments, and so has the recursion.
    fn search(&self, left: Option<&str>, search: &mut Search<'_>) {
        search.consider(&self.rest);
        let Some(left) = left else { return search.consider(&self.ends_here) };
        let (segment, behind) = next_segment(left);
        let literal = self.literals.get(segment);
        let any = self.any.as_deref().filter(|_| !segment.is_empty());
        // The branch with the earlier rule first: it can make the other one needless.
        let literal_first = first_rule(literal) <= first_rule(any);
        for branch in if literal_first { [literal, any] } else { [any, literal] } {
            if let Some(node) = branch.filter(|node| node.first_rule < search.best) {
                node.search(behind, search);
            }
        }
    }

    fn for_each_match(&self, left: Option<&str>, visit: &mut impl FnMut(u32)) {
        self.rest.rules().for_each(&mut *visit);
        let Some(left) = left else { return self.ends_here.rules().for_each(visit) };
        let (segment, behind) = next_segment(left);
        if let Some(node) = self.literals.get(segment) {
            node.for_each_match(behind, visit);
        }
        if let Some(node) = self.any.as_deref().filter(|_| !segment.is_empty()) {
            node.for_each_match(behind, visit);
        }
    }
}

fn first_rule(node: Option<&Node>) -> u32 {
    node.map_or(NO_RULE, |node| node.first_rule)
}

fn next_segment(left: &str) -> (&str, Option<&str>) {
    left.split_once('/').map_or((left, None), |(segment, behind)| (segment, Some(behind)))
}

/// A map whose keys come from the configuration. A client only looks up: it cannot fill it, so the hash needs no seed.
pub(super) type SegmentMap<T> = HashMap<Box<str>, T, BuildHasherDefault<Fnv1a>>;
