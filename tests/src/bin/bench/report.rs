//! What was measured, for people and for programs.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use portcullis_tests::paths;
use ring::digest;
use serde_json::{Map, Value, json};

use crate::chains::Lane;
use crate::hits::{self, Hit};
use crate::memory::{self, Growth, Memory};

/// The CPU time of each lane's requests, round by round.
#[derive(Debug)]
pub struct Report {
    lanes: Vec<Lane>,
    requests: usize,
    /// Microseconds per request, one for each lane.
    rounds: Vec<Vec<f64>>,
    memory: Option<Memory>,
    hits: Vec<Hit>,
}

/// What a lane adds to the empty chain with the same requests, over all rounds.
#[derive(Debug, Clone, Copy)]
struct Added {
    median: f64,
    min: f64,
    max: f64,
}

impl Report {
    /// A report on `lanes`, without a round yet; each has so many `requests` in a round.
    pub fn new(lanes: Vec<Lane>, requests: usize) -> Self {
        Self { lanes, requests, rounds: Vec::new(), memory: None, hits: Vec::new() }
    }

    /// What is measured.
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Adds one round: the microseconds per request of each lane.
    pub fn push(&mut self, round: Vec<f64>) {
        self.rounds.push(round);
    }

    /// Adds what verified tokens take.
    pub fn set_memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    /// Adds what hits on a limit take by themselves.
    pub fn set_hits(&mut self, hits: Vec<Hit>) {
        self.hits = hits;
    }

    /// Prints the table.
    ///
    /// # Errors
    /// Nobody reads it, or Envoy or a module is gone.
    pub fn table(&self, out: &mut dyn Write) -> Result<()> {
        let (rounds, requests) = (self.rounds.len(), self.requests);
        writeln!(
            out,
            "CPU time of the Envoy process (user and system) that each chain adds to a request, in microseconds."
        )?;
        writeln!(
            out,
            "Median of the differences to the empty chain in {rounds} interleaved rounds of {requests} requests.\n"
        )?;
        for (name, value) in &self.environment()? {
            writeln!(out, "  {name:<7} {}", value.as_str().unwrap_or_default())?;
        }
        let has_before = self.lanes.iter().any(|lane| lane.is_before);
        let before = if has_before { "before" } else { "" };
        writeln!(out, "\n{:<60} {:>7}   {:<15} {:>6} {before:>8}", "", "added", "min .. max", "ratio")?;
        for (number, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| !lane.is_before) {
            let Added { median, min, max } = self.added(number);
            let spread = format!("{min:.1} .. {max:.1}");
            let ratio = self.ratio(number).map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let before = self.before(lane).map(|before| format!("{before:.1}")).unwrap_or_default();
            let all = if lane.row.chain.is_base() { " (in all)" } else { "" };
            let name = format!("{}{all}", lane.row.name);
            writeln!(out, "{name:<60} {median:>7.1}   {spread:<15} {ratio:>6} {before:>8}")?;
        }
        writeln!(out, "\nratio: to the native row below; under 1 the filter is the cheaper one.")?;
        if !self.hits.is_empty() {
            writeln!(out)?;
            print_hits(out, &self.hits)?;
        }
        if let Some(memory) = &self.memory {
            writeln!(out)?;
            print_memory(out, memory)?;
        }
        Ok(())
    }

    /// Prints the same as JSON.
    ///
    /// # Errors
    /// As for [`Report::table`].
    pub fn json(&self, out: &mut dyn Write) -> Result<()> {
        let measured = self.lanes.iter().enumerate().filter(|(_, lane)| !lane.is_before);
        let rows = measured.map(|(number, lane)| {
            let Added { median, min, max } = self.added(number);
            json!({
                "name": lane.row.name,
                "added_us": median,
                "min_us": min,
                "max_us": max,
                "ratio": self.ratio(number),
                "before_us": self.before(lane),
            })
        });
        let report = json!({
            "environment": self.environment()?,
            "rounds": self.rounds.len(),
            "requests": self.requests,
            "rows": rows.collect::<Vec<_>>(),
            "hits": self.hits.iter().map(hit_json).collect::<Vec<_>>(),
            "memory": self.memory.as_ref().map(memory_json),
        });
        Ok(writeln!(out, "{report:#}")?)
    }

