//! A hash for keys that no client chooses: the proxy's context ids, the engine's counters.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds [`QuickHash`].
pub type Quick = BuildHasherDefault<QuickHash>;

/// Multiplies each word in: neighbouring numbers end up far apart. Has no seed: not for what a client can choose.
#[derive(Debug, Clone, Copy, Default)]
pub struct QuickHash(u64);

impl QuickHash {
    fn mix(&mut self, word: u64) {
        // 2^64 divided by the golden ratio; the turn brings the high bits, which are mixed best, to the low ones.
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for QuickHash {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.mix(byte.into());
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.mix(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.mix(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn finish(&self) -> u64 {
        // The map takes its place from the low bits and its tag from the top seven.
        self.0 ^ (self.0 >> 32)
    }
}
