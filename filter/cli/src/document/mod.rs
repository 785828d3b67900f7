//! A configuration file as a tree that knows its lines, typed as Envoy types it.

mod read;
mod scalar;

use std::collections::HashMap;

use portcullis_engine::config::document::member_path;
use serde_json::{Map, Value};

pub use read::{Mistake, read, read_json_text};

/// The scalars of a file are typed by its language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// YAML as Envoy reads it (see `scalar`).
    Yaml,
    /// YAML as it is specified (1.2, core schema), which OpenAPI asks for.
    CoreYaml,
    /// JSON (RFC 8259).
    Json,
}

/// A value and the line where it begins, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line.
    pub line: usize,
    /// The value.
    pub kind: Kind,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Null, a boolean, a number or text.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// An object.
    Map(Vec<Member>),
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name.
    pub key: String,
    /// The line of the name.
    pub line: usize,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The members of an object; none for anything else.
    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Map(members) => members,
            _ => &[],
        }
    }

    /// The elements of a list; none for anything else.
    pub fn elements(&self) -> &[Node] {
        match &self.kind {
            Kind::List(elements) => elements,
            _ => &[],
        }
    }

    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Member> {
        self.members().iter().find(|member| member.key == key)
    }

    /// The value that is reached by one member after the other.
    pub fn at(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key).map(|member| &member.value))
    }

    /// The text at `keys`.
    pub fn text_at(&self, keys: &[&str]) -> Option<&str> {
        self.at(keys).and_then(Node::text)
    }

    /// Whether `true` stands at `keys`.
    pub fn is_true_at(&self, keys: &[&str]) -> bool {
        self.at(keys).is_some_and(|node| node.kind == Kind::Scalar(Value::Bool(true)))
    }

    /// This node as text.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The value without its lines.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(elements) => elements.iter().map(Node::to_value).collect(),
            Kind::Map(members) => {
                let members = members.iter().map(|member| (member.key.clone(), member.value.to_value()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    /// The line of every path below this node.
    pub fn lines(&self) -> Lines {
        let mut lines = Lines { of: HashMap::new(), first: self.line };
        lines.add(self, String::new());
        lines
    }

    /// How many nodes there are, this one included.
    fn size(&self) -> usize {
        let below: usize = match &self.kind {
            Kind::Scalar(_) => 0,
            Kind::List(elements) => elements.iter().map(Node::size).sum(),
            Kind::Map(members) => members.iter().map(|member| member.value.size()).sum(),
        };
        below.saturating_add(1)
    }
}

/// The lines of a tree by the paths that problems name.
#[derive(Debug, Clone)]
pub struct Lines {
    of: HashMap<String, usize>,
    first: usize,
}

impl Lines {
    /// The line of `path`, else of the nearest part of it that is written.
    pub fn find(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.of.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']).and_then(|end| path.get(..end)) {
                Some(shorter) => path = shorter,
                None => return self.first,
            }
        }
    }

    fn add(&mut self, node: &Node, path: String) {
        match &node.kind {
            Kind::Scalar(_) => {}
            Kind::List(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.of.insert(path.clone(), element.line);
                    self.add(element, path);
                }
            }
            Kind::Map(members) => {
                for member in members {
                    let path = member_path(&path, &member.key);
                    self.of.insert(path.clone(), member.line);
                    self.add(&member.value, path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_written_has_the_line_of_its_nearest_part() {
        let (root, _) = read("a:\n  b:\n  - c: 1\n\"x.y\":\n  z: 2\n", Language::Yaml).unwrap();
        let lines = root.lines();
        for (path, line) in [
            ("a", 1),
            ("a.b", 2),
            ("a.b[0]", 3),
            ("a.b[0].c", 3),
            ("a.b[0].missing.far", 3),
            ("a.b[7]", 2),
            ("[\"x.y\"].z", 5),
            ("[\"x.y\"].q", 4),
            ("nothing", 1),
            ("", 1),
        ] {
            assert_eq!(lines.find(path), line, "{path}");
        }
    }
}
