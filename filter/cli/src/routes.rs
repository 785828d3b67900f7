//! `portcullis routes`: who may call what, as a table.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use portcullis_engine::policy::{Policy, Rule};
use serde_json::{Value, json};

use crate::configured::{self, Configured};
use crate::environment::EnvironmentArguments;
use crate::rule_text;
use crate::style::Style;

/// Show every rule as a table: what it matches, who may pass, with which scopes and roles, when, how often
///
/// The rules stand in the order in which the filter tries them; the first that matches decides. Below them stand the
/// policies that a route's metadata can name.
///
/// Exit code: 0 it is shown, 2 the file cannot be read or has mistakes.
///
/// Example: portcullis routes envoy.yaml
///          portcullis routes --json envoy.yaml | jq '.[] | select(.who == "everybody") | .match'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// An Envoy configuration with the filter, or a filter configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print the rules of all filters as one JSON list
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    environment: EnvironmentArguments,
}

/// Carries the command out.
///
/// # Errors
/// The output cannot be written; all else that is wrong exits with 2.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let filters = match configured::load(&arguments.file, &arguments.environment) {
        Ok(filters) => filters,
        Err(error) => {
            writeln!(std::io::stderr(), "portcullis: {error:#}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let all = filters.iter().flat_map(|filter| {
            filter.policy.rules.iter().enumerate().map(|(index, rule)| to_json(filter, index, rule))
        });
        writeln!(out, "{:#}", all.collect::<Value>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let style = Style::of_stdout();
    for filter in &filters {
        if !filter.path.is_empty() {
            writeln!(out, "{}", style.dim(&filter.path))?;
        }
        let rows: Vec<[String; COLUMNS]> =
            filter.policy.rules.iter().enumerate().map(|(index, rule)| row(filter, index, rule)).collect();
        let titles =
            ["RULE", "MATCH", "WHO", "SCOPES", "ROLES AND CONDITIONS", "LIMITS", "MODE", "ALSO"].map(str::to_owned);
        for (number, row) in std::iter::once(&titles).chain(&rows).enumerate() {
            let line = aligned(row, &widths(&titles, &rows));
            writeln!(out, "{}", if number == 0 { style.bold(&line) } else { line })?;
        }
        if filter.policy.unmatched.is_none() {
            writeln!(out, "{}", style.dim("what no rule matches is answered with 404"))?;
        }
        for (path, _) in &filter.policy.documents {
            writeln!(out, "{}", style.dim(&format!("everybody gets the gateway's own document {path}")))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: usize = 8;

/// What a rule does beside letting somebody pass.
fn also(policy: &Policy, rule: &Rule) -> String {
    let list = |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
    let parts = [
        rule.serve.map(|serve| format!("serves {}", serve.as_str())),
        Some(rule_text::surge(policy, rule)).filter(|text| !text.is_empty()).map(|text| format!("surge {text}")),
        list("needs the headers", &rule.headers.require),
        list("refuses the headers", &rule.headers.forbid),
        rule.internal_audience.as_ref().map(|audience| format!("internal token for {audience}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn to_json(filter: &Configured, index: usize, rule: &Rule) -> Value {
    let (path, line) = filter.rule_place(index);
    let limits: Vec<&str> = rule
        .limits_by_address
        .iter()
        .chain(&rule.limits_by_principal)
        .filter_map(|index| Some(filter.policy.limits.get(*index)?.name.as_str()))
        .collect();
    json!({
        "filter": filter.path,
        "rule": rule.label,
        "path": path,
        "line": line,
        "match": filter.match_text(index),
        "who": rule_text::who(&filter.policy, rule),
        "scopes": {"all": rule.scopes.all, "any": rule.scopes.any, "none": rule.scopes.none},
        "roles_and_conditions": rule_text::authorisation(rule),
        "limits": limits,
        "mode": rule.mode.as_str(),
        "serves": rule.serve.map(|serve| serve.as_str()),
        "headers": {"require": rule.headers.require, "forbid": rule.headers.forbid},
        "internal_token": rule.internal_audience,
    })
}

fn row(filter: &Configured, index: usize, rule: &Rule) -> [String; COLUMNS] {
    let policy = &filter.policy;
    let (mut limits, by_principal) = (rule.limits_by_address.clone(), &rule.limits_by_principal);
    limits.extend(by_principal);
    [
        rule.label.clone(),
        filter.match_text(index),
        rule_text::who(policy, rule),
        rule_text::scopes(rule),
        rule_text::authorisation(rule),
        rule_text::limits(policy, &limits),
        rule.mode.as_str().to_owned(),
        also(policy, rule),
    ]
    .map(|cell| if cell.is_empty() { "-".to_owned() } else { cell })
}

fn widths(titles: &[String; COLUMNS], rows: &[[String; COLUMNS]]) -> Vec<usize> {
    let width = |column: usize| {
        let cells = std::iter::once(titles).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..titles.len()).map(width).collect()
}

fn aligned(row: &[String; COLUMNS], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}
