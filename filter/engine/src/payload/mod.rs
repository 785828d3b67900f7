//! Payload rules on requests: which values a rule has judged, and what an attack is called in the log.
//!
//! The rules themselves are in the package `portcullis-payload`.

mod encoding;
pub mod grpc;

use std::borrow::Cow;

use portcullis_payload::arguments::{self, Known, Request};
use portcullis_payload::own::Label;
use portcullis_payload::{Finding, FoundBy, Scanner, Scratch, Settings, Verdict};

use crate::config::schema::{GrpcBody, Mode, OnOver};
use crate::http::RequestHead;

pub use encoding::{EncodingError, decoded};

/// What a rule says about payloads.
#[derive(Debug, Clone)]
pub struct PayloadRules {
    /// Whether an attack is refused.
    pub mode: Mode,
    /// What is looked for.
    pub settings: Settings,
    /// The longest body that is read whole, in bytes.
    pub max_body: usize,
    /// What happens to a longer one.
    pub on_over: OnOver,
    /// The most that a compressed body may become, in bytes.
    pub max_inflated: usize,
    /// What of a gRPC call is judged.
    pub grpc: GrpcBody,
}

/// Two of the same place in the configuration are the same.
impl PartialEq for PayloadRules {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl PayloadRules {
    /// Whether the body of such a request is judged: of streams that never end, the first message of gRPC alone.
    pub fn judges_body_of(&self, head: &RequestHead) -> bool {
        has_end(head) || (self.grpc == GrpcBody::FirstMessage && grpc::is_call(head))
    }
}

/// Whether the body of a request ends in time to be read: that of a stream does not.
///
/// An upgrade is a GET without a body (RFC 6455, 4.1). Any other request with an `upgrade` header is one that proxy and
/// service may answer as if the header were not there, body and all: see [`is_upgrade_with_body`].
pub fn has_end(head: &RequestHead) -> bool {
    head.method().as_str() != "CONNECT" && !is_upgrade(head) && !is_upgrade_with_body(head) && !grpc::is_declared(head)
}

fn is_upgrade(head: &RequestHead) -> bool {
    is_plain_get(head) && has(head, "upgrade")
}

/// Whether the proxy takes the connection out of HTTP for a request that is no upgrade: there is no end of its body to wait for,
/// and nobody says what of it the service reads as a request.
pub fn is_upgrade_with_body(head: &RequestHead) -> bool {
    let names_upgrade =
        |value: &[u8]| value.split(|b| *b == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    has(head, "upgrade") && head.headers().get_all("connection").any(names_upgrade) && !is_plain_get(head)
}

fn is_plain_get(head: &RequestHead) -> bool {
    head.method().as_str() == "GET" && !has(head, "content-length") && !has(head, "transfer-encoding")
}

fn has(head: &RequestHead, name: &str) -> bool {
    head.headers().get_all(name).next().is_some()
}

/// The scanner of one worker, with the buffers that it keeps from request to request.
pub struct Inspector {
    scanner: Scanner,
    scratch: Scratch,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}

impl Inspector {
    /// Loads the scanner; `None` if what is embedded in this module is damaged.
    pub fn new() -> Option<Self> {
        Some(Self { scanner: Scanner::new()?, scratch: Scratch::default() })
    }

    /// Judges path, query, headers and cookies, but those that are known.
    pub fn judge_head(&mut self, rules: &PayloadRules, head: &RequestHead, known: Known<'_>) -> Option<Attack> {
        self.judge(rules, head, &[], known, arguments::inspect_head)
    }

    /// Judges a body that is decoded already, but what is known of it.
    pub fn judge_body(
        &mut self,
        rules: &PayloadRules,
        head: &RequestHead,
        body: &[u8],
        known: Known<'_>,
    ) -> Option<Attack> {
        self.judge(rules, head, body, known, arguments::inspect_body)
    }

    fn judge(
        &mut self,
        rules: &PayloadRules,
        head: &RequestHead,
        body: &[u8],
        known: Known<'_>,
        inspect: impl FnOnce(&Request<'_>, &mut portcullis_payload::Inspection<'_>),
    ) -> Option<Attack> {
        // The other pseudo-headers are the method and the target.
        let headers = head.headers().iter().filter(|(name, _)| !name.starts_with(b":") || *name == b":authority");
        let headers: Vec<(&[u8], &[u8])> = headers.collect();
        let request =
            Request { method: head.method().as_str().as_bytes(), target: head.target(), headers: &headers, body };
        let mut inspection = self.scanner.begin(&rules.settings, &mut self.scratch);
        inspection.skip(known);
        inspect(&request, &mut inspection);
        inspection.is_attack().then(|| Attack::new(&inspection.finish(), rules.settings.threshold)).flatten()
    }
}

/// An attack that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attack {
    /// For the log: what was found where, and the exception that would let it pass.
    pub detail: String,
    /// The payload rules that found it, each once.
    pub found_by: Vec<Signature>,
}

/// A payload rule, for its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// A built-in one, by its name.
    BuiltIn(&'static str),
    /// One of the operator, by its place.
    Own(u16),
}

impl Attack {
    fn new(verdict: &Verdict, threshold: u16) -> Option<Self> {
        let (family, score) = verdict.worst()?;
        let mut findings = verdict.findings().iter().filter(|finding| finding.by.family() == family);
        let heaviest = findings.clone().max_by_key(|finding| finding.weight)?;
        let mut found_by: Vec<Signature> = Vec::new();
        for name in findings.by_ref().map(|finding| match &finding.by {
            FoundBy::BuiltIn(rule) => Signature::BuiltIn(rule.as_str()),
            FoundBy::Own(label) => Signature::Own(label.index),
        }) {
            if !found_by.contains(&name) {
                found_by.push(name);
            }
        }
        let Finding { by, place, name, excerpt, .. } = heaviest;
        let name = printable(name);
        let family_word = family.as_str();
        let (about, way_out) = match by {
            FoundBy::BuiltIn(_) => {
                (String::new(), format!("except: [{{parameter: {name:?}, families: [{family_word}]}}]"))
            }
            FoundBy::Own(label) => (described(label), format!("without_rules: [{}]", label.name)),
        };
        let detail = format!(
            "{}{about} in {} {name:?}: {:?} ({score} of {threshold} points of {family_word}); if this is no attack: \
             payload: {{{way_out}}}",
            by.as_str(),
            place.as_str(),
            redacted(excerpt),
        );
        Some(Self { detail, found_by })
    }
}

/// What the operator says about a rule.
fn described(label: &Label) -> String {
    let message = if label.message.is_empty() { String::new() } else { format!(" {:?}", label.message) };
    let tags = if label.tags.is_empty() { String::new() } else { format!(" [{}]", label.tags.join(", ")) };
    format!("{message}{tags}")
}

fn printable(name: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(name)
}

/// What matched, without what a user may have typed into it: signs stay, and of each word its first three letters; digits
/// become `0`.
fn redacted(excerpt: &[u8]) -> String {
    const MOST: usize = 40;
    let text = String::from_utf8_lossy(excerpt);
    let mut shown = String::new();
    let mut letters = 0;
    for character in text.chars().take(64) {
        let is_word = character.is_alphanumeric() || character == '_';
        letters = if is_word { letters + 1 } else { 0 };
        match character {
            _ if letters == 4 => shown.push('…'),
            _ if letters > 4 => {}
            digit if digit.is_numeric() => shown.push('0'),
            control if control.is_control() => shown.push(' '),
            other => shown.push(other),
        }
        if shown.chars().count() >= MOST {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_shows_signs_and_no_words() {
        assert_eq!(redacted(b"1' or name='correct horse 4711'--"), "0' or nam…='cor… hor… 000…'--");
        assert_eq!(redacted(b"<script>\n\x00alert(document.cookie)"), "<scr…>  ale…(doc….coo…)");
        assert!(redacted(&[0xff; 64]).chars().count() <= 40);
    }
}
