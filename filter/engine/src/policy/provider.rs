//! A compiled provider, and how one is made of its section.

use std::rc::Rc;

use serde_json::Value;

use crate::config::schema::{ForwardToken, JwksSection, Profile, ProviderSection, TokenSourceSection};
use crate::config::{Problems, document::member_path, suggest};
use crate::credentials::TokenSource;
use crate::jwt::{self, Algorithm, AlgorithmSet, KeySet, Verifier};
use crate::key_sets::{KeySetSource, Location, SourceError};

use super::Environment;
use super::compile::header_name;

/// Who vouches for callers by JSON Web Tokens.
#[derive(Debug)]
pub struct Provider {
    /// The name in the configuration.
    pub name: String,
    /// Judges its tokens.
    pub verifier: Verifier,
    /// Where a request may carry them.
    pub sources: Vec<TokenSource>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Whether the token is removed before the request goes on.
    pub strip: bool,
    /// Headers set from claims: name and claim path.
    pub headers: Vec<(String, String)>,
    /// The longest accepted token, in bytes.
    pub max_token_bytes: usize,
}

/// Where a provider's keys come from.
#[derive(Debug)]
pub enum KeySource {
    /// From the configuration: they change only with it.
    Fixed(Rc<KeySet>),
    /// From a cluster: the index of the remote key set.
    Remote(usize),
}

impl Provider {
    /// Compiles a provider; a remote key set is added to `remote`. `None` means that problems were added.
    pub fn compile(
        name: &str,
        section: &ProviderSection,
        environment: Environment<'_>,
        remote: &mut Vec<KeySetSource>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let path = member_path("providers", name);
        let algorithms = algorithms(&path, &section.algorithms, problems);
        if section.audiences.0.is_empty() {
            problems.add_with_hint(
                member_path(&path, "audiences"),
                "names no audience",
                "a token made for another service must not open this one (RFC 8725, 3.9)",
            );
        }
        let keys = keys(&path, name, section, algorithms, environment, remote, problems);
        let sources = section
            .token_from
            .iter()
            .enumerate()
            .filter_map(|(index, source)| token_source(&format!("{path}.token_from[{index}]"), source, problems))
            .collect::<Vec<_>>();
        if section.token_from.is_empty() {
            problems.add(member_path(&path, "token_from"), "names no place where a token may be");
        }
        let mut headers = Vec::new();
        for (header, claim) in &section.forward.headers {
            let at = member_path(&format!("{path}.forward.headers"), header);
            if let Some(header) = header_name(&at, header, problems) {
                headers.push((header, claim.clone()));
            }
        }
        let max_leeway = std::time::Duration::from_secs(300);
        if section.claims.leeway.0 > max_leeway {
            problems.add_with_hint(
                format!("{path}.claims.leeway"),
                "is above the maximum of 5m",
                "leeway covers clock drift between issuer and gateway; 30s is usual",
            );
        }
        let verifier = Verifier {
            issuer: section.issuer.clone(),
            audiences: section.audiences.0.clone(),
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
        Some(Self {
            name: name.to_owned(),
            verifier,
            sources,
            keys: keys?,
            strip: section.forward.token == ForwardToken::Strip,
            headers,
            max_token_bytes: section.max_token_size.as_usize(),
        })
    }
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
    section: &ProviderSection,
    algorithms: AlgorithmSet,
    environment: Environment<'_>,
    remote: &mut Vec<KeySetSource>,
    problems: &mut Problems,
) -> Option<KeySource> {
    let jwks = &section.jwks;
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
            let source = remote_source(name, cluster, key_path, jwks);
            match source.check() {
                Ok(()) => {}
                Err(error @ SourceError::Authority { .. }) => {
                    problems.add_with_hint(
                        member_path(&at, "authority"),
                        error.problem(),
                        "such as `idp.example:8443`",
                    );
                    return None;
                }
                Err(error) => {
                    problems.add(member_path(&at, "path"), error.problem());
                    return None;
                }
            }
            remote.push(source);
            Some(KeySource::Remote(remote.len() - 1))
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

fn token_source(at: &str, section: &TokenSourceSection, problems: &mut Problems) -> Option<TokenSource> {
    match (&section.header, &section.cookie, &section.query) {
        (Some(name), None, None) => {
            let name = header_name(&member_path(at, "header"), name, problems)?;
            Some(TokenSource::Header { name, scheme: section.scheme.clone() })
        }
        (None, Some(name), None) => Some(TokenSource::Cookie(name.clone())),
        (None, None, Some(name)) => Some(TokenSource::Query(name.clone())),
        _ => {
            problems.add(at, "needs exactly one of `header`, `cookie` and `query`");
            None
        }
    }
}
