//! An operator's rules over one request, value by value.

use std::rc::Rc;

use crate::rules::Family;
use crate::scanner::{Scanner, Scratch};
use crate::settings::Settings;
use crate::verdict::Source;

use super::operator::{Operator, Tools};
use super::target::{Kind, Target};
use super::{Condition, Group, Label, OwnRules, Ready, transform};

/// The work for one request: about a state of an expression on a byte each. Who makes it cost more is refused.
pub const STEPS: u64 = 20_000_000;

/// Buffers that are kept from one request to the next.
#[derive(Default)]
pub struct OwnScratch {
    scratch: Box<Scratch>,
    settings: Settings,
    value: Vec<u8>,
    other: Vec<u8>,
    lower: Vec<u8>,
    awake: Vec<bool>,
}

/// What conditions have found so far.
#[derive(Default)]
pub struct State {
    met: Vec<Option<Evidence>>,
    /// Rules that had found something before the body was there.
    earlier: Vec<bool>,
    spent: u64,
}

/// What a condition was met by.
#[derive(Debug, Clone)]
pub struct Evidence {
    pub kind: Kind,
    pub name: Vec<u8>,
    pub excerpt: Vec<u8>,
}

/// A value, as the rules are asked about it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// What it is; several where it is joined of such.
    pub kinds: &'a [Kind],
    pub name: &'a [u8],
    pub value: &'a [u8],
    /// The values that it is joined of. The rules were asked about each of them already.
    pub joined: Option<&'a [Vec<u8>]>,
}

/// A rule of an operator whose conditions are met.
pub struct Hit {
    pub label: Rc<Label>,
    pub weight: u16,
    pub evidence: Evidence,
    /// Whether the head alone had met them.
    pub is_earlier: bool,
}

impl State {
    /// Whether the work for this request is used up.
    pub fn is_spent(&self) -> bool {
        self.spent > STEPS
    }

    /// From now on, values are those of the body.
    pub fn head_is_done(&mut self, rules: &OwnRules) {
        self.met.resize_with(rules.conditions.len(), || None);
        self.earlier =
            rules.rules.iter().map(|rule| self.met.get(rule.conditions.clone()).is_some_and(all_met)).collect();
    }

    /// The rules whose conditions are all met.
    pub fn hits<'a>(&'a self, settings: &'a Settings) -> impl Iterator<Item = Hit> + 'a {
        settings.own.rules.iter().enumerate().filter_map(move |(number, rule)| {
            let met = self.met.get(rule.conditions.clone()).filter(|met| all_met(met))?;
            // The last condition is the one that the others lead to.
            let evidence = met.iter().flatten().next_back()?.clone();
            let weight = rule.weight.map_or(settings.threshold, u16::from);
            let is_earlier = self.earlier.get(number).copied().unwrap_or(false);
            Some(Hit { label: Rc::clone(&rule.label), weight, evidence, is_earlier })
        })
    }

    /// Asks the rules about one value. A condition that each value must meet for itself (`not`) is not asked about joined ones.
    pub fn ask(&mut self, scanner: &Scanner, settings: &Settings, buffers: &mut OwnScratch, asked: Asked<'_>) {
        let all = asked.kinds.iter().fold(0, |all, kind| all | kind.bit());
        let rules = &*settings.own;
        self.met.resize_with(rules.conditions.len(), || None);
        for group in rules.groups.iter().filter(|group| group.kinds & all == all) {
            if self.is_spent() {
                return;
            }
            self.spent += 1 + group.members.len() as u64 / 4;
            let members = group.members.iter().zip(&group.sleeps);
            let members: Vec<Member<'_>> = members
                .filter_map(|(&number, &sleeps)| {
                    let ready = rules.conditions.get(number)?;
                    let is_open = self.met.get(number).is_some_and(Option::is_none);
                    (is_open && asked.is_for(ready, settings)).then_some(Member { number, sleeps, ready })
                })
                .collect();
            if !members.is_empty() {
                self.ask_group(scanner, group, &members, buffers, asked);
            }
        }
    }

