//! `portcullis scan`: the payload rules over files of requests, with a table of what they detect and what they refuse by mistake.

mod corpus;
mod logs;
mod report;
mod run;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use clap::Args;
use portcullis_payload::own::OwnRules;
use portcullis_payload::{Scanner, Settings};

use crate::configured;
use crate::environment::EnvironmentArguments;

/// Run the payload rules over recorded requests, and count what they refuse
///
/// Reads JSON lines with requests (`method`, `uri`, `headers`, `body`), payloads (`payload`, sent as query, form and JSON) or values
/// (`value`), HAR files, access logs in common or combined format, and folders of these. What `expect` does not mark with `block`, and what
/// a log or a HAR file holds, counts as legitimate.
///
/// Example: portcullis scan access.log --show-false-positives
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Files and folders
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// The level of the rules: 1 for everyone, 2 and 3 for more
    #[arg(long, default_value_t = 1)]
    level: u8,

    /// Ask the `payload_rules` of this configuration too
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,

    /// Points of one family that make a request an attack
    #[arg(long, default_value_t = 5)]
    threshold: u16,

    /// Print the table as JSON
    #[arg(long)]
    json: bool,

    /// List the attacks that were not detected
    #[arg(long)]
    show_misses: bool,

    /// List the legitimate requests that were refused, with the rules that did it
    #[arg(long)]
    show_false_positives: bool,

    /// Only requests whose class or source holds this word
    #[arg(long, value_name = "WORD")]
    only: Option<String>,

    /// Only this half of the requests (0 or 1, by a hash of their id): develop on one, check on the other
    #[arg(long, value_name = "HALF")]
    half: Option<u8>,

    /// Only this quarter of the requests (0 to 3; half 0 is quarters 0 and 1)
    #[arg(long, value_name = "QUARTER")]
    quarter: Option<u8>,

    /// Show at most so many items of a list
    #[arg(long, default_value_t = 200)]
    limit: usize,

    /// Measure the time per request: repeat each request so often
    #[arg(long, default_value_t = 1)]
    repeat: u32,
}

/// Carries the command out.
///
/// # Errors
/// A file cannot be read, or nothing in it is a request.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let scanner = Scanner::new().context("the embedded rules cannot be loaded")?;
    let settings = Settings {
        level: arguments.level,
        threshold: arguments.threshold,
        own: own(arguments)?,
        ..Settings::default()
    };
    let mut items = Vec::new();
    for file in &arguments.files {
        items.extend(corpus::read(file)?);
    }
    if items.is_empty() {
        bail!("no requests in these files\n  hint: JSON lines, a HAR file or an access log is expected");
    }
    items.retain(|item| {
        let word = arguments.only.as_deref().unwrap_or("");
        (item.class.contains(word) || item.source.contains(word))
            && arguments.half.is_none_or(|half| item.quarter / 2 == half)
            && arguments.quarter.is_none_or(|quarter| item.quarter == quarter)
    });
    let outcome = run::all(&scanner, &settings, &items, arguments.repeat);
    report::print(arguments, &items, &outcome)?;
    Ok(ExitCode::SUCCESS)
}

/// The rules of the configuration that was named.
fn own(arguments: &Arguments) -> Result<Rc<OwnRules>> {
    let Some(path) = &arguments.config else { return Ok(Rc::default()) };
    let filters = configured::load(path, &EnvironmentArguments { assume_env: true, ..Default::default() })?;
    let [filter] = filters.as_slice() else {
        bail!("{} has several filters\n  hint: name a file with one", path.display())
    };
    Ok(Rc::clone(&filter.policy.own_rules))
}
