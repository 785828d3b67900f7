//! What became of a request, for the proxy's own access log.

use crate::answer::Reason;
use crate::audit::shortened;
use crate::counters::Verdict;

/// A decision, as `access_log: on` tells the proxy about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    rule: String,
    verdict: Verdict,
    reason: Reason,
    principal: Option<String>,
}

impl Outcome {
    /// A decision by the rule of this name; `principal` is the verified subject.
    pub fn new(rule: &str, verdict: Verdict, reason: Reason, principal: Option<&str>) -> Self {
        Self { rule: rule.to_owned(), verdict, reason, principal: principal.map(shortened) }
    }

    /// The names under which the proxy keeps it, with their values. In Envoy: `%FILTER_STATE(wasm.NAME:PLAIN)%`.
    pub fn properties(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let known = [
            ("portcullis.rule", self.rule.as_str()),
            ("portcullis.verdict", self.verdict.as_str()),
            ("portcullis.reason", self.reason.code()),
        ];
        known.into_iter().chain(self.principal.as_deref().map(|principal| ("portcullis.principal", principal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_told_where_there_is_one_and_never_at_any_length() {
        let nobody = Outcome::new("orders", Verdict::Denied, Reason::CredentialsMissing, None);
        let told: Vec<_> = nobody.properties().collect();
        let expected = [
            ("portcullis.rule", "orders"),
            ("portcullis.verdict", "denied"),
            ("portcullis.reason", "credentials_missing"),
        ];
        assert_eq!(told, expected);
        let long = Outcome::new("orders", Verdict::Allowed, Reason::Ok, Some(&"a".repeat(10_000)));
        assert!(long.properties().all(|(_, value)| value.len() < 300));
    }
}
