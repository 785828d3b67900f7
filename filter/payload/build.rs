//! Compiles `rules/` into tables and one automaton, so that a worker only has to load them.

// Reads our own files: a mistake in them is to stop the build.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::print_stdout)]

#[path = "build/border.rs"]
mod border;
#[path = "src/pattern/ops.rs"]
#[allow(dead_code)]
mod ops;
#[path = "build/pack.rs"]
mod pack;
#[path = "build/pattern.rs"]
mod pattern;
#[path = "build/rules.rs"]
mod rules;
#[path = "build/trie.rs"]
mod trie;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use border::{Border, Code, Side};
use trie::{Around, Gate, Trie};

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
    let mut packed = pack::Packed::default();
    packed.add(&tables.ops, 0);
    let all: Vec<rules::Rule> = rules::files(folder, "rule").iter().map(|path| rules::read(path)).collect();

    let (mut out, mut docs, mut ids, mut families) = (String::new(), String::new(), String::new(), Vec::new());
    let mut searches: Vec<Search> = Vec::new();
    let mut patterns = String::new();
    let mut token_patterns: Vec<(usize, String)> = Vec::new();
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
            "Page {{ id: {:?}, family: Family::{family}, weight: {}, level: {}, catches: {:?}, example: {:?}, reference: {:?}, places: &{:?}, matches: &{:?}, passes: &{:?}, matching_requests: &{:?}, passing_requests: &{:?} }},",
            rule.id, rule.weight, rule.level, rule.catches, rule.example, rule.reference, rule.places, rule.matches, rule.passes, rule.matching_requests, rule.passing_requests
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
                let line = format!(
                    "TokenPattern {{ rule: {number}, level: {}, forward: {}, needs: {}, first: {} }},",
                    rule.level,
                    packed.add(&tables.ops, compiled.forward),
                    compiled.needs,
                    compiled.first
                );
                token_patterns.push((rarest(compiled.needs), line));
                continue;
            }
            let search = Search { compiled, views, level: rule.level, places };
            let backward = match search.compiled.backward {
                0 => 0,
                start => packed.add(&tables.ops, start),
            };
            writeln!(
                patterns,
                "Pattern {{ rule: {number}, forward: {}, backward: {}, reach: {}, places: {}, views: {views}, level: {} }},",
                packed.add(&tables.ops, search.compiled.forward),
                backward,
                search.compiled.reach,
                search.places(),
                search.level
            )
            .unwrap();
            searches.push(search);
        }
    }
    writeln!(out, "];").unwrap();
    writeln!(docs, "];").unwrap();
    writeln!(out, "pub static PATTERNS: &[Pattern] = &[{patterns}];").unwrap();
    assert!(mistakes.is_empty(), "mistakes in patterns:\n{}", mistakes.join("\n"));
    write_token_patterns(token_patterns, &mut out);
    write_literals(&searches, &tables, &mut out);
    writeln!(out, "pub static OPS: &[Op] = &{:?};", packed.ops).unwrap();
    writeln!(out, "pub static CLASSES: &[Class] = &{:?};", tables.classes).unwrap();
    let lists: Vec<_> = tables.used_lists.iter().map(|name| word_list(&tables.words[name])).collect();
    writeln!(out, "pub static WORD_LISTS: &[Words] = &[{}];", lists.join(", ")).unwrap();
    for (name, words) in &tables.words {
        if ["html_active_tags", "html_embedding_tags", "html_url_attributes", "php_known"].contains(&name.as_str()) {
            writeln!(out, "pub static {}: Words = {};", name.to_uppercase(), word_list(words)).unwrap();
        }
    }
    let folder = env::var("OUT_DIR").unwrap();
    let folder = Path::new(&folder);
    fs::write(folder.join("tables.rs"), out).unwrap();
    fs::write(folder.join("pages.rs"), docs).unwrap();
    fs::write(folder.join("ids.rs"), ids).unwrap();
}

