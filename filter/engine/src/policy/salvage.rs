//! What can still be said of a configuration that does not read: the mistakes behind the mistakes.
//!
//! A wrong type or word keeps a section from being read, and names can only be checked against sections. So whatever
//! does not read is taken out, and the rest is checked; problems that only come from taking it out are dropped.

use serde_json::{Value, json};

use crate::config::schema::Config;
use crate::config::{Node, Problem, Problems, Read};

/// How often something may be taken out: a required field takes its section with it, and that perhaps the next.
const MAX_ROUNDS: usize = 6;

/// The part of `document` that reads, once everything that `problems` is about is taken out.
pub fn readable_part(document: &Value, problems: &Problems) -> Option<Config> {
    let mut document = document.clone();
    let mut paths: Vec<Vec<Step>> = problems.iter().map(|problem| steps(&problem.path)).collect();
    for _ in 0..MAX_ROUNDS {
        paths.iter().for_each(|path| take_out(&mut document, path));
        let mut left = Problems::default();
        let config = Config::read(&Node::root(&document), &mut left);
        if config.is_some() && left.is_empty() {
            return config;
        }
        // What is required and was taken out takes its section with it.
        paths = left.iter().map(|problem| steps(&problem.path)).collect();
        paths.iter_mut().for_each(|path| drop(path.pop()));
    }
    None
}

/// The problems of `found` that are not caused by taking out what `known` is about.
pub fn further<'a>(document: &'a Value, known: &'a Problems, found: &'a Problems) -> impl Iterator<Item = &'a Problem> {
    found.iter().filter(move |problem| {
        let path = steps(&problem.path);
        let touched = known.iter().any(|other| {
            let other = steps(&other.path);
            other.starts_with(&path) || path.starts_with(&other)
        });
        // A name that is declared, though its section does not read, is no unknown name.
        let declared = ["providers", "limits", "surge", "bans", "policies", "resources", "address_lists", "schemas"]
            .iter()
            .any(|section| {
                let names = document.get(section).and_then(Value::as_object);
                names.is_some_and(|names| names.keys().any(|name| problem.problem.ends_with(&format!(" {name:?}"))))
            });
        // Nor is a limit service missing that is there, and does not read.
        let service = problem.problem.ends_with("`limit_service`") && document.get("limit_service").is_some();
        !touched && !declared && !service
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
}

/// Takes a path apart, as [`member_path`](crate::config::document::member_path) puts it together.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (name, behind) = quoted.split_once("\"]").unwrap_or((quoted, ""));
            steps.push(Step::Member(name.to_owned()));
            rest = behind;
        } else if let Some(number) = rest.strip_prefix('[') {
            let (number, behind) = number.split_once(']').unwrap_or((number, ""));
            steps.extend(number.parse().ok().map(Step::Element));
            rest = behind;
        } else {
            let plain = rest.strip_prefix('.').unwrap_or(rest);
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            let (name, behind) = plain.split_at_checked(end).unwrap_or((plain, ""));
            steps.push(Step::Member(name.to_owned()));
            rest = behind;
        }
    }
    steps
}

/// Takes out what stands at `path`. A rule is replaced by one without contradictions, so that the others keep their numbers;
/// any other element takes its list with it.
fn take_out(document: &mut Value, path: &[Step]) {
    match path {
        [Step::Member(rules), Step::Element(index)] if rules == "rules" => {
            if let Some(rule) = document.get_mut(rules).and_then(|rules| rules.get_mut(index)) {
                *rule = json!({"match": {"path": format!("/taken-out/{index}")}, "allow": "nobody"});
            }
        }
        [before @ .., Step::Element(_)] => take_out(document, before),
        [before @ .., Step::Member(name)] => {
            let mut at = document;
            for step in before {
                let next = match step {
                    Step::Member(name) => at.get_mut(name),
                    Step::Element(index) => at.get_mut(index),
                };
                let Some(next) = next else { return };
                at = next;
            }
            if let Some(members) = at.as_object_mut() {
                members.remove(name);
            }
        }
        [] => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn lines(document: &Value) -> Vec<String> {
        let problems = Policy::from_value(document, &|_| None).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_wrong_type_does_not_hide_a_wrong_name() {
        let lines = lines(&json!({
            "version": 1,
            "mode": "enforced",
            "limits": {"l": {"key": "ip", "rate": "fast"}, "m": {"key": "ipp", "rate": "1/s"}},
            "policies": {"a": {"extends": "b", "require": 7}, "c": {"require": "crop"}},
            "rules": [
                {"match": {"path": 3}, "use": "a"},
                {"match": {}, "use": "ordres", "limits": ["l"]},
                {"match": {"path": "no-slash"}, "allow": "public"},
            ],
        }));
        let found = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        for (start, count) in [
            ("mode: ", 1),
            ("limits.l.rate: ", 1),
            ("limits.m.key: ", 1),
            ("policies.a.require: ", 1),
            ("policies.a.extends: ", 1),
            ("policies.c.require: ", 1),
            ("rules[0].match.path: ", 1),
            ("rules[1].use: ", 1),
            ("rules[2].match.path: ", 1),
        ] {
            assert_eq!(found(start), count, "{start}: {lines:#?}");
        }
        assert_eq!(lines.len(), 9, "{lines:#?}");
    }

    #[test]
    fn paths_are_taken_apart_as_they_are_put_together() {
        let member = |name: &str| Step::Member(name.to_owned());
        assert_eq!(steps("rules[3].match.path"), [member("rules"), Step::Element(3), member("match"), member("path")]);
        assert_eq!(steps("a.headers[\"x.y\"].z"), [member("a"), member("headers"), member("x.y"), member("z")]);
        assert_eq!(steps(""), []);
    }

    #[test]
    fn a_document_that_is_nothing_at_all_has_one_problem() {
        assert_eq!(lines(&json!(7)), ["expected an object, found a number"]);
    }
}
