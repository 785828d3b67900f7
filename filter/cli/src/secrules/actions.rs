//! The actions of a rule: what it does, and what it says.

/// One action, and what stands behind its colon.
pub type Action = (String, String);

/// `a,b:c,d:'e,f'` as actions; names in lower case.
pub fn parse(text: &str) -> Vec<Action> {
    let mut found = Vec::new();
    let mut piece = String::new();
    let mut is_quoted = false;
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' if is_quoted => {
                let escaped = rest.next();
                piece.extend(escaped.is_none_or(|c| c != '\'').then_some('\\'));
                piece.extend(escaped);
            }
            '\'' => is_quoted = !is_quoted,
            ',' if !is_quoted => found.extend(action(&std::mem::take(&mut piece))),
            other => piece.push(other),
        }
    }
    found.extend(action(&piece));
    found
}

fn action(text: &str) -> Option<Action> {
    let text = text.trim();
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    (!text.is_empty()).then(|| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// The first value of an action.
pub fn value<'a>(actions: &'a [Action], name: &str) -> Option<&'a str> {
    actions.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Actions that change nothing about what is refused.
pub const SILENT: &[&str] = &[
    "id",
    "phase",
    "msg",
    "tag",
    "severity",
    "ver",
    "rev",
    "maturity",
    "accuracy",
    "log",
    "nolog",
    "auditlog",
    "noauditlog",
    "capture",
    "logdata",
    "status",
    "t",
    "chain",
    "block",
    "deny",
    "drop",
    "pass",
    "sanitisearg",
    "sanitisematched",
    "sanitisematchedbytes",
    "sanitiserequestheader",
    "severity",
];