fn word_list(words: &[String]) -> String {
    assert!(words.is_sorted(), "{words:?} are searched in halves");
    let ends = words.iter().scan(0, |end, word| {
        *end += word.len();
        Some(u16::try_from(*end).unwrap())
    });
    let ends: Vec<u16> = ends.collect();
    format!("Words {{ text: {:?}, ends: &{ends:?} }}", words.concat())
}

/// A pattern with what limits it.
struct Search {
    compiled: pattern::Compiled,
    views: u32,
    level: u8,
    places: u32,
}

impl Search {
    fn places(&self) -> u32 {
        if self.places == 0 { 0xffff } else { self.places }
    }
}

/// The kind of token that a pattern needs and that the fewest texts have; 0 if it needs none.
fn rarest(needs: u128) -> usize {
    // What ordinary text is made of, the most usual first; no pattern is looked at whose rarest kind a text does not have.
    const USUAL: &[u8] = b"n?,1o.()=s;&q";
    let kinds = (0..128usize).filter(|kind| needs >> kind & 1 == 1);
    let rank = |kind: &usize| USUAL.iter().position(|&usual| usize::from(usual) == *kind).unwrap_or(USUAL.len());
    kinds.max_by_key(rank).unwrap_or(0)
}

fn write_token_patterns(mut patterns: Vec<(usize, String)>, out: &mut String) {
    patterns.sort_by_key(|(kind, _)| *kind);
    let groups: Vec<(u128, u16, u16)> = patterns
        .chunk_by(|a, b| a.0 == b.0)
        .map(|group| {
            let from = patterns.iter().position(|(kind, _)| *kind == group[0].0).unwrap();
            (if group[0].0 == 0 { u128::MAX } else { 1 << group[0].0 }, from as u16, (from + group.len()) as u16)
        })
        .collect();
    let lines: String = patterns.into_iter().map(|(_, line)| line).collect();
    writeln!(out, "pub static TOKEN_PATTERNS: &[TokenPattern] = &[{lines}];").unwrap();
    writeln!(out, "pub static TOKEN_GROUPS: &[(u128, u16, u16)] = &{groups:?};").unwrap();
}

