//! Limits that count for several proxies: their service is asked once this proxy's own counters have admitted the request.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::answer::{Denial, Reason};
use crate::config::schema::Mode;
use crate::counters::CounterId;
use crate::engine::{HeaderChange, Passage};
use crate::global_limits::{Answer, Asked, Failure, Group, Status};
use crate::http::RequestPath;
use crate::limiter::Legacy;
use crate::limits::headers;
use crate::policy::Rule;

use super::{Found, Stop, Walk};

/// Which limits of a request were charged last: there the walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// Those that need no identity.
    ByAddress,
    /// Those by identity.
    ByPrincipal,
}

/// A request that waits for the limit service.
#[derive(Debug)]
pub struct Asking {
    /// The questions.
    pub groups: Vec<Group>,
    /// Where the walk goes on.
    pub charged: Charged,
    /// The walk until here.
    pub suspended: Found,
}

/// What a client is told to wait for at most where nobody knows when there is more.
const LONGEST_GUESS: Duration = Duration::from_secs(60);

impl<'a> Walk<'a> {
    /// Stops where the limit service has to be asked about a request that is admitted here.
    pub(super) fn ask_limit_service(&mut self, rule: &Rule, charged: Charged, groups: Vec<Group>) -> Result<(), Stop> {
        if groups.is_empty() {
            return Ok(());
        }
        let questions = self.engine.questions.as_ref();
        let waits_with_others = |group: &Group| questions.is_some_and(|questions| questions.is_under_way(group));
        let waits: Vec<bool> = groups.iter().map(waits_with_others).collect();
        let own = waits.iter().filter(|waits| !**waits).count();
        if !questions.is_some_and(|questions| questions.may_ask(own, self.now)) {
            let answers = groups.iter().map(|_| Err(Failure::NotAsked)).collect();
            return self.heed(rule, charged, groups, answers);
        }
        for (group, waits) in groups.iter().zip(waits) {
            for asked in &group.limits {
                self.engine.counters.add(CounterId::Limit(asked.limit, if waits { "leased" } else { "asked" }));
            }
        }
        let suspended = self.suspend();
        Err(Stop::AskLimits(Box::new(Asking { groups, charged, suspended })))
    }

