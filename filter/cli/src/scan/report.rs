//! The table and the lists.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use portcullis_payload::Verdict;
use serde_json::json;

use super::Arguments;
use super::corpus::{Item, Kind};
use super::run::Outcome;

/// The classes that every such table leads with.
const CORE: &[&str] = &["sqli", "xss", "traversal", "cmdi", "log4shell", "shellshock", "ssrf", "ssti", "nosqli", "xxe"];

#[derive(Default, Clone)]
struct Row {
    items: usize,
    refused: Vec<usize>,
    one: Vec<usize>,
    two: Vec<usize>,
    micros: f64,
    requests: usize,
}

impl Row {
    fn add(&mut self, item: &Item, outcome: &Outcome) {
        self.items += 1;
        let count = |to: &mut Vec<usize>, from: &[bool]| {
            to.resize(to.len().max(from.len()), 0);
            to.iter_mut().zip(from).for_each(|(sum, &hit)| *sum += usize::from(hit));
        };
        count(&mut self.refused, &outcome.refused);
        if let Some((one, two)) = &item.baseline {
            count(&mut self.one, one);
            count(&mut self.two, two);
        }
        self.micros += outcome.time.as_secs_f64() * 1e6;
        self.requests += outcome.refused.len();
    }

    fn shares(&self, counts: &[usize]) -> String {
        let shares: Vec<_> =
            counts.iter().map(|&c| format!("{:.1}", 100.0 * c as f64 / self.items.max(1) as f64)).collect();
        if shares.is_empty() { "-".to_owned() } else { shares.join(" / ") }
    }
}

fn group(item: &Item) -> Vec<String> {
    match item.kind {
        Kind::Attack if CORE.contains(&item.class.as_str()) => {
            vec!["1 attacks: core classes".into(), format!("2 attacks: {}", item.class)]
        }
        Kind::Attack => vec![format!("3 attacks: {}", item.class)],
        Kind::AttackRequest => {
            let source = item.source.split('/').next().unwrap_or("");
            vec![format!("4 attack requests: {source}"), format!("5 {source}: {}", item.class)]
        }
        Kind::Suite => vec!["6 suite: all".into(), format!("7 suite: {}", item.class)],
        Kind::Legitimate => {
            let source = item.source.split('/').next().unwrap_or("");
            let text = item.class.ends_with("-text") || source == "git-log" || source == "docs";
            let headline = if text { "8 legitimate: developer text" } else { "8 legitimate: headline" };
            if source == "gotestwaf" || source == "waf-bypass" {
                return vec![format!("9 legitimate: {source}")];
            }
            vec![headline.to_owned(), format!("9 legitimate: {source}")]
        }
        Kind::Value => vec!["8 legitimate: values".to_owned(), format!("9 values: {}", item.source)],
    }
}

/// Prints what was asked for.
pub fn print(arguments: &Arguments, items: &[Item], outcomes: &[Outcome]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (item, outcome) in items.iter().zip(outcomes) {
        for name in group(item) {
            rows.entry(name).or_default().add(item, outcome);
        }
    }
    if arguments.json {
        let table: Vec<_> = rows
            .iter()
            .map(|(name, row)| {
                json!({
                    "class": name.get(2..), "items": row.items, "refused": row.refused, "baseline_level_1": row.one, "baseline_level_2": row.two,
                    "microseconds_per_request": row.micros / row.requests.max(1) as f64,
                })
            })
            .collect();
        writeln!(out, "{:#}", json!(table))?;
    } else {
        writeln!(
            out,
            "{:<42} {:>6}  {:<22} {:<22} {:<22} {:>8}",
            "CLASS", "ITEMS", "REFUSED %", "BASELINE LEVEL 1 %", "BASELINE LEVEL 2 %", "US/REQ"
        )?;
        for (name, row) in &rows {
            writeln!(
                out,
                "{:<42} {:>6}  {:<22} {:<22} {:<22} {:>8.1}",
                name.get(2..).unwrap_or(name),
                row.items,
                row.shares(&row.refused),
                row.shares(&row.one),
                row.shares(&row.two),
                row.micros / row.requests.max(1) as f64
            )?;
        }
    }
    if arguments.show_misses {
        let misses =
            items.iter().zip(outcomes).filter(|(item, outcome)| is_attack(item) && outcome.refused.contains(&false));
        for (item, outcome) in misses.take(arguments.limit) {
            let forms: String = outcome.refused.iter().map(|&r| if r { '1' } else { '0' }).collect();
            writeln!(
                out,
                "MISS {} {} {} {forms} {} {}",
                item.id,
                item.class,
                item.source,
                evidence(outcome.verdicts.first()),
                short(&item.shown)
            )?;
        }
    }
    if arguments.show_false_positives {
        let wrong =
            items.iter().zip(outcomes).filter(|(item, outcome)| !is_attack(item) && outcome.refused.contains(&true));
        for (item, outcome) in wrong.take(arguments.limit) {
            let verdict = outcome.verdicts.iter().zip(&outcome.refused).find(|(_, r)| **r).map(|(v, _)| v);
            writeln!(
                out,
                "REFUSED {} {} {} {} {}",
                item.id,
                item.class,
                item.source,
                evidence(verdict),
                short(&item.shown)
            )?;
        }
    }
    Ok(())
}

fn is_attack(item: &Item) -> bool {
    matches!(item.kind, Kind::Attack | Kind::AttackRequest | Kind::Suite)
}

fn evidence(verdict: Option<&Verdict>) -> String {
    let found = verdict.map(Verdict::findings).unwrap_or_default();
    let found: Vec<_> = found
        .iter()
        .map(|f| {
            format!(
                "{}={}@{}:{:?}",
                f.by.as_str(),
                f.weight,
                f.place.as_str(),
                String::from_utf8_lossy(f.excerpt.get(..30).unwrap_or(&f.excerpt))
            )
        })
        .collect();
    format!("{{{}}}", found.join(", "))
}

fn short(text: &str) -> String {
    let text = text.replace('\n', "\\n").replace('\r', "\\r");
    text.chars().take(260).collect()
}
