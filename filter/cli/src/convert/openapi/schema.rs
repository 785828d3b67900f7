//! Schemas of an OpenAPI document as those of a configuration.

use std::collections::{BTreeMap, VecDeque};

use portcullis_engine::input::schema;
use serde_json::{Map, Value, json};

use crate::convert::notes::Notes;

/// Where a document keeps its schemas.
const COMPONENTS: &str = "#/components/schemas/";

/// Keywords that hold one schema, a list of them, or several by name.
const ONE: &[&str] = &["additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"];
const LIST: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems"];
const NAMED: &[&str] = &["$defs", "dependentSchemas", "patternProperties", "properties"];

/// The schemas that the rules need.
#[derive(Debug)]
pub struct Schemas<'a> {
    document: &'a Value,
    /// Whether the document is of OpenAPI 3.0, whose schemas have words of their own.
    is_old: bool,
    made: BTreeMap<String, Value>,
    pending: VecDeque<String>,
}

impl<'a> Schemas<'a> {
    /// None yet.
    pub fn new(document: &'a Value, is_old: bool) -> Self {
        Self { document, is_old, made: BTreeMap::new(), pending: VecDeque::new() }
    }

    /// All that were asked for, by name, with those that they lead to.
    pub fn finish(mut self, notes: &mut Notes) -> BTreeMap<String, Value> {
        while let Some(name) = self.pending.pop_front() {
            let written = self.document.pointer("/components/schemas").and_then(|schemas| schemas.get(&name));
            let made = match written.cloned() {
                Some(written) => self.convert(&written, &format!("components.schemas.{name}"), notes),
                None => self.refuse(&format!("components.schemas.{name}"), "is not there", notes),
            };
            self.made.insert(name, made);
        }
        self.made
    }

    /// What takes nothing, in place of what has no equal.
    fn refuse(&self, at: &str, problem: &str, notes: &mut Notes) -> Value {
        notes.stricter(0, at, &format!("{problem}: it takes nothing here"), "write a schema in place of `false`");
        Value::Bool(false)
    }

    /// A schema with the same meaning; `at` is for what has none.
    pub fn convert(&mut self, written: &Value, at: &str, notes: &mut Notes) -> Value {
        let Some(members) = written.as_object() else {
            return match written {
                Value::Bool(takes) => json!(takes),
                _ => self.refuse(at, "is no schema", notes),
            };
        };
        let mut made = Map::new();
        if let Some(reference) = members.get("$ref") {
            let Some(reference) = self.reference(reference) else {
                return self.refuse(at, &format!("{reference} leads out of the document's schemas"), notes);
            };
            made.insert("$ref".to_owned(), json!(reference));
            // What stands beside it means nothing there.
            if self.is_old {
                return Value::Object(made);
            }
        }
        for (keyword, value) in members {
            let inner = format!("{at}.{keyword}");
            match keyword.as_str() {
                "$ref" => {}
                word if ONE.contains(&word) => drop(made.insert(word.to_owned(), self.convert(value, &inner, notes))),
                word if LIST.contains(&word) => {
                    let parts = value.as_array().into_iter().flatten().enumerate();
                    let parts: Vec<Value> =
                        parts.map(|(index, part)| self.convert(part, &format!("{inner}[{index}]"), notes)).collect();
                    made.insert(word.to_owned(), Value::Array(parts));
                }
                word if NAMED.contains(&word) => {
                    let mut parts = Map::new();
                    for (name, part) in value.as_object().into_iter().flatten() {
                        parts.insert(name.clone(), self.convert(part, &format!("{inner}.{name}"), notes));
                    }
                    made.insert(word.to_owned(), Value::Object(parts));
                }
                "format" => match value.as_str() {
                    Some(format) if schema::is_format(format) => drop(made.insert("format".to_owned(), json!(format))),
                    Some("binary") => {}
                    _ => notes.note(0, &inner, &format!("{value} is not checked"), "write `pattern` where it matters"),
                },
                "pattern" if !value.as_str().is_some_and(schema::is_pattern) => {
                    return self.refuse(
                        &inner,
                        "is a pattern with look-around or back-references, or too large",
                        notes,
                    );
                }
                "nullable" if self.is_old => {}
                "exclusiveMinimum" | "exclusiveMaximum" if self.is_old => {}
                "minimum" | "maximum" if self.is_old => {
                    let exclusive = if keyword == "minimum" { "exclusiveMinimum" } else { "exclusiveMaximum" };
                    let is_exclusive = members.get(exclusive) == Some(&Value::Bool(true));
                    made.insert(if is_exclusive { exclusive.to_owned() } else { keyword.clone() }, value.clone());
                }
                "type" => drop(made.insert("type".to_owned(), self.type_of(value, members))),
                "required" => drop(made.insert("required".to_owned(), self.required(value, members))),
                word if schema::is_annotation(word) => {}
                word if schema::is_keyword(word) => drop(made.insert(word.to_owned(), value.clone())),
                _ => return self.refuse(&inner, "is a keyword that is not carried out", notes),
            }
        }
        match with_choices(&mut made) {
            true => Value::Object(made),
            false => {
                let problem = "has numbers inside of lists or objects that Envoy's YAML has no form for";
                self.refuse(&format!("{at}.enum"), problem, notes)
            }
        }
    }

