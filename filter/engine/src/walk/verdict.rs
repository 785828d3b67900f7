//! How a check ends: a refusal is carried out or only recorded, and all of it is counted, logged and told.

use std::borrow::Cow;
use std::rc::Rc;

use crate::answer::{Answer, Denial, Reason};
use crate::audit::{self, Decided};
use crate::config::schema::Mode;
use crate::counters::Verdict;
use crate::engine::plain_text;
use crate::policy::Rule;
use crate::principal::Principal;
use crate::responses::Dress;

use super::{Stop, Walk};

impl Walk<'_> {
    /// The refusal with the challenges that the rule offers.
    pub(super) fn challenged(&self, rule: &Rule, mut denial: Denial) -> Denial {
        denial.challenges = rule.challenges;
        denial.resource_metadata = rule.resource_metadata.clone();
        denial
    }

    /// Carries out a refusal, or only records it in monitor mode.
    pub(super) fn tolerate(&mut self, mode: Mode, denial: Denial) -> Result<(), Stop> {
        let mode = if self.only_watches(denial.reason) { Mode::Monitor } else { self.mode(mode) };
        let verdict = match mode {
            Mode::Monitor if !self.guards_own_calls(denial.reason) => Verdict::Monitored,
            _ => Verdict::Denied,
        };
        self.record(&denial, verdict);
        match verdict {
            Verdict::Denied => {
                let request_id = plain_text(self.head.headers(), "x-request-id");
                let mut answer = Answer::new(&denial, &self.policy.realm, &self.policy.type_base, request_id);
                self.let_browser_read(&denial, &mut answer);
                self.put_dress_on(&mut answer.headers);
                Err(Stop::Denied(answer))
            }
            _ => Ok(()),
        }
    }

    /// All checks have passed.
    pub(super) fn pass(&mut self) {
        let principal = self.found.principal.as_ref().and_then(Principal::subject);
        self.engine.decide(self.found.rule, Reason::Ok, Verdict::Allowed, principal);
        // What only monitor mode let pass is not told as if nothing had been.
        if let Some(reason) = self.progress.watched {
            self.engine.tell(self.found.rule, reason, Verdict::Monitored, principal);
            return;
        }
        let sample = self.policy.sample_of(self.found.rule);
        if self.engine.samples(sample, plain_text(self.head.headers(), "x-request-id")) {
            self.audit(Decided::Allowed(sample));
        }
    }

    /// Whether the rule only watches the check that refuses for this reason (`monitor`).
    pub(super) fn only_watches(&self, reason: Reason) -> bool {
        let rule = self.policy.rules.get(usize::from(self.found.rule));
        reason.check().is_some_and(|check| rule.is_some_and(|rule| rule.monitored.contains(&check)))
    }

    /// Whether the refusal keeps a caller from the gateway's own calls. Those change what the gateway does, so nobody makes
    /// them in monitor mode, or by `on_error: allow`, who could not make them otherwise. Limits and bans keep their mode.
    fn guards_own_calls(&self, reason: Reason) -> bool {
        let is_of_limit = matches!(
            reason,
            Reason::LimitExceeded
                | Reason::ConcurrencyExceeded
                | Reason::LimitExceededGlobally
                | Reason::LimitServiceUnavailable
                | Reason::LimitOverflow
                | Reason::LimitUnavailable
                | Reason::Banned
                | Reason::BanOverflow
                | Reason::BansUnavailable
        );
        let serves = self.policy.rules.get(usize::from(self.found.rule)).is_some_and(|rule| rule.serve.is_some());
        serves && !is_of_limit
    }

    pub(super) fn mode(&self, mode: Mode) -> Mode {
        if self.policy.mode == Mode::Monitor { Mode::Monitor } else { mode }
    }

    fn record(&mut self, denial: &Denial, verdict: Verdict) {
        let subject = self.found.principal.as_ref().and_then(Principal::subject);
        self.engine.decide(self.found.rule, denial.reason, verdict, subject);
        if verdict == Verdict::Monitored {
            self.progress.watched.get_or_insert(denial.reason);
            self.progress.would_end |= !self.only_watches(denial.reason);
        }
        self.audit(Decided::Refused(denial, verdict));
        self.count_offence(denial, verdict);
    }

    fn audit(&mut self, decided: Decided<'_>) {
        let client = self.address();
        let target = self.head.target().split(|b| *b == b'?').next().unwrap_or_default();
        let raw_path = String::from_utf8_lossy(target);
        let path: Cow<'_, str> = self.found.path.as_deref().map_or(raw_path, Cow::Borrowed);
        let principal = self.found.principal.as_ref();
        let event = audit::Event {
            now: self.now,
            decided,
            rule: self.policy.rule_label(self.found.rule).unwrap_or("none"),
            method: Some(self.head.method().as_str()),
            path: Some(&path),
            client,
            subject: principal.and_then(Principal::subject),
            provider: principal.and_then(|principal| self.policy.provider_label(principal.provider)),
            request_id: plain_text(self.head.headers(), "x-request-id"),
        };
        let line = event.to_line();
        self.engine.log.push(line);
    }

    /// What the response is to look like, where anything is said about it.
    pub(super) fn dress(&self) -> Option<Dress> {
        let rules = Rc::clone(self.policy.responses_of(self.found.rule)?);
        Some(Dress { rules, is_https: self.head.is_https(), is_identified: self.found.principal.is_some() })
    }

    pub(super) fn put_dress_on(&self, lines: &mut Vec<(Cow<'static, str>, String)>) {
        if let Some(dress) = self.dress() {
            dress.put_on(lines);
        }
    }
}
