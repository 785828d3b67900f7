//! An attack that payload rules have found, for log and counters: what was found where, and what would let it pass.

use portcullis_payload::arguments::{MOST, MOST_PARTS};
use portcullis_payload::own::Label;
use portcullis_payload::{Finding, FoundBy, Limit, Place, Verdict, plain_name};
use serde_json::{Map, Value, json};

/// Findings of one request that are told; more are counted only.
const MOST_TOLD: usize = 8;
/// How much is told of what an operator says about a rule, in characters.
const MOST_ABOUT: usize = 80;

/// An attack that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attack {
    /// For the log: the first finding, and the exception that would let it pass.
    pub detail: String,
    /// For the log: each finding as an object, one for each family that has reached the threshold and each place where it has.
    pub findings: Vec<Value>,
    /// The payload rules that found it, each once.
    pub found_by: Vec<Signature>,
}

/// A payload rule, for its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// A built-in one, by its name.
    BuiltIn(&'static str),
    /// One of the operator, by its place.
    Own(u16),
}

/// What a request has too much of: the word for its counter, and what the log says.
pub fn excess(limit: Limit) -> (&'static str, String) {
    match limit {
        Limit::Values => ("too-many-values", format!("it has more than {MOST} values, names among them")),
        Limit::Parts => ("too-many-parts", format!("it has more than {MOST_PARTS} parts")),
        Limit::Steps => ("too-many-steps", "a value of it exhausts the payload rules".to_owned()),
        Limit::OwnSteps => ("too-many-own-steps", "it takes `payload_rules` more than 20 million steps".to_owned()),
    }
}

impl Attack {
    /// Of a verdict in which some family has reached the threshold.
    pub(super) fn new(verdict: &Verdict, threshold: u16) -> Self {
        let found_by = verdict.decisive_rules(threshold).into_iter().map(|by| match by {
            FoundBy::BuiltIn(rule) => Signature::BuiltIn(rule.as_str()),
            FoundBy::Own(label) => Signature::Own(label.index),
        });
        let groups = grouped(verdict.decisive(threshold)).into_iter();
        let shown = groups.map(|group| {
            let points = verdict.score(group.finding.by.family());
            Shown::of(group, points, threshold)
        });
        let shown: Vec<Shown<'_>> = shown.collect();
        let more = match shown.len() {
            0 | 1 => String::new(),
            several => format!("; {} more in `portcullis.payload`", several - 1),
        };
        let detail = shown.first().map(|first| first.sentence() + &more).unwrap_or_default();
        Self { detail, findings: shown.iter().map(Shown::to_json).collect(), found_by: found_by.collect() }
    }
}

/// Findings that one exception lets pass.
struct Group<'a> {
    /// The heaviest.
    finding: &'a Finding,
    /// All of their rules.
    signatures: Vec<&'a str>,
    /// How many groups of its family come before it.
    rank: usize,
}

/// The findings by what excepts them; of each family one before the second of any.
fn grouped(decisive: Vec<&Finding>) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for finding in decisive {
        let signature = finding.by.as_str();
        if let Some(group) = groups.iter_mut().find(|group| is_excepted_with(group.finding, finding)) {
            if finding.weight > group.finding.weight {
                group.finding = finding;
            }
            if !group.signatures.contains(&signature) {
                group.signatures.push(signature);
            }
            continue;
        }
        let family = finding.by.family();
        let rank = groups.iter().filter(|group| group.finding.by.family() == family).count();
        groups.push(Group { finding, signatures: vec![signature], rank });
    }
    groups.sort_by_key(|group| group.rank);
    groups.truncate(MOST_TOLD);
    groups
}

/// Whether what excepts the one excepts the other too.
fn is_excepted_with(one: &Finding, other: &Finding) -> bool {
    match (&one.by, &other.by) {
        (FoundBy::Own(one), FoundBy::Own(other)) => one.index == other.index,
        (FoundBy::BuiltIn(_), FoundBy::BuiltIn(_)) => {
            one.by.family() == other.by.family()
                && one.place == other.place
                && (one.place == Place::Name || one.name == other.name)
        }
        _ => false,
    }
}

/// A finding as the log shows it.
struct Shown<'a> {
    finding: &'a Finding,
    /// The rules that have found the same there.
    signatures: Vec<&'a str>,
    /// The points of its family in the whole request.
    points: u16,
    threshold: u16,
    /// The parameter's name, or what of it may be shown.
    name: String,
    excerpt: String,
}

impl<'a> Shown<'a> {
    fn of(group: Group<'a>, points: u16, threshold: u16) -> Self {
        let Group { finding, signatures, .. } = group;
        let name = match (finding.place, plain(finding)) {
            // What stands there is what somebody has typed, not what somebody has called something.
            (Place::Name, _) | (_, (_, true)) => redacted(&finding.name),
            (_, (name, false)) => name.to_owned(),
        };
        let points = finding.score.unwrap_or(points);
        Self { finding, signatures, points, threshold, name, excerpt: redacted(&finding.excerpt) }
    }

