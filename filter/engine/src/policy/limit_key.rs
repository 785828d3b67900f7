//! What a limit counts by: the parts of its key.

use crate::config::document::member_path;
use crate::config::schema::{KeySection, LimitSection};
use crate::config::{Problems, suggest};
use crate::limits::PartKind;
use crate::limits::descriptor::Ipv6Prefix;

use super::compile::header_name;

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitKey {
    /// All of them together; of each, the first part that the request has.
    choices: Vec<Vec<KeyPart>>,
}

/// One part of a limit's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The verified identity: provider and subject.
    Principal,
    /// The OAuth client: the claim `client_id`, else `azp`.
    ClientId,
    /// The client that an API key, or a user name with its password, belongs to.
    ApiKey,
    /// The client's address; IPv6 by its network.
    Ip(Ipv6Prefix),
    /// The rule that matched.
    Rule,
    /// The proxy's route, by its name.
    Route,
    /// The method.
    Method,
    /// The host that the request is for.
    Host,
    /// A parameter of the query, decoded.
    Query(String),
    /// A request header.
    Header(String),
    /// A claim of the verified identity.
    Claim(String),
    /// A variable of the rule's path.
    PathVariable(String),
}

/// The words of parts that need no name.
const PLAIN: &[&str] = &["principal", "client_id", "api_key", "ip", "rule", "route", "method", "host"];
/// How parts with a name are written.
const NAMED: &[&str] = &["header:NAME", "query:NAME", "claim:NAME", "path:NAME"];

impl KeyPart {
    fn parse(at: &str, text: &str, prefix: Ipv6Prefix, problems: &mut Problems) -> Option<Self> {
        match text.split_once(':') {
            Some(("header", name)) => return header_name(at, name, problems).map(Self::Header),
            Some(("query", name)) if !name.is_empty() => return Some(Self::Query(name.to_owned())),
            Some(("claim", claim)) if !claim.is_empty() => return Some(Self::Claim(claim.to_owned())),
            Some(("path", name)) if !name.is_empty() => return Some(Self::PathVariable(name.to_owned())),
            _ => {}
        }
        match text {
            "principal" => Some(Self::Principal),
            "client_id" => Some(Self::ClientId),
            "api_key" => Some(Self::ApiKey),
            "ip" => Some(Self::Ip(prefix)),
            "rule" => Some(Self::Rule),
            "route" => Some(Self::Route),
            "method" => Some(Self::Method),
            "host" => Some(Self::Host),
            _ => {
                let known: Vec<&str> = PLAIN.iter().chain(NAMED).copied().collect();
                let hint = match suggest::nearest(text, known.iter().copied()) {
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
            Self::ClientId => (PartKind::ClientId, ""),
            Self::ApiKey => (PartKind::ApiKey, ""),
            Self::Ip(_) => (PartKind::Ip, ""),
            Self::Rule => (PartKind::Route, ""),
            // Beside the rule, which has no name in a descriptor.
            Self::Route => (PartKind::Route, "proxy"),
            Self::Method => (PartKind::Method, ""),
            Self::Host => (PartKind::Host, ""),
            Self::Query(name) => (PartKind::Query, name),
            Self::Header(name) => (PartKind::Header, name),
            Self::Claim(name) => (PartKind::Claim, name),
            Self::PathVariable(name) => (PartKind::PathVariable, name),
        }
    }

    /// How the part is written.
    pub fn text(&self) -> String {
        match self {
            Self::Principal => "principal".to_owned(),
            Self::ClientId => "client_id".to_owned(),
            Self::ApiKey => "api_key".to_owned(),
            Self::Ip(_) => "ip".to_owned(),
            Self::Rule => "rule".to_owned(),
            Self::Route => "route".to_owned(),
            Self::Method => "method".to_owned(),
            Self::Host => "host".to_owned(),
            Self::Query(name) => format!("query:{name}"),
            Self::Header(name) => format!("header:{name}"),
            Self::Claim(name) => format!("claim:{name}"),
            Self::PathVariable(name) => format!("path:{name}"),
        }
    }

    fn needs_principal(&self) -> bool {
        matches!(self, Self::Principal | Self::ClientId | Self::ApiKey | Self::Claim(_))
    }
}

impl LimitKey {
    /// Compiles the key of the limit at `path`. `None` means that problems were added.
    pub fn compile(path: &str, section: &LimitSection, problems: &mut Problems) -> Option<Self> {
        let at = member_path(path, "key");
        let prefix = ipv6_prefix(path, section, problems);
        let KeySection(choices) = &section.key;
        let mut read = |part: &String| KeyPart::parse(&at, part, prefix.unwrap_or_default(), problems);
        // Every part is read before the first failure counts: all problems at once.
        let choices: Vec<Vec<Option<KeyPart>>> =
            choices.iter().map(|parts| parts.iter().map(&mut read).collect()).collect();
        let choices: Vec<Vec<KeyPart>> =
            choices.into_iter().map(|parts| parts.into_iter().collect()).collect::<Option<_>>()?;
        if choices.is_empty() {
            problems.add(at, "names no key part");
            return None;
        }
        let key = Self { choices };
        if section.ipv6_prefix.is_some() && !key.reads_address() {
            let hint = "it belongs to the key part `ip`";
            problems.add_with_hint(member_path(path, "ipv6_prefix"), "means nothing to this key", hint);
            return None;
        }
        prefix.map(|_| key)
    }

    /// What counts together; of each, the first part that the request has.
    pub fn choices(&self) -> &[Vec<KeyPart>] {
        &self.choices
    }

    /// All parts that may count, in their order.
    pub fn parts(&self) -> impl Iterator<Item = &KeyPart> {
        self.choices.iter().flatten()
    }

    /// Whether the client's address is part of the key.
    pub fn reads_address(&self) -> bool {
        self.parts().any(|part| matches!(part, KeyPart::Ip(_)))
    }

    /// Whether the limit can only be charged once the caller is known.
    pub fn needs_principal(&self) -> bool {
        self.parts().any(KeyPart::needs_principal)
    }

    /// The variables of the rule's path that are part of the key.
    pub fn path_variables(&self) -> impl Iterator<Item = &str> {
        self.parts().filter_map(|part| match part {
            KeyPart::PathVariable(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

fn ipv6_prefix(path: &str, section: &LimitSection, problems: &mut Problems) -> Option<Ipv6Prefix> {
    let Some(bits) = section.ipv6_prefix else { return Some(Ipv6Prefix::default()) };
    let prefix = u8::try_from(bits).ok().filter(|bits| *bits > 0).and_then(Ipv6Prefix::new);
    if prefix.is_none() {
        let hint = "a customer is given a /64 at least, and often a /56 or /48";
        problems.add_with_hint(member_path(path, "ipv6_prefix"), format!("{bits} is not between 1 and 128"), hint);
    }
    prefix
}
