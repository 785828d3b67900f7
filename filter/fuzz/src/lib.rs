//! What the fuzz targets share: an engine with every kind of check, and requests made of a fuzzer's bytes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use portcullis_engine::ports::memory::MemoryStore;
use portcullis_engine::ports::{Attributes, Ports, SoftwareOnly};
use portcullis_engine::time::UnixNanos;
use portcullis_engine::{Actions, Body, Engine, FetchResult, RequestId, Seed, Step};

/// Everything that can be asked of a request, each on a path of its own.
const CONFIGURATION: &str = include_str!("configuration.json");

/// What the proxy would know.
struct Facts;

impl Attributes for Facts {
    fn source_address(&self) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, 7).into())
    }

    fn route_policy(&self) -> Option<Vec<u8>> {
        None
    }
}

/// An engine with all that it needs.
pub struct Gateway {
    engine: Engine,
    store: MemoryStore,
    now: UnixNanos,
    last: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        let mut engine = match Engine::new(CONFIGURATION.as_bytes(), &|_| Some("secret".to_owned()), Seed([7; 32])) {
            Ok(engine) => engine,
            Err(problems) => panic!("configuration.json: {problems}"),
        };
        let (store, now) = (MemoryStore::default(), UnixNanos::from_secs(1_700_000_000));
        engine.on_start(&store, now);
        Self { engine, store, now, last: 0 }
    }
}

impl Gateway {
    /// Sends a request through all of the walk; `answer` is what every service says that is asked on the way.
    pub fn send(&mut self, headers: Vec<u8>, body: &[u8], answer: &[u8]) -> Step {
        self.last += 1;
        let id = RequestId(self.last);
        let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes: &Facts };
        let mut step = self.engine.on_request_head(id, headers, ports, self.now);
        // It may wait for keys, then for an answer, then for its body.
        for _ in 0..4 {
            step = match step {
                Step::NeedBody(max) => {
                    let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes: &Facts };
                    self.engine.on_body(id, Body::of(body, max), ports, self.now)
                }
                Step::Hold => {
                    self.tick(answer);
                    let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes: &Facts };
                    self.engine.resume(id, ports, self.now).unwrap_or(Step::Hold)
                }
                done => {
                    step = done;
                    break;
                }
            };
        }
        self.engine.end(id, &self.store, self.now);
        self.engine.take_log();
        step
    }

    /// Lets time pass, and answers every question with `answer`: a list of header lines, an empty line, the body.
    pub fn tick(&mut self, answer: &[u8]) {
        self.now = self.now.plus(Duration::from_secs(1));
        let ports = Ports { store: &self.store, signatures: &SoftwareOnly, attributes: &Facts };
        let mut actions = self.engine.on_tick(ports, self.now);
        for _ in 0..4 {
            let Actions { callouts, .. } = actions;
            actions = Actions::default();
            for callout in callouts {
                let (head, body) = split(answer, b"\n\n");
                let result = match head.is_empty() && body.is_empty() {
                    true => FetchResult::NoAnswer,
                    false => FetchResult::Answer {
                        headers: pairs(&[&[(&b":status"[..], &b"200"[..])], &lines(head)[..]].concat()),
                        trailers: pairs(&lines(head)),
                        body: body.to_vec(),
                    },
                };
                let more = self.engine.on_fetch_result(callout.id, result, ports, self.now);
                actions.callouts.extend(more.callouts);
            }
            if actions.callouts.is_empty() {
                break;
            }
        }
        self.engine.take_log();
    }

    /// Lets so much time pass that everything is asked for again.
    pub fn wait(&mut self) {
        self.now = self.now.plus(Duration::from_secs(120));
    }
}

/// What stands before the first `mark`, and what stands behind it.
pub fn split<'a>(data: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(mark.len()).position(|window| window == mark) {
        Some(at) => (&data[..at], &data[at + mark.len()..]),
        None => (data, b""),
    }
}

/// Lines of the form `name: value`.
pub fn lines(text: &[u8]) -> Vec<(&[u8], &[u8])> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(|line| split(line, b": ")).collect()
}

/// A header map as the proxy hands it over.
pub fn pairs(headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = (headers.len() as u32).to_le_bytes().to_vec();
    for (name, value) in headers {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in headers {
        for part in [name, value] {
            bytes.extend_from_slice(part);
            bytes.push(0);
        }
    }
    bytes
}

/// The header map of a request: its first line is `METHOD target`, then come headers.
pub fn head(text: &[u8]) -> Vec<u8> {
    let (first, rest) = split(text, b"\n");
    let (method, target) = split(first, b" ");
    let own: [(&[u8], &[u8]); 4] =
        [(b":method", method), (b":path", target), (b":scheme", b"https"), (b":authority", b"api.example")];
    pairs(&[&own, &lines(rest)[..]].concat())
}

/// Base64url without padding.
pub fn base64url(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = Vec::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        out.extend((0..=chunk.len()).map(|place| LETTERS[(word >> (18 - 6 * place)) as usize & 63]));
    }
    out
}

/// A JSON Web Token of a header and claims: the three parts of `data` that line ends divide.
pub fn token(data: &[u8]) -> Vec<u8> {
    let mut parts = data.splitn(3, |b| *b == b'\n').map(base64url);
    let mut out = parts.next().unwrap_or_default();
    for part in parts {
        out.push(b'.');
        out.extend(part);
    }
    out
}
