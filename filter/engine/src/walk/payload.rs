//! Payload rules on the walk: the head at once, the body once it is there.

use std::borrow::Cow;

use portcullis_payload::arguments::Known;

use crate::answer::{Denial, Reason};
use crate::config::schema::{Mode, OnOver};
use crate::counters::CounterId;
use crate::engine::Passage;
use crate::http::RequestHead;
use crate::input::{Typed, TypedBody};
use crate::payload::{
    EncodingError, Extent, Inspector, Judged, PayloadRules, Signature, decoded, excess, grpc, is_upgrade_with_body,
};
use crate::policy::Rule;

use super::{Stop, Walk};

/// A body that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// The whole of it.
    Whole(&'a [u8]),
    /// It is longer than allowed; this is its beginning, as long as allowed.
    Longer(&'a [u8]),
}

/// How much of a body is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// At most this much.
    pub max_bytes: usize,
    /// Of a gRPC call: no more than its first message.
    pub is_grpc: bool,
}

impl Wanted {
    /// Of a body that ends, at most so many bytes.
    pub fn up_to(max_bytes: usize) -> Self {
        Self { max_bytes, is_grpc: false }
    }

    /// Whether what is there is enough before the body has ended: `size` bytes that begin with `start`.
    pub fn is_there(self, size: usize, start: &[u8]) -> bool {
        size > self.max_bytes || (self.is_grpc && grpc::first_end(start).is_some_and(|end| end <= size))
    }

    /// What is there: `size` bytes, of which `bytes` are the first ones, as many as are asked for.
    pub fn body(self, bytes: &[u8], size: usize) -> Body<'_> {
        let end = if self.is_grpc { grpc::first_end(bytes).unwrap_or(size) } else { size };
        if end > self.max_bytes { Body::Longer(bytes) } else { Body::Whole(bytes) }
    }
}

impl<'a> Body<'a> {
    /// A body that is at hand, of which so much was asked for.
    pub fn of(bytes: &'a [u8], wanted: Wanted) -> Self {
        wanted.body(bytes.get(..wanted.max_bytes).unwrap_or(bytes), bytes.len())
    }

    fn cut(bytes: &'a [u8], max_bytes: usize) -> Self {
        match bytes.get(..max_bytes) {
            Some(beginning) if bytes.len() > max_bytes => Self::Longer(beginning),
            _ => Self::Whole(bytes),
        }
    }
}

/// Which checks a body is read for, and how many bytes of it each wants at most.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Judges {
    pub input: Option<usize>,
    pub payload: Option<usize>,
}

impl<'a> Walk<'a> {
    /// Payload rules on path, query, headers and cookies.
    pub(super) fn check_payload(&mut self, rule: &Rule, known: &[Typed]) -> Result<(), Stop> {
        let Some(rules) = &rule.payload else { return Ok(()) };
        if is_upgrade_with_body(self.head) {
            self.tolerate(self.payload_mode(rule, rules), Denial::new(Reason::UpgradeWithBody, ""))?;
        }
        let known = Known { parameters: known, strings: &[] };
        let judged = self.judged(|inspector, head| inspector.judge_head(rules, head, known));
        self.tolerate_judged(rule, rules, judged)
    }

    /// Stops where the body has to be judged before the request may go on.
    pub(super) fn wait_for_body(&mut self, rule: &Rule) -> Result<(), Stop> {
        self.found.judged_by.payload = self.body_for_payload(rule)?;
        let Some(max_bytes) = self.found.judged_by.input.max(self.found.judged_by.payload) else { return Ok(()) };
        let is_grpc = self.found.judged_by.payload.is_some() && grpc::is_call(self.head);
        Err(Stop::NeedBody(Box::new(self.suspend()), Wanted { max_bytes, is_grpc }))
    }

