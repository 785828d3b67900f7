//! Compiled providers: who vouches for callers, and by what.

mod binding;
mod certificate;
mod clients;
mod jwt;
mod opaque;
pub(super) mod secret;

use crate::config::schema::{ForwardToken, ProviderSection, TokenSourceSection};
use crate::config::{Problems, document::member_path};
use crate::credentials::TokenSource;
use crate::introspection::IntrospectionSource;
use crate::key_sets::KeySetSource;
use crate::scopes::ScopeSource;

use super::Environment;
use super::compile::header_name;

pub use binding::Binding;
pub use certificate::{CertificateRule, VerifiedCertificate};
pub use clients::{Client, Clients};
pub use jwt::{JwtProvider, KeySource};
pub use opaque::OpaqueProvider;

/// Who vouches for callers.
#[derive(Debug)]
pub struct Provider {
    /// The name in the configuration.
    pub name: String,
    /// By what it vouches for them.
    pub kind: ProviderKind,
    /// Where a request may carry its credentials; empty for certificates, which are not sent in a request.
    pub sources: Vec<TokenSource>,
    /// Whether the credential is removed before the request goes on.
    pub strip: bool,
    /// Headers set from claims: name and claim path.
    pub headers: Vec<(String, String)>,
    /// Where its scopes stand.
    pub scopes: ScopeSource,
    /// The claims that hold roles.
    pub roles_from: Vec<String>,
    /// The longest accepted credential, in bytes.
    pub max_credential_bytes: usize,
}

/// By what a provider vouches for callers.
#[derive(Debug)]
pub enum ProviderKind {
    /// JSON Web Tokens.
    Jwt(Box<JwtProvider>),
    /// Opaque tokens.
    Opaque(OpaqueProvider),
    /// API keys, or user names and passwords.
    Clients(Clients),
    /// Client certificates.
    Certificate(CertificateRule),
}

/// What compiling a provider needs, and where its background work is gathered.
pub struct Surroundings<'a> {
    /// Where secrets come from.
    pub environment: Environment<'a>,
    /// Remote key sets of all providers.
    pub key_sets: &'a mut Vec<KeySetSource>,
    /// Introspection endpoints of all providers.
    pub introspections: &'a mut Vec<IntrospectionSource>,
    /// Problems found.
    pub problems: &'a mut Problems,
}

impl Provider {
    /// Compiles a provider. `None` means that problems were added.
    pub fn compile(name: &str, section: &ProviderSection, around: &mut Surroundings<'_>) -> Option<Self> {
        let path = member_path("providers", name);
        let kinds = [
            ("jwks", section.jwks.is_some()),
            ("discovery", section.discovery.is_some()),
            ("introspection", section.introspection.is_some()),
            ("api_keys", section.api_keys.is_some()),
            ("basic", section.basic.is_some()),
            ("certificate", section.certificate.is_some()),
        ];
        let present: Vec<&str> = kinds.iter().filter(|(_, present)| *present).map(|(kind, _)| *kind).collect();
        let [kind] = present.as_slice() else {
            let problem = if present.is_empty() {
                "has no kind".to_owned()
            } else {
                format!("has several kinds: {}", present.join(", "))
            };
            let hint = "exactly one of `jwks`, `discovery`, `introspection`, `api_keys`, `basic` and `certificate`";
            around.problems.add_with_hint(path, problem, hint);
            return None;
        };
        refuse_foreign_fields(&path, kind, section, around.problems);
        let compiled = match *kind {
            "api_keys" => clients::api_keys(&path, section.api_keys.as_ref()?, around.problems),
            "basic" => clients::basic(&path, section.basic.as_ref()?, around.problems),
            "certificate" => certificate::compile(&path, section.certificate.as_ref()?, around.problems)
                .map(|rule| (ProviderKind::Certificate(rule), Vec::new())),
            "introspection" => opaque::compile(&path, name, section, section.introspection.as_ref()?, around)
                .zip(token_sources(&path, section, around.problems))
                .map(|(provider, sources)| {
                    let sources = with_dpop(sources, &provider.binding);
                    (ProviderKind::Opaque(provider), sources)
                }),
            _ => jwt::compile(&path, name, section, around).zip(token_sources(&path, section, around.problems)).map(
                |(provider, sources)| {
                    let sources = with_dpop(sources, &provider.binding);
                    (ProviderKind::Jwt(Box::new(provider)), sources)
                },
            ),
        };
        let mut headers = Vec::new();
        for (header, claim) in &section.forward.headers {
            let at = member_path(&member_path(&member_path(&path, "forward"), "headers"), header);
            if let Some(header) = header_name(&at, header, around.problems) {
                headers.push((header, claim.clone()));
            }
        }
        let (kind, sources) = compiled?;
        Some(Self {
            name: name.to_owned(),
            kind,
            sources,
            strip: section.forward.token == ForwardToken::Strip,
            headers,
            scopes: ScopeSource {
                claim: section.scope_claim.clone(),
                prefix: section.scope_prefix.clone().unwrap_or_default(),
            },
            roles_from: section.roles_from.0.clone(),
            max_credential_bytes: section.max_token_size.as_usize(),
        })
    }
}

/// A field of another kind would do nothing: better said than ignored.
fn refuse_foreign_fields(path: &str, kind: &str, section: &ProviderSection, problems: &mut Problems) {
    let is_jwt = matches!(kind, "jwks" | "discovery");
    let is_token = is_jwt || kind == "introspection";
    let set = [
        ("issuer", section.issuer.is_some(), is_token),
        ("audiences", section.audiences.is_some(), is_token),
        ("algorithms", section.algorithms.is_some(), is_jwt),
        ("profile", section.profile.is_some(), is_jwt),
        ("token_from", section.token_from.is_some(), is_token),
        ("binding", section.binding.is_some(), is_token),
        ("scope_claim", section.scope_claim.is_some(), is_token),
        ("scope_prefix", section.scope_prefix.is_some(), is_token),
    ];
    for (field, is_set, belongs) in set {
        if is_set && !belongs {
            problems.add(member_path(path, field), format!("means nothing for a provider with `{kind}`"));
        }
    }
}

/// Where a bearer token may be, one with a proof may be too (RFC 9449, section 7.1).
fn with_dpop(mut sources: Vec<TokenSource>, binding: &Binding) -> Vec<TokenSource> {
    let bearer = |source: &TokenSource| matches!(source, TokenSource::Header { name, scheme: Some(scheme) } if name == "authorization" && scheme.eq_ignore_ascii_case("Bearer"));
    if binding.takes_dpop() && sources.iter().any(bearer) {
        sources.push(TokenSource::Header { name: "authorization".to_owned(), scheme: Some("DPoP".to_owned()) });
    }
    sources
}

fn token_sources(path: &str, section: &ProviderSection, problems: &mut Problems) -> Option<Vec<TokenSource>> {
    let Some(written) = &section.token_from else {
        return Some(vec![TokenSource::Header { name: "authorization".to_owned(), scheme: Some("Bearer".to_owned()) }]);
    };
    if written.is_empty() {
        problems.add(member_path(path, "token_from"), "names no place where a token may be");
        return None;
    }
    let read: Vec<_> = written
        .iter()
        .enumerate()
        .map(|(index, source)| token_source(&format!("{path}.token_from[{index}]"), source, problems))
        .collect();
    read.into_iter().collect()
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
