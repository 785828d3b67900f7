//! What `portcullis check` has to say, and where.

use portcullis_engine::config::{Problem, Problems};
use serde_json::{Value, json};

use crate::document::Lines;
use crate::style::Style;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does not work: Envoy or the filter refuses it, or requests fail.
    Error,
    /// It works, but hardly as it is meant.
    Warning,
    /// Worth knowing.
    Hint,
}

impl Severity {
    /// The word in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Hint => "hint",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The line in the file, from 1.
    pub line: usize,
    /// The path: in the filter's configuration where it is about that, else in the file.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// A way out.
    pub hint: Option<String>,
}

impl Finding {
    /// `file:line: path: problem; hint`. Errors need no word in front.
    pub fn to_line(&self, file: &str, style: Style) -> String {
        let severity = match self.severity {
            Severity::Error => String::new(),
            Severity::Warning => format!("{}: ", style.yellow("warning")),
            Severity::Hint => format!("{}: ", style.dim("hint")),
        };
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", style.bold(&self.path)) };
        let problem = if self.severity == Severity::Error { style.red(&self.problem) } else { self.problem.clone() };
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{file}:{}: {severity}{path}{problem}{hint}", self.line)
    }

    /// The finding as an object.
    pub fn to_json(&self, file: &str) -> Value {
        json!({
            "file": file,
            "line": self.line,
            "severity": self.severity.as_str(),
            "path": self.path,
            "problem": self.problem,
            "hint": self.hint,
        })
    }
}

/// The findings of one file.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds what stands in a known line.
    pub fn add(&mut self, severity: Severity, line: usize, path: &str, problem: impl Into<String>, hint: &str) {
        let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
        self.0.push(Finding { severity, line, path: path.to_owned(), problem: problem.into(), hint });
    }

    /// Adds an unknown name, with the nearest known one.
    pub fn add_unknown_name(&mut self, line: usize, path: &str, kind: &str, name: &str, known: &[String]) {
        let mut problems = Problems::default();
        problems.add_unknown_name(path, kind, name, known.iter().map(String::as_str));
        for problem in problems.iter() {
            self.add(Severity::Error, line, path, problem.problem.clone(), problem.hint.as_deref().unwrap_or_default());
        }
    }

    /// Whether anything of this severity was found.
    pub fn have(&self, severity: Severity) -> bool {
        self.0.iter().any(|finding| finding.severity == severity)
    }
}

/// Adds findings about a filter's configuration, whose lines are looked up.
#[derive(Debug)]
pub struct Notes<'a> {
    /// The lines of the configuration.
    pub lines: &'a Lines,
    /// Where they go.
    pub findings: &'a mut Findings,
}

impl Notes<'_> {
    /// Adds a finding at `path`.
    pub fn add(&mut self, severity: Severity, path: &str, problem: impl Into<String>, hint: &str) {
        self.findings.add(severity, self.lines.find(path), path, problem, hint);
    }

    /// Adds a warning at `path`.
    pub fn warn(&mut self, path: &str, problem: impl Into<String>, hint: &str) {
        self.add(Severity::Warning, path, problem, hint);
    }

    /// Adds what the engine refuses.
    pub fn refuse(&mut self, problem: &Problem) {
        let hint = problem.hint.as_deref().unwrap_or_default();
        self.add(Severity::Error, &problem.path, problem.problem.clone(), hint);
    }
}
