//! The tokenizer: SQL of all dialects at once, lenient where they differ.

use crate::bytes::{at, find, is_blank, part, position, rest};

use super::words;

/// Tokens of one reading; more are not read.
const MOST: usize = 240;

/// The kinds of the tokens of a text, one byte each, behind one byte for the context.
#[derive(Default)]
pub struct Tokens {
    kinds: Vec<u8>,
    /// The last token is a plus.
    plus: bool,
}

impl Tokens {
    /// The kinds.
    pub fn kinds(&self) -> &[u8] {
        &self.kinds
    }

    /// How many there are, with the context.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Reads `text`. `context` is `b` for a value as it stands, or the quote that the value has just closed.
    pub fn read(&mut self, text: &[u8], context: u8) {
        self.kinds.clear();
        self.plus = false;
        self.kinds.push(context);
        let mut i = 0;
        while i < text.len() && self.kinds.len() < MOST {
            let (before, byte) = (self.kinds.len(), at(text, i));
            i += self.token(text, i);
            self.plus = if self.kinds.len() > before { byte == b'+' } else { self.plus && !is_blank(byte) };
        }
    }

    fn last(&self) -> u8 {
        if self.kinds.len() > 1 { self.kinds.last().copied().unwrap_or(0) } else { 0 }
    }

    fn push(&mut self, kind: u8) {
        let last = self.last();
        match kind {
            // Signs and NOT before a value change nothing.
            b'o' | b'!'
                if matches!(last, b'(' | b',' | b'&' | b'=' | b'o' | b'S' | b'W' | b'D' | b'B' | b'H' | b'!') => {}
            b'o' if last == 0 && self.kinds.first() == Some(&b'b') => {}
            // No statement has a sign there: it is a blank that nobody has decoded.
            b'&' | b'U' | b'W' | b'B' | b'H' | b'L' | b'c' if last == b'o' && self.plus => {
                self.kinds.pop();
                self.kinds.push(kind);
            }
            b'=' if last == b'!' => {
                self.kinds.pop();
                self.kinds.push(kind);
            }
            b'(' | b')' if last == kind => {}
            b'=' if last == b'=' => {}
            _ => self.kinds.push(kind),
        }
    }

