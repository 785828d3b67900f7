//! An `input` section as rules about requests.

use std::rc::Rc;

use serde_json::Value;

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{
    InputJsonSection, InputSection, Mode, ParameterPlace, ParameterSection, Placed, UnknownParameters,
};
use crate::config::units::Size;
use crate::input::schema::Compiler;
use crate::input::{Expected, InputRules, JsonLimits, MediaRange, Parameter, Parameters, Shape};

use super::compile::header_name;
use super::forms;

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
    let content_types = content_types(at, section, problems);
    let json = json_limits(&member_path(at, "json"), &section.json, problems);
    if section.schema.is_some() {
        check_json_for_schema(&member_path(at, "schema"), section, problems);
    }
    check_other_types(at, section, content_types.as_deref(), problems);
    let schema = section.schema.as_ref().and_then(|value| schemas.compile(value, member_path(at, "schema"), problems));
    let form = section.form.as_ref().map(|form| {
        let at = member_path(at, "form");
        forms::compile(&at, (section, form), &json, schemas, problems)
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
        form,
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
    let Some(written) = &section.content_types else {
        let json = section.schema.as_ref().map(|_| JSON);
        let forms = section.form.as_ref().map(forms::content_types);
        let parse = |text: &&str| MediaRange::parse(text);
        let ranges = json.into_iter().chain(forms).flatten().filter_map(parse).collect::<Vec<_>>();
        return (!ranges.is_empty()).then_some(ranges);
    };
    let at = member_path(at, "content_types");
    if written.0.is_empty() {
        problems.add_with_hint(&at, "takes no body at all", "leave it out to take every type");
    }
    Some(media_ranges(&at, &written.0, problems))
}

/// A body that passes as something else would pass by what is asked.
fn check_other_types(at: &str, section: &InputSection, ranges: Option<&[MediaRange]>, problems: &mut Problems) {
    let (schema, form) = (section.schema.is_some(), section.form.is_some());
    let (word, what) = match (schema, form) {
        (true, true) => ("form", "JSON and forms"),
        (true, false) => ("schema", "JSON"),
        (false, true) => ("form", "forms"),
        (false, false) => return,
    };
    let is_asked = |range: &MediaRange| (schema && range.is_json()) || (form && range.is_form());
    if ranges.is_some_and(|ranges| !ranges.iter().all(is_asked)) {
        let hint = format!("take only {what} in `content_types`, or give the other types a rule of their own");
        let problem = format!("is not asked about bodies of other types than {what}");
        problems.add_with_hint(member_path(at, word), problem, hint);
    }
}

pub(super) fn media_ranges(at: &str, written: &[String], problems: &mut Problems) -> Vec<MediaRange> {
    let mut ranges = Vec::new();
    for (index, text) in written.iter().enumerate() {
        match MediaRange::parse(text) {
            Some(range) => ranges.push(range),
            None => {
                let hint = "write it as `application/json`, `image/*` or `*/*+json`, without parameters";
                problems.add_with_hint(format!("{at}[{index}]"), format!("{text:?} is no content type"), hint);
            }
        }
    }
    ranges
}

/// JSON that has two readings would pass by its schema.
pub(super) fn check_json_for_schema(at: &str, section: &InputSection, problems: &mut Problems) {
    if !section.json.checks {
        problems.add_with_hint(at, "needs JSON to be read", "leave out `json.checks: off`");
    }
    if section.json.duplicate_keys {
        let hint = "leave out `json.duplicate_keys`: service and gateway could take another one of the two";
        problems.add_with_hint(at, "says nothing about members that are named twice", hint);
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
    Parameters::new(declared, section.unknown_parameters == UnknownParameters::Deny)
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
    let expected = expected(
        at,
        Written {
            schema: section.schema.as_ref(),
            required: section.required || section.r#in == ParameterPlace::Path,
            commas: section.commas,
            for_objects: ("no parameter is an object", "declare each value as a parameter of its own"),
        },
        schemas,
        problems,
    )?;
    let shape = match (expected.shape, section.r#in) {
        (Shape::Repeated | Shape::Commas, ParameterPlace::Header) => Shape::Lines,
        // A variable of the path stands once.
        (Shape::Repeated, ParameterPlace::Path) => Shape::Commas,
        (shape, _) => shape,
    };
    Some(Parameter { place: section.r#in, name, expected: Expected { shape, ..expected } })
}

/// What is written about the values of a parameter or a field.
pub(super) struct Written<'a> {
    pub schema: Option<&'a Value>,
    pub required: bool,
    pub commas: bool,
    /// What is wrong where the schema is about an object, and the way out.
    pub for_objects: (&'a str, &'a str),
}

/// What values must be that are sent as text.
pub(super) fn expected<'a>(
    at: &str,
    written: Written<'a>,
    schemas: &mut Compiler<'a>,
    problems: &mut Problems,
) -> Option<Expected> {
    let schema = match written.schema {
        Some(value) => Some(schemas.compile(value, member_path(at, "schema"), problems)?),
        None => None,
    };
    let types = schema.and_then(|schema| schemas.scalar_types(schema));
    if schema.is_some() && types.is_none() {
        let hint = "write `type`: what it says about numbers or arrays is not asked about text";
        problems.add_with_hint(member_path(at, "schema"), "takes any text", hint);
    }
    let is_list = types.is_some_and(|types| types.is_list());
    if written.commas && !is_list {
        let hint = "write `schema: {type: array, items: ...}`";
        problems.add_with_hint(member_path(at, "commas"), "is about an `array`", hint);
    }
    if types.is_some_and(|types| types.is_object()) {
        let (problem, hint) = written.for_objects;
        problems.add_with_hint(member_path(at, "schema"), problem, hint);
    }
    let shape = match (is_list, written.commas) {
        (false, _) => Shape::One,
        (true, true) => Shape::Commas,
        (true, false) => Shape::Repeated,
    };
    let value_types = match (shape, schema) {
        (Shape::One, _) | (_, None) => types,
        (_, Some(schema)) => schemas.items(schema).and_then(|items| schemas.scalar_types(items)),
    };
    Some(Expected { required: written.required, schema, shape, types: value_types.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_what_schemas_are_about() {
        assert!(JSON.iter().all(|range| MediaRange::parse(range).is_some_and(|range| range.is_json())));
    }
}
