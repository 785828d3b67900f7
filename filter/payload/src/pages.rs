//! What each rule file says, for the documentation and the tests. The filter itself never reads it, so it is not in the module.

use std::fmt::Write;

use crate::rules::Family;

/// One rule file.
#[derive(Debug)]
pub struct Page {
    /// The rule's name.
    pub id: &'static str,
    /// The family it gives evidence of.
    pub family: Family,
    /// Its points.
    pub weight: u8,
    /// The lowest level that runs it.
    pub level: u8,
    /// What it catches.
    pub catches: &'static str,
    /// An attack.
    pub example: &'static str,
    /// The class of weakness.
    pub reference: &'static str,
    /// The places it reads; none is all.
    pub places: &'static [&'static str],
    /// Values that it must find.
    pub matches: &'static [&'static str],
    /// Values that it must not find.
    pub passes: &'static [&'static str],
    /// Requests in which it must find something.
    pub matching_requests: &'static [&'static str],
    /// Requests in which it must find nothing.
    pub passing_requests: &'static [&'static str],
}

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The list of rules, in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "# Payload rules\n\nMade from `filter/payload/rules` by `scripts/docs`; do not edit.\n\n\
         A request is refused when the points of one family reach the threshold (5 unless configured otherwise). A rule of\n\
         level 2 or 3 runs only where a policy asks for that level.\n",
    );
    for family in Family::ALL {
        let pages: Vec<_> = PAGES.iter().filter(|page| page.family == family).collect();
        if pages.is_empty() {
            continue;
        }
        let _ = write!(
            out,
            "\n## {}\n\n| rule | points | level | catches | example | reference |\n|---|---|---|---|---|---|\n",
            family.as_str()
        );
        for page in pages {
            let example = page.example.replace('|', "\\|").replace('`', "'");
            let catches = page.catches.replace('|', "\\|");
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {catches} | `{example}` | {} |",
                page.id, page.weight, page.level, page.reference
            );
        }
    }
    out
}
