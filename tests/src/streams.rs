//! Several requests at once on one connection of HTTP/2, each of which can be reset alone.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;

use crate::client::Call;
use crate::server::runtime;

/// A connection in the clear whose answers nobody reads; it is closed when dropped.
#[derive(Debug)]
pub struct Streams {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
    streams: Vec<JoinHandle<()>>,
}

impl Streams {
    /// Connects to 127.0.0.1.
    ///
    /// # Errors
    /// Nobody listens, or nobody who speaks HTTP/2.
    pub fn connect(port: u16) -> Result<Self> {
        runtime()?.block_on(async {
            let socket = tokio::net::TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
            Ok(Self { sender, driver: tokio::spawn(connection), streams: Vec::new() })
        })
    }

    /// Sends `call` on a stream of its own.
    ///
    /// # Errors
    /// It has what HTTP/2 cannot carry.
    pub fn send(&mut self, call: &Call) -> Result<()> {
        let _inside = runtime()?.enter();
        let answer = self.sender.send_request(call.to_h2("http")?);
        self.streams.push(tokio::spawn(async move { drop(answer.await) }));
        Ok(())
    }

    /// Resets the stream that was opened last, while the connection stays.
    pub fn reset_last(&mut self) {
        if let Some(stream) = self.streams.pop() {
            stream.abort();
        }
    }

    /// Resets all streams, while the connection stays.
    pub fn reset(&mut self) {
        self.streams.drain(..).for_each(|stream| stream.abort());
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.reset();
        self.driver.abort();
    }
}
