//! What an unquoted word of YAML is: to Envoy, and by YAML's own core schema.
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

/// The value of a plain scalar by the core schema (YAML 1.2.2, 10.3.2): `yes` and `on` are text, `0x1F` and `1e3` numbers.
pub fn core(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let based = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        // Rust reads a sign too.
        let digits = Some(digits).filter(|digits| digits.chars().all(|c| c.is_digit(radix)))?;
        u64::from_str_radix(digits, radix).ok()
    };
    if let Some(number) = based("0o", 8).or_else(|| based("0x", 16)) {
        return Value::from(number);
    }
    core_number(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A number in decimal: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn core_number(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, rest)| (whole, Some(rest)));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let has_digits = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    if !has_digits
        || !digits(whole)
        || !fraction.is_none_or(digits)
        || exponent.is_some_and(|exponent| exponent.is_empty() || !digits(exponent))
    {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(Value::from(number));
    }
    let number: f64 = text.parse().ok()?;
    // `1e3` is as whole as 1000 (JSON Schema, 6.3).
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and in the range that doubles hold exactly")]
        true => Some(Value::from(number as i64)),
        false => serde_json::Number::from_f64(number).map(Value::Number),
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
    fn words_are_what_the_core_schema_says() {
        for (text, value) in [
            ("yes", json!("yes")),
            ("no", json!("no")),
            ("on", json!("on")),
            ("Off", json!("Off")),
            ("y", json!("y")),
            ("true", json!(true)),
            ("False", json!(false)),
            ("tRue", json!("tRue")),
            ("5", json!(5)),
            ("-3", json!(-3)),
            ("+5", json!(5)),
            ("0100", json!(100)),
            ("08", json!(8)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("0X1F", json!("0X1F")),
            ("0b1", json!("0b1")),
            ("3000000000", json!(3_000_000_000_i64)),
            ("1.5", json!(1.5)),
            ("-.5", json!(-0.5)),
            ("1.", json!(1)),
            ("1e3", json!(1000)),
            ("1.5E-1", json!(0.15)),
            ("1e", json!("1e")),
            ("e3", json!("e3")),
            (".", json!(".")),
            ("-", json!("-")),
            ("0x", json!("0x")),
            ("1e999", json!("1e999")),
            (".inf", json!(".inf")),
            ("1_000", json!("1_000")),
            ("12:30:45", json!("12:30:45")),
            ("2026-01-01", json!("2026-01-01")),
            ("null", json!(null)),
            ("~", json!(null)),
            ("", json!(null)),
            ("nil", json!("nil")),
        ] {
            assert_eq!(core(text), value, "{text}");
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
