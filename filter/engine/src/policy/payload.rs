//! A `payload` section as settings of the scanner.

use std::rc::Rc;

use portcullis_payload::{Exception, Family, RuleId, Settings};

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{Mode, PayloadSection};
use crate::payload::PayloadRules;

/// Compiles a `payload` section at `at`. `None` means that problems were added, or that payload rules are off.
pub fn compile(at: &str, section: &PayloadSection, problems: &mut Problems) -> Option<Rc<PayloadRules>> {
    let before = problems.len();
    let level = u8::try_from(section.level).ok().filter(|level| (1..=3).contains(level));
    if level.is_none() {
        problems.add(member_path(at, "level"), format!("{} is no level; write 1, 2 or 3", section.level));
    }
    let threshold = u16::try_from(section.threshold).ok().filter(|points| (1..=100).contains(points));
    if threshold.is_none() {
        let problem = format!("{} is no number of points from 1 to 100", section.threshold);
        problems.add_with_hint(member_path(at, "threshold"), problem, "5 is one certain sign");
    }
    let without = families(&member_path(at, "without"), &section.without, problems);
    let mut without_rules = Vec::new();
    for (index, name) in section.without_rules.iter().enumerate() {
        match RuleId::all().find(|rule| rule.as_str() == name) {
            Some(rule) => without_rules.push(rule),
            None => {
                let at = format!("{}[{index}]", member_path(at, "without_rules"));
                problems.add_unknown_name(at, "payload rule", name, RuleId::all().map(RuleId::as_str));
            }
        }
    }
    let mut except = Vec::new();
    for (index, exception) in section.except.iter().enumerate() {
        let at = format!("{}[{index}]", member_path(at, "except"));
        let (name, is_prefix) = match exception.parameter.strip_suffix('*') {
            Some(start) => (start, true),
            None => (exception.parameter.as_str(), false),
        };
        if name.is_empty() {
            let hint = "name it, or switch payload rules off here with `rules: off`";
            problems.add_with_hint(member_path(&at, "parameter"), "takes every parameter", hint);
        }
        let families = families(&member_path(&at, "families"), &exception.families, problems);
        except.push(Exception { name: name.as_bytes().to_vec(), is_prefix, families });
    }
    if section.max_inflated.as_usize() < section.max_body.as_usize() {
        problems.add(member_path(at, "max_inflated"), "is less than `max_body`");
    }
    if problems.len() > before || !section.rules {
        return None;
    }
    Some(Rc::new(PayloadRules {
        mode: section.mode.unwrap_or(Mode::Enforce),
        settings: Settings { level: level?, threshold: threshold?, without, without_rules, except, protocol: true },
        max_body: section.max_body.as_usize(),
        on_over: section.on_over,
        max_inflated: section.max_inflated.as_usize(),
    }))
}

fn families(at: &str, names: &[String], problems: &mut Problems) -> Vec<Family> {
    let mut found = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match Family::from_word(name) {
            Some(family) => found.push(family),
            None => {
                let known = Family::ALL.into_iter().map(Family::as_str);
                problems.add_unknown_name(format!("{at}[{index}]"), "family", name, known);
            }
        }
    }
    found
}
