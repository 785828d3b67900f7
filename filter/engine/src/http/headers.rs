//! A header map over the one buffer that the host gave.

use std::fmt;

/// The headers of a message in the order in which they arrived, pseudo-headers (`:path`) among them.
///
/// Values are bytes: a proxy checks little about them. Names compare without regard to ASCII case. `Debug` prints names
/// and lengths only, because values carry tokens.
#[derive(Clone, Default)]
pub struct Headers {
    buffer: Vec<u8>,
    lines: Vec<Line>,
}

/// Where one header line lies in the buffer; checked against its length when the map is made.
#[derive(Clone, Copy)]
struct Line {
    name_start: u32,
    name_len: u32,
    value_start: u32,
    value_len: u32,
}

/// The serialised map contradicts itself: a length leads out of the buffer, or a separator is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedPairs;

impl fmt::Display for MalformedPairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host's header map is not a valid list of pairs")
    }
}

impl std::error::Error for MalformedPairs {}

/// A header that may stand once stands on several lines: two readers could take different ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header with one value stands on several lines")
    }
}

impl std::error::Error for Repeated {}

/// Why a header does not have one text as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextError {
    /// It stands on several lines.
    Repeated,
    /// Its value is not UTF-8.
    NotUtf8,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated => Repeated.fmt(f),
            Self::NotUtf8 => f.write_str("a header's value is not UTF-8"),
        }
    }
}

impl std::error::Error for TextError {}

impl Headers {
    /// Takes over the host's serialised map: a count, then for each header the lengths of name and value, all `u32` in
    /// little endian; then for each header its name, NUL, its value, NUL. An empty buffer is an empty map.
    ///
    /// Nothing is copied.
    ///
    /// # Errors
    /// [`MalformedPairs`] unless the lengths and separators account for every byte.
    pub fn from_pairs_buffer(buffer: Vec<u8>) -> Result<Self, MalformedPairs> {
        let lines = if buffer.is_empty() { Vec::new() } else { read_lines(&buffer).ok_or(MalformedPairs)? };
        Ok(Self { buffer, lines })
    }

    /// A map of `pairs`, for tests and the command line tool.
    ///
    /// # Errors
    /// [`MalformedPairs`] if the whole is larger than 4 GiB.
    pub fn from_pairs(pairs: &[(&str, &[u8])]) -> Result<Self, MalformedPairs> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| MalformedPairs);
        let mut buffer = length_of(pairs.len())?.to_le_bytes().to_vec();
        for (name, value) in pairs {
            buffer.extend(length(name.as_bytes())?.to_le_bytes());
            buffer.extend(length(value)?.to_le_bytes());
        }
        for (name, value) in pairs {
            buffer.extend_from_slice(name.as_bytes());
            buffer.push(0);
            buffer.extend_from_slice(value);
            buffer.push(0);
        }
        Self::from_pairs_buffer(buffer)
    }

    /// How many header lines there are, pseudo-headers included.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no header at all.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Every line as name and value, in the order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (self.name(line), self.value(line)))
    }

    /// The value of each line of `name`, in the order of arrival.
    pub fn get_all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.lines
            .iter()
            .filter(move |line| line.name_len as usize == name.len())
            .filter(move |line| self.name(line).eq_ignore_ascii_case(name.as_bytes()))
            .map(|line| self.value(line))
    }

    /// The value of a header that may stand once; `None` where it does not stand.
    ///
    /// Envoy joins some repeated headers to one line (`authorization: Bearer a,Bearer b`): the reader of the value has
    /// to refuse that form.
    ///
    /// # Errors
    /// [`Repeated`] where the header stands on several lines, even with equal values.
    pub fn single(&self, name: &str) -> Result<Option<&[u8]>, Repeated> {
        let mut values = self.get_all(name);
        let first = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(first) }
    }

    /// The value of a header that may stand once, as text.
    ///
    /// # Errors
    /// [`TextError`] where it stands on several lines or is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, TextError> {
        let Some(value) = self.single(name).map_err(|Repeated| TextError::Repeated)? else { return Ok(None) };
        str::from_utf8(value).map(Some).map_err(|_| TextError::NotUtf8)
    }

    fn name(&self, line: &Line) -> &[u8] {
        span(&self.buffer, line.name_start, line.name_len)
    }

    fn value(&self, line: &Line) -> &[u8] {
        span(&self.buffer, line.value_start, line.value_len)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.iter().map(|(name, value)| (String::from_utf8_lossy(name), value.len()));
        f.debug_map().entries(lines).finish()
    }
}

fn length_of(count: usize) -> Result<u32, MalformedPairs> {
    u32::try_from(count).map_err(|_| MalformedPairs)
}

fn span(buffer: &[u8], start: u32, len: u32) -> &[u8] {
    let end = (start as usize).saturating_add(len as usize);
    buffer.get(start as usize..end).unwrap_or_default()
}

