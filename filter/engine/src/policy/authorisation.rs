//! `roles`, `bind` and `when` of a rule or a policy, checked.

use crate::authorisation::{Authorisation, NamedCondition, PathBinding, Roles};
use crate::condition::{Condition, Names};
use crate::config::document::member_path;
use crate::config::schema::{Allow, ConditionSection, PolicySection};
use crate::config::{Problems, suggest};
use crate::matching::{Match, PathCondition};

/// The longest name of a condition.
const MAX_NAME_BYTES: usize = 64;

/// Where a section comes from: what it says itself, before it inherited, and the variables of the rule's path.
#[derive(Debug)]
pub struct Origin<'a> {
    written: Option<&'a PolicySection>,
    /// `None`: a policy that several rules may use, or that an Envoy route names.
    variables: Option<Vec<&'a str>>,
}

impl<'a> Origin<'a> {
    /// A rule; `meets` is its match, where that could be read.
    pub fn rule(written: &'a PolicySection, meets: Option<&'a Match>) -> Self {
        let variables = meets.map(|meets| match &meets.path {
            Some(PathCondition::Pattern(pattern)) => pattern.capture_names().collect(),
            _ => Vec::new(),
        });
        Self { written: Some(written), variables }
    }

    /// What is written there itself.
    pub fn written(&self) -> Option<&'a PolicySection> {
        self.written
    }

    /// Whether it is a rule, which knows its path and its limits.
    pub fn is_rule(&self) -> bool {
        self.variables.is_some()
    }

    /// Whether the rule's path lacks the variable; a policy does not know.
    pub fn lacks_variable(&self, name: &str) -> bool {
        self.variables.as_ref().is_some_and(|known| !known.contains(&name))
    }

    /// A policy; without a section, all of it is said elsewhere.
    pub fn policy(written: Option<&'a PolicySection>) -> Self {
        Self { written, variables: None }
    }
}

/// Compiles what a rule asks for beyond scopes. `None` means that problems were added.
///
/// A mistake is reported where it is written, and not again for each rule that inherits it. Only what depends on the rule itself,
/// the variables of its path, is looked for in every rule.
pub fn compile(
    path: &str,
    section: &PolicySection,
    origin: &Origin<'_>,
    allow: Option<Allow>,
    problems: &mut Problems,
) -> Option<Authorisation> {
    let before = problems.len();
    let is_own = |has: fn(&PolicySection) -> bool| origin.written.is_some_and(has);
    let roles = section.roles.as_ref().map(|roles| Roles {
        all: roles.all.clone(),
        any: roles.any.clone(),
        none: roles.none.clone(),
    });
    let roles = roles.unwrap_or_default();
    if section.roles.is_some() && roles.is_empty() && is_own(|section| section.roles.is_some()) {
        problems.add_with_hint(member_path(path, "roles"), "names no role", "such as `{any: [admin, auditor]}`");
    }
    if allow.is_some() {
        for (field, is_set) in [("roles", section.roles.is_some()), ("bind", section.bind.is_some())] {
            if is_set {
                problems.add_with_hint(
                    member_path(path, "allow"),
                    format!("contradicts `{field}`"),
                    "either the rule says who may pass, or everybody (or nobody) may",
                );
            }
        }
    }
    let mut bind = Vec::new();
    for (variable, claim) in section.bind.iter().flatten() {
        let at = member_path(&member_path(path, "bind"), variable);
        if let Some(known) = &origin.variables
            && !known.contains(&variable.as_str())
        {
            let hint = match (suggest::nearest(variable, known.iter().copied()), known.as_slice()) {
                (Some(near), _) => format!("did you mean {near:?}?"),
                (None, []) => format!("name a segment in `match.path`, such as \"/users/{{{variable}}}\""),
                (None, known) => format!("the path has {}", suggest::listed(known)),
            };
            problems.add_with_hint(at, format!("the rule's `match.path` has no variable {{{variable}}}"), hint);
        }
        bind.push(PathBinding { variable: variable.clone(), claim: claim.clone() });
    }
    if section.bind.is_some() && bind.is_empty() && is_own(|section| section.bind.is_some()) {
        problems.add_with_hint(member_path(path, "bind"), "binds nothing", "such as `{id: sub}`");
    }
    let names = Names { path_variables: origin.variables.as_deref(), identified: allow != Some(Allow::Public) };
    let is_own = is_own(|section| section.when.is_some());
    let mut when = Vec::new();
    let sections = section.when.as_ref().map(|when| when.0.as_slice());
    if sections.is_some_and(<[_]>::is_empty) && is_own {
        problems.add_with_hint(member_path(path, "when"), "names no condition", "such as `when: 'jwt.sub == path.id'`");
    }
    for section in sections.unwrap_or_default() {
        when.extend(condition(path, section, &names, is_own, problems));
    }
    (problems.len() == before && when.len() == sections.map_or(0, <[_]>::len)).then_some(Authorisation {
        roles,
        bind,
        when,
    })
}

fn condition(
    path: &str,
    section: &ConditionSection,
    names: &Names<'_>,
    is_own: bool,
    problems: &mut Problems,
) -> Option<NamedCondition> {
    if let Some(name) = &section.name
        && (name.len() > MAX_NAME_BYTES
            || !name.chars().all(|character| character == ' ' || character.is_ascii_graphic()))
        && is_own
    {
        let hint = "up to 64 letters, digits, signs and spaces of ASCII";
        problems.add_with_hint(member_path(&section.path, "name"), "is no plain name", hint);
    }
    match Condition::compile(&section.condition, names) {
        Ok(condition) => Some(NamedCondition { name: section.name.clone(), condition }),
        Err(error) => {
            let depends_on_rule = error.is_about_path || error.is_about_identity;
            let at = if is_own { section.path.clone() } else { path.to_owned() };
            let problem = if is_own { error.to_string() } else { format!("`when` of its policy: {error}") };
            if is_own || depends_on_rule {
                if error.hint.is_empty() {
                    problems.add(at, problem);
                } else {
                    problems.add_with_hint(at, problem, error.hint);
                }
            }
            None
        }
    }
}
