//! What stands in for the proxy where the engine alone plays a case.

use std::collections::BTreeMap;
use std::net::IpAddr;

use portcullis_engine::ports::memory::MemoryStore;
use portcullis_engine::ports::{
    Attributes, CertificateField, Expected, SharedStore, StoreUnavailable, Version, WriteOutcome,
};

/// What the proxy knows of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub lines: Vec<(Vec<u8>, Vec<u8>)>,
    pub address: Option<IpAddr>,
    pub route_policy: Option<String>,
    pub route_name: Option<String>,
    pub virtual_host_policy: Option<String>,
    pub certificate: BTreeMap<String, String>,
    pub certificate_is_verified: bool,
    /// The proxy answers itself, and not the service.
    pub answered_by_proxy: bool,
    /// What the service answers.
    pub response: Vec<(Vec<u8>, Vec<u8>)>,
    /// What the client sends behind the head.
    pub body: Vec<u8>,
}

impl Attributes for Known {
    fn source_address(&self) -> Option<IpAddr> {
        self.address
    }

    fn client_certificate_is_verified(&self) -> bool {
        self.certificate_is_verified
    }

    fn client_certificate(&self, field: CertificateField) -> Option<Vec<u8>> {
        let name = match field {
            CertificateField::UriSan => "uri_san",
            CertificateField::DnsSan => "dns_san",
            CertificateField::Subject => "subject",
            CertificateField::Sha256 => "sha256",
        };
        self.certificate.get(name).map(|name| name.as_bytes().to_vec())
    }

    fn route_policy(&self) -> Option<Vec<u8>> {
        self.route_policy.as_ref().map(|policy| policy.as_bytes().to_vec())
    }

    fn route_name(&self) -> Option<Vec<u8>> {
        self.route_name.as_ref().map(|name| name.as_bytes().to_vec())
    }

    fn virtual_host_policy(&self) -> Option<Vec<u8>> {
        self.virtual_host_policy.as_ref().map(|policy| policy.as_bytes().to_vec())
    }

    fn is_from_service(&self) -> bool {
        !self.answered_by_proxy
    }
}

/// Shared data that works, or does not.
pub(super) enum Store {
    Works(MemoryStore),
    Fails,
}

impl SharedStore for Store {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Version)>, StoreUnavailable> {
        match self {
            Self::Works(store) => store.get(key),
            Self::Fails => Err(StoreUnavailable),
        }
    }

    fn compare_and_set(&self, key: &str, value: &[u8], expected: Expected) -> Result<WriteOutcome, StoreUnavailable> {
        match self {
            Self::Works(store) => store.compare_and_set(key, value, expected),
            Self::Fails => Err(StoreUnavailable),
        }
    }
}
