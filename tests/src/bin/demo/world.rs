//! What the demo starts, and where its files are.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use portcullis_tests::client::Client;
use portcullis_tests::envoy::Options;
use portcullis_tests::mint::{AUDIENCE, ISSUER};
use portcullis_tests::paths;
use portcullis_tests::pki::Pki;
use portcullis_tests::reference::{Ports, Reference};
use serde_json::Value;

/// Everything that runs. Dropping it stops everything.
pub struct World {
    /// Envoy, the services and the identity provider.
    pub gateway: Reference,
    /// The certificates.
    pub pki: Pki,
}

impl World {
    /// Makes certificates and keys where they are missing, and starts everything.
    ///
    /// # Errors
    /// A port is taken: with the option that changes it. Or something that `scripts/run` builds is missing.
    pub fn start(ports: Ports, workers: u32) -> Result<Self> {
        require_free(ports)?;
        let dir = directory();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let pki = Pki::load_or_create(&dir.join("pki"))?;
        let jwks = load_or_create_key()?;
        let options = Options { workers, ..Options::default() };
        let gateway = Reference::start(ports, &pki, &jwks, &dir, &options, &mut |_| {})?;
        Ok(Self { gateway, pki })
    }

    /// A new connection of a client.
    ///
    /// # Errors
    /// The gateway is gone.
    pub fn client(&self) -> Result<Client> {
        self.gateway.client(&self.pki)
    }

    /// Envoy's log, with the filter's lines and the access log.
    pub fn log(&self) -> PathBuf {
        directory().join("envoy.log")
    }
}

/// The options of `portcullis token` for a demo token of `subject`.
pub fn token_options(subject: &str, scope: &str) -> Vec<String> {
    let options = ["--issuer", ISSUER, "--audience", AUDIENCE, "--subject", subject, "--scope", scope];
    options.into_iter().map(str::to_owned).collect()
}

/// A token as a user gets it: from `portcullis token`.
///
/// # Errors
/// The tool is missing or refuses.
pub fn token(subject: &str, scope: &str) -> Result<String> {
    let mut command = Command::new(paths::tool()?);
    command.arg("token").arg("--key").arg(keys().join("private.jwk.json")).args(token_options(subject, scope));
    Ok(output(command)?.trim().to_owned())
}

fn directory() -> PathBuf {
    paths::target().join("demo")
}

fn keys() -> PathBuf {
    directory().join("keys")
}

/// The demo's key set; made, with its private key, by `portcullis keys` where there is none.
fn load_or_create_key() -> Result<Value> {
    let set = keys().join("jwks.json");
    if !set.is_file() || !keys().join("private.jwk.json").is_file() {
        let mut command = Command::new(paths::tool()?);
        command.args(["keys", "--algorithm", "ES256", "--force", "--out"]).arg(keys());
        output(command)?;
    }
    let text = std::fs::read(&set).with_context(|| format!("cannot read {}", set.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no key set: remove it", set.display()))
}

fn output(mut command: Command) -> Result<String> {
    let output = command.output().context("cannot run portcullis")?;
    if !output.status.success() {
        bail!("portcullis: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Refuses ports that are taken before anything starts. Envoy alone would share a port with another Envoy.
fn require_free(ports: Ports) -> Result<()> {
    let wanted = [
        (ports.https, "--https-port"),
        (ports.http, "--http-port"),
        (ports.admin, "--admin-port"),
        (ports.idp, "--idp-port"),
        (ports.orders, "--orders-port"),
        (ports.reports, "--reports-port"),
    ];
    let mut held = Vec::new();
    for (port, option) in wanted {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            // Held until all are tried, so that the same port twice is seen too.
            Ok(listener) => held.push(listener),
            Err(error) => bail!("port {port} cannot be used: {error}\n  hint: {option} chooses another one"),
        }
    }
    Ok(())
}
