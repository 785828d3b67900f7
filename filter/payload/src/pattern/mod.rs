//! Patterns: what the rule files say, compiled at build time and run around each place where a literal was found.

pub mod ops;
mod run;
mod words;

pub use ops::{Class, Op};
pub use run::{Matcher, Steps};
pub use words::Words;

/// One pattern of a rule.
pub struct Pattern {
    /// The number of its rule.
    pub rule: u16,
    /// Where its code starts.
    pub forward: u16,
    /// Where the code for the text before the literal starts; 0 is none.
    pub backward: u16,
    /// Its literal stands no further than this from the start of the value, less one; 0 is anywhere.
    pub reach: u16,
    /// The places that it is looked for in, as bits of [`crate::Place`].
    pub places: u16,
    /// The views that it reads, as bits of [`crate::views::View`].
    pub views: u8,
    /// The lowest level that asks.
    pub level: u8,
}

/// One pattern over the kinds of SQL tokens.
pub struct TokenPattern {
    /// The number of its rule.
    pub rule: u16,
    /// The lowest level that runs it.
    pub level: u8,
    /// Where its code starts.
    pub forward: u16,
    /// The kinds that must all be there.
    pub needs: u128,
    /// The contexts that it can start with.
    pub first: u128,
}
