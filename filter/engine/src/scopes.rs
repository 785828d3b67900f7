//! Scopes: whole words that a token must or must not have.

use crate::answer::{Denial, Reason};
use crate::claims::Claims;

/// What a rule asks of a token's scopes. Words are compared whole, never as parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Every one of these must be there.
    pub all: Vec<String>,
    /// One of these must be there, unless the list is empty.
    pub any: Vec<String>,
    /// None of these may be there.
    pub none: Vec<String>,
}

impl Scopes {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty() && self.none.is_empty()
    }

    /// Checks a verified caller.
    ///
    /// # Errors
    /// A [`Denial`] that names the scopes that would suffice (RFC 6750, section 3).
    pub fn check(&self, claims: &Claims) -> Result<(), Denial> {
        let has = |wanted: &String| claims.scopes().any(|scope| scope == wanted);
        if let Some(missing) = self.all.iter().find(|wanted| !has(wanted)) {
            return Err(self.denial(format!("scope {missing:?} is missing")));
        }
        if !self.any.is_empty() && !self.any.iter().any(has) {
            return Err(self.denial(format!("none of the scopes {:?}", self.any)));
        }
        match self.none.iter().find(|unwanted| has(unwanted)) {
            // Naming scopes that would suffice makes no sense here: one is too many.
            Some(unwanted) => Err(Denial::new(Reason::ScopeInsufficient, format!("scope {unwanted:?} is not allowed"))),
            None => Ok(()),
        }
    }

    fn denial(&self, detail: String) -> Denial {
        let wanted = if self.all.is_empty() { &self.any } else { &self.all };
        Denial::new(Reason::ScopeInsufficient, detail).scope(wanted.join(" "))
    }
}
