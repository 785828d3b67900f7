//! Reads YAML (and JSON, which is YAML) into a tree with lines.

use std::collections::HashMap;

use portcullis_engine::config::document::member_path;
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::Value;

use super::{Kind, Language, Member, Node, scalar};

/// Something in a file that is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: usize,
    /// The path, as far as there is one.
    pub path: String,
    /// What is wrong.
    pub problem: String,
    /// A way out.
    pub hint: Option<String>,
}

/// Deeper nesting is a mistake.
const MAX_DEPTH: usize = 128;

/// More values than any configuration has: aliases of aliases can ask for billions.
const MAX_NODES: usize = 1_000_000;

/// Reads `text`. What can be read in spite of a mistake is read, so that all mistakes come at once.
///
/// # Errors
/// The text is not well-formed: nothing can be read.
pub fn read(text: &str, language: Language) -> Result<(Node, Vec<Mistake>), Mistake> {
    if language == Language::Json
        && let Err(error) = serde_json::from_str::<Value>(text)
    {
        return Err(mistake(error.line(), "", format!("no well-formed JSON: {error}"), None));
    }
    let mut builder = Builder::new(language);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            mistake(error.marker().line(), "", format!("no well-formed YAML: {}", error.info()), None)
        })?;
        builder.take(event, span.start.line())?;
    }
    let root = builder.root.ok_or_else(|| mistake(1, "", "the file is empty".to_owned(), None))?;
    Ok((root, builder.mistakes))
}

/// Reads JSON that stands as text in a file, its first line at `line`. Mistakes of its form are left to the engine.
pub fn read_json_text(text: &str, line: usize) -> Option<Node> {
    let (mut node, _) = read(text, Language::Json).ok()?;
    shift(&mut node, line.saturating_sub(1));
    Some(node)
}

fn shift(node: &mut Node, by: usize) {
    node.line = node.line.saturating_add(by);
    match &mut node.kind {
        Kind::Scalar(_) => {}
        Kind::List(elements) => elements.iter_mut().for_each(|element| shift(element, by)),
        Kind::Map(members) => {
            for member in members {
                member.line = member.line.saturating_add(by);
                shift(&mut member.value, by);
            }
        }
    }
}

fn mistake(line: usize, path: &str, problem: String, hint: Option<&str>) -> Mistake {
    Mistake { line, path: path.to_owned(), problem, hint: hint.map(str::to_owned) }
}

fn too_many(line: usize) -> Mistake {
    mistake(line, "", format!("holds more than {MAX_NODES} values"), None)
}

struct Builder {
    language: Language,
    /// The lists and objects that are open, the outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    mistakes: Vec<Mistake>,
    nodes: usize,
    documents: usize,
}

struct Open {
    node: Node,
    anchor: usize,
    path: String,
    /// In an object: the name whose value comes next.
    key: Option<(String, usize)>,
}

