//! Rules that an operator writes: conditions on values as they were sent, with transformations and operators of their own.
//!
//! They see what the built-in rules see before it is normalised. What costs is bounded: the number of rules and the size of their
//! patterns when they are compiled, and the work for one request ([`run::STEPS`]).

mod operator;
mod pattern;
pub(crate) mod run;
mod target;
mod transform;

use std::rc::Rc;

use daachorse::{DoubleArrayAhoCorasick, DoubleArrayAhoCorasickBuilder};

use crate::rules::Family;

pub use operator::{Attack, Operator};
pub use pattern::{LONGEST_PATTERN, Pattern};
pub use target::{Kind, Target};
pub use transform::Transformation;

/// Rules of one configuration.
pub const MOST_RULES: usize = 500;
/// Conditions of one rule.
pub const MOST_CONDITIONS: usize = 16;
/// Transformations of one condition.
pub const MOST_TRANSFORMATIONS: usize = 16;
/// Bytes of all patterns, words and names of one configuration.
pub const MOST_BYTES: usize = 1 << 20;

/// One condition of a rule: some value of the targets, transformed, for which the operator holds.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Where the values stand.
    pub targets: Vec<Target>,
    /// Values among them that are left out.
    pub except: Vec<Target>,
    /// What is done to each value first, in this order.
    pub transform: Vec<Transformation>,
    /// What is asked about it.
    pub operator: Operator,
    /// Whether a value is looked for that the operator does not hold for.
    pub negated: bool,
}

/// A rule: it has found something once each of its conditions has.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name, for logs, counters and exceptions.
    pub name: String,
    /// The family whose points it adds to.
    pub family: Family,
    /// The points it adds; none: as many as make an attack.
    pub weight: Option<u8>,
    /// What it says in the log.
    pub message: String,
    /// Words for the log.
    pub tags: Vec<String>,
    /// What must hold.
    pub conditions: Vec<Condition>,
}

/// What a finding says about the rule that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its place among the rules.
    pub index: u16,
    /// Its name.
    pub name: String,
    /// Its family.
    pub family: Family,
    /// Its message.
    pub message: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// The rules of one configuration, ready to be asked.
#[derive(Default)]
pub struct OwnRules {
    pub(crate) rules: Vec<Compiled>,
    pub(crate) conditions: Vec<Ready>,
    pub(crate) groups: Vec<Group>,
}

impl std::fmt::Debug for OwnRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnRules").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// A rule without its conditions.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub label: Rc<Label>,
    pub weight: Option<u8>,
    pub conditions: std::ops::Range<usize>,
}

/// A condition, and the rule it belongs to.
pub(crate) struct Ready {
    pub rule: usize,
    pub condition: Condition,
}

/// Conditions with the same transformations: a value is transformed once for all of them, and searched once for their literals.
pub(crate) struct Group {
    pub chain: Vec<Transformation>,
    /// The kinds of values that some condition asks about.
    pub kinds: u32,
    pub members: Vec<usize>,
    /// Finds, without regard to case, the literals without which a condition cannot hold.
    pub automaton: Option<DoubleArrayAhoCorasick<u32>>,
    /// The conditions that a literal belongs to.
    pub awakes: Vec<Vec<usize>>,
    /// Whether a condition has such literals, for each member.
    pub sleeps: Vec<bool>,
}

impl OwnRules {
    /// Makes rules ready; `None` if there are more literals than an automaton holds.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Option<Self> {
        let mut made = Self::default();
        for (number, rule) in rules.into_iter().enumerate() {
            let first = made.conditions.len();
            made.conditions.extend(rule.conditions.into_iter().map(|condition| Ready { rule: number, condition }));
            let Rule { name, family, weight, message, tags, .. } = rule;
            let label = Rc::new(Label { index: u16::try_from(number).ok()?, name, family, message, tags });
            made.rules.push(Compiled { label, weight, conditions: first..made.conditions.len() });
        }
        let mut chains: Vec<&[Transformation]> = Vec::new();
        for ready in &made.conditions {
            if !chains.contains(&ready.condition.transform.as_slice()) {
                chains.push(&ready.condition.transform);
            }
        }
        let groups = chains.into_iter().map(|chain| Group::new(chain, &made.conditions)).collect::<Option<_>>()?;
        made.groups = groups;
        Some(made)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.label.name.as_str())
    }

    /// Whether some condition asks about the body.
    #[must_use]
    pub fn ask_body(&self) -> bool {
        self.groups.iter().any(|group| group.kinds & Kind::OF_BODY != 0)
    }
}

impl Group {
    fn new(chain: &[Transformation], conditions: &[Ready]) -> Option<Self> {
        let (mut members, mut sleeps, mut kinds) = (Vec::new(), Vec::new(), 0);
        let mut literals: Vec<(Vec<u8>, Vec<usize>)> = Vec::new();
        for (number, Ready { condition, .. }) in conditions.iter().enumerate() {
            if condition.transform != chain {
                continue;
            }
            kinds |= condition.targets.iter().fold(0, |all, target| all | target.kinds());
            let needed = if condition.negated { None } else { condition.operator.literals() };
            sleeps.push(needed.is_some());
            members.push(number);
            literals.extend(needed.into_iter().flatten().map(|literal| (literal, vec![number])));
        }
        literals.sort();
        literals.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1.append(&mut later.1);
            }
            same
        });
        let automaton = match literals.is_empty() {
            true => None,
            false => {
                let numbered = literals.iter().zip(0u32..).map(|((literal, _), number)| (literal, number));
                Some(DoubleArrayAhoCorasickBuilder::new().build_with_values(numbered).ok()?)
            }
        };
        let awakes = literals.into_iter().map(|(_, conditions)| conditions).collect();
        Some(Self { chain: chain.to_vec(), kinds, members, automaton, awakes, sleeps })
    }
}
