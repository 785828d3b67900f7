//! What a conversion could not keep, and where that is written.

use serde_json::{Value, json};

/// How a converted part differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has no equal: what it would admit is refused.
    Stricter,
    /// It decides nothing about who passes, or the difference is for the operator to choose.
    Note,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How it differs.
    pub kind: Kind,
    /// The line in the input; 0 where a part has several.
    pub line: usize,
    /// What it is about.
    pub what: String,
    /// What is different.
    pub problem: String,
    /// What to do.
    pub hint: String,
}

/// All differences, each once.
#[derive(Debug, Default)]
pub struct Notes(pub Vec<Difference>);

impl Notes {
    /// Adds something without an equal.
    pub fn stricter(&mut self, line: usize, what: &str, problem: &str, hint: &str) {
        self.add(Kind::Stricter, line, what, problem, hint);
    }

    /// Adds something to know.
    pub fn note(&mut self, line: usize, what: &str, problem: &str, hint: &str) {
        self.add(Kind::Note, line, what, problem, hint);
    }

    fn add(&mut self, kind: Kind, line: usize, what: &str, problem: &str, hint: &str) {
        let (what, problem, hint) = (what.to_owned(), problem.to_owned(), hint.to_owned());
        let difference = Difference { kind, line, what, problem, hint };
        if !self.0.contains(&difference) {
            self.0.push(difference);
        }
    }

    /// Whether anything has no equal.
    pub fn are_stricter(&self) -> bool {
        self.0.iter().any(|difference| difference.kind == Kind::Stricter)
    }
}

impl Difference {
    /// `FILE:LINE: no equal: WHAT: PROBLEM; HINT`.
    pub fn to_line(&self, file: &str) -> String {
        let place = if self.line > 0 { format!("{file}:{}", self.line) } else { file.to_owned() };
        let word = if self.kind == Kind::Stricter { "no equal" } else { "note" };
        let hint = if self.hint.is_empty() { String::new() } else { format!("; {}", self.hint) };
        format!("{place}: {word}: {}: {}{hint}", self.what, self.problem)
    }

    /// The difference as an object.
    pub fn to_json(&self, file: &str) -> Value {
        json!({
            "file": file,
            "line": self.line,
            "kind": if self.kind == Kind::Stricter { "no equal" } else { "note" },
            "what": self.what,
            "problem": self.problem,
            "hint": self.hint,
        })
    }
}
