//! The parts of a `multipart/form-data` body (RFC 7578, RFC 2046 5.1.1), read so strictly that no reader finds other ones.

use portcullis_payload::bytes::find;
use portcullis_payload::form_data;
use portcullis_payload::media::{self, Parameter};

/// The longest boundary (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;
/// The longest head of a part, and the longest line of one; file systems have names of 255 bytes.
const MAX_HEAD: usize = 1024;
const MAX_LINE: usize = 512;

/// A part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// The name of its field.
    pub name: &'a [u8],
    /// The name of its file; `None`: it is none.
    pub file: Option<&'a [u8]>,
    /// Its `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// What is in it.
    pub content: &'a [u8],
}

/// Why a body is refused. Never what stood there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartsError {
    /// It has several readings, or none.
    Malformed(&'static str),
    /// It has more parts than allowed.
    TooMany,
}

/// The boundary that a content type names.
///
/// # Errors
/// [`PartsError::Malformed`]
pub fn boundary(content_type: &[u8]) -> Result<&[u8], PartsError> {
    // Of what RFC 2046 takes, without what ends a value or a quotation to some readers.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"+_-./:=?".contains(byte);
    match media::parameter(content_type, b"boundary") {
        Parameter::One(text) if !text.is_empty() && text.len() <= MAX_BOUNDARY && text.iter().all(is_plain) => Ok(text),
        Parameter::One(_) => Err(PartsError::Malformed("the boundary is none")),
        Parameter::Ambiguous => Err(PartsError::Malformed("the boundary has several readings")),
        Parameter::Missing => Err(PartsError::Malformed("there is no boundary")),
    }
}

/// The parts between boundaries, at most so many.
///
/// # Errors
/// [`PartsError`]
pub fn read<'a>(boundary: &[u8], body: &'a [u8], most: usize) -> Result<Vec<Part<'a>>, PartsError> {
    let delimiter = [b"--", boundary].concat();
    let mut parts = Vec::new();
    let start = body.strip_prefix(b"\r\n").unwrap_or(body);
    let Some(mut rest) = start.strip_prefix(delimiter.as_slice()) else {
        return Err(PartsError::Malformed("it does not begin with its boundary"));
    };
    loop {
        if let Some(behind) = rest.strip_prefix(b"--") {
            return match behind {
                b"" | b"\r\n" => Ok(parts),
                _ => Err(PartsError::Malformed("something stands behind the last part")),
            };
        }
        // To some readers a delimiter is one wherever it stands: it stands nowhere else.
        let Some(behind) = rest.strip_prefix(b"\r\n") else {
            return Err(PartsError::Malformed("a boundary is no line of its own"));
        };
        if parts.len() >= most {
            return Err(PartsError::TooMany);
        }
        let next = find(behind, &delimiter, 0).ok_or(PartsError::Malformed("the last boundary is missing"))?;
        let (piece, after) = behind.split_at(next);
        let piece = piece.strip_suffix(b"\r\n").ok_or(PartsError::Malformed("a boundary is no line of its own"))?;
        parts.push(part(piece).ok_or(PartsError::Malformed("the head of a part cannot be read"))?);
        rest = after.get(delimiter.len()..).unwrap_or_default();
    }
}

