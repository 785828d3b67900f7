//! Keys in shared data: of one length, made for every request on the stack.

use std::num::NonZeroU32;

use crate::limits::bucket::LAYOUT;
use crate::limits::hash::{Fingerprint, Seed};

/// A key on the stack: made for every request, without an allocation.
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// The key of a bucket of the table whose keys begin so.
    pub fn new(prefix: &[u8; PREFIX_BYTES], slot: Slot) -> Self {
        let mut key = [0; KEY_BYTES];
        let (start, rest) = key.split_at_mut(PREFIX_BYTES);
        start.copy_from_slice(prefix);
        match slot {
            Slot::Bucket(number) => write_digits(rest, number.into()),
            Slot::Shared => rest.copy_from_slice(SHARED_KEY),
        }
        Self(key)
    }

    pub fn as_str(&self) -> &str {
        // Always ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Which bucket of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    Bucket(u32),
    Shared,
}

/// What the keys of a table begin with: the same for all workers, whatever bytes are in the limit's name.
pub fn prefix(seed: &Seed, kind: u8, name: &str, capacity: NonZeroU32) -> [u8; PREFIX_BYTES] {
    let id = Fingerprint::new(seed, &[&[kind, LAYOUT], &capacity.get().to_le_bytes(), name.as_bytes()]);
    let mut prefix = [0; PREFIX_BYTES];
    let (namespace, rest) = prefix.split_at_mut(NAMESPACE.len());
    namespace.copy_from_slice(NAMESPACE);
    write_digits(rest, u64::try_from(id.bits() >> 64).unwrap_or(u64::MAX));
    prefix
}

/// Fills `text` with the last digits of `number` to the base of 64.
fn write_digits(text: &mut [u8], mut number: u64) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for byte in text.iter_mut().rev() {
        let digit = usize::try_from(number & 63).unwrap_or(0);
        *byte = DIGITS.get(digit).copied().unwrap_or(b'A');
        number >>= 6;
    }
}

const NAMESPACE: &[u8; 3] = b"pl/";
/// The namespace, and 64 bits.
pub const PREFIX_BYTES: usize = NAMESPACE.len() + 11;
/// The prefix, and 32 bits.
const KEY_BYTES: usize = PREFIX_BYTES + 6;
/// In place of a bucket's number, whose first digit is one of the first four.
const SHARED_KEY: &[u8; 6] = b"shared";
