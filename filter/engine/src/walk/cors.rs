//! The walk's word to browsers: preflights answered before identity, and what pages of other origins may read.

use crate::answer::{Answer, Denial, LocalAnswer, Reason};
use crate::config::schema::Mode;
use crate::cors::{Preflight, origin_of};
use crate::http::{Method, RequestPath};
use crate::policy::Rule;
use crate::routes::Selected;

use super::{NO_RULE, Stop, Walk};

impl Walk<'_> {
    /// Answers a preflight by the rule that the announced request would meet. Where that rule says nothing about CORS, the
    /// request is like any other one: a service may answer preflights itself.
    pub(super) fn answer_preflight(&mut self, path: &RequestPath<'_>) -> Result<(), Stop> {
        if !self.policy.answers_preflights || *self.head.method() != Method::Options {
            return Ok(());
        }
        let head = self.head;
        let Some(preflight) = Preflight::of(head) else { return Ok(()) };
        let Some(index) = self.rule_of_announced(&preflight, path) else { return Ok(()) };
        let policy = self.policy;
        let Some((rule, cors)) = policy.rules.get(index).and_then(|rule| Some((rule, rule.cors.as_ref()?))) else {
            return Ok(());
        };
        self.found.rule = u16::try_from(index).unwrap_or(NO_RULE);
        self.check_address(rule)?;
        if !cors.allows(preflight.origin) {
            let denial = Denial::new(Reason::CorsOriginDenied, "the rule's `cors.origins` do not name it");
            self.tolerate(rule.mode, denial)?;
            // Only watched: the service gets it as if there were no `cors`.
            self.found.rule = NO_RULE;
            return Ok(());
        }
        self.pass();
        let lines = cors.preflight_headers(&preflight).into_iter().map(|(name, value)| (name.into(), value));
        let mut headers = lines.collect();
        self.put_dress_on(&mut headers);
        Err(Stop::Answered(LocalAnswer { status: 204, headers, body: "".into(), details: "portcullis_preflight" }))
    }

    /// The rule of the announced request. Header conditions are asked of the preflight: it has no other headers.
    fn rule_of_announced(&self, preflight: &Preflight<'_>, path: &RequestPath<'_>) -> Option<usize> {
        let policy = self.policy;
        match policy.routes.select(&policy.named, self.ports.attributes) {
            Selected::Rule(index) => Some(index),
            // What is wrong is said by the walk of the request itself.
            Selected::Unknown { .. } => None,
            Selected::Nothing => {
                let announced = self.head.with_method(preflight.method.clone());
                let found = policy.index.find(&announced, path).ok()?;
                found.map(|found| found.index).or(policy.unmatched)
            }
        }
    }

    /// What the browser is told in the service's response.
    pub(super) fn tell_browser(&mut self, rule: &Rule) {
        let Some(cors) = &rule.cors else { return };
        let origin = origin_of(self.head);
        let is_refused = origin.is_some_and(|origin| !cors.allows(origin));
        // Where CORS is only watched, what the service says to a page that would be refused stays.
        if is_refused && (self.only_watches(Reason::CorsOriginDenied) || self.mode(rule.mode) == Mode::Monitor) {
            return;
        }
        self.found.passage.response.extend(cors.response_changes(origin));
    }

    /// Lets a page read the gateway's own answer: without this, a browser shows a 401 or a 429 as a broken network.
    pub(super) fn let_browser_read(&self, denial: &Denial, answer: &mut Answer) {
        let rule = self.policy.rules.get(usize::from(self.found.rule));
        let Some(cors) = rule.and_then(|rule| rule.cors.as_ref()) else { return };
        let mut lines = cors.answer_headers(origin_of(self.head));
        // A refused preflight says nothing about who may call.
        if denial.reason == Reason::CorsOriginDenied {
            lines.retain(|(name, _)| *name == "vary");
        }
        answer.headers.extend(lines.into_iter().map(|(name, value)| (name.into(), value)));
    }
}
