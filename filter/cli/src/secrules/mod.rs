//! `portcullis import-secrules`: rules of SecLang (ModSecurity, Coraza) as payload rules of the operator.

mod actions;
mod changes;
mod expression;
mod lines;
mod operator;
mod rule;
mod variables;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::convert::yaml::{flow, one_line};
use rule::Importer;

/// Make payload rules of SecLang's rules
///
/// A FILE holds `SecRule` and `SecAction` lines, as ModSecurity and Coraza read them. `payload_rules` in YAML go to standard output, to be put into a
/// configuration. What has no equal is left out: it is said in a comment, and on standard error with its file and line. Nothing is left out in silence.
/// `SecRuleRemoveBy...` and exclusions of `SecRuleUpdateTargetBy...` are applied, so that no rule looks further than it did; but where `ctl` would
/// change a rule for some requests, it is asked of all of them, and named.
///
/// Exit code: 0 all has an equal, 1 something was left out, 2 a file cannot be read.
///
/// Example: portcullis import-secrules rules/*.conf > payload-rules.yaml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Files with rules
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The paranoia level of the Core Rule Set: rules above it are left out
    #[arg(long, default_value_t = 1, value_name = "LEVEL")]
    paranoia_level: u8,

    /// Print what was left out as JSON on standard error
    #[arg(long)]
    json: bool,
}

/// Something that has no equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The file.
    pub file: String,
    /// The line on which the directive begins.
    pub line: usize,
    /// The rule, or the directive.
    pub what: String,
    /// What has no equal, and what becomes of it.
    pub problem: String,
}

/// What was made of some files.
#[derive(Debug, Default)]
pub struct Imported {
    /// The rules by name, with the file and the line of each.
    pub rules: BTreeMap<String, (Value, String)>,
    /// What has no equal.
    pub left_out: Vec<LeftOut>,
    /// What was made of directives that change other rules.
    pub applied: Vec<LeftOut>,
    /// How many rules the files have; those of a chain are one.
    pub seen: usize,
}

/// Carries the command out.
///
/// # Errors
/// The output cannot be written; all else that is wrong exits with 2.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut texts = Vec::new();
    for path in &arguments.files {
        match std::fs::read(path).with_context(|| format!("cannot read {}", path.display())) {
            // What is no UTF-8 makes a pattern that cannot be used, and that is said.
            Ok(bytes) => texts.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) => {
                writeln!(std::io::stderr(), "portcullis: {error:#}")?;
                return Ok(ExitCode::from(2));
            }
        }
    }
    let imported = import(&texts, arguments.paranoia_level);
    std::io::stdout().write_all(imported.to_yaml().as_bytes())?;
    let mut err = std::io::stderr().lock();
    if arguments.json {
        let list = |of: &[LeftOut], kind| of.iter().map(|found| found.to_json(kind)).collect::<Vec<_>>();
        let (left_out, applied) = (list(&imported.left_out, NO_EQUAL), list(&imported.applied, APPLIED));
        let (rules, carried_over) = (imported.seen, imported.rules.len());
        let data = json!({"rules": rules, "carried_over": carried_over, "left_out": left_out, "applied": applied});
        writeln!(err, "{data:#}")?;
    } else {
        for line in imported.lines() {
            writeln!(err, "{line}")?;
        }
        writeln!(err, "{} of {} rules carried over", imported.rules.len(), imported.seen)?;
    }
    Ok(if imported.left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Imports texts with their names, at a paranoia level of the Core Rule Set.
#[must_use]
pub fn import(texts: &[(String, String)], paranoia_level: u8) -> Imported {
    let mut importer = Importer::at_level(paranoia_level);
    for (file, text) in texts {
        importer.file(file, text);
    }
    importer.finish()
}

impl LeftOut {
    /// The same place, with what is to be said about it.
    fn because(&self, problem: &str) -> Self {
        Self { problem: problem.to_owned(), ..self.clone() }
    }

    fn to_line(&self, kind: &str) -> String {
        format!("{}:{}: {kind}: {}: {}", self.file, self.line, self.what, self.problem)
    }

    fn to_json(&self, kind: &str) -> Value {
        json!({"file": self.file, "line": self.line, "kind": kind, "what": self.what, "problem": self.problem})
    }
}

const NO_EQUAL: &str = "no equal";
const APPLIED: &str = "applied";

impl Imported {
    fn lines(&self) -> impl Iterator<Item = String> {
        let left_out = self.left_out.iter().map(|left_out| left_out.to_line(NO_EQUAL));
        left_out.chain(self.applied.iter().map(|applied| applied.to_line(APPLIED)))
    }

    /// The rules as a section of a configuration.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = String::from("# Imported by `portcullis import-secrules`.\n");
        for line in self.lines() {
            text.push_str(&format!("# {}\n", one_line(&line)));
        }
        if self.rules.is_empty() {
            text.push_str("payload_rules: {}\n");
            return text;
        }
        text.push_str("payload_rules:\n");
        for (name, (rule, place)) in &self.rules {
            text.push_str(&format!("  # {}\n  {name}: {}\n", one_line(place), flow(rule)));
        }
        text
    }
}
