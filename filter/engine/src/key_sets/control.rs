//! The control record: the few numbers in shared data by which all workers act as one, and its transitions.
//!
//! Every transition is a pure function from record to record; compare-and-set makes it happen once for all workers.

use std::time::Duration;

use super::source::Timing;
use crate::time::UnixNanos;

/// What all workers know about one key set. Attempts are numbered, so that nothing hangs on the clock's direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Control {
    /// The attempt that brought the standing key set; 0 before the first. An answer with the same bytes keeps it.
    pub generation: u64,
    /// The latest attempt that was begun.
    pub attempt: u64,
    /// The latest attempt that ended, well or badly. Below `attempt`: one is under way, or its leader vanished.
    pub settled: u64,
    /// Attempts that failed since the last good one.
    pub failures: u32,
    /// Somebody met an unknown `kid` and no attempt has been begun since.
    pub asked: bool,
    /// The worker that was the last to begin an attempt.
    pub holder: u64,
    /// Until when the holder is believed to be at work.
    pub lease_until: UnixNanos,
    /// The last good fetch.
    pub fetched_at: UnixNanos,
    /// When the next attempt is due.
    pub next_fetch_at: UnixNanos,
    /// The last refetch for an unknown `kid`: the cooldown runs from here.
    pub asked_at: UnixNanos,
}

/// What an unknown `kid` leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnUnknownKid {
    /// To [`Control::ask`].
    Ask,
    /// To waiting for this attempt.
    Await(u64),
    /// To a refusal: it has just been looked for.
    Refuse,
    /// To no answer: the latest attempt failed.
    CannotKnow,
}

impl Control {
    /// The first record, where a body of this generation may have outlived an older record (0: none has).
    pub fn starting_after(generation: u64) -> Self {
        Self { attempt: generation, settled: generation, ..Self::default() }
    }

    /// Whether an attempt is under way. A lease longer than any that is given was written before the clock stepped
    /// back, and does not count.
    pub fn in_flight(&self, now: UnixNanos, timing: &Timing) -> bool {
        self.attempt > self.settled && now < self.lease_until && self.lease_until <= now.plus(timing.lease)
    }

    /// Whether a worker should begin an attempt now.
    pub fn is_due(&self, now: UnixNanos, timing: &Timing) -> bool {
        let abandoned = self.attempt > self.settled;
        // No schedule reaches further than a refresh: this one is from before the clock stepped back, or from a
        // configuration with a longer refresh.
        let misdated = self.next_fetch_at > now.plus(timing.refresh);
        !self.in_flight(now, timing) && (abandoned || self.asked || misdated || now >= self.next_fetch_at)
    }

    /// Whether an unknown `kid` was looked for so recently that it is not looked for again.
    pub fn in_cooldown(&self, now: UnixNanos, timing: &Timing) -> bool {
        self.asked_at > UnixNanos(0) && self.asked_at <= now && now < self.asked_at.plus(timing.cooldown)
    }

    /// Whether an attempt is wanted, under way, or left behind by a leader that vanished.
    pub fn is_pending(&self) -> bool {
        self.asked || self.attempt > self.settled
    }

    /// What a `kid` that the standing key set lacks leads to.
    pub fn on_unknown_kid(&self, now: UnixNanos, timing: &Timing) -> OnUnknownKid {
        let in_cooldown = self.in_cooldown(now, timing);
        if self.is_pending() {
            let awaited = self.attempt.saturating_add(u64::from(!self.in_flight(now, timing)));
            return if in_cooldown { OnUnknownKid::Await(awaited) } else { OnUnknownKid::Ask };
        }
        match (self.failures, in_cooldown) {
            (0, true) => OnUnknownKid::Refuse,
            (0, false) => OnUnknownKid::Ask,
            // The retries of a failing provider have their own pace, which strangers do not quicken.
            _ => OnUnknownKid::CannotKnow,
        }
    }

    /// `worker` begins an attempt.
    pub fn begin(&self, worker: u64, now: UnixNanos, timing: &Timing) -> Self {
        Self {
            attempt: self.attempt.saturating_add(1),
            asked: false,
            holder: worker,
            lease_until: now.plus(timing.lease),
            // After a step back of the clock, keys would stay usable for as long as the step was.
            fetched_at: self.fetched_at.min(now),
            ..*self
        }
    }

    /// Whether `worker`'s `attempt` is still the one that counts.
    pub fn is_held(&self, worker: u64, attempt: u64) -> bool {
        self.holder == worker && self.attempt == attempt && self.settled < attempt
    }

    /// The attempt goes into its second request.
    pub fn renew(&self, now: UnixNanos, timing: &Timing) -> Self {
        Self { lease_until: now.plus(timing.lease), ..*self }
    }

    /// The attempt brought a usable key set, which stands as `generation`.
    pub fn succeed(&self, generation: u64, now: UnixNanos, wait: Duration) -> Self {
        Self { generation, failures: 0, fetched_at: now, ..self.settle(now, wait) }
    }

