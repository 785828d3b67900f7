//! What schemas take and refuse, which are no schemas, and what they cost. `tests/tests/json_schema.rs` has the official suite.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::Problems;
use crate::input::json::JsonLimits;

struct Compiled {
    set: SchemaSet,
    id: SchemaId,
}

fn compiled_with(named: &Value, schema: &Value) -> Result<Compiled, Vec<String>> {
    let named: BTreeMap<String, Value> = serde_json::from_value(named.clone()).unwrap();
    let mut problems = Problems::default();
    let mut compiler = Compiler::new(&named);
    compiler.compile_named(&mut problems);
    let id = compiler.compile(schema, "schema".to_owned(), &mut problems);
    let set = compiler.finish(&mut problems);
    match id {
        Some(id) if problems.is_empty() => Ok(Compiled { set, id }),
        _ => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

fn compiled(schema: Value) -> Compiled {
    compiled_with(&json!({}), &schema).unwrap()
}

fn problems(schema: Value) -> Vec<String> {
    compiled_with(&json!({"Known": {"type": "string"}}), &schema).err().unwrap_or_default()
}

impl Compiled {
    fn check(&self, document: &str) -> Result<Vec<String>, String> {
        let document = Document::read(document.as_bytes(), &JsonLimits::NONE).unwrap();
        let typed = self.set.check(self.id, &document).map_err(|mismatch| mismatch.to_string())?;
        Ok(typed.into_iter().map(|node| document.name(node).to_owned()).collect())
    }

    fn steps(&self, document: &str) -> u64 {
        let limits = JsonLimits { max_depth: 100, ..JsonLimits::NONE };
        validate::counted(&self.set, self.id, &Document::read(document.as_bytes(), &limits).unwrap()).1
    }
}

#[test]
fn a_mismatch_says_where_and_why_and_nothing_of_the_client() {
    let schema = compiled(json!({
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"properties": {"price": {"maximum": 10}, "a/b~c": {"type": "null"}}}}},
        "additionalProperties": {"type": "integer"},
    }));
    for (document, expected) in [
        (r#"{"items":[{},{"price":11}]}"#, "/items/1/price does not meet `maximum`"),
        (r#"{"items":[{"a/b~c":1}]}"#, "/items/0/a~1b~0c does not meet `type`"),
        (r#"{"secret-of-a-client":"x"}"#, "/* does not meet `type`"),
        ("[]", "the document does not meet `type`"),
    ] {
        assert_eq!(schema.check(document), Err(expected.to_owned()), "{document}");
    }
    assert_eq!(
        compiled(json!({"additionalProperties": false})).check(r#"{"x":1}"#).unwrap_err(),
        "/* does not meet `additionalProperties`"
    );
    assert_eq!(
        compiled(json!({"propertyNames": {"maxLength": 2}})).check(r#"{"xyz":1}"#).unwrap_err(),
        "/* does not meet `maxLength`"
    );
}

#[test]
fn typed_strings_are_those_that_leave_no_room() {
    let schema = compiled(json!({"items": {"anyOf": [
        {"format": "uuid"}, {"enum": ["red", "1' or 1=1"]}, {"const": "k"}, {"format": "date"}, {"maxLength": 40},
    ]}}));
    let typed = schema
        .check(r#"["2eb8aa08-aa98-11ea-b4aa-73b441d16380","red","k","2024-01-01","free",7,"1' or 1=1"]"#)
        .unwrap();
    assert_eq!(typed, ["2eb8aa08-aa98-11ea-b4aa-73b441d16380", "red", "k", "2024-01-01", "1' or 1=1"]);
    // What a schema says that does not hold, or must not hold, says nothing.
    for schema in [
        json!({"not": {"enum": ["b"]}}),
        json!({"if": {"enum": ["b"]}, "else": {"type": "string"}}),
        json!({"anyOf": [{"enum": ["a"], "maxLength": 0}, true]}),
        json!({"format": "email"}),
        json!({"format": "uri-reference"}),
        json!({"pattern": "^[a-z]$"}),
    ] {
        let written = schema.to_string();
        let value = if written.contains("email") { r#""a@b""# } else { r#""a""# };
        assert_eq!(compiled(schema).check(value), Ok(Vec::new()), "{written}");
    }
}

#[test]
fn what_is_not_carried_out_is_a_mistake_with_a_way_out() {
    for (schema, expected) in [
        (
            json!({"unevaluatedProperties": false}),
            "schema.unevaluatedProperties: the keyword \"unevaluatedProperties\" is not carried out; write `additionalProperties: false` where all properties are declared",
        ),
        (
            json!({"properties": {"a": {"nullable": true}}}),
            "schema.properties.a.nullable: the keyword \"nullable\" is not carried out; write `type: [..., \"null\"]`",
        ),
        (json!({"maxLenght": 3}), "schema.maxLenght: no keyword \"maxLenght\"; did you mean \"maxLength\"?"),
        (json!({"format": "uuidd"}), "schema.format: the format \"uuidd\" is not checked here; did you mean \"uuid\"?"),
        (
            json!({"type": "strng"}),
            "schema.type: \"strng\" is no type; one of \"null\", \"boolean\", \"integer\", \"number\", \"string\", \"array\", \"object\"",
        ),
        (
            json!({"type": 7}),
            "schema.type: 7 is no type; one of \"null\", \"boolean\", \"integer\", \"number\", \"string\", \"array\", \"object\"",
        ),
        (json!({"maxLength": -1}), "schema.maxLength: -1 is no whole number of 0 or more"),
        (json!({"minimum": "one"}), "schema.minimum: expected a number, found text"),
        (json!({"minimum": 2, "maximum": 1}), "schema.minimum: is above `maximum`: no number fits"),
        (json!({"minItems": 2, "maxItems": 1}), "schema.minItems: is above `maxItems`: nothing fits"),
        (json!({"multipleOf": 0}), "schema.multipleOf: is no number above 0 of at most 19 digits"),
        (json!({"enum": []}), "schema.enum: is no list of one value or more"),
        (json!({"anyOf": []}), "schema.anyOf: is no list of one schema or more"),
        (json!({"required": "a"}), "schema.required: is no list of names"),
        (
            json!({"items": [true]}),
            "schema.items: expected a schema, found a list; a schema is an object, `true` or `false`",
        ),
        (json!({"$ref": "#/$defs/a"}), "schema[\"$ref\"]: \"#/$defs/a\" leads nowhere: there is no \"$defs\""),
        (json!({"$ref": "#/schemas/Knwon"}), "schema[\"$ref\"]: no schema \"Knwon\"; did you mean \"Known\"?"),
        (json!({"$ref": "#here"}), "schema[\"$ref\"]: no `$anchor: here`"),
        (json!("Knwon"), "schema: no schema \"Knwon\"; did you mean \"Known\"?"),
        (json!(7), "schema: expected a schema, found a number; a schema is an object, `true` or `false`"),
        (
            json!({"$defs": {"a": {"type": "x"}}}),
            "schema[\"$defs\"].a.type: \"x\" is no type; one of \"null\", \"boolean\", \"integer\", \"number\", \"string\", \"array\", \"object\"",
        ),
    ] {
        assert_eq!(problems(schema.clone()), [expected], "{schema}");
    }
    for (schema, part) in [
        (json!({"pattern": "(?=a)"}), "schema.pattern: is no pattern that can be used"),
        (json!({"patternProperties": {"(": true}}), "schema.patternProperties[\"(\"]: is no pattern"),
        (json!({"pattern": "(a{1000}){1000}"}), "schema.pattern: is no pattern that can be used"),
        (json!({"$ref": "other.json#/x"}), "leads out of the configuration"),
        (json!({"$schema": "http://json-schema.org/draft-07/schema#"}), "is another dialect"),
        (json!({"$id": "x"}), "is not carried out"),
    ] {
        let found = problems(schema.clone());
        assert!(found.len() == 1 && found[0].contains(part), "{schema}: {found:?}");
    }
}

#[test]
fn numbers_and_null_as_yaml_gives_them_to_the_filter() {
    // Without quotes, to Envoy: 0.01, 3000000000, 1.5 and null.
    let schema = compiled(json!({"multipleOf": "0.01", "maximum": "3000000000"}));
    assert!(
        schema.check("2999999999.99").is_ok() && schema.check("3000000001").is_err() && schema.check("0.001").is_err()
    );
    let schema = compiled(json!({"type": [null, "number"], "enum": ["1.5", 2, null]}));
    assert!(schema.check("1.50").is_ok() && schema.check("null").is_ok() && schema.check("\"1.5\"").is_err());
    assert!(compiled(json!({"const": "1.5"})).check("\"1.5\"").is_ok());
    assert!(compiled(json!({"type": "string", "maxLength": "3"})).check("\"abcd\"").is_err());
}

#[test]
fn a_schema_that_asks_itself_is_found() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}),
        json!({"if": {"$ref": "#"}, "then": true}),
        json!({"dependentSchemas": {"a": {"$ref": "#"}}}),
    ] {
        let found = problems(schema.clone());
        assert!(found.len() == 1 && found[0].contains("asks itself"), "{schema}: {found:?}");
    }
    assert!(problems(json!({"properties": {"a": {"$ref": "#"}}, "items": {"allOf": [{"$ref": "#"}]}})).is_empty());
    let chain: serde_json::Map<String, Value> = (0..100)
        .map(|i| (format!("d{i}"), if i < 99 { json!({"$ref": format!("#/$defs/d{}", i + 1)}) } else { json!(true) }))
        .collect();
    assert!(problems(json!({"$defs": chain}))[0].contains("lead from one to the next"));
}

#[test]
fn named_schemas_may_use_each_other() {
    let named = json!({
        "Order": {"type": "object", "properties": {"lines": {"items": {"$ref": "#/schemas/Line"}}, "parent": {"$ref": "#/schemas/Order"}}},
        "Line": {"$ref": "#/$defs/own", "$defs": {"own": {"required": ["sku"]}}},
    });
    let order = compiled_with(&named, &json!("Order")).unwrap();
    assert!(order.check(r#"{"lines":[{"sku":1}],"parent":{"lines":[]}}"#).is_ok());
    assert!(order.check(r#"{"parent":{"lines":[{}]}}"#).is_err());
    let part = compiled_with(&named, &json!({"$ref": "#/schemas/Order/properties/lines/items"})).unwrap();
    assert!(part.check(r#"{"sku":1}"#).is_ok() && part.check("{}").is_err());
}

#[test]
fn time_grows_with_the_document_whatever_the_schema_is() {
    // Without memory, each level would double what is asked.
    let doubling = compiled(json!({"anyOf": [
        {"properties": {"x": {"$ref": "#"}}, "required": ["never"]},
        {"properties": {"x": {"$ref": "#"}}},
    ]}));
    let nested = |depth: usize| format!("{}1{}", r#"{"x":"#.repeat(depth), "}".repeat(depth));
    assert!(doubling.steps(&nested(60)) < 60 * 12, "{}", doubling.steps(&nested(60)));
    // The same at one value, by a ladder of references.
    let rungs: serde_json::Map<String, Value> = (0..19)
        .map(|i| {
            (
                format!("r{i}"),
                if i < 18 {
                    let next = json!({"$ref": format!("#/$defs/r{}", i + 1)});
                    json!({"allOf": [next, next]})
                } else {
                    json!({"type": "integer"})
                },
            )
        })
        .collect();
    let ladder = compiled(json!({"$defs": rungs, "items": {"$ref": "#/$defs/r0"}}));
    let list = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
    let (some, more) = (ladder.steps(&list(100)), ladder.steps(&list(400)));
    assert!(more < some * 4 + 100 && some < 100 * 120, "{some} {more}");
}

#[test]
fn what_needs_too_much_of_the_stack_is_refused() {
    let links: serde_json::Map<String, Value> = (0..30)
        .map(|i| {
            (
                format!("l{i}"),
                if i < 29 {
                    json!({"$ref": format!("#/$defs/l{}", i + 1)})
                } else {
                    json!({"items": {"$ref": "#/$defs/l0"}})
                },
            )
        })
        .collect();
    let schema = compiled(json!({"$defs": links, "$ref": "#/$defs/l0"}));
    assert!(schema.check(&format!("{}{}", "[".repeat(8), "]".repeat(8))).is_ok());
    assert!(schema.check(&format!("{}{}", "[".repeat(64), "]".repeat(64))).is_err());
    // What must not hold does not hold just because nobody could look.
    let schema = compiled(
        json!({"$defs": {"deep": {"items": {"$ref": "#/$defs/deep"}}}, "items": {"not": {"$ref": "#/$defs/deep"}}}),
    );
    assert!(schema.check("[[[]]]").is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        (-2.0f64..3.0).prop_map(Value::from),
        "[ab]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[abc]", inner, 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn a_document_is_its_own_constant_and_no_other(a in any_json(), b in any_json()) {
        // A whole number may be written as a double.
        let same = a == b || a.to_string().replace(".0", "") == b.to_string().replace(".0", "");
        let takes = |schema: Value, document: &Value| compiled(schema).check(&document.to_string()).is_ok();
        let (own, other) = (takes(json!({"const": a}), &a), takes(json!({"const": a}), &b));
        let (unique, not) = (takes(json!({"uniqueItems": true}), &json!([a, b])), takes(json!({"not": {"const": a}}), &b));
        prop_assert_eq!((own, other, unique, not), (true, same, !same, !same));
    }

    #[test]
    fn no_schema_and_no_document_make_it_panic(schema in any_json(), document in any_json(), keywords in proptest::collection::vec((0usize..40, any_json()), 0..5)) {
        let mut members = serde_json::Map::new();
        for (index, value) in keywords {
            let known = keywords::CARRIED_OUT;
            members.insert(known[index % known.len()].to_owned(), value);
        }
        for schema in [schema, Value::Object(members)] {
            if let Ok(compiled) = compiled_with(&json!({}), &schema) {
                let _ = compiled.check(&document.to_string());
            }
        }
    }
}
