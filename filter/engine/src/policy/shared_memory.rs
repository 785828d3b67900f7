//! How much shared memory a policy may take at most, by what takes it: for `portcullis check`.

use std::num::NonZeroU32;

use crate::addresses::AddressSource;
use crate::bans;
use crate::engine::REPLAY_CAPACITY;
use crate::key_sets;
use crate::limits::memory_bytes;

use super::Policy;

/// Something that lies in shared data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMemory {
    /// What it is, with its name in the configuration.
    pub what: String,
    /// The most that it takes, in bytes, with the host's bookkeeping.
    pub bytes: u64,
}

/// Beside a document: the record that announces it, the keys of both, and the host's bookkeeping.
const BESIDE_DOCUMENT: usize = 1024;

impl Policy {
    /// All that lies in shared data, whatever clients send. Values of less than a kilobyte that are there once, such as seeds, are left out.
    pub fn shared_memory(&self) -> Vec<SharedMemory> {
        let mut found = Vec::new();
        let mut add = |what: String, bytes: u64| found.push(SharedMemory { what, bytes });
        let document = |bytes: usize| u64::try_from(bytes.saturating_add(BESIDE_DOCUMENT)).unwrap_or(u64::MAX);
        for limit in &self.limits {
            let Some(capacity) = u32::try_from(limit.capacity).ok().and_then(NonZeroU32::new) else { continue };
            add(format!("limit {}", limit.name), memory_bytes(capacity));
            if limit.lease.is_some() {
                add(format!("leases of limit {}", limit.name), memory_bytes(capacity));
            }
        }
        for ban in &self.bans {
            add(format!("ban {}", ban.name), bans::memory_bytes(&ban.name, ban.capacity));
        }
        if !self.bans.is_empty() {
            add("records of bans".to_owned(), document(bans::LEDGER_BYTES));
        }
        if self.proof_window().is_some() {
            add("proofs of DPoP".to_owned(), memory_bytes(REPLAY_CAPACITY));
        }
        for source in &self.key_set_sources {
            add(format!("key set of {}", source.provider), document(key_sets::MAX_RESPONSE_BYTES));
        }
        for list in &self.address_lists {
            if let AddressSource::Feed(feed) = &list.source {
                add(format!("address list {}", list.name), document(feed.max_bytes));
            }
        }
        if let Some(list) = &self.revocation.list {
            add("list of revoked tokens".to_owned(), document(list.max_bytes));
        }
        if let Some(pushed) = &self.revocation.push {
            add("pushed revocations".to_owned(), document(pushed.max_bytes));
        }
        found
    }
}
