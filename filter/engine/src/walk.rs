//! The walk of one request through the checks, cheap ones first.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::answer::{Answer, Denial, Reason};
use crate::audit;
use crate::config::schema::Mode;
use crate::counters::{CounterId, Verdict};
use crate::credentials::{self, Credential};
use crate::engine::{Engine, HeaderChange, Passage, plain_text};
use crate::forward;
use crate::http::path::PathOptions;
use crate::http::{Method, RequestHead, RequestPath};
use crate::jwt::error::Quoted;
use crate::jwt::{KeySet, TokenError, UntrustedToken, VerifiedToken};
use crate::key_sets::{Lookup, UnknownKid, WaitFor};
use crate::limiter::Subject;
use crate::policy::{JwtProvider, KeySource, Policy, Provider, ProviderKind, Rule, Who};
use crate::ports::Ports;
use crate::principal::{Identity, Principal};
use crate::time::UnixNanos;

/// What a request has behind it when it is judged again.
#[derive(Debug, Default)]
pub struct Progress {
    /// The limits by address are charged already.
    pub charged_by_address: bool,
    /// What the response is to say about them.
    pub told: Vec<HeaderChange>,
    /// Waiting was in vain: why, and when a retry makes sense.
    pub gave_up: Option<(Reason, Duration)>,
}

