//! Limits.

use serde_json::{Value, json};

use super::{Mode, OnError};
use crate::config::document::{Node, Problems, kind};
use crate::config::section::{Definitions, OneOrMany, Read};
use crate::config::units::Rate;
use crate::{section, words};

section! {
    /// A limit, counted exactly over all workers (GCRA).
    pub struct LimitSection {
        /// What is counted: one key part, a list of parts, or `{first_of: [...]}`.
        key: KeySection,
        /// Requests per window, such as `1000/min`.
        rate: Rate,
        /// How many requests may come at once; the rate's number unless said otherwise.
        burst: Option<u64>,
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
            let part = json!({"type": "string", "examples": ["principal", "ip", "rule", "method", "header:x-tenant", "claim:plan"]});
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
