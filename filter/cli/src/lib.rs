//! The `portcullis` command as a library: checks and explains configurations offline, makes keys and tokens for trying a
//! gateway out. Tests call what the command calls.
//!
//! What a command was asked for goes to standard output, everything else to standard error; a failure exits with 1.
#![forbid(unsafe_code)]

mod check;
pub mod configured;
mod convert;
pub mod document;
pub mod environment;
pub mod envoy;
mod es384;
pub mod explain;
mod file;
mod keys;
mod report;
mod routes;
mod rule_text;
mod scan;
mod schema;
pub mod secrules;
pub mod style;
mod token;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about = "Tools for the Portcullis gateway filter", max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    Convert(convert::Arguments),
    Explain(explain::Arguments),
    ImportSecrules(secrules::Arguments),
    Keys(keys::Arguments),
    Report(report::Arguments),
    Routes(routes::Arguments),
    Scan(scan::Arguments),
    Schema(schema::Arguments),
    Token(token::Arguments),
}

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::ImportSecrules(arguments) => secrules::run(&arguments),
        Command::Routes(arguments) => routes::run(&arguments),
        Command::Scan(arguments) => scan::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Token(arguments) => token::run(&arguments).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "portcullis: {error:#}");
            ExitCode::FAILURE
        }
    }
}
