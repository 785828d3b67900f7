//! Input validation in the real Envoy: whatever shape a body comes in, what is not as the rule says is refused, and the service
//! sees nothing of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use portcullis_tests::client::{Call, Response, call_h2};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::protected::ProtectedService;
use portcullis_tests::{eventually, refusal};
use serde_json::{Value, json};

const ID: &str = "2eb8aa08-aa98-11ea-b4aa-73b441d16380";

fn start() -> ProtectedService {
    ProtectedService::start(
        Gateway::builder()
            .filter(json!({
                "version": 1,
                "schemas": {"Order": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string", "format": "uuid"},
                        "state": {"enum": ["open", "1' or '1'='1"]},
                        "note": {"type": "string", "maxLength": 100},
                        "lines": {"type": "array", "items": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}, "required": ["count"]}, "maxItems": 50},
                    },
                    "required": ["id"],
                    "additionalProperties": false,
                }},
                "defaults": {"input": {"max_body": "16KiB", "max_inflated": "32KiB"}, "payload": {}},
                "rules": [
                    {"name": "watched", "match": {"prefix": "/api/watched"}, "allow": "public",
                     "input": {"mode": "monitor", "schema": "Order"}},
                    {"name": "check", "match": {"prefix": "/api/check"}, "allow": "public", "monitor": ["input"],
                     "input": {"schema": "Order"}},
                    {"name": "list", "match": {"path": "/api/orders/{id}", "methods": ["GET"]}, "allow": "public",
                     "input": {"unknown_parameters": "deny", "parameters": [
                         {"in": "path", "name": "id", "schema": {"type": "string", "format": "uuid"}},
                         {"in": "query", "name": "page", "required": true, "schema": {"type": "integer", "minimum": 1}},
                         {"in": "query", "name": "state", "schema": {"enum": ["open", "1' or '1'='1"]}},
                         {"in": "query", "name": "q", "schema": {"type": "string", "maxLength": 100}},
                         {"in": "header", "name": "x-trace", "schema": {"type": "string", "format": "uuid"}},
                         {"in": "cookie", "name": "shop", "schema": {"type": "integer"}},
                     ]}},
                    {"name": "orders", "match": {"path": "/api/orders"}, "allow": "public",
                     "input": {"schema": "Order", "require_body": true, "max_body": "16KiB", "max_inflated": "32KiB"}},
                    {"name": "claims", "match": {"path": "/api/claims"}, "allow": "public", "input": {"form": form()}},
                    {"name": "claims-watched", "match": {"path": "/api/claims-watched"}, "allow": "public",
                     "input": {"mode": "monitor", "form": form()}},
                    {"name": "open", "match": {"path": "/api/open"}, "allow": "public", "payload": {"rules": "off"}, "input": {
                        "parameters": [{"in": "query", "name": "page", "schema": {"type": "integer"}}],
                        "form": {"fields": [{"name": "count", "schema": {"type": "integer"}}, {"name": "note"}]},
                    }},
                    {"name": "small", "match": {"prefix": "/api/small"}, "allow": "public",
                     "input": {"max_path": "40B", "max_query": "40B", "max_header": "400B", "max_head": "2KiB", "max_headers": 20, "max_cookies": 2}},
                    {"name": "all", "match": {}, "allow": "public"},
                ],
            }))
            .connection_manager("http_protocol_options", json!({"enable_trailers": true})),
    )
}

/// Fields that a claim has: numbers, words, text, a picture, JSON.
fn form() -> Value {
    json!({"unknown_fields": "deny", "fields": [
        {"name": "id", "required": true, "schema": {"type": "string", "format": "uuid"}},
        {"name": "amount", "schema": {"type": "number", "minimum": 0}},
        {"name": "state", "schema": {"enum": ["open", "1' or '1'='1"]}},
        {"name": "note", "schema": {"type": "string", "maxLength": 100}},
        {"name": "picture", "file": {"content_types": ["image/*"], "max_size": "1KiB"}},
        {"name": "details", "json": true, "schema": {"type": "object", "required": ["place"]}},
    ]})
}

fn pairs(path: &str, body: &str) -> Call {
    Call::new("POST", path).header("content-type", "application/x-www-form-urlencoded").body(body)
}

/// A multipart form of parts: what stands behind `form-data` in the head of each, and its content.
fn parts(path: &str, parts: &[(&str, &str)]) -> Call {
    let part =
        |(head, content): &(&str, &str)| format!("--b\r\ncontent-disposition: form-data; {head}\r\n\r\n{content}\r\n");
    let body = format!("{}--b--\r\n", parts.iter().map(part).collect::<String>());
    Call::new("POST", path).header("content-type", "multipart/form-data; boundary=b").body(body)
}

