//! The demo identity provider: endpoints that publish, count, stall, fail and lie as a test tells them to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use serde_json::Value;

use crate::pki::Pki;
use crate::server::{Answer, Request, Server, Stall};
use crate::tls;

/// The path of the key set.
pub const JWKS_PATH: &str = "/jwks.json";

/// A running identity provider. What it has no [`Endpoint`] for is answered with 404.
#[derive(Debug)]
pub struct Idp {
    shared: Arc<Shared>,
    server: Server,
}

type Endpoints = BTreeMap<String, Arc<Endpoint>>;

#[derive(Debug, Default)]
struct Shared {
    endpoints: Mutex<Endpoints>,
}

/// What one path answers, changed while it runs.
#[derive(Debug)]
pub struct Endpoint {
    state: Mutex<State>,
}

struct State {
    answer: Answer,
    /// Answers in place of `answer`, whose delay and stall still hold.
    handler: Option<Arc<Handler>>,
    requests: Vec<Request>,
}

/// What an endpoint makes of a request.
type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("answer", &self.answer).field("requests", &self.requests).finish_non_exhaustive()
    }
}

impl Idp {
    /// A provider behind TLS (no client certificate asked), with `jwks` at [`JWKS_PATH`].
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(port: u16, pki: &Pki, jwks: &Value) -> Result<Self> {
        Self::launch(port, Some(tls::server(pki, "idp")?), jwks)
    }

    /// A provider in the clear, at any free port.
    ///
    /// # Errors
    /// No port is free.
    pub fn plain(jwks: &Value) -> Result<Self> {
        Self::launch(0, None, jwks)
    }

    /// The same at a given port: one that was stopped and is back, for instance.
    ///
    /// # Errors
    /// The port is taken.
    pub fn plain_at(port: u16, jwks: &Value) -> Result<Self> {
        Self::launch(port, None, jwks)
    }

    fn launch(port: u16, tls: Option<Arc<rustls::ServerConfig>>, jwks: &Value) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let handler = Arc::clone(&shared);
        let server = Server::start(port, tls, move |request| handler.answer(request))?;
        let idp = Self { shared, server };
        idp.jwks().set_json(jwks);
        Ok(idp)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The key set's endpoint.
    pub fn jwks(&self) -> Arc<Endpoint> {
        self.endpoint(JWKS_PATH)
    }

    /// The endpoint at `path`; made where there is none yet, with an empty 200 as its answer.
    pub fn endpoint(&self, path: &str) -> Arc<Endpoint> {
        Arc::clone(self.shared.endpoints().entry(path.to_owned()).or_insert_with(|| Arc::new(Endpoint::new())))
    }

    /// Closes the port and all connections.
    pub fn stop(self) {
        drop(self);
    }
}

impl Endpoint {
    fn new() -> Self {
        Self { state: Mutex::new(State { answer: Answer::status(200), handler: None, requests: Vec::new() }) }
    }

    /// Answers 200 with `document`; headers, delay and stall are back at none.
    pub fn set_json(&self, document: &Value) {
        self.set_answer(Answer::json(200, document));
    }

    /// Answers whatever `answer` says from now on.
    pub fn set_answer(&self, answer: Answer) {
        let mut state = self.state();
        state.handler = None;
        state.answer = answer;
    }

    /// Answers each request with what `handler` makes of it from now on; headers, delay and stall are back at none.
    pub fn handle(&self, handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) {
        let mut state = self.state();
        state.handler = Some(Arc::new(handler));
        state.answer = Answer::status(200);
    }

    /// Changes the status and leaves the rest.
    pub fn set_status(&self, status: u16) {
        self.state().answer.status = status;
    }

    /// Changes the body and leaves the rest: broken JSON, for one.
    pub fn set_body(&self, body: impl Into<Bytes>) {
        self.state().answer.body = body.into();
    }

    /// Sets a header, such as `cache-control`, in place of one of that name.
    pub fn set_header(&self, name: &str, value: &str) {
        let headers = &mut self.state().answer.headers;
        headers.retain(|(n, _)| n != name);
        headers.push((name.to_owned(), value.to_owned()));
    }

    /// Every later answer waits this long.
    pub fn set_delay(&self, delay: Duration) {
        self.state().answer.delay = delay;
    }

    /// Every later answer hangs there.
    pub fn set_stall(&self, stall: Stall) {
        self.state().answer.stall = stall;
    }

    /// How many requests arrived since the start or since [`Endpoint::forget`].
    pub fn hits(&self) -> usize {
        self.state().requests.len()
    }

    /// The requests that arrived since the start or since [`Endpoint::forget`], in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Forgets the requests that were seen.
    pub fn forget(&self) {
        self.state().requests.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: Request) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        let Some(endpoint) = self.endpoints().get(path).cloned() else { return Answer::status(404) };
        let mut state = endpoint.state();
        let mut answer = state.answer.clone();
        if let Some(handler) = &state.handler {
            let said = handler(&request);
            answer = Answer { delay: answer.delay, stall: answer.stall, ..said };
        }
        state.requests.push(request);
        answer
    }
}
