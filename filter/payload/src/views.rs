//! Further forms of a value, made only where its bytes ask for one.

use crate::bytes::{at, contains, find, is_blank, part, rest};
use crate::mask;

/// The forms that a pattern can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum View {
    /// Comments of SQL are blanks.
    Sql = 2,
    /// What a shell drops is gone: quotes, backslashes, `^`, `$@`, `${IFS}`.
    Shell = 4,
    /// A path with one kind of slash, without the steps that lead nowhere.
    Path = 8,
    /// No blanks and no control bytes at all.
    Squeezed = 32,
}

impl View {
    /// The value itself, in its normal form.
    pub const TEXT: u8 = 1;
}

/// Writes the view to `out`; false if it would be the text itself.
pub fn derive(view: View, text: &[u8], kinds: u16, out: &mut Vec<u8>) -> bool {
    out.clear();
    match view {
        View::Sql => sql(text, kinds, out),
        View::Shell => shell(text, kinds, out),
        View::Path => path(text, kinds, out),
        View::Squeezed => squeezed(text, kinds, out),
    }
}

/// How a word is cut up for those who join a list of JSON.
pub const CUT: &[u8; 5] = b"\\\",\\\"";

fn sql(text: &[u8], kinds: u16, out: &mut Vec<u8>) -> bool {
    if kinds & mask::SQL == 0
        || !((kinds & mask::SLASH != 0 && (contains(text, b"/*") || contains(text, CUT)))
            || (text.contains(&b'\n') && (contains(text, b"--") || contains(text, b"#"))))
    {
        return false;
    }
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        if byte == CUT[0] && rest(text, i).starts_with(CUT) {
            i += CUT.len();
            continue;
        }
        if byte == b'/' && at(text, i + 1) == b'*' {
            if at(text, i + 2) == b'!' {
                // MySQL runs what stands in such a comment; a version number can stand in front of it.
                i += 3;
                i += rest(text, i).iter().take(6).take_while(|b| b.is_ascii_digit()).count();
                out.push(b' ');
                continue;
            }
            match find(text, b"*/", i + 2) {
                // `un/**/ion` is one word for those who delete comments, two for those who blank them: here it is one
                // where letters touch on both sides of an empty comment and the whole is a word that matters.
                Some(end) => {
                    let joins = end == i + 2
                        && out.last().is_some_and(u8::is_ascii_alphabetic)
                        && joined(out, rest(text, end + 2));
                    if !joins {
                        out.push(b' ');
                    }
                    i = end + 2;
                }
                None => {
                    out.extend_from_slice(rest(text, i));
                    break;
                }
            }
            continue;
        }
        // The end of a comment that began elsewhere; not `1*/* the next */2`.
        if byte == b'*' && at(text, i + 1) == b'/' && at(text, i + 2) != b'*' {
            out.push(b' ');
            i += 2;
            continue;
        }
        if (byte == b'#' || (byte == b'-' && at(text, i + 1) == b'-'))
            && let Some(end) = find(text, b"\n", i)
        {
            out.push(b' ');
            i = end + 1;
            continue;
        }
        out.push(byte);
        i += 1;
    }
    true
}

/// Whether the letters on both sides of an empty comment, and of those that follow, begin a word that matters.
fn joined(before: &[u8], after: &[u8]) -> bool {
    let start = before.iter().rposition(|b| !b.is_ascii_alphabetic()).map_or(0, |i| i + 1);
    let head = rest(before, start);
    let mut word = [0u8; 16];
    let (mut used, mut i) = (0, 0);
    let Some(room) = word.get_mut(..head.len()) else { return false };
    room.copy_from_slice(head);
    used += head.len();
    while let Some(slot) = word.get_mut(used) {
        let byte = at(after, i);
        if byte.is_ascii_alphabetic() {
            *slot = byte;
            used += 1;
            i += 1;
        } else if rest(after, i).starts_with(b"/**/") {
            i += 4;
        } else {
            break;
        }
    }
    const WORDS: &[&[u8]] = &[
        b"and",
        b"benchmark",
        b"between",
        b"by",
        b"case",
        b"cast",
        b"char",
        b"concat",
        b"convert",
        b"count",
        b"delete",
        b"drop",
        b"else",
        b"end",
        b"exists",
        b"from",
        b"group",
        b"having",
        b"information",
        b"insert",
        b"into",
        b"like",
        b"limit",
        b"null",
        b"or",
        b"order",
        b"select",
        b"sleep",
        b"table",
        b"then",
        b"union",
        b"update",
        b"values",
        b"waitfor",
        b"when",
        b"where",
    ];
    let word = part(&word, 0, used);
    WORDS.iter().any(|known| known.len() > head.len() && word.starts_with(known))
}

