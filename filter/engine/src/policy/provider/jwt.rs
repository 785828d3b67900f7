//! JSON Web Tokens: the verifier, and where its keys come from.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use crate::config::schema::{DiscoverySection, JwksSection, Profile, ProviderSection};
use crate::config::{Problems, document::member_path, suggest};
use crate::jwt::{self, Algorithm, AlgorithmSet, KeySet, Verifier};
use crate::key_sets::{KeySetSource, Location, SourceError};

use super::{Binding, Surroundings};
use crate::policy::Environment;

/// A provider of JSON Web Tokens.
#[derive(Debug)]
pub struct JwtProvider {
    /// Judges its tokens.
    pub verifier: Verifier,
    /// Where its keys come from.
    pub keys: KeySource,
    /// What ties its tokens to their senders.
    pub binding: Binding,
}

/// Where a provider's keys come from.
#[derive(Debug)]
pub enum KeySource {
    /// From the configuration: they change only with it.
    Fixed(Rc<KeySet>),
    /// From a cluster: the index of the remote key set.
    Remote(usize),
}

/// Compiles a provider with `jwks` or `discovery`. `None` means that problems were added.
pub fn compile(
    path: &str,
    name: &str,
    section: &ProviderSection,
    around: &mut Surroundings<'_>,
) -> Option<JwtProvider> {
    let algorithms = algorithms(path, section.algorithms.as_deref().unwrap_or_default(), around.problems);
    let audiences = section.audiences.clone().map(|list| list.0).unwrap_or_default();
    if audiences.is_empty() {
        around.problems.add_with_hint(
            member_path(path, "audiences"),
            "names no audience",
            "a token made for another service must not open this one (RFC 8725, 3.9)",
        );
    }
    const MAX_LEEWAY: Duration = Duration::from_secs(300);
    if section.claims.leeway.0 > MAX_LEEWAY {
        around.problems.add_with_hint(
            format!("{path}.claims.leeway"),
            "is above the maximum of 5m",
            "leeway covers clock drift between issuer and gateway; 30s is usual",
        );
    }
    let keys = match (&section.jwks, &section.discovery) {
        (Some(jwks), _) => keys(path, name, jwks, algorithms, around),
        (None, Some(discovery)) => discovered(path, name, discovery, section.issuer.as_deref(), around),
        (None, None) => None,
    };
    let verifier = Verifier {
        issuer: section.issuer.clone(),
        audiences,
        algorithms,
        token_types: section.token_types.clone(),
        required_claims: section.claims.require.clone(),
        require_expiry: section.claims.require_exp,
        max_age: section.claims.max_age.map(|span| span.0),
        leeway: section.claims.leeway.0,
        profile: match section.profile {
            Some(Profile::Rfc9068) => jwt::Profile::Rfc9068,
            None => jwt::Profile::Jwt,
        },
    };
    let binding = Binding::compile(path, section.binding.as_ref(), around.problems);
    Some(JwtProvider { verifier, keys: keys?, binding })
}

fn discovered(
    path: &str,
    name: &str,
    discovery: &DiscoverySection,
    issuer: Option<&str>,
    around: &mut Surroundings<'_>,
) -> Option<KeySource> {
    let Some(issuer) = issuer else {
        around.problems.add_with_hint(
            member_path(path, "issuer"),
            "is required",
            "`discovery` finds the keys of an issuer",
        );
        return None;
    };
    let host = issuer.split_once("://").map_or(issuer, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let source = KeySetSource {
        provider: name.to_owned(),
        cluster: discovery.cluster.clone(),
        location: Location::Discovery {
            authority: discovery.authority.clone().unwrap_or_else(|| host.to_owned()),
            issuer: issuer.to_owned(),
        },
        refresh: discovery.refresh.0,
        keep_stale: discovery.keep_stale.0,
        unknown_kid_cooldown: discovery.unknown_kid_cooldown.0,
        timeout: discovery.timeout.0,
    };
    remote(path, &member_path(path, "discovery"), source, around)
}

fn algorithms(path: &str, names: &[String], problems: &mut Problems) -> AlgorithmSet {
    let at = member_path(path, "algorithms");
    if names.is_empty() {
        problems.add_with_hint(
            at.clone(),
            "names no algorithm",
            "the algorithm is never taken from the token: list those that the issuer uses, such as [ES256]",
        );
    }
    let mut set = AlgorithmSet::EMPTY;
    for (index, name) in names.iter().enumerate() {
        match name.parse::<Algorithm>() {
            Ok(algorithm) => set = set.with(algorithm),
            Err(_) => {
                let known = Algorithm::ALL.map(Algorithm::name);
                let hint = match suggest::nearest(name, known) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("known: {}", suggest::listed(&known)),
                };
                problems.add_with_hint(format!("{at}[{index}]"), format!("no algorithm {name:?}"), hint);
            }
        }
    }
    set
}

