//! Where things are: the repository, the built module, Envoy, and a directory of its own for every run.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

/// The root of the repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The directory of everything that is built, downloaded or made for a run: `target/` in the repository.
pub fn target() -> PathBuf {
    root().join("target")
}

/// The pinned Envoy that `scripts/setup` installs; `PORTCULLIS_ENVOY` names another one.
///
/// # Errors
/// No such file: the message names the script that makes it.
pub fn envoy() -> Result<PathBuf> {
    let path = match std::env::var_os("PORTCULLIS_ENVOY") {
        Some(path) => PathBuf::from(path),
        None => target().join("envoy/bin/envoy"),
    };
    ensure!(path.is_file(), "no Envoy at {}: run scripts/setup, or set PORTCULLIS_ENVOY", path.display());
    Ok(path)
}

/// The filter that `scripts/build` makes; `PORTCULLIS_WASM` names another one.
///
/// # Errors
/// No such file: the message names the script that makes it.
pub fn module() -> Result<PathBuf> {
    let path = match std::env::var_os("PORTCULLIS_WASM") {
        Some(path) => PathBuf::from(path),
        None => target().join("portcullis.wasm"),
    };
    ensure!(path.is_file(), "no filter at {}: run scripts/build, or set PORTCULLIS_WASM", path.display());
    Ok(path)
}

/// The command line tool `portcullis`: beside this program, or where cargo put it for a test; `PORTCULLIS_TOOL` names
/// another one.
///
/// # Errors
/// No such file: the message names what makes it.
pub fn tool() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PORTCULLIS_TOOL") {
        return Ok(PathBuf::from(path));
    }
    // A test program is one directory further down, in `deps`.
    let here = std::env::current_exe()?;
    let found = here.ancestors().skip(1).take(2).map(|dir| dir.join("portcullis")).find(|path| path.is_file());
    found.context("no portcullis beside this program: run `cargo build -p portcullis`, or set PORTCULLIS_TOOL")
}

/// A directory for one run's files (configuration, log, certificates), removed on drop.
///
/// It is kept when the thread panics, so that a failed test leaves Envoy's log behind; the directories of processes
/// that are gone are removed when the next run starts.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    /// Makes `target/e2e/<process id>-<number>-<name>`.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn create(name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let parent = target().join("e2e");
        if number == 0 {
            remove_leftovers(&parent);
        }
        let path = parent.join(format!("{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes directories whose process is gone and that are older than a day: a fresh failure's log must stay readable.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_string_lossy().split('-').next().map(str::to_owned).unwrap_or_default();
        let alive = Path::new("/proc").join(&process).exists();
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        if !alive && age.is_some_and(|age| age.as_secs() > 86_400) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
