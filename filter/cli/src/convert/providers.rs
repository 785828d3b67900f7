//! The providers of a converted configuration.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A provider and what to know about it.
#[derive(Debug, Clone, Default)]
pub struct Provider {
    /// The section.
    pub section: Map<String, Value>,
    /// Words above it.
    pub comments: Vec<String>,
    /// It has a condition without an equal: nobody may pass by its word.
    pub is_unusable: bool,
    /// It does not look for tokens everywhere that the input does.
    pub misses_places: bool,
    /// Where authorisation finds its claims.
    pub payload_key: Option<String>,
    /// Whether authorisation finds its claim `scope` split into words.
    pub splits_scope: bool,
}

/// All providers, by their names in the configuration.
#[derive(Debug, Clone, Default)]
pub struct Providers(pub BTreeMap<String, Provider>);

impl Providers {
    /// Every name.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Whether nobody may pass by this provider's word: it is not there, or has a condition without an equal.
    pub fn is_unusable(&self, name: &str) -> bool {
        self.0.get(name).is_none_or(|provider| provider.is_unusable)
    }

    /// Whether a request that counts as one without a token is that for the input too.
    pub fn sees_every_token(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|provider| !provider.is_unusable && !provider.misses_places)
    }

    /// Those whose issuer is exactly this.
    pub fn of_issuer(&self, issuer: &str) -> Vec<String> {
        let is_it = |provider: &Provider| provider.section.get("issuer").and_then(Value::as_str) == Some(issuer);
        self.0.iter().filter(|(_, provider)| is_it(provider)).map(|(name, _)| name.clone()).collect()
    }

    /// The provider like `name` that takes these audiences only; made where there is none yet.
    pub fn with_audiences(&mut self, name: &str, audiences: &[String]) -> String {
        let Some(base) = self.0.get(name).cloned() else { return name.to_owned() };
        let mut section = base.section;
        section.insert("audiences".to_owned(), json!(audiences));
        if let Some((known, _)) = self.0.iter().find(|(_, provider)| provider.section == section) {
            return known.clone();
        }
        let free = (2..).map(|number| format!("{name}-{number}")).find(|free| !self.0.contains_key(free));
        let own = free.unwrap_or_default();
        self.0.insert(own.clone(), Provider { section, ..base });
        own
    }
}

/// A name as ours may be: letters, digits, `-` and `_`.
pub fn plain_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = text.chars().map(plain).collect();
    if name.is_empty() { "provider".to_owned() } else { name }
}

/// Host and path of an http or https URL.
pub fn split_url(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (!host.is_empty() && !host.contains('@')).then(|| (host.to_owned(), path))
}
