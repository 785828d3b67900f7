//! Who vouches for callers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::OnError;
use crate::config::section::OneOrMany;
use crate::config::units::{Size, Span};
use crate::{section, words};

words! {
    /// Whether the service gets the client's credential.
    pub enum ForwardToken {
        /// The credential goes on as it came.
        Keep = "keep",
        /// The credential is removed before the request goes on.
        Strip = "strip",
    }
}

words! {
    /// A set of claim rules that a standard names.
    pub enum Profile {
        /// RFC 9068: `typ` is `at+jwt`; `iss`, `exp`, `aud`, `sub`, `client_id`, `iat` and `jti` are required.
        Rfc9068 = "rfc9068",
    }
}

section! {
    /// A provider of identities. Its kind is the one of `jwks`, `discovery`, `introspection`, `api_keys`, `basic` and `certificate` that is there.
    pub struct ProviderSection {
        /// JSON Web Tokens (RFC 7519): where the keys come from.
        jwks: Option<JwksSection>,
        /// JSON Web Tokens: the keys' place is read from the issuer's metadata (OpenID Connect Discovery 1.0).
        discovery: Option<DiscoverySection>,
        /// Opaque tokens (RFC 7662): the provider is asked about each.
        introspection: Option<IntrospectionSection>,
        /// API keys.
        api_keys: Option<ApiKeysSection>,
        /// User names and passwords of machines (RFC 7617).
        basic: Option<BasicSection>,
        /// The client certificate that Envoy has verified.
        certificate: Option<CertificateSection>,
        /// Tokens: the exact `iss` (RFC 7519, 4.1.1).
        issuer: Option<String>,
        /// Tokens: accepted audiences, of which `aud` must hold one (RFC 7519, 4.1.3). Required for JSON Web Tokens.
        audiences: Option<OneOrMany<String>>,
        /// JSON Web Tokens: accepted algorithms (RFC 7518, 3.1), required. Never taken from the token (RFC 8725, 3.1).
        algorithms: Option<Vec<String>>,
        /// JSON Web Tokens: accepted `typ` headers, without the prefix `application/` (RFC 8725, 3.11). A token without `typ` counts as `JWT`.
        token_types: Vec<String> = ["JWT", "at+jwt"],
        /// Tokens: rules about claims.
        claims: ClaimsSection = {},
        /// Tokens: the claim that holds the scopes, as a list or as words with spaces between; `scope`, else `scp`, unless said otherwise. A path as in `forward.headers`.
        scope_claim: Option<String>,
        /// Tokens: what rules write before each scope of this provider, as Spring's `SCOPE_`: a token's `read` is then the rules' `SCOPE_read`.
        scope_prefix: Option<String>,
        /// The claims that hold the roles, taken together: names, or paths such as `realm_access.roles`.
        roles_from: OneOrMany<String> = "roles",
        /// JSON Web Tokens: a set of claim rules that a standard names.
        profile: Option<Profile>,
        /// Tokens: where a request may carry one; `authorization: Bearer` unless said otherwise.
        token_from: Option<Vec<TokenSourceSection>>,
        /// Tokens: the longest accepted one.
        max_token_size: Size = "8KiB",
        /// Tokens: what ties a token to its rightful sender.
        binding: Option<BindingSection>,
        /// What the service receives.
        forward: ForwardSection = {},
    }
}

/// Algorithms that DPoP proofs are signed with, unless a provider says otherwise.
pub const DPOP_ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "RS256", "PS256"];

section! {
    /// What ties a token to the one that it was issued to (RFC 8705, RFC 9449). Without this section, a token that is bound (`cnf`) is checked, and any other passes.
    pub struct BindingSection {
        /// Binding to a client certificate (`cnf.x5t#S256`).
        mtls: Demand = "when_present",
        /// Binding to a DPoP key (`cnf.jkt`). A bound token never passes as a bearer token.
        dpop: Demand = "when_present",
        /// Algorithms that a DPoP proof may be signed with.
        dpop_algorithms: Vec<String> = DPOP_ALGORITHMS,
        /// How long after its `iat` a proof is taken.
        dpop_max_age: Span = "60s",
        /// How far the clocks of client and gateway may be apart.
        dpop_leeway: Span = "5s",
        /// Whether a proof must name a nonce of the gateway (RFC 9449, 9).
        dpop_nonce: bool = false,
    }
}

words! {
    /// Whether a kind of binding is demanded.
    pub enum Demand {
        /// The gateway does not look at it.
        Never = "never",
        /// A token that is bound is checked.
        WhenPresent = "when_present",
        /// Every token must be bound.
        Required = "required",
    }
}

section! {
    /// OpenID Connect Discovery: `/.well-known/openid-configuration` of the issuer names the key set.
    pub struct DiscoverySection {
        /// The Envoy cluster that serves the metadata and the key set.
        cluster: String,
        /// The `:authority` of the request for the metadata; the issuer's host unless said otherwise.
        authority: Option<String>,
        /// How long a fetched key set is used before it is fetched anew; a shorter `Cache-Control: max-age` wins.
        refresh: Span = "5m",
        /// How long the last good key set serves while the provider cannot be reached.
        keep_stale: Span = "1h",
        /// The least time between two fetches that unknown key ids cause.
        unknown_kid_cooldown: Span = "30s",
        /// How long one fetch may take.
        timeout: Span = "5s",
    }
}

