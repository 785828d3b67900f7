//! `portcullis scan` on files of its own making, and on the development sample where that lies beside the repository.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Command;

use portcullis_tests::elsewhere::skipped;
use portcullis_tests::paths::{self, WorkDir};
use serde_json::Value;

fn scan(arguments: &[&str]) -> String {
    let output =
        Command::new(paths::tool().unwrap()).current_dir(paths::root()).arg("scan").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The refused of a class, and how many there are: in the first form.
fn refused(table: &Value, class: &str) -> (u64, u64) {
    let row = table
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["class"] == class)
        .unwrap_or_else(|| panic!("no {class} in {table:#}"));
    (row["refused"][0].as_u64().unwrap_or(0), row["items"].as_u64().unwrap())
}

#[test]
fn payloads_values_requests_logs_and_har_files_are_counted() {
    let dir = WorkDir::create("tool_scan").unwrap();
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let lines = write(
        "a.jsonl",
        concat!(
            r#"{"id":"1","cls":"sqli","src":"own","payload":"x' OR 'a'='a"}"#,
            "\n",
            r#"{"id":"2","src":"own","value":"O'Brien & Sons"}"#,
            "\n",
            r#"{"id":"3","cls":"search","src":"own","expect":"pass","method":"GET","uri":"/?q=tea","headers":[["Host","a"]]}"#,
            "\n"
        ),
    );
    let log = write(
        "access.log",
        "192.0.2.7 - - [22/Nov/2026:10:00:00 +0000] \"GET /a?b=1 HTTP/1.1\" 200 12 \"-\" \"Mozilla/5.0\"\n\
         192.0.2.7 - - [22/Nov/2026:10:00:01 +0000] \"GET /a?b=../../../../etc/passwd HTTP/1.1\" 404 12 \"-\" \"Mozilla/5.0\"\n",
    );
    let har = write(
        "b.har",
        r#"{"log":{"entries":[{"request":{"method":"GET","url":"https://a.example/x?y=1","headers":[{"name":"accept","value":"*/*"}]}}]}}"#,
    );
    let table: Value = serde_json::from_str(&scan(&["--json", &lines, &log, &har])).unwrap();
    assert_eq!(refused(&table, "attacks: core classes"), (1, 1));
    assert_eq!(refused(&table, "legitimate: values"), (0, 1));
    assert_eq!(refused(&table, "legitimate: headline"), (1, 4));

    let text = scan(&["--show-false-positives", &log]);
    assert!(text.contains("REFUSED") && text.contains("traversal-steps"), "{text}");
}

/// A policy as operators have them: exceptions, a family off, another level and threshold, rules of their own, rules that are off.
const POLICY: &str = r#"
version: 1
payload_rules:
  internal: {targets: [args], contains: [corp.internal]}
  hint: {targets: [args], contains: [maybe], family: ssrf, weight: 2}
defaults: {payload: {}}
rules:
- {name: search, match: {path: /search}, allow: public, payload: {except: [{parameter: q, families: [sqli]}]}}
- {name: code, match: {path: "/code/**"}, allow: public, payload: {without: [traversal], without_rules: [internal]}}
- {name: strict, match: {path: /strict}, allow: public, payload: {level: 3, threshold: 2, mode: monitor}}
- {name: lax, match: {path: /lax}, allow: public, payload: {threshold: 100}}
- {name: unjudged, match: {path: /off}, allow: public, payload: {rules: off}}
- {name: shop, match: {host: shop.test, path: /shop}, allow: public, payload: {rules: off}}
- {name: posts, match: {path: /posts, methods: [POST]}, allow: public, payload: {without: [sqli]}}
"#;

/// The policy and a log with one request, and what scanning it with more arguments says: refused or not, and standard error.
struct Scanned {
    dir: WorkDir,
    policy: String,
}