impl Builder {
    fn new(language: Language) -> Self {
        let (open, anchors, mistakes) = (Vec::new(), HashMap::new(), Vec::new());
        Self { language, open, anchors, root: None, mistakes, nodes: 0, documents: 0 }
    }

    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Mistake> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents == 2 {
                    let hint = Some("Envoy reads the first one only");
                    return Err(mistake(line, "", "the file holds several documents".to_owned(), hint));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.as_ref().is_some_and(|tag| matches!(tag.suffix.as_str(), "str" | "!"));
                let value = match (style, self.language) {
                    (_, Language::CoreYaml) if is_text => Value::String(text.clone().into_owned()),
                    (ScalarStyle::Plain, Language::CoreYaml) => scalar::core(&text),
                    (_, Language::CoreYaml) if tag.is_some() => scalar::core(&text),
                    (ScalarStyle::Plain, Language::Json) => serde_json::from_str(&text).unwrap_or(Value::Null),
                    (ScalarStyle::Plain, Language::Yaml) => scalar::plain(&text),
                    // With a tag Envoy looks at the text again: `!!int "5"` is a number.
                    _ if tag.is_some() => scalar::plain(&text),
                    _ => Value::String(text.clone().into_owned()),
                };
                if self.is_key_next() {
                    self.key(text.into_owned(), line);
                } else {
                    self.put(Node { line, kind: Kind::Scalar(value) }, anchor)?;
                }
            }
            Event::SequenceStart(anchor, _) => self.start(Kind::List(Vec::new()), anchor, line)?,
            Event::MappingStart(anchor, _) => self.start(Kind::Map(Vec::new()), anchor, line)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.put(open.node, open.anchor)?;
                }
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(mistake(line, &self.path(), "an alias of something that contains it".to_owned(), None));
                };
                self.nodes = self.nodes.saturating_add(node.size());
                if self.nodes > MAX_NODES {
                    return Err(too_many(line));
                }
                let node = node.clone();
                self.put(node, 0)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    /// Where the next value goes.
    fn path(&self) -> String {
        let Some(open) = self.open.last() else { return String::new() };
        match (&open.node.kind, &open.key) {
            (Kind::List(elements), _) => format!("{}[{}]", open.path, elements.len()),
            (_, Some((key, _))) => member_path(&open.path, key),
            _ => open.path.clone(),
        }
    }

    fn is_key_next(&self) -> bool {
        self.open.last().is_some_and(|open| matches!(open.node.kind, Kind::Map(_)) && open.key.is_none())
    }

    fn key(&mut self, key: String, line: usize) {
        let Some(open) = self.open.last_mut() else { return };
        let path = member_path(&open.path, &key);
        if key == "<<" {
            let (reader, hint) = match self.language {
                Language::Json => ("", ""),
                Language::Yaml => {
                    ("to Envoy", "Envoy does not merge: write the members out, or let a policy `extends` another")
                }
                Language::CoreYaml => ("in YAML 1.2", "write the members out"),
            };
            if !reader.is_empty() {
                let problem = format!("`<<` is a member like any other {reader}");
                self.mistakes.push(mistake(line, &path, problem, Some(hint)));
            }
        }
        if let Some(earlier) = open.node.get(&key).map(|member| member.line) {
            let problem = format!("stands twice: first in line {earlier}");
            self.mistakes.push(mistake(line, &path, problem, Some("remove one: only the last one would count")));
        }
        open.key = Some((key, line));
    }

    fn start(&mut self, kind: Kind, anchor: usize, line: usize) -> Result<(), Mistake> {
        if self.is_key_next() {
            return Err(mistake(line, &self.path(), "a member's name is no text".to_owned(), None));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(mistake(line, "", format!("nests more than {MAX_DEPTH} levels deep"), None));
        }
        let path = self.path();
        self.open.push(Open { node: Node { line, kind }, anchor, path, key: None });
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Mistake> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            return Err(too_many(node.line));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.kind {
            Kind::List(elements) => elements.push(node),
            Kind::Map(members) => {
                let Some((key, line)) = open.key.take() else {
                    return Err(mistake(node.line, &open.path, "a member's name is no text".to_owned(), None));
                };
                // As Envoy does: the last one counts.
                members.retain(|member| member.key != key);
                members.push(Member { key, line, value: node });
            }
            Kind::Scalar(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str) -> Value {
        read(text, Language::Yaml).unwrap().0.to_value()
    }

    fn refusal(text: &str) -> Mistake {
        read(text, Language::Yaml).unwrap_err()
    }

    #[test]
    fn quotes_make_text() {
        assert_eq!(
            value("{a: 5, b: \"5\", c: '5', d: on, e: \"on\", f: !!int \"5\"}"),
            json!({"a": 5, "b": "5", "c": "5", "d": true, "e": "on", "f": 5})
        );
        assert_eq!(value("a: |\n  5\n"), json!({"a": "5\n"}));
        assert_eq!(value("{1: a, on: b}"), json!({"1": "a", "on": "b"}), "names are text");
    }

    #[test]
    fn an_alias_stands_for_its_anchor() {
        assert_eq!(value("a: &x {b: 1}\nc: *x\nd: [*x]\n"), json!({"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}]}));
    }

    #[test]
    fn every_repeated_name_is_found_with_both_lines() {
        let (_, mistakes) = read("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", Language::Yaml).unwrap();
        let found: Vec<_> = mistakes.iter().map(|m| (m.line, m.path.as_str(), m.problem.as_str())).collect();
        assert_eq!(found, [(4, "b.c", "stands twice: first in line 3"), (5, "a", "stands twice: first in line 1")]);
    }

    #[test]
    fn a_merge_is_a_mistake_because_envoy_makes_none() {
        let (root, mistakes) = read("a: &a {x: 1}\nb:\n  <<: *a\n", Language::Yaml).unwrap();
        assert_eq!(root.to_value(), json!({"a": {"x": 1}, "b": {"<<": {"x": 1}}}));
        assert_eq!(mistakes.first().map(|m| m.line), Some(3));
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        assert_eq!(refusal("a: 1\nb: [1\nc: 2\n").line, 3);
        assert_eq!(refusal("a: 1\n---\nb: 2\n").problem, "the file holds several documents");
        assert_eq!(refusal("").problem, "the file is empty");
        assert!(refusal("? [a]\n: 1\n").problem.contains("name"));
        assert!(refusal("a: *nobody\n").problem.contains("no well-formed YAML"));
        assert!(refusal("a: &a [*a]\n").problem.contains("alias"));
    }

    #[test]
    fn aliases_of_aliases_do_not_fill_the_memory() {
        let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..20 {
            let below = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", ")));
        }
        assert!(refusal(&text).problem.contains("more than"));
        assert!(refusal(&format!("{}{}", "[".repeat(200), "]".repeat(200))).problem.contains("deep"));
        assert_eq!(refusal(&"[".repeat(100_000)).line, 1);
    }

    #[test]
    fn json_is_typed_as_json() {
        let (root, _) = read("{\"a\": 1.5,\n \"b\": [true, null, \"on\", 3000000000]}", Language::Json).unwrap();
        assert_eq!(root.to_value(), json!({"a": 1.5, "b": [true, null, "on", 3_000_000_000_u64]}));
        assert_eq!(root.lines().find("b[0]"), 2);
        assert!(read("{a: 1}", Language::Json).is_err());
    }

    #[test]
    fn lines_of_json_in_text_count_from_where_it_begins() {
        assert_eq!(read_json_text("{\n\"a\": 1}", 10).unwrap().lines().find("a"), 11);
        assert_eq!(read_json_text("{", 10), None);
    }
}
