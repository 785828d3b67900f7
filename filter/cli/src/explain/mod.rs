//! `portcullis explain`: judges one request with the engine, and says why.

pub mod replay;
mod report;
pub mod request;

use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Args;
use portcullis_engine::addresses::{AddressList, AddressSource};
use portcullis_engine::time::{UnixNanos, parse_rfc3339};

use crate::configured::{self, Configured};
use crate::environment::EnvironmentArguments;
use crate::style::Style;
use replay::{Answers, Served, Session, Word};

pub use report::Report;

/// Judge a request as the gateway would, and say why: the rule, each check, what goes on to the service
///
/// It runs the engine that runs in Envoy, on counters that nobody has used yet. Nothing is fetched: key sets, what an
/// introspection endpoint says and lists of revoked tokens and addresses come from files.
///
/// Exit code: 0 the request passes, 1 it is refused, 2 something is wrong with the file or the command line.
///
/// Example: portcullis explain envoy.yaml --request 'GET /orders/1' --token-file token --jwks corp=jwks.json
///          portcullis explain envoy.yaml --request 'POST /login' --address 192.0.2.7 --times 6
///          portcullis explain envoy.yaml --request 'GET /mesh' --certificate uri_san=spiffe://example.org/a
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

    /// The name of the route, for `routes.names`
    #[arg(long, value_name = "NAME")]
    route_name: Option<String>,

    /// The policy that the virtual host's metadata names
    #[arg(long, value_name = "POLICY")]
    virtual_host_policy: Option<String>,

    /// A name of the client's certificate, which Envoy has verified: uri_san, dns_san, subject or sha256; may be repeated
    #[arg(long = "certificate", value_name = "FIELD=VALUE", value_parser = certificate)]
    certificate: Vec<(String, String)>,

    /// The request's body
    #[arg(long, default_value = "")]
    body: String,

    /// The time: seconds since 1970, or such as 2027-01-31T12:00:00Z; now unless given
    #[arg(long, visible_alias = "at", value_name = "TIME", value_parser = time)]
    now: Option<UnixNanos>,

    /// Judge the request so many times at once, and explain the last one: what a limit does
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    times: u64,

    /// The key set of a provider; may be repeated
    #[arg(long = "jwks", value_name = "PROVIDER=FILE", value_parser = named_file)]
    key_sets: Vec<(String, PathBuf)>,

    /// What a provider's introspection endpoint says of the token, in JSON; may be repeated
    #[arg(long = "introspection", value_name = "PROVIDER=FILE", value_parser = named_file)]
    introspections: Vec<(String, PathBuf)>,

    /// The list of revoked tokens
    #[arg(long, value_name = "FILE")]
    revocation_list: Option<PathBuf>,

    /// A list of addresses that the gateway fetches; may be repeated
    #[arg(long = "address-list", value_name = "LIST=FILE", value_parser = named_file)]
    address_lists: Vec<(String, PathBuf)>,

    /// Print the explanation as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    environment: EnvironmentArguments,
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or_else(|| "NAME=FILE is asked for".to_owned())?;
    Ok((name.to_owned(), file.into()))
}

fn certificate(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or_else(|| "FIELD=VALUE is asked for".to_owned())?;
    if !request::CERTIFICATE_FIELDS.contains(&field) {
        return Err(format!("the fields are {}", request::CERTIFICATE_FIELDS.join(", ")));
    }
    Ok((field.to_owned(), value.to_owned()))
}

fn time(text: &str) -> Result<UnixNanos, String> {
    let seconds = text.parse().ok().map(UnixNanos::from_secs);
    seconds.or_else(|| parse_rfc3339(text)).ok_or_else(|| "neither seconds since 1970 nor a date and time".to_owned())
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

fn explain(arguments: &Arguments) -> Result<Report> {
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
        Some(now) => now,
        None => UnixNanos(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?),
    };
    let mut answers = Answers::default();
    for (provider, file) in &arguments.key_sets {
        answers.key_sets.insert(known_provider(filter, provider)?, served(file)?);
    }
    for (provider, file) in &arguments.introspections {
        answers.introspections.insert(known_provider(filter, provider)?, Word::OfEvery(served(file)?));
    }
    answers.revocation_list = arguments.revocation_list.as_deref().map(served).transpose()?;
    for (name, file) in &arguments.address_lists {
        let fetched = |list: &&AddressList| matches!(list.source, AddressSource::Feed(_)) && list.name == *name;
        let is_known = filter.policy.address_lists.iter().any(|list| fetched(&list));
        anyhow::ensure!(is_known, "the configuration fetches no list of addresses {name:?}");
        answers.address_lists.insert(name.clone(), served(file)?);
    }
    let attributes = request::Attributes {
        address: arguments.address,
        route_policy: arguments.route_policy.as_ref().map(|policy| policy.clone().into_bytes()),
        route_name: arguments.route_name.clone(),
        virtual_host_policy: arguments.virtual_host_policy.clone(),
        certificate: arguments.certificate.iter().cloned().collect(),
    };
    let mut session = Session::start(filter, answers, now)?;
    for _ in 1..arguments.times {
        session.judge(headers.clone(), arguments.body.as_bytes(), &attributes, now);
    }
    let replayed = session.judge(headers, arguments.body.as_bytes(), &attributes, now);
    Ok(Report::new(filter, &replayed, token.as_deref()))
}

fn known_provider(filter: &Configured, name: &str) -> Result<String> {
    let is_known = filter.policy.providers.iter().any(|known| known.name == name);
    anyhow::ensure!(is_known, "the configuration has no provider {name:?}");
    Ok(name.to_owned())
}

fn served(file: &Path) -> Result<Served> {
    Ok(Served::ok(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?))
}