    /// Asks those members of a group that are about the value.
    fn ask_group(
        &mut self,
        scanner: &Scanner,
        group: &Group,
        members: &[Member<'_>],
        buffers: &mut OwnScratch,
        asked: Asked<'_>,
    ) {
        let Asked { kinds, name, value: sent, joined } = asked;
        let Some(&kind) = kinds.first() else { return };
        let OwnScratch { scratch, settings, value: changed, other, lower, awake } = buffers;
        let apart: Option<Vec<Vec<u8>>> = joined.filter(|_| members.iter().any(Member::detects)).map(|values| {
            let changed_alone = values.iter().map(|value| {
                self.pay_for_change(group, value);
                transform::apply(&group.chain, value, changed, other).to_vec()
            });
            changed_alone.collect()
        });
        let value = match group.chain.is_empty() {
            true => sent,
            false => {
                self.pay_for_change(group, sent);
                transform::apply(&group.chain, sent, changed, other)
            }
        };
        wake(group, value, self.met.len(), lower, awake);
        self.spent = self.spent.saturating_add(value.len() as u64);
        let mut tools = Tools { scanner, scratch, settings, apart: apart.as_deref(), is_exhausted: false };
        for member in members {
            if member.sleeps && !awake.get(member.number).copied().unwrap_or(false) {
                continue;
            }
            let condition = &member.ready.condition;
            let times = if apart.is_some() && member.detects() { 2 } else { 1 };
            self.spent = self.spent.saturating_add(times * condition.operator.cost(value.len()));
            if self.is_spent() {
                break;
            }
            let found = match condition.negated {
                false => condition.operator.holds(value, &mut tools),
                true if condition.operator.is_met(value, &mut tools) => None,
                true => Some(value.get(..64).unwrap_or(value).to_vec()),
            };
            if tools.is_exhausted {
                self.spent = STEPS.saturating_add(1).max(self.spent);
                break;
            }
            if let (Some(excerpt), Some(met)) = (found, self.met.get_mut(member.number)) {
                let excerpt = if is_secret(kind, name) { Vec::new() } else { excerpt };
                *met = Some(Evidence { kind, name: name.to_vec(), excerpt });
            }
        }
    }

    fn pay_for_change(&mut self, group: &Group, value: &[u8]) {
        self.spent = self.spent.saturating_add((value.len() as u64 + 8) * group.chain.len() as u64);
    }
}

/// A condition of a group that is asked about a value.
struct Member<'r> {
    number: usize,
    /// Whether it is asked only where one of its literals is found.
    sleeps: bool,
    ready: &'r Ready,
}

impl Member<'_> {
    fn detects(&self) -> bool {
        matches!(self.ready.condition.operator, Operator::Detect(_))
    }
}

impl Asked<'_> {
    /// Whether a condition is about the value.
    fn is_for(&self, ready: &Ready, settings: &Settings) -> bool {
        let Condition { targets, except, negated, .. } = &ready.condition;
        let excludes = |kind: Kind| {
            let rule = settings.own.rules.get(ready.rule);
            let source = Source { place: kind.place(), name: rule_name(kind, self.name) };
            rule.is_none_or(|rule| settings.excludes_own(&rule.label, source))
        };
        let takes = |targets: &[Target], kind: Kind| targets.iter().any(|target| target.takes(kind, self.name));
        !(*negated && self.joined.is_some())
            && self.kinds.iter().all(|kind| takes(targets, *kind) && !takes(except, *kind))
            && !self.kinds.first().is_none_or(|kind| excludes(*kind))
    }
}

fn all_met(met: &[Option<Evidence>]) -> bool {
    !met.is_empty() && met.iter().all(Option::is_some)
}

/// The name that exceptions go by: what has none of its own is no parameter.
fn rule_name(kind: Kind, name: &[u8]) -> &[u8] {
    match kind {
        Kind::Method | Kind::Path | Kind::Uri | Kind::QueryString | Kind::RawBody => b"",
        _ => name,
    }
}

/// Values that no log shows, not even a few letters of them.
fn is_secret(kind: Kind, name: &[u8]) -> bool {
    const SECRET: &[&[u8]] = &[b"authorization", b"proxy-authorization", b"cookie", b"dpop", b"x-api-key"];
    match kind {
        Kind::Header => SECRET.iter().any(|known| name.eq_ignore_ascii_case(known)),
        Kind::Cookie | Kind::Uri | Kind::QueryString | Kind::RawBody => true,
        _ => false,
    }
}

/// Marks the conditions of which a literal stands in the value.
fn wake(group: &Group, value: &[u8], conditions: usize, lower: &mut Vec<u8>, awake: &mut Vec<bool>) {
    awake.clear();
    let Some(automaton) = &group.automaton else { return };
    awake.resize(conditions, false);
    lower.clear();
    lower.extend(value.iter().map(u8::to_ascii_lowercase));
    for hit in automaton.find_overlapping_iter(&*lower) {
        for &number in group.awakes.get(hit.value() as usize).into_iter().flatten() {
            if let Some(flag) = awake.get_mut(number) {
                *flag = true;
            }
        }
    }
}

impl Settings {
    /// Whether an operator's rule is not asked about a parameter.
    pub(crate) fn excludes_own(&self, label: &Label, source: Source<'_>) -> bool {
        self.excludes_family(label.family, source) || self.without_own.contains(&label.index)
    }

    /// Whether nothing of a family is looked for in a parameter.
    fn excludes_family(&self, family: Family, source: Source<'_>) -> bool {
        self.without.contains(&family) || self.except.iter().any(|exception| exception.takes(family, source))
    }
}
