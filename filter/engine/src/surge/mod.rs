//! Shedding by priority while a service is slower than its operator wants: the places of this worker's requests.
//!
//! A request of a rule with `surge` takes a place before it goes on, and gives it back once the service begins to answer, or its
//! stream ends. How many places there are, a [`Controller`] finds out from how long answers take. Places are counted to the
//! response's head and no further, as that is what is measured: neither a slow reader nor a WebSocket holds one.
//!
//! **Each worker for itself.** A worker has connections to the service, and a queue for them, of its own, and so sees latencies of
//! its own; nothing is shared, and a request pays for no shared data. So the bounds are per worker: a service gets up to as many
//! requests as all workers' bounds together.
//!
//! **What counts as a sample.** The time from the end of the request, its body included, to the head of the response. A request whose
//! upload has not ended counts as none, or whoever uploads slowly would have others shed. One that waits for longer than the target
//! counts before its answer is there, in each window anew, so that a service that has stalled shows. A failure that comes quickly
//! (5xx) says nothing about what the service bears, and counts as none.
//!
//! **Clock steps.** If the clock steps back, requests under way are taken as begun now, and the window begins anew: nothing is given
//! away, and nothing waits for the clock to come back. If it steps forward, requests under way look late in the windows until they
//! are answered.

mod controller;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use self::controller::{Controller, Full, Priority, Settings};
use crate::key_sets::RequestId;
use crate::time::UnixNanos;

/// The places of one worker.
#[derive(Debug, Default)]
pub struct Surges {
    controllers: Vec<Watched>,
    places: HashMap<RequestId, Place>,
    /// The latest time that was seen.
    latest: UnixNanos,
    events: Vec<(u16, &'static str)>,
}

/// A controller, and what of it the proxy's metrics say.
#[derive(Debug)]
struct Watched {
    controller: Controller,
    /// Whether a request has asked for a place yet: threads that serve no requests must not add to the gauges.
    is_used: bool,
    told: [i64; 2],
}

#[derive(Debug)]
struct Place {
    surge: u16,
    /// Since when the service has had the whole request.
    sent: Option<UnixNanos>,
}

/// A gauge of a named bound, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GaugeId {
    /// How many places there are, over all workers.
    Bound(u16),
    /// How many of them are taken.
    InFlight(u16),
}

/// Every gauge, with its meaning, for the reference. All have the label `surge`.
pub const GAUGES: &[(&str, &str)] = &[
    (
        "portcullis_surge_bound",
        "how many requests may be in flight at present, all workers that have served some together",
    ),
    ("portcullis_surge_in_flight", "how many are: admitted, and not answered yet"),
];

impl GaugeId {
    /// The gauge's name, with the label looked up by its index.
    pub fn name<'a>(self, surge: impl FnOnce(u16) -> Option<&'a str>) -> String {
        let (family, index) = match self {
            Self::Bound(index) => ("portcullis_surge_bound", index),
            Self::InFlight(index) => ("portcullis_surge_in_flight", index),
        };
        format!("{family}.surge.{}", surge(index).unwrap_or("none"))
    }
}

impl Surges {
    /// All places are free.
    pub fn new(settings: impl IntoIterator<Item = Settings>) -> Self {
        let watched = |settings| Watched { controller: Controller::new(settings), is_used: false, told: [0; 2] };
        Self { controllers: settings.into_iter().map(watched).collect(), ..Self::default() }
    }

    /// Takes a place of the bound `surge`: for [`keep`](Self::keep), or [`give_back`](Self::give_back).
    ///
    /// # Errors
    /// [`Full`] where requests of this priority are shed.
    pub fn take(&mut self, surge: u16, priority: Priority, now: UnixNanos) -> Result<(), Full> {
        self.look(surge, now);
        // A rule's index is that of a bound: without one, nothing is bounded.
        let Some(watched) = self.controllers.get_mut(usize::from(surge)) else { return Ok(()) };
        watched.is_used = true;
        watched.controller.take(priority)
    }

    /// The place that was taken is this request's.
    pub fn keep(&mut self, id: RequestId, surge: u16) {
        if let Some(place) = self.places.insert(id, Place { surge, sent: None }) {
            self.give_back(place.surge);
        }
    }

