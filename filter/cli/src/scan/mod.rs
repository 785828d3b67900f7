//! `portcullis scan`: the payload rules over files of requests, with a table of what they detect and what they refuse by mistake.

mod corpus;
mod har;
mod judges;
mod logs;
mod report;
mod run;
mod unread;
mod wire;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use portcullis_payload::Scanner;

use self::judges::Judges;
use self::unread::Unread;

/// Run the payload rules over recorded requests, and count what they refuse
///
/// Reads JSON lines with requests (`method`, `uri`, `headers`, `body`), payloads (`payload`, sent as query, form and JSON) or values
/// (`value`), HAR files, access logs, and folders of these. An access log is in common or combined format, as Envoy writes it of itself, or JSON
/// lines as the reference envoy.yaml has them; it has no bodies, and hardly any headers. What `expect` does not mark with `block`, and what
/// a log or a HAR file holds, counts as legitimate. Bodies are inflated as the gateway does it. What is not read is counted and named on
/// standard error.
///
/// With `--config`, each request is judged as the rule that it meets there says: its level and threshold, its exceptions, and the
/// `payload_rules`; in monitor mode as in enforce mode. Payloads and values meet the rules of `/`, `/form` and `/api`. What `input` says is not
/// asked.
///
/// Exit code: 0 the table is shown, also where some lines were left out; 1 a file cannot be read, nothing in them is a request, or the
/// configuration has mistakes.
///
/// Example: portcullis scan access.log --show-false-positives
///          portcullis scan access.log --config envoy.yaml --host shop.example
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Files and folders
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// The level of the rules, whatever the configuration says: 1 (usual) for everyone, 2 and 3 for more
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    level: Option<u8>,

    /// Points of one family that make a request an attack, whatever the configuration says (5 as usual)
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    threshold: Option<u16>,

    /// Judge requests as this configuration says
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,

    /// Judge all as this rule or policy of the configuration says, whatever they meet
    #[arg(long, value_name = "NAME", requires = "config")]
    rule: Option<String>,

    /// The host of requests that name none, as those of an access log
    #[arg(long, value_name = "HOST", default_value = "localhost", requires = "config")]
    host: String,

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
    let judges = Judges::new(arguments)?;
    let (mut items, mut unread) = (Vec::new(), Unread::default());
    for file in &arguments.files {
        items.extend(corpus::read(file, &mut unread)?);
    }
    if items.is_empty() {
        unread.tell(&mut std::io::stderr().lock())?;
        bail!("no requests in these files\n  hint: JSON lines, a HAR file or an access log is expected");
    }
    items.retain(|item| {
        let word = arguments.only.as_deref().unwrap_or("");
        (item.class.contains(word) || item.source.contains(word))
            && arguments.half.is_none_or(|half| item.quarter / 2 == half)
            && arguments.quarter.is_none_or(|quarter| item.quarter == quarter)
    });
    let outcomes = run::all(&scanner, &judges, &items, arguments.repeat);
    report::print(arguments, &items, &outcomes)?;
    let count = |of: fn(&run::Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    for (item, outcome) in items.iter().zip(&outcomes) {
        outcome.unread.iter().for_each(|why| unread.add(unread::Kind::Body, &item.id, why));
    }
    let mut err = std::io::stderr().lock();
    unread.tell(&mut err)?;
    if let unmatched @ 1.. = count(|outcome| outcome.unmatched) {
        writeln!(
            err,
            "{unmatched} requests meet no rule of the configuration: judged by the usual settings and its `payload_rules`"
        )?;
    }
    if let unjudged @ 1.. = count(|outcome| outcome.unjudged) {
        writeln!(err, "{unjudged} requests meet a rule without payload rules: not judged")?;
    }
    Ok(ExitCode::SUCCESS)
}
