//! An `input` section as rules about requests.

use std::rc::Rc;

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{
    InputJsonSection, InputSection, Mode, ParameterPlace, ParameterSection, Placed, UnknownParameters,
};
use crate::config::units::Size;
use crate::input::schema::Compiler;
use crate::input::{Form, InputRules, JsonLimits, MediaRange, Parameter, Parameters, SchemaId};

use super::compile::header_name;

/// The longest request target that the gateway takes at all.
const MAX_TARGET: usize = 8192;

/// Deeper than that, checks would need too much of the stack.
const MAX_DEPTH: u64 = 64;

/// JSON without and with a suffix.
const JSON: &[&str] = &["application/json", "*/*+json"];

/// Compiles an `input` section. `None` means that problems were added, or that nothing is checked.
pub fn compile<'a>(
    placed: &'a Placed<InputSection>,
    schemas: &mut Compiler<'a>,
    problems: &mut Problems,
) -> Option<Rc<InputRules>> {
    let before = problems.len();
    let Placed { at, section } = placed;
    let size = |name: &str, size: Size, problems: &mut Problems| {
        above_zero(&member_path(at, name), size.0, problems);
        size.as_usize()
    };
    let count = |name: &str, count: u64, problems: &mut Problems| {
        above_zero(&member_path(at, name), count, problems);
        usize::try_from(count).unwrap_or(usize::MAX)
    };
    let (max_path, max_query) =
        (size("max_path", section.max_path, problems), size("max_query", section.max_query, problems));
    for (name, size) in [("max_path", max_path), ("max_query", max_query)] {
        if size > MAX_TARGET {
            let hint = "path and query together have at most 8 KiB, whatever is written here";
            problems.add_with_hint(member_path(at, name), format!("{size} bytes are never reached"), hint);
        }
    }
    if section.max_inflated < section.max_body {
        problems.add_with_hint(member_path(at, "max_inflated"), "is less than `max_body`", "set it too");
    }
    let mut content_types = content_types(at, section, problems);
    let json = json_limits(&member_path(at, "json"), &section.json, problems);
    let schema = section.schema.as_ref().and_then(|value| {
        let at = member_path(at, "schema");
        check_json_for_schema(&at, section, content_types.as_deref(), problems);
        content_types.get_or_insert_with(|| JSON.iter().filter_map(|range| MediaRange::parse(range)).collect());
        schemas.compile(value, at, problems)
    });
    let rules = InputRules {
        mode: section.mode.unwrap_or(Mode::Enforce),
        content_types,
        max_head: size("max_head", section.max_head, problems),
        max_header: size("max_header", section.max_header, problems),
        max_headers: count("max_headers", section.max_headers, problems),
        max_cookies: count("max_cookies", section.max_cookies, problems),
        max_path,
        max_query,
        max_arguments: count("max_arguments", section.max_arguments, problems),
        max_body: size("max_body", section.max_body, problems),
        max_inflated: section.max_inflated.as_usize(),
        requires_body: section.require_body,
        json: section.json.checks.then_some(json),
        schema,
        parameters: parameters(at, section, schemas, problems),
    };
    (problems.len() == before && section.checks).then(|| Rc::new(rules))
}

fn above_zero(at: &str, limit: u64, problems: &mut Problems) {
    if limit == 0 {
        let hint = "leave it out for the usual limit, or write `checks: off` for none at all";
        problems.add_with_hint(at, "0 would refuse every request", hint);
    }
}

fn content_types(at: &str, section: &InputSection, problems: &mut Problems) -> Option<Vec<MediaRange>> {
    let written = section.content_types.as_ref()?;
    let at = member_path(at, "content_types");
    if written.0.is_empty() {
        problems.add_with_hint(&at, "takes no body at all", "leave it out to take every type");
    }
    let mut ranges = Vec::new();
    for (index, text) in written.0.iter().enumerate() {
        match MediaRange::parse(text) {
            Some(range) => ranges.push(range),
            None => {
                let hint = "write it as `application/json`, `image/*` or `*/*+json`, without parameters";
                problems.add_with_hint(format!("{at}[{index}]"), format!("{text:?} is no content type"), hint);
            }
        }
    }
    Some(ranges)
}

