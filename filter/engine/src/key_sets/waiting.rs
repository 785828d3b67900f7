//! Clients' requests that wait for keys: few, and not for long.

use std::collections::BTreeMap;
use std::time::Duration;

use super::actions::RequestId;
use crate::time::UnixNanos;

/// How many requests may wait, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitLimits {
    /// The most requests that wait at a time on one worker, over all providers.
    pub max_waiting: usize,
    /// The longest wait; a tick may be added to it.
    pub max_wait: Duration,
}

impl Default for WaitLimits {
    fn default() -> Self {
        Self { max_waiting: 256, max_wait: Duration::from_secs(5) }
    }
}

/// What a request is to wait for; comes from `lookup` or `unknown_kid` and goes into `wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitFor(pub(super) Goal);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Any usable key set.
    Keys,
    /// The end of this attempt or a later one.
    Attempt(u64),
}

/// As many requests wait as may; answer 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyWaiting {
    /// For `Retry-After`: whole seconds, at least one.
    pub retry_after: Duration,
}

impl std::fmt::Display for TooManyWaiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too many requests wait for key sets")
    }
}

impl std::error::Error for TooManyWaiting {}

/// The waiting requests of one worker, each with the source that it waits for and its goal `G` there.
#[derive(Debug)]
pub(crate) struct Queue<G> {
    limits: WaitLimits,
    waiting: BTreeMap<RequestId, Waiting<G>>,
}

#[derive(Debug)]
struct Waiting<G> {
    source: usize,
    goal: G,
    since: UnixNanos,
}

impl<G: Copy> Queue<G> {
    pub fn new(limits: WaitLimits) -> Self {
        Self { limits, waiting: BTreeMap::new() }
    }

    /// Whether [`Self::push`] would let the request wait.
    pub fn has_room_for(&self, request: RequestId) -> bool {
        self.waiting.len() < self.limits.max_waiting || self.waiting.contains_key(&request)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Lets a request wait; `false` where no more may. One that waits already waits for the new goal.
    pub fn push(&mut self, request: RequestId, source: usize, goal: G, now: UnixNanos) -> bool {
        let has_room = self.has_room_for(request);
        if has_room {
            self.waiting.insert(request, Waiting { source, goal, since: now });
        }
        has_room
    }

    pub fn forget(&mut self, request: RequestId) {
        self.waiting.remove(&request);
    }

    /// Takes out every request that `verdict` decides, and every one that has waited too long, which `timeout` decides.
    pub fn release<T>(
        &mut self,
        now: UnixNanos,
        mut verdict: impl FnMut(usize, G) -> Option<T>,
        mut timeout: impl FnMut(usize) -> T,
    ) -> Vec<(RequestId, T)> {
        let mut released = Vec::new();
        let max_wait = self.limits.max_wait;
        self.waiting.retain(|request, waiting| {
            // After a step back of the clock, the wait begins anew; it does not become as long as the step was.
            waiting.since = waiting.since.min(now);
            let overdue = now.since(waiting.since) >= max_wait;
            let decided = verdict(waiting.source, waiting.goal).or_else(|| overdue.then(|| timeout(waiting.source)));
            match decided {
                Some(decision) => {
                    released.push((*request, decision));
                    false
                }
                None => true,
            }
        });
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue<Goal> {
        Queue::new(WaitLimits { max_waiting: 2, max_wait: Duration::from_secs(5) })
    }

    fn overdue(queue: &mut Queue<Goal>, seconds: u64) -> Vec<(RequestId, usize)> {
        queue.release(UnixNanos::from_secs(seconds), |_, _| None, |source| source)
    }

    #[test]
    fn no_more_wait_than_may_and_one_that_left_makes_room() {
        let mut queue = queue();
        let now = UnixNanos::from_secs(100);
        assert!(queue.push(RequestId(1), 0, Goal::Keys, now));
        assert!(queue.push(RequestId(2), 0, Goal::Keys, now));
        assert!(!queue.push(RequestId(3), 0, Goal::Keys, now));
        assert!(queue.push(RequestId(2), 0, Goal::Attempt(4), now), "it has its place already");
        queue.forget(RequestId(1));
        queue.forget(RequestId(99));
        assert!(queue.push(RequestId(3), 0, Goal::Keys, now));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn none_waits_longer_than_it_may() {
        let mut queue = queue();
        queue.push(RequestId(1), 7, Goal::Keys, UnixNanos::from_secs(100));
        assert_eq!(overdue(&mut queue, 104), []);
        assert_eq!(overdue(&mut queue, 105), [(RequestId(1), 7)]);
        assert_eq!(overdue(&mut queue, 106), []);
    }

    #[test]
    fn a_clock_that_steps_back_begins_the_wait_anew() {
        let mut queue = queue();
        queue.push(RequestId(1), 7, Goal::Keys, UnixNanos::from_secs(10_000));
        assert_eq!(overdue(&mut queue, 100), []);
        assert_eq!(overdue(&mut queue, 105), [(RequestId(1), 7)]);
    }
}
