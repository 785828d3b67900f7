//! The corpus of `tests/cases`: one file states one fact as configuration, requests and decisions.
//!
//! `tests/cases/README.md` documents the format. [`parse`] reads it and knows nothing of who decides; [`template`] mints the
//! tokens that it asks for; [`run`] lets the engine decide; [`check`] compares what was decided with what is written, and
//! takes it from any other gateway too.

pub mod certificates;
pub mod check;
pub mod gateway;
pub mod host;
pub mod keyring;
pub mod messages;
mod others;
pub mod parse;
pub mod real;
pub mod run;
mod stand_ins;
pub mod template;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

/// One file of the corpus.
#[derive(Debug, Clone)]
pub struct Case {
    /// Where it was read.
    pub file: PathBuf,
    /// The fact that it states, in words.
    pub fact: String,
    /// The filter's configuration, as YAML with templates.
    pub config: String,
    /// What holds beside configuration and requests.
    pub facts: Facts,
    /// What happens, in order, on one engine.
    pub steps: Vec<Step>,
    /// The problems of a configuration that is refused, line by line; `None` if it is to be accepted.
    pub problems: Option<Vec<String>>,
    /// The line where `problems` begin.
    pub problems_line: usize,
}

/// What the proxy knows and does beside the requests.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The policy that the matched route's metadata names.
    pub route_policy: Option<String>,
    /// The matched route's name.
    pub route_name: Option<String>,
    /// The policy that the virtual host's metadata names.
    pub virtual_host_policy: Option<String>,
    /// The policy in the metadata of the route that serves the request, where it is another one.
    pub served_by: Option<String>,
    /// Responses are made by the proxy, and not by the service.
    pub answered_by_proxy: bool,
    /// The names in the client's certificate, by field (`uri_san`).
    pub certificate: BTreeMap<String, String>,
    /// Whether the proxy has verified that certificate.
    pub certificate_is_verified: bool,
    /// No tick has come before the first request, so no key set is there yet.
    pub cold_start: bool,
    /// The host's shared data cannot be used.
    pub store_fails: bool,
    /// The time of the first request, in seconds since 1970.
    pub now: Option<u64>,
    /// Variables of the VM's environment.
    pub environment: BTreeMap<String, String>,
}

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// From now on an endpoint answers so.
    Endpoint {
        /// The provider's name in the configuration, [`REVOCATION_LIST`], or [`ADDRESS_LIST`] and a name.
        whose: String,
        /// Its answer.
        answer: EndpointAnswer,
    },
    /// A request comes and is decided.
    Exchange {
        /// The request.
        request: Box<Request>,
        /// What is expected.
        decision: Decision,
    },
    /// The oldest request that still waits is looked at again.
    Later {
        /// So long after the step before.
        after: Duration,
        /// What is expected.
        decision: Decision,
    },
    /// The stream that has been open for longest ends.
    End,
}

/// Whose endpoint a list of addresses is, with its name behind.
pub const ADDRESS_LIST: &str = "address list";

/// Whose endpoint the limit service is.
pub const LIMIT_SERVICE: &str = "limit service";

/// Whose endpoint the list of revoked tokens is.
pub const REVOCATION_LIST: &str = "revocation list";

/// How an endpoint answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointAnswer {
    /// Status, header lines and body (with templates).
    Answer {
        /// HTTP status.
        status: u16,
        /// Header lines.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// An introspection endpoint's word about each token that it knows (with templates); any other is not active.
    ByToken(Vec<(String, String)>),
    /// The limit service's limits: what each admits for one key, by name, and whether it says how they stand. Any other limit admits
    /// everything.
    Limits(Vec<ServiceLimit>),
    /// The connection is refused.
    Down,
    /// Nothing comes until the time is up.
    Hanging,
}

/// A limit of the limit service of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLimit {
    /// The name by which it is asked about.
    pub name: String,
    /// How much it admits for one key.
    pub most: u64,
    /// Whether it says no more than yes or no.
    pub is_silent: bool,
}

