//! `portcullis check`: finds mistakes in a configuration before Envoy does.

mod bypass;
mod clusters;
mod credentials;
mod edge;
mod finding;
mod guessing;
mod policy;
mod proxy;
mod routes;
mod summary;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Result;
use clap::Args;
use portcullis_engine::config::document::member_path;
use portcullis_engine::policy::Policy;
use portcullis_engine::{Engine, Seed};
use serde_json::Value;

use crate::document::{self, Node};
use crate::environment::{Environment, EnvironmentArguments};
use crate::envoy::{self, Filter};
use crate::file;
use crate::style::Style;
use finding::{Findings, Notes, Severity};

/// Find every mistake in configurations, offline, with the engine that runs in Envoy
///
/// A FILE is an Envoy configuration in YAML or JSON (a whole bootstrap, or the resources of a listener or an
/// extension), or a filter configuration alone (`version: 1` at its top). Of an Envoy configuration it checks the
/// filter's own configuration, how the filter is loaded, the connection manager around it, and the routes and clusters
/// that it relies on.
///
/// Each finding is a line: FILE:LINE: PATH: PROBLEM; HINT. An error has no word before its path; a warning or a hint has.
/// The path is that in the filter's configuration where the finding is about it, else that in the file.
///
/// Exit code: 0 nothing is wrong (there may be warnings), 1 errors were found (or warnings, with --strict), 2 a file
/// cannot be read or the command line is wrong.
///
/// Example: portcullis check envoy.yaml
///          portcullis check --strict --assume-env envoy.yaml listeners/*.yaml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Envoy or filter configurations; the language is JSON where the name ends in .json
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Warnings count as errors
    #[arg(long)]
    strict: bool,

    /// Print the findings of all files as one JSON list
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    environment: EnvironmentArguments,
}

/// What was found in one file.
struct Report {
    file: String,
    findings: Findings,
    /// A line for each filter that has no error.
    summaries: Vec<String>,
}

/// Carries the command out.
///
/// # Errors
/// The output cannot be written.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut reports = Vec::new();
    for path in &arguments.files {
        let (text, language) = match file::read(path) {
            Ok(read) => read,
            Err(error) => {
                writeln!(std::io::stderr(), "portcullis: {error:#}")?;
                return Ok(ExitCode::from(2));
            }
        };
        let mut report =
            Report { file: path.display().to_string(), findings: Findings::default(), summaries: Vec::new() };
        match document::read(&text, language) {
            Ok((root, mistakes)) => {
                mistakes.iter().for_each(|mistake| add_mistake(&mut report.findings, mistake));
                examine(&root, arguments, &mut report);
            }
            Err(mistake) => add_mistake(&mut report.findings, &mistake),
        }
        // By line, and the errors of a line first.
        report.findings.0.sort_by(|a, b| (a.line, a.severity, &a.path).cmp(&(b.line, b.severity, &b.path)));
        report.findings.0.dedup();
        reports.push(report);
    }
    print(&reports, arguments.json)?;
    let found = |severity| reports.iter().any(|report| report.findings.have(severity));
    let failed = found(Severity::Error) || (arguments.strict && found(Severity::Warning));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn add_mistake(findings: &mut Findings, mistake: &document::Mistake) {
    let hint = mistake.hint.as_deref().unwrap_or_default();
    findings.add(Severity::Error, mistake.line, &mistake.path, mistake.problem.clone(), hint);
}

fn print(reports: &[Report], as_json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        let all = reports.iter().flat_map(|r| r.findings.0.iter().map(|finding| finding.to_json(&r.file)));
        writeln!(out, "{:#}", all.collect::<Value>())?;
        return Ok(());
    }
    let style = Style::of_stdout();
    for report in reports {
        for finding in &report.findings.0 {
            writeln!(out, "{}", finding.to_line(&report.file, style))?;
        }
        for summary in &report.summaries {
            writeln!(out, "{}: {}: {summary}", report.file, style.green("ok"))?;
        }
        let count = |severity| report.findings.0.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        if errors + warnings > 0 {
            writeln!(
                out,
                "{}: {}, {}",
                report.file,
                summary::counted(errors, "error"),
                summary::counted(warnings, "warning")
            )?;
        }
    }
    Ok(())
}

