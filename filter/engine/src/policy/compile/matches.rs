//! A rule's `match` section as conditions.

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::MatchSection;
use crate::config::section::OneOrMany;
use crate::http::Method;
use crate::matching::conditions::HeaderValueCondition;
use crate::matching::{HeaderCondition, HostPattern, Match, PathCondition, PathPattern, PathRegex, PatternError};

use super::header_name;

/// Compiles a `match` section. `None` means that problems were added.
pub fn compile(at: &str, section: &MatchSection, problems: &mut Problems) -> Option<Match> {
    let path = path_condition(at, section, problems);
    let hosts = section
        .host
        .iter()
        .map(|host| HostPattern::parse(host).map_err(|error| add(problems, member_path(at, "host"), &error)).ok());
    let hosts: Option<Vec<HostPattern>> = hosts.collect();
    let methods = methods(&member_path(at, "methods"), section.methods.as_ref(), problems);
    let mut headers = Vec::new();
    for (name, value) in &section.headers {
        let at = member_path(&member_path(at, "headers"), name);
        let Some(name) = header_name(&at, name, problems) else { continue };
        let value = match value.as_str() {
            "*" => HeaderValueCondition::Present,
            exact => HeaderValueCondition::Exact(exact.as_bytes().into()),
        };
        headers.push(HeaderCondition { name: name.into(), value });
    }
    Some(Match { path: path?, hosts: hosts?, methods: methods?, headers })
}

fn path_condition(at: &str, section: &MatchSection, problems: &mut Problems) -> Option<Option<PathCondition>> {
    let mut conditions = Vec::new();
    let mut read = |field: &str, parsed: Result<PathCondition, PatternError>| match parsed {
        Ok(condition) => conditions.push(Some(condition)),
        Err(error) => {
            add(problems, member_path(at, field), &error);
            conditions.push(None);
        }
    };
    if let Some(path) = &section.path {
        read("path", PathPattern::parse(path).map(PathCondition::Pattern));
    }
    if let Some(prefix) = &section.prefix {
        read("prefix", PathPattern::parse_prefix(prefix).map(PathCondition::Pattern));
    }
    if let Some(regex) = &section.regex {
        read("regex", PathRegex::parse(regex).map(PathCondition::Regex));
    }
    if conditions.len() > 1 {
        problems.add(at, "has more than one of `path`, `prefix` and `regex`");
        return None;
    }
    match conditions.pop() {
        None => Some(None),
        Some(condition) => condition.map(Some),
    }
}

fn methods(at: &str, section: Option<&OneOrMany<String>>, problems: &mut Problems) -> Option<Vec<Method>> {
    let Some(names) = section else { return Some(Vec::new()) };
    if names.0.is_empty() {
        problems.add_with_hint(at, "names no method", "leave it out to mean every method");
        return None;
    }
    let mut methods = Vec::new();
    for name in &names.0 {
        match Method::parse(name.as_bytes()) {
            // Methods are case-sensitive (RFC 9110, 9.1): `get` would never match.
            Ok(_) if name.chars().any(|c| c.is_ascii_lowercase()) => {
                let hint = format!("methods are case-sensitive: {:?}", name.to_ascii_uppercase());
                problems.add_with_hint(at, format!("{name:?} is in lower case"), hint);
            }
            Ok(method) => methods.push(method),
            Err(_) => problems.add(at, format!("{name:?} is no method")),
        }
    }
    (methods.len() == names.0.len()).then_some(methods)
}

fn add(problems: &mut Problems, at: String, error: &PatternError) {
    problems.add_with_hint(at, error.to_string(), error.hint());
}