    /// How much of the body payload rules have to read.
    fn body_for_payload(&mut self, rule: &Rule) -> Result<Option<usize>, Stop> {
        let Some(rules) = rule.payload.as_ref().filter(|rules| rules.judges_body_of(self.head)) else {
            return Ok(None);
        };
        if grpc::is_call(self.head) {
            return Ok(Some(rules.max_body));
        }
        let announced = self.head.headers().text("content-length").ok().flatten();
        let is_longer =
            announced.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > rules.max_body);
        if is_longer && rules.on_over == OnOver::Deny {
            let denial = Denial::new(Reason::BodyTooLarge, "by its content-length");
            return self.tolerate(self.payload_mode(rule, rules), denial).map(|()| None);
        }
        Ok(Some(rules.max_body))
    }

    /// Judges the body, and ends the walk.
    ///
    /// # Errors
    /// [`Stop::Denied`]
    pub fn run_on_body(mut self, body: Body<'_>) -> Result<Passage, Stop> {
        self.check_bans_again()?;
        let policy = self.policy;
        if let Some(rule) = policy.rules.get(usize::from(self.found.rule)) {
            // What each check has to see is a beginning of what was read for all.
            let (bytes, is_whole) = match body {
                Body::Whole(bytes) => (bytes, true),
                Body::Longer(bytes) => (bytes, false),
            };
            let known = self.check_input_body(rule, bytes, is_whole)?;
            if let Some(rules) = rule.payload.as_ref().filter(|_| self.found.judged_by.payload.is_some()) {
                self.check_trailers(rule, rules)?;
                let body = match Body::cut(bytes, rules.max_body) {
                    Body::Whole(bytes) if !is_whole => Body::Longer(bytes),
                    body => body,
                };
                self.check_body(rule, rules, body, &known)?;
            }
        }
        Ok(self.let_in())
    }

    /// Services read trailers as headers, or into them (RFC 9110, 6.5).
    fn check_trailers(&mut self, rule: &Rule, rules: &PayloadRules) -> Result<(), Stop> {
        let trailers = std::mem::take(&mut self.found.trailers);
        if trailers.is_empty() {
            return Ok(());
        }
        let judged = self.judged(|inspector, head| inspector.judge_trailers(rules, head, &trailers));
        self.tolerate_judged(rule, rules, judged)
    }

    fn check_body(&mut self, rule: &Rule, rules: &PayloadRules, body: Body<'_>, known: &TypedBody) -> Result<(), Stop> {
        let (bytes, is_whole) = match body {
            Body::Whole(bytes) => (bytes, true),
            Body::Longer(bytes) => (bytes, false),
        };
        let mode = self.payload_mode(rule, rules);
        let message = grpc::is_call(self.head).then(|| grpc::first(bytes));
        let (bytes, is_whole) = match &message {
            Some(message) => (message.bytes, message.is_whole),
            None => (bytes, is_whole),
        };
        // A message that its stream cuts off is none to the service.
        let is_too_long = !is_whole && (message.is_none() || matches!(body, Body::Longer(_)));
        if is_too_long && rules.on_over == OnOver::Deny {
            self.tolerate(mode, Denial::new(Reason::BodyTooLarge, ""))?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let codings: Vec<&[u8]> = match &message {
            Some(message) if message.is_compressed => self.head.headers().get_all("grpc-encoding").collect(),
            Some(_) => Vec::new(),
            None => self.head.headers().get_all("content-encoding").collect(),
        };
        let extent = match rules.on_over {
            _ if !is_whole => Extent::Beginning,
            OnOver::ScanPrefix => Extent::WholeForBeginning,
            OnOver::Deny => Extent::Whole,
        };
        let plain = match decoded(&codings, bytes, rules.max_inflated, extent) {
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
        let known = Known { parameters: &known.fields, strings: &known.strings };
        let mut judged = self.judged(|inspector, head| inspector.judge_body(rules, head, &plain, known));
        let is_coded = matches!(plain, Cow::Owned(_)) && message.is_none();
        if is_coded && judged.attack.is_none() {
            let coded = self.judged(|inspector, head| inspector.judge_coded(rules, head, bytes));
            judged = Judged { attack: coded.attack, limit: judged.limit.or(coded.limit) };
        }
        self.tolerate_judged(rule, rules, judged)
    }

    fn judged(&mut self, judge: impl FnOnce(&mut Inspector, &RequestHead) -> Judged) -> Judged {
        self.engine.inspector.as_mut().map(|inspector| judge(inspector, self.head)).unwrap_or_default()
    }

    fn tolerate_judged(&mut self, rule: &Rule, rules: &PayloadRules, judged: Judged) -> Result<(), Stop> {
        if let Some(attack) = judged.attack {
            for signature in attack.found_by {
                self.engine.counters.add(match signature {
                    Signature::BuiltIn(name) => CounterId::Payload(self.found.rule, name),
                    Signature::Own(index) => CounterId::OwnPayload(self.found.rule, index),
                });
            }
            let denial = Denial::new(Reason::PayloadAttack, attack.detail).findings(attack.findings);
            self.tolerate(self.payload_mode(rule, rules), denial)?;
        }
        // No family, exception or threshold bears on this: what was not looked at may hold anything.
        if let Some(limit) = judged.limit {
            let (word, detail) = excess(limit);
            self.engine.counters.add(CounterId::Payload(self.found.rule, word));
            self.tolerate(self.payload_mode(rule, rules), Denial::new(Reason::PayloadTooCostly, detail))?;
        }
        Ok(())
    }

    fn payload_mode(&self, rule: &Rule, rules: &PayloadRules) -> Mode {
        if rules.mode == Mode::Monitor { Mode::Monitor } else { rule.mode }
    }
}
