//! Finds the filter, and what surrounds it, in an Envoy configuration.

mod places;

use portcullis_engine::config::document::member_path;
use portcullis_engine::strict_json;
use serde_json::Value;

use crate::document::{Lines, Node, read_json_text};

pub use places::{Place, places};

/// The message type of the filter.
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// How deeply a configuration may nest, as in the engine.
const MAX_DEPTH: usize = 32;

/// A filter of ours in a file.
#[derive(Debug)]
pub struct Filter<'a> {
    /// The path of its `config` in the file; empty for a file that is a configuration and nothing else.
    pub path: String,
    /// Its `config` (an `envoy.extensions.wasm.v3.PluginConfig`); `None` for a file that is a configuration.
    pub plugin: Option<&'a Node>,
    /// Whether it stands where Envoy takes no filter: below a `typed_per_filter_config`.
    pub per_route: bool,
    /// The HTTP connection manager that has it, with its path.
    pub manager: Option<(String, &'a Node)>,
    /// The filter chain of a listener that has it, with its path.
    pub chain: Option<(String, &'a Node)>,
    /// The listener that has it, with its path.
    pub listener: Option<(String, &'a Node)>,
    /// What it is configured with, or why that cannot be read.
    pub configuration: Result<Configuration, Unreadable>,
}

/// The filter's own configuration.
#[derive(Debug)]
pub struct Configuration {
    /// The value.
    pub value: Value,
    /// The lines of its paths.
    pub lines: Lines,
}

/// Why there is no configuration.
#[derive(Debug)]
pub struct Unreadable {
    /// The line to look at.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
    /// A way out.
    pub hint: &'static str,
}

/// Every filter of ours in the file.
pub fn filters(root: &Node) -> Vec<Filter<'_>> {
    if root.get("version").is_some() && root.get("static_resources").is_none() {
        let configuration = Configuration { value: root.to_value(), lines: root.lines() };
        let configuration = Ok(configuration);
        return vec![Filter {
            path: String::new(),
            plugin: None,
            per_route: false,
            manager: None,
            chain: None,
            listener: None,
            configuration,
        }];
    }
    places(root).iter().filter_map(filter).collect()
}

/// Whether the file starts an Envoy: then clusters and statistics are expected in it.
pub fn is_bootstrap(root: &Node) -> bool {
    root.get("static_resources").is_some()
}

fn filter<'a>(place: &Place<'a>) -> Option<Filter<'a>> {
    let node = place.node;
    let typed = if is_type(node, WASM) {
        Some(node)
    } else {
        // The same message inside a TypedStruct.
        let inside = node.text_at(&["type_url"]).is_some_and(|name| name.ends_with(WASM));
        node.at(&["value"]).filter(|_| inside)
    };
    let plugin = typed?.at(&["config"])?;
    if !is_ours(plugin, place) {
        return None;
    }
    let config_path = if is_type(node, WASM) { "config" } else { "value.config" };
    let manager = place.ancestors.iter().rev().find(|(_, ancestor)| is_type(ancestor, MANAGER));
    let chain = place.ancestors.iter().rev().find(|(path, _)| {
        path.rsplit('.').next().is_some_and(|last| last.starts_with("filter_chains[") || last == "default_filter_chain")
    });
    let has_chains = |node: &Node| node.get("filter_chains").is_some() || node.get("default_filter_chain").is_some();
    let listener = place.ancestors.iter().rev().find(|(_, ancestor)| has_chains(ancestor));
    Some(Filter {
        path: format!("{}.{config_path}", place.path),
        plugin: Some(plugin),
        per_route: place.path.contains("typed_per_filter_config"),
        manager: manager.map(|(path, node)| (path.clone(), *node)),
        chain: chain.map(|(path, node)| (path.clone(), *node)),
        listener: listener.map(|(path, node)| (path.clone(), *node)),
        configuration: configuration(plugin),
    })
}

fn is_type(node: &Node, name: &str) -> bool {
    node.text_at(&["@type"]).is_some_and(|found| found.rsplit('/').next() == Some(name))
}

fn is_ours(plugin: &Node, place: &Place<'_>) -> bool {
    let ours = |text: Option<&str>| text.is_some_and(|text| text.contains("portcullis"));
    let around = place.ancestors.last().and_then(|(_, parent)| parent.text_at(&["name"]));
    ours(plugin.text_at(&["name"]))
        || ours(plugin.text_at(&["root_id"]))
        || ours(plugin.text_at(&["vm_config", "code", "local", "filename"]))
        || ours(plugin.text_at(&["vm_config", "code", "remote", "http_uri", "uri"]))
        || ours(around)
}

