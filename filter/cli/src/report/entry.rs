//! What one line says.

use serde_json::{Map, Value};

use portcullis_engine::time::{UnixNanos, parse_rfc3339};

/// The longest text of a line that is kept, in characters.
const MAX_TEXT: usize = 120;

/// Findings of a line that are counted, as many as the gateway writes.
const MAX_FINDINGS: usize = 8;
/// A longer exception, in bytes, is none that the gateway has written.
const MAX_EXCEPTION: usize = 1024;

/// A line of a log.
#[derive(Debug)]
pub enum Entry {
    /// A request, by the proxy's access log.
    Access(Request),
    /// A request, by the filter's audit event.
    Audit(Request),
    /// A ban that began, or was given or lifted by an operator.
    Ban(Ban),
    /// Another audit event.
    Other,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Allowed,
    /// It would have been refused, and passed by monitor mode.
    Monitored,
    /// The filter refused it.
    Denied,
    /// The filter said nothing about it: the proxy itself answered.
    Unjudged,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// When, in seconds since 1970.
    pub time: Option<u64>,
    /// How it ended.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// The rule that it met.
    pub rule: String,
    /// The client's address.
    pub client: String,
    /// Who it was.
    pub principal: Option<String>,
    /// Method and path, without the query.
    pub target: String,
    /// The status of the answer.
    pub status: Option<u64>,
    /// What payload rules have found in it, by its audit event.
    pub findings: Vec<Finding>,
}

/// What a payload rule has found.
#[derive(Debug, Default, Clone)]
pub struct Finding {
    /// The payload rule.
    pub signature: String,
    /// Where in the request.
    pub place: String,
    /// The parameter's name there, if it has one.
    pub parameter: String,
    /// The exception that lets it pass: what a `payload` section gets, as JSON, which is YAML too.
    pub exception: String,
}

/// What happened to a ban.
#[derive(Debug)]
pub struct Ban {
    /// When, as the log has it.
    pub time: String,
    /// What.
    pub action: String,
    /// The ban's name.
    pub ban: String,
    /// Who it is about.
    pub subject: String,
    /// Why.
    pub cause: String,
    /// Until when.
    pub until: String,
}

impl Entry {
    /// What the line says; `None`: it is of another log, or broken.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let event = json(line)?;
        let fields = Fields(&event);
        if event.contains_key("@timestamp") {
            return fields.audit_event();
        }
        // What every line of the access log has, whatever an operator has added to it or left out.
        (event.contains_key("time") && event.contains_key("status")).then(|| Self::Access(fields.access()))
    }
}

