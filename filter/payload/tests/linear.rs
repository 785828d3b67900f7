//! No input makes the scan take more than so much time for each of its bytes, nor much memory: counted in instructions and bytes by
//! valgrind, so that the result is the same on every machine and at every load.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
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
    ("quotes and comments opened", "text/plain", "", "'/*", ""),
    ("quotes and tags of lines", "text/plain", "", "'#a", ""),
    ("quotes and conditions", "text/plain", "", "' and x y ", ""),
    ("quotes and blanks", "text/plain", "", "'       )>", ""),
    ("quotes and signs", "text/plain", "", "a'+n ", ""),
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

/// Scans such a text; gives the steps of patterns. Valgrind knows it by its name.
#[inline(never)]
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
        // The budget of a request (`scanner.rs`), and one step for each attempt that finds it used up. What looks like a document is
        // judged as a whole and in its parts, so each byte pays twice.
        assert!(large <= 250_000 + 85 * LARGE as u64, "{name}: {large} steps for {LARGE} bytes");
    }
}

/// What the children below are to scan, one after the other: numbers of shapes and sizes.
const TASKS: &str = "PORTCULLIS_LINEAR_TASKS";

#[test]
#[ignore = "what the other tests run under valgrind"]
fn scan_what_is_asked_for() {
    let Ok(tasks) = std::env::var(TASKS) else { return };
    let numbers: Vec<usize> = tasks.split(' ').map(|number| number.parse().unwrap()).collect();
    for task in numbers.chunks(2) {
        scan(task[0], task[1]);
    }
}

/// Runs scans under a tool of valgrind, and gives what the tool says.
fn under(tool: &[&str], tasks: &[(usize, usize)]) -> String {
    let mut command = Command::new("valgrind");
    command.args(tool).arg(std::env::current_exe().unwrap()).args(["--ignored", "--exact", "scan_what_is_asked_for"]);
    let tasks: Vec<String> = tasks.iter().map(|(shape, size)| format!("{shape} {size}")).collect();
    let output = command.env(TASKS, tasks.join(" ")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

fn has_valgrind() -> bool {
    let has = Command::new("valgrind").arg("--version").output().is_ok();
    if !has {
        let _ = writeln!(std::io::stderr(), "skipped: no valgrind");
    }
    has
}

/// The instructions of each scan: callgrind writes a file after each.
fn instructions(tasks: &[(usize, usize)], name: &str) -> Vec<u64> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("linear-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = format!("--callgrind-out-file={}", folder.join("out").display());
    let scan = ["--toggle-collect=linear::scan", "--dump-after=linear::scan"];
    under(&["--tool=callgrind", &file, scan[0], scan[1]], tasks);
    let counts = (1..=tasks.len()).map(|number| {
        let text = fs::read_to_string(folder.join(format!("out.{number}"))).unwrap();
        text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap().parse().unwrap()
    });
    let counts = counts.collect();
    fs::remove_dir_all(&folder).unwrap();
    counts
}

/// Sizes for callgrind, which takes its time.
const FEW: usize = 4 * 1024;
const MANY: usize = 4 * FEW;

#[test]
fn instructions_grow_no_faster_than_the_text() {
    if !has_valgrind() {
        return;
    }
    let tasks: Vec<(usize, usize)> = (0..SHAPES.len()).flat_map(|shape| [(shape, FEW), (shape, MANY)]).collect();
    // One half for each of two cores.
    let (left, right) = tasks.split_at(tasks.len() / 4 * 2);
    let counts = std::thread::scope(|scope| {
        let left = scope.spawn(|| instructions(left, "left"));
        let right = instructions(right, "right");
        [left.join().unwrap(), right].concat()
    });
    let mut slow = Vec::new();
    for (counts, (name, ..)) in counts.chunks(2).zip(SHAPES) {
        let (few, many) = (counts[0], counts[1]);
        assert!(few > FEW as u64, "{name}: {few} instructions");
        // A fixed part aside, four times the text takes four times the time.
        if many > few * 9 / 2 + 2_000_000 {
            slow.push(format!("{name}: {} a byte, then {}", few / FEW as u64, many / MANY as u64));
        }
    }
    assert_eq!(counts.len(), 2 * SHAPES.len());
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
        let text = under(&["--tool=dhat", "--dhat-out-file=/dev/null"], &[(shape, BODY)]);
        let bytes = text.lines().find_map(|line| line.split_once("At t-gmax: ")).unwrap().1.trim();
        let bytes: String = bytes.chars().take_while(|c| *c != ' ').filter(char::is_ascii_digit).collect();
        let bytes: u64 = bytes.parse().unwrap();
        // The text itself is counted as well.
        assert!(bytes < 4 << 20, "{name}: {bytes} bytes");
    }
}
