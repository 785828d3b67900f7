//! What limits learn from the response: how much the request really cost, or that it cost nothing.

use crate::http::Headers;
use crate::limits::{Algorithm, Charge, Counter};
use crate::policy::{CostHeader, Limit, Settling};
use crate::ports::SharedStore;
use crate::time::UnixNanos;

use super::{Limiter, Warning};

/// The charges of a request that are settled once its response is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settlement {
    /// The rule's index, which says how.
    pub(crate) rule: u16,
    /// What was charged, by limit.
    pub(crate) charges: Vec<(u16, Charge)>,
    /// The verified subject, for a warning.
    pub(crate) caller: Option<String>,
    /// The proxy's request id, for the same.
    pub(crate) request_id: Option<String>,
}

/// What became of a settlement.
#[derive(Debug, Default)]
pub struct Settled {
    /// What an operator should count: the limit's index and the event.
    pub events: Vec<(u16, &'static str)>,
    /// Quotas whose `warn_at` was reached.
    pub warnings: Vec<Warning>,
}

impl Limiter {
    /// Gives back what was charged for a request that is refused after all. A charge that cannot be given back stays: then the
    /// client gets less.
    pub fn give_back(&self, charges: &[(u16, Charge)], store: &dyn SharedStore, now: UnixNanos) {
        for (index, charge) in charges {
            if let Some(opened) = self.opened(usize::from(*index)) {
                let _lost = opened.table.give_back(store, charge, now).is_err();
            }
        }
    }

    /// Gives back the charges, or takes what the request cost beyond what the rule has charged before.
    ///
    /// Nothing of it changes the response. What cannot be stored is counted: a refund that is lost leaves the client with
    /// less, and a cost that is lost leaves it with more, up to the rule's maximum.
    pub fn settle(
        &self,
        limits: &[Limit],
        rule: (&Settling, u64),
        charges: &[(u16, Charge)],
        response: &Headers,
        store: &dyn SharedStore,
        now: UnixNanos,
    ) -> Settled {
        let (settling, paid) = rule;
        let mut settled = Settled::default();
        let status = one_value(response, ":status").and_then(decimal);
        let refunds = status.is_some_and(|status| settling.refund_on.iter().any(|class| class.contains(status)));
        let owed = match &settling.cost_from {
            Some(header) if !refunds => owed(header, paid, charges, response, &mut settled),
            _ => 0,
        };
        if !refunds && owed == 0 {
            return settled;
        }
        for (index, charge) in charges {
            let place = usize::from(*index);
            let (Some(limit), Some(opened)) = (limits.get(place), self.opened(place)) else { continue };
            if refunds {
                settled.events.push((
                    *index,
                    match opened.table.give_back(store, charge, now) {
                        Ok(_) => "refunded",
                        Err(_) => "error",
                    },
                ));
                continue;
            }
            match opened.table.owe(store, charge, owed, now) {
                Ok(Some((before, after))) => {
                    let quota = charge.algorithm();
                    let crossed = limit.warn_at.filter(|share| crosses(&quota, *share, before, after, now));
                    settled.warnings.extend(crossed.map(|share| Warning { limit: *index, share }));
                }
                Ok(None) => settled.events.push((*index, "overflow")),
                // The request is through: only the count is left.
                Err(_) => settled.events.push((*index, "error")),
            }
        }
        settled
    }
}

/// What is owed beyond `paid`.
fn owed(header: &CostHeader, paid: u64, charges: &[(u16, Charge)], response: &Headers, settled: &mut Settled) -> u64 {
    if response.get_all(&header.name).next().is_none() {
        return 0;
    }
    let cost = one_value(response, &header.name).and_then(decimal);
    let mut note = |event| settled.events.extend(charges.iter().map(|(index, _)| (*index, event)));
    match cost {
        None => {
            note("cost_unreadable");
            0
        }
        Some(cost) => {
            if cost > header.max {
                note("cost_capped");
            }
            cost.min(header.max).saturating_sub(paid)
        }
    }
}

/// Whether a charge brought the use of a window from below `share` percent to there, or beyond.
fn crosses(quota: &Algorithm, share: u8, before: Counter, after: Counter, now: UnixNanos) -> bool {
    let used = |counter| match quota.take(counter, 0, now) {
        Ok(taken) => quota.most_at_once().saturating_sub(taken.standing.remaining),
        Err(_) => quota.most_at_once(),
    };
    reaches(quota.most_at_once(), share, used(before), used(after))
}

/// Whether `share` percent of `quota` lie above `before`, and not above `after`.
pub(super) fn reaches(quota: u64, share: u8, before: u64, after: u64) -> bool {
    let line = (u128::from(quota) * u128::from(share)).div_ceil(100);
    u128::from(before) < line && line <= u128::from(after)
}

/// The header's value, if there is exactly one.
fn one_value<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

/// Up to fifteen decimal digits, without a sign.
fn decimal(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = (1..=15).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| text.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0')))
}
