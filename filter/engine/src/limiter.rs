//! The limits of a policy on the shared table: descriptors out of requests, verdicts and headers out of standings.

use std::net::IpAddr;
use std::num::NonZeroU32;

use crate::answer::{Denial, Reason};
use crate::claims::Claims;
use crate::config::schema::{Mode, OnError};
use crate::engine::HeaderChange;
use crate::forward;
use crate::http::RequestHead;
use crate::limits::descriptor::Ipv6Prefix;
use crate::limits::{
    Admitted, Algorithm, Demand, Denied, Descriptor, PartKind, Reason as LimitReason, Seed, Table, headers, take_all,
};
use crate::policy::{KeyPart, Limit, LimitKey};
use crate::ports::SharedStore;
use crate::time::UnixNanos;

/// What a request is counted by.
pub struct Subject<'a> {
    /// The request's head.
    pub head: &'a RequestHead,
    /// The rule's name.
    pub rule: &'a str,
    /// Asks for the client's address: a limit that takes the principal first seldom needs it.
    pub address: &'a dyn Fn() -> Option<IpAddr>,
    /// The provider's name and what it says of the caller.
    pub principal: Option<(&'a str, &'a Claims)>,
}

/// What became of a charge.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Refusals, each with the mode of its limit.
    pub denials: Vec<(Mode, Denial)>,
    /// Headers of the response, if the request passes.
    pub response: Vec<HeaderChange>,
    /// What an operator should count: the limit's index and the event.
    pub events: Vec<(u16, &'static str)>,
}

/// The tables of all limits.
#[derive(Debug, Default)]
pub struct Limiter {
    tables: Vec<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    table: Table,
    algorithm: Algorithm,
    /// This limit's part of `RateLimit-Policy`.
    policy: String,
}

impl Limiter {
    /// Opens the tables. `offered` seeds the hash if no worker has done so yet.
    pub fn new(limits: &[Limit], store: &dyn SharedStore, offered: [u8; 16]) -> Self {
        let seed = Seed::shared(store, offered).ok();
        let open = |limit: &Limit| {
            let algorithm = Algorithm::Gcra(limit.quota);
            let capacity = u32::try_from(limit.capacity).ok().and_then(NonZeroU32::new)?;
            let debt = algorithm.longest_debt();
            let table = Table::new(&limit.name, capacity, debt, limit.overflow, seed?).ok()?;
            let mut policy = String::new();
            headers::push_policy(&mut policy, &limit.name, &algorithm).ok()?;
            Some(Opened { table, algorithm, policy })
        };
        Self { tables: limits.iter().map(open).collect() }
    }

    /// Charges all of `wanted` (indices into `limits`), or none of them if one refuses.
    ///
    /// Limits in monitor mode are charged apart: they must not refuse what the others admit.
    pub fn charge(
        &self,
        limits: &[Limit],
        wanted: &[usize],
        subject: &Subject<'_>,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut enforced: Vec<Charging<'_>> = Vec::with_capacity(wanted.len());
        for index in wanted {
            let Some(limit) = limits.get(*index) else { continue };
            let Some(opened) = self.tables.get(*index).and_then(Option::as_ref) else {
                outcome.fail(*index, limit, "its table cannot be opened");
                continue;
            };
            let charging = Charging { index: *index, limit, opened, descriptor: describe(limit, subject) };
            match limit.mode {
                Mode::Enforce => enforced.push(charging),
                Mode::Monitor => outcome.charge(&[charging], store, now),
            }
        }
        outcome.charge(&enforced, store, now);
        outcome
    }
}

struct Charging<'a> {
    index: usize,
    limit: &'a Limit,
    opened: &'a Opened,
    descriptor: Descriptor,
}