    /// The service has the whole request.
    pub fn on_sent(&mut self, id: RequestId, now: UnixNanos) {
        self.follow_clock(now);
        if let Some(place) = self.places.get_mut(&id) {
            place.sent.get_or_insert(now);
        }
    }

    /// The head of the response is there: the place is free. `failed` says that it is a 5xx.
    pub fn on_answered(&mut self, id: RequestId, failed: bool, now: UnixNanos) {
        self.follow_clock(now);
        let Some(place) = self.places.remove(&id) else { return };
        if let (Some(watched), Some(sent)) = (self.controllers.get_mut(usize::from(place.surge)), place.sent) {
            let took = now.since(sent);
            if !failed || watched.controller.is_late(took) {
                watched.controller.note(took);
            }
        }
        self.give_back(place.surge);
        self.look(place.surge, now);
    }

    /// The stream has ended, however that was: a place that the request still has is free.
    pub fn on_end(&mut self, id: RequestId, now: UnixNanos) {
        self.follow_clock(now);
        let Some(place) = self.places.remove(&id) else { return };
        if let (Some(watched), Some(sent)) = (self.controllers.get_mut(usize::from(place.surge)), place.sent) {
            // Whoever goes away early says nothing about the service; whoever has waited in vain does.
            let waited = now.since(sent);
            if watched.controller.is_late(waited) {
                watched.controller.note(waited);
            }
        }
        self.give_back(place.surge);
        self.look(place.surge, now);
    }

    /// The request does not reach the service: a place that it has is free.
    pub fn withdraw(&mut self, id: RequestId) {
        if let Some(place) = self.places.remove(&id) {
            self.give_back(place.surge);
        }
    }

    /// A place that no request keeps is free.
    pub fn give_back(&mut self, surge: u16) {
        if let Some(watched) = self.controllers.get_mut(usize::from(surge)) {
            watched.controller.give_back();
        }
    }

    /// What an operator should count: the bound's index and the event.
    pub fn take_events(&mut self) -> Vec<(u16, &'static str)> {
        std::mem::take(&mut self.events)
    }

    /// Adds to `out` how the gauges have changed since the last call.
    pub fn take_gauges(&mut self, out: &mut Vec<(GaugeId, i64)>) {
        for (index, watched) in (0..).zip(&mut self.controllers) {
            let Watched { controller, is_used, told } = watched;
            let present = match is_used {
                true => [controller.bound(), controller.in_flight()].map(i64::from),
                false => [0; 2],
            };
            for (id, (present, told)) in
                [GaugeId::Bound(index), GaugeId::InFlight(index)].into_iter().zip(present.into_iter().zip(told))
            {
                let change = present.saturating_sub(*told);
                if change != 0 {
                    out.push((id, change));
                    *told = present;
                }
            }
        }
    }

    /// This configuration serves no requests any more: its gauges go back to nothing.
    pub fn retire(&mut self) {
        self.controllers.iter_mut().for_each(|watched| watched.is_used = false);
    }

    /// Ends the window of `surge` where it is due.
    fn look(&mut self, surge: u16, now: UnixNanos) {
        self.follow_clock(now);
        let Some(watched) = self.controllers.get_mut(usize::from(surge)) else { return };
        let target = watched.controller.target();
        let places = &self.places;
        let late = || {
            let waits = |place: &&Place| place.sent.is_some_and(|sent| now.since(sent) > target);
            places.values().filter(|place| place.surge == surge).filter(waits).count()
        };
        let event = match watched.controller.end_window(now, late) {
            std::cmp::Ordering::Less => "lowered",
            std::cmp::Ordering::Greater => "raised",
            std::cmp::Ordering::Equal => return,
        };
        self.events.push((surge, event));
    }

    /// Takes the clock's word for it that time went back.
    fn follow_clock(&mut self, now: UnixNanos) {
        if now < self.latest {
            for place in self.places.values_mut() {
                place.sent = place.sent.map(|sent| sent.min(now));
            }
        }
        self.latest = now;
    }
}
