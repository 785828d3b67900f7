//! `cost`, `cost_from` and `refund_on` of a rule or a policy, checked.

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{PolicySection, StatusClass};

use super::Limit;
use super::compile::header_name;

/// What a request costs the limits of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Costs {
    /// What is charged before the request goes on.
    pub each: u64,
    /// What its response may change.
    pub settling: Option<Settling>,
}

/// What the response of a request may change about its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settling {
    /// Where the service says the cost.
    pub cost_from: Option<CostHeader>,
    /// Responses that cost nothing.
    pub refund_on: Vec<StatusClass>,
}

/// A response header with a cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostHeader {
    /// The header, in lower case.
    pub name: String,
    /// The most that is believed.
    pub max: u64,
}

/// The greatest cost: what a header may claim, and what a rule may ask.
const MAX_COST: u64 = 1_000_000_000;

/// Compiles the costs of a rule whose limits are `limits`. `None` means that problems were added.
pub fn compile<'a>(
    path: &str,
    section: &PolicySection,
    is_rule: bool,
    limits: impl Iterator<Item = &'a Limit> + Clone,
    problems: &mut Problems,
) -> Option<Costs> {
    let before = problems.len();
    // A request in flight is one, whatever it costs.
    let limits = limits.filter(|limit| !limit.is_in_flight());
    let each = section.cost.unwrap_or(1);
    if each == 0 || each > MAX_COST {
        problems.add(member_path(path, "cost"), format!("{each} is not between 1 and {MAX_COST}"));
    }
    let cost_from = section.cost_from.as_ref().and_then(|section| {
        let at = member_path(path, "cost_from");
        if section.max == 0 || section.max > MAX_COST {
            let problem = format!("{} is not between 1 and {MAX_COST}", section.max);
            problems.add(member_path(&at, "max"), problem);
        } else if section.max <= each {
            let hint = "the header can only add to `cost`";
            problems.add_with_hint(member_path(&at, "max"), format!("is not above the cost of {each}"), hint);
        }
        let name = header_name(&member_path(&at, "response_header"), &section.response_header, problems)?;
        Some(CostHeader { name, max: section.max })
    });
    let refund_on = section.refund_on.as_ref().map(|classes| classes.0.clone()).unwrap_or_default();
    if section.refund_on.is_some() && refund_on.is_empty() {
        problems.add_with_hint(member_path(path, "refund_on"), "names no status", "such as `[5xx]`");
    }
    let fields = [
        ("cost", section.cost.is_some()),
        ("cost_from", section.cost_from.is_some()),
        ("refund_on", section.refund_on.is_some()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set && is_rule && limits.clone().next().is_none()) {
        problems.add_with_hint(
            member_path(path, field),
            "means nothing: no limit on rates or quotas applies",
            "name one in `limits`",
        );
    }
    for limit in limits {
        let too_small = limit.algorithms().find(|(_, algorithm)| algorithm.most_at_once() < each);
        if let Some((tier, algorithm)) = too_small {
            let of_tier = tier.map(|tier| format!(" for the tier {tier:?}")).unwrap_or_default();
            let most = algorithm.most_at_once();
            let problem =
                format!("{each} is more than the limit {:?} ever admits at once{of_tier}: {most}", limit.name);
            problems.add_with_hint(member_path(path, "cost"), problem, "raise the limit's burst, or lower the cost");
        }
    }
    let settling = (cost_from.is_some() || !refund_on.is_empty()).then_some(Settling { cost_from, refund_on });
    (problems.len() == before).then_some(Costs { each, settling })
}
