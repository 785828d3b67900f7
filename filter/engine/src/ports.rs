//! The ports: what the engine asks of its host, as small traits.
//!
//! `filter/wasm` implements them on proxy-wasm, tests and the command line tool on plain memory.

use std::net::IpAddr;
use std::num::NonZeroU32;

/// A value's version in the [`SharedStore`], for compare-and-set. A new one at every write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(pub NonZeroU32);

/// What a write to the [`SharedStore`] requires of the value that stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing is stored under the key.
    Absent,
    /// The value is still the one that was read with this version.
    Unchanged(Version),
}

/// How a compare-and-set ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The new value stands.
    Written,
    /// Another worker was faster: read again and decide anew. Nothing was written.
    Conflict,
}

/// The host could not read or write shared data at all (a host without it, or out of memory).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreUnavailable;

impl std::fmt::Display for StoreUnavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the host's shared data cannot be used")
    }
}

impl std::error::Error for StoreUnavailable {}

/// Data that all workers of the proxy share.
///
/// The host never deletes a key: keys are few, fixed by the configuration, and never chosen by a client.
pub trait SharedStore {
    /// The value under `key` and its version, or `None` where nothing was ever stored.
    ///
    /// # Errors
    /// [`StoreUnavailable`] where the host has no shared data.
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Version)>, StoreUnavailable>;

    /// Stores `value` if `expected` still holds; atomic over all workers.
    ///
    /// # Errors
    /// [`StoreUnavailable`] where the host has no shared data.
    fn compare_and_set(&self, key: &str, value: &[u8], expected: Expected) -> Result<WriteOutcome, StoreUnavailable>;
}

/// The hash of a signature scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// The signature schemes that a proxy's own cryptography may offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostScheme {
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2).
    RsaPkcs1(Hash),
    /// ECDSA with the signature as ASN.1 DER (RFC 3279, section 2.2.3).
    EcdsaDer(Hash),
}

/// Signature verification by the host's native cryptography, many times faster than the same code in wasm.
pub trait HostSignatures {
    /// Whether `signature` over `message` verifies under the key `spki_der` (X.509 SubjectPublicKeyInfo, DER).
    ///
    /// `None`: the host cannot answer for this scheme, and the software path decides. The caller has already bound
    /// the scheme to the key's type: a host may pick the algorithm by the key alone.
    fn verify(&self, scheme: HostScheme, spki_der: &[u8], signature: &[u8], message: &[u8]) -> Option<bool>;
}

/// A host without native cryptography: everything is verified in software.
#[derive(Debug, Clone, Copy, Default)]
pub struct SoftwareOnly;

impl HostSignatures for SoftwareOnly {
    fn verify(&self, _: HostScheme, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

/// A field of a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateField {
    /// The first URI among the subject alternative names.
    UriSan,
    /// The first DNS name among the subject alternative names.
    DnsSan,
    /// The subject (RFC 2253).
    Subject,
    /// The SHA-256 of the certificate in DER, in hexadecimal.
    Sha256,
}

/// What the proxy knows about a request beside its head. Every question costs a call to the host: ask once, and late.
pub trait Attributes {
    /// The address of the client, as the proxy sees it after its own `x-forwarded-for` rules.
    fn source_address(&self) -> Option<IpAddr>;

    /// Whether the client showed a certificate, and the proxy verified it against an authority.
    fn client_certificate_is_verified(&self) -> bool {
        false
    }

    /// A field of the client's certificate. Worth nothing unless the certificate is verified.
    fn client_certificate(&self, _field: CertificateField) -> Option<Vec<u8>> {
        None
    }

    /// The policy that the matched route's metadata names (`filter_metadata.portcullis.policy`).
    fn route_policy(&self) -> Option<Vec<u8>>;

    /// The matched route's name.
    fn route_name(&self) -> Option<Vec<u8>> {
        None
    }

    /// The policy that the matched virtual host's metadata names (`filter_metadata.portcullis.policy`).
    fn virtual_host_policy(&self) -> Option<Vec<u8>> {
        None
    }

    /// Whether the response that is on its way is the service's, and not one that the proxy made itself.
    fn is_from_service(&self) -> bool {
        true
    }
}

/// The ports that the walk of a request needs.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// Data that all workers share.
    pub store: &'a dyn SharedStore,
    /// The host's native signature verification.
    pub signatures: &'a dyn HostSignatures,
    /// What the proxy knows about the request.
    pub attributes: &'a dyn Attributes,
}

pub mod memory {
    //! The ports on plain memory, for tests and the command line tool.

    use std::collections::HashMap;
    use std::num::NonZeroU32;
    use std::sync::{Mutex, PoisonError};

    use super::{Expected, SharedStore, StoreUnavailable, Version, WriteOutcome};

    /// A [`SharedStore`] in this process's memory, with the semantics of Envoy's shared data.
    #[derive(Debug, Default)]
    pub struct MemoryStore {
        inner: Mutex<Inner>,
    }

    #[derive(Debug, Default)]
    struct Inner {
        values: HashMap<String, (Vec<u8>, Version)>,
        last_version: u32,
    }

    /// A host without shared data.
    #[derive(Debug, Clone, Copy, Default)]
    pub struct NoStore;

    impl SharedStore for NoStore {
        fn get(&self, _: &str) -> Result<Option<(Vec<u8>, Version)>, StoreUnavailable> {
            Err(StoreUnavailable)
        }

        fn compare_and_set(&self, _: &str, _: &[u8], _: Expected) -> Result<WriteOutcome, StoreUnavailable> {
            Err(StoreUnavailable)
        }
    }

    impl MemoryStore {
        /// How many keys stand in the store: bounded by the configuration, whatever clients send.
        pub fn key_count(&self) -> usize {
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).values.len()
        }
    }

    impl SharedStore for MemoryStore {
        fn get(&self, key: &str) -> Result<Option<(Vec<u8>, Version)>, StoreUnavailable> {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(inner.values.get(key).cloned())
        }

        fn compare_and_set(
            &self,
            key: &str,
            value: &[u8],
            expected: Expected,
        ) -> Result<WriteOutcome, StoreUnavailable> {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let standing = inner.values.get(key).map(|(_, version)| *version);
            let holds = match expected {
                Expected::Absent => standing.is_none(),
                Expected::Unchanged(version) => standing == Some(version),
            };
            if !holds {
                return Ok(WriteOutcome::Conflict);
            }
            inner.last_version = inner.last_version.wrapping_add(1).max(1);
            let version = Version(NonZeroU32::new(inner.last_version).unwrap_or(NonZeroU32::MIN));
            inner.values.insert(key.to_owned(), (value.to_vec(), version));
            Ok(WriteOutcome::Written)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_first_writer_wins_and_a_stale_version_conflicts() {
            let store = MemoryStore::default();
            assert_eq!(store.compare_and_set("k", b"1", Expected::Absent), Ok(WriteOutcome::Written));
            assert_eq!(store.compare_and_set("k", b"2", Expected::Absent), Ok(WriteOutcome::Conflict));
            let (value, version) = store.get("k").unwrap().unwrap();
            assert_eq!(value, b"1");
            assert_eq!(store.compare_and_set("k", b"3", Expected::Unchanged(version)), Ok(WriteOutcome::Written));
            assert_eq!(store.compare_and_set("k", b"4", Expected::Unchanged(version)), Ok(WriteOutcome::Conflict));
        }
    }
}
