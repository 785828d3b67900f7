//! The walk of one request through the checks, cheap ones first.

mod addresses;
mod authorise;
mod bans;
mod cors;
mod forward;
mod found;
mod global_limits;
mod headers;
mod identify;
mod input;
mod limits;
mod payload;
mod routing;
mod surge;
mod token;
mod verdict;

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::answer::{Answer, Denial, LocalAnswer, Reason};
use crate::bans::{Claimed, Stage};
use crate::config::schema::Serve;
use crate::engine::{Engine, HeaderChange, Passage, plain_text};
use crate::http::path::PathOptions;
use crate::http::{Method, RequestHead, RequestPath};
use crate::introspection::{Answered, Question};
use crate::key_sets::WaitFor;
use crate::limits::Charge;
use crate::policy::{Policy, Rule};
use crate::ports::Ports;
use crate::principal::Principal;
use crate::routes::{JudgedRoute, Selected};
use crate::time::UnixNanos;

pub(crate) use found::Found;
pub(crate) use global_limits::{Asking, Charged};
pub use payload::{Body, Wanted};

/// What a request has behind it when it is judged again.
#[derive(Debug, Default)]
pub struct Progress {
    /// The client's address is checked already.
    pub checked_address: bool,
    /// The rules about request headers are checked already.
    pub checked_headers: bool,
    /// The limits by address are charged already.
    pub charged_by_address: bool,
    /// What the response is to say about them.
    pub told: Vec<HeaderChange>,
    /// The bans of which it was recorded already, in monitor mode, that they hold.
    pub noted_bans: Vec<usize>,
    /// What its credentials claim, where a ban asks for it.
    pub claimed: Claimed,
    /// The first reason for which it would have been refused, had it not been in monitor mode.
    pub watched: Option<Reason>,
    /// It would have ended, were what is only tried in monitor mode enforced; not for a check that its rule watches by name.
    pub would_end: bool,
    /// It has been refused for an offence already, perhaps in monitor mode.
    pub offended: bool,
    /// What was charged, where the response may settle it.
    pub charges: Vec<(u16, Charge)>,
    /// Slots of requests in flight that were taken, until the engine keeps them for the request.
    pub slots: Vec<(u16, Charge)>,
    /// The bound of which the request has taken a place, until the engine keeps it.
    pub place: Option<u16>,
    /// The request's DPoP proof is in the store of used ones, by this very request.
    pub used_proof: bool,
    /// Answers about opaque tokens that the request has waited for.
    pub answered: Vec<Answered>,
    /// Waiting was in vain: why, and when a retry makes sense.
    pub gave_up: Option<(Reason, Duration)>,
}

/// Why a walk ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// The request is answered so.
    Denied(Answer),
    /// The gateway itself has the answer.
    Answered(LocalAnswer),
    /// All checks have passed, and the gateway itself answers.
    Serve {
        /// The rule.
        rule: u16,
        /// What it answers.
        serve: Serve,
        /// The verified subject, for the audit event.
        caller: String,
    },
    /// The body has to be judged, so much of it.
    NeedBody(Box<Found>, Wanted),
    /// An introspection endpoint has to be asked.
    Ask(Question),
    /// The limit service has to be asked.
    AskLimits(Box<Asking>),
    /// The keys of `provider` are on their way.
    Wait {
        /// The provider's name.
        provider: Rc<str>,
        /// What is waited for.
        wait_for: WaitFor,
    },
}

/// One request on its way through the checks.
pub struct Walk<'a> {
    engine: &'a mut Engine,
    policy: &'a Policy,
    head: &'a RequestHead,
    progress: &'a mut Progress,
    ports: Ports<'a>,
    now: UnixNanos,
    found: Found,
    /// The client's address, asked for once.
    address: Cell<Option<Option<IpAddr>>>,
}

/// The rule index of requests that met no rule.
const NO_RULE: u16 = u16::MAX;

