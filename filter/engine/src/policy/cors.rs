//! A `cors` section as what the gateway tells browsers.

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::CorsSection;
use crate::cors::{Cors, OriginPattern};
use crate::http::Method;

use super::compile::header_name;

/// Compiles a `cors` section. `None` means that problems were added.
pub fn compile(at: &str, section: &CorsSection, problems: &mut Problems) -> Option<Cors> {
    let before = problems.len();
    let at = member_path(at, "cors");
    let mut origins = Vec::new();
    for (index, text) in section.origins.0.iter().enumerate() {
        match OriginPattern::parse(text) {
            Ok(pattern) => origins.push(pattern),
            Err(error) => {
                let at = format!("{at}.origins[{index}]");
                problems.add_with_hint(at, format!("{text:?} {}", error.problem()), error.hint());
            }
        }
    }
    if section.origins.0.is_empty() {
        problems.add_with_hint(member_path(&at, "origins"), "names no origin", "leave `cors` out to allow none");
    }
    if section.credentials && origins.contains(&OriginPattern::Any) {
        problems.add_with_hint(
            member_path(&at, "credentials"),
            "does not go with the origin `*`: every page could act as whoever visits it",
            "name the origins, or leave `credentials` out (Fetch, 3.2.5)",
        );
    }
    let methods: Vec<String> = list(&at, "methods", &section.methods, problems, |at, name, problems| {
        let is_method = Method::parse(name.as_bytes()).is_ok() && !name.bytes().any(|b| b.is_ascii_lowercase());
        if !is_method {
            problems.add_with_hint(at, format!("{name:?} is no method"), "methods are case-sensitive, such as `PUT`");
        }
        is_method.then(|| name.to_owned())
    });
    let headers = list(&at, "headers", &section.headers, problems, header_name);
    let expose = list(&at, "expose", &section.expose, problems, header_name);
    (problems.len() == before).then(|| Cors {
        origins,
        methods: (!methods.is_empty()).then(|| methods.join(", ")),
        headers: headers.join(", "),
        expose: expose.join(", "),
        credentials: section.credentials,
        max_age_seconds: section.max_age.0.as_secs(),
    })
}

/// Reads names; `*` is none, because it would not mean `authorization` and means nothing with credentials (Fetch, 4.8).
fn list(
    at: &str,
    field: &str,
    names: &[String],
    problems: &mut Problems,
    read: impl Fn(&str, &str, &mut Problems) -> Option<String>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let at = format!("{at}.{field}[{index}]");
        if name == "*" {
            problems.add_with_hint(at, "a star stands for less than it seems", "write the names");
        } else {
            found.extend(read(&at, name, problems));
        }
    }
    found
}
