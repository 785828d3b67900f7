//! Envoy's matchers as conditions.

use std::collections::BTreeSet;

use crate::convert::condition::{Condition, METHODS, PathSpec, escape, is_regex};
use crate::document::Node;

/// Whether a condition means exactly what its input means, or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fidelity {
    /// The same requests.
    Exact,
    /// Those, and others: a part of the input has no equal and is left out.
    Wider,
}

use Fidelity::{Exact, Wider};

/// A route's `match` (`envoy.config.route.v3.RouteMatch`).
pub fn route_match(section: &Node) -> (Condition, Fidelity) {
    let mut condition = Condition::default();
    let mut fidelity = Exact;
    let folded = section.at(&["case_sensitive"]).is_some_and(|node| node.to_value() == false);
    for member in section.members() {
        let text = member.value.text();
        let path = match (member.key.as_str(), text) {
            ("prefix", Some(text)) => plain(text).map(PathSpec::Prefix),
            ("path", Some(text)) => plain(text).map(PathSpec::Exact),
            ("path_separated_prefix", Some(text)) => plain(text).map(PathSpec::Below),
            ("safe_regex", _) => regex(&member.value),
            ("headers", _) => {
                for header in member.value.elements() {
                    let exact = header_match(header, &mut condition);
                    fidelity = if exact { fidelity } else { Wider };
                }
                continue;
            }
            ("case_sensitive", _) => continue,
            _ => None,
        };
        match path {
            Some(path) if folded => match in_any_case(&path) {
                Some(path) => condition.path = Some(path),
                None => fidelity = Wider,
            },
            Some(path) => condition.path = Some(path),
            None => fidelity = Wider,
        }
    }
    (condition, fidelity)
}

fn plain(text: &str) -> Option<String> {
    PathSpec::is_plain(text).then(|| text.to_owned())
}

fn regex(node: &Node) -> Option<PathSpec> {
    let source = node.text_at(&["regex"])?;
    is_regex(source).then(|| PathSpec::Regex(source.to_owned()))
}

fn in_any_case(path: &PathSpec) -> Option<PathSpec> {
    let source = match path {
        PathSpec::Prefix(prefix) if prefix == "/" => return Some(path.clone()),
        PathSpec::Exact(text) => format!("(?i){}", escape(text)),
        PathSpec::Prefix(text) => format!("(?i){}.*", escape(text)),
        PathSpec::Below(text) => format!("(?i){}(?:/.*)?", escape(text)),
        PathSpec::Regex(_) => return None,
    };
    is_regex(&source).then_some(PathSpec::Regex(source))
}

/// Adds a header matcher. Gives whether it could be added.
pub fn header_match(header: &Node, condition: &mut Condition) -> bool {
    let Some(name) = header.text_at(&["name"]).map(str::to_ascii_lowercase) else { return false };
    if header.is_true_at(&["invert_match"]) || header.get("treat_missing_header_as_empty").is_some() {
        return false;
    }
    let folded = header.is_true_at(&["string_match", "ignore_case"]);
    let exact = header.text_at(&["string_match", "exact"]).filter(|_| !folded);
    let exact = exact.or_else(|| header.text_at(&["exact_match"])).map(str::to_owned);
    let suffix = header.text_at(&["string_match", "suffix"]).or_else(|| header.text_at(&["suffix_match"]));
    match (name.as_str(), exact) {
        (":method", Some(method)) => {
            let methods = BTreeSet::from([method]);
            let both = condition.and(&Condition { methods: Some(methods), ..Condition::default() });
            set(condition, both)
        }
        (":path", Some(path)) => {
            let Some(path) = plain(&path) else { return false };
            // With a query it would be another path to Envoy.
            let both = condition.and(&Condition::path(PathSpec::Exact(path)));
            set(condition, both);
            false
        }
        (":authority" | "host", Some(exact)) => with_host(&exact, condition),
        (":authority" | "host", None) => suffix.is_some_and(|suffix| with_host(&format!("*{suffix}"), condition)),
        (name, Some(value)) if !name.starts_with(':') => condition.headers.insert(name.to_owned(), value).is_none(),
        (name, None) if !name.starts_with(':') && header.is_true_at(&["present_match"]) => {
            condition.headers.entry(name.to_owned()).or_insert_with(|| "*".to_owned());
            true
        }
        _ => false,
    }
}

fn set(condition: &mut Condition, both: crate::convert::condition::Common) -> bool {
    use crate::convert::condition::Common;
    match both {
        Common::Condition(both) => {
            *condition = both;
            true
        }
        _ => false,
    }
}

fn with_host(text: &str, condition: &mut Condition) -> bool {
    let Some(host) = host(text) else { return false };
    if condition.host.is_some() {
        return false;
    }
    condition.host = Some(host);
    true
}

/// A host as rules name it: exact, or `*.` and a domain. A port is nothing that rules look at.
pub fn host(text: &str) -> Option<String> {
    let host = text.strip_suffix(":*").unwrap_or(text).to_ascii_lowercase();
    portcullis_engine::matching::HostPattern::parse(&host).is_ok().then_some(host)
}

/// A `type.matcher.v3.StringMatcher` about a path.
pub fn path_matcher(node: &Node) -> Option<PathSpec> {
    let folded = node.is_true_at(&["ignore_case"]);
    let spec = if let Some(exact) = node.text_at(&["exact"]) {
        plain(exact).map(PathSpec::Exact)
    } else if let Some(prefix) = node.text_at(&["prefix"]) {
        plain(prefix).map(PathSpec::Prefix)
    } else if let Some(suffix) = node.text_at(&["suffix"]) {
        Some(PathSpec::Regex(format!(".*{}", escape(suffix)))).filter(|_| suffix.is_ascii() && !suffix.contains('%'))
    } else if let Some(part) = node.text_at(&["contains"]) {
        Some(PathSpec::Regex(format!(".*{}.*", escape(part)))).filter(|_| part.is_ascii() && !part.contains('%'))
    } else {
        node.at(&["safe_regex"]).and_then(regex)
    }?;
    if folded { in_any_case(&spec) } else { Some(spec) }
}

/// All common methods but these.
pub fn other_methods(excluded: &[String]) -> Condition {
    Condition::methods(METHODS.iter().map(|method| (*method).to_owned()).filter(|method| !excluded.contains(method)))
}
