//! Rules and chains of rules.

use serde_json::{Map, Value, json};

use super::actions::{self, Action, SILENT};
use super::changes::{self, Change, Known, When};
use super::lines::{self, Directive};
use super::{Imported, LeftOut, operator, variables};

/// Reads files one after the other.
#[derive(Default)]
pub struct Importer {
    imported: Imported,
    file: String,
    /// The chain that is being read.
    chain: Option<Chain>,
    /// Whether a rule that does not say so refuses.
    denies: bool,
    /// The level of the Core Rule Set that is imported.
    paranoia_level: u8,
    /// Up to this marker, rules are asked only where an earlier rule says so.
    skips: Option<Skip>,
    /// How many directives were read.
    order: usize,
    /// The rules that are carried over, and what changes them.
    known: Vec<Known>,
    changes: Vec<Change>,
}

/// Rules that are jumped over: up to a marker, or so many.
struct Skip {
    marker: String,
    rules: usize,
    why: String,
}

/// A rule with those that are chained to it.
struct Chain {
    line: usize,
    name: String,
    actions: Vec<Action>,
    /// Tags and messages of the rules behind the first.
    marks: Vec<Action>,
    conditions: Vec<Value>,
    has_body: bool,
    /// The first thing without which the rule cannot be carried over.
    stopper: Option<String>,
}

impl Importer {
    /// For rules of the Core Rule Set up to a paranoia level.
    pub fn at_level(paranoia_level: u8) -> Self {
        Self { paranoia_level, ..Self::default() }
    }

    /// Reads one file.
    pub fn file(&mut self, name: &str, text: &str) {
        name.clone_into(&mut self.file);
        for directive in lines::directives(text) {
            self.directive(&directive);
        }
        self.end_torn();
        self.skips = None;
    }

    /// What was made of all of them.
    pub fn finish(mut self) -> Imported {
        changes::make(&mut self.imported, &self.known, self.changes);
        self.imported
    }

    fn left_out(&mut self, line: usize, what: &str, problem: impl Into<String>) {
        let place = self.place(line, what);
        self.imported.left_out.push(place.because(&problem.into()));
    }

    fn place(&self, line: usize, what: &str) -> LeftOut {
        LeftOut { file: self.file.clone(), line, what: what.to_owned(), problem: String::new() }
    }

    /// What `ctl` changes about other rules.
    fn ctl_changes(&mut self, line: usize, name: &str, actions: &[Action], when: impl Fn() -> When) {
        for (_, value) in actions.iter().filter(|(name, _)| name == "ctl") {
            if let Some((selector, what)) = changes::ctl(value) {
                let place = self.place(line, &format!("{name}, ctl:{value}"));
                self.changes.push(Change { place, order: self.order, selector, what, when: when() });
            }
        }
    }

    fn directive(&mut self, directive: &Directive) {
        let words: Vec<&str> = directive.words.iter().map(String::as_str).collect();
        let Some((name, rest)) = words.split_first() else { return };
        let line = directive.line;
        self.order += 1;
        if !name.eq_ignore_ascii_case("SecRule") {
            self.end_torn();
        }
        match (name.to_ascii_lowercase().as_str(), rest) {
            _ if directive.is_torn => self.lost(line, name, "a quote that does not end: left out"),
            ("secrule", [variables, operator]) => self.rule(line, variables, operator, ""),
            ("secrule", [variables, operator, actions]) => self.rule(line, variables, operator, actions),
            ("secrule", _) => self.lost(line, name, "it has no variables and operator: left out"),
            ("secmarker", [marker]) => {
                self.skips = self.skips.take().filter(|skip| skip.marker != *marker);
            }
            ("secaction", [actions]) => {
                let actions = actions::parse(actions);
                let name =
                    actions::value(&actions, "id").map_or("SecAction".to_owned(), |id| format!("SecAction {id}"));
                // Of one that is jumped over, nobody knows here whether it is carried out.
                let phase = phase_of(&actions);
                match (self.skips.is_some(), phase) {
                    (_, None) => {}
                    (true, Some(phase)) => self.ctl_changes(line, &name, &actions, || When::SomeRequests { phase }),
                    (false, Some(phase)) => self.ctl_changes(line, &name, &actions, || When::EachRequest { phase }),
                }
                self.skip_behind(&name, &actions);
                self.left_out(line, &name, "it asks nothing about a request: left out");
            }
            ("secdefaultaction", [actions]) => {
                self.denies = actions::parse(actions).iter().any(|(name, _)| name == "deny" || name == "drop");
                self.left_out(line, name, "only whether rules refuse is read of it");
            }
            (_, rest) => match changes::directive(name, rest) {
                Some((selector, what)) => {
                    let place = self.place(line, &format!("{name} {}", rest.join(" ")));
                    self.changes.push(Change { place, order: self.order, selector, what, when: When::Always });
                }
                None => self.left_out(line, name, "it is no rule: left out"),
            },
        }
    }

