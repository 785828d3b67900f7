//! Where in a request a value stands, as a rule names it.

use crate::verdict::Place;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Kind {
    Method,
    /// The path with its percent signs decoded.
    Path,
    /// Path and query as they were sent.
    Uri,
    /// The query as it was sent.
    QueryString,
    Query,
    QueryName,
    Form,
    Json,
    Multipart,
    BodyName,
    Xml,
    XmlAttribute,
    Text,
    FileName,
    Header,
    HeaderName,
    Cookie,
    CookieName,
    /// The body as it was sent, decompressed.
    RawBody,
}

impl Kind {
    pub(crate) const fn bit(self) -> u32 {
        1 << (self as u8)
    }

    /// The kinds that are in a body.
    pub(crate) const OF_BODY: u32 = Self::Form.bit()
        | Self::Json.bit()
        | Self::Multipart.bit()
        | Self::BodyName.bit()
        | Self::Xml.bit()
        | Self::XmlAttribute.bit()
        | Self::Text.bit()
        | Self::FileName.bit()
        | Self::RawBody.bit();

    /// The place that findings name.
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Method | Self::Header => Place::Header,
            Self::Path | Self::Uri => Place::Path,
            Self::QueryString | Self::Query => Place::Query,
            Self::QueryName | Self::BodyName | Self::HeaderName | Self::CookieName => Place::Name,
            Self::Form => Place::Form,
            Self::Json => Place::Json,
            Self::Multipart => Place::Multipart,
            Self::Xml | Self::XmlAttribute => Place::Xml,
            Self::Text | Self::RawBody => Place::Text,
            Self::FileName => Place::Upload,
            Self::Cookie => Place::Cookie,
        }
    }
}

/// A word of a configuration, and the kinds it stands for.
const WORDS: &[(&str, u32)] = &[
    ("args", Kind::Query.bit() | BODY),
    ("arg_names", Kind::QueryName.bit() | Kind::BodyName.bit()),
    ("query", Kind::Query.bit()),
    ("query_names", Kind::QueryName.bit()),
    ("query_string", Kind::QueryString.bit()),
    ("body", BODY),
    ("body_names", Kind::BodyName.bit()),
    ("form", Kind::Form.bit()),
    ("json", Kind::Json.bit()),
    ("multipart", Kind::Multipart.bit()),
    ("xml", Kind::Xml.bit()),
    ("xml_attributes", Kind::XmlAttribute.bit()),
    ("text", Kind::Text.bit()),
    ("file_names", Kind::FileName.bit()),
    ("raw_body", Kind::RawBody.bit()),
    ("headers", Kind::Header.bit()),
    ("header_names", Kind::HeaderName.bit()),
    ("cookies", Kind::Cookie.bit()),
    ("cookie_names", Kind::CookieName.bit()),
    ("path", Kind::Path.bit()),
    ("uri", Kind::Uri.bit()),
    ("method", Kind::Method.bit()),
    ("user_agent", Kind::Header.bit()),
];
const BODY: u32 = Kind::Form.bit() | Kind::Json.bit() | Kind::Multipart.bit();

/// Words that a name can follow, and the word for all.
const NAMED: &[(&str, &str)] = &[
    ("arg", "args"),
    ("query", "query"),
    ("body", "body"),
    ("form", "form"),
    ("json", "json"),
    ("multipart", "multipart"),
    ("header", "headers"),
    ("cookie", "cookies"),
];

/// Values of some kinds; of all names, or of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    kinds: u32,
    name: Option<Name>,
}

/// A name in small letters, or what it begins with, ends with or contains.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    text: Vec<u8>,
    open_start: bool,
    open_end: bool,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let (text, open_start) = text.strip_prefix('*').map_or((text, false), |text| (text, true));
        let (text, open_end) = text.strip_suffix('*').map_or((text, false), |text| (text, true));
        (!text.is_empty()).then(|| Self { text: text.to_ascii_lowercase().into_bytes(), open_start, open_end })
    }

    fn takes(&self, name: &[u8]) -> bool {
        let text = &self.text;
        let same = |part: Option<&[u8]>| part.is_some_and(|part| part.eq_ignore_ascii_case(text));
        match (self.open_start, self.open_end) {
            (false, false) => name.eq_ignore_ascii_case(text),
            (false, true) => same(name.get(..text.len())),
            (true, false) => same(name.len().checked_sub(text.len()).and_then(|start| name.get(start..))),
            (true, true) => name.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text)),
        }
    }
}

impl Target {
    /// Reads `query`, `header:x-name` and the like; `None` if it is no target.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kinds_of = |word: &str| WORDS.iter().find(|(known, _)| *known == word).map(|&(_, kinds)| kinds);
        match text.split_once(':') {
            _ if text == "user_agent" => Some(Self { kinds: kinds_of(text)?, name: Name::parse("user-agent") }),
            None => Some(Self { kinds: kinds_of(text)?, name: None }),
            Some((word, name)) => {
                let (_, all) = NAMED.iter().find(|(known, _)| *known == word)?;
                Some(Self { kinds: kinds_of(all)?, name: Some(Name::parse(name)?) })
            }
        }
    }

    /// What can be written, for hints.
    pub fn words() -> impl Iterator<Item = String> {
        let all = WORDS.iter().map(|(word, _)| (*word).to_owned());
        all.chain(NAMED.iter().map(|(word, _)| format!("{word}:NAME")))
    }

    pub(crate) fn kinds(&self) -> u32 {
        self.kinds
    }

    /// Whether a value is meant. Names of headers have no case (RFC 9110, 5.1); other names are read so by enough services.
    pub(crate) fn takes(&self, kind: Kind, name: &[u8]) -> bool {
        self.kinds & kind.bit() != 0 && self.name.as_ref().is_none_or(|known| known.takes(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_leaves_an_end_of_a_name_open() {
        let takes = |target: &str, name: &str| Target::parse(target).unwrap().takes(Kind::Query, name.as_bytes());
        assert!(takes("query:a", "A") && !takes("query:a", "ab") && takes("arg:a", "a") && !takes("form:a", "a"));
        assert!(
            takes("query:a*", "ab") && !takes("query:a*", "ba") && takes("query:*a", "ba") && !takes("query:*a", "ab")
        );
        assert!(takes("query:*b*", "abc") && takes("query:*b*", "b") && !takes("query:*b*", "ac"));
        for wrong in ["query:", "query:*", "path:a", "quer", ""] {
            assert_eq!(Target::parse(wrong), None, "{wrong}");
        }
    }
}
