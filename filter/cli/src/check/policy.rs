//! What a policy that is valid may still not be meant to say.

use portcullis_engine::bans::Ban;
use portcullis_engine::config::document::member_path;
use portcullis_engine::config::schema::{Check, Mode, Offence};
use portcullis_engine::http::Method;
use portcullis_engine::jwt::{Algorithm, AlgorithmSet};
use portcullis_engine::matching::{Match, PathCondition, PathPattern, lint};
use portcullis_engine::policy::{JwtProvider, KeySource, Limit, Policy, Provider, ProviderKind, Rule, Who};
use serde_json::Value;

use super::finding::{Notes, Severity};

/// Adds warnings about the policy of `document`.
pub fn check(policy: &Policy, document: &Value, notes: &mut Notes<'_>) {
    if policy.mode == Mode::Monitor {
        notes.add(Severity::Hint, "mode", "the filter counts and logs what it would refuse, and refuses nothing", "");
    }
    rules_that_never_match(policy, notes);
    public_rules(policy, notes);
    paths_without_their_twin(policy, document, notes);
    for (index, provider) in policy.providers.iter().enumerate() {
        check_provider(index, provider, policy, document, notes);
    }
    limits(policy, notes);
    bans(policy, notes);
    surges(policy, notes);
    super::edge::check(policy, notes);
}

/// The rules as they are written, each with what it matches.
pub(super) fn written(policy: &Policy) -> impl Iterator<Item = (usize, &Match, &Rule)> {
    policy.index.rules().iter().zip(&policy.rules).enumerate().map(|(index, (meets, rule))| (index, meets, rule))
}

fn rules_that_never_match(policy: &Policy, notes: &mut Notes<'_>) {
    for covered in lint::covered(policy.index.rules()) {
        let by: Vec<String> = covered.by.iter().map(|rule| format!("rules[{rule}]")).collect();
        let problem = match by.as_slice() {
            [one] => format!("can never match: {one} takes every request that it means"),
            several => format!("can never match: {} take every request that it means", several.join(" and ")),
        };
        notes.warn(&format!("rules[{}]", covered.rule), problem, "put the narrower rule first, or remove it");
    }
}

fn public_rules(policy: &Policy, notes: &mut Notes<'_>) {
    for (index, meets, _) in written(policy).filter(|(_, _, rule)| rule.who == Who::Everybody) {
        let at = format!("rules[{index}].allow");
        let unconditional = meets.hosts.is_empty() && meets.headers.is_empty() && meets.methods.is_empty();
        if unconditional && takes_every_path(meets) {
            notes.warn(&at, "lets everybody call every path", "name the paths that are public");
            continue;
        }
        // A preflight carries no credential: it must pass.
        if !meets.methods.is_empty() && meets.methods.iter().all(|method| *method == Method::Options) {
            continue;
        }
        let guard = written(policy).find(|(other, guard, rule)| {
            *other != index && rule.who != Who::Everybody && !takes_every_path(guard) && path_covers(guard, meets)
        });
        if let Some((guard, ..)) = guard {
            let problem = format!("is public below the paths that rules[{guard}] protects");
            notes.warn(&at, problem, "make sure that it is meant, and move it out of the protected paths if you can");
        }
    }
}

fn takes_every_path(meets: &Match) -> bool {
    match &meets.path {
        None => true,
        Some(PathCondition::Pattern(pattern)) => {
            PathPattern::parse("/**").is_ok_and(|everything| pattern.covers(&everything))
        }
        Some(PathCondition::Regex(regex)) => matches!(regex.source(), ".*" | "/.*" | "^.*$" | "^/.*$"),
    }
}

fn path_covers(wide: &Match, narrow: &Match) -> bool {
    match (&wide.path, &narrow.path) {
        (Some(PathCondition::Pattern(wide)), Some(PathCondition::Pattern(narrow))) => wide.covers(narrow),
        _ => false,
    }
}

