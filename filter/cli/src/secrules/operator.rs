//! SecLang's operators.

use serde_json::{Value, json};

use super::expression;

/// What a rule asks: the field of a condition with its value, and whether it is negated.
pub struct Asked {
    pub field: &'static str,
    pub value: Value,
    pub is_negated: bool,
}

/// Reads `@rx ...`, `!@within ...`, or an expression alone.
///
/// # Errors
/// What has no equal.
pub fn parse(text: &str) -> Result<Asked, String> {
    let (text, is_negated) = match text.trim_start().strip_prefix('!') {
        Some(rest) => (rest.trim_start(), true),
        None => (text, false),
    };
    let (name, argument) = match text.trim_start().strip_prefix('@') {
        Some(rest) => {
            let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            (name.to_ascii_lowercase(), argument)
        }
        None => ("rx".to_owned(), text),
    };
    if argument.contains("%{") {
        return Err(format!("@{name} with a variable in its argument"));
    }
    if argument.is_empty() && !name.starts_with("detect") {
        return Err(format!("@{name} of nothing"));
    }
    let (field, value) = match name.as_str() {
        "rx" => ("regex", json!(expression::rewritten(argument, is_negated)?)),
        "pm" if argument.contains('|') => return Err("@pm with bytes by number".to_owned()),
        "pm" => ("phrases", json!(argument.split_whitespace().collect::<Vec<_>>())),
        "contains" => ("contains", json!([argument])),
        "streq" => ("equals", json!([argument])),
        "beginswith" => ("begins_with", json!([argument])),
        "endswith" => ("ends_with", json!([argument])),
        "within" => ("within", json!(argument)),
        "detectsqli" => ("detect", json!("sqli")),
        "detectxss" => ("detect", json!("xss")),
        other => return Err(format!("the operator @{other}")),
    };
    if value.as_array().is_some_and(Vec::is_empty) {
        return Err(format!("@{name} of nothing"));
    }
    Ok(Asked { field, value, is_negated })
}
