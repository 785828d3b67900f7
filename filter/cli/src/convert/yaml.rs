//! The converted configuration as a person would write it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::notes::{Kind, Notes};
use super::written::Written;

/// The text of a configuration: a field of a provider and a rule to a line, with comments above.
pub fn text(value: &Value, comments: &BTreeMap<String, Vec<String>>, rules: &[Written], notes: &Notes) -> String {
    let mut text = heading("Converted by `portcullis convert`.", notes);
    text.push_str("version: 1\n");
    let providers = value.get("providers").and_then(Value::as_object).filter(|providers| !providers.is_empty());
    if let Some(providers) = providers {
        text.push_str("providers:\n");
        for (name, section) in providers {
            text.push_str(&format!("  {name}:\n"));
            for comment in comments.get(name).into_iter().flatten() {
                text.push_str(&format!("    # {}\n", one_line(comment)));
            }
            for (field, value) in section.as_object().into_iter().flat_map(in_order) {
                text.push_str(&format!("    {field}: {}\n", flow(value)));
            }
        }
    }
    if let Some(lists) = value.get("address_lists").and_then(Value::as_object) {
        text.push_str("address_lists:\n");
        for (name, networks) in lists {
            text.push_str(&format!("  {name}: {}\n", flow(networks)));
        }
    }
    text.push_str("defaults: {unmatched: deny}\n");
    if rules.is_empty() {
        text.push_str("# Nobody is allowed anything.\nrules: []\n");
        return text;
    }
    text.push_str("rules:\n");
    for written in rules {
        for comment in written.comments.iter().filter(|comment| !comment.is_empty()) {
            text.push_str(&format!("# {}\n", one_line(comment)));
        }
        text.push_str(&format!("- {}\n", flow(&written.rule)));
    }
    text
}

/// The comments above all else: where the text comes from, and what of that has no equal.
pub fn heading(first: &str, notes: &Notes) -> String {
    let mut text = format!("# {first} What has no equal is refused; widen it with care.\n");
    for difference in notes.0.iter().filter(|difference| difference.kind == Kind::Stricter) {
        text.push_str(&format!("# no equal: {}: {}\n", one_line(&difference.what), one_line(&difference.problem)));
    }
    text
}

/// Nothing of the input begins a line of its own.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect()
}

/// The members that tell what a section is about come first.
fn in_order(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    const FIRST: &[&str] = &[
        "issuer",
        "audiences",
        "algorithms",
        "jwks",
        "discovery",
        "certificate",
        "cluster",
        "path",
        "match",
        "allow",
        "require",
        "scopes",
        "when",
        "addresses",
        "kty",
        "kid",
    ];
    let mut members: Vec<(&String, &Value)> = members.iter().collect();
    members.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    members
}

/// A value on one line.
pub fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let members =
                in_order(members).into_iter().map(|(name, value)| format!("{}: {}", scalar(name), flow(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Text without quotes where every reader of YAML takes it for text, else in JSON's quotes.
pub fn scalar(text: &str) -> String {
    const WORDS: &[&str] = &["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'/');
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/.".contains(&b));
    if begins && plain && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Language, read};
    use serde_json::json;

    #[test]
    fn what_is_written_reads_back() {
        let value = json!({"a": "yes", "b": ["x: y", "#", "1.5", "0x10", "", "-", "a b", "*x", "&y"], "c d": {"e": true, "f": "/x/**"},
                           "g": "line\nbreak\u{85}\u{7f}", "on": ["no", "Off", "y", "N", "TRUE", "null", "Null", "~", "1e3", "0x1F", "0100",
                           "1_000", "12:30:45", "3", "+5", ".5", ".inf", "<<", "!!int 5", "=", "-", "? a", "e3", "2026-11-23"]});
        let (read, _) = read(&flow(&value), Language::Yaml).unwrap();
        assert_eq!(read.to_value(), value);
    }
}
