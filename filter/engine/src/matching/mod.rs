//! Which rule a request meets: the first in the order of the configuration, whatever their number.
//!
//! [`Match`] is what a rule asks of a request, [`RuleIndex`] the compiled list of all of them, [`lint`] finds rules that
//! can never be met.

mod candidates;
pub mod conditions;
pub mod index;
pub mod lint;
pub mod pattern;
pub mod pattern_error;
pub mod rule_match;
mod trie;

pub use conditions::{HeaderCondition, HostPattern, PathRegex};
pub use index::{Found, RepeatedHeader, RuleIndex};
pub use pattern::PathPattern;
pub use pattern_error::PatternError;
pub use rule_match::{Match, PathCondition};