/// The line as an object; an audit event also where Envoy has put its own words in front of it.
fn json(line: &[u8]) -> Option<Map<String, Value>> {
    const AUDIT: &[u8] = b"{\"@timestamp\"";
    let line = line.trim_ascii();
    let start = match line.first() {
        Some(b'{') => 0,
        _ => line.windows(AUDIT.len()).position(|window| window == AUDIT)?,
    };
    let mut values = serde_json::Deserializer::from_slice(line.get(start..)?).into_iter::<Map<String, Value>>();
    values.next()?.ok()
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let text = self.0.get(name)?.as_str()?;
        Some(text).filter(|text| !text.is_empty() && *text != "-").map(shortened)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))
    }

    fn time(&self, name: &str) -> Option<u64> {
        // Fractions of a second are of no use here, and the log has UTC.
        let text = self.0.get(name)?.as_str()?;
        let UnixNanos(nanos) = parse_rfc3339(&format!("{}Z", text.get(..19)?))?;
        Some(nanos / 1_000_000_000)
    }

    fn target(&self, method: &str, path: &str) -> String {
        let words: Vec<String> = [self.text(method), self.text(path)].into_iter().flatten().collect();
        if words.is_empty() { "unreadable".to_owned() } else { words.join(" ") }
    }

    fn access(&self) -> Request {
        let details = self.text("details");
        // Where the gateway does not tell its access log, a refusal still shows in the details of the answer.
        let by_details = details.as_deref().and_then(|details| details.strip_prefix("portcullis_"));
        let status = self.number("status");
        let verdict = match self.text("verdict").as_deref() {
            Some("allowed") => Verdict::Allowed,
            Some("monitored") => Verdict::Monitored,
            Some("denied") => Verdict::Denied,
            _ if by_details.is_some() && status.is_some_and(|status| status >= 400) => Verdict::Denied,
            _ => Verdict::Unjudged,
        };
        let reason = self.text("reason").or_else(|| by_details.map(str::to_owned)).or_else(|| details.clone());
        Request {
            time: self.time("time"),
            verdict,
            reason: reason.unwrap_or_else(|| "unknown".to_owned()),
            rule: self.text("rule").unwrap_or_else(|| "none".to_owned()),
            client: self.text("client").unwrap_or_else(|| "unknown".to_owned()),
            principal: self.text("principal"),
            target: self.target("method", "path"),
            status,
            findings: Vec::new(),
        }
    }

    fn audit_event(&self) -> Option<Entry> {
        let action = self.text("event.action")?;
        let verdict = match action.as_str() {
            "request_denied" => Verdict::Denied,
            "request_monitored" => Verdict::Monitored,
            _ if self.0.contains_key("portcullis.ban") => return Some(Entry::Ban(self.ban(action))),
            _ => return Some(Entry::Other),
        };
        Some(Entry::Audit(Request {
            time: self.time("@timestamp"),
            verdict,
            reason: self.text("event.reason").unwrap_or_else(|| "unknown".to_owned()),
            rule: self.text("rule.name").unwrap_or_else(|| "none".to_owned()),
            client: self.text("source.ip").unwrap_or_else(|| "unknown".to_owned()),
            principal: self.text("user.id"),
            target: self.target("http.request.method", "url.path"),
            status: self.number("http.response.status_code"),
            findings: self.findings(),
        }))
    }

    fn findings(&self) -> Vec<Finding> {
        let told = self.0.get("portcullis.payload").and_then(Value::as_array).into_iter().flatten();
        let finding = |told: &Map<String, Value>| {
            let text = |name: &str| told.get(name).and_then(Value::as_str).map(shortened).unwrap_or_default();
            let exception = told.get("exception").map(Value::to_string).filter(|text| text.len() <= MAX_EXCEPTION);
            Finding {
                signature: text("signature"),
                place: text("place"),
                parameter: text("parameter"),
                exception: exception.unwrap_or_default(),
            }
        };
        told.filter_map(Value::as_object).take(MAX_FINDINGS).map(finding).collect()
    }

    fn ban(&self, action: String) -> Ban {
        let subject = ["source.ip", "user.target.id", "user.target.hash", "portcullis.ban.client.hash"]
            .into_iter()
            .find_map(|name| self.text(name));
        Ban {
            time: self.text("@timestamp").unwrap_or_default(),
            action,
            ban: self.text("portcullis.ban").unwrap_or_default(),
            subject: subject.unwrap_or_else(|| "unknown".to_owned()),
            cause: self.text("portcullis.ban.cause").unwrap_or_default(),
            until: self.text("portcullis.ban.until").unwrap_or_default(),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Request {
        match Entry::parse(line.as_bytes()) {
            Some(Entry::Access(request) | Entry::Audit(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_log_without_verdicts_shows_refusals_by_their_details() {
        let line = |status: u16, details: &str| {
            request(&format!(r#"{{"time":"2026-11-22T10:00:00.123Z","status":{status},"details":"{details}"}}"#))
        };
        let refused = line(401, "portcullis_token_expired");
        assert_eq!((refused.verdict, refused.reason.as_str()), (Verdict::Denied, "token_expired"));
        assert_eq!(refused.time, Some(1_795_341_600));
        assert_eq!(line(204, "portcullis_preflight").verdict, Verdict::Unjudged);
        assert_eq!(line(200, "via_upstream").verdict, Verdict::Unjudged);
    }

    #[test]
    fn an_audit_event_is_found_behind_the_words_of_the_proxy() {
        let line = r#"[2026-11-22 10:00:00.000][7][warning][wasm] wasm log portcullis: {"@timestamp":"2026-11-22T10:00:00.000Z","event.action":"request_denied","event.reason":"banned"} "#;
        assert_eq!(request(line).reason, "banned");
    }

    #[test]
    fn a_time_that_is_none_is_no_time() {
        for time in ["", "yesterday", "2026-13-45T99:99:99.000Z", "é026-11-22T10:00:00.000Z", "2026-11-22T10:00:0é"] {
            let line = format!(r#"{{"time":"{time}","status":200}}"#);
            assert_eq!(request(&line).time, None, "{time}");
        }
    }
}
