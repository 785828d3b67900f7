//! What a rule of another proxy matches: path, methods, host and headers, and what two such conditions have in common.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_engine::matching::{PathPattern, PathRegex};
use serde_json::{Map, Value, json};

/// The methods that stand for all others where a condition excludes some: a rule for an unknown method is not needed.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A condition on paths, each with exactly the meaning that it has in Envoy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSpec {
    /// This path.
    Exact(String),
    /// This path, and whatever is below it.
    Below(String),
    /// Whatever begins with this text, in the middle of a segment too.
    Prefix(String),
    /// Whatever this expression matches as a whole.
    Regex(String),
}

/// All of its parts must hold; what is not set holds always.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// The path.
    pub path: Option<PathSpec>,
    /// The methods.
    pub methods: Option<BTreeSet<String>>,
    /// The host: exact, or `*.` and a domain.
    pub host: Option<String>,
    /// Headers: exact value, or `*` for any.
    pub headers: BTreeMap<String, String>,
}

/// What two conditions have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Common {
    /// No request meets both.
    Nothing,
    /// This.
    Condition(Condition),
    /// Something that cannot be written as one condition.
    Unknown,
}

impl PathSpec {
    /// Whether text means the same to Envoy, which compares raw paths, and to our rules: other characters than these can
    /// also be sent encoded.
    pub fn is_plain(text: &str) -> bool {
        text.starts_with('/') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b))
    }

    fn to_match(&self) -> (&'static str, String) {
        match self {
            // A star or a brace would mean more than itself.
            Self::Exact(path) if !path.contains(['*', '{', '}']) && PathPattern::parse(path).is_ok() => {
                ("path", path.clone())
            }
            Self::Exact(path) => ("regex", escape(path)),
            Self::Below(path) => ("prefix", if path.is_empty() { "/".to_owned() } else { path.clone() }),
            Self::Prefix(prefix) if prefix == "/" => ("prefix", prefix.clone()),
            Self::Prefix(prefix) => ("regex", format!("{}.*", escape(prefix))),
            Self::Regex(regex) => ("regex", regex.clone()),
        }
    }

    fn is_everything(&self) -> bool {
        matches!(self, Self::Prefix(prefix) if prefix == "/")
            || matches!(self, Self::Below(path) if path.is_empty() || path == "/")
    }

    /// The paths that meet both; `Err` if that is no single condition.
    fn and(&self, other: &Self) -> Result<Option<Self>, ()> {
        if self == other || other.is_everything() {
            return Ok(Some(self.clone()));
        }
        if self.is_everything() {
            return Ok(Some(other.clone()));
        }
        Ok(match (self, other) {
            (Self::Regex(_), _) | (_, Self::Regex(_)) => return Err(()),
            (Self::Exact(path), wide) | (wide, Self::Exact(path)) => {
                wide.takes(path).then(|| Self::Exact(path.clone()))
            }
            (Self::Prefix(a), Self::Prefix(b)) => longer(a, b).map(Self::Prefix),
            (Self::Below(a), Self::Below(b)) => {
                let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
                is_below(long, short).then(|| Self::Below(long.clone()))
            }
            (Self::Below(below), Self::Prefix(prefix)) | (Self::Prefix(prefix), Self::Below(below)) => {
                if below.starts_with(prefix.as_str()) {
                    Some(Self::Below(below.clone()))
                } else {
                    prefix.starts_with(&format!("{below}/")).then(|| Self::Prefix(prefix.clone()))
                }
            }
        })
    }

    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Below(below) => is_below(path, below),
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Regex(_) => false,
        }
    }
}

