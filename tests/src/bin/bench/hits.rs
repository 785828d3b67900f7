//! What a hit on one limit takes by itself: measured by a module (`filter/wasm/examples/hits.rs`), in a loop within Envoy.

use std::time::Duration;

use anyhow::{Context, Result};
use portcullis_tests::envoy::{Envoy, Options};
use portcullis_tests::paths::{self, WorkDir};
use serde_json::json;

use crate::chains::address;

/// Which rows are these, for `--only`.
pub const NAME: &str = "a hit on one limit";

/// One measurement, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    /// How many clients take turns.
    pub clients: u64,
    /// Whose counter, the charge, and what the client is told.
    pub hit: u64,
    /// What the host takes of it: a get and a set of a value of the same size.
    pub floor: u64,
}

/// Runs the module once. Empty where it was not built.
///
/// # Errors
/// Envoy does not start, or the module does not finish within two minutes.
pub fn measure() -> Result<Vec<Hit>> {
    let module = paths::target().join("hits.wasm");
    if !module.is_file() {
        return Ok(Vec::new());
    }
    let service = json!({
        "@type": "type.googleapis.com/envoy.extensions.wasm.v3.WasmService",
        "singleton": true,
        "config": {
            "name": "hits",
            "root_id": "hits",
            "vm_config": {
                "vm_id": "hits",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}},
            },
        },
    });
    let config = json!({
        "admin": {"address": address(0)},
        "bootstrap_extensions": [{"name": "envoy.bootstrap.wasm", "typed_config": service}],
    });
    let dir = WorkDir::create("bench-hits")?;
    let envoy = Envoy::start(&config, dir.path(), &Options { workers: 1, ..Options::default() })?;
    envoy.wait_for_log("hits: done", Duration::from_secs(120))?;
    let log = envoy.log();
    envoy.stop()?;
    log.lines().filter_map(|line| line.split_once("hits: clients ")).map(|(_, line)| read(line)).collect()
}

/// `1 hit 1270 floor 960`
fn read(line: &str) -> Result<Hit> {
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    let mut next = || numbers.next().with_context(|| format!("the module has written {line:?}"));
    Ok(Hit { clients: next()?, hit: next()?, floor: next()? })
}
