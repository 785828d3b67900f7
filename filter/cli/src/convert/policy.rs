//! The rules of a converted configuration, put together of what authenticates and what authorises.
//!
//! Whatever this makes admits no request that its input would refuse. Requests go to the first rule that matches, so
//! each group of rules ends with one that refuses what is left of the group's requests, and an alternative that cannot be
//! written is left out: what it would have admitted is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::condition::{Common, Condition};
use super::need::Need;
use super::notes::Notes;
use super::written::{Asked, Rules, Written, nobody, rule};

/// What authenticates requests: the first group whose condition they meet.
#[derive(Debug, Clone)]
pub struct Group {
    /// Which requests.
    pub condition: Condition,
    /// What they need.
    pub requirement: Requirement,
    /// Where that is written.
    pub source: String,
}

/// Whose word a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// Nobody's.
    Nothing,
    /// That of providers.
    Providers {
        /// Their names.
        names: Vec<String>,
        /// Whether all of them must vouch.
        all: bool,
        /// Whether a request without any token passes too.
        optional: bool,
    },
    /// Something that has no equal: nobody passes.
    NoEqual,
}

/// One way to be authorised, or to be refused.
#[derive(Debug, Clone, Default)]
pub struct Alternative {
    /// Which requests.
    pub condition: Condition,
    /// Requests that the condition takes and the input does not.
    pub except: Vec<Condition>,
    /// What the caller must be.
    pub need: Need,
    /// Where that is written.
    pub source: String,
}

/// All that authorises and authenticates.
#[derive(Debug, Default)]
pub struct Plan {
    /// What refuses, before all else.
    pub denied: Vec<Alternative>,
    /// What refuses some addresses, each with its line.
    pub kept_out: Vec<(Alternative, usize)>,
    /// The groups; the last one takes every request.
    pub groups: Vec<Group>,
    /// What must be met, one of each list.
    pub allowed: Vec<Vec<Alternative>>,
    /// Providers made for client certificates: the names that each allows.
    pub certificates: BTreeMap<String, Vec<String>>,
    /// Lists of addresses made for rules: the networks of each.
    pub address_lists: BTreeMap<String, Vec<String>>,
}

impl Plan {
    /// The rules, in order.
    pub fn rules(&mut self, notes: &mut Notes) -> Vec<Written> {
        self.keep_out(notes);
        let mut rules = Rules::default();
        for denied in &self.denied {
            rules.push(nobody(&denied.condition, vec![denied.source.clone()]));
        }
        let alternatives = combined(&self.allowed, notes);
        for group in &self.groups.clone() {
            if group.requirement == Requirement::NoEqual {
                rules.push(nobody(&group.condition, vec![format!("{}: has no equal", group.source)]));
            } else {
                self.group(group, &alternatives, &mut rules, notes);
            }
            if group.condition.is_everything() {
                break;
            }
        }
        rules.0
    }

    fn group(&mut self, group: &Group, alternatives: &[Alternative], rules: &mut Rules, notes: &mut Notes) {
        // Those that ask for least come first: whoever meets one of several passes.
        let mut here: Vec<(Condition, &Alternative)> = Vec::new();
        for alternative in alternatives {
            match group.condition.and(&alternative.condition) {
                Common::Condition(condition) if rules.take(&condition) => {}
                Common::Condition(condition) => here.push((condition, alternative)),
                Common::Nothing => {}
                Common::Unknown => notes.stricter(
                    0,
                    &alternative.source,
                    &format!("what it has in common with {} cannot be written as one match", group.source),
                    "such requests are refused; write a rule of your own",
                ),
            }
        }
        here.sort_by_key(|(_, alternative)| alternative.need != Need::default());
        let mut is_closed = false;
        for (index, (condition, alternative)) in here.iter().enumerate() {
            let source = vec![source_of(group, alternative)];
            for except in &alternative.except {
                match condition.and(except) {
                    Common::Condition(common) => {
                        rules.push(nobody(&common, vec![format!("{}: what it leaves out", alternative.source)]));
                    }
                    Common::Nothing => {}
                    Common::Unknown => rules.push(nobody(except, vec![format!("{}: left out", alternative.source)])),
                }
            }
            let overlaps = here.iter().take(index).any(|(other, before)| {
                before.need != Need::default() && !matches!(other.and(condition), Common::Nothing)
            });
            if overlaps {
                notes.stricter(
                    0,
                    &alternative.source,
                    "requests that an earlier rule matches too are judged by that one alone",
                    "put what both ask for into one rule, where they may meet either",
                );
            }
            match self.asked(&group.requirement, &alternative.need) {
                Ok(asked) => {
                    is_closed |= *condition == group.condition;
                    rules.push(rule(condition, asked, source));
                }
                Err(why) => {
                    notes.stricter(0, &alternative.source, why, "such requests are refused; write a rule of your own");
                    is_closed |= *condition == group.condition;
                    rules.push(nobody(condition, vec![format!("{}: {why}", source.join(""))]));
                }
            }
        }
        if !is_closed {
            // Nothing that belongs here may reach the rules of another group; what nothing matches is refused anyway.
            let last = group.condition.is_everything();
            if !last {
                rules.push(nobody(&group.condition, vec![format!("{}: whatever is not allowed above", group.source)]));
            }
        }
    }

