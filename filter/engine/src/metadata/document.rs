//! The metadata document of a protected resource (RFC 9728, section 2).

use std::fmt;

use serde::{Serialize, Serializer};

use super::resource::{ResourceId, ResourceIdError, path_start};
use crate::jwt::{Algorithm, KeyType};

/// What the document says; what is empty or `None` does not stand in it. It is not signed: clients fetch it over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceMetadata {
    /// The resource's identifier.
    #[serde(serialize_with = "url")]
    pub resource: ResourceId,
    /// The issuers whose tokens are taken (RFC 8414), as URLs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_servers: Vec<String>,
    /// Where the resource's own public keys are, such as those it signs answers with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The scopes that are worth asking for; it need not be all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// Where a bearer token may stand. `Some` of nothing says that no bearer token is taken at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_methods_supported: Option<Vec<BearerMethod>>,
    /// The resource's name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// A page for developers, as URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_documentation: Option<String>,
    /// Whether tokens must be bound to the client's certificate (RFC 8705). False is what its absence says.
    #[serde(skip_serializing_if = "is_false")]
    pub tls_client_certificate_bound_access_tokens: bool,
    /// The algorithms of DPoP proofs (RFC 9449).
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "names")]
    pub dpop_signing_alg_values_supported: Vec<Algorithm>,
    /// Whether tokens must be bound to a key by DPoP. False is what its absence says.
    #[serde(skip_serializing_if = "is_false")]
    pub dpop_bound_access_tokens_required: bool,
}

/// Where a bearer token may stand in a request (RFC 6750, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BearerMethod {
    /// In `authorization`.
    Header,
    /// In a form.
    Body,
    /// In the query.
    Query,
}

/// What is wrong with a [`ResourceMetadata`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataError {
    /// An issuer is no URL that it could have.
    AuthorizationServer {
        /// Index in the list.
        index: usize,
        /// What is wrong with it.
        cause: ResourceIdError,
    },
    /// `jwks_uri` is no https URL.
    JwksUri(ResourceIdError),
    /// `resource_documentation` is no `https://` or `http://` URL of visible ASCII.
    Documentation,
    /// A scope is empty or has a byte that no scope has (RFC 6749, section 3.3).
    Scope {
        /// Index in the list.
        index: usize,
    },
    /// DPoP proofs are signed with key pairs; this algorithm has a shared secret (RFC 9449, section 4.2).
    DpopAlgorithm {
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// DPoP is required, but none of its algorithms is listed.
    DpopAlgorithmsMissing,
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthorizationServer { index, .. } => write!(f, "authorization server {index} is no issuer's URL"),
            Self::JwksUri(_) => f.write_str("jwks_uri is not a usable URL"),
            Self::Documentation => f.write_str("resource_documentation is not a usable URL"),
            Self::Scope { index } => write!(f, "scope {index} is empty or has a byte that no scope has"),
            Self::DpopAlgorithm { algorithm } => write!(f, "{algorithm} cannot sign a DPoP proof"),
            Self::DpopAlgorithmsMissing => f.write_str("DPoP is required, but no algorithm for it is listed"),
        }
    }
}

impl std::error::Error for MetadataError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::AuthorizationServer { cause, .. } | Self::JwksUri(cause) => Some(cause),
            _ => None,
        }
    }
}

impl ResourceMetadata {
    /// The document's media type (section 3.2).
    pub const CONTENT_TYPE: &'static str = "application/json";

    /// A document that says nothing but the resource's name.
    pub fn new(resource: ResourceId) -> Self {
        Self {
            resource,
            authorization_servers: Vec::new(),
            jwks_uri: None,
            scopes_supported: Vec::new(),
            bearer_methods_supported: None,
            resource_name: None,
            resource_documentation: None,
            tls_client_certificate_bound_access_tokens: false,
            dpop_signing_alg_values_supported: Vec::new(),
            dpop_bound_access_tokens_required: false,
        }
    }

    /// Everything that is wrong with it.
    pub fn problems(&self) -> Vec<MetadataError> {
        let mut problems = Vec::new();
        for (index, issuer) in self.authorization_servers.iter().enumerate() {
            if let Err(cause) = path_start(issuer) {
                problems.push(MetadataError::AuthorizationServer { index, cause });
            }
        }
        if let Some(Err(cause)) = self.jwks_uri.as_deref().map(path_start) {
            problems.push(MetadataError::JwksUri(cause));
        }
        if self.resource_documentation.as_deref().is_some_and(|page| !is_web_page(page)) {
            problems.push(MetadataError::Documentation);
        }
        for (index, scope) in self.scopes_supported.iter().enumerate() {
            let in_scope = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
            if scope.is_empty() || !scope.bytes().all(in_scope) {
                problems.push(MetadataError::Scope { index });
            }
        }
        for algorithm in self.dpop_signing_alg_values_supported.iter().copied() {
            if algorithm.key_type() == KeyType::Secret {
                problems.push(MetadataError::DpopAlgorithm { algorithm });
            }
        }
        if self.dpop_bound_access_tokens_required && self.dpop_signing_alg_values_supported.is_empty() {
            problems.push(MetadataError::DpopAlgorithmsMissing);
        }
        problems
    }

