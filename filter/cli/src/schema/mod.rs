//! `portcullis schema`: the form of the configuration, and what the filter says, from the types that read and say it.

mod reasons;
mod reference;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use portcullis_engine::config::schema::json_schema;

/// Print the form of the filter's configuration: JSON Schema for editors, or the reference in Markdown
///
/// Without an option: JSON Schema, draft 2020-12. With an editor that knows YAML schemas, a first line
/// `# yaml-language-server: $schema=portcullis.schema.json` in a filter configuration gives completion and checks.
///
/// Example: portcullis schema > portcullis.schema.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The configuration reference, one table for each section
    #[arg(long, conflicts_with = "reasons")]
    markdown: bool,

    /// Every reason for a refusal, and every counter, in Markdown
    #[arg(long)]
    reasons: bool,

    /// Every payload rule: what it catches, with an example, in Markdown
    #[arg(long, conflicts_with_all = ["reasons", "markdown"])]
    payload_rules: bool,
}

/// Carries the command out.
///
/// # Errors
/// The output cannot be written.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.payload_rules {
        std::io::stdout().write_all(portcullis_payload::pages::markdown().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match (arguments.markdown, arguments.reasons) {
        (true, _) => reference::markdown(&json_schema()),
        (_, true) => reasons::markdown(),
        _ => format!("{:#}\n", json_schema()),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
