//! The explanation: each check with its verdict and its reason.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_engine::answer::Reason;
use portcullis_engine::policy::{Rule, Who};
use portcullis_engine::{HeaderChange, Step};
use serde_json::{Value, json};

use super::replay::{Missing, Replayed};
use crate::configured::Configured;
use crate::rule_text;
use crate::style::Style;

/// The checks, in the order in which a request meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Request,
    Rule,
    Addresses,
    Bans,
    Cors,
    Headers,
    LimitsByAddress,
    Credential,
    Scopes,
    Roles,
    PathClaims,
    Conditions,
    Surge,
    LimitsByPrincipal,
    Input,
    Payload,
    Forward,
}

const STAGES: &[(Stage, &str)] = &[
    (Stage::Request, "request"),
    (Stage::Rule, "rule"),
    (Stage::Addresses, "address"),
    (Stage::Bans, "bans"),
    (Stage::Cors, "cross-origin"),
    (Stage::Headers, "headers"),
    (Stage::LimitsByAddress, "limits before identity"),
    (Stage::Credential, "identity"),
    (Stage::Scopes, "scopes"),
    (Stage::Roles, "roles"),
    (Stage::PathClaims, "path and claims"),
    (Stage::Conditions, "conditions"),
    (Stage::Surge, "surge"),
    (Stage::LimitsByPrincipal, "limits by identity"),
    (Stage::Input, "input"),
    (Stage::Payload, "payload"),
    (Stage::Forward, "forwarding"),
];

/// One check.
#[derive(Debug)]
struct Check {
    name: &'static str,
    verdict: &'static str,
    why: String,
}

/// What `explain` says.
#[derive(Debug)]
pub struct Report {
    rule: Option<(String, String, usize)>,
    checks: Vec<Check>,
    step: Step,
    reason: Reason,
    notes: Vec<String>,
}

impl Report {
    /// Explains what the engine did.
    pub fn new(filter: &Configured, replayed: &Replayed, token: Option<&str>) -> Self {
        let at = replayed.decisions.iter().map(|(rule, ..)| *rule).find(|rule| *rule < filter.policy.rules.len());
        let rule = at.and_then(|at| Some((at, filter.policy.rules.get(at)?)));
        let mut found: Vec<(Stage, Reason, bool, String)> = Vec::new();
        let refusals = replayed.decisions.iter().filter(|(_, reason, _)| *reason != Reason::Ok);
        for ((_, reason, verdict), event) in refusals.zip(&replayed.events) {
            let detail = event.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
            let stage = stage(*reason, &detail, rule.map(|(_, rule)| rule), filter);
            found.push((stage, *reason, *verdict == "denied", detail));
        }
        let last = match &replayed.step {
            // A preflight goes no further.
            Step::Answer(answer) if answer.details == "portcullis_preflight" => Some(Stage::Cors),
            _ => found.iter().find(|(_, _, denied, _)| *denied).map(|(stage, ..)| *stage),
        };
        let claims = token.and_then(claims);
        let checks = STAGES.iter().map(|(stage, name)| {
            // Of several conditions each may have its own verdict, in monitor mode.
            let here: Vec<_> = found.iter().filter(|(at, ..)| at == stage).collect();
            match here.first() {
                Some(_) => Check {
                    name,
                    verdict: if here.iter().any(|(_, _, denied, _)| *denied) { "refused" } else { "monitored" },
                    why: here
                        .iter()
                        .map(|(_, reason, _, why)| refused(*reason, why, rule))
                        .collect::<Vec<_>>()
                        .join("; "),
                },
                None if last.is_some_and(|last| *stage > last) => {
                    Check { name, verdict: "not reached", why: String::new() }
                }
                None => {
                    // Without an identity (in monitor mode) there are no scopes and claims to look at.
                    let asks_for_identity =
                        matches!(stage, Stage::Scopes | Stage::Roles | Stage::PathClaims | Stage::Conditions);
                    let unknown = asks_for_identity && found.iter().any(|(at, ..)| *at == Stage::Credential);
                    let why = if unknown { String::new() } else { passed(*stage, rule, filter, claims.as_ref()) };
                    Check { name, verdict: if why.is_empty() { "not asked" } else { "passed" }, why }
                }
            }
        });
        let waited = found.iter().any(|(_, reason, ..)| {
            matches!(reason, Reason::KeysUnavailable | Reason::ProviderUnavailable | Reason::RevocationUnavailable)
        });
        let global = rule.into_iter().flat_map(|(_, rule)| rule_text::global_limits(&filter.policy, rule));
        let global = global
            .map(|limit| format!("the limit service is not asked about {limit:?}: it is taken to admit the request"));
        // What a list would have said is open, whatever became of the request.
        let lists: Vec<&str> =
            rule.into_iter().flat_map(|(_, rule)| rule_text::fetched_lists(&filter.policy, rule)).collect();
        let held = waited || matches!(replayed.step, Step::Hold);
        let notes = replayed.missing.iter().filter(|missing| match missing {
            Missing::AddressList(list) => lists.contains(&list.as_str()),
            Missing::KeySet(_) | Missing::Introspection(_) | Missing::RevocationList => held,
        });
        let notes = notes.map(|missing| match missing {
            Missing::AddressList(list) => {
                format!("the address list {list:?} is not here; give it with --address-list {list}=FILE")
            }
            Missing::KeySet(provider) => {
                format!("the key set of provider {provider:?} is not here; give it with --jwks {provider}=FILE")
            }
            Missing::Introspection(provider) => {
                format!("what {provider:?} says of the token is not here; give it with --introspection {provider}=FILE")
            }
            Missing::RevocationList => {
                "the list of revoked tokens is not here; give it with --revocation-list FILE".to_owned()
            }
        });
        Self {
            rule: rule.map(|(at, _)| {
                let (path, line) = filter.rule_place(at);
                (path, filter.match_text(at), line)
            }),
            checks: checks.collect(),
            reason: found.iter().find(|(_, _, denied, _)| *denied).map_or(Reason::Ok, |(_, reason, ..)| *reason),
            step: replayed.step.clone(),
            notes: notes.chain(global).collect(),
        }
    }

