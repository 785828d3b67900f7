//! Services that stall and recover, clocks that step, and any sequence at all.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const TARGET: Duration = Duration::from_millis(200);
const START: u64 = 1_700_000_000_000;

fn at(millis: u64) -> UnixNanos {
    UnixNanos((START + millis) * 1_000_000)
}

fn surges(min: u32, max: u32) -> Surges {
    Surges::new([Settings { target: TARGET, min, max }])
}

impl Surges {
    fn bound(&self) -> u32 {
        self.controllers[0].controller.bound()
    }

    fn in_flight(&self) -> u32 {
        self.controllers[0].controller.in_flight()
    }

    /// A request that goes on, where it does.
    fn send(&mut self, id: u64, priority: Priority, now: UnixNanos) -> bool {
        let taken = self.take(0, priority, now).is_ok();
        if taken {
            self.keep(RequestId(id), 0);
            self.on_sent(RequestId(id), now);
        }
        taken
    }
}

/// Offers `each` requests every 10 ms, from `from` until `until`; each is answered after `took`, where that is anything. Gives how
/// many passed.
fn offer(surges: &mut Surges, (from, until): (u64, u64), each: u64, took: Option<u64>) -> usize {
    let mut passed = 0;
    let mut under_way: Vec<(u64, u64)> = Vec::new();
    for now in (from..until).step_by(10) {
        under_way.retain(|(begun, id)| {
            let ends = took.is_some_and(|took| begun + took <= now);
            if ends {
                surges.on_answered(RequestId(*id), false, at(now));
            }
            !ends
        });
        for number in 0..each {
            let id = now * 1_000 + number;
            if surges.send(id, Priority::Default, at(now)) {
                under_way.push((now, id));
                passed += 1;
            }
        }
    }
    for (_, id) in under_way {
        surges.on_end(RequestId(id), at(until));
    }
    passed
}

#[test]
fn a_service_that_is_well_sheds_nobody() {
    let mut surges = surges(4, 1_000);
    assert_eq!(offer(&mut surges, (0, 20_000), 5, Some(150)), 10_000);
    assert_eq!((surges.bound(), surges.in_flight()), (1_000, 0));
}

#[test]
fn a_stalled_service_brings_the_bound_to_its_least_and_an_answering_one_back() {
    let mut surges = surges(4, 200);
    // Nothing is ever answered, and nobody goes away: what is in flight shows that it waits.
    offer(&mut surges, (0, 20_000), 5, None);
    assert_eq!((surges.bound(), surges.in_flight()), (4, 0));
    // It answers again, quickly; the requests that waited have ended.
    let passed = offer(&mut surges, (20_000, 60_000), 5, Some(100));
    assert!(surges.bound() >= 50, "{}", surges.bound());
    assert!(passed > 15_000, "{passed}");
    // In the end nobody is shed.
    assert_eq!(offer(&mut surges, (60_000, 70_000), 5, Some(100)), 5_000);
}

#[test]
fn a_stall_under_the_least_bound_recovers_too() {
    for priority in [Priority::Default, Priority::Sheddable, Priority::Critical] {
        let mut surges = surges(2, 2);
        assert!(surges.send(1, priority, at(0)));
        for now in (0..10_000).step_by(100) {
            surges.take(0, priority, at(now)).map(|()| surges.give_back(0)).ok();
        }
        surges.on_answered(RequestId(1), false, at(10_000));
        assert!(surges.send(2, priority, at(10_000)), "{priority:?}");
    }
}

#[test]
fn slow_uploads_shed_nobody() {
    let mut surges = surges(4, 100);
    for id in 0..80 {
        surges.take(0, Priority::Default, at(0)).unwrap();
        surges.keep(RequestId(id), 0);
    }
    for now in (0..60_000).step_by(100) {
        surges.take(0, Priority::Critical, at(now)).unwrap();
        surges.give_back(0);
    }
    // An answer before the end of its upload is no sample either.
    (0..80).for_each(|id| surges.on_answered(RequestId(id), false, at(60_000)));
    surges.take(0, Priority::Default, at(61_000)).unwrap();
    assert_eq!(surges.bound(), 100);
}

#[test]
fn quick_failures_and_clients_that_go_away_early_count_as_nothing() {
    let mut surges = surges(4, 100);
    surges.controllers[0].controller = {
        let mut low = Controller::new(Settings { target: TARGET, min: 4, max: 100 });
        for _ in 0..20 {
            low.take(Priority::Critical).unwrap();
        }
        low.end_window(at(0), || 0);
        low.end_window(at(500), || 20);
        (0..20).for_each(|_| low.give_back());
        low
    };
    let bound = surges.bound();
    for now in 1..200 {
        for id in 0..10 {
            assert!(surges.send(id, Priority::Critical, at(500 + now * 10)));
        }
        (0..5).for_each(|id| surges.on_answered(RequestId(id), true, at(501 + now * 10)));
        (5..10).for_each(|id| surges.on_end(RequestId(id), at(501 + now * 10)));
    }
    assert_eq!((surges.bound(), surges.in_flight()), (bound, 0));
    // Those that come late, and those whose clients have waited in vain, do count.
    for id in 0..10 {
        assert!(surges.send(id, Priority::Critical, at(3_000)));
    }
    (0..5).for_each(|id| surges.on_answered(RequestId(id), true, at(3_300)));
    (5..10).for_each(|id| surges.on_end(RequestId(id), at(3_300)));
    surges.take(0, Priority::Critical, at(4_000)).unwrap();
    assert!(surges.bound() < bound);
}

