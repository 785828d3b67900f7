//! The walk of one request through the checks, cheap ones first.

mod addresses;
mod authorise;
mod bans;
mod cors;
mod found;
mod global_limits;
mod identify;
mod input;
mod payload;
mod surge;

use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::answer::{Answer, Denial, LocalAnswer, Reason};
use crate::audit::{self, Decided};
use crate::bans::Stage;
use crate::config::schema::{Mode, Serve};
use crate::counters::{CounterId, Verdict};
use crate::engine::{Engine, HeaderChange, Passage, plain_text};
use crate::forward;
use crate::http::path::PathOptions;
use crate::http::{Method, RequestHead, RequestPath};
use crate::internal_token::Caller;
use crate::introspection::{Answered, Question};
use crate::key_sets::WaitFor;
use crate::limiter::{Cost, Settlement, Subject};
use crate::limits::Charge;
use crate::policy::{Policy, Rule, Who};
use crate::ports::Ports;
use crate::principal::Principal;
use crate::responses::Dress;
use crate::revocation;
use crate::routes::{JudgedRoute, Selected};
use crate::time::UnixNanos;

pub(crate) use found::Found;
pub(crate) use global_limits::{Asking, Charged};
pub use payload::Body;

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
    /// That its sender is banned was recorded already, in monitor mode.
    pub noted_ban: bool,
    /// The user name that its credential claims, where a ban asks for it.
    pub claimed_name: Option<Vec<u8>>,
    /// The first reason for which it would have been refused, had it not been in monitor mode.
    pub watched: Option<Reason>,
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
    /// The body has to be judged, of at most so many bytes.
    NeedBody(Box<Found>, usize),
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
        self.pass();
        Ok(self.found.passage)
    }

    /// What only the gateway may say is removed from what the client says, on every path, before anything else.
    fn remove_identity_headers(&mut self) {
        for (name, _) in self.head.headers().iter() {
            if self.policy.is_identity_header(name)
                && let Ok(name) = std::str::from_utf8(name)
                && !self
                    .found
                    .passage
                    .request
                    .iter()
                    .any(|change| matches!(change, HeaderChange::Remove(n) if n == name))
            {
                self.found.passage.request.push(HeaderChange::Remove(name.to_owned()));
            }
        }
    }

    /// The rule that applies: the policy that the route names, else the first rule that matches.
    fn find_rule(&mut self, path: &RequestPath<'_>) -> Result<Option<&'a Rule>, Stop> {
        let policy = self.policy;
        let selected = policy.routes.select(&policy.named, self.ports.attributes);
        let index = match &selected {
            Selected::Rule(index) => Some(*index),
            Selected::Unknown { by, name } => {
                let detail = format!("the {by} names the policy {name:?}");
                return self.tolerate(policy.mode, Denial::new(Reason::RoutePolicyUnknown, detail)).map(|()| None);
            }
            Selected::Nothing => match policy.index.find(self.head, path) {
                Ok(found) => found.map(|found| found.index).or(policy.unmatched),
                Err(repeated) => {
                    let denial = Denial::new(repeated.reason(), repeated.to_string());
                    return self.tolerate(policy.mode, denial).map(|()| None);
                }
            },
        };
        match index.and_then(|index| Some((index, policy.rules.get(index)?))) {
            Some((index, rule)) => {
                self.found.rule = u16::try_from(index).unwrap_or(NO_RULE);
                self.check_route_headers(rule, &selected)?;
                self.found.selected = selected;
                Ok(Some(rule))
            }
            None => {
                // Whoever is banned does not learn what there is.
                self.check_bans(Stage::Address)?;
                self.tolerate(policy.mode, self.unmatched(path)).map(|()| None)
            }
        }
    }

    /// Where the route named the policy, it must not have been chosen by a header that is now removed: the proxy would
    /// choose again, and another route would serve what this one's policy has judged.
    fn check_route_headers(&mut self, rule: &Rule, selected: &Selected) -> Result<(), Stop> {
        let removed = self.found.passage.request.iter().find_map(|change| match change {
            HeaderChange::Remove(name) => Some(name),
            HeaderChange::Set(..) | HeaderChange::Add(..) => None,
        });
        match removed {
            Some(name) if *selected != Selected::Nothing => {
                let denial = Denial::new(Reason::IdentityHeaderSent, format!("header {name:?}"));
                self.tolerate(rule.mode, denial)
            }
            _ => Ok(()),
        }
    }

    /// No rule takes the request; where the operator wants it, the client is told which methods rules take there.
    fn unmatched(&self, path: &RequestPath<'_>) -> Denial {
        let methods = match self.policy.names_methods {
            true => self.policy.index.find_path_ignoring_method(self.head, path),
            false => Vec::new(),
        };
        if methods.is_empty() {
            return Denial::new(Reason::RouteUnmatched, "");
        }
        let mut denial = Denial::new(Reason::MethodNotAllowed, "rules take this path by other methods");
        let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
        denial.headers.push(("allow", names.join(", ")));
        denial
    }

    fn check_headers(&mut self, rule: &Rule) -> Result<(), Stop> {
        // A request that was held has been through here, and its head is the same.
        if self.progress.charged_by_address {
            return Ok(());
        }
        let headers = self.head.headers();
        let missing = rule.headers.require.iter().find(|name| headers.get_all(name).next().is_none());
        if let Some(name) = missing {
            self.tolerate(rule.mode, Denial::new(Reason::HeaderMissing, format!("header {name:?}")))?;
        }
        let unwanted = rule.headers.forbid.iter().find(|name| headers.get_all(name).next().is_some());
        if let Some(name) = unwanted {
            self.tolerate(rule.mode, Denial::new(Reason::HeaderForbidden, format!("header {name:?}")))?;
        }
        Ok(())
    }

    fn charge_by_address(&mut self, rule: &Rule, path: &RequestPath<'_>) -> Result<(), Stop> {
        if std::mem::replace(&mut self.progress.charged_by_address, true) {
            self.found.passage.response.append(&mut self.progress.told);
            return Ok(());
        }
        self.charge(rule, Charged::ByAddress, path)
    }

    fn charge(&mut self, rule: &Rule, charged: Charged, path: &RequestPath<'_>) -> Result<(), Stop> {
        let limits = match charged {
            Charged::ByAddress => &rule.limits_by_address,
            Charged::ByPrincipal => &rule.limits_by_principal,
        };
        if limits.is_empty() {
            return Ok(());
        }
        let policy = self.policy;
        let subject = Subject {
            head: self.head,
            rule: &rule.label,
            path: (path, self.pattern()),
            address: &|| self.address(),
            attributes: self.ports.attributes,
            principal: self.found.principal.as_ref().map(|principal| {
                let provider = policy.provider_label(principal.provider).unwrap_or_default();
                (provider, principal)
            }),
        };
        let cost = Cost { amount: rule.costs.each, is_settled: rule.costs.settling.is_some() };
        let outcome = self.engine.limiter.charge(&policy.limits, limits, cost, &subject, self.ports.store, self.now);
        for (limit, event) in outcome.events {
            self.engine.counters.add(CounterId::Limit(limit, event));
        }
        // Monitor mode tells the client nothing about limits.
        if self.mode(rule.mode) == Mode::Enforce {
            outcome.response.into_iter().for_each(|change| self.tell(change));
            if let Some(legacy) = outcome.legacy {
                legacy.tell(&mut self.found.passage.response);
            }
        }
        self.progress.charges.extend(outcome.charges);
        self.progress.slots.extend(outcome.slots);
        if !outcome.warnings.is_empty() {
            let caller = self.found.principal.as_ref().and_then(Principal::subject);
            let request_id = plain_text(self.head.headers(), "x-request-id");
            self.engine.warn(&outcome.warnings, caller, request_id, self.now);
        }
        for (mode, denial) in outcome.denials {
            let mode = if mode == Mode::Monitor { mode } else { rule.mode };
            self.tolerate(mode, denial)?;
        }
        self.ask_limit_service(rule, charged, outcome.to_ask)
    }

    /// The charges that the response may settle.
    fn settlement(&mut self) -> Option<Settlement> {
        let charges = std::mem::take(&mut self.progress.charges);
        (!charges.is_empty()).then(|| Settlement {
            rule: self.found.rule,
            charges,
            caller: self.found.principal.as_ref().and_then(Principal::subject).map(str::to_owned),
            request_id: plain_text(self.head.headers(), "x-request-id").map(str::to_owned),
        })
    }

    /// Adds a header to the response; one that stands already becomes a list (RFC 9110, 5.3).
    fn tell(&mut self, change: HeaderChange) {
        let HeaderChange::Set(name, value) = change else { return };
        let standing = self.found.passage.response.iter_mut().find_map(|standing| match standing {
            HeaderChange::Set(standing_name, list) if *standing_name == name => Some(list),
            _ => None,
        });
        match standing {
            Some(list) => {
                list.extend_from_slice(b", ");
                list.extend_from_slice(&value);
            }
            None => self.found.passage.response.push(HeaderChange::Set(name, value)),
        }
    }

    fn check_revocation(&mut self, rule: &Rule) -> Result<(), Stop> {
        if self.found.principal.is_none() || !self.policy.revokes {
            return Ok(());
        }
        self.engine.revocations.observe(self.ports.store);
        let revocations = &self.engine.revocations;
        // Not only the one whose word is the identity: with a revoked token, a request lacks what the rule asks for.
        let refused = self
            .found
            .principal
            .iter()
            .chain(&self.found.others)
            .find_map(|principal| revocations.check(principal.claims(), principal.issued_at(), self.now).err());
        let Some(refusal) = refused else { return Ok(()) };
        let denial = match refusal {
            revocation::Refusal::Revoked(revoked) => self.challenged(
                rule,
                Denial::new(Reason::TokenRevoked, format!("{:?}, by {:?}", revoked.what, revoked.by)),
            ),
            revocation::Refusal::Unavailable { retry_after } => {
                let seconds = crate::limits::whole_seconds(retry_after).max(1);
                Denial::new(Reason::RevocationUnavailable, "").retry_after(seconds)
            }
            revocation::Refusal::Wait(_) => Denial::new(Reason::RevocationUnavailable, "no list yet").retry_after(1),
        };
        self.tolerate(rule.mode, denial)
    }

    fn check_scopes(&mut self, rule: &Rule) -> Result<(), Stop> {
        let checked = match (&self.found.principal, &rule.who) {
            (Some(_), _) if rule.scopes.is_empty() => Ok(()),
            (Some(principal), _) => match self.policy.providers.get(usize::from(principal.provider)) {
                Some(provider) => rule.scopes.check(principal.claims(), &provider.scopes),
                None => Err(Denial::new(Reason::Internal, "the identity has no provider")),
            },
            // Nobody has no scopes. Whoever was let in without an identity, by monitor mode or by a written `on_error:
            // allow`, was recorded already.
            (None, Who::VouchedFor(required)) if required.optional && !rule.scopes.is_empty() && !self.found.let_in => {
                Err(self.challenged(rule, Denial::new(Reason::CredentialsMissing, "the rule asks for scopes")))
            }
            (None, _) => Ok(()),
        };
        match checked {
            Ok(()) => Ok(()),
            Err(denial) => self.tolerate(rule.mode, self.challenged(rule, denial)),
        }
    }

    /// What goes on to the service.
    fn forward(&mut self, rule: &Rule) -> Result<(), Stop> {
        let policy = self.policy;
        let provider =
            self.found.principal.as_ref().and_then(|p| Some((p, policy.providers.get(usize::from(p.provider))?)));
        if let Some((principal, provider)) = provider {
            let changes = forward::claim_headers(principal.claims(), &provider.headers);
            match changes {
                Ok(changes) => self.found.passage.request.extend(changes),
                Err(denial) => self.tolerate(rule.mode, denial)?,
            }
        }
        self.add_internal_token(rule)?;
        let removed = rule.headers.remove.iter().filter(|name| self.head.headers().get_all(name).next().is_some());
        self.found.passage.request.extend(removed.map(|name| HeaderChange::Remove(name.clone())));
        let set = rule.headers.set.iter();
        self.found
            .passage
            .request
            .extend(set.map(|(name, value)| HeaderChange::Set(name.clone(), value.clone().into_bytes())));
        Ok(())
    }

    /// The gateway's own short-lived token, where the rule gives one to the service.
    fn add_internal_token(&mut self, rule: &Rule) -> Result<(), Stop> {
        let (Some(audience), Some(principal)) = (&rule.internal_audience, &self.found.principal) else { return Ok(()) };
        let Some(header) = self.policy.internal_tokens.as_ref().map(|tokens| tokens.header.as_str()) else {
            return Ok(());
        };
        let provider = self.policy.providers.get(usize::from(principal.provider));
        let token = match (&mut self.engine.minter, provider) {
            (Some(minter), Some(provider)) => {
                // Where several credentials were asked for, the service must not take the word of one that has ended.
                let credentials = std::iter::once(principal).chain(&self.found.others);
                let ends = credentials.filter_map(|credential| credential.expires_at(self.policy)).min();
                let (claims, credential) = (principal.claims(), principal.credential);
                let caller = Caller { claims, scopes: &provider.scopes, credential };
                minter.token(caller, audience, ends, self.now)
            }
            _ => return Ok(()),
        };
        match token {
            Ok(token) => {
                let value = if header == "authorization" { format!("Bearer {token}") } else { token.to_string() };
                self.found.passage.request.push(HeaderChange::Set(header.to_owned(), value.into_bytes()));
                Ok(())
            }
            Err(error) => self.tolerate(rule.mode, Denial::new(error.reason(), error.to_string())),
        }
    }

    /// The refusal with the challenges that the rule offers.
    fn challenged(&self, rule: &Rule, mut denial: Denial) -> Denial {
        denial.challenges = rule.challenges;
        denial.resource_metadata = rule.resource_metadata.clone();
        denial
    }

    /// What the response is to look like, where anything is said about it.
    fn dress(&self) -> Option<Dress> {
        let rules = Rc::clone(self.policy.responses_of(self.found.rule)?);
        Some(Dress { rules, is_https: self.head.is_https(), is_identified: self.found.principal.is_some() })
    }

    fn put_dress_on(&self, lines: &mut Vec<(Cow<'static, str>, String)>) {
        if let Some(dress) = self.dress() {
            dress.put_on(lines);
        }
    }

    fn mode(&self, mode: Mode) -> Mode {
        if self.policy.mode == Mode::Monitor { Mode::Monitor } else { mode }
    }

    /// Whether the refusal keeps a caller from the gateway's own calls. Those change what the gateway does, so nobody makes
    /// them in monitor mode, or by `on_error: allow`, who could not make them otherwise. Limits and bans keep their mode.
    fn guards_own_calls(&self, reason: Reason) -> bool {
        let is_of_limit = matches!(
            reason,
            Reason::LimitExceeded
                | Reason::ConcurrencyExceeded
                | Reason::LimitExceededGlobally
                | Reason::LimitServiceUnavailable
                | Reason::LimitOverflow
                | Reason::LimitUnavailable
                | Reason::Banned
                | Reason::BansUnavailable
        );
        let serves = self.policy.rules.get(usize::from(self.found.rule)).is_some_and(|rule| rule.serve.is_some());
        serves && !is_of_limit
    }

    /// Whether the rule only watches the check that refuses for this reason (`monitor`).
    fn only_watches(&self, reason: Reason) -> bool {
        let rule = self.policy.rules.get(usize::from(self.found.rule));
        reason.check().is_some_and(|check| rule.is_some_and(|rule| rule.monitored.contains(&check)))
    }

    /// Carries out a refusal, or only records it in monitor mode.
    fn tolerate(&mut self, mode: Mode, denial: Denial) -> Result<(), Stop> {
        let mode = if self.only_watches(denial.reason) { Mode::Monitor } else { self.mode(mode) };
        let verdict = match mode {
            Mode::Monitor if !self.guards_own_calls(denial.reason) => Verdict::Monitored,
            _ => Verdict::Denied,
        };
        self.record(&denial, verdict);
        match verdict {
            Verdict::Denied => {
                let request_id = plain_text(self.head.headers(), "x-request-id");
                let mut answer = Answer::new(&denial, &self.policy.realm, &self.policy.type_base, request_id);
                self.let_browser_read(&denial, &mut answer);
                self.put_dress_on(&mut answer.headers);
                Err(Stop::Denied(answer))
            }
            _ => Ok(()),
        }
    }

    /// All checks have passed.
    fn pass(&mut self) {
        let principal = self.found.principal.as_ref().and_then(Principal::subject);
        self.engine.decide(self.found.rule, Reason::Ok, Verdict::Allowed, principal);
        // What only monitor mode let pass is not told as if nothing had been.
        if let Some(reason) = self.progress.watched {
            self.engine.tell(self.found.rule, reason, Verdict::Monitored, principal);
            return;
        }
        let sample = self.policy.sample_of(self.found.rule);
        if self.engine.samples(sample, plain_text(self.head.headers(), "x-request-id")) {
            self.audit(Decided::Allowed(sample));
        }
    }

    fn record(&mut self, denial: &Denial, verdict: Verdict) {
        let subject = self.found.principal.as_ref().and_then(Principal::subject);
        self.engine.decide(self.found.rule, denial.reason, verdict, subject);
        if verdict == Verdict::Monitored {
            self.progress.watched.get_or_insert(denial.reason);
        }
        self.audit(Decided::Refused(denial, verdict));
        self.count_offence(denial, verdict);
    }

    fn audit(&mut self, decided: Decided<'_>) {
        let client = self.address();
        let target = self.head.target().split(|b| *b == b'?').next().unwrap_or_default();
        let raw_path = String::from_utf8_lossy(target);
        let path: Cow<'_, str> = self.found.path.as_deref().map_or(raw_path, Cow::Borrowed);
        let principal = self.found.principal.as_ref();
        let event = audit::Event {
            now: self.now,
            decided,
            rule: self.policy.rule_label(self.found.rule).unwrap_or("none"),
            method: Some(self.head.method().as_str()),
            path: Some(&path),
            client,
            subject: principal.and_then(Principal::subject),
            provider: principal.and_then(|principal| self.policy.provider_label(principal.provider)),
            request_id: plain_text(self.head.headers(), "x-request-id"),
        };
        let line = event.to_line();
        self.engine.log.push(line);
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
