//! Limits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Mode, OnError};
use crate::config::document::{Node, Problems, kind};
use crate::config::section::{Definitions, Read};
use crate::config::units::{CalendarQuota, Percent, Rate, Span};
use crate::{section, words};

section! {
    /// A limit, counted exactly over all workers. It has a `rate`, a `quota` or a `concurrency`.
    pub struct LimitSection {
        /// What is counted: one key part, a list of parts, or `{first_of: [...]}`.
        key: KeySection,
        /// Requests per window, such as `1000/min`.
        rate: Option<Rate>,
        /// Requests per day or month of the UTC calendar, such as `1000000/month`.
        quota: Option<CalendarQuota>,
        /// How many requests may be in flight at the same time: from the verdict to the end of the response, WebSockets included.
        concurrency: Option<u64>,
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
        /// `global` asks the `limit_service` too, which counts for several proxies.
        scope: ScopeSection = "local",
        /// Asks the `limit_service` for several requests at once, which all workers then spend (`scope: global`).
        lease: Option<LeaseSection>,
    }
}

section! {
    /// What a limit service is asked for ahead. It has counted it then: what is not spent in time is lost to the client.
    pub struct LeaseSection {
        /// How many units are asked for at once; a request takes its `cost` of them, one that costs more asks for itself.
        size: u64,
        /// How long they may be spent; from `100ms` to `1m`.
        r#for: Span = "2s",
    }
}

words! {
    /// For whom a limit counts.
    pub enum ScopeSection {
        /// For this proxy, over all its workers.
        Local = "local",
        /// For every proxy that asks the same limit service. What this proxy's own counter refuses is not asked about.
        Global = "global",
    }
}

section! {
    /// A service that counts limits of `scope: global` for several proxies: Limitador, envoyproxy/ratelimit, or another that speaks
    /// Envoy's rate limit service protocol (gRPC).
    pub struct LimitServiceSection {
        /// The Envoy cluster of the service. It must speak HTTP/2 (`http2_protocol_options`).
        cluster: String,
        /// Which service it is, since each reads the keys of limits in its own way.
        kind: LimitServiceKind,
        /// The service's name for these limits: what Limitador calls a namespace.
        domain: String = "portcullis",
        /// The `:authority` of a question; the cluster's name unless said otherwise.
        authority: Option<String>,
        /// How long a request waits for the service; from `1ms` to `5s`.
        timeout: Span = "100ms",
        /// What happens to a request about which the service says nothing, though this proxy's own counters admit it.
        on_error: LimitServiceOnError = "local",
        /// Whether each question says what the limit is, so that envoyproxy/ratelimit needs no number of its own (`kind: ratelimit`).
        send_rates: bool = true,
        /// What the service learns about clients.
        values: LimitServiceValues = "clear",
        /// The most questions that a worker asks at the same time; beyond that, `on_error` says what happens.
        max_in_flight: u64 = 1024,
    }
}

words! {
    /// How a service reads the keys of limits.
    pub enum LimitServiceKind {
        /// One descriptor: each limit is an entry of it, with its whole key as the value.
        Limitador = "limitador",
        /// A descriptor for each limit: its name under `limit`, then each part of its key (envoyproxy/ratelimit).
        Ratelimit = "ratelimit",
    }
}

words! {
    /// What happens to a request about which the limit service says nothing.
    pub enum LimitServiceOnError {
        /// It goes on: this proxy's own counters have admitted it.
        Local = "local",
        /// It is refused with 503.
        Deny = "deny",
    }
}

words! {
    /// What the limit service learns about clients.
    pub enum LimitServiceValues {
        /// The parts of keys as they are; what could be a credential as a hash.
        Clear = "clear",
        /// Hashes (SHA-256) of all that comes from clients.
        Hashed = "hashed",
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
        /// Tier to rate, such as `gold: 5000/min`, or to quota or concurrency where the limit has one. Any other tier has the limit's own.
        values: BTreeMap<String, TierText>,
    }
}

/// A rate or quota as text, or a number of requests in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierText(pub String);

impl Read for TierText {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Number(number) => Some(Self(number.to_string().trim_end_matches(".0").to_owned())),
            _ => String::read(node, problems).map(Self),
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": ["string", "integer"], "examples": ["5000/min", 50]})
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
pub struct KeySection(
    /// All of them together are one key; of each, the first part that the request has.
    pub Vec<Vec<String>>,
);

impl Read for KeySection {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::Array(_) => {
                let choices: Vec<ChoiceSection> = Read::read(node, problems)?;
                Some(Self(choices.into_iter().map(|choice| choice.0).collect()))
            }
            Value::String(_) | Value::Object(_) => Some(Self(vec![ChoiceSection::read(node, problems)?.0])),
            other => {
                let problem = format!("expected a key part, a list of them or `first_of`, found {}", kind(other));
                problems.add(node.path.clone(), problem);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        definitions.refer("KeySection", |_| {
            let part = json!({"type": "string", "examples": ["principal", "client_id", "api_key", "ip", "rule", "route", "method", "host", "header:x-tenant", "query:tenant", "claim:org", "path:id"]});
            let first_of = json!({"type": "object", "properties": {"first_of": {"type": "array", "items": part}}, "required": ["first_of"], "additionalProperties": false});
            json!({
                "description": "What a limit counts: one part, the first of several that the request has, or a list of such that count together.",
                "anyOf": [part, first_of, {"type": "array", "items": {"anyOf": [part, first_of]}}],
            })
        })
    }
}

/// One part of a key, or the first of several.
struct ChoiceSection(Vec<String>);

impl Read for ChoiceSection {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        if !node.value.is_object() {
            return String::read(node, problems).map(|part| Self(vec![part]));
        }
        let mut object = node.object(problems)?;
        let parts: Option<Vec<String>> = object.field("first_of", None, problems);
        object.refuse_unknown(problems);
        let parts = parts?;
        if parts.is_empty() {
            problems.add(node.path.clone(), "`first_of` names no key part");
            return None;
        }
        Some(Self(parts))
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({})
    }
}
