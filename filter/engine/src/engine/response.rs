//! What a request's response brings: the route that served it, what it costs, how long it took.

use std::rc::Rc;

use super::{Engine, plain_text};
use crate::answer::{Answer, Denial, Reason};
use crate::bans::{Answerable, Case, Cause};
use crate::config::schema::Mode;
use crate::counters::{CounterId, Verdict};
use crate::http::Headers;
use crate::key_sets::RequestId;
use crate::limiter::Settlement;
use crate::ports::{Ports, SharedStore};
use crate::routes::JudgedRoute;
use crate::time::UnixNanos;

impl Engine {
    /// The response of a request is there whose head was changed: whether the route that served it names the same policy as
    /// the one that it was judged by. If not, the client gets this answer instead of the response.
    pub fn check_route(&mut self, judged: &JudgedRoute, ports: Ports<'_>, now: UnixNanos) -> Option<Answer> {
        let policy = Rc::clone(&self.policy);
        let served_by = policy.routes.select(&policy.named, ports.attributes);
        if served_by == judged.selected {
            return None;
        }
        let denial = Denial::new(Reason::RouteChanged, "a header that the filter changed led to another route");
        let rule = policy.rules.get(usize::from(judged.rule));
        let monitored = policy.mode == Mode::Monitor || rule.is_some_and(|rule| rule.mode == Mode::Monitor);
        let verdict = if monitored { Verdict::Monitored } else { Verdict::Denied };
        let answer = self.refuse_without_walk(&denial, verdict, judged.rule, judged.request_id.as_deref(), ports, now);
        (!monitored).then_some(answer)
    }

    /// The response of a request is there whose limits depend on it; `headers` is its header map in the ABI's serialised form.
    pub fn settle(&mut self, settlement: &Settlement, headers: Vec<u8>, store: &dyn SharedStore, now: UnixNanos) {
        let policy = Rc::clone(&self.policy);
        let costs = policy.rules.get(usize::from(settlement.rule)).map(|rule| &rule.costs);
        let Some((settling, paid)) = costs.and_then(|costs| Some((costs.settling.as_ref()?, costs.each))) else {
            return;
        };
        // A head that cannot be read says nothing about the cost: what was charged stays.
        let Ok(response) = Headers::from_pairs_buffer(headers) else { return };
        let rule = (settling, paid);
        let settled = self.limiter.settle(&policy.limits, rule, &settlement.charges, &response, store, now);
        for (limit, event) in settled.events {
            self.counters.add(CounterId::Limit(limit, event));
        }
        self.warn(&settled.warnings, settlement.caller.as_deref(), settlement.request_id.as_deref(), now);
    }

    /// The response of a request is there of which bans want to know ([`Passage::answerable`](super::Passage::answerable)). What the
    /// proxy itself has answered is no failure of the client.
    pub fn count_response(&mut self, answerable: &Answerable, status: u16, ports: Ports<'_>, now: UnixNanos) {
        let policy = Rc::clone(&self.policy);
        let concerned = |index: &usize| {
            let ban = policy.bans.get(*index)?;
            ban.responses.iter().any(|class| class.contains(status.into())).then_some((*index, ban))
        };
        let mut concerned = answerable.bans.iter().filter_map(concerned).peekable();
        if concerned.peek().is_none() || !ports.attributes.is_from_service() {
            return;
        }
        let rule = policy.rule_label(answerable.rule).unwrap_or("none");
        let request_id = answerable.request_id.as_deref();
        for (index, ban) in concerned {
            let outcome = answerable.sender.as_subject(|subject| {
                let case = Case { subject, cause: Cause::Response(status), rule, request_id };
                self.bans.offend(index, ban, &case, ports.store, now)
            });
            self.take_up_offence(index, outcome);
        }
    }

    /// The whole of a request has gone on to its service ([`Passage::is_timed`](super::Passage::is_timed)).
    pub fn on_sent(&mut self, id: RequestId, now: UnixNanos) {
        self.surges.on_sent(id, now);
    }

    /// The head of the response is there ([`Passage::is_timed`](super::Passage::is_timed)); `headers` is its header map in the ABI's serialised form.
    pub fn on_answered(&mut self, id: RequestId, headers: Vec<u8>, now: UnixNanos) {
        let headers = Headers::from_pairs_buffer(headers).ok();
        let status = headers.as_ref().and_then(|headers| plain_text(headers, ":status"));
        let failed = status.is_some_and(|status| status.starts_with('5'));
        self.surges.on_answered(id, failed, now);
        self.count_surges();
    }
}
