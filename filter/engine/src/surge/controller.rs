//! How many requests a service bears: additive increase, multiplicative decrease on the operator's latency target.
//!
//! As TCP finds out the bandwidth of a path (RFC 5681, 3.1), and as adaptive concurrency limits of proxies and RPC frameworks do:
//! - The bound starts at its most, so that a new configuration sheds nobody from a service that is well.
//! - Samples are gathered in windows. If more than a tenth of a window's samples are over the target, the bound falls to three
//!   quarters of what was in use, but not below its least.
//! - Else it grows by its square root, if at least half of it was in use: a bound that nothing tests would only drift up.

use std::cmp::Ordering;
use std::time::Duration;

pub use crate::config::schema::Priority;
use crate::time::UnixNanos;

/// What the operator says about a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The latency that the service should keep: from the end of the request to the head of the response.
    pub target: Duration,
    /// The bound is never lower, whatever the service does.
    pub min: u32,
    /// The bound is never higher.
    pub max: u32,
}

/// The bound of one worker, and how much of it is in use.
#[derive(Debug)]
pub struct Controller {
    settings: Settings,
    bound: u32,
    in_flight: u32,
    window: Window,
}

/// A request finds no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// The bound.
    pub bound: u32,
    /// How many requests are in flight.
    pub in_flight: u32,
}

#[derive(Debug, Default)]
struct Window {
    /// `None`: nothing has happened yet.
    since: Option<UnixNanos>,
    samples: u32,
    late: u32,
    /// The most that were in flight at once.
    peak: u32,
}

impl Controller {
    /// Nothing is in flight, and the bound at its most.
    pub fn new(settings: Settings) -> Self {
        let settings = Settings { max: settings.max.max(settings.min), ..settings };
        Self { settings, bound: settings.max, in_flight: 0, window: Window::default() }
    }

    /// The latency that the service should keep.
    pub fn target(&self) -> Duration {
        self.settings.target
    }

    /// How many requests may be in flight.
    pub fn bound(&self) -> u32 {
        self.bound
    }

    /// How many are.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Takes a place for a request.
    ///
    /// # Errors
    /// [`Full`] where requests of this priority have to leave what is free to others.
    pub fn take(&mut self, priority: Priority) -> Result<(), Full> {
        if self.in_flight >= share(self.bound, priority) {
            return Err(Full { bound: self.bound, in_flight: self.in_flight });
        }
        self.in_flight = self.in_flight.saturating_add(1);
        self.window.peak = self.window.peak.max(self.in_flight);
        Ok(())
    }

    /// A place is free again.
    pub fn give_back(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Whether an answer that takes so long misses the target.
    pub fn is_late(&self, took: Duration) -> bool {
        took > self.settings.target
    }

    /// An answer took so long, or has been waited for in vain.
    pub fn note(&mut self, took: Duration) {
        let is_late = self.is_late(took);
        let window = &mut self.window;
        window.samples = window.samples.saturating_add(1);
        window.late = window.late.saturating_add(u32::from(is_late));
    }

    /// Ends the window where it is due, and says how the bound has changed. `waiting` counts the requests that have waited for
    /// longer than the target.
    pub fn end_window(&mut self, now: UnixNanos, waiting: impl FnOnce() -> usize) -> Ordering {
        let since = match self.window.since {
            Some(since) if since <= now => since,
            // The first, or the clock has stepped back.
            _ => {
                self.window.since = Some(now);
                return Ordering::Equal;
            }
        };
        let length = WINDOW.max(self.settings.target);
        let lasted = now.since(since);
        if lasted < length {
            return Ordering::Equal;
        }
        let waiting = u32::try_from(waiting()).unwrap_or(u32::MAX);
        let samples = self.window.samples.saturating_add(waiting);
        // A service that has stalled under a low bound has few requests to show for it, and must show all the same.
        if samples < (self.bound / 2).clamp(1, ENOUGH_SAMPLES) {
            if lasted >= length.saturating_mul(STALE) {
                self.window = Window { since: Some(now), samples: 0, late: 0, peak: self.in_flight };
            }
            return Ordering::Equal;
        }
        let late = self.window.late.saturating_add(waiting);
        let before = self.bound;
        let peak = self.window.peak;
        if late > samples / LATE_SHARE {
            let used = before.min(peak);
            self.bound = (used.saturating_mul(3) / 4).clamp(self.settings.min, before);
        } else if peak >= before / 2 {
            let more = before.isqrt().max(1);
            self.bound = before.saturating_add(more).min(self.settings.max);
        }
        self.window = Window { since: Some(now), samples: 0, late: 0, peak: self.in_flight };
        self.bound.cmp(&before)
    }
}

/// Up to how many in flight a request of this priority still finds a place. Others leave the last place to critical requests, as
/// a bound is 2 at least, and each has one where nothing is in flight: what nobody tries never recovers.
fn share(bound: u32, priority: Priority) -> u32 {
    let percent = match priority {
        Priority::Critical => return bound,
        Priority::Default => 90,
        Priority::Sheddable => 70,
    };
    u32::try_from(u64::from(bound) * percent / 100).unwrap_or(bound).max(1)
}

/// How long samples are gathered at least; longer targets need longer windows.
pub const WINDOW: Duration = Duration::from_millis(500);
/// With fewer samples, and fewer than half the bound, a window goes on.
const ENOUGH_SAMPLES: u32 = 10;
/// After so many times its length, the samples of a window are too old to say anything.
const STALE: u32 = 20;
/// One of so many samples may be late.
const LATE_SHARE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> UnixNanos {
        UnixNanos(1_700_000_000_000_000_000 + millis * 1_000_000)
    }

