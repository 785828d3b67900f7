//! Names: of rules, of what a configuration declares, and of headers.

use std::collections::HashMap;

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::RuleSection;
use crate::policy::{Provider, same_header};

use super::Compiler;

/// What a plain name is.
pub const PLAIN_NAME: &str = "1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`";

/// Whether a name can stand in counters, logs and headers.
pub fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A header's name in lower case, if it is one (RFC 9110, 5.1) and not the proxy's own.
pub fn header_name(at: &str, name: &str, problems: &mut Problems) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if lower.is_empty() || !lower.bytes().all(token) {
        problems.add(at, format!("{name:?} is no header name"));
        return None;
    }
    Some(lower)
}

/// A header that a rule may speak about. Pseudo-headers and framing belong to the proxy.
pub(super) fn changeable_header(at: &str, name: &str, field: &str, problems: &mut Problems) -> Option<String> {
    const FRAMING: &[&str] = &["host", "content-length", "transfer-encoding", "connection", "upgrade", "te"];
    let lower = header_name(at, name, problems)?;
    if matches!(field, "set" | "remove") && FRAMING.contains(&lower.as_str()) {
        problems.add(at, format!("{name:?} belongs to the proxy and cannot be changed"));
        return None;
    }
    Some(lower)
}

impl Compiler<'_> {
    /// Names stand in counters, logs and headers: they are plain words.
    pub(super) fn check_names(&mut self) {
        let config = self.config;
        let declared = (config.providers.keys().map(|name| ("providers", name)))
            .chain(config.limits.keys().map(|name| ("limits", name)))
            .chain(config.surge.keys().map(|name| ("surge", name)))
            .chain(config.bans.keys().map(|name| ("bans", name)))
            .chain(config.policies.keys().map(|name| ("policies", name)));
        for (section, name) in declared {
            if !is_plain_name(name) {
                self.problems.add_with_hint(member_path(section, name), "is no plain name", PLAIN_NAME);
            }
        }
    }

    pub(super) fn rule_label(
        &mut self,
        path: &str,
        index: usize,
        section: &RuleSection,
        seen: &mut HashMap<String, usize>,
    ) -> String {
        let Some(name) = &section.name else { return index.to_string() };
        let at = member_path(path, "name");
        if !is_plain_name(name) {
            self.problems.add_with_hint(at, format!("{name:?} is no plain name"), PLAIN_NAME);
        } else if let Some(earlier) = seen.insert(name.clone(), index) {
            self.problems.add(at, format!("{name:?} is the name of rules[{earlier}] already"));
        }
        name.clone()
    }

    pub(super) fn identity_headers(&mut self, providers: &[Option<Provider>]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (index, name) in self.config.identity_headers.iter().enumerate() {
            names.extend(header_name(&format!("identity_headers[{index}]"), name, self.problems));
        }
        for provider in providers.iter().flatten() {
            names.extend(provider.headers.iter().map(|(name, _)| name.clone()));
        }
        let mut names: Vec<String> = names.into_iter().map(|name| name.replace('_', "-")).collect();
        names.sort();
        names.dedup();
        names
    }

    /// A header that is always removed is no ground for a decision: only a client can have sent it.
    pub(super) fn check_match_headers(&mut self, identity_headers: &[String]) {
        for (index, rule) in self.config.rules.iter().enumerate() {
            for name in rule.r#match.headers.keys() {
                if identity_headers.iter().any(|identity| same_header(identity, name.as_bytes())) {
                    let at = member_path(&format!("rules[{index}].match.headers"), name);
                    let hint = "match on a header that clients may send, or on the path, the host or the method";
                    self.problems.add_with_hint(
                        at,
                        "only the gateway may set this header: clients choose it here",
                        hint,
                    );
                }
            }
        }
    }
}