fn order(body: impl Into<Vec<u8>>) -> Call {
    Call::new("POST", "/api/orders").header("content-type", "application/json").body(body)
}

fn good() -> Value {
    json!({"id": ID, "state": "open", "lines": [{"count": 2}]})
}

#[test]
fn a_body_is_what_its_schema_says() {
    let world = start();
    let text = good().to_string();
    world.passes(&order(text.as_str()));
    assert_eq!(world.service.requests().last().unwrap().body, text.as_bytes(), "it arrives as it was sent");
    for (body, status, reason) in [
        (json!({"id": ID, "lines": [{"count": 0}]}).to_string(), 422, "input_schema_mismatch"),
        (json!({"id": ID, "admin": true}).to_string(), 422, "input_schema_mismatch"),
        (json!({"id": "1' or '1'='1"}).to_string(), 422, "input_schema_mismatch"),
        ("[]".to_owned(), 422, "input_schema_mismatch"),
        (format!("{text} x"), 400, "input_body_malformed"),
        (format!("{text}{text}"), 400, "input_body_malformed"),
        (format!("\u{feff}{text}"), 400, "input_body_malformed"),
        (text.trim_end_matches('}').to_owned(), 400, "input_body_malformed"),
        (format!("{{\"id\":\"{ID}\",\"id\":\"{ID}\"}}"), 400, "input_key_repeated"),
        (format!("{{\"id\":\"{ID}\",\"\\u0069d\":\"{ID}\"}}"), 400, "input_key_repeated"),
        (format!("{}{}", "[".repeat(33), "]".repeat(33)), 422, "input_too_deep"),
        ("1e999".to_owned(), 422, "input_number_out_of_range"),
        (String::new(), 400, "input_body_missing"),
    ] {
        world.refuses(&order(body), status, reason);
    }
    world.refuses(&order(b"{\"id\":\"\xff\"}".to_vec()), 400, "input_body_malformed");
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_body_has_the_right_type_and_coding() {
    let world = start();
    let text = good().to_string();
    let post = |kind: &str, body: Vec<u8>| Call::new("POST", "/api/orders").header("content-type", kind).body(body);
    world.refuses(&post("text/plain", text.clone().into_bytes()), 415, "input_type_refused");
    world.refuses(&post("application/x-www-form-urlencoded", b"id=1".to_vec()), 415, "input_type_refused");
    let part = b"--b\r\ncontent-disposition: form-data; name=\"id\"\r\n\r\n7\r\n--b--\r\n".to_vec();
    world.refuses(&post("multipart/form-data; boundary=b", part), 415, "input_type_refused");
    world.refuses(&post("application/json; charset=utf-16", text.clone().into_bytes()), 415, "input_type_refused");
    world.refuses(&Call::new("POST", "/api/orders").body(text.as_str()), 415, "input_type_refused");
    world.passes(&post("application/vnd.order+json; charset=utf-8", text.clone().into_bytes()));
    let coded = |coding: &str, body: Vec<u8>| order(body).header("content-encoding", coding);
    let gzip = |text: &str| {
        let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        body.extend(miniz_oxide::deflate::compress_to_vec(text.as_bytes(), 6));
        body.extend([0; 8]);
        body
    };
    world.passes(&coded("gzip", gzip(&text)));
    world.refuses(&coded("gzip", gzip("{\"id\": 7}")), 422, "input_schema_mismatch");
    world.refuses(&coded("gzip", gzip(&format!("\"{}\"", "x".repeat(40_000)))), 413, "input_body_too_large");
    world.refuses(&coded("gzip", text.clone().into_bytes()), 400, "input_body_malformed");
    let two = [gzip(&text), gzip(" true")].concat();
    world.refuses(&coded("gzip", two), 400, "input_body_malformed");
    world.refuses(&coded("br", text.into_bytes()), 415, "input_encoding_refused");
    world.gateway.check_unharmed().unwrap();
}

fn in_chunks<'a>(
    world: &ProtectedService,
    path: &str,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    end: &[u8],
) -> Response {
    let call = Call::new("POST", path).header("content-type", "application/json");
    world.call_in_chunks(call, chunks, end)
}

