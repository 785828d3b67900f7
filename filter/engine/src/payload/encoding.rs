//! Bodies as they were before they were compressed (RFC 9110, 8.4).

use std::borrow::Cow;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use portcullis_payload::arguments::reads_as_text;

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

/// What there is of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// All of it, and the beginning of what it becomes is enough.
    WholeForBeginning,
    /// Its beginning.
    Beginning,
}

/// The body without its `content-encoding`: at most `max` bytes of it, and not less unless `extent` says so.
///
/// # Errors
/// [`EncodingError`]
pub fn decoded<'a>(
    codings: &[&[u8]],
    body: &'a [u8],
    max: usize,
    extent: Extent,
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
    let is_known = is(b"gzip") || is(b"x-gzip") || is(b"deflate");
    let (inflated, behind) = if coding.is_empty() {
        return Ok(Cow::Borrowed(body));
    } else if is_known && reads_as_text(body) {
        // Compressed data can be made to look like text, and a service that does not know the coding would read that.
        return Err(EncodingError::Damaged);
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
    let is_whole = extent != Extent::Beginning;
    match status {
        // A second member would be part of the body to services that read it, and would have passed unread.
        TINFLStatus::Done if left == behind || (left < behind && !is_whole) => Ok(Cow::Owned(output)),
        TINFLStatus::HasMoreOutput if extent == Extent::Whole => Err(EncodingError::TooLong),
        TINFLStatus::HasMoreOutput => Ok(Cow::Owned(output)),
        // The input has ended. Where nothing could be had of it, nothing would be judged.
        TINFLStatus::FailedCannotMakeProgress if !is_whole && !output.is_empty() => Ok(Cow::Owned(output)),
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

/// What stands behind the header of a gzip member (RFC 1952, 2.3). Its fields are skipped by whoever inflates the body and read by whoever
/// does not: no more than the name of a file may stand there, which `gzip FILE` writes.
fn gzip_data(body: &[u8]) -> Option<&[u8]> {
    const TEXT: u8 = 1;
    const HEADER_CRC: u8 = 2;
    const NAME: u8 = 8;
    let (&[0x1f, 0x8b, 8, flags, ..], mut rest) = body.split_first_chunk::<10>()? else { return None };
    if flags & !(TEXT | HEADER_CRC | NAME) != 0 {
        return None;
    }
    if flags & NAME != 0 {
        let end = rest.iter().position(|b| *b == 0)?;
        let (name, after) = rest.split_at_checked(end)?;
        if !name.iter().all(|b| b.is_ascii_alphanumeric() || b" ._-".contains(b)) {
            return None;
        }
        rest = after.get(1..)?;
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
        decoded(&[coding.as_bytes()], body, 1000, Extent::Whole).map(Cow::into_owned)
    }

    #[test]
    fn every_spelling_of_a_coding_is_read() {
        let text = b"id=1 or 1=1".to_vec();
        for coding in ["gzip", "GZIP", "x-gzip", "identity, gzip", " gzip "] {
            assert_eq!(read(coding, &gzip(&text, 0, &[])), Ok(text.clone()), "{coding}");
        }
        assert_eq!(read("gzip", &gzip(&text, 8 | 2, b"export 2026-11.json\0\x11\x22")), Ok(text.clone()));
        assert_eq!(read("gzip", &gzip(&text, 1, b"")), Ok(text.clone()));
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
    fn nothing_to_read_stands_in_the_header() {
        for (flags, fields) in [
            (4, &b"\x02\0ab"[..]),
            (8, b"&q=1' union select password from users-- &\0"),
            (8, b"a/b\0"),
            (8, b"name without an end"),
            (16, b"comment\0"),
            (32, b""),
            (0x80, b""),
        ] {
            assert_eq!(read("gzip", &gzip(b"a=1", flags, fields)), Err(EncodingError::Damaged), "{flags}");
        }
    }

    #[test]
    fn what_reads_as_text_is_not_compressed() {
        for text in [&b"q=1' union select"[..], b"{\"q\": \"1\xff\"}", b"\0\0 plain text", b"<a>1</a>"] {
            for coding in ["gzip", "deflate"] {
                for extent in [Extent::Whole, Extent::WholeForBeginning, Extent::Beginning] {
                    let read = decoded(&[coding.as_bytes()], text, 1000, extent);
                    assert_eq!(read, Err(EncodingError::Damaged), "{coding} {extent:?}");
                }
            }
        }
    }

    #[test]
    fn of_a_beginning_something_can_be_had_or_it_is_refused() {
        let text: Vec<u8> = (0..200u32).flat_map(|n| format!("{n:x} ").into_bytes()).collect();
        for (coding, body) in [
            ("gzip", gzip(&text, 0, &[])),
            ("deflate", compress_to_vec_zlib(&text, 6)),
            ("deflate", compress_to_vec(&text, 6)),
        ] {
            let read = |length: usize, extent| {
                decoded(&[coding.as_bytes()], body.get(..length).unwrap_or(&body), 1000, extent).map(Cow::into_owned)
            };
            let beginning = read(body.len() - 20, Extent::Beginning).unwrap();
            assert!(!beginning.is_empty() && text.starts_with(&beginning), "{coding}");
            assert_eq!(read(body.len() - 20, Extent::Whole), Err(EncodingError::Damaged));
            assert_eq!(read(body.len() - 20, Extent::WholeForBeginning), Err(EncodingError::Damaged));
            assert_eq!(read(12, Extent::Beginning), Err(EncodingError::Damaged));
            assert_eq!(read(body.len(), Extent::WholeForBeginning), Ok(text.clone()));
        }
        // Wrong from the beginning on, whatever follows.
        for extent in [Extent::WholeForBeginning, Extent::Beginning] {
            assert_eq!(
                decoded(&[b"gzip"], b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff", 1000, extent),
                Err(EncodingError::Damaged)
            );
            assert_eq!(decoded(&[b"deflate"], b"\xff\xff\xff", 1000, extent), Err(EncodingError::Damaged));
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
        for extent in [Extent::WholeForBeginning, Extent::Beginning] {
            assert_eq!(decoded(&[b"gzip"], &two, 1000, extent), Err(EncodingError::Damaged));
            assert_eq!(decoded(&[b"gzip"], &one, 1000, extent).unwrap(), &b"a=1"[..]);
        }
        // What follows a beginning can be its checksum.
        assert_eq!(decoded(&[b"gzip"], &one[..one.len() - 1], 1000, Extent::Beginning).unwrap(), &b"a=1"[..]);
        let long = gzip(&vec![b'a'; 999], 0, &[]);
        assert_eq!(
            (read("gzip", &long).unwrap().len(), decoded(&[b"gzip"], &long, 999, Extent::Whole).unwrap().len()),
            (999, 999)
        );
        assert_eq!(decoded(&[b"gzip"], &long, 998, Extent::Whole), Err(EncodingError::TooLong));
    }

    #[test]
    fn a_bomb_is_cut_off() {
        let bomb = gzip(&vec![b'a'; 10_000_000], 0, &[]);
        assert_eq!(read("gzip", &bomb), Err(EncodingError::TooLong));
        for extent in [Extent::WholeForBeginning, Extent::Beginning] {
            assert_eq!(decoded(&[b"gzip"], &bomb, 1000, extent).unwrap().len(), 1000);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(coding in "(gzip|deflate)", body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for extent in [Extent::Whole, Extent::WholeForBeginning, Extent::Beginning] {
                let _ = decoded(&[coding.as_bytes()], &body, 500, extent);
            }
        }
    }
}
