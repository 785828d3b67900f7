//! Exact base64url (RFC 4648, section 5, as RFC 7515, section 2 uses it): one text for one value.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The bytes that `text` stands for, or `None`.
///
/// Refused: padding, any character outside the URL-safe alphabet (white space and `+`, `/` included), a length that no
/// bytes encode to, and unused low bits that are not zero. Two different texts never give the same bytes.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The one text for `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rfc_4648_examples_decode() {
        for (text, bytes) in [("", ""), ("Zg", "f"), ("Zm8", "fo"), ("Zm9v", "foo"), ("Zm9vYg", "foob")] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(decode(b"-_8").unwrap(), [0xfb, 0xff]);
    }

    #[test]
    fn another_spelling_of_the_same_bytes_is_refused() {
        for text in
            ["Zg==", "Zg=", "Zh", "Zm9", "Zm9vYh", "+/8", "-_9", " Zg", "Zg\n", "Z", "Zm9vY", "Zg\0", "Zm?v", "Zm.v"]
        {
            assert_eq!(decode(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_text(text in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(URL_SAFE_NO_PAD.encode(bytes).into_bytes(), text);
            }
        }
    }
}
