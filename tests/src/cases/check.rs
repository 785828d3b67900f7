//! Compares what was decided with what a case expects, whoever decided: the engine here, a real gateway elsewhere.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use super::template::{self, Template};
use super::{About, Decision, Verdict};

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Whether it was held back first.
    pub held: bool,
    /// How it ended.
    pub end: End,
    /// The log lines since the request before.
    pub log: Vec<String>,
    /// What the limit service was asked meanwhile.
    pub asked: Vec<String>,
}

/// How a request ended; names in lower case.
#[derive(Debug, Clone)]
pub enum End {
    /// It went on.
    Passed {
        /// What the service got.
        forwarded: Vec<(String, String)>,
        /// What the client got back from the filter, on top of the service's response.
        response: Vec<(String, String)>,
    },
    /// It was answered.
    Answered {
        /// HTTP status.
        status: u16,
        /// The answer's header lines.
        headers: Vec<(String, String)>,
        /// The answer's body.
        body: String,
    },
    /// The gateway itself had the answer.
    Served {
        /// HTTP status.
        status: u16,
        /// The answer's header lines.
        headers: Vec<(String, String)>,
        /// The answer's body.
        body: String,
    },
    /// It still waits.
    Waiting,
}

/// A difference between a case and what was seen.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The case's file.
    pub file: PathBuf,
    /// The line that does not hold.
    pub line: usize,
    /// What was expected and what was seen.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

impl Seen {
    /// The reason code of the answer, as its problem document has it.
    pub fn reason(&self) -> Option<String> {
        let End::Answered { body, .. } = &self.end else { return None };
        let problem: Value = serde_json::from_str(body).ok()?;
        problem.get("reason").and_then(Value::as_str).map(str::to_owned)
    }

    /// The reasons of the audit events with this action, in order.
    pub fn audited(&self, action: &str) -> Vec<String> {
        let events = self.log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let reason = |event: Value| event.get("event.reason").and_then(Value::as_str).map(str::to_owned);
        events
            .filter(|event| event.get("event.action").and_then(Value::as_str) == Some(action))
            .filter_map(reason)
            .collect()
    }

    /// Whether an audit event names this rule.
    pub fn is_of_rule(&self, rule: &str) -> bool {
        let events = self.log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.into_iter().any(|event| event.get("rule.name").and_then(Value::as_str) == Some(rule))
    }

    /// The end in a few words.
    pub fn summary(&self) -> String {
        match &self.end {
            End::Passed { .. } => match self.audited("request_monitored").as_slice() {
                [] => "allow".to_owned(),
                reasons => format!("allow, monitored {}", reasons.join(", ")),
            },
            End::Answered { status, .. } => {
                format!("deny {status} {}", self.reason().unwrap_or_else(|| "without a reason".to_owned()))
            }
            End::Served { status, .. } => format!("answer {status}"),
            End::Waiting => "hold".to_owned(),
        }
    }
}

/// Every difference between `decision` and `seen`, as line and words.
///
/// # Errors
/// An expectation with a template that the format does not know.
pub fn differences(decision: &Decision, seen: &Seen, template: &mut Template) -> Result<Vec<(usize, String)>> {
    let mut found = Vec::new();
    let verdict_holds = match (&decision.verdict, &seen.end) {
        (Verdict::Allow, End::Passed { .. }) | (Verdict::Hold, End::Waiting) => true,
        (Verdict::Deny { status, reason }, End::Answered { status: seen_status, .. }) => {
            status == seen_status && seen.reason().as_ref() == Some(reason)
        }
        (Verdict::Answer { status }, End::Served { status: seen_status, .. }) => status == seen_status,
        _ => false,
    };
    if !verdict_holds {
        let expected = match &decision.verdict {
            Verdict::Allow => "allow".to_owned(),
            Verdict::Hold => "hold".to_owned(),
            Verdict::Deny { status, reason } => format!("deny {status} {reason}"),
            Verdict::Answer { status } => format!("answer {status}"),
        };
        let mut what = format!("expected {expected}, saw {}", seen.summary());
        for line in &seen.log {
            what.push_str(&format!("\n    log: {line}"));
        }
        found.push((decision.line, what));
        return Ok(found);
    }
    if decision.held != seen.held {
        let word = |held| if held { "held back first" } else { "decided at once" };
        found.push((decision.line, format!("expected it {}, saw it {}", word(decision.held), word(seen.held))));
    }
    let monitored = seen.audited("request_monitored");
    if monitored != decision.monitored {
        found.push((decision.line, format!("expected monitored {:?}, saw {monitored:?}", decision.monitored)));
    }
    for assertion in &decision.assertions {
        if let Some(what) = difference(&assertion.about, seen, template)? {
            found.push((assertion.line, what));
        }
    }
    found.extend(broken_promises(seen, template).into_iter().map(|what| (decision.line, what)));
    Ok(found)
}