    fn controller(min: u32, max: u32) -> Controller {
        Controller::new(Settings { target: Duration::from_millis(100), min, max })
    }

    /// A window in which `used` places were in use at once, and of `used` samples `late` were late.
    fn window(controller: &mut Controller, number: u64, used: u32, late: u32) -> Ordering {
        controller.end_window(at(number * 500), || 0);
        let taken = (0..used).filter(|_| controller.take(Priority::Critical).is_ok()).count();
        for sample in 0..used {
            controller.note(Duration::from_millis(if sample < late { 101 } else { 100 }));
        }
        (0..taken).for_each(|_| controller.give_back());
        controller.end_window(at((number + 1) * 500), || 0)
    }

    #[test]
    fn lower_priorities_are_shed_first_and_each_has_a_place() {
        for bound in 2..500 {
            let [critical, default, sheddable] =
                [Priority::Critical, Priority::Default, Priority::Sheddable].map(|priority| share(bound, priority));
            assert_eq!(critical, bound);
            assert!(default < critical && sheddable <= default && sheddable >= 1, "{bound}");
        }
        assert_eq!([share(100, Priority::Default), share(100, Priority::Sheddable)], [90, 70]);
        assert_eq!(share(u32::MAX, Priority::Critical), u32::MAX);
        assert!(share(u32::MAX, Priority::Default) < u32::MAX);
    }

    #[test]
    fn one_in_ten_may_be_late() {
        let mut bound = controller(4, 1000);
        assert_eq!(window(&mut bound, 0, 600, 60), Ordering::Equal);
        assert_eq!(window(&mut bound, 1, 600, 61), Ordering::Less);
        assert_eq!(bound.bound(), 450);
    }

    #[test]
    fn it_falls_from_what_was_in_use() {
        let mut bound = controller(4, 1000);
        assert_eq!(window(&mut bound, 0, 40, 40), Ordering::Less);
        assert_eq!(bound.bound(), 30);
    }

    #[test]
    fn it_never_falls_to_a_higher_bound() {
        let mut bound = controller(4, 1000);
        window(&mut bound, 0, 40, 40);
        // More are in flight than the bound now admits.
        let mut over = controller(4, 1000);
        for _ in 0..100 {
            over.take(Priority::Critical).unwrap();
        }
        over.bound = 10;
        over.end_window(at(0), || 0);
        assert_eq!(over.end_window(at(500), || 100), Ordering::Less);
        assert_eq!(over.bound(), 7);
    }

    #[test]
    fn it_grows_while_it_is_in_use_and_only_then() {
        let mut bound = controller(4, 1000);
        bound.bound = 100;
        assert_eq!(window(&mut bound, 0, 49, 0), Ordering::Equal);
        assert_eq!(window(&mut bound, 1, 50, 0), Ordering::Greater);
        assert_eq!(bound.bound(), 110);
        bound.bound = 999;
        assert_eq!(window(&mut bound, 2, 999, 0), Ordering::Greater);
        assert_eq!(bound.bound(), 1000);
        assert_eq!(window(&mut bound, 3, 1000, 0), Ordering::Equal);
    }

    #[test]
    fn sheddable_requests_alone_let_it_grow_and_fall() {
        for bound in 2..200 {
            let share = share(bound, Priority::Sheddable);
            assert!(share >= bound / 2 && share >= (bound / 2).clamp(1, ENOUGH_SAMPLES), "{bound}");
        }
    }

    #[test]
    fn a_few_samples_change_nothing() {
        let mut bound = controller(4, 1000);
        assert_eq!(window(&mut bound, 0, 9, 9), Ordering::Equal);
        // They count in the window that goes on.
        assert_eq!(window(&mut bound, 1, 1, 0), Ordering::Less);
        assert_eq!(bound.bound(), 6);
    }

    #[test]
    fn old_samples_are_forgotten() {
        let mut bound = controller(4, 1000);
        assert_eq!(window(&mut bound, 0, 9, 9), Ordering::Equal);
        assert_eq!(bound.end_window(at(10_000), || 0), Ordering::Equal);
        assert_eq!(window(&mut bound, 20, 9, 9), Ordering::Equal);
        assert_eq!(bound.bound(), 1000);
    }

    #[test]
    fn the_target_is_the_shortest_window() {
        let mut bound = Controller::new(Settings { target: Duration::from_secs(2), min: 2, max: 100 });
        bound.end_window(at(0), || 0);
        assert_eq!(bound.end_window(at(1_999), || 100), Ordering::Equal);
        assert_eq!(bound.end_window(at(2_000), || 100), Ordering::Less);
    }
}
