//! Limits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Mode, OnError};
use crate::config::document::{Node, Problems, kind};
use crate::config::section::{Definitions, OneOrMany, Read};
use crate::config::units::{CalendarQuota, Percent, Rate};
use crate::{section, words};

section! {
    /// A limit, counted exactly over all workers. It has either a `rate` or a `quota`.
    pub struct LimitSection {
        /// What is counted: one key part, a list of parts, or `{first_of: [...]}`.
        key: KeySection,
        /// Requests per window, such as `1000/min`.
        rate: Option<Rate>,
        /// Requests per day or month of the UTC calendar, such as `1000000/month`.
        quota: Option<CalendarQuota>,
        /// How a `rate` is counted; `gcra` unless said otherwise.
        algorithm: Option<AlgorithmSection>,
        /// How many requests may come at once (`gcra` only); the rate's number unless said otherwise.
        burst: Option<u64>,
        /// Other rates or quotas for some clients, by a claim of theirs.
        tiers: Option<TiersSection>,
        /// The share of a `quota` at which the operator is told, once per client and window: an audit event and a counter.
        warn_at: Option<Percent>,
        /// How many leading bits of an IPv6 address make one client for the key part `ip`; 64 unless said otherwise.
        ipv6_prefix: Option<u64>,
        /// How many clients can be told apart at the same time. Shared memory is set by this.
        capacity: u64 = 65536,
        /// What happens while more clients than `capacity` are busy.
        on_overflow: OverflowSection = "deny",
        /// What happens if shared data cannot be used.
        on_error: OnError = "deny",
        /// `monitor` counts and logs what this limit would refuse.
        mode: Option<Mode>,
    }
}

words! {
    /// How a rate is counted.
    pub enum AlgorithmSection {
        /// Evenly, with a burst: what was used refills bit by bit.
        Gcra = "gcra",
        /// In windows of the clock: all of it is there again when the next one starts.
        FixedWindow = "fixed_window",
        /// In every window, wherever it starts. At most 65535 requests.
        SlidingWindow = "sliding_window",
    }
}

section! {
    /// Rates for some clients.
    pub struct TiersSection {
        /// The claim whose text names the tier; clients of API keys have `tier`.
        claim: String = "tier",
        /// Tier to rate, such as `gold: 5000/min`, or to quota where the limit has one. Any other tier has the limit's own.
        values: BTreeMap<String, String>,
    }
}

words! {
    /// What happens while a limit's table is full of busy clients.
    pub enum OverflowSection {
        /// Further clients are refused with 429.
        Deny = "deny",
        /// Further clients pass, counted.
        Allow = "allow",
        /// Further clients share one bucket of the same rate.
        Shared = "shared",
    }
}

/// What a limit counts.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySection {
    /// All parts together are one key.
    All(Vec<String>),
    /// The first part that the request has is the key.
    FirstOf(Vec<String>),
}

impl Read for KeySection {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::String(_) | Value::Array(_) => OneOrMany::read(node, problems).map(|parts| Self::All(parts.0)),
            Value::Object(_) => {
                let mut object = node.object(problems)?;
                let parts: Option<Vec<String>> = object.field("first_of", None, problems);
                object.refuse_unknown(problems);
                let parts = parts?;
                if parts.is_empty() {
                    problems.add(node.path.clone(), "`first_of` names no key part");
                    return None;
                }
                Some(Self::FirstOf(parts))
            }
            other => {
                let problem = format!("expected a key part, a list of them or `first_of`, found {}", kind(other));
                problems.add(node.path.clone(), problem);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        definitions.refer("KeySection", |_| {
            let part = json!({"type": "string", "examples": ["principal", "client_id", "api_key", "ip", "rule", "route", "method", "header:x-tenant", "claim:org", "path:id"]});
            json!({
                "description": "What a limit counts: one part, a list of parts that count together, or the first of several that the request has.",
                "anyOf": [
                    part,
                    {"type": "array", "items": part},
                    {"type": "object", "properties": {"first_of": {"type": "array", "items": part}}, "required": ["first_of"], "additionalProperties": false},
                ],
            })
        })
    }
}
