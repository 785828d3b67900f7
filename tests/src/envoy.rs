//! A running Envoy: started from a configuration, asked over its admin port, stopped by its own process id.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::client::{Call, Client, Response};
use crate::paths;
use crate::process::{Process, Program};

/// How long Envoy may take to be ready: a large module is compiled first.
const START: Duration = Duration::from_secs(60);

/// How to start it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker threads.
    pub workers: u32,
    /// `warning`, `info`, `debug`, ...
    pub log_level: String,
    /// How long connections of a listener that is replaced are kept, in seconds.
    pub drain_seconds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 2, log_level: "info".to_owned(), drain_seconds: 600 }
    }
}

/// The pinned Envoy with a configuration of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin_port: u16,
    log: PathBuf,
}

impl Envoy {
    /// Starts Envoy with `config` and waits until it serves. Its files (`envoy.yaml`, `envoy.log`) are kept in `dir`.
    ///
    /// Relative paths in the configuration start at the root of the repository. The admin interface may have port 0.
    ///
    /// # Errors
    /// It is not installed, refuses the configuration, or is not ready within a minute: with the end of its log.
    pub fn start(config: &Value, dir: &Path, options: &Options) -> Result<Self> {
        let file = dir.join("envoy.yaml");
        let log = dir.join("envoy.log");
        let admin = dir.join("admin-address");
        let _ = std::fs::remove_file(&admin);
        // JSON is YAML.
        std::fs::write(&file, serde_json::to_string_pretty(config)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let mut arguments: Vec<OsString> = vec!["-c".into(), file.into()];
        arguments.extend(["--admin-address-path".into(), admin.clone().into()]);
        arguments.extend(["--concurrency".into(), options.workers.to_string().into()]);
        arguments.extend(["--log-level".into(), options.log_level.clone().into()]);
        arguments.extend(["--drain-time-s".into(), options.drain_seconds.to_string().into()]);
        // The access log is read while Envoy runs.
        arguments.extend(["--file-flush-interval-msec".into(), "50".into()]);
        // Several gateways run side by side on one machine; none hands over to another.
        arguments.push("--disable-hot-restart".into());
        let program =
            Program { path: paths::envoy()?, arguments, directory: paths::root(), output: File::create(&log)? };
        let mut envoy = Self { process: Process::start(program)?, admin_port: 0, log };
        envoy.wait_until_ready(&admin)?;
        Ok(envoy)
    }

    /// The port that the listener called `name` has in the end.
    ///
    /// # Errors
    /// There is no such listener.
    pub fn listener_port(&self, name: &str) -> Result<u16> {
        let listeners = self.admin("GET", "/listeners?format=json")?.json();
        let listeners = listeners.get("listener_statuses").and_then(Value::as_array).cloned().unwrap_or_default();
        let listener = listeners.iter().find(|listener| listener.get("name").and_then(Value::as_str) == Some(name));
        let port = listener.and_then(|listener| listener.pointer("/local_address/socket_address/port_value"));
        let port = port.and_then(Value::as_u64).with_context(|| format!("Envoy has no listener {name}"))?;
        Ok(u16::try_from(port)?)
    }

    /// The port of the admin interface.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// Envoy's process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Asks the admin interface.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub fn admin(&self, method: &str, path: &str) -> Result<Response> {
        Client::connect(self.admin_port)?.call(&Call::new(method, path))
    }

    /// The value of a counter or gauge of `/stats`; 0 where it does not exist (yet).
    ///
    /// # Errors
    /// Envoy does not answer.
    pub fn stat(&self, name: &str) -> Result<u64> {
        let stats = self.admin("GET", "/stats")?.text();
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
        Ok(value.unwrap_or(0))
    }