fn configuration(plugin: &Node) -> Result<Configuration, Unreadable> {
    let Some(member) = plugin.get("configuration") else {
        return Err(Unreadable {
            line: plugin.line,
            problem: "there is no `configuration`".to_owned(),
            hint: "a google.protobuf.Struct with what the filter shall do as its `value`; see the reference",
        });
    };
    let unreadable =
        |problem: &str, hint: &'static str| Unreadable { line: member.line, problem: problem.to_owned(), hint };
    const TYPES: &str = "type.googleapis.com/google.protobuf.Struct with `value: {version: 1, ...}`, or \
                         type.googleapis.com/google.protobuf.StringValue with JSON text";
    let kind = member.value.text_at(&["@type"]).and_then(|name| name.rsplit('/').next());
    let Some(value) = member.value.get("value") else {
        return Err(unreadable("has no `value`", TYPES));
    };
    match kind {
        Some("google.protobuf.Struct") => {
            Ok(Configuration { value: value.value.to_value(), lines: with_first(&value.value, value.line) })
        }
        Some("google.protobuf.StringValue") => {
            let text = value.value.text().ok_or_else(|| unreadable("`value` is no text", TYPES))?;
            let read = strict_json::parse_value(text.as_bytes(), MAX_DEPTH)
                .map_err(|error| unreadable(&format!("`value` is no well-formed JSON: {error}"), TYPES))?;
            let lines = read_json_text(text, value.value.line).map_or_else(|| value.value.lines(), |node| node.lines());
            Ok(Configuration { value: read, lines })
        }
        Some(other) => Err(unreadable(&format!("is a {other}"), TYPES)),
        None => Err(unreadable("has no `@type`", TYPES)),
    }
}

/// The lines of a value, with that of its name for the value as a whole.
fn with_first(node: &Node, line: usize) -> Lines {
    Node { line, ..node.clone() }.lines()
}

/// The path of a member of the filter's `config`.
pub fn plugin_path(filter: &Filter<'_>, member: &str) -> String {
    member_path(&filter.path, member)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Language, read};

    fn wasm(name: &str, configuration: &str) -> String {
        format!(
            "listeners:\n- typed_config:\n    \"@type\": type.googleapis.com/{WASM}\n    config:\n      name: {name}\n      \
             configuration: {configuration}\n"
        )
    }

    fn read_one(text: &str) -> Result<(Value, usize), String> {
        let (root, _) = read(text, Language::Yaml).unwrap();
        let mut found = filters(&root);
        assert_eq!(found.len(), 1);
        let filter = found.remove(0);
        let configuration = filter.configuration.map_err(|error| error.problem)?;
        let line = configuration.lines.find("mode");
        Ok((configuration.value, line))
    }

    #[test]
    fn a_struct_and_a_text_are_read_with_their_lines() {
        let as_struct = "{\"@type\": type.googleapis.com/google.protobuf.Struct, value: {\n          mode: enforce}}";
        let as_text = "{\"@type\": a/google.protobuf.StringValue, value:\n          '{\"mode\": \"enforce\"}'}";
        for configuration in [as_struct, as_text] {
            let (value, line) = read_one(&wasm("portcullis", configuration)).unwrap();
            assert_eq!((value, line), (serde_json::json!({"mode": "enforce"}), 7));
        }
    }

    #[test]
    fn what_is_neither_is_named() {
        for (configuration, problem) in [
            ("{value: {}}", "has no `@type`"),
            ("{\"@type\": a/google.protobuf.Struct}", "has no `value`"),
            ("{\"@type\": a/google.protobuf.BytesValue, value: x}", "is a google.protobuf.BytesValue"),
            ("{\"@type\": a/google.protobuf.StringValue, value: {}}", "`value` is no text"),
        ] {
            assert_eq!(read_one(&wasm("portcullis", configuration)).unwrap_err(), problem);
        }
        let twice = "{\"@type\": a/google.protobuf.StringValue, value: '{\"a\":1,\"a\":1}'}";
        assert!(read_one(&wasm("portcullis", twice)).unwrap_err().contains("JSON"));
    }

    #[test]
    fn another_wasm_filter_is_not_ours() {
        let (root, _) = read(&wasm("stats", "{}"), Language::Yaml).unwrap();
        assert!(filters(&root).is_empty());
    }

    #[test]
    fn a_configuration_alone_is_one() {
        let (root, _) = read("version: 1\nmode: monitor\n", Language::Yaml).unwrap();
        assert_eq!(filters(&root).len(), 1);
    }
}
