//! What the gateway keeps or serves itself: revoked tokens, internal tokens, resource metadata.

use std::collections::BTreeMap;

use super::providers::SecretSection;
use crate::config::units::{Size, Span};
use crate::{section, words};

section! {
    /// Revoked tokens: a list that is fetched, and revocations that operators push.
    pub struct RevocationSection {
        /// The Envoy cluster that serves the list.
        cluster: Option<String>,
        /// The list's path on that cluster.
        path: Option<String>,
        /// The `:authority` of the fetch; the cluster's name unless said otherwise.
        authority: Option<String>,
        /// How often the list is fetched, by one worker for all; at least `5s`.
        every: Span = "10s",
        /// How long one fetch may take.
        timeout: Span = "5s",
        /// What happens once the list is older than `max_age`: `keep` goes on with it, `deny` answers 503.
        on_error: RevocationOnError = "keep",
        /// The age from which the list counts as too old.
        max_age: Span = "1h",
        /// The longest list.
        max_size: Size = "4MiB",
        /// The most entries of a list.
        max_entries: u64 = 200000,
        /// Revocations by an operator's call to a rule with `serve: revocations`.
        push: Option<PushSection>,
    }
}

words! {
    /// What happens when the list of revoked tokens is too old.
    pub enum RevocationOnError {
        /// The old list goes on serving.
        Keep = "keep",
        /// Requests with tokens are answered with 503.
        Deny = "deny",
    }
}

section! {
    /// Revocations that operators push. They are shared by all workers and end with the Envoy process.
    pub struct PushSection {
        /// `immediate`: the next request on any worker sees it, for one read of shared data per request. `tick`: within 50 ms, for none.
        consistency: ConsistencySection = "immediate",
        /// How long a pushed entry lasts where it does not say so itself: no shorter than the longest token.
        lifetime: Span = "24h",
        /// The most entries at the same time.
        max_entries: u64 = 1000,
    }
}

words! {
    /// When a pushed revocation takes effect on the other workers.
    pub enum ConsistencySection {
        /// With the next request.
        Immediate = "immediate",
        /// With the next tick.
        Tick = "tick",
    }
}

section! {
    /// The gateway's own short-lived tokens, so that services verify one simple thing.
    pub struct InternalTokensSection {
        /// Their `iss`: the gateway's own name.
        issuer: String,
        /// The signing key: a private JWK (EC P-256, Ed25519, or a secret of 32 bytes or more).
        key: SecretSection,
        /// Other public keys that services should know: the next one, or the last one.
        other_keys: Vec<SecretSection>,
        /// How long a token lasts; never longer than the gateway takes the credential.
        lifetime: Span = "60s",
        /// Their `typ`: `at+jwt` (RFC 9068) or `JWT`.
        token_type: String = "at+jwt",
        /// Further claims: name in the internal token to claim path.
        claims: BTreeMap<String, String>,
        /// The header that carries them; in `authorization` after `Bearer`.
        header: String = "authorization",
        /// Where the gateway serves their key set to everybody.
        jwks_path: String = "/.well-known/portcullis/jwks.json",
    }
}

section! {
    /// A protected resource's metadata (RFC 9728).
    pub struct ResourceSection {
        /// The resource's identifier: its https URL.
        resource: String,
        /// The issuers whose tokens it takes.
        authorization_servers: Vec<String>,
        /// Scopes that clients may ask for.
        scopes_supported: Vec<String>,
        /// A name for people.
        name: Option<String>,
        /// Where people read more.
        documentation: Option<String>,
    }
}
