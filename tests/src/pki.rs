//! The demo certificate authority and the certificates that it signs: the gateway's two, and one for every service.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::live::Live;

/// The DNS name in the gateway's client certificate; services let nobody else in.
pub const GATEWAY_NAME: &str = "gateway.demo";

/// What clients of the gateway see.
const EDGE: &str = "edge";
/// What services see of the gateway.
const GATEWAY: &str = "gateway";
/// The secret that names the authority.
const AUTHORITY: &str = "authority";

/// How long new certificates are good for, unless said otherwise.
const LIFETIME: Duration = Duration::from_secs(90 * 86_400);
/// Certificates with less time left than this are made anew.
const MINIMUM_LEFT: Duration = Duration::from_secs(86_400);

/// What a certificate is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A TLS server.
    Server,
    /// A TLS client.
    Client,
}

/// When a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From an hour ago (a clock that is a little behind must not refuse it) for this long from now.
    For(Duration),
    /// Until this long ago.
    Ended(Duration),
}

/// A certificate and its private key, PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS#8).
    pub key: String,
}

/// The names that a demo certificate carries.
#[derive(Debug, Clone, Copy)]
struct Identity {
    file: &'static str,
    dns: &'static [&'static str],
    uri: &'static str,
    usage: Usage,
}

/// Every certificate of the demo. `edge` is what clients of the gateway see; `gateway` is what services see.
const IDENTITIES: [Identity; 5] = [
    Identity { file: "edge", dns: &["localhost", "api.demo"], uri: "spiffe://demo/edge", usage: Usage::Server },
    Identity { file: "gateway", dns: &[GATEWAY_NAME], uri: "spiffe://demo/gateway", usage: Usage::Client },
    Identity { file: "orders", dns: &["orders.demo"], uri: "spiffe://demo/orders", usage: Usage::Server },
    Identity { file: "reports", dns: &["reports.demo"], uri: "spiffe://demo/reports", usage: Usage::Server },
    Identity { file: "idp", dns: &["idp.demo"], uri: "spiffe://demo/idp", usage: Usage::Server },
];

