//! HTTP over mutual TLS. New certificates are taken for the next connection; those that stand keep theirs.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portcullis_tests::live::Live;
use portcullis_tests::pki::Pki;
use portcullis_tests::tls;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::service::Service;

/// How long a handshake, and then a request's head, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once; the gateway's circuit breaker keeps it from ever opening more.
const CONNECTIONS: usize = 1200;

/// Serves until SIGTERM.
///
/// # Errors
/// The port is taken, or there are no certificates.
pub async fn run(name: &str, port: u16, keys: PathBuf, service: Service) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.context("cannot listen")?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut certificates = Certificates::load(name, Live::at(keys))?;
    let service = Arc::new(service);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let socket = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => { tokio::time::sleep(Duration::from_millis(50)).await; continue }
            },
        };
        // Beyond them a connection is closed at once.
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        certificates.refresh();
        let (acceptor, service) = (TlsAcceptor::from(Arc::clone(&certificates.config)), Arc::clone(&service));
        tokio::spawn(async move {
            connection(acceptor, socket, service).await;
            drop(slot);
        });
    }
}

async fn connection(acceptor: TlsAcceptor, socket: TcpStream, service: Arc<Service>) {
    let _ = socket.set_nodelay(true);
    // Whoever is not the gateway gets no further than this.
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(socket)).await else { return };
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, std::convert::Infallible>(service.answer(request).await) }
    });
    let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    server.http2().timer(TokioTimer::new());
    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
}

/// The server's certificate and the authority, read again when there is a new version.
struct Certificates {
    name: String,
    live: Live,
    version: Option<PathBuf>,
    config: Arc<ServerConfig>,
}

impl Certificates {
    fn load(name: &str, live: Live) -> Result<Self> {
        let version = live.version();
        let config = tls::server_for_gateway_only(&Pki::at(&live.current()), name)?;
        Ok(Self { name: name.to_owned(), live, version, config })
    }

    /// Takes the new version, where there is one; keeps the old one where the new one cannot be read.
    fn refresh(&mut self) {
        if self.live.version() == self.version {
            return;
        }
        match Self::load(&self.name, self.live.clone()) {
            Ok(new) => *self = new,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "the old certificates stay: {error:#}");
            }
        }
    }
}
