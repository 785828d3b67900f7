//! `--check`: sends every case and compares.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use portcullis_tests::client::Call;

use crate::cases::{CASES, Case, Who};
use crate::world::{World, token};

/// How long the key set may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints the table; whether everything was as expected.
///
/// # Errors
/// A request got no answer at all.
pub fn run(world: &World, out: &mut impl Write) -> Result<bool> {
    let tokens = Tokens::mint()?;
    wait_for_keys(world, &tokens)?;
    writeln!(out, "{:<34} {:<28} {:>8} {:>5}  ok", "case", "request", "expected", "seen")?;
    let mut differences = 0;
    for case in CASES {
        let seen = send(world, &tokens, &case).with_context(|| format!("{}: no answer", case.shows))?;
        let same = seen == case.expected;
        differences += u32::from(!same);
        let request = format!("{} {}", case.method, case.path);
        let verdict = if same { "yes" } else { "NO" };
        writeln!(out, "{:<34} {request:<28} {:>8} {seen:>5}  {verdict}", case.shows, case.expected)?;
    }
    if differences > 0 {
        writeln!(out, "{differences} of {} cases differ; the log is {}", CASES.len(), world.log().display())?;
    }
    Ok(differences == 0)
}

struct Tokens {
    reader: String,
    hasty: String,
    forged: String,
}

impl Tokens {
    fn mint() -> Result<Self> {
        let of = |who: Who| token(who.identity().0, who.identity().1);
        let (reader, hasty) = (of(Who::Reader)?, of(Who::Hasty)?);
        Ok(Self { forged: forge(&reader, &hasty), reader, hasty })
    }

    fn of(&self, who: Who) -> Option<&str> {
        match who {
            Who::Nobody => None,
            Who::Reader => Some(&self.reader),
            Who::Forger => Some(&self.forged),
            Who::Hasty => Some(&self.hasty),
        }
    }
}

/// The claims of one token under the signature of another.
fn forge(claims: &str, signature: &str) -> String {
    let input = claims.rsplit_once('.').map_or(claims, |(input, _)| input);
    let signature = signature.rsplit_once('.').map_or(signature, |(_, signature)| signature);
    format!("{input}.{signature}")
}

/// A gateway that has just started may still be fetching keys, and says so with 503.
fn wait_for_keys(world: &World, tokens: &Tokens) -> Result<()> {
    let call = Call::get("/orders/17").bearer(&tokens.reader);
    let started = Instant::now();
    while world.client()?.call(&call)?.status == 503 && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn send(world: &World, tokens: &Tokens, case: &Case) -> Result<u16> {
    let mut call = Call::new(case.method, case.path).header("host", "localhost");
    if let Some(token) = tokens.of(case.who) {
        call = call.bearer(token);
    }
    let mut status = 0;
    for _ in 0..case.times {
        // A refusal may close the connection, so each request has its own.
        status = world.client()?.call(&call)?.status;
    }
    Ok(status)
}
