//! `portcullis convert` on OpenAPI: what it makes has no errors, does in the real Envoy what is described, and names what has no equal.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::process::Command;

use portcullis_cli::document::{Language, read};
use portcullis_tests::client::{Call, Client};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::paths::{self, WorkDir};
use portcullis_tests::refusal;
use portcullis_tests::services::Service;
use serde_json::{Value, json};

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

/// A multipart form of parts: what stands behind `form-data` in the head of each, and its content.
fn parts(path: &str, parts: &[(&str, &str)]) -> Call {
    let part =
        |(head, content): &(&str, &str)| format!("--b\r\ncontent-disposition: form-data; {head}\r\n\r\n{content}\r\n");
    let body = format!("{}--b--\r\n", parts.iter().map(part).collect::<String>());
    Call::new("POST", path).header("content-type", "multipart/form-data; boundary=b").body(body)
}

#[test]
fn forms_become_fields_and_what_has_no_equal_is_named() {
    let outcome = convert("tests/convert/forms.yaml");
    assert_eq!(outcome.code, Some(1));
    for said in [
        "no equal: POST /claims, body: other types than JSON and forms are refused",
        "no equal: POST /photos, body, field \"note\": is written in a style that is not read: no value of it passes",
        "no equal: POST /photos, body, field \"lines\": is a list of objects: no value of it passes",
        "no equal: POST /twice, body: multipart/form-data has other fields than another form: it is refused",
        "note: POST /photos, body: minProperties is not asked about a form",
        "note: POST /photos, body, field \"photo\": the headers of its part are not checked",
        "note: POST /drafts, body: is checked by its type and its size alone",
    ] {
        assert!(outcome.said.contains(said), "{said}\n{}", outcome.said);
        if said.starts_with("no equal") {
            assert!(outcome.text.contains(&format!("# {said}")), "{said}\n{}", outcome.text);
        }
    }
    assert_eq!(outcome.said.lines().count(), 7, "{}", outcome.said);
    let filter = checked(&outcome.text);
    let input = |name: &str| &rule(&filter, name)["input"];
    let field = |form: &str, name: &str| {
        let fields = input(form)["form"]["fields"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("{name}: {fields:?}")).clone()
    };
    assert_eq!(input("claim")["content_types"], json!(["application/json", "application/x-www-form-urlencoded"]));
    assert_eq!(input("claim")["form"]["unknown_fields"], "deny");
    assert_eq!(field("claim", "policy")["required"], true);
    assert_eq!(field("claim", "number")["required"], Value::Null, "only responses have it");
    assert_eq!(field("claim", "codes")["commas"], true);
    assert_eq!(input("photo")["content_types"], json!(["multipart/form-data"]));
    assert_eq!(input("photo")["form"]["unknown_fields"], Value::Null);
    assert_eq!(
        field("photo", "photo"),
        json!({"name": "photo", "required": true, "file": {"content_types": ["image/png", "image/jpeg"], "max_size": 1024}})
    );
    assert_eq!(field("photo", "more")["file"], json!({"max_count": 3}));
    assert_eq!(field("photo", "scan")["file"], json!({"content_types": ["application/pdf"]}));
    assert_eq!(field("photo", "text")["schema"]["maxLength"], 30);
    assert_eq!((&field("photo", "place")["json"], &field("photo", "about")["json"]), (&json!(true), &json!(true)));
    assert_eq!(field("photo", "note")["schema"], false);
    assert_eq!(input("draft")["content_types"], json!(["multipart/form-data"]));
    assert_eq!(input("twice")["content_types"], json!(["application/x-www-form-urlencoded"]));
}

