//! Parameters of a header value: `; name="value"` (RFC 9110, 5.6.6), with the extensions of RFC 2231 that some readers of forms know.

use std::borrow::Cow;

use crate::bytes::{at, is_blank, part, rest, trimmed};

use super::decode::percent_decoded;

/// Calls `each` with every parameter: its name as it stands, and its value without the quotes.
///
/// A quoted value ends with the first quote that another parameter or the end follows: names with quotes in them are read whole.
pub fn each<'a>(value: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) {
    let mut i = 0;
    while i < value.len() {
        i += rest(value, i).iter().take_while(|&&b| b == b';' || is_blank(b)).count();
        let tail = rest(value, i);
        let end = tail.iter().position(|b| matches!(b, b'=' | b';')).unwrap_or(tail.len());
        i += end;
        if at(value, i) != b'=' {
            continue;
        }
        let name = part(tail, 0, end);
        i += 1;
        i += rest(value, i).iter().take_while(|&&b| is_blank(b)).count();
        let tail = rest(value, i);
        match at(tail, 0) {
            quote @ (b'"' | b'\'') => {
                let inner = rest(tail, 1);
                let end = closing(inner, quote);
                each(name, part(inner, 0, end));
                i += end + 2;
            }
            _ => {
                let end = tail.iter().position(|&b| b == b';').unwrap_or(tail.len());
                each(name, trimmed(part(tail, 0, end)));
                i += end;
            }
        }
    }
}

fn closing(inner: &[u8], quote: u8) -> usize {
    let ends = |&i: &usize| {
        at(inner, i) == quote
            && inner.get(i + 1).is_none_or(|&next| next == b';' || is_blank(next))
            && inner.get(i.wrapping_sub(1)) != Some(&b'\\')
    };
    (0..inner.len()).find(ends).unwrap_or(inner.len())
}

/// A parameter as RFC 2231 writes it, which many readers prefer to the plain one: in pieces (`name*0`), and encoded
/// (`name*=utf-8''...`). Gives its character set too.
pub fn extended<'a>(value: &'a [u8], name: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let (mut text, mut charset) = (Vec::new(), &b""[..]);
    let mut is_there = false;
    each(value, |known, value| {
        let known = trimmed(known);
        let Some(b'*') = known.get(name.len()).filter(|_| part(known, 0, name.len()).eq_ignore_ascii_case(name)) else {
            return;
        };
        let mut quotes = value.iter().enumerate().filter(|(_, b)| **b == b'\'').map(|(i, _)| i);
        let value = match (known.ends_with(b"*") && !is_there, quotes.next(), quotes.next()) {
            (true, Some(first), Some(second)) => {
                charset = part(value, 0, first);
                rest(value, second + 1)
            }
            _ => value,
        };
        is_there = true;
        let value = if known.ends_with(b"*") { percent_decoded(value, false) } else { Cow::Borrowed(value) };
        text.extend_from_slice(&value);
    });
    is_there.then_some((text, charset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut found = Vec::new();
        each(value.as_bytes(), |name, value| found.push((text(name), text(value))));
        found
    }

    #[test]
    fn every_parameter_is_read_once() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (value, pairs) in [
            ("form-data; name=\"a\"; filename=\"b.txt\"", vec![pair("name", "a"), pair("filename", "b.txt")]),
            ("form-data; name=a;filename=b", vec![pair("name", "a"), pair("filename", "b")]),
            ("form-data; name='a' ; x = y", vec![pair("name", "a"), pair("x ", "y")]),
            ("form-data; name=\"a; filename=b\"", vec![pair("name", "a; filename=b")]),
            ("form-data; name=\"a\"b\"; c=d", vec![pair("name", "a\"b"), pair("c", "d")]),
            ("form-data; name=\"a\\\"; c=d\"", vec![pair("name", "a\\\"; c=d")]),
            ("form-data; name=\"open; c=d", vec![pair("name", "open; c=d")]),
            ("name=", vec![pair("name", "")]),
            ("", vec![]),
            (";;=", vec![pair("", "")]),
        ] {
            assert_eq!(shown(value), pairs, "{value}");
        }
    }

    #[test]
    fn extended_parameters_are_decoded_and_put_together() {
        let read = |value: &str| {
            extended(value.as_bytes(), b"filename").map(|(text, charset)| {
                (String::from_utf8_lossy(&text).into_owned(), String::from_utf8_lossy(charset).into_owned())
            })
        };
        let some = |text: &str, charset: &str| Some((text.to_owned(), charset.to_owned()));
        assert_eq!(read("a; filename*=UTF-8'en'%3Cb%3E.txt"), some("<b>.txt", "UTF-8"));
        assert_eq!(read("a; filename*0=\"one\"; filename*1=\"two\""), some("onetwo", ""));
        assert_eq!(read("a; filename*0*=utf-8''%41; filename*1*=%42'c"), some("AB'c", "utf-8"));
        assert_eq!(read("a; filename=\"b\"; filenames*=c"), None);
    }
}