section! {
    /// Token introspection (RFC 7662).
    pub struct IntrospectionSection {
        /// The Envoy cluster that answers.
        cluster: String,
        /// The endpoint's path on that cluster.
        path: String,
        /// The `:authority` of the request; the cluster's name unless said otherwise.
        authority: Option<String>,
        /// The gateway's own client id at the provider.
        client_id: Option<String>,
        /// The gateway's own secret at the provider.
        client_secret: Option<SecretSection>,
        /// How the gateway identifies itself (RFC 6749, 2.3.1).
        client_authentication: ClientAuthenticationSection = "basic",
        /// How long an active token is taken as active; its `exp` ends it sooner.
        cache: Span = "60s",
        /// How long a token that is not active is refused without asking again.
        negative_cache: Span = "10s",
        /// How long one request may take.
        timeout: Span = "2s",
        /// What happens while the provider cannot be asked: `deny` answers 503.
        on_error: OnError = "deny",
    }
}

words! {
    /// How the gateway identifies itself at an introspection endpoint.
    pub enum ClientAuthenticationSection {
        /// `authorization: Basic` with id and secret.
        Basic = "basic",
        /// Id and secret in the form that is posted.
        Post = "post",
        /// `authorization: Bearer` with the secret as a token.
        Bearer = "bearer",
        /// Not at all.
        None = "none",
    }
}

section! {
    /// A secret: from the VM's environment, or inline for tests.
    pub struct SecretSection {
        /// Name of a variable in `vm_config.environment_variables`.
        env: Option<String>,
        /// The secret itself. Whoever can read the configuration can read it.
        inline: Option<String>,
    }
}

section! {
    /// API keys, held as hashes: the configuration does not tell them.
    pub struct ApiKeysSection {
        /// The header that carries the key; `x-api-key` unless one of `header`, `cookie` and `query` is set.
        header: Option<String>,
        /// The cookie that carries the key.
        cookie: Option<String>,
        /// The query parameter that carries the key. URLs end up in logs.
        query: Option<String>,
        /// The clients by name.
        clients: BTreeMap<String, ClientSection>,
    }
}

section! {
    /// User names and passwords of machines that know nothing better (RFC 7617). The clients' names are the user names.
    pub struct BasicSection {
        /// The clients by user name.
        clients: BTreeMap<String, ClientSection>,
    }
}

section! {
    /// A client that a key or a password identifies.
    pub struct ClientSection {
        /// SHA-256 of the key or password, in hexadecimal: `printf %s KEY | sha256sum`. Several while one replaces another. Only for random secrets: a guessable one can be guessed from its hash.
        sha256: OneOrMany<String>,
        /// The client's scopes.
        scopes: Vec<String>,
        /// Further claims about the client.
        attributes: BTreeMap<String, Value>,
        /// The tier of its limits: the claim `tier`.
        tier: Option<String>,
        /// The instant after which the client is refused (RFC 3339): `2027-01-31` or `2027-01-31T12:00:00Z`.
        not_after: Option<String>,
    }
}

section! {
    /// The client certificate as an identity. Envoy must verify it against `trusted_ca`; one that it did not verify counts as none.
    pub struct CertificateSection {
        /// Which name of the certificate is the subject.
        identity: CertificateName = "uri_san",
        /// Accepted names: exact, or ending in `*`.
        allow: Vec<String>,
        /// Scopes of every accepted certificate.
        scopes: Vec<String>,
        /// Further claims of every accepted certificate, such as `roles`.
        attributes: BTreeMap<String, Value>,
    }
}

words! {
    /// A name in a certificate.
    pub enum CertificateName {
        /// The first URI in the subject alternative names, such as a SPIFFE id.
        UriSan = "uri_san",
        /// The first DNS name in the subject alternative names.
        DnsSan = "dns_san",
        /// The subject, as Envoy writes it (RFC 2253).
        Subject = "subject",
    }
}

section! {
    /// Where a provider's key set (JWKS, RFC 7517) comes from: a `cluster`, or `inline`, or an environment variable.
    pub struct JwksSection {
        /// The Envoy cluster that serves the key set.
        cluster: Option<String>,
        /// The key set's path on that cluster.
        path: Option<String>,
        /// The `:authority` of the fetch; the cluster's name unless said otherwise.
        authority: Option<String>,
        /// The key set itself: an object with `keys`.
        inline: Option<Value>,
        /// Name of the VM's environment variable that holds the key set, or the secret of an HS256 provider.
        env: Option<String>,
        /// How long a fetched key set is used before it is fetched anew; a shorter `Cache-Control: max-age` wins.
        refresh: Span = "5m",
        /// How long the last good key set serves while the provider cannot be reached.
        keep_stale: Span = "1h",
        /// The least time between two fetches that unknown key ids cause.
        unknown_kid_cooldown: Span = "30s",
        /// How long one fetch may take.
        timeout: Span = "5s",
    }
}

section! {
    /// Rules about a token's claims.
    pub struct ClaimsSection {
        /// Claims that must be present. `exp` is required without being named here.
        require: Vec<String>,
        /// Whether a token without `exp` is refused.
        require_exp: bool = true,
        /// The greatest age by `iat`, which is then required.
        max_age: Option<Span>,
        /// Allowed drift between the issuer's clock and the gateway's, for `exp`, `nbf` and `iat`.
        leeway: Span = "30s",
    }
}

section! {
    /// A place where a request may carry a token: one of `header`, `cookie` and `query`.
    pub struct TokenSourceSection {
        /// Name of a header.
        header: Option<String>,
        /// The word before the token in that header (RFC 9110, 11.4), as in `Bearer`.
        scheme: Option<String>,
        /// Name of a cookie.
        cookie: Option<String>,
        /// Name of a query parameter. URLs end up in logs: RFC 6750, 2.3 advises against it.
        query: Option<String>,
    }
}

section! {
    /// What the service receives of a verified identity.
    pub struct ForwardSection {
        /// Whether the client's credential goes on to the service.
        token: ForwardToken = "keep",
        /// Headers set from claims: header name to claim path. What a client sends under these names is always removed.
        headers: BTreeMap<String, String>,
    }
}
