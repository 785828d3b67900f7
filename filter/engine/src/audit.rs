//! The audit event: one JSON line per refusal, and per allowed request of a sample, with the field names of the Elastic Common Schema.
//!
//! It never holds a token, a header value or a query string.

mod sample;

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::answer::{Denial, Reason};
use crate::counters::Verdict;
use crate::time::{UnixNanos, to_rfc3339};

pub use sample::Sample;

/// What was decided about a request.
#[derive(Debug, Clone, Copy)]
pub enum Decided<'a> {
    /// It was refused, or only would have been: the verdict says.
    Refused(&'a Denial, Verdict),
    /// It passed, and is one of this sample.
    Allowed(Sample),
}

/// What is known about a request.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// When it was decided.
    pub now: UnixNanos,
    /// What was decided.
    pub decided: Decided<'a>,
    /// The rule's name.
    pub rule: &'a str,
    /// The method, if the head could be read.
    pub method: Option<&'a str>,
    /// The path without its query.
    pub path: Option<&'a str>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The verified subject.
    pub subject: Option<&'a str>,
    /// The provider that vouched for the subject.
    pub provider: Option<&'a str>,
    /// The proxy's request id.
    pub request_id: Option<&'a str>,
}

/// The longest text of a client that an event holds, in characters.
const MAX_TEXT: usize = 256;

impl Event<'_> {
    /// The event as one line of JSON.
    pub fn to_line(self) -> String {
        let (action, reason) = match self.decided {
            Decided::Refused(denial, Verdict::Denied) => ("request_denied", denial.reason),
            Decided::Refused(denial, _) => ("request_monitored", denial.reason),
            Decided::Allowed(_) => ("request_allowed", Reason::Ok),
        };
        let mut event = Map::new();
        let mut text = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                event.insert(name.to_owned(), Value::String(shortened(value)));
            }
        };
        text("@timestamp", Some(&to_rfc3339(self.now)));
        text("event.kind", Some("event"));
        text("event.action", Some(action));
        text("event.reason", Some(reason.code()));
        text("rule.name", Some(self.rule));
        text("http.request.method", self.method);
        text("url.path", self.path);
        text("source.ip", self.client.map(|ip| ip.to_string()).as_deref());
        text("user.id", self.subject);
        text("portcullis.provider", self.provider);
        text("http.request.id", self.request_id);
        match self.decided {
            Decided::Refused(denial, _) => {
                // What payload rules say ends with an exception, which nobody could use if it were cut off. Its length is bounded.
                match denial.findings.is_empty() {
                    true => text("message", Some(denial.detail.as_str()).filter(|detail| !detail.is_empty())),
                    false => {
                        event.insert("message".to_owned(), denial.detail.as_str().into());
                        event.insert("portcullis.payload".to_owned(), Value::Array(denial.findings.clone()));
                    }
                }
                event.insert("http.response.status_code".to_owned(), reason.status().into());
            }
            // What the service will answer is not known yet.
            Decided::Allowed(sample) => {
                event.insert("portcullis.sample".to_owned(), sample.share().into());
            }
        }
        Value::Object(event).to_string()
    }
}

/// The event of a client that has used `share` percent of a quota: once per client and window.
pub fn quota_line(limit: &str, share: u8, caller: Option<&str>, request_id: Option<&str>, now: UnixNanos) -> String {
    let mut event = Map::new();
    let mut text = |name: &str, value: &str| event.insert(name.to_owned(), Value::String(shortened(value)));
    text("@timestamp", &to_rfc3339(now));
    text("event.kind", "event");
    text("event.action", "quota_warning");
    text("portcullis.limit", limit);
    text("message", &format!("{share}% of the quota is used"));
    if let Some(caller) = caller {
        text("user.id", caller);
    }
    if let Some(request_id) = request_id {
        text("http.request.id", request_id);
    }
    Value::Object(event).to_string()
}

/// The first characters of a client's text.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_even_for_hostile_text() {
        let denial = Denial::new(Reason::PathControlByte, "a\nb");
        let long = "\r\n\"x".repeat(400);
        let event = Event {
            now: UnixNanos(0),
            decided: Decided::Refused(&denial, Verdict::Denied),
            rule: "none",
            method: Some("GET"),
            path: Some(&long),
            client: None,
            subject: None,
            provider: None,
            request_id: None,
        };
        let line = event.to_line();
        assert!(!line.contains('\n') && !line.contains('\r'), "{line}");
        assert!(line.len() < 2_000);
        let parsed: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed["event.reason"], "path_control_byte");
    }
}
