//! Which headers are judged, and how.

/// What is done with a header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderKind {
    /// Its pairs are judged.
    Cookie,
    /// Judged by what is known of browsers.
    UserAgent,
    /// Judged as the address that it is.
    Referer,
    /// Not judged: the gateway checks it itself, or it holds nothing but a token, a number or a date.
    Silent,
    /// Not judged if it has the form that it always has.
    Formal,
    /// Judged.
    Other,
}

/// The longest name with a kind of its own.
const LONGEST: usize = 32;

/// What is done with the header of this name.
pub fn kind(name: &[u8]) -> HeaderKind {
    let mut lower = [0; LONGEST];
    let Some(room) = lower.get_mut(..name.len()) else { return HeaderKind::Other };
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    match &*room {
        b"cookie" => HeaderKind::Cookie,
        b"user-agent" => HeaderKind::UserAgent,
        b"referer" => HeaderKind::Referer,
        b"x-request-id" | b"x-forwarded-for" | b"x-forwarded-proto" | b"x-envoy-external-address" => HeaderKind::Formal,
        b":authority"
        | b"authorization"
        | b"proxy-authorization"
        | b"content-length"
        | b"host"
        | b"connection"
        | b"accept-encoding"
        | b"cache-control"
        | b"if-none-match"
        | b"if-match"
        | b"if-modified-since"
        | b"if-unmodified-since"
        | b"date"
        | b"traceparent"
        | b"tracestate"
        | b"sec-ch-ua"
        | b"sec-ch-ua-mobile"
        | b"sec-ch-ua-platform"
        | b"sec-fetch-mode"
        | b"sec-fetch-site"
        | b"sec-fetch-dest"
        | b"sec-fetch-user"
        | b"sec-websocket-key"
        | b"upgrade-insecure-requests"
        | b"dpop" => HeaderKind::Silent,
        _ => HeaderKind::Other,
    }
}

/// Addresses of IPv4, ids in hexadecimal, the name of a scheme: nothing that any rule could be about.
pub fn is_formal(value: &[u8]) -> bool {
    let is_id = value.len() <= 40 && value.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b'-'));
    let is_addresses = || value.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b',' | b' '));
    matches!(value, b"http" | b"https") || (is_id && !value.windows(2).any(|two| two == b"--")) || is_addresses()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_any_case() {
        assert_eq!(kind(b"User-Agent"), HeaderKind::UserAgent);
        assert_eq!(kind(b"COOKIE"), HeaderKind::Cookie);
        assert_eq!(kind(b"x-client-version"), HeaderKind::Other);
        assert_eq!(kind(&[b'a'; 200]), HeaderKind::Other);
        assert_eq!(kind(b""), HeaderKind::Other);
    }

    #[test]
    fn only_its_own_form_keeps_a_header_from_being_judged() {
        for value in [&b"0b1a4c8e-9f5d-4c7a-8c34-7a6d5e4f3b2a"[..], b"192.0.2.7, 10.0.0.1", b"https", b""] {
            assert!(is_formal(value), "{value:?}");
        }
        for value in [&b"1 or 1=1"[..], b"a--", b"0b1a4c8e'", b"192.0.2.7; id", b"javascript", b"2001:db8::1", b"a b"] {
            assert!(!is_formal(value), "{value:?}");
        }
        assert!(!is_formal(&[b'a'; 41]));
    }
}
