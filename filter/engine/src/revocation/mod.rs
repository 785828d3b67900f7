//! Revoked tokens: a list that is pulled from a cluster, and what operators push.
//!
//! # The list
//! One worker fetches it for all, as key sets are fetched ([`crate::key_sets`]): the others have it within a tick, a bad
//! one never replaces a good one, and it is kept while the server is down. Its format, times in whole seconds since the
//! epoch:
//! ```json
//! {"version": 1,
//!  "tokens": ["6f1c…", {"jti": "7a2b…", "iss": "https://idp.example", "until": 1700086400}],
//!  "subjects": [{"sub": "alice", "iss": "https://idp.example", "before": 1700000000}],
//!  "clients": [{"client_id": "app", "before": 1700000000}],
//!  "issuers": [{"iss": "https://idp.example", "before": 1700000000}]}
//! ```
//! A token is revoked by its `jti`, or if it was issued (`iat`) before the `before` of its subject, client (`client_id` or
//! `azp`) or issuer; one without `iat` counts as issued before. With `iss`, an entry is about that issuer's tokens only.
//! From `until` on an entry says nothing. Entries about the same are one, with the latest `before` and the latest
//! `until`. Everything but `version` may be left out; anything else in the document makes it no list.
//!
//! # Pushes
//! One entry, for which [`Entry::from_json`] has the format. It takes effect on all workers at their next request or
//! within a tick ([`Consistency`]), is kept in shared data until its `until`, and does not outlive the proxy's process: what
//! must, belongs in the list too. When there is no more room, the operator is told so; nothing that still holds is dropped.
//!
//! # Cost
//! A list is compiled into a table of fingerprints of which a check reads one or two places. Verified tokens that are
//! cached need no check as long as [`Revocations::generation`] stays the same.

mod entry;
mod events;
mod list;
#[cfg(test)]
mod list_tests;
mod pushed;
mod reader;
#[cfg(test)]
mod simulation;
mod table;
mod worker;

pub use crate::shared_list::OnError;
pub use entry::{Entry, EntryError, Member, Problem, Target, What};
pub use events::Event;
pub use pushed::{Consistency, PushError, PushOptions};
pub use reader::MAX_NAME_BYTES;
pub use worker::{Actions, By, ListOptions, Options, PUSH_TICK, Refusal, Revocations, Revoked, Seeds, Size};
