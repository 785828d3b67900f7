//! What the gateway itself gives out: internal tokens, public documents, and the settings of revocation.

use std::time::Duration;

use crate::answer::LocalDocument;
use crate::config::Problems;
use crate::config::document::member_path;
use crate::config::schema::{
    ConsistencySection, InternalTokensSection, ResourceSection, RevocationOnError, RevocationSection, SecretSection,
};
use crate::internal_token::{CopiedClaim, KeyRing, PublicKey, Settings, SigningKey};
use crate::metadata::{ResourceId, ResourceMetadata};
use crate::revocation::{Consistency, ListOptions, OnError, Options, PushOptions};

use super::Environment;
use super::compile::header_name;
use super::provider::secret::Secret;

/// How long clients may keep a document of the gateway.
const DOCUMENT_MAX_AGE: Duration = Duration::from_secs(300);

/// The gateway's own tokens.
#[derive(Debug)]
pub struct InternalTokens {
    /// What they are like.
    pub settings: Settings,
    /// The header that carries them.
    pub header: String,
    key: Secret,
    others: Vec<Secret>,
}

impl InternalTokens {
    /// The keys; they were read once when the configuration was checked.
    pub fn keys(&self) -> Option<KeyRing> {
        let others: Option<Vec<PublicKey>> =
            self.others.iter().map(|key| PublicKey::from_jwk(key.expose().as_bytes()).ok()).collect();
        KeyRing::new(SigningKey::from_jwk(self.key.expose().as_bytes()).ok()?, others?).ok()
    }
}

/// Compiles the internal tokens, and the document with their keys. `None` means that problems were added.
pub fn internal_tokens(
    section: &InternalTokensSection,
    environment: Environment<'_>,
    problems: &mut Problems,
) -> Option<(InternalTokens, (String, LocalDocument))> {
    let before = problems.len();
    let mut read = |at: &str, section: &SecretSection, parse: &dyn Fn(&str) -> Result<(), String>| {
        let secret = Secret::read(at, section, environment, problems)?;
        if let Err(problem) = parse(secret.expose()) {
            problems.add(at, problem);
        }
        Some(secret)
    };
    let key = read("internal_tokens.key", &section.key, &|text| {
        SigningKey::from_jwk(text.as_bytes()).map(drop).map_err(|error| error.to_string())
    });
    let others: Vec<Option<Secret>> = section
        .other_keys
        .iter()
        .enumerate()
        .map(|(index, key)| {
            read(&format!("internal_tokens.other_keys[{index}]"), key, &|text| {
                PublicKey::from_jwk(text.as_bytes()).map(drop).map_err(|error| error.to_string())
            })
        })
        .collect();
    let copied = section.claims.iter().map(|(name, path)| CopiedClaim { path: path.clone(), name: name.clone() });
    let settings = Settings {
        token_type: section.token_type.clone(),
        lifetime: section.lifetime.0,
        copied: copied.collect(),
        ..Settings::new(&section.issuer)
    };
    for problem in settings.problems() {
        problems.add("internal_tokens", problem.to_string());
    }
    let header = header_name("internal_tokens.header", &section.header, problems);
    if !section.jwks_path.starts_with('/') {
        problems.add("internal_tokens.jwks_path", format!("{:?} does not begin with a slash", section.jwks_path));
    }
    let others: Option<Vec<Secret>> = others.into_iter().collect();
    let tokens = InternalTokens { settings, header: header?, key: key?, others: others? };
    if problems.len() > before {
        return None;
    }
    match tokens.keys() {
        Some(keys) => {
            let document = LocalDocument::new(KeyRing::JWKS_CONTENT_TYPE, keys.jwks_json(), DOCUMENT_MAX_AGE);
            Some((tokens, (section.jwks_path.clone(), document)))
        }
        None => {
            problems.add("internal_tokens", "two keys have the same `kid`, or there are too many");
            None
        }
    }
}

/// A resource's metadata: its document with the path where it stands, and the document's URL for challenges.
#[derive(Debug)]
pub struct Resource {
    /// Path and document.
    pub document: (String, LocalDocument),
    /// The document's URL.
    pub metadata_url: String,
}

/// Compiles a resource. `None` means that problems were added.
pub fn resource(name: &str, section: &ResourceSection, problems: &mut Problems) -> Option<Resource> {
    let at = member_path("resources", name);
    let id = ResourceId::parse(&section.resource)
        .map_err(|error| problems.add(member_path(&at, "resource"), error.to_string()))
        .ok()?;
    let (path, metadata_url) = (id.well_known_path(), id.metadata_url());
    let mut metadata = ResourceMetadata::new(id);
    metadata.authorization_servers.clone_from(&section.authorization_servers);
    metadata.scopes_supported.clone_from(&section.scopes_supported);
    metadata.resource_name.clone_from(&section.name);
    metadata.resource_documentation.clone_from(&section.documentation);
    for problem in metadata.problems() {
        problems.add(at.clone(), problem.to_string());
    }
    let document = LocalDocument::new(ResourceMetadata::CONTENT_TYPE, metadata.json(), DOCUMENT_MAX_AGE);
    Some(Resource { document: (path, document), metadata_url })
}

/// Compiles the revocation section.
pub fn revocation(section: &RevocationSection, problems: &mut Problems) -> Options {
    let list = match (&section.cluster, &section.path) {
        (Some(cluster), Some(path)) if path.starts_with('/') => Some(ListOptions {
            cluster: cluster.clone(),
            authority: section.authority.clone().unwrap_or_else(|| cluster.clone()),
            path: path.clone(),
            every: section.every.0,
            timeout: section.timeout.0,
            on_error: match section.on_error {
                RevocationOnError::Keep => OnError::Keep,
                RevocationOnError::Deny => OnError::Deny,
            },
            max_age: section.max_age.0,
            max_bytes: section.max_size.as_usize(),
            max_entries: usize::try_from(section.max_entries).unwrap_or(usize::MAX),
        }),
        (Some(_), Some(path)) => {
            problems.add("revocation.path", format!("{path:?} does not begin with a slash"));
            None
        }
        (None, None) => None,
        _ => {
            problems.add("revocation", "`cluster` and `path` go together");
            None
        }
    };
    if section.cluster.is_none() && section.path.is_none() && section.push.is_none() {
        let hint = "set `cluster` and `path` of a list, or `push: {}`";
        problems.add_with_hint("revocation", "says nothing about where revocations come from", hint);
    }
    let push = section.push.as_ref().map(|push| PushOptions {
        consistency: match push.consistency {
            ConsistencySection::Immediate => Consistency::Immediate,
            ConsistencySection::Tick => Consistency::Tick,
        },
        default_lifetime: push.lifetime.0,
        max_entries: usize::try_from(push.max_entries).unwrap_or(usize::MAX),
        ..PushOptions::default()
    });
    Options { list, push, ..Options::default() }
}
