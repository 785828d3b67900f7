//! A gateway in one expression: a real Envoy with the filter, in front of services of the test's choosing.
//!
//! ```no_run
//! # use portcullis_tests::{client::{Call, Client}, gateway::Gateway, services::Service};
//! # fn main() -> anyhow::Result<()> {
//! let orders = Service::plain("orders")?;
//! let gateway = Gateway::builder()
//!     .filter(serde_json::json!({"version": 1, "rules": [{"match": {"prefix": "/"}, "allow": "public"}]}))
//!     .service(&orders)
//!     .start()?;
//! let response = Client::connect(gateway.port())?.call(&Call::get("/orders/1"))?;
//! assert_eq!(response.status, 200);
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::config;
use crate::envoy::{Envoy, Options};
use crate::eventually;
use crate::idp::Idp;
use crate::paths::{self, WorkDir};
use crate::pieces::{address, cluster, downstream_tls, filter, insert, mtls};
use crate::pki::Pki;
use crate::services::Service;

/// The name of the listener that a built gateway has.
const LISTENER: &str = "test";
/// How long workers may take to start.
const START: Duration = Duration::from_secs(30);

/// A running gateway. It derefs to [`Envoy`] for its log and its counters, and stops when dropped.
#[derive(Debug)]
pub struct Gateway {
    envoy: Envoy,
    builder: Builder,
    port: u16,
    dir: WorkDir,
}

impl Gateway {
    /// A gateway without filter and services, on any free port, with two workers.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The port on 127.0.0.1 where it serves HTTP/1.1 and HTTP/2 in the clear.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends `call` over a new connection, from which its answer is read later.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn send(&self, call: &Call) -> Result<Client> {
        let mut client = Client::connect(self.port)?;
        client.send(&call.to_bytes())?;
        Ok(client)
    }

    /// Whether every worker has had connections.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub fn every_worker_served(&self) -> Result<bool> {
        let stats = self.admin("GET", "/stats")?.text();
        Ok((0..self.builder.options.workers).all(|number| {
            let suffix = format!("worker_{number}.downstream_cx_total: ");
            let served = stats.lines().filter_map(|line| line.split_once(suffix.as_str())?.1.parse::<u64>().ok());
            served.sum::<u64>() > 0
        }))
    }

    /// The Envoy process.
    pub fn envoy_mut(&mut self) -> &mut Envoy {
        &mut self.envoy
    }

    /// Gives Envoy a new filter configuration while it serves (needs [`Builder::reloadable`]); waits for its verdict.
    ///
    /// # Errors
    /// Envoy says neither yes nor no within half a minute.
    pub fn reload(&mut self, filter: Value) -> Result<Reload> {
        self.builder.filter = Some(filter);
        let discovery = &self.builder.discovery;
        let part = if discovery.contains(&Discovery::Filter) { Discovery::Filter } else { Discovery::Listener };
        self.rewrite(part)
    }

    /// Gives Envoy new routes while it serves (needs [`Builder::reroutable`]); waits for its verdict.
    ///
    /// # Errors
    /// Envoy says neither yes nor no within half a minute.
    pub fn reroute(&mut self, routes: Vec<Value>) -> Result<Reload> {
        self.builder.routes = routes;
        self.rewrite(Discovery::Routes)
    }

    fn rewrite(&mut self, part: Discovery) -> Result<Reload> {
        let (_, accepted, rejected) = part.names();
        let before = (self.envoy.stat(accepted)?, self.envoy.stat(rejected)?);
        self.builder.write(part, &self.dir)?;
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(30) {
            if self.envoy.stat(accepted)? > before.0 {
                return Ok(Reload::Accepted);
            }
            if self.envoy.stat(rejected)? > before.1 {
                return Ok(Reload::Rejected);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("Envoy took no notice of the new configuration:\n{}", self.envoy.log());
    }
}

impl Deref for Gateway {
    type Target = Envoy;

    fn deref(&self) -> &Envoy {
        &self.envoy
    }
}

/// What Envoy made of a new configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It serves the new one.
    Accepted,
    /// It keeps the old one.
    Rejected,
}

/// What a [`Gateway`] shall be.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    filter: Option<Value>,
    module: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    routes: Vec<Value>,
    service_routes: Vec<Value>,
    clusters: Vec<Value>,
    listener_changes: Vec<(String, Value)>,
    options: Options,
    is_balanced: bool,
    tls: Option<Value>,
    discovery: BTreeSet<Discovery>,
}

/// A part of the configuration that Envoy reads from a file of its own and watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Discovery {
    Listener,
    Filter,
    Routes,
}

