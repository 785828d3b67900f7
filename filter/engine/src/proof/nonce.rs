//! Nonces that a client must put into its proofs, so that none can be made in advance (RFC 9449, sections 8 and 9).
//!
//! A nonce is a number of a time slot and a keyed hash of it: nothing is stored for each. The key lives in the shared data, so
//! that all workers give and take the same nonces, and is replaced once a day.

use std::fmt;
use std::time::Duration;

use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{Algorithm as _, AlgorithmSignature as _};

use super::compare;
use crate::jwt::base64url;
use crate::ports::{Expected, SharedStore, StoreUnavailable, WriteOutcome};
use crate::time::{UnixNanos, nanos};

/// Gives nonces, and says which are good: those of the present slot and of the one before.
#[derive(Clone)]
pub struct NonceIssuer {
    secrets: Secrets,
    /// Nanoseconds.
    slot: u64,
}

impl NonceIssuer {
    /// The issuer that all workers share; `slot` is how long a nonce is given out, and half of how long it is good at most.
    ///
    /// `offered` (32 random bytes) becomes the secret where there is none yet, or where the standing one is a day old; else
    /// it is thrown away. To be called at least once in each slot (each tick will do): a new secret is used from
    /// the slot after next on, so that every worker knows it by then.
    ///
    /// # Errors
    /// [`NonceError`].
    pub fn shared<S: SharedStore + ?Sized>(
        store: &S,
        offered: [u8; 32],
        slot: Duration,
        now: UnixNanos,
    ) -> Result<Self, NonceError> {
        let slot = nanos(slot).max(MIN_SLOT);
        for _ in 0..TRIES {
            let (secrets, expected) = match store.get(SECRETS_KEY)? {
                None => {
                    (Secrets { current: offered, previous: offered, created: now, used_from: now }, Expected::Absent)
                }
                Some((bytes, version)) => {
                    let standing = Secrets::from_bytes(&bytes).ok_or(NonceError::Corrupt)?;
                    // A clock that stepped back waits no longer than a day for the next secret.
                    if standing.created.0.abs_diff(now.0) < ROTATION {
                        return Ok(Self { secrets: standing, slot });
                    }
                    let used_from = UnixNanos(slot_at(now, slot).saturating_add(2).saturating_mul(slot));
                    let previous = standing.at(now);
                    let rotated = Secrets { current: offered, previous, created: now, used_from };
                    (rotated, Expected::Unchanged(version))
                }
            };
            if store.compare_and_set(SECRETS_KEY, &secrets.to_bytes(), expected)? == WriteOutcome::Written {
                return Ok(Self { secrets, slot });
            }
        }
        Err(NonceError::Contended)
    }

    /// The nonce to give out at `now`, for the answer's `DPoP-Nonce`.
    pub fn fresh(&self, now: UnixNanos) -> String {
        self.of_slot(slot_at(now, self.slot))
    }

    /// The nonces that are good at `now`.
    pub fn accepted(&self, now: UnixNanos) -> AcceptedNonces {
        let slot = slot_at(now, self.slot);
        AcceptedNonces([self.of_slot(slot), self.of_slot(slot.saturating_sub(1))])
    }

    fn of_slot(&self, slot: u64) -> String {
        let secret = self.secrets.at(UnixNanos(slot.saturating_mul(self.slot)));
        let number = slot.to_be_bytes();
        let message = [&b"portcullis dpop nonce"[..], &self.slot.to_be_bytes(), &number].concat();
        let tag = Hs256.sign(&Hs256Key::new(secret), &message);
        let tag = tag.as_bytes();
        base64url::encode(&[&number[..], tag.get(..TAG_BYTES).unwrap_or(&tag)].concat())
    }
}

impl fmt::Debug for NonceIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceIssuer(..)")
    }
}

/// The nonces that a proof may name.
#[derive(Clone)]
pub struct AcceptedNonces([String; 2]);

