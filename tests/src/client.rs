//! A client that sends exactly the bytes it is given: HTTP/1.1 by hand, and HTTP/2 for the plain cases.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use crate::server::runtime;

/// How long a read may wait before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request to send.
#[derive(Debug, Clone)]
pub struct Call {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    /// A request of `method` for `path`, sent as written: no normalisation.
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// A GET for `path`.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Adds a header; the same name twice is sent twice.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds `authorization: Bearer <token>`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sends `body` with its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The request's bytes in HTTP/1.1; `host` and `content-length` are added unless given.
    pub fn to_bytes(&self) -> Vec<u8> {
        let has = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !has("host") {
            head.push_str("host: api.demo\r\n");
        }
        if !has("content-length") && !has("transfer-encoding") && (!self.body.is_empty() || self.method == "POST") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The request in HTTP/2, for a server of `scheme`.
    ///
    /// # Errors
    /// It has what HTTP/2 cannot carry.
    pub(crate) fn to_h2(&self, scheme: &str) -> Result<hyper::Request<Full<Bytes>>> {
        let authority = self.headers.iter().find(|(name, _)| name == "host").map_or("api.demo", |(_, value)| value);
        let mut request =
            hyper::Request::builder().method(self.method.as_str()).uri(format!("{scheme}://{authority}{}", self.path));
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value);
        }
        Ok(request.body(Full::new(Bytes::from(self.body.clone())))?)
    }
}

/// The first half kilobyte of the request, for messages.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        f.write_str(&String::from_utf8_lossy(bytes.get(..512).unwrap_or(&bytes)))
    }
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The values of header `name` that reached the service, out of its echo (see [`crate::services::Service`]).
    pub fn upstream_header(&self, name: &str) -> Vec<String> {
        let pairs = self.json().get("headers").and_then(Value::as_array).cloned().unwrap_or_default();
        let pairs = pairs.iter().filter_map(|pair| Some((pair.get(0)?.as_str()?, pair.get(1)?.as_str()?)));
        pairs.filter(|(n, _)| *n == name).map(|(_, value)| value.to_owned()).collect()
    }
}

