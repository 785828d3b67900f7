//! Bodies in UTF-16 and UTF-32, which readers of JSON and XML recognise without being told (RFC 4627, 3; XML, appendix F).

use std::borrow::Cow;

use crate::bytes::{at, rest};

/// The body in UTF-8, without the mark at its beginning.
pub fn in_utf8(body: &[u8]) -> Cow<'_, [u8]> {
    let first = (at(body, 0), at(body, 1), at(body, 2), at(body, 3));
    if body.len() < 4 {
        return Cow::Borrowed(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    }
    match first {
        (0xef, 0xbb, 0xbf, _) => Cow::Borrowed(rest(body, 3)),
        (0, 0, 0xfe, 0xff) => wide(rest(body, 4), true),
        (0xff, 0xfe, 0, 0) => wide(rest(body, 4), false),
        (0xfe, 0xff, _, _) => Cow::Owned(utf16(rest(body, 2), true)),
        (0xff, 0xfe, _, _) => Cow::Owned(utf16(rest(body, 2), false)),
        // Without a mark, the zeros beside the first ASCII characters tell.
        (0, 0, 0, 1..) => wide(body, true),
        (1.., 0, 0, 0) => wide(body, false),
        (0, 1.., 0, 1..) => Cow::Owned(utf16(body, true)),
        (1.., 0, 1.., 0) => Cow::Owned(utf16(body, false)),
        _ => Cow::Borrowed(body),
    }
}

fn utf16(text: &[u8], big_endian: bool) -> Vec<u8> {
    let units = text.chunks(2).map(|pair| {
        let pair = [at(pair, 0), at(pair, 1)];
        if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    });
    let characters = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    characters.collect::<String>().into_bytes()
}

fn wide(text: &[u8], big_endian: bool) -> Cow<'_, [u8]> {
    let characters = text.chunks(4).map(|bytes| {
        let bytes = [at(bytes, 0), at(bytes, 1), at(bytes, 2), at(bytes, 3)];
        let code = if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    });
    Cow::Owned(characters.collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str, mark: bool, big_endian: bool) -> Vec<u8> {
        let text = if mark { format!("\u{feff}{text}") } else { text.to_owned() };
        text.encode_utf16().flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    }

    #[test]
    fn every_encoding_of_unicode_is_read() {
        let text = "{\"a\": \"<b>\u{1f600}\"}";
        for big_endian in [false, true] {
            for mark in [false, true] {
                assert_eq!(in_utf8(&units(text, mark, big_endian)), text.as_bytes());
                let wide = text
                    .chars()
                    .flat_map(|c| if big_endian { u32::from(c).to_be_bytes() } else { u32::from(c).to_le_bytes() });
                let start = match (mark, big_endian) {
                    (false, _) => vec![],
                    (true, true) => vec![0, 0, 0xfe, 0xff],
                    (true, false) => vec![0xff, 0xfe, 0, 0],
                };
                let body: Vec<u8> = start.into_iter().chain(wide).collect();
                assert_eq!(in_utf8(&body), text.as_bytes());
            }
        }
        assert_eq!(in_utf8(b"\xef\xbb\xbf{}"), &b"{}"[..]);
    }

    #[test]
    fn other_bytes_stay_as_they_are() {
        for body in [&b""[..], b"{", b"{}", b"\0", b"\0\0\0\0", b"\x89PNG\r\n", b"ab\0\0", b"\xff\xfe"] {
            assert_eq!(in_utf8(body), body);
        }
    }
}