#[test]
fn the_real_envoy_takes_forms_as_they_are_described() {
    const ID: &str = "2eb8aa08-aa98-11ea-b4aa-73b441d16380";
    let service = Service::plain("api").unwrap();
    let gateway = Gateway::builder()
        .filter(checked(&convert("tests/convert/forms.yaml").text))
        .service(&service)
        .start()
        .unwrap();
    let call = |call: &Call| Client::connect(gateway.port()).unwrap().call(call).unwrap();
    let form = |body: &str| {
        Call::new("POST", "/api/claims").header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    let picture = "name=\"photo\"; filename=\"a.png\"\r\ncontent-type: image/png";
    let photo = |more: &[(&str, &str)]| parts("/api/photos", &[&[("name=\"title\"", "Sea")], more].concat());
    for good in [
        form(&format!("policy={ID}&amount=0.5&reason=fire&tags=a&tags=b&codes=1,2")),
        Call::new("POST", "/api/claims").header("content-type", "application/json").body("{\"lat\": 1.5}"),
        photo(&[(picture, "PNG"), ("name=\"place\"", "{\"lat\": 1}"), ("name=\"other\"", "x")]),
        parts("/api/drafts", &[("name=\"a\"", "b")]),
    ] {
        assert_eq!(call(&good).status, 200, "{good:?}");
    }
    let seen = service.hits();
    for (bad, status, reason) in [
        (form(&format!("policy={ID}&amount=0.4")), 400, "input_parameter_mismatch"),
        (form(&format!("policy={ID}&amount=1&reason=ire")), 400, "input_parameter_mismatch"),
        (form(&format!("policy={ID}&amount=1&tags=a&tags=b&tags=c")), 400, "input_parameter_mismatch"),
        (form(&format!("policy={ID}&amount=1&admin=1")), 400, "input_parameter_unknown"),
        (form("amount=1"), 400, "input_parameter_missing"),
        (form(""), 400, "input_body_missing"),
        (Call::new("POST", "/api/claims").header("content-type", "text/csv").body("a"), 415, "input_type_refused"),
        (
            Call::new("POST", "/api/claims").header("content-type", "application/json").body("{}"),
            422,
            "input_schema_mismatch",
        ),
        (photo(&[]), 400, "input_parameter_missing"),
        (photo(&[("name=\"photo\"", "PNG")]), 400, "input_parameter_mismatch"),
        (photo(&[("name=\"photo\"; filename=\"a.gif\"\r\ncontent-type: image/gif", "GIF")]), 415, "input_type_refused"),
        (photo(&[(picture, &"x".repeat(1025))]), 413, "input_body_too_large"),
        (photo(&[(picture, "PNG"), ("name=\"place\"", "{}")]), 400, "input_parameter_mismatch"),
        (photo(&[(picture, "PNG"), ("name=\"note\"", "x")]), 400, "input_parameter_mismatch"),
    ] {
        refusal::check(&call(&bad), status, reason).unwrap_or_else(|error| panic!("{bad:?}: {error}"));
    }
    assert_eq!(service.hits(), seen, "the service saw what was refused");
    gateway.check_unharmed().unwrap();
}

/// Words of an `enum` as somebody writes them, and what they are in YAML 1.2, which OpenAPI has.
const WORDS: &str = "yes, no, on, off, y, N, Off, 1e3, 0x1F, 0o17, 1_000, 12:30:45, 2026-01-01, 0100, 1.5, 3000000000, true, ~, null, nil, \"null\", \"1e3\", \"true\", \"~\", e3, .inf";

#[test]
fn words_of_an_enum_are_those_of_yaml_1_2() {
    let text = format!(
        "openapi: 3.1.0\npaths:\n  /api/words:\n    post:\n      operationId: words\n      security: []\n      parameters:\n      - {{in: query, name: on, schema: {{type: string, enum: [yes, no, 12:30:45]}}}}\n\
        \x20     requestBody:\n        content:\n          application/json: {{schema: {{enum: [{WORDS}]}}}}\n          application/x-www-form-urlencoded: {{schema: {{properties: {{y: {{enum: [on, off]}}, half: {{type: number, const: 0.5}}}}, required: [y]}}}}\n"
    );
    let outcome = convert_text(&text);
    assert_eq!(outcome.code, Some(0), "{}", outcome.said);
    let filter = checked(&outcome.text);
    let service = Service::plain("api").unwrap();
    // Read as Envoy reads YAML, with `yes` for true.
    let gateway = Gateway::builder().filter(filter).service(&service).start().unwrap();
    let call = |call: &Call| Client::connect(gateway.port()).unwrap().call(call).unwrap();
    let word = |body: &str| Call::new("POST", "/api/words").header("content-type", "application/json").body(body);
    for good in [
        "\"yes\"",
        "\"no\"",
        "\"on\"",
        "\"off\"",
        "\"y\"",
        "\"N\"",
        "\"Off\"",
        "1000",
        "31",
        "15",
        "\"1_000\"",
        "\"12:30:45\"",
        "\"2026-01-01\"",
        "100",
        "1.5",
        "3000000000",
        "true",
        "null",
        "\"nil\"",
        "\"null\"",
        "\"1e3\"",
        "\"true\"",
        "\"~\"",
        "\"e3\"",
        "\".inf\"",
    ] {
        assert_eq!(call(&word(good)).status, 200, "{good}");
    }
    for bad in
        ["false", "\"0x1F\"", "\"31\"", "64", "\"1.5\"", "\"3000000000\"", "\"\"", "\"True\"", "\"YES\"", "0", "45045"]
    {
        refusal::check(&call(&word(bad)), 422, "input_schema_mismatch")
            .unwrap_or_else(|error| panic!("{bad}: {error}"));
    }
    let form = |body: &str| {
        Call::new("POST", "/api/words").header("content-type", "application/x-www-form-urlencoded").body(body)
    };
    assert_eq!((call(&form("y=on")).status, call(&form("y=off&half=0.5")).status), (200, 200));
    for bad in ["y=true", "y=false&half=0.5", "y=on&half=0.6"] {
        refusal::check(&call(&form(bad)), 400, "input_parameter_mismatch")
            .unwrap_or_else(|error| panic!("{bad}: {error}"));
    }
    let query = |query: &str| Call::new("POST", &format!("/api/words?{query}"));
    assert_eq!((call(&query("on=yes")).status, call(&query("on=12:30:45")).status), (200, 200));
    refusal::check(&call(&query("on=true")), 400, "input_parameter_mismatch").unwrap();
    gateway.check_unharmed().unwrap();
    // What was meant in YAML 1.1 and is text in 1.2 is said, and not dropped.
    let outcome = convert_text(
        "openapi: 3.1.0\npaths: {/a: {get: {security: [], parameters: [{in: query, name: a, required: yes, schema: {type: string}}]}}}\n",
    );
    assert!(outcome.said.contains("`required` is \"yes\", neither true nor false"), "{}", outcome.said);
    assert_eq!(checked(&outcome.text)["rules"][0]["input"]["parameters"][0]["required"], true);
}
