//! Documents that the gateway itself serves: its key set, the metadata of a resource.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::http::Method;

/// A public document, made ready when the configuration is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDocument {
    content_type: &'static str,
    cache_control: String,
    etag: String,
    body: Rc<str>,
}

/// The answer to a request for a [`LocalDocument`], ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAnswer {
    /// HTTP status: 200, 204, 304 or 405.
    pub status: u16,
    /// Header lines.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The document; empty but for 200. To HEAD the proxy sends its length alone (RFC 9110, 9.3.2).
    pub body: Rc<str>,
    /// `%RESPONSE_CODE_DETAILS%` of Envoy's access log.
    pub details: &'static str,
}

impl LocalDocument {
    /// A document that clients may keep for `max_age`, in whole seconds.
    pub fn new(content_type: &'static str, body: String, max_age: Duration) -> Self {
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(&body)));
        let cache_control = format!("public, max-age={}", max_age.as_secs());
        Self { content_type, cache_control, etag, body: body.into() }
    }

    /// The document's text.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The strong entity tag: a hash of the text, so that all workers and all gateways give the same one.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// Answers GET and HEAD; a client whose copy is still good (`if_none_match`, RFC 9110, 13.1.2) is told so, and
    /// any other method is refused with `Allow`.
    pub fn answer(&self, method: &Method, if_none_match: Option<&[u8]>) -> LocalAnswer {
        if !matches!(method, Method::Get | Method::Head) {
            return LocalAnswer {
                status: 405,
                headers: vec![
                    ("allow".into(), "GET, HEAD".to_owned()),
                    ("cache-control".into(), "no-store".to_owned()),
                ],
                body: "".into(),
                details: "portcullis_document_method",
            };
        }
        let mut headers =
            vec![("cache-control".into(), self.cache_control.clone()), ("etag".into(), self.etag.clone())];
        if if_none_match.is_some_and(|tags| names(tags, &self.etag)) {
            return LocalAnswer { status: 304, headers, body: "".into(), details: "portcullis_document" };
        }
        headers.push(("content-type".into(), self.content_type.to_owned()));
        headers.push(("x-content-type-options".into(), "nosniff".to_owned()));
        LocalAnswer { status: 200, headers, body: Rc::clone(&self.body), details: "portcullis_document" }
    }
}

/// Whether `tags` is `*` or holds `etag`; weak and strong tags compare alike here. Our tag has no comma in it.
fn names(tags: &[u8], etag: &str) -> bool {
    tags.trim_ascii() == b"*"
        || tags.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|tag| {
            let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
            tag == etag.as_bytes()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> LocalDocument {
        LocalDocument::new("application/json", "{}".to_owned(), Duration::from_millis(3_600_500))
    }

    fn header<'a>(answer: &'a LocalAnswer, name: &str) -> Option<&'a str> {
        answer.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn get_and_head_are_answered_with_the_document() {
        for method in [Method::Get, Method::Head] {
            let answer = document().answer(&method, None);
            assert_eq!((answer.status, &*answer.body), (200, "{}"));
            assert_eq!(header(&answer, "content-type"), Some("application/json"));
            assert_eq!(header(&answer, "cache-control"), Some("public, max-age=3600"));
            assert_eq!(header(&answer, "etag"), Some(document().etag()));
        }
    }

    #[test]
    fn every_other_method_is_refused_and_told_which_are_not() {
        let other = Method::Other("PROPFIND".into());
        for method in [Method::Post, Method::Put, Method::Delete, Method::Options, Method::Patch, Method::Trace, other]
        {
            let answer = document().answer(&method, Some(b"*"));
            assert_eq!((answer.status, header(&answer, "allow"), &*answer.body), (405, Some("GET, HEAD"), ""));
            assert_eq!(header(&answer, "etag"), None);
        }
    }

    #[test]
    fn a_copy_that_is_still_good_is_not_sent_again() {
        let etag = document().etag().to_owned();
        for tags in [etag.clone(), format!("W/{etag}"), format!("\"a\", {etag} ,\"b\""), "*".into(), " * ".into()] {
            let answer = document().answer(&Method::Get, Some(tags.as_bytes()));
            assert_eq!((answer.status, &*answer.body), (304, ""), "{tags}");
            assert_eq!(header(&answer, "etag"), Some(etag.as_str()));
        }
    }

    #[test]
    fn another_tag_gets_the_document() {
        let etag = document().etag().to_owned();
        let bare = etag.trim_matches('"').to_owned();
        for tags in [String::new(), bare, "\"\"".into(), format!("w/{etag}"), format!("{etag}x"), "**".into()] {
            assert_eq!(document().answer(&Method::Get, Some(tags.as_bytes())).status, 200, "{tags}");
        }
        assert_eq!(document().answer(&Method::Get, Some(b"\xff,\"")).status, 200);
    }

    #[test]
    fn another_text_has_another_tag() {
        let other = LocalDocument::new("application/json", "{ }".to_owned(), Duration::ZERO);
        assert_ne!(other.etag(), document().etag());
    }
}
