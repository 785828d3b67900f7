//! What an unquoted word of YAML is to Envoy.
//!
//! Envoy turns YAML into JSON with rules of its own: the booleans of YAML 1.1 (`on`, `yes`, `y`), integers in decimal,
//! octal (`0100`) and hexadecimal (`0x1F`) of 32 bits; every other number (`1.5`, `3000000000`) is text.

use serde_json::Value;

/// The value of a plain (unquoted) scalar.
pub fn plain(text: &str) -> Value {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    if let Some(flag) = boolean(text) {
        return Value::Bool(flag);
    }
    match integer(text) {
        Some(number) if i32::try_from(number).is_ok() => Value::from(number),
        Some(number) => Value::String(number.to_string()),
        None => Value::String(text.to_owned()),
    }
}

/// A boolean word in lower case, in capitals, or with one capital in front.
fn boolean(text: &str) -> Option<bool> {
    let mut rest = text.chars();
    let first = rest.next()?;
    let rest = rest.as_str();
    let lower = |text: &str| text.chars().all(|c| c.is_ascii_lowercase());
    let upper = |text: &str| text.chars().all(|c| c.is_ascii_uppercase());
    if !(lower(text) || upper(text) || (first.is_ascii_uppercase() && lower(rest))) {
        return None;
    }
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "on" => Some(true),
        "n" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// An integer as a C++ stream reads one when it finds the base itself.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // Every line was asked of Envoy 1.40.
    #[test]
    fn words_are_what_they_are_to_envoy() {
        for (text, value) in [
            ("on", json!(true)),
            ("ON", json!(true)),
            ("yes", json!(true)),
            ("y", json!(true)),
            ("True", json!(true)),
            ("n", json!(false)),
            ("off", json!(false)),
            ("tRue", json!("tRue")),
            ("5", json!(5)),
            ("-3", json!(-3)),
            ("+5", json!(5)),
            ("0100", json!(64)),
            ("08", json!("08")),
            ("0o17", json!("0o17")),
            ("0x1F", json!(31)),
            ("3000000000", json!("3000000000")),
            ("99999999999999999999", json!("99999999999999999999")),
            ("1.5", json!("1.5")),
            ("1e3", json!("1e3")),
            (".inf", json!(".inf")),
            ("1_000", json!("1_000")),
            ("1:30", json!("1:30")),
            ("2026-01-01", json!("2026-01-01")),
            ("null", json!(null)),
            ("~", json!(null)),
            ("", json!(null)),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
    }

    #[test]
    fn signs_and_bases_alone_are_text() {
        for text in ["-", "+", "0x", "--1", "+-1", "0x-1"] {
            assert_eq!(plain(text), json!(text));
        }
        assert_eq!(plain("0"), json!(0));
    }
}
