//! One form for a value, whatever it was wrapped in: percent, `%u`, overlong UTF-8, HTML entities, escapes of JavaScript,
//! full-width letters, invisible characters, capitals. Decoding goes on until nothing changes, five rounds at most.

mod entities;
mod unicode;

use crate::bytes::{at, hex, part, rest};
use crate::mask;

/// Rounds of decoding; what is wrapped deeper than this is refused for its wrapping.
pub const ROUNDS: u8 = 5;

/// What the decoding met on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trace {
    /// Rounds in which percent signs were decoded.
    pub depth: u8,
    /// UTF-8 in a longer form than needed: no honest encoder writes it.
    pub overlong: bool,
    /// A NUL byte stood in the value.
    pub nul: bool,
    /// Something was decoded, folded or dropped.
    pub changed: bool,
    /// One round more would change something.
    pub unfinished: bool,
}

/// Writes the normal form of `raw` to `out`, but for its capitals. `other` is a scratch buffer.
pub fn normalise(raw: &[u8], kinds: u16, out: &mut Vec<u8>, other: &mut Vec<u8>) -> Trace {
    let mut trace = Trace::default();
    if kinds & (mask::ESCAPE | mask::CONTROL | mask::HIGH) == 0 {
        out.clear();
        out.extend_from_slice(raw);
    } else {
        let mut change = decode(raw, out, &mut trace);
        trace.depth = u8::from(change.percent);
        trace.changed = change.any;
        for round in 2..=ROUNDS {
            if !change.any {
                break;
            }
            change = decode(out, other, &mut trace);
            std::mem::swap(out, other);
            if change.percent {
                trace.depth = round;
            }
            if change.any && round == ROUNDS {
                trace.unfinished = decode(out, other, &mut trace).any;
            }
        }
    }
    trace
}

#[derive(Default)]
struct Change {
    percent: bool,
    any: bool,
}

fn decode(text: &[u8], out: &mut Vec<u8>, trace: &mut Trace) -> Change {
    out.clear();
    let mut change = Change::default();
    let mut i = 0;
    loop {
        // Runs of plain bytes are copied whole.
        let tail = rest(text, i);
        let plain = tail.iter().position(|&b| matches!(b, b'%' | b'&' | b'\\' | 0 | 128..)).unwrap_or(tail.len());
        out.extend_from_slice(part(tail, 0, plain));
        i += plain;
        let Some(&byte) = text.get(i) else { break };
        let used = match byte {
            b'%' => percent(text, i, out, &mut change),
            b'&' => entities::decode(rest(text, i), out),
            b'\\' => escape(text, i, out),
            0 => {
                trace.nul = true;
                1
            }
            128..=255 => unicode::fold(rest(text, i), out, trace),
            _ => 0,
        };
        if used == 0 {
            out.push(byte);
            i += 1;
        } else {
            // A well-formed character that stays as it is was copied whole.
            let copied = byte >= 128 && out.ends_with(part(text, i, i + used));
            change.any |= !copied;
            i += used;
        }
    }
    change
}

fn percent(text: &[u8], i: usize, out: &mut Vec<u8>, change: &mut Change) -> usize {
    if let (Some(high), Some(low)) = (hex(at(text, i + 1)), hex(at(text, i + 2))) {
        out.push(high * 16 + low);
        change.percent = true;
        return 3;
    }
    let sprinkled = sprinkled(rest(text, i));
    if sprinkled > 0 {
        out.extend(part(text, i, i + sprinkled).iter().skip(1).step_by(2));
        return sprinkled;
    }
    if matches!(at(text, i + 1), b'u' | b'U')
        && let Some(code) = hex_number(part(text, i + 2, i + 6), 4)
    {
        unicode::push(code, out);
        change.percent = true;
        return 6;
    }
    0
}

/// The length of `%S%E%L%E%C%T`: servers that drop a sign which begins no code read `SELECT`.
fn sprinkled(text: &[u8]) -> usize {
    let pairs = text.chunks_exact(2).take_while(|pair| matches!(pair, [b'%', byte] if *byte != b'%')).count();
    if pairs < 4 { 0 } else { pairs * 2 }
}

/// `\x41`, `\u0041`, `\u{41}`, `\101`. A backslash before anything else stays: paths of Windows and shells need it.
fn escape(text: &[u8], i: usize, out: &mut Vec<u8>) -> usize {
    match at(text, i + 1) {
        b'x' | b'X' => match hex_number(part(text, i + 2, i + 4), 2) {
            Some(code) => {
                out.push(code as u8);
                4
            }
            None => 0,
        },
        b'u' | b'U' if at(text, i + 2) == b'{' => {
            let digits = rest(text, i + 3).iter().take(7).take_while(|b| b.is_ascii_hexdigit()).count();
            match hex_number(part(text, i + 3, i + 3 + digits), digits) {
                Some(code) if digits > 0 && at(text, i + 3 + digits) == b'}' => {
                    unicode::push(code, out);
                    digits + 4
                }
                _ => 0,
            }
        }
        b'u' | b'U' => match hex_number(part(text, i + 2, i + 6), 4) {
            Some(code) => {
                unicode::push(code, out);
                6
            }
            None => 0,
        },
        // Style sheets write four to six digits, of which the first are zeros; nobody else writes the control byte that this would be.
        b'0' if part(text, i + 1, i + 3) == b"00" && hex_digits(text, i + 1, 6) >= 4 => {
            let digits = hex_digits(text, i + 1, 6);
            let code = hex_number(part(text, i + 1, i + 1 + digits), digits).unwrap_or(u32::from(b'?'));
            unicode::push(code, out);
            1 + digits + usize::from(at(text, i + 1 + digits) == b' ')
        }
        // Angle brackets in the shortest octal form of JavaScript.
        b'7' if matches!(at(text, i + 2), b'4' | b'6') && !at(text, i + 3).is_ascii_digit() => {
            out.push(if at(text, i + 2) == b'4' { b'<' } else { b'>' });
            3
        }
        first @ b'0'..=b'1' => {
            let (second, third) = (at(text, i + 2), at(text, i + 3));
            if matches!(second, b'0'..=b'7') && matches!(third, b'0'..=b'7') {
                out.push((first - b'0') * 64 + (second - b'0') * 8 + (third - b'0'));
                return 4;
            }
            0
        }
        _ => 0,
    }
}

fn hex_digits(text: &[u8], from: usize, most: usize) -> usize {
    rest(text, from).iter().take(most).take_while(|b| b.is_ascii_hexdigit()).count()
}

fn hex_number(digits: &[u8], length: usize) -> Option<u32> {
    if digits.len() != length {
        return None;
    }
    digits.iter().try_fold(0u32, |code, &digit| Some(code << 4 | u32::from(hex(digit)?)))
}
