//! Payload rules on requests: which values a rule has judged, and what an attack is called in the log.
//!
//! The rules themselves are in the package `portcullis-payload`.

mod attack;
mod encoding;
pub mod grpc;

use portcullis_payload::arguments::{self, Known, Request};
use portcullis_payload::{Limit, Scanner, Scratch, Settings};

use crate::config::schema::{GrpcBody, Mode, OnOver};
use crate::http::{Headers, RequestHead};

pub use attack::{Attack, Signature, excess};
pub use encoding::{EncodingError, Extent, decoded};

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
    pub fn judge_head(&mut self, rules: &PayloadRules, head: &RequestHead, known: Known<'_>) -> Judged {
        self.judge(rules, head, &[], known, arguments::inspect_head)
    }

    /// Judges a body that is decoded already, but what is known of it.
    pub fn judge_body(&mut self, rules: &PayloadRules, head: &RequestHead, body: &[u8], known: Known<'_>) -> Judged {
        self.judge(rules, head, body, known, arguments::inspect_body)
    }

    /// Judges what a body ended in.
    pub fn judge_trailers(&mut self, rules: &PayloadRules, head: &RequestHead, trailers: &Headers) -> Judged {
        let trailers: Vec<(&[u8], &[u8])> = trailers.iter().collect();
        self.judge(rules, head, &[], Known::default(), |request, inspection| {
            arguments::inspect_trailers(request, &trailers, inspection);
        })
    }

    /// Judges a body as it came, by its content coding: what a service would find in it that does not know codings.
    pub fn judge_coded(&mut self, rules: &PayloadRules, head: &RequestHead, body: &[u8]) -> Judged {
        self.judge(rules, head, body, Known::default(), arguments::inspect_coded)
    }

    fn judge(
        &mut self,
        rules: &PayloadRules,
        head: &RequestHead,
        body: &[u8],
        known: Known<'_>,
        inspect: impl FnOnce(&Request<'_>, &mut portcullis_payload::Inspection<'_>),
    ) -> Judged {
        // The other pseudo-headers are the method and the target.
        let headers = head.headers().iter().filter(|(name, _)| !name.starts_with(b":") || *name == b":authority");
        let headers: Vec<(&[u8], &[u8])> = headers.collect();
        let request =
            Request { method: head.method().as_str().as_bytes(), target: head.target(), headers: &headers, body };
        let mut inspection = self.scanner.begin(&rules.settings, &mut self.scratch);
        inspection.skip(known);
        inspect(&request, &mut inspection);
        let attack = inspection.is_attack().then(|| Attack::new(inspection.verdict(), rules.settings.threshold));
        Judged { attack, limit: inspection.verdict().limit() }
    }
}

/// What payload rules say of a head or a body.
#[derive(Debug, Default)]
pub struct Judged {
    /// The attack that was found.
    pub attack: Option<Attack>,
    /// Why not all of it was looked at.
    pub limit: Option<Limit>,
}