/// A directory with the demo authority (`ca.pem`, `ca.key`) and a `NAME.pem`, `NAME.key` for each identity.
#[derive(Debug, Clone)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Uses the certificates in `dir` where all are there and good for another day, else makes all of them anew.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn load_or_create(dir: &Path) -> Result<Self> {
        let pki = Self { dir: dir.to_path_buf() };
        if pki.verify().is_err() {
            pki.create().with_context(|| format!("cannot make certificates in {}", dir.display()))?;
        }
        pki.publish()?;
        Ok(pki)
    }

    /// The directory of the files.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The authority's certificate: what clients of the gateway trust.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The certificate of `name`, PEM.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.pem"))
    }

    /// The private key of `name`, PEM (PKCS#8).
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    /// The authority of `dir` (`ca.pem`, `ca.key`), made where there is none that is good for `left` more.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn authority(dir: &Path, left: Duration) -> Result<Self> {
        let pki = Self { dir: dir.to_path_buf() };
        if pki.authority_ends().is_none_or(|end| end < SystemTime::now() + left) {
            pki.create_authority().with_context(|| format!("cannot make an authority in {}", dir.display()))?;
        }
        Ok(pki)
    }

    /// The certificates that somebody else put into `dir`.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// Signs a certificate of its own choosing: for tests that come with the wrong name or the wrong use.
    ///
    /// # Errors
    /// A name that no certificate can carry, or the directory cannot be written.
    pub fn issue(&self, name: &str, dns: &[&str], uri: &str, usage: Usage) -> Result<()> {
        self.keep(name, &self.sign(name, dns, uri, usage, Validity::For(LIFETIME))?)
    }

    /// Writes a certificate under the name that it shall have here.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn keep(&self, name: &str, issued: &Issued) -> Result<()> {
        std::fs::write(self.certificate(name), &issued.certificate)?;
        write_private(&self.key(name), &issued.key)
    }

    /// Makes the certificate of `name`, one of the demo's own, anew: with a new key, and this validity.
    ///
    /// # Errors
    /// There is no such name, or the directory cannot be written.
    pub fn renew(&self, name: &str, validity: Validity) -> Result<()> {
        let identity = IDENTITIES.iter().find(|identity| identity.file == name).context("no such identity")?;
        self.keep(name, &self.sign(name, identity.dns, identity.uri, identity.usage, validity)?)
    }

    /// Signs a certificate with a key of its own, and writes nothing.
    ///
    /// # Errors
    /// A name that no certificate can carry, or the authority cannot be read.
    pub fn sign(&self, name: &str, dns: &[&str], uri: &str, usage: Usage, validity: Validity) -> Result<Issued> {
        let ca_key = KeyPair::from_pem(&std::fs::read_to_string(self.dir.join("ca.key"))?)?;
        let issuer = Issuer::new(ca_params()?, ca_key);
        let mut params = CertificateParams::new(dns.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
        params.subject_alt_names.push(SanType::URI(Ia5String::try_from(uri)?));
        if name == "edge" {
            params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
            params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()));
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, validity);
        let key = KeyPair::generate()?;
        Ok(Issued { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
    }

    fn create_authority(&self) -> Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let ca_key = KeyPair::generate()?;
        let ca = ca_params()?.self_signed(&ca_key)?;
        std::fs::write(self.ca(), ca.pem())?;
        write_private(&self.dir.join("ca.key"), &ca_key.serialize_pem())
    }

    /// When the authority's certificate ends, where there is one with its key: as long after its file was written as
    /// every authority lives.
    fn authority_ends(&self) -> Option<SystemTime> {
        KeyPair::from_pem(&std::fs::read_to_string(self.dir.join("ca.key")).ok()?).ok()?;
        std::fs::metadata(self.ca()).ok()?.modified().ok()?.checked_add(LIFETIME)
    }

    fn create(&self) -> Result<()> {
        self.create_authority()?;
        for identity in IDENTITIES {
            self.issue(identity.file, identity.dns, identity.uri, identity.usage)?;
        }
        Ok(())
    }

    /// What Envoy reads: the certificates of the gateway and the authority, exchanged as a whole by [`Pki::publish`].
    pub fn live(&self) -> Live {
        Live::at(self.dir.join("live"))
    }

    /// Puts the gateway's certificates and the authority, as they stand in the directory, in force for an Envoy that
    /// reads them through the files in `sds`.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn publish(&self) -> Result<()> {
        let mut files = vec![("ca.pem".to_owned(), std::fs::read_to_string(self.ca())?)];
        for name in [EDGE, GATEWAY] {
            files.push((format!("{name}.pem"), std::fs::read_to_string(self.certificate(name))?));
            files.push((format!("{name}.key"), std::fs::read_to_string(self.key(name))?));
        }
        self.live().publish(&files)?;
        let sds = self.dir.join("sds");
        std::fs::create_dir_all(&sds)?;
        for name in [EDGE, GATEWAY, AUTHORITY] {
            std::fs::write(sds.join(format!("{name}.yaml")), format!("{:#}\n", self.secret(name)))?;
        }
        Ok(())
    }

    /// What a file in `sds` says: where the secret is, and which directory to watch for a new one. JSON is YAML.
    fn secret(&self, name: &str) -> Value {
        let live = self.live();
        let file = |file: String| json!({"filename": live.current().join(file)});
        let watched = json!({"path": live.directory()});
        let mut secret = json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": name,
        });
        let (kind, value) = if name == AUTHORITY {
            ("validation_context", json!({"trusted_ca": file("ca.pem".to_owned()), "watched_directory": watched}))
        } else {
            let (chain, key) = (file(format!("{name}.pem")), file(format!("{name}.key")));
            let value = json!({"certificate_chain": chain, "private_key": key, "watched_directory": watched});
            ("tls_certificate", value)
        };
        if let Some(secret) = secret.as_object_mut() {
            secret.insert(kind.to_owned(), value);
        }
        json!({"resources": [secret]})
    }

    /// Whether every certificate is there, comes from this authority and is good for a while.
    fn verify(&self) -> Result<()> {
        let ca = CertificateDer::from_pem_file(self.ca()).map_err(|error| anyhow!("{error}"))?;
        let anchor = webpki::anchor_from_trusted_cert(&ca)?;
        let then = SystemTime::now().checked_add(MINIMUM_LEFT).unwrap_or_else(SystemTime::now);
        let then = UnixTime::since_unix_epoch(then.duration_since(SystemTime::UNIX_EPOCH)?);
        for identity in IDENTITIES {
            let certificate =
                CertificateDer::from_pem_file(self.certificate(identity.file)).map_err(|e| anyhow!("{e}"))?;
            let usage = match identity.usage {
                Usage::Server => webpki::KeyUsage::server_auth(),
                Usage::Client => webpki::KeyUsage::client_auth(),
            };
            webpki::EndEntityCert::try_from(&certificate)?.verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                std::slice::from_ref(&anchor),
                &[],
                then,
                usage,
                None,
                None,
            )?;
            KeyPair::from_pem(&std::fs::read_to_string(self.key(identity.file))?)?;
        }
        KeyPair::from_pem(&std::fs::read_to_string(self.dir.join("ca.key"))?)?;
        Ok(())
    }
}

/// Writes a secret that only its owner may read.
///
/// # Errors
/// The file cannot be written.
pub fn write_private(path: &Path, contents: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // An old file would keep its old mode.
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(contents.as_bytes())?;
    Ok(())
}

fn ca_params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Portcullis demo authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, Validity::For(LIFETIME));
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let now = OffsetDateTime::now_utc();
    let span = |span: Duration| time::Duration::try_from(span).unwrap_or_default();
    let (from, until) = match validity {
        Validity::For(left) => (now.checked_sub(time::Duration::hours(1)), now.checked_add(span(left))),
        Validity::Ended(ago) => {
            let until = now.checked_sub(span(ago));
            (until.and_then(|until| until.checked_sub(time::Duration::days(1))), until)
        }
    };
    params.not_before = from.unwrap_or(now);
    params.not_after = until.unwrap_or(now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::WorkDir;

    #[test]
    fn good_certificates_are_reused_and_broken_ones_made_anew() {
        let dir = WorkDir::create("pki").unwrap();
        let pki = Pki::load_or_create(dir.path()).unwrap();
        let first = std::fs::read_to_string(pki.certificate("orders")).unwrap();
        Pki::load_or_create(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(pki.certificate("orders")).unwrap(), first);
        std::fs::remove_file(pki.key("reports")).unwrap();
        Pki::load_or_create(dir.path()).unwrap();
        assert_ne!(std::fs::read_to_string(pki.certificate("orders")).unwrap(), first);
    }

    #[test]
    fn private_keys_are_readable_by_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = WorkDir::create("pki-mode").unwrap();
        let pki = Pki::load_or_create(dir.path()).unwrap();
        for name in ["ca", "edge", "gateway", "orders", "idp"] {
            assert_eq!(std::fs::metadata(pki.key(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
}
