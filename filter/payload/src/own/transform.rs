//! What is done to a value before an operator sees it. None makes a value more than three times as long.

use crate::bytes::{at, find, hex, is_blank, part, rest};
use crate::{base64, mask, normalise};

macro_rules! transformations {
    ($( $(#[doc = $doc:literal])* $variant:ident = $word:literal, )*) => {
        /// One change to a value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Transformation { $( $(#[doc = $doc])* $variant, )* }

        impl Transformation {
            /// The words for configurations.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The transformation that a word names.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )* _ => None }
            }
        }
    };
}

transformations! {
    /// Capitals of ASCII become small letters.
    Lowercase = "lowercase",
    /// Small letters of ASCII become capitals.
    Uppercase = "uppercase",
    /// Percent signs and `+` are decoded once.
    UrlDecode = "url_decode",
    /// The same, and `%uXXXX`.
    UrlDecodeUni = "url_decode_uni",
    /// Entities of HTML, by number and the usual names.
    HtmlEntityDecode = "html_entity_decode",
    /// Escapes of JavaScript strings.
    JsDecode = "js_decode",
    /// Escapes of CSS.
    CssDecode = "css_decode",
    /// Base64, up to the first byte that is none.
    Base64Decode = "base64_decode",
    /// Pairs of hexadecimal digits.
    HexDecode = "hex_decode",
    /// Blanks become one space.
    CompressWhitespace = "compress_whitespace",
    /// Blanks go away.
    RemoveWhitespace = "remove_whitespace",
    /// NUL bytes go away.
    RemoveNulls = "remove_nulls",
    /// NUL bytes become spaces.
    ReplaceNulls = "replace_nulls",
    /// Comments of C become one space.
    ReplaceComments = "replace_comments",
    /// Blanks at both ends go away.
    Trim = "trim",
    /// Doubled slashes, `.` and `..` of paths are resolved.
    NormalisePath = "normalise_path",
    /// The same after backslashes became slashes.
    NormalisePathWin = "normalise_path_win",
    /// What shells skip goes away, blanks and separators become one space, capitals small.
    CmdLine = "cmd_line",
    /// Characters beyond ASCII become `%uXXXX`.
    Utf8ToUnicode = "utf8_to_unicode",
    /// The form in which built-in rules see it: decoded until nothing changes, without capitals.
    Normalise = "normalise",
}

/// The value after all transformations, in order.
pub fn apply<'a>(chain: &[Transformation], value: &[u8], out: &'a mut Vec<u8>, other: &mut Vec<u8>) -> &'a [u8] {
    out.clear();
    out.extend_from_slice(value);
    for &one in chain {
        other.clear();
        single(one, out, other);
        std::mem::swap(out, other);
    }
    out
}

fn single(one: Transformation, text: &[u8], out: &mut Vec<u8>) {
    match one {
        Transformation::Lowercase => out.extend(text.iter().map(u8::to_ascii_lowercase)),
        Transformation::Uppercase => out.extend(text.iter().map(u8::to_ascii_uppercase)),
        Transformation::UrlDecode => percent(text, false, out),
        Transformation::UrlDecodeUni => percent(text, true, out),
        Transformation::HtmlEntityDecode => entities(text, out),
        Transformation::JsDecode => javascript(text, out),
        Transformation::CssDecode => css(text, out),
        Transformation::Base64Decode => base64::prefix(text, out),
        Transformation::HexDecode => out.extend(text.chunks(2).map_while(|pair| pair_of(pair, 0))),
        Transformation::CompressWhitespace => {
            let mut last = false;
            for &byte in text {
                let blank = is_space(byte);
                if !(blank && last) {
                    out.push(if blank { b' ' } else { byte });
                }
                last = blank;
            }
        }
        Transformation::RemoveWhitespace => out.extend(text.iter().filter(|&&b| !is_space(b))),
        Transformation::RemoveNulls => out.extend(text.iter().filter(|&&b| b != 0)),
        Transformation::ReplaceNulls => out.extend(text.iter().map(|&b| if b == 0 { b' ' } else { b })),
        Transformation::ReplaceComments => comments(text, out),
        Transformation::Trim => {
            let start = text.iter().position(|&b| !is_space(b)).unwrap_or(text.len());
            let end = text.iter().rposition(|&b| !is_space(b)).map_or(start, |last| last + 1);
            out.extend_from_slice(part(text, start, end));
        }
        Transformation::NormalisePath => path(text, out),
        Transformation::NormalisePathWin => {
            let slashes: Vec<u8> = text.iter().map(|&b| if b == b'\\' { b'/' } else { b }).collect();
            path(&slashes, out);
        }
        Transformation::CmdLine => command(text, out),
        Transformation::Utf8ToUnicode => unicode(text, out),
        Transformation::Normalise => {
            let mut other = Vec::new();
            normalise::normalise(text, mask::of(text), out, &mut other);
            out.make_ascii_lowercase();
        }
    }
}

