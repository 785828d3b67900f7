//! Facts about the state of one client, and a property against a model that keeps every offence.

use proptest::prelude::*;

use super::*;

const START: UnixNanos = UnixNanos::from_secs(1_000_000);

fn terms() -> Terms {
    let span = Duration::from_secs;
    Terms { offences: 3, window: span(60), ban: span(100), ban_max: span(500), forget: span(1000) }
}

fn at(seconds: u64) -> UnixNanos {
    START.plus(Duration::from_secs(seconds))
}

fn offend(entry: &mut Entry, seconds: u64) -> Recorded {
    entry.offend(&terms(), at(seconds))
}

fn ban_at(entry: &mut Entry, seconds: u64) {
    for _ in 0..3 {
        offend(entry, seconds);
    }
}

fn until(recorded: Recorded) -> u64 {
    match recorded {
        Recorded::Begun(ban) => ban.until.as_secs() - START.as_secs(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_offence_that_fills_the_window_bans_and_no_earlier_one() {
    let mut entry = Entry::default();
    assert_eq!(offend(&mut entry, 0), Recorded::Counted(1));
    assert_eq!(offend(&mut entry, 59), Recorded::Counted(2));
    assert_eq!(entry.ban(at(59)), None);
    assert_eq!(until(offend(&mut entry, 59)), 159);
    assert!(entry.ban(at(158)).is_some());
    assert_eq!(entry.ban(at(159)), None);
}

#[test]
fn a_window_that_has_passed_counts_no_more() {
    let mut entry = Entry::default();
    offend(&mut entry, 0);
    offend(&mut entry, 30);
    assert_eq!(offend(&mut entry, 60), Recorded::Counted(1));
}

#[test]
fn each_ban_is_twice_as_long_up_to_the_longest_and_is_forgotten_in_the_end() {
    let (mut entry, mut now) = (Entry::default(), 0);
    for expected in [100, 200, 400, 500, 500] {
        offend(&mut entry, now);
        offend(&mut entry, now);
        let end = until(offend(&mut entry, now));
        assert_eq!(end - now, expected);
        now = end;
    }
    now += 1000;
    offend(&mut entry, now);
    offend(&mut entry, now);
    assert_eq!(until(offend(&mut entry, now)) - now, 100);
}

#[test]
fn knocking_at_a_closed_door_does_not_make_the_ban_longer() {
    let mut entry = Entry::default();
    ban_at(&mut entry, 0);
    let before = entry;
    for second in 0..100 {
        assert_eq!(offend(&mut entry, second), Recorded::Standing);
    }
    assert_eq!(entry, before);
    assert_eq!(offend(&mut entry, 100), Recorded::Counted(1));
}

#[test]
fn an_operator_s_ban_is_no_repetition_and_forgets_none() {
    let mut entry = Entry::default();
    assert_eq!(entry.impose(Duration::from_secs(10), &terms(), at(0)).strikes, 0);
    assert_eq!(entry.ban(at(9)).map(|ban| ban.until), Some(at(10)));
    let mut entry = Entry::default();
    ban_at(&mut entry, 0);
    assert_eq!(entry.impose(Duration::from_secs(10), &terms(), at(50)).strikes, 1);
    assert_eq!(entry.ban(at(60)), None);
    assert_eq!(
        until({
            offend(&mut entry, 60);
            offend(&mut entry, 60);
            offend(&mut entry, 60)
        }),
        260
    );
}

#[test]
fn a_clock_that_steps_back_lifts_nothing_and_bans_nothing() {
    let mut entry = Entry::default();
    ban_at(&mut entry, 1000);
    assert!(entry.ban(at(0)).is_some(), "lifted");
    assert!(entry.rebase(at(0)));
    assert!(entry.ban(at(99)).is_some());
    assert_eq!(entry.ban(at(100)), None, "longer than it was given");
    let mut entry = Entry::default();
    offend(&mut entry, 1000);
    offend(&mut entry, 1000);
    assert!(entry.rebase(at(0)));
    assert_eq!(entry.ban(at(0)), None);
    // What was counted stays counted, for as long as a window.
    assert!(matches!({ entry }.offend(&terms(), at(59)), Recorded::Begun(_)));
    assert_eq!(entry.offend(&terms(), at(60)), Recorded::Counted(1));
}

#[test]
fn workers_whose_clocks_differ_a_little_change_nothing() {
    let mut entry = Entry::default();
    offend(&mut entry, 1);
    assert!(!entry.rebase(at(0)));
    assert_eq!(offend(&mut entry, 0), Recorded::Counted(2));
}

#[test]
fn an_entry_is_busy_while_it_counts_and_then_remembers() {
    let mut entry = Entry::default();
    assert_eq!(entry.need(at(0)), Need::Idle);
    offend(&mut entry, 0);
    assert!(matches!(entry.need(at(60)), Need::Busy(_)));
    assert_eq!(entry.need(at(61)), Need::Idle);
    ban_at(&mut entry, 100);
    assert!(matches!(entry.need(at(200)), Need::Busy(_)));
    assert_eq!(entry.need(at(201)), Need::Remembers(at(1200)));
    assert_eq!(entry.need(at(1200)), Need::Idle);
    assert!(Need::Idle < Need::Remembers(at(0)) && Need::Remembers(at(9)) < Need::Busy(at(0)));
}

#[test]
fn no_length_overflows() {
    let longest = Terms { ban: Duration::MAX, ban_max: Duration::MAX, ..terms() };
    assert_eq!(longest.length(u16::MAX), Duration::MAX);
    assert_eq!(terms().length(u16::MAX), Duration::from_secs(500));
    assert_eq!(terms().length(0), Duration::from_secs(100));
}

proptest! {
    #[test]
    fn a_stored_entry_is_read_back(
        times in prop::array::uniform3(any::<u64>()), offences: u32, strikes: u16, is_ban: bool
    ) {
        let [since, until, forget_at] = times.map(UnixNanos);
        let entry = Entry { since, until, forget_at, offences, strikes, is_ban };
        prop_assert_eq!(Entry::from_bytes(&entry.to_bytes()), entry);
    }

    /// Against a model that keeps every offence: no ban with fewer than the limit in its window, and none missing where a window of
    /// this length holds twice the limit less one.
    #[test]
    fn bans_are_never_early_and_never_far_too_late(gaps in prop::collection::vec(0..40u64, 1..80)) {
        let (mut entry, mut now, mut log) = (Entry::default(), 0, Vec::new());
        for gap in gaps {
            now += gap;
            match offend(&mut entry, now) {
                Recorded::Standing => {}
                Recorded::Counted(_) => {
                    log.push(now);
                    let recent = log.iter().filter(|then| now - **then < 60).count();
                    prop_assert!(recent < 5, "{recent} offences in one window, and no ban");
                }
                Recorded::Begun(_) => {
                    log.push(now);
                    prop_assert!(log.iter().filter(|then| now - **then < 60).count() >= 3);
                    log.clear();
                }
            }
        }
    }
}
