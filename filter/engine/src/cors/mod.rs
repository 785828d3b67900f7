//! Cross-origin requests of web pages (CORS, WHATWG Fetch, section 3.2).
//!
//! A preflight carries no credential, so it is answered by the gateway before identity, by the rule that the announced
//! request would meet. What follows is judged like any other request: CORS decides what a *browser* shows to a page, and
//! never who may call. Every answer says so, refusals too, or a page could not tell a 401 from a broken network.

mod origin;

use crate::engine::HeaderChange;
use crate::http::{Method, RequestHead};

pub use origin::{OriginError, OriginPattern};

/// What the service says about CORS is the gateway's to say.
const OF_THE_SERVICE: &[&str] = &[
    ALLOW_CREDENTIALS,
    "access-control-allow-headers",
    "access-control-allow-methods",
    ALLOW_ORIGIN,
    "access-control-allow-private-network",
    EXPOSE_HEADERS,
    "access-control-max-age",
];
const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const ALLOW_CREDENTIALS: &str = "access-control-allow-credentials";
const EXPOSE_HEADERS: &str = "access-control-expose-headers";
const VARY: &str = "vary";

/// Which pages may call a rule's resources, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// The origins of the pages.
    pub origins: Vec<OriginPattern>,
    /// The methods that they may use, as a list; without it, the one that the rule was found by.
    pub methods: Option<String>,
    /// The request headers that they may set, as a list.
    pub headers: String,
    /// The response headers that they may read, as a list.
    pub expose: String,
    /// Whether browsers may send cookies and client certificates along. Never with `*`.
    pub credentials: bool,
    /// How long an answer to a preflight may be kept, in seconds.
    pub max_age_seconds: u64,
}

/// A request by which a browser asks whether another one may be sent.
#[derive(Debug)]
pub struct Preflight<'h> {
    /// The page's origin.
    pub origin: &'h [u8],
    /// The method of the announced request.
    pub method: Method,
    /// Whether the announced request has headers that pages may not just set.
    pub asks_for_headers: bool,
}

impl<'h> Preflight<'h> {
    /// The preflight that this request is (WHATWG Fetch, 4.8): `OPTIONS` with an origin and the announced method.
    pub fn of(head: &'h RequestHead) -> Option<Self> {
        if *head.method() != Method::Options {
            return None;
        }
        let single = |name: &str| head.headers().single(name).ok().flatten();
        Some(Self {
            origin: single("origin")?,
            method: Method::parse(single("access-control-request-method")?).ok()?,
            asks_for_headers: head.headers().get_all("access-control-request-headers").next().is_some(),
        })
    }
}

/// The origin of the page that sends the request; `None` where there is none, or no single one.
pub fn origin_of(head: &RequestHead) -> Option<&[u8]> {
    head.headers().single("origin").ok().flatten()
}

impl Cors {
    /// Whether pages of `origin` may call.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|pattern| pattern.matches(origin))
    }

    /// The headers of the answer to a preflight whose origin is allowed.
    pub fn preflight_headers(&self, preflight: &Preflight<'_>) -> Vec<(&'static str, String)> {
        let mut lines = self.answer_headers(Some(preflight.origin));
        lines.retain(|(name, _)| !matches!(*name, EXPOSE_HEADERS | VARY));
        let methods = self.methods.clone().unwrap_or_else(|| preflight.method.as_str().to_owned());
        lines.push(("access-control-allow-methods", methods));
        if preflight.asks_for_headers && !self.headers.is_empty() {
            lines.push(("access-control-allow-headers", self.headers.clone()));
        }
        lines.push(("access-control-max-age", self.max_age_seconds.to_string()));
        lines.push((VARY, "origin, access-control-request-method, access-control-request-headers".to_owned()));
        lines
    }

    /// The headers that the gateway's own answers get.
    pub fn answer_headers(&self, origin: Option<&[u8]>) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        if let Some(origin) = origin.filter(|origin| self.allows(origin)) {
            let echoed = if self.is_for_everybody() { "*".into() } else { String::from_utf8_lossy(origin) };
            lines.push((ALLOW_ORIGIN, echoed.into_owned()));
            if self.credentials {
                lines.push((ALLOW_CREDENTIALS, "true".to_owned()));
            }
            if !self.expose.is_empty() {
                lines.push((EXPOSE_HEADERS, self.expose.clone()));
            }
        }
        // Without an origin too: a cache must not give a page the answer that was made for none (Fetch, 3.2.5).
        if !self.is_for_everybody() {
            lines.push((VARY, "origin".to_owned()));
        }
        lines
    }

    /// The changes to the service's response.
    pub fn response_changes(&self, origin: Option<&[u8]>) -> Vec<HeaderChange> {
        let own = self.answer_headers(origin);
        let replaced = |name: &str| own.iter().any(|(known, _)| *known == name);
        let removed = OF_THE_SERVICE.iter().filter(|name| !replaced(name));
        let removed: Vec<HeaderChange> = removed.map(|name| HeaderChange::Remove((*name).to_owned())).collect();
        let set = own.iter().map(|(name, value)| match *name {
            // The service may name further headers.
            VARY => HeaderChange::Add(VARY.to_owned(), value.clone().into_bytes()),
            name => HeaderChange::Set(name.to_owned(), value.clone().into_bytes()),
        });
        removed.into_iter().chain(set).collect()
    }

    /// Whether the answer is the same for every origin, and for none.
    fn is_for_everybody(&self) -> bool {
        self.origins.contains(&OriginPattern::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors {
            origins: origins.iter().map(|text| OriginPattern::parse(text).unwrap()).collect(),
            methods: None,
            headers: "authorization".into(),
            expose: String::new(),
            credentials: false,
            max_age_seconds: 5,
        }
    }

    #[test]
    fn the_answer_for_everybody_does_not_vary() {
        let cors = cors(&["*", "https://a.example"]);
        assert_eq!(cors.answer_headers(Some(b"https://b.example")), [(ALLOW_ORIGIN, "*".to_owned())]);
        assert_eq!(cors.answer_headers(None), []);
    }

    #[test]
    fn an_answer_for_some_varies_for_all() {
        let cors = cors(&["https://a.example"]);
        let vary = || (VARY, "origin".to_owned());
        assert_eq!(cors.answer_headers(Some(b"https://b.example")), [vary()]);
        assert_eq!(cors.answer_headers(None), [vary()]);
        let line = (ALLOW_ORIGIN, "https://a.example".to_owned());
        assert_eq!(cors.answer_headers(Some(b"https://a.example")), [line, vary()]);
    }

    #[test]
    fn nothing_of_the_service_about_cors_is_left() {
        let changes = cors(&["https://a.example"]).response_changes(Some(b"https://a.example"));
        for name in OF_THE_SERVICE {
            let touched = changes
                .iter()
                .filter(|change| matches!(change, HeaderChange::Remove(n) | HeaderChange::Set(n, _) if n == name));
            assert_eq!(touched.count(), 1, "{name}");
        }
    }
}
