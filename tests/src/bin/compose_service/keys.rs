//! The authority: short-lived certificates for every container, in a directory that only that container can see.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use portcullis_tests::live::Live;
use portcullis_tests::pki::{Pki, Usage, Validity};
use tokio::signal::unix::{SignalKind, signal};

/// A new authority takes over when the old one has less than this left: all containers must be restarted then.
const AUTHORITY_LEFT: Duration = Duration::from_secs(14 * 86_400);

/// What one container gets.
struct Share {
    container: &'static str,
    certificates: &'static [Certificate],
    /// Names of secrets: random, made once.
    secrets: &'static [&'static str],
}

struct Certificate {
    name: &'static str,
    dns: &'static [&'static str],
    usage: Usage,
}

const fn certificate(name: &'static str, dns: &'static [&'static str], usage: Usage) -> Certificate {
    Certificate { name, dns, usage }
}

/// Everything that is issued. A name is also the last part of the certificate's SPIFFE id.
const SHARES: [Share; 7] = [
    Share {
        container: "gateway",
        certificates: &[
            certificate("edge", &["localhost", "api.demo"], Usage::Server),
            certificate("gateway", &["gateway.demo"], Usage::Client),
        ],
        secrets: &[],
    },
    Share {
        container: "orders",
        certificates: &[
            certificate("orders", &["orders.demo"], Usage::Server),
            // What the database knows it by.
            certificate("orders-db", &["orders-db.demo"], Usage::Client),
        ],
        secrets: &[],
    },
    Share {
        container: "reports",
        certificates: &[certificate("reports", &["reports.demo"], Usage::Server)],
        secrets: &[],
    },
    Share { container: "db", certificates: &[certificate("db", &["db.demo"], Usage::Server)], secrets: &[] },
    Share {
        container: "idp",
        certificates: &[certificate("idp", &["idp.demo"], Usage::Server)],
        secrets: &["admin", "reader", "writer", "hasty"],
    },
    Share {
        container: "prometheus",
        certificates: &[certificate("prometheus", &["prometheus.demo"], Usage::Client)],
        secrets: &[],
    },
    Share { container: "grafana", certificates: &[], secrets: &["admin"] },
];

/// The authority with its directories.
pub struct Authority {
    directory: PathBuf,
    lifetime: Duration,
    pki: Pki,
}

impl Authority {
    /// Takes the authority of `directory`, or makes one.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn open(directory: PathBuf, lifetime: Duration) -> Result<Self> {
        let pki = Pki::authority(&directory.join("authority"), AUTHORITY_LEFT)?;
        Ok(Self { directory, lifetime, pki })
    }

    /// Issues everything now, whenever SIGHUP comes, and in any case long before it ends.
    ///
    /// # Errors
    /// A directory cannot be written.
    pub async fn run(&self) -> Result<()> {
        let mut renew = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            for share in &SHARES {
                self.issue(share).with_context(|| format!("cannot issue the keys of {}", share.container))?;
            }
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = renew.recv() => {}
                () = tokio::time::sleep(self.lifetime / 3) => {}
            }
        }
    }

    fn issue(&self, share: &Share) -> Result<()> {
        let live = Live::at(self.directory.join(share.container));
        let mut files = vec![("ca.pem".to_owned(), std::fs::read_to_string(self.pki.ca())?)];
        for certificate in share.certificates {
            let Certificate { name, dns, usage } = *certificate;
            let issued =
                self.pki.sign(name, dns, &format!("spiffe://demo/{name}"), usage, Validity::For(self.lifetime))?;
            files.push((format!("{name}.pem"), issued.certificate));
            files.push((format!("{name}.key"), issued.key));
        }
        for name in share.secrets {
            let file = format!("{name}.secret");
            files.push((file.clone(), secret(&live.current().join(&file))?));
        }
        live.publish(&files)
    }
}

/// The secret at `path`, or a new one of 192 bits.
fn secret(path: &Path) -> Result<String> {
    use base64::Engine as _;
    use ring::rand::SecureRandom as _;
    if let Ok(secret) = std::fs::read_to_string(path) {
        return Ok(secret);
    }
    let mut bytes = [0; 24];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok().context("no randomness")?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}
