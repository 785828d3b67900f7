//! What the log says about an attack is all that an operator needs who knows better: its exceptions, put into the configuration as they
//! stand, let the same request pass, and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::path::Path;

use portcullis_tests::cases::check::{End, Seen};
use portcullis_tests::cases::gateway::Gateway;
use portcullis_tests::cases::parse::parse;
use portcullis_tests::cases::template::Template;
use serde_json::{Map, Value, json};

const OWN: &str = "an-own-rule-with-a-name-as-long-as-it-may-be-in-a-label";

fn configuration(payload: &Value) -> Value {
    json!({
        "version": 1,
        "payload_rules": {OWN: {
            "targets": ["args"], "contains": ["corp.internal"], "message": "m".repeat(300), "tags": vec!["a-tag"; 20],
        }},
        "rules": [{"match": {"path": "/**"}, "allow": "public", "payload": payload}],
    })
}

/// What becomes of a request.
fn sent(payload: &Value, request: &str) -> Seen {
    let text = format!("# A fact.\n--- config\nversion: 1\n--- request\n{request}\n--- decision\nallow\n");
    let case = parse(Path::new("made.case"), &text, &|_| None).unwrap();
    let mut gateway =
        Gateway::start(&case, &configuration(payload)).unwrap().unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut seen = None;
    let mut template = Template::at(1_800_000_000);
    gateway
        .play(&case, &mut template, &mut |_, _, one, _| {
            seen = Some(one);
            Ok(())
        })
        .unwrap();
    seen.unwrap()
}

fn passes(payload: &Value, request: &str) -> bool {
    matches!(sent(payload, request).end, End::Passed { .. })
}

/// The audit events of a request in monitor mode.
fn events(request: &str) -> Vec<Value> {
    let seen = sent(&json!({"mode": "monitor"}), request);
    let events: Vec<Value> = seen.log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().all(|event| event["event.reason"] == "payload_attack"), "{request}: {events:?}");
    events
}

/// Adds an exception to a `payload` section.
fn add(payload: &mut Map<String, Value>, exception: &Value) {
    for (member, items) in exception.as_object().unwrap() {
        let all = payload.entry(member.clone()).or_insert_with(|| json!([]));
        all.as_array_mut().unwrap().extend(items.as_array().unwrap().iter().cloned());
    }
}

/// A section with all exceptions of these events.
fn excepted(events: &[Value]) -> Value {
    let mut payload = Map::new();
    for finding in events.iter().flat_map(|event| event["portcullis.payload"].as_array().unwrap()) {
        add(&mut payload, &finding["exception"]);
    }
    Value::Object(payload)
}

const SQL: &str = "1' or '1'='1";
const SQL_ENCODED: &str = "1%27%20or%20%271%27%3D%271";
const SCRIPT: &str = "<script>alert(1)</script>";
const SCRIPT_ENCODED: &str = "%3Cscript%3Ealert(1)%3C%2Fscript%3E";

/// Requests with an attack in each place, and in names of all kinds.
fn attacks() -> Vec<String> {
    let long = "n".repeat(65);
    let longer = "n".repeat(400);
    let post = |kind: &str, body: &str| format!("POST /x\ncontent-type: {kind}\n< {body}");
    let form = "application/x-www-form-urlencoded";
    let part = |head: &str| {
        let head = format!("--b\\x0d\\x0acontent-disposition: form-data; {head}\\x0d\\x0a\\x0d\\x0a");
        post("multipart/form-data; boundary=b", &format!("{head}{SCRIPT}\\x0d\\x0a--b--\\x0d\\x0a"))
    };
    vec![
        format!("GET /x?q={SQL_ENCODED}"),
        format!("GET /x?q={SQL_ENCODED}&r={SCRIPT_ENCODED}&s={SCRIPT_ENCODED}"),
        format!("GET /x?q={SQL_ENCODED}{SCRIPT_ENCODED}"),
        format!("GET /x?{long}={SQL_ENCODED}"),
        format!("GET /x?{longer}={SQL_ENCODED}"),
        format!("GET /x?note_*={SQL_ENCODED}"),
        format!("GET /x?true={SQL_ENCODED}"),
        format!("GET /x?1={SQL_ENCODED}"),
        format!("GET /x?user[name]={SQL_ENCODED}"),
        format!("GET /x?a%22%5C%27b={SQL_ENCODED}"),
        format!("GET /x?a(b={SQL_ENCODED}"),
        format!("GET /x?%C3%A9t%C3%A9={SQL_ENCODED}"),
        format!("GET /x?%FF%FE={SQL_ENCODED}"),
        format!("GET /x?={SQL_ENCODED}"),
        format!("GET /x?{SCRIPT_ENCODED}"),
        format!("GET /x?{SCRIPT_ENCODED}={SCRIPT_ENCODED}"),
        format!("GET /x?q=1%27%20or%20&q=%271%27%3D%271"),
        "GET /x/%3Cscript%3Ealert(1)/y".to_owned(),
        format!("GET /x\nx-note: {SCRIPT}"),
        format!("GET /x\nuser-agent: {SCRIPT}"),
        format!("GET /x\nreferer: https://a.example/?q={SCRIPT}"),
        format!("GET /x\ncookie: a=1; b={SCRIPT}"),
        "GET /x\nlock-token: x".to_owned(),
        post(form, &format!("a=1&b={SQL_ENCODED}")),
        post(form, &format!("{{\"a\": \"{SCRIPT}\"}}")),
        post("application/json", &format!("{{\"a\": [1, {{\"b\": \"{SCRIPT}\"}}]}}")),
        post("application/json", &format!("{{\"{SCRIPT}\": 1}}")),
        post("application/json", &format!("{{\"{SCRIPT}\": \"{SCRIPT}\"}}")),
        post("application/json", &format!("\"{SCRIPT}\"")),
        post("application/json", &format!("[\"{SQL}\"]")),
        post("application/json", "{\"a\": {\"$gt\": \"\"}}"),
        post("application/json", "{\"query\": \"{__schema{types{name}}}\"}"),
        post("application/graphql", &format!("{{user(id: \"{SQL}\") {{name}}}}")),
        post("application/xml", &format!("<a><b>1</b><c><![CDATA[{SCRIPT}]]></c></a>")),
        post("application/xml", &format!("<a b=\"{SQL}\"/>")),
        post("application/xml", &format!("<a><!-- {SCRIPT} --></a>")),
        post("application/xml", "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>"),
        post("text/plain", &format!("see {SCRIPT}")),
        post("application/octet-stream", &format!("see {SCRIPT}")),
        part("name=\"c\""),
        part("name=\"\""),
        part("filename=\"a.php\"; name=\"f\""),
        part(&format!("name=\"f\"; filename=\"{SCRIPT}\"")),
        format!("GET /x?q=http://corp.internal/"),
        post("application/json", "{\"q\": \"corp.internal\"}"),
    ]
}