fn is_space(byte: u8) -> bool {
    is_blank(byte) || byte == 0xa0
}

/// The byte that two hexadecimal digits at `index` stand for.
fn pair_of(text: &[u8], index: usize) -> Option<u8> {
    Some(hex(*text.get(index)?)? << 4 | hex(*text.get(index + 1)?)?)
}

/// The byte that four hexadecimal digits at `index` stand for: its low half, and ASCII for full-width letters.
fn four_of(text: &[u8], index: usize) -> Option<u8> {
    let (high, low) = (pair_of(text, index)?, pair_of(text, index + 2)?);
    Some(if high == 0xff && (0x01..=0x5e).contains(&low) { low + 0x20 } else { low })
}

fn percent(text: &[u8], with_u: bool, out: &mut Vec<u8>) {
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        let (decoded, length) = match byte {
            b'+' => (b' ', 1),
            b'%' if with_u && matches!(at(text, i + 1), b'u' | b'U') => {
                four_of(text, i + 2).map_or((byte, 1), |b| (b, 6))
            }
            b'%' => pair_of(text, i + 1).map_or((byte, 1), |b| (b, 3)),
            _ => (byte, 1),
        };
        out.push(decoded);
        i += length;
    }
}

fn entities(text: &[u8], out: &mut Vec<u8>) {
    const NAMES: &[(&[u8], u8)] =
        &[(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", 0xa0), (b"apos", b'\'')];
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        let tail = rest(text, i + 1);
        let found = if byte != b'&' {
            None
        } else if at(tail, 0) == b'#' {
            let is_hex = matches!(at(tail, 1), b'x' | b'X');
            let start = if is_hex { 2 } else { 1 };
            let digits: Vec<u8> = rest(tail, start)
                .iter()
                .take_while(|b| if is_hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() })
                .copied()
                .collect();
            let base = if is_hex { 16 } else { 10 };
            let code = digits
                .iter()
                .fold(0u32, |code, &d| code.wrapping_mul(base).wrapping_add(u32::from(hex(d).unwrap_or(0))));
            (!digits.is_empty()).then_some(((code & 0xff) as u8, start + digits.len()))
        } else {
            let name = NAMES.iter().find(|(name, _)| {
                tail.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                    && !at(tail, name.len()).is_ascii_alphanumeric()
            });
            name.map(|&(name, byte)| (byte, name.len()))
        };
        match found {
            Some((decoded, length)) => {
                out.push(decoded);
                i += 1 + length + usize::from(at(tail, length) == b';');
            }
            None => {
                out.push(byte);
                i += 1;
            }
        }
    }
}

fn javascript(text: &[u8], out: &mut Vec<u8>) {
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        let next = at(text, i + 1);
        if byte != b'\\' || i + 1 >= text.len() {
            out.push(byte);
            i += 1;
            continue;
        }
        let (decoded, length) = match next {
            b'u' => four_of(text, i + 2).map_or((next, 2), |b| (b, 6)),
            b'x' => pair_of(text, i + 2).map_or((next, 2), |b| (b, 4)),
            b'0'..=b'7' => {
                let digits = rest(text, i + 1).iter().take(3).take_while(|b| (b'0'..=b'7').contains(*b)).count();
                let digits = if digits == 3 && next > b'3' { 2 } else { digits };
                let code =
                    part(text, i + 1, i + 1 + digits).iter().fold(0u32, |code, d| code << 3 | u32::from(d - b'0'));
                ((code & 0xff) as u8, 1 + digits)
            }
            b'a' => (7, 2),
            b'b' => (8, 2),
            b'f' => (12, 2),
            b'n' => (10, 2),
            b'r' => (13, 2),
            b't' => (9, 2),
            b'v' => (11, 2),
            other => (other, 2),
        };
        out.push(decoded);
        i += length;
    }
}

