//! Reading bytes without ever panicking.

/// The byte at `index`, or 0 behind the end.
#[inline]
#[must_use]
pub fn at(text: &[u8], index: usize) -> u8 {
    text.get(index).copied().unwrap_or(0)
}

/// `text[from..to]`, cut to what there is.
#[inline]
#[must_use]
pub fn part(text: &[u8], from: usize, to: usize) -> &[u8] {
    let to = to.min(text.len());
    text.get(from..to).unwrap_or_default()
}

/// `text[from..]`, empty behind the end.
#[inline]
#[must_use]
pub fn rest(text: &[u8], from: usize) -> &[u8] {
    text.get(from..).unwrap_or_default()
}

/// The position of `needle` at or behind `from`.
#[must_use]
pub fn find(text: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let (&first, tail) = needle.split_first()?;
    let mut at = from;
    loop {
        at += position(rest(text, at), first)? + 1;
        if rest(text, at).starts_with(tail) {
            return Some(at - 1);
        }
    }
}

/// The position of the first such byte. Looks at blocks of bytes at once, where most have none.
#[inline]
#[must_use]
pub fn position(text: &[u8], byte: u8) -> Option<usize> {
    const BLOCK: usize = 32;
    let is_in = |block: &[u8]| block.iter().fold(false, |is_in, &b| is_in | (b == byte));
    let from = text.chunks_exact(BLOCK).take_while(|block| !is_in(block)).count() * BLOCK;
    rest(text, from).iter().position(|&b| b == byte).map(|at| from + at)
}

/// True if `needle` stands somewhere in `text`.
#[must_use]
pub fn contains(text: &[u8], needle: &[u8]) -> bool {
    find(text, needle, 0).is_some()
}

/// The text without blanks at both ends.
#[must_use]
pub fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// The value of a hexadecimal digit.
#[inline]
#[must_use]
pub fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Blanks of all kinds that languages skip.
#[inline]
#[must_use]
pub fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}
