//! A scripted attack on the gateway of `scripts/run`, or of `scripts/compose`. `scripts/attack` builds and starts it.
//!
//! Bounded in count and in time, and to 127.0.0.1: this is a demonstration and a test, and no tool against others.
#![forbid(unsafe_code)]

mod floods;
mod forgeries;
mod outcome;
mod paths;
mod payload;
mod report;
mod slow;
mod stuffing;
mod target;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::report::{Report, Wave};
use crate::slow::Slow;
use crate::target::{DEMO_AUDIENCE, Settings, Target};

/// Attack the gateway of scripts/run or scripts/compose, and show what was stopped and by what
///
/// Each kind of attack comes from a loopback address of its own, so that a ban hits nobody else. In between, a client with a
/// good token asks as well. Exit codes: 0 all was stopped, 1 something came through, 2 there is nothing to attack.
#[derive(Debug, Parser)]
#[command(name = "scripts/attack", disable_version_flag = true)]
struct Arguments {
    /// The gateway: 127.0.0.1 or localhost, and its port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8443", value_parser = local_port)]
    gateway: u16,

    /// The files of scripts/run: its authority, and the key that signs the good tokens
    #[arg(long, value_name = "DIRECTORY", default_value = "target/demo")]
    files: PathBuf,

    /// The audience of the gateway's tokens
    #[arg(long, value_name = "TEXT", default_value = DEMO_AUDIENCE)]
    audience: String,

    /// A token of the provider, for the good client; without it, one is signed with the key of `--files`
    #[arg(long, value_name = "FILE")]
    good_token: Option<PathBuf>,

    /// Where the gateway leads to the provider's token endpoint
    #[arg(long, value_name = "PATH")]
    token_path: Option<String>,

    /// Without slow bodies, for which the gateway has a minute's patience
    #[arg(long)]
    quick: bool,
}

/// The port of a gateway on this machine; any other host is refused.
fn local_port(text: &str) -> Result<u16> {
    let Some((host, port)) = text.rsplit_once(':') else { bail!("not HOST:PORT") };
    if !["127.0.0.1", "localhost"].contains(&host) {
        bail!("this attacks gateways on 127.0.0.1 alone");
    }
    Ok(port.parse()?)
}

fn read_token(file: &PathBuf) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "scripts/attack: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all was stopped that must be, and the good client served.
fn run(arguments: &Arguments) -> Result<bool> {
    let good_token = arguments.good_token.as_ref().map(read_token).transpose()?;
    let settings = Settings {
        port: arguments.gateway,
        audience: arguments.audience.clone(),
        good_token,
        token_path: arguments.token_path.clone(),
    };
    let target = Target::open(settings, &arguments.files)?;
    let mut out = std::io::stdout();
    let mut report = Report::start(&mut out)?;
    // They trickle while all else goes on, and are judged at the end.
    let heads = Slow::heads(&target)?;
    let bodies = if arguments.quick { None } else { Some(Slow::bodies(&target)?) };
    let waves: [fn(&Target) -> Wave; 15] = [
        paths::probing,
        paths::ambiguous,
        forgeries::brute_force,
        stuffing::many_accounts,
        stuffing::one_account,
        stuffing::api_keys,
        stuffing::client_secrets,
        forgeries::forged_tokens,
        forgeries::missing_scopes,
        payload::in_queries,
        payload::in_bodies,
        payload::in_headers,
        floods::parameters_and_heads,
        floods::smuggling,
        floods::requests,
    ];
    for wave in waves {
        let wave = wave(&target);
        if wave.is_empty() {
            continue;
        }
        report.add(&wave, &mut out)?;
        report.good_client(target.good_client_is_served());
    }
    for slow in [Some(heads), bodies].into_iter().flatten() {
        report.add(&slow.judge(), &mut out)?;
        report.good_client(target.good_client_is_served());
    }
    report.end(&mut out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_attacked() {
        assert_eq!(local_port("127.0.0.1:8443").ok(), Some(8443));
        assert_eq!(local_port("localhost:1").ok(), Some(1));
        for other in [
            "192.0.2.1:443",
            "example.com:443",
            "0.0.0.0:8443",
            "8443",
            "127.0.0.1",
            "127.0.0.1.example:443",
            "[::1]:1",
        ] {
            assert!(local_port(other).is_err(), "{other}");
        }
    }
}
