//! The load: keep-alive connections that each carry one request at a time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::body::Body;

/// How many connections there are.
pub const CONNECTIONS: usize = 8;

/// The header that carries an API key.
pub const API_KEY_HEADER: &str = "x-api-key";

const API_KEY: &str = "x-api-key: ";
const BEARER: &str = "authorization: Bearer ";

/// How a request presents itself.
#[derive(Debug, Clone, Copy)]
pub enum Bearer<'a> {
    /// Without a token.
    None,
    /// With the same token each time.
    Same(&'a str),
    /// With these tokens, each once; there must be as many as requests.
    Each(&'a [String]),
    /// With these API keys in turn, from the one at `start` on.
    ApiKeys {
        /// The keys.
        keys: &'a [String],
        /// The first one's place.
        start: usize,
    },
}

/// Connections to one listener.
#[derive(Debug)]
pub struct Load {
    connections: Vec<Connection>,
    path: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
    request: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Load {
    /// Opens the connections to `port`, for requests of `path`: GETs, or POSTs of `body`.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn open(port: u16, path: &'static str, body: Body) -> Result<Self> {
        let connect = |_| {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            Ok(Connection { stream, received: Vec::with_capacity(4096) })
        };
        let connections = (0..CONNECTIONS).map(connect).collect::<Result<_>>()?;
        Ok(Self {
            connections,
            path,
            content_type: body.content_type(),
            body: body.bytes(),
            request: Vec::with_capacity(4096),
        })
    }

    /// Sends `count` requests, and takes their answers, each of which must have `status`.
    ///
    /// # Errors
    /// Another status, with the answer; a connection that breaks.
    pub fn run(&mut self, count: usize, bearer: Bearer<'_>, status: u16) -> Result<()> {
        let under_way = CONNECTIONS.min(count);
        for number in 0..count + under_way {
            // In turn, so that each connection waits for its answer while the others are under way.
            let connection = number % under_way;
            let connection = self.connections.get_mut(connection).context("a connection is missing")?;
            if number >= under_way {
                connection.take(status)?;
            }
            if number < count {
                write_request(&mut self.request, self.path, credential(bearer, number)?, self.content_type, &self.body);
                connection.stream.write_all(&self.request)?;
            }
        }
        Ok(())
    }
}

/// What stands before the credential in its header's line, and the credential.
fn credential(bearer: Bearer<'_>, number: usize) -> Result<Option<(&str, &str)>> {
    let token = |token| Some((BEARER, token));
    match bearer {
        Bearer::None => Ok(None),
        Bearer::Same(same) => Ok(token(same)),
        Bearer::Each(tokens) => {
            let one = tokens.get(number).context("there are too few tokens for so many requests")?;
            Ok(token(one))
        }
        Bearer::ApiKeys { keys, start } => {
            let key = start.saturating_add(number).checked_rem(keys.len()).and_then(|place| keys.get(place));
            Ok(Some((API_KEY, key.context("there are no API keys")?)))
        }
    }
}

impl Connection {
    /// Reads one answer with a `content-length`, and no more than that.
    fn take(&mut self, status: u16) -> Result<()> {
        self.received.clear();
        let mut length = None;
        loop {
            let mut chunk = [0; 4096];
            let read = self.stream.read(&mut chunk)?;
            ensure!(read > 0, "the gateway closed a connection");
            self.received.extend_from_slice(chunk.get(..read).unwrap_or_default());
            if length.is_none() {
                length = whole_length(&self.received);
            }
            match length {
                Some(length) if self.received.len() > length => bail!("more than one answer came"),
                Some(length) if self.received.len() == length => break,
                _ => {}
            }
        }
        let expected = format!("HTTP/1.1 {status} ");
        if !self.received.starts_with(expected.as_bytes()) {
            bail!("an answer is not {status} but:\n{}", String::from_utf8_lossy(&self.received));
        }
        Ok(())
    }
}

/// The length of the answer with its body, once its head is there.
fn whole_length(received: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let head = received.windows(END.len()).position(|window| window == END)?;
    let text = std::str::from_utf8(received.get(..head)?).ok()?;
    let body = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    head.checked_add(END.len())?.checked_add(body.unwrap_or(0))
}

/// A request as a browser's application sends it: with a token 13 headers and about 1.1 KB, pseudo-headers aside.
fn write_request(out: &mut Vec<u8>, path: &str, credential: Option<(&str, &str)>, content_type: &str, body: &[u8]) {
    out.clear();
    for part in [if body.is_empty() { "GET " } else { "POST " }, path, " HTTP/1.1\r\n", OTHER_HEADERS] {
        out.extend_from_slice(part.as_bytes());
    }
    if let Some((start, credential)) = credential {
        for part in [start, credential, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    if !body.is_empty() {
        let length = body.len();
        out.extend_from_slice(format!("content-type: {content_type}\r\ncontent-length: {length}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
}

const OTHER_HEADERS: &str = "host: api.example.com\r\n\
    user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36\r\n\
    accept: application/json, text/plain, */*\r\n\
    accept-language: en-GB,en;q=0.9,de;q=0.8\r\n\
    accept-encoding: gzip, deflate, br, zstd\r\n\
    referer: https://shop.example.com/account/orders\r\n\
    origin: https://shop.example.com\r\n\
    sec-fetch-mode: cors\r\n\
    sec-fetch-site: same-site\r\n\
    sec-fetch-dest: empty\r\n\
    cookie: session_hint=7f3c2a9e51d84b06; theme=dark; consent=necessary\r\n\
    x-client-version: web-4.18.2\r\n";
