//! `surge`, `priority` and `priority_from`, checked.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{Allow, Config, Mode, PolicySection, Priority, SurgeSection};
use crate::forward;
use crate::principal::Principal;
use crate::surge::Settings;

use super::authorisation::Origin;

/// A bound that rules can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surge {
    /// The name in the configuration.
    pub name: String,
    /// How it adapts.
    pub settings: Settings,
    /// Whether anything is shed.
    pub mode: Mode,
}

/// The bound of a rule, and the priority of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurgeUse {
    /// The bound, by index.
    pub index: u16,
    /// The priority of requests whose caller has no other.
    priority: Priority,
    /// A claim path, and the priorities of those who have one of these texts there.
    by_claim: Option<(String, Vec<(String, Priority)>)>,
}

impl SurgeUse {
    /// The claim that gives callers another priority.
    pub fn claim(&self) -> Option<&str> {
        self.by_claim.as_ref().map(|(claim, _)| claim.as_str())
    }

    /// The priority of a request of `caller`.
    pub fn priority(&self, caller: Option<&Principal>) -> Priority {
        let found = || {
            let (claim, values) = self.by_claim.as_ref()?;
            let claim = caller?.claims().get(claim)?;
            let place = |text: &str| values.iter().find(|(known, _)| known == text).map(|(_, priority)| *priority);
            match claim.as_str() {
                Some(text) => place(text),
                None => place(&forward::claim_text(claim)?),
            }
        };
        found().unwrap_or(self.priority)
    }
}

/// What a latency target can be.
const TARGETS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
/// One place for everybody, and one for critical requests.
const LEAST: u64 = 2;
/// More than a worker can have in flight.
const MOST: u64 = 100_000;

/// Compiles the bound `name`. `None` means that problems were added.
pub fn compile(name: &str, section: &SurgeSection, problems: &mut Problems) -> Option<Surge> {
    let path = member_path("surge", name);
    let before = problems.len();
    let target = section.target.0;
    if !TARGETS.contains(&target) {
        let hint = "what the service keeps while it is well, and some more: 100ms to 2s are usual";
        problems.add_with_hint(member_path(&path, "target"), "is not between 1ms and 1m", hint);
    }
    let (min, max) = (section.min, section.max);
    if !(LEAST..=MOST).contains(&min) {
        let hint = "the last place is for critical requests, so there must be two";
        problems.add_with_hint(member_path(&path, "min"), format!("{min} is not between {LEAST} and {MOST}"), hint);
    }
    if max > MOST {
        problems.add(member_path(&path, "max"), format!("{max} is above the maximum of {MOST}"));
    } else if max < min {
        let hint = "the bound moves between the two";
        problems.add_with_hint(member_path(&path, "max"), format!("{max} is below `min` ({min})"), hint);
    }
    if problems.len() > before {
        return None;
    }
    let (min, max) = (u32::try_from(min).ok()?, u32::try_from(max).ok()?);
    let settings = Settings { target, min, max };
    Some(Surge { name: name.to_owned(), settings, mode: section.mode.unwrap_or(Mode::Enforce) })
}

/// What a rule or a policy says about surges. A mistake is reported where it is written; `None` means that there is nothing, or that
/// problems were added.
pub fn of_rule(
    path: &str,
    section: &PolicySection,
    origin: &Origin<'_>,
    allow: Option<Allow>,
    config: &Config,
    problems: &mut Problems,
) -> Option<SurgeUse> {
    let writes = |has: fn(&PolicySection) -> bool| origin.written().is_some_and(has);
    if let Some(from) = section.priority_from.as_ref().filter(|_| writes(|section| section.priority_from.is_some())) {
        let at = member_path(path, "priority_from");
        if from.values.is_empty() {
            problems.add_with_hint(member_path(&at, "values"), "names no priority", "such as `{gold: critical}`");
        }
        if allow.is_some() {
            problems.add_with_hint(at, "means nothing: nobody is identified here", "set `require`, or `priority`");
        }
    }
    let Some(name) = &section.surge else {
        let fields = [
            ("priority", writes(|section| section.priority.is_some())),
            ("priority_from", writes(|section| section.priority_from.is_some())),
        ];
        for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set && origin.is_rule()) {
            let hint = "name a bound of the section `surge` beside it";
            problems.add_with_hint(member_path(path, field), "means nothing without `surge`", hint);
        }
        return None;
    };
    let Some(index) = config.surge.keys().position(|known| known == name) else {
        if writes(|section| section.surge.is_some()) {
            let known = config.surge.keys().map(String::as_str);
            problems.add_unknown_name(member_path(path, "surge"), "surge", name, known);
        }
        return None;
    };
    let by_claim = section.priority_from.as_ref().map(|from| {
        let values = from.values.iter().map(|(text, priority)| (text.clone(), *priority)).collect();
        (from.claim.clone(), values)
    });
    let priority = section.priority.unwrap_or(Priority::Default);
    Some(SurgeUse { index: u16::try_from(index).ok()?, priority, by_claim })
}
