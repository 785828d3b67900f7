//! The decoding that belongs to a place, done once, leniently.

use std::borrow::Cow;

use crate::bytes::{at, hex};

/// Decodes percent signs; with `plus`, `+` is a blank. A percent sign that starts nothing stays.
#[must_use]
pub fn percent_decoded(text: &[u8], plus: bool) -> Cow<'_, [u8]> {
    if !text.iter().any(|&b| b == b'%' || (plus && b == b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        match (byte, hex(at(text, i + 1)), hex(at(text, i + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                i += 3;
                continue;
            }
            (b'+', _, _) if plus => out.push(b' '),
            _ => out.push(byte),
        }
        i += 1;
    }
    Cow::Owned(out)
}
