//! What a caller may do, beyond scopes: roles, path variables that must equal claims, and conditions.

mod bind;
mod roles;

use crate::answer::{Denial, Reason};
use crate::condition::{Condition, Subject};

pub use bind::{Mismatch, PathBinding};
pub use roles::Roles;

/// What a rule asks for, beyond scopes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Authorisation {
    /// The roles that the caller must or must not have.
    pub roles: Roles,
    /// Path variables that must equal claims.
    pub bind: Vec<PathBinding>,
    /// Conditions that must all hold.
    pub when: Vec<NamedCondition>,
}

/// A condition, with a name for the log.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCondition {
    /// The name, where it has one.
    pub name: Option<String>,
    /// The condition.
    pub condition: Condition,
}

impl Authorisation {
    /// Whether nothing is asked for: such a rule pays nothing.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.bind.is_empty() && self.when.is_empty()
    }

    /// Whether something is asked that only a caller's identity can answer.
    pub fn needs_identity(&self) -> bool {
        !self.roles.is_empty() || !self.bind.is_empty()
    }
}

impl NamedCondition {
    /// Checks one request. `index`: the condition's place in the rule, for the log.
    ///
    /// # Errors
    /// A [`Denial`] if the condition does not hold, and if there is no answer: what cannot be judged does not pass.
    pub fn check(&self, index: usize, subject: &Subject<'_>) -> Result<(), Denial> {
        match self.condition.holds(subject) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Denial::new(Reason::ConditionFalse, self.label(index))),
            Err(error) => Err(Denial::new(Reason::ConditionError, format!("{}: {error}", self.label(index)))),
        }
    }

    /// How the log calls the condition: by its place from 0, as in the configuration, and its name.
    pub fn label(&self, index: usize) -> String {
        match &self.name {
            Some(name) => format!("when[{index}] {name:?}"),
            None => format!("when[{index}]"),
        }
    }
}
