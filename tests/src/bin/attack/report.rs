//! The table.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;

use crate::outcome::Outcome;

/// How many of those that came through are shown.
const SHOWN: usize = 5;

/// Columns of a line, at most; and those before the reasons.
const WIDTH: usize = 120;
const INDENT: usize = 49;

/// One kind of attack, and what became of it.
#[derive(Debug)]
pub struct Wave {
    name: &'static str,
    sent: usize,
    stopped: BTreeMap<String, usize>,
    through: Vec<String>,
    /// How many may come through: what a limit admits.
    admitted: usize,
}

impl Wave {
    /// An attack of which nothing may come through.
    pub fn new(name: &'static str) -> Self {
        Self { name, sent: 0, stopped: BTreeMap::new(), through: Vec::new(), admitted: 0 }
    }

    /// Lets that many come through.
    pub fn admit(&mut self, requests: usize) {
        self.admitted = requests;
    }

    /// Counts one request; `what` it was stands in the report where it came through.
    pub fn add(&mut self, what: &str, outcome: Outcome) {
        self.sent += 1;
        match outcome {
            Outcome::Stopped(by) => *self.stopped.entry(by).or_default() += 1,
            Outcome::Through(status) => self.through.push(format!("{status} {what}")),
        }
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.sent == 0
    }

    fn failed(&self) -> bool {
        self.through.len() > self.admitted
    }
}

/// What was printed so far, and what it comes to.
#[derive(Debug, Default)]
pub struct Report {
    sent: usize,
    failures: usize,
    asked: usize,
    served: usize,
}

impl Report {
    /// Prints the head of the table.
    pub fn start(out: &mut impl Write) -> Result<Self> {
        writeln!(out, "{:<24} {:>5} {:>8} {:>8}  stopped by", "attack", "sent", "stopped", "through")?;
        Ok(Self::default())
    }

    /// Prints a row.
    pub fn add(&mut self, wave: &Wave, out: &mut impl Write) -> Result<()> {
        self.sent += wave.sent;
        let mut by: Vec<_> = wave.stopped.iter().collect();
        by.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let stopped: usize = wave.stopped.values().sum();
        let through = wave.through.len();
        let mut line = format!("{:<24} {:>5} {stopped:>8} {through:>8} ", wave.name, wave.sent);
        for (by, count) in by {
            let part = format!(" {by} ({count})");
            if line.len() + part.len() > WIDTH {
                writeln!(out, "{line}")?;
                line = " ".repeat(INDENT);
            }
            line.push_str(&part);
        }
        writeln!(out, "{line}")?;
        if wave.failed() {
            self.failures += 1;
            for what in wave.through.iter().take(SHOWN) {
                writeln!(out, "  CAME THROUGH: {what}")?;
            }
        } else if through > 0 {
            writeln!(out, "  as the limit admits: at most {}", wave.admitted)?;
        }
        Ok(out.flush()?)
    }

    /// Counts a request of the good client.
    pub fn good_client(&mut self, served: bool) {
        self.asked += 1;
        self.served += usize::from(served);
    }

    /// Prints the sum; whether all is well.
    pub fn end(self, out: &mut impl Write) -> Result<bool> {
        let Self { sent, failures, asked, served } = self;
        writeln!(out, "a good client meanwhile: {served} of {asked} requests served")?;
        let well = failures == 0 && served == asked;
        let verdict = match (failures, well) {
            (0, true) => "everything that must be stopped was stopped".to_owned(),
            (0, false) => "the good client was not always served".to_owned(),
            _ => format!("{failures} kinds of attack came through"),
        };
        writeln!(out, "{sent} hostile requests: {verdict}")?;
        Ok(well)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_well(wave: &Wave, served: bool) -> bool {
        let mut out = Vec::new();
        let mut report = Report::start(&mut out).unwrap_or_default();
        report.good_client(served);
        report.add(wave, &mut out).is_ok() && report.end(&mut out).unwrap_or_default()
    }

    #[test]
    fn what_came_through_fails_and_what_a_limit_admits_does_not() {
        let mut wave = Wave::new("test");
        wave.add("a", Outcome::Stopped("403 payload_attack".to_owned()));
        assert!(ends_well(&wave, true));
        assert!(!ends_well(&wave, false));
        wave.add("b", Outcome::Through(200));
        assert!(!ends_well(&wave, true));
        wave.admit(1);
        assert!(ends_well(&wave, true));
    }
}
