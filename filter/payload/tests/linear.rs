//! No input makes the scan take more than so much time for each of its bytes, nor much memory: counted in instructions and bytes by
//! valgrind, so that the result is the same on every machine and at every load.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::io::Write as _;
use std::process::Command;

use portcullis_payload::arguments::{self, Request};
use portcullis_payload::{Scanner, Scratch, Settings};

/// What is repeated, between what and in which kind of body. `{n}` is a number that grows.
const SHAPES: &[(&str, &str, &str, &str, &str)] = &[
    ("plain text", "text/plain", "", "the quick brown fox, it's \"here\" ", ""),
    ("one letter", "text/plain", "", "a", ""),
    ("brackets", "text/plain", "", "(", ""),
    ("brackets and quotes", "text/plain", "", "('", ""),
    ("closing brackets", "text/plain", "", ")(", ""),
    ("quotes", "text/plain", "", "'", ""),
    ("three quotes", "text/plain", "", "'\"`", ""),
    ("quoted words", "text/plain", "", "' or 'a", ""),
    ("comments opened", "text/plain", "", "/*", ""),
    ("comments", "text/plain", "", "/*!*/un/**/ion", ""),
    ("line comments", "text/plain", "", "-- x\n#", ""),
    ("percent signs", "text/plain", "", "%", ""),
    ("percent signs of percent signs", "text/plain", "%25252527", "%2525", ""),
    ("percent u", "text/plain", "", "%u0025u00", ""),
    ("entities", "text/plain", "", "&amp;amp;#x", ""),
    ("entities without end", "text/plain", "", "&#0000", ""),
    ("backslashes", "text/plain", "", "\\", ""),
    ("escapes", "text/plain", "", "\\u{5c}x5c", ""),
    ("bytes above ASCII", "text/plain", "", "\u{ff07}\u{2025}\u{e9}", ""),
    ("words of SQL", "text/plain", "", "select union from where ", ""),
    ("sums of SQL", "text/plain", "1", "||1", ""),
    ("near matches of SQL", "text/plain", "", "select a from information_schem ", ""),
    ("dollar quotes", "text/plain", "", "$a$b", ""),
    ("dollar quotes that grow", "text/plain", "", "${n}$ ", ""),
    ("variables", "text/plain", "", "@@a@", ""),
    ("calls", "text/plain", "", "system (", ""),
    ("blanks before calls", "text/plain", "", "exec                   ", "("),
    ("steps", "text/plain", "", "../", ""),
    ("dots", "text/plain", "", ".", ""),
    ("slashes", "text/plain", "", "//", ""),
    ("addresses", "text/plain", "", "http://0x7f.1@", ""),
    ("tags", "text/plain", "", "<a b=c ", ""),
    ("tags opened", "text/plain", "", "<", ""),
    ("attributes", "text/plain", "<img ", "on=x style=\\\\41 ", ">"),
    ("tags of scripts", "text/plain", "", "<script/x>", ""),
    ("a value without end", "text/plain", "<a href=\"", "java\tscript", ""),
    ("templates", "text/plain", "", "{{${", ""),
    ("lookups", "text/plain", "", "${jndi:${lower:", ""),
    ("commands", "text/plain", "", ";cat|ls&&", ""),
    ("substitutions", "text/plain", "", "$(`", ""),
    ("brace lists", "text/plain", "", "{a,", ""),
    ("filters of LDAP", "text/plain", "", ")(&(cn=*", ""),
    ("base64", "text/plain", "", "c2VsZWN0IA", ""),
    ("blanks", "text/plain", "select", " ", ""),
    ("line ends", "text/plain", "", "\r\na:", ""),
    ("fields", "application/x-www-form-urlencoded", "", "a{n}=b&", ""),
    ("empty fields", "application/x-www-form-urlencoded", "", "&=", ""),
    ("the same field", "application/x-www-form-urlencoded", "", "a=1'&", ""),
    ("percent signs in fields", "application/x-www-form-urlencoded", "a=", "%2525%u0027+", ""),
    ("JSON, deep", "application/json", "", "[", ""),
    ("JSON, deep objects", "application/json", "", "{\"a\":", ""),
    ("JSON, keys", "application/json", "{", "\"k{n}\":\"it's\",", "\"z\":1}"),
    ("JSON, strings", "application/json", "[", "\"a--\",", "1]"),
    ("JSON, escapes", "application/json", "[\"", "\\u0027\\\\", "\"]"),
    ("JSON in JSON", "application/json", "[\"", "{\\\"a\\\":\\\"", "\"]"),
    ("JSON without end", "application/json", "[\"", "\\\"", ""),
    ("lines of JSON", "application/x-ndjson", "", "{\"a\":\"b\"}\n", ""),
    (
        "parts",
        "multipart/form-data; boundary=x",
        "",
        "--x\r\ncontent-disposition: form-data; name=a\r\n\r\nb\r\n",
        "--x--",
    ),
    ("borders of parts", "multipart/form-data; boundary=x", "", "--x\r\n", ""),
    ("nearly borders", "multipart/form-data; boundary=xxxx", "--xxxx\r\n\r\n", "\r\n--xxx", ""),
    ("headers of parts", "multipart/form-data; boundary=x", "--x\r\n", "a: b\r\n", ""),
    ("XML, deep", "text/xml", "", "<a b='c'>", ""),
    ("XML, sections", "text/xml", "<a>", "<![CDATA[x]]>", "</a>"),
    ("XML, entities", "text/xml", "<!DOCTYPE a [", "<!ENTITY b \"c\">", "]>"),
    ("XML, comments", "text/xml", "", "<!--", ""),
    ("GraphQL", "application/graphql", "{", "a(b:\"c\"){", ""),
    ("cookies", "", "", "a=b; ", ""),
];

