//! The registry: every rule of `rules/`, as the build script wrote it.

/// A family of attacks. Evidence of one family never adds to another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Family {
    Sqli,
    Nosqli,
    Xss,
    Traversal,
    Inclusion,
    Command,
    Template,
    Ssrf,
    Xml,
    Lookup,
    Shellshock,
    Deserialisation,
    Splitting,
    Prototype,
    Php,
    Java,
    Node,
    Ldap,
    Xpath,
    Graphql,
    Ssi,
    Scanner,
    Session,
    Upload,
    Redirect,
    Protocol,
    /// What an operator's own rules look for.
    Own,
}

/// How many families there are.
pub const FAMILIES: usize = 27;

impl Family {
    /// All of them.
    pub const ALL: [Self; FAMILIES] = [
        Self::Sqli,
        Self::Nosqli,
        Self::Xss,
        Self::Traversal,
        Self::Inclusion,
        Self::Command,
        Self::Template,
        Self::Ssrf,
        Self::Xml,
        Self::Lookup,
        Self::Shellshock,
        Self::Deserialisation,
        Self::Splitting,
        Self::Prototype,
        Self::Php,
        Self::Java,
        Self::Node,
        Self::Ldap,
        Self::Xpath,
        Self::Graphql,
        Self::Ssi,
        Self::Scanner,
        Self::Session,
        Self::Upload,
        Self::Redirect,
        Self::Protocol,
        Self::Own,
    ];

    /// The word for configurations and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqli => "sqli",
            Self::Nosqli => "nosqli",
            Self::Xss => "xss",
            Self::Traversal => "traversal",
            Self::Inclusion => "inclusion",
            Self::Command => "command",
            Self::Template => "template",
            Self::Ssrf => "ssrf",
            Self::Xml => "xml",
            Self::Lookup => "lookup",
            Self::Shellshock => "shellshock",
            Self::Deserialisation => "deserialisation",
            Self::Splitting => "splitting",
            Self::Prototype => "prototype",
            Self::Php => "php",
            Self::Java => "java",
            Self::Node => "node",
            Self::Ldap => "ldap",
            Self::Xpath => "xpath",
            Self::Graphql => "graphql",
            Self::Ssi => "ssi",
            Self::Scanner => "scanner",
            Self::Session => "session",
            Self::Upload => "upload",
            Self::Redirect => "redirect",
            Self::Protocol => "protocol",
            Self::Own => "own",
        }
    }
}

impl Family {
    /// The family that a word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == word)
    }

    /// How little its name says about an attack that is of other families too: `${jndi:ldap://...}` is a lookup first, and holds an
    /// address too.
    pub(crate) fn breadth(self) -> u8 {
        match self {
            Self::Own => 0,
            Self::Nosqli | Self::Ssrf | Self::Java | Self::Session => 2,
            Self::Sqli | Self::Xss | Self::Traversal | Self::Inclusion | Self::Command | Self::Protocol => 3,
            _ => 1,
        }
    }
}

/// The number of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleId(pub(crate) u16);

impl RuleId {
    /// Every rule, in the order of their files.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..tables::RULES.len()).filter_map(|number| u16::try_from(number).ok()).map(Self)
    }

    /// The rule's name, as in its file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.entry().map_or("unknown", |entry| entry.id)
    }

    /// The family it gives evidence of.
    #[must_use]
    pub fn family(self) -> Family {
        self.entry().map_or(Family::Protocol, |entry| entry.family)
    }

    /// The points it gives.
    #[must_use]
    pub fn weight(self) -> u8 {
        self.entry().map_or(0, |entry| entry.weight)
    }

    /// The lowest level that runs it.
    #[must_use]
    pub fn level(self) -> u8 {
        self.entry().map_or(1, |entry| entry.level)
    }

    fn entry(self) -> Option<&'static RuleEntry> {
        tables::RULES.get(usize::from(self.0))
    }
}

/// What the scan needs of a rule; the rest is in [`crate::pages`].
pub struct RuleEntry {
    pub id: &'static str,
    pub family: Family,
    pub weight: u8,
    pub level: u8,
}

/// Everything that the build script made of `rules/`.
#[allow(clippy::all, missing_docs)]
pub mod tables {
    use super::{Family, RuleEntry};
    use crate::literals::{Around, Group, Target};
    use crate::pattern::{Class, Op, Pattern, TokenPattern, Words};
    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

/// The rules that are decided by code, by name.
#[allow(missing_docs, dead_code)]
pub mod id {
    use super::RuleId;
    include!(concat!(env!("OUT_DIR"), "/ids.rs"));
}
