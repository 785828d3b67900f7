//! The `form` of an `input` section.

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{FieldSection, FileSection, FormSection, InputSection, UnknownParameters};
use crate::input::schema::Compiler;
use crate::input::{
    Expected, FORM, Field, FieldKind, FileRules, FormRules, JsonLimits, MULTIPART_FORM, MediaRange, Shape,
};

use super::input::{Written, check_json_for_schema, expected, media_ranges};

/// The types of bodies that a form can have: with a file that must be there, one of them.
pub fn content_types(section: &FormSection) -> &'static [&'static str] {
    match section.fields.iter().any(|field| field.required && field.file.is_some()) {
        true => &[MULTIPART_FORM],
        false => &[FORM, MULTIPART_FORM],
    }
}

/// Compiles the fields of a form; `at` is its path.
pub fn compile<'a>(
    at: &str,
    (input, section): (&'a InputSection, &'a FormSection),
    json: &JsonLimits,
    schemas: &mut Compiler<'a>,
    problems: &mut Problems,
) -> FormRules {
    let mut fields: Vec<Field> = Vec::new();
    let takes_files = input.content_types.as_ref().is_none_or(|written| {
        written.0.iter().filter_map(|text| MediaRange::parse(text)).any(|range| range.takes(MULTIPART_FORM))
    });
    for (index, written) in section.fields.iter().enumerate() {
        let at = format!("{}[{index}]", member_path(at, "fields"));
        if written.file.is_some() && !takes_files {
            let hint = format!("add `{MULTIPART_FORM}` to `content_types`");
            problems.add_with_hint(member_path(&at, "file"), "no body that is taken here has files", hint);
        }
        if written.json {
            check_json_for_schema(&member_path(&at, "json"), input, problems);
        }
        let Some(field) = field(&at, input, written, schemas, problems) else { continue };
        if fields.iter().any(|other| other.name == field.name) {
            problems.add(member_path(&at, "name"), format!("{:?} is declared twice in the form", field.name));
        }
        fields.push(field);
    }
    FormRules::new(fields, section.unknown_fields == UnknownParameters::Deny, json.clone())
}

fn field<'a>(
    at: &str,
    input: &InputSection,
    section: &'a FieldSection,
    schemas: &mut Compiler<'a>,
    problems: &mut Problems,
) -> Option<Field> {
    let name = section.name.clone();
    let of_one = |schema, shape| Expected { required: section.required, schema, shape, types: Default::default() };
    if let Some(file) = &section.file {
        for (word, is_there) in [("schema", section.schema.is_some()), ("json", section.json)] {
            if is_there {
                let hint = "leave it out, or leave out `file`";
                problems.add_with_hint(member_path(at, word), "is not asked about a file", hint);
            }
        }
        let rules = file_rules(&member_path(at, "file"), input, file, problems);
        let shape = if rules.max_count == 1 { Shape::One } else { Shape::Repeated };
        return Some(Field { name, expected: of_one(None, shape), kind: FieldKind::File(rules) });
    }
    if section.json {
        let schema = match &section.schema {
            Some(value) => Some(schemas.compile(value, member_path(at, "schema"), problems)?),
            None => None,
        };
        if section.commas {
            problems.add_with_hint(member_path(at, "commas"), "is about text", "leave it out: JSON has its own commas");
        }
        return Some(Field { name, expected: of_one(schema, Shape::One), kind: FieldKind::Json });
    }
    let written = Written {
        schema: section.schema.as_ref(),
        required: section.required,
        commas: section.commas,
        for_objects: (
            "no text is an object",
            "write `json: on` if it is sent as JSON, or declare each value as a field of its own",
        ),
    };
    let expected = expected(at, written, schemas, problems)?;
    Some(Field { name, expected, kind: FieldKind::Text })
}

fn file_rules(at: &str, input: &InputSection, section: &FileSection, problems: &mut Problems) -> FileRules {
    let content_types = section.content_types.as_ref().map(|written| {
        let at = member_path(at, "content_types");
        if written.0.is_empty() {
            problems.add_with_hint(&at, "takes no file at all", "leave it out to take every type");
        }
        media_ranges(&at, &written.0, problems)
    });
    let sizes = [("max_count", Some(section.max_count)), ("max_size", section.max_size.map(|size| size.0))];
    for (word, _) in sizes.iter().filter(|(_, most)| *most == Some(0)) {
        let hint = "leave out `file`: a field without it takes none";
        problems.add_with_hint(member_path(at, word), "0 would refuse every file", hint);
    }
    if section.max_size.is_some_and(|size| size > input.max_body.max(input.max_inflated)) {
        let hint = "set `max_body` and `max_inflated` too";
        problems.add_with_hint(member_path(at, "max_size"), "is never reached: no body is as large", hint);
    }
    FileRules {
        content_types,
        max_size: section.max_size.map_or(usize::MAX, |size| size.as_usize()),
        max_count: usize::try_from(section.max_count).unwrap_or(usize::MAX),
    }
}
