//! The limits of a policy on the shared table: descriptors out of requests, verdicts and headers out of standings.

mod beside;
mod global;
mod key;
mod legacy;
mod report;
mod settle;
mod slots;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::answer::{Denial, Reason};
use crate::config::schema::{LimitHeaders, Mode, OnError};
use crate::engine::HeaderChange;
use crate::global_limits::{Group, Lease, LimitService};
use crate::limits::{
    Admitted, Algorithm, Charge, Demand, Denied, Descriptor, Reason as LimitReason, Seed, Table, headers, take_all,
};
use crate::policy::Limit;
use crate::ports::SharedStore;
use crate::time::UnixNanos;

pub use beside::beside_the_service;
pub use key::Subject;
pub use legacy::Legacy;
pub use report::{Question, QuestionError};
pub use settle::Settlement;
pub use slots::Slots;

/// What became of a charge.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Refusals, each with the mode of its limit.
    pub denials: Vec<(Mode, Denial)>,
    /// Headers of the response, if the request passes.
    pub response: Vec<HeaderChange>,
    /// The same in the older headers, if they are wanted.
    pub legacy: Option<Legacy>,
    /// What an operator should count: the limit's index and the event.
    pub events: Vec<(u16, &'static str)>,
    /// What was charged, by limit, where the response may settle it.
    pub charges: Vec<(u16, Charge)>,
    /// Slots of requests in flight that were taken, by limit: for [`Limiter::keep`].
    pub slots: Vec<(u16, Charge)>,
    /// Quotas whose `warn_at` was reached.
    pub warnings: Vec<Warning>,
    /// Admitted here, and to be asked about: the limits in monitor mode each by itself.
    pub to_ask: Vec<Group>,
}

/// A client has used so much of a quota that the operator wants to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// The limit's index.
    pub limit: u16,
    /// The share, in percent.
    pub share: u8,
}

/// The tables of all limits.
#[derive(Debug, Default)]
pub struct Limiter {
    tables: Vec<Option<Opened>>,
    /// `None`: not yet opened.
    headers: Option<LimitHeaders>,
    slots: Slots,
}

#[derive(Debug)]
struct Opened {
    table: Table,
    own: Rated,
    /// In the order of the limit's tiers.
    tiers: Vec<Rated>,
    /// What the limit service is asked for ahead, and where that stands.
    lease: Option<(Lease, Table)>,
}

/// What some of a limit's clients may.
#[derive(Debug)]
struct Rated {
    algorithm: Algorithm,
    /// The limit's part of `RateLimit-Policy` for them.
    policy: String,
}

impl Limiter {
    /// Opens the tables; `service` grants the leases. `offered` seeds the hash if no worker has done so yet.
    pub fn new(
        limits: &[Limit],
        service: Option<&LimitService>,
        headers: LimitHeaders,
        store: &dyn SharedStore,
        offered: [u8; 16],
    ) -> Self {
        let seed = Seed::shared(store, offered).ok();
        let open = |limit: &Limit| {
            let capacity = u32::try_from(limit.capacity).ok().and_then(NonZeroU32::new)?;
            let longest = limit.algorithms().map(|(_, algorithm)| algorithm.longest_debt());
            let debt = longest.fold(Duration::ZERO, Duration::max);
            let table = Table::new(&limit.name, capacity, debt, limit.overflow, seed?).ok()?;
            let mut rated = limit.algorithms().map(|(_, algorithm)| Rated::new(&limit.name, *algorithm));
            let own = rated.next()??;
            let lease = match limit.lease {
                None => None,
                Some(lease) => Some((lease, global::table_of(limit, lease, service, capacity, seed?)?)),
            };
            Some(Opened { table, own, tiers: rated.collect::<Option<_>>()?, lease })
        };
        Self { tables: limits.iter().map(open).collect(), headers: Some(headers), slots: Slots::default() }
    }

    fn opened(&self, index: usize) -> Option<&Opened> {
        self.tables.get(index).and_then(Option::as_ref)
    }

