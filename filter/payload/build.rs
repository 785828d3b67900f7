//! Compiles `rules/` into tables and one automaton, so that a worker only has to load them.

// Reads our own files: a mistake in them is to stop the build.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::print_stdout)]

#[path = "src/pattern/ops.rs"]
#[allow(dead_code)]
mod ops;
#[path = "build/pattern.rs"]
mod pattern;
#[path = "build/rules.rs"]
mod rules;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use daachorse::DoubleArrayAhoCorasick;

const VIEWS: &[&str] = &["text", "sql", "shell", "path", "tokens", "squeezed", "base64"];
const PLACES: &[&str] = &[
    "query",
    "form",
    "json",
    "cookie",
    "header",
    "path",
    "multipart",
    "xml",
    "text",
    "name",
    "user-agent",
    "referer",
    "upload",
];

fn main() {
    println!("cargo::rerun-if-changed=rules");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/pattern/ops.rs");
    let folder = Path::new("rules");
    let mut tables = pattern::Tables { words: rules::word_lists(&folder.join("words")), ..Default::default() };
    // Operation 0 is never a start: 0 stands for "no code".
    tables.ops.push([ops::MATCH, 0, 0, 0]);
    let all: Vec<rules::Rule> = rules::files(folder, "rule").iter().map(|path| rules::read(path)).collect();

    let (mut out, mut docs, mut ids, mut families) = (String::new(), String::new(), String::new(), Vec::new());
    let mut by_literal: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let mut patterns = String::new();
    let mut token_patterns = String::new();
    let mut count = 0;
    let mut flags: Vec<u8> = Vec::new();
    let mut mistakes = Vec::new();
    writeln!(out, "pub static RULES: &[RuleEntry] = &[").unwrap();
    writeln!(docs, "/// Every rule file, by family and name.\npub static PAGES: &[Page] = &[").unwrap();
    for (number, rule) in all.iter().enumerate() {
        assert!(!all.iter().take(number).any(|other| other.id == rule.id), "two rules are called {}", rule.id);
        if !families.contains(&rule.family) {
            families.push(rule.family.clone());
        }
        let family = camel(&rule.family);
        // `in: -header` is everything but headers.
        let not: Vec<String> = rule.places.iter().filter_map(|p| p.strip_prefix('-').map(str::to_owned)).collect();
        let places = match not.is_empty() {
            true => mask(&rule.places, PLACES, &rule.file),
            false => !mask(&not, PLACES, &rule.file) & 0x1fff,
        };
        writeln!(
            out,
            "RuleEntry {{ id: {:?}, family: Family::{family}, weight: {}, level: {} }},",
            rule.id, rule.weight, rule.level
        )
        .unwrap();
        writeln!(
            docs,
            "Page {{ id: {:?}, family: Family::{family}, weight: {}, level: {}, catches: {:?}, example: {:?}, reference: {:?}, places: &{:?}, matches: &{:?}, passes: &{:?} }},",
            rule.id, rule.weight, rule.level, rule.catches, rule.example, rule.reference, rule.places, rule.matches, rule.passes
        )
        .unwrap();
        writeln!(ids, "pub const {}: RuleId = RuleId({number});", rule.id.to_uppercase().replace('-', "_")).unwrap();
        let views = mask(&rule.views, VIEWS, &rule.file);
        let views = if views == 0 { 1 } else { views };
        for text in &rule.patterns {
            let tokens = views & 1 << 4 != 0;
            let compiled = match pattern::compile(text, &mut tables, tokens) {
                Ok(compiled) => compiled,
                Err(error) => {
                    mistakes.push(format!("{}: {text}: {error}", rule.file));
                    continue;
                }
            };
            if tokens {
                writeln!(
                    token_patterns,
                    "TokenPattern {{ rule: {number}, level: {}, forward: {}, needs: {}, first: {} }},",
                    rule.level, compiled.forward, compiled.needs, compiled.first
                )
                .unwrap();
                continue;
            }
            writeln!(
                patterns,
                "Pattern {{ rule: {number}, views: {views}, level: {}, places: {places}, forward: {}, backward: {}, border: {}, whole: {}, before: {}, after: {}, reach: {} }},",
                rule.level, compiled.forward, compiled.backward, compiled.border, compiled.whole, compiled.before,
                compiled.after,
                compiled.reach
            )
            .unwrap();
            for literal in compiled.literals {
                let bytes: Vec<u8> = literal.chars().map(|c| c as u8).collect();
                assert!(!bytes.iter().any(u8::is_ascii_uppercase), "{}: {literal}: views are in lower case", rule.file);
                by_literal.entry(bytes).or_default().push(count);
            }
            flags.push(u8::from(compiled.border) | u8::from(compiled.whole) << 1);
            count += 1;
        }
    }
    writeln!(out, "];").unwrap();
    writeln!(docs, "];").unwrap();
    writeln!(out, "pub static PATTERNS: &[Pattern] = &[{patterns}];").unwrap();
    writeln!(out, "pub static TOKEN_PATTERNS: &[TokenPattern] = &[{token_patterns}];").unwrap();

    assert!(mistakes.is_empty(), "mistakes in patterns:\n{}", mistakes.join("\n"));

    // A literal's value is its number; its patterns stand in one list, from its start to the next literal's.
    let (mut starts, mut targets) = (vec![0u16], Vec::new());
    let mut literal_flags = Vec::new();
    for patterns in by_literal.values() {
        targets.extend(patterns.iter().map(|&p| u16::try_from(p).unwrap()));
        starts.push(u16::try_from(targets.len()).unwrap());
        literal_flags.push(patterns.iter().fold(3, |all, &p| all & flags[p]));
    }
    writeln!(out, "pub static LITERAL_STARTS: &[u16] = &{starts:?};").unwrap();
    writeln!(out, "pub static LITERAL_FLAGS: &[u8] = &{literal_flags:?};").unwrap();
    writeln!(out, "pub static LITERAL_PATTERNS: &[u16] = &{targets:?};").unwrap();
    writeln!(out, "pub static OPS: &[Op] = &{:?};", tables.ops).unwrap();
    writeln!(out, "pub static CLASSES: &[Class] = &{:?};", tables.classes).unwrap();
    let lists: Vec<_> = tables.used_lists.iter().map(|name| format!("&{:?}", tables.words[name])).collect();
    writeln!(out, "pub static WORD_LISTS: &[&[&str]] = &[{}];", lists.join(", ")).unwrap();
    for (name, words) in &tables.words {
        if ["html_active_tags", "html_embedding_tags", "html_url_attributes", "php_known"].contains(&name.as_str()) {
            writeln!(out, "pub static {}: &[&str] = &{words:?};", name.to_uppercase()).unwrap();
        }
    }
    let automaton: DoubleArrayAhoCorasick<u32> =
        DoubleArrayAhoCorasick::with_values(by_literal.keys().enumerate().map(|(n, l)| (l.clone(), n as u32))).unwrap();
    let folder = env::var("OUT_DIR").unwrap();
    let folder = Path::new(&folder);
    let bytes = automaton.serialize();
    fs::write(folder.join("automaton.bin"), bytes).unwrap();
    fs::write(folder.join("tables.rs"), out).unwrap();
    fs::write(folder.join("pages.rs"), docs).unwrap();
    fs::write(folder.join("ids.rs"), ids).unwrap();
}

fn camel(word: &str) -> String {
    word.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect()
}

fn mask(words: &[String], known: &[&str], file: &str) -> u32 {
    words.iter().fold(0, |mask, word| {
        mask | 1 << known.iter().position(|k| k == word).unwrap_or_else(|| panic!("{file}: unknown word {word}"))
    })
}