/// `/admin` is protected by one rule, and `/admin/`, the same to many services, by another one.
fn paths_without_their_twin(policy: &Policy, document: &Value, notes: &mut Notes<'_>) {
    for (index, meets, rule) in written(policy).filter(|(_, _, rule)| rule.who != Who::Everybody) {
        let pointer = format!("/rules/{index}/match/path");
        let Some(path) = document.pointer(&pointer).and_then(Value::as_str).filter(|path| !path.ends_with("**")) else {
            continue;
        };
        let twin = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
        let Ok(pattern) = PathPattern::parse(&twin) else { continue };
        let twin_match = Match { path: Some(PathCondition::Pattern(pattern)), ..meets.clone() };
        let taken_by = |(_, other, _): &(usize, &Match, &Rule)| path_covers_or_none(other, &twin_match);
        let Some((other, _, other_rule)) = written(policy).find(taken_by) else { continue };
        if other == index || (other_rule.who == rule.who && other_rule.scopes == rule.scopes) {
            continue;
        }
        let problem =
            format!("{path:?} is this rule's, but {twin:?} is that of rules[{other}], which asks for something else");
        notes.warn(
            &format!("rules[{index}].match.path"),
            problem,
            &format!("many services take both for the same: add a rule for {twin:?}, or write {:?}", rest_of(path)),
        );
    }
}

fn path_covers_or_none(wide: &Match, narrow: &Match) -> bool {
    wide.headers.is_empty() && wide.hosts.is_empty() && (wide.path.is_none() || path_covers(wide, narrow))
}

fn rest_of(path: &str) -> String {
    format!("{}/**", path.trim_end_matches('/'))
}

fn check_provider(index: usize, provider: &Provider, policy: &Policy, document: &Value, notes: &mut Notes<'_>) {
    let path = member_path("providers", &provider.name);
    if let ProviderKind::Jwt(jwt) = &provider.kind {
        check_tokens(&path, jwt, notes);
    }
    let written = document.pointer(&format!("/providers/{}", provider.name));
    let places = written.and_then(|written| written.get("token_from")).and_then(Value::as_array);
    if let Some(place) = places.and_then(|places| places.iter().position(|place| place.get("query").is_some())) {
        let problem = "tokens in URLs end up in logs and histories (RFC 6750, 2.3)";
        notes.warn(&format!("{path}.token_from[{place}].query"), problem, "take them from a header or a cookie");
    }
    let asked_for = |rule: &Rule| matches!(&rule.who, Who::VouchedFor(required) if required.providers.contains(&index));
    if !policy.rules.iter().any(asked_for) {
        notes.warn(&path, "no rule and no policy asks for this provider", "name it in a `require`, or remove it");
    }
}

fn check_tokens(path: &str, jwt: &JwtProvider, notes: &mut Notes<'_>) {
    let at = |member: &str| format!("{path}.{member}");
    let secret: AlgorithmSet = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512].into_iter().collect();
    let (mut symmetric, mut asymmetric) = (Vec::new(), Vec::new());
    for algorithm in jwt.verifier.algorithms.iter() {
        if secret.contains(algorithm) { symmetric.push(algorithm.name()) } else { asymmetric.push(algorithm.name()) }
    }
    if let (Some(secret), Some(public)) = (symmetric.first(), asymmetric.first()) {
        notes.warn(
            &at("algorithms"),
            format!("{secret} works with a shared secret, {public} with a public key"),
            "give each its own provider: who knows the secret can make tokens, and a public key must never serve as one",
        );
    } else if let (Some(secret), KeySource::Remote(_)) = (symmetric.first(), &jwt.keys) {
        let problem = format!("the secret of {secret} is fetched like a public key set");
        notes.warn(
            &at("jwks.cluster"),
            problem,
            "who can read it can make tokens: use `env`, or a public-key algorithm",
        );
    }
    if !jwt.verifier.require_expiry {
        notes.warn(
            &at("claims.require_exp"),
            "a stolen token without `exp` is good for ever",
            "set `max_age`, or require `exp`",
        );
    }
    if jwt.verifier.issuer.is_none() {
        notes.warn(path, "takes tokens of any issuer whose key is in its key set", "set `issuer` (RFC 8725, 3.8)");
    }
}

