//! The configuration reference, made of the JSON Schema.

use serde_json::Value;

/// One table for each section, in the order in which they are first named.
pub fn markdown(schema: &Value) -> String {
    let mut text = String::from(
        "# Configuration reference\n\n\
         <!-- Made by scripts/docs from the types that read the configuration. Changes belong there. -->\n\n\
         The filter's `configuration` in Envoy is a `google.protobuf.Struct` (YAML), or a `google.protobuf.StringValue` \
         that holds JSON.\n\
         Unknown fields are errors. `portcullis check` finds every mistake offline; `portcullis schema` prints this as JSON \
         Schema, for editors.\n",
    );
    for name in order(schema) {
        let Some(section) = definition(schema, &name) else { continue };
        let title = title(&name);
        text.push_str(&format!("\n## {title}\n\n{}\n", described(section)));
        if let Some(properties) = section.get("properties").and_then(Value::as_object) {
            text.push_str("\n| field | type | default | meaning |\n|---|---|---|---|\n");
            let required = section.get("required").and_then(Value::as_array);
            for (field, property) in properties {
                let is_required = required.is_some_and(|names| names.iter().any(|name| name == field.as_str()));
                text.push_str(&format!(
                    "| `{field}` | {} | {} | {} |\n",
                    cell(&kind(property)),
                    cell(&default(property, is_required)),
                    cell(described(property)),
                ));
            }
        } else {
            text.push_str(&format!("\nForm: {}\n", kind(section)));
        }
    }
    text
}

/// Sections by name, the root first, each behind the one that names it first.
fn order(schema: &Value) -> Vec<String> {
    let mut order = Vec::new();
    let mut next: Vec<String> = reference_name(schema).into_iter().collect();
    while !next.is_empty() {
        let name = next.remove(0);
        if order.contains(&name) {
            continue;
        }
        let mut inside = Vec::new();
        if let Some(section) = definition(schema, &name) {
            references(section, &mut inside);
        }
        order.push(name);
        next.extend(inside);
    }
    order
}

/// The names that a schema refers to.
fn references(value: &Value, names: &mut Vec<String>) {
    names.extend(reference_name(value));
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| references(element, names)),
        Value::Object(members) => {
            members.iter().filter(|(key, _)| *key != "default").for_each(|(_, value)| references(value, names));
        }
        _ => {}
    }
}

fn reference_name(value: &Value) -> Option<String> {
    let reference = value.get("$ref")?.as_str()?;
    reference.strip_prefix("#/$defs/").map(str::to_owned)
}

fn definition<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("$defs")?.get(name)
}

fn described(value: &Value) -> &str {
    value.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// `RuleSection` reads as `Rule`, `Config` as what it is.
fn title(name: &str) -> String {
    match name {
        "Config" => "The whole configuration".to_owned(),
        name => name.strip_suffix("Section").unwrap_or(name).to_owned(),
    }
}

/// What a field may hold, in words.
fn kind(property: &Value) -> String {
    if let Some(name) = reference_name(property) {
        let title = title(&name);
        let anchor = title.to_lowercase().replace(' ', "-");
        return format!("[{title}](#{anchor})");
    }
    if let Some(words) = property.get("enum").and_then(Value::as_array) {
        let words = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
        return words.collect::<Vec<_>>().join(" or ");
    }
    if let Some(choices) = property.get("anyOf").and_then(Value::as_array) {
        return choices.iter().map(kind).collect::<Vec<_>>().join(", or ");
    }
    let examples = property.get("examples").and_then(Value::as_array);
    let example = |what: &str| match examples.and_then(|examples| examples.first()).and_then(Value::as_str) {
        Some(example) => format!("{what} such as `{example}`"),
        None => what.to_owned(),
    };
    let types: Vec<&str> = match property.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    match types.as_slice() {
        ["integer", ..] => "whole number".to_owned(),
        ["boolean"] => "true or false".to_owned(),
        ["string", ..] => example("text"),
        ["array"] => match property.get("items") {
            Some(items) => format!("list of {}", kind(items)),
            None => "list".to_owned(),
        },
        ["object"] => match (property.get("additionalProperties"), property.get("properties")) {
            (_, Some(Value::Object(members))) => {
                let members = members.iter().map(|(name, value)| format!("`{name}`: {}", kind(value)));
                format!("object with {}", members.collect::<Vec<_>>().join(", "))
            }
            (Some(value @ Value::Object(_)), _) => format!("name to {}", kind(value)),
            _ => "object".to_owned(),
        },
        _ => "anything".to_owned(),
    }
}

fn default(property: &Value, is_required: bool) -> String {
    match property.get("default") {
        _ if is_required => "required".to_owned(),
        Some(Value::Object(members)) if members.is_empty() => String::new(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(value) => format!("`{value}`"),
        None => String::new(),
    }
}

/// Text that may stand in a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_engine::config::schema::json_schema;

    #[test]
    fn every_field_of_every_section_is_in_the_reference() {
        let schema = json_schema();
        let text = markdown(&schema);
        for (name, section) in schema["$defs"].as_object().unwrap() {
            assert!(text.contains(&format!("\n## {}\n", title(name))), "{name}");
            for (field, property) in section["properties"].as_object().into_iter().flatten() {
                assert!(text.contains(&format!("| `{field}` |")), "{name}.{field}");
                assert!(!described(property).is_empty(), "{name}.{field} has no meaning");
            }
        }
    }

    #[test]
    fn a_row_tells_type_default_and_meaning() {
        let text = markdown(&json_schema());
        for row in [
            "| `mode` | `enforce` or `monitor` | `enforce` |",
            "| `version` | whole number | required |",
            "| `providers` | name to [Provider](#provider) |  |",
            "| `rate` | text such as `1000/min` |  |",
            "| `key` | [Key](#key) | required |",
        ] {
            assert!(text.contains(row), "{row}\n{text}");
        }
    }
}