    /// A rule that cannot be read at all; nor can a chain that it belongs to.
    fn lost(&mut self, line: usize, name: &str, problem: &str) {
        self.chain = None;
        self.imported.seen += 1;
        self.left_out(line, name, problem);
    }

    /// Ends a chain whose next rule did not come.
    fn end_torn(&mut self) {
        if let Some(chain) = self.chain.take() {
            self.left_out(chain.line, &chain.name, "its chain has no end: left out");
        }
    }

    fn rule(&mut self, line: usize, variables: &str, operator: &str, actions: &str) {
        let actions = actions::parse(actions);
        let goes_on = actions::value(&actions, "chain").is_some();
        if self.chain.is_none() && !goes_on && self.is_gate(variables, operator, &actions) {
            return;
        }
        let mut chain = match self.chain.take() {
            Some(mut chain) => {
                // What a later rule of a chain does beside asking, it does for the whole.
                chain.actions.extend(actions.iter().filter(|(name, _)| name == "setvar" || name == "ctl").cloned());
                chain.marks.extend(actions.iter().filter(|(name, _)| name == "tag" || name == "msg").cloned());
                chain
            }
            None => {
                self.imported.seen += 1;
                let name = match actions::value(&actions, "id").map(|id| id.trim_matches('\'')) {
                    Some(id) if !id.is_empty() && id.len() < 20 && id.bytes().all(|b| b.is_ascii_digit()) => {
                        format!("secrule-{id}")
                    }
                    _ => format!("secrule-line-{line}"),
                };
                let phase = phase_of(&actions);
                let has_body = phase != Some(1);
                let skipped = self.skips.as_ref().map(|skip| skip.why.clone());
                if let Some(skip) = &mut self.skips {
                    skip.rules = skip.rules.saturating_sub(1);
                }
                self.skips = self.skips.take().filter(|skip| skip.rules > 0);
                let stopper = skipped.or_else(|| match phase {
                    Some(_) => None,
                    None => {
                        let named = actions::value(&actions, "phase").unwrap_or_default().to_ascii_lowercase();
                        Some(format!("phase {named}: it is not about the request"))
                    }
                });
                let (actions, marks) = (actions.clone(), Vec::new());
                Chain { line, name, actions, marks, conditions: Vec::new(), has_body, stopper }
            }
        };
        match self.condition(&chain, line, variables, operator, &actions) {
            Ok(condition) => chain.conditions.push(condition),
            Err(problem) => chain.stopper = chain.stopper.take().or(Some(problem)),
        }
        if goes_on {
            self.chain = Some(chain);
        } else {
            self.finish_rule(chain);
        }
    }

