//! Where a provider's key set comes from and how long it holds: the checked form of one `jwks` or `discovery` section.

use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::discovery;
use super::worker::DocumentKind;

/// The shortest time between two refreshes, whatever the configuration or the provider's `max-age` says.
pub const MIN_REFRESH: Duration = Duration::from_secs(5);
/// The shortest cooldown after a refetch for an unknown `kid`: strangers choose the `kid`, so it is never zero.
pub const MIN_COOLDOWN: Duration = Duration::from_secs(1);
/// The bounds of a fetch's time limit.
pub const TIMEOUT_BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Added to the time limit of a request to make a lease: a leader that still lives has its answer by then.
const LEASE_SLACK: Duration = Duration::from_secs(2);
/// Between due and fetched a set is not yet stale: the leases of two requests, and the tick that notices.
const TICK_SLACK: Duration = Duration::from_secs(2);

/// One provider's key set: where it is, and how its keys live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySetSource {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The proxy's cluster that all requests for this key set go to, whatever a document says.
    pub cluster: String,
    /// What to ask the cluster for.
    pub location: Location,
    /// The longest time between two fetches; at least [`MIN_REFRESH`]. `Cache-Control: max-age` can only shorten it.
    pub refresh: Duration,
    /// How long after the last good fetch the keys are used while the provider cannot be had. Raised to `refresh` and
    /// a little where it is shorter: a healthy provider's keys never lapse between two refreshes.
    pub keep_stale: Duration,
    /// The shortest time between two refetches for an unknown `kid`; at least [`MIN_COOLDOWN`].
    pub unknown_kid_cooldown: Duration,
    /// The time limit of one HTTP request; kept within [`TIMEOUT_BOUNDS`].
    pub timeout: Duration,
}

/// How the key set is found at its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// The JWK set itself (RFC 7517, section 5).
    Jwks {
        /// `:authority` of the request.
        authority: String,
        /// Path and query of the request.
        path: String,
    },
    /// OpenID Connect Discovery 1.0: the provider's metadata name the JWK set.
    Discovery {
        /// `:authority` of the request for the metadata.
        authority: String,
        /// The issuer, which the metadata must repeat exactly (section 4.3), and whose path is part of the request's
        /// path (section 4.1).
        issuer: String,
    },
}

impl KeySetSource {
    /// Whether keys can be fetched from here, so that a configuration can be checked before anything runs.
    ///
    /// # Errors
    /// [`SourceError`] names what is wrong.
    pub fn check(&self) -> Result<(), SourceError> {
        Plan::new(self.clone(), &DocumentKind::KEY_SET).map(drop)
    }
}

/// Why a [`KeySetSource`] cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// Two sources belong to the same provider.
    DuplicateProvider(String),
    /// `authority` is not `host` or `host:port`.
    Authority {
        /// The provider's name.
        provider: String,
    },
    /// `path` does not begin with `/`, or has bytes that a request line cannot carry.
    Path {
        /// The provider's name.
        provider: String,
    },
    /// `issuer` is not an http or https URL without query and fragment (OpenID Connect Discovery 1.0, section 3).
    Issuer {
        /// The provider's name.
        provider: String,
    },
}

impl SourceError {
    /// What is wrong, without saying where.
    pub fn problem(&self) -> &'static str {
        match self {
            Self::DuplicateProvider(_) => "has two key set sources",
            Self::Authority { .. } => "is not host or host:port",
            Self::Path { .. } => "is not a path that begins with `/` and that a request can carry",
            Self::Issuer { .. } => "is not an http or https URL without query and fragment",
        }
    }
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (provider, field) = match self {
            Self::DuplicateProvider(provider) => (provider, ""),
            Self::Authority { provider } => (provider, ": authority"),
            Self::Path { provider } => (provider, ": path"),
            Self::Issuer { provider } => (provider, ": issuer"),
        };
        write!(f, "provider `{provider}`{field} {}", self.problem())
    }
}

impl std::error::Error for SourceError {}

/// A checked source, with everything that does not change while the configuration lives.
#[derive(Debug)]
pub(super) struct Plan {
    pub provider: Rc<str>,
    pub cluster: String,
    /// The first request: for the metadata, or for the key set itself.
    pub authority: String,
    pub path: String,
    /// `Some` where the first request is for the metadata.
    pub issuer: Option<String>,
    pub timing: Timing,
    pub control_key: String,
    pub body_key: String,
}

/// The source's times, within their bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub refresh: Duration,
    /// After a good fetch, how long its keys may be used.
    pub usable_for: Duration,
    /// After a good fetch, how long nothing is amiss.
    pub fresh_for: Duration,
    pub cooldown: Duration,
    pub timeout: Duration,
    /// How long a leader may take for one request; a little over its time limit.
    pub lease: Duration,
}

