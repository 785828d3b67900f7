//! A refusal, and the answer that the client gets for it.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::challenge::{self, Challenges};
use super::reason::Reason;

/// A refused request: the reason, and what the answer needs beyond it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub reason: Reason,
    /// For the log only: what exactly was wrong. Never a token or a payload.
    pub detail: String,
    /// For the log only: what payload rules have found, each as an object without what a user typed.
    pub findings: Vec<Value>,
    /// The scopes that would suffice, for the challenge (RFC 6750, section 3).
    pub scope: Option<String>,
    /// Where the client finds the resource's metadata, for the challenge (RFC 9728, section 5.1).
    pub resource_metadata: Option<String>,
    /// Whole seconds until a retry makes sense (RFC 9110, 10.2.3).
    pub retry_after: Option<u64>,
    /// The schemes that a challenge offers; RFC 6750's alone unless said otherwise.
    pub challenges: Challenges,
    /// Further headers of the answer, such as `ratelimit`.
    pub headers: Vec<(&'static str, String)>,
}

impl Denial {
    /// A refusal for `reason`, with a detail for the log.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            findings: Vec::new(),
            scope: None,
            resource_metadata: None,
            retry_after: None,
            challenges: Challenges::default(),
            headers: Vec::new(),
        }
    }

    /// The same refusal with what payload rules have found.
    #[must_use]
    pub fn findings(mut self, findings: Vec<Value>) -> Self {
        self.findings = findings;
        self
    }

    /// The same refusal with `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same refusal naming the scopes that would suffice.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// The same refusal naming the URL of the resource's metadata.
    #[must_use]
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.resource_metadata = Some(url.into());
        self
    }

    /// The same refusal, with the schemes that the rule takes.
    #[must_use]
    pub fn challenges(mut self, challenges: Challenges) -> Self {
        self.challenges = challenges;
        self
    }

    /// The same refusal with a nonce for the client's next proof (RFC 9449, section 8).
    #[must_use]
    pub fn dpop_nonce(mut self, nonce: String) -> Self {
        self.headers.push(("dpop-nonce", nonce));
        self
    }
}

/// The answer to a refused request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The problem document (RFC 9457).
    pub body: String,
    /// `%RESPONSE_CODE_DETAILS%` of Envoy's access log: `portcullis_<reason>`.
    pub details: String,
}

impl Answer {
    /// The answer for `denial`. `realm` and `type_base` come from the configuration; `request_id` is the proxy's.
    pub fn new(denial: &Denial, realm: &str, type_base: &str, request_id: Option<&str>) -> Self {
        let reason = denial.reason;
        let mut headers: Vec<(Cow<'static, str>, String)> = vec![
            ("content-type".into(), "application/problem+json".to_owned()),
            // A refusal is about this caller and this moment; no cache may keep it.
            ("cache-control".into(), "no-store".to_owned()),
        ];
        headers.extend(challenge::lines(denial, realm).into_iter().map(|line| ("www-authenticate".into(), line)));
        if let Some(seconds) = denial.retry_after {
            headers.push(("retry-after".into(), seconds.to_string()));
        }
        headers.extend(denial.headers.iter().map(|(name, value)| ((*name).into(), value.clone())));
        let mut problem = json!({
            "type": format!("{type_base}{}", reason.code()),
            "title": reason.title(),
            "status": reason.status(),
            "detail": reason.description(),
            "reason": reason.code(),
        });
        if let (Some(id), Some(members)) = (request_id, problem.as_object_mut()) {
            members.insert("request_id".to_owned(), id.into());
        }
        Self { status: reason.status(), headers, body: problem.to_string(), details: format!("portcullis_{reason}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        answer.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    fn answer(denial: &Denial) -> Answer {
        Answer::new(denial, "demo", "urn:x:", Some("id-1"))
    }

    #[test]
    fn a_missing_credential_gets_a_challenge_without_an_error() {
        let answer = answer(&Denial::new(Reason::CredentialsMissing, ""));
        assert_eq!((answer.status, header(&answer, "www-authenticate")), (401, Some("Bearer realm=\"demo\"")));
    }

    #[test]
    fn an_insufficient_scope_is_named() {
        let answer = answer(&Denial::new(Reason::ScopeInsufficient, "").scope("a b"));
        let challenge = header(&answer, "www-authenticate").unwrap();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(challenge.ends_with("scope=\"a b\""), "{challenge}");
    }

    #[test]
    fn every_challenge_names_the_metadata_of_the_resource() {
        let url = "https://resource.example.com/.well-known/oauth-protected-resource";
        let challenge = |reason| {
            let answer = answer(&Denial::new(reason, "").scope("a").resource_metadata(url));
            header(&answer, "www-authenticate").map(str::to_owned)
        };
        let missing = format!("Bearer realm=\"demo\", scope=\"a\", resource_metadata=\"{url}\"");
        assert_eq!(challenge(Reason::CredentialsMissing), Some(missing));
        for reason in [Reason::TokenExpired, Reason::ScopeInsufficient, Reason::CredentialsMalformed] {
            let challenge = challenge(reason).unwrap();
            assert!(challenge.ends_with(&format!(", resource_metadata=\"{url}\"")), "{challenge}");
        }
        assert_eq!(challenge(Reason::LimitExceeded), None);
    }

    #[test]
    fn a_metadata_url_cannot_break_out_of_the_challenge() {
        let denial = Denial::new(Reason::CredentialsMissing, "").resource_metadata("https://a\", error=\"x\r\ny: z");
        let challenge = answer(&denial).headers.remove(2).1;
        assert_eq!(challenge, r#"Bearer realm="demo", resource_metadata="https://a\", error=\"xy: z""#);
    }

    #[test]
    fn the_detail_for_the_log_never_reaches_the_client() {
        let answer = answer(&Denial::new(Reason::TokenKeyUnknown, "kid abc of provider corp"));
        let shown = format!("{answer:?}");
        assert!(!shown.contains("corp") && !shown.contains("abc"), "{shown}");
    }

    #[test]
    fn the_problem_document_holds_type_reason_and_request_id() {
        let answer = answer(&Denial::new(Reason::LimitExceeded, "").retry_after(7));
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["type"], "urn:x:limit_exceeded");
        assert_eq!(problem["request_id"], "id-1");
        assert_eq!(header(&answer, "retry-after"), Some("7"));
        assert_eq!(header(&answer, "www-authenticate"), None);
    }

    #[test]
    fn a_quote_in_the_realm_cannot_break_out() {
        let answer = Answer::new(&Denial::new(Reason::CredentialsMissing, ""), "a\" b=\"\r\nc", "", None);
        assert_eq!(header(&answer, "www-authenticate"), Some("Bearer realm=\"a\\\" b=\\\"c\""));
    }
}
