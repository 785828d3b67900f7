//! Child processes that never outlive this one.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::process::{Pid, Signal};

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// What to start.
#[derive(Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its working directory.
    pub directory: PathBuf,
    /// Where its standard output and standard error go.
    pub output: File,
}

/// A child process: stopped by its own process id when dropped, and by the kernel when this process dies.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `program`, in a process group of its own so that a Ctrl-C at the terminal leaves stopping it to us.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(program: Program) -> Result<Self> {
        let name = program.path.display().to_string();
        let child = spawn_bound(program).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn exit(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end (SIGTERM), and ends it (SIGKILL) if it has not within five seconds.
    ///
    /// # Errors
    /// The system cannot tell how it ended.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::TERM);
        let started = Instant::now();
        while started.elapsed() < GRACE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill().with_context(|| format!("cannot end {}", self.name))?;
        Ok(self.child.wait()?)
    }

    fn signal(&self, signal: Signal) {
        // The child is not waited for yet, so its id cannot belong to another process.
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = rustix::process::kill_process(id, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

type Order = (Command, Sender<io::Result<Child>>);

/// Starts `program` so that the kernel kills it when this process ends, however it ends.
///
/// `setpriv --pdeathsig` asks for a signal at the end of the parent *thread*. A test's thread ends with the test while
/// the gateway that it started serves others, so one thread that lives as long as the process starts all children.
fn spawn_bound(program: Program) -> Result<Child> {
    static ORDERS: LazyLock<io::Result<Mutex<Sender<Order>>>> = LazyLock::new(|| {
        let (sender, receiver) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            for (mut command, answer) in receiver {
                let _ = answer.send(command.spawn());
            }
        })?;
        Ok(Mutex::new(sender))
    });
    let orders = ORDERS.as_ref().map_err(|error| anyhow!("cannot start a thread: {error}"))?;
    let (answer, child) = mpsc::channel();
    orders.lock().unwrap_or_else(PoisonError::into_inner).send((command(program)?, answer))?;
    Ok(child.recv()??)
}

/// The command behind `setpriv --pdeathsig KILL` (util-linux), where the system has it.
fn command(program: Program) -> Result<Command> {
    use std::os::unix::process::CommandExt;
    let setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|path| Path::new(path).exists());
    let mut command = match setpriv {
        None => Command::new(&program.path),
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(&program.path);
            command
        }
    };
    command
        .args(&program.arguments)
        .current_dir(&program.directory)
        .stdin(Stdio::null())
        .stderr(program.output.try_clone()?)
        .stdout(program.output)
        .process_group(0);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Process {
        let output = File::options().write(true).open("/dev/null").unwrap();
        let arguments = vec![OsString::from("60")];
        Process::start(Program { path: "/bin/sleep".into(), arguments, directory: "/".into(), output }).unwrap()
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = sleeper();
        let entry = Path::new("/proc").join(process.id().to_string());
        assert!(entry.exists());
        drop(process);
        assert!(!entry.exists());
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() {
        let mut process = std::thread::spawn(sleeper).join().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(process.exit().unwrap(), None);
    }
}
