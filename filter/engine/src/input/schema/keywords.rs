//! The keywords of JSON Schema (draft 2020-12), and what becomes of each.

/// Keywords that are carried out.
pub const CARRIED_OUT: &[&str] = &[
    "$anchor",
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "then",
    "type",
    "uniqueItems",
];

/// Keywords that say nothing about which values there are.
const ANNOTATIONS: &[&str] = &[
    "$comment",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "externalDocs",
    "readOnly",
    "title",
    "writeOnly",
    "xml",
];

/// Keywords that are not carried out, and what to write instead.
const REFUSED: &[(&str, &str)] = &[
    ("$dynamicAnchor", "write `$anchor`, and `$ref` to it"),
    ("$dynamicRef", "write `$ref`"),
    ("$id", "leave it out: a `$ref` leads to a place of this configuration"),
    ("$recursiveAnchor", "write `$ref: \"#\"`"),
    ("$recursiveRef", "write `$ref: \"#\"`"),
    ("$vocabulary", "it belongs to meta-schemas"),
    ("additionalItems", "write `prefixItems`, and `items` for what follows"),
    ("dependencies", "write `dependentRequired` or `dependentSchemas`"),
    ("id", "leave it out: a `$ref` leads to a place of this configuration"),
    ("nullable", "write `type: [..., \"null\"]`"),
    ("unevaluatedItems", "write `items: false` where all elements are declared"),
    ("unevaluatedProperties", "write `additionalProperties: false` where all properties are declared"),
];

/// Whether a keyword is an annotation, as those are whose names begin with `x-`.
pub fn is_annotation(keyword: &str) -> bool {
    ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-")
}

/// What to write instead of a keyword that is known and not carried out.
pub fn instead(keyword: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(known, _)| *known == keyword).map(|(_, hint)| *hint)
}