/// A request, with templates in its target and values.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its first line in the file.
    pub line: usize,
    /// How long after the step before it comes.
    pub after: Duration,
    /// How many times it comes, each with the same decision; `{{n}}` counts from 1.
    pub times: u64,
    /// The client's address, if another one than that of the facts.
    pub address: Option<IpAddr>,
    /// The route's policy, if another one than that of the facts.
    pub route_policy: Option<String>,
    /// Stands for the client's certificate: its hash is the one of this text.
    pub certificate: Option<String>,
    /// Whether its stream stays open behind its decision, until [`Step::End`].
    pub open: bool,
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// Header lines; a pseudo-header replaces the one that the runner would send.
    pub headers: Vec<(String, String)>,
    /// Headers that the runner would send and must not.
    pub without: Vec<String>,
    /// The body, with templates.
    pub body: String,
    /// Header lines of the service's response, where the request gets so far.
    pub response: Vec<(String, String)>,
}

impl Request {
    /// A request of which nothing is said yet.
    pub fn blank(line: usize) -> Self {
        Self {
            line,
            after: Duration::ZERO,
            times: 1,
            address: None,
            route_policy: None,
            certificate: None,
            open: false,
            method: String::new(),
            target: String::new(),
            headers: Vec::new(),
            without: Vec::new(),
            body: String::new(),
            response: Vec::new(),
        }
    }
}

/// What is expected of a request.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Its first line in the file.
    pub line: usize,
    /// Whether the request is held back before it is decided.
    pub held: bool,
    /// Reasons that are recorded while the request goes on, in order.
    pub monitored: Vec<String>,
    /// How it ends.
    pub verdict: Verdict,
    /// What else is looked at.
    pub assertions: Vec<Assertion>,
}

/// How a request ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on to the service.
    Allow,
    /// It is answered.
    Deny {
        /// HTTP status.
        status: u16,
        /// Reason code.
        reason: String,
    },
    /// The gateway itself has the answer.
    Answer {
        /// HTTP status.
        status: u16,
    },
    /// It still waits.
    Hold,
}

/// One more thing to look at.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// Its line in the file.
    pub line: usize,
    /// What is looked at.
    pub about: About,
}

/// What an assertion looks at. Values have templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The answer has the header with this value, and once.
    Answer(String, String),
    /// The answer lacks the header.
    AnswerLacks(String),
    /// The answer's body contains this text.
    Body(String),
    /// The answer's body does not contain this text.
    NotInBody(String),
    /// The service gets the request header with this value, and once.
    Forwarded(String, String),
    /// The service gets a JSON Web Token in the request header: `member=value` of its claims, `key=NAME` that signed it.
    ForwardedToken(String, String),
    /// The service does not get the request header.
    NotForwarded(String),
    /// The client gets the response header with this value.
    Response(String, String),
    /// The client does not get the response header.
    NoResponse(String),
    /// One of the log lines contains this text.
    Log(String),
    /// No log line contains this text.
    NoLog(String),
    /// The limit service was asked so, in this order: the descriptors of each question, ` + `, the cost.
    Asked(Vec<String>),
}

/// Reads every case below `directory`, in the order of their paths.
///
/// # Errors
/// What cannot be read, with its line.
pub fn load_all(directory: &Path) -> Result<Vec<Case>> {
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    files.sort();
    files.iter().map(|file| load(file, &directory.join("configs"))).collect()
}

/// Reads one case; the shared configurations stand in `configs`.
///
/// # Errors
/// What cannot be read, with its line.
pub fn load(file: &Path, configs: &Path) -> Result<Case> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let shared = |name: &str| std::fs::read_to_string(configs.join(name)).ok();
    parse::parse(file, &text, &shared)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "case") {
            files.push(path);
        }
    }
    Ok(())
}
