//! What must stand in a text for an expression to match it, read off the expression: a cheap search before the costly one.
//!
//! It may find less than there is, never more. Expressions come here after `regex-lite` has compiled them, so they are well formed
//! and nest as deeply as it allows.

use crate::bytes::{at, part, rest};

/// More alternatives than these are no cheap search.
const MOST: usize = 64;

/// Lower-case texts one of which stands in every match, or `None`.
pub fn needed(source: &str) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader { source: source.as_bytes(), at: 0, is_known: true };
    let found = reader.alternatives();
    found.filter(|_| reader.is_known && reader.at == source.len())
}

/// About how many states the expression has; what is repeated counts each time, also inside of what is repeated.
pub fn states(source: &str) -> u64 {
    let source = source.as_bytes();
    // The sizes of the open groups around, of this one, and of its last part.
    let (mut around, mut size, mut last) = (Vec::new(), 0u64, 0u64);
    let mut i = 0;
    while let Some(&byte) = source.get(i) {
        i += 1;
        match byte {
            b'(' => around.push(std::mem::take(&mut size)),
            b')' => {
                last = size.saturating_add(1);
                size = around.pop().unwrap_or(0).saturating_add(last);
            }
            b'{' => {
                let end = rest(source, i).iter().position(|&b| b == b'}').map_or(i, |length| i + length);
                let inside = part(source, i, end);
                if !inside.iter().all(|b| b.is_ascii_digit() || *b == b',') {
                    continue;
                }
                let most = inside.split(|&b| b == b',').filter_map(number).max().unwrap_or(1);
                let more = last.saturating_mul(most.saturating_sub(1));
                (size, last) = (size.saturating_add(more), last.saturating_add(more));
                i = end + 1;
            }
            _ => {
                i += usize::from(byte == b'\\');
                size = size.saturating_add(1);
                last = 1;
            }
        }
    }
    around.into_iter().fold(size, u64::saturating_add)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

struct Reader<'a> {
    source: &'a [u8],
    at: usize,
    /// False once something was met whose meaning is not known here.
    is_known: bool,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        at(self.source, self.at)
    }

    fn alternatives(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut all: Option<Vec<Vec<u8>>> = Some(Vec::new());
        loop {
            let branch = self.sequence();
            all = match (all, branch) {
                (Some(mut all), Some(branch)) if all.len() + branch.len() <= MOST => {
                    all.extend(branch);
                    Some(all)
                }
                _ => None,
            };
            if self.peek() != b'|' || self.at >= self.source.len() {
                return all;
            }
            self.at += 1;
        }
    }

    /// The best of what the parts of a sequence need.
    fn sequence(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut best: Option<Vec<Vec<u8>>> = None;
        let mut run: Vec<u8> = Vec::new();
        while let Some(&byte) = self.source.get(self.at) {
            if matches!(byte, b'|' | b')') || !self.is_known {
                break;
            }
            let atom = self.atom();
            let (least, is_once) = self.repetition();
            match atom {
                Atom::Byte(byte) if least > 0 => {
                    run.push(byte.to_ascii_lowercase());
                    if !is_once {
                        better(&mut best, vec![std::mem::take(&mut run)]);
                    }
                }
                Atom::Nothing => {}
                Atom::Group(needed) => {
                    better(&mut best, vec![std::mem::take(&mut run)]);
                    if let Some(needed) = needed.filter(|_| least > 0) {
                        better(&mut best, needed);
                    }
                }
                Atom::Byte(_) | Atom::Other => better(&mut best, vec![std::mem::take(&mut run)]),
            }
        }
        better(&mut best, vec![run]);
        best
    }

    fn atom(&mut self) -> Atom {
        let byte = self.peek();
        self.at += 1;
        match byte {
            b'(' => self.group(),
            b'[' => {
                self.class();
                Atom::Other
            }
            b'\\' => self.escape(),
            b'.' => Atom::Other,
            b'^' | b'$' => Atom::Other,
            b' '..=b'~' => Atom::Byte(byte),
            _ => Atom::Other,
        }
    }

    fn group(&mut self) -> Atom {
        if self.peek() == b'?' {
            self.at += 1;
            let named = self.peek() == b'<' || (self.peek() == b'P' && at(self.source, self.at + 1) == b'<');
            let end = if named { b'>' } else { b':' };
            loop {
                match self.source.get(self.at) {
                    None => {
                        self.is_known = false;
                        return Atom::Other;
                    }
                    Some(b')') => {
                        self.at += 1;
                        return Atom::Nothing;
                    }
                    // Blanks mean nothing from here on.
                    Some(b'x') if !named => self.is_known = false,
                    Some(&byte) if byte == end => break,
                    Some(_) => {}
                }
                self.at += 1;
            }
            self.at += 1;
        }
        let needed = self.alternatives();
        if self.peek() == b')' {
            self.at += 1;
        } else {
            self.is_known = false;
        }
        Atom::Group(needed)
    }

    fn class(&mut self) {
        if self.peek() == b'^' {
            self.at += 1;
        }
        if self.peek() == b']' {
            self.at += 1;
        }
        while let Some(&byte) = self.source.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'[' if self.peek() == b':' => {
                    let end = crate::bytes::find(self.source, b":]", self.at);
                    self.at = end.map_or(self.source.len(), |end| end + 2);
                }
                b']' => return,
                _ => {}
            }
        }
        self.is_known = false;
    }

    fn escape(&mut self) -> Atom {
        let byte = self.peek();
        self.at += 1;
        match byte {
            b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'n' | b'r' | b't' | b'f' | b'v' | b'a' | b'A' | b'z' => {
                Atom::Other
            }
            b'b' | b'B' => {
                self.is_known &= self.peek() != b'{';
                Atom::Other
            }
            b'x' if self.peek() == b'{' => {
                let end = rest(self.source, self.at).iter().position(|&b| b == b'}');
                self.at = end.map_or(self.source.len(), |length| self.at + length + 1);
                Atom::Other
            }
            b'x' => {
                self.at += 2;
                Atom::Other
            }
            b'!'..=b'~' if !byte.is_ascii_alphanumeric() && !matches!(byte, b'<' | b'>') => Atom::Byte(byte),
            _ => {
                self.is_known = false;
                Atom::Other
            }
        }
    }

    /// How often the last atom stands there at least, and whether exactly once.
    fn repetition(&mut self) -> (u64, bool) {
        let (mut least, mut is_once) = (1, true);
        loop {
            let one = match self.peek() {
                b'*' | b'?' => 0,
                b'+' => 1,
                b'{' => {
                    let end = rest(self.source, self.at).iter().position(|&b| b == b'}');
                    let Some(length) = end else {
                        self.is_known = false;
                        return (0, false);
                    };
                    let inside = part(self.source, self.at + 1, self.at + length);
                    self.at += length;
                    inside.split(|&b| b == b',').next().and_then(number).unwrap_or(0)
                }
                _ => return (least, is_once),
            };
            self.at += 1;
            is_once = false;
            least = least.min(one);
            if self.peek() == b'?' {
                self.at += 1;
            }
        }
    }
}

