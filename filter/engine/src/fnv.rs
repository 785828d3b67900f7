//! A hash without a seed, for what no client can fill or gain by.

use std::hash::Hasher;

/// FNV-1a with 64 bits: quick for keys of a few bytes.
pub struct Fnv1a(u64);

impl Fnv1a {
    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut hasher = Self::default();
        hasher.write(bytes);
        hasher.finish()
    }
}

impl Default for Fnv1a {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv1a {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
