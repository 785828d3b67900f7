//! `portcullis convert` on OpenAPI: what it makes has no errors, does in the real Envoy what is described, and names what has no equal.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::process::Command;

use portcullis_cli::document::{Language, read};
use portcullis_tests::client::{Call, Client};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::paths::{self, WorkDir};
use portcullis_tests::refusal;
use portcullis_tests::services::Service;
use serde_json::Value;

/// SHA-256 of `s3cret`.
const KEY_HASH: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

struct Outcome {
    code: Option<i32>,
    text: String,
    said: String,
}

fn tool(arguments: &[&str]) -> Outcome {
    let output = Command::new(paths::tool().unwrap()).args(arguments).current_dir(paths::root()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), text: text(output.stdout), said: text(output.stderr) }
}

fn convert(name: &str) -> Outcome {
    tool(&["convert", "--audience", "shop", &paths::root().join(name).display().to_string()])
}

/// Converts a document of a test.
fn convert_text(text: &str) -> Outcome {
    let dir = WorkDir::create("openapi").unwrap();
    let file = dir.path().join("openapi.yaml");
    std::fs::write(&file, text).unwrap();
    tool(&["convert", &file.display().to_string()])
}

/// `check` finds nothing in it.
fn checked(text: &str) -> Value {
    let dir = WorkDir::create("openapi").unwrap();
    let file = dir.path().join("filter.yaml");
    std::fs::write(&file, text).unwrap();
    let found = tool(&["check", &file.display().to_string()]);
    assert_eq!(found.code, Some(0), "{}\n{text}", found.text);
    read(text, Language::Yaml).unwrap().0.to_value()
}

