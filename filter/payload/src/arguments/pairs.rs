//! `name=value` pairs of queries, forms and cookies.

use crate::bytes::{part, rest, trimmed};

use super::decode::percent_decoded;

/// Calls `each` with every pair. A form's pairs are decoded; a cookie's are only trimmed.
pub fn each(text: &[u8], separator: u8, form: bool, mut each: impl FnMut(&[u8], &[u8])) {
    for (name, value) in split(text, separator) {
        if form {
            each(&percent_decoded(name, true), &percent_decoded(value, true));
        } else {
            each(trimmed(name), trimmed(value));
        }
    }
}

/// Calls `each` with every name.
pub fn each_name(text: &[u8], separator: u8, form: bool, mut each: impl FnMut(&[u8])) {
    for (name, _) in split(text, separator) {
        if form {
            each(&percent_decoded(name, true));
        } else {
            each(trimmed(name));
        }
    }
}

fn split(text: &[u8], separator: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pieces = text.split(move |&b| b == separator).filter(|piece| !piece.is_empty());
    pieces.map(|piece| match piece.iter().position(|&b| b == b'=') {
        Some(equals) => (part(piece, 0, equals), rest(piece, equals + 1)),
        None => (piece, &[][..]),
    })
}