    /// All counters and gauges as Prometheus would read them.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub fn prometheus(&self) -> Result<String> {
        Ok(self.admin("GET", "/stats/prometheus")?.text())
    }

    /// Everything that Envoy and the filter have logged so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The filter's audit events so far (one JSON object per line of the log), in order.
    pub fn audit(&self) -> Vec<Value> {
        let log = self.log();
        let events =
            log.lines().filter_map(|line| serde_json::from_str(line.get(line.find("{\"@timestamp\"")?..)?).ok());
        events.collect()
    }

    /// The audit event of the request with this id; waits a little for it.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn audit_of(&self, request_id: &str) -> Result<Value> {
        let of_request = || {
            let mut events = self.audit();
            events.retain(|event| event.get("http.request.id").and_then(Value::as_str) == Some(request_id));
            events
        };
        crate::eventually(Duration::from_secs(5), || !of_request().is_empty());
        match <[Value; 1]>::try_from(of_request()) {
            Ok([event]) => Ok(event),
            Err(events) => bail!("{} audit events for request {request_id}: {events:?}", events.len()),
        }
    }

    /// The sum of a counter over all label sets that hold these labels, as Prometheus would read it.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let text = self.prometheus()?;
        let wanted: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let matching = text.lines().filter_map(|line| {
            let (set, value) = line.strip_prefix(name)?.strip_prefix('{')?.split_once("} ")?;
            let has = |label: &String| set.split(',').any(|one| one == label);
            wanted.iter().all(has).then(|| value.trim().parse::<u64>().unwrap_or(0))
        });
        Ok(matching.sum())
    }

    /// What must hold after any traffic at all: no panic, no reload of the filter's VM.
    ///
    /// # Errors
    /// What was found.
    pub fn check_unharmed(&self) -> Result<()> {
        let log = self.log();
        let signs = ["panicked", "Function: proxy_", "Uncaught RuntimeError", "Wasm VM failed to"];
        if let Some(line) = log.lines().find(|line| signs.iter().any(|sign| line.contains(sign))) {
            bail!("the filter failed: {line}");
        }
        let stats = self.admin("GET", "/stats")?.text();
        let reloads = stats.lines().filter(|line| line.contains("vm_reload") && !line.ends_with(": 0"));
        if let Some(line) = reloads.into_iter().next() {
            bail!("the filter's VM was reloaded: {line}");
        }
        Ok(())
    }

    /// Waits until the log contains `text`.
    ///
    /// # Errors
    /// It does not within `patience`.
    pub fn wait_for_log(&self, text: &str, patience: Duration) -> Result<()> {
        let started = Instant::now();
        while !self.log().contains(text) {
            if started.elapsed() > patience {
                bail!("{text:?} did not appear in the log:\n{}", self.log_end());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether Envoy still runs: a crash shows here.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.exit()?.is_none())
    }

    /// Stops Envoy and waits until it is gone.
    ///
    /// # Errors
    /// The system cannot tell how it ended.
    pub fn stop(mut self) -> Result<()> {
        self.process.stop().map(|_| ())
    }

    fn wait_until_ready(&mut self, admin: &Path) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < START {
            if let Some(status) = self.process.exit()? {
                bail!("Envoy refused to start ({status}):\n{}", self.log_end());
            }
            let address = std::fs::read_to_string(admin).unwrap_or_default();
            if let Some(port) = address.trim().rsplit(':').next().and_then(|port| port.parse().ok()) {
                self.admin_port = port;
                if self.admin("GET", "/ready").is_ok_and(|response| response.status == 200) {
                    return Ok(());
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("Envoy was not ready within {START:?}:\n{}", self.log_end());
    }

    /// The last lines of the log that are worth reading: warnings and worse where there are any.
    fn log_end(&self) -> String {
        let log = self.log();
        let notable = |line: &&str| ["[warning]", "[error]", "[critical]"].iter().any(|level| line.contains(level));
        let mut lines: Vec<&str> = log.lines().filter(notable).collect();
        if lines.is_empty() {
            lines = log.lines().collect();
        }
        let skipped = lines.len().saturating_sub(20);
        lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}
