//! Whose counter a request charges: the key of a limit, filled in by the request or by an operator who asks.

use std::net::IpAddr;

use crate::claims::Claims;
use crate::forward;
use crate::http::{RequestHead, RequestPath, query};
use crate::limits::{Descriptor, PartKind};
use crate::matching::PathPattern;
use crate::policy::{KeyPart, Limit, Tiers};
use crate::ports::Attributes;
use crate::principal::{Identity, Principal};

/// What a request is counted by.
pub struct Subject<'a> {
    /// The request's head.
    pub head: &'a RequestHead,
    /// The rule's name.
    pub rule: &'a str,
    /// The request's path, and the pattern of the rule, where it has one.
    pub path: (&'a RequestPath<'a>, Option<&'a PathPattern>),
    /// Asks for the client's address: a limit that takes the principal first seldom needs it.
    pub address: &'a dyn Fn() -> Option<IpAddr>,
    /// What else the proxy knows.
    pub attributes: &'a dyn Attributes,
    /// The provider's name and the caller for whom it vouches.
    pub principal: Option<(&'a str, &'a Principal)>,
}

/// Something that has parts of keys.
pub trait Parts {
    /// Adds a part to the descriptor; `false` where it is missing, and nothing was added.
    fn add(&self, descriptor: &mut Descriptor, part: &KeyPart) -> bool;
}

/// The descriptor of the counter of `limit` that `parts` choose.
pub fn describe(limit: &Limit, parts: &impl Parts) -> Descriptor {
    let mut descriptor = Descriptor::new();
    descriptor.start(&limit.name);
    for choice in limit.key.choices() {
        if choice.iter().any(|part| parts.add(&mut descriptor, part)) {
            continue;
        }
        match choice.as_slice() {
            [only] => {
                let (kind, name) = only.kind();
                descriptor.missing(kind, name);
            }
            _ => {
                descriptor.part(PartKind::Everyone, "", b"");
            }
        }
    }
    descriptor
}

impl Subject<'_> {
    /// The place of the caller's tier among `tiers`; `None`: the limit's own rate.
    pub fn tier(&self, tiers: &Tiers) -> Option<usize> {
        let claim = self.claims()?.get(&tiers.claim)?;
        let place = |text: &str| tiers.values.iter().position(|(name, _)| name == text);
        match claim.as_str() {
            Some(text) => place(text),
            None => place(&forward::claim_text(claim)?),
        }
    }

    fn claims(&self) -> Option<&Claims> {
        self.principal.map(|(_, principal)| principal.claims())
    }
}

impl Parts for Subject<'_> {
    fn add(&self, descriptor: &mut Descriptor, part: &KeyPart) -> bool {
        let (kind, name) = part.kind();
        // Two providers may use one name for two callers.
        let mut of_provider = |text: &dyn Fn(&Principal) -> Option<&str>| {
            let found = self.principal.and_then(|(provider, principal)| Some((provider, text(principal)?)));
            found.map(|(provider, text)| descriptor.part(kind, provider, text.as_bytes())).is_some()
        };
        match part {
            KeyPart::Principal => return of_provider(&Principal::subject),
            KeyPart::ClientId => return of_provider(&|principal| client_id(principal.claims())),
            KeyPart::ApiKey => {
                return of_provider(&|principal| match principal.identity {
                    Identity::Client(_) => principal.subject(),
                    Identity::Token(_) | Identity::Opaque(_) | Identity::Certificate(_) => None,
                });
            }
            KeyPart::Ip(prefix) => {
                let Some(address) = (self.address)() else { return false };
                descriptor.ip(address, *prefix);
            }
            KeyPart::Rule => {
                descriptor.part(kind, name, self.rule.as_bytes());
            }
            KeyPart::Route => {
                let Some(route) = self.attributes.route_name() else { return false };
                descriptor.part(kind, name, &route);
            }
            KeyPart::Method => {
                descriptor.part(kind, name, self.head.method().counted_as().as_bytes());
            }
            KeyPart::Host => {
                descriptor.part(kind, name, self.head.host().as_bytes());
            }
            KeyPart::Query(parameter) => {
                // Each value that stands there counts, in order: who sends another one beside it is another client.
                let pairs = query::pairs(self.head.query().unwrap_or_default());
                let values = pairs.filter(|(key, _)| *query::decode(key) == *parameter.as_bytes());
                let mut is_there = false;
                for (_, value) in values {
                    descriptor.part(kind, name, &query::decode(value));
                    is_there = true;
                }
                return is_there;
            }
            KeyPart::Header(header) => {
                let mut values = self.head.headers().get_all(header).peekable();
                if values.peek().is_none() {
                    return false;
                }
                for value in values {
                    descriptor.part(kind, name, value);
                }
            }
            KeyPart::Claim(claim) => {
                let value = self.claims().and_then(|claims| forward::claim_text(claims.get(claim)?));
                let Some(value) = value else { return false };
                descriptor.part(kind, name, value.as_bytes());
            }
            KeyPart::PathVariable(variable) => {
                let (path, pattern) = self.path;
                let mut captures = pattern.into_iter().flat_map(|pattern| pattern.captures(path));
                let Some((_, value)) = captures.find(|(known, _)| known == variable) else { return false };
                descriptor.part(kind, name, value.as_bytes());
            }
        }
        true
    }
}

/// The OAuth client that the claims speak of.
fn client_id(claims: &Claims) -> Option<&str> {
    claims.text("client_id").or_else(|| claims.text("azp"))
}
