//! The parts of `compose/` that are ours: the services `orders` and `reports`, and the authority that keeps every
//! container in fresh certificates.
#![forbid(unsafe_code)]

mod database;
mod encrypted;
mod keys;
mod serve;
mod service;

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use portcullis_tests::pki::Pki;
use portcullis_tests::server::runtime;
use portcullis_tests::tls;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::keys::Authority;
use crate::service::Service;

/// The services of compose/, and their certificate authority
#[derive(Debug, Parser)]
#[command(name = "compose-service", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Issue certificates and secrets, and renew the certificates until stopped; SIGHUP renews them at once
    Keys {
        /// A directory per container, with certificates in `current`
        #[arg(long, value_name = "DIRECTORY", default_value = "/keys")]
        directory: PathBuf,

        /// How long a certificate is good for, in minutes; it is renewed after a third of that
        #[arg(long, value_name = "MINUTES", default_value_t = 1440, value_parser = clap::value_parser!(u32).range(3..))]
        lifetime: u32,
    },
    /// Serve over mutual TLS: nobody but the gateway gets in
    Serve {
        /// What to serve
        service: Kind,

        #[command(flatten)]
        place: Place,
    },
    /// Whether the service answers on this machine, with its own certificate: for a health check
    Healthy {
        /// What should be serving
        service: Kind,

        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// The port
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    port: u16,

    /// The directory with certificates in `current`
    #[arg(long, value_name = "DIRECTORY", default_value = "/run/keys")]
    keys: PathBuf,

    /// The host of the database, for `orders`
    #[arg(long, value_name = "HOST", default_value = "db")]
    database: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Orders,
    Reports,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Reports => "reports",
        }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "compose-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Keys { directory, lifetime } => {
            let lifetime = Duration::from_secs(60 * u64::from(lifetime));
            runtime()?.block_on(Authority::open(directory, lifetime)?.run())
        }
        Command::Serve { service, place } => runtime()?.block_on(async {
            let (name, keys) = (service.name(), place.keys);
            let service = match service {
                Kind::Orders => Service::orders(database::Database::new(place.database, keys.clone())),
                Kind::Reports => Service::Reports,
            };
            serve::run(name, place.port, keys, service).await
        }),
        Command::Healthy { service, place } => runtime()?.block_on(healthy(service.name(), &place)),
    }
}

/// Completes a handshake up to the service's certificate; without the gateway's own, it goes no further.
async fn healthy(name: &str, place: &Place) -> Result<()> {
    let config = tls::client(&Pki::at(&place.keys.join("current")), None, &["h2"])?;
    let attempt = async {
        let socket = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, place.port)).await?;
        TlsConnector::from(config).connect(ServerName::try_from(format!("{name}.demo"))?, socket).await?;
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(3), attempt).await.context("no answer")?
}
