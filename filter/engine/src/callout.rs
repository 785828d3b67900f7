//! A request of the gateway itself, to a cluster of the proxy.

use std::fmt;
use std::time::Duration;

use crate::http::Method;
use crate::key_sets::{FetchId, chance};

/// A request to send. It must end in one [`FetchOutcome`](crate::key_sets::FetchOutcome) within `timeout`; one that
/// cannot be sent ends in `NoAnswer`.
#[derive(Clone, PartialEq, Eq)]
pub struct Callout {
    /// To be handed back with the outcome.
    pub id: FetchId,
    /// The proxy's cluster to send it to.
    pub cluster: String,
    /// `:authority`.
    pub authority: String,
    /// `:path`, with a query where there is one.
    pub path: String,
    /// `:method`.
    pub method: Method,
    /// The other headers: lower-case names, in order. `content-length` is the shell's.
    pub headers: Vec<(&'static str, String)>,
    /// The body; may be empty.
    pub body: Vec<u8>,
    /// The time limit, from sending to the last byte.
    pub timeout: Duration,
    /// A longer body of the answer need not be read: `TooLarge`.
    pub max_response_bytes: usize,
}

/// Headers and body hold tokens and secrets: they are never shown.
impl fmt::Debug for Callout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callout")
            .field("id", &self.id)
            .field("cluster", &self.cluster)
            .field("path", &self.path)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// Gives out the ids of one user of callouts, so that no two users of a worker share an id.
#[derive(Debug)]
pub struct CalloutIds {
    tag: u8,
    last: u64,
}

/// An id is the user's tag and this many bits of a counter.
const COUNTER_BITS: u32 = 56;

impl CalloutIds {
    /// The ids of the user `tag`; zero is that of the key sets.
    ///
    /// The counter begins at a place that `seed` chooses: an answer to the worker before a reload must not be taken for
    /// the answer to another question.
    pub fn new(tag: u8, seed: u64) -> Self {
        Self { tag, last: chance(seed, u64::from(tag)) }
    }

    /// A fresh id.
    pub fn fresh(&mut self) -> FetchId {
        self.last = self.last.wrapping_add(1);
        let counter = self.last & ((1 << COUNTER_BITS) - 1);
        FetchId(u64::from(self.tag) << COUNTER_BITS | counter)
    }

    /// Whether `id` is one of this user's.
    pub fn owns(&self, id: FetchId) -> bool {
        id.0 >> COUNTER_BITS == u64::from(self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_fresh_and_belong_to_one_user() {
        let (mut one, mut other) = (CalloutIds::new(1, 7), CalloutIds::new(2, 7));
        let ids: Vec<FetchId> = (0..100).flat_map(|_| [one.fresh(), other.fresh()]).collect();
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert!(ids.iter().all(|id| one.owns(*id) != other.owns(*id)));
        assert!(!one.owns(FetchId(1)), "the key sets count from one");
    }

    #[test]
    fn the_counter_wraps_within_its_tag() {
        let mut ids = CalloutIds { tag: 3, last: u64::MAX - 1 };
        let wrapped = [ids.fresh(), ids.fresh(), ids.fresh()];
        assert!(wrapped.iter().all(|id| ids.owns(*id)) && wrapped[0] != wrapped[1] && wrapped[1] != wrapped[2]);
    }

    #[test]
    fn after_a_reload_the_ids_are_others() {
        assert_ne!(CalloutIds::new(1, 7).fresh(), CalloutIds::new(1, 8).fresh());
    }

    #[test]
    fn neither_headers_nor_body_are_shown() {
        let callout = Callout {
            id: FetchId(1),
            cluster: "idp".into(),
            authority: "idp".into(),
            path: "/introspect".into(),
            method: Method::Post,
            headers: vec![("authorization", "Basic c2VjcmV0".into())],
            body: b"token=geheim".to_vec(),
            timeout: Duration::from_secs(1),
            max_response_bytes: 1,
        };
        let shown = format!("{callout:?}");
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("geheim") && shown.contains("/introspect"), "{shown}");
    }
}
