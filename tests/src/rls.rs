//! Envoy's rate limit service protocol from the service's side: reads `RateLimitRequest`, writes `RateLimitResponse`.
//!
//! Written anew here, after `envoy/service/ratelimit/v3/rls.proto`: what the engine writes is read by other code, and the
//! other way round.

use bytes::Bytes;

use crate::protobuf::{Value, fields};
use crate::server::Answer;

/// The path of the one method.
pub const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// A question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The service's name for the limits.
    pub domain: String,
    /// The descriptors.
    pub descriptors: Vec<Descriptor>,
    /// The cost; zero stands for one.
    pub hits: u64,
}

/// A descriptor: key and value pairs, and the rate that it asks for: requests, and the number of the unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Key and value.
    pub entries: Vec<(String, String)>,
    /// The rate that is asked for.
    pub rate: Option<(u64, u64)>,
}

impl Descriptor {
    /// The value under `key`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// `key=value key=value`.
    pub fn text(&self) -> String {
        self.entries.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// 1: ok, 2: over the limit, 0: unknown.
    pub code: u8,
    /// For each descriptor: code, requests per minute, what remains, seconds until there is more.
    pub statuses: Vec<(u8, u8, u8, u8)>,
    /// Headers for the response.
    pub headers: Vec<(String, String)>,
}

impl Question {
    /// Reads the body of a request: one gRPC message.
    pub fn read(body: &[u8]) -> Option<Self> {
        let length = u32::from_be_bytes(body.get(1..5)?.try_into().ok()?);
        let message = body.get(5..)?;
        if body.first() != Some(&0) || usize::try_from(length).ok()? != message.len() {
            return None;
        }
        let mut question = Self::default();
        for (number, value) in fields(message)? {
            match (number, value) {
                (1, Value::Bytes(text)) => question.domain = String::from_utf8(text).ok()?,
                (2, Value::Bytes(bytes)) => question.descriptors.push(descriptor(&bytes)?),
                (3, Value::Number(hits)) => question.hits = hits,
                _ => return None,
            }
        }
        Some(question)
    }
}

fn descriptor(bytes: &[u8]) -> Option<Descriptor> {
    let mut descriptor = Descriptor::default();
    for (number, value) in fields(bytes)? {
        let Value::Bytes(bytes) = value else { return None };
        let members = fields(&bytes)?;
        match (number, members.as_slice()) {
            (1, [(1, Value::Bytes(key)), (2, Value::Bytes(value))]) => {
                descriptor.entries.push((String::from_utf8(key.clone()).ok()?, String::from_utf8(value.clone()).ok()?));
            }
            (2, [(1, Value::Number(requests)), (2, Value::Number(unit))]) => descriptor.rate = Some((*requests, *unit)),
            _ => return None,
        }
    }
    Some(descriptor)
}

impl Reply {
    /// The answer over HTTP/2.
    pub fn to_answer(&self) -> Answer {
        Answer {
            headers: vec![("content-type".to_owned(), "application/grpc".to_owned())],
            trailers: vec![("grpc-status".to_owned(), "0".to_owned())],
            body: self.body(),
            ..Answer::status(200)
        }
    }

    /// The body: one gRPC message.
    pub fn body(&self) -> Bytes {
        let mut message = Vec::new();
        if self.code != 0 {
            message.extend([0x08, self.code]);
        }
        for (code, requests, remaining, reset) in &self.statuses {
            let status = [0x08, *code, 0x12, 4, 0x08, *requests, 0x10, 2, 0x18, *remaining, 0x22, 2, 0x08, *reset];
            message.extend([0x12, 14]);
            message.extend(status);
        }
        for (name, value) in &self.headers {
            let mut header = Vec::new();
            for (tag, text) in [(0x0a, name), (0x12, value)] {
                header.extend([tag, u8::try_from(text.len()).unwrap_or(0)]);
                header.extend_from_slice(text.as_bytes());
            }
            message.extend([0x1a, u8::try_from(header.len()).unwrap_or(0)]);
            message.extend(header);
        }
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
        body.extend(message);
        body.into()
    }
}
