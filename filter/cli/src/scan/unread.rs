//! What stands in the files and is not judged: it is counted, and the first of it is named.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// What kind of thing is left out. The order is that in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file of a folder.
    File,
    /// A line of a file, or an entry of a HAR file.
    Line,
    /// A request of a suite.
    Suite,
    /// The body of a request whose head is judged.
    Body,
}

impl Kind {
    fn told(self) -> &'static str {
        match self {
            Self::File => "files of folders left out, which end neither in .jsonl, .har nor .log",
            Self::Line => "lines left out, which are no requests",
            Self::Suite => "requests of a suite left out, which the baseline beside it does not refuse",
            Self::Body => "requests judged without their bodies, which cannot be read",
        }
    }
}

/// All that is left out.
#[derive(Debug, Default)]
pub struct Unread(BTreeMap<Kind, (usize, Vec<String>)>);

impl Unread {
    /// How many of a kind are named.
    const NAMED: usize = 5;

    /// Counts one.
    pub fn add(&mut self, kind: Kind, place: &str, why: &str) {
        let (count, named) = self.0.entry(kind).or_default();
        *count += 1;
        if named.len() < Self::NAMED {
            // A line is data: nothing of it may steer the terminal.
            let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
            named.push(if why.is_empty() { place.to_owned() } else { format!("{place}: {why}") });
        }
    }

    /// Tells all of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        for (kind, (count, named)) in &self.0 {
            writeln!(out, "portcullis: {count} {}", kind.told())?;
            for line in named {
                writeln!(out, "  {line}")?;
            }
            if *count > named.len() {
                writeln!(out, "  and {} more", count - named.len())?;
            }
        }
        Ok(())
    }
}
