//! Reads a serialised `google.protobuf.Struct`: the form in which Envoy hands over a `configuration` of that type.

use serde_json::{Map, Number, Value};

use crate::protobuf::{Field, Payload, field};

/// Decodes a whole `Struct`. `None` if the bytes are none, or nest more than `max_depth` deep, or name a field twice.
pub fn decode(bytes: &[u8], max_depth: usize) -> Option<Value> {
    structure(bytes, max_depth)
}

/// `Struct { map<string, Value> fields = 1; }`
fn structure(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut members = Map::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let Field { number: 1, payload: Payload::Bytes(entry) } = field(&mut rest)? else { return None };
        let (key, value) = map_entry(entry, depth)?;
        if members.insert(key, value).is_some() {
            return None;
        }
    }
    Some(Value::Object(members))
}

fn map_entry(bytes: &[u8], depth: usize) -> Option<(String, Value)> {
    let (mut key, mut value) = (String::new(), Value::Null);
    let mut rest = bytes;
    while !rest.is_empty() {
        match field(&mut rest)? {
            Field { number: 1, payload: Payload::Bytes(text) } => key = utf8(text)?,
            Field { number: 2, payload: Payload::Bytes(bytes) } => value = self::value(bytes, depth)?,
            _ => return None,
        }
    }
    Some((key, value))
}

/// `Value { oneof kind { null = 1; double = 2; string = 3; bool = 4; Struct = 5; ListValue = 6; } }`
fn value(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut read = Value::Null;
    let mut rest = bytes;
    while !rest.is_empty() {
        read = match field(&mut rest)? {
            Field { number: 1, payload: Payload::Varint(_) } => Value::Null,
            Field { number: 2, payload: Payload::Fixed64(bits) } => number(f64::from_bits(bits))?,
            Field { number: 3, payload: Payload::Bytes(text) } => Value::String(utf8(text)?),
            Field { number: 4, payload: Payload::Varint(flag) } => Value::Bool(flag != 0),
            Field { number: 5, payload: Payload::Bytes(bytes) } => structure(bytes, depth)?,
            Field { number: 6, payload: Payload::Bytes(bytes) } => list(bytes, depth)?,
            _ => return None,
        };
    }
    Some(read)
}

/// `ListValue { repeated Value values = 1; }`
fn list(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut elements = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let Field { number: 1, payload: Payload::Bytes(bytes) } = field(&mut rest)? else { return None };
        elements.push(value(bytes, depth)?);
    }
    Some(Value::Array(elements))
}

/// A whole number as one, so that it reads as the operator wrote it.
fn number(double: f64) -> Option<Value> {
    const LAST_EXACT: f64 = 9_007_199_254_740_992.0;
    if double.fract() == 0.0 && double.abs() <= LAST_EXACT {
        // Lossless: checked above.
        return Some(Value::Number(Number::from(double as i64)));
    }
    Number::from_f64(double).map(Value::Number)
}

fn utf8(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn push(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
        out.push(tag);
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(bytes);
    }

    fn encode_value(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        match value {
            Value::Null => out.extend([0x08, 0]),
            Value::Bool(flag) => out.extend([0x20, u8::from(*flag)]),
            Value::Number(number) => {
                out.push(0x11);
                out.extend(number.as_f64().unwrap().to_le_bytes());
            }
            Value::String(text) => push(&mut out, 0x1a, text.as_bytes()),
            Value::Object(_) => push(&mut out, 0x2a, &encode(value)),
            Value::Array(elements) => {
                let mut list = Vec::new();
                elements.iter().for_each(|element| push(&mut list, 0x0a, &encode_value(element)));
                push(&mut out, 0x32, &list);
            }
        }
        out
    }

    fn encode(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, member) in value.as_object().unwrap() {
            let mut entry = Vec::new();
            push(&mut entry, 0x0a, key.as_bytes());
            push(&mut entry, 0x12, &encode_value(member));
            push(&mut out, 0x0a, &entry);
        }
        out
    }

    #[test]
    fn a_configuration_reads_as_it_was_written() {
        let document = json!({
            "version": 1, "a": [1.5, -3, true, null, "x".repeat(300)], "b": {"c": {"d": []}}, "": "é",
        });
        assert_eq!(decode(&encode(&document), 8), Some(document));
    }

    #[test]
    fn what_is_no_struct_is_refused() {
        let document = json!({"a": {"b": {"c": 1}}});
        let bytes = encode(&document);
        assert_eq!(decode(&bytes, 2), None, "too deep");
        for end in 1..bytes.len() {
            assert_eq!(decode(&bytes[..end], 8), None, "cut at {end}");
        }
        let twice: Vec<u8> = [bytes.clone(), bytes].concat();
        assert_eq!(decode(&twice, 8), None, "a field named twice");
        assert_eq!(decode(br#"{"version": 1}"#, 8), None, "JSON");
        assert_eq!(decode(b"\n{\n  \"version\": 1\n}", 8), None, "JSON after a line break");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes, 8);
        }
    }
}
