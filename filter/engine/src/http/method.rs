//! The request method.

use std::fmt;

use super::bytes::TOKEN;

/// A longer method is refused: no registered one has more than 17 bytes.
const MAX_METHOD_BYTES: usize = 64;

/// A request method (RFC 9110, section 9.1). Case is significant: `get` is not `GET`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `PATCH` (RFC 5789)
    Patch,
    /// `CONNECT`
    Connect,
    /// `TRACE`
    Trace,
    /// Any other token, such as `PROPFIND`.
    Other(Box<str>),
}

/// Not a method: empty, longer than 64 bytes, or with a byte that no token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodSyntax;

impl fmt::Display for MethodSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a request method")
    }
}

impl std::error::Error for MethodSyntax {}

impl Method {
    /// Reads a method as it stands in a request or in a rule.
    ///
    /// # Errors
    /// [`MethodSyntax`] unless it is a token of 1 to 64 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, MethodSyntax> {
        Ok(match bytes {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            other => {
                let fits = (1..=MAX_METHOD_BYTES).contains(&other.len()) && TOKEN.has_all(other);
                let text = str::from_utf8(other).ok().filter(|_| fits).ok_or(MethodSyntax)?;
                Self::Other(text.into())
            }
        })
    }

    /// The method as it is written in a request.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Connect => "CONNECT",
            Self::Trace => "TRACE",
            Self::Other(other) => other,
        }
    }

    /// What is counted by: all methods without a name here count as one, since a client could make up any number of them.
    pub fn counted_as(&self) -> &str {
        match self {
            Self::Other(_) => "OTHER",
            known => known.as_str(),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_reads_back_as_written() {
        for text in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PROPFIND", "get"]
        {
            assert_eq!(Method::parse(text.as_bytes()).unwrap().as_str(), text);
        }
    }

    #[test]
    fn case_is_significant() {
        assert_ne!(Method::parse(b"get"), Ok(Method::Get));
    }

    #[test]
    fn what_is_no_token_is_no_method() {
        for bad in
            [&b""[..], b"GET ", b" GET", b"G\tT", b"GE\0T", b"G/T", b"G:T", b"G\xc3\xa9T", b"\"GET\"", &[b'A'; 65]]
        {
            assert_eq!(Method::parse(bad), Err(MethodSyntax), "{bad:?}");
        }
    }
}
