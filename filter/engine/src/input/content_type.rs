//! Which kinds of bodies a rule takes (RFC 9110, 8.3).

use portcullis_payload::form_data::is_token;
use portcullis_payload::media::{self, Parameter};

use crate::http::RequestHead;

/// Forms of pairs.
pub const FORM: &str = "application/x-www-form-urlencoded";
/// Forms of parts, among them files.
pub const MULTIPART_FORM: &str = "multipart/form-data";

/// The content type of a request, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentType {
    /// There is none.
    Missing,
    /// Several, or what cannot be read as one: readers differ about what it says.
    Unreadable,
    /// A type, in lower case, with its `charset` where it has one.
    Media {
        /// Type and subtype.
        name: String,
        /// The character set, in lower case.
        charset: Option<String>,
    },
}

impl ContentType {
    /// The content type of a request.
    pub fn of(head: &RequestHead) -> Self {
        let mut lines = head.headers().get_all("content-type");
        let Some(line) = lines.next() else { return Self::Missing };
        match lines.next() {
            Some(_) => Self::Unreadable,
            None => Self::parse(line),
        }
    }

    /// What a `content-type` line says, of a request or of a part of its body.
    pub fn parse(line: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(line) else { return Self::Unreadable };
        let name = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let token = |text: &str| !text.is_empty() && text.bytes().all(is_token);
        if !name.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype)) {
            return Self::Unreadable;
        }
        match media::parameter(line, b"charset") {
            Parameter::Missing => Self::Media { name, charset: None },
            Parameter::One(charset) => {
                let charset = String::from_utf8_lossy(charset.trim_ascii()).to_ascii_lowercase();
                Self::Media { name, charset: Some(charset) }
            }
            Parameter::Ambiguous => Self::Unreadable,
        }
    }

    /// Whether it says JSON.
    pub fn is_json(&self) -> bool {
        matches!(self, Self::Media { name, .. } if is_json(name))
    }

    /// Whether it says that the body is a form of pairs.
    pub fn is_form(&self) -> bool {
        matches!(self, Self::Media { name, .. } if name == FORM)
    }

    /// Whether it says that the body is a form of parts.
    pub fn is_multipart_form(&self) -> bool {
        matches!(self, Self::Media { name, .. } if name == MULTIPART_FORM)
    }

    /// Whether it names a character set that is not part of UTF-8, the only one that JSON has (RFC 8259, 8.1).
    pub fn has_other_charset(&self) -> bool {
        matches!(self, Self::Media { charset: Some(charset), .. } if !matches!(charset.as_str(), "utf-8" | "us-ascii"))
    }
}

/// A content type that a rule takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRange {
    /// `None`: `*`.
    kind: Option<String>,
    subtype: Subtype,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subtype {
    Any,
    Suffix(String),
    Exact(String),
}

impl MediaRange {
    /// Reads `application/json`, `image/*`, `application/*+json` or `*/*+json`.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (kind, subtype) = lower.split_once('/')?;
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| is_token(byte) && byte != b'*');
        let subtype = match subtype.strip_prefix('*') {
            Some("") => Subtype::Any,
            Some(suffix) if suffix.starts_with('+') && suffix.len() > 1 && plain(suffix) => {
                Subtype::Suffix(suffix.to_owned())
            }
            None if plain(subtype) => Subtype::Exact(subtype.to_owned()),
            _ => return None,
        };
        match kind {
            // `*/*` would take everything, which is what nothing written takes.
            "*" if matches!(subtype, Subtype::Suffix(_)) => Some(Self { kind: None, subtype }),
            kind if plain(kind) => Some(Self { kind: Some(kind.to_owned()), subtype }),
            _ => None,
        }
    }

    /// Whether it takes a type.
    pub fn takes(&self, name: &str) -> bool {
        let Some((kind, subtype)) = name.split_once('/') else { return false };
        self.kind.as_ref().is_none_or(|known| known == kind)
            && match &self.subtype {
                Subtype::Any => true,
                Subtype::Suffix(suffix) => subtype.len() > suffix.len() && subtype.ends_with(suffix.as_str()),
                Subtype::Exact(exact) => exact == subtype,
            }
    }

    /// Whether all that it takes is forms.
    pub fn is_form(&self) -> bool {
        [FORM, MULTIPART_FORM].iter().any(|name| matches!(&self.subtype, Subtype::Exact(_)) && self.takes(name))
    }

    /// Whether all that it takes is JSON.
    pub fn is_json(&self) -> bool {
        match &self.subtype {
            Subtype::Any => false,
            Subtype::Suffix(suffix) => suffix == "+json",
            Subtype::Exact(exact) => self.kind.as_ref().is_some_and(|kind| is_json(&format!("{kind}/{exact}"))),
        }
    }
}

/// Whether bodies of a type are JSON documents (RFC 6839, 3.1).
fn is_json(name: &str) -> bool {
    matches!(name, "application/json" | "text/json") || name.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn of(lines: &[&str]) -> ContentType {
        let mut pairs: Vec<(&str, &[u8])> =
            vec![(":method", b"POST"), (":path", b"/"), (":authority", b"a"), (":scheme", b"http")];
        pairs.extend(lines.iter().map(|line| ("content-type", line.as_bytes())));
        ContentType::of(&RequestHead::parse(Headers::from_pairs(&pairs).unwrap()).unwrap())
    }

    #[test]
    fn json_is_what_is_declared_as_such() {
        for line in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json", "text/json;x=y"]
        {
            assert!(of(&[line]).is_json(), "{line}");
        }
        for line in
            ["text/plain", "application/jsonp", "application/json-seq", "application/x-ndjson", "multipart/json"]
        {
            assert!(!of(&[line]).is_json(), "{line}");
        }
        for line in [
            "json",
            "application/json, text/plain",
            "application/",
            "",
            "a/b/c",
            "application/json;charset=utf-8;charset=utf-7",
            "application/json; charset*=utf-8",
            "application/json; charset*0=utf-8",
            "application/json; xcharset=utf-7",
            "application/json; x=charset=utf-7",
            "application/json; charset",
        ] {
            assert_eq!(of(&[line]), ContentType::Unreadable, "{line}");
        }
        assert_eq!(of(&[]), ContentType::Missing);
    }

    #[test]
    fn other_character_sets_are_seen() {
        for (line, other) in [
            ("a/b", false),
            ("a/b; charset=\"UTF-8\"", false),
            ("a/b;charset=utf-16", true),
            ("a/b; Charset = utf-7", true),
            ("a/b; charset =utf-7", true),
            ("a/b; charset =utf-8", false),
            ("a/b; charset=", true),
            ("a/b; charset='utf-8'", true),
        ] {
            assert_eq!(of(&[line]).has_other_charset(), other, "{line}");
        }
    }

    #[test]
    fn ranges_take_what_they_say() {
        for (range, name, takes) in [
            ("application/json", "application/json", true),
            ("application/json", "application/jsonx", false),
            ("image/*", "image/png", true),
            ("image/*", "imagex/png", false),
            ("*/*+json", "application/problem+json", true),
            ("application/*+json", "text/a+json", false),
            ("*/*+json", "application/+json", false),
        ] {
            assert_eq!(MediaRange::parse(range).unwrap().takes(name), takes, "{range} {name}");
        }
        for range in ["*", "*/*", "json", "a/", "/b", "a/*x", "a/b c", "*/json", "a/*+", "a/b;c=d"] {
            assert_eq!(MediaRange::parse(range), None, "{range}");
        }
    }
}
