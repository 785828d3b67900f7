//! Bodies that are forms: the properties of their schema as fields.

use portcullis_engine::input::{FORM, MULTIPART_FORM, MediaRange};
use serde_json::{Map, Value, json};

use super::schema::{Schemas, resolved};
use crate::convert::notes::Notes;

/// Schemas inside each other, by `$ref` and `allOf`, that make one list of fields.
const DEEPEST: usize = 8;

/// What the largest body has, unless a rule says otherwise.
const MAX_BODY: u64 = 128 * 1024;

/// As many files as a form has fields, unless a rule says otherwise.
const MAX_FILES: u64 = 256;

/// What of a schema about a form is carried over, or says nothing.
const CARRIED_OUT: &[&str] = &["$ref", "allOf", "type", "properties", "required", "additionalProperties"];

/// Whether a content type is a form.
pub fn is_form(name: &str) -> bool {
    name.eq_ignore_ascii_case(FORM) || name.eq_ignore_ascii_case(MULTIPART_FORM)
}

/// A body of a media type.
pub struct Body<'a> {
    pub document: &'a Value,
    /// The media type.
    pub kind: &'a str,
    /// What the document says of it.
    pub media: &'a Value,
    /// What it is, for notes, and the line of that.
    pub what: &'a str,
    pub line: usize,
}

/// The properties of all parts of a schema, with the schema that each is in.
#[derive(Default)]
struct Properties<'a> {
    by_name: Vec<(&'a str, &'a Value)>,
    required: Vec<Value>,
    is_closed: bool,
    /// Keywords that are not asked about a form.
    unasked: Vec<&'a str>,
}

impl<'a> Properties<'a> {
    fn add(&mut self, body: &Body<'a>, schemas: &Schemas<'_>, schema: &'a Value, depth: usize) {
        let schema = resolved(body.document, schema);
        let Some(members) = schema.as_object().filter(|_| depth < DEEPEST) else { return };
        for (name, property) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.by_name.retain(|(known, _)| known != name);
            self.by_name.push((name, property));
        }
        if let Some(required) = members.get("required") {
            self.required.extend(schemas.required(required, members).as_array().cloned().unwrap_or_default());
        }
        self.is_closed |= depth == 0 && members.get("additionalProperties") == Some(&Value::Bool(false));
        for part in members.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.add(body, schemas, part, depth + 1);
        }
        for word in members.keys().map(String::as_str) {
            let is_annotation = portcullis_engine::input::schema::is_annotation(word) || word.starts_with("x-");
            if !CARRIED_OUT.contains(&word) && !is_annotation && !self.unasked.contains(&word) {
                self.unasked.push(word);
            }
        }
    }
}

impl<'a> Body<'a> {
    /// The `form` that it has to meet; `None` if no property of it is described.
    pub fn form(&self, schemas: &mut Schemas<'_>, notes: &mut Notes) -> Option<Value> {
        let mut properties = Properties::default();
        properties.add(self, schemas, self.media.get("schema")?, 0);
        if properties.by_name.is_empty() {
            return None;
        }
        for word in &properties.unasked {
            let problem = format!("{word} is not asked about a form");
            notes.note(self.line, self.what, &problem, "its fields are checked one by one");
        }
        let mut fields = Vec::new();
        for (name, property) in &properties.by_name {
            let mut field = Map::from_iter([("name".to_owned(), json!(name))]);
            if properties.required.iter().any(|required| required == name) {
                field.insert("required".to_owned(), json!(true));
            }
            field.extend(self.field(name, property, schemas, notes));
            fields.push(Value::Object(field));
        }
        let mut form = Map::from_iter([("fields".to_owned(), Value::Array(fields))]);
        if properties.is_closed {
            form.insert("unknown_fields".to_owned(), json!("deny"));
        }
        Some(Value::Object(form))
    }