    /// Whether a rule only says at which paranoia level those behind it are asked.
    fn is_gate(&mut self, variables: &str, operator: &str, actions: &[Action]) -> bool {
        let Some(marker) = actions::value(actions, "skipafter") else { return false };
        let is_level = ["TX:EXECUTING_PARANOIA_LEVEL", "TX:DETECTION_PARANOIA_LEVEL", "TX:PARANOIA_LEVEL"]
            .iter()
            .any(|known| variables.eq_ignore_ascii_case(known));
        let level = operator.strip_prefix("@lt ").and_then(|level| level.trim().parse::<u8>().ok());
        let (true, Some(level)) = (is_level, level) else { return false };
        if level > self.paranoia_level && self.skips.is_none() {
            let why = format!("it is of paranoia level {level}");
            self.skips = Some(Skip { marker: marker.trim_matches('\'').to_owned(), rules: usize::MAX, why });
        }
        true
    }

    fn condition(
        &mut self,
        chain: &Chain,
        line: usize,
        variables: &str,
        operator: &str,
        actions: &[Action],
    ) -> Result<Value, String> {
        let found = variables::parse(variables, chain.has_body);
        if found.targets.is_empty() {
            return Err(format!("the variables {variables}"));
        }
        let asked = operator::parse(operator)?;
        let transform = variables::transformations(actions)?;
        // A value that is left out by a name that is not understood would be looked at.
        if let Some(variable) = found.without.iter().find(|variable| variable.starts_with('!')) {
            return Err(format!("the exclusion {variable}"));
        }
        if chain.stopper.is_none() {
            for variable in &found.without {
                self.left_out(line, &chain.name, format!("the variable {variable}: it is not looked at"));
            }
            if actions::value(actions, "multimatch").is_some() {
                self.left_out(line, &chain.name, "multiMatch: only the value after all transformations is looked at");
            }
        }
        let mut condition = Map::new();
        condition.insert("targets".to_owned(), json!(found.targets));
        if !found.except.is_empty() {
            condition.insert("except_targets".to_owned(), json!(found.except));
        }
        if !transform.is_empty() {
            condition.insert("transform".to_owned(), json!(transform));
        }
        condition.insert(asked.field.to_owned(), asked.value);
        if asked.is_negated {
            condition.insert("not".to_owned(), json!(true));
        }
        Ok(Value::Object(condition))
    }

    /// Rules that an action jumps over are asked only sometimes: none of them can be carried over.
    fn skip_behind(&mut self, name: &str, actions: &[Action]) {
        if self.skips.is_none() {
            let after = actions::value(actions, "skipafter");
            let rules = match after {
                Some(_) => Some(usize::MAX),
                None => actions::value(actions, "skip").map(|count| count.parse().unwrap_or(usize::MAX)),
            };
            let marker = after.unwrap_or("").trim_matches('\'').to_owned();
            let why = format!("{name} before it may skip it");
            self.skips = rules.map(|rules| Skip { marker, rules, why });
        }
    }