impl Outcome {
    fn charge(&mut self, charging: &[Charging<'_>], store: &dyn SharedStore, now: UnixNanos) {
        if charging.is_empty() {
            return;
        }
        let demands: Vec<Demand<'_>> = charging
            .iter()
            .map(|one| Demand {
                table: &one.opened.table,
                descriptor: one.descriptor.as_bytes(),
                algorithm: one.opened.algorithm,
                cost: 1,
            })
            .collect();
        let mut admitted = Vec::with_capacity(demands.len());
        match take_all(store, &demands, now, &mut admitted) {
            Ok(()) => self.admit(charging, &admitted),
            Err(denied) => {
                if let Some(one) = charging.get(denied.index) {
                    self.deny(one, &denied.denied);
                }
            }
        }
    }

    fn admit(&mut self, charging: &[Charging<'_>], admitted: &[Admitted]) {
        let mut policies = String::new();
        let mut standings = String::new();
        for (one, admitted) in charging.iter().zip(admitted) {
            if admitted.overflowed {
                self.count(one.index, "overflow");
            }
            let Some(standing) = &admitted.standing else { continue };
            if one.limit.mode == Mode::Monitor {
                continue;
            }
            if !policies.is_empty() {
                policies.push_str(", ");
            }
            policies.push_str(&one.opened.policy);
            // Sets its own comma. The name was good enough for the policy.
            let _ = headers::push_standing(&mut standings, &one.limit.name, standing);
        }
        if !standings.is_empty() {
            self.response.push(HeaderChange::Set("ratelimit-policy".to_owned(), policies.into_bytes()));
            self.response.push(HeaderChange::Set("ratelimit".to_owned(), standings.into_bytes()));
        }
    }

    fn deny(&mut self, one: &Charging<'_>, denied: &Denied) {
        if denied.overflowed {
            self.count(one.index, "overflow");
        }
        let name = &one.limit.name;
        let (reason, wait) = match denied.reason {
            LimitReason::Limit(refused) => (Reason::LimitExceeded, refused.retry_after),
            LimitReason::TableFull { retry_after } => (Reason::LimitOverflow, Some(retry_after)),
            LimitReason::Contended | LimitReason::StoreUnavailable | LimitReason::Corrupt => {
                return self.fail(one.index, one.limit, &denied.reason.to_string());
            }
        };
        let mut denial = Denial::new(reason, format!("limit {name:?}"));
        if let Some(wait) = wait {
            denial = denial.retry_after(headers::retry_after(wait));
            let mut standing = String::new();
            if headers::push_used_up(&mut standing, name, wait).is_ok() {
                denial.headers.push(("ratelimit-policy", one.opened.policy.clone()));
                denial.headers.push(("ratelimit", standing));
            }
        }
        self.denials.push((one.limit.mode, denial));
    }

    /// The limit itself failed: the operator has chosen what then happens.
    fn fail(&mut self, index: usize, limit: &Limit, detail: &str) {
        self.count(index, "error");
        if limit.on_error == OnError::Deny {
            let denial = Denial::new(Reason::LimitUnavailable, format!("limit {:?}: {detail}", limit.name));
            self.denials.push((limit.mode, denial.retry_after(1)));
        }
    }

    fn count(&mut self, index: usize, event: &'static str) {
        self.events.push((u16::try_from(index).unwrap_or(u16::MAX), event));
    }
}

/// Whose counter the request charges.
fn describe(limit: &Limit, subject: &Subject<'_>) -> Descriptor {
    let mut descriptor = Descriptor::new();
    descriptor.start(&limit.name);
    match &limit.key {
        LimitKey::All(parts) => {
            for part in parts {
                if !add(&mut descriptor, part, subject) {
                    let (kind, name) = part.kind();
                    descriptor.missing(kind, name);
                }
            }
        }
        LimitKey::FirstOf(parts) => {
            if !parts.iter().any(|part| add(&mut descriptor, part, subject)) {
                descriptor.part(PartKind::Everyone, "", b"");
            }
        }
    }
    descriptor
}

/// Adds a part, if the request has it.
fn add(descriptor: &mut Descriptor, part: &KeyPart, subject: &Subject<'_>) -> bool {
    let (kind, name) = part.kind();
    match part {
        KeyPart::Principal => {
            let Some((provider, user)) = subject.principal.and_then(|(p, claims)| Some((p, claims.subject()?))) else {
                return false;
            };
            descriptor.part(kind, provider, user.as_bytes());
        }
        KeyPart::Ip => {
            let Some(address) = (subject.address)() else { return false };
            descriptor.ip(address, Ipv6Prefix::default());
        }
        KeyPart::Rule => {
            descriptor.part(kind, name, subject.rule.as_bytes());
        }
        KeyPart::Method => {
            descriptor.part(kind, name, subject.head.method().as_str().as_bytes());
        }
        KeyPart::Header(header) => {
            let mut values = subject.head.headers().get_all(header).peekable();
            if values.peek().is_none() {
                return false;
            }
            for value in values {
                descriptor.part(kind, name, value);
            }
        }
        KeyPart::Claim(claim) => {
            let value = subject.principal.and_then(|(_, claims)| forward::claim_text(claims.get(claim)?));
            let Some(value) = value else { return false };
            descriptor.part(kind, name, value.as_bytes());
        }
    }
    true
}