#[test]
fn a_clock_that_steps_back_neither_frees_nor_locks_out() {
    let mut surges = surges(4, 40);
    for id in 0..30 {
        assert!(surges.send(id, Priority::Critical, at(1_000_000)));
    }
    // Back by a quarter of an hour: nothing is late yet, and what is in flight stays so.
    assert!(surges.send(30, Priority::Critical, at(100_000)));
    assert_eq!((surges.bound(), surges.in_flight()), (40, 31));
    // But the stall shows on the new clock.
    for now in (100_000..110_000).step_by(100) {
        surges.take(0, Priority::Sheddable, at(now)).unwrap_err();
    }
    assert_eq!((surges.bound(), surges.in_flight()), (4, 31));
    for id in 0..31 {
        surges.on_answered(RequestId(id), false, at(110_000));
    }
    assert_eq!(surges.in_flight(), 0);
    offer(&mut surges, (110_000, 130_000), 2, Some(50));
    assert!(surges.bound() > 10, "{}", surges.bound());
}

#[test]
fn a_step_forward_costs_one_window() {
    let mut surges = surges(4, 40);
    for id in 0..30 {
        assert!(surges.send(id, Priority::Critical, at(0)));
    }
    surges.take(0, Priority::Critical, at(86_400_000)).unwrap_err();
    assert_eq!(surges.bound(), 22);
}

#[test]
fn gauges_add_up_and_go_back_to_nothing() {
    let mut surges = surges(4, 40);
    let mut changes = Vec::new();
    surges.take_gauges(&mut changes);
    assert_eq!(changes, [], "a thread without requests adds nothing");
    assert!(surges.send(1, Priority::Default, at(0)));
    surges.take_gauges(&mut changes);
    assert_eq!(changes, [(GaugeId::Bound(0), 40), (GaugeId::InFlight(0), 1)]);
    changes.clear();
    surges.take_gauges(&mut changes);
    assert_eq!(changes, []);
    surges.on_answered(RequestId(1), false, at(10));
    surges.retire();
    surges.take_gauges(&mut changes);
    assert_eq!(changes, [(GaugeId::Bound(0), -40), (GaugeId::InFlight(0), -1)]);
    assert_eq!(GaugeId::Bound(0).name(|_| Some("orders")), "portcullis_surge_bound.surge.orders");
}

#[test]
fn gauges_have_their_meaning_in_the_reference() {
    for (id, (family, _)) in [GaugeId::Bound(0), GaugeId::InFlight(0)].into_iter().zip(GAUGES) {
        assert_eq!(id.name(|_| None), format!("{family}.surge.none"));
    }
}

#[test]
fn a_bound_that_is_not_there_bounds_nothing() {
    let mut surges = surges(4, 40);
    assert!(surges.take(7, Priority::Sheddable, at(0)).is_ok());
    surges.keep(RequestId(1), 7);
    surges.on_sent(RequestId(1), at(0));
    surges.on_answered(RequestId(1), false, at(5_000));
    assert_eq!(surges.in_flight(), 0);
}

proptest! {
    /// Whatever happens in whatever order, on whatever clock: places are what is in flight, each is given back once, and the bound
    /// stays between its least and its most.
    #[test]
    fn places_are_neither_lost_nor_doubled(
        (min, more) in (2..10u32, 0..60u32),
        steps in prop::collection::vec((0..8u8, 0..40u64, -300..2_000i64), 1..400),
    ) {
        let max = min + more;
        let mut surges = surges(min, max);
        let mut held: HashSet<u64> = HashSet::new();
        let mut now: i64 = 1_000_000;
        let mut gauges = [0i64; 2];
        for (what, id, passes) in steps {
            // One step in eight is a step of the clock, also back.
            now = if what == 7 { now + passes * 10 } else { now + passes.rem_euclid(300) }.max(0);
            let instant = at(now as u64);
            let request = RequestId(id);
            match what {
                0..=2 if !held.contains(&id) => {
                    let priority = [Priority::Critical, Priority::Default, Priority::Sheddable][usize::from(what)];
                    if surges.take(0, priority, instant).is_ok() {
                        prop_assert!(surges.in_flight() <= surges.bound(), "never admitted beyond the bound");
                        surges.keep(request, 0);
                        held.insert(id);
                    }
                }
                3 => surges.on_sent(request, instant),
                4 => {
                    surges.on_answered(request, id % 2 == 0, instant);
                    held.remove(&id);
                }
                5 => {
                    surges.on_end(request, instant);
                    held.remove(&id);
                }
                6 => {
                    surges.withdraw(request);
                    held.remove(&id);
                }
                _ => {}
            }
            prop_assert_eq!(surges.in_flight() as usize, held.len());
            prop_assert!((min..=max).contains(&surges.bound()));
            let mut changes = Vec::new();
            surges.take_gauges(&mut changes);
            for (id, change) in changes {
                let place = match id { GaugeId::Bound(_) => 0, GaugeId::InFlight(_) => 1 };
                gauges[place] += change;
            }
            prop_assert!(gauges[1] == held.len() as i64 && (gauges[0] == 0 || gauges[0] == i64::from(surges.bound())));
        }
        for id in held {
            surges.on_end(RequestId(id), at(now as u64));
        }
        prop_assert_eq!(surges.in_flight(), 0);
        prop_assert!(surges.places.is_empty());
    }
}