fn keys(
    path: &str,
    name: &str,
    jwks: &JwksSection,
    algorithms: AlgorithmSet,
    around: &mut Surroundings<'_>,
) -> Option<KeySource> {
    let (environment, problems): (Environment<'_>, _) = (around.environment, &mut *around.problems);
    let at = member_path(path, "jwks");
    match (&jwks.cluster, &jwks.inline, &jwks.env) {
        (Some(cluster), None, None) => {
            let Some(key_path) = &jwks.path else {
                problems.add_with_hint(at, "`cluster` needs a `path`", "such as `/.well-known/jwks.json`");
                return None;
            };
            if !key_path.starts_with('/') {
                problems.add(member_path(&at, "path"), format!("{key_path:?} does not begin with a slash"));
                return None;
            }
            remote(path, &at, remote_source(name, cluster, key_path, jwks), around)
        }
        (None, Some(document), None) => fixed(&member_path(&at, "inline"), document, algorithms, problems),
        (None, None, Some(variable)) => {
            let at = member_path(&at, "env");
            let Some(text) = environment(variable) else {
                problems.add_with_hint(
                    at,
                    format!("the environment has no variable {variable:?}"),
                    "pass it on in vm_config.environment_variables",
                );
                return None;
            };
            match serde_json::from_str::<Value>(&text) {
                Ok(document @ Value::Object(_)) => fixed(&at, &document, algorithms, problems),
                // What is no key set is a shared secret; it must be long enough for its algorithms.
                _ => secret(&at, text.as_bytes(), algorithms, problems),
            }
        }
        (None, None, None) => {
            problems.add_with_hint(at, "names no key set", "one of `cluster` with `path`, `inline` and `env`");
            None
        }
        _ => {
            problems.add(at, "names several key sets; one of `cluster`, `inline` and `env` is meant");
            None
        }
    }
}

/// Takes up a remote key set, which the section at `at` of the provider at `path` describes.
fn remote(path: &str, at: &str, source: KeySetSource, around: &mut Surroundings<'_>) -> Option<KeySource> {
    if let Err(error) = source.check() {
        let (at, hint) = match &error {
            SourceError::Authority { .. } => (member_path(at, "authority"), Some("such as `idp.example:8443`")),
            SourceError::Issuer { .. } => (member_path(path, "issuer"), Some("such as `https://idp.example`")),
            SourceError::Path { .. } => (member_path(at, "path"), None),
            SourceError::DuplicateProvider(_) => (at.to_owned(), None),
        };
        match hint {
            Some(hint) => around.problems.add_with_hint(at, error.problem(), hint),
            None => around.problems.add(at, error.problem()),
        }
        return None;
    }
    around.key_sets.push(source);
    Some(KeySource::Remote(around.key_sets.len() - 1))
}

fn remote_source(name: &str, cluster: &str, path: &str, jwks: &JwksSection) -> KeySetSource {
    KeySetSource {
        provider: name.to_owned(),
        cluster: cluster.to_owned(),
        location: Location::Jwks {
            authority: jwks.authority.clone().unwrap_or_else(|| cluster.to_owned()),
            path: path.to_owned(),
        },
        refresh: jwks.refresh.0,
        keep_stale: jwks.keep_stale.0,
        unknown_kid_cooldown: jwks.unknown_kid_cooldown.0,
        timeout: jwks.timeout.0,
    }
}

fn fixed(at: &str, document: &Value, algorithms: AlgorithmSet, problems: &mut Problems) -> Option<KeySource> {
    match KeySet::from_jwks(document.to_string().as_bytes()) {
        Ok((keys, skipped)) => {
            for key in &skipped {
                problems.add(at, format!("{key}"));
            }
            usable(at, keys, algorithms, problems)
        }
        Err(error) => {
            problems.add(at, format!("is no key set: {error}"));
            None
        }
    }
}

fn secret(at: &str, secret: &[u8], algorithms: AlgorithmSet, problems: &mut Problems) -> Option<KeySource> {
    match KeySet::from_secret(secret) {
        Ok(keys) => usable(at, keys, algorithms, problems),
        Err(error) => {
            problems.add(at, format!("is neither a key set nor a usable secret: {error}"));
            None
        }
    }
}

/// A key set of which no key fits any of the provider's algorithms would refuse every token.
fn usable(at: &str, keys: KeySet, algorithms: AlgorithmSet, problems: &mut Problems) -> Option<KeySource> {
    // Without a valid algorithm that is the problem, and reported already.
    if !algorithms.is_empty() && keys.keys().iter().all(|key| key.algorithms().intersection(algorithms).is_empty()) {
        problems.add(at, "has no key for any of the provider's `algorithms`");
        return None;
    }
    Some(KeySource::Fixed(Rc::new(keys)))
}