/// Why a walk ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// The request is answered so.
    Denied(Answer),
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
    /// The path in its one form, once it is known.
    path: Option<String>,
    rule: u16,
    principal: Option<Principal>,
    /// The client's address, asked for once.
    address: Option<Option<IpAddr>>,
    passage: Passage,
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
        Self {
            engine,
            policy,
            head,
            progress,
            ports,
            now,
            path: None,
            rule: NO_RULE,
            principal: None,
            address: None,
            passage: Passage::default(),
        }
    }

    /// Goes through all checks.
    ///
    /// # Errors
    /// [`Stop`] at the first check that refuses (in enforce mode), or where keys must be waited for.
    pub fn run(mut self) -> Result<Passage, Stop> {
        self.remove_identity_headers();
        let head = self.head;
        let options = PathOptions {
            resolve_unreserved: false,
            asterisk_form: *head.method() == Method::Options,
            ..PathOptions::default()
        };
        let path = match RequestPath::parse_with(head.target(), &options) {
            Ok(path) => path,
            Err(error) => {
                self.tolerate(self.policy.mode, Denial::new(error.reason(), ""))?;
                return Ok(self.passage);
            }
        };
        self.path = Some(path.as_str().to_owned());
        let Some(rule) = self.find_rule(&path)? else { return Ok(self.passage) };
        self.check_headers(rule)?;
        self.charge_by_address(rule)?;
        self.identify(rule, &path)?;
        self.check_scopes(rule)?;
        self.charge(rule, &rule.limits_by_principal)?;
        self.forward(rule)?;
        self.engine.counters.add(CounterId::Decision(self.rule, Reason::Ok, Verdict::Allowed));
        Ok(self.passage)
    }

    /// What only the gateway may say is removed from what the client says, on every path, before anything else.
    fn remove_identity_headers(&mut self) {
        for (name, _) in self.head.headers().iter() {
            if self.policy.is_identity_header(name)
                && let Ok(name) = std::str::from_utf8(name)
                && !self.passage.request.iter().any(|change| matches!(change, HeaderChange::Remove(n) if n == name))
            {
                self.passage.request.push(HeaderChange::Remove(name.to_owned()));
            }
        }
    }

    /// The rule that applies: the policy that the route names, else the first rule that matches.
    fn find_rule(&mut self, path: &RequestPath<'_>) -> Result<Option<&'a Rule>, Stop> {
        let policy = self.policy;
        let index = match self.ports.attributes.route_policy() {
            Some(name) => match std::str::from_utf8(&name).ok().and_then(|name| policy.named.get(name)) {
                Some(index) => Some(*index),
                None => {
                    let detail = format!("the route names the policy {:?}", String::from_utf8_lossy(&name));
                    return self.tolerate(policy.mode, Denial::new(Reason::RoutePolicyUnknown, detail)).map(|()| None);
                }
            },
            None => match policy.index.find(self.head, path) {
                Ok(found) => found.map(|found| found.index).or(policy.unmatched),
                Err(repeated) => {
                    let denial = Denial::new(repeated.reason(), repeated.to_string());
                    return self.tolerate(policy.mode, denial).map(|()| None);
                }
            },
        };
        match index.and_then(|index| Some((index, policy.rules.get(index)?))) {
            Some((index, rule)) => {
                self.rule = u16::try_from(index).unwrap_or(NO_RULE);
                Ok(Some(rule))
            }
            None => self.tolerate(policy.mode, Denial::new(Reason::RouteUnmatched, "")).map(|()| None),
        }
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

    fn charge_by_address(&mut self, rule: &Rule) -> Result<(), Stop> {
        if std::mem::replace(&mut self.progress.charged_by_address, true) {
            self.passage.response.append(&mut self.progress.told);
            return Ok(());
        }
        self.charge(rule, &rule.limits_by_address)
    }

    fn charge(&mut self, rule: &Rule, limits: &[usize]) -> Result<(), Stop> {
        if limits.is_empty() {
            return Ok(());
        }
        let policy = self.policy;
        let address = self.limits_read_address(limits).then(|| self.address()).flatten();
        let subject = Subject {
            head: self.head,
            rule: &rule.label,
            address,
            principal: self.principal.as_ref().map(|principal| {
                let provider = policy.provider_label(principal.provider).unwrap_or_default();
                (provider, principal.claims())
            }),
        };
        let outcome = self.engine.limiter.charge(&policy.limits, limits, &subject, self.ports.store, self.now);
        for (limit, event) in outcome.events {
            self.engine.counters.add(CounterId::Limit(limit, event));
        }
        // Monitor mode tells the client nothing about limits.
        if self.mode(rule.mode) == Mode::Enforce {
            outcome.response.into_iter().for_each(|change| self.tell(change));
        }
        for (mode, denial) in outcome.denials {
            let mode = if mode == Mode::Monitor { mode } else { rule.mode };
            self.tolerate(mode, denial)?;
        }
        Ok(())
    }

    /// Adds a header to the response; one that stands already becomes a list (RFC 9110, 5.3).
    fn tell(&mut self, change: HeaderChange) {
        let HeaderChange::Set(name, value) = change else { return };
        let standing = self.passage.response.iter_mut().find_map(|standing| match standing {
            HeaderChange::Set(standing_name, list) if *standing_name == name => Some(list),
            _ => None,
        });
        match standing {
            Some(list) => {
                list.extend_from_slice(b", ");
                list.extend_from_slice(&value);
            }
            None => self.passage.response.push(HeaderChange::Set(name, value)),
        }
    }

    fn limits_read_address(&self, limits: &[usize]) -> bool {
        limits.iter().filter_map(|index| self.policy.limits.get(*index)).any(|limit| limit.key.reads_address())
    }

    /// Finds out who calls, where the rule wants to know.
    fn identify(&mut self, rule: &Rule, path: &RequestPath<'_>) -> Result<(), Stop> {
        let required = match &rule.who {
            Who::Everybody => return Ok(()),
            Who::Nobody => return self.tolerate(rule.mode, Denial::new(Reason::RuleDenied, "")),
            Who::VouchedFor(required) => required,
        };
        let found = if required.all {
            self.vouched_by_all(&required.providers, path)
        } else {
            self.vouched_by_any(&required.providers, path)
        };
        match found {
            Ok(Some(principal)) => self.principal = Some(principal),
            Ok(None) if required.optional => {}
            Ok(None) => self.tolerate(rule.mode, Denial::new(Reason::CredentialsMissing, ""))?,
            Err(Refusal::Denied(denial)) => self.tolerate(rule.mode, denial)?,
            Err(Refusal::Wait(stop)) => return Err(stop),
        }
        Ok(())
    }

    /// Every provider must vouch for the caller; the first one's word is the identity. `None`: nothing was sent at all.
    fn vouched_by_all(&mut self, providers: &[usize], path: &RequestPath<'_>) -> Result<Option<Principal>, Refusal> {
        let mut found = Vec::with_capacity(providers.len());
        for index in providers {
            found.push(self.vouched_by_any(std::slice::from_ref(index), path)?);
        }
        let missing = found.iter().filter(|principal| principal.is_none()).count();
        if missing > 0 && missing < found.len() {
            return Err(Refusal::Denied(Denial::new(Reason::CredentialsMissing, "one of several credentials")));
        }
        Ok(found.into_iter().next().flatten())
    }

    /// One provider must vouch for the caller, by the one credential that was sent. `None`: none was sent.
    fn vouched_by_any(&mut self, providers: &[usize], path: &RequestPath<'_>) -> Result<Option<Principal>, Refusal> {
        let policy = self.policy;
        let candidates =
            || providers.iter().filter_map(|index| Some((index_u16(*index)?, policy.providers.get(*index)?)));
        let sources = candidates().flat_map(|(_, provider)| provider.sources.iter());
        let Some(credential) = credentials::find(self.head, path, sources).map_err(Refusal::Denied)? else {
            return self.vouched_by_certificate(candidates());
        };
        let principal = self.verify(candidates(), &credential)?;
        if policy.providers.get(usize::from(principal.provider)).is_some_and(|provider| provider.strip) {
            self.passage.request.extend(credential.removal(self.head));
        }
        Ok(Some(principal))
    }

    fn vouched_by_certificate(
        &mut self,
        mut candidates: impl Iterator<Item = (u16, &'a Provider)>,
    ) -> Result<Option<Principal>, Refusal> {
        let found = candidates.find_map(|(index, provider)| match &provider.kind {
            ProviderKind::Certificate(rule) => Some((index, rule)),
            _ => None,
        });
        let Some((provider, rule)) = found else { return Ok(None) };
        let certificate = rule.identify(self.ports.attributes).map_err(Refusal::Denied)?;
        Ok(certificate.map(|found| Principal { provider, identity: Identity::Certificate(Rc::new(found)) }))
    }

    /// Verifies a credential by the provider that it belongs to.
    fn verify(
        &mut self,
        candidates: impl Iterator<Item = (u16, &'a Provider)>,
        credential: &Credential<'_>,
    ) -> Result<Principal, Refusal> {
        let mut tokens: Vec<(u16, &Provider, &JwtProvider)> = Vec::new();
        for (index, provider) in candidates.filter(|(_, provider)| provider.sources.contains(credential.source)) {
            match &provider.kind {
                ProviderKind::Clients(clients) => {
                    let client = clients.identify(&credential.token, self.now).map_err(Refusal::Denied)?;
                    return Ok(Principal { provider: index, identity: Identity::Client(client) });
                }
                ProviderKind::Jwt(jwt) => tokens.push((index, provider, jwt)),
                ProviderKind::Certificate(_) => {}
            }
        }
        self.verify_token(&tokens, &credential.token)
    }

    /// Verifies a token by the provider that its issuer points to.
    fn verify_token(
        &mut self,
        candidates: &[(u16, &'a Provider, &'a JwtProvider)],
        token: &[u8],
    ) -> Result<Principal, Refusal> {
        let max_bytes = candidates.iter().map(|(_, provider, _)| provider.max_credential_bytes).max().unwrap_or(0);
        if token.len() <= max_bytes {
            for (index, _, jwt) in candidates {
                if let Some(cached) = self.engine.tokens.get(*index, token) {
                    return match cached.still_valid(&jwt.verifier, self.now) {
                        Ok(()) => Ok(Principal { provider: *index, identity: Identity::Token(cached) }),
                        Err(error) => {
                            self.engine.tokens.remove(*index, token);
                            Err(denied(&error))
                        }
                    };
                }
            }
        }
        let untrusted = UntrustedToken::parse(token, max_bytes).map_err(|error| denied(&error))?;
        // The issuer is not verified yet: it only picks the provider that will verify it.
        let issuer = untrusted.unverified_issuer();
        let named =
            || candidates.iter().find(|(_, _, jwt)| jwt.verifier.issuer.as_deref() == issuer && issuer.is_some());
        let any = || candidates.iter().find(|(_, _, jwt)| jwt.verifier.issuer.is_none());
        let Some((index, provider, jwt)) = named().or_else(any) else {
            return Err(denied(&TokenError::IssuerRefused { issuer: Quoted::new(issuer.unwrap_or_default()) }));
        };
        if token.len() > provider.max_credential_bytes {
            return Err(denied(&TokenError::TooLarge { max_bytes: provider.max_credential_bytes }));
        }
        let keys = self.keys(provider, jwt)?;
        let verified = jwt.verifier.verify(untrusted, &keys, self.ports.signatures, self.now);
        let verified = match verified {
            Err(error) if error.newer_keys_may_help() => self.verify_with_newer_keys(provider, jwt, token, error)?,
            verified => verified.map_err(|error| denied(&error))?,
        };
        let verified = Rc::new(verified);
        self.engine.tokens.insert(*index, token, Rc::clone(&verified));
        Ok(Principal { provider: *index, identity: Identity::Token(verified) })
    }

    fn keys(&mut self, provider: &Provider, jwt: &JwtProvider) -> Result<Rc<KeySet>, Refusal> {
        if let KeySource::Fixed(keys) = &jwt.keys {
            return Ok(Rc::clone(keys));
        }
        match self.engine.key_sets.lookup(&provider.name, self.now) {
            Lookup::Ready { keys, .. } => Ok(keys),
            Lookup::Wait(wait_for) => Err(self.wait(provider, wait_for)),
            Lookup::Unavailable { retry_after } => {
                Err(keys_unavailable(Reason::KeysUnavailable, provider, retry_after))
            }
        }
    }

    /// The key set lacks the token's key: perhaps it was rotated. One refetch tells, however many ask.
    fn verify_with_newer_keys(
        &mut self,
        provider: &Provider,
        jwt: &JwtProvider,
        token: &[u8],
        error: TokenError,
    ) -> Result<VerifiedToken, Refusal> {
        if let KeySource::Fixed(_) = jwt.keys {
            return Err(denied(&error));
        }
        let kid_hash = 0;
        match self.engine.key_sets.unknown_kid(&provider.name, kid_hash, self.now, self.ports.store) {
            UnknownKid::Refuse => Err(denied(&error)),
            UnknownKid::Wait(wait_for) => Err(self.wait(provider, wait_for)),
            UnknownKid::Unavailable { retry_after } => {
                Err(keys_unavailable(Reason::KeysUnavailable, provider, retry_after))
            }
            UnknownKid::Retry => {
                let keys = self.keys(provider, jwt)?;
                let untrusted = UntrustedToken::parse(token, provider.max_credential_bytes).map_err(|e| denied(&e))?;
                let verified = jwt.verifier.verify(untrusted, &keys, self.ports.signatures, self.now);
                verified.map_err(|error| denied(&error))
            }
        }
    }

    fn wait(&mut self, provider: &Provider, wait_for: WaitFor) -> Refusal {
        match self.progress.gave_up {
            Some((reason, retry_after)) => keys_unavailable(reason, provider, retry_after),
            None => {
                self.progress.told = std::mem::take(&mut self.passage.response);
                Refusal::Wait(Stop::Wait { provider: provider.name.as_str().into(), wait_for })
            }
        }
    }

    fn check_scopes(&mut self, rule: &Rule) -> Result<(), Stop> {
        let Some(principal) = &self.principal else { return Ok(()) };
        match rule.scopes.check(principal.claims()) {
            Ok(()) => Ok(()),
            Err(denial) => self.tolerate(rule.mode, denial),
        }
    }

    /// What goes on to the service.
    fn forward(&mut self, rule: &Rule) -> Result<(), Stop> {
        let policy = self.policy;
        let provider = self.principal.as_ref().and_then(|p| Some((p, policy.providers.get(usize::from(p.provider))?)));
        if let Some((principal, provider)) = provider {
            let changes = forward::claim_headers(principal.claims(), &provider.headers);
            match changes {
                Ok(changes) => self.passage.request.extend(changes),
                Err(denial) => self.tolerate(rule.mode, denial)?,
            }
        }
        let removed = rule.headers.remove.iter().filter(|name| self.head.headers().get_all(name).next().is_some());
        self.passage.request.extend(removed.map(|name| HeaderChange::Remove(name.clone())));
        let set = rule.headers.set.iter();
        self.passage
            .request
            .extend(set.map(|(name, value)| HeaderChange::Set(name.clone(), value.clone().into_bytes())));
        Ok(())
    }

    fn mode(&self, mode: Mode) -> Mode {
        if self.policy.mode == Mode::Monitor { Mode::Monitor } else { mode }
    }

    /// Carries out a refusal, or only records it in monitor mode.
    fn tolerate(&mut self, mode: Mode, denial: Denial) -> Result<(), Stop> {
        let verdict = match self.mode(mode) {
            Mode::Enforce => Verdict::Denied,
            Mode::Monitor => Verdict::Monitored,
        };
        self.record(&denial, verdict);
        match verdict {
            Verdict::Denied => {
                let request_id = plain_text(self.head.headers(), "x-request-id");
                let answer = Answer::new(&denial, &self.policy.realm, &self.policy.type_base, request_id);
                Err(Stop::Denied(answer))
            }
            _ => Ok(()),
        }
    }

    fn record(&mut self, denial: &Denial, verdict: Verdict) {
        self.engine.counters.add(CounterId::Decision(self.rule, denial.reason, verdict));
        let client = self.address();
        let target = self.head.target().split(|b| *b == b'?').next().unwrap_or_default();
        let raw_path = String::from_utf8_lossy(target);
        let path: Cow<'_, str> = self.path.as_deref().map_or(raw_path, Cow::Borrowed);
        let principal = self.principal.as_ref();
        let event = audit::Event {
            now: self.now,
            denial,
            verdict,
            rule: self.policy.rule_label(self.rule).unwrap_or("none"),
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

    fn address(&mut self) -> Option<IpAddr> {
        *self.address.get_or_insert_with(|| self.ports.attributes.source_address())
    }
}

fn index_u16(index: usize) -> Option<u16> {
    u16::try_from(index).ok()
}

/// Why a token does not identify its bearer now.
enum Refusal {
    Denied(Denial),
    Wait(Stop),
}

fn denied(error: &TokenError) -> Refusal {
    Refusal::Denied(Denial::new(error.reason(), error.to_string()))
}

fn keys_unavailable(reason: Reason, provider: &Provider, retry_after: Duration) -> Refusal {
    let detail = format!("provider {:?}", provider.name);
    Refusal::Denied(Denial::new(reason, detail).retry_after(crate::limits::whole_seconds(retry_after).max(1)))
}
