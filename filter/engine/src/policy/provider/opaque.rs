//! Opaque tokens: the endpoint that is asked about them (RFC 7662).

use crate::config::document::member_path;
use crate::config::schema::{ClientAuthenticationSection, IntrospectionSection, OnError, ProviderSection};
use crate::introspection::{ClientAuthentication, IntrospectionSource};

use super::secret::Secret;
use super::{Binding, Surroundings};

/// A provider that is asked about tokens.
#[derive(Debug, Clone)]
pub struct OpaqueProvider {
    /// What happens while it cannot be asked.
    pub on_error: OnError,
    /// What ties its tokens to their senders.
    pub binding: Binding,
}

/// Compiles a provider with `introspection`. `None` means that problems were added.
pub fn compile(
    path: &str,
    name: &str,
    section: &ProviderSection,
    endpoint: &IntrospectionSection,
    around: &mut Surroundings<'_>,
) -> Option<OpaqueProvider> {
    let at = member_path(path, "introspection");
    let binding = Binding::compile(path, section.binding.as_ref(), around.problems);
    if !endpoint.path.starts_with('/') {
        let problem = format!("{:?} does not begin with a slash", endpoint.path);
        around.problems.add(member_path(&at, "path"), problem);
    }
    let client = authentication(&at, endpoint, around)?;
    let authority = endpoint.authority.clone().unwrap_or_else(|| endpoint.cluster.clone());
    let mut source = IntrospectionSource::new(name, &endpoint.cluster, authority, &endpoint.path, client);
    source.cache = endpoint.cache.0;
    source.negative_cache = endpoint.negative_cache.0;
    source.timeout = endpoint.timeout.0;
    source.issuer.clone_from(&section.issuer);
    source.audiences = section.audiences.clone().map(|list| list.0).unwrap_or_default();
    source.leeway = section.claims.leeway.0;
    source.max_token_bytes = section.max_token_size.as_usize();
    around.introspections.push(source);
    Some(OpaqueProvider { on_error: endpoint.on_error, binding })
}

fn authentication(
    at: &str,
    endpoint: &IntrospectionSection,
    around: &mut Surroundings<'_>,
) -> Option<ClientAuthentication> {
    let secret = match &endpoint.client_secret {
        Some(section) => {
            Some(Secret::read(&member_path(at, "client_secret"), section, around.environment, around.problems)?)
        }
        None => None,
    };
    let secret = secret.as_ref().map(|secret| secret.expose().to_owned());
    let wanted = endpoint.client_authentication;
    match (wanted, &endpoint.client_id, secret) {
        (ClientAuthenticationSection::None, _, None) => Some(ClientAuthentication::None),
        (ClientAuthenticationSection::Bearer, _, Some(token)) => Some(ClientAuthentication::Bearer { token }),
        (ClientAuthenticationSection::Basic, Some(id), Some(secret)) => {
            Some(ClientAuthentication::Basic { id: id.clone(), secret })
        }
        (ClientAuthenticationSection::Post, Some(id), Some(secret)) => {
            Some(ClientAuthentication::Post { id: id.clone(), secret })
        }
        _ => {
            let hint = match wanted {
                ClientAuthenticationSection::None => "leave `client_secret` out",
                ClientAuthenticationSection::Bearer => "set `client_secret`",
                _ => "set `client_id` and `client_secret`, or write `client_authentication: none`",
            };
            let problem = format!("does not fit `client_authentication: {}`", wanted.as_str());
            around.problems.add_with_hint(at, problem, hint);
            None
        }
    }
}
