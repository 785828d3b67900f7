//! The query of a request target.

use std::borrow::Cow;

use super::bytes::unescape;

/// The parameters of a raw query as they are written: name, and value (empty where no `=` follows the name).
///
/// Parameters end at `&` only, as the URL standard has it for forms. Empty parameters (`&&`) are left out.
pub fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let mut parts = pair.splitn(2, |&byte| byte == b'=');
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
    })
}

/// What a written name or value stands for: escapes decoded once, `+` as a space. A broken escape stays as written.
pub fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        Cow::Owned(unescape(text, true))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<(&str, &str)> {
        pairs(query.as_bytes()).map(|(n, v)| (str::from_utf8(n).unwrap(), str::from_utf8(v).unwrap())).collect()
    }

    #[test]
    fn a_parameter_ends_at_an_ampersand_and_splits_at_the_first_equals_sign() {
        assert_eq!(read("a=1&b=2=3&c&=d&&e="), [("a", "1"), ("b", "2=3"), ("c", ""), ("", "d"), ("e", "")]);
        assert_eq!(read("a=1;b=2"), [("a", "1;b=2")]);
        assert_eq!(read(""), []);
        assert_eq!(read("&"), []);
    }

    #[test]
    fn repeated_parameters_are_all_seen() {
        assert_eq!(read("id=1&id=2").len(), 2);
    }

    #[test]
    fn decoding_happens_once() {
        assert_eq!(decode(b"a%20b+c%2526"), &b"a b c%26"[..]);
        assert!(matches!(decode(b"plain"), Cow::Borrowed(_)));
        assert_eq!(decode(b"100%+%zz"), &b"100% %zz"[..]);
    }
}
