//! Characters that databases, browsers and file systems take for ASCII ones.

use crate::bytes::{at, part};

use super::Trace;

/// Appends a code point: what it stands for if that is ASCII, else its UTF-8.
pub fn push(code: u32, out: &mut Vec<u8>) {
    match ascii(code) {
        Some(text) => out.extend_from_slice(text),
        None => match char::from_u32(code) {
            Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => out.push(b'?'),
        },
    }
}

static ASCII: [u8; 128] = {
    let mut table = [0; 128];
    let mut i = 0;
    while i < 128 {
        #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
        {
            table[i] = i as u8;
        }
        i += 1;
    }
    table
};

fn one(code: u32) -> Option<&'static [u8]> {
    let index = code as usize;
    ASCII.get(index..index + 1)
}

fn ascii(code: u32) -> Option<&'static [u8]> {
    match code {
        0..=0x7f => one(code),
        0xff01..=0xff5e => one(code - 0xfee0),
        0x24d0..=0x24e9 => one(code - 0x24d0 + 0x61),
        0x24b6..=0x24cf => one(code - 0x24b6 + 0x61),
        0x2460..=0x2468 => one(code - 0x2460 + 0x31),
        0x24ea => one(0x30),
        0xad | 0x200b..=0x200f | 0x202a..=0x202e | 0x2066..=0x2069 | 0x2060 | 0xfeff => Some(b""),
        0xa0 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => Some(b" "),
        0x2028 | 0x2029 => Some(b"\n"),
        0x2b9 | 0x2bc | 0x2018 | 0x2019 | 0x201b | 0x2032 => Some(b"'"),
        0x2ba | 0x201c | 0x201d | 0x2033 => Some(b"\""),
        0x2039 | 0xfe64 => Some(b"<"),
        0x203a | 0xfe65 => Some(b">"),
        0x2044 | 0x2215 => Some(b"/"),
        0x2216 | 0xfe68 => Some(b"\\"),
        0x2024 | 0x3002 | 0xff61 => Some(b"."),
        0x2025 => Some(b".."),
        0x2026 => Some(b"..."),
        0x17f => Some(b"s"),
        0x212a => Some(b"k"),
        0x131 => Some(b"i"),
        _ => None,
    }
}

/// Takes the character that `text` starts with, a byte above ASCII. Gives the bytes used; 0 keeps the byte.
pub fn fold(text: &[u8], out: &mut Vec<u8>, trace: &mut Trace) -> usize {
    let lead = at(text, 0);
    let (length, bits) = match lead {
        0xc0..=0xdf => (2, lead & 0x1f),
        0xe0..=0xef => (3, lead & 0x0f),
        0xf0..=0xf7 => (4, lead & 0x07),
        0xf8..=0xfb => (5, lead & 0x03),
        0xfc..=0xfd => (6, lead & 0x01),
        _ => (1, 0),
    };
    let mut code = u32::from(bits);
    let mut well_formed = length > 1;
    for i in 1..length {
        let Some(&next) = text.get(i) else {
            well_formed = false;
            break;
        };
        // Decoders that do not check the two high bits are why `%c0%2f` is sent at all.
        well_formed &= next & 0xc0 == 0x80 || matches!(lead, 0xc0 | 0xc1);
        code = code << 6 | u32::from(next & 0x3f);
    }
    if !well_formed {
        // Lone bytes: what they are in the old character sets that browsers and databases still know.
        let meaning: &[u8] = match lead {
            0xa0 => b" ",
            0xa2 => b"\"",
            0xbc => b"<",
            0xbe => b">",
            _ => return 0,
        };
        out.extend_from_slice(meaning);
        return 1;
    }
    let shortest = match code {
        0..=0x7f => 1,
        0x80..=0x7ff => 2,
        0x800..=0xffff => 3,
        _ => 4,
    };
    if length > shortest {
        trace.overlong = true;
        push(code, out);
    } else if let Some(text) = ascii(code) {
        out.extend_from_slice(text);
    } else {
        out.extend_from_slice(part(text, 0, length));
    }
    length
}