fn bans(policy: &Policy, notes: &mut Notes<'_>) {
    for (index, ban) in policy.bans.iter().enumerate() {
        let path = member_path("bans", &ban.name);
        if !policy.default_bans.contains(&index) && !policy.rules.iter().any(|rule| rule.bans.contains(&index)) {
            notes.warn(&path, "no rule and no policy names this ban", "name it in a `bans`, or remove it");
        } else {
            offences_that_never_come(index, ban, policy, notes);
        }
    }
}

/// What a ban counts, and what nothing that it covers refuses.
fn offences_that_never_come(index: usize, ban: &Ban, policy: &Policy, notes: &mut Notes<'_>) {
    let covered = || policy.rules.iter().filter(|rule| rule.bans.contains(&index));
    let watches = ban.is_monitored() || policy.mode == Mode::Monitor;
    let is_enforced = |rule: &Rule| rule.mode == Mode::Enforce && !rule.monitored.contains(&Check::Payload);
    let refuses_attacks = |rule: &Rule| {
        let payload = rule.payload.as_ref();
        payload.is_some_and(|payload| watches || (payload.mode == Mode::Enforce && is_enforced(rule)))
    };
    let forbids = |rule: &Rule| rule.who == Who::Nobody || !rule.scopes.is_empty() || !rule.authorisation.is_empty();
    for offence in &ban.offences {
        let (comes, never, hint) = match offence {
            Offence::AuthFailure => (
                covered().any(|rule| matches!(rule.who, Who::VouchedFor(_))),
                "no rule with this ban asks for a credential",
                "name the ban on rules with `require`, or leave the word out",
            ),
            Offence::Unmatched => (
                policy.default_bans.contains(&index) && (policy.unmatched.is_none() || policy.names_methods),
                "what no rule takes meets the bans of `defaults.bans` alone",
                "name the ban in `defaults.bans`, with `unmatched: deny`, or leave the word out",
            ),
            Offence::Forbidden => (
                covered().any(forbids),
                "no rule with this ban forbids anything",
                "name the ban on rules with scopes, roles, `bind`, `when` or `allow: nobody`, or leave the word out",
            ),
            Offence::PayloadRule => (
                covered().any(refuses_attacks),
                "no rule with this ban refuses attacks",
                "set `payload` to `enforce` on a rule with the ban, or leave the word out",
            ),
            Offence::Limit => (
                covered().any(|rule| !rule.limits_by_address.is_empty() || !rule.limits_by_principal.is_empty()),
                "no rule with this ban has a limit",
                "name the ban on rules with `limits`, or leave the word out",
            ),
            Offence::Malformed => continue,
        };
        if !comes {
            let path = format!("{}.count", member_path("bans", &ban.name));
            notes.warn(&path, format!("{:?} never comes: {never}", offence.as_str()), hint);
        }
    }
}

fn surges(policy: &Policy, notes: &mut Notes<'_>) {
    for (index, surge) in (0..).zip(&policy.surges) {
        let uses: Vec<_> = policy.rules.iter().filter_map(|rule| rule.surge.as_ref()).collect();
        if !uses.iter().any(|used| used.index == index) {
            let path = member_path("surge", &surge.name);
            notes.warn(&path, "no rule and no policy names this bound", "name it in a `surge`, or remove it");
        }
    }
}

fn limits(policy: &Policy, notes: &mut Notes<'_>) {
    if policy.limits.iter().all(Limit::is_in_flight) {
        let hint = "declare one in `limits`, and name it in `defaults.limits` or in a policy";
        notes.warn("limits", "nothing limits how often a client may call", hint);
    }
    for (index, limit) in policy.limits.iter().enumerate() {
        let named = |rule: &Rule| rule.limits_by_address.contains(&index) || rule.limits_by_principal.contains(&index);
        if !policy.rules.iter().any(named) {
            let path = member_path("limits", &limit.name);
            notes.warn(&path, "no rule and no policy names this limit", "name it in a `limits`, or remove it");
        }
    }
}