#[test]
fn however_a_body_comes_it_is_checked_whole() {
    let world = start();
    let bad = json!({"id": ID, "lines": [{"count": 0}]}).to_string();
    let before = world.seen();
    for at in (1..bad.len()).step_by(7) {
        let (first, second) = bad.as_bytes().split_at(at);
        let response = in_chunks(&world, "/api/orders", [first, second], b"0\r\n\r\n");
        refusal::check(&response, 422, "input_schema_mismatch").unwrap_or_else(|error| panic!("cut at {at}: {error}"));
    }
    let response = in_chunks(&world, "/api/orders", [bad.as_bytes()], b"0\r\nx-checksum: 1\r\n\r\n");
    refusal::check(&response, 422, "input_schema_mismatch").unwrap();
    refusal::check(&in_chunks(&world, "/api/orders", [], b"0\r\n\r\n"), 400, "input_body_missing").unwrap();
    // Nobody has announced how long these are.
    let long = format!("{{\"id\": \"{}\"}}", "x".repeat(20_000));
    refusal::check(
        &in_chunks(&world, "/api/orders", long.as_bytes().chunks(4096), b"0\r\n\r\n"),
        413,
        "input_body_too_large",
    )
    .unwrap();
    let call = Call::new("POST", "/api/free").header("content-type", "application/octet-stream");
    world.refuses(&call.body(vec![b'x'; 20_000]), 413, "input_body_too_large");
    assert_eq!(world.seen(), before, "no head went ahead of its body");
    let text = good().to_string();
    assert_eq!(in_chunks(&world, "/api/orders", text.as_bytes().chunks(3), b"0\r\nx-checksum: 1\r\n\r\n").status, 200);
    assert_eq!(world.service.requests().last().unwrap().body, text.as_bytes());
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn over_http_2_too() {
    let world = start();
    let send = |call: &Call| call_h2(world.gateway.port(), None, call).unwrap();
    let before = world.seen();
    refusal::check(&send(&order(json!({"id": 7}).to_string())), 422, "input_schema_mismatch").unwrap();
    refusal::check(&send(&order("{")), 400, "input_body_malformed").unwrap();
    refusal::check(&send(&order("")), 400, "input_body_missing").unwrap();
    let text = Call::new("POST", "/api/orders").header("content-type", "text/plain").body("{}");
    refusal::check(&send(&text), 415, "input_type_refused").unwrap();
    refusal::check(&send(&order(vec![b' '; 17 << 10])), 413, "input_body_too_large").unwrap();
    refusal::check(&send(&Call::get(&format!("/api/orders/{ID}?page=0"))), 400, "input_parameter_mismatch").unwrap();
    assert_eq!(world.seen(), before);
    assert_eq!(send(&order(good().to_string())).status, 200);
    assert_eq!(send(&Call::get(&format!("/api/orders/{ID}?page=1"))).status, 200);
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn parameters_are_of_their_type_and_typed_ones_are_not_judged_twice() {
    let world = start();
    let get = |query: &str| Call::get(&format!("/api/orders/{ID}?{query}"));
    world.passes(&get("page=1&q=red+shoes").header("x-trace", ID).header("cookie", "shop=7"));
    world.refuses(&Call::get("/api/orders/7?page=1"), 400, "input_parameter_mismatch");
    world.refuses(&get("q=1"), 400, "input_parameter_missing");
    world.refuses(&get("page=1&page=2"), 400, "input_parameter_repeated");
    world.refuses(&get("page=1&debug=on"), 400, "input_parameter_unknown");
    world.refuses(&get("page=1").header("x-trace", "no"), 400, "input_parameter_mismatch");
    world.refuses(&get("page=1").header("cookie", "shop=x"), 400, "input_parameter_mismatch");
    // What reads as an attack is one in free text, none where the schema has it among its words, and refused before as a number.
    let attack = "1%27+or+%271%27%3D%271";
    world.passes(&get(&format!("page=1&state={attack}")));
    world.refuses(&get(&format!("page=1&q={attack}")), 403, "payload_attack");
    world.refuses(&get(&format!("page={attack}")), 400, "input_parameter_mismatch");
    world.refuses(&Call::get(&format!("/api?state={attack}")), 403, "payload_attack");
    world.passes(&order(json!({"id": ID, "state": "1' or '1'='1"}).to_string()));
    world.refuses(&order(json!({"id": ID, "note": "1' or '1'='1"}).to_string()), 403, "payload_attack");
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn the_fields_of_a_form_are_of_their_type_however_it_comes() {
    let world = start();
    let send = |body: &str| pairs("/api/claims", body);
    world.passes(&send(&format!("id={ID}&amount=12.5&note=a+stone&details=%7B%22place%22%3A1%7D")));
    world.refuses(&send(&format!("id={ID}&amount=-1")), 400, "input_parameter_mismatch");
    world.refuses(&send("amount=1"), 400, "input_parameter_missing");
    world.refuses(&send(&format!("id={ID}&id={ID}")), 400, "input_parameter_repeated");
    world.refuses(&send(&format!("id={ID}&admin=1")), 400, "input_parameter_unknown");
    world.refuses(&send(&format!("id={ID}&note=%00\0")), 400, "input_body_malformed");
    world.refuses(&send(""), 400, "input_parameter_missing");
    let attack = "1%27+or+%271%27%3D%271";
    world.passes(&send(&format!("id={ID}&state={attack}")));
    world.refuses(&send(&format!("id={ID}&note={attack}")), 403, "payload_attack");
    world.refuses(&send(&format!("id={attack}")), 400, "input_parameter_mismatch");

    let send = |more: &[(&str, &str)]| parts("/api/claims", &[&[("name=\"id\"", ID)], more].concat());
    let picture = "name=\"picture\"; filename=\"a.png\"\r\ncontent-type: image/png";
    world.passes(&send(&[
        ("name=\"amount\"", "12.5"),
        (picture, "\u{1}PNG\0\u{2}"),
        ("name=\"details\"", "{\"place\": 1}"),
    ]));
    world.passes(&send(&[("name=\"state\"", "1' or '1'='1")]));
    world.refuses(&send(&[("name=\"note\"", "1' or '1'='1")]), 403, "payload_attack");
    world.refuses(&send(&[("name=\"amount\"", "twelve")]), 400, "input_parameter_mismatch");
    world.refuses(&send(&[("name=\"details\"", "{}")]), 400, "input_parameter_mismatch");
    world.refuses(&send(&[("name=\"id\"", ID)]), 400, "input_parameter_repeated");
    world.refuses(&send(&[("name=\"admin\"", "1")]), 400, "input_parameter_unknown");
    world.refuses(&send(&[("name=\"note\"; name=\"id\"", "1")]), 400, "input_body_malformed");
    world.refuses(
        &send(&[("name=\"picture\"; filename=\"a.svg\"\r\ncontent-type: text/html", "x")]),
        415,
        "input_type_refused",
    );
    world.refuses(&send(&[(picture, &"x".repeat(1025))]), 413, "input_body_too_large");
    world.refuses(&send(&[("name=\"note\"; filename=\"a\"", "x")]), 400, "input_parameter_mismatch");
    let text = Call::new("POST", "/api/claims").header("content-type", "text/plain").body(format!("id={ID}"));
    world.refuses(&text, 415, "input_type_refused");
    // Over HTTP/2, and in pieces.
    let h2 = |call: &Call| call_h2(world.gateway.port(), None, call).unwrap();
    refusal::check(&h2(&send(&[("name=\"amount\"", "-1")])), 400, "input_parameter_mismatch").unwrap();
    assert_eq!(h2(&send(&[("name=\"amount\"", "1")])).status, 200);
    let seen = world.seen();
    let bad = format!("id={ID}&amount=-1");
    for at in (1..bad.len()).step_by(9) {
        let (first, second) = bad.as_bytes().split_at(at);
        let call = Call::new("POST", "/api/claims").header("content-type", "application/x-www-form-urlencoded");
        let response = world.connect().call_in_chunks(call, [first, second], b"0\r\n\r\n").unwrap();
        refusal::check(&response, 400, "input_parameter_mismatch")
            .unwrap_or_else(|error| panic!("cut at {at}: {error}"));
    }
    assert_eq!(world.seen(), seen);
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_form_has_one_reading_to_every_service() {
    let world = start();
    let open = "/api/open";
    world.passes(&pairs(open, "count=1&counts=x&note=a%3Bcount%3Dx"));
    for name in ["Count", "count[]", "count%5B0%5D", "+count", "count%00", "note=a;count"] {
        world.refuses(&pairs(open, &format!("count=1&{name}=x")), 400, "input_parameter_repeated");
    }
    world.refuses(&pairs("/api/open?count=x", "count=1"), 400, "input_parameter_repeated");
    world.refuses(&parts(open, &[("name=\"count\"", "1"), ("name=\"COUNT\"", "x")]), 400, "input_parameter_repeated");
    for name in ["Page", "page[]", "page%00", "q=a;page"] {
        world.refuses(&Call::get(&format!("/api/open?page=1&{name}=x")), 400, "input_parameter_repeated");
    }
    world.passes(&Call::get("/api/open?page=1&pages=x"));

    let evil = "--evil\r\ncontent-disposition: form-data; name=\"count\"\r\n\r\nx\r\n--evil--";
    let good = format!("--good\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\n{evil}\r\n--good--");
    let send = |kind: &str| {
        Call::new("POST", open).header("content-type", &format!("multipart/form-data; {kind}")).body(good.as_str())
    };
    world.passes(&send("boundary=good"));
    for kind in ["xboundary=evil; boundary=good", "x=boundary=evil; boundary=good", "boundary*=evil; boundary=good"] {
        world.refuses(&send(kind), 400, "input_body_malformed");
    }
    for kind in ["charset*=utf-7", "charset =utf-7", "xcharset=utf-7"] {
        world.refuses(&send(&format!("boundary=good; {kind}")), 415, "input_type_refused");
    }
    let pad = format!("name=\"note\"\r\nx-pad: {}content-disposition: form-data; name=\"count\"", "a".repeat(5113));
    world.refuses(&parts(open, &[(&pad, "x")]), 400, "input_body_malformed");
    let bytes = "name=\"note\"\r\ncontent-type: application/octet-stream";
    world.refuses(&parts(open, &[(bytes, "x")]), 400, "input_parameter_mismatch");
    world.passes(&parts(open, &[("name=\"note\"\r\ncontent-type: text/plain; charset=utf-8", "x")]));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_form_that_is_only_watched_arrives() {
    let world = start();
    world.passes(&pairs("/api/claims-watched", "amount=x"));
    world.passes(&parts("/api/claims-watched", &[("name=\"id\"", "7")]));
    world.passes(&pairs("/api/claims-watched", &format!("id={ID}")));
    for reason in ["input_parameter_missing", "input_parameter_mismatch"] {
        let labels = [("rule", "claims-watched"), ("reason", reason), ("verdict", "monitored")];
        let counted = || world.gateway.counter("portcullis_decisions", &labels).unwrap();
        assert!(eventually(Duration::from_secs(5), || counted() == 1), "{reason}");
    }
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn a_grpc_stream_is_refused_where_json_is_asked_for() {
    let world = start();
    let before = world.seen();
    let call = Call::new("POST", "/api/orders").header("content-type", "application/grpc").body("x");
    for response in [world.call(&call), call_h2(world.gateway.port(), None, &call).unwrap()] {
        // Envoy says it as gRPC does: 200, with a status that is none of success.
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(response.header("grpc-status").is_some_and(|status| status != "0"), "{:?}", response.headers);
    }
    assert_eq!(world.seen(), before);
    let labels = [("rule", "orders"), ("reason", "input_type_refused"), ("verdict", "denied")];
    let counted = || world.gateway.counter("portcullis_decisions", &labels).unwrap();
    assert!(eventually(Duration::from_secs(5), || counted() == 2));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn heads_are_as_small_as_they_should_be() {
    let world = start();
    world.passes(&Call::get("/api/small").header("cookie", "a=1; b=2"));
    world.refuses(&Call::get(&format!("/api/small/{}", "x".repeat(40))), 414, "input_path_too_long");
    world.refuses(&Call::get(&format!("/api/small?q={}", "x".repeat(40))), 414, "input_query_too_long");
    world.refuses(&Call::get("/api/small").header("x-long", &"x".repeat(400)), 431, "input_header_too_large");
    world.refuses(&Call::get("/api/small").header("cookie", "a=1; b=2; c=3"), 431, "input_cookies_too_many");
    let many = (0..20).fold(Call::get("/api/small"), |call, number| call.header(&format!("x-{number}"), "1"));
    world.refuses(&many, 431, "input_headers_too_many");
    let large =
        (0..6).fold(Call::get("/api/small"), |call, number| call.header(&format!("x-{number}"), &"x".repeat(380)));
    world.refuses(&large, 431, "input_head_too_large");
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn what_is_only_watched_is_counted_and_arrives() {
    let world = start();
    for path in ["/api/watched", "/api/check"] {
        let bad = |kind: &str, body: &str| Call::new("POST", path).header("content-type", kind).body(body);
        world.passes(&bad("application/json", "{\"id\": 7}"));
        world.passes(&bad("application/json", "no JSON"));
        world.passes(&bad("text/plain", "fine"));
    }
    for rule in ["watched", "check"] {
        for reason in ["input_schema_mismatch", "input_body_malformed", "input_type_refused"] {
            let labels = [("rule", rule), ("reason", reason), ("verdict", "monitored")];
            let counted = || world.gateway.counter("portcullis_decisions", &labels).unwrap();
            assert!(eventually(Duration::from_secs(5), || counted() == 1), "{rule} {reason}");
        }
    }
    let log = world.gateway.log();
    assert!(log.contains("/id does not meet `type`"), "{log}");
    world.gateway.check_unharmed().unwrap();
}
