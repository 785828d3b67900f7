//! Calls of operators that the gateway answers itself, once their body is there.

use std::rc::Rc;

use super::{Engine, Step};
use crate::answer::{Answer, Denial, Reason};
use crate::audit;
use crate::call::limits as limits_call;
use crate::call::{BanChange, Call, MAX_CALL_BYTES};
use crate::config::schema::Serve;
use crate::counters::{CounterId, Verdict};
use crate::key_sets::RequestId;
use crate::ports::Ports;
use crate::responses::Dress;
use crate::time::UnixNanos;

impl Engine {
    pub(super) fn begin_call(&mut self, id: RequestId, call: Call, ports: Ports<'_>, now: UnixNanos) -> Step {
        if call.wants_body() {
            self.calls.insert(id, call);
            return Step::NeedBody(MAX_CALL_BYTES);
        }
        self.answer_call(&call, Some(&[]), ports, now)
    }

    pub(super) fn answer_call(&mut self, call: &Call, body: Option<&[u8]>, ports: Ports<'_>, now: UnixNanos) -> Step {
        let answered = match call.serve {
            Serve::Revocations => call.answer(&mut self.revocations, body, ports.store, now),
            Serve::Bans => {
                let answered = call.answer_bans(&self.bans, &self.policy.bans, body, ports.store, now);
                answered.map(|(answer, change)| (answer, change.map(|change| self.count_ban(change))))
            }
            Serve::Limits => {
                let limits = limits_call::Limits { limiter: &self.limiter, policy: &self.policy };
                call.answer_about_limits(&limits, body, ports.store, now).map(|answer| (answer, None))
            }
        };
        self.log_revocations();
        match answered {
            Ok((mut answer, event)) => {
                self.decide(call.rule, Reason::Ok, Verdict::Allowed, call.caller());
                self.log.extend(event);
                let sample = self.policy.sample_of(call.rule);
                if self.samples(sample, call.request_id.as_deref()) {
                    let decided = audit::Decided::Allowed(sample);
                    self.log.push(call.line(decided, self.policy.rule_label(call.rule), now));
                }
                if let Some(dress) = self.dress_of_call(call) {
                    dress.put_on(&mut answer.headers);
                }
                Step::Answer(answer)
            }
            Err(denial) => Step::Deny(self.refuse_call(call, &denial, now)),
        }
    }

    /// Counts what an operator has changed; gives the audit event.
    pub(super) fn count_ban(&mut self, change: BanChange) -> String {
        self.counters.add(CounterId::Ban(u16::try_from(change.ban).unwrap_or(u16::MAX), change.event));
        change.line
    }

    pub(super) fn refuse_call(&mut self, call: &Call, denial: &Denial, now: UnixNanos) -> Answer {
        self.decide(call.rule, denial.reason, Verdict::Denied, call.caller());
        let decided = audit::Decided::Refused(denial, Verdict::Denied);
        self.log.push(call.line(decided, self.policy.rule_label(call.rule), now));
        let mut answer = Answer::new(denial, &self.policy.realm, &self.policy.type_base, call.request_id.as_deref());
        if let Some(dress) = self.dress_of_call(call) {
            dress.put_on(&mut answer.headers);
        }
        answer
    }

    pub(super) fn dress_of_call(&self, call: &Call) -> Option<Dress> {
        let rules = Rc::clone(self.policy.responses_of(call.rule)?);
        Some(Dress { rules, is_https: call.is_https, is_identified: true })
    }
}
