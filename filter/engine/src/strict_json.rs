//! JSON as a security decision needs it: one reading only (RFC 8259, RFC 7493).
//!
//! Two parsers that disagree about a duplicate member are a way around a check, so a duplicate is an error at every
//! level, and nesting is bounded before it can cost anything. Everything else is `serde_json`: UTF-8 only, no comments, no
//! trailing commas, no lone surrogates, nothing after the value.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text is not accepted as JSON. Says where, never what stood there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictJsonError {
    /// Not JSON, not UTF-8, a number beyond all range, or bytes after the value.
    Syntax {
        /// Where the reader gave up; counted from 1.
        line: usize,
        /// The byte in that line; counted from 1.
        column: usize,
    },
    /// An object names a member twice.
    DuplicateMember,
    /// Objects and arrays are nested deeper than the caller allows.
    TooDeep {
        /// The limit that was passed.
        max_depth: usize,
    },
    /// The value is JSON, but not an object.
    NotAnObject,
}

impl fmt::Display for StrictJsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, column } => write!(f, "no valid JSON at line {line}, column {column}"),
            Self::DuplicateMember => f.write_str("an object names a member twice"),
            Self::TooDeep { max_depth } => write!(f, "nested deeper than {max_depth} levels"),
            Self::NotAnObject => f.write_str("not a JSON object"),
        }
    }
}

impl std::error::Error for StrictJsonError {}

/// Reads one JSON value; `max_depth` counts nested objects and arrays, the outermost included (0 allows scalars only).
///
/// An integer past 64 bits becomes the nearest double, as in most JSON readers. A `max_depth` over 100 counts as 100,
/// which keeps the stack small.
///
/// # Errors
/// [`StrictJsonError`]; never `NotAnObject`.
pub fn parse_value(json: &[u8], max_depth: usize) -> Result<Value, StrictJsonError> {
    let max_depth = max_depth.min(DEEPEST);
    let refused = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(json);
    ValueSeed { levels_left: max_depth, max_depth, refused: &refused }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| {
            refused.get().unwrap_or(StrictJsonError::Syntax { line: error.line(), column: error.column() })
        })
}

/// Reads one JSON object; otherwise as [`parse_value`].
///
/// # Errors
/// [`StrictJsonError`]
pub fn parse_object(json: &[u8], max_depth: usize) -> Result<Map<String, Value>, StrictJsonError> {
    match parse_value(json, max_depth)? {
        Value::Object(members) => Ok(members),
        _ => Err(StrictJsonError::NotAnObject),
    }
}

/// Below the recursion limit of `serde_json`, so that it is always our own error that speaks.
const DEEPEST: usize = 100;

#[derive(Clone, Copy)]
struct ValueSeed<'c> {
    levels_left: usize,
    max_depth: usize,
    // serde's error type holds a text only; the cause travels beside it.
    refused: &'c Cell<Option<StrictJsonError>>,
}

impl ValueSeed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left, ..self }),
            None => Err(self.refuse(StrictJsonError::TooDeep { max_depth: self.max_depth })),
        }
    }

    fn refuse<E: serde::de::Error>(self, cause: StrictJsonError) -> E {
        self.refused.set(Some(cause));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            // Compared after unescaping: "a" and "\u0061" are one name.
            if object.contains_key(&name) {
                return Err(self.refuse(StrictJsonError::DuplicateMember));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(json: &str) -> StrictJsonError {
        parse_value(json.as_bytes(), 3).unwrap_err()
    }

    #[test]
    fn a_plain_value_reads_as_serde_json_reads_it() {
        for json in [r#"{"a":[1,-2,3.5,"x",null,true],"b":{"c":{}}}"#, "0", "\"\\ud83d\\ude00\"", " [ ] ", "1e3"] {
            assert_eq!(parse_value(json.as_bytes(), 3).unwrap(), serde_json::from_str::<Value>(json).unwrap());
        }
    }

    #[test]
    fn a_duplicate_member_is_refused_at_every_level() {
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"a":{}}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"[{"a":1,"a":2}]"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert_eq!(refusal(json), StrictJsonError::DuplicateMember, "{json}");
        }
    }

    #[test]
    fn the_same_name_in_different_objects_is_fine() {
        assert!(parse_value(br#"{"a":{"a":{"a":1}}}"#, 3).is_ok());
    }

    #[test]
    fn nesting_stops_at_the_limit() {
        assert!(parse_value(b"[[[]]]", 3).is_ok());
        assert_eq!(refusal("[[[[]]]]"), StrictJsonError::TooDeep { max_depth: 3 });
        assert_eq!(refusal(r#"{"a":[{"b":{}}]}"#), StrictJsonError::TooDeep { max_depth: 3 });
        assert_eq!(parse_value(b"[]", 0), Err(StrictJsonError::TooDeep { max_depth: 0 }));
        assert!(parse_value(b"7", 0).is_ok());
        let deep = "[".repeat(100_000);
        assert_eq!(parse_value(deep.as_bytes(), usize::MAX), Err(StrictJsonError::TooDeep { max_depth: DEEPEST }));
    }

    #[test]
    fn what_is_not_json_is_a_syntax_error() {
        for json in [
            "",
            " ",
            "{",
            "{}x",
            "{} {}",
            "{'a':1}",
            "{\"a\":1,}",
            "[1,]",
            "// c\n1",
            "NaN",
            "01",
            "+1",
            "1.",
            "\u{feff}1",
            "\"\\ud800\"",
            "\"\t\"",
            "1e999",
            "-",
            "nul",
            "\"a",
        ] {
            assert!(matches!(refusal(json), StrictJsonError::Syntax { .. }), "{json}");
        }
        assert!(matches!(parse_value(b"\"\xff\"", 3), Err(StrictJsonError::Syntax { .. })));
        assert!(matches!(parse_value(b"\"\xc0\xaf\"", 3), Err(StrictJsonError::Syntax { .. })));
    }

    #[test]
    fn an_object_is_asked_for_and_only_an_object_is_given() {
        for json in ["[]", "1", "null", "\"{}\""] {
            assert_eq!(parse_object(json.as_bytes(), 3), Err(StrictJsonError::NotAnObject));
        }
    }

    #[test]
    fn the_error_does_not_repeat_the_text() {
        for error in [refusal(r#"{"secret":1,"secret":2}"#), refusal("{\"secret\" \"x\"}")] {
            assert!(!error.to_string().contains("secret"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(json in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_value(&json, 8);
        }

        #[test]
        fn what_it_accepts_serde_json_reads_alike(json in r#"[\[\]{}",:a0-9\\ue. -]{0,40}"#) {
            if let Ok(value) = parse_value(json.as_bytes(), 8) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&json).unwrap());
            }
        }
    }
}
