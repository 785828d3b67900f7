//! The `portcullis` command: checks and explains configurations offline, makes keys and tokens for trying a gateway out.
//!
//! What a command was asked for goes to standard output, everything else to standard error; a failure exits with 1.
#![forbid(unsafe_code)]

mod check;
mod configured;
mod document;
mod environment;
mod envoy;
mod es384;
mod explain;
mod file;
mod keys;
mod routes;
mod rule_text;
mod scan;
mod schema;
mod style;
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
    Explain(explain::Arguments),
    Keys(keys::Arguments),
    Routes(routes::Arguments),
    Scan(scan::Arguments),
    Schema(schema::Arguments),
    Token(token::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
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
