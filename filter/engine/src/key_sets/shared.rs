//! The two values that each key set has in shared data, and their order: a body stands before the record announces it.
//!
//! `.../ctl` is the [`Control`] record; `.../body` is a generation (8 bytes, little endian) and the key set's own bytes.

use super::control::Control;
use super::source::Plan;
use crate::ports::memory::MemoryStore;
use crate::ports::{Expected, SharedStore, StoreUnavailable, Version, WriteOutcome};

/// How often a write is tried against other workers. Each lost race means that another one won, so this is plenty.
const MAX_TRIES: usize = 16;

/// The way to shared data, or to this worker's own memory where the host has none.
#[derive(Debug, Default)]
pub(super) struct Link {
    own: MemoryStore,
    is_alone: bool,
}

/// How a change of the record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The change stands.
    Made(Control),
    /// There was nothing to change; the record as it stands.
    Declined(Control),
    /// Too many workers wrote at once; try another time.
    Contended,
}

/// A key set's bytes in shared data.
pub(super) struct Body {
    pub generation: u64,
    pub document: Vec<u8>,
}

impl Link {
    /// Whether the host's shared data have failed, once and therefore for good.
    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    pub fn control(&mut self, store: &dyn SharedStore, plan: &Plan) -> Control {
        self.read_control(store, plan).0
    }

    /// Replaces the record by what `change` makes of it, atomically; `None` leaves it.
    pub fn change(
        &mut self,
        store: &dyn SharedStore,
        plan: &Plan,
        mut change: impl FnMut(&Control) -> Option<Control>,
    ) -> Change {
        for _ in 0..MAX_TRIES {
            let (standing, expected) = self.read_control(store, plan);
            let Some(next) = change(&standing) else { return Change::Declined(standing) };
            if self.write(store, &plan.control_key, &next.encode(), expected) == WriteOutcome::Written {
                return Change::Made(next);
            }
        }
        Change::Contended
    }

    pub fn body(&mut self, store: &dyn SharedStore, plan: &Plan) -> Option<Body> {
        self.read_body(store, plan).0
    }

    /// Puts `document` up as `generation`, and returns the generation under which these bytes stand: an older one
    /// where they stood already. `None` where a later attempt's body stands, which is never overwritten.
    pub fn publish(&mut self, store: &dyn SharedStore, plan: &Plan, generation: u64, document: &[u8]) -> Option<u64> {
        let mut value = Vec::with_capacity(document.len().saturating_add(8));
        value.extend_from_slice(&generation.to_le_bytes());
        value.extend_from_slice(document);
        for _ in 0..MAX_TRIES {
            let (standing, expected) = self.read_body(store, plan);
            if let Some(body) = standing {
                if body.document == document {
                    return Some(body.generation);
                }
                if body.generation >= generation {
                    return None;
                }
            }
            if self.write(store, &plan.body_key, &value, expected) == WriteOutcome::Written {
                return Some(generation);
            }
        }
        None
    }

    fn read_control(&mut self, store: &dyn SharedStore, plan: &Plan) -> (Control, Expected) {
        let (value, expected) = self.read(store, &plan.control_key);
        let control = Control::decode(&value).unwrap_or_else(|| {
            Control::starting_after(self.read_body(store, plan).0.map_or(0, |body| body.generation))
        });
        (control, expected)
    }

    fn read_body(&mut self, store: &dyn SharedStore, plan: &Plan) -> (Option<Body>, Expected) {
        let (mut value, expected) = self.read(store, &plan.body_key);
        let Some(generation) = value.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return (None, expected);
        };
        value.drain(..8);
        (Some(Body { generation, document: value }), expected)
    }

    /// The value, empty where there is none, and what a write over it must expect.
    fn read(&mut self, store: &dyn SharedStore, key: &str) -> (Vec<u8>, Expected) {
        let found = self.with_store(store, |store| store.get(key)).unwrap_or(None);
        found.map_or((Vec::new(), Expected::Absent), |(value, version): (Vec<u8>, Version)| {
            (value, Expected::Unchanged(version))
        })
    }

    fn write(&mut self, store: &dyn SharedStore, key: &str, value: &[u8], expected: Expected) -> WriteOutcome {
        self.with_store(store, |store| store.compare_and_set(key, value, expected)).unwrap_or(WriteOutcome::Conflict)
    }

    /// A worker without shared data must still have keys: it then is the only worker that it knows of. It stays so,
    /// because two half-used stores would disagree.
    fn with_store<T>(
        &mut self,
        store: &dyn SharedStore,
        act: impl Fn(&dyn SharedStore) -> Result<T, StoreUnavailable>,
    ) -> Result<T, StoreUnavailable> {
        if !self.is_alone {
            if let Ok(done) = act(store) {
                return Ok(done);
            }
            self.is_alone = true;
        }
        act(&self.own)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::source::{KeySetSource, Location};
    use super::super::worker::DocumentKind;
    use super::*;
    use crate::ports::memory::NoStore;

    fn plan() -> Plan {
        let source = KeySetSource {
            provider: "corp".into(),
            cluster: "idp".into(),
            location: Location::Jwks { authority: "idp".into(), path: "/k".into() },
            refresh: Duration::from_secs(300),
            keep_stale: Duration::from_secs(3600),
            unknown_kid_cooldown: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        };
        Plan::new(source, &DocumentKind::KEY_SET).unwrap()
    }

    #[test]
    fn a_later_body_is_never_overwritten_and_equal_bytes_keep_their_generation() {
        let (store, plan, mut link) = (MemoryStore::default(), plan(), Link::default());
        assert_eq!(link.publish(&store, &plan, 3, b"keys"), Some(3));
        assert_eq!(link.publish(&store, &plan, 4, b"keys"), Some(3));
        assert_eq!(link.publish(&store, &plan, 2, b"older"), None);
        assert_eq!(link.publish(&store, &plan, 3, b"other"), None);
        assert_eq!(link.publish(&store, &plan, 5, b"newer"), Some(5));
        let body = link.body(&store, &plan).unwrap();
        assert_eq!((body.generation, body.document), (5, b"newer".to_vec()));
    }

    #[test]
    fn a_record_that_is_not_ours_is_begun_anew_after_the_standing_body() {
        let (store, plan, mut link) = (MemoryStore::default(), plan(), Link::default());
        link.publish(&store, &plan, 9, b"keys");
        for garbage in [b"".as_slice(), b"garbage", &[0xff; 69]] {
            let expected = link.read(&store, &plan.control_key).1;
            assert_eq!(store.compare_and_set(&plan.control_key, garbage, expected), Ok(WriteOutcome::Written));
            assert_eq!(link.control(&store, &plan), Control::starting_after(9));
            assert!(matches!(link.change(&store, &plan, |control| Some(*control)), Change::Made(_)));
        }
    }

    #[test]
    fn a_worker_without_shared_data_keeps_its_own() {
        let (plan, mut link) = (plan(), Link::default());
        assert_eq!(link.publish(&NoStore, &plan, 1, b"keys"), Some(1));
        assert!(link.is_alone());
        assert_eq!(link.body(&NoStore, &plan).unwrap().document, b"keys");
    }
}
