//! `portcullis explain`: judges one request with the engine, and says why.

mod replay;
mod report;
mod request;

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;
use portcullis_engine::time::UnixNanos;

use crate::configured;
use crate::environment::EnvironmentArguments;
use crate::style::Style;

/// Judge a request as the gateway would, and say why: the rule, each check, what goes on to the service
///
/// It runs the engine that runs in Envoy, on counters that nobody has used yet. Key sets come from files (--jwks); nothing
/// is fetched.
///
/// Exit code: 0 the request passes, 1 it is refused, 2 something is wrong with the file or the command line.
///
/// Example: portcullis explain envoy.yaml --request 'GET /orders/1' --token-file token --jwks corp=jwks.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// An Envoy configuration with the filter, or a filter configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Method and target, such as 'GET /orders/1?full=1'
    #[arg(long, value_name = "METHOD TARGET")]
    request: String,

    /// A header of the request; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// A token, sent as `authorization: Bearer`
    #[arg(long, conflicts_with = "token_file")]
    token: Option<String>,

    /// A file that holds the token: it then stands in no list of processes
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The client's address
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,

    /// The policy that the route's metadata names
    #[arg(long, value_name = "POLICY")]
    route_policy: Option<String>,

    /// The time, in seconds since 1970; now unless given
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,

    /// The key set of a provider; may be repeated
    #[arg(long = "jwks", value_name = "PROVIDER=FILE", value_parser = key_set)]
    key_sets: Vec<(String, PathBuf)>,

    /// Print the explanation as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    environment: EnvironmentArguments,
}

fn key_set(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or_else(|| "PROVIDER=FILE is asked for".to_owned())?;
    Ok((name.to_owned(), file.into()))
}

/// Carries the command out.
///
/// # Errors
/// The output cannot be written; all else that is wrong exits with 2.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let report = match explain(arguments) {
        Ok(report) => report,
        Err(error) => {
            writeln!(std::io::stderr(), "portcullis: {error:#}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{:#}", report.to_json())?;
    } else {
        write!(out, "{}", report.to_text(Style::of_stdout()))?;
    }
    Ok(if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn explain(arguments: &Arguments) -> Result<report::Report> {
    let filters = configured::load(&arguments.file, &arguments.environment)?;
    // With several listeners the first is meant.
    let filter = filters.first().context("no filter")?;
    let token = match &arguments.token_file {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            Some(text.trim().to_owned())
        }
        None => arguments.token.clone(),
    };
    let headers = request::headers(&arguments.request, &arguments.headers, token.as_deref())?;
    let now = match arguments.now {
        Some(seconds) => UnixNanos::from_secs(seconds),
        None => UnixNanos(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?),
    };
    let mut key_sets = Vec::new();
    for (provider, file) in &arguments.key_sets {
        let keys = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        anyhow::ensure!(
            filter.policy.providers.iter().any(|known| known.name == *provider),
            "the configuration has no provider {provider:?}"
        );
        key_sets.push((provider.clone(), keys));
    }
    let attributes = request::Attributes {
        address: arguments.address,
        route_policy: arguments.route_policy.as_ref().map(|policy| policy.clone().into_bytes()),
    };
    let replayed = replay::judge(filter, headers, &attributes, &key_sets, now)?;
    Ok(report::Report::new(filter, &replayed, token.as_deref()))
}