fn repeated(shape: usize, size: usize) -> Vec<u8> {
    let (_, _, start, unit, end) = SHAPES[shape];
    let mut text = start.as_bytes().to_vec();
    let mut number = 0;
    while text.len() < size {
        text.extend_from_slice(unit.replace("{n}", &number.to_string()).as_bytes());
        number += 1;
    }
    text.extend_from_slice(end.as_bytes());
    text
}

/// Scans such a text; gives the steps of patterns.
fn scan(shape: usize, size: usize) -> u64 {
    let text = repeated(shape, size);
    let kind = SHAPES[shape].1.as_bytes();
    let headers: [(&[u8], &[u8]); 1] =
        [if kind.is_empty() { (b"cookie", text.as_slice()) } else { (b"content-type", kind) }];
    let body = if kind.is_empty() { &b""[..] } else { &text };
    let request = Request { method: b"POST", target: b"/", headers: &headers, body };
    let (scanner, settings) = (Scanner::new().unwrap(), Settings { level: 3, ..Settings::default() });
    let mut scratch = Scratch::default();
    let mut inspection = scanner.begin(&settings, &mut scratch);
    arguments::inspect(&request, &mut inspection);
    inspection.steps()
}

const SMALL: usize = 8 * 1024;
const LARGE: usize = 4 * SMALL;

#[test]
fn the_steps_of_patterns_grow_no_faster_than_the_text() {
    for (number, (name, ..)) in SHAPES.iter().enumerate() {
        let (small, large) = (scan(number, SMALL), scan(number, LARGE));
        assert!(large <= 5 * small + 20_000, "{name}: {small} steps for {SMALL} bytes, {large} for {LARGE}");
        // The budget of a request (`scanner.rs`), and one step for each attempt that finds it used up.
        assert!(large <= 250_000 + 45 * LARGE as u64, "{name}: {large} steps for {LARGE} bytes");
    }
}

/// What the children below are to scan: the shape's number and the size.
const TASK: &str = "PORTCULLIS_LINEAR_TASK";

#[test]
#[ignore = "what the other tests run under valgrind"]
fn scan_what_is_asked_for() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (shape, size) = task.split_once(' ').unwrap();
    scan(shape.parse().unwrap(), size.parse().unwrap());
}

/// Runs a scan under a tool of valgrind, and gives the number behind `label` in what the tool says; `None` where there is no valgrind.
fn counted(tool: &[&str], label: &str, shape: usize, size: usize) -> Option<u64> {
    let mut command = Command::new("valgrind");
    command.args(tool).arg(std::env::current_exe().unwrap()).args(["--ignored", "--exact", "scan_what_is_asked_for"]);
    let output = command.env(TASK, format!("{shape} {size}")).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let number = text.lines().find_map(|line| line.split_once(label)).expect("the tool says what it has counted").1;
    let number: String = number.trim().chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    number.replace(',', "").parse().ok()
}

fn has_valgrind() -> bool {
    let has = Command::new("valgrind").arg("--version").output().is_ok();
    if !has {
        let _ = writeln!(std::io::stderr(), "skipped: no valgrind");
    }
    has
}

#[test]
#[ignore = "takes minutes: cargo test -p portcullis-payload --test linear -- --ignored instructions"]
fn instructions_grow_no_faster_than_the_text() {
    if !has_valgrind() {
        return;
    }
    let instructions = |shape: usize, size: usize| {
        let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=linear::scan"];
        counted(&tool, "Collected : ", shape, size).unwrap_or(0)
    };
    let mut slow = Vec::new();
    for (number, (name, ..)) in SHAPES.iter().enumerate() {
        let (small, large) = (instructions(number, SMALL), instructions(number, LARGE));
        assert!(small > SMALL as u64, "{name}: {small} instructions");
        // A fixed part aside, four times the text takes four times the time.
        if large > small * 9 / 2 + 2_000_000 {
            slow.push(format!("{name}: {} a byte, then {}", small / SMALL as u64, large / LARGE as u64));
        }
    }
    assert!(slow.is_empty(), "instructions:\n{}", slow.join("\n"));
}

#[test]
fn a_scan_takes_less_than_four_mebibytes() {
    if !has_valgrind() {
        return;
    }
    const BODY: usize = 128 * 1024;
    for name in ["plain text", "JSON, keys", "base64", "percent signs of percent signs", "quotes", "parts", "fields"] {
        let shape = SHAPES.iter().position(|shape| shape.0 == name).unwrap();
        let bytes = counted(&["--tool=dhat", "--dhat-out-file=/dev/null"], "At t-gmax: ", shape, BODY).unwrap();
        // The text itself is counted as well.
        assert!(bytes < 4 << 20, "{name}: {bytes} bytes");
    }
}
