//! Every rule file's cases: what must be found is found by that rule, what must pass is not.

#![allow(clippy::unwrap_used, reason = "a rule file that cannot be read has failed")]

use portcullis_payload::arguments::{self, Request};
use portcullis_payload::pages::{PAGES, Page};
use portcullis_payload::{Place, Scanner, Scratch, Settings, Source};

fn found_by(scanner: &Scanner, page: &Page, value: &str) -> Vec<String> {
    let settings = Settings { level: 3, ..Settings::default() };
    let mut scratch = Scratch::default();
    let mut inspection = scanner.begin(&settings, &mut scratch);
    inspection.value(Source { place: place(page), name: b"p" }, value.as_bytes());
    inspection.finish().findings().iter().map(|finding| finding.by.as_str().to_owned()).collect()
}

/// What is found in a request as rule files write it: `METHOD TARGET || NAME: VALUE || < BODY`.
fn found_in(scanner: &Scanner, text: &str) -> Vec<String> {
    let mut parts = text.split(" || ");
    let (method, target) = parts.next().and_then(|line| line.split_once(' ')).unwrap();
    let (mut headers, mut body) = (Vec::new(), Vec::new());
    for part in parts {
        match part.strip_prefix("< ") {
            Some(text) => body = written(text),
            None => headers.push(part.split_once(':').map(|(name, value)| (name, written(value.trim()))).unwrap()),
        }
    }
    let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())).collect();
    let settings = Settings { level: 3, ..Settings::default() };
    let mut scratch = Scratch::default();
    let mut inspection = scanner.begin(&settings, &mut scratch);
    let request = Request { method: method.as_bytes(), target: &written(target), headers: &headers, body: &body };
    arguments::inspect(&request, &mut inspection);
    inspection.finish().findings().iter().map(|finding| finding.by.as_str().to_owned()).collect()
}

/// `\r`, `\n`, `\xHH`, and `{{20*text}}` for that text twenty times.
fn written(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some((times, after)) = rest.strip_prefix("{{").and_then(|inner| inner.split_once('*')) {
            let (repeated, after) = after.split_once("}}").unwrap();
            out.extend(written(repeated).repeat(times.parse().unwrap()));
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\r") {
            out.push(b'\r');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\n") {
            out.push(b'\n');
            rest = after;
        } else if let Some((hex, after)) = rest.strip_prefix("\\x").map(|after| after.split_at(2)) {
            out.push(u8::from_str_radix(hex, 16).unwrap());
            rest = after;
        } else {
            out.extend(character.to_string().into_bytes());
            rest = rest.split_at(character.len_utf8()).1;
        }
    }
    out
}

/// The first place that the rule reads.
fn place(page: &Page) -> Place {
    match page.places.iter().find(|place| !place.starts_with('-')) {
        Some(&"header") => Place::Header,
        Some(&"path") => Place::Path,
        Some(&"name") => Place::Name,
        Some(&"user-agent") => Place::UserAgent,
        Some(&"referer") => Place::Referer,
        _ => Place::Query,
    }
}

#[test]
fn every_rule_finds_its_cases() {
    let scanner = Scanner::new().unwrap();
    let mut mistakes = Vec::new();
    for page in PAGES {
        for case in page.matches {
            let found = found_by(&scanner, page, case);
            if !found.iter().any(|rule| rule == page.id) {
                mistakes.push(format!("{} misses {case:?}; found by {found:?}", page.id));
            }
        }
        for case in page.matching_requests {
            let found = found_in(&scanner, case);
            if !found.iter().any(|rule| rule == page.id) {
                mistakes.push(format!("{} misses {case:?}; found by {found:?}", page.id));
            }
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn no_rule_finds_what_must_pass() {
    let scanner = Scanner::new().unwrap();
    let mut mistakes = Vec::new();
    for page in PAGES {
        for case in page.passes {
            if found_by(&scanner, page, case).iter().any(|rule| rule == page.id) {
                mistakes.push(format!("{} finds {case:?}", page.id));
            }
        }
        for case in page.passing_requests {
            if found_in(&scanner, case).iter().any(|rule| rule == page.id) {
                mistakes.push(format!("{} finds {case:?}", page.id));
            }
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn a_request_in_a_rule_file_is_written_as_it_is_sent() {
    assert_eq!(written("a{{3*b, }}c\\r\\n\\xe2"), b"ab, b, b, c\r\n\xe2");
    assert_eq!(written("{\"a\": {\"$ne\": 1}}"), b"{\"a\": {\"$ne\": 1}}");
}

#[test]
fn every_rule_says_what_it_is() {
    for page in PAGES {
        assert!((1..=5).contains(&page.weight), "{}: {} points", page.id, page.weight);
        assert!((1..=3).contains(&page.level), "{}: level {}", page.id, page.level);
        assert!(
            page.reference.starts_with("CWE-") || page.reference.starts_with("CVE-"),
            "{}: {}",
            page.id,
            page.reference
        );
        assert!(page.id.starts_with(page.family.as_str()), "{} is in the folder of {}", page.id, page.family.as_str());
    }
}

#[test]
fn the_list_for_the_docs_names_every_rule() {
    let list = portcullis_payload::pages::markdown();
    assert!(PAGES.iter().all(|page| list.contains(&format!("`{}`", page.id))));
}
