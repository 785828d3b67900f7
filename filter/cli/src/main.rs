//! The `portcullis` command: makes keys and tokens for trying a gateway out.
//!
//! What a command was asked for goes to standard output, everything else to standard error; a failure exits with 1.
#![forbid(unsafe_code)]

mod es384;
mod keys;
mod token;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about = "Tools for the Portcullis gateway filter")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Keys(keys::Arguments),
    Token(token::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "portcullis: {error:#}");
            ExitCode::FAILURE
        }
    }
}