    /// The document, for [`ResourceId::well_known_path`].
    pub fn json(&self) -> String {
        // Texts, lists of texts and booleans only: nothing that JSON could not say.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Only people follow it, so that a query and a fragment do no harm.
fn is_web_page(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|b| b.is_ascii_graphic()))
}

fn url<S: Serializer>(resource: &ResourceId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(resource.as_str())
}

fn names<S: Serializer>(algorithms: &[Algorithm], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(algorithms.iter().map(|algorithm| algorithm.name()))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn metadata(url: &str) -> ResourceMetadata {
        ResourceMetadata::new(ResourceId::parse(url).unwrap())
    }

    fn read(metadata: &ResourceMetadata) -> Value {
        serde_json::from_str(&metadata.json()).unwrap()
    }

    #[test]
    fn the_document_of_rfc_9728_3_2_comes_out() {
        let metadata = ResourceMetadata {
            authorization_servers: vec!["https://as1.example.com".into(), "https://as2.example.net".into()],
            bearer_methods_supported: Some(vec![BearerMethod::Header, BearerMethod::Body]),
            scopes_supported: vec!["profile".into(), "email".into(), "phone".into()],
            resource_documentation: Some("https://resource.example.com/resource_documentation.html".into()),
            ..metadata("https://resource.example.com")
        };
        let expected = json!({
            "resource": "https://resource.example.com",
            "authorization_servers": ["https://as1.example.com", "https://as2.example.net"],
            "bearer_methods_supported": ["header", "body"],
            "scopes_supported": ["profile", "email", "phone"],
            "resource_documentation": "https://resource.example.com/resource_documentation.html",
        });
        assert_eq!(read(&metadata), expected);
        assert_eq!(metadata.problems(), []);
    }

    #[test]
    fn what_is_empty_is_left_out() {
        assert_eq!(metadata("https://api.example/x").json(), r#"{"resource":"https://api.example/x"}"#);
    }

    #[test]
    fn no_bearer_method_at_all_is_said() {
        let metadata = ResourceMetadata { bearer_methods_supported: Some(vec![]), ..metadata("https://api.example") };
        assert_eq!(read(&metadata)["bearer_methods_supported"], json!([]));
    }

    #[test]
    fn bound_tokens_are_said() {
        let metadata = ResourceMetadata {
            jwks_uri: Some("https://api.example/.well-known/jwks.json".into()),
            resource_name: Some("Orders \"EU\"".into()),
            tls_client_certificate_bound_access_tokens: true,
            dpop_signing_alg_values_supported: vec![Algorithm::Es256, Algorithm::EdDsa],
            dpop_bound_access_tokens_required: true,
            ..metadata("https://api.example")
        };
        let expected = json!({
            "resource": "https://api.example",
            "jwks_uri": "https://api.example/.well-known/jwks.json",
            "resource_name": "Orders \"EU\"",
            "tls_client_certificate_bound_access_tokens": true,
            "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
            "dpop_bound_access_tokens_required": true,
        });
        assert_eq!(read(&metadata), expected);
        assert_eq!(metadata.problems(), []);
    }

    #[test]
    fn all_problems_come_at_once() {
        let metadata = ResourceMetadata {
            authorization_servers: vec!["https://as.example/realm".into(), "https://as.example?x".into()],
            jwks_uri: Some("http://api.example/k".into()),
            resource_documentation: Some("javascript:alert(1)".into()),
            scopes_supported: vec!["ok".into(), String::new(), "a b".into(), "a\"".into(), "a\\".into()],
            dpop_signing_alg_values_supported: vec![Algorithm::Hs256],
            ..metadata("https://api.example")
        };
        let expected = [
            MetadataError::AuthorizationServer { index: 1, cause: ResourceIdError::Query },
            MetadataError::JwksUri(ResourceIdError::NotHttps),
            MetadataError::Documentation,
            MetadataError::Scope { index: 1 },
            MetadataError::Scope { index: 2 },
            MetadataError::Scope { index: 3 },
            MetadataError::Scope { index: 4 },
            MetadataError::DpopAlgorithm { algorithm: Algorithm::Hs256 },
        ];
        assert_eq!(metadata.problems(), expected);
    }

    #[test]
    fn dpop_that_is_required_needs_an_algorithm() {
        let metadata = ResourceMetadata { dpop_bound_access_tokens_required: true, ..metadata("https://api.example") };
        assert_eq!(metadata.problems(), [MetadataError::DpopAlgorithmsMissing]);
    }

    #[test]
    fn a_documentation_page_is_a_web_page() {
        for page in ["", "https://", "https:///x", "docs", "http://a b", "https://é", "https://a\r\n", "file:///etc"] {
            let metadata =
                ResourceMetadata { resource_documentation: Some(page.into()), ..metadata("https://api.example") };
            assert_eq!(metadata.problems(), [MetadataError::Documentation], "{page:?}");
        }
        let page = Some("https://docs.example/orders?lang=en#auth".to_owned());
        assert_eq!(ResourceMetadata { resource_documentation: page, ..metadata("https://a.example") }.problems(), []);
    }
}
