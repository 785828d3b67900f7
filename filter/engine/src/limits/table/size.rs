//! How large a table is.

use std::num::NonZeroU32;

use crate::limits::bucket::{BUCKET_BYTES, ENTRIES};

/// How many buckets a table has in which `capacity` clients are to have a place each: for fewer than there are entries in a bucket,
/// one; else two and a half times as many entries as clients, since some buckets are fuller than others.
pub fn buckets_for(capacity: NonZeroU32) -> u32 {
    let clients = capacity.get();
    if clients <= ENTRIES { 1 } else { clients.saturating_add(clients).saturating_add(clients / 2).div_ceil(ENTRIES) }
}

/// How much shared memory a table takes at most, in bytes: for `portcullis check`.
///
/// Values and the host's bookkeeping, for all buckets and the shared overflow bucket. Buckets are created when they are
/// first used, and stay.
pub fn memory_bytes(capacity: NonZeroU32) -> u64 {
    let buckets = u64::from(buckets_for(capacity)).saturating_add(1);
    let value = u64::try_from(BUCKET_BYTES).unwrap_or(u64::MAX);
    buckets.saturating_mul(value.saturating_add(HOST_BYTES_PER_KEY))
}

/// The host's hash node with the key, the value's header and allocator rounding; about 100 bytes measured, rounded up.
const HOST_BYTES_PER_KEY: u64 = 160;
