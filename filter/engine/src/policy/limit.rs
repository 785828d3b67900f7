//! A compiled limit, and how one is made of its section.

use std::num::NonZeroU64;

use crate::config::document::member_path;
use crate::config::schema::{KeySection, LimitSection, Mode, OnError, OverflowSection};
use crate::config::{Problems, suggest};
use crate::limits::PartKind;
use crate::limits::gcra::Quota;

use super::compile::header_name;

pub use crate::limits::Overflow;

/// A limit on requests.
#[derive(Debug)]
pub struct Limit {
    /// The name in the configuration.
    pub name: String,
    /// What is counted.
    pub key: LimitKey,
    /// How much each key may.
    pub quota: Quota,
    /// How many keys can be told apart at the same time.
    pub capacity: u64,
    /// What happens while the table is full of busy keys.
    pub overflow: Overflow,
    /// What happens if shared data cannot be used.
    pub on_error: OnError,
    /// Whether refusals of this limit are carried out.
    pub mode: Mode,
}

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitKey {
    /// All parts together.
    All(Vec<KeyPart>),
    /// The first part that the request has.
    FirstOf(Vec<KeyPart>),
}

/// One part of a limit's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The verified identity: provider and subject.
    Principal,
    /// The client's address; IPv6 by its /64.
    Ip,
    /// The rule that matched.
    Rule,
    /// The method.
    Method,
    /// A request header.
    Header(String),
    /// A claim of the verified token.
    Claim(String),
}

const PLAIN_PARTS: &[(&str, KeyPart)] =
    &[("principal", KeyPart::Principal), ("ip", KeyPart::Ip), ("rule", KeyPart::Rule), ("method", KeyPart::Method)];

impl KeyPart {
    fn parse(at: &str, text: &str, problems: &mut Problems) -> Option<Self> {
        if let Some((_, part)) = PLAIN_PARTS.iter().find(|(name, _)| *name == text) {
            return Some(part.clone());
        }
        match text.split_once(':') {
            Some(("header", name)) => header_name(at, name, problems).map(Self::Header),
            Some(("claim", claim)) if !claim.is_empty() => Some(Self::Claim(claim.to_owned())),
            _ => {
                let known = ["principal", "ip", "rule", "method", "header:NAME", "claim:NAME"];
                let hint = match suggest::nearest(text, known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("known: {}", suggest::listed(&known)),
                };
                problems.add_with_hint(at, format!("no key part {text:?}"), hint);
                None
            }
        }
    }

    /// How the part is named in a descriptor.
    pub fn kind(&self) -> (PartKind, &str) {
        match self {
            Self::Principal => (PartKind::Principal, ""),
            Self::Ip => (PartKind::Ip, ""),
            Self::Rule => (PartKind::Route, ""),
            Self::Method => (PartKind::Method, ""),
            Self::Header(name) => (PartKind::Header, name),
            Self::Claim(name) => (PartKind::Claim, name),
        }
    }

    fn needs_principal(&self) -> bool {
        matches!(self, Self::Principal | Self::Claim(_))
    }
}

impl LimitKey {
    /// The parts in their order.
    pub fn parts(&self) -> &[KeyPart] {
        match self {
            Self::All(parts) | Self::FirstOf(parts) => parts,
        }
    }

    /// Whether the client's address is part of the key.
    pub fn reads_address(&self) -> bool {
        self.parts().contains(&KeyPart::Ip)
    }

    /// Whether the limit can only be charged once the caller is known.
    pub fn needs_principal(&self) -> bool {
        self.parts().iter().any(KeyPart::needs_principal)
    }
}

impl Limit {
    /// Compiles a limit. `None` means that problems were added.
    pub fn compile(name: &str, section: &LimitSection, default_mode: Mode, problems: &mut Problems) -> Option<Self> {
        let path = member_path("limits", name);
        let at = member_path(&path, "key");
        let (first_of, parts) = match &section.key {
            KeySection::All(parts) => (false, parts),
            KeySection::FirstOf(parts) => (true, parts),
        };
        // Every part is read before the first failure counts: all problems at once.
        let parts: Vec<Option<KeyPart>> = parts.iter().map(|part| KeyPart::parse(&at, part, problems)).collect();
        let parts: Option<Vec<KeyPart>> = parts.into_iter().collect();
        let burst = match section.burst.map(NonZeroU64::new) {
            None => Some(section.rate.requests),
            Some(Some(burst)) => Some(burst),
            Some(None) => {
                problems.add_with_hint(member_path(&path, "burst"), "is 0", "a limit admits at least 1 at once");
                None
            }
        };
        let quota = Quota::new(section.rate.requests, section.rate.window, burst?)
            .map_err(|error| problems.add(member_path(&path, "rate"), error.to_string()))
            .ok();
        const MAX_CAPACITY: u64 = 16 * 1024 * 1024;
        if section.capacity == 0 || section.capacity > MAX_CAPACITY {
            let problem = format!("{} is not between 1 and {MAX_CAPACITY}", section.capacity);
            problems.add(member_path(&path, "capacity"), problem);
            return None;
        }
        let parts = parts?;
        if parts.is_empty() {
            problems.add(at, "names no key part");
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            key: if first_of { LimitKey::FirstOf(parts) } else { LimitKey::All(parts) },
            quota: quota?,
            capacity: section.capacity,
            overflow: match section.on_overflow {
                OverflowSection::Deny => Overflow::Deny,
                OverflowSection::Allow => Overflow::Allow,
                OverflowSection::Shared => Overflow::SharedBucket,
            },
            on_error: section.on_error,
            mode: section.mode.unwrap_or(default_mode),
        })
    }
}
