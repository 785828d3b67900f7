//! `portcullis report`: one page about who was refused, why, from where, and when, of the gateway's own logs.

mod chart;
mod entry;
mod html;
mod lines;
mod page;
mod tally;
mod timeline;
mod top;

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::entry::Entry;
use self::lines::{Line, Lines};
use self::tally::{Skipped, Tally};

/// Make a page of access logs and audit events: who was refused, why, from where, over time
///
/// Reads the reference gateway's access log (JSON lines, see `access_log` in envoy.yaml), the filter's audit events, or Envoy's log with
/// both in it, and writes one HTML page: charts and tables, no script, nothing from the network. Lines that are neither are counted and
/// left out. Where there is an access log, requests are counted by it, and audit events add the bans and what payload rules have found.
///
/// Example: portcullis report access.log audit.log --out report.html
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Log files; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Write the page into this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Show at most so many rows of a table
    #[arg(long, default_value_t = 15, value_name = "ROWS")]
    rows: usize,
}

/// Carries the command out.
///
/// # Errors
/// A file cannot be read or written, or nothing in them is a line of the access log or an audit event.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut logs = Logs::default();
    for file in &arguments.files {
        logs.read(open(file)?).with_context(|| format!("cannot read {}", file.display()))?;
    }
    if logs.is_empty() {
        bail!(
            "no line of these files is of the access log or an audit event\n  \
             hint: JSON lines are expected, as the reference envoy.yaml has them in `access_log`"
        );
    }
    let page = page::write(&logs, arguments.rows);
    match &arguments.out {
        Some(file) => std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?,
        None => io::stdout().write_all(page.as_bytes())?,
    }
    let Skipped { foreign, too_long } = logs.skipped;
    if foreign + too_long > 0 {
        let counted = logs.requests().count;
        let _ = writeln!(
            io::stderr(),
            "portcullis: {counted} requests counted; left out: {foreign} other lines, {too_long} lines of more than {} KiB",
            lines::MAX_LINE / 1024
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?))
}

/// What all files together say. Its size does not depend on theirs.
#[derive(Debug, Default)]
struct Logs {
    access: Tally,
    audit: Tally,
    bans: tally::Bans,
    payload: tally::Payload,
    skipped: Skipped,
}

impl Logs {
    fn read(&mut self, source: impl Read) -> io::Result<()> {
        let mut lines = Lines::new(BufReader::new(source));
        while let Some(line) = lines.next()? {
            match line {
                Line::TooLong => self.skipped.too_long += 1,
                Line::Whole(bytes) => match Entry::parse(bytes) {
                    Some(Entry::Access(request)) => self.access.add(&request),
                    Some(Entry::Audit(request)) => {
                        self.audit.add(&request);
                        self.payload.add(&request);
                    }
                    Some(Entry::Ban(ban)) => self.bans.add(ban),
                    Some(Entry::Other) => {}
                    None => self.skipped.foreign += 1,
                },
            }
        }
        Ok(())
    }

    /// What requests are counted by: never by both, since a refusal is in both logs.
    fn requests(&self) -> &Tally {
        if self.access.count > 0 { &self.access } else { &self.audit }
    }

