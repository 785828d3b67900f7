//! Payload rules in the real Envoy: bodies of every kind, attacks that are cut over parameters of one name, and tricks of multipart;
//! refused and watched, and honest ones of the same kinds pass.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use portcullis_tests::client::Call;
use portcullis_tests::gateway::Gateway;
use portcullis_tests::protected::ProtectedService;
use serde_json::json;

fn start() -> ProtectedService {
    let builder = Gateway::builder().filter(json!({
        "version": 1,
        "defaults": {"payload": {}},
        "rules": [
            {"name": "watched", "match": {"prefix": "/api/watched"}, "allow": "public", "payload": {"mode": "monitor"}},
            {"name": "strict", "match": {"prefix": "/api/strict"}, "allow": "public", "payload": {"level": 2}},
            {"name": "all", "match": {}, "allow": "public"},
        ],
    }));
    ProtectedService::start(builder)
}

/// Refused where rules are enforced, watched where they are watched; the service sees the second one alone.
fn is_attack(world: &ProtectedService, make: impl Fn(&str) -> Call, by: &str) {
    let event = world.audit_of(&world.refuses_attack(&make("/api")));
    assert!(event["message"].as_str().unwrap().contains(by), "{by}: {event}");
    let event = world.audit_of(&world.passes(&make("/api/watched")));
    assert_eq!(
        (&event["event.action"], &event["event.reason"]),
        (&json!("request_monitored"), &json!("payload_attack")),
        "{by}"
    );
}

fn posted(kind: &str, body: &str) -> impl Fn(&str) -> Call {
    move |path| Call::new("POST", path).header("content-type", kind).body(body)
}

fn got(query: &str) -> impl Fn(&str) -> Call {
    move |path| Call::get(&format!("{path}?{query}"))
}

#[test]
fn lines_of_json_are_judged() {
    let world = start();
    let lines = "{\"index\":{\"_id\":1}}\n{\"text\":\"1' or '1'='1\"}\n";
    for kind in ["application/x-ndjson", "application/jsonl", "application/octet-stream"] {
        is_attack(&world, posted(kind, lines), "in json \"text\"");
    }
    world.passes(&posted("application/x-ndjson", "{\"a\":\"O'Brien\"}\n{\"b\":[1,true]}\n")("/api"));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn graphql_is_judged_by_its_strings_and_its_cost() {
    let world = start();
    let document = "query Q { user(id: \"1' union select password from users--\") { name } }";
    let member = json!({"query": document}).to_string();
    let variables = json!({"query": "query Q($t: String) {a(t: $t)}", "variables": {"t": "1' or '1'='1"}}).to_string();
    is_attack(&world, posted("application/graphql", document), "in json \"id\"");
    is_attack(&world, posted("application/json", &member), "in json \"id\"");
    is_attack(&world, posted("application/json", &variables), "in json \"t\"");
    is_attack(&world, got("query=%7Ba%28t%3A%22%3Cscript%3Ealert%281%29%22%29%7D"), "xss-");
    is_attack(
        &world,
        posted("application/json", &json!({"query": "{__schema{types{name}}}"}).to_string()),
        "graphql-introspection",
    );
    let deep = format!("{}a{}", "{a".repeat(30), "}".repeat(30));
    is_attack(&world, posted("application/graphql", &deep), "graphql-depth");
    let aliases: String = (0..120).map(|number| format!("a{number}: login(pin: {number}) ")).collect();
    is_attack(
        &world,
        posted("application/json", &json!({"query": format!("{{{aliases}}}")}).to_string()),
        "graphql-aliases",
    );
    let batch = vec![json!({"query": "{a}"}); 40];
    is_attack(&world, posted("application/json", &json!(batch).to_string()), "graphql-batch");
    let honest = json!({"query": "fragment N on User { first }\nquery Me { me { ...N orders(note: \"O'Brien & Sons\") { id } } }"});
    world.passes(&posted("application/json", &honest.to_string())("/api"));
    // More than honest queries need is for a level that is asked for.
    let some = format!("{{a {}}}", "@b ".repeat(20));
    world.passes(&posted("application/graphql", &some)("/api"));
    world.refuses_attack(&posted("application/graphql", &some)("/api/strict"));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn an_attack_cut_over_parameters_of_one_name_is_judged_joined() {
    let world = start();
    const FORM: &str = "application/x-www-form-urlencoded";
    let (first, second) = ("%3Cscr", "ipt%20src%3Dx%3E");
    is_attack(&world, got(&format!("q={first}&a=1&q={second}")), "in query \"q\"");
    is_attack(&world, posted(FORM, &format!("q={first}&q={second}")), "in form \"q\"");
    let mixed = |path: &str| {
        Call::new("POST", &format!("{path}?q={first}")).header("content-type", FORM).body(format!("q={second}"))
    };
    is_attack(&world, mixed, "in query \"q\"");
    let part = |value: &str| format!("--b\r\ncontent-disposition: form-data; name=\"q\"\r\n\r\n{value}\r\n");
    let body = format!("{}{}--b--\r\n", part("<scr"), part("ipt src=x>"));
    is_attack(&world, posted("multipart/form-data; boundary=b", &body), "in multipart \"q\"");
    let cookies = |path: &str| Call::get(path).header("cookie", "q=<scr; theme=dark; q=ipt src=x>");
    is_attack(&world, cookies, "in cookie \"q\"");
    world.passes(&got("tag=tea&tag=it%27s+good&id=1&id=2&sort=-created&sort=name")("/api"));
    world.passes(&posted(FORM, "q=O%27Brien&q=D%27Arcy&note=select+a+table&note=from+the+list")("/api"));
    world.gateway.check_unharmed().unwrap();
}

#[test]
fn no_trick_of_multipart_hides_a_field() {
    let world = start();
    let usual = "--b\r\ncontent-disposition: form-data; name=\"q\"\r\n\r\n1' or '1'='1\r\n--b--\r\n";
    let parts = "multipart/form-data; boundary=b";
    let pad = "x".repeat(600);
    let file = format!(
        "--b\r\ncontent-disposition: form-data; name=\"q; filename=x\"\r\ncontent-type: image/png\r\n\r\n{pad} <script>alert(1)</script>\r\n--b--"
    );
    for (kind, body) in [
        ("multipart/form-data; boundary=\"b\"", usual.to_owned()),
        ("multipart/form-data; boundary='b'", usual.to_owned()),
        ("multipart/form-data; boundary=b,x", usual.to_owned()),
        (parts, usual.replace("\r\n--b--\r\n", "")),
        (parts, usual.replace("; name", ";\r\n name").replace("content-d", "Content-D")),
        (parts, usual.replace("\r\n", "\n")),
        (parts, usual.replace("or '1'", "or --b\r\n\r\n'1'")),
        (parts, file),
    ] {
        is_attack(&world, posted(kind, &body), "multipart");
    }
    let harmless = usual.replace("1' or '1'='1", "1");
    is_attack(&world, posted("multipart/form-data; boundary=a; boundary=b", &harmless), "protocol-content-type");
    let runnable = harmless.replace("name=\"q\"", "name=\"q\"; filename*=utf-8''a%2ephp");
    is_attack(&world, posted(parts, &runnable), "upload-runnable-file");
    world.passes(&posted(parts, &usual.replace("1' or '1'='1", "O'Brien & Sons -- tea; cake"))("/api"));
    world.gateway.check_unharmed().unwrap();
}