enum Atom {
    Byte(u8),
    Group(Option<Vec<Vec<u8>>>),
    /// Flags for what follows.
    Nothing,
    Other,
}

/// Takes the candidate if its shortest text is longer than that of the best one so far, or there are fewer of them.
fn better(best: &mut Option<Vec<Vec<u8>>>, candidate: Vec<Vec<u8>>) {
    let worth = |texts: &[Vec<u8>]| (texts.iter().map(Vec::len).min().unwrap_or(0), usize::MAX - texts.len());
    if worth(&candidate).0 > 0 && best.as_ref().is_none_or(|best| worth(&candidate) > worth(best)) {
        *best = Some(candidate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_lite::RegexBuilder;

    fn shown(source: &str) -> Option<Vec<String>> {
        needed(source).map(|all| all.into_iter().map(|text| String::from_utf8_lossy(&text).into_owned()).collect())
    }

    #[test]
    fn the_longest_text_that_cannot_be_missing_is_found() {
        let some = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        assert_eq!(shown(r"(?i)\bUNION\s+select"), some(&["select"]));
        assert_eq!(shown(r"a(?:foo|ba[rz])x?"), some(&["foo", "ba"]));
        assert_eq!(shown(r"colou?r"), some(&["colo"]));
        assert_eq!(shown(r"\.\./"), some(&["../"]));
        assert_eq!(shown(r"ab{2,3}c"), some(&["ab"]));
        for without in [r"[a-z]+", r"(?:abc)?", r"abc|\d", r"(?x) a b", r"a*", r".*", ""] {
            assert_eq!(shown(without), None, "{without}");
        }
    }

    #[test]
    fn repetitions_multiply_inside_of_others() {
        assert_eq!(states("abc"), 3);
        assert_eq!(states("a{3}b{2,5}"), 8);
        assert!(states("(?:(?:a{1,30}b?){1,30}){1,9}9") > 30 * 30 * 9);
        assert_eq!(states(r"\{3"), 2);
        assert!(states("[{]a{900}") > 900);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(3000))]
        #[test]
        fn no_match_is_missed(
            source in r"(\(\?i\)|)([ab]|a\?|b\*|c\+|\(a\|bc\)|\(ab\)\?|\[ab\]|\[\^a\]|a\{2\}|b\{0,2\}|\\x61|\\.|\.|\||\(\?:|\)|\(\?x\)| |\+\?){0,9}",
            text in "[abcABC. ]{0,12}",
        ) {
            let Ok(regex) = RegexBuilder::new(&source).dot_matches_new_line(true).build() else { return Ok(()) };
            if regex.is_match(&text) && let Some(needed) = needed(&source) {
                let lower = text.to_ascii_lowercase();
                let found = needed.iter().any(|text| lower.contains(std::str::from_utf8(text).unwrap()));
                proptest::prop_assert!(found, "{source} {text} {needed:?}");
            }
        }
    }
}