/// A body that passes as something else than JSON, or that has two readings, would pass by its schema.
fn check_json_for_schema(at: &str, section: &InputSection, ranges: Option<&[MediaRange]>, problems: &mut Problems) {
    if !section.json.checks {
        problems.add_with_hint(at, "needs JSON to be read", "leave out `json.checks: off`");
    }
    if section.json.duplicate_keys {
        let hint = "leave out `json.duplicate_keys`: service and gateway could take another one of the two";
        problems.add_with_hint(at, "says nothing about members that are named twice", hint);
    }
    if ranges.is_some_and(|ranges| !ranges.iter().all(MediaRange::is_json)) {
        let hint = "take only JSON in `content_types`, or give the other types a rule of their own";
        problems.add_with_hint(at, "is not asked about bodies of other types than JSON", hint);
    }
}

fn json_limits(at: &str, section: &InputJsonSection, problems: &mut Problems) -> JsonLimits {
    let mut limit = |name: &str, limit: u64| {
        above_zero(&member_path(at, name), limit, problems);
        usize::try_from(limit).unwrap_or(usize::MAX)
    };
    let limits = JsonLimits {
        max_depth: limit("max_depth", section.max_depth),
        max_keys: limit("max_keys", section.max_keys),
        max_key: limit("max_key", section.max_key.0),
        max_string: limit("max_string", section.max_string.0),
        max_elements: limit("max_elements", section.max_elements),
        duplicate_keys: section.duplicate_keys,
        numbers: section.numbers,
    };
    if section.max_depth > MAX_DEPTH {
        let problem = format!("{} is above the maximum of {MAX_DEPTH}", section.max_depth);
        problems.add_with_hint(member_path(at, "max_depth"), problem, "32 is more than services need");
    }
    limits
}

fn parameters<'a>(
    at: &str,
    section: &'a InputSection,
    schemas: &mut Compiler<'a>,
    problems: &mut Problems,
) -> Parameters {
    let mut declared: Vec<Parameter> = Vec::new();
    for (index, written) in section.parameters.iter().enumerate() {
        let at = format!("{}[{index}]", member_path(at, "parameters"));
        let Some(parameter) = parameter(&at, written, schemas, problems) else { continue };
        if declared.iter().any(|other| other.place == parameter.place && other.name == parameter.name) {
            let problem = format!("{:?} is declared twice in the {}", written.name, parameter.place.as_str());
            problems.add(member_path(&at, "name"), problem);
        }
        declared.push(parameter);
    }
    Parameters { declared, denies_unknown: section.unknown_parameters == UnknownParameters::Deny }
}

fn parameter<'a>(
    at: &str,
    section: &'a ParameterSection,
    schemas: &mut Compiler<'a>,
    problems: &mut Problems,
) -> Option<Parameter> {
    let name = match section.r#in {
        ParameterPlace::Header => header_name(&member_path(at, "name"), &section.name, problems)?,
        _ => section.name.clone(),
    };
    let schema: Option<SchemaId> = match &section.schema {
        Some(value) => Some(schemas.compile(value, member_path(at, "schema"), problems)?),
        None => None,
    };
    let types = schema.and_then(|schema| schemas.scalar_types(schema));
    if schema.is_some() && types.is_none() {
        let hint = "write `type`: what it says about numbers or arrays is not asked about text";
        problems.add_with_hint(member_path(at, "schema"), "takes any text", hint);
    }
    let is_list = types.is_some_and(|types| types.is_list());
    if section.commas && !is_list {
        let hint = "write `schema: {type: array, items: ...}`";
        problems.add_with_hint(member_path(at, "commas"), "is about an `array`", hint);
    }
    if types.is_some_and(|types| types.is_object()) {
        let hint = "declare each value as a parameter of its own";
        problems.add_with_hint(member_path(at, "schema"), "no parameter is an object", hint);
    }
    let form = match (is_list, section.commas) {
        (false, _) => Form::One,
        // A header's lines are one list (RFC 9110, 5.3), and a variable of the path stands once.
        (true, _) if matches!(section.r#in, ParameterPlace::Header | ParameterPlace::Path) => Form::Commas,
        (true, true) => Form::Commas,
        (true, false) => Form::Repeated,
    };
    let value_types = match (form, schema) {
        (Form::One, _) | (_, None) => types,
        (_, Some(schema)) => schemas.items(schema).and_then(|items| schemas.scalar_types(items)),
    };
    Some(Parameter {
        place: section.r#in,
        name,
        required: section.required,
        schema,
        form,
        types: value_types.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_schemas_are_about() {
        assert!(JSON.iter().all(|range| MediaRange::parse(range).is_some_and(|range| range.is_json())));
    }
}