    /// The attempt failed; the standing key set stays.
    pub fn fail(&self, now: UnixNanos, wait: Duration) -> Self {
        Self { failures: self.failures.saturating_add(1), ..self.settle(now, wait) }
    }

    fn settle(&self, now: UnixNanos, wait: Duration) -> Self {
        Self { settled: self.attempt, lease_until: UnixNanos(0), next_fetch_at: now.plus(wait), ..*self }
    }

    /// An unknown `kid` is to be looked for, by the attempt that is under way or else by a new one. Starts the cooldown.
    pub fn ask(&self, now: UnixNanos, timing: &Timing) -> Self {
        Self { asked: !self.in_flight(now, timing), asked_at: now, ..*self }
    }

    /// The record's bytes in shared data: its numbers in order, little endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        for number in [self.generation, self.attempt, self.settled, self.holder] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for instant in [self.lease_until, self.fetched_at, self.next_fetch_at, self.asked_at] {
            bytes.extend_from_slice(&instant.0.to_le_bytes());
        }
        bytes.extend_from_slice(&self.failures.to_le_bytes());
        bytes.push(u8::from(self.asked));
        bytes
    }

    /// The record of these bytes; `None` where nobody's `encode` wrote them.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut number = || {
            let (head, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Some(u64::from_le_bytes(*head))
        };
        let record = Self {
            generation: number()?,
            attempt: number()?,
            settled: number()?,
            holder: number()?,
            lease_until: UnixNanos(number()?),
            fetched_at: UnixNanos(number()?),
            next_fetch_at: UnixNanos(number()?),
            asked_at: UnixNanos(number()?),
            ..Self::default()
        };
        let (failures, flags) = rest.split_first_chunk::<4>()?;
        let asked = match flags {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let sound = record.settled <= record.attempt && record.generation <= record.attempt;
        sound.then_some(Self { failures: u32::from_le_bytes(*failures), asked, ..record })
    }
}

const RECORD_BYTES: usize = 8 * 8 + 4 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        refresh: Duration::from_secs(300),
        usable_for: Duration::from_secs(3600),
        fresh_for: Duration::from_secs(310),
        cooldown: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        lease: Duration::from_secs(7),
    };

    fn at(seconds: u64) -> UnixNanos {
        UnixNanos::from_secs(1_000_000 + seconds)
    }

    fn fetched() -> Control {
        let begun = Control::default().begin(7, at(0), &TIMING);
        begun.succeed(begun.attempt, at(0), Duration::from_secs(300))
    }

    #[test]
    fn a_record_survives_shared_data_and_foreign_bytes_do_not() {
        let record = Control { failures: 3, asked: true, asked_at: at(9), ..fetched() };
        let bytes = record.encode();
        assert_eq!(bytes.len(), RECORD_BYTES);
        assert_eq!(Control::decode(&bytes), Some(record));
        for end in 0..bytes.len() {
            assert_eq!(Control::decode(&bytes[..end]), None);
        }
        assert_eq!(Control::decode(&[bytes.as_slice(), b"x"].concat()), None);
        assert_eq!(Control::decode(&[0xff; RECORD_BYTES]), None);
        assert_eq!(Control::decode(&Control { settled: 9, ..record }.encode()), None);
    }

    #[test]
    fn one_attempt_is_due_at_a_time() {
        let begun = Control::default().begin(7, at(0), &TIMING);
        assert!(Control::default().is_due(at(0), &TIMING));
        assert!(!begun.is_due(at(6), &TIMING));
        assert!(begun.is_due(at(7), &TIMING), "the leader vanished");
        assert!(begun.is_held(7, 1) && !begun.is_held(8, 1) && !begun.is_held(7, 2));
        assert!(!begun.begin(8, at(7), &TIMING).is_held(7, 1));
    }

    #[test]
    fn a_vanished_leader_is_replaced_even_where_only_an_unknown_kid_made_it_due() {
        let begun = fetched().ask(at(1), &TIMING).begin(7, at(1), &TIMING);
        assert!(!begun.asked && !begun.is_due(at(2), &TIMING) && begun.is_due(at(9), &TIMING));
    }

    #[test]
    fn a_clock_that_steps_back_blocks_nothing_for_longer_than_a_refresh() {
        let begun = Control::default().begin(7, at(10_000), &TIMING);
        assert!(begun.is_due(at(0), &TIMING));
        let later = Control { fetched_at: at(10_000), next_fetch_at: at(10_300), ..fetched() };
        assert!(later.is_due(at(0), &TIMING));
        assert_eq!(later.begin(7, at(0), &TIMING).fetched_at, at(0));
        assert!(!Control { asked_at: at(10_000), ..fetched() }.in_cooldown(at(0), &TIMING));
    }

    #[test]
    fn an_unknown_kid_joins_the_attempt_under_way() {
        let under_way = fetched().begin(7, at(300), &TIMING);
        let joined = under_way.ask(at(301), &TIMING);
        assert!(!joined.asked && joined.in_cooldown(at(302), &TIMING));
        assert!(fetched().ask(at(100), &TIMING).is_due(at(100), &TIMING));
    }
}