    /// Reads one token, and gives its length.
    fn token(&mut self, text: &[u8], i: usize) -> usize {
        let byte = at(text, i);
        let next = at(text, i + 1);
        match byte {
            0..=b' ' => 1,
            b'\'' | b'"' => self.string(text, i, byte),
            b'`' => match position(rest(text, i + 1), b'`') {
                Some(end) => {
                    self.push(b'n');
                    end + 2
                }
                None => {
                    self.push(b'q');
                    text.len() - i
                }
            },
            b'0'..=b'9' => self.number(text, i),
            b'.' if next.is_ascii_digit() => self.number(text, i),
            b'a'..=b'z' | b'_' | 128..=255 => self.word(text, i),
            b'[' => {
                // Names in brackets are Transact-SQL; anything else in them is not SQL at all.
                let inner = rest(text, i + 1)
                    .iter()
                    .take(64)
                    .take_while(|&&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b' '))
                    .count();
                if inner > 0 && at(text, i + 1 + inner) == b']' {
                    self.push(b'n');
                    inner + 2
                } else {
                    self.push(b'[');
                    1
                }
            }
            b'@' if next == b'>' => self.two(b'='),
            b'@' => {
                let length = rest(text, i).iter().take_while(|&&b| b == b'@').count();
                let name = rest(text, i + length)
                    .iter()
                    .take_while(|&&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$' | 128..))
                    .count();
                self.push(if name > 0 || length > 1 { b'v' } else { b'?' });
                length + name
            }
            b'/' if next == b'*' => self.comment(text, i),
            b'*' if next == b'/' && at(text, i + 2) != b'*' => 2,
            b'-' if next == b'-' => self.line_comment(text, i),
            // A hash and a word on the last line is a tag that someone wrote.
            b'#' if next.is_ascii_alphanumeric() && !rest(text, i).contains(&b'\n') => {
                self.push(b'?');
                1
            }
            b'#' => self.line_comment(text, i),
            b'|' if next == b'|' => self.two(b'&'),
            b'&' if next == b'&' => self.two(b'&'),
            b'<' | b'>' | b'=' | b'!' | b':' if next == b'=' => self.two(b'='),
            b'<' if matches!(next, b'>' | b'@') => self.two(b'='),
            b'<' | b'>' if next == byte => self.two(b'o'),
            b'<' if next == b'/' => self.two(b'?'),
            b'=' | b'<' | b'>' => {
                self.push(b'=');
                1
            }
            // PostgreSQL: `!~`, `~*`, `~~` compare with patterns.
            b'!' if next == b'~' => self.two(b'='),
            b'~' if matches!(next, b'~' | b'*') => self.two(b'='),
            b'!' => {
                self.push(b'!');
                1
            }
            b':' if next == b':' => {
                // A cast of PostgreSQL changes nothing.
                2 + rest(text, i + 2).iter().take_while(|b| b.is_ascii_alphanumeric()).count()
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'|' | b'&' | b'~' => {
                self.push(b'o');
                1
            }
            b'$' => {
                let name = rest(text, i + 1).iter().take_while(|&&b| b.is_ascii_alphanumeric() || b == b'_').count();
                if at(text, i + 1 + name) == b'$' {
                    let tag = part(text, i, i + name + 2);
                    let end = find(text, tag, i + name + 2);
                    self.push(if end.is_some() { b's' } else { b'q' });
                    return end.map_or(text.len(), |e| e + tag.len()) - i;
                }
                self.push(if name > 0 { b'n' } else { b'?' });
                1 + name
            }
            b'(' | b')' | b',' | b';' | b'{' | b'}' | b'\\' | b'.' => {
                self.push(byte);
                1
            }
            _ => {
                self.push(b'?');
                1
            }
        }
    }

    fn two(&mut self, kind: u8) -> usize {
        self.push(kind);
        2
    }

    fn string(&mut self, text: &[u8], i: usize, quote: u8) -> usize {
        let plain = if quote == b'"' { DOUBLE } else { SINGLE };
        let mut end = i + 1;
        loop {
            end += length(rest(text, end), plain);
            let Some(&byte) = text.get(end) else { break };
            if byte == b'\\' {
                end += 2;
            } else if byte == quote {
                if at(text, end + 1) == quote {
                    end += 2;
                    continue;
                }
                self.push(b's');
                return end + 1 - i;
            }
        }
        self.push(b'q');
        text.len() - i
    }

    fn number(&mut self, text: &[u8], i: usize) -> usize {
        let tail = rest(text, i);
        let length = if tail.starts_with(b"0x") {
            2 + rest(tail, 2).iter().take_while(|b| b.is_ascii_hexdigit()).count()
        } else if tail.starts_with(b"0b") && matches!(at(tail, 2), b'0' | b'1') {
            2 + rest(tail, 2).iter().take_while(|&&b| matches!(b, b'0' | b'1')).count()
        } else {
            let mut length = tail.iter().take_while(|&&b| b.is_ascii_digit() || b == b'.').count();
            if at(tail, length) == b'e' {
                let sign = usize::from(matches!(at(tail, length + 1), b'+' | b'-'));
                let digits = rest(tail, length + 1 + sign).iter().take_while(|b| b.is_ascii_digit()).count();
                if digits > 0 {
                    length += 1 + sign + digits;
                }
            }
            length
        };
        self.push(b'1');
        length.max(1)
    }

    fn word(&mut self, text: &[u8], i: usize) -> usize {
        let tail = rest(text, i);
        let length = length(tail, WORD);
        let word = part(tail, 0, length);
        // `x'41'`, `n'..'`, `_utf8'..'` are strings with a prefix.
        if at(tail, length) == b'\''
            && (matches!(word, b"x" | b"n" | b"b" | b"e" | b"q" | b"r") || word.starts_with(b"_"))
        {
            return length + self.string(text, i + length, b'\'');
        }
        // `select.1` and `a.b` are words of their own; a keyword in front of the dot counts.
        let (word, length) = match word.iter().position(|&b| b == b'.') {
            Some(dot) if words::kind(part(word, 0, dot)).is_some() => (part(word, 0, dot), dot),
            _ => (word, length),
        };
        let gap = gap(part(tail, length, length + 64));
        // Prose has a blank before its parentheses.
        let call = at(tail, length + gap) == b'('
            && (gap == 0
                || length + gap + 1 >= tail.len()
                || matches!(
                    at(tail, length + gap + 1),
                    b'0'..=b'9' | b'\'' | b'"' | b'@' | b'(' | b' ' | b'\t' | b'\n' | b'\r' | 11 | 12 | b'/'
                ));
        match words::kind(word) {
            // A function is one only with its parenthesis; without it, it is a word like others.
            Some(kind @ (b'f' | b'g')) => self.push(if call { kind } else { b'n' }),
            Some(b'y') => {
                // `by` belongs to ORDER and GROUP.
                if !matches!(self.last(), b'B') {
                    self.push(b'n');
                }
            }
            // A committee may be called `union-select`.
            Some(b'U') if at(tail, length) == b'-' && at(tail, length + 1).is_ascii_alphabetic() => self.push(b'n'),
            Some(kind) => self.push(kind),
            None => self.push(if call && gap == 0 { b'F' } else { b'n' }),
        }
        length.max(1)
    }

    fn comment(&mut self, text: &[u8], i: usize) -> usize {
        if at(text, i + 2) == b'!' {
            // MySQL runs what is in it.
            return 3 + rest(text, i + 3).iter().take(6).take_while(|b| b.is_ascii_digit()).count();
        }
        match find(text, b"*/", i + 2) {
            Some(end) => end + 2 - i,
            None => {
                self.push(b'c');
                text.len() - i
            }
        }
    }

    fn line_comment(&mut self, text: &[u8], i: usize) -> usize {
        match rest(text, i).iter().position(|&b| b == b'\n') {
            // Goes on behind the line; blanks alone behind it are an end.
            Some(end) if rest(text, i + end).iter().any(|&b| !is_blank(b)) => end + 1,
            _ => {
                self.push(b'c');
                text.len() - i
            }
        }
    }
}

/// Bytes of words: letters, digits, `_`, `$`, `.`, and what is above ASCII.
const WORD: u8 = 1;
/// Bytes that a string in single quotes goes on with, whatever follows.
const SINGLE: u8 = 2;
/// The same in double quotes.
const DOUBLE: u8 = 4;

static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
        {
            kinds[byte] = match byte as u8 {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' | b'.' | 128.. => WORD | SINGLE | DOUBLE,
                b'\\' => 0,
                b'\'' => DOUBLE,
                b'"' => SINGLE,
                _ => SINGLE | DOUBLE,
            };
        }
        byte += 1;
    }
    kinds
};

/// How many bytes of these kinds `text` starts with.
#[inline]
fn length(text: &[u8], kinds: u8) -> usize {
    // A byte is always below 256, so the compiler drops the check.
    #[allow(clippy::indexing_slicing)]
    text.iter().take_while(|&&byte| KINDS[usize::from(byte)] & kinds != 0).count()
}

/// Blanks and comments between a name and what follows.
fn gap(text: &[u8]) -> usize {
    let mut i = 0;
    loop {
        i += rest(text, i).iter().take_while(|&&b| is_blank(b)).count();
        let end = if rest(text, i).starts_with(b"/*") { find(text, b"*/", i + 2) } else { None };
        let Some(end) = end else { return i };
        i = end + 2;
    }
}
