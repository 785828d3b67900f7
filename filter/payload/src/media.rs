//! Parameters of a media type (RFC 9110, 8.3.1), for readers that take them in different ways.
//!
//! Some split a line at `;`, some look for a name as a text anywhere in it (PHP's `boundary`, Tomcat's `charset=`), some know the forms
//! of RFC 2231 (`charset*=`). They agree only where the name stands once, and is the name of a parameter.

use crate::bytes::{find, part, rest, trimmed};

/// What a line says of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter<'a> {
    /// Its name stands nowhere.
    Missing,
    /// To every reader its value, without quotes.
    One(&'a [u8]),
    /// Readers take different values, or some of them none.
    Ambiguous,
}

/// The parameter of a name, which is in lower case.
#[must_use]
pub fn parameter<'a>(line: &'a [u8], name: &[u8]) -> Parameter<'a> {
    let lower = line.to_ascii_lowercase();
    let Some(start) = find(&lower, name, 0) else { return Parameter::Missing };
    let (before, after) = (part(line, 0, start), rest(line, start + name.len()));
    let value = after.trim_ascii_start().strip_prefix(b"=").and_then(value);
    // Within its own value the name is a word like others: browsers write `boundary=----WebKitFormBoundary..`.
    let is_once = value
        .is_some_and(|(value, behind)| !names(value, name) && find(&behind.to_ascii_lowercase(), name, 0).is_none());
    let is_quoted = before.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
    let is_one = before.trim_ascii_end().ends_with(b";") && !is_quoted && !line.contains(&b'\\') && is_once;
    value.filter(|_| is_one).map_or(Parameter::Ambiguous, |(value, _)| Parameter::One(value))
}

/// Whether a value holds what looks like the parameter once more, to a reader that takes the last one.
fn names(value: &[u8], name: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let mut from = 0;
    while let Some(start) = find(&lower, name, from) {
        from = start + 1;
        let after = rest(&lower, start + name.len()).trim_ascii_start();
        if matches!(after, [b'=' | b'*' | b':', ..]) {
            return true;
        }
    }
    false
}

/// What stands behind an equals sign, up to the next parameter, and what follows.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(inner) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
        let value = part(text, 0, end).trim_ascii_end();
        return (!value.contains(&b'"')).then_some((value, rest(text, end)));
    };
    let end = inner.iter().position(|byte| *byte == b'"')?;
    let behind = rest(inner, end + 1);
    matches!(trimmed(behind), [] | [b';', ..]).then(|| (part(inner, 0, end), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_what_every_reader_takes_for_it() {
        for (line, value) in [
            ("a/b; charset=utf-8", &b"utf-8"[..]),
            ("a/b;CharSet=\"UTF-8\"", b"UTF-8"),
            ("a/b; charset = utf-7", b" utf-7"),
            ("a/b; x=\"c;d\"; charset=utf-8 ; y=z", b"utf-8"),
            ("a/b; charset=\"a;b\" ;x", b"a;b"),
            ("a/b; charset=", b""),
            ("a/b; charset=----WebKitCharset7MA", b"----WebKitCharset7MA"),
            ("a/b; charset=\"----WebKitCharset7MA\"; x=y", b"----WebKitCharset7MA"),
        ] {
            assert_eq!(parameter(line.as_bytes(), b"charset"), Parameter::One(value), "{line}");
        }
        for line in ["", "a/b", "a/b; x=y", "a/b; chars=et", "a/b; =charse"] {
            assert_eq!(parameter(line.as_bytes(), b"charset"), Parameter::Missing, "{line}");
        }
        for line in [
            "charset=utf-8",
            "a/b; charset",
            "a/b; charset*=utf-8",
            "a/b; charset*0=utf-8",
            "a/b; charset *=utf-8",
            "a/b; xcharset=utf-8",
            "a/b; x=charset=utf-8",
            "a/b, charset=utf-8",
            "a/b; charset=utf-8; charset=utf-8",
            "a/b; charset=utf-8; x=\"charset\"",
            "a/b; charset=utf-8; xCHARSET=y",
            "a/b; charset=xcharset; xCHARSET=y",
            "a/b; charset=xcharset=utf-7",
            "a/b; charset=\"a; Charset =utf-7\"",
            "a/b; charset=xcharset*0=utf-7",
            "a/b; x=\"; charset=utf-8",
            "a/b; x=\"\\\"; charset=utf-8; y=\"",
            "a/b; charset=\"utf-8",
            "a/b; charset=utf-8\"",
            "a/b; charset=\"utf-8\"x",
        ] {
            assert_eq!(parameter(line.as_bytes(), b"charset"), Parameter::Ambiguous, "{line}");
        }
    }
}
