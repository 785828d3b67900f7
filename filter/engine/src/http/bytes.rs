//! Byte classes of HTTP and URI syntax, and percent escapes.

/// Letters, digits and a few more bytes: a table, because every byte of every name and path is looked up.
pub(crate) struct ByteSet([bool; 256]);

/// What may stand in a token: a method, a header's name (RFC 9110, section 5.6.2).
pub(crate) static TOKEN: ByteSet = ByteSet::letters_digits_and(b"!#$%&'*+-.^_`|~");
/// `unreserved` (RFC 3986, section 2.3).
pub(crate) static UNRESERVED: ByteSet = ByteSet::letters_digits_and(b"-._~");

impl ByteSet {
    /// The set of ASCII letters, digits and `more`.
    #[expect(clippy::indexing_slicing, reason = "runs in the compiler only")]
    pub(crate) const fn letters_digits_and(more: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            set[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut at = 0;
        while at < more.len() {
            set[more[at] as usize] = true;
            at += 1;
        }
        Self(set)
    }

    /// Whether `byte` is in the set.
    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or(false)
    }

    /// Whether all `bytes` are in the set.
    pub(crate) fn has_all(&self, bytes: &[u8]) -> bool {
        bytes.iter().fold(true, |all, &byte| all & self.has(byte))
    }
}

/// Whether `bytes` holds a control byte other than a tab: never part of a field value (RFC 9110, section 5.5).
pub(crate) fn has_control_byte(bytes: &[u8]) -> bool {
    // No early exit: so the compiler checks sixteen bytes at a time.
    bytes.iter().fold(false, |found, &byte| found | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
}

/// The value of the escape `%` `high` `low`; `None` unless both are hexadecimal digits.
pub(crate) fn escaped_byte(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    Some((hex_digit(high?)? << 4) | hex_digit(low?)?)
}

/// Appends `byte` as an escape with upper-case digits (RFC 3986, section 6.2.2.1).
pub(crate) fn push_escape(out: &mut String, byte: u8) {
    out.push('%');
    out.push(upper_hex(byte >> 4));
    out.push(upper_hex(byte & 0x0f));
}

/// The bytes that `text` stands for; an escape with other than two hexadecimal digits stays as it is written.
pub(crate) fn unescape(text: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        match byte {
            b'%' => match escaped_byte(ahead.next(), ahead.next()) {
                Some(value) => {
                    out.push(value);
                    rest = ahead;
                }
                None => out.push(b'%'),
            },
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(other),
        }
    }
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn upper_hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_an_escape() {
        for byte in 0..=255 {
            let mut text = String::new();
            push_escape(&mut text, byte);
            assert_eq!(unescape(text.as_bytes(), false), [byte]);
            assert_eq!(unescape(text.to_lowercase().as_bytes(), false), [byte]);
        }
    }

    #[test]
    fn a_broken_escape_stays_as_written() {
        for text in ["%", "%4", "%zz", "%4g", "100%", "%%"] {
            assert_eq!(unescape(text.as_bytes(), false), text.as_bytes(), "{text}");
        }
        assert_eq!(unescape(b"%%41", false), b"%A");
    }
}
