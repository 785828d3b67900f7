//! How much memory verified tokens take in a worker.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portcullis_tests::envoy::{Envoy, Options};
use portcullis_tests::keys::SigningKey;
use portcullis_tests::paths::WorkDir;
use serde_json::{Value, json};

use crate::body::Body;
use crate::chains::{address, configuration, jwt, listener, portcullis};
use crate::load::{Bearer, Load};
use crate::token;

/// How many tokens are sent, each once.
pub const TOKENS: usize = 10_000;

/// The default of `token_cache`.
pub const DEFAULT_CACHE: &str = "8MiB";

/// Enough for all tokens, whatever the filter reckons for each; only what is used is ever taken.
const ROOMY_CACHE: &str = "128MiB";

/// So many tokens are sent between two looks at the counters.
const BATCH: usize = 200;

/// Counts the tokens that a full cache gave up.
const EVICTED: &str = "wasmcustom.portcullis_token_cache.event.evicted";

/// What was found, in bytes, in an Envoy with one worker.
#[derive(Debug)]
pub struct Memory {
    /// The length of a token.
    pub token: usize,
    /// Growth with the tokens cached.
    pub cached: Growth,
    /// Growth with the same tokens and no cache: what the traffic itself leaves behind.
    pub uncached: Growth,
    /// Growth with a cache of [`DEFAULT_CACHE`], which does not hold them all.
    pub bounded: Growth,
    /// How many tokens [`DEFAULT_CACHE`] holds once it is full: never fewer, and up to twice as many.
    pub held: u64,
}

/// How much a process grew.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    /// Resident memory of the process.
    pub resident: i64,
    /// The linear memories of all its VMs.
    pub linear: i64,
}

/// Sends the same tokens to three gateways, one worker each.
///
/// # Errors
/// A gateway does not do what it should, or the system does not tell a process's memory.
pub fn measure(module: &Path, key: &SigningKey) -> Result<Memory> {
    let tokens: Vec<String> = (0..TOKENS).map(|number| token(key, number)).collect();
    let (uncached, _) = grow(module, key, "0", &tokens)?;
    let (cached, _) = grow(module, key, ROOMY_CACHE, &tokens)?;
    let (bounded, evicted) = grow(module, key, DEFAULT_CACHE, &tokens)?;
    Ok(Memory { token: tokens.first().map_or(0, String::len), cached, uncached, bounded, held: evicted })
}

/// The growth by these tokens, and how many the cache gave up when it first had no room.
fn grow(module: &Path, key: &SigningKey, cache: &str, tokens: &[String]) -> Result<(Growth, u64)> {
    const NAME: &str = "memory";
    let mut filter = configuration(jwt(key, json!({})), "token");
    if let Some(filter) = filter.as_object_mut() {
        filter.insert("token_cache".to_owned(), json!(cache));
    }
    let listener: Value = listener(NAME, vec![portcullis(NAME, module, &filter)]);
    let config = json!({"admin": {"address": address(0)}, "static_resources": {"listeners": [listener]}});
    let dir = WorkDir::create("bench-memory")?;
    let envoy = Envoy::start(&config, dir.path(), &Options { workers: 1, ..Options::default() })?;
    let mut load = Load::open(envoy.listener_port(NAME)?, "/orders/1234?expand=lines", Body::None)?;
    // Buffers have their size and the module is compiled for good before anything is compared.
    let early = token(key, usize::MAX);
    load.run(4000, Bearer::Same(&early), 200)?;
    settle();
    let before = Sample::of(&envoy)?;
    let mut first_evicted = 0;
    for batch in tokens.chunks(BATCH) {
        load.run(batch.len(), Bearer::Each(batch), 200)?;
        if cache == DEFAULT_CACHE && first_evicted == 0 {
            settle();
            first_evicted = envoy.stat(EVICTED)?;
        }
    }
    settle();
    let after = Sample::of(&envoy)?;
    // What is called cached must be there, and what is called full must have been full.
    let evicted = envoy.stat(EVICTED)?;
    ensure!((evicted > 0) == (cache == DEFAULT_CACHE), "{evicted} tokens left a token_cache of {cache}");
    let growth = Growth { resident: after.resident - before.resident, linear: after.linear - before.linear };
    Ok((growth, first_evicted))
}

/// Longer than a tick: counters are up to date.
fn settle() {
    thread::sleep(Duration::from_millis(150));
}

#[derive(Debug)]
struct Sample {
    resident: i64,
    linear: i64,
}

impl Sample {
    fn of(envoy: &Envoy) -> Result<Self> {
        let process = envoy.process_id();
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")?.trim().parse().ok());
        let resident: i64 = resident.context("this system does not tell a process's memory (/proc/PID/status)")?;
        Ok(Self {
            resident: resident.saturating_mul(1024),
            linear: linear(&std::fs::read_to_string(format!("/proc/{process}/maps"))?),
        })
    }
}

/// The bytes of all linear memories: V8 maps each at the start of a reservation that all 32-bit addresses stay within.
fn linear(maps: &str) -> i64 {
    const RESERVED: u64 = 4 << 30;
    let areas: Vec<(u64, u64, bool)> = maps.lines().filter_map(area).collect();
    let pairs = areas.windows(2).filter_map(|pair| <&[(u64, u64, bool); 2]>::try_from(pair).ok());
    let memories = pairs.filter(|&&[(_, end, open), (next, last, next_open)]| {
        open && !next_open && end == next && last.saturating_sub(next) > RESERVED
    });
    i64::try_from(memories.map(|&[(start, end, _), _]| end.saturating_sub(start)).sum::<u64>()).unwrap_or(i64::MAX)
}

/// Start, end, and whether it may be read.
fn area(line: &str) -> Option<(u64, u64, bool)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?, rest.starts_with("rw")))
}
