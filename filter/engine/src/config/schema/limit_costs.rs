//! What a request costs its limits, and how clients are told about them.

use serde_json::{Value, json};

use crate::config::document::{Node, Problems};
use crate::config::section::{Definitions, Read};
use crate::{section, words};

section! {
    /// What a request has cost in the end, as the service says.
    pub struct CostFromSection {
        /// The response header with the cost, a whole number.
        response_header: String,
        /// The most that is ever believed.
        max: u64,
    }
}

words! {
    /// How clients are told about limits.
    pub enum LimitHeaders {
        /// `RateLimit-Policy` and `RateLimit`.
        Standard = "standard",
        /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, of the limit that is nearest to its end.
        Legacy = "legacy",
        /// All of them.
        Both = "both",
        /// Not at all, but for `Retry-After`.
        None = "none",
    }
}

impl LimitHeaders {
    /// Whether the headers of the draft are sent.
    pub fn are_standard(self) -> bool {
        matches!(self, Self::Standard | Self::Both)
    }

    /// Whether the older headers are sent.
    pub fn are_legacy(self) -> bool {
        matches!(self, Self::Legacy | Self::Both)
    }
}

/// Statuses of responses: `503`, or all of `5xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusClass {
    first: u64,
    last: u64,
}

impl StatusClass {
    fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse::<u64>().ok().filter(|class| (4..=5).contains(class))?;
            return Some(Self { first: class * 100, last: class * 100 + 99 });
        }
        let status = text.parse::<u64>().ok().filter(|status| (400..=599).contains(status))?;
        Some(Self { first: status, last: status })
    }

    /// Whether one of them is a failure of the server.
    pub fn is_of_server(&self) -> bool {
        self.last >= 500
    }

    /// Whether `status` is one of them.
    pub fn contains(&self, status: u64) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl std::fmt::Display for StatusClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}xx", self.first / 100),
        }
    }
}

impl Read for StatusClass {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let text = match node.value {
            Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
            _ => node.text("a status", problems)?.to_owned(),
        };
        let found = Self::parse(&text);
        if found.is_none() {
            let hint = "write `5xx`, `4xx` or one from 400 to 599: what succeeds is used";
            problems.add_with_hint(node.path.clone(), format!("{text:?} is no status of a failure"), hint);
        }
        found
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": ["string", "integer"], "pattern": "^([45]xx|[45][0-9][0-9])$", "examples": ["5xx"]})
    }
}
