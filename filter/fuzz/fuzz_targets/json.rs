//! The two readers of JSON: what the tree of bodies takes is the same document to serde_json.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_engine::input::JsonLimits;
use portcullis_engine::input::json::{Document, Node};
use portcullis_engine::strict_json;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let strict = strict_json::parse_value(data, 64);
    let Ok(document) = Document::read(data, &JsonLimits { max_depth: 64, ..JsonLimits::NONE }) else { return };
    let mut out = Vec::new();
    document.write(0, &mut out);
    match serde_json::from_slice::<Value>(data) {
        Ok(known) => assert!(is_same(&document, 0, &known), "the readers differ"),
        // Numbers beyond a double are JSON, but not to serde_json.
        Err(_) => assert!(strict.is_err() && data.iter().any(u8::is_ascii_digit), "one reader alone takes it"),
    }
});

fn is_same(document: &Document<'_>, index: u32, value: &Value) -> bool {
    match (document.node(index), value) {
        (Node::Null, Value::Null) | (Node::Number(_), Value::Number(_)) => true,
        (Node::Bool(one), Value::Bool(other)) => one == *other,
        (Node::String(text), Value::String(other)) => document.text(text) == other,
        (Node::Array(_), Value::Array(others)) => {
            let elements: Vec<u32> = document.elements(index).collect();
            elements.len() == others.len()
                && elements.iter().zip(others).all(|(element, other)| is_same(document, *element, other))
        }
        (Node::Object(_), Value::Object(others)) => {
            let members: Vec<(u32, u32)> = document.members(index).collect();
            members.len() == others.len()
                && members.iter().all(|(name, member)| {
                    others.get(document.name(*name)).is_some_and(|other| is_same(document, *member, other))
                })
        }
        _ => false,
    }
}
