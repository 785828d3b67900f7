//! Payload rules on requests: which values a rule has judged, and what an attack is called in the log.
//!
//! The rules themselves are in the package `portcullis-payload`.

mod encoding;

use std::borrow::Cow;

use portcullis_payload::arguments::{self, Request};
use portcullis_payload::{Finding, Scanner, Scratch, Settings, Verdict};

use crate::config::schema::{Mode, OnOver};
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
}

/// Two of the same place in the configuration are the same.
impl PartialEq for PayloadRules {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl PayloadRules {
    /// Whether the body of such a request is judged: streams that never end are not.
    ///
    /// An upgrade is a GET without a body (RFC 6455, 4.1). Any other request with an `upgrade` header is one that proxy and
    /// service may answer as if the header were not there, body and all.
    pub fn judges_body_of(&self, head: &RequestHead) -> bool {
        let has = |name: &str| head.headers().get_all(name).next().is_some();
        let is_upgrade =
            head.method().as_str() == "GET" && has("upgrade") && !has("content-length") && !has("transfer-encoding");
        // gRPC-Web ends, as other requests do.
        let is_grpc = |kind: &[u8]| {
            let kind = kind.trim_ascii_start();
            kind.get(..16).is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
                && kind.get(16).is_none_or(|next| matches!(next, b'+' | b';' | b' ' | b'\t'))
        };
        head.method().as_str() != "CONNECT"
            && !is_upgrade
            && !head.headers().get_all("content-type").next().is_some_and(is_grpc)
    }
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

    /// Judges path, query, headers and cookies.
    pub fn judge_head(&mut self, rules: &PayloadRules, head: &RequestHead) -> Option<Attack> {
        self.judge(rules, head, &[], arguments::inspect_head)
    }

    /// Judges a body that is decoded already.
    pub fn judge_body(&mut self, rules: &PayloadRules, head: &RequestHead, body: &[u8]) -> Option<Attack> {
        self.judge(rules, head, body, arguments::inspect_body)
    }

    fn judge(
        &mut self,
        rules: &PayloadRules,
        head: &RequestHead,
        body: &[u8],
        inspect: impl FnOnce(&Request<'_>, &mut portcullis_payload::Inspection<'_>),
    ) -> Option<Attack> {
        // The pseudo-headers are the method and the target.
        let headers = head.headers().iter().filter(|(name, _)| !name.starts_with(b":"));
        let headers: Vec<(&[u8], &[u8])> = headers.collect();
        let request =
            Request { method: head.method().as_str().as_bytes(), target: head.target(), headers: &headers, body };
        let mut inspection = self.scanner.begin(&rules.settings, &mut self.scratch);
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
    pub found_by: Vec<&'static str>,
}

impl Attack {
    fn new(verdict: &Verdict, threshold: u16) -> Option<Self> {
        let (family, score) = verdict.worst()?;
        let mut findings = verdict.findings().iter().filter(|finding| finding.rule.family() == family);
        let heaviest = findings.clone().max_by_key(|finding| finding.weight)?;
        let mut found_by: Vec<&'static str> = Vec::new();
        for name in findings.by_ref().map(|finding| finding.rule.as_str()) {
            if !found_by.contains(&name) {
                found_by.push(name);
            }
        }
        let Finding { rule, place, name, excerpt, .. } = heaviest;
        let name = printable(name);
        let detail = format!(
            "{} in {} {name:?}: {:?} ({score} of {threshold} points of {family}); if this is no attack: \
             payload: {{except: [{{parameter: {name:?}, families: [{family}]}}]}}",
            rule.as_str(),
            place.as_str(),
            redacted(excerpt),
            family = family.as_str(),
        );
        Some(Self { detail, found_by })
    }
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
