//! Who calls: an identity, and the provider that vouches for it.

use std::rc::Rc;

use crate::claims::Claims;
use crate::jwt::VerifiedToken;
use crate::policy::{Client, VerifiedCertificate};

/// A caller for whom a provider vouches.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The provider's index in the policy.
    pub provider: u16,
    /// What the provider vouches for.
    pub identity: Identity,
}

/// How a caller was identified. Each kind can be made in one place only: where it is verified.
#[derive(Debug, Clone)]
pub enum Identity {
    /// By a verified token.
    Token(Rc<VerifiedToken>),
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
            Identity::Client(client) => client.claims(),
            Identity::Certificate(certificate) => certificate.claims(),
        }
    }

    /// Whom the claims speak of.
    pub fn subject(&self) -> Option<&str> {
        self.claims().subject()
    }
}
