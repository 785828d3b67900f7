//! Reads the rule files: one rule each, with its cases.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Default, Debug, Clone)]
pub struct Rule {
    pub file: String,
    pub id: String,
    pub family: String,
    pub catches: String,
    pub example: String,
    pub reference: String,
    pub weight: u8,
    pub level: u8,
    pub views: Vec<String>,
    pub places: Vec<String>,
    pub patterns: Vec<String>,
    pub matches: Vec<String>,
    pub passes: Vec<String>,
    pub matching_requests: Vec<String>,
    pub passing_requests: Vec<String>,
}

pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found
}

pub fn word_lists(folder: &Path) -> BTreeMap<String, Vec<String>> {
    files(folder, "txt")
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let mut words: Vec<String> = lines
                .flat_map(|line| {
                    line.replace("\\ ", "\0").split_whitespace().map(|w| w.replace('\0', " ")).collect::<Vec<_>>()
                })
                .collect();
            words.sort();
            words.dedup();
            (name, words)
        })
        .collect()
}

pub fn read(path: &Path) -> Rule {
    let name = path.display();
    let text = fs::read_to_string(path).unwrap();
    let family = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let mut rule = Rule { family, level: 1, file: name.to_string(), ..Rule::default() };
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once(": ") else { panic!("{name}:{}: no `key: value`", number + 1) };
        let (key, value) = (key.trim(), value.to_owned());
        match key {
            "id" => rule.id = value,
            "catches" => rule.catches = value,
            "example" => rule.example = value,
            "reference" => rule.reference = value,
            "weight" => rule.weight = value.parse().unwrap(),
            "level" => rule.level = value.parse().unwrap(),
            "view" => rule.views = value.split_whitespace().map(str::to_owned).collect(),
            "in" => rule.places = value.split_whitespace().map(str::to_owned).collect(),
            "pattern" => rule.patterns.push(value),
            "match" => rule.matches.push(value),
            "pass" => rule.passes.push(value),
            "match request" => rule.matching_requests.push(value),
            "pass request" => rule.passing_requests.push(value),
            _ => panic!("{name}:{}: unknown key {key}", number + 1),
        }
    }
    for (key, empty) in [
        ("id", rule.id.is_empty()),
        ("catches", rule.catches.is_empty()),
        ("example", rule.example.is_empty()),
        ("reference", rule.reference.is_empty()),
        ("weight", rule.weight == 0),
        ("match", rule.matches.is_empty() && rule.matching_requests.is_empty()),
        ("pass", rule.passes.is_empty() && rule.passing_requests.is_empty()),
    ] {
        assert!(!empty, "{name}: `{key}` is missing");
    }
    rule
}