fn rule<'a>(filter: &'a Value, name: &str) -> &'a Value {
    let rules = filter["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["name"] == name).unwrap_or_else(|| panic!("{name}: {filter:#}"))
}

#[test]
fn the_example_becomes_rules() {
    let outcome = convert("docs/openapi/orders.yaml");
    // The clients of an API key are in no description.
    assert_eq!(outcome.code, Some(1), "{}", outcome.said);
    assert_eq!(outcome.said.lines().count(), 1, "{}", outcome.said);
    let filter = checked(&outcome.text);
    let names: Vec<&str> =
        filter["rules"].as_array().unwrap().iter().filter_map(|rule| rule["name"].as_str()).collect();
    let recent = names.iter().position(|name| *name == "recentOrders").unwrap();
    assert!(recent < names.iter().position(|name| *name == "getOrder").unwrap(), "{names:?}");
    assert_eq!(rule(&filter, "status")["allow"], "public");
    assert_eq!(rule(&filter, "createOrder")["scopes"]["all"][0], "write_orders");
    assert_eq!(rule(&filter, "createOrder")["match"]["path"], "/v1/orders");
    assert_eq!(rule(&filter, "deleteOrder")["require"], "machines");
    assert_eq!(filter["providers"]["corp"]["issuer"], "https://idp.example");
    // A request has no id, which only responses have.
    assert_eq!(filter["schemas"]["Order"]["required"], serde_json::json!(["customer", "lines"]));
}

#[test]
fn words_of_3_0_are_translated_and_what_has_no_equal_is_named() {
    let outcome = convert("tests/convert/openapi.yaml");
    assert_eq!(outcome.code, Some(1));
    for said in [
        "no equal: /files/{name}.txt: ",
        "no equal: GET /pets, query parameter \"filter\": is written in a style that is not read",
        "no equal: POST /pets, body: other types than JSON are refused",
        "no equal: security scheme \"digest\": http digest has no equal: nobody passes",
        "no equal: security scheme \"key\": the clients are not described",
        "no equal: components.schemas.Odd.pattern: is a pattern with look-around",
        "note: components.schemas.Pet.properties.tag.format: \"iso-tag\" is not checked",
        "note: POST /pets/{id}/photo, body: is checked by its type and its size alone",
        "note: POST /pets/{id}/photo: describes no security: everybody may call",
    ] {
        assert!(outcome.said.contains(said), "{said}\n{}", outcome.said);
        if said.starts_with("no equal") {
            assert!(outcome.text.contains(&format!("# {said}")), "{said}\n{}", outcome.text);
        }
    }
    let filter = checked(&outcome.text);
    let pet = &filter["schemas"]["Pet"];
    assert_eq!(pet["properties"]["nick"]["type"], serde_json::json!(["string", "null"]));
    assert_eq!(
        (&pet["properties"]["weight"]["exclusiveMinimum"], &pet["properties"]["weight"]["minimum"]),
        (&Value::from(0), &Value::Null)
    );
    assert_eq!(pet["required"], serde_json::json!(["name"]));
    assert_eq!(rule(&filter, "get-pets-mine")["allow"], "nobody");
    assert_eq!(rule(&filter, "get-pets--id-")["require"], serde_json::json!({"any": ["key"], "optional": true}));
}

#[test]
fn what_is_no_description_that_can_be_read_is_said() {
    for (text, said) in [
        ("openapi: 2.0\npaths: {}\n", "is not read"),
        ("swagger: \"2.0\"\npaths: {}\n", "is not read"),
        ("openapi: 4.0.0\npaths: {}\n", "\"4.0.0\" is not read"),
        ("title: x\n", "or an OpenAPI document"),
    ] {
        let outcome = convert_text(text);
        assert_eq!((outcome.code, outcome.said.contains(said)), (Some(2), true), "{text}: {}", outcome.said);
        assert!(outcome.said.contains("hint: "), "{}", outcome.said);
    }
    // Nothing of a description is a rule of its own making.
    let outcome = convert_text(
        "openapi: 3.1.0\npaths:\n  \"/a\\n- {match: {}, allow: public}\": {get: {}}\n  /b: {get: {operationId: \"x\\n- y\"}}\n",
    );
    let filter = checked(&outcome.text);
    assert_eq!(filter["rules"].as_array().unwrap().len(), 1, "{}", outcome.text);
    // References in a circle, and to nothing.
    let outcome = convert_text(
        "openapi: 3.1.0\ncomponents: {schemas: {A: {$ref: \"#/components/schemas/B\"}, B: {$ref: \"#/components/schemas/A\"}}, parameters: {P: {$ref: \"#/components/parameters/P\"}}}\n\
         paths: {/a: {get: {parameters: [{$ref: \"#/components/parameters/P\"}], requestBody: {content: {application/json: {schema: {$ref: \"#/components/schemas/C\"}}}}}}}\n",
    );
    assert_eq!(outcome.code, Some(1), "{}", outcome.said);
    assert!(outcome.said.contains("components.schemas.C: is not there"), "{}", outcome.said);
}

#[test]
fn the_real_envoy_takes_what_is_described_and_nothing_else() {
    let service = Service::plain("api").unwrap();
    let outcome = convert("tests/convert/openapi.yaml");
    let filter = checked(&outcome.text.replace(&"0".repeat(64), KEY_HASH));
    let gateway = Gateway::builder().filter(filter).service(&service).start().unwrap();
    let call = |call: &Call| Client::connect(gateway.port()).unwrap().call(call).unwrap();
    let pet = |body: &str| {
        let call =
            Call::new("POST", "/api/pets").header("content-type", "application/json").header("x-api-key", "s3cret");
        call.body(body)
    };
    for good in [
        Call::get("/api/pets?limit=100&kinds=cat&kinds=dog&other=1"),
        Call::get("/api/pets/2147483647"),
        pet(r#"{"name":"Tom","kind":"cat","nick":null,"weight":0.5}"#),
        Call::new("POST", "/api/pets/7/photo").header("content-type", "image/png").body("PNG"),
    ] {
        assert_eq!(call(&good).status, 200, "{good:?}");
    }
    let seen = service.hits();
    for (bad, status, reason) in [
        (Call::get("/api/pets?limit=101"), 400, "input_parameter_mismatch"),
        (Call::get("/api/pets?kinds=cow"), 400, "input_parameter_mismatch"),
        (Call::get("/api/pets?filter=x"), 400, "input_parameter_mismatch"),
        (Call::get("/api/pets/2147483648"), 400, "input_parameter_mismatch"),
        (Call::get("/api/pets/mine"), 403, "rule_denied"),
        (Call::get("/api/files/a.txt"), 404, "route_unmatched"),
        (Call::new("PATCH", "/api/pets"), 404, "route_unmatched"),
        (
            Call::new("POST", "/api/pets").header("content-type", "application/json").body("{\"name\":\"Tom\"}"),
            401,
            "credentials_missing",
        ),
        (pet(r#"{"name":"Tom","kind":"cow"}"#), 422, "input_schema_mismatch"),
        (pet(r#"{"name":"Tom","weight":0}"#), 422, "input_schema_mismatch"),
        (pet(r#"{"name":"Tom","admin":true}"#), 422, "input_schema_mismatch"),
        (pet(""), 400, "input_body_missing"),
        (
            Call::new("POST", "/api/pets")
                .header("content-type", "application/xml")
                .header("x-api-key", "s3cret")
                .body("<pet/>"),
            415,
            "input_type_refused",
        ),
        (
            Call::new("PUT", "/api/pets/7").header("content-type", "application/json").body("\"y\""),
            422,
            "input_schema_mismatch",
        ),
        (
            Call::new("POST", "/api/pets/7/photo").header("content-type", "text/html").body("x"),
            415,
            "input_type_refused",
        ),
        (Call::new("POST", "/api/pets/7/photo").header("content-type", "image/png"), 400, "input_body_missing"),
    ] {
        refusal::check(&call(&bad), status, reason).unwrap_or_else(|error| panic!("{bad:?}: {error}"));
    }
    assert_eq!(service.hits(), seen, "the service saw what was refused");
    gateway.check_unharmed().unwrap();
}