    /// Whether the request goes on, or the gateway itself has the answer.
    pub fn passes(&self) -> bool {
        matches!(self.step, Step::Continue(_) | Step::Answer(_))
    }

    /// The explanation for a person.
    pub fn to_text(&self, style: Style) -> String {
        let mut text = match &self.step {
            Step::Continue(_) => format!("{}\n", style.green("the request passes")),
            Step::Deny(answer) => {
                format!("{}\n", style.red(&format!("the request is refused: {} {}", answer.status, self.reason)))
            }
            Step::Hold => format!("{}\n", style.red("the request waits for a provider's answer")),
            Step::NeedBody(_) => format!("{}\n", style.green("the gateway reads the body and answers itself")),
            Step::Answer(answer) => {
                format!("{}\n", style.green(&format!("the gateway answers itself: {}", answer.status)))
            }
        };
        if let Some((path, meets, line)) = &self.rule {
            text.push_str(&format!("rule: {} (line {line}): {meets}\n", style.bold(path)));
        }
        text.push('\n');
        for check in &self.checks {
            let verdict = format!("{:<12}", check.verdict);
            let verdict = match check.verdict {
                "passed" => style.green(&verdict),
                "refused" => style.red(&verdict),
                "monitored" => style.yellow(&verdict),
                _ => style.dim(&verdict),
            };
            text.push_str(format!("  {:<24}{verdict}{}", check.name, check.why).trim_end());
            text.push('\n');
        }
        let list = |title: &str, lines: Vec<String>| {
            if lines.is_empty() { String::new() } else { format!("\n{title}\n  {}\n", lines.join("\n  ")) }
        };
        match &self.step {
            Step::Continue(passage) => {
                text.push_str(&list("changed before it goes on:", changes(&passage.request)));
                text.push_str(&list("changed in the response:", changes(&passage.response)));
            }
            Step::Deny(answer) => {
                let headers = answer.headers.iter().map(|(name, value)| format!("{name}: {value}"));
                text.push_str(&list("the client gets:", headers.chain([answer.body.clone()]).collect()));
            }
            Step::Hold | Step::NeedBody(_) | Step::Answer(_) => {}
        }
        text.push_str(&list("note:", self.notes.clone()));
        text
    }

    /// The explanation for a program.
    pub fn to_json(&self) -> Value {
        let (status, request, response) = match &self.step {
            Step::Continue(passage) => (Value::Null, changes(&passage.request), changes(&passage.response)),
            Step::Deny(answer) => {
                let headers = answer.headers.iter().map(|(name, value)| format!("{name}: {value}"));
                (json!(answer.status), Vec::new(), headers.collect())
            }
            Step::Answer(answer) => (json!(answer.status), Vec::new(), Vec::new()),
            Step::Hold | Step::NeedBody(_) => (Value::Null, Vec::new(), Vec::new()),
        };
        let checks =
            self.checks.iter().map(|check| json!({"check": check.name, "verdict": check.verdict, "why": check.why}));
        json!({
            "passes": self.passes(),
            "status": status,
            "reason": self.reason.code(),
            "rule": self.rule.as_ref().map(|(path, meets, line)| json!({"path": path, "match": meets, "line": line})),
            "checks": checks.collect::<Vec<_>>(),
            "request": request,
            "response": response,
            "notes": self.notes,
        })
    }
}