    fn finish_rule(&mut self, chain: Chain) {
        let Chain { line, name, actions, mut marks, mut conditions, stopper, .. } = chain;
        let phase = phase_of(&actions);
        if let Some(phase) = phase {
            self.ctl_changes(line, &name, &actions, || When::SomeRequests { phase });
        }
        self.skip_behind(&name, &actions);
        let weight = match stopper.map_or_else(|| self.weight(&actions), Err) {
            Ok(weight) => weight,
            Err(problem) => return self.left_out(line, &name, format!("{problem}: left out")),
        };
        if self.imported.rules.contains_key(&name) {
            return self.left_out(line, &name, "its id is that of an earlier rule: left out");
        }
        for (action, value) in &actions {
            if !SILENT.contains(&action.as_str())
                && action != "multimatch"
                && !is_score(action, value)
                && !is_about_logs(action, value)
            {
                self.left_out(line, &name, format!("the action {action}:{value}: it is not done"));
            }
        }
        let mut rule = match conditions.len() {
            1 => conditions.pop().and_then(|condition| condition.as_object().cloned()).unwrap_or_default(),
            _ => Map::from_iter([("all".to_owned(), Value::Array(conditions))]),
        };
        rule.extend(weight.map(|weight| ("weight".to_owned(), json!(weight))));
        let printable = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
        let message = actions::value(&actions, "msg").map(printable).filter(|message| !message.is_empty());
        rule.extend(message.map(|message| ("message".to_owned(), json!(message))));
        let tags: Vec<String> = actions
            .iter()
            .filter(|(name, tag)| name == "tag" && !tag.is_empty())
            .map(|(_, tag)| printable(tag))
            .collect();
        let tags: Vec<String> = tags.into_iter().filter(|tag| !tag.is_empty()).collect();
        if !tags.is_empty() {
            rule.insert("tags".to_owned(), json!(tags));
        }
        marks.extend(actions.iter().filter(|(name, _)| name == "tag" || name == "msg").cloned());
        let id = actions::value(&actions, "id").and_then(|id| id.trim_matches('\'').parse().ok());
        let phase = phase.unwrap_or(2);
        self.known.push(Known { name: name.clone(), id, phase, order: self.order, marks });
        let place = format!("{}:{line}", self.file);
        self.imported.rules.insert(name, (Value::Object(rule), place));
    }

    /// The points of a rule: none where it refuses alone.
    fn weight(&self, actions: &[Action]) -> Result<Option<u8>, String> {
        let has = |name: &str| actions::value(actions, name).is_some();
        const OTHER: &[&str] = &["allow", "redirect", "proxy", "exec", "skip", "skipafter", "pause"];
        if let Some(action) = OTHER.iter().find(|action| has(action)) {
            return Err(format!("the action {action}"));
        }
        let scores = actions.iter().find(|(action, value)| is_score(action, value));
        match (has("deny") || has("drop"), scores) {
            (true, _) => Ok(None),
            (false, Some((_, score))) => Ok(Some(points(score, actions::value(actions, "severity")))),
            (false, None) if has("block") || (self.denies && !has("pass")) => Ok(None),
            (false, None) if has("ctl") => {
                Err(format!("the action ctl:{}", actions::value(actions, "ctl").unwrap_or_default()))
            }
            (false, None) => Err("it refuses nothing".to_owned()),
        }
    }
}

/// 1 before the body is there, 2 after that; `None`: once there is an answer.
fn phase_of(actions: &[Action]) -> Option<u8> {
    match actions::value(actions, "phase").unwrap_or("2").to_ascii_lowercase().as_str() {
        "1" | "request_headers" => Some(1),
        "2" | "request" | "request_body" => Some(2),
        _ => None,
    }
}

/// Whether an action is about what is written down only.
fn is_about_logs(action: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    action == "ctl" && (value.starts_with("auditlogparts") || value.starts_with("auditengine"))
}

/// Whether an action adds to the score that refuses in the end.
fn is_score(action: &str, value: &str) -> bool {
    let (name, added) = value.split_once('=').unwrap_or((value, ""));
    let name = name.to_ascii_lowercase();
    action == "setvar" && added.starts_with('+') && name.starts_with("tx.") && name.contains("_score")
}

/// Points by the score's name or number, else by the severity, as the Core Rule Set counts.
fn points(score: &str, severity: Option<&str>) -> u8 {
    let added = score.split_once('+').map_or("", |(_, added)| added);
    if let Some(points) = added.parse().ok().filter(|points| (1..=100).contains(points)) {
        return points;
    }
    let level = format!("{added} {}", severity.unwrap_or("")).to_ascii_lowercase();
    let known = [("critical", 5), ("error", 4), ("warning", 3), ("notice", 2), ("2", 5), ("3", 4), ("4", 3), ("5", 2)];
    known.into_iter().find(|(word, _)| level.contains(word)).map_or(5, |(_, points)| points)
}
