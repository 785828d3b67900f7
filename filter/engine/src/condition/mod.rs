//! Conditions: a bounded part of the Common Expression Language (CEL), for what scopes and roles cannot say.
//!
//! ```text
//! text -> lexer -> parser     the grammar of CEL; size and nesting are bounded
//!      -> check               every name is known, types agree as far as they are known, constants are calculated
//!      -> Condition           kept in the policy
//!      -> evaluate(Subject)   true, false or an error, in a bounded number of steps
//! ```
//!
//! `filter/decisions/0003-conditions.md` says why it is our own, and where it differs from CEL.

mod calendar;
mod check;
mod cidr;
mod error;
mod evaluate;
mod expression;
mod lexer;
mod parser;
#[cfg(test)]
mod speed;
mod subject;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

pub use check::Names;
pub use error::{CompileError, EvaluationError, Fault};
pub use subject::Subject;

use expression::Expression;

/// A checked condition.
#[derive(Clone)]
pub struct Condition {
    source: Box<str>,
    expression: Expression,
    reads_identity: bool,
}

impl Condition {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// [`CompileError`] with the column of the first mistake.
    pub fn compile(source: &str, names: &Names<'_>) -> Result<Self, CompileError> {
        let checked = check::check(&parser::parse(source)?, names)?;
        let (expression, reads_identity) = (checked.expression, checked.reads_identity);
        Ok(Self { source: source.into(), expression, reads_identity })
    }

    /// Whether the condition holds for a request.
    ///
    /// # Errors
    /// [`EvaluationError`] where there is no answer, as for a claim that the token lacks.
    pub fn holds(&self, subject: &Subject<'_>) -> Result<bool, EvaluationError> {
        evaluate::evaluate(&self.expression, subject)
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it reads who calls.
    pub fn reads_identity(&self) -> bool {
        self.reads_identity
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.source).finish()
    }
}
