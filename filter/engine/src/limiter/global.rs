//! Limits of scope `global`: what the limit service is to be asked about, once the counters here have admitted a request.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::answer::{Denial, Reason};
use crate::config::schema::LimitHeaders;
use crate::global_limits::{Asked, Group, Holder, Lease, LimitService, News, Spend};
use crate::limits::{Admitted, Seed, Table, headers};
use crate::policy::Limit;
use crate::ports::SharedStore;
use crate::time::UnixNanos;

use super::{Charging, Legacy, Limiter, Opened, Outcome, number};

impl Outcome {
    /// Takes what the request costs from leases, and says what is left to be asked about; or refuses it, where the service has refused as
    /// much before.
    pub(super) fn ask_about(
        &mut self,
        charging: &[Charging<'_>],
        cost: u64,
        told: LimitHeaders,
        admitted: &[Admitted],
        store: &dyn SharedStore,
        now: UnixNanos,
    ) {
        let set = self.to_ask.iter().map(|group| group.set + 1).max().unwrap_or(0);
        let mut together = Group { cost, asks: cost, set, ..Group::default() };
        for (one, admitted) in charging.iter().zip(admitted).filter(|(one, _)| !one.limit.is_global) {
            // Slots of requests in flight are given back when the stream ends, as always.
            let charge = admitted.charge.filter(|_| !one.algorithm.is_in_flight());
            together.others.extend(charge.map(|charge| (number(one.index), charge)));
        }
        let mut leased = Vec::new();
        for (one, admitted) in charging.iter().zip(admitted).filter(|(one, _)| one.limit.is_global) {
            let asked = || Asked {
                limit: number(one.index),
                descriptor: one.descriptor.clone(),
                algorithm: one.rated.algorithm,
                standing: admitted.standing,
            };
            let Some((lease, table)) = &one.opened.lease else {
                together.limits.push(asked());
                continue;
            };
            let holder = Holder::new(one.descriptor.clone(), &one.rated.algorithm);
            let asks = match lease.spend(table, &holder, cost, store, now) {
                Spend::Spent => {
                    self.count(one.index, "leased");
                    together.spent.push((number(one.index), holder));
                    continue;
                }
                Spend::Refused(wait) => {
                    self.count(one.index, "refused_again");
                    return self.refuse_again(one, wait, told, charging, together, store, now);
                }
                Spend::Ask(asks) => asks,
                Spend::NoPlace => {
                    self.count(one.index, "lease_overflow");
                    cost
                }
                Spend::Unusable => {
                    self.count(one.index, "error");
                    cost
                }
            };
            leased.push(Group {
                limits: vec![asked()],
                asks,
                is_leased: true,
                ..Group { cost, set, ..Group::default() }
            });
        }
        if together.limits.is_empty() {
            // Nothing is asked about them: what was taken goes with the first question, if there is one.
            if let Some(first) = leased.first_mut() {
                first.others = together.others;
                first.spent = together.spent;
            }
        } else {
            self.to_ask.push(together);
        }
        self.to_ask.extend(leased);
    }

    /// Refuses what the service has refused lately, without asking it. As always, none of the other limits is charged then.
    #[allow(clippy::too_many_arguments, reason = "all of what it gives back, and of what it says")]
    fn refuse_again(
        &mut self,
        refusing: &Charging<'_>,
        wait: Duration,
        told: LimitHeaders,
        charging: &[Charging<'_>],
        taken: Group,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) {
        self.charges.retain(|charge| !taken.others.contains(charge));
        self.response.clear();
        self.legacy = None;
        let of = |index: u16| charging.iter().find(|one| number(one.index) == index).map(|one| one.opened);
        for (index, charge) in &taken.others {
            let _lost = of(*index).map(|opened| opened.table.give_back(store, charge, now).is_err());
        }
        put_back(of, &taken.spent, taken.cost, store, now);
        let name = &refusing.limit.name;
        let mut denial = Denial::new(Reason::LimitExceededGlobally, format!("limit {name:?}"));
        denial = denial.retry_after(headers::retry_after(wait));
        let mut standing = String::new();
        if told.are_standard() && headers::push_used_up(&mut standing, name, wait).is_ok() {
            denial.headers.push(("ratelimit-policy", refusing.rated.policy.clone()));
            denial.headers.push(("ratelimit", standing));
        }
        if told.are_legacy() {
            denial.headers.extend(Legacy::used_up(&refusing.rated.algorithm, wait).headers());
        }
        self.denials.push((refusing.limit.mode, denial));
    }
}

impl Limiter {
    /// Tells a lease what the service has said. Gives what an operator should count, where that is lost.
    pub fn heed_lease(
        &self,
        limit: u16,
        holder: &Holder,
        news: News,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Option<&'static str> {
        let (lease, table) = self.opened(usize::from(limit))?.lease.as_ref()?;
        match lease.heed(table, holder, news, store, now) {
            Ok(true) => None,
            Ok(false) => Some("lease_overflow"),
            Err(_) => Some("error"),
        }
    }

    /// Puts back what a request has taken from leases that is refused after all. What cannot be put back is lost: then the client gets less.
    pub fn put_back(&self, spent: &[(u16, Holder)], cost: u64, store: &dyn SharedStore, now: UnixNanos) {
        put_back(|limit| self.opened(usize::from(limit)), spent, cost, store, now);
    }
}

fn put_back<'a>(
    opened: impl Fn(u16) -> Option<&'a Opened>,
    spent: &[(u16, Holder)],
    cost: u64,
    store: &dyn SharedStore,
    now: UnixNanos,
) {
    for (limit, holder) in spent {
        if let Some((lease, table)) = opened(*limit).and_then(|opened| opened.lease.as_ref()) {
            let _lost = lease.put_back(table, holder, cost, store, now).is_err();
        }
    }
}

/// Where the leases of a limit stand.
pub(super) fn table_of(
    limit: &Limit,
    lease: Lease,
    service: Option<&LimitService>,
    capacity: NonZeroU32,
    seed: Seed,
) -> Option<Table> {
    let service = service.map(LimitService::identity).unwrap_or_default();
    Table::of_leases(&limit.name, capacity, lease.longest(), seed, &service).ok()
}
