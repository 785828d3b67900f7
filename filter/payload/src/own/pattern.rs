//! Regular expressions over bytes.
//!
//! `regex-lite` reads text; a byte is shown to it as the character of that number, so `\xff` means the byte 255. Its time grows
//! linearly with the value: it runs all alternatives at once and never goes back.

use std::fmt::Write as _;

use regex_lite::{Regex, RegexBuilder};

use super::literals;

/// The longest expression, in bytes.
pub const LONGEST_PATTERN: usize = 16 * 1024;
/// The memory that one compiled expression may take, in bytes.
const COMPILED: usize = 1 << 20;

/// A compiled expression. `.` also matches line breaks.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    literals: Option<Vec<Vec<u8>>>,
    cost: u64,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(source: &str) -> Result<Self, String> {
        if source.len() > LONGEST_PATTERN {
            return Err(format!("it has {} bytes; {LONGEST_PATTERN} are the most", source.len()));
        }
        if let Some(character) = source.chars().find(|c| !c.is_ascii()) {
            let mut bytes = String::new();
            for byte in character.to_string().bytes() {
                let _ = write!(bytes, "\\x{byte:02x}");
            }
            return Err(format!("it is about bytes: write {character:?} as {bytes}"));
        }
        let regex = RegexBuilder::new(source).dot_matches_new_line(true).size_limit(COMPILED).build();
        let regex = regex.map_err(|error| error.to_string())?;
        Ok(Self { regex, literals: literals::needed(source), cost: 4 + literals::states(source) })
    }

    /// Lower-case texts one of which stands in everything that matches.
    pub(super) fn literals(&self) -> Option<Vec<Vec<u8>>> {
        self.literals.clone()
    }

    /// The steps for one byte.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    /// What it matches first; at most 64 bytes of it.
    pub(super) fn find(&self, value: &[u8], text: &mut String) -> Option<Vec<u8>> {
        let text = match std::str::from_utf8(value) {
            Ok(plain) if value.is_ascii() => plain,
            _ => {
                text.clear();
                text.extend(value.iter().map(|&byte| char::from(byte)));
                text
            }
        };
        let found = self.regex.find(text)?;
        Some(found.as_str().chars().take(64).map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect())
    }
}
