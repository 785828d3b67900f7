//! Every rule file's cases: what must be found is found by that rule, what must pass is not.

use portcullis_payload::pages::{PAGES, Page};
use portcullis_payload::{Place, Scanner, Scratch, Settings, Source};

fn found_by(scanner: &Scanner, page: &Page, value: &str) -> Vec<String> {
    let settings = Settings { level: 3, ..Settings::default() };
    let mut scratch = Scratch::default();
    let mut inspection = scanner.begin(&settings, &mut scratch);
    inspection.value(Source { place: place(page), name: b"p" }, value.as_bytes());
    inspection.finish().findings().iter().map(|finding| finding.by.as_str().to_owned()).collect()
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
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
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