impl AcceptedNonces {
    /// Whether `nonce` is one of them.
    pub fn contains(&self, nonce: &str) -> bool {
        self.0.iter().fold(false, |found, good| found | compare::same(good.as_bytes(), nonce.as_bytes()))
    }
}

impl fmt::Debug for AcceptedNonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AcceptedNonces(..)")
    }
}

/// Why there is no issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceError {
    /// The host's shared data cannot be used.
    StoreUnavailable,
    /// The shared data hold something else under the secret's key.
    Corrupt,
    /// Other workers were faster too many times in a row.
    Contended,
}

impl From<StoreUnavailable> for NonceError {
    fn from(_: StoreUnavailable) -> Self {
        Self::StoreUnavailable
    }
}

impl fmt::Display for NonceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StoreUnavailable => "the host's shared data cannot be used",
            Self::Corrupt => "the shared data hold something that is no nonce secret",
            Self::Contended => "other workers changed the nonce secret at every try",
        })
    }
}

impl std::error::Error for NonceError {}

/// The secret in use and the one before it.
#[derive(Clone, PartialEq, Eq)]
struct Secrets {
    current: [u8; 32],
    previous: [u8; 32],
    created: UnixNanos,
    /// The start of the first slot whose nonces are made with `current`.
    used_from: UnixNanos,
}

impl Secrets {
    fn at(&self, slot_start: UnixNanos) -> [u8; 32] {
        if slot_start >= self.used_from { self.current } else { self.previous }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let (created, used_from) = (self.created.0.to_be_bytes(), self.used_from.0.to_be_bytes());
        [&[LAYOUT][..], &self.current, &self.previous, &created, &used_from].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(&[LAYOUT])?;
        let (current, bytes) = bytes.split_first_chunk()?;
        let (previous, bytes) = bytes.split_first_chunk()?;
        let (created, bytes) = bytes.split_first_chunk()?;
        let (used_from, rest) = bytes.split_first_chunk()?;
        let instant = |bytes: &[u8; 8]| UnixNanos(u64::from_be_bytes(*bytes));
        let (created, used_from) = (instant(created), instant(used_from));
        rest.is_empty().then_some(Self { current: *current, previous: *previous, created, used_from })
    }
}

fn slot_at(now: UnixNanos, slot: u64) -> u64 {
    now.0.checked_div(slot).unwrap_or(0)
}