    /// The member of a `payload` section that lets it pass.
    fn exception(&self) -> (&'static str, Value) {
        if let FoundBy::Own(label) = &self.finding.by {
            return ("without_rules", json!([label.name]));
        }
        let mut exception = Map::new();
        exception.insert("place".to_owned(), self.finding.place.as_str().into());
        let (name, goes_on) = plain(self.finding);
        if self.finding.place != Place::Name && !name.is_empty() {
            exception.insert("parameter".to_owned(), format!("{name}{}", if goes_on { "*" } else { "" }).into());
        }
        exception.insert("families".to_owned(), json!([self.finding.by.family().as_str()]));
        ("except", Value::Array(vec![Value::Object(exception)]))
    }

    fn to_json(&self) -> Value {
        let Finding { by, place, .. } = self.finding;
        let (member, exception) = self.exception();
        let mut told = json!({
            "signature": by.as_str(),
            "family": by.family().as_str(),
            "points": self.points,
            "threshold": self.threshold,
            "place": place.as_str(),
            "parameter": self.name,
            "excerpt": self.excerpt,
            "exception": {member: exception},
        });
        let Some(members) = told.as_object_mut() else { return told };
        let others: Vec<Value> = self
            .signatures
            .iter()
            .filter(|name| **name != by.as_str())
            .take(MOST_TOLD)
            .map(|name| json!(name))
            .collect();
        if !others.is_empty() {
            members.insert("also".to_owned(), Value::Array(others));
        }
        if let FoundBy::Own(label) = by {
            members.insert("about".to_owned(), start(&label.message, MOST_ABOUT).into());
            members.insert("tags".to_owned(), start(&label.tags.join(" "), MOST_ABOUT).into());
        }
        told
    }

    fn sentence(&self) -> String {
        let Finding { by, place, .. } = self.finding;
        let about = match by {
            FoundBy::Own(label) => about(label),
            FoundBy::BuiltIn(_) => String::new(),
        };
        let name = if self.name.is_empty() { String::new() } else { format!(" {:?}", self.name) };
        let (member, exception) = self.exception();
        format!(
            "{}{about} in {}{name}: {:?} ({} of {} points of {}); if this is no attack: payload: {{{member}: {}}}",
            by.as_str(),
            place.as_str(),
            self.excerpt,
            self.points,
            self.threshold,
            by.family().as_str(),
            flow(&exception),
        )
    }
}

/// What the operator says about a rule.
fn about(label: &Label) -> String {
    let message = start(&label.message, MOST_ABOUT);
    let message = if message.is_empty() { String::new() } else { format!(" {message:?}") };
    let tags = start(&label.tags.join(", "), MOST_ABOUT);
    if tags.is_empty() { message } else { format!("{message} [{tags}]") }
}

fn start(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// As much of the parameter's name as looks like one, and whether it goes on.
fn plain(finding: &Finding) -> (&str, bool) {
    let name = plain_name(&finding.name);
    (name, finding.is_cut || name.len() < finding.name.len())
}

/// A value as YAML writes it in one line, without quotes where it needs none.
fn flow(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            // The place, the parameter, the families.
            let members = members.iter().rev().map(|(name, value)| format!("{name}: {}", flow(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) if is_word(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether YAML reads a text as itself, whatever it is about.
fn is_word(text: &str) -> bool {
    const OTHERS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && !OTHERS.iter().any(|other| text.eq_ignore_ascii_case(other))
}

/// What matched, without what a user may have typed into it: signs stay, and of each word its first three letters; digits
/// become `0`.
fn redacted(excerpt: &[u8]) -> String {
    const MOST: usize = 40;
    let text = String::from_utf8_lossy(excerpt);
    let mut shown = String::new();
    let mut letters = 0;
    for character in text.chars().take(64) {
        let is_word = character.is_alphanumeric() || character == '_';
        letters = if is_word { letters + 1 } else { 0 };
        match character {
            _ if letters == 4 => shown.push('…'),
            _ if letters > 4 => {}
            digit if digit.is_numeric() => shown.push('0'),
            control if control.is_control() => shown.push(' '),
            other => shown.push(other),
        }
        if shown.chars().count() >= MOST {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_signs_and_no_words() {
        assert_eq!(redacted(b"1' or name='correct horse 4711'--"), "0' or nam…='cor… hor… 000…'--");
        assert_eq!(redacted(b"<script>\n\x00alert(document.cookie)"), "<scr…>  ale…(doc….coo…)");
        assert!(redacted(&[0xff; 64]).chars().count() <= 40);
    }

    #[test]
    fn words_need_no_quotes_and_all_else_has_them() {
        for word in ["q", "user-agent", "note_1"] {
            assert_eq!(flow(&json!({"parameter": word})), format!("{{parameter: {word}}}"));
        }
        for other in ["", "1", "true", "No", "a[b]", "note_*", ":path", "-a", "\u{e9}t\u{e9}", "a: b"] {
            assert_eq!(flow(&json!([other])), format!("[{}]", json!(other)), "{other}");
        }
    }
}
