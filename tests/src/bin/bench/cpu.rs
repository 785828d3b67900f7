//! CPU time of a process, to the nanosecond.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// A process whose CPU time is read.
#[derive(Debug)]
pub struct Meter {
    tasks: PathBuf,
}

impl Meter {
    /// A meter of the process `id`.
    ///
    /// # Errors
    /// The system does not count scheduled time (`CONFIG_SCHED_INFO`), or there is no such process.
    pub fn of(id: u32) -> Result<Self> {
        let meter = Self { tasks: PathBuf::from(format!("/proc/{id}/task")) };
        meter.nanoseconds().context("this system does not tell a thread's CPU time (/proc/PID/task/TID/schedstat)")?;
        Ok(meter)
    }

    /// User and system time of all threads since their start. Right while they sleep; a running one counts late.
    ///
    /// # Errors
    /// The process has ended.
    pub fn nanoseconds(&self) -> Result<u64> {
        let mut sum = 0_u64;
        for task in std::fs::read_dir(&self.tasks)? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let time: u64 = text.split_ascii_whitespace().next().unwrap_or_default().parse()?;
            sum = sum.saturating_add(time);
        }
        Ok(sum)
    }
}
