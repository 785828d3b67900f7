//! Bringing a bucket out of shared data, and back.

use super::admission::Reason;
use super::key::Key;
use crate::limits::bucket::Bucket;
use crate::ports::{Expected, SharedStore, StoreUnavailable, WriteOutcome};

/// A bucket as it was read, and what has to hold when it is written.
pub struct Read {
    pub bucket: Bucket,
    expected: Expected,
}

impl Read {
    pub fn from_store<S: SharedStore + ?Sized>(store: &S, key: &Key) -> Result<Self, Reason> {
        match store.get(key.as_str())? {
            None => Ok(Self { bucket: Bucket::empty(), expected: Expected::Absent }),
            Some((bytes, version)) => Ok(Self {
                bucket: Bucket::from_bytes(bytes).ok_or(Reason::Corrupt)?,
                expected: Expected::Unchanged(version),
            }),
        }
    }

    pub fn write_back<S: SharedStore + ?Sized>(&self, store: &S, key: &Key) -> Result<WriteOutcome, StoreUnavailable> {
        store.compare_and_set(key.as_str(), self.bucket.as_bytes(), self.expected)
    }
}
