//! Limits are charged: those that need no identity, and later those that do.

use crate::config::schema::Mode;
use crate::counters::CounterId;
use crate::engine::{HeaderChange, plain_text};
use crate::http::RequestPath;
use crate::limiter::{Cost, Settlement, Subject};
use crate::policy::Rule;
use crate::principal::Principal;

use super::{Charged, Stop, Walk};

impl Walk<'_> {
    pub(super) fn charge_by_address(&mut self, rule: &Rule, path: &RequestPath<'_>) -> Result<(), Stop> {
        if std::mem::replace(&mut self.progress.charged_by_address, true) {
            self.found.passage.response.append(&mut self.progress.told);
            return Ok(());
        }
        self.charge(rule, Charged::ByAddress, path)
    }

    pub(super) fn charge(&mut self, rule: &Rule, charged: Charged, path: &RequestPath<'_>) -> Result<(), Stop> {
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
    pub(super) fn settlement(&mut self) -> Option<Settlement> {
        let charges = std::mem::take(&mut self.progress.charges);
        (!charges.is_empty()).then(|| Settlement {
            rule: self.found.rule,
            charges,
            caller: self.found.principal.as_ref().and_then(Principal::subject).map(str::to_owned),
            request_id: plain_text(self.head.headers(), "x-request-id").map(str::to_owned),
        })
    }

    /// Adds a header to the response; one that stands already becomes a list (RFC 9110, 5.3).
    pub(super) fn tell(&mut self, change: HeaderChange) {
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
}
