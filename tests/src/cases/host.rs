//! What the host hands to the filter, in the host's own forms: the header map and the configuration.

use serde_json::Value;

/// A header map in the ABI's serialised form: a count, the lengths of each name and value, then the bytes, each with NUL.
pub fn header_map(lines: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut buffer = length(lines.len()).to_vec();
    for (name, value) in lines {
        buffer.extend(length(name.len()));
        buffer.extend(length(value.len()));
    }
    for (name, value) in lines {
        for part in [name, value] {
            buffer.extend_from_slice(part);
            buffer.push(0);
        }
    }
    buffer
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

/// `value`, an object, as a serialised `google.protobuf.Struct`: every number becomes a double.
pub fn protobuf_struct(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, member) in value.as_object().into_iter().flatten() {
        let mut entry = Vec::new();
        push_bytes(&mut entry, 1, key.as_bytes());
        push_bytes(&mut entry, 2, &protobuf_value(member));
        push_bytes(&mut bytes, 1, &entry);
    }
    bytes
}

fn protobuf_value(value: &Value) -> Vec<u8> {
    const VARINT: u8 = 0;
    const FIXED64: u8 = 1;
    let mut bytes = Vec::new();
    match value {
        Value::Null => bytes.extend([1 << 3 | VARINT, 0]),
        Value::Number(number) => {
            bytes.push(2 << 3 | FIXED64);
            bytes.extend(number.as_f64().unwrap_or(f64::NAN).to_le_bytes());
        }
        Value::String(text) => push_bytes(&mut bytes, 3, text.as_bytes()),
        Value::Bool(flag) => bytes.extend([4 << 3 | VARINT, u8::from(*flag)]),
        Value::Object(_) => push_bytes(&mut bytes, 5, &protobuf_struct(value)),
        Value::Array(elements) => {
            let mut list = Vec::new();
            for element in elements {
                push_bytes(&mut list, 1, &protobuf_value(element));
            }
            push_bytes(&mut bytes, 6, &list);
        }
    }
    bytes
}

fn push_bytes(buffer: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    const LENGTH_DELIMITED: u8 = 2;
    buffer.push(field << 3 | LENGTH_DELIMITED);
    let mut rest = bytes.len();
    while rest >= 0x80 {
        buffer.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    buffer.push(rest as u8);
    buffer.extend_from_slice(bytes);
}
