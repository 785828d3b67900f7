//! The JSON Schemas of `input` against the official test suite (draft 2020-12), as the Python package `jsonschema` carries it in its source
//! distribution. Without the package, which pip fetches, there is one line that says so, and nothing is tested.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use portcullis_engine::config::Problems;
use portcullis_engine::input::JsonLimits;
use portcullis_engine::input::json::Document;
use portcullis_engine::input::schema::Compiler;
use portcullis_tests::elsewhere::{Package, Packed};
use serde_json::Value;

const SUITE: Package =
    Package { name: "jsonschema", version: "4.26.0", packed: Packed::Source, carries: "JSON Schema test suite" };

/// Files of the suite whose keywords are refused: their schemas must be, not be taken for others.
const REFUSED: &[&str] = &["dynamicRef", "unevaluatedItems", "unevaluatedProperties", "vocabulary"];

/// Files about places outside of a schema, or about unknown keywords, which the suite ignores and we refuse.
const ELSEWHERE: &[&str] = &["refRemote", "unknownKeyword", "id"];

/// Files of optional tests that are about what is done here.
const OPTIONAL: &[&str] = &["bignum", "float-overflow", "non-bmp-regex", "no-schema"];

/// Formats that are checked here.
const FORMATS: &[&str] =
    &["date", "time", "date-time", "duration", "uuid", "ipv4", "ipv6", "hostname", "uri", "uri-reference", "email"];

/// Where the formats of the suite go further than we do. Each is stricter: what it would take is refused.
const STRICTER: &[&str] = &[
    "a quoted string with a space in the local part is valid",
    "a quoted string with a double dot in the local part is valid",
    "a quoted string with a @ in the local part is valid",
    "an IPv4-address-literal after the @ is valid",
    "an IPv6-address-literal after the @ is valid",
];

/// The suite's tests, or `None` where it cannot be had.
fn suite() -> Option<&'static Path> {
    static TESTS: OnceLock<Option<PathBuf>> = OnceLock::new();
    TESTS.get_or_init(|| SUITE.path("jsonschema-4.26.0/json/tests/draft2020-12")).as_deref()
}

fn read(file: &Path) -> Vec<Value> {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn files(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    files.sort();
    files
}

/// What became of the tests.
#[derive(Default)]
struct Tally {
    right: usize,
    wrong: Vec<String>,
    /// Problems of schemas that were refused, by the keyword that they are about.
    refused: BTreeMap<String, usize>,
    groups: BTreeSet<String>,
}

impl Tally {
    fn run(&mut self, file: &str, group: &Value) {
        let named = BTreeMap::new();
        let mut problems = Problems::default();
        let mut compiler = Compiler::new(&named);
        let id = compiler.compile(&group["schema"], String::new(), &mut problems);
        let set = compiler.finish(&mut problems);
        let title = format!("{file}: {}", group["description"].as_str().unwrap());
        let Some(id) = id.filter(|_| problems.is_empty()) else {
            let first = problems.iter().next().unwrap();
            *self.refused.entry(first.problem.clone()).or_default() += 1;
            self.groups.insert(title);
            return;
        };
        for test in group["tests"].as_array().unwrap() {
            let text = test["data"].to_string();
            let takes = Document::read(text.as_bytes(), &JsonLimits::NONE)
                .is_ok_and(|document| set.check(id, &document).is_ok());
            let name = test["description"].as_str().unwrap();
            if Some(takes) == test["valid"].as_bool() || STRICTER.contains(&name) && !takes {
                self.right += 1;
            } else {
                self.wrong.push(format!("{title}: {name}: {takes}"));
            }
        }
    }
}

#[test]
fn the_required_tests_of_the_suite_pass() {
    let Some(suite) = suite() else { return };
    let mut tally = Tally::default();
    for (name, file) in files(suite) {
        // `format` there says that formats are not checked; here they are, which the vocabulary allows.
        if name == "format" || ELSEWHERE.contains(&name.as_str()) || REFUSED.contains(&name.as_str()) {
            continue;
        }
        read(&file).iter().for_each(|group| tally.run(&name, group));
    }
    for name in OPTIONAL {
        read(&suite.join(format!("optional/{name}.json"))).iter().for_each(|group| tally.run(name, group));
    }
    eprintln!(
        "{} tests right, {} schemas refused: {:#?}\n{:#?}",
        tally.right,
        tally.groups.len(),
        tally.refused,
        tally.groups
    );
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    // Whole schemas are left out for what is said to be refused, and for nothing else.
    let said = [
        "is not carried out",
        "leads out of the configuration",
        "is another dialect",
        "no keyword",
        "is no pattern",
        "leads nowhere",
        "no `$anchor",
        "nothing fits",
    ];
    let unsaid: Vec<_> =
        tally.refused.keys().filter(|problem| !said.iter().any(|said| problem.contains(said))).collect();
    assert!(unsaid.is_empty(), "{unsaid:#?}");
    assert!(tally.right > 800, "{}", tally.right);
}

#[test]
fn the_formats_of_the_suite_are_checked() {
    let Some(suite) = suite() else { return };
    let mut tally = Tally::default();
    for name in FORMATS {
        read(&suite.join(format!("optional/format/{name}.json"))).iter().for_each(|group| tally.run(name, group));
    }
    eprintln!("{} tests right", tally.right);
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    assert!(tally.right > 300, "{}", tally.right);
}

#[test]
fn what_is_not_carried_out_is_refused_whole() {
    let Some(suite) = suite() else { return };
    let mut tally = Tally::default();
    for name in ["unevaluatedItems", "unevaluatedProperties"] {
        read(&suite.join(format!("{name}.json"))).iter().for_each(|group| tally.run(name, group));
    }
    assert_eq!((tally.right, tally.wrong.len()), (0, 0), "{:#?}", tally.wrong);
    assert!(tally.groups.len() > 50);
}
