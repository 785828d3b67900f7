//! Directives and actions that change other rules: they take a rule away, or one of the values that it looks at.
//!
//! Where engines differ, the reading is taken by which a rule looks at less. ModSecurity 3 heeds such a directive wherever it stands, also for
//! the rules of a chain; ModSecurity 2 and Coraza heed it for rules in front of it, and for the first rule of a chain.

use std::collections::BTreeSet;

use portcullis_pattern::Pattern;
use serde_json::{Value, json};

use super::actions::{self, Action};
use super::{Imported, LeftOut, expression, variables};

/// A rule that is carried over, as far as changes are about it.
pub struct Known {
    pub name: String,
    pub id: Option<u64>,
    /// 1: before the body is there; 2: after that.
    pub phase: u8,
    /// Its place among all directives.
    pub order: usize,
    /// The tags and messages of the rule and of those that are chained to it.
    pub marks: Vec<Action>,
}

/// Something that changes other rules.
pub struct Change {
    /// Where it stands and what it is; its problem is still to be said.
    pub place: LeftOut,
    pub order: usize,
    /// Which rules it is about; `None`: that cannot be read.
    pub selector: Option<Selector>,
    pub what: What,
    pub when: When,
}

/// What becomes of the rules.
pub enum What {
    /// They are gone.
    Remove,
    /// They look at other values: `!ARGS:q`, `ARGS:q`.
    Targets { variables: String, is_replacement: bool },
    /// They do something else.
    Actions(String),
}

/// When a change is made.
pub enum When {
    /// As the files are read.
    Always,
    /// For each request, by an action of a rule of this phase, for the rules that are asked after it.
    EachRequest { phase: u8 },
    /// For some requests only.
    SomeRequests { phase: u8 },
}

/// Which rules a change is about.
pub enum Selector {
    Ids(Vec<(u64, u64)>),
    /// By `tag` or `msg`: an expression in ModSecurity 2, the text itself elsewhere. `None`: an expression that cannot be read takes all.
    Mark(&'static str, String, Option<Pattern>),
}

impl Selector {
    /// By the end of a name, such as `SecRuleRemoveByTag`, and what stands behind it.
    fn parse(by: &str, text: &[&str]) -> Option<Self> {
        let mark = |action| {
            let text = text.join(" ");
            let pattern = expression::rewritten(&text, false).and_then(|source| Pattern::of_bytes(&source));
            Some(Self::Mark(action, text, pattern.ok()))
        };
        match by {
            "byid" => {
                let words = text.iter().flat_map(|word| word.split([' ', ',']));
                let range = |word: &str| {
                    // `1001:2`: the second rule of a chain.
                    let word = word.split(':').next().unwrap_or_default().trim_matches('\'');
                    let (first, last) = word.split_once('-').unwrap_or((word, word));
                    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
                };
                words.filter(|word| !word.is_empty()).map(range).collect::<Option<Vec<_>>>().map(Self::Ids)
            }
            "bytag" => mark("tag"),
            "bymsg" => mark("msg"),
            _ => None,
        }
    }