/// The check that refuses for a reason. Reasons are grouped by how their codes begin.
fn stage(reason: Reason, detail: &str, rule: Option<&Rule>, filter: &Configured) -> Stage {
    let code = reason.code();
    if matches!(reason, Reason::PayloadAttack | Reason::PayloadTooCostly | Reason::BodyEncodingRefused)
        || code.starts_with("body_")
    {
        return Stage::Payload;
    }
    if code.starts_with("input_") {
        return Stage::Input;
    }
    if matches!(reason, Reason::HeaderMissing | Reason::HeaderForbidden) {
        return Stage::Headers;
    }
    match reason {
        Reason::AddressDenied | Reason::AddressListUnavailable => return Stage::Addresses,
        Reason::Banned | Reason::BansUnavailable => return Stage::Bans,
        Reason::CorsOriginDenied => return Stage::Cors,
        Reason::Overloaded => return Stage::Surge,
        Reason::MethodNotAllowed => return Stage::Rule,
        _ => {}
    }
    if reason == Reason::RuleDenied
        || ["credentials_", "certificate_", "dpop_", "token_", "keys_", "provider_", "revocation_"]
            .iter()
            .any(|start| code.starts_with(start))
    {
        return if detail.contains("cannot hold") { Stage::Forward } else { Stage::Credential };
    }
    if code.starts_with("limit_") {
        let by_principal = rule.is_some_and(|rule| {
            let limits = rule.limits_by_principal.iter().filter_map(|index| filter.policy.limits.get(*index));
            limits.into_iter().any(|limit| detail.contains(&format!("{:?}", limit.name)))
        });
        return if by_principal { Stage::LimitsByPrincipal } else { Stage::LimitsByAddress };
    }
    if reason == Reason::PathClaimMismatch {
        return Stage::PathClaims;
    }
    match code.split('_').next() {
        Some("role") => Stage::Roles,
        Some("condition") => Stage::Conditions,
        Some("route") => Stage::Rule,
        Some("scope") => Stage::Scopes,
        _ => Stage::Request,
    }
}

/// Why a check refused; a condition is shown as it is written.
fn refused(reason: Reason, detail: &str, rule: Option<(usize, &Rule)>) -> String {
    let text = format!("{reason}: {}", if detail.is_empty() { reason.description() } else { detail });
    if !matches!(reason, Reason::ConditionFalse | Reason::ConditionError) {
        return text;
    }
    let conditions = rule.iter().flat_map(|(_, rule)| rule.authorisation.when.iter().enumerate());
    let mut conditions = conditions.filter(|(index, named)| {
        let rest = detail.strip_prefix(&named.label(*index));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    });
    match conditions.next() {
        Some((_, named)) => format!("{text} ({})", named.condition.source()),
        None => text,
    }
}

/// Why a check let the request pass; empty where it asked for nothing.
fn passed(stage: Stage, rule: Option<(usize, &Rule)>, filter: &Configured, claims: Option<&Value>) -> String {
    let policy = &filter.policy;
    let Some((at, rule)) = rule else {
        return if stage == Stage::Request {
            "the head and the path are well-formed".to_owned()
        } else {
            String::new()
        };
    };
    let claim = |name: &str| claims.and_then(|claims| claims.get(name)).map(plain).unwrap_or_default();
    match stage {
        Stage::Request => "the head and the path are well-formed".to_owned(),
        Stage::Rule if at < policy.index.rules().len() => {
            format!("{} is the first that matches", filter.rule_place(at).0)
        }
        Stage::Rule if policy.unmatched == Some(at) => "no rule matches: the default policy applies".to_owned(),
        Stage::Rule => "the route names this policy".to_owned(),
        Stage::Headers => {
            let list = |what: &str, names: &[String]| match names {
                [] => None,
                names => Some(format!("{what} {}", names.join(", "))),
            };
            let parts = [list("has", &rule.headers.require), list("lacks", &rule.headers.forbid)];
            parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
        }
        Stage::Addresses => rule_text::addresses(policy, rule),
        Stage::Bans => rule_text::bans(policy, rule),
        Stage::Cors => rule_text::cors(rule),
        Stage::LimitsByAddress => rule_text::limits(policy, &rule.limits_by_address),
        Stage::Surge => rule_text::surge(policy, rule),
        Stage::LimitsByPrincipal => rule_text::limits(policy, &rule.limits_by_principal),
        Stage::Credential if rule.who == Who::Everybody => "everybody may pass".to_owned(),
        Stage::Credential => format!("{} vouches for {:?}", rule_text::who(policy, rule), claim("sub")),
        Stage::Scopes if rule.scopes.is_empty() => String::new(),
        Stage::Scopes => {
            let has = if claim("scope").is_empty() { claim("scp") } else { claim("scope") };
            format!("needs {}; the token has {has:?}", rule_text::scopes(rule))
        }
        Stage::Roles if rule.authorisation.roles.is_empty() => String::new(),
        Stage::Roles => format!("needs {}", rule_text::roles(rule)),
        Stage::PathClaims if rule.authorisation.bind.is_empty() => String::new(),
        Stage::PathClaims => rule_text::bindings(rule),
        Stage::Conditions => rule_text::conditions(rule),
        Stage::Input => rule_text::input(rule),
        Stage::Payload => rule_text::payload(rule),
        Stage::Forward => "see below".to_owned(),
    }
}

/// The claims of a token, for show: the engine has judged it.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn changes(changes: &[HeaderChange]) -> Vec<String> {
    let line = |change: &HeaderChange| match change {
        HeaderChange::Remove(name) => format!("removed {name}"),
        HeaderChange::Set(name, value) => format!("set {name}: {}", String::from_utf8_lossy(value)),
        HeaderChange::Add(name, value) => format!("added {name}: {}", String::from_utf8_lossy(value)),
    };
    changes.iter().map(line).collect()
}
