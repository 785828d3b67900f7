//! Regular expressions over bytes.

/// The longest expression, in bytes.
pub const LONGEST_PATTERN: usize = 16 * 1024;
/// How much of what is found is shown.
const SHOWN: usize = 64;

/// A compiled expression. `.` also matches line breaks.
#[derive(Debug, Clone)]
pub struct Pattern(portcullis_pattern::Pattern);

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
            let bytes: String = character.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect();
            return Err(format!("it is about bytes: write {character:?} as {bytes}"));
        }
        portcullis_pattern::Pattern::of_bytes(source).map(Self)
    }

    /// Lower-case texts one of which stands in everything that matches.
    pub(super) fn literals(&self) -> Option<Vec<Vec<u8>>> {
        self.0.literals().map(<[_]>::to_vec)
    }

    /// The steps for one byte.
    pub(super) fn cost(&self) -> u64 {
        self.0.states().saturating_add(4)
    }

    /// Whether it matches somewhere.
    pub(super) fn is_match(&self, value: &[u8]) -> bool {
        self.0.is_match(value)
    }

    /// What it matches first; at most 64 bytes of it.
    pub(super) fn find(&self, value: &[u8]) -> Option<Vec<u8>> {
        if !self.0.is_match(value) {
            return None;
        }
        let found = self.0.find(value).and_then(|range| value.get(range)).unwrap_or_default();
        Some(found.iter().copied().take(SHOWN).collect())
    }
}