    /// Goes on with what the limit service has said.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_on_answers(
        mut self,
        charged: Charged,
        groups: Vec<Group>,
        answers: Vec<Result<Answer, Failure>>,
    ) -> Result<Passage, Stop> {
        self.check_bans_again()?;
        let (policy, head) = (self.policy, self.head);
        let rule = policy.rules.get(usize::from(self.found.rule));
        // Both were there before the walk stopped.
        let Some((rule, path)) = rule.zip(RequestPath::parse_with(head.target(), &super::path_options(head)).ok())
        else {
            return self.tolerate(Mode::Enforce, Denial::new(Reason::Internal, "")).map(|()| self.found.passage);
        };
        self.heed(rule, charged, groups, answers)?;
        self.run_from(charged, rule, &path)
    }

    fn heed(
        &mut self,
        rule: &Rule,
        charged: Charged,
        groups: Vec<Group>,
        answers: Vec<Result<Answer, Failure>>,
    ) -> Result<(), Stop> {
        // A question without an answer is one that failed.
        let answers = answers.into_iter().chain(std::iter::repeat(Err(Failure::NoAnswer)));
        let mut sets: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (group, answer) in groups.into_iter().zip(answers) {
            sets.entry(group.set).or_default().push((group, answer));
        }
        let mut again = Vec::new();
        for set in sets.into_values() {
            again.extend(self.heed_set(rule, set)?);
        }
        self.ask_limit_service(rule, charged, again)
    }

    /// Takes up the answers about limits that stand or fall together; gives what has to be asked again: where a lease was refused, the
    /// request alone.
    fn heed_set(&mut self, rule: &Rule, set: Vec<(Group, Result<Answer, Failure>)>) -> Result<Vec<Group>, Stop> {
        let (mut denial, mut is_watched, mut again) = (None, false, Vec::new());
        let (mut others, mut spent, mut cost) = (Vec::new(), Vec::new(), 0);
        for (mut group, answer) in set {
            is_watched |= group.limits.iter().any(|asked| self.limit_mode(asked) == Mode::Monitor);
            others.append(&mut group.others);
            spent.append(&mut group.spent);
            cost = group.cost;
            match answer {
                Ok(answer) if answer.is_over && group.asks > group.cost => {
                    again.push(Group { asks: group.cost, ..group });
                }
                Ok(answer) if answer.is_over => {
                    denial = denial.or(Some(self.refused_by_service(&group, &answer, is_watched)));
                }
                Ok(answer) => {
                    self.tell_standings(rule, &group, Some(&answer));
                    if group.is_leased {
                        spent.extend(group.limits.iter().map(|asked| (asked.limit, asked.holder())));
                    }
                }
                Err(failure) => {
                    for asked in &group.limits {
                        self.engine.counters.add(CounterId::Limit(asked.limit, "service_failed"));
                    }
                    self.tell_standings(rule, &group, None);
                    if self.engine.questions.as_ref().is_none_or(|questions| questions.denies_on_error()) {
                        let detail = format!("{}: {failure}", self.names(&group.limits));
                        let unavailable = Denial::new(Reason::LimitServiceUnavailable, detail).retry_after(1);
                        denial = denial.or(Some(unavailable));
                    }
                }
            }
        }
        let Some(denial) = denial else {
            // Whoever asks again answers for all of them.
            if let Some(first) = again.first_mut() {
                (first.others, first.spent) = (others, spent);
            }
            return Ok(again);
        };
        let mode = if is_watched { Mode::Monitor } else { rule.mode };
        // None is charged if one refuses, in monitor mode too: it tells what would happen. The local counter of a global limit
        // keeps its charge: it counts what is asked.
        self.engine.limiter.give_back(&others, self.ports.store, self.now);
        self.engine.limiter.put_back(&spent, cost, self.ports.store, self.now);
        self.progress.charges.retain(|charge| !others.contains(charge));
        self.tolerate(mode, denial)?;
        Ok(Vec::new())
    }

    /// The refusal, of the limit that the service names, or of all that it may mean.
    fn refused_by_service(&mut self, group: &Group, answer: &Answer, is_watched: bool) -> Denial {
        let statuses = statuses_of(group, answer);
        let status_of = |place: usize| statuses.get(place).filter(|status| status.is_over);
        let named = (0..group.limits.len()).find(|place| status_of(*place).is_some());
        let refusing = match named {
            Some(place) => group.limits.get(place..place.saturating_add(1)).unwrap_or_default(),
            None => group.limits.as_slice(),
        };
        let status = named.and_then(status_of).unwrap_or(&answer.headers);
        for asked in refusing {
            self.engine.counters.add(CounterId::Limit(asked.limit, "service_refused"));
        }
        let guess = refusing
            .first()
            .map_or(LONGEST_GUESS, |asked| asked.algorithm.window().unwrap_or(LONGEST_GUESS).min(LONGEST_GUESS));
        let wait = status.reset_after.unwrap_or(guess);
        let mut denial = Denial::new(Reason::LimitExceededGlobally, self.names(refusing));
        denial = denial.retry_after(headers::retry_after(wait));
        let told = self.policy.limit_headers;
        let only = match refusing {
            [only] if !is_watched => only,
            _ => return denial,
        };
        let name = self.policy.limit_label(only.limit).unwrap_or_default();
        let (quota, window) = quota_of(only, status);
        let (mut policy, mut standing) = (String::new(), String::new());
        let wait = wait.max(Duration::from_secs(1));
        if told.are_standard()
            && headers::push_quota(&mut policy, name, quota, window).is_ok()
            && headers::push_used_up(&mut standing, name, wait).is_ok()
        {
            denial.headers.extend([("ratelimit-policy", policy), ("ratelimit", standing)]);
        }
        if told.are_legacy() {
            denial.headers.extend(Legacy::told(quota, 0, wait).headers());
        }
        denial
    }

    /// Tells the client how it stands: as the service says, else as this proxy's own counter has it.
    fn tell_standings(&mut self, rule: &Rule, group: &Group, answer: Option<&Answer>) {
        let told = self.policy.limit_headers;
        // How a limit with a lease stands was told as its counter here has it.
        if self.mode(rule.mode) == Mode::Monitor || group.is_leased {
            return;
        }
        for (place, asked) in group.limits.iter().enumerate() {
            if self.limit_mode(asked) == Mode::Monitor {
                continue;
            }
            let by_headers = answer.map(|answer| &answer.headers).filter(|_| group.limits.len() == 1);
            let status = answer
                .and_then(|answer| statuses_of(group, answer).get(place))
                .or(by_headers)
                .cloned()
                .unwrap_or_default();
            let local = asked.standing.map(|standing| asked.algorithm.told(&standing));
            let said = status.remaining.map(|remaining| (remaining, status.reset_after.unwrap_or_default()));
            let Some((remaining, more_after)) = said.or(local) else { continue };
            let name = self.policy.limit_label(asked.limit).unwrap_or_default();
            let (quota, window) = quota_of(asked, &status);
            // A service whose limit is the wider one, and that does not say what it is.
            let remaining = remaining.min(quota);
            let (mut policy, mut standing) = (String::new(), String::new());
            if told.are_standard()
                && headers::push_quota(&mut policy, name, quota, window).is_ok()
                && headers::push_remaining(&mut standing, name, remaining, more_after).is_ok()
            {
                self.tell(HeaderChange::Set("ratelimit-policy".to_owned(), policy.into_bytes()));
                self.tell(HeaderChange::Set("ratelimit".to_owned(), standing.into_bytes()));
            }
            if told.are_legacy() {
                Legacy::told(quota, remaining, more_after).tell(&mut self.found.passage.response);
            }
        }
    }

    fn limit_mode(&self, asked: &Asked) -> Mode {
        self.policy.limits.get(usize::from(asked.limit)).map_or(Mode::Enforce, |limit| limit.mode)
    }

    fn names(&self, limits: &[Asked]) -> String {
        let names = limits.iter().filter_map(|asked| self.policy.limit_label(asked.limit));
        let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
        format!("limit {}", names.join(" or "))
    }
}

/// How each limit of the group stands, where each has a descriptor of its own.
fn statuses_of<'a>(group: &Group, answer: &'a Answer) -> &'a [Status] {
    if answer.statuses.len() == group.limits.len() { &answer.statuses } else { &[] }
}

/// What a window admits, and its length: as the service says, else as configured here.
fn quota_of(asked: &Asked, status: &Status) -> (u64, Option<Duration>) {
    match status.current {
        Some((quota, window)) => (quota, window.0),
        None => (asked.algorithm.per_window(), asked.algorithm.window()),
    }
}