#[test]
fn what_the_log_excepts_passes_and_nothing_else_does() {
    let elsewhere = [
        format!("GET /x?other={SCRIPT_ENCODED}"),
        format!("GET /x?other={SQL_ENCODED}"),
        format!("GET /x?segment={SCRIPT_ENCODED}&other={SQL_ENCODED}"),
        format!("POST /x\ncontent-type: application/json\n< {{\"other\": \"{SCRIPT}\"}}"),
    ];
    let mut wrong = Vec::new();
    for attack in attacks() {
        let events = events(&attack);
        if events.is_empty() || passes(&json!({}), &attack) {
            wrong.push(format!("{attack}\n  is no attack"));
            continue;
        }
        let payload = excepted(&events);
        if !passes(&payload, &attack) {
            wrong.push(format!("{attack}\n  is refused in spite of {payload}\n  {:?}", sent(&payload, &attack).log));
        }
        for other in &elsewhere {
            if passes(&payload, other) {
                wrong.push(format!("{attack}\n  its exceptions {payload} let pass {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_message_ends_with_the_first_exception_as_yaml() {
    for attack in attacks() {
        for event in events(&attack) {
            let message = event["message"].as_str().unwrap();
            let (_, exception) = message.split_once("if this is no attack: payload: ").unwrap();
            let exception = exception.split("; ").next().unwrap();
            let read: Value = serde_norway::from_str(exception).unwrap_or_else(|error| panic!("{exception}: {error}"));
            assert_eq!(read, event["portcullis.payload"][0]["exception"], "{message}");
            assert!(event.to_string().len() < 8_000, "{event}");
        }
    }
}

#[test]
fn an_event_names_every_family_and_parameter_within_bounds() {
    let seen = |request: &str| -> Vec<(String, String)> {
        let events = events(request);
        let findings = events.iter().flat_map(|event| event["portcullis.payload"].as_array().unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        findings.map(|finding| (text(&finding["family"]), text(&finding["parameter"]))).collect()
    };
    let pair = |family: &str, parameter: &str| (family.to_owned(), parameter.to_owned());
    let mut three = seen(&format!("GET /x?q={SQL_ENCODED}&r={SCRIPT_ENCODED}&s={SCRIPT_ENCODED}&t=fine"));
    three.sort();
    assert_eq!(three, [pair("sqli", "q"), pair("xss", "r"), pair("xss", "s")]);
    // A crowd in one family does not hide the others.
    let crowd: String = (0..100).map(|n| format!("p{n}={SCRIPT_ENCODED}&")).collect();
    let many = seen(&format!("GET /x?{crowd}q={SQL_ENCODED}"));
    assert_eq!(many.len(), 8);
    assert!(many.contains(&pair("sqli", "q")), "{many:?}");
}

#[test]
fn what_users_type_is_in_no_event() {
    let typed = "correcthorse";
    for request in [
        format!("GET /x?{typed}%27%20or%20%271%27%3D%271--"),
        format!("GET /x?q={typed}%27%20or%20%271%27%3D%271--"),
        format!("GET /x?a%20%27{typed}=%27%20or%20%271%27%3D%271--"),
        format!("POST /x\ncontent-type: application/json\n< {{\"{typed}' or '1'='1\": 1}}"),
        format!(
            "POST /x\ncontent-type: application/x-www-form-urlencoded\n< {{\"a\": \"{typed} <script>alert(1)</script>\"}}"
        ),
    ] {
        let events = events(&request);
        assert!(!events.is_empty(), "{request}");
        for event in events {
            assert!(!event.to_string().contains(typed), "{request}: {event}");
        }
    }
}