impl Plan {
    pub fn new(source: KeySetSource, kind: &DocumentKind) -> Result<Self, SourceError> {
        let keys = format!("{}{}", kind.store_prefix, fingerprint(&source));
        let KeySetSource { provider, cluster, location, .. } = &source;
        let (authority, path, issuer) = match location {
            Location::Jwks { authority, path } => (authority, path.clone(), None),
            Location::Discovery { authority, issuer } => {
                let path = discovery::metadata_path(issuer)
                    .ok_or_else(|| SourceError::Issuer { provider: provider.clone() })?;
                (authority, path, Some(issuer.clone()))
            }
        };
        if !discovery::is_authority(authority) {
            return Err(SourceError::Authority { provider: provider.clone() });
        }
        if !discovery::is_path(&path) {
            return Err(SourceError::Path { provider: provider.clone() });
        }
        Ok(Self {
            provider: provider.as_str().into(),
            cluster: cluster.clone(),
            authority: authority.clone(),
            path,
            timing: Timing::new(&source),
            issuer,
            control_key: format!("{keys}/ctl"),
            body_key: format!("{keys}/body"),
        })
    }
}

impl Timing {
    fn new(source: &KeySetSource) -> Self {
        let (shortest, longest) = TIMEOUT_BOUNDS;
        let timeout = source.timeout.clamp(shortest, longest);
        let refresh = source.refresh.max(MIN_REFRESH);
        let lease = timeout.saturating_add(LEASE_SLACK);
        let fresh_for = refresh.saturating_add(lease).saturating_add(lease).saturating_add(TICK_SLACK);
        Self {
            refresh,
            usable_for: source.keep_stale.max(fresh_for),
            fresh_for,
            cooldown: source.unknown_kid_cooldown.max(MIN_COOLDOWN),
            timeout,
            lease,
        }
    }
}

/// Names the source in shared data, which outlives configurations: another source never finds these keys. The times
/// are left out, so that a new `refresh` finds the keys at hand.
fn fingerprint(source: &KeySetSource) -> String {
    let (kind, authority, place) = match &source.location {
        Location::Jwks { authority, path } => ("jwks", authority, path),
        Location::Discovery { authority, issuer } => ("discovery", authority, issuer),
    };
    let mut hash = Sha256::new();
    for part in [source.provider.as_str(), &source.cluster, kind, authority, place] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(source: KeySetSource) -> Result<Plan, SourceError> {
        Plan::new(source, &DocumentKind::KEY_SET)
    }

    fn source(location: Location) -> KeySetSource {
        KeySetSource {
            provider: "corp".into(),
            cluster: "idp".into(),
            location,
            refresh: Duration::from_secs(300),
            keep_stale: Duration::from_secs(3600),
            unknown_kid_cooldown: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        }
    }

    fn jwks(authority: &str, path: &str) -> KeySetSource {
        source(Location::Jwks { authority: authority.into(), path: path.into() })
    }

    #[test]
    fn another_source_has_other_keys_in_shared_data() {
        let one = jwks("idp.example", "/jwks.json");
        let mut others = vec![jwks("idp.example", "/other"), jwks("idp.example/", "jwks.json")];
        others.push(KeySetSource { cluster: "idp2".into(), ..one.clone() });
        others.push(KeySetSource { provider: "corp2".into(), ..one.clone() });
        others.push(source(Location::Discovery { authority: "idp.example".into(), issuer: "/jwks.json".into() }));
        for other in others {
            assert_ne!(fingerprint(&one), fingerprint(&other), "{other:?}");
        }
        assert_eq!(fingerprint(&one), fingerprint(&KeySetSource { refresh: Duration::from_secs(7), ..one.clone() }));
    }

    #[test]
    fn a_source_that_cannot_be_asked_is_refused() {
        assert!(matches!(plan(jwks("", "/k")), Err(SourceError::Authority { .. })));
        assert!(matches!(plan(jwks("a b", "/k")), Err(SourceError::Authority { .. })));
        assert!(matches!(plan(jwks("idp", "k")), Err(SourceError::Path { .. })));
        assert!(matches!(plan(jwks("idp", "/k\r\nx: y")), Err(SourceError::Path { .. })));
        let issuer = |issuer: &str| source(Location::Discovery { authority: "idp".into(), issuer: issuer.into() });
        for bad in ["", "corp", "ftp://idp", "https://", "https://idp/?a", "https://idp/#a", "https://u@idp"] {
            assert!(matches!(plan(issuer(bad)), Err(SourceError::Issuer { .. })), "{bad}");
        }
        assert!(plan(issuer("https://idp.example/realms/x")).is_ok());
    }

    #[test]
    fn times_out_of_bounds_are_brought_within() {
        let hasty = KeySetSource {
            refresh: Duration::ZERO,
            keep_stale: Duration::ZERO,
            unknown_kid_cooldown: Duration::ZERO,
            timeout: Duration::ZERO,
            ..jwks("idp", "/k")
        };
        let timing = Timing::new(&hasty);
        assert_eq!((timing.refresh, timing.cooldown, timing.timeout), (MIN_REFRESH, MIN_COOLDOWN, TIMEOUT_BOUNDS.0));
        assert!(timing.usable_for > timing.refresh + timing.lease);
        let endless = KeySetSource { refresh: Duration::MAX, timeout: Duration::MAX, ..hasty };
        assert_eq!(Timing::new(&endless).usable_for, Duration::MAX);
    }
}