fn shell(text: &[u8], kinds: u16, out: &mut Vec<u8>) -> bool {
    if kinds & mask::DROPPED == 0 || kinds & mask::LETTER == 0 {
        return false;
    }
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        let tail = rest(text, i);
        let plain = tail
            .iter()
            .position(|b| matches!(b, b'\\' | b'^' | b'"' | b'\'' | b'+' | b'$' | b'`' | b'{'))
            .unwrap_or(tail.len());
        if plain > 0 {
            out.extend_from_slice(part(tail, 0, plain));
            i += plain;
            continue;
        }
        match byte {
            b'\\' if at(text, i + 1) == b'\n' => i += 2,
            b'\\' | b'^' | b'"' | b'\'' => i += 1,
            b'+' => {
                out.push(b' ');
                i += 1;
            }
            b'$' if tail.starts_with(b"${ifs") => {
                out.push(b' ');
                i += tail.iter().take(16).position(|&b| b == b'}').map_or(5, |end| end + 1);
            }
            b'$' if tail.starts_with(b"$ifs") => {
                out.push(b' ');
                i += 4;
                if at(text, i) == b'$' && at(text, i + 1).is_ascii_digit() {
                    i += 2;
                }
            }
            b'$' if matches!(at(text, i + 1), b'@' | b'*') => i += 2,
            b'$' if names_nothing(text, i) > 0 => i += names_nothing(text, i),
            // `$'id'` is a string as well.
            b'$' if matches!(at(text, i + 1), b'\'' | b'"') => i += 1,
            b'$' if tail.starts_with(b"$()") => i += 3,
            // A fence of Markdown, and an empty substitution.
            b'`' if tail.starts_with(b"```") => {
                out.push(b'#');
                i += 3;
            }
            b'`' if at(text, i + 1) == b'`' => i += 2,
            b'{' if brace_list(tail) => {
                // `{cat,/etc/passwd}` is `cat /etc/passwd`.
                let end = tail.iter().position(|&b| b == b'}').unwrap_or(0);
                let inner = part(tail, 1, end).iter().filter(|b| !matches!(b, b'\\' | b'\'' | b'"'));
                out.extend(inner.map(|&b| if b == b',' { b' ' } else { b }));
                i += end + 1;
            }
            _ => {
                out.push(byte);
                i += 1;
            }
        }
    }
    out.as_slice() != text
}

/// The length of a variable in the middle of a word: one that is not set, as `c${u}at`, or an argument that was not given, as `wh$1oami`.
fn names_nothing(text: &[u8], i: usize) -> usize {
    let within = |at_byte: u8| at_byte.is_ascii_alphanumeric() || at_byte == b'/';
    if i == 0 || !within(at(text, i - 1)) {
        return 0;
    }
    let length = if at(text, i + 1) == b'{' {
        let name = rest(text, i + 2).iter().take(12).take_while(|&&b| b.is_ascii_alphanumeric() || b == b'_').count();
        if name == 0 || at(text, i + 2 + name) != b'}' {
            return 0;
        }
        name + 3
    } else if at(text, i + 1).is_ascii_digit() {
        2
    } else {
        return 0;
    };
    if within(at(text, i + length)) { length } else { 0 }
}

fn brace_list(tail: &[u8]) -> bool {
    let inner = part(tail, 1, 64);
    let Some(end) = inner.iter().position(|&b| b == b'}') else { return false };
    let inner = part(inner, 0, end);
    inner.contains(&b',')
        && inner.first().is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b',' | b'\\' | b'\''))
        && !inner.iter().any(|&b| is_blank(b) || b == b':')
}

fn path(text: &[u8], kinds: u16, out: &mut Vec<u8>) -> bool {
    if kinds & mask::SLASH == 0 {
        return false;
    }
    let turns = text.windows(2).any(|w| matches!(w, [b'\\', _] | [b'/', b'/' | b'.' | b';' | b'\\'] | [b'0', b'x']));
    if !turns {
        return false;
    }
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        let (byte, used) = one_path_byte(text, i, byte);
        i += used;
        if byte == b'/' {
            if out.last() == Some(&b'/') {
                continue;
            }
            if out.ends_with(b"/.") {
                out.pop();
                continue;
            }
        }
        out.push(byte);
    }
    out.as_slice() != text
}

fn one_path_byte(text: &[u8], i: usize, byte: u8) -> (u8, usize) {
    match byte {
        b'\\' => (b'/', 1),
        b'0' => match part(text, i, i + 4) {
            b"0x2e" => (b'.', 4),
            b"0x2f" | b"0x5c" => (b'/', 4),
            _ => (byte, 1),
        },
        _ => (byte, 1),
    }
}

fn squeezed(text: &[u8], kinds: u16, out: &mut Vec<u8>) -> bool {
    if kinds & (mask::BLANK | mask::CONTROL | mask::ANGLE) == 0
        || kinds & (mask::ANGLE | mask::SHELL | mask::CONTROL) == 0
        || text.len() > 2048
    {
        return false;
    }
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        // `al<x>ert`: for those who strip tags.
        if byte == b'<' && at(text, i + 2) == b'>' && at(text, i + 1).is_ascii_alphabetic() {
            i += 3;
            continue;
        }
        if byte > b' ' && byte != 127 {
            out.push(byte);
        }
        i += 1;
    }
    out.len() != text.len()
}
