//! Text inside base64: what an application decodes before it uses it.

/// Shorter values are words by chance.
const SHORTEST: usize = 8;
/// Longer ones are files.
const LONGEST: usize = 64 * 1024;

/// Decodes the value to `out` if it is base64 of text. Both alphabets, with and without padding; a blank is a `+` that a form decoded.
pub fn text(value: &[u8], out: &mut Vec<u8>) -> bool {
    let value = value.trim_ascii();
    if value.iter().any(|&b| digit(b).is_none() && b != b'=') {
        return false;
    }
    // A piece out of the middle of a longer text starts with the rest of a byte.
    at_offset(value, 0, out) || (value.len() < 96 && (at_offset(value, 6, out) || at_offset(value, 12, out)))
}

fn at_offset(value: &[u8], lead: u32, out: &mut Vec<u8>) -> bool {
    out.clear();
    let end = value.iter().rposition(|&b| b != b'=').map_or(0, |i| i + 1);
    let body = value.get(..end).unwrap_or_default();
    if !(SHORTEST..=LONGEST).contains(&body.len()) || (body.len() + lead as usize / 6) % 4 == 1 {
        return false;
    }
    let (mut bits, mut count) = (0u32, lead);
    for &byte in body {
        let Some(six) = digit(byte) else { return false };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            let byte = (bits >> count) as u8;
            // Text alone is of interest: random bytes show themselves at once.
            if byte < 9 || (13 < byte && byte < 27) || byte == 127 {
                // The first two may be the rest of what stood before it, in an unfortunate cut.
                if out.len() > 1 {
                    return false;
                }
                out.push(b' ');
                continue;
            }
            out.push(byte);
        }
    }
    // A word that happens to decode gives bytes above ASCII.
    let high = out.iter().filter(|&&b| b >= 128).count();
    high * 8 <= out.len()
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' | b' ' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Writes what the value decodes to, up to the first byte that is none of base64.
pub fn prefix(value: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u32, 0);
    for six in value.iter().map_while(|&byte| digit(byte)) {
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
}

/// How much of a value is decoded to know it.
const HEAD: usize = 48;

/// True if the value is base64 of a pickle of Python or of an object of Ruby: which bytes begin them, and which end a pickle.
pub fn is_object(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    if !matches!(value, [b'g' | b'B', b'A', ..] | [b'Y', _, ..]) || value.len() < 16 {
        return false;
    }
    let end = value.iter().rposition(|&b| b != b'=').map_or(0, |i| i + 1);
    let body = value.get(..end).unwrap_or_default();
    if body.iter().any(|&b| digit(b).is_none()) {
        return false;
    }
    let mut head = Vec::with_capacity(HEAD);
    prefix(body.get(..HEAD * 4 / 3).unwrap_or(body), &mut head);
    match head.as_slice() {
        [0x80, 2..=5, ..] => last_byte(body) == Some(b'.'),
        [4, 8, kind, ..] => b"[{oIcCe:\"iu@lfUS/".contains(kind),
        [b'c', names @ ..] => {
            // `c`, a module and a name, a line for each.
            let mut lines = names.splitn(3, |&b| b == b'\n');
            let is_name = |line: Option<&[u8]>| {
                line.is_some_and(|name| {
                    !name.is_empty() && name.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
                })
            };
            is_name(lines.next()) && is_name(lines.next()) && lines.next().is_some()
        }
        _ => false,
    }
}

fn last_byte(body: &[u8]) -> Option<u8> {
    let [.., before, last] = *body else { return None };
    let (before, last) = (digit(before)?, digit(last)?);
    match body.len() % 4 {
        0 => Some(before << 6 | last),
        2 => Some(before << 2 | last >> 4),
        3 => Some(before << 4 | last >> 2),
        _ => None,
    }
}
