//! Client certificates as identities. Envoy verifies them; a certificate that it did not verify counts as none.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::answer::{Denial, Reason};
use crate::claims::Claims;
use crate::config::schema::{CertificateName, CertificateSection};
use crate::config::{Problems, document::member_path};
use crate::ports::{Attributes, CertificateField};

/// Which client certificates a provider vouches for.
#[derive(Debug, PartialEq)]
pub struct CertificateRule {
    name: CertificateName,
    allow: Vec<String>,
    scopes: Vec<String>,
    attributes: BTreeMap<String, Value>,
}

/// The identity in a client certificate that Envoy has verified and the configuration allows.
#[derive(Debug, PartialEq)]
pub struct VerifiedCertificate {
    claims: Claims,
}

impl VerifiedCertificate {
    /// What is said of the caller: `sub` is the certificate's name.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl CertificateRule {
    /// The identity of the connection's certificate; `None` where the client showed none that Envoy verified.
    ///
    /// # Errors
    /// A [`Denial`] for a certificate without the name that is asked for, or with one that is not allowed.
    pub fn identify(&self, attributes: &dyn Attributes) -> Result<Option<VerifiedCertificate>, Denial> {
        if !attributes.client_certificate_is_verified() {
            return Ok(None);
        }
        let field = match self.name {
            CertificateName::UriSan => CertificateField::UriSan,
            CertificateName::DnsSan => CertificateField::DnsSan,
            CertificateName::Subject => CertificateField::Subject,
        };
        let refused = |detail: String| Denial::new(Reason::CertificateRefused, detail);
        let bytes = attributes.client_certificate(field).unwrap_or_default();
        let name = String::from_utf8(bytes).map_err(|_| refused("the name is no UTF-8".to_owned()))?;
        if name.is_empty() {
            return Err(refused(format!("the certificate has no {}", self.name.as_str())));
        }
        if !self.allow.iter().any(|pattern| allows(pattern, &name)) {
            return Err(refused(format!("the name {name:?} is not allowed")));
        }
        let mut members: Map<String, Value> = self.attributes.clone().into_iter().collect();
        members.insert("scope".to_owned(), Value::from(self.scopes.clone()));
        members.insert("sub".to_owned(), Value::String(name));
        Ok(Some(VerifiedCertificate { claims: Claims::new(members) }))
    }
}

/// `*` at the end of a pattern stands for anything; elsewhere it is itself.
fn allows(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
        None => name == pattern,
    }
}

/// Compiles a provider of certificates. `None` means that problems were added.
pub fn compile(path: &str, section: &CertificateSection, problems: &mut Problems) -> Option<CertificateRule> {
    if section.allow.is_empty() {
        problems.add_with_hint(
            member_path(&member_path(path, "certificate"), "allow"),
            "names no certificate",
            "such as `spiffe://example.org/*`; `*` alone allows every certificate that Envoy has verified",
        );
        return None;
    }
    Some(CertificateRule {
        name: section.identity,
        allow: section.allow.clone(),
        scopes: section.scopes.clone(),
        attributes: section.attributes.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_allows_what_it_says() {
        assert!(allows("spiffe://demo/orders", "spiffe://demo/orders"));
        assert!(allows("spiffe://demo/*", "spiffe://demo/orders"));
        assert!(allows("*", "x"));
        for (pattern, name) in [
            ("spiffe://demo/orders", "spiffe://demo/orders2"),
            ("spiffe://demo/*", "spiffe://demo/"),
            ("spiffe://demo/*", "spiffe://demo.intruder/x"),
            ("*", ""),
            ("a*c", "abc"),
        ] {
            assert!(!allows(pattern, name), "{pattern} {name}");
        }
    }
}
