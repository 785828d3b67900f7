//! The operations of a compiled pattern: written by the build script, run by [`super::run`]. Four bytes each.

/// The next byte must equal `a`.
pub const BYTE: u8 = 0;
/// The next byte must be of class `a + 256 * lo`.
pub const CLASS: u8 = 1;
/// Between `lo` and `hi` bytes of class `a`, as many as possible first. 255 for `hi` stands for any number, up to [`RUN_CAP`].
pub const RUN: u8 = 2;
/// The same, of class `256 + a`.
pub const RUN_HIGH: u8 = 10;
/// The same, of class `512 + a`.
pub const RUN_HIGHER: u8 = 11;
/// The same, of class `768 + a`.
pub const RUN_HIGHEST: u8 = 12;
/// Go on behind this operation; if that fails, `lo + 256 * hi` operations further.
pub const SPLIT: u8 = 3;
/// Go on `lo + 256 * hi` operations further.
pub const JUMP: u8 = 4;
/// A border between a word byte and another byte, or an end of the text.
pub const BOUNDARY: u8 = 5;
/// The start of the text.
pub const START: u8 = 6;
/// The end of the text.
pub const END: u8 = 7;
/// A word of the list `lo + 256 * hi`, as long as the run of word bytes is.
pub const WORD: u8 = 8;
/// The next bytes must equal `a` and `lo`.
pub const TWO_BYTES: u8 = 13;
/// The next bytes must equal `a`, `lo` and `hi`.
pub const THREE_BYTES: u8 = 14;
/// The pattern matches: what no other operation is.
#[allow(dead_code)]
pub const MATCH: u8 = 9;

/// What "any number" means: text that an attacker puts between two parts of a pattern costs no more than this.
pub const RUN_CAP: usize = 250;

/// One operation.
pub type Op = [u8; 4];
/// A set of bytes.
pub type Class = [u64; 4];

/// The number of 256 classes that a kind of run names its class in.
#[inline]
pub fn page(run: u8) -> usize {
    match run {
        RUN_HIGH..=RUN_HIGHEST => usize::from(run - RUN_HIGH) + 1,
        _ => 0,
    }
}

/// True if the class holds the byte.
#[inline]
pub fn holds(class: &Class, byte: u8) -> bool {
    match class.get(usize::from(byte >> 6)) {
        Some(word) => word >> (byte & 63) & 1 == 1,
        None => false,
    }
}

/// Word bytes: letters, digits, underscore.
#[inline]
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
