//! The gateway under attack, and those who attack it.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use portcullis_tests::client::{Call, Client};
use portcullis_tests::eventually;
use portcullis_tests::keys::SigningKey;
use portcullis_tests::mint::{Token, unix_seconds};
use portcullis_tests::pki::Pki;
use portcullis_tests::tls;
use rustls::ClientConfig;

use crate::outcome::Outcome;

/// How long a gateway that has just started may take to have its keys.
const PATIENCE: Duration = Duration::from_secs(10);

/// The audience of the tokens of `scripts/run`.
pub const DEMO_AUDIENCE: &str = "demo-api";

/// Which gateway it is.
pub struct Settings {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The audience of its tokens.
    pub audience: String,
    /// A token of its provider, for the good client; without it, the key signs one.
    pub good_token: Option<String>,
    /// Where it leads to its provider's token endpoint.
    pub token_path: Option<String>,
}

/// A gateway on 127.0.0.1.
pub struct Target {
    settings: Settings,
    tls: Arc<ClientConfig>,
    key: SigningKey,
    /// The second and third number of the attackers' addresses: others in each run, since bans outlive it.
    network: (u8, u8),
    next: Cell<u8>,
    subjects: Cell<u32>,
}

impl Target {
    /// Reads what `scripts/run` keeps in `files`, and sees that a good token is served.
    ///
    /// # Errors
    /// The gateway does not run, or serves no good token: then there is nothing to learn from an attack.
    pub fn open(settings: Settings, files: &Path) -> Result<Self> {
        let hint = "\n  hint: scripts/run starts it; --files names where its files are, --gateway where it listens";
        let key = files.join("keys/private.jwk.json");
        let text = std::fs::read(&key).with_context(|| format!("cannot read {}{hint}", key.display()))?;
        let key = SigningKey::es256_from_jwk(&serde_json::from_slice(&text)?)
            .with_context(|| format!("{} is no private key of ES256", key.display()))?;
        let tls = tls::client(&Pki::at(&files.join("pki")), None, &["http/1.1"])?;
        let seed = unix_seconds().unsigned_abs() ^ u64::from(std::process::id()) << 4;
        let [low, middle, ..] = seed.to_le_bytes();
        // Not 127.0, where everybody else is.
        let network = (middle | 1, low);
        let port = settings.port;
        let target = Self { settings, tls, key, network, next: Cell::new(0), subjects: Cell::new(0) };
        target.connect(Ipv4Addr::LOCALHOST).with_context(|| format!("no gateway at 127.0.0.1:{port}{hint}"))?;
        if !eventually(PATIENCE, || target.good_client_is_served()) {
            bail!("the gateway does not serve a good token: {}{hint}", target.good_client());
        }
        Ok(target)
    }

    /// A connection from `source`.
    pub fn connect(&self, source: Ipv4Addr) -> Result<Client> {
        Client::connect_tls_from(source, self.settings.port, Arc::clone(&self.tls), "localhost")
    }

    /// Somebody at an address of their own.
    pub fn attacker(&self) -> Attacker<'_> {
        // From 1 to 250, and around: an attack of more addresses shares some.
        let number = self.next.get() % 250 + 1;
        self.next.set(number);
        Attacker { target: self, source: Ipv4Addr::new(127, self.network.0, self.network.1, number), client: None }
    }

    /// The key that the gateway trusts: attackers know its public half.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Where the gateway leads to its provider's token endpoint.
    pub fn token_path(&self) -> Option<&str> {
        self.settings.token_path.as_deref()
    }

    /// A good token to be, of a subject that nobody else has: no limit of others is used up.
    pub fn token(&self) -> Token {
        self.subjects.set(self.subjects.get() + 1);
        let (audience, number) = (&self.settings.audience, self.subjects.get());
        Token::of(&format!("attack-{}-{number}", std::process::id()))
            .claim("aud", serde_json::json!(audience))
            .scope("read_orders write_orders read_reports")
    }

    /// A good token.
    pub fn good(&self) -> String {
        self.token().sign(&self.key)
    }

    /// Whether somebody else, with a good token, gets what is theirs.
    pub fn good_client_is_served(&self) -> bool {
        self.good_client() == Outcome::Through(200)
    }

    fn good_client(&self) -> Outcome {
        let token = self.settings.good_token.clone().unwrap_or_else(|| self.good());
        let call = Call::get("/orders/7").bearer(&token);
        Outcome::of(self.connect(Ipv4Addr::LOCALHOST).and_then(|mut client| client.call(&call)))
    }
}

/// One sender, with a connection that is used again.
pub struct Attacker<'a> {
    target: &'a Target,
    source: Ipv4Addr,
    client: Option<Client>,
}

impl Attacker<'_> {
    /// Sends a request.
    pub fn call(&mut self, call: &Call) -> Outcome {
        self.exchange(|client| client.call(call))
    }

    /// Sends bytes as they are, on a connection of their own.
    pub fn raw(&mut self, bytes: &[u8]) -> Outcome {
        self.client = None;
        let outcome = self.exchange(|client| client.raw(bytes));
        self.client = None;
        outcome
    }

    fn exchange(&mut self, send: impl Fn(&mut Client) -> Result<portcullis_tests::client::Response>) -> Outcome {
        // A connection that is used again can have ended meanwhile: then the same once more on a new one.
        if let Some(mut client) = self.client.take()
            && let Ok(response) = send(&mut client)
        {
            return self.keep(client, response);
        }
        match self.target.connect(self.source).and_then(|mut client| Ok((send(&mut client)?, client))) {
            Ok((response, client)) => self.keep(client, response),
            Err(error) => Outcome::of(Err(error)),
        }
    }

    fn keep(&mut self, client: Client, response: portcullis_tests::client::Response) -> Outcome {
        if response.header("connection") != Some("close") {
            self.client = Some(client);
        }
        Outcome::of(Ok(response))
    }
}
