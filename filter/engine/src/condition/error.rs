//! What can be wrong with a condition: when it is loaded, and when a request meets it.

use std::fmt;

/// Why an expression is refused when the configuration is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// Where, from 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub problem: String,
    /// A way out; empty where none is known.
    pub hint: String,
    /// Whether it is about a path variable that the rule's `match.path` does not have.
    pub is_about_path: bool,
    /// Whether it is about a rule that identifies nobody.
    pub is_about_identity: bool,
}

impl CompileError {
    pub(super) fn new(column: u32, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { column, problem: problem.into(), hint: hint.into(), is_about_path: false, is_about_identity: false }
    }

    pub(super) fn about_identity(mut self) -> Self {
        self.is_about_identity = true;
        self
    }

    pub(super) fn about_path(mut self) -> Self {
        self.is_about_path = true;
        self
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.problem)
    }
}

impl std::error::Error for CompileError {}

/// Why an expression has no value for a request. It never repeats what the request or a claim holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationError {
    /// Where in the expression, from 1, in characters.
    pub column: u32,
    /// What failed.
    pub fault: Fault,
}

/// What failed in an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A map has no member of this name, as the expression writes it.
    NoMember(Box<str>),
    /// A map has no member of a name that was computed.
    NoSuchMember,
    /// A list is shorter.
    NoSuchElement,
    /// The rule's path names no such variable: the route named the policy, or the rule has no `match.path`.
    NoPathVariable(Box<str>),
    /// The proxy does not say, or the client has none.
    NotKnown(&'static str),
    /// The header or query parameter stands more than once: the service could take another one.
    Repeated,
    /// The header or query parameter is not UTF-8.
    NotText,
    /// An operator or a function got a value that it is not made for.
    WrongType,
    /// A number left its range, or something was divided by zero.
    Arithmetic,
    /// A text could not be read as what it should be.
    Unreadable(&'static str),
    /// The evaluation took more steps than one request may cost.
    TooCostly,
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: ", self.column)?;
        match &self.fault {
            Fault::NoMember(name) => write!(f, "there is no {name:?}"),
            Fault::NoSuchMember => f.write_str("there is no member of that name"),
            Fault::NoSuchElement => f.write_str("the list is shorter"),
            Fault::NoPathVariable(name) => write!(f, "the rule's path has no {{{name}}}"),
            Fault::NotKnown(name) => write!(f, "{name} is not known"),
            Fault::Repeated => f.write_str("it stands more than once"),
            Fault::NotText => f.write_str("it is no UTF-8"),
            Fault::WrongType => f.write_str("a value is of another type"),
            Fault::Arithmetic => f.write_str("a number leaves its range"),
            Fault::Unreadable(what) => write!(f, "a text is no {what}"),
            Fault::TooCostly => f.write_str("it takes too many steps"),
        }
    }
}

impl std::error::Error for EvaluationError {}

impl EvaluationError {
    /// What failed, without the place.
    pub(super) fn fault_text(&self) -> String {
        let text = self.to_string();
        text.split_once(": ").map_or(text.clone(), |(_, fault)| fault.to_owned())
    }
}
