//! What became of one request.

use std::fmt;

use anyhow::Result;
use portcullis_tests::client::Response;
use portcullis_tests::refusal;

/// Stopped, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// By what: the filter's reason, or what Envoy itself did.
    Stopped(String),
    /// With this status: it reached what it was aimed at.
    Through(u16),
}

impl Outcome {
    /// Reads an answer, or the lack of one.
    pub fn of(answer: Result<Response>) -> Self {
        let Ok(response) = answer else { return Self::Stopped("connection ended by Envoy".to_owned()) };
        let status = response.status;
        match refusal::reason(&response) {
            reason if !reason.is_empty() => Self::Stopped(format!("{status} {reason}")),
            _ if status < 400 => Self::Through(status),
            _ => Self::Stopped(format!("{status} by Envoy")),
        }
    }
}

impl Outcome {
    /// The same, where it is not Envoy that answers but the service behind it.
    pub fn by_the_service(self) -> Self {
        match self {
            Self::Stopped(by) => Self::Stopped(by.replace(" by Envoy", " by the service")),
            through @ Self::Through(_) => through,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(by) => write!(f, "stopped: {by}"),
            Self::Through(status) => write!(f, "came through: {status}"),
        }
    }
}
