//! Lets the engine decide a case, and compares.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::check::{self, End, Failure};
use super::gateway::{Gateway, NOW};
use super::template::Template;
use super::{Case, Verdict as Wanted};

/// Runs `case` and compares; every difference is a failure.
///
/// # Errors
/// The case itself cannot be run: a template or its YAML.
pub fn run(case: &Case) -> Result<Vec<Failure>> {
    let mut template = Template::at(case.facts.now.unwrap_or(NOW));
    let configuration = configuration(case, &mut template)?;
    let failure = |line: usize, what: String| Failure { file: case.file.clone(), line, what };
    let mut gateway = match (Gateway::start(case, &configuration)?, &case.problems) {
        (Ok(gateway), None) => gateway,
        (Err(seen), Some(expected)) => {
            let expected: Vec<String> = expected.iter().map(|line| template.fill(line)).collect::<Result<_>>()?;
            return Ok(problem_differences(&expected, &seen)
                .into_iter()
                .map(|what| failure(case.problems_line, what))
                .collect());
        }
        (Ok(_), Some(_)) => return Ok(vec![failure(case.problems_line, "the configuration is accepted".to_owned())]),
        (Err(seen), None) => {
            let what = format!("the configuration is refused:\n    {}", seen.join("\n    "));
            return Ok(vec![failure(1, what)]);
        }
    };
    let mut failures = Vec::new();
    gateway.play(case, &mut template, &mut |_, decision, seen, template| {
        for (line, what) in check::differences(decision, &seen, template)? {
            failures.push(failure(line, what));
        }
        Ok(())
    })?;
    Ok(failures)
}

/// Runs `case` under `mode: monitor`: whatever it refuses goes on and is recorded, except a head that cannot be read.
///
/// # Errors
/// The case itself cannot be run: a template or its YAML.
pub fn run_monitored(case: &Case) -> Result<Vec<Failure>> {
    let mut template = Template::at(case.facts.now.unwrap_or(NOW));
    let mut configuration = configuration(case, &mut template)?;
    if let Some(members) = configuration.as_object_mut() {
        members.insert("mode".to_owned(), json!("monitor"));
    }
    let Ok(mut gateway) = Gateway::start(case, &configuration)? else { return Ok(Vec::new()) };
    let served = served_rules(&configuration);
    let mut failures = Vec::new();
    gateway.play(case, &mut template, &mut |_, decision, seen, _| {
        let mut complain = |what: String| {
            failures.push(Failure {
                file: case.file.clone(),
                line: decision.line,
                what: format!("monitor mode: {what}"),
            });
        };
        let monitored = seen.audited("request_monitored");
        match (&decision.verdict, &seen.end) {
            (_, End::Waiting) | (Wanted::Allow | Wanted::Hold, End::Passed { .. }) => {}
            (Wanted::Answer { .. }, End::Served { .. }) => {}
            // What the gateway itself serves is refused in monitor mode too.
            (Wanted::Deny { reason, .. }, End::Answered { .. })
                if seen.reason().as_ref() == Some(reason) && served.iter().any(|rule| seen.is_of_rule(rule)) => {}
            (Wanted::Deny { reason, .. }, End::Passed { .. } | End::Served { .. }) => {
                if !monitored.contains(reason) {
                    complain(format!("expected {reason} to be recorded, saw {monitored:?}"));
                }
            }
            (Wanted::Deny { reason, .. }, End::Answered { .. }) if UNREADABLE.contains(&reason.as_str()) => {}
            (_, End::Answered { .. })
            | (Wanted::Allow | Wanted::Hold, End::Served { .. })
            | (Wanted::Answer { .. }, End::Passed { .. }) => {
                complain(format!("expected the request to go on, saw {}", seen.summary()))
            }
        }
        Ok(())
    })?;
    Ok(failures)
}

/// The names of the rules that the gateway itself answers.
fn served_rules(configuration: &Value) -> Vec<String> {
    let rules = configuration.get("rules").and_then(Value::as_array).into_iter().flatten();
    let served = rules.filter(|rule| rule.get("serve").is_some());
    served.filter_map(|rule| rule.get("name")?.as_str().map(str::to_owned)).collect()
}

/// Refused in monitor mode too: nobody can say what such a head would mean to the service.
const UNREADABLE: &[&str] =
    &["request_malformed", "header_malformed", "header_repeated", "authority_malformed", "host_mismatch"];

/// The case's configuration with its templates filled in.
fn configuration(case: &Case, template: &mut Template) -> Result<Value> {
    let text = template.fill(&case.config)?;
    serde_norway::from_str(&text).with_context(|| format!("{}: the configuration is not YAML", case.file.display()))
}

fn problem_differences(expected: &[String], seen: &[String]) -> Vec<String> {
    if expected == seen {
        return Vec::new();
    }
    let missing = expected.iter().filter(|line| !seen.contains(line)).map(|line| format!("expected: {line}"));
    let unexpected = seen.iter().filter(|line| !expected.contains(line)).map(|line| format!("saw:      {line}"));
    let differences: Vec<String> = missing.chain(unexpected).collect();
    match differences.as_slice() {
        [] => vec![format!("the problems come in another order:\n    {}", seen.join("\n    "))],
        lines => vec![format!("other problems:\n    {}", lines.join("\n    "))],
    }
}
