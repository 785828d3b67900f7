//! The rules of a converted configuration, put together of what authenticates and what authorises.
//!
//! Whatever this makes admits no request that its input would refuse. Requests go to the first rule that matches, so
//! each group of rules ends with one that refuses what is left of the group's requests, and an alternative that cannot be
//! written is left out: what it would have admitted is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::condition::{Common, Condition};
use super::notes::Notes;

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

/// What a caller must be, beside what authenticates it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// A token of one of these providers.
    pub providers: Option<Vec<String>>,
    /// One of these scopes, for each list.
    pub scopes: Vec<Vec<String>>,
    /// A client certificate with one of these names.
    pub certificates: Option<Vec<String>>,
}

impl Need {
    /// What is needed where both are.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let providers = match (&self.providers, &other.providers) {
            (Some(a), Some(b)) => Some(a.iter().filter(|name| b.contains(name)).cloned().collect()),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let certificates = match (&self.certificates, &other.certificates) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let scopes = self.scopes.iter().chain(&other.scopes).cloned().collect();
        Some(Self { providers, scopes, certificates })
    }
}

/// What a rule allows: `None`, nobody.
type Asked = Option<Map<String, Value>>;

/// A rule with the words above it.
#[derive(Debug, Clone)]
pub struct Written {
    /// What to know about it.
    pub comments: Vec<String>,
    /// The rule.
    pub rule: Value,
    /// What it matches.
    condition: Condition,
}

/// All that authorises and authenticates.
#[derive(Debug, Default)]
pub struct Plan {
    /// What refuses, before all else.
    pub denied: Vec<Alternative>,
    /// The groups; the last one takes every request.
    pub groups: Vec<Group>,
    /// What must be met, one of each list.
    pub allowed: Vec<Vec<Alternative>>,
    /// Providers made for client certificates: the names that each allows.
    pub certificates: BTreeMap<String, Vec<String>>,
}

impl Plan {
    /// The rules, in order.
    pub fn rules(&mut self, notes: &mut Notes) -> Vec<Written> {
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
            optional = false;
        }
        if !need.scopes.is_empty() {
            optional = false;
        }
        let tokens = need.providers.is_some() || !need.scopes.is_empty();
        if tokens && names.is_empty() {
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
        Ok(Some(rule))
    }

    /// The provider that takes certificates with these names.
    fn certificate(&mut self, allowed: &[String]) -> String {
        if let Some((name, _)) = self.certificates.iter().find(|(_, known)| *known == allowed) {
            return name.clone();
        }
        let name = format!("certificate-{}", self.certificates.len().saturating_add(1));
        self.certificates.insert(name.clone(), allowed.to_vec());
        name
    }
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

/// Alternatives for the same requests that differ in one list of scopes are one alternative with all of these scopes.
fn merged(alternatives: Vec<Alternative>) -> Vec<Alternative> {
    let mut merged: Vec<Alternative> = Vec::new();
    for alternative in alternatives {
        let same = merged.iter_mut().find(|known| {
            known.condition == alternative.condition
                && known.except == alternative.except
                && known.need.providers == alternative.need.providers
                && known.need.certificates == alternative.need.certificates
                && known.need.scopes.len() == 1
                && alternative.need.scopes.len() == 1
        });
        let mergeable_names = |need: &Need| need.certificates.is_some() && need.scopes.is_empty();
        match same {
            Some(known) => {
                if let (Some(mine), Some(theirs)) = (known.need.scopes.first_mut(), alternative.need.scopes.first()) {
                    mine.extend(theirs.iter().filter(|scope| !mine.contains(scope)).cloned().collect::<Vec<_>>());
                }
                known.source = format!("{}, {}", known.source, alternative.source);
            }
            None => {
                let names = merged.iter_mut().find(|known| {
                    known.condition == alternative.condition
                        && known.except == alternative.except
                        && known.need.providers == alternative.need.providers
                        && mergeable_names(&known.need)
                        && mergeable_names(&alternative.need)
                });
                match (names, &alternative.need.certificates) {
                    (Some(known), Some(theirs)) => {
                        let mine = known.need.certificates.get_or_insert_default();
                        mine.extend(theirs.iter().filter(|name| !mine.contains(name)).cloned().collect::<Vec<_>>());
                        known.source = format!("{}, {}", known.source, alternative.source);
                    }
                    _ => merged.push(alternative),
                }
            }
        }
    }
    merged
}

fn source_of(group: &Group, alternative: &Alternative) -> String {
    let parts = [&group.source, &alternative.source];
    parts.into_iter().map(String::as_str).filter(|source| !source.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Rules, without those that an earlier one leaves nothing to.
#[derive(Debug, Default)]
struct Rules(Vec<Written>);

impl Rules {
    fn push(&mut self, written: Written) {
        if !self.take(&written.condition) {
            self.0.push(written);
        }
    }

    /// Whether a rule that is there takes all requests of this condition.
    fn take(&self, condition: &Condition) -> bool {
        self.0.iter().any(|rule| rule.condition.covers(condition))
    }
}

fn rule(condition: &Condition, asked: Asked, comments: Vec<String>) -> Written {
    let Some(asked) = asked else { return nobody(condition, comments) };
    let mut rule = Map::new();
    rule.insert("match".to_owned(), condition.to_match());
    rule.extend(asked);
    Written { comments, rule: Value::Object(rule), condition: condition.clone() }
}

fn nobody(condition: &Condition, comments: Vec<String>) -> Written {
    let rule = json!({"match": condition.to_match(), "allow": "nobody"});
    Written { comments, rule, condition: condition.clone() }
}
