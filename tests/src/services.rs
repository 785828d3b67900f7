//! The demo services behind the gateway. Each answers with what reached it, so that a test sees what went upstream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::pki::Pki;
use crate::server::{Answer, Request, Server};
use crate::tls;

/// How much of a request's body the echo shows, bytes.
const SHOWN_BODY_BYTES: usize = 64 << 10;

/// A service that can be slowed, stopped and asked what it saw.
///
/// Its answer is `{service, version, method, path, headers: [[name, value], ...], body_bytes, body}`.
#[derive(Debug)]
pub struct Service {
    name: String,
    shared: Arc<Shared>,
    server: Server,
}

#[derive(Debug)]
struct Shared {
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    delay: Duration,
    answer: Option<Answer>,
    requests: Vec<Request>,
}

impl Service {
    /// A service that completes no TLS handshake without the gateway's client certificate.
    ///
    /// # Errors
    /// The port is taken, or `pki` has no certificate for `name`.
    pub fn start(name: &str, port: u16, pki: &Pki) -> Result<Self> {
        Self::launch(name, port, Some(tls::server_for_gateway_only(pki, name)?))
    }

    /// A service in the clear, at any free port.
    ///
    /// # Errors
    /// No port is free.
    pub fn plain(name: &str) -> Result<Self> {
        Self::launch(name, 0, None)
    }

    fn launch(name: &str, port: u16, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self> {
        let shared = Arc::new(Shared { name: name.to_owned(), state: Mutex::default() });
        let handler = Arc::clone(&shared);
        let server = Server::start(port, tls, move |request| handler.answer(request))?;
        Ok(Self { name: name.to_owned(), shared, server })
    }

    /// The name that its answers carry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Every later answer waits this long.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.state().delay = delay;
    }

    /// Every later request gets `answer` instead of the echo.
    pub fn set_answer(&self, answer: Answer) {
        self.shared.state().answer = Some(answer);
    }

    /// The requests that arrived since the start or since [`Service::forget`], in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// How many requests arrived since the start or since [`Service::forget`].
    pub fn hits(&self) -> usize {
        self.shared.state().requests.len()
    }

    /// Forgets the requests that were seen.
    pub fn forget(&self) {
        self.shared.state().requests.clear();
    }

    /// Closes the port and all connections.
    pub fn stop(self) {
        drop(self);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: Request) -> Answer {
        let mut answer = self.state().answer.clone().unwrap_or_else(|| echo(&self.name, &request));
        let mut state = self.state();
        answer.delay = answer.delay.max(state.delay);
        state.requests.push(request);
        answer
    }
}

fn echo(service: &str, request: &Request) -> Answer {
    let shown = request.body.get(..request.body.len().min(SHOWN_BODY_BYTES)).unwrap_or_default();
    let body = json!({
        "service": service,
        "version": request.version,
        "method": request.method,
        "path": request.path,
        "headers": request.headers,
        "body_bytes": request.body.len(),
        "body": String::from_utf8_lossy(shown),
    });
    Answer::json(200, &body)
}