fn is_below(path: &str, below: &str) -> bool {
    path.strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn longer(a: &str, b: &str) -> Option<String> {
    if a.starts_with(b) { Some(a.to_owned()) } else { b.starts_with(a).then(|| b.to_owned()) }
}

/// Text as an expression that matches nothing else.
pub fn escape(text: &str) -> String {
    let special = |c: char| if "\\.+*?()|[]{}^$-&~#".contains(c) { format!("\\{c}") } else { c.to_string() };
    text.chars().map(special).collect()
}

/// Whether the engine reads the expression.
pub fn is_regex(source: &str) -> bool {
    PathRegex::parse(source).is_ok()
}

impl Condition {
    /// A condition on the path alone.
    pub fn path(path: PathSpec) -> Self {
        Self { path: Some(path), ..Self::default() }
    }

    /// A condition on the methods alone.
    pub fn methods(methods: impl IntoIterator<Item = String>) -> Self {
        Self { methods: Some(methods.into_iter().collect()), ..Self::default() }
    }

    /// Whether every request with a path meets it.
    pub fn is_everything(&self) -> bool {
        self.methods.is_none()
            && self.host.is_none()
            && self.headers.is_empty()
            && self.path.as_ref().is_none_or(PathSpec::is_everything)
    }

    /// Whether every request that meets `other` meets this one too, as far as can be told.
    pub fn covers(&self, other: &Self) -> bool {
        self.and(other) == Common::Condition(other.clone())
    }

    /// The requests that meet both.
    pub fn and(&self, other: &Self) -> Common {
        let path = match (&self.path, &other.path) {
            (Some(a), Some(b)) => match a.and(b) {
                Ok(Some(path)) => Some(path),
                Ok(None) => return Common::Nothing,
                Err(()) => return Common::Unknown,
            },
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let methods = match (&self.methods, &other.methods) {
            (Some(a), Some(b)) => Some(a.intersection(b).cloned().collect::<BTreeSet<_>>()),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        if methods.as_ref().is_some_and(BTreeSet::is_empty) {
            return Common::Nothing;
        }
        let host = match (&self.host, &other.host) {
            (Some(a), Some(b)) => {
                let inside = |wide: &str, narrow: &str| wide.strip_prefix('*').is_some_and(|end| narrow.ends_with(end));
                if a == b || inside(b, a) {
                    Some(a.clone())
                } else if inside(a, b) {
                    Some(b.clone())
                } else {
                    return Common::Nothing;
                }
            }
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let mut headers = self.headers.clone();
        for (name, value) in &other.headers {
            match headers.get(name) {
                Some(known) if known == value || value == "*" => {}
                Some(known) if known != "*" => return Common::Nothing,
                _ => drop(headers.insert(name.clone(), value.clone())),
            }
        }
        Common::Condition(Self { path, methods, host, headers })
    }

    /// As a `match` section.
    pub fn to_match(&self) -> Value {
        let mut section = Map::new();
        if let Some(path) = &self.path {
            let (field, value) = path.to_match();
            section.insert(field.to_owned(), json!(value));
        }
        if let Some(host) = &self.host {
            section.insert("host".to_owned(), json!(host));
        }
        if let Some(methods) = &self.methods {
            section.insert("methods".to_owned(), json!(methods));
        }
        if !self.headers.is_empty() {
            section.insert("headers".to_owned(), json!(self.headers));
        }
        Value::Object(section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PathSpec::{Below, Exact, Prefix, Regex};

    fn both(a: PathSpec, b: PathSpec) -> Option<PathSpec> {
        match Condition::path(a).and(&Condition::path(b)) {
            Common::Condition(condition) => condition.path,
            Common::Nothing => None,
            Common::Unknown => Some(Regex("unknown".to_owned())),
        }
    }

    #[test]
    fn what_two_paths_have_in_common() {
        let text = str::to_owned;
        for (a, b, common) in [
            (Prefix(text("/")), Exact(text("/a")), Some(Exact(text("/a")))),
            (Prefix(text("/a")), Prefix(text("/ab")), Some(Prefix(text("/ab")))),
            (Prefix(text("/a")), Prefix(text("/b")), None),
            (Below(text("/a")), Prefix(text("/ab")), None),
            (Below(text("/a")), Prefix(text("/a/b")), Some(Prefix(text("/a/b")))),
            (Below(text("/a/b")), Prefix(text("/a")), Some(Below(text("/a/b")))),
            (Below(text("/a")), Below(text("/a/b")), Some(Below(text("/a/b")))),
            (Below(text("/a")), Below(text("/ab")), None),
            (Below(text("/a")), Exact(text("/a/")), Some(Exact(text("/a/")))),
            (Below(text("/a")), Exact(text("/ab")), None),
            (Regex(text("/a.*")), Prefix(text("/")), Some(Regex(text("/a.*")))),
            (Regex(text("/a.*")), Prefix(text("/a")), Some(Regex(text("unknown")))),
        ] {
            assert_eq!(both(a.clone(), b.clone()), common, "{a:?} {b:?}");
            assert_eq!(both(b, a), common);
        }
    }

    #[test]
    fn a_prefix_keeps_its_meaning_in_the_middle_of_a_segment() {
        assert_eq!(Condition::path(Prefix("/api".to_owned())).to_match(), json!({"regex": "/api.*"}));
        assert_eq!(Condition::path(Prefix("/v1.0/".to_owned())).to_match(), json!({"regex": "/v1\\.0/.*"}));
        assert_eq!(Condition::path(Below("/api".to_owned())).to_match(), json!({"prefix": "/api"}));
        assert_eq!(Condition::path(Exact("/a/b".to_owned())).to_match(), json!({"path": "/a/b"}));
        assert_eq!(Condition::path(Exact("/a/*".to_owned())).to_match(), json!({"regex": "/a/\\*"}));
    }
}
