//! A real Prometheus as Debian packages it, on loopback, that reads one target; and its tool.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::client::{Call, Client, percent_encoded};
use crate::eventually;
use crate::paths::WorkDir;
use crate::process::{Process, Program};
use crate::server;

const PROGRAM: &str = "/usr/bin/prometheus";
const TOOL: &str = "/usr/bin/promtool";

/// A running Prometheus; it stops when dropped.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    _process: Process,
    _dir: WorkDir,
}

impl Prometheus {
    /// What of it is missing on this machine; `None` where it can be started.
    pub fn missing() -> Option<&'static str> {
        [PROGRAM, TOOL].into_iter().find(|path| !Path::new(path).is_file())
    }

    /// Starts one that reads `/stats/prometheus` at this port every second as the job `gateway`, with these alerts.
    ///
    /// # Errors
    /// It does not start: with its log.
    pub fn start(target: u16, rules: &Path) -> Result<Self> {
        let dir = WorkDir::create("prometheus")?;
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{
                "job_name": "gateway",
                "metrics_path": "/stats/prometheus",
                "static_configs": [{"targets": [format!("127.0.0.1:{target}")]}],
            }],
        });
        // JSON is YAML.
        std::fs::write(dir.path().join("prometheus.yml"), config.to_string())?;
        // It takes no port 0.
        let port = server::listen(0)?.local_addr()?.port();
        let arguments = [
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let log = dir.path().join("prometheus.log");
        let mut process = Process::start(Program {
            path: PathBuf::from(PROGRAM),
            arguments: arguments.into_iter().map(OsString::from).collect(),
            directory: dir.path().to_path_buf(),
            output: File::create(&log)?,
        })?;
        let ready = || Client::connect(port).and_then(|mut client| client.call(&Call::get("/-/ready")));
        let is_ready = || ready().is_ok_and(|response| response.status == 200);
        if !eventually(Duration::from_secs(30), || is_ready() || !matches!(process.exit(), Ok(None))) || !is_ready() {
            bail!("{PROGRAM} does not serve: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        Ok(Self { port, _process: process, _dir: dir })
    }

    /// The samples of the series that `expression` gives now: their values.
    ///
    /// # Errors
    /// It refuses the expression.
    pub fn query(&self, expression: &str) -> Result<Vec<f64>> {
        let encoded = percent_encoded(expression);
        let answer = self.get(&format!("/api/v1/query?query={encoded}"))?;
        let series = answer.pointer("/data/result").and_then(Value::as_array).context("no vector")?;
        let value = |series: &Value| series.pointer("/value/1")?.as_str()?.parse().ok();
        series.iter().map(|series| value(series).with_context(|| format!("no value: {series}"))).collect()
    }

    /// The alerts that it has loaded: name and health.
    ///
    /// # Errors
    /// It does not answer.
    pub fn alerts(&self) -> Result<Vec<(String, String)>> {
        let answer = self.get("/api/v1/rules?type=alert")?;
        let groups = answer.pointer("/data/groups").and_then(Value::as_array).cloned().unwrap_or_default();
        let rules = groups.iter().filter_map(|group| group.get("rules")?.as_array()).flatten();
        let text = |rule: &Value, name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(rules.map(|rule| (text(rule, "name"), text(rule, "health"))).collect())
    }

    fn get(&self, path: &str) -> Result<Value> {
        let response = Client::connect(self.port)?.call(&Call::get(path))?;
        ensure!(response.status == 200, "{path}: {} {}", response.status, response.text());
        Ok(response.json())
    }
}

/// Runs `promtool` in `directory`; gives what it prints.
///
/// # Errors
/// It finds a mistake: with what it prints.
pub fn promtool(directory: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(TOOL).current_dir(directory).args(arguments).output()?;
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    ensure!(output.status.success(), "promtool {arguments:?}: {printed}");
    Ok(printed)
}
