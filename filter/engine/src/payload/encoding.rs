//! Bodies as they were before they were compressed (RFC 9110, 8.4).

use std::borrow::Cow;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodingError {
    /// Another coding than `gzip` or `deflate`, or several one over the other.
    Unsupported,
    /// It is not what its coding says.
    Damaged,
    /// It becomes longer than allowed.
    TooLong,
}

/// The body without its `content-encoding`: at most `max` bytes of it.
///
/// Of a body that is cut off (`is_whole` is false) or that becomes too long, what could be had is given, if `is_whole` is false.
///
/// # Errors
/// [`EncodingError`]
pub fn decoded<'a>(
    codings: &[&[u8]],
    body: &'a [u8],
    max: usize,
    is_whole: bool,
) -> Result<Cow<'a, [u8]>, EncodingError> {
    let mut named = codings.iter().flat_map(|line| line.split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    let mut coding: &[u8] = b"";
    for name in named.by_ref().filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity")) {
        if !coding.is_empty() {
            return Err(EncodingError::Unsupported);
        }
        coding = name;
    }
    let is = |name: &[u8]| coding.eq_ignore_ascii_case(name);
    let (inflated, behind) = if coding.is_empty() {
        return Ok(Cow::Borrowed(body));
    } else if is(b"gzip") || is(b"x-gzip") {
        let data = gzip_data(body).ok_or(EncodingError::Damaged)?;
        (inflate(data, false, max), GZIP_TRAILER)
    } else if is(b"deflate") {
        // Some clients leave out the envelope that RFC 9110 asks for. Never both ways: a service could read the other one.
        (inflate(body, has_zlib_header(body), max), 0)
    } else {
        return Err(EncodingError::Unsupported);
    };
    let Inflated { output, status, left } = inflated;
    match status {
        _ if !is_whole => Ok(Cow::Owned(output)),
        // A second member would be part of the body to services that read it, and would have passed unread.
        TINFLStatus::Done if left == behind => Ok(Cow::Owned(output)),
        TINFLStatus::HasMoreOutput => Err(EncodingError::TooLong),
        _ => Err(EncodingError::Damaged),
    }
}

/// Checksum and length behind the data of a gzip member (RFC 1952, 2.3). Nobody checks them before the service does.
const GZIP_TRAILER: usize = 8;

/// What became of compressed data.
struct Inflated {
    /// What could be had.
    output: Vec<u8>,
    /// How it ended.
    status: TINFLStatus,
    /// How many bytes stand behind the data.
    left: usize,
}

/// Decompresses to at most `max` bytes.
fn inflate(data: &[u8], has_header: bool, max: usize) -> Inflated {
    const LEAST: usize = 256;
    let header = if has_header { inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER } else { 0 };
    let flags = header | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::<DecompressorOxide>::default();
    let mut output = vec![0; data.len().saturating_mul(2).max(LEAST).min(max)];
    let (mut read, mut written) = (0, 0);
    loop {
        let input = data.get(read..).unwrap_or_default();
        let (status, more_read, more_written) = decompress(&mut state, input, &mut output, written, flags);
        read += more_read;
        written += more_written;
        if status != TINFLStatus::HasMoreOutput || output.len() >= max {
            output.truncate(written);
            return Inflated { output, status, left: data.len().saturating_sub(read) };
        }
        output.resize(output.len().saturating_mul(2).max(LEAST).min(max), 0);
    }
}

/// Whether the body begins as RFC 1950, 2.2 says.
fn has_zlib_header(body: &[u8]) -> bool {
    const DEFLATE: u8 = 8;
    let Some(&[method, flags]) = body.first_chunk::<2>() else { return false };
    method & 0x0f == DEFLATE && u16::from_be_bytes([method, flags]) % 31 == 0
}