    fn reference(&mut self, reference: &Value) -> Option<String> {
        let rest = reference.as_str()?.strip_prefix(COMPONENTS)?;
        let name = rest.split('/').next()?.replace("~1", "/").replace("~0", "~");
        if !self.made.contains_key(&name) {
            self.made.insert(name.clone(), Value::Null);
            self.pending.push_back(name);
        }
        Some(format!("#/schemas/{rest}"))
    }

    fn type_of(&self, value: &Value, members: &Map<String, Value>) -> Value {
        match members.get("nullable") {
            Some(Value::Bool(true)) if self.is_old => json!([value, "null"]),
            _ => value.clone(),
        }
    }

    /// What a request need not have: properties that only responses do.
    pub fn required(&self, value: &Value, members: &Map<String, Value>) -> Value {
        let is_read_only = |name: &Value| {
            let property = members.get("properties").and_then(|all| all.get(name.as_str()?));
            property.map(|property| resolved(self.document, property)).and_then(|property| property.get("readOnly"))
                == Some(&Value::Bool(true))
        };
        value.as_array().into_iter().flatten().filter(|name| !is_read_only(name)).cloned().collect()
    }
}

/// Envoy makes text of numbers that are no whole ones of 32 bits. Where an `enum` or a `const` does not stand beside a `type` that says
/// what they are, they get one of their own. False where that cannot be.
fn with_choices(made: &mut Map<String, Value>) -> bool {
    fn is_odd(value: &Value) -> bool {
        value.is_number() && value.as_i64().is_none_or(|number| i32::try_from(number).is_err())
    }
    fn holds_odd(value: &Value) -> bool {
        match value {
            Value::Array(elements) => elements.iter().any(holds_odd),
            Value::Object(members) => members.values().any(holds_odd),
            value => is_odd(value),
        }
    }
    // Beside such a type, a text that reads as a number is one.
    let is_number = |value: &Value| value == "number" || value == "integer";
    let types = made.get("type").cloned().unwrap_or_default();
    let is_told = is_number(&types) || types.as_array().is_some_and(|types| types.iter().all(is_number));
    for word in ["enum", "const"].into_iter().filter(|_| !is_told) {
        let choices = match made.get(word) {
            Some(Value::Array(list)) if word == "enum" => list.clone(),
            Some(value) => vec![value.clone()],
            None => continue,
        };
        if !choices.iter().any(holds_odd) {
            continue;
        }
        let (numbers, others): (Vec<Value>, Vec<Value>) = choices.into_iter().partition(Value::is_number);
        if others.iter().any(holds_odd) {
            return false;
        }
        made.remove(word);
        let mut parts = vec![json!({"type": "number", "enum": numbers})];
        if !others.is_empty() {
            parts.push(json!({"enum": others}));
        }
        let all = made.entry("allOf").or_insert_with(|| json!([]));
        if let Some(all) = all.as_array_mut() {
            all.push(json!({"anyOf": parts}));
        }
    }
    true
}

/// What a `$ref` of the document leads to; the value itself where it is none.
pub fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    const LONGEST: usize = 16;
    let mut value = value;
    for _ in 0..LONGEST {
        let pointer = value.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
        match pointer.and_then(|pointer| document.pointer(pointer)) {
            Some(next) => value = next,
            None => break,
        }
    }
    value
}