    fn field(&self, name: &str, property: &Value, schemas: &mut Schemas<'_>, notes: &mut Notes) -> Map<String, Value> {
        let what = format!("{}, field {name:?}", self.what);
        let encoding = self.media.get("encoding").and_then(|all| all.get(name));
        let encoded = |member: &str| encoding.and_then(|encoding| encoding.get(member));
        if encoded("headers").is_some() {
            notes.note(self.line, &what, "the headers of its part are not checked", "");
        }
        let schema = resolved(self.document, property);
        let items = schema.get("items").map(|items| resolved(self.document, items));
        let (is_list, one) = match items.filter(|_| is_of(schema, "array")) {
            Some(items) => (true, items),
            None => (is_of(schema, "array"), schema),
        };
        let content_type = encoded("contentType").and_then(Value::as_str).unwrap_or_default();
        let ranges: Vec<&str> =
            content_type.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim()).collect();
        let all = |holds: &dyn Fn(&str) -> bool| !content_type.is_empty() && ranges.iter().all(|range| holds(range));
        let is_json = |range: &str| MediaRange::parse(range).is_some_and(|range| range.is_json());
        let is_multipart = self.kind.eq_ignore_ascii_case(MULTIPART_FORM);
        let is_data = all(&|range| !range.starts_with("text/") && !is_json(range) && !range.ends_with("xml"));
        if is_multipart && (is_file(one) || (is_data && !is_object(one))) {
            return self.file(&what, (schema, one), &ranges, is_list, notes);
        }
        let style = encoded("style").and_then(Value::as_str).unwrap_or("form");
        let is_as_json = all(&is_json) || (is_object(schema) && content_type.is_empty() && encoded("style").is_none());
        let refused = if style != "form" {
            Some("is written in a style that is not read")
        } else if is_list && is_object(one) && !all(&is_json) {
            Some("is a list of objects")
        } else if is_object(schema) && !is_as_json {
            Some("is an object that is not sent as JSON")
        } else {
            None
        };
        if let Some(why) = refused {
            let hint = "write its `schema` in place of `false`";
            notes.stricter(self.line, &what, &format!("{why}: no value of it passes"), hint);
            return Map::from_iter([("schema".to_owned(), Value::Bool(false))]);
        }
        let mut field = Map::from_iter([("schema".to_owned(), schemas.convert(property, &what, notes))]);
        if is_as_json {
            field.insert("json".to_owned(), json!(true));
        } else if is_list && encoded("explode") == Some(&Value::Bool(false)) {
            field.insert("commas".to_owned(), json!(true));
        }
        field
    }

    fn file(
        &self,
        what: &str,
        (schema, one): (&Value, &Value),
        ranges: &[&str],
        is_list: bool,
        notes: &mut Notes,
    ) -> Map<String, Value> {
        let mut file = Map::new();
        let described = one.get("contentMediaType").and_then(Value::as_str);
        let ranges = if ranges == [""] { described.into_iter().collect() } else { ranges.to_vec() };
        // That of data of any kind says nothing about which.
        let takes_all = ranges.iter().any(|range| matches!(*range, "*/*" | "application/octet-stream"));
        if let Some(range) = ranges.iter().find(|range| !takes_all && MediaRange::parse(range).is_none()) {
            notes.note(self.line, what, &format!("{range:?} is no content type: all are taken"), "");
        } else if !takes_all && !ranges.is_empty() {
            file.insert("content_types".to_owned(), json!(ranges));
        }
        match one.get("maxLength").and_then(Value::as_u64) {
            Some(size) if (1..=MAX_BODY).contains(&size) => drop(file.insert("max_size".to_owned(), json!(size))),
            Some(_) => {
                let hint = "set `max_body` and `max_inflated`, and the file's `max_size`";
                notes.note(self.line, what, "may be larger than a body is", hint);
            }
            None => {}
        }
        if is_list {
            let most = schema.get("maxItems").and_then(Value::as_u64).filter(|most| *most > 0).unwrap_or(MAX_FILES);
            file.insert("max_count".to_owned(), json!(most));
            if schema.get("minItems").is_some() {
                notes.note(self.line, what, "minItems is not asked about files", "");
            }
        }
        Map::from_iter([("file".to_owned(), Value::Object(file))])
    }
}

fn is_of(schema: &Value, word: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == word,
        Some(Value::Array(list)) => list.iter().any(|one| one == word),
        _ => false,
    }
}

fn is_object(schema: &Value) -> bool {
    is_of(schema, "object") || (schema.get("type").is_none() && schema.get("properties").is_some())
}

/// Data as it is: `format: binary` (3.0), a media type without an encoding in text, or nothing at all (3.1).
fn is_file(schema: &Value) -> bool {
    let is_text = schema.get("contentEncoding").is_some();
    schema.get("format").is_some_and(|format| format == "binary")
        || (schema.get("contentMediaType").is_some() && !is_text)
        || schema.as_object().is_some_and(Map::is_empty)
}
