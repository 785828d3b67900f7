//! Who calls: an identity, and the provider that vouches for it.

use std::rc::Rc;
use std::time::Duration;

use crate::claims::Claims;
use crate::internal_token::CredentialKey;
use crate::introspection::ActiveToken;
use crate::jwt::VerifiedToken;
use crate::policy::{Client, Policy, ProviderKind, VerifiedCertificate};
use crate::time::UnixNanos;

/// A caller for whom a provider vouches.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The provider's index in the policy.
    pub provider: u16,
    /// What the provider vouches for.
    pub identity: Identity,
    /// Stands for the credential where internal tokens are kept for reuse.
    pub credential: CredentialKey,
}

/// How a caller was identified. Each kind can be made in one place only: where it is verified.
#[derive(Debug, Clone)]
pub enum Identity {
    /// By a verified token.
    Token(Rc<VerifiedToken>),
    /// By a token that its issuer calls active.
    Opaque(Rc<ActiveToken>),
    /// By an API key, or a user name and password.
    Client(Rc<Client>),
    /// By a client certificate.
    Certificate(Rc<VerifiedCertificate>),
}

impl Principal {
    /// What is said of the caller.
    pub fn claims(&self) -> &Claims {
        match &self.identity {
            Identity::Token(token) => token.claims(),
            Identity::Opaque(token) => token.claims(),
            Identity::Client(client) => client.claims(),
            Identity::Certificate(certificate) => certificate.claims(),
        }
    }

    /// When the credential was issued, where that is known.
    pub fn issued_at(&self) -> Option<UnixNanos> {
        match &self.identity {
            Identity::Token(token) => token.issued_at(),
            Identity::Opaque(_) | Identity::Client(_) | Identity::Certificate(_) => {
                let seconds = self.claims().get("iat").and_then(serde_json::Value::as_u64);
                seconds.map(UnixNanos::from_secs)
            }
        }
    }

    /// When the credential ends, leeway included; `None`: the configuration alone ends it.
    pub fn expires_at(&self, policy: &Policy) -> Option<UnixNanos> {
        match &self.identity {
            Identity::Token(token) => {
                let leeway = match policy.providers.get(usize::from(self.provider)).map(|provider| &provider.kind) {
                    Some(ProviderKind::Jwt(jwt)) => jwt.verifier.leeway,
                    _ => Duration::ZERO,
                };
                token.expires_at().map(|end| end.plus(leeway))
            }
            Identity::Opaque(token) => token.expires_at(),
            Identity::Client(client) => client.not_after(),
            Identity::Certificate(_) => None,
        }
    }

    /// Whom the claims speak of.
    pub fn subject(&self) -> Option<&str> {
        self.claims().subject()
    }
}