impl Scanned {
    fn new() -> Self {
        let dir = WorkDir::create("tool_scan").unwrap();
        let policy = dir.path().join("policy.yaml").to_str().unwrap().to_owned();
        std::fs::write(&policy, POLICY).unwrap();
        Self { dir, policy }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let file = self.dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Whether a request of an access log is refused.
    fn refuses(&self, request: &str, more: &[&str]) -> (bool, String) {
        let log = self.write(
            "access.log",
            &format!(
                "192.0.2.7 - - [22/Nov/2026:10:00:00 +0000] \"{request} HTTP/1.1\" 200 12 \"-\" \"Mozilla/5.0\"\n"
            ),
        );
        let arguments = [&["--json", &log, "--config", &self.policy], more].concat();
        let output = tool(&arguments);
        assert_eq!(output.code, Some(0), "{}", output.said);
        let table: Value = serde_json::from_str(&output.text).unwrap();
        (refused(&table, "legitimate: headline") == (1, 1), output.said)
    }
}

struct Output {
    code: Option<i32>,
    text: String,
    said: String,
}

fn tool(arguments: &[&str]) -> Output {
    let output =
        Command::new(paths::tool().unwrap()).current_dir(paths::root()).arg("scan").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code(), text: text(output.stdout), said: text(output.stderr) }
}

#[test]
fn each_request_is_judged_as_its_rule_says() {
    let scanned = Scanned::new();
    for (request, is_refused) in [
        // An exception, for its parameter and its family alone.
        ("GET /search?q=1%27+or+%271%27%3D%271", false),
        ("GET /search?p=1%27+or+%271%27%3D%271", true),
        ("GET /search?q=%3Cscript%3Ealert(1)%3C/script%3E", true),
        // A family that is off, and a rule of the operator that is not asked.
        ("GET /code/a?f=../../../../x.txt", false),
        ("GET /search?f=../../../../x.txt", true),
        ("GET /code/a?f=1%27+or+%271%27%3D%271", true),
        ("GET /code/a?f=corp.internal", false),
        ("GET /search?f=corp.internal", true),
        // Another level and threshold: `maybe` has two points.
        ("GET /strict?f=maybe", true),
        ("GET /search?f=maybe", false),
        ("GET /strict?f=O%27", true),
        ("GET /search?f=O%27", false),
        ("GET /lax?f=1%27+or+%271%27%3D%271", false),
        ("GET /off?f=1%27+or+%271%27%3D%271", false),
        // By method.
        ("POST /posts?f=1%27+or+%271%27%3D%271", false),
        // The gateway's form of a path.
        ("GET /%63ode/a?f=../../../../x.txt", false),
    ] {
        assert_eq!(scanned.refuses(request, &[]).0, is_refused, "{request}");
    }
}

#[test]
fn what_no_rule_judges_is_said() {
    let scanned = Scanned::new();
    let (is_refused, said) = scanned.refuses("GET /else?f=corp.internal", &[]);
    assert!(is_refused && said.contains("1 requests meet no rule of the configuration"), "{said}");
    let (is_refused, said) = scanned.refuses("GET /posts?f=1%27+or+%271%27%3D%271", &[]);
    assert!(is_refused && said.contains("1 requests meet no rule"), "another method: {said}");
    let (is_refused, said) = scanned.refuses("GET /off?f=corp.internal", &[]);
    assert!(!is_refused && said.contains("1 requests meet a rule without payload rules: not judged"), "{said}");
    let (is_refused, said) = scanned.refuses("GET /search?q=tea", &[]);
    assert_eq!((is_refused, said.as_str()), (false, ""));
    // A log names no host.
    assert!(scanned.refuses("GET /shop?f=corp.internal", &[]).0);
    assert!(!scanned.refuses("GET /shop?f=corp.internal", &["--host", "shop.test"]).0);
    let har = scanned.write(
        "a.har",
        r#"{"log":{"entries":[{"request":{"method":"GET","url":"https://shop.test/shop?f=corp.internal","headers":[{"name":":authority","value":"shop.test"}]}}]}}"#,
    );
    let output = tool(&["--json", &har, "--config", &scanned.policy]);
    assert!(output.said.contains("1 requests meet a rule without payload rules"), "{}", output.said);
}

