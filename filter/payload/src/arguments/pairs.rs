//! `name=value` pairs of queries, forms and cookies.

use crate::bytes::{part, rest, trimmed};

use super::decode::percent_decoded;

/// Calls `each` with every pair. A form's pairs are decoded; a cookie's are only trimmed.
pub fn each(text: &[u8], separator: u8, form: bool, mut each: impl FnMut(&[u8], &[u8])) {
    for piece in text.split(|&b| b == separator) {
        if piece.is_empty() {
            continue;
        }
        let (name, value) = match piece.iter().position(|&b| b == b'=') {
            Some(equals) => (part(piece, 0, equals), rest(piece, equals + 1)),
            None => (piece, &[][..]),
        };
        if form {
            each(&percent_decoded(name, true), &percent_decoded(value, true));
        } else {
            each(trimmed(name), trimmed(value));
        }
    }
}