/// What stands behind the header of a gzip member (RFC 1952, 2.3).
fn gzip_data(body: &[u8]) -> Option<&[u8]> {
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const HEADER_CRC: u8 = 2;
    let (&[0x1f, 0x8b, 8, flags, ..], mut rest) = body.split_first_chunk::<10>()? else { return None };
    if flags & EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|b| *b == 0)?;
            rest = rest.get(end.checked_add(1)?..)?;
        }
    }
    if flags & HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
    use proptest::prelude::*;

    fn gzip(data: &[u8], flags: u8, between: &[u8]) -> Vec<u8> {
        let mut body = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3];
        body.extend_from_slice(between);
        body.extend(compress_to_vec(data, 6));
        body.extend([0; 8]);
        body
    }

    fn read(coding: &str, body: &[u8]) -> Result<Vec<u8>, EncodingError> {
        decoded(&[coding.as_bytes()], body, 1000, true).map(Cow::into_owned)
    }

    #[test]
    fn every_spelling_of_a_coding_is_read() {
        let text = b"id=1 or 1=1".to_vec();
        for coding in ["gzip", "GZIP", "x-gzip", "identity, gzip", " gzip "] {
            assert_eq!(read(coding, &gzip(&text, 0, &[])), Ok(text.clone()), "{coding}");
        }
        assert_eq!(
            read("gzip", &gzip(&text, 4 | 8 | 16 | 2, b"\x02\0ab\0name\0comment\0\x11\x22")),
            Err(EncodingError::Damaged)
        );
        assert_eq!(read("gzip", &gzip(&text, 4 | 8 | 16 | 2, b"\x02\0abname\0comment\0\x11\x22")), Ok(text.clone()));
        assert_eq!(read("deflate", &compress_to_vec_zlib(&text, 6)), Ok(text.clone()));
        assert_eq!(read("deflate", &compress_to_vec(&text, 6)), Ok(text.clone()));
        assert_eq!(read("", &text), Ok(text));
        assert_eq!(read("deflate", b"\xab\xae\x05\x00"), Ok(b"{}".to_vec()));
        assert_eq!(read("deflate", b"\x01\x02\x00\xfd\xff{}"), Ok(b"{}".to_vec()));
    }

    #[test]
    fn what_cannot_be_read_is_never_taken_as_it_stands() {
        for coding in ["br", "zstd", "gzip, gzip", "gzip, deflate", "compress", "x"] {
            assert_eq!(read(coding, b"1"), Err(EncodingError::Unsupported), "{coding}");
        }
        for body in [&b""[..], b"\x1f\x8b", b"plain text", &gzip(b"text", 0, &[])[..14]] {
            assert_eq!(read("gzip", body), Err(EncodingError::Damaged), "{body:?}");
        }
    }

    #[test]
    fn nothing_stands_behind_the_data() {
        let two = [gzip(b"a=1", 0, &[]), gzip(b"&q=attack", 0, &[])].concat();
        assert_eq!(read("gzip", &two), Err(EncodingError::Damaged));
        assert_eq!(read("gzip", &[gzip(b"a=1", 0, &[]), b"x".to_vec()].concat()), Err(EncodingError::Damaged));
        let one = gzip(b"a=1", 0, &[]);
        assert_eq!(read("gzip", &one[..one.len() - 1]), Err(EncodingError::Damaged));
        for deflated in [compress_to_vec(b"a=1", 6), compress_to_vec_zlib(b"a=1", 6)] {
            assert_eq!(read("deflate", &[deflated.clone(), deflated].concat()), Err(EncodingError::Damaged));
        }
        // Of a beginning, what can be had is taken.
        assert_eq!(decoded(&[b"gzip"], &two, 1000, false).unwrap(), &b"a=1"[..]);
        let long = gzip(&vec![b'a'; 999], 0, &[]);
        assert_eq!(
            (read("gzip", &long).unwrap().len(), decoded(&[b"gzip"], &long, 999, true).unwrap().len()),
            (999, 999)
        );
        assert_eq!(decoded(&[b"gzip"], &long, 998, true), Err(EncodingError::TooLong));
    }

    #[test]
    fn a_bomb_is_cut_off() {
        let bomb = gzip(&vec![b'a'; 10_000_000], 0, &[]);
        assert_eq!(read("gzip", &bomb), Err(EncodingError::TooLong));
        assert_eq!(decoded(&[b"gzip"], &bomb, 1000, false).unwrap().len(), 1000);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(coding in "(gzip|deflate)", body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&[coding.as_bytes()], &body, 500, true);
            let _ = decoded(&[coding.as_bytes()], &body, 500, false);
        }
    }
}
