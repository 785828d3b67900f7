//! The first message of a gRPC call (gRPC over HTTP/2, "Length-Prefixed-Message"): a unary call has no other one.

use crate::http::RequestHead;

use super::{is_upgrade, is_upgrade_with_body};

/// Flag and length in front of each message.
const PREFIX: usize = 5;

/// A message, or as much of it as is there.
pub struct Message<'a> {
    /// Whether it is compressed as `grpc-encoding` says.
    pub is_compressed: bool,
    /// The message itself.
    pub bytes: &'a [u8],
    /// Whether it is all there.
    pub is_whole: bool,
}

/// Whether a request is a gRPC call. gRPC-Web is none: its bodies end as others do.
pub fn is_call(head: &RequestHead) -> bool {
    head.method().as_str() != "CONNECT" && is_declared(head) && !is_upgrade(head) && !is_upgrade_with_body(head)
}

pub(super) fn is_declared(head: &RequestHead) -> bool {
    let is_grpc = |kind: &[u8]| {
        let kind = kind.trim_ascii_start();
        kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
            && kind.get(16).is_none_or(|next| matches!(next, b'+' | b';' | b' ' | b'\t'))
    };
    head.headers().get_all("content-type").next().is_some_and(is_grpc)
}

/// Where the first message ends, as soon as its prefix is there.
pub fn first_end(body: &[u8]) -> Option<usize> {
    let (prefix, _) = body.split_first_chunk::<PREFIX>()?;
    let [_, length @ ..] = *prefix;
    usize::try_from(u32::from_be_bytes(length)).ok()?.checked_add(PREFIX)
}

/// The first message of what is there of a body.
pub fn first(body: &[u8]) -> Message<'_> {
    let is_compressed = body.first().is_some_and(|flag| flag & 1 == 1);
    let end = first_end(body);
    let bytes = body.get(PREFIX..end.unwrap_or(0).min(body.len())).unwrap_or_default();
    Message { is_compressed, bytes, is_whole: end.is_some_and(|end| end <= body.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_is_found_however_much_is_there() {
        for (body, end, bytes, is_whole) in [
            (&b""[..], None, &b""[..], false),
            (b"\0\0\0\0", None, b"", false),
            (b"\0\0\0\0\0", Some(5), b"", true),
            (b"\0\0\0\0\x03ab", Some(8), b"ab", false),
            (b"\0\0\0\0\x03abc", Some(8), b"abc", true),
            (b"\0\0\0\0\x03abc\0\0\0\0\x01d", Some(8), b"abc", true),
            (b"\0\xff\xff\xff\xffabc", Some(0xffff_ffff + 5), b"abc", false),
        ] {
            let message = first(body);
            assert_eq!((first_end(body), message.bytes, message.is_whole), (end, bytes, is_whole), "{body:?}");
        }
        assert!(first(b"\x01\0\0\0\0").is_compressed);
    }
}
