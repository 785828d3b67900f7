//! Reads a fetched list: lines of text, or a JSON array. All of it is good, or none of it is used.

use std::cell::Cell;
use std::fmt;

use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};

use super::cidr::{Cidr, CidrError};
use super::set::{AddressSet, Builder};

/// Why a document is no list. It never says what stood there: a list comes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedError {
    /// There is nothing in it, not even a comment.
    Empty,
    /// A line is not UTF-8, or no address or network.
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Option<CidrError>,
    },
    /// An element of the array is no address or network.
    Element {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        problem: Option<CidrError>,
    },
    /// It begins as a JSON array and is none.
    Json {
        /// Where the reader gave up; from 1.
        line: usize,
        /// The byte in that line; from 1.
        column: usize,
    },
    /// There are more entries than may be.
    TooManyEntries {
        /// How many may be.
        max: usize,
    },
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem =
            |problem: &Option<CidrError>| problem.as_ref().map_or("is no text".to_owned(), ToString::to_string);
        match self {
            Self::Empty => {
                f.write_str("the document is empty; a list that means to be empty is `[]`, or has a comment")
            }
            Self::Line { line, problem: what } => write!(f, "line {line} {}", problem(what)),
            Self::Element { index, problem: what } => write!(f, "[{index}] {}", problem(what)),
            Self::Json { line, column } => write!(f, "no valid JSON at line {line}, column {column}"),
            Self::TooManyEntries { max } => write!(f, "more than {max} entries"),
        }
    }
}

impl std::error::Error for FeedError {}

/// Reads a list of at most `max_entries`.
///
/// # Errors
/// The first thing that is wrong; nothing of the document is used then.
pub fn parse(document: &[u8], max_entries: usize) -> Result<AddressSet, FeedError> {
    let trimmed = document.trim_ascii();
    match trimmed.first() {
        None => Err(FeedError::Empty),
        Some(b'[') => array(trimmed, max_entries),
        Some(_) => lines(document, max_entries),
    }
}

fn lines(document: &[u8], max_entries: usize) -> Result<AddressSet, FeedError> {
    let (mut builder, mut room) = (Builder::default(), max_entries);
    for (index, line) in document.split(|byte| *byte == b'\n').enumerate() {
        let line_number = index.saturating_add(1);
        let entry = line.split(|byte| matches!(byte, b'#' | b';')).next().unwrap_or_default().trim_ascii();
        if entry.is_empty() {
            continue;
        }
        room = room.checked_sub(1).ok_or(FeedError::TooManyEntries { max: max_entries })?;
        let text = std::str::from_utf8(entry).map_err(|_| FeedError::Line { line: line_number, problem: None })?;
        let cidr = Cidr::parse(text).map_err(|error| FeedError::Line { line: line_number, problem: Some(error) })?;
        builder.add(cidr);
    }
    Ok(builder.build())
}

fn array(document: &[u8], max_entries: usize) -> Result<AddressSet, FeedError> {
    let (mut builder, cause) = (Builder::default(), Cell::new(None));
    let mut reader = serde_json::Deserializer::from_slice(document);
    let visitor = Elements { builder: &mut builder, max_entries, cause: &cause };
    let read = reader.deserialize_seq(visitor).and_then(|()| reader.end());
    read.map_err(|error| cause.take().unwrap_or(FeedError::Json { line: error.line(), column: error.column() }))?;
    Ok(builder.build())
}

/// Takes the elements as they are read: the list is never held as a tree.
struct Elements<'b> {
    builder: &'b mut Builder,
    max_entries: usize,
    cause: &'b Cell<Option<FeedError>>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let refuse = |error: FeedError| {
            self.cause.set(Some(error));
            A::Error::custom("refused")
        };
        for index in 0.. {
            let element: Option<serde_json::Value> = array.next_element()?;
            let Some(element) = element else { break };
            if index >= self.max_entries {
                return Err(refuse(FeedError::TooManyEntries { max: self.max_entries }));
            }
            let text = element.as_str().ok_or_else(|| refuse(FeedError::Element { index, problem: None }))?;
            let cidr = Cidr::parse(text).map_err(|error| refuse(FeedError::Element { index, problem: Some(error) }))?;
            self.builder.add(cidr);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &str) -> Result<AddressSet, FeedError> {
        parse(document.as_bytes(), 3)
    }

    #[test]
    fn lines_and_arrays_are_the_same_list() {
        let text = "# a feed\r\n192.0.2.0/24 # office\n\n  2001:db8::/32;x\n192.0.2.7\n";
        let json = " [\"192.0.2.0/24\", \"2001:db8::\\/32\", \"192.0.2.7\"]\n";
        assert_eq!(read(text), read(json));
        assert_eq!(read(text).unwrap().len(), 2);
    }

    #[test]
    fn one_bad_entry_refuses_the_whole_list() {
        for (document, said) in [
            ("192.0.2.0/24\nrubbish\n", "line 2 is no address or network"),
            ("192.0.2.0/24\n10.0.0.1/8", "line 2 has bits set behind its prefix"),
            ("192.0.2.0/24, 10.0.0.0/8", "line 1 has no valid prefix length"),
            ("<html>not found</html>", "line 1 is no address or network"),
            ("[\"192.0.2.0/24\", 7]", "[1] is no text"),
            ("[\"192.0.2.0/24\", \"x\"]", "[1] is no address or network"),
            ("[\"192.0.2.0/24\"", "no valid JSON at line 1, column 15"),
            ("[] []", "no valid JSON at line 1, column 4"),
            ("{\"cidrs\": []}", "line 1 is no address or network"),
            ("1.1.1.1\n1.1.1.2\n1.1.1.3\n1.1.1.4", "more than 3 entries"),
            ("[\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]", "more than 3 entries"),
        ] {
            assert_eq!(read(document).unwrap_err().to_string(), said, "{document:?}");
        }
        assert_eq!(parse(b"1.1.1.1\n\xff\n", 9), Err(FeedError::Line { line: 2, problem: None }));
    }

    #[test]
    fn an_empty_document_is_no_list_and_an_empty_list_is_one() {
        assert_eq!(read(""), Err(FeedError::Empty));
        assert_eq!(read(" \r\n\n"), Err(FeedError::Empty));
        assert!(read("[]").unwrap().is_empty() && read("# nobody today\n").unwrap().is_empty());
    }
}
