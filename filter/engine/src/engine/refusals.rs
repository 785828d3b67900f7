//! Refusals of which no walk knows: requests that cannot be read, and routes that have changed.

use std::rc::Rc;

use super::{Engine, Step};
use crate::answer::{Answer, Denial, Reason};
use crate::audit;
use crate::bans::{Case, Cause, Claimed, Offence, Subject};
use crate::counters::Verdict;
use crate::ports::Ports;
use crate::responses::Dress;
use crate::time::UnixNanos;

impl Engine {
    /// A head that cannot be read is refused before any rule, in monitor mode too: nobody can say what it would mean
    /// to the service.
    pub(super) fn refuse_unreadable(
        &mut self,
        denial: Denial,
        request_id: Option<&str>,
        ports: Ports<'_>,
        now: UnixNanos,
    ) -> Step {
        let answer = self.refuse_without_walk(&denial, Verdict::Denied, u16::MAX, request_id, ports, now);
        self.count_unreadable(&denial, request_id, ports, now);
        Step::Deny(answer)
    }

    /// Records a refusal of which no walk knows, under the rule at `rule`, if there is one; and makes its answer.
    pub(super) fn refuse_without_walk(
        &mut self,
        denial: &Denial,
        verdict: Verdict,
        rule: u16,
        request_id: Option<&str>,
        ports: Ports<'_>,
        now: UnixNanos,
    ) -> Answer {
        self.decide(rule, denial.reason, verdict, None);
        let event = audit::Event {
            now,
            decided: audit::Decided::Refused(denial, verdict),
            rule: self.policy.rule_label(rule).unwrap_or("none"),
            method: None,
            path: None,
            client: ports.attributes.source_address(),
            subject: None,
            provider: None,
            request_id,
        };
        self.log.push(event.to_line());
        let mut answer = Answer::new(denial, &self.policy.realm, &self.policy.type_base, request_id);
        if let Some(rules) = self.policy.responses_of(rule) {
            Dress { rules: Rc::clone(rules), is_https: false, is_identified: false }.put_on(&mut answer.headers);
        }
        answer
    }

    /// A head that cannot be read is the offence of an address; there is no walk on which it would be counted.
    pub(super) fn count_unreadable(
        &mut self,
        denial: &Denial,
        request_id: Option<&str>,
        ports: Ports<'_>,
        now: UnixNanos,
    ) {
        let Some(offence) = Offence::of(denial.reason) else { return };
        let policy = Rc::clone(&self.policy);
        let address = || ports.attributes.source_address();
        let subject = Subject { address: &address, principal: None, claimed: &Claimed::default() };
        for index in &policy.default_bans {
            let Some(ban) = policy.bans.get(*index).filter(|ban| ban.offences.contains(&offence)) else { continue };
            let case = Case { subject: &subject, cause: Cause::Refusal(offence), rule: "none", request_id };
            let outcome = self.bans.offend(*index, ban, &case, ports.store, now);
            self.take_up_offence(*index, outcome);
        }
    }

    pub(super) fn internal_answer(&self) -> Answer {
        let denial = Denial::new(Reason::Internal, "a request that gave up waiting waited again");
        Answer::new(&denial, &self.policy.realm, &self.policy.type_base, None)
    }
}
