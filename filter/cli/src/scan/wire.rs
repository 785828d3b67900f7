//! Requests as they are sent.

use std::borrow::Cow;

use portcullis_engine::{EncodingError, Extent, decoded_body};
use portcullis_payload::arguments::Request;

/// A request at hand.
pub struct Recorded {
    pub method: String,
    pub target: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Why the recording does not have its body, where it has none of one that was sent.
    pub missing_body: Option<String>,
}

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36";

impl Recorded {
    /// The same payload as a query parameter, as a field of a form and as a string of a JSON document.
    pub fn three(payload: &[u8]) -> Vec<Self> {
        let make = |method: &str, target: Vec<u8>, kind: Option<&str>, body: Vec<u8>| {
            let mut headers = vec![
                ("Host".to_owned(), b"shop.example.com".to_vec()),
                ("User-Agent".to_owned(), AGENT.as_bytes().to_vec()),
            ];
            if let Some(kind) = kind {
                headers.push(("Content-Type".to_owned(), kind.as_bytes().to_vec()));
            }
            Self { method: method.to_owned(), target, headers, body, missing_body: None }
        };
        // A percent sign that stands in the payload is its own encoding in a URL; in a form it is one more layer.
        let query = [b"/?p=".to_vec(), encoded(payload, true)].concat();
        let form = [b"p=".to_vec(), encoded(payload, false)].concat();
        let json = serde_json::json!({ "id": 7, "p": String::from_utf8_lossy(payload) }).to_string();
        vec![
            make("GET", query, None, Vec::new()),
            make("POST", b"/form".to_vec(), Some("application/x-www-form-urlencoded"), form),
            make("POST", b"/api".to_vec(), Some("application/json"), json.into_bytes()),
        ]
    }

    /// A request as bytes on the wire.
    pub fn raw(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(bytes.get(..end)?).into_owned();
        let mut lines = head.split("\r\n");
        let mut start = lines.next()?.splitn(3, ' ');
        let (method, target) = (start.next()?.to_owned(), start.next().unwrap_or("").as_bytes().to_vec());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(n, v)| (n.to_owned(), v.trim().as_bytes().to_vec()))
            .collect();
        Some(Self { method, target, headers, body: bytes.get(end + 4..)?.to_vec(), missing_body: None })
    }

    /// The body as it was before it was compressed: at most so many bytes.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn plain_body(&self, max_inflated: usize) -> Result<Cow<'_, [u8]>, String> {
        if let Some(why) = &self.missing_body {
            return Err(why.clone());
        }
        let codings = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
        let codings: Vec<&[u8]> = codings.map(|(_, value)| value.as_slice()).collect();
        let named = || codings.iter().map(|coding| String::from_utf8_lossy(coding)).collect::<Vec<_>>().join(", ");
        match decoded_body(&codings, &self.body, max_inflated, Extent::Whole) {
            _ if self.body.is_empty() => Ok(Cow::Borrowed(&[])),
            Ok(plain) => Ok(plain),
            Err(EncodingError::Unsupported) => Err(format!("content-encoding {:?}", named())),
            Err(EncodingError::TooLong) => Err(format!("it inflates to more than {max_inflated} bytes")),
            // Recorders that show what was in it leave the header as it was.
            Err(EncodingError::Damaged) if named().contains("gzip") && !self.body.starts_with(b"\x1f\x8b") => {
                Ok(Cow::Borrowed(&self.body))
            }
            Err(EncodingError::Damaged) => Err(format!("it is not what its content-encoding {:?} says", named())),
        }
    }

    /// The request as the inspection reads it, with its body as it was before it was compressed.
    pub fn with<T>(&self, body: &[u8], read: impl FnOnce(&Request<'_>) -> T) -> T {
        let headers: Vec<(&[u8], &[u8])> = self.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())).collect();
        read(&Request { method: self.method.as_bytes(), target: &self.target, headers: &headers, body })
    }
}

/// Percent-encoded, but letters, digits and `-_.~`; a percent sign too, where it is to be kept.
pub fn encoded(text: &[u8], keep_percent: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte),
            b'%' if keep_percent => out.push(byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}