    /// Charges `cost` to all of `wanted` (indices into `limits`), or to none of them if one refuses.
    ///
    /// Limits in monitor mode are charged apart: they must not refuse what the others admit.
    pub fn charge(
        &self,
        limits: &[Limit],
        wanted: &[usize],
        cost: Cost,
        subject: &Subject<'_>,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let told = self.headers.unwrap_or(LimitHeaders::None);
        let mut enforced: Vec<Charging<'_>> = Vec::with_capacity(wanted.len());
        for index in wanted {
            let Some(limit) = limits.get(*index) else { continue };
            let Some(opened) = self.opened(*index) else {
                outcome.fail(*index, limit, "its table cannot be opened");
                continue;
            };
            let tier = limit.tiers.as_ref().and_then(|tiers| subject.tier(tiers));
            let rated = opened.rated(tier);
            let Some(algorithm) = self.at_present(rated) else {
                outcome.fail(*index, limit, "its lease clock cannot be read");
                continue;
            };
            let descriptor = key::describe(limit, subject);
            let charging = Charging { index: *index, limit, opened, rated, algorithm, descriptor };
            match limit.mode {
                Mode::Enforce => enforced.push(charging),
                Mode::Monitor => outcome.charge(&[charging], cost, told, store, now),
            }
        }
        outcome.charge(&enforced, cost, told, store, now);
        outcome
    }

    /// How `rated` counts now; `None` where it counts requests in flight, and the lease clock cannot be read.
    fn at_present(&self, rated: &Rated) -> Option<Algorithm> {
        match rated.algorithm {
            Algorithm::InFlight(_) => Some(rated.algorithm.in_period(self.slots.period()?)),
            algorithm => Some(algorithm),
        }
    }
}

/// What a request is charged.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// How much.
    pub amount: u64,
    /// Whether the response may settle it, so that the charges must be kept.
    pub is_settled: bool,
}

impl Opened {
    /// What clients of the tier at this place may; without one, what the limit itself says.
    fn rated(&self, tier: Option<usize>) -> &Rated {
        tier.and_then(|place| self.tiers.get(place)).unwrap_or(&self.own)
    }
}

impl Rated {
    fn new(name: &str, algorithm: Algorithm) -> Option<Self> {
        let mut policy = String::new();
        headers::push_policy(&mut policy, name, &algorithm).ok()?;
        Some(Self { algorithm, policy })
    }
}

struct Charging<'a> {
    index: usize,
    limit: &'a Limit,
    opened: &'a Opened,
    rated: &'a Rated,
    algorithm: Algorithm,
    descriptor: Descriptor,
}

impl Charging<'_> {
    /// What it is charged: a request is one in flight, whatever else it costs.
    fn cost(&self, cost: Cost) -> u64 {
        if self.algorithm.is_in_flight() { 1 } else { cost.amount }
    }
}

