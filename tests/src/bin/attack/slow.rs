//! Clients that take their time, so that others find no place.

use std::net::Ipv4Addr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use portcullis_tests::client::Client;

use crate::outcome::Outcome;
use crate::report::Wave;
use crate::target::Target;

/// How many of each kind.
const CLIENTS: usize = 20;
/// A byte from each, that often: something moves all the time.
const PACE: Duration = Duration::from_millis(500);
/// Who is still connected after this has come through.
const PATIENCE: Duration = Duration::from_secs(90);

/// Slow clients under way.
pub struct Slow {
    name: &'static str,
    trickle: JoinHandle<usize>,
}

impl Slow {
    /// Heads that never end.
    ///
    /// # Errors
    /// No connection.
    pub fn heads(target: &Target) -> Result<Self> {
        Self::start("slow heads", target, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
    }

    /// Bodies that never end, with a good token.
    ///
    /// # Errors
    /// No connection.
    pub fn bodies(target: &Target) -> Result<Self> {
        let token = target.good();
        let head = format!(
            "POST /orders HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: text/plain\r\n\
             content-length: 100000\r\n\r\n"
        );
        Self::start("slow bodies", target, &head)
    }

    fn start(name: &'static str, target: &Target, beginning: &str) -> Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = target.connect(Ipv4Addr::LOCALHOST)?;
            client.send(beginning.as_bytes())?;
            clients.push(client);
        }
        Ok(Self { name, trickle: std::thread::spawn(move || trickle(clients)) })
    }

    /// Waits until Envoy has ended all of them, or for too long.
    pub fn judge(self) -> Wave {
        let mut wave = Wave::new(self.name);
        let left = self.trickle.join().unwrap_or(CLIENTS);
        for number in 0..CLIENTS {
            let outcome = if number < left {
                Outcome::Through(0)
            } else {
                Outcome::Stopped("connection ended by Envoy".to_owned())
            };
            wave.add("still connected", outcome);
        }
        wave
    }
}

/// Sends a byte to each connection again and again; gives how many are left in the end.
fn trickle(mut clients: Vec<Client>) -> usize {
    let started = Instant::now();
    while !clients.is_empty() && started.elapsed() < PATIENCE {
        std::thread::sleep(PACE);
        clients.retain_mut(|client| client.send(b"a").is_ok());
    }
    clients.len()
}
