//! How the gateway proves to the introspection endpoint who it is (RFC 7662, section 2.1; RFC 6749, section 2.3.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The gateway's own credentials at the endpoint.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `authorization: Basic`, with id and secret form-encoded first, as RFC 6749, section 2.3.1 asks.
    Basic {
        /// The client's id.
        id: String,
        /// The client's secret.
        secret: String,
    },
    /// `client_id` and `client_secret` in the body.
    Post {
        /// The client's id.
        id: String,
        /// The client's secret.
        secret: String,
    },
    /// `authorization: Bearer` (RFC 6750, section 2.1).
    Bearer {
        /// The gateway's own access token.
        token: String,
    },
    /// None: the endpoint knows the gateway by its connection.
    None,
}

/// Only the kind; not even the id.
impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::Post { .. } => "Post",
            Self::Bearer { .. } => "Bearer",
            Self::None => "None",
        })
    }
}

impl ClientAuthentication {
    /// Whether a request can carry it: an id that is not empty, a token of RFC 6750's characters.
    pub(super) fn is_sendable(&self) -> bool {
        match self {
            Self::Basic { id, .. } | Self::Post { id, .. } => !id.is_empty(),
            Self::Bearer { token } => {
                !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b))
            }
            Self::None => true,
        }
    }

    /// The value of `authorization`.
    pub(super) fn header(&self) -> Option<String> {
        match self {
            Self::Basic { id, secret } => {
                let mut pair = Vec::with_capacity(id.len().saturating_add(secret.len()).saturating_add(1));
                form_encode(id.as_bytes(), &mut pair);
                pair.push(b':');
                form_encode(secret.as_bytes(), &mut pair);
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            Self::Bearer { token } => Some(format!("Bearer {token}")),
            Self::Post { .. } | Self::None => None,
        }
    }

    /// What belongs into the body after the token.
    pub(super) fn append_parameters(&self, body: &mut Vec<u8>) {
        if let Self::Post { id, secret } = self {
            append_parameter("client_id", id.as_bytes(), body);
            append_parameter("client_secret", secret.as_bytes(), body);
        }
    }
}

/// Appends `name=value` in the form `application/x-www-form-urlencoded`; `name` is of plain letters.
pub(super) fn append_parameter(name: &str, value: &[u8], body: &mut Vec<u8>) {
    if !body.is_empty() {
        body.push(b'&');
    }
    body.extend_from_slice(name.as_bytes());
    body.push(b'=');
    form_encode(value, body);
}

/// `application/x-www-form-urlencoded` (RFC 6749, appendix B).
fn form_encode(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    for byte in bytes {
        match byte {
            b' ' => out.push(b'+'),
            b'-' | b'.' | b'_' | b'*' => out.push(*byte),
            byte if byte.is_ascii_alphanumeric() => out.push(*byte),
            byte => out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &[u8]) -> String {
        let mut out = Vec::new();
        form_encode(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn basic(id: &str, secret: &str) -> String {
        ClientAuthentication::Basic { id: id.into(), secret: secret.into() }.header().unwrap()
    }

    #[test]
    fn the_example_of_rfc_6749_appendix_b() {
        assert_eq!(encoded(" %&+£€".as_bytes()), "+%25%26%2B%C2%A3%E2%82%AC");
    }

    #[test]
    fn the_example_of_rfc_6749_section_2_3_1() {
        let header = basic("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw");
        assert_eq!(header, "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3");
    }

    #[test]
    fn a_colon_in_the_id_does_not_move_the_border() {
        let pair = |header: String| STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(pair(basic("a:b", "c d")), b"a%3Ab:c+d");
        assert_ne!(basic("a:b", "c"), basic("a", "b:c"));
    }

    #[test]
    fn post_puts_id_and_secret_into_the_body_and_nothing_into_the_header() {
        let post = ClientAuthentication::Post { id: "g&w".into(), secret: "s=t".into() };
        let mut body = b"token=x".to_vec();
        post.append_parameters(&mut body);
        assert_eq!((body.as_slice(), post.header()), (&b"token=x&client_id=g%26w&client_secret=s%3Dt"[..], None));
    }

    #[test]
    fn what_no_header_can_carry_is_not_sendable() {
        for token in ["", "a b", "a\r\nx: y", "ä", "a\"b"] {
            assert!(!ClientAuthentication::Bearer { token: token.into() }.is_sendable(), "{token:?}");
        }
        assert!(!ClientAuthentication::Basic { id: String::new(), secret: "s".into() }.is_sendable());
        assert!(ClientAuthentication::Basic { id: "i\r\n".into(), secret: String::new() }.is_sendable());
    }

    #[test]
    fn nothing_of_it_is_shown() {
        for shown in [
            ClientAuthentication::Basic { id: "gateway".into(), secret: "geheim".into() },
            ClientAuthentication::Post { id: "gateway".into(), secret: "geheim".into() },
            ClientAuthentication::Bearer { token: "geheim".into() },
        ] {
            let shown = format!("{shown:?}");
            assert!(!shown.contains("gateway") && !shown.contains("geheim"), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn every_value_reads_back(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = encoded(&value);
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && b != b'&' && b != b'='));
            prop_assert_eq!(crate::http::query::decode(text.as_bytes()).into_owned(), value);
        }
    }
}
