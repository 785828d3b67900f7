//! The demo: the reference gateway with everything around it, on this machine. `scripts/run` builds and starts it.
#![forbid(unsafe_code)]

mod cases;
mod check;
mod guide;
mod world;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use portcullis_tests::reference::Ports;
use portcullis_tests::server::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::world::World;

/// Start Envoy with portcullis.wasm in front of two services, and show every verdict
///
/// Everything listens on 127.0.0.1 alone. Certificates, keys and Envoy's log are in target/demo. Ctrl-C stops it all.
#[derive(Debug, Parser)]
#[command(name = "scripts/run", disable_version_flag = true)]
struct Arguments {
    /// Send the requests, print what was expected and seen, stop; exit with 1 on a difference
    #[arg(long)]
    check: bool,

    /// Port of the gateway
    #[arg(long, value_name = "PORT", default_value_t = Ports::REFERENCE.https)]
    https_port: u16,

    /// Port of the redirect to the gateway
    #[arg(long, value_name = "PORT", default_value_t = Ports::REFERENCE.http)]
    http_port: u16,

    /// Port of Envoy's admin interface
    #[arg(long, value_name = "PORT", default_value_t = Ports::REFERENCE.admin)]
    admin_port: u16,

    /// Port of the identity provider
    #[arg(long, value_name = "PORT", default_value_t = Ports::REFERENCE.idp)]
    idp_port: u16,

    /// Port of the service orders
    #[arg(long, value_name = "PORT", default_value_t = Ports::REFERENCE.orders)]
    orders_port: u16,

    /// Port of the service reports
    #[arg(long, value_name = "PORT", default_value_t = Ports::REFERENCE.reports)]
    reports_port: u16,

    /// Envoy's worker threads
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "scripts/run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let ports = Ports {
        https: arguments.https_port,
        http: arguments.http_port,
        admin: arguments.admin_port,
        idp: arguments.idp_port,
        orders: arguments.orders_port,
        reports: arguments.reports_port,
    };
    let mut world = World::start(ports, arguments.workers)?;
    let mut out = std::io::stdout();
    if arguments.check {
        let same = check::run(&world, &mut out)?;
        return Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    guide::print(&world, &mut out)?;
    wait(&mut world)?;
    writeln!(out, "\nstopping")?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for Ctrl-C or another request to end.
fn wait(world: &mut World) -> Result<()> {
    runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = hangup.recv() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
            if !world.gateway.envoy_mut().is_running()? {
                bail!("Envoy has ended by itself; its log is {}", world.log().display());
            }
        }
    })
}