impl Outcome {
    fn charge(
        &mut self,
        charging: &[Charging<'_>],
        cost: Cost,
        told: LimitHeaders,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) {
        if charging.is_empty() {
            return;
        }
        let demands: Vec<Demand<'_>> = charging
            .iter()
            .map(|one| Demand {
                table: &one.opened.table,
                descriptor: one.descriptor.as_bytes(),
                algorithm: one.algorithm,
                cost: one.cost(cost),
            })
            .collect();
        let mut admitted = Vec::with_capacity(demands.len());
        match take_all(store, &demands, now, &mut admitted) {
            Ok(()) => self.admit(charging, cost, told, &admitted, store, now),
            Err(denied) => {
                if let Some(one) = charging.get(denied.index) {
                    self.deny(one, told, &denied.denied);
                }
            }
        }
    }

    fn admit(
        &mut self,
        charging: &[Charging<'_>],
        cost: Cost,
        told: LimitHeaders,
        admitted: &[Admitted],
        store: &dyn SharedStore,
        now: UnixNanos,
    ) {
        let mut policies = String::new();
        let mut standings = String::new();
        for (one, admitted) in charging.iter().zip(admitted) {
            if admitted.overflowed {
                self.count(one.index, "overflow");
            }
            if one.algorithm.is_in_flight() {
                // How many slots are free nobody is told: that changes with every request that ends, this one's included.
                self.slots.extend(admitted.charge.map(|charge| (number(one.index), charge)));
                if one.limit.mode == Mode::Enforce && told.are_standard() {
                    push_item(&mut policies, &one.rated.policy);
                }
                continue;
            }
            if cost.is_settled {
                self.charges.extend(admitted.charge.map(|charge| (number(one.index), charge)));
            }
            let Some(standing) = &admitted.standing else { continue };
            if let Some(share) = one.limit.warn_at {
                let quota = one.rated.algorithm.most_at_once();
                let used = quota.saturating_sub(standing.remaining);
                if settle::reaches(quota, share, used.saturating_sub(cost.amount), used) {
                    self.warnings.push(Warning { limit: number(one.index), share });
                }
            }
            // How a global limit stands, its service says, unless it is not asked each time.
            if one.limit.mode == Mode::Monitor || (one.limit.is_global && one.opened.lease.is_none()) {
                continue;
            }
            if told.are_legacy() {
                let standing = Legacy::new(&one.rated.algorithm, standing);
                self.legacy = Some(self.legacy.map_or(standing, |other| other.tighter(standing)));
            }
            if !told.are_standard() {
                continue;
            }
            push_item(&mut policies, &one.rated.policy);
            // Sets its own comma. The name was good enough for the policy.
            let _ = headers::push_standing(&mut standings, &one.limit.name, &one.rated.algorithm, standing);
        }
        for (name, list) in [("ratelimit-policy", policies), ("ratelimit", standings)] {
            if !list.is_empty() {
                self.response.push(HeaderChange::Set(name.to_owned(), list.into_bytes()));
            }
        }
        if charging.iter().any(|one| one.limit.is_global) {
            self.ask_about(charging, cost.amount, told, admitted, store, now);
        }
    }

    fn deny(&mut self, one: &Charging<'_>, told: LimitHeaders, denied: &Denied) {
        if denied.overflowed {
            self.count(one.index, "overflow");
        }
        let name = &one.limit.name;
        let in_flight = one.algorithm.is_in_flight();
        let (reason, wait) = match denied.reason {
            LimitReason::Limit(_) if in_flight => (Reason::ConcurrencyExceeded, None),
            LimitReason::TableFull { .. } if in_flight => (Reason::LimitOverflow, None),
            LimitReason::Limit(refused) => (Reason::LimitExceeded, refused.retry_after),
            LimitReason::TableFull { retry_after } => (Reason::LimitOverflow, Some(retry_after)),
            LimitReason::Contended | LimitReason::StoreUnavailable | LimitReason::Corrupt => {
                return self.fail(one.index, one.limit, &denied.reason.to_string());
            }
        };
        let mut denial = Denial::new(reason, format!("limit {name:?}"));
        if in_flight {
            denial = denial.retry_after(slots::retry_after());
            if told.are_standard() {
                denial.headers.push(("ratelimit-policy", one.rated.policy.clone()));
            }
        }
        if let Some(wait) = wait {
            denial = denial.retry_after(headers::retry_after(wait));
            let mut standing = String::new();
            if told.are_standard() && headers::push_used_up(&mut standing, name, wait).is_ok() {
                denial.headers.push(("ratelimit-policy", one.rated.policy.clone()));
                denial.headers.push(("ratelimit", standing));
            }
            if told.are_legacy() {
                denial.headers.extend(Legacy::used_up(&one.rated.algorithm, wait).headers());
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
        self.events.push((number(index), event));
    }
}

/// Appends to a list (RFC 9110, 5.6.1).
fn push_item(list: &mut String, item: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(item);
}

/// A limit's index as counters have it.
fn number(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}
