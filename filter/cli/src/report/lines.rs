//! Lines of a log of any size, in bounded memory.

use std::io::{self, BufRead};

/// The longest line that is read, in bytes. One of the gateway's own is a few hundred.
pub const MAX_LINE: usize = 64 * 1024;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The whole of it.
    Whole(&'a [u8]),
    /// One of more than [`MAX_LINE`] bytes.
    TooLong,
}

/// The lines of a source. Empty ones are passed over.
#[derive(Debug)]
pub struct Lines<R> {
    source: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `source`.
    pub fn new(source: R) -> Self {
        Self { source, line: Vec::new() }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.line.clear();
            let (mut size, mut ended) = (0_usize, false);
            while !ended {
                let read = self.source.fill_buf()?;
                if read.is_empty() {
                    break;
                }
                let end = read.iter().position(|byte| *byte == b'\n');
                let part = read.get(..end.unwrap_or(read.len())).unwrap_or_default();
                size = size.saturating_add(part.len());
                if size <= MAX_LINE {
                    self.line.extend_from_slice(part);
                }
                ended = end.is_some();
                let consumed = part.len() + usize::from(ended);
                self.source.consume(consumed);
            }
            if size > MAX_LINE {
                return Ok(Some(Line::TooLong));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(Line::Whole(&self.line)));
            }
            if !ended {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_are_whole_whatever_the_buffer() {
        let text = format!("one\n\n{}\r\n{}\nlast", "a".repeat(MAX_LINE - 1), "b".repeat(MAX_LINE + 1));
        for buffer in [1, 7, 4096] {
            let mut lines = Lines::new(BufReader::with_capacity(buffer, text.as_bytes()));
            assert_eq!(lines.next().unwrap(), Some(Line::Whole(b"one")));
            assert!(matches!(lines.next().unwrap(), Some(Line::Whole(line)) if line.len() == MAX_LINE));
            assert_eq!(lines.next().unwrap(), Some(Line::TooLong));
            assert_eq!(lines.next().unwrap(), Some(Line::Whole(b"last")));
            assert_eq!(lines.next().unwrap(), None);
        }
    }
}
