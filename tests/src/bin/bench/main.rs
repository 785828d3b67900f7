//! What the filter costs beside Envoy's own chain. `scripts/bench` builds and starts it.
#![forbid(unsafe_code)]

mod authority;
mod body;
mod chains;
mod cpu;
mod hits;
mod load;
mod memory;
mod native;
mod report;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use portcullis_tests::envoy::{Envoy, Options};
use portcullis_tests::keys::{Algorithm, SigningKey};
use portcullis_tests::mint::Token;
use portcullis_tests::paths::{self, WorkDir};
use serde_json::json;

use crate::chains::{Keys, Lane, Tokens};
use crate::cpu::Meter;
use crate::load::{Bearer, Load};
use crate::report::Report;

/// Measure the CPU time that each chain adds to a request, beside Envoy's own filters
///
/// One Envoy with one worker has a listener for each chain. In every round each chain gets the same number of requests,
/// one chain after the other, over 8 keep-alive connections. Nothing is asserted.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench", disable_version_flag = true)]
struct Arguments {
    /// Fewer rounds: done within a minute, with more noise
    #[arg(long)]
    quick: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Rounds [41, or 11 with --quick]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Requests per chain and round
    #[arg(long, value_name = "NUMBER", default_value_t = 800, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,

    /// Only rows whose name contains this, and what they are compared with; "memory" and "a hit on one limit" for those parts
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,

    /// Measure an earlier module too, in the same rounds
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "scripts/bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let requests = usize::try_from(arguments.requests)?;
    let rounds = usize::try_from(arguments.rounds.unwrap_or(if arguments.quick { 11 } else { 41 }))?;
    let module = paths::module()?;
    let before = arguments.before.as_deref().map(std::path::absolute).transpose()?;
    let lanes = Lane::chosen(&arguments.only, &module, before.as_deref());
    let keys = Keys::generate();
    let minted = Minted::new(&keys, rounds.saturating_add(WARM_UP).saturating_mul(requests), &lanes);
    let authority = authority::start()?;
    let dir = WorkDir::create("bench")?;
    let options = Options { workers: 1, ..Options::default() };
    let envoy = Envoy::start(&chains::envoy(&lanes, &keys, authority.port()), dir.path(), &options)?;
    let mut bench = Bench { meter: Meter::of(envoy.process_id())?, loads: Vec::new(), minted, requests };
    for lane in &lanes {
        bench.loads.push(Load::open(envoy.listener_port(&lane.listener())?, lane.row.path, lane.row.body)?);
    }
    for (lane, load) in lanes.iter().zip(&mut bench.loads) {
        if let Tokens::Clients(count) = lane.row.tokens {
            load.run(count, bench.minted.bearer(lane.row.tokens, 0, 0), 200)?;
        }
    }
    let mut report = Report::new(lanes, requests);
    for number in 0..rounds.saturating_add(WARM_UP) {
        let round = bench.round(number, report.lanes())?;
        if number >= WARM_UP {
            report.push(round);
        }
    }
    // Its memory would be measured beside that of all these chains.
    drop(bench);
    envoy.stop()?;
    if hits::NAME.contains(&arguments.only) {
        report.set_hits(hits::measure()?);
    }
    if "memory".contains(&arguments.only) {
        report.set_memory(memory::measure(&module, &keys.es)?);
    }
    let mut out = std::io::stdout();
    if arguments.json { report.json(&mut out) } else { report.table(&mut out) }
}

/// So many rounds are not counted.
const WARM_UP: usize = 1;

struct Bench {
    meter: Meter,
    /// A load for each lane.
    loads: Vec<Load>,
    minted: Minted,
    requests: usize,
}

impl Bench {
    /// Sends each lane its requests, and gives the microseconds per request.
    fn round(&mut self, number: usize, lanes: &[Lane]) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(lanes.len());
        for (lane, load) in lanes.iter().zip(&mut self.loads) {
            let row = lane.row;
            let bearer = self.minted.bearer(row.tokens, number, self.requests);
            let before = self.meter.nanoseconds()?;
            load.run(self.requests, bearer, row.status).with_context(|| format!("row {:?}", row.name))?;
            // The last answer is here before the worker is asleep again.
            thread::sleep(Duration::from_millis(2));
            let nanoseconds = self.meter.nanoseconds()?.saturating_sub(before);
            times.push(nanoseconds as f64 / 1000.0 / self.requests as f64);
        }
        Ok(times)
    }
}

/// All tokens, signed before anything is measured.
struct Minted {
    repeated_es: String,
    repeated_rs: String,
    fresh_es: Vec<String>,
    fresh_rs: Vec<String>,
    opaque: String,
    api_keys: Vec<String>,
}

impl Minted {
    /// As many tokens of each algorithm as `count`, if a lane asks for them.
    fn new(keys: &Keys, count: usize, lanes: &[Lane]) -> Self {
        let wanted = |tokens| lanes.iter().any(|lane| lane.row.tokens == tokens);
        let some = |key: &SigningKey, tokens| {
            let count = if wanted(tokens) { count } else { 0 };
            (0..count).map(|number| token(key, number)).collect()
        };
        let most_keys = lanes
            .iter()
            .map(|lane| if let Tokens::ApiKeys(count) | Tokens::Clients(count) = lane.row.tokens { count } else { 0 })
            .max();
        Self {
            opaque: "mF_9.B5f-4.1JqM-2YotnFZFEjr1zCsicMWpAA0f6kQ".to_owned(),
            api_keys: (0..most_keys.unwrap_or(0)).map(chains::api_key).collect(),
            repeated_es: token(&keys.es, 0),
            repeated_rs: token(&keys.rs, 0),
            fresh_es: some(&keys.es, Tokens::Fresh(Algorithm::Es256)),
            fresh_rs: some(&keys.rs, Tokens::Fresh(Algorithm::Rs256)),
        }
    }

    /// What the requests of a round carry.
    fn bearer(&self, tokens: Tokens, round: usize, requests: usize) -> Bearer<'_> {
        let start = round.saturating_mul(requests);
        let range = start..start.saturating_add(requests);
        match tokens {
            Tokens::None => Bearer::None,
            Tokens::Repeated(Algorithm::Rs256) => Bearer::Same(&self.repeated_rs),
            Tokens::Repeated(_) => Bearer::Same(&self.repeated_es),
            Tokens::Fresh(Algorithm::Rs256) => Bearer::Each(self.fresh_rs.get(range).unwrap_or_default()),
            Tokens::Opaque => Bearer::Same(&self.opaque),
            Tokens::ApiKeys(count) | Tokens::Clients(count) => {
                Bearer::ApiKeys { keys: self.api_keys.get(..count).unwrap_or_default(), start }
            }
            Tokens::Fresh(_) => Bearer::Each(self.fresh_es.get(range).unwrap_or_default()),
        }
    }
}

/// A token such as an identity provider issues: eleven claims.
pub(crate) fn token(key: &SigningKey, number: usize) -> String {
    Token::of("4f1c9b52-8f0e-4f0b-9a37-2d6f1c0a7e55")
        .claim("jti", json!(format!("{number:032x}")))
        .claim("azp", json!("web-shop"))
        .claim("auth_time", json!(1_760_000_000))
        .claim("email", json!("alice@example.com"))
        .claim("roles", json!(["customer", "beta"]))
        .scope("openid profile read_orders write_orders")
        .expires_in(3600)
        .sign(key)
}
