//! What is counted of a log.

use std::collections::VecDeque;

use super::entry::{Ban, Finding, Request, Verdict};
use super::timeline::Timeline;
use super::top::Top;

/// How many of the last refusals, and of the last bans, are shown.
const RECENT: usize = 50;

/// Lines that are not counted.
#[derive(Debug, Default, Clone, Copy)]
pub struct Skipped {
    /// Those of other logs, and broken ones.
    pub foreign: u64,
    /// Those that are longer than any of the gateway's own.
    pub too_long: u64,
}

/// Counts of one log.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests.
    pub count: u64,
    /// Those that passed.
    pub allowed: u64,
    /// Those that only monitor mode let pass.
    pub monitored: u64,
    /// Those that the filter refused.
    pub denied: u64,
    /// Those about which the filter said nothing.
    pub unjudged: u64,
    /// Answers of services and of the proxy that say that they failed (5xx), the filter's refusals left out.
    pub failed: u64,
    /// Over time.
    pub timeline: Timeline,
    /// Refused and monitored requests by reason.
    pub reasons: Top<Split>,
    /// Requests by rule.
    pub rules: Top<Split>,
    /// Refused and monitored requests by address.
    pub offenders: Top<Offender>,
    /// ... by verified caller.
    pub callers: Top<Offender>,
    /// ... by method and path.
    pub targets: Top<Offender>,
    /// The last ones.
    pub recent: VecDeque<Request>,
}

/// Counts by verdict.
#[derive(Debug, Default, Clone, Copy)]
pub struct Split {
    /// Passed.
    pub allowed: u64,
    /// Would have been refused.
    pub monitored: u64,
    /// Refused.
    pub denied: u64,
}

/// What is known of one that was refused.
#[derive(Debug, Default)]
pub struct Offender {
    /// The last reason.
    pub reason: String,
    /// When it was refused first and last, in seconds since 1970.
    pub seen: Option<(u64, u64)>,
}

impl Offender {
    fn seen(&mut self, request: &Request) {
        self.reason.clone_from(&request.reason);
        if let Some(time) = request.time {
            let (first, last) = self.seen.unwrap_or((time, time));
            self.seen = Some((first.min(time), last.max(time)));
        }
    }
}

impl Split {
    fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Allowed | Verdict::Unjudged => self.allowed += 1,
            Verdict::Monitored => self.monitored += 1,
            Verdict::Denied => self.denied += 1,
        }
    }
}

impl Tally {
    /// Counts a request.
    pub fn add(&mut self, request: &Request) {
        self.count += 1;
        let (count, kind) = match request.verdict {
            Verdict::Allowed => (&mut self.allowed, 0),
            Verdict::Unjudged => (&mut self.unjudged, 0),
            Verdict::Monitored => (&mut self.monitored, 1),
            Verdict::Denied => (&mut self.denied, 2),
        };
        *count += 1;
        if let Some(time) = request.time {
            self.timeline.add(time, kind);
        }
        if request.verdict != Verdict::Unjudged {
            self.rules.add(&request.rule).add(request.verdict);
        }
        if request.verdict != Verdict::Denied {
            self.failed += u64::from(request.status.is_some_and(|status| status >= 500));
        }
        if matches!(request.verdict, Verdict::Denied | Verdict::Monitored) {
            self.refuse(request);
        }
    }

    fn refuse(&mut self, request: &Request) {
        self.reasons.add(&request.reason).add(request.verdict);
        self.offenders.add(&request.client).seen(request);
        self.targets.add(&request.target).seen(request);
        if let Some(principal) = &request.principal {
            self.callers.add(principal).seen(request);
        }
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(request.clone());
    }
}

/// What payload rules have found, by rule of the policy, payload rule and parameter.
#[derive(Debug, Default)]
pub struct Payload {
    /// The most frequent.
    pub found: Top<Found>,
}

/// One payload rule's finding in one parameter.
#[derive(Debug, Default)]
pub struct Found {
    /// The rule that the requests met.
    pub rule: String,
    /// What was found, and where.
    pub finding: Finding,
    /// What became of the requests.
    pub split: Split,
}

impl Payload {
    /// Counts what was found in a request.
    pub fn add(&mut self, request: &Request) {
        for finding in &request.findings {
            let Finding { signature, place, parameter, .. } = finding;
            let found = self.found.add(&[&request.rule, signature, place, parameter].map(String::as_str).join("\n"));
            if found.rule.is_empty() {
                found.rule.clone_from(&request.rule);
                found.finding = finding.clone();
            }
            found.split.add(request.verdict);
        }
    }
}

/// What happened to bans.
#[derive(Debug, Default)]
pub struct Bans {
    /// How often anything did.
    pub count: u64,
    /// The last ones.
    pub recent: VecDeque<Ban>,
}

impl Bans {
    /// Counts one.
    pub fn add(&mut self, ban: Ban) {
        self.count += 1;
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(ban);
    }
}
