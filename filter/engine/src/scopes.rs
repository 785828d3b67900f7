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

/// Where a provider's scopes stand, and how rules write them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeSource {
    /// The claim path; `scope`, else `scp`, unless said otherwise.
    pub claim: Option<String>,
    /// What rules write before each scope, as Spring's `SCOPE_`.
    pub prefix: String,
}

impl ScopeSource {
    /// Whether the caller has the scope that a rule writes as `wanted`: the whole word, behind the prefix.
    fn has(&self, claims: &Claims, wanted: &str) -> bool {
        let Some(wanted) = wanted.strip_prefix(self.prefix.as_str()) else { return false };
        self.words(claims).any(|scope| scope == wanted)
    }

    /// The caller's scopes, as the token writes them.
    pub(crate) fn words<'c>(&self, claims: &'c Claims) -> impl Iterator<Item = &'c str> {
        claims.scopes_at(self.claim.as_deref())
    }

    /// The scope as a client asks for it.
    fn asked<'s>(&self, written: &'s str) -> &'s str {
        written.strip_prefix(self.prefix.as_str()).unwrap_or(written)
    }
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
    pub fn check(&self, claims: &Claims, source: &ScopeSource) -> Result<(), Denial> {
        let has = |wanted: &String| source.has(claims, wanted);
        if let Some(missing) = self.all.iter().find(|wanted| !has(wanted)) {
            return Err(self.denial(source, format!("scope {missing:?} is missing")));
        }
        if !self.any.is_empty() && !self.any.iter().any(has) {
            return Err(self.denial(source, format!("none of the scopes {:?}", self.any)));
        }
        match self.none.iter().find(|unwanted| has(unwanted)) {
            // Naming scopes that would suffice makes no sense here: one is too many.
            Some(unwanted) => Err(Denial::new(Reason::ScopeInsufficient, format!("scope {unwanted:?} is not allowed"))),
            None => Ok(()),
        }
    }

    fn denial(&self, source: &ScopeSource, detail: String) -> Denial {
        let wanted = if self.all.is_empty() { &self.any } else { &self.all };
        let wanted: Vec<&str> = wanted.iter().map(|wanted| source.asked(wanted)).collect();
        Denial::new(Reason::ScopeInsufficient, detail).scope(wanted.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn has(claims: serde_json::Value, claim: Option<&str>, prefix: &str, wanted: &str) -> bool {
        let claims = Claims::new(claims.as_object().unwrap().clone());
        ScopeSource { claim: claim.map(str::to_owned), prefix: prefix.to_owned() }.has(&claims, wanted)
    }

    #[test]
    fn a_prefix_belongs_to_the_rules_and_not_to_the_token() {
        let claims = || json!({"scope": "read SCOPE_write"});
        assert!(has(claims(), None, "SCOPE_", "SCOPE_read"));
        assert!(has(claims(), None, "SCOPE_", "SCOPE_SCOPE_write"));
        for wanted in ["read", "SCOPE_write", "SCOPE_", "scope_read", "SCOPE_rea", "SCOPE_read "] {
            assert!(!has(claims(), None, "SCOPE_", wanted), "{wanted}");
        }
    }

    #[test]
    fn another_claim_hides_the_usual_ones() {
        let claims =
            || json!({"scope": "admin", "permissions": ["read", "write all"], "https://id.example/p": {"list": "a b"}});
        assert!(has(claims(), Some("permissions"), "", "read") && has(claims(), Some("permissions"), "", "write all"));
        assert!(has(claims(), Some("https://id.example/p.list"), "", "b"));
        for wanted in ["admin", "write", "all", "rea", ""] {
            assert!(!has(claims(), Some("permissions"), "", wanted), "{wanted}");
        }
        assert!(!has(claims(), Some("nothing"), "", "admin"));
    }
}
