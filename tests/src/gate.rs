//! A service that answers a request when the test lets it.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A service that answers the requests of those whom the test lets go: by the header `x-client` of the request, in the way of the end
/// of its path. `/in-body` answers with a half body at once, and breaks off once it is let go; `/reset` breaks off then; anything else
/// is answered with 200 then.
#[derive(Debug)]
pub struct Gate {
    /// Where it listens, on loopback.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    let_go: HashSet<String>,
    waiting: HashMap<String, Waiting>,
}

/// Requests of one client.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    now: usize,
    most: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request of `client` until it may go.
    fn wait(&self, client: &str) {
        let mut state = self.state();
        let waiting = state.waiting.entry(client.to_owned()).or_default();
        waiting.now += 1;
        waiting.most = waiting.most.max(waiting.now);
        while !state.let_go.contains(client) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(waiting) = state.waiting.get_mut(client) {
            waiting.now -= 1;
        }
    }
}

impl Gate {
    /// Listens at a free port.
    ///
    /// # Errors
    /// There is none.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let gate = Self { port, shared: Arc::default() };
        let shared = Arc::clone(&gate.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A connection that breaks is what some of the tests are about.
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Ok(gate)
    }

    /// Lets the requests of `client` go, those that wait and those that come.
    pub fn let_go(&self, client: &str) {
        self.shared.state().let_go.insert(client.to_owned());
        self.shared.changed.notify_all();
    }

    /// Keeps the requests of `client` that come from now on.
    pub fn keep(&self, client: &str) {
        self.shared.state().let_go.remove(client);
    }

    /// How many requests of `client` wait here. One whose sender has gone away waits on until it is let go.
    pub fn waiting(&self, client: &str) -> usize {
        self.shared.state().waiting.get(client).map_or(0, |waiting| waiting.now)
    }

    /// How many requests of `client` have been here at the same time, at most.
    pub fn most_at_once(&self, client: &str) -> usize {
        self.shared.state().waiting.get(client).map_or(0, |waiting| waiting.most)
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if input.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let (mut client, mut body) = (String::new(), 0);
        loop {
            let mut line = String::new();
            input.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some(name) = line.strip_prefix("x-client: ") {
                name.clone_into(&mut client);
            } else if let Some(length) = line.strip_prefix("content-length: ") {
                body = length.parse().unwrap_or(0);
            }
        }
        std::io::copy(&mut input.by_ref().take(body), &mut std::io::sink())?;
        let path = first.split(' ').nth(1).unwrap_or_default();
        if path.ends_with("/in-body") {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")?;
        }
        shared.wait(&client);
        match path.rsplit('/').next() {
            // What follows is a reset for whoever waits for the rest.
            Some("in-body" | "reset") => return Ok(()),
            _ => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?,
        }
    }
}