    /// `require`, `scopes` and `allow` for what a group and an alternative ask for together.
    fn asked(&mut self, requirement: &Requirement, need: &Need) -> Result<Asked, &'static str> {
        let (mut names, all, mut optional) = match requirement {
            Requirement::Nothing => (Vec::new(), false, true),
            Requirement::Providers { names, all, optional } => (names.clone(), *all, *optional),
            Requirement::NoEqual => return Ok(None),
        };
        if let Some(wanted) = &need.providers {
            if all && names.first().is_some_and(|first| !wanted.contains(first)) {
                return Err("the first of several providers is not the one that is asked for");
            }
            if !all {
                names.retain(|name| wanted.contains(name));
            }
        }
        optional &= !need.asks_for_token();
        if need.asks_for_token() && names.is_empty() {
            return Err("no provider of these requests has tokens that could have it");
        }
        let mut rule = Map::new();
        let mut any = Vec::new();
        let mut every = Vec::new();
        for list in &need.scopes {
            match list.as_slice() {
                [one] => every.push(one.clone()),
                several if any.is_empty() => any = several.to_vec(),
                _ => return Err("several lists of scopes, of each of which one is needed"),
            }
        }
        if let Some(allowed) = &need.certificates {
            let certificate = self.certificate(allowed);
            rule.insert(
                "require".to_owned(),
                match (names.as_slice(), optional) {
                    ([], _) => json!(certificate),
                    (_, true) => return Err("a certificate that is needed beside a token that is not"),
                    ([one], _) => json!({"all": [one, certificate]}),
                    (_, _) if all => json!({"all": names.iter().chain([&certificate]).collect::<Vec<_>>()}),
                    _ => return Err("a certificate beside one of several tokens"),
                },
            );
        } else if names.is_empty() {
            rule.insert("allow".to_owned(), json!("public"));
        } else {
            let require = match (names.as_slice(), all, optional) {
                ([one], _, false) => json!(one),
                (_, true, _) => json!({"all": names}),
                (_, false, true) => json!({"any": names, "optional": true}),
                (_, false, false) => json!({"any": names}),
            };
            rule.insert("require".to_owned(), require);
        }
        let mut scopes = Map::new();
        if !every.is_empty() {
            scopes.insert("all".to_owned(), json!(every));
        }
        if !any.is_empty() {
            scopes.insert("any".to_owned(), json!(any));
        }
        if !scopes.is_empty() {
            rule.insert("scopes".to_owned(), Value::Object(scopes));
        }
        match need.conditions.as_slice() {
            [] => {}
            [one] => drop(rule.insert("when".to_owned(), json!(one))),
            several => drop(rule.insert("when".to_owned(), json!(several))),
        }
        if need.networks.as_ref() == Some(&need.not_networks) {
            return Ok(None);
        }
        let mut addresses = Map::new();
        if let Some(networks) = &need.networks {
            addresses.insert("allow".to_owned(), json!(self.address_list(networks)));
        }
        if !need.not_networks.is_empty() {
            addresses.insert("deny".to_owned(), json!(self.address_list(&need.not_networks)));
        }
        if !addresses.is_empty() {
            rule.insert("addresses".to_owned(), Value::Object(addresses));
        }
        Ok(Some(rule))
    }

    /// The provider that takes certificates with these names.
    fn certificate(&mut self, allowed: &[String]) -> String {
        named(&mut self.certificates, "certificate", allowed)
    }

    /// The list of addresses with these networks.
    fn address_list(&mut self, networks: &[String]) -> String {
        named(&mut self.address_lists, "addresses", networks)
    }

    /// Adds what is refused, which at `line` names whom: addresses are kept out of what others may call, and what is
    /// refused to other callers is refused to everybody.
    pub fn deny(&mut self, what: Alternative, is_wider: bool, line: usize, notes: &mut Notes) {
        if !is_wider && what.except.is_empty() && what.need.is_about_addresses() {
            self.kept_out.push((what, line));
            return;
        }
        if is_wider || what.need != Need::default() || !what.except.is_empty() {
            deny_everybody(&what, line, notes);
        }
        self.denied.push(Alternative { need: Need::default(), except: Vec::new(), ..what });
    }

    /// Takes addresses that are denied out of what is allowed; where that cannot be written, everybody is denied.
    fn keep_out(&mut self, notes: &mut Notes) {
        for (what, line) in std::mem::take(&mut self.kept_out) {
            if self.allowed.is_empty() && what.condition.is_everything() {
                // Nothing else says who may call: everybody but these.
                self.allowed.push(vec![Alternative::default()]);
            }
            let covered = |condition: &Condition| what.condition.covers(condition);
            let apart = |condition: &Condition| condition.and(&what.condition) == Common::Nothing;
            let Some(others) = what.need.other_addresses() else { continue };
            let mut allowed = self.allowed.clone();
            let mut is_written = !allowed.is_empty();
            for alternative in allowed.iter_mut().flatten().filter(|alternative| !apart(&alternative.condition)) {
                match alternative.need.and(&others).filter(|_| covered(&alternative.condition)) {
                    Some(need) => alternative.need = need,
                    None => is_written = false,
                }
            }
            if is_written {
                self.allowed = allowed;
            } else {
                deny_everybody(&what, line, notes);
                self.denied.push(Alternative { need: Need::default(), ..what });
            }
        }
    }
}

