//! Payload rules on the walk: the head at once, the body once it is there.

use crate::answer::{Denial, Reason};
use crate::config::schema::{Mode, OnOver};
use crate::counters::{CounterId, Verdict};
use crate::engine::{Engine, Passage};
use crate::http::RequestHead;
use crate::payload::{Attack, EncodingError, PayloadRules, decoded};
use crate::policy::{Policy, Rule};
use crate::ports::Ports;
use crate::principal::Principal;
use crate::routes::Selected;
use crate::time::UnixNanos;

use super::{Progress, Stop, Walk};

/// A body that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// The whole of it.
    Whole(&'a [u8]),
    /// It is longer than allowed; this is its beginning, as long as allowed.
    Longer(&'a [u8]),
}

impl<'a> Body<'a> {
    /// A body that is at hand, where at most `max_bytes` were asked for.
    pub fn of(bytes: &'a [u8], max_bytes: usize) -> Self {
        match bytes.get(..max_bytes) {
            Some(beginning) if bytes.len() > max_bytes => Self::Longer(beginning),
            _ => Self::Whole(bytes),
        }
    }
}

/// A request that has passed all checks but those of its body.
#[derive(Debug)]
pub struct Suspended {
    rule: u16,
    path: Option<String>,
    principal: Option<Principal>,
    passage: Passage,
}

impl<'a> Walk<'a> {
    /// A request whose body is there now.
    pub fn go_on(
        engine: &'a mut Engine,
        policy: &'a Policy,
        head: &'a RequestHead,
        progress: &'a mut Progress,
        ports: Ports<'a>,
        now: UnixNanos,
        suspended: Suspended,
    ) -> Self {
        let Suspended { rule, path, principal, passage } = suspended;
        let walk = Self::new(engine, policy, head, progress, ports, now);
        Self { rule, path, principal, passage, selected: Selected::Nothing, ..walk }
    }

    /// Payload rules on path, query, headers and cookies.
    pub(super) fn check_payload(&mut self, rule: &Rule) -> Result<(), Stop> {
        let Some(rules) = &rule.payload else { return Ok(()) };
        let attack = match &mut self.engine.inspector {
            Some(inspector) => inspector.judge_head(rules, self.head),
            None => None,
        };
        self.tolerate_attack(rule, rules, attack)
    }

    /// Stops where the body has to be judged before the request may go on.
    pub(super) fn wait_for_body(&mut self, rule: &Rule) -> Result<(), Stop> {
        let Some(rules) = rule.payload.as_ref().filter(|rules| rules.judges_body_of(self.head)) else { return Ok(()) };
        let announced = self.head.headers().text("content-length").ok().flatten();
        let is_longer =
            announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > rules.max_body);
        if is_longer && rules.on_over == OnOver::Deny {
            return self
                .tolerate(self.payload_mode(rule, rules), Denial::new(Reason::BodyTooLarge, "by its content-length"));
        }
        let suspended = Suspended {
            rule: self.rule,
            path: self.path.take(),
            principal: self.principal.take(),
            passage: std::mem::take(&mut self.passage),
        };
        Err(Stop::NeedBody(Box::new(suspended), rules.max_body))
    }

    /// Judges the body, and ends the walk.
    ///
    /// # Errors
    /// [`Stop::Denied`]
    pub fn run_on_body(mut self, body: Body<'_>) -> Result<Passage, Stop> {
        self.check_bans_again()?;
        let policy = self.policy;
        if let Some((rule, rules)) =
            policy.rules.get(usize::from(self.rule)).and_then(|r| Some((r, r.payload.as_ref()?)))
        {
            self.check_body(rule, rules, body)?;
        }
        self.engine.counters.add(CounterId::Decision(self.rule, Reason::Ok, Verdict::Allowed));
        Ok(self.passage)
    }

    fn check_body(&mut self, rule: &Rule, rules: &PayloadRules, body: Body<'_>) -> Result<(), Stop> {
        let (bytes, is_whole) = match body {
            Body::Whole(bytes) => (bytes, true),
            Body::Longer(bytes) => (bytes, false),
        };
        let mode = self.payload_mode(rule, rules);
        if !is_whole && rules.on_over == OnOver::Deny {
            self.tolerate(mode, Denial::new(Reason::BodyTooLarge, ""))?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let codings: Vec<&[u8]> = self.head.headers().get_all("content-encoding").collect();
        let lenient = !is_whole || rules.on_over == OnOver::ScanPrefix;
        let plain = match decoded(&codings, bytes, rules.max_inflated, !lenient) {
            Ok(plain) => plain,
            Err(error) => {
                let (reason, detail) = match error {
                    EncodingError::Unsupported => (Reason::BodyEncodingRefused, "it cannot be read"),
                    EncodingError::Damaged => (Reason::BodyMalformed, "it is not what its content-encoding says"),
                    EncodingError::TooLong => (Reason::BodyTooLarge, "once it is decompressed"),
                };
                return self.tolerate(mode, Denial::new(reason, detail));
            }
        };
        let attack = match &mut self.engine.inspector {
            Some(inspector) => inspector.judge_body(rules, self.head, &plain),
            None => None,
        };
        self.tolerate_attack(rule, rules, attack)
    }

    fn tolerate_attack(&mut self, rule: &Rule, rules: &PayloadRules, attack: Option<Attack>) -> Result<(), Stop> {
        let Some(attack) = attack else { return Ok(()) };
        for name in attack.found_by {
            self.engine.counters.add(CounterId::Payload(self.rule, name));
        }
        self.tolerate(self.payload_mode(rule, rules), Denial::new(Reason::PayloadAttack, attack.detail))
    }

    fn payload_mode(&self, rule: &Rule, rules: &PayloadRules) -> Mode {
        if rules.mode == Mode::Monitor { Mode::Monitor } else { rule.mode }
    }
}