    fn added(&self, number: usize) -> Added {
        let row = self.lanes.get(number).map(|lane| lane.row);
        let base = row.filter(|row| !row.chain.is_base()).and_then(|row| self.find(row.base(), false));
        let added =
            |round: &Vec<f64>| Some(round.get(number)? - base.map_or(Some(0.0), |base| round.get(base).copied())?);
        let mut values: Vec<f64> = self.rounds.iter().filter_map(added).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Added { median: at(values.len() / 2), min: at(0), max: at(values.len().saturating_sub(1)) }
    }

    fn find(&self, row: usize, is_before: bool) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.index == row && lane.is_before == is_before)
    }

    /// How a lane stands to the one that it is compared with.
    fn ratio(&self, number: usize) -> Option<f64> {
        let beside = self.find(self.lanes.get(number)?.row.beside?, false)?;
        Some(self.added(number).median / self.added(beside).median)
    }

    /// What the earlier module adds.
    fn before(&self, lane: &Lane) -> Option<f64> {
        Some(self.added(self.find(lane.index, true)?).median)
    }

    /// Where it was measured, and what.
    fn environment(&self) -> Result<Map<String, Value>> {
        let mut environment = Map::new();
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1));
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        environment.insert("cpu".to_owned(), json!(format!("{cores} x {}", model.unwrap_or("unknown"))));
        let version = Command::new(paths::envoy()?).arg("--version").output()?;
        let version = String::from_utf8_lossy(&version.stdout);
        let version = version.split_once("version: ").map_or("unknown", |(_, version)| version.trim());
        environment.insert("envoy".to_owned(), json!(version));
        for (name, is_before) in [("module", false), ("before", true)] {
            if let Some(lane) = self.lanes.iter().find(|lane| lane.is_before == is_before) {
                environment.insert(name.to_owned(), json!(fingerprint(&lane.module)?));
            }
        }
        Ok(environment)
    }
}

/// A module's size and hash.
fn fingerprint(module: &Path) -> Result<String> {
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let hash = digest::digest(&digest::SHA256, &bytes);
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{} bytes, sha256 {hash}", bytes.len()))
}

fn print_hits(out: &mut dyn Write, hits: &[Hit]) -> Result<()> {
    writeln!(
        out,
        "{}, in a loop within Envoy, in microseconds: median of batches, and beside it a get and a set of the same value.\n",
        hits::NAME
    )?;
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    writeln!(out, "{:<60} {:>7} {:>11}", "", "hit", "get and set")?;
    for Hit { clients, hit, floor } in hits {
        writeln!(out, "{:<60} {:>7.2} {:>11.2}", format!("clients: {clients}"), micros(*hit), micros(*floor))?;
    }
    Ok(())
}

fn hit_json(hit: &Hit) -> Value {
    json!({"clients": hit.clients, "hit_ns": hit.hit, "get_and_set_ns": hit.floor})
}

fn print_memory(out: &mut dyn Write, memory: &Memory) -> Result<()> {
    let (tokens, cache) = (memory::TOKENS, memory::DEFAULT_CACHE);
    writeln!(
        out,
        "Memory: growth of an Envoy with one worker by {tokens} distinct ES256 tokens of {} bytes, in MiB.\n",
        memory.token
    )?;
    writeln!(out, "{:<60} {:>8} {:>14}", "", "resident", "linear memory")?;
    for (name, Growth { resident, linear }) in [
        ("all of them in the cache", memory.cached),
        ("token_cache: 0, for comparison", memory.uncached),
        (&format!("token_cache: {cache} (the default)"), memory.bounded),
    ] {
        writeln!(out, "{name:<60} {:>8.1} {:>14.1}", mebibytes(resident), mebibytes(linear))?;
    }
    let held = memory.held;
    writeln!(out, "\nA full token_cache of {cache} holds {held} to {} such tokens.", held.saturating_mul(2))?;
    Ok(())
}

fn mebibytes(bytes: i64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn memory_json(memory: &Memory) -> Value {
    let growth = |growth: Growth| json!({"resident": growth.resident, "linear": growth.linear});
    json!({
        "tokens": memory::TOKENS,
        "token_bytes": memory.token,
        "cached": growth(memory.cached),
        "uncached": growth(memory.uncached),
        "default_cache": growth(memory.bounded),
        "default_cache_tokens": [memory.held, memory.held.saturating_mul(2)],
    })
}