fn read_lines(buffer: &[u8]) -> Option<Vec<Line>> {
    // Every offset below this length fits an offset of the map.
    u32::try_from(buffer.len()).ok()?;
    let (count, lengths) = buffer.split_first_chunk::<4>()?;
    // The buffer must hold all the lengths: so a claimed count reserves no more memory than the host already has.
    let lengths_len = (u32::from_le_bytes(*count) as usize).checked_mul(8)?;
    let (lengths, _) = lengths.split_at_checked(lengths_len)?;
    let mut lines = Vec::with_capacity(lengths_len / 8);
    let mut at = u32::try_from(lengths_len.checked_add(4)?).ok()?;
    for pair in lengths.chunks_exact(8) {
        let (name_len, value_len) = pair.split_first_chunk::<4>()?;
        let name_len = u32::from_le_bytes(*name_len);
        let value_len = u32::from_le_bytes(*value_len.first_chunk::<4>()?);
        let (name_start, value_start) = (at, after_nul(buffer, at, name_len)?);
        at = after_nul(buffer, value_start, value_len)?;
        lines.push(Line { name_start, name_len, value_start, value_len });
    }
    (at as usize == buffer.len()).then_some(lines)
}

/// The offset behind the NUL that must follow `len` bytes at `start`.
fn after_nul(buffer: &[u8], start: u32, len: u32) -> Option<u32> {
    let nul = start.checked_add(len)?;
    (*buffer.get(nul as usize)? == 0).then_some(())?;
    nul.checked_add(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(pairs: &[(&str, &[u8])]) -> Headers {
        Headers::from_pairs(pairs).unwrap()
    }

    #[test]
    fn names_compare_without_case_and_values_keep_their_order() {
        let headers = map(&[("X-Tag", b"a"), ("x-other", b""), ("x-tag", b"b")]);
        assert_eq!(headers.get_all("x-tAG").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(headers.single("x-other"), Ok(Some(&b""[..])));
        assert_eq!(headers.single("x-non"), Ok(None));
        assert_eq!(headers.iter().count(), 3);
    }

    #[test]
    fn two_lines_of_a_single_header_are_an_error_even_if_equal() {
        let headers = map(&[("x-id", b"1"), ("X-Id", b"1")]);
        assert_eq!(headers.single("x-id"), Err(Repeated));
        assert_eq!(headers.text("x-id"), Err(TextError::Repeated));
    }

    #[test]
    fn a_value_that_is_not_text_is_not_passed_as_text() {
        assert_eq!(map(&[("x", b"\xff")]).text("x"), Err(TextError::NotUtf8));
        assert_eq!(map(&[("x", b"ok")]).text("x"), Ok(Some("ok")));
    }

    #[test]
    fn a_nul_inside_a_value_does_not_end_it() {
        assert_eq!(map(&[("x", b"a\0b"), ("y", b"c")]).single("x"), Ok(Some(&b"a\0b"[..])));
    }

    #[test]
    fn an_empty_buffer_is_an_empty_map() {
        assert!(Headers::from_pairs_buffer(Vec::new()).unwrap().is_empty());
        assert!(Headers::from_pairs_buffer(vec![0; 4]).unwrap().is_empty());
    }

    #[test]
    fn lengths_that_lead_out_of_the_buffer_are_refused() {
        let good = map(&[("name", b"value")]).buffer;
        for cut in 1..good.len() {
            assert!(Headers::from_pairs_buffer(good[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        let mut long = good.clone();
        long.push(0);
        assert!(Headers::from_pairs_buffer(long).is_err(), "bytes that no length accounts for");
        for (at, byte) in [(0, 2), (3, 0xff), (4, 0xff), (7, 0xff), (8, 0), (11, 0xff), (16, b'x')] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(Headers::from_pairs_buffer(bad).is_err(), "byte {at} set to {byte}");
        }
    }

    #[test]
    fn a_huge_count_reserves_nothing() {
        assert!(Headers::from_pairs_buffer(vec![0xff; 64]).is_err());
    }

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", map(&[("authorization", b"Bearer secret")]));
        assert!(shown.contains("authorization") && !shown.contains("secret"), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(pairs in proptest::collection::vec(("[a-z-]{0,9}", proptest::collection::vec(any::<u8>(), 0..20)), 0..20)) {
            let pairs: Vec<(&str, &[u8])> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
            let headers = map(&pairs);
            let read: Vec<_> = headers.iter().collect();
            let written: Vec<_> = pairs.iter().map(|(n, v)| (n.as_bytes(), *v)).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn no_buffer_panics(small in 0_u8..4, mut buffer in proptest::collection::vec(0_u8..12, 0..80)) {
            if buffer.len() > 4 { buffer[..4].copy_from_slice(&[small, 0, 0, 0]); }
            if let Ok(headers) = Headers::from_pairs_buffer(buffer) {
                headers.iter().for_each(drop);
            }
        }
    }
}
