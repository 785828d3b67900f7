//! The reference gateway: `envoy.yaml` itself, with the parties that it expects around it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::client::{Client, Response};
use crate::config;
use crate::envoy::{Envoy, Options};
use crate::idp::Idp;
use crate::keys::{Algorithm, SigningKey, jwks};
use crate::paths::{self, WorkDir};
use crate::pki::Pki;
use crate::services::Service;
use crate::{eventually, tls};

/// A port for every listener; 0 is any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// HTTPS: what clients use.
    pub https: u16,
    /// HTTP: the redirect to HTTPS.
    pub http: u16,
    /// Envoy's admin interface.
    pub admin: u16,
    /// The identity provider.
    pub idp: u16,
    /// The service `orders`.
    pub orders: u16,
    /// The service `reports`.
    pub reports: u16,
}

impl Ports {
    /// The ports that `envoy.yaml` has.
    pub const REFERENCE: Self = Self { https: 8443, http: 8080, admin: 9901, idp: 9100, orders: 9101, reports: 9102 };

    /// Any free ports.
    pub const ANY: Self = Self { https: 0, http: 0, admin: 0, idp: 0, orders: 0, reports: 0 };

    /// All of them, in the order of the fields.
    pub const fn all(self) -> [u16; 6] {
        [self.https, self.http, self.admin, self.idp, self.orders, self.reports]
    }
}

/// The running reference gateway with its services and identity provider. Dropping it stops everything.
#[derive(Debug)]
pub struct Reference {
    envoy: Envoy,
    ports: Ports,
    /// The identity provider.
    pub idp: Idp,
    /// The service `orders`.
    pub orders: Service,
    /// The service `reports`.
    pub reports: Service,
}

/// Changes the configuration before Envoy gets it.
pub type Change<'a> = &'a mut dyn FnMut(&mut Value);

impl Reference {
    /// Starts everything: Envoy with `envoy.yaml` as it stands but for the ports, the place of the certificates and
    /// of the module, and what `change` does to it. Envoy's files go to `dir`.
    ///
    /// # Errors
    /// A port is taken, Envoy is missing, or refuses the configuration.
    pub fn start(ports: Ports, pki: &Pki, jwks: &Value, dir: &Path, options: &Options, change: Change) -> Result<Self> {
        let idp = Idp::start(ports.idp, pki, jwks)?;
        let orders = Service::start("orders", ports.orders, pki)?;
        let reports = Service::start("reports", ports.reports, pki)?;
        let ports = Ports { idp: idp.port(), orders: orders.port(), reports: reports.port(), ..ports };
        let mut config = config::load(&paths::root().join("envoy.yaml"))?;
        let changed: BTreeMap<u16, u16> = Ports::REFERENCE.all().into_iter().zip(ports.all()).collect();
        config::set_ports(&mut config, &changed);
        config::set_directory(&mut config, "target/demo/pki", pki.directory());
        change(&mut config);
        if config::filter_configuration(&config).is_some() {
            config::set_module(&mut config, &paths::module()?);
        }
        let envoy = Envoy::start(&config, dir, options)?;
        let https = envoy.listener_port("https")?;
        let http = envoy.listener_port("http")?;
        let ports = Ports { https, http, admin: envoy.admin_port(), ..ports };
        Ok(Self { envoy, ports, idp, orders, reports })
    }

    /// The ports that it has in the end.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// A client over HTTPS that trusts the authority of `pki` and shows no certificate.
    ///
    /// # Errors
    /// The gateway does not listen, or does not show the certificate of `localhost`.
    pub fn client(&self, pki: &Pki) -> Result<Client> {
        Client::connect_tls(self.ports.https, tls::client(pki, None, &["http/1.1"])?, "localhost")
    }

    /// The line of the access log about the request that was answered so; waits a little for it.
    ///
    /// # Errors
    /// There is none, or the answer has no request id.
    pub fn access_log_of(&self, response: &Response) -> Result<Value> {
        let id = response.header("x-request-id").context("an answer without a request id")?;
        let find = || {
            let log = self.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let is_of_request = |line: &Value| line.get("request").and_then(Value::as_str) == Some(id);
            lines.find(|line| is_of_request(line) && line.get("milliseconds").is_some())
        };
        // Envoy writes its access log at intervals.
        eventually(Duration::from_secs(15), || find().is_some());
        find().with_context(|| format!("no line of request {id}"))
    }

    /// The Envoy process.
    pub fn envoy_mut(&mut self) -> &mut Envoy {
        &mut self.envoy
    }
}

/// Files, certificates and a signing key for reference gateways of a test's own.
#[derive(Debug)]
pub struct Grounds {
    /// The authority and the certificates of all parties.
    pub pki: Pki,
    /// What the identity provider signs with: ES256.
    pub key: SigningKey,
    /// Where everything is written.
    pub dir: WorkDir,
}

impl Grounds {
    /// New ones, which are removed when dropped.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn prepare(name: &str) -> Result<Self> {
        let dir = WorkDir::create(name)?;
        let pki = Pki::load_or_create(&dir.path().join("pki"))?;
        Ok(Self { pki, key: SigningKey::generate(Algorithm::Es256, "k1"), dir })
    }

    /// Starts a gateway on free ports, with the configuration that `change` leaves. Its files are in the directory `name`.
    ///
    /// # Errors
    /// As [`Reference::start`].
    pub fn start(&self, name: &str, change: Change) -> Result<Reference> {
        let files = self.dir.path().join(name);
        std::fs::create_dir_all(&files)?;
        Reference::start(Ports::ANY, &self.pki, &jwks([&self.key]), &files, &Options::default(), change)
    }
}

impl Deref for Reference {
    type Target = Envoy;

    fn deref(&self) -> &Envoy {
        &self.envoy
    }
}