fn css(text: &[u8], out: &mut Vec<u8>) {
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        if byte != b'\\' {
            out.push(byte);
            i += 1;
            continue;
        }
        let digits = rest(text, i + 1).iter().take(6).take_while(|b| b.is_ascii_hexdigit()).count();
        if digits > 0 {
            let all = part(text, i + 1, i + 1 + digits);
            let code = all.iter().fold(0u32, |code, &d| code << 4 | u32::from(hex(d).unwrap_or(0)));
            let full = code & 0xff00 == 0xff00 && (1..=0x5e).contains(&(code & 0xff));
            out.push(((code & 0xff) as u8).wrapping_add(if full { 0x20 } else { 0 }));
            i += 1 + digits;
            i += usize::from(is_blank(at(text, i)));
        } else if at(text, i + 1) == b'\n' {
            i += 2;
        } else {
            i += 1;
            out.extend(text.get(i));
            i += 1;
        }
    }
}

fn comments(text: &[u8], out: &mut Vec<u8>) {
    let mut i = 0;
    while i < text.len() {
        let Some(open) = find(text, b"/*", i) else {
            out.extend_from_slice(rest(text, i));
            return;
        };
        out.extend_from_slice(part(text, i, open));
        out.push(b' ');
        i = find(text, b"*/", open + 2).map_or(text.len(), |close| close + 2);
    }
}

fn path(text: &[u8], out: &mut Vec<u8>) {
    let absolute = at(text, 0) == b'/';
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in text.split(|&b| b == b'/') {
        match segment {
            b"" | b"." => {}
            b".." if segments.last().is_some_and(|last| *last != b"..") => {
                segments.pop();
            }
            b".." if absolute => {}
            other => segments.push(other),
        }
    }
    if absolute {
        out.push(b'/');
    }
    out.extend(segments.join(&b'/'));
    if text.len() > 1 && text.last() == Some(&b'/') && !segments.is_empty() {
        out.push(b'/');
    }
}

/// As shells read a line: no `\ " ' ^`, no blank before `/` and `(`, one space for blanks, `,` and `;`, no capitals.
fn command(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'\\' | b'"' | b'\'' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if out.last() != Some(&b' ') {
                    out.push(b' ');
                }
            }
            b'/' | b'(' => {
                if out.last() == Some(&b' ') {
                    out.pop();
                }
                out.push(byte);
            }
            other => out.push(other.to_ascii_lowercase()),
        }
    }
}

fn unicode(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                ascii if ascii.is_ascii() => out.push(ascii as u8),
                other => out.extend_from_slice(format!("%u{:04x}", u32::from(other)).as_bytes()),
            }
        }
        out.extend_from_slice(chunk.invalid());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(word: &str, text: &[u8]) -> String {
        let one = Transformation::from_word(word).unwrap();
        let (mut out, mut other) = (Vec::new(), Vec::new());
        String::from_utf8_lossy(apply(&[one], text, &mut out, &mut other)).into_owned()
    }

    #[test]
    fn each_word_does_what_it_says() {
        for (word, text, changed) in [
            ("lowercase", "AbC", "abc"),
            ("uppercase", "AbC", "ABC"),
            ("url_decode", "a%20b+c%zz%4", "a b c%zz%4"),
            ("url_decode_uni", "%u0041%uff1c%41", "A<A"),
            ("html_entity_decode", "&lt;&#x41;&#66&amp;&quot;&ltx;", "<AB&\"&ltx;"),
            ("js_decode", r"\x41\u0042\103\n\q", "ABC\nq"),
            ("css_decode", r"\41 b\000043\q", "AbCq"),
            ("base64_decode", "aGVsbG8=", "hello"),
            ("hex_decode", "4142", "AB"),
            ("compress_whitespace", "a \t\n b", "a b"),
            ("remove_whitespace", "a \t\n b", "ab"),
            ("remove_nulls", "a\0b", "ab"),
            ("replace_nulls", "a\0b", "a b"),
            ("replace_comments", "a/*x*/b/*y", "a b "),
            ("trim", " a b ", "a b"),
            ("normalise_path", "/a//b/./../c/", "/a/c/"),
            ("normalise_path_win", r"\a\..\b", "/b"),
            ("cmd_line", "C\"a^T  ,/eTc", "cat/etc"),
            ("utf8_to_unicode", "é", "%u00e9"),
            ("normalise", "%2553CRIPT", "script"),
        ] {
            assert_eq!(through(word, text.as_bytes()), changed, "{word}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_grows_beyond_three_times(text: Vec<u8>) {
            for word in Transformation::WORDS {
                let one = Transformation::from_word(word).unwrap();
                let (mut out, mut other) = (Vec::new(), Vec::new());
                let length = apply(&[one], &text, &mut out, &mut other).len();
                proptest::prop_assert!(length <= 3 * text.len(), "{word} {length}");
            }
        }
    }
}
