//! Leaving a failing server alone for a while, and finding out whether it is back.

use std::time::Duration;

use crate::key_sets::{FAILURES_BEFORE_REFUSAL, FetchId, chance, until_retry};
use crate::time::UnixNanos;

/// The longest time for which a failing server is left alone.
pub const MAX_PAUSE: Duration = Duration::from_secs(10);
/// The shortest; also what a client is told while a single question finds out.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Whether a server may be asked.
#[derive(Debug)]
pub(crate) struct Circuit {
    seed: u64,
    /// In a row.
    failures: u32,
    /// In a row too: each pause is longer than the one before.
    pauses: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All questions go through.
    Closed,
    /// None goes through from the one instant to the other; the next one after that finds out.
    Paused(UnixNanos, UnixNanos),
    /// This question finds out; no other goes through.
    Probing(FetchId),
}

impl Circuit {
    pub fn new(seed: u64) -> Self {
        Self { seed, failures: 0, pauses: 0, state: State::Closed }
    }

    /// Whether a question may be sent.
    ///
    /// # Errors
    /// For `Retry-After`: whole seconds, at least one.
    pub fn admit(&self, now: UnixNanos) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::Probing(_) => Err(MIN_PAUSE),
            // Before the pause began: the clock has stepped back.
            State::Paused(since, until) if now < since || until <= now => Ok(()),
            State::Paused(_, until) => {
                let left = until.since(now);
                let up = u64::from(left.subsec_nanos() > 0);
                Err(Duration::from_secs(left.as_secs().saturating_add(up)).max(MIN_PAUSE))
            }
        }
    }

    /// A tick: after a step back of the clock, the pause begins anew; it does not become as long as the step was.
    pub fn on_tick(&mut self, now: UnixNanos) {
        if let State::Paused(since, until) = self.state
            && now < since
        {
            self.state = State::Paused(now, now.plus(until.since(since)));
        }
    }

    /// A question that was admitted has been sent.
    pub fn sent(&mut self, id: FetchId) {
        if let State::Paused(..) = self.state {
            self.state = State::Probing(id);
        }
    }

    /// The server has answered. `true` if it had been left alone before.
    pub fn succeeded(&mut self) -> bool {
        let was_left_alone = self.state != State::Closed;
        *self = Self::new(self.seed.wrapping_add(1));
        was_left_alone
    }

    /// The question `id` failed. `Some` where the server is now left alone for so long.
    pub fn failed(&mut self, id: FetchId, now: UnixNanos) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.failures >= FAILURES_BEFORE_REFUSAL,
            State::Probing(probe) => probe == id,
            // Those that were under way when the pause began say nothing new.
            State::Paused(..) => false,
        };
        if !opens {
            return None;
        }
        self.pauses = self.pauses.saturating_add(1);
        let pause = until_retry(self.pauses, MAX_PAUSE, chance(self.seed, u64::from(self.failures))).max(MIN_PAUSE);
        self.state = State::Paused(now, now.plus(pause));
        Some(pause)
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> UnixNanos {
        UnixNanos(1_000_000_000_000 + millis * 1_000_000)
    }

    fn open() -> (Circuit, Duration) {
        let mut circuit = Circuit::new(7);
        assert_eq!((circuit.failed(FetchId(1), at(0)), circuit.failed(FetchId(2), at(0))), (None, None));
        let pause = circuit.failed(FetchId(3), at(0)).unwrap();
        (circuit, pause)
    }

    #[test]
    fn three_failures_in_a_row_make_a_pause_and_one_question_ends_it() {
        let (mut circuit, pause) = open();
        assert_eq!(circuit.admit(at(1)), Err(Duration::from_secs(1)));
        let after = at(0).plus(pause);
        assert_eq!(circuit.admit(after), Ok(()));
        circuit.sent(FetchId(4));
        assert_eq!(circuit.admit(after.plus(MAX_PAUSE)), Err(Duration::from_secs(1)), "one question only");
        assert!(circuit.succeeded() && !circuit.succeeded());
        assert_eq!((circuit.admit(at(0)), circuit.failures()), (Ok(()), 0));
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let mut circuit = Circuit::new(7);
        for round in 0..10 {
            assert_eq!(circuit.failed(FetchId(round), at(0)), None);
            assert_eq!(circuit.failed(FetchId(round), at(0)), None);
            assert!(!circuit.succeeded());
        }
    }

    #[test]
    fn pauses_grow_to_a_bound_and_never_below_a_second() {
        let (mut circuit, mut pause) = open();
        let mut now = at(0);
        for probe in 10..40 {
            assert!((MIN_PAUSE..=MAX_PAUSE).contains(&pause), "{pause:?}");
            now = now.plus(pause);
            circuit.sent(FetchId(probe));
            pause = circuit.failed(FetchId(probe), now).unwrap();
        }
        assert!(pause >= MAX_PAUSE / 2);
    }

    #[test]
    fn those_under_way_when_the_pause_begins_do_not_prolong_it() {
        let (mut circuit, pause) = open();
        for late in 10..100 {
            assert_eq!(circuit.failed(FetchId(late), at(1)), None);
        }
        assert_eq!(circuit.admit(at(0).plus(pause)), Ok(()));
        circuit.sent(FetchId(4));
        assert_eq!(circuit.failed(FetchId(99), at(2)), None, "not the question that finds out");
        assert!(circuit.failed(FetchId(4), at(2)).is_some());
    }

    #[test]
    fn a_clock_that_steps_back_does_not_prolong_a_pause() {
        let (mut circuit, pause) = open();
        for earlier in [UnixNanos::from_secs(1), UnixNanos(at(0).0 - 1)] {
            assert_eq!(circuit.admit(earlier), Ok(()));
        }
        circuit.on_tick(UnixNanos::from_secs(1));
        assert!(circuit.admit(UnixNanos::from_secs(1)).is_err());
        assert_eq!(circuit.admit(UnixNanos::from_secs(1).plus(pause)), Ok(()));
    }
}
