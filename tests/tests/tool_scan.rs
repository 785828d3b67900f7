//! `portcullis scan` on files of its own making, and on the development sample where that lies beside the repository.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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

/// A gzip member whose data are not compressed (RFC 1952, RFC 1951), in Base64.
fn gzip(data: &[u8]) -> String {
    let length = u16::try_from(data.len()).unwrap();
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    body.extend(length.to_le_bytes().into_iter().chain((!length).to_le_bytes()).chain(data.iter().copied()));
    body.extend([0; 8]);
    STANDARD.encode(body)
}

/// What scanning a file says: how many of its requests are refused, how many there are, and standard error.
fn scanned(name: &str, text: &str, more: &[&str]) -> (u64, u64, String) {
    let dir = WorkDir::create("tool_scan").unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    let output = tool(&[&["--json", file.to_str().unwrap()], more].concat());
    assert_eq!(output.code, Some(0), "{}", output.said);
    let (refused, items) = refused(&serde_json::from_str(&output.text).unwrap(), "legitimate: headline");
    (refused, items, output.said.replace(&format!("{}/", dir.path().display()), ""))
}

#[test]
fn lines_that_are_no_requests_are_counted_and_named() {
    let lines = concat!(
        "{\"id\":\"1\",\"method\":\"GET\",\"uri\":\"/?q=tea\"}\n",
        "\n",
        "{\"id\":\"2\",\"method\":\"GET\",\"uri\":\"/?q=tea\"\n",
        "{\"id\":\"3\",\"method\":\"GET\"}\n",
        "tea\n",
        "{\"id\":\"4\",\"uri\":\"/\"}\n",
        "{\"id\":\"5\",\"method\":\"POST\",\"uri\":\"/\",\"body_b64\":\"%\"}\n",
        "{\"id\":\"6\",\"method\":\"POST\",\"uri\":\"/\",\"body\":{\"a\":1}}\n",
        "{\"id\":\"7\",\"method\":\"POST\",\"uri\":\"/\",\"headers\":{\"host\":\"a\"}}\n",
    );
    let (_, items, said) = scanned("a.jsonl", lines, &[]);
    assert_eq!(items, 1);
    for part in [
        "portcullis: 7 lines left out, which are no requests\n",
        "  a.jsonl:3: no JSON: ",
        "  a.jsonl:4: no request: ",
        "  a.jsonl:5: neither JSON nor a line of an access log\n",
        "  a.jsonl:6: it has no `method`\n",
        "  a.jsonl:7: `body_b64` is no Base64\n",
        "  and 2 more\n",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    // A file of which all is read says nothing, and one of which nothing is read has no table.
    assert_eq!(scanned("b.jsonl", "{\"method\":\"GET\",\"uri\":\"/\"}\r\n", &[]).2, "");
    let dir = WorkDir::create("tool_scan").unwrap();
    let file = dir.path().join("c.jsonl");
    std::fs::write(&file, "tea\n").unwrap();
    let output = tool(&[file.to_str().unwrap()]);
    assert_eq!((output.code, output.text.as_str()), (Some(1), ""));
    assert!(output.said.contains("1 lines left out") && output.said.contains("no requests in these files"));
}

#[test]
fn files_of_a_folder_that_are_not_read_are_named() {
    let dir = WorkDir::create("tool_scan").unwrap();
    std::fs::write(dir.path().join("a.jsonl"), "{\"method\":\"GET\",\"uri\":\"/\"}\n").unwrap();
    std::fs::write(dir.path().join("access.log.1"), "").unwrap();
    let output = tool(&[dir.path().to_str().unwrap()]);
    assert_eq!(output.code, Some(0));
    assert!(output.said.contains("1 files of folders left out") && output.said.contains("access.log.1"));
}

#[test]
fn compressed_bodies_are_inflated_as_the_gateway_does_it() {
    let line = |coding: &str, body: &str| {
        format!(
            r#"{{"id":"1","method":"POST","uri":"/","headers":[["Host","a"],["Content-Type","application/x-www-form-urlencoded"],["Content-Encoding","{coding}"]],{body}}}"#
        )
    };
    let packed = |data: &[u8]| format!(r#""body_b64":"{}""#, gzip(data));
    let attack: &[u8] = b"q=1%27+or+%271%27%3D%271";
    for (coding, body, is_refused) in [
        ("gzip", packed(b"q=tea"), 0),
        ("GZIP", packed(attack), 1),
        // A recorder has inflated it, and left the header.
        ("gzip", r#""body":"q=tea""#.to_owned(), 0),
        ("gzip", r#""body":"q=1%27+or+%271%27%3D%271""#.to_owned(), 1),
        ("identity", r#""body":"q=1%27+or+%271%27%3D%271""#.to_owned(), 1),
    ] {
        assert_eq!(scanned("a.jsonl", &line(coding, &body), &[]), (is_refused, 1, String::new()), "{coding} {body}");
    }
    // What cannot be inflated is no attack, and not judged.
    let torn = gzip(attack).split_at(24).0.to_owned();
    let large = gzip(&[attack, &[b'a'; 2000]].concat());
    for (coding, body, why) in [
        ("br", packed(attack), "content-encoding \"br\""),
        ("zstd", packed(attack), "content-encoding \"zstd\""),
        ("gzip", format!(r#""body_b64":"{torn}""#), "it is not what its content-encoding \"gzip\" says"),
        ("gzip", format!(r#""body_b64":"{large}""#), "it inflates to more than 1024 bytes"),
    ] {
        let dir = WorkDir::create("tool_scan").unwrap();
        let policy = dir.path().join("policy.yaml");
        let small = "version: 1\nrules: [{match: {}, allow: public, payload: {max_body: 1KiB, max_inflated: 1KiB}}]\n";
        std::fs::write(&policy, small).unwrap();
        let (refused, _, said) = scanned("a.jsonl", &line(coding, &body), &["--config", policy.to_str().unwrap()]);
        assert_eq!(refused, 0, "{coding} {body}");
        assert_eq!(
            said,
            format!("portcullis: 1 requests judged without their bodies, which cannot be read\n  1: {why}\n")
        );
    }
}

#[test]
fn bodies_of_har_files_are_read_in_each_form() {
    let har = |posted: &str| {
        format!(
            r#"{{"log":{{"entries":[{{"request":{{"method":"POST","url":"https://a.example/x","headers":[],"bodySize":20,"postData":{posted}}}}}]}}}}"#
        )
    };
    let form = r#""mimeType":"application/x-www-form-urlencoded""#;
    let parts = r#""mimeType":"multipart/form-data; boundary=xx""#;
    let attack = r#""params":[{"name":"p","value":"tea"},{"name":"q","value":"1' or '1'='1"}]"#;
    for (posted, is_refused) in [
        (format!(r#"{{{form},"text":"q=tea"}}"#), 0),
        (format!(r#"{{{form},"text":"q=1%27+or+%271%27%3D%271"}}"#), 1),
        (format!(r#"{{{form},"params":[{{"name":"q","value":"tea & cake"}}]}}"#), 0),
        (format!(r#"{{{form},{attack}}}"#), 1),
        (format!(r#"{{{parts},{attack}}}"#), 1),
        (format!(r#"{{{form},"encoding":"base64","text":"{}"}}"#, STANDARD.encode("q=tea")), 0),
        (format!(r#"{{{form},"encoding":"base64","text":"{}"}}"#, STANDARD.encode("q=1' or '1'='1")), 1),
    ] {
        assert_eq!(scanned("a.har", &har(&posted), &[]), (is_refused, 1, String::new()), "{posted}");
    }
    for posted in [r#"{"text":""}"#, "null", r#"{"text":"%","encoding":"base64"}"#] {
        let (refused, _, said) = scanned("a.har", &har(posted), &[]);
        assert!(refused == 0 && said.contains("1 requests judged without their bodies"), "{posted}: {said}");
    }
    let (_, _, said) = scanned(
        "a.har",
        r#"{"log":{"entries":[{"request":{"method":"GET","url":"https://a.example/"}},{"time":1}]}}"#,
        &[],
    );
    assert!(said.contains("1 lines left out") && said.contains("a.har:2: an entry without"), "{said}");
    let dir = WorkDir::create("tool_scan").unwrap();
    let file = dir.path().join("none.har");
    std::fs::write(&file, "{}").unwrap();
    let output = tool(&[file.to_str().unwrap()]);
    assert!(output.code == Some(1) && output.said.contains("none.har is no HAR file"), "{}", output.said);
}

#[test]
fn access_logs_of_the_proxy_are_read() {
    // Every field of the reference gateway's log, as Envoy writes it.
    let reference = std::fs::read_to_string(paths::root().join("envoy.yaml")).unwrap();
    assert!(reference.contains(r#"path: "%PATH(NQ)%""#) && reference.contains(r#"method: "%REQ(:METHOD)%""#));
    let ours = r#"{"client":"192.0.2.7","details":"via_upstream","method":"GET","milliseconds":2,"path":"/PATH","principal":null,"reason":null,"request":"7f","rule":"rules[0]","status":200,"time":"2026-11-22T10:00:00.000Z","trace":"0","upstream":"orders","verdict":"allowed"}"#;
    let istio = r#"{"authority":"a.example","method":"GET","path":"/PATH","protocol":"HTTP/1.1","user_agent":"curl/8","start_time":"2026-11-22T10:00:00.000Z"}"#;
    let usual =
        r#"[2026-11-22T10:00:00.000Z] "GET /PATH HTTP/1.1" 200 - 0 12 3 2 "-" "curl/8" "7f" "a.example" "10.0.0.1:80""#;
    let nginx = r#"192.0.2.7 - - [22/Nov/2026:10:00:00 +0000] "GET /PATH HTTP/1.1" 200 12 "-" "curl/8""#;
    for (name, line) in [("ours", ours), ("istio", istio), ("usual", usual), ("nginx", nginx)] {
        for (path, refused) in [("orders/7", 0), ("a/..%2f..%2f..%2f..%2fetc%2fpasswd", 1)] {
            let text = format!("{}\n", line.replace("PATH", path));
            assert_eq!(scanned("access.log", &text, &[]), (refused, 1, String::new()), "{name} {path}");
        }
    }
    // An agent of a scanner is in the formats that have one; and what a server has escaped counts as it was sent.
    for line in [istio, usual, nginx] {
        assert_eq!(scanned("access.log", &line.replace("curl/8", "sqlmap/1.7"), &[]).0, 1, "{line}");
    }
    assert_eq!(scanned("access.log", &nginx.replace("PATH", "a?q=\\x22><script>alert(1)</script>"), &[]).0, 1);
    // Audit events and words of the proxy stand in the same stream.
    let mixed = format!(
        "[2026-11-22 10:00:00.000][7][warning][wasm] wasm log portcullis: {}\n{ours}\n",
        r#"{"@timestamp":"2026-11-22T10:00:00.000Z","event.action":"request_denied","http.request.method":"GET","url.path":"/"}"#
    );
    let (_, items, said) = scanned("envoy.log", &mixed, &[]);
    assert!(items == 1 && said.contains("1 lines left out"), "{said}");
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
    // In each form: as a query, as a form and as JSON.
    let row = |class: &str| table.as_array().unwrap().iter().find(|row| row["class"] == class).unwrap();
    let shares = |class: &str, of: &str| -> Vec<f64> {
        let row = row(class);
        let items = row["items"].as_f64().unwrap();
        row[of].as_array().unwrap().iter().map(|count| 100.0 * count.as_f64().unwrap() / items).collect()
    };
    let [query, form, json] = shares("attacks: core classes", "refused").try_into().unwrap();
    assert!(query >= 97.0 && form >= 96.0 && json >= 97.0, "{query} {form} {json}");
    let suite = shares("suite: all", "refused");
    assert!(suite.iter().all(|share| *share >= 98.0), "{suite:?}");
    // Better than the Core Rule Set's paranoia level 2 in every form of every other class.
    for class in ["crlf", "deser", "graphql", "ldap", "lfi", "protopollution", "redirect", "rfi", "ssi", "xpath"] {
        let class = format!("attacks: {class}");
        let ours = shares(&class, "refused");
        for (ours, theirs) in ours.iter().zip(shares(&class, "baseline_level_2")) {
            assert!(*ours >= theirs, "{class}: {ours} {theirs}");
        }
    }
    for class in ["attack requests: gotestwaf", "attack requests: waf-bypass"] {
        assert!(shares(class, "refused") > shares(class, "baseline_level_2"), "{class}");
    }
    for (class, most) in [("headline", 1.0), ("developer text", 5.0), ("values", 0.5)] {
        let shares = shares(&format!("legitimate: {class}"), "refused");
        assert!(shares.iter().all(|share| *share < most), "{class}: {shares:?}");
    }
}