    fn takes(&self, rule: &Known) -> bool {
        match self {
            Self::Ids(ranges) => {
                rule.id.is_some_and(|id| ranges.iter().any(|(first, last)| (*first..=*last).contains(&id)))
            }
            Self::Mark(action, text, pattern) => {
                rule.marks.iter().filter(|(name, _)| name == action).any(|(_, mark)| {
                    mark == text || pattern.as_ref().is_none_or(|pattern| pattern.is_match(mark.as_bytes()))
                })
            }
        }
    }
}

/// The change that a directive makes; `None`: it makes none.
pub fn directive(name: &str, rest: &[&str]) -> Option<(Option<Selector>, What)> {
    let name = name.to_ascii_lowercase();
    if let Some(by) = name.strip_prefix("secruleremove") {
        return Some((Selector::parse(by, rest), What::Remove));
    }
    let (selected, rest) = rest.split_first()?;
    if let Some(by) = name.strip_prefix("secruleupdatetarget") {
        let (variables, more) = rest.split_first()?;
        let what = What::Targets { variables: (*variables).to_owned(), is_replacement: !more.is_empty() };
        return Some((Selector::parse(by, &[selected]), what));
    }
    let by = name.strip_prefix("secruleupdateaction")?;
    Some((Selector::parse(by, &[selected]), What::Actions(rest.first()?.to_string())))
}

/// The change that `ctl` makes while a request is judged; `None`: it makes none to rules.
pub fn ctl(value: &str) -> Option<(Option<Selector>, What)> {
    let (name, text) = value.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let by = name.strip_prefix("ruleremove")?;
    let Some(by) = by.strip_prefix("target") else { return Some((Selector::parse(by, &[text]), What::Remove)) };
    let (selected, variable) = text.split_once(';')?;
    let what = What::Targets { variables: format!("!{}", variable.trim_start_matches('!')), is_replacement: false };
    Some((Selector::parse(by, &[selected]), what))
}

/// Actions that an update may give to a rule without making it refuse less.
const HARMLESS: &[&str] = &[
    "deny",
    "drop",
    "block",
    "status",
    "msg",
    "tag",
    "severity",
    "log",
    "nolog",
    "auditlog",
    "noauditlog",
    "logdata",
    "rev",
    "ver",
    "maturity",
    "accuracy",
    "capture",
];

/// Makes all changes, and says of each what it did.
pub fn make(imported: &mut Imported, known: &[Known], changes: Vec<Change>) {
    for change in changes {
        let Change { place, order, selector, what, when } = change;
        let Some(selector) = selector else {
            imported.left_out.push(place.because("which rules it is about cannot be read: left out"));
            continue;
        };
        let reaches = |rule: &&Known| match when {
            When::Always => true,
            When::EachRequest { phase } | When::SomeRequests { phase } => (rule.phase, rule.order) > (phase, order),
        };
        let is_there = |rule: &&Known| imported.rules.contains_key(&rule.name);
        let about: Vec<&Known> =
            known.iter().filter(is_there).filter(reaches).filter(|rule| selector.takes(rule)).collect();
        if about.is_empty() {
            imported.applied.push(place.because("it is about no rule that is carried over"));
            continue;
        }
        let all: Vec<&str> = about.iter().map(|rule| rule.name.as_str()).collect();
        if let When::SomeRequests { .. } = when {
            let problem = format!("{} asked as ever: this would change it for some requests", listed(&all));
            imported.left_out.push(place.because(&problem));
            continue;
        }
        let mut gone = BTreeSet::new();
        match &what {
            What::Remove => {
                gone.extend(&all);
                imported.applied.push(place.because(&format!("{} removed", listed(&all))));
            }
            What::Targets { is_replacement: true, .. } => {
                gone.extend(&all);
                let problem = format!("a replacement of variables: {} left out", listed(&all));
                imported.left_out.push(place.because(&problem));
            }
            What::Targets { variables, .. } => gone.extend(narrow(imported, &place, variables, &all)),
            What::Actions(text) => {
                let harmful = actions::parse(text).into_iter().find(|(name, _)| !HARMLESS.contains(&name.as_str()));
                let problem = match harmful {
                    Some((name, _)) => {
                        gone.extend(&all);
                        format!("the action {name}: {} left out", listed(&all))
                    }
                    None => format!("{} carried over without it", listed(&all)),
                };
                imported.left_out.push(place.because(&problem));
            }
        }
        let behind: Vec<&str> = about.iter().filter(|rule| rule.order > order).map(|rule| rule.name.as_str()).collect();
        if matches!(when, When::Always) && !behind.is_empty() {
            let problem =
                format!("{} behind it, where ModSecurity 3 heeds it, ModSecurity 2 and Coraza do not", listed(&behind));
            imported.left_out.push(place.because(&problem));
        }
        for name in gone {
            imported.rules.remove(name);
        }
    }
}

/// Excludes values from rules; gives those of them for which that has no equal.
fn narrow<'a>(imported: &mut Imported, place: &LeftOut, variables: &str, about: &[&'a str]) -> Vec<&'a str> {
    let found = variables::parse(variables, true);
    if let Some(variable) = found.without.iter().find(|variable| variable.starts_with('!')) {
        let problem = format!("the exclusion {variable}: {} left out", listed(about));
        imported.left_out.push(place.because(&problem));
        return about.to_vec();
    }
    if !found.targets.is_empty() || !found.without.is_empty() {
        let problem = format!("the variables {variables}: {} carried over without those that are added", listed(about));
        imported.left_out.push(place.because(&problem));
    }
    if found.except.is_empty() {
        return Vec::new();
    }
    for name in about {
        if let Some((rule, _)) = imported.rules.get_mut(*name) {
            except(rule, &found.except);
        }
    }
    imported.applied.push(place.because(&format!("{} narrowed by {}", listed(about), found.except.join(", "))));
    Vec::new()
}

/// Adds exceptions to all conditions of a rule.
fn except(rule: &mut Value, more: &[String]) {
    let Some(fields) = rule.as_object_mut() else { return };
    if let Some(Value::Array(conditions)) = fields.get_mut("all") {
        conditions.iter_mut().for_each(|condition| except(condition, more));
        return;
    }
    if let Value::Array(excepted) = fields.entry("except_targets").or_insert_with(|| json!([])) {
        for target in more.iter().map(|target| json!(target)) {
            if !excepted.contains(&target) {
                excepted.push(target);
            }
        }
    }
}

/// `a is`, `a, b are`, `a, b, c, d, e and 3 more are`.
fn listed(names: &[&str]) -> String {
    const NAMED: usize = 5;
    let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        1 => format!("{named} is"),
        count if count > NAMED => format!("{named} and {} more are", count.saturating_sub(NAMED)),
        _ => format!("{named} are"),
    }
}
