//! A directory of certificates that is replaced as a whole while others read it.
//!
//! `current` is a link to the version in force. It is exchanged in one step, so that nobody reads the certificate of one
//! version with the key of another; Envoy watches the directory around it (`watched_directory`) and reads both again.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The name of the link.
const CURRENT: &str = "current";

/// A directory with `current/FILE` in it.
#[derive(Debug, Clone)]
pub struct Live {
    dir: PathBuf,
}

impl Live {
    /// The live directory at `dir`, which is made with the first version.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory to watch.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The link: what consumers read from.
    pub fn current(&self) -> PathBuf {
        self.dir.join(CURRENT)
    }

    /// The version in force, to be compared with a later one; `None` before the first.
    pub fn version(&self) -> Option<PathBuf> {
        std::fs::read_link(self.current()).ok()
    }

    /// Puts `files` (name and contents) in force in one step. The version before stays for who is reading it.
    ///
    /// Owner and group may read them, and nobody else.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn publish(&self, files: &[(String, String)]) -> Result<()> {
        self.write(files).with_context(|| format!("cannot publish certificates in {}", self.dir.display()))
    }

    fn write(&self, files: &[(String, String)]) -> Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let before = self.version();
        let number = before.as_deref().and_then(number).unwrap_or(0).wrapping_add(1);
        let version = format!("v{number}");
        let place = self.dir.join(&version);
        // What a process left that was ended in the middle.
        remove(&place)?;
        std::fs::DirBuilder::new().mode(0o750).create(&place)?;
        for (name, contents) in files {
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(place.join(name))?;
            io::Write::write_all(&mut file, contents.as_bytes())?;
        }
        let link = self.dir.join("current.new");
        let _ = std::fs::remove_file(&link);
        symlink(&version, &link)?;
        std::fs::rename(&link, self.current())?;
        for entry in std::fs::read_dir(&self.dir)?.flatten() {
            let name = PathBuf::from(entry.file_name());
            let old = number_of_version(&name).is_some() && name != Path::new(&version);
            if old && before.as_deref() != Some(name.as_path()) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn number(version: &Path) -> Option<u64> {
    number_of_version(Path::new(version.file_name()?))
}

fn number_of_version(name: &Path) -> Option<u64> {
    name.to_str()?.strip_prefix('v')?.parse().ok()
}

fn remove(place: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::WorkDir;

    fn files(contents: &str) -> [(String, String); 1] {
        [("a.pem".to_owned(), contents.to_owned())]
    }

    #[test]
    fn a_new_version_takes_the_place_of_the_old_one_which_stays_until_the_next() {
        let dir = WorkDir::create("live").unwrap();
        let live = Live::at(dir.path().join("keys"));
        assert_eq!(live.version(), None);
        live.publish(&files("one")).unwrap();
        let first = live.directory().join(live.version().unwrap());
        live.publish(&files("two")).unwrap();
        assert_eq!(std::fs::read_to_string(live.current().join("a.pem")).unwrap(), "two");
        assert_eq!(std::fs::read_to_string(first.join("a.pem")).unwrap(), "one");
        live.publish(&files("three")).unwrap();
        assert_eq!(std::fs::read_to_string(live.current().join("a.pem")).unwrap(), "three");
        assert!(!first.exists());
    }

    #[test]
    fn nobody_but_owner_and_group_may_read_a_version() {
        use std::os::unix::fs::PermissionsExt;
        let dir = WorkDir::create("live-mode").unwrap();
        let live = Live::at(dir.path());
        live.publish(&files("one")).unwrap();
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7;
        assert_eq!([mode(live.current()), mode(live.current().join("a.pem"))], [0, 0]);
    }
}
