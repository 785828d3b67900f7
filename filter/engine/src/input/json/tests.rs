use super::*;
use crate::strict_json;
use proptest::prelude::*;
use serde_json::Value;

fn limits() -> JsonLimits {
    JsonLimits { max_depth: 8, ..JsonLimits::NONE }
}

fn value(document: &Document<'_>, index: u32) -> Value {
    match document.node(index) {
        Node::Null => Value::Null,
        Node::Bool(value) => value.into(),
        Node::Number(_) => Value::from(0),
        Node::String(text) => document.text(text).into(),
        Node::Array(_) => document.elements(index).map(|element| value(document, element)).collect(),
        Node::Object(_) => {
            let members = document.members(index);
            members.map(|(name, member)| (document.name(name).to_owned(), value(document, member))).collect()
        }
    }
}

fn without_numbers(value: Value) -> Value {
    match value {
        Value::Number(_) => Value::from(0),
        Value::Array(elements) => elements.into_iter().map(without_numbers).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, without_numbers(value))).collect(),
        other => other,
    }
}

fn problem(json: &str, limits: &JsonLimits) -> JsonProblem {
    Document::read(json.as_bytes(), limits).map(|_| ()).unwrap_err().problem
}

#[test]
fn it_reads_what_it_is() {
    let json = r#" {"a":[1,-2.5,"x\ny",null,true,[],{}],"b":{"c":"\ud83d\ude00é"},"":false} "#;
    let document = Document::read(json.as_bytes(), &limits()).unwrap();
    assert_eq!(value(&document, 0), without_numbers(serde_json::from_str(json).unwrap()));
    assert_eq!(document.nodes.len(), 16);
}

#[test]
fn each_limit_is_a_limit() {
    let limited = |change: fn(&mut JsonLimits)| {
        let mut limits = limits();
        change(&mut limits);
        limits
    };
    for (json, over, change, expected) in [
        ("[[1]]", "[[[1]]]", (|l| l.max_depth = 2) as fn(&mut JsonLimits), JsonProblem::TooDeep),
        (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1,"c":1}}"#, |l| l.max_keys = 2, JsonProblem::TooManyKeys),
        (r#"{"abc":1}"#, r#"{"abcd":1}"#, |l| l.max_key = 3, JsonProblem::KeyTooLong),
        (r#""\u0061bc""#, r#""\u0061bcd""#, |l| l.max_string = 3, JsonProblem::StringTooLong),
        (r#""abc""#, r#""abcd""#, |l| l.max_string = 3, JsonProblem::StringTooLong),
        ("[1,[2,2]]", "[1,[2,2,2]]", |l| l.max_elements = 2, JsonProblem::TooManyElements),
        ("9007199254740991", "9007199254740992", |l| l.numbers = NumberRange::Safe, JsonProblem::NumberOutOfRange),
        ("1e307", "1e309", |l| l.numbers = NumberRange::Double, JsonProblem::NumberOutOfRange),
    ] {
        let limits = limited(change);
        assert!(Document::read(json.as_bytes(), &limits).is_ok(), "{json}");
        assert_eq!(problem(over, &limits), expected, "{over}");
    }
}

#[test]
fn one_name_is_one_name_however_it_is_written() {
    let many: String = (0..20).map(|i| format!("\"k{i}\":1,")).collect();
    for json in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"":1,"":2}}]"#, &format!("{{{many}\"k7\":1}}")]
    {
        assert_eq!(problem(json, &limits()), JsonProblem::DuplicateKey, "{json}");
    }
    assert!(Document::read(br#"{"a":1,"a":2}"#, &JsonLimits { duplicate_keys: true, ..limits() }).is_ok());
    assert!(Document::read(br#"{"a":{"a":1},"b":{"a":1}}"#, &limits()).is_ok());
}

#[test]
fn what_is_not_json_is_malformed() {
    for json in [
        "",
        " ",
        "{",
        "[",
        "{}x",
        "{} {}",
        "{'a':1}",
        "{\"a\":1,}",
        "[1,]",
        "[,1]",
        "{,}",
        "// c\n1",
        "NaN",
        "01",
        "1.",
        "\u{feff}1",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\t\"",
        "nul",
        "\"a",
        "\"\\x\"",
        "[1}",
        "{\"a\"}",
        "{1:2}",
        "]",
        "\"\\u12\"",
    ] {
        assert_eq!(problem(json, &limits()), JsonProblem::Malformed, "{json}");
    }
    assert!(Document::read(b"\"\xff\"", &limits()).is_err() && Document::read(b"\xff\xfe{\0}\0", &limits()).is_err());
}

#[test]
fn equal_values_have_equal_bytes() {
    let bytes = |json: &str| {
        let mut out = Vec::new();
        Document::read(json.as_bytes(), &limits()).unwrap().write(0, &mut out);
        out
    };
    assert_eq!(bytes(r#"{"a":1.0,"b":["x"]}"#), bytes(r#"{"b":["\u0078"],"a":1e0}"#));
    for (a, b) in [
        ("1", "\"1\""),
        ("0", "false"),
        ("[]", "{}"),
        ("[[1],2]", "[[1,2]]"),
        ("[\"a\",\"b\"]", "[\"ab\",\"\"]"),
        ("null", "0"),
    ] {
        assert_ne!(bytes(a), bytes(b), "{a} {b}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(json in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::read(&json, &limits());
    }

    #[test]
    fn it_takes_what_the_other_strict_reader_takes(json in r#"[\[\]{}",:a0-9\\ueE. \-tfn]{0,40}"#) {
        let ours = Document::read(json.as_bytes(), &limits());
        // The other one reads numbers as doubles, and refuses those that are none.
        match strict_json::parse_value(json.as_bytes(), 8) {
            Ok(theirs) => prop_assert_eq!(value(&ours.unwrap(), 0), without_numbers(theirs)),
            Err(_) => prop_assert!(ours.is_err() || json.contains(['e', 'E'])),
        }
    }

    #[test]
    fn structures_read_alike(json in r#"(\{("[ab]{0,2}":(1|"x\\n"|\[2,\{\}\]|null),){0,3}"z":true\})"#) {
        let ours = Document::read(json.as_bytes(), &limits());
        match strict_json::parse_value(json.as_bytes(), 8) {
            Ok(theirs) => prop_assert_eq!(value(&ours.unwrap(), 0), without_numbers(theirs)),
            Err(_) => prop_assert!(ours.is_err()),
        }
    }
}
