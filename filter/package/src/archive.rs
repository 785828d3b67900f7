//! tar and gzip in the one form that has nothing of the machine, the user or the hour in it.

/// The unit of a tar archive (POSIX.1-2017, pax, "ustar Interchange Format").
const BLOCK: usize = 512;

/// One member: a directory where there are no contents.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// At most 100 bytes of ASCII, relative.
    pub name: &'a str,
    /// `None` for a directory, whose name ends with a slash.
    pub contents: Option<&'a [u8]>,
}

/// A tar archive of `members` in this order: owned by root, from 1970, readable by all.
pub fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        let contents = member.contents.unwrap_or_default();
        out.extend(header(member, contents.len()));
        out.extend_from_slice(contents);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    // The end: two blocks of zeros.
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

fn header(member: &Member<'_>, size: usize) -> Vec<u8> {
    let (mode, kind) = if member.contents.is_some() { (0o644, b'0') } else { (0o755, b'5') };
    let field = |value: usize, width: usize| format!("{value:0width$o}\0", width = width - 1).into_bytes();
    let mut start = member.name.as_bytes().to_vec();
    start.resize(100, 0);
    // Mode, owner, group, size, time.
    for part in [field(mode, 8), field(0, 8), field(0, 8), field(size, 12), field(0, 12)] {
        start.extend(part);
    }
    let mut rest = vec![kind];
    rest.resize(1 + 100, 0);
    rest.extend(b"ustar\x0000");
    rest.resize(BLOCK - start.len() - 8, 0);
    // The checksum is made with spaces in its place.
    let sum: usize = start.iter().chain(&rest).chain(&[b' '; 8]).map(|&byte| usize::from(byte)).sum();
    start.extend(format!("{sum:06o}\0 ").into_bytes());
    start.extend(rest);
    start
}

/// `data` in gzip (RFC 1952), without a time, a name, or the system that made it.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.extend(miniz_oxide::deflate::compress_to_vec(data, 9));
    out.extend(crc32(data).to_le_bytes());
    // The size modulo 2^32 (RFC 1952, 2.3.1).
    #[allow(clippy::cast_possible_truncation, reason = "as the format has it")]
    out.extend((data.len() as u32).to_le_bytes());
    out
}

/// The CRC of RFC 1952, section 8.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_that_of_everybody() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn an_archive_is_whole_blocks_and_ends_with_two_of_zeros() {
        let archive = tar(&[Member { name: "d/", contents: None }, Member { name: "d/a", contents: Some(b"text") }]);
        assert_eq!(archive.len(), 5 * BLOCK);
        assert!(archive.iter().rev().take(2 * BLOCK).all(|byte| *byte == 0));
        assert_eq!(archive.get(257..265), Some(b"ustar\x0000".as_slice()));
        assert_eq!(archive.get(2 * BLOCK..2 * BLOCK + 4), Some(b"text".as_slice()));
    }

    #[test]
    fn what_is_compressed_comes_back() {
        let data = b"portcullis ".repeat(500);
        let compressed = gzip(&data);
        assert!(compressed.len() < data.len() / 5);
        let deflated = compressed.get(10..compressed.len() - 8).unwrap_or_default();
        assert_eq!(miniz_oxide::inflate::decompress_to_vec(deflated).ok(), Some(data));
    }
}