/// The literals with their patterns, as a trie, with the gate before it.
fn write_literals(searches: &[Search], tables: &pattern::Tables, out: &mut String) {
    let words = tables.used_lists.iter().map(|name| tables.words[name].as_slice()).collect();
    let code = Code { ops: &tables.ops, classes: &tables.classes, words };
    let mut by_literal: BTreeMap<Vec<u8>, Vec<(usize, Side, Side)>> = BTreeMap::new();
    for (number, Search { compiled, .. }) in searches.iter().enumerate() {
        for literal in &compiled.literals {
            let bytes: Vec<u8> = literal.chars().map(|c| c as u8).collect();
            assert!(!bytes.iter().any(u8::is_ascii_uppercase), "{literal}: views are in lower case");
            let (next, mut behind) = code.around(compiled.forward, &bytes);
            let mut before = Side::ALL.and(next);
            if compiled.backward != 0 {
                before = code.before(compiled.backward, bytes[0]).and(next);
            }
            if compiled.border {
                before = before.and(Border::words(false));
            }
            if compiled.whole {
                behind = behind.and(Border::words(false));
            }
            // A node of the trie has no byte 0; what stands before it is searched for.
            let length = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            if length < bytes.len() {
                behind = Side::ALL;
            }
            if !before.is_empty() && !behind.is_empty() {
                by_literal.entry(bytes[..length].to_vec()).or_default().push((number, before, behind));
            }
        }
    }
    let (mut arounds, mut groups, mut targets, mut gated) =
        (Numbered::default(), Numbered::default(), Vec::new(), vec![]);
    let mut group_lines = String::new();
    let mut group_of = Vec::new();
    for (literal, patterns) in &by_literal {
        let before = patterns.iter().map(|p| p.1).fold(Side::default(), Side::or);
        let behind = patterns.iter().map(|p| p.2).fold(Side::default(), Side::or);
        let union = Around::new(before, behind);
        let list = patterns.iter().map(|&(number, before, behind)| (number, Around::new(before, behind)));
        let list: Vec<_> = list.map(|(number, around)| (number, arounds.number(around), around.shapes())).collect();
        // Words of one list belong to the same patterns in the same way.
        let around = arounds.number(union);
        let (known, group) = (groups.all.len(), groups.number((list.clone(), around)));
        let limits = list.iter().map(|&(number, ..)| &searches[number]);
        let views = limits.clone().map(|s| s.views).fold(0, |a, b| a | b);
        group_of.push((group, views as u8));
        gated.push((literal.as_slice(), union, views));
        if usize::from(group) < known {
            continue;
        }
        let places = limits.clone().map(Search::places).fold(0, |a, b| a | b);
        let level = limits.map(|s| s.level).min().unwrap();
        let from = targets.len();
        let shapes = list.iter().fold(0, |all, (.., shapes)| all | shapes);
        targets.extend(list.iter().map(|(number, around, shapes)| {
            format!("Target {{ pattern: {number}, around: {around}, shapes: {shapes} }}")
        }));
        let to = targets.len();
        writeln!(
            group_lines,
            "Group {{ from: {from}, to: {to}, around: {around}, shapes: {shapes}, places: {places}, views: {views}, level: {level} }},"
        )
        .unwrap();
    }
    let trie = Trie::new(by_literal.keys().map(Vec::as_slice).zip(group_of));
    let gate = |views: u32| {
        let read = gated.iter().filter(|(.., of)| of & views != 0);
        Gate::new(read.map(|&(literal, around, _)| (literal, around))).rows
    };
    writeln!(out, "pub static GROUPS: &[Group] = &[{group_lines}];").unwrap();
    writeln!(out, "pub static TARGETS: &[Target] = &[{}];", targets.join(",")).unwrap();
    let mut sets = Numbered::default();
    writeln!(out, "pub static AROUND: &[Around] = &[").unwrap();
    for Around { before, behind, beyond_before, beyond_behind } in arounds.all {
        let [before, behind, beyond_before, beyond_behind] =
            [before, behind, beyond_before, beyond_behind].map(|set| sets.number(set));
        writeln!(
            out,
            "Around {{ before: {before}, behind: {behind}, beyond_before: {beyond_before}, beyond_behind: {beyond_behind} }},"
        )
        .unwrap();
    }
    writeln!(out, "];").unwrap();
    writeln!(out, "pub static CLASS_SETS: &[u64] = &{:?};", sets.all).unwrap();
    writeln!(out, "pub static UNITS: &[u32] = &{:?};", trie.units).unwrap();
    writeln!(out, "pub static GROUP_AT: &[u16] = &{:?};", trie.groups).unwrap();
    writeln!(out, "pub static BYTE_CLASSES: [u8; 256] = {:?};", trie::classes()).unwrap();
    writeln!(out, "pub static GATE: [u64; 8192] = {:?};", gate(u32::MAX)).unwrap();
    let derived = mask(&["sql", "shell", "path", "squeezed"].map(str::to_owned), VIEWS, "");
    writeln!(out, "pub static DERIVED_GATE: [u64; 8192] = {:?};", gate(derived)).unwrap();
}

/// Different values, each of which has a number.
struct Numbered<T> {
    all: Vec<T>,
    numbers: BTreeMap<T, u16>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { all: Vec::new(), numbers: BTreeMap::new() }
    }
}

impl<T: Ord + Clone> Numbered<T> {
    fn number(&mut self, value: T) -> u16 {
        let next = u16::try_from(self.all.len()).unwrap();
        *self.numbers.entry(value.clone()).or_insert_with(|| {
            self.all.push(value);
            next
        })
    }
}

fn camel(word: &str) -> String {
    word.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect()
}

fn mask(words: &[String], known: &[&str], file: &str) -> u32 {
    words.iter().fold(0, |mask, word| {
        mask | 1 << known.iter().position(|k| k == word).unwrap_or_else(|| panic!("{file}: unknown word {word}"))
    })
}