    fn is_empty(&self) -> bool {
        self.requests().count == 0 && self.bans.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(log: &[u8]) -> (Logs, String) {
        let mut logs = Logs::default();
        logs.read(log).unwrap();
        let page = page::write(&logs, 15);
        (logs, page)
    }

    const DENIED: &str = r#"{"time":"2026-11-22T10:00:00.000Z","request":"r","method":"GET","path":"/orders/1","status":401,"details":"portcullis_token_expired","client":"192.0.2.7","rule":"orders","verdict":"denied","reason":"token_expired"}"#;
    const AUDIT: &str = r#"{"@timestamp":"2026-11-22T10:00:00.000Z","event.action":"request_denied","event.reason":"token_expired","rule.name":"orders","source.ip":"192.0.2.7","url.path":"/orders/1"}"#;

    #[test]
    fn the_page_says_who_was_refused_why_and_where() {
        let (_, page) = page(DENIED.as_bytes());
        for said in ["192.0.2.7", "token_expired", "orders", "/orders/1"] {
            assert!(page.contains(said), "{said}");
        }
    }

    #[test]
    fn what_strangers_write_is_text_and_never_markup() {
        let hostile = r#"<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>\u202e"#;
        let mut log = String::new();
        for field in ["path", "principal", "client", "rule", "reason", "verdict", "method", "details", "time"] {
            let line = DENIED.trim_end_matches('}').to_owned() + &format!(r#","{field}":"{hostile}"}}"#);
            log.push_str(&(line + "\n"));
        }
        let ban = format!(
            r#"{{"@timestamp":"{hostile}","event.action":"ban_begun","portcullis.ban":"{hostile}","portcullis.ban.cause":"{hostile}","source.ip":"{hostile}"}}"#
        );
        log.push_str(&ban);
        let (logs, page) = page(log.as_bytes());
        assert_eq!(logs.skipped.foreign, 0);
        assert!(page.contains("&lt;script&gt;alert(1)"), "it is shown as it was");
        for markup in ["<script", "<img", "<svg/", "\u{202e}"] {
            assert!(!page.contains(markup), "{markup}");
        }
        // Nothing leaves an attribute either.
        assert!(!page.contains("\"'>"));
    }

    #[test]
    fn what_payload_rules_found_is_counted_by_parameter_with_its_exception() {
        let event = |parameter: &str, action: &str| {
            let finding = format!(
                r#"{{"signature":"xss-any","place":"json","parameter":"{parameter}","exception":{{"except":[{{"place":"json","parameter":"{parameter}"}}]}}}}"#
            );
            let start = AUDIT
                .trim_end_matches('}')
                .replace("token_expired", "payload_attack")
                .replace("request_denied", action);
            format!("{start},\"portcullis.payload\":[{finding}]}}\n")
        };
        let log =
            event("html", "request_monitored") + &event("html", "request_denied") + &event("b<i>", "request_monitored");
        // An access log beside it counts requests, not findings.
        let (logs, page) = page((log + DENIED).as_bytes());
        assert_eq!(logs.payload.found.largest(9).iter().map(|(_, count, _)| *count).collect::<Vec<_>>(), [2, 1]);
        assert!(
            page.contains(
                "{&quot;except&quot;:[{&quot;parameter&quot;:&quot;html&quot;,&quot;place&quot;:&quot;json&quot;}]}"
            ),
            "{page}"
        );
        assert!(page.contains("b&lt;i&gt;") && !page.contains("<i>"));
    }

    #[test]
    fn nothing_is_fetched_and_no_script_could_run() {
        let (_, page) = page(DENIED.as_bytes());
        assert!(page.contains("default-src 'none'"));
        for sign in ["http://", "https://", "src=", "@import", "url(", "href="] {
            assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(sign), "{sign}");
        }
    }

    #[test]
    fn lines_that_are_no_log_are_counted_and_left_out() {
        let mut log = b"[2026-11-22][info] starting\n\xff\xfe\n{\"a\":\n[1,2]\n\"text\"\n{}\n".to_vec();
        log.extend_from_slice(b"{\"time\":");
        log.extend(std::iter::repeat_n(b'[', 10_000));
        log.push(b'\n');
        log.extend_from_slice(DENIED.as_bytes());
        let (logs, _) = page(&log);
        assert_eq!((logs.access.count, logs.skipped.foreign), (1, 7));
    }

    #[test]
    fn an_endless_line_is_left_out_and_the_next_is_read() {
        let mut log = vec![b'x'; 5 * lines::MAX_LINE];
        log.push(b'\n');
        log.extend_from_slice(DENIED.as_bytes());
        let (logs, page) = page(&log);
        assert_eq!((logs.access.count, logs.skipped.too_long), (1, 1));
        assert!(page.len() < 100_000);
    }

    #[test]
    fn a_refusal_in_both_logs_is_counted_once() {
        let (logs, _) = page(format!("{AUDIT}\n{DENIED}\n").as_bytes());
        assert_eq!(logs.requests().count, 1);
        let (logs, page) = page(AUDIT.as_bytes());
        assert_eq!(logs.requests().count, 1);
        assert!(page.contains("192.0.2.7"));
    }

    #[test]
    fn a_crowd_of_addresses_and_paths_takes_bounded_room_and_hides_nobody() {
        let mut log = String::new();
        for number in 0..40_000 {
            let crowd =
                DENIED.replace("192.0.2.7", &format!("2001:db8::{number:x}")).replace("/1", &format!("/{number}"));
            log.push_str(&(crowd + "\n"));
            if number % 10 == 0 {
                log.push_str(&(DENIED.to_owned() + "\n"));
            }
        }
        let (logs, page) = page(log.as_bytes());
        assert_eq!(logs.access.count, 44_000);
        assert!(logs.access.offenders.len() <= top::CAPACITY);
        assert_eq!(logs.access.offenders.largest(1)[0].0, "192.0.2.7");
        assert!(page.len() < 200_000, "{}", page.len());
    }

    #[test]
    fn times_out_of_all_proportion_do_not_grow_the_chart() {
        let mut log = String::new();
        for year in 1970..2970 {
            log.push_str(&(DENIED.replace("2026-", &format!("{year}-")) + "\n"));
        }
        let (_, page) = page(log.as_bytes());
        assert!(page.len() < 200_000, "{}", page.len());
    }
}
