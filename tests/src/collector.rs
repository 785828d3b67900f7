//! A stand-in for a collector of traces: takes what Envoy exports by OTLP over HTTP, and keeps the spans. It stores and shows nothing, and
//! knows of OpenTelemetry's `ExportTraceServiceRequest` only what tests ask for.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use crate::protobuf::{Value, fields};
use crate::server::{Answer, Request, Server};

/// A span as it was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// The span that it belongs to, of whoever called; empty where the trace begins with it.
    pub parent_id: String,
    /// Its name.
    pub name: String,
    /// The attributes that are texts.
    pub attributes: Vec<(String, String)>,
}

impl Span {
    /// The attribute `key`.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    server: Server,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    spans: Vec<Span>,
    unreadable: usize,
}

impl Collector {
    /// A collector at any free port, in the clear.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> Result<Self> {
        let taken = Arc::new(Mutex::new(Taken::default()));
        let keeper = Arc::clone(&taken);
        let server = Server::start(0, None, move |request| {
            let mut taken = keeper.lock().unwrap_or_else(PoisonError::into_inner);
            match read(&request) {
                Some(spans) => taken.spans.extend(spans),
                None => taken.unreadable += 1,
            }
            Answer::status(200)
        })?;
        Ok(Self { server, taken })
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The spans that have come so far.
    pub fn spans(&self) -> Vec<Span> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// How many requests were no export of traces.
    pub fn unreadable(&self) -> usize {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).unreadable
    }
}

/// The spans of an export, where it is one.
fn read(request: &Request) -> Option<Vec<Span>> {
    let is_export = request.method == "POST"
        && request.path == "/v1/traces"
        && request.header("content-type") == Some("application/x-protobuf");
    let mut spans = Vec::new();
    // ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans.
    for resource in members(request.body.get(..).filter(|_| is_export)?, 1)? {
        for scope in members(&resource, 2)? {
            for span in members(&scope, 2)? {
                spans.push(read_span(&span)?);
            }
        }
    }
    Some(spans)
}

/// The messages in the field `number`.
fn members(message: &[u8], number: u64) -> Option<Vec<Vec<u8>>> {
    let of_number = fields(message)?.into_iter().filter(|(known, _)| *known == number);
    of_number.map(|(_, value)| value.into_bytes()).collect()
}

fn read_span(message: &[u8]) -> Option<Span> {
    let mut span = Span::default();
    for (number, value) in fields(message)? {
        match (number, value) {
            (1, Value::Bytes(id)) => span.trace_id = hex(&id),
            (2, Value::Bytes(id)) => span.span_id = hex(&id),
            (4, Value::Bytes(id)) => span.parent_id = hex(&id),
            (5, Value::Bytes(name)) => span.name = String::from_utf8(name).ok()?,
            (9, Value::Bytes(pair)) => span.attributes.extend(read_attribute(&pair)),
            _ => {}
        }
    }
    Some(span)
}

/// A `KeyValue` whose `AnyValue` is a text.
fn read_attribute(message: &[u8]) -> Option<(String, String)> {
    let key = members(message, 1)?.pop()?;
    let value = members(&members(message, 2)?.pop()?, 1)?.pop()?;
    Some((String::from_utf8(key).ok()?, String::from_utf8(value).ok()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