fn difference(about: &About, seen: &Seen, template: &mut Template) -> Result<Option<String>> {
    let empty: &[(String, String)] = &[];
    let (answer, body) = match &seen.end {
        End::Answered { headers, body, .. } | End::Served { headers, body, .. } => (headers.as_slice(), body.as_str()),
        _ => (empty, ""),
    };
    let (forwarded, response) = match &seen.end {
        End::Passed { forwarded, response } => (forwarded.as_slice(), response.as_slice()),
        _ => (empty, empty),
    };
    Ok(match about {
        // Each scheme of a rule has a challenge of its own.
        About::Answer(name, value) if name == "www-authenticate" => has_among(answer, name, &template.fill(value)?),
        About::Answer(name, value) => has(answer, name, &template.fill(value)?),
        About::Forwarded(name, value) => has(forwarded, name, &template.fill(value)?),
        About::Response(name, value) => has_list(response, name, &template.fill(value)?),
        About::ForwardedToken(name, claims) => has_token(forwarded, name, &template.fill(claims)?)?,
        About::AnswerLacks(name) => lacks(answer, name),
        About::NotForwarded(name) => lacks(forwarded, name),
        About::NoResponse(name) => lacks(response, name),
        About::Body(text) => {
            let text = template.fill(text)?;
            (!body.contains(&text)).then(|| format!("expected a body with {text:?}, saw {body:?}"))
        }
        About::NotInBody(text) => {
            let text = template.fill(text)?;
            body.contains(&text).then(|| format!("expected no {text:?} in the body, saw {body:?}"))
        }
        About::Log(text) => {
            let text = template.fill(text)?;
            let found = seen.log.iter().any(|line| line.contains(&text));
            (!found).then(|| format!("expected a log line with {text:?}, saw {:?}", seen.log))
        }
        About::NoLog(text) => {
            let text = template.fill(text)?;
            let found = seen.log.iter().find(|line| line.contains(&text));
            found.map(|line| format!("expected no log line with {text:?}, saw {line}"))
        }
        About::Asked(wanted) => {
            let wanted: Vec<String> = wanted.iter().map(|text| template.fill(text)).collect::<Result<_>>()?;
            (seen.asked != wanted).then(|| format!("expected {wanted:?} to be asked, saw {:?}", seen.asked))
        }
    })
}

fn values<'h>(headers: &'h [(String, String)], name: &str) -> Vec<&'h str> {
    headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
}

fn has(headers: &[(String, String)], name: &str, value: &str) -> Option<String> {
    let seen = values(headers, name);
    (seen != [value]).then(|| format!("expected {name}: {value:?}, saw {seen:?}"))
}

/// Several lines are one list (RFC 9110, 5.3).
fn has_list(headers: &[(String, String)], name: &str, value: &str) -> Option<String> {
    let seen = values(headers, name);
    (seen.is_empty() || seen.join(", ") != value).then(|| format!("expected {name}: {value:?}, saw {seen:?}"))
}

fn has_among(headers: &[(String, String)], name: &str, value: &str) -> Option<String> {
    let seen = values(headers, name);
    (seen.iter().filter(|seen| **seen == value).count() != 1)
        .then(|| format!("expected {name}: {value:?}, saw {seen:?}"))
}

/// Whether the header carries a token that verifies and has these claims.
fn has_token(headers: &[(String, String)], name: &str, claims: &str) -> Result<Option<String>> {
    let [seen] = values(headers, name)[..] else { return Ok(Some(format!("expected one {name}"))) };
    template::token_difference(seen.strip_prefix("Bearer ").unwrap_or(seen), claims)
}

fn lacks(headers: &[(String, String)], name: &str) -> Option<String> {
    let seen = values(headers, name);
    (!seen.is_empty()).then(|| format!("expected no {name}, saw {seen:?}"))
}

/// What holds for every answer and every log line, whatever the case says.
fn broken_promises(seen: &Seen, template: &Template) -> Vec<String> {
    let mut broken = Vec::new();
    let mut promise = |holds: bool, what: &str| {
        if !holds {
            broken.push(format!("{what} ({})", seen.summary()));
        }
    };
    let mut shown: Vec<&str> = seen.log.iter().map(String::as_str).collect();
    if let End::Answered { status, headers, body } = &seen.end {
        let reason = seen.reason().unwrap_or_default();
        promise(values(headers, "content-type") == ["application/problem+json"], "an answer is a problem document");
        promise(values(headers, "cache-control") == ["no-store"], "no cache keeps a refusal");
        promise(body.contains(&format!("\"status\":{status}")), "the document has the status of the answer");
        promise(*status != 401 || !values(headers, "www-authenticate").is_empty(), "a 401 has a challenge");
        let waits = matches!(status, 429 | 503);
        promise(waits != values(headers, "retry-after").is_empty(), "429 and 503, and no other, say when to retry");
        promise(seen.audited("request_denied") == [reason], "a refusal is audited once, with its reason");
        shown.push(body);
        shown.extend(headers.iter().map(|(_, value)| value.as_str()));
    } else {
        promise(seen.audited("request_denied").is_empty(), "what passes is not audited as denied");
        if let End::Served { headers, body, .. } = &seen.end {
            shown.push(body);
            shown.extend(headers.iter().map(|(_, value)| value.as_str()));
        }
    }
    // Claims and signature: the header of all tokens of a key is the same, and tells nothing.
    let secret =
        |token: &String| token.split('.').skip(1).any(|part| part.len() > 8 && shown.iter().any(|s| s.contains(part)));
    promise(!template.minted.iter().any(secret), "no part of a token is logged or answered");
    broken
}
