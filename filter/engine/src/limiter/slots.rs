//! The slots that this worker's requests hold in limits of requests in flight: taken before a request goes on, given back when its
//! stream ends, and moved on with the lease clock meanwhile.

use std::collections::HashMap;

use crate::key_sets::RequestId;
use crate::limits::lease::{self, LeaseClock};
use crate::limits::{Algorithm, Charge, CounterPlace, Reason, in_flight};
use crate::ports::SharedStore;
use crate::time::UnixNanos;

use super::{Limiter, Opened};

/// The slots of one worker.
#[derive(Debug, Default)]
pub struct Slots {
    clock: LeaseClock,
    read_at: Option<UnixNanos>,
    /// How this worker stands in each counter in which its requests hold slots: by the limit's index and the counter's place.
    holdings: HashMap<Counter, Holding>,
    /// The counters in which a request holds a slot each.
    requests: HashMap<RequestId, Vec<Counter>>,
}

type Counter = (u16, CounterPlace);

#[derive(Debug)]
struct Holding {
    /// The first charge, which names the counter.
    charge: Charge,
    /// How many slots are held.
    held: u32,
    /// How many are in the shared counter, by the period in which they were put there. More than `held` where giving back has failed.
    stored: Vec<(u64, u32)>,
}

impl Holding {
    fn is_settled(&self, period: u64) -> bool {
        let stored: u32 = self.stored.iter().map(|(_, count)| count).sum();
        stored == self.held && self.stored.iter().all(|(stood, _)| *stood >= period)
    }
}

impl Slots {
    /// The present period of the lease clock; `None` where it could not be read.
    pub fn period(&self) -> Option<u64> {
        self.clock.period()
    }

    /// Keeps what the request has taken until it ends.
    fn keep(&mut self, id: RequestId, taken: Vec<(u16, Charge)>) {
        let request = self.requests.entry(id).or_default();
        for (limit, charge) in taken {
            let Some((period, count)) = charge.slots() else { continue };
            let counter = (limit, charge.place());
            let holding =
                self.holdings.entry(counter).or_insert_with(|| Holding { charge, held: 0, stored: Vec::new() });
            holding.held = holding.held.saturating_add(count);
            match holding.stored.iter_mut().find(|(stood, _)| *stood == period) {
                Some((_, stored)) => *stored = stored.saturating_add(count),
                None => holding.stored.push((period, count)),
            }
            request.push(counter);
        }
    }
}

impl Limiter {
    /// Whether any limit counts requests in flight.
    pub fn counts_in_flight(&self) -> bool {
        self.tables.iter().flatten().any(|opened| opened.own.algorithm.is_in_flight())
    }

    /// Reads the lease clock, and moves this worker's slots into a new period. What could not be given back is tried again. Gives what
    /// an operator should count.
    pub fn renew(&mut self, store: &dyn SharedStore, now: UnixNanos) -> Vec<(u16, &'static str)> {
        let mut events = Vec::new();
        if !self.counts_in_flight() {
            return events;
        }
        // Ticks may come every millisecond while requests wait.
        if self.slots.read_at.is_none_or(|read_at| now < read_at || now.since(read_at) >= lease::TICK / 2) {
            self.slots.read_at = Some(now);
            self.slots.clock.read(store, now);
        }
        let Some(period) = self.slots.period() else { return events };
        let counters: Vec<Counter> = self.slots.holdings.keys().copied().collect();
        for counter in counters {
            self.store_holding(counter, period, store, &mut events);
        }
        events
    }

    /// Keeps what the request has taken until it ends.
    pub fn keep(&mut self, id: RequestId, taken: Vec<(u16, Charge)>) {
        if !taken.is_empty() {
            self.slots.keep(id, taken);
        }
    }

    /// The request has ended, however that was: its slots are given back. Gives what an operator should count.
    pub fn end(&mut self, id: RequestId, store: &dyn SharedStore) -> Vec<(u16, &'static str)> {
        let mut events = Vec::new();
        for counter in self.slots.requests.remove(&id).into_iter().flatten() {
            if let Some(holding) = self.slots.holdings.get_mut(&counter) {
                holding.held = holding.held.saturating_sub(1);
            }
            self.store_holding(counter, self.slots.period().unwrap_or(0), store, &mut events);
        }
        events
    }

    /// Makes the shared counter hold what this worker's requests do, unless it does already.
    fn store_holding(
        &mut self,
        counter: Counter,
        period: u64,
        store: &dyn SharedStore,
        events: &mut Vec<(u16, &'static str)>,
    ) {
        let (limit, _) = counter;
        let Some(holding) = self.slots.holdings.get_mut(&counter).filter(|holding| !holding.is_settled(period)) else {
            return;
        };
        let Some(Opened { table, .. }) = self.tables.get(usize::from(limit)).and_then(Option::as_ref) else { return };
        let Algorithm::InFlight(quota) = holding.charge.algorithm() else { return };
        let moved = table.move_slots(store, &holding.charge, &quota.in_period(period), &holding.stored, holding.held);
        match moved {
            Ok(moved) => {
                let (period, lost) = moved.unwrap_or((period, 0));
                if lost > 0 {
                    events.push((limit, "lease_lost"));
                }
                if moved.is_none() && holding.held > 0 {
                    // The worker stood still, and others have filled the table since: these are counted no more.
                    events.push((limit, "overflow"));
                }
                holding.stored.clear();
                holding.stored.push((period, holding.held));
                if holding.held == 0 {
                    self.slots.holdings.remove(&counter);
                }
            }
            // The next tick tries again.
            Err(Reason::Contended) => {}
            Err(_) => events.push((limit, "error")),
        }
    }
}

/// What a refused client is told to wait, in seconds.
pub fn retry_after() -> u64 {
    in_flight::RETRY.as_secs()
}
