//! Several limits on one request: all are charged, or none.
//!
//! The shared data have no transaction over several keys. So all limits are first decided on what they read, and only if all
//! of them admit the request are the charges stored, in order. If another worker came in between, that limit is decided
//! anew; if it now refuses, the charges that were stored before it are given back.
//!
//! **Guarantee.** No limit ever admits more than it says: every charge is stored before the request is admitted, and a refund
//! never gives back more than was taken. A refused request leaves no charge behind, except where a refund is lost (see
//! [`Table::give_back`]): then the client gets less, never more. While a refund is under way, another worker may see the
//! charge and refuse a request that would just have fitted. Without a race no limit is ever charged for a refused request.

use super::table::{Admitted, Charge, Decided, Demand, Denied, Table};
use crate::ports::{SharedStore, WriteOutcome};
use crate::time::UnixNanos;

/// Charges all `demands`, or none of them; the admissions are appended to `admitted` in the order of the demands.
///
/// # Errors
/// [`DeniedAll`] names the first demand that was refused. `admitted` is as it was before.
pub fn take_all<S: SharedStore + ?Sized>(
    store: &S,
    demands: &[Demand<'_>],
    now: UnixNanos,
    admitted: &mut Vec<Admitted>,
) -> Result<(), DeniedAll> {
    let before = admitted.len();
    let taken = match demands {
        // One limit needs no second look.
        [demand] => {
            demand.take(store, now).map(|one| admitted.push(one)).map_err(|denied| DeniedAll { index: 0, denied })
        }
        _ => take_several(store, demands, now, admitted),
    };
    if taken.is_err() {
        let stored = admitted.drain(before..).zip(demands).rev();
        for (charge, table) in stored.filter_map(|(one, demand)| Some((one.charge?, demand.table))) {
            give_back(store, table, &charge, now);
        }
    }
    taken
}

/// The demand that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeniedAll {
    /// Its place in the list.
    pub index: usize,
    /// Why.
    pub denied: Denied,
}

fn take_several<S: SharedStore + ?Sized>(
    store: &S,
    demands: &[Demand<'_>],
    now: UnixNanos,
    admitted: &mut Vec<Admitted>,
) -> Result<(), DeniedAll> {
    let mut decided: Vec<Decided> = Vec::with_capacity(demands.len());
    for (index, demand) in demands.iter().enumerate() {
        decided.push(demand.decide(store, now).map_err(|denied| DeniedAll { index, denied })?);
    }
    for (index, (demand, decided)) in demands.iter().zip(decided).enumerate() {
        let one = match decided.store(store) {
            Ok(WriteOutcome::Written) => Ok(decided.admitted()),
            Ok(WriteOutcome::Conflict) => demand.take(store, now),
            Err(unavailable) => Err(unavailable.into()),
        };
        admitted.push(one.map_err(|denied| DeniedAll { index, denied })?);
    }
    Ok(())
}

fn give_back<S: SharedStore + ?Sized>(store: &S, table: &Table, charge: &Charge, now: UnixNanos) {
    // A refund that is lost leaves the client with less, which is the safe side; the refusal itself is what is reported.
    let _lost = table.give_back(store, charge, now).is_err();
}
