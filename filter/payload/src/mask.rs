//! Which kinds of bytes a value has: one look at each byte decides which checks it needs at all.

/// Upper-case letters.
pub const UPPER: u16 = 1;
/// Bytes that start an escape of some language: `%`, `&`, `\`.
pub const ESCAPE: u16 = 2;
/// Control bytes but for tab and line ends.
pub const CONTROL: u16 = 4;
/// Bytes above ASCII.
pub const HIGH: u16 = 8;
/// Quotes: `'`, `"`, `` ` ``.
pub const QUOTE: u16 = 16;
/// `<` and `>`.
pub const ANGLE: u16 = 32;
/// `/` and `\`.
pub const SLASH: u16 = 64;
/// What shells read: `$ ^ { } | ; & ( )` and backticks, backslashes, quotes, line ends.
pub const SHELL: u16 = 128;
/// What SQL needs to say more than a word: quotes, parentheses, operators, `;`, `#`, `@`.
pub const SQL: u16 = 256;
/// Blanks, and `+`, which stands for one.
pub const BLANK: u16 = 512;
/// Letters.
pub const LETTER: u16 = 1024;
/// Digits.
pub const DIGIT: u16 = 2048;
/// A dot.
pub const DOT: u16 = 4096;
/// A minus.
pub const DASH: u16 = 8192;
/// Everything else.
pub const OTHER: u16 = 16384;
/// What a shell drops from between letters: quotes, backslashes, `^`, `$`, `{`, `+`.
pub const DROPPED: u16 = 32768;

const fn kind(byte: u8) -> u16 {
    match byte {
        b'A'..=b'Z' => UPPER | LETTER,
        b'a'..=b'z' => LETTER,
        b'0'..=b'9' => DIGIT,
        b'.' => DOT,
        b'-' => DASH,
        b'_' => OTHER,
        b'%' => ESCAPE | SQL,
        b'&' => ESCAPE | SHELL | SQL,
        b'\\' => ESCAPE | SHELL | SLASH | SQL | DROPPED,
        b'\'' | b'"' | b'`' => QUOTE | SHELL | SQL | DROPPED,
        b'<' | b'>' => ANGLE | SQL | SHELL,
        b'/' => SLASH | SQL,
        b'$' | b'^' | b'{' => SHELL | SQL | DROPPED,
        b'}' | b'|' | b';' | b'(' | b')' => SHELL | SQL,
        b'=' | b'#' | b'@' | b'*' | b'!' | b'~' | b',' => SQL,
        b' ' | b'\t' => BLANK,
        b'+' => BLANK | SQL | SHELL | DROPPED,
        b'\n' | b'\r' => BLANK | SHELL,
        0..=31 | 127 => CONTROL,
        128..=255 => HIGH,
        _ => OTHER,
    }
}

static KINDS: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
        {
            table[byte] = kind(byte as u8);
        }
        byte += 1;
    }
    table
};

/// The kinds of all bytes of a value.
#[must_use]
pub fn of(text: &[u8]) -> u16 {
    let mut mask = 0;
    for &byte in text {
        #[allow(clippy::indexing_slicing)]
        {
            // A byte is always below 256, so the compiler drops the check.
            mask |= KINDS[usize::from(byte)];
        }
    }
    mask
}
