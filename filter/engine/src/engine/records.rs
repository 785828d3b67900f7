//! What the engine tells the proxy: log lines, counters, gauges, and the outcome of a request.

use super::Engine;
use crate::answer::Reason;
use crate::audit;
use crate::bans;
use crate::counters::{CounterId, Label, Verdict};
use crate::gauges::{GaugeChange, GaugeId};
use crate::limiter::Warning;
use crate::outcome::Outcome;
use crate::time::UnixNanos;

impl Engine {
    /// Counts and logs quotas whose `warn_at` was reached.
    pub(crate) fn warn(
        &mut self,
        warnings: &[Warning],
        caller: Option<&str>,
        request_id: Option<&str>,
        now: UnixNanos,
    ) {
        for warning in warnings {
            self.counters.add(CounterId::Limit(warning.limit, "warned"));
            let limit = self.policy.limit_label(warning.limit).unwrap_or_default();
            self.log.push(audit::quota_line(limit, warning.share, caller, request_id, now));
        }
    }

    /// The log lines since the last call.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// What became of the request that the last call was about, where the proxy's access log wants to know. It belongs to that
    /// request: take it before the next call.
    pub fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    /// Counts a decision, and keeps it for the access log.
    pub(crate) fn decide(&mut self, rule: u16, reason: Reason, verdict: Verdict, principal: Option<&str>) {
        self.counters.add(CounterId::Decision(rule, reason, verdict));
        self.tell(rule, reason, verdict, principal);
    }

    /// Keeps a decision for the access log.
    pub(crate) fn tell(&mut self, rule: u16, reason: Reason, verdict: Verdict, principal: Option<&str>) {
        if self.policy.tells_access_log {
            let rule = self.policy.rule_label(rule).unwrap_or("none");
            self.outcome = Some(Outcome::new(rule, verdict, reason, principal));
        }
    }

    /// Moves the counts since the last call into `out`, replacing what is there.
    pub fn take_counts(&mut self, out: &mut Vec<(CounterId, u64)>) {
        self.counters.take_into(out);
    }

    /// Whether an allowed request is one of the sample that has an audit event.
    pub(crate) fn samples(&mut self, sample: audit::Sample, request_id: Option<&str>) -> bool {
        sample.takes(request_id, &mut self.sampled)
    }

    /// The name of a counter.
    pub fn counter_name(&self, counter: CounterId) -> String {
        counter.name(|label| self.label(label))
    }

    /// Moves how the gauges have changed since the last call into `out`, replacing what is there.
    pub fn take_gauges(&mut self, out: &mut Vec<(GaugeId, GaugeChange)>) {
        out.clear();
        let mut of_surges = Vec::new();
        self.surges.take_gauges(&mut of_surges);
        out.extend(of_surges.into_iter().map(|(gauge, change)| (GaugeId::Surge(gauge), GaugeChange::By(change))));
        let given = self.key_sets_given.drain(..);
        out.extend(given.map(|(provider, at)| (GaugeId::KeySet(provider), GaugeChange::To(at.0 / 1_000_000_000))));
    }

    /// The name of a gauge.
    pub fn gauge_name(&self, gauge: GaugeId) -> String {
        gauge.name(|label| self.label(label))
    }

    pub(super) fn label(&self, label: Label) -> Option<&str> {
        let policy = &self.policy;
        match label {
            Label::Rule(rule) => policy.rule_label(rule),
            Label::Provider(index) => policy.provider_label(index),
            Label::Limit(index) => policy.limit_label(index),
            Label::AddressList(index) => policy.address_list_label(index),
            Label::Ban(index) => policy.ban_label(index),
            Label::Surge(index) => policy.surge_label(index),
            Label::OwnRule(index) => policy.own_rules.names().nth(usize::from(index)),
        }
    }

    /// The last request of this configuration has ended: its gauges go back to nothing.
    pub fn retire(&mut self) {
        self.surges.retire();
    }

    pub(super) fn count_surges(&mut self) {
        for (surge, event) in self.surges.take_events() {
            self.counters.add(CounterId::Surge(surge, event));
        }
    }

    /// Takes up what an offence led to.
    pub(crate) fn take_up_offence(&mut self, ban: usize, outcome: bans::Outcome) {
        let ban = u16::try_from(ban).unwrap_or(u16::MAX);
        for event in outcome.events {
            self.counters.add(CounterId::Ban(ban, event));
        }
        for (offence, event) in outcome.offences {
            self.counters.add(CounterId::Offence(ban, offence, event));
        }
        self.log.extend(outcome.line);
    }
}
