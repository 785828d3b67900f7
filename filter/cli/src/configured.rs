//! A file's filters with their policies, for the commands that need a configuration without errors.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, anyhow, bail};
use portcullis_engine::policy::Policy;
use serde_json::Value;

use crate::document::{self, Lines};
use crate::environment::{Environment, EnvironmentArguments};
use crate::{envoy, file};

/// A filter that is configured without an error.
#[derive(Debug)]
pub struct Configured {
    /// The path of the filter in the file; empty for a configuration alone.
    pub path: String,
    /// What it does.
    pub policy: Rc<Policy>,
    /// The configuration as it is written.
    pub value: Value,
    /// Its lines.
    pub lines: Lines,
    /// The variables of its VM.
    pub environment: Environment,
}

/// Every filter of a file.
///
/// # Errors
/// The file cannot be read, has no filter, or one with a mistake.
pub fn load(path: &Path, arguments: &EnvironmentArguments) -> Result<Vec<Configured>> {
    let (text, language) = file::read(path)?;
    let shown = path.display();
    let (root, _) =
        document::read(&text, language).map_err(|mistake| anyhow!("{shown}:{}: {}", mistake.line, mistake.problem))?;
    let mut found = Vec::new();
    for filter in envoy::filters(&root) {
        let environment = Environment::of(&filter, arguments);
        let configuration =
            filter.configuration.map_err(|error| anyhow!("{shown}:{}: {}", error.line, error.problem))?;
        let policy = Policy::from_value(&configuration.value, &|name| Some(environment.look_up(name)));
        let policy = policy.map_err(|problems| {
            let problems = problems.to_string();
            anyhow!("{shown} has mistakes\n{}\n  hint: `portcullis check {shown}` shows where", problems.trim_end())
        })?;
        let (value, lines) = (configuration.value, configuration.lines);
        found.push(Configured { path: filter.path, policy, value, lines, environment });
    }
    if found.is_empty() {
        bail!("there is no Portcullis filter in {shown}");
    }
    Ok(found)
}

impl Configured {
    /// Where the rule at `index` of the policy is written, and its line.
    pub fn rule_place(&self, index: usize) -> (String, usize) {
        let path = if index < self.policy.index.rules().len() {
            format!("rules[{index}]")
        } else {
            let named = self.policy.named.iter().find(|(_, at)| **at == index);
            named.map_or_else(|| "defaults.policy".to_owned(), |(name, _)| format!("policies.{name}"))
        };
        let line = self.lines.find(&path);
        (path, line)
    }

    /// What the rule at `index` matches, in words.
    pub fn match_text(&self, index: usize) -> String {
        let Some(section) = self.value.pointer(&format!("/rules/{index}/match")) else {
            let named = self.policy.named.iter().find(|(_, at)| **at == index);
            return match named {
                Some((name, _)) => format!("routes that name the policy {name}"),
                None => "whatever no rule matches".to_owned(),
            };
        };
        let text = |field: &str| section.get(field).and_then(Value::as_str);
        let mut parts = Vec::new();
        match section.get("methods") {
            Some(Value::Array(methods)) => {
                parts.push(methods.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","));
            }
            Some(Value::String(method)) => parts.push(method.clone()),
            _ => {}
        }
        parts.extend(text("host").map(|host| format!("host {host}")));
        parts.extend(text("path").map(str::to_owned));
        parts
            .extend(text("prefix").map(|prefix| if prefix == "/" { "/**".to_owned() } else { format!("{prefix}/**") }));
        parts.extend(text("regex").map(|regex| format!("regex {regex}")));
        for (name, value) in section.get("headers").and_then(Value::as_object).into_iter().flatten() {
            parts.push(format!("{name}: {}", value.as_str().unwrap_or_default()));
        }
        if parts.is_empty() { "every request".to_owned() } else { parts.join(" ") }
    }
}