impl Discovery {
    /// The file's name, the counters of good and of bad updates.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Listener => ("lds", "listener_manager.lds.update_success", "listener_manager.lds.update_rejected"),
            Self::Filter => (
                "ecds",
                "extension_config_discovery.http_filter.portcullis.update_success",
                "extension_config_discovery.http_filter.portcullis.update_rejected",
            ),
            Self::Routes => ("rds", "http.test.rds.test.update_success", "http.test.rds.test.update_rejected"),
        }
    }

    fn source(self, dir: &WorkDir) -> Value {
        let file = dir.path().join(format!("{}.yaml", self.names().0));
        json!({"path_config_source": {"path": file, "watched_directory": {"path": dir.path()}}})
    }

    /// Writes the file in one step, as Envoy wants to see it.
    fn write(self, dir: &WorkDir, type_name: &str, mut resource: Value) -> Result<()> {
        insert(&mut resource, "@type", json!(format!("type.googleapis.com/{type_name}")));
        let new = dir.path().join(format!("{}.new", self.names().0));
        std::fs::write(&new, json!({"resources": [resource]}).to_string())?;
        Ok(std::fs::rename(new, dir.path().join(format!("{}.yaml", self.names().0)))?)
    }
}

impl Builder {
    /// Puts the filter into the chain, with this configuration. Without it the chain is the bare proxy.
    pub fn filter(mut self, configuration: Value) -> Self {
        self.filter = Some(configuration);
        self
    }

    /// Uses another module than the built one.
    pub fn module(mut self, path: impl Into<PathBuf>) -> Self {
        self.module = Some(path.into());
        self
    }

    /// Sets an environment variable of the filter's VM: where `env: NAME` reads secrets from.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Routes `/<name>` to a service in the clear, over a cluster of its name.
    pub fn service(mut self, service: &Service) -> Self {
        self.service_routes.push(service_route(service.name()));
        self.cluster(service.name(), service.port())
    }

    /// Routes `/<name>` to a service with mutual TLS, over a cluster of its name.
    pub fn mtls_service(mut self, service: &Service, pki: &Pki) -> Self {
        self.service_routes.push(service_route(service.name()));
        let mut cluster = cluster(service.name(), service.port());
        insert(&mut cluster, "transport_socket", mtls(pki, service.name()));
        self.clusters.push(cluster);
        self
    }

    /// Adds the cluster `idp` for a provider in the clear ([`Idp::plain`]).
    pub fn idp(self, idp: &Idp) -> Self {
        self.cluster("idp", idp.port())
    }

    /// Adds a cluster in the clear: a port on 127.0.0.1, whether anything listens there or not.
    pub fn cluster(mut self, name: &str, port: u16) -> Self {
        self.clusters.push(cluster(name, port));
        self
    }

    /// Adds a cluster in the clear that speaks HTTP/2, as gRPC asks for.
    pub fn http2_cluster(mut self, name: &str, port: u16) -> Self {
        let mut cluster = cluster(name, port);
        let options = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let http2 = json!({"@type": options, "explicit_http_config": {"http2_protocol_options": {}}});
        let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        insert(&mut cluster, "typed_extension_protocol_options", json!({key: http2}));
        self.clusters.push(cluster);
        self
    }

