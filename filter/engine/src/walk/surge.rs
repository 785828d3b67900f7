//! Requests that are shed while their service is slow.

use crate::answer::{Denial, Reason};
use crate::config::schema::{Mode, Priority};
use crate::counters::CounterId;
use crate::policy::Rule;

use super::{Stop, Walk};

/// What a client that was shed is told to wait, in seconds.
const RETRY_AFTER: u64 = 1;

impl Walk<'_> {
    /// Takes a place of the rule's bound. What passes by monitor mode alone takes none.
    pub(super) fn take_place(&mut self, rule: &Rule) -> Result<(), Stop> {
        let Some(surge) = &rule.surge else { return Ok(()) };
        let priority = surge.priority(self.found.principal.as_ref());
        let Err(full) = self.engine.surges.take(surge.index, priority, self.now) else {
            self.progress.place = Some(surge.index);
            self.found.passage.is_timed = true;
            return Ok(());
        };
        let shed = match priority {
            Priority::Critical => "shed_critical",
            Priority::Default => "shed_default",
            Priority::Sheddable => "shed_sheddable",
        };
        self.engine.counters.add(CounterId::Surge(surge.index, shed));
        let bound = self.policy.surges.get(usize::from(surge.index));
        let name = bound.map_or("", |bound| bound.name.as_str());
        let detail =
            format!("surge {name:?}: {} in flight of {}, priority {}", full.in_flight, full.bound, priority.as_str());
        let mode = if bound.is_some_and(|bound| bound.mode == Mode::Monitor) { Mode::Monitor } else { rule.mode };
        self.tolerate(mode, Denial::new(Reason::Overloaded, detail).retry_after(RETRY_AFTER))
    }
}
