//! Calls to the gateway itself: operators list, push and lift revocations and bans, and ask about limits.

pub mod limits;

use serde_json::json;

use crate::answer::{Denial, LocalAnswer, Reason};
use crate::audit::{self, Decided, Event};
use crate::bans::operators::{CallError, Done};
use crate::bans::{Ban, Bans, Trouble};
use crate::config::schema::Serve;
use crate::engine::plain_text;
use crate::http::{Method, RequestHead};
use crate::ports::SharedStore;
use crate::revocation::{Entry, PushError, Revocations, Target};
use crate::time::{UnixNanos, to_rfc3339};

/// The longest body of a call, in bytes.
pub const MAX_CALL_BYTES: usize = 16 * 1024;

/// A call that has passed all checks of its rule.
#[derive(Debug)]
pub struct Call {
    /// The rule's index.
    pub rule: u16,
    /// The proxy's request id.
    pub request_id: Option<String>,
    /// Whether the operator came by TLS.
    pub is_https: bool,
    /// What is asked for.
    pub serve: Serve,
    method: Method,
    caller: String,
}

/// What a call about bans has changed.
#[derive(Debug)]
pub struct BanChange {
    /// The audit event.
    pub line: String,
    /// The ban's index.
    pub ban: usize,
    /// The event to count.
    pub event: &'static str,
}

impl Call {
    /// The verified subject that calls, where it has a name.
    pub fn caller(&self) -> Option<&str> {
        Some(self.caller.as_str()).filter(|caller| !caller.is_empty())
    }

    /// The call of `caller` under `rule`.
    pub fn new(head: &RequestHead, rule: u16, serve: Serve, caller: String) -> Self {
        let request_id = plain_text(head.headers(), "x-request-id").map(str::to_owned);
        Self { rule, request_id, is_https: head.is_https(), serve, method: head.method().clone(), caller }
    }

    /// Whether the call's body is read.
    pub fn wants_body(&self) -> bool {
        matches!(self.method, Method::Post | Method::Delete)
    }

    /// Carries out a call about bans; gives the answer, and what has changed.
    ///
    /// # Errors
    /// A [`Denial`] for a method or a body that means nothing, and where there is no room for another ban.
    pub fn answer_bans(
        &self,
        bans: &Bans,
        configured: &[Ban],
        body: Option<&[u8]>,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<(LocalAnswer, Option<BanChange>), Denial> {
        let body = body.ok_or_else(|| Denial::new(Reason::BodyTooLarge, ""))?;
        let done = match self.method {
            Method::Get | Method::Head => bans.list(configured, store, now),
            Method::Post => bans.add(configured, body, store, now),
            Method::Delete => bans.lift(configured, body, store, now),
            _ => return Err(not_allowed()),
        };
        let Done { status, body, change } = done.map_err(|error| match error {
            CallError::Malformed(what) => Denial::new(Reason::BodyMalformed, what),
            CallError::Trouble(Trouble::Full) => Denial::new(Reason::CallFailed, Trouble::Full.to_string()),
            CallError::Trouble(trouble) => Denial::new(Reason::CallUnavailable, trouble.to_string()).retry_after(1),
        })?;
        let Some((ban, event, mut line)) = change else { return Ok((json_answer(status, &body), None)) };
        line.insert("user.id".to_owned(), audit::shortened(&self.caller).into());
        line.insert("http.request.id".to_owned(), self.request_id.as_deref().into());
        let line = serde_json::Value::Object(line).to_string();
        Ok((json_answer(status, &body), Some(BanChange { line, ban, event })))
    }

    /// Carries out a call about revocations; gives the answer, and the audit event of a change. A `body` of `None` is too long.
    ///
    /// # Errors
    /// A [`Denial`] for a method or a body that means nothing, and where there is no room for another revocation.
    pub fn answer(
        &self,
        revocations: &mut Revocations,
        body: Option<&[u8]>,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Result<(LocalAnswer, Option<String>), Denial> {
        let body = body.ok_or_else(|| Denial::new(Reason::BodyTooLarge, ""))?;
        let malformed = |error: &dyn std::fmt::Display| Denial::new(Reason::BodyMalformed, error.to_string());
        match self.method {
            Method::Get | Method::Head => {
                let listing = revocations.listing(store, now).map_err(failed)?;
                Ok((json_answer(200, &String::from_utf8_lossy(&listing)), None))
            }
            Method::Post => {
                let entry = Entry::from_json(body).map_err(|error| malformed(&error))?;
                let line = self.change_line("token_revoked", &format!("{entry:?}"), now);
                revocations.push(entry, store, now).map_err(failed)?;
                Ok((json_answer(201, &json!({"revoked": true}).to_string()), Some(line)))
            }
            Method::Delete => {
                let target = Target::from_json(body).map_err(|error| malformed(&error))?;
                let line = self.change_line("revocation_lifted", &format!("{target:?}"), now);
                let lifted = revocations.lift(&target, store, now).map_err(failed)?;
                let answer = json_answer(200, &json!({"lifted": lifted}).to_string());
                Ok((answer, lifted.then_some(line)))
            }
            _ => Err(not_allowed()),
        }
    }

    /// The audit event of a call.
    pub fn line(&self, decided: Decided<'_>, rule: Option<&str>, now: UnixNanos) -> String {
        let event = Event {
            now,
            decided,
            rule: rule.unwrap_or("none"),
            method: Some(self.method.as_str()),
            path: None,
            client: None,
            subject: self.caller(),
            provider: None,
            request_id: self.request_id.as_deref(),
        };
        event.to_line()
    }

    fn change_line(&self, action: &str, what: &str, now: UnixNanos) -> String {
        json!({
            "@timestamp": to_rfc3339(now),
            "event.kind": "event",
            "event.action": action,
            "user.id": audit::shortened(&self.caller),
            "http.request.id": self.request_id,
            "message": audit::shortened(what),
        })
        .to_string()
    }
}

fn not_allowed() -> Denial {
    let mut denial = Denial::new(Reason::MethodNotAllowed, "");
    denial.headers.push(("allow", "GET, HEAD, POST, DELETE".to_owned()));
    denial
}

fn failed(error: PushError) -> Denial {
    let text = error.to_string();
    match error {
        PushError::AlreadyOver => Denial::new(Reason::BodyMalformed, text),
        PushError::Disabled => Denial::new(Reason::RouteUnmatched, text),
        PushError::Full => Denial::new(Reason::CallFailed, text),
        PushError::Contended | PushError::StoreUnavailable | PushError::Unreadable => {
            Denial::new(Reason::CallUnavailable, text).retry_after(1)
        }
    }
}

fn json_answer(status: u16, body: &str) -> LocalAnswer {
    LocalAnswer {
        status,
        headers: vec![
            ("content-type".into(), "application/json".to_owned()),
            ("cache-control".into(), "no-store".to_owned()),
        ],
        body: body.into(),
        details: "portcullis_call",
    }
}
