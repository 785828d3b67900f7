//! What is counted, and under which name an operator finds it.
//!
//! Names carry their labels as `name.label.value.label.value`; the `stats_tags` of the reference `envoy.yaml` turn
//! them into Prometheus labels. Every label comes from the configuration or from a fixed list: a client cannot make one.

use crate::answer::Reason;

/// How a decision ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// The request passed.
    Allowed,
    /// The request was refused.
    Denied,
    /// The request would have been refused, but monitor mode let it pass.
    Monitored,
}

impl Verdict {
    /// The word in counters and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Monitored => "monitored",
        }
    }
}

/// One counter; [`Counters::name`] gives its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CounterId {
    /// `portcullis_decisions` by rule, reason and verdict. The rule is its index in the policy.
    Decision(u16, Reason, Verdict),
    /// Something that happened to a provider: `portcullis_provider_events` by provider and event.
    Provider(u16, &'static str),
    /// Something that happened to a limit beside its verdicts: `portcullis_limit_events` by limit and event.
    Limit(u16, &'static str),
    /// Something that happened to a bound of a surge: `portcullis_surge` by bound and event.
    Surge(u16, &'static str),
    /// Something that happened to a ban: `portcullis_bans` by ban and event.
    Ban(u16, &'static str),
    /// An offence that was counted: `portcullis_offences` by ban, kind of offence and event.
    Offence(u16, &'static str, &'static str),
    /// Something that happened to revocations: `portcullis_revocation` by event.
    Revocation(&'static str),
    /// A configuration that was taken or refused: `portcullis_configurations` by event.
    Configuration(&'static str),
    /// Something that happened to a list of addresses: `portcullis_address_list` by list and event.
    AddressList(u16, &'static str),
    /// An attack that payload rules found: `portcullis_payload` by rule and signature. The rule is its index in the policy.
    Payload(u16, &'static str),
    /// The same, found by a payload rule of the operator: its place among `payload_rules`.
    OwnPayload(u16, u16),
    /// Something that happened to the verified-token cache: `portcullis_token_cache` by event.
    TokenCache(&'static str),
}

/// What the reference says about the counters of one name.
#[derive(Debug, Clone, Copy)]
pub struct CounterFamily {
    /// The name.
    pub name: &'static str,
    /// The labels, in the order in which they stand in the name.
    pub labels: &'static [&'static str],
    /// What is counted.
    pub help: &'static str,
    /// The values of the label `event`, each with its meaning.
    pub events: &'static [(&'static str, &'static str)],
}

/// Every counter, for the reference.
pub const COUNTERS: &[CounterFamily] = &[
    CounterFamily {
        name: "portcullis_decisions",
        labels: &["rule", "reason", "verdict"],
        help: "decisions; the verdict is `allowed`, `denied` or `monitored` (it would have been denied)",
        events: &[],
    },
    CounterFamily {
        name: "portcullis_provider_events",
        labels: &["provider", "event"],
        help: "what happened to a provider's key set or introspection endpoint",
        events: &[
            ("fetch_started", "a worker fetches the key set for all"),
            ("unknown_kid_refetch", "a token's key id is not in the key set: it is fetched anew"),
            ("fetched", "the provider gave a good key set"),
            ("fetch_failed", "an attempt failed; the standing key set stays"),
            ("answer_discarded", "an answer came too late and is not used"),
            ("loaded", "a worker uses a new key set"),
            ("load_failed", "the shared key set cannot be used by this worker"),
            ("stale_served", "the key set is past its refresh and still used"),
            ("expired", "`keep_stale` has passed: the key set is no longer used"),
            ("store_unavailable", "the host has no shared data: the worker fetches for itself"),
            ("introspection_active", "an introspection endpoint called a token active"),
            ("introspection_refused", "an introspection endpoint called a token inactive, or it does not fit"),
            ("introspection_failed", "a question brought no answer"),
            ("introspection_client_refused", "the endpoint refuses the gateway's own credentials"),
            ("introspection_paused", "the endpoint fails and is left alone for some seconds"),
            ("introspection_recovered", "the endpoint answers again"),
        ],
    },
    CounterFamily {
        name: "portcullis_limit_events",
        labels: &["limit", "event"],
        help: "what happened to a limit beside its verdicts",
        events: &[
            ("overflow", "the limit's table is full of busy clients (`on_overflow`)"),
            ("error", "the limit could not be counted (`on_error`)"),
            ("lease_lost", "a worker stood still until slots of its requests in flight had ended; they count again"),
            ("asked", "the limit service was asked about it (`scope: global`)"),
            ("leased", "no question of its own was needed: the service had granted as much ahead (`lease`)"),
            ("lease_overflow", "the table of leases is full: a request asked for itself, or what was granted is lost"),
            ("service_refused", "the limit service, asked, said that it is used up; not only in enforce mode"),
            ("refused_again", "the service had refused as much up to ten seconds before (`lease`): nobody asked"),
            ("service_failed", "the limit service said nothing about it (`limit_service.on_error`)"),
            ("warned", "a client has used the share of its quota that `warn_at` names"),
            ("refunded", "a charge was given back for the response's status (`refund_on`)"),
            ("cost_capped", "a response claimed more than `cost_from` believes"),
            ("cost_unreadable", "a response's cost is no number, or there are several; nothing more was charged"),
        ],
    },
    CounterFamily {
        name: "portcullis_surge",
        labels: &["surge", "event"],
        help: "what happened to a bound of requests in flight to a service",
        events: &[
            ("shed_critical", "a request of this priority found no place; not only in enforce mode"),
            ("shed_default", "likewise"),
            ("shed_sheddable", "likewise"),
            ("lowered", "a worker has lowered its bound: too many answers took longer than `target`"),
            ("raised", "a worker has raised its bound again"),
        ],
    },
    CounterFamily {
        name: "portcullis_bans",
        labels: &["ban", "event"],
        help: "what happened to a ban",
        events: &[
            ("begun", "a client was banned"),
            ("refused", "a request of a banned client was refused"),
            ("monitored", "a request of a banned client went on, by monitor mode"),
            (
                "overflow_refused",
                "a request was refused because others fill its sender's place in the table (`on_overflow: deny`)",
            ),
            ("overflow_monitored", "such a request went on, by monitor mode"),
            ("added", "an operator banned a client"),
            ("lifted", "an operator lifted a ban"),
            ("overflow", "an offence was not counted: others fill the client's place in the table"),
            (
                "unlisted",
                "a ban began, and holds, and operators do not see it in the list: shared data refused its record",
            ),
            ("error", "an offence could not be counted, or nobody could tell whether a client is banned (`on_error`)"),
        ],
    },
    CounterFamily {
        name: "portcullis_offences",
        labels: &["ban", "offence", "event"],
        help: "offences by their kind: a word of `count`, or `response` for an answer of the service (`count_responses`)",
        events: &[("counted", "a ban has counted it"), ("banned", "it was the one that began a ban")],
    },
    CounterFamily {
        name: "portcullis_token_cache",
        labels: &["event"],
        help: "what happened to the cache of verified tokens",
        events: &[
            ("hit", "a token needed no second verification"),
            ("miss", "a token was not in the cache"),
            ("evicted", "a token was dropped for want of room"),
            ("introspected_hit", "an active opaque token needed no question"),
            ("introspected_negative_hit", "a refused opaque token needed no question"),
            ("introspected_miss", "an opaque token was not in the cache"),
            ("introspected_evicted", "an opaque token was dropped for want of room"),
            ("internal_minted", "an internal token was signed"),
            ("internal_reused", "an internal token was handed out again"),
        ],
    },
    CounterFamily {
        name: "portcullis_revocation",
        labels: &["event"],
        help: "what happened to the list of revoked tokens and to pushed revocations",
        events: &[
            ("fetch_started", "a worker fetches the list for all"),
            ("fetched", "the server gave a good list"),
            ("fetch_failed", "an attempt failed; the standing list stays"),
            ("list_loaded", "a worker uses a new list"),
            ("expired", "the list is older than `max_age`"),
            ("pushed", "an operator revoked something"),
            ("lifted", "an operator took a revocation back"),
            ("push_refused", "a push could not be stored"),
            ("pushes_loaded", "a worker took over pushed revocations"),
            ("pushes_unavailable", "pushed revocations cannot be read from shared data"),
        ],
    },
    CounterFamily {
        name: "portcullis_payload",
        labels: &["rule", "signature"],
        help: "attacks that were found, refused or not, by each payload rule that took part; and requests that were not read to their end \
               (`too-many-values`, `too-many-parts`, `too-many-steps`, `too-many-own-steps`)",
        events: &[],
    },
    CounterFamily {
        name: "portcullis_configurations",
        labels: &["event"],
        help: "configurations that the proxy gave the filter, counted by each of its threads",
        events: &[
            ("accepted", "a thread works by it from now on"),
            ("refused", "it has problems, which the log names; the last good one stays in force"),
        ],
    },
    CounterFamily {
        name: "portcullis_address_list",
        labels: &["list", "event"],
        help: "what happened to a fetched list of addresses",
        events: &[
            ("fetch_started", "a worker fetches the list for all"),
            ("fetched", "the server gave a good list"),
            ("fetch_failed", "an attempt failed, or the list has a bad entry; the standing list stays"),
            ("answer_discarded", "an answer came too late and is not used"),
            ("list_loaded", "a worker uses a new list"),
            ("load_failed", "the shared list cannot be used by this worker"),
            ("stale_served", "the list is past its time and still used"),
            ("expired", "the list is older than `max_age`"),
            ("store_unavailable", "the host has no shared data: the worker fetches for itself"),
        ],
    },
];

/// The counts since the last flush.
#[derive(Debug, Default)]
pub struct Counters {
    pending: Vec<(CounterId, u64)>,
}

impl Counters {
    /// Adds one.
    pub fn add(&mut self, counter: CounterId) {
        self.add_many(counter, 1);
    }

    /// Adds `count`.
    pub fn add_many(&mut self, counter: CounterId, count: u64) {
        if count > 0 {
            self.pending.push((counter, count));
        }
    }

    /// The counts since the last flush; keeps its memory for the next ones.
    pub fn take_into(&mut self, out: &mut Vec<(CounterId, u64)>) {
        out.clear();
        std::mem::swap(&mut self.pending, out);
    }
}

impl CounterId {
    /// The counter's name, with the labels that `label` looks up.
    pub fn name<'a>(self, label: impl Fn(Label) -> Option<&'a str>) -> String {
        let label = |of: Label| label(of).unwrap_or("none");
        match self {
            Self::Decision(index, reason, verdict) => format!(
                "portcullis_decisions.rule.{}.reason.{reason}.verdict.{}",
                label(Label::Rule(index)),
                verdict.as_str()
            ),
            Self::Provider(index, event) => {
                format!("portcullis_provider_events.provider.{}.event.{event}", label(Label::Provider(index)))
            }
            Self::Limit(index, event) => {
                format!("portcullis_limit_events.limit.{}.event.{event}", label(Label::Limit(index)))
            }
            Self::Surge(index, event) => format!("portcullis_surge.surge.{}.event.{event}", label(Label::Surge(index))),
            Self::Ban(index, event) => format!("portcullis_bans.ban.{}.event.{event}", label(Label::Ban(index))),
            Self::Offence(index, offence, event) => {
                format!("portcullis_offences.ban.{}.offence.{offence}.event.{event}", label(Label::Ban(index)))
            }
            Self::Revocation(event) => format!("portcullis_revocation.event.{event}"),
            Self::Configuration(event) => format!("portcullis_configurations.event.{event}"),
            Self::AddressList(index, event) => {
                format!("portcullis_address_list.list.{}.event.{event}", label(Label::AddressList(index)))
            }
            Self::Payload(index, signature) => {
                format!("portcullis_payload.rule.{}.signature.{signature}", label(Label::Rule(index)))
            }
            Self::OwnPayload(index, signature) => format!(
                "portcullis_payload.rule.{}.signature.{}",
                label(Label::Rule(index)),
                label(Label::OwnRule(signature))
            ),
            Self::TokenCache(event) => format!("portcullis_token_cache.event.{event}"),
        }
    }
}

/// What a label names, by its index in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A rule.
    Rule(u16),
    /// A provider.
    Provider(u16),
    /// A limit.
    Limit(u16),
    /// A list of addresses.
    AddressList(u16),
    /// A ban.
    Ban(u16),
    /// A surge.
    Surge(u16),
    /// A payload rule of the operator.
    OwnRule(u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_their_labels() {
        let counter = CounterId::Decision(3, Reason::TokenExpired, Verdict::Denied);
        assert_eq!(
            counter.name(|label| (label == Label::Rule(3)).then_some("orders")),
            "portcullis_decisions.rule.orders.reason.token_expired.verdict.denied"
        );
    }

    #[test]
    fn every_counter_is_in_the_reference() {
        let counters = [
            CounterId::Decision(0, Reason::Ok, Verdict::Allowed),
            CounterId::Provider(0, "fetched"),
            CounterId::Limit(0, "overflow"),
            CounterId::Surge(0, "lowered"),
            CounterId::Ban(0, "begun"),
            CounterId::Offence(0, "auth_failure", "counted"),
            CounterId::TokenCache("hit"),
            CounterId::Revocation("pushed"),
            CounterId::Payload(0, "sqli-union-select"),
            CounterId::Configuration("refused"),
            CounterId::AddressList(0, "fetched"),
        ];
        assert_eq!(counters.len(), COUNTERS.len());
        for (counter, family) in counters.into_iter().zip(COUNTERS) {
            let name = counter.name(|_| None);
            let parts: Vec<&str> = name.split('.').collect();
            assert_eq!(parts[0], family.name);
            let labels: Vec<&str> = parts[1..].iter().step_by(2).copied().collect();
            assert_eq!(labels, family.labels);
            let event = parts.last().unwrap();
            assert!(family.events.is_empty() || family.events.iter().any(|(known, _)| known == event), "{event}");
        }
    }
}