/// One connection, kept alive between calls.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Client {
    /// Connects to 127.0.0.1 in the clear.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(port: u16) -> Result<Self> {
        Ok(Self::over(open(port, Ipv4Addr::LOCALHOST)?))
    }

    /// Connects to 127.0.0.1 in the clear from another loopback address: another client, as far as limits go.
    ///
    /// # Errors
    /// Nobody listens, or `source` is not in 127.0.0.0/8.
    pub fn connect_from(source: Ipv4Addr, port: u16) -> Result<Self> {
        Ok(Self::over(open(port, source)?))
    }

    /// Connects to 127.0.0.1 over TLS and expects the certificate of `name`.
    ///
    /// # Errors
    /// Nobody listens, or the handshake fails. (With TLS 1.3 a refused client certificate shows at the first read.)
    pub fn connect_tls(port: u16, config: Arc<ClientConfig>, name: &str) -> Result<Self> {
        Self::connect_tls_behind(port, b"", config, name)
    }

    /// [`connect_tls`](Self::connect_tls) from another loopback address: another client, as far as limits and bans go.
    ///
    /// # Errors
    /// Nobody listens, `source` is not in 127.0.0.0/8, or the handshake fails.
    pub fn connect_tls_from(source: Ipv4Addr, port: u16, config: Arc<ClientConfig>, name: &str) -> Result<Self> {
        Self::handshake(open(port, source)?, config, name)
    }

    /// [`connect_tls`](Self::connect_tls) with bytes in the clear before the handshake: a line of the PROXY protocol.
    ///
    /// # Errors
    /// Nobody listens, or the handshake fails.
    pub fn connect_tls_behind(port: u16, before: &[u8], config: Arc<ClientConfig>, name: &str) -> Result<Self> {
        let mut socket = open(port, Ipv4Addr::LOCALHOST)?;
        socket.write_all(before)?;
        Self::handshake(socket, config, name)
    }

    fn handshake(mut socket: TcpStream, config: Arc<ClientConfig>, name: &str) -> Result<Self> {
        let mut connection = ClientConnection::new(config, ServerName::try_from(name.to_owned())?)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self::over(StreamOwned::new(connection, socket)))
    }

    /// The certificate that the server at 127.0.0.1 shows for `name`, DER.
    ///
    /// # Errors
    /// Nobody listens, or the handshake fails.
    pub fn certificate_of(port: u16, config: Arc<ClientConfig>, name: &str) -> Result<Vec<u8>> {
        let mut socket = open(port, Ipv4Addr::LOCALHOST)?;
        let mut connection = ClientConnection::new(config, ServerName::try_from(name.to_owned())?)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        Ok(certificate.context("the server shows no certificate")?.to_vec())
    }

    fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: BufReader::new(Box::new(stream)) }
    }

    /// Sends `call` and reads the answer.
    ///
    /// # Errors
    /// The connection breaks, or what comes back is no HTTP.
    pub fn call(&mut self, call: &Call) -> Result<Response> {
        self.send(&call.to_bytes())?;
        self.read(call.method == "HEAD")
    }

    /// Sends bytes as they are and reads one answer.
    ///
    /// # Errors
    /// The connection breaks, or what comes back is no HTTP.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<Response> {
        self.send(bytes)?;
        self.read(false)
    }

    /// Sends bytes and reads nothing: the first part of a request, for one.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }

    /// Sends a request whose body comes as chunks, each by itself, and `end` behind them; then reads the answer.
    ///
    /// # Errors
    /// There is no answer. That the other side takes no more of the body is none.
    pub fn call_in_chunks<'a>(
        &mut self,
        call: Call,
        chunks: impl IntoIterator<Item = &'a [u8]>,
        end: &[u8],
    ) -> Result<Response> {
        self.send(&call.header("transfer-encoding", "chunked").to_bytes())?;
        for chunk in chunks {
            let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            if self.send(&framed).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.send(end);
        self.read(false)
    }

    /// Reads one answer; interim ones (100 and the like) are skipped. `head_only`: no body follows, as after HEAD.
    ///
    /// # Errors
    /// The connection breaks, or what comes back is no HTTP.
    pub fn read(&mut self, head_only: bool) -> Result<Response> {
        loop {
            let mut response = self.read_head()?;
            if (100..200).contains(&response.status) && response.status != 101 {
                continue;
            }
            if !head_only && !matches!(response.status, 101 | 204 | 304) {
                response.body = self.read_body(&response)?;
            }
            return Ok(response);
        }
    }

    fn read_head(&mut self) -> Result<Response> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status line: {line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').with_context(|| format!("no header: {line:?}"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn read_body(&mut self, response: &Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if response.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            loop {
                let line = self.line()?;
                let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)?;
                let read = self.stream.by_ref().take(size).read_to_end(&mut body)?;
                if u64::try_from(read)? < size {
                    bail!("the connection ended inside a chunk");
                }
                // After the data, or after the last chunk where there are no trailers.
                if self.line()?.is_empty() && size == 0 {
                    return Ok(body);
                }
            }
        }
        match response.header("content-length") {
            None => self.stream.read_to_end(&mut body).map(|_| ())?,
            Some(length) => {
                let length: u64 = length.parse()?;
                let read = self.stream.by_ref().take(length).read_to_end(&mut body)?;
                if u64::try_from(read)? < length {
                    bail!("the connection ended inside the body");
                }
            }
        }
        Ok(body)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line).context("no answer")? == 0 {
            bail!("the connection was closed");
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// One request over HTTP/2 on a new connection: over TLS where `tls` is given (its ALPN must be `h2`), else in the clear.
///
/// # Errors
/// No connection, no HTTP/2, or a header that HTTP/2 cannot carry.
pub fn call_h2(port: u16, tls: Option<(Arc<ClientConfig>, &str)>, call: &Call) -> Result<Response> {
    let socket = open(port, Ipv4Addr::LOCALHOST)?;
    socket.set_nonblocking(true)?;
    runtime()?.block_on(async {
        let socket = tokio::net::TcpStream::from_std(socket)?;
        let exchange = async {
            match tls {
                None => exchange_h2("http", socket, call).await,
                Some((config, name)) => {
                    let connector = tokio_rustls::TlsConnector::from(config);
                    let stream = connector.connect(ServerName::try_from(name.to_owned())?, socket).await?;
                    exchange_h2("https", stream, call).await
                }
            }
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| anyhow!("no answer within {PATIENCE:?}"))?
    })
}

async fn exchange_h2<S>(scheme: &str, stream: S, call: &Call) -> Result<Response>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(call.to_h2(scheme)?).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    driver.abort();
    let headers = head.headers.iter();
    let headers = headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
    Ok(Response { status: head.status.as_u16(), headers, body })
}

fn open(port: u16, source: Ipv4Addr) -> Result<TcpStream> {
    let stream = runtime()?.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        if source != Ipv4Addr::LOCALHOST {
            socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
        }
        socket.connect(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).await?.into_std()
    });
    let stream = stream.with_context(|| format!("cannot connect to 127.0.0.1:{port}"))?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Each byte as `%XX`: what stands in a query, a form or a cookie, whatever it is.
pub fn percent_encoded(text: impl AsRef<[u8]>) -> String {
    text.as_ref().iter().map(|byte| format!("%{byte:02X}")).collect()
}
