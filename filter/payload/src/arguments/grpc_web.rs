//! Calls of gRPC-Web: messages in frames, as they are or in base64 (gRPC-Web, "Protocol differences").

use crate::base64;
use crate::bytes::{part, rest};
use crate::rules::id;
use crate::verdict::{Place, Source};

use super::{Values, body, data, json, protobuf};

/// Flag and length in front of each frame.
const PREFIX: usize = 5;
/// Of a message that is compressed, and of a frame that holds trailers.
const COMPRESSED: u8 = 1;
const TRAILERS: u8 = 0x80;

/// Hands on the texts in each message; false where the body consists of no frames, which may be cut off at the end.
pub fn inspect(kind: &[u8], text: &[u8], values: &mut Values<'_, '_>) -> bool {
    let mut decoded = Vec::new();
    let mut left = match kind.starts_with(b"application/grpc-web-text") {
        true if !text.iter().all(|b| b.is_ascii_alphanumeric() || b"+/=\r\n".contains(b)) => return false,
        true => {
            // Each piece that a client writes can have its padding.
            for piece in text.split(|b| matches!(b, b'=' | b'\r' | b'\n')) {
                base64::prefix(piece, &mut decoded);
            }
            &decoded
        }
        false => text,
    };
    if !is_framed(left) {
        return false;
    }
    data::pairs(text, Source { place: Place::Text, name: b"" }, values);
    while let Some((flag, message, after)) = frame(left) {
        left = after;
        if flag & COMPRESSED != 0 && !message.is_empty() {
            let source = Source { place: Place::Text, name: b"" };
            values.inspection.note(id::PROTOCOL_COMPRESSED_FRAME, source, b"");
        } else if flag & TRAILERS != 0 {
            body::text(message, values);
        } else if body::is_json(kind) {
            if json::inspect(message, &[], values) {
                body::text(message, values);
            }
        } else {
            protobuf::inspect(message, values);
        }
    }
    true
}

/// Whether a body is frames from end to end, of which the last one may be cut off.
fn is_framed(text: &[u8]) -> bool {
    let mut left = text;
    while let Some((flag, _, after)) = frame(left) {
        if flag & !(COMPRESSED | TRAILERS) != 0 {
            return false;
        }
        left = after;
    }
    !text.is_empty() && left.is_empty()
}

/// Flag and content of the next frame, and what follows it.
fn frame(text: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[flag, a, b, c, d], after) = text.split_first_chunk::<PREFIX>()?;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    Some((flag, part(after, 0, length), rest(after, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_known_by_their_prefixes() {
        for framed in [
            &b"\0\0\0\0\x02ab"[..],
            b"\0\0\0\0\0",
            b"\0\0\0\0\x02ab\x80\0\0\0\x01x",
            b"\0\0\0\0\x09ab",
            b"\x01\0\0\0\x01x",
        ] {
            assert!(is_framed(framed), "{framed:?}");
        }
        for other in [&b""[..], b"{\"a\": 1}", b"\0\0\0", b"\x02\0\0\0\x01x", b"\0\0\0\0\x01xab", b"q=1&b=2"] {
            assert!(!is_framed(other), "{other:?}");
        }
    }
}