fn deny_everybody(what: &Alternative, line: usize, notes: &mut Notes) {
    let problem = "what it denies to some has no equal: it is denied to everybody";
    notes.stricter(line, &what.source, problem, "write a rule that asks for what may pass");
}

/// The name of a list in `known`, where it now stands.
fn named(known: &mut BTreeMap<String, Vec<String>>, kind: &str, list: &[String]) -> String {
    if let Some((name, _)) = known.iter().find(|(_, known)| *known == list) {
        return name.clone();
    }
    let name = format!("{kind}-{}", known.len().saturating_add(1));
    known.insert(name.clone(), list.to_vec());
    name
}

/// Every way to meet one of each list.
fn combined(lists: &[Vec<Alternative>], notes: &mut Notes) -> Vec<Alternative> {
    let everything = Alternative { source: String::new(), ..Alternative::default() };
    let mut ways = vec![everything];
    for list in lists {
        let mut next = Vec::new();
        for way in &ways {
            for alternative in list {
                let sources: Vec<&str> = [&way.source, &alternative.source]
                    .into_iter()
                    .map(String::as_str)
                    .filter(|s| !s.is_empty())
                    .collect();
                let source = sources.join(" and ");
                match (way.condition.and(&alternative.condition), way.need.and(&alternative.need)) {
                    (Common::Condition(condition), Some(need)) => next.push(Alternative {
                        condition,
                        except: way.except.iter().chain(&alternative.except).cloned().collect(),
                        need,
                        source,
                    }),
                    (Common::Nothing, _) => {}
                    _ => notes.stricter(0, &source, "cannot be met together in one rule", "such requests are refused"),
                }
            }
        }
        ways = merged(next);
    }
    ways
}

/// Alternatives for the same requests that differ in one thing are one alternative that takes either.
fn merged(alternatives: Vec<Alternative>) -> Vec<Alternative> {
    let mut merged: Vec<Alternative> = Vec::new();
    for alternative in alternatives {
        let joined = merged.iter_mut().find_map(|known| {
            let same = known.condition == alternative.condition && known.except == alternative.except;
            let need = same.then(|| known.need.or(&alternative.need)).flatten()?;
            Some((known, need))
        });
        match joined {
            Some((known, need)) => {
                known.need = need;
                known.source = format!("{}, {}", known.source, alternative.source);
            }
            None => merged.push(alternative),
        }
    }
    merged
}

fn source_of(group: &Group, alternative: &Alternative) -> String {
    let parts = [&group.source, &alternative.source];
    parts.into_iter().map(String::as_str).filter(|source| !source.is_empty()).collect::<Vec<_>>().join("; ")
}