    /// Adds a route in Envoy's own form, before those of the services.
    pub fn route(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    /// Sets a member of the HTTP connection manager, in Envoy's own form.
    pub fn connection_manager(mut self, member: &str, value: Value) -> Self {
        self.listener_changes.push((member.to_owned(), value));
        self
    }

    /// Writes an access log to Envoy's log: one JSON object per request, with `status`, `details`, `path` and `request`.
    pub fn access_log(self) -> Self {
        let format = json!({
            "access": "end",
            "status": "%RESPONSE_CODE%",
            "details": "%RESPONSE_CODE_DETAILS%",
            "path": "%PATH(NQ)%",
            "request": "%REQ(X-REQUEST-ID)%",
        });
        let stdout = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
        let log = json!({"@type": stdout, "log_format": {"json_format": format}});
        self.connection_manager("access_log", json!([{"name": "stdout", "typed_config": log}]))
    }

    /// Serves HTTPS with the certificate `edge`; asks clients for a certificate of the same authority, which they may
    /// leave out.
    pub fn https(mut self, pki: &Pki) -> Self {
        self.tls = Some(downstream_tls(pki, &json!({"trusted_ca": {"filename": pki.ca()}})));
        self
    }

    /// Changes the TLS context of [`Self::https`]: for tests of what Envoy then says about certificates.
    pub fn tls_context(mut self, change: impl FnOnce(&mut Value)) -> Self {
        if let Some(context) = self.tls.as_mut().and_then(|tls| tls.get_mut("typed_config")) {
            change(context);
        }
        self
    }

    /// The number of worker threads; two unless said otherwise.
    pub fn workers(mut self, workers: u32) -> Self {
        self.options.workers = workers;
        self
    }

    /// Gives every worker as many connections as the others have, in place of what the kernel makes of it.
    pub fn balanced(mut self) -> Self {
        self.is_balanced = true;
        self
    }

    /// Envoy's log level; `info` unless said otherwise.
    pub fn log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.options.log_level);
        self
    }

    /// Lets [`Gateway::reload`] work: the listener is then read from a file that Envoy watches (LDS).
    pub fn reloadable(mut self) -> Self {
        self.discovery.insert(Discovery::Listener);
        self
    }

    /// Lets [`Gateway::reload`] work without a new listener: the filter alone is read from a file that Envoy watches (ECDS).
    pub fn filter_reloadable(mut self) -> Self {
        self.discovery.insert(Discovery::Filter);
        self
    }

    /// Lets [`Gateway::reroute`] work: the routes are read from a file that Envoy watches (RDS).
    pub fn reroutable(mut self) -> Self {
        self.discovery.insert(Discovery::Routes);
        self
    }

    /// How long Envoy keeps the connections of a listener that is replaced; its own ten minutes unless said otherwise.
    pub fn drain_seconds(mut self, seconds: u32) -> Self {
        self.options.drain_seconds = seconds;
        self
    }

    /// Starts Envoy and waits until it serves.
    ///
    /// # Errors
    /// Envoy or the module is not there, or Envoy refuses the configuration: with the end of its log.
    pub fn start(self) -> Result<Gateway> {
        let dir = WorkDir::create("gateway")?;
        let mut config = json!({
            "admin": {"address": address(0)},
            "stats_config": stats_config()?,
            "static_resources": {"clusters": self.clusters},
        });
        for part in &self.discovery {
            self.write(*part, &dir)?;
            insert(&mut config, "node", json!({"id": "test", "cluster": "test"}));
        }
        if self.discovery.contains(&Discovery::Listener) {
            insert(&mut config, "dynamic_resources", json!({"lds_config": Discovery::Listener.source(&dir)}));
        } else if let Some(resources) = config.get_mut("static_resources") {
            insert(resources, "listeners", json!([self.listener(&dir)?]));
        }
        let envoy = Envoy::start(&config, dir.path(), &self.options)?;
        let port =
            envoy.listener_port(LISTENER).with_context(|| format!("the listener was refused:\n{}", envoy.log()))?;
        // Those that start late would get what comes later.
        if self.is_balanced && !eventually(START, || envoy.stat("listener_manager.workers_started").unwrap_or(0) == 1) {
            bail!("not all workers have started:\n{}", envoy.log());
        }
        Ok(Gateway { envoy, builder: self, port, dir })
    }

    fn write(&self, part: Discovery, dir: &WorkDir) -> Result<()> {
        match part {
            Discovery::Listener => part.write(dir, "envoy.config.listener.v3.Listener", self.listener(dir)?),
            Discovery::Filter => {
                let filter = self.filter_entry()?.context("there is no filter to be read from a file")?;
                part.write(dir, "envoy.config.core.v3.TypedExtensionConfig", filter)
            }
            Discovery::Routes => part.write(dir, "envoy.config.route.v3.RouteConfiguration", self.route_config()),
        }
    }

    fn filter_entry(&self) -> Result<Option<Value>> {
        let Some(configuration) = &self.filter else { return Ok(None) };
        let module = self.module.clone().map_or_else(paths::module, Ok)?;
        Ok(Some(filter(configuration, &module, "portcullis", &self.environment)))
    }

    fn route_config(&self) -> Value {
        let mut routes = self.routes.clone();
        routes.extend(self.service_routes.iter().cloned());
        routes.push(json!({"name": "unmatched", "match": {"prefix": "/"}, "direct_response": {"status": 404}}));
        json!({"name": "test", "virtual_hosts": [{"name": "test", "domains": ["*"], "routes": routes}]})
    }

    fn listener(&self, dir: &WorkDir) -> Result<Value> {
        let mut filters = Vec::new();
        if self.discovery.contains(&Discovery::Filter) {
            filters.push(json!({
                "name": config::FILTER,
                "config_discovery": {
                    "config_source": Discovery::Filter.source(dir),
                    "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
                },
            }));
        } else {
            filters.extend(self.filter_entry()?);
        }
        let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
        filters.push(json!({"name": "envoy.filters.http.router", "typed_config": {"@type": router}}));
        let manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
        let mut manager = json!({
            "@type": format!("type.googleapis.com/{manager}"),
            "stat_prefix": LISTENER,
            "use_remote_address": true,
            "normalize_path": false,
            "merge_slashes": false,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "always_set_request_id_in_response": true,
            "http_filters": filters,
        });
        if self.discovery.contains(&Discovery::Routes) {
            let rds = json!({"route_config_name": "test", "config_source": Discovery::Routes.source(dir)});
            insert(&mut manager, "rds", rds);
        } else {
            insert(&mut manager, "route_config", self.route_config());
        }
        for (member, value) in &self.listener_changes {
            insert(&mut manager, member, value.clone());
        }
        let manager = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
        let mut chain = json!({"filters": [manager]});
        if let Some(tls) = &self.tls {
            insert(&mut chain, "transport_socket", tls.clone());
        }
        let mut listener = json!({"name": LISTENER, "address": address(0), "filter_chains": [chain]});
        if self.is_balanced {
            insert(&mut listener, "connection_balance_config", json!({"exact_balance": {}}));
        }
        Ok(listener)
    }
}

fn service_route(name: &str) -> Value {
    json!({"name": name, "match": {"path_separated_prefix": format!("/{name}")}, "route": {"cluster": name}})
}

/// The labels of the counters, as the reference gateway sets them.
fn stats_config() -> Result<Value> {
    let reference = config::load(&paths::root().join("envoy.yaml"))?;
    Ok(reference.get("stats_config").cloned().unwrap_or_default())
}