const SECRETS_KEY: &str = "portcullis/dpop-nonce/1";
const LAYOUT: u8 = 1;
const TAG_BYTES: usize = 16;
/// Nanoseconds.
const MIN_SLOT: u64 = 1_000_000_000;
/// One day, in nanoseconds.
const ROTATION: u64 = 86_400 * 1_000_000_000;
/// Each failure is another worker's success, and after one success nobody writes for a day.
const TRIES: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory::MemoryStore;

    const SLOT: Duration = Duration::from_secs(60);
    const NOW: UnixNanos = UnixNanos::from_secs(1_000_020);
    const DAY: Duration = Duration::from_secs(86_400);

    fn issuer(store: &MemoryStore, offered: u8, now: UnixNanos) -> NonceIssuer {
        NonceIssuer::shared(store, [offered; 32], SLOT, now).unwrap()
    }

    #[test]
    fn a_nonce_is_good_in_its_slot_and_the_next() {
        let issuer = issuer(&MemoryStore::default(), 1, NOW);
        let nonce = issuer.fresh(NOW);
        assert_eq!(nonce.len(), 32);
        assert!(issuer.accepted(NOW).contains(&nonce));
        assert!(issuer.accepted(NOW.plus(SLOT)).contains(&nonce));
        assert!(!issuer.accepted(NOW.plus(2 * SLOT)).contains(&nonce));
        assert!(!issuer.accepted(UnixNanos(NOW.0 - nanos(SLOT))).contains(&nonce), "not before it was given");
        assert_ne!(issuer.fresh(NOW.plus(SLOT)), nonce);
    }

    #[test]
    fn every_worker_gives_and_takes_the_same_nonces() {
        let store = MemoryStore::default();
        let (one, two) = (issuer(&store, 1, NOW), issuer(&store, 2, NOW));
        assert_eq!(one.fresh(NOW), two.fresh(NOW));
        assert_eq!(store.key_count(), 1);
    }

    #[test]
    fn a_nonce_of_another_gateway_is_refused() {
        let (ours, theirs) = (issuer(&MemoryStore::default(), 1, NOW), issuer(&MemoryStore::default(), 2, NOW));
        let nonce = theirs.fresh(NOW);
        assert!(!ours.accepted(NOW).contains(&nonce));
        let shorter = NonceIssuer { slot: nanos(SLOT) / 2, ..ours.clone() };
        assert!(!ours.accepted(NOW).contains(&shorter.fresh(NOW)));
    }

    #[test]
    fn any_change_of_a_nonce_is_refused() {
        let issuer = issuer(&MemoryStore::default(), 1, NOW);
        let nonce = issuer.fresh(NOW);
        let accepted = issuer.accepted(NOW);
        for at in 0..nonce.len() {
            let mut other = nonce.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert!(!accepted.contains(str::from_utf8(&other).unwrap()));
            assert!(!accepted.contains(nonce.split_at(at).0));
        }
        assert!(!accepted.contains(&format!("{nonce}A")));
    }

    #[test]
    fn the_secret_is_replaced_after_a_day_and_no_nonce_is_lost() {
        let store = MemoryStore::default();
        let old = issuer(&store, 1, NOW);
        let later = NOW.plus(DAY);
        let new = issuer(&store, 2, later);
        assert!(new.secrets != old.secrets);
        // Workers that have not looked yet agree until the slot after next; by then each has looked.
        for slots in 0..2 {
            let at = later.plus(slots * SLOT);
            assert_eq!(old.fresh(at), new.fresh(at));
        }
        let at = later.plus(2 * SLOT);
        assert_ne!(old.fresh(at), new.fresh(at));
        assert!(new.accepted(at).contains(&old.fresh(later.plus(SLOT))));
        assert_eq!(issuer(&store, 3, at).fresh(at), new.fresh(at));
    }

    #[test]
    fn a_second_rotation_and_a_clock_that_steps_back_keep_the_workers_together() {
        let store = MemoryStore::default();
        for (offered, now) in [(1, NOW), (2, NOW.plus(DAY)), (3, NOW.plus(2 * DAY)), (4, UnixNanos::from_secs(60))] {
            let (one, two) = (issuer(&store, offered, now), issuer(&store, 9, now));
            assert_eq!(one.fresh(now), two.fresh(now));
            assert!(two.accepted(now.plus(SLOT)).contains(&one.fresh(now)));
        }
    }

    #[test]
    fn a_foreign_value_under_the_key_is_no_secret() {
        for value in [&b""[..], b"\x01short", &[1; 82], &[2; 81]] {
            let store = MemoryStore::default();
            store.compare_and_set(SECRETS_KEY, value, Expected::Absent).unwrap();
            let error = NonceIssuer::shared(&store, [1; 32], SLOT, NOW).unwrap_err();
            assert_eq!(error, NonceError::Corrupt);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let issuer = issuer(&MemoryStore::default(), 65, NOW);
        assert_eq!(format!("{issuer:?} {:?}", issuer.accepted(NOW)), "NonceIssuer(..) AcceptedNonces(..)");
    }

    #[test]
    fn the_ends_of_time_make_no_panic() {
        let issuer = issuer(&MemoryStore::default(), 1, UnixNanos(0));
        assert!(issuer.accepted(UnixNanos(0)).contains(&issuer.fresh(UnixNanos(0))));
        assert!(issuer.accepted(UnixNanos(u64::MAX)).contains(&issuer.fresh(UnixNanos(u64::MAX))));
        assert!(NonceIssuer::shared(&MemoryStore::default(), [1; 32], Duration::ZERO, NOW).is_ok());
    }
}