#[test]
fn the_command_line_goes_before_the_configuration() {
    let scanned = Scanned::new();
    let attack = "GET /else?q=1%27+or+%271%27%3D%271";
    for (more, is_refused) in [
        (&["--rule", "search"][..], false),
        (&["--rule", "code"], true),
        (&["--rule", "unjudged"], false),
        (&["--rule", "search", "--level", "3"], false),
        (&["--threshold", "100"], false),
        (&["--rule", "lax", "--threshold", "5"], true),
    ] {
        assert_eq!(scanned.refuses(attack, more).0, is_refused, "{more:?}");
    }
    assert!(scanned.refuses("GET /search?f=O%27", &["--level", "3", "--threshold", "1"]).0);
    // Payloads have no path of their own: a rule can be named for them.
    let lines = scanned.write("a.jsonl", "{\"id\":\"1\",\"cls\":\"sqli\",\"payload\":\"x' OR 'a'='a\"}\n");
    let table = |more: &[&str]| -> Value {
        let output = tool(&[&["--json", &lines, "--config", &scanned.policy], more].concat());
        assert_eq!(output.code, Some(0), "{}", output.said);
        serde_json::from_str(&output.text).unwrap()
    };
    assert_eq!(table(&[])[0]["refused"], serde_json::json!([1, 1, 1]));
    assert_eq!(table(&["--rule", "posts"])[0]["refused"], serde_json::json!([0, 0, 0]));
}

#[test]
fn a_wrong_configuration_or_argument_is_said_with_a_way_out() {
    let scanned = Scanned::new();
    let log = scanned.write("access.log", "192.0.2.7 - - [22/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 12\n");
    let wrong = scanned.write("wrong.yaml", "version: 1\nrules:\n- {match: {}, allow: public, payload: {levle: 2}}\n");
    let none = scanned.write("none.yaml", "static_resources: {}\n");
    let broken = scanned.write("broken.yaml", "version: [1\n");
    let missing = scanned.dir.path().join("missing.yaml").to_str().unwrap().to_owned();
    for (arguments, code, said) in [
        (
            vec!["--config", &wrong],
            1,
            &["wrong.yaml has mistakes", "portcullis check", "levle", "did you mean \"level\"?"][..],
        ),
        (vec!["--config", &none], 1, &["there is no Portcullis filter in"]),
        (vec!["--config", &broken], 1, &["broken.yaml:"]),
        (vec!["--config", &missing], 1, &["missing.yaml"]),
        (vec!["--config", &scanned.policy, "--rule", "serach"], 1, &["no rule \"serach\"", "did you mean \"search\"?"]),
        (vec!["--config", &scanned.policy, "--rule", "xyzxyz"], 1, &["there are search, code, strict"]),
        (vec!["--rule", "search"], 2, &["--config"]),
        (vec!["--level", "4"], 2, &["1..=3"]),
        (vec!["--threshold", "0"], 2, &["1..=100"]),
    ] {
        let output = tool(&[&[log.as_str()], arguments.as_slice()].concat());
        assert_eq!(output.code, Some(code), "{arguments:?}: {}", output.said);
        for part in said {
            assert!(output.said.contains(part), "{arguments:?}: {part:?} is not in {}", output.said);
        }
        assert_eq!(output.text, "", "{arguments:?}");
    }
}

#[test]
fn the_sample_meets_the_targets() {
    let sample = paths::root().join("../shared/corpora/waf");
    if !Path::new(&sample).is_dir() {
        skipped(&format!("sample of attacks at {}", sample.display()));
        return;
    }
    let table: Value = serde_json::from_str(&scan(&["--json", sample.to_str().unwrap()])).unwrap();
    let share = |class: &str| {
        let (refused, items) = refused(&table, class);
        100.0 * refused as f64 / items as f64
    };
    assert!(share("attacks: core classes") >= 97.0);
    assert!(share("legitimate: headline") < 1.0);
    assert!(share("legitimate: developer text") < 5.0);
    assert!(share("legitimate: values") < 0.5);
}
