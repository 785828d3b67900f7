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
