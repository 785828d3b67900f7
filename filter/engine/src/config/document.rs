//! The configuration as a tree of nodes that know their path, and the list of problems found in it.

use std::fmt;

use serde_json::{Map, Value};

use super::section::Read;
use super::suggest;

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where: `rules[3].use`. Empty for the document as a whole.
    pub path: String,
    /// What is wrong, without the path.
    pub problem: String,
    /// A way out, where one is known.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.problem)?;
        } else {
            write!(f, "{}: {}", self.path, self.problem)?;
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// All mistakes found so far. Reading goes on after one, so that the operator sees them all at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem at `path`.
    pub fn add(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Problem { path: path.into(), problem: problem.into(), hint: None });
    }

    /// Adds a problem at `path` with a way out.
    pub fn add_with_hint(&mut self, path: impl Into<String>, problem: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Problem { path: path.into(), problem: problem.into(), hint: Some(hint.into()) });
    }

    /// Adds "no {kind} {name}" with the nearest known name as the hint.
    pub fn add_unknown_name<'a>(
        &mut self,
        path: impl Into<String>,
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match suggest::nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => format!("the configuration declares no {kind}"),
            None => format!("declared: {}", suggest::listed(&known)),
        };
        self.add_with_hint(path, format!("no {kind} {name:?}"), hint);
    }

    /// Adds problems that were found elsewhere.
    pub fn extend(&mut self, further: impl IntoIterator<Item = Problem>) {
        self.0.extend(further);
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// How many were found.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value of the configuration with its path.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// The value as written.
    pub value: &'a Value,
    /// Its path from the root, as the operator would write it: `providers.corp.jwks.refresh`.
    pub path: String,
}

impl<'a> Node<'a> {
    /// The root of a document.
    pub fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// The member `key` of this object, with its path.
    pub fn member(&self, key: &str, value: &'a Value) -> Node<'a> {
        Node { value, path: member_path(&self.path, key) }
    }

    /// The element `index` of this list, with its path.
    pub fn element(&self, index: usize, value: &'a Value) -> Node<'a> {
        Node { value, path: format!("{}[{index}]", self.path) }
    }

    /// This node as text; anything else is a problem that names `what` was expected.
    pub fn text(&self, what: &str, problems: &mut Problems) -> Option<&'a str> {
        match self.value {
            Value::String(text) => Some(text),
            other => {
                problems.add(self.path.clone(), format!("expected {what}, found {}", kind(other)));
                None
            }
        }
    }

    /// Opens this node as an object whose members are then taken one by one.
    pub fn object(&self, problems: &mut Problems) -> Option<Object<'a>> {
        match self.value {
            Value::Object(members) => Some(Object { members, path: self.path.clone(), known: Vec::new() }),
            other => {
                problems.add(self.path.clone(), format!("expected an object, found {}", kind(other)));
                None
            }
        }
    }
}

/// The path of member `key` under `path`; keys that are not plain words are quoted.
pub fn member_path(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

/// What a value is, in the operator's words.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An object that is being read: remembers which members the reader knows, so that the others can be refused.
#[derive(Debug)]
pub struct Object<'a> {
    members: &'a Map<String, Value>,
    path: String,
    known: Vec<&'static str>,
}

impl<'a> Object<'a> {
    /// Reads the member `key`. An absent one (or an explicit null) takes `default` if there is one, else what the
    /// type says ([`Read::when_absent`]), else it is a problem.
    pub fn field<T: Read>(&mut self, key: &'static str, default: Option<Value>, problems: &mut Problems) -> Option<T> {
        self.known.push(key);
        let node = self.members.get(key).filter(|value| !value.is_null());
        if let Some(value) = node {
            return T::read(&Node { value, path: member_path(&self.path, key) }, problems);
        }
        if let Some(default) = default {
            return T::read(&Node { value: &default, path: member_path(&self.path, key) }, problems);
        }
        let absent = T::when_absent();
        if absent.is_none() {
            problems.add(member_path(&self.path, key), "is required");
        }
        absent
    }

    /// Reports every member that no `field` call named.
    pub fn refuse_unknown(&self, problems: &mut Problems) {
        for key in self.members.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let hint = match suggest::nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known here: {}", suggest::listed(&self.known)),
            };
            problems.add_with_hint(member_path(&self.path, key), "unknown field", hint);
        }
    }
}
