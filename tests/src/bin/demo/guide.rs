//! What the demo prints: where everything is, and a curl line for every verdict.

use std::io::Write;

use anyhow::Result;

use crate::cases::{CASES, Case, Who};
use crate::world::{World, token_options};

/// Prints the guide. The lines work in a shell at the root of the repository.
///
/// # Errors
/// Nobody reads it.
pub fn print(world: &World, out: &mut impl Write) -> Result<()> {
    let ports = world.gateway.ports();
    writeln!(out, "gateway   https://localhost:{}   (http://localhost:{} leads there)", ports.https, ports.http)?;
    writeln!(out, "admin     http://127.0.0.1:{}/stats/prometheus", ports.admin)?;
    writeln!(out, "log       {}", world.log().display())?;
    writeln!(
        out,
        "services  orders and reports on {} and {}, mTLS from the gateway only",
        ports.orders, ports.reports
    )?;
    writeln!(out, "\nIn another shell, at the root of the repository:\n")?;
    for (who, variable) in Who::WITH_TOKEN {
        writeln!(out, "{variable}=$({})", token_command(who))?;
    }
    writeln!(out, "FORGED=${{READER%.*}}.${{HASTY##*.}}   # the claims of one token, the signature of another")?;
    writeln!(
        out,
        "ask() {{ curl -sS --path-as-is --cacert target/demo/pki/ca.pem -w '\\n%{{http_code}}\\n' \"$@\"; }}\n"
    )?;
    for case in CASES {
        writeln!(out, "# {}: {}", case.expected, case.shows)?;
        writeln!(out, "{}", curl(&case, ports.https))?;
    }
    writeln!(out, "\nCtrl-C stops everything.")?;
    out.flush()?;
    Ok(())
}

fn token_command(who: Who) -> String {
    let (subject, scope) = who.identity();
    let options = token_options(subject, scope);
    let options: Vec<String> = options.into_iter().map(quote).collect();
    format!("target/bin/portcullis token --key target/demo/keys/private.jwk.json {}", options.join(" "))
}

fn curl(case: &Case, port: u16) -> String {
    let mut words = vec!["ask".to_owned()];
    if case.method != "GET" {
        words.push(format!("-X {}", case.method));
    }
    let variable = match case.who {
        Who::Nobody => None,
        Who::Reader => Some("READER"),
        Who::Forger => Some("FORGED"),
        Who::Hasty => Some("HASTY"),
    };
    words.extend(variable.map(|variable| format!("-H \"authorization: Bearer ${variable}\"")));
    words.push(format!("https://localhost:{port}{}", case.path));
    let once = words.join(" ");
    if case.times == 1 { once } else { format!("for i in $(seq {}); do {once}; done", case.times) }
}

fn quote(word: String) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word }
}