fn part(piece: &[u8]) -> Option<Part<'_>> {
    let (head, content) = form_data::read(piece)?;
    let form_data::Head { name, file, extended_file, content_type } = head;
    let length = piece.len().checked_sub(content.len())?;
    let lines = piece.get(..length)?.split(|byte| *byte == b'\n');
    // Names of RFC 2231 are known to some readers only, and some read a long head in pieces.
    let is_plain = extended_file.is_none() && length <= MAX_HEAD && lines.map(<[u8]>::len).all(|line| line <= MAX_LINE);
    is_plain.then_some(Part { name, file, content_type, content })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
                        --b\r\ncontent-disposition: form-data; name=f; filename=\"x y.png\"\r\nContent-Type: image/png\r\n\r\n\0\r\n--c\r\n\r\n--b--\r\n";

    fn read_text(text: &str) -> Result<Vec<Part<'_>>, PartsError> {
        read(b"b", text.as_bytes(), 8)
    }

    fn with_head(head: &str) -> String {
        format!("--b\r\n{head}\r\n\r\n1\r\n--b--")
    }

    #[test]
    fn fields_and_files_are_read() {
        let field = Part { name: b"a", file: None, content_type: None, content: b"1" };
        let file =
            Part { name: b"f", file: Some(b"x y.png"), content_type: Some(b"image/png"), content: b"\0\r\n--c\r\n" };
        assert_eq!(read_text(GOOD), Ok(vec![field, file]));
        assert_eq!(read_text(&format!("\r\n{GOOD}")), Ok(vec![field, file]));
        assert_eq!(read(b"b", GOOD.as_bytes(), 1), Err(PartsError::TooMany));
        assert_eq!(read_text("--b--"), Ok(Vec::new()));
        for head in [
            "content-disposition: form-data; name=\"a\"; size=3",
            "content-disposition:form-data;name=a",
            "x-other: 1\r\nCONTENT-DISPOSITION: Form-Data ; name=\"a\"\r\ncontent-transfer-encoding: 8BIT",
        ] {
            assert_eq!(read_text(&with_head(head)), Ok(vec![field]), "{head}");
        }
    }

    #[test]
    fn what_has_several_readings_is_refused() {
        for text in [
            "",
            "--b",
            "--b\r\n",
            "x\r\n--b--",
            "--b--x",
            "--b--\r\n\r\n",
            "--b \r\n--b--",
            "--b\n--b--",
            "--b\r\n--b--",
            "--b\r\n\r\n--b--",
            "--bc--",
            "--b\r\ncontent-disposition: form-data; name=a\r\n\r\n1--b--",
            "--b\r\ncontent-disposition: form-data; name=a\r\n\r\n1\n--b--",
            "--b\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--bx\r\n--b--",
            "--b\r\ncontent-disposition: form-data; name=a\r\n\r\n1 --b 2\r\n--b--",
            "--b\r\ncontent-disposition: form-data; name=a\n\n1\r\n--b--",
            "--b\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n",
        ] {
            assert!(matches!(read_text(text), Err(PartsError::Malformed(_))), "{text:?}");
        }
        for head in [
            "content-type: text/plain",
            "content-disposition: attachment; name=a",
            "content-disposition: form-data",
            "content-disposition: form-datax; name=a",
            "content-disposition: form-data; name",
            "content-disposition: form-data; name=a; name=b",
            "content-disposition: form-data; name=a; filename=b; filename=c",
            "content-disposition: form-data; name=a; filename*=utf-8''b",
            "content-disposition: form-data; name*=utf-8''a",
            "content-disposition: form-data; Name=a",
            "content-disposition: form-data; name=a; FileName=b",
            "content-disposition: form-data; name=\"a",
            "content-disposition: form-data; name=\"a\\\"; filename=\"b\"",
            "content-disposition: form-data; name=\"a\\b\"",
            "content-disposition: form-data; name='a b'",
            "content-disposition: form-data; name='a'",
            "content-disposition: form-data; name=\"a\" x",
            "content-disposition: form-data; name = a",
            "content-disposition: form-data;; name=a",
            "content-disposition: form-data;\r\n name=a",
            "content-disposition: form-data; name=a\r\ncontent-disposition: form-data; name=b",
            "content-disposition : form-data; name=a",
            "content-disposition: form-data; name=a\r\ncontent-type: a/b\r\ncontent-type: c/d",
            "content-disposition: form-data; name=a\r\ncontent-transfer-encoding: base64",
            "content-disposition: form-data; name=a\rb",
            "content-disposition: form-data; name=a\0",
            "content-disposition: form-data; name=a; x'=1; filename=\"b\"; y'=2",
            "content-disposition: form-data; name=a; x!=1",
            "content-disposition: form-data; name=a; x-name=b",
            "content-disposition: form-data; name=a; x=\"; name=b\"",
            "content-disposition: form-data; name=a; filename=\"b\"; filename=\"\"",
            "content-disposition: form-data; name=a; x=b\"; filename=c; y=d\"",
            "content-disposition: form-data; name=a\r\nx: content-disposition: form-data; name=b",
        ] {
            assert!(matches!(read_text(&with_head(head)), Err(PartsError::Malformed(_))), "{head:?}");
        }
    }

    #[test]
    fn the_head_of_a_part_is_short() {
        let with = |name: usize, more: usize| {
            let head = format!("content-disposition: form-data; name=a; filename=\"{}\"", "x".repeat(name));
            with_head(&format!("{head}\r\nx: {}\r\ny: {}", "x".repeat(more), "y".repeat(more)))
        };
        assert!(read_text(&with(255, 300)).is_ok());
        for text in [with(480, 1), with(1, 520), with(255, 400), with(1, 5113)] {
            assert!(matches!(read_text(&text), Err(PartsError::Malformed(_))), "{}", text.len());
        }
    }

    #[test]
    fn a_boundary_is_named_once_and_is_plain() {
        for (text, found) in [
            ("multipart/form-data; boundary=b-1", "b-1"),
            ("multipart/form-data;charset=utf-8;BOUNDARY=\"===1==\"", "===1=="),
        ] {
            assert_eq!(boundary(text.as_bytes()), Ok(found.as_bytes()), "{text}");
        }
        for text in [
            "multipart/form-data",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=a; Boundary*=b",
            "multipart/form-data; xboundary=evil; boundary=good",
            "multipart/form-data; x=boundary=evil; boundary=good",
            "multipart/form-data, boundary=evil, x; boundary=good",
            "multipart/form-data; boundary=good; x=\"BOUNDARY=evil\"",
            "multipart/form-data; x=\"; boundary=good; y=\"",
            "multipart/form-data; boundary*=utf-8''good",
            "multipart/form-data; boundary =\"good",
            "multipart/form-data; boundary= good",
            "multipart/form-data; boundary='a'",
            "multipart/form-data; boundary=a,b",
            "multipart/form-data; boundary=\"a b\"",
            "multipart/form-data; boundary=\"a",
        ] {
            assert!(boundary(text.as_bytes()).is_err(), "{text}");
        }
        assert!(boundary(format!("a/b; boundary={}", "x".repeat(71)).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in "[-b\r\n:;=\"\\\\acdefimnoprst ]{0,80}", kind in ".{0,40}") {
            let _ = (read(b"b", body.as_bytes(), 3), boundary(kind.as_bytes()));
            let _ = read(b"b", with_head(&body).as_bytes(), 3);
        }

        #[test]
        fn what_is_written_is_read(content in proptest::collection::vec(any::<u8>(), 0..60), name in "[a-z]{1,5}") {
            let body = [format!("--zz9\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes(), &content, b"\r\n--zz9--"].concat();
            let parts = read(b"zz9", &body, 1).unwrap();
            assert_eq!(parts, [Part { name: name.as_bytes(), file: None, content_type: None, content: &content }]);
        }
    }
}
