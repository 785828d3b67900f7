//! Lists of words, sorted, one behind the other: a pointer for each would take more room than most words.

/// A sorted list.
pub struct Words {
    /// All of them.
    pub text: &'static str,
    /// Where each ends.
    pub ends: &'static [u16],
}

impl Words {
    /// Whether a word is in it.
    pub fn holds(&self, word: &[u8]) -> bool {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.word(middle).cmp(word) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        false
    }

    fn word(&self, number: usize) -> &[u8] {
        let end = |number: usize| self.ends.get(number).map_or(0, |end| usize::from(*end));
        let start = number.checked_sub(1).map_or(0, end);
        self.text.as_bytes().get(start..end(number)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_its_words_and_no_others() {
        let words = Words { text: "aacbcd", ends: &[1, 3, 4, 6] };
        for word in ["a", "b", "ac", "cd"] {
            assert!(words.holds(word.as_bytes()), "{word}");
        }
        for word in ["", "c", "ab", "acc", "d", "cde", "0", "~"] {
            assert!(!words.holds(word.as_bytes()), "{word}");
        }
        assert!(!Words { text: "", ends: &[] }.holds(b""));
    }
}
