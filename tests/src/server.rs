//! A small HTTP/1.1 and HTTP/2 server on loopback, under the demo services and the demo identity provider.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// The largest request body that is read, bytes; a longer one is answered with 413.
const MAX_BODY_BYTES: usize = 64 << 20;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The method.
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    /// Names in lower case, in order of arrival per name. A value's bytes are shown as Latin-1: nothing is lost.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// The first value of header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All values of header `name` (lower case).
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// Where an answer stops for good, to play a server that hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stall {
    /// Nowhere.
    #[default]
    Never,
    /// Before the head: the client waits for the first byte.
    BeforeHead,
    /// In the middle of the body.
    InBody,
}

/// What a server answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Names and values of trailers, which HTTP/2 alone carries here.
    pub trailers: Vec<(String, String)>,
    /// The wait before the head is sent.
    pub delay: Duration,
    /// Where the answer hangs.
    pub stall: Stall,
}

impl Answer {
    /// A JSON document.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Bytes::from(body.to_string()),
            trailers: Vec::new(),
            delay: Duration::ZERO,
            stall: Stall::Never,
        }
    }

    /// An empty body.
    pub fn status(status: u16) -> Self {
        let (headers, trailers) = (Vec::new(), Vec::new());
        Self { status, headers, body: Bytes::new(), trailers, delay: Duration::ZERO, stall: Stall::Never }
    }
}

type Handler = dyn Fn(Request) -> Answer + Send + Sync;

/// A running server; dropping it closes the port and every connection at once.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on loopback at `port` (0: any free one), in the clear or with `tls`.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(
        port: u16,
        tls: Option<Arc<ServerConfig>>,
        handler: impl Fn(Request) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = listen(port)?;
        let address = listener.local_addr()?;
        let _inside = runtime()?.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let handler: Arc<Handler> = Arc::new(handler);
        let task = tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), handler));
        Ok(Self { address, task })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // The port is free again once the task has let go of its socket.
        let started = std::time::Instant::now();
        while !self.task.is_finished() && started.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The runtime of all servers of this process.
///
/// # Errors
/// The process may not make threads.
pub fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("demo").enable_all().build()
    });
    RUNTIME.as_ref().map_err(|error| anyhow!("cannot start the servers' runtime: {error}"))
}

/// A listening socket on loopback.
///
/// # Errors
/// The port is taken: the message names it.
pub fn listen(port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("port {port} of 127.0.0.1 cannot be used"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, handler: Arc<Handler>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let (tls, handler) = (tls.clone(), Arc::clone(&handler));
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, handler).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, handler).await;
                            }
                        }
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, handler: Arc<Handler>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&handler)));
    // A client that goes away in the middle is nothing to report.
    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    handler: Arc<Handler>,
) -> Result<hyper::Response<AnswerBody>, Infallible> {
    let (head, body) = request.into_parts();
    let answer = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Err(_) => Answer::status(413),
        Ok(body) => handler(Request {
            version: format!("{:?}", head.version),
            method: head.method.to_string(),
            path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), latin1(value.as_bytes()))).collect(),
            body: body.to_bytes(),
        }),
    };
    tokio::time::sleep(answer.delay).await;
    if answer.stall == Stall::BeforeHead {
        std::future::pending::<()>().await;
    }
    Ok(respond(answer))
}

fn respond(answer: Answer) -> hyper::Response<AnswerBody> {
    let stalls = answer.stall == Stall::InBody;
    // Half of the body, and then nothing more.
    let sent = if stalls { answer.body.slice(..answer.body.len() / 2) } else { answer.body.clone() };
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    if stalls {
        response = response.header("content-length", answer.body.len());
    }
    response
        .body(AnswerBody { data: Some(sent).filter(|data| !data.is_empty()), trailers: trailers(&answer), stalls })
        .unwrap_or_else(|_| hyper::Response::new(AnswerBody { data: None, trailers: None, stalls: false }))
}

fn trailers(answer: &Answer) -> Option<HeaderMap> {
    let pairs = answer.trailers.iter();
    let pairs = pairs.filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, value.parse().ok()?)));
    Some(pairs.collect::<HeaderMap>()).filter(|trailers| !trailers.is_empty())
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// A body in one piece that may never end.
#[derive(Debug)]
struct AnswerBody {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
    stalls: bool,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.data.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.stalls => Poll::Pending,
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none() && !self.stalls
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match &self.data {
            _ if self.stalls => hyper::body::SizeHint::default(),
            Some(data) => hyper::body::SizeHint::with_exact(u64::try_from(data.len()).unwrap_or(u64::MAX)),
            None => hyper::body::SizeHint::with_exact(0),
        }
    }
}
