//! A `payload` section as settings of the scanner.

use std::collections::BTreeMap;
use std::rc::Rc;

use portcullis_payload::own::OwnRules;
use portcullis_payload::{Exception, Family, Place, RuleId, Settings};

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{Mode, OwnRuleSection, PayloadPlace, PayloadSection};
use crate::payload::PayloadRules;

/// Rules of the operator: as written, for their names, and as compiled, in the same order.
pub struct Own<'a> {
    /// As written.
    pub names: &'a BTreeMap<String, OwnRuleSection>,
    /// As compiled.
    pub rules: Rc<OwnRules>,
}

/// Compiles a `payload` section at `at`. `None` means that problems were added, or that payload rules are off.
pub fn compile(at: &str, section: &PayloadSection, own: &Own<'_>, problems: &mut Problems) -> Option<Rc<PayloadRules>> {
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
    let (mut without_rules, mut without_own) = (Vec::new(), Vec::new());
    for (index, name) in section.without_rules.iter().enumerate() {
        let own_index = own.names.keys().position(|known| known == name).and_then(|index| u16::try_from(index).ok());
        match (RuleId::all().find(|rule| rule.as_str() == name), own_index) {
            (Some(rule), _) => without_rules.push(rule),
            (None, Some(index)) => without_own.push(index),
            (None, None) => {
                let at = format!("{}[{index}]", member_path(at, "without_rules"));
                let mut known: Vec<&str> = own.names.keys().map(String::as_str).collect();
                known.extend(RuleId::all().map(|rule| -> &str { rule.as_str() }));
                problems.add_unknown_name(at, "payload rule", name, known);
            }
        }
    }
    let mut except = Vec::new();
    for (index, exception) in section.except.iter().enumerate() {
        let at = format!("{}[{index}]", member_path(at, "except"));
        let (name, is_prefix) = match exception.parameter.as_deref() {
            None => (None, false),
            Some(text) => match text.strip_suffix('*') {
                Some(start) => (Some(start), true),
                None => (Some(text), false),
            },
        };
        let place = exception.place.map(place);
        match (name, is_prefix, place) {
            (None, _, None) => {
                problems.add_with_hint(
                    at.as_str(),
                    "names neither a parameter nor a place",
                    "write `parameter` or `place`",
                );
            }
            (Some(""), true, None) => {
                let hint = "name it, or the `place`, or switch payload rules off here with `rules: off`";
                problems.add_with_hint(member_path(&at, "parameter"), "takes every parameter", hint);
            }
            _ => {}
        }
        let families = families(&member_path(&at, "families"), &exception.families, problems);
        except.push(Exception { place, name: name.map(|name| name.as_bytes().to_vec()), is_prefix, families });
    }
    if section.max_inflated.as_usize() < section.max_body.as_usize() {
        problems.add(member_path(at, "max_inflated"), "is less than `max_body`");
    }
    if problems.len() > before || !section.rules {
        return None;
    }
    Some(Rc::new(PayloadRules {
        mode: section.mode.unwrap_or(Mode::Enforce),
        settings: Settings {
            level: level?,
            threshold: threshold?,
            without,
            without_rules,
            except,
            protocol: true,
            own: Rc::clone(&own.rules),
            without_own,
        },
        max_body: section.max_body.as_usize(),
        on_over: section.on_over,
        max_inflated: section.max_inflated.as_usize(),
        grpc: section.grpc,
    }))
}

fn place(word: PayloadPlace) -> Place {
    match word {
        PayloadPlace::Query => Place::Query,
        PayloadPlace::Form => Place::Form,
        PayloadPlace::Json => Place::Json,
        PayloadPlace::Cookie => Place::Cookie,
        PayloadPlace::Header => Place::Header,
        PayloadPlace::Path => Place::Path,
        PayloadPlace::Multipart => Place::Multipart,
        PayloadPlace::Xml => Place::Xml,
        PayloadPlace::Text => Place::Text,
        PayloadPlace::Name => Place::Name,
        PayloadPlace::UserAgent => Place::UserAgent,
        PayloadPlace::Referer => Place::Referer,
        PayloadPlace::Upload => Place::Upload,
    }
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
