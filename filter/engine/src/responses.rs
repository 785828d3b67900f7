//! What responses look like: headers that make browsers careful, and none that tell what a service is made of.
//!
//! The defaults follow the OWASP Secure Headers Project and the OWASP REST Security Cheat Sheet, chosen for an API: nothing
//! of it is a page, so nothing may frame it, sniff it or open it. What the service sets itself stays, since it knows its
//! own content; what the configuration sets replaces both.

use std::borrow::Cow;
use std::rc::Rc;

use crate::engine::HeaderChange;
use crate::http::Headers;

/// A header that is added where the service sets none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Cow<'static, str>,
    /// When it makes sense.
    pub when: When,
}

/// When a header makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every response.
    Always,
    /// To clients that came by TLS: browsers must ignore it otherwise (RFC 6797, 8.1).
    Https,
    /// Where the caller was identified: what is meant for one must not be kept for others.
    Identified,
}

/// The headers that `security_headers: on` adds.
pub const ADDED: &[(&str, &str, When)] = &[
    ("cache-control", "no-store", When::Identified),
    ("content-security-policy", "frame-ancestors 'none'", When::Always),
    ("cross-origin-opener-policy", "same-origin", When::Always),
    ("cross-origin-resource-policy", "same-origin", When::Always),
    ("referrer-policy", "no-referrer", When::Always),
    ("strict-transport-security", "max-age=31536000; includeSubDomains", When::Https),
    ("x-content-type-options", "nosniff", When::Always),
    ("x-frame-options", "DENY", When::Always),
    ("x-permitted-cross-domain-policies", "none", When::Always),
];

/// The headers that `security_headers: on` removes, sorted.
pub const HIDDEN: &[&str] = &[
    "liferay-portal",
    "server",
    "x-application-context",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-backend-server",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-cf-powered-by",
    "x-content-powered-by",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-upstream-healthchecked-cluster",
    "x-envoy-upstream-service-time",
    "x-framework",
    "x-generator",
    "x-jitsi-release",
    "x-kubernetes-pf-flowschema-ui",
    "x-kubernetes-pf-prioritylevel-uid",
    "x-litespeed-cache",
    "x-mod-pagespeed",
    "x-old-content-length",
    "x-page-speed",
    "x-php-version",
    "x-powered-by",
    "x-powered-by-plesk",
    "x-powered-cms",
    "x-redirect-by",
    "x-rack-cache",
    "x-runtime",
    "x-server",
    "x-server-powered-by",
    "x-sourcefiles",
    "x-turbo-charged-by",
    "x-varnish",
    "x-version",
];

/// What the responses of a rule look like; all names lower-case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseRules {
    /// Added where the service sets none.
    pub added: Vec<Addition>,
    /// Set in any case.
    pub set: Vec<(String, String)>,
    /// Removed.
    pub hidden: Vec<String>,
}

/// How the rules of a request's responses are to be applied once there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dress {
    /// The rules.
    pub rules: Rc<ResponseRules>,
    /// Whether the client came by TLS.
    pub is_https: bool,
    /// Whether the caller was identified.
    pub is_identified: bool,
}

impl Dress {
    /// The changes to a response whose header map `headers` is, in the ABI's serialised form. One that cannot be read gets
    /// what replaces in any case.
    pub fn changes(&self, headers: Vec<u8>) -> Vec<HeaderChange> {
        let headers = Headers::from_pairs_buffer(headers).ok();
        let stands = |name: &str| headers.as_ref().is_some_and(|headers| headers.get_all(name).next().is_some());
        let mut changes: Vec<HeaderChange> = Vec::new();
        for name in self.rules.hidden.iter().filter(|name| headers.is_none() || stands(name)) {
            changes.push(HeaderChange::Remove(name.clone()));
        }
        for addition in self.additions().filter(|addition| !stands(&addition.name)) {
            changes.push(HeaderChange::Set(addition.name.to_string(), addition.value.as_bytes().to_vec()));
        }
        for (name, value) in &self.rules.set {
            changes.push(HeaderChange::Set(name.clone(), value.clone().into_bytes()));
        }
        changes
    }

    /// Dresses an answer of the gateway itself.
    pub fn put_on(&self, lines: &mut Vec<(Cow<'static, str>, String)>) {
        lines.retain(|(name, _)| !self.rules.set.iter().any(|(set, _)| set == name));
        for addition in self.additions() {
            if !lines.iter().any(|(name, _)| *name == addition.name) {
                lines.push((addition.name.clone(), addition.value.to_string()));
            }
        }
        lines.extend(self.rules.set.iter().map(|(name, value)| (name.clone().into(), value.clone())));
    }

    fn additions(&self) -> impl Iterator<Item = &Addition> {
        self.rules.added.iter().filter(|addition| match addition.when {
            When::Always => true,
            When::Https => self.is_https,
            When::Identified => self.is_identified,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_both_added_and_hidden() {
        assert!(ADDED.iter().all(|(name, ..)| !HIDDEN.contains(name)));
    }
}