/// Checks all that a file holds.
fn examine(root: &Node, arguments: &Arguments, report: &mut Report) {
    let filters = envoy::filters(root);
    if filters.is_empty() {
        report.findings.add(
            Severity::Error,
            root.line,
            "",
            "there is no Portcullis filter in the file",
            "its `name` or `root_id`, or its code's file name, contains `portcullis`",
        );
    }
    let mut examined = Vec::new();
    for filter in &filters {
        let policy = examine_filter(filter, arguments, &mut report.findings);
        proxy::check(filter, policy.as_deref(), &mut report.findings);
        if let Some(policy) = &policy {
            report.summaries.push(summary::of(policy));
        }
        examined.push(Examined { filter, policy });
    }
    routes::check(root, &examined, &mut report.findings);
    clusters::check(root, &examined, &mut report.findings);
    bypass::check(root, &examined, &mut report.findings);
    proxy::check_statistics(root, &mut report.findings);
    if report.findings.have(Severity::Error) {
        report.summaries.clear();
    }
}

/// A filter, and its policy where it has one.
struct Examined<'a> {
    filter: &'a Filter<'a>,
    policy: Option<Rc<Policy>>,
}

/// Checks a filter's own configuration.
fn examine_filter(filter: &Filter<'_>, arguments: &Arguments, findings: &mut Findings) -> Option<Rc<Policy>> {
    let configuration = match &filter.configuration {
        Ok(configuration) => configuration,
        Err(error) => {
            let path = envoy::plugin_path(filter, "configuration");
            findings.add(Severity::Error, error.line, &path, error.problem.clone(), error.hint);
            return None;
        }
    };
    let environment = Environment::of(filter, &arguments.environment);
    let policy = Policy::from_value(&configuration.value, &|name| Some(environment.look_up(name)));
    let mut notes = Notes { lines: &configuration.lines, findings };
    if !arguments.environment.assume_env {
        warn_of_unknown(filter, &configuration.value, &environment, &mut notes);
    }
    // The engine sees what no section shows, such as bounds on the timing of fetches.
    let text = configuration.value.to_string();
    let engine = || Engine::new(text.as_bytes(), &|name| Some(environment.look_up(name)), Seed([7; 32]));
    match policy.and_then(|policy| engine().map(|_| policy)) {
        Ok(policy) => {
            policy::check(&policy, &configuration.value, &mut notes);
            credentials::check(&policy, &configuration.value, &mut notes);
            guessing::check(&policy, &configuration.value, &mut notes);
            Some(policy)
        }
        Err(problems) => {
            problems.iter().for_each(|problem| notes.refuse(problem));
            None
        }
    }
}

/// Variables that were not given here: what they hold was not checked.
fn warn_of_unknown(filter: &Filter<'_>, document: &Value, environment: &Environment, notes: &mut Notes<'_>) {
    for name in environment.unknown() {
        let passed_on = filter.plugin.is_none() || environment.is_passed_on(&name);
        let hint = if passed_on {
            format!("give it with --env {name}=..., or say --assume-env")
        } else {
            "pass it on in vm_config.environment_variables, or the filter will not start".to_owned()
        };
        for path in paths_of_variable(document, &name) {
            notes.warn(&path, format!("the variable {name:?} is not known here: what it holds is not checked"), &hint);
        }
    }
}

/// Every path where `env: NAME` stands.
fn paths_of_variable(document: &Value, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = vec![(String::new(), document)];
    while let Some((path, value)) = next.pop() {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    let path = member_path(&path, key);
                    if key == "env" && value.as_str() == Some(name) {
                        found.push(path.clone());
                    }
                    next.push((path, value));
                }
            }
            Value::Array(elements) => {
                next.extend(elements.iter().enumerate().map(|(index, value)| (format!("{path}[{index}]"), value)));
            }
            _ => {}
        }
    }
    found
}
