//! `portcullis routes`: who may call what, as a table.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use portcullis_engine::policy::Rule;

use crate::configured::{self, Configured};
use crate::environment::EnvironmentArguments;
use crate::rule_text;
use crate::style::Style;

/// Show every rule as a table: what it matches, who may pass, with which scopes and roles, when, how often
///
/// The rules stand in the order in which the filter tries them; the first that matches decides. Below them stand the
/// policies that a route's metadata can name.
///
/// Example: portcullis routes envoy.yaml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// An Envoy configuration with the filter, or a filter configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    environment: EnvironmentArguments,
}

/// Carries the command out.
///
/// # Errors
/// The file cannot be read or has mistakes.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let style = Style::of_stdout();
    for filter in configured::load(&arguments.file, &arguments.environment)? {
        if !filter.path.is_empty() {
            writeln!(out, "{}", style.dim(&filter.path))?;
        }
        let rows: Vec<[String; 7]> =
            filter.policy.rules.iter().enumerate().map(|(index, rule)| row(&filter, index, rule)).collect();
        let titles = ["RULE", "MATCH", "WHO", "SCOPES", "ROLES AND CONDITIONS", "LIMITS", "MODE"].map(str::to_owned);
        for (number, row) in std::iter::once(&titles).chain(&rows).enumerate() {
            let line = aligned(row, &widths(&titles, &rows));
            writeln!(out, "{}", if number == 0 { style.bold(&line) } else { line })?;
        }
        if filter.policy.unmatched.is_none() {
            writeln!(out, "{}", style.dim("what no rule matches is answered with 404"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(filter: &Configured, index: usize, rule: &Rule) -> [String; 7] {
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
    ]
    .map(|cell| if cell.is_empty() { "-".to_owned() } else { cell })
}

fn widths(titles: &[String; 7], rows: &[[String; 7]]) -> Vec<usize> {
    let width = |column: usize| {
        let cells = std::iter::once(titles).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    (0..titles.len()).map(width).collect()
}

fn aligned(row: &[String; 7], widths: &[usize]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}