impl<'a> Walk<'a> {
    /// A request at the beginning of its walk.
    pub fn new(
        engine: &'a mut Engine,
        policy: &'a Policy,
        head: &'a RequestHead,
        progress: &'a mut Progress,
        ports: Ports<'a>,
        now: UnixNanos,
    ) -> Self {
        Self { engine, policy, head, progress, ports, now, found: Found::default(), address: Cell::new(None) }
    }

    /// Goes through all checks.
    ///
    /// # Errors
    /// [`Stop`] at the first check that refuses (in enforce mode), or where keys must be waited for.
    pub fn run(mut self) -> Result<Passage, Stop> {
        self.remove_identity_headers();
        let head = self.head;
        let path = match RequestPath::parse_with(head.target(), &path_options(head)) {
            Ok(path) => path,
            Err(error) => {
                self.tolerate(self.policy.mode, Denial::new(error.reason(), ""))?;
                return Ok(self.found.passage);
            }
        };
        if let Some((_, document)) = self.policy.documents.iter().find(|(at, _)| *at == path.as_str()) {
            let if_none_match = head.headers().get_all("if-none-match").next();
            self.pass();
            let mut answer = document.answer(head.method(), if_none_match);
            self.put_dress_on(&mut answer.headers);
            return Err(Stop::Answered(answer));
        }
        self.found.path = Some(path.as_str().to_owned());
        self.answer_preflight(&path)?;
        let Some(rule) = self.find_rule(&path)? else {
            self.found.passage.dress = self.dress();
            return Ok(self.found.passage);
        };
        if !std::mem::replace(&mut self.progress.checked_address, true) {
            self.check_address(rule)?;
        }
        self.check_bans(Stage::Address)?;
        if !std::mem::replace(&mut self.progress.checked_headers, true) {
            self.check_headers(rule)?;
            self.check_input_sizes(rule)?;
        }
        self.charge_by_address(rule, &path)?;
        self.run_from(Charged::ByAddress, rule, &path)
    }

    /// Goes through the checks that come after these limits.
    fn run_from(mut self, charged: Charged, rule: &'a Rule, path: &RequestPath<'_>) -> Result<Passage, Stop> {
        if charged == Charged::ByAddress {
            self.identify(rule, path)?;
            if self.found.principal.is_some() {
                self.check_bans(Stage::Identity)?;
            }
            self.check_revocation(rule)?;
            self.check_scopes(rule)?;
            if !rule.authorisation.is_empty() {
                self.authorise(rule, path)?;
            }
            self.take_place(rule)?;
            self.charge(rule, Charged::ByPrincipal, path)?;
        }
        let known = self.check_parameters(rule, path)?;
        if rule.serve.is_none() {
            self.found.judged_by.input = self.body_for_input(rule)?;
        }
        self.check_payload(rule, &known)?;
        if let Some(serve) = rule.serve {
            let caller = self.found.principal.as_ref().and_then(Principal::subject).unwrap_or_default().to_owned();
            return Err(Stop::Serve { rule: self.found.rule, serve, caller });
        }
        self.forward(rule)?;
        self.tell_browser(rule);
        self.found.passage.settlement = self.settlement();
        self.found.passage.dress = self.dress();
        if !self.found.passage.request.is_empty() && self.policy.routes.is_in_use() {
            let request_id = plain_text(self.head.headers(), "x-request-id").map(str::to_owned);
            self.found.passage.judged = Some(JudgedRoute {
                rule: self.found.rule,
                request_id,
                selected: std::mem::replace(&mut self.found.selected, Selected::Nothing),
            });
        }
        self.wait_for_body(rule)?;
        Ok(self.let_in())
    }

    /// All checks have passed: what goes on.
    fn let_in(mut self) -> Passage {
        self.found.passage.answerable = self.answerable();
        self.pass();
        self.found.passage
    }

    fn address(&self) -> Option<IpAddr> {
        let address = self.address.get().unwrap_or_else(|| self.ports.attributes.source_address());
        self.address.set(Some(address));
        address
    }
}

/// How paths are read.
fn path_options(head: &RequestHead) -> PathOptions {
    PathOptions {
        resolve_unreserved: false,
        asterisk_form: *head.method() == Method::Options,
        ..PathOptions::default()
    }
}
