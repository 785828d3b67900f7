//! A `responses` section as changes to responses.

use std::rc::Rc;

use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::ResponsesSection;
use crate::responses::{ADDED, Addition, HIDDEN, ResponseRules};

use super::compile::header_name;

/// Headers that are not the gateway's to change: framing, what HTTP itself needs, and what has its own section.
const NOT_OURS: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "location",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
];

/// Compiles a `responses` section at `at`. `None` means that problems were added, or that it changes nothing.
pub fn compile(at: &str, section: &ResponsesSection, problems: &mut Problems) -> Option<Rc<ResponseRules>> {
    let before = problems.len();
    let mut rules = ResponseRules::default();
    if section.security_headers {
        let added = ADDED.iter().map(|(name, value, when)| Addition {
            name: (*name).into(),
            value: (*value).into(),
            when: *when,
        });
        rules.added = added.collect();
        rules.hidden = HIDDEN.iter().map(|name| (*name).to_owned()).collect();
    }
    for (name, value) in &section.set {
        let at = member_path(&member_path(at, "set"), name);
        let Some(name) = changeable(&at, name, problems) else { continue };
        rules.added.retain(|addition| addition.name != name);
        rules.hidden.retain(|hidden| *hidden != name);
        if value == "off" {
            if !section.security_headers || !ADDED.iter().any(|(known, ..)| *known == name) {
                let hint = "`off` is for headers that `security_headers` adds; see `keep` for those that it removes";
                problems.add_with_hint(at, "there is nothing to switch off", hint);
            }
        } else if value.bytes().all(|b| b == b'\t' || (0x20..0x7f).contains(&b)) {
            rules.set.push((name, value.clone()));
        } else {
            problems.add(at, "the value holds bytes that no header value may hold");
        }
    }
    for (index, name) in section.hide.iter().enumerate() {
        let at = format!("{}[{index}]", member_path(at, "hide"));
        let Some(name) = changeable(&at, name, problems) else { continue };
        if rules.set.iter().any(|(set, _)| *set == name) {
            problems.add_with_hint(at, format!("{name:?} is set and hidden"), "name it once");
        }
        rules.added.retain(|addition| addition.name != name);
        if !rules.hidden.contains(&name) {
            rules.hidden.push(name);
        }
    }
    for (index, name) in section.keep.iter().enumerate() {
        let at = format!("{}[{index}]", member_path(at, "keep"));
        let Some(name) = header_name(&at, name, problems) else { continue };
        if !section.security_headers || !HIDDEN.contains(&name.as_str()) {
            problems.add(at, format!("{name:?} is not among the headers that are removed"));
        }
        rules.hidden.retain(|hidden| *hidden != name);
    }
    (problems.len() == before && rules != ResponseRules::default()).then(|| Rc::new(rules))
}

fn changeable(at: &str, name: &str, problems: &mut Problems) -> Option<String> {
    let lower = header_name(at, name, problems)?;
    if NOT_OURS.contains(&lower.as_str()) || lower.starts_with("access-control-") {
        let hint =
            if lower.starts_with("access-control-") { "see `cors`" } else { "it belongs to the service or the proxy" };
        problems.add_with_hint(at, format!("{name:?} cannot be changed here"), hint);
        return None;
    }
    Some(lower)
}
