//! A service behind a gateway of its own: what gets through to it, and what does not.

use serde_json::Value;

use crate::client::{Call, Client, Response};
use crate::gateway::{Builder, Gateway};
use crate::refusal;
use crate::services::Service;

/// The service `api` and the gateway that protects it.
#[derive(Debug)]
pub struct ProtectedService {
    /// In front of it.
    pub gateway: Gateway,
    /// The service, at `/api`.
    pub service: Service,
}

#[allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
impl ProtectedService {
    /// Starts the service, and what is built as its gateway.
    ///
    /// # Panics
    /// One of both does not start.
    #[track_caller]
    pub fn start(builder: Builder) -> Self {
        let service = Service::plain("api").unwrap();
        let gateway = builder.service(&service).start().unwrap_or_else(|error| panic!("{error:#}"));
        Self { gateway, service }
    }

    /// A connection to the gateway.
    ///
    /// # Panics
    /// It does not listen.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.gateway.port()).unwrap()
    }

    /// Sends it over a connection of its own.
    ///
    /// # Panics
    /// There is no answer.
    #[track_caller]
    pub fn call(&self, call: &Call) -> Response {
        self.connect().call(call).unwrap()
    }

    /// Sends it over a connection of its own, with a body in chunks, and `end` behind them.
    ///
    /// # Panics
    /// There is no answer.
    #[track_caller]
    pub fn call_in_chunks<'a>(&self, call: Call, chunks: impl IntoIterator<Item = &'a [u8]>, end: &[u8]) -> Response {
        self.connect().call_in_chunks(call, chunks, end).unwrap()
    }

    /// The filter's audit event of the request that was answered so.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn audit_of(&self, response: &Response) -> Value {
        self.gateway.audit_of(response.header("x-request-id").unwrap()).unwrap()
    }

    /// How many requests the service has seen.
    pub fn seen(&self) -> usize {
        self.service.hits()
    }

    /// The gateway refuses the call for this reason, and the service never hears of it.
    ///
    /// # Panics
    /// It passes, or is refused otherwise.
    #[track_caller]
    pub fn refuses(&self, call: &Call, status: u16, reason: &str) -> Response {
        let before = self.seen();
        let response = self.call(call);
        refusal::check(&response, status, reason).unwrap_or_else(|error| panic!("{call}: {error}"));
        assert_eq!(self.seen(), before, "{call}: the service saw it");
        response
    }

    /// The gateway refuses the call as an attack, and the service never hears of it.
    ///
    /// # Panics
    /// It passes, or is refused otherwise.
    #[track_caller]
    pub fn refuses_attack(&self, call: &Call) -> Response {
        self.refuses(call, 403, "payload_attack")
    }

    /// The call reaches the service, whose answer it gets.
    ///
    /// # Panics
    /// It is refused.
    #[track_caller]
    pub fn passes(&self, call: &Call) -> Response {
        let before = self.seen();
        let response = self.call(call);
        assert_eq!((response.status, self.seen()), (200, before + 1), "{call}: {}", response.text());
        response
    }
}
