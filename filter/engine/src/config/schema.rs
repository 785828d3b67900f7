//! Every section of the configuration as the operator writes it. `policy` compiles them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::document::{Node, Problems, kind};
use super::section::{Definitions, OneOrMany, Read};
use super::units::{Rate, Size, Span};
use crate::{section, words};

words! {
    /// What happens when a check refuses a request.
    pub enum Mode {
        /// The request is refused.
        Enforce = "enforce",
        /// The refusal is counted and logged, and the request goes on.
        Monitor = "monitor",
    }
}

words! {
    /// What happens to a request that no rule matches.
    pub enum Unmatched {
        /// It is answered with 404.
        Deny = "deny",
        /// `defaults.policy` applies to it.
        Policy = "policy",
    }
}

words! {
    /// A rule's short answer to everybody.
    pub enum Allow {
        /// Nobody has to identify; the other checks of the rule still apply.
        Public = "public",
        /// Nobody may pass: 403.
        Nobody = "nobody",
    }
}

words! {
    /// What happens when the host or our own code fails, not the client.
    pub enum OnError {
        /// The request is refused.
        Deny = "deny",
        /// The request goes on, counted.
        Allow = "allow",
    }
}

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
    /// The configuration of the filter.
    pub struct Config {
        /// Version of the configuration's form. This module reads version 1.
        version: u64,
        /// `monitor` counts and logs what would be refused, and refuses nothing.
        mode: Mode = "enforce",
        /// Who vouches for callers, by name.
        providers: BTreeMap<String, ProviderSection>,
        /// Limits that rules can name, shared by all workers.
        limits: BTreeMap<String, LimitSection>,
        /// Named bundles of requirements that rules use.
        policies: BTreeMap<String, PolicySection>,
        /// What holds where a rule says nothing.
        defaults: DefaultsSection = {},
        /// The rules; the first that matches a request applies.
        rules: Vec<RuleSection>,
        /// Tokens that are worth nothing before their time.
        revocation: Option<RevocationSection>,
        /// The gateway's own short-lived tokens for services.
        internal_tokens: Option<InternalTokensSection>,
        /// Protected resources with metadata of their own (RFC 9728), by name. Each is served to everybody at its well-known path.
        resources: BTreeMap<String, ResourceSection>,
        /// How refusals are worded.
        answers: AnswersSection = {},
        /// Request headers that only the gateway may set, beside those named by `forward`: always removed from what a client sends.
        identity_headers: Vec<String>,
        /// The most memory that each worker spends on verified tokens, so that they need no second verification; 0 switches it off.
        token_cache: Size = "8MiB",
        /// The greatest number of requests per worker that wait for a key set at the same time.
        max_waiting: u64 = 256,
        /// How long a request waits for a first key set before it is answered with 503.
        max_wait: Span = "5s",
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

section! {
    /// What ties a token to the one that it was issued to (RFC 8705, RFC 9449). Without this section, a token that is bound (`cnf`) is checked, and any other passes.
    pub struct BindingSection {
        /// Binding to a client certificate (`cnf.x5t#S256`).
        mtls: Demand = "when_present",
        /// Binding to a DPoP key (`cnf.jkt`). A bound token never passes as a bearer token.
        dpop: Demand = "when_present",
        /// Algorithms that a DPoP proof may be signed with. Without this section every algorithm with a public key is taken.
        dpop_algorithms: Vec<String> = ["ES256", "EdDSA", "RS256", "PS256"],
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

section! {
    /// A limit, counted exactly over all workers (GCRA).
    pub struct LimitSection {
        /// What is counted: one key part, a list of parts, or `{first_of: [...]}`.
        key: KeySection,
        /// Requests per window, such as `1000/min`.
        rate: Rate,
        /// How many requests may come at once; the rate's number unless said otherwise.
        burst: Option<u64>,
        /// How many clients can be told apart at the same time. Shared memory is set by this.
        capacity: u64 = 65536,
        /// What happens while more clients than `capacity` are busy.
        on_overflow: OverflowSection = "deny",
        /// What happens if shared data cannot be used.
        on_error: OnError = "deny",
        /// `monitor` counts and logs what this limit would refuse.
        mode: Option<Mode>,
    }
}

words! {
    /// What happens while a limit's table is full of busy clients.
    pub enum OverflowSection {
        /// Further clients are refused with 429.
        Deny = "deny",
        /// Further clients pass, counted.
        Allow = "allow",
        /// Further clients share one bucket of the same rate.
        Shared = "shared",
    }
}

/// What a limit counts.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySection {
    /// All parts together are one key.
    All(Vec<String>),
    /// The first part that the request has is the key.
    FirstOf(Vec<String>),
}

impl Read for KeySection {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        match node.value {
            Value::String(_) | Value::Array(_) => OneOrMany::read(node, problems).map(|parts| Self::All(parts.0)),
            Value::Object(_) => {
                let mut object = node.object(problems)?;
                let parts: Option<Vec<String>> = object.field("first_of", None, problems);
                object.refuse_unknown(problems);
                let parts = parts?;
                if parts.is_empty() {
                    problems.add(node.path.clone(), "`first_of` names no key part");
                    return None;
                }
                Some(Self::FirstOf(parts))
            }
            other => {
                let problem = format!("expected a key part, a list of them or `first_of`, found {}", kind(other));
                problems.add(node.path.clone(), problem);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        definitions.refer("KeySection", |_| {
            let part = json!({"type": "string", "examples": ["principal", "ip", "rule", "method", "header:x-tenant", "claim:plan"]});
            json!({
                "description": "What a limit counts: one part, a list of parts that count together, or the first of several that the request has.",
                "anyOf": [
                    part,
                    {"type": "array", "items": part},
                    {"type": "object", "properties": {"first_of": {"type": "array", "items": part}}, "required": ["first_of"], "additionalProperties": false},
                ],
            })
        })
    }
}

section! {
    /// Words that a token must or must not have among its scopes (`scope`, else `scp`). Whole words are compared.
    pub struct ScopesSection {
        /// Every one of these.
        all: Vec<String>,
        /// At least one of these.
        any: Vec<String>,
        /// None of these.
        none: Vec<String>,
    }
}

section! {
    /// Rules about request headers.
    pub struct HeadersSection {
        /// Headers that a request must have: 400 without.
        require: Vec<String>,
        /// Headers that a request must not have: 400 with.
        forbid: Vec<String>,
        /// Headers removed before the request goes on.
        remove: Vec<String>,
        /// Headers set before the request goes on, replacing what the client sent.
        set: BTreeMap<String, String>,
    }
}

/// Whose word is needed: a provider's name, a list of which one suffices, `{any: [...]}` or `{all: [...]}`.
#[derive(Debug, Clone, PartialEq)]
pub struct RequireSection {
    /// The providers.
    pub providers: Vec<String>,
    /// Whether all of them must vouch for the caller, or one suffices.
    pub all: bool,
    /// Whether a request without any credential passes too, as nobody.
    pub optional: bool,
    /// Where it is written, for later problems.
    pub path: String,
}

section! {
    /// Whose word is needed.
    pub struct RequireObject {
        /// Providers of which one must vouch for the caller.
        any: Option<Vec<String>>,
        /// Providers that must all vouch for the caller; the first one's word is the identity.
        all: Option<Vec<String>>,
        /// A request without any credential passes too, as nobody. A bad credential is refused all the same.
        optional: bool = false,
    }
}

impl Read for RequireSection {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let path = node.path.clone();
        let (providers, all, optional) = match node.value {
            Value::Object(_) => match RequireObject::read(node, problems)? {
                RequireObject { any: Some(any), all: None, optional } => (any, false, optional),
                RequireObject { any: None, all: Some(all), optional } => (all, true, optional),
                _ => {
                    problems.add(path, "needs exactly one of `any` and `all`");
                    return None;
                }
            },
            _ => (OneOrMany::read(node, problems)?.0, false, false),
        };
        if providers.is_empty() {
            problems.add(path, "names no provider");
            return None;
        }
        Some(Self { providers, all, optional, path })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let object = RequireObject::schema(definitions);
        definitions.refer("RequireSection", |_| {
            json!({
                "description": "Whose word is needed: a provider's name, a list of which one suffices, or an object.",
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}, object],
            })
        })
    }
}

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
    /// The internal token that the service of a rule gets.
    pub struct InternalTokenUse {
        /// Its `aud`: the service.
        audience: String,
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

words! {
    /// What the gateway itself answers.
    pub enum Serve {
        /// Pushed revocations: GET lists them, POST adds one, DELETE lifts one.
        Revocations = "revocations",
    }
}

section! {
    /// What a request must fulfil. A field that is set replaces the one inherited by `extends` or `use`.
    pub struct PolicySection {
        /// The policy whose fields hold where this one sets none.
        extends: Option<String>,
        /// The provider that must vouch for the caller; one of several with `any`.
        require: Option<RequireSection>,
        /// Scopes that the token must have: 403 without.
        scopes: Option<ScopesSection>,
        /// Limits that apply, by name.
        limits: Option<Vec<String>>,
        /// Rules about request headers.
        headers: Option<HeadersSection>,
        /// The service gets an internal token for the caller.
        internal_token: Option<InternalTokenUse>,
        /// The protected resource that challenges point to (RFC 9728).
        resource: Option<String>,
        /// `monitor` counts and logs what this policy would refuse.
        mode: Option<Mode>,
    }
}

section! {
    /// What holds where a rule says nothing.
    pub struct DefaultsSection {
        /// The policy of rules without `use`.
        policy: Option<String>,
        /// What happens to a request that no rule matches.
        unmatched: Unmatched = "deny",
        /// Limits that apply to every request, beside those of its rule.
        limits: Vec<String>,
    }
}

section! {
    /// A rule: a match and what applies. The first rule that matches decides.
    pub struct RuleSection {
        /// The rule's name in logs and counters; its number unless said otherwise.
        name: Option<String>,
        /// Which requests the rule is about. An empty match takes every request.
        r#match: MatchSection,
        /// `public`: nobody has to identify. `nobody`: everybody is refused.
        allow: Option<Allow>,
        /// The policy that applies.
        r#use: Option<String>,
        /// The gateway itself answers, once all checks of the rule have passed.
        serve: Option<Serve>,
        ..policy: PolicySection
    }
}

section! {
    /// Which requests a rule is about: all conditions must hold.
    pub struct MatchSection {
        /// The path: exact, or with `*` (one segment), `{name}` (one captured segment) and a final `**` (the rest).
        path: Option<String>,
        /// The path's beginning, ending at a segment.
        prefix: Option<String>,
        /// A regular expression that matches the whole path (linear time).
        regex: Option<String>,
        /// The host: exact, or `*.example.com`.
        host: Option<String>,
        /// The methods; every one unless said otherwise.
        methods: Option<OneOrMany<String>>,
        /// Conditions on headers: name to exact value, or `*` for any value.
        headers: BTreeMap<String, String>,
    }
}

section! {
    /// How refusals are worded.
    pub struct AnswersSection {
        /// The `realm` of challenges (RFC 9110, 11.5).
        realm: String = "portcullis",
        /// What stands before the reason code in the `type` of a problem document (RFC 9457, 3.1.1).
        type_base: String = "urn:portcullis:reason:",
    }
}

/// The JSON Schema (draft 2020-12) of the whole configuration.
pub fn json_schema() -> Value {
    let mut definitions = Definitions::default();
    let root = Config::schema(&mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portcullis configuration",
        "$ref": root.get("$ref").cloned().unwrap_or(Value::Null),
        "$defs": definitions.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: Value) -> (Option<Config>, Problems) {
        let mut problems = Problems::default();
        let config = Config::read(&Node::root(&document), &mut problems);
        (config, problems)
    }

    fn problem_lines(document: Value) -> Vec<String> {
        read(document).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_default_reads() {
        let provider = json!({"jwks": {}});
        let limit = json!({"key": "ip", "rate": "1/s"});
        let document = json!({
            "version": 1,
            "providers": {"p": provider},
            "limits": {"l": limit},
            "policies": {"q": {}},
            "rules": [{"match": {}}],
        });
        let (config, problems) = read(document);
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(config.unwrap().mode, Mode::Enforce);
    }

    #[test]
    fn all_mistakes_come_at_once_with_path_and_hint() {
        let lines = problem_lines(json!({
            "version": "one",
            "mode": "enforced",
            "polices": {},
            "limits": {"l": {"key": 7, "rate": "fast"}},
            "rules": [{"match": {"path": 3, "method": "GET"}, "allow": "everybody"}],
        }));
        assert_eq!(
            lines,
            [
                "version: \"one\" is not a whole number of 0 or more",
                "mode: \"enforced\" is not known here; did you mean \"enforce\"?",
                "limits.l.key: expected a key part, a list of them or `first_of`, found a number",
                "limits.l.rate: \"fast\" is not a rate; write `1000/min`, `10/s` or `5/30s`",
                "rules[0].match.path: expected text, found a number",
                "rules[0].match.method: unknown field; did you mean \"methods\"?",
                "rules[0].allow: \"everybody\" is not known here; one of \"public\", \"nobody\"",
                "polices: unknown field; did you mean \"policies\"?",
            ]
        );
    }

    #[test]
    fn numbers_of_a_struct_arrive_as_doubles() {
        let (config, problems) = read(json!({"version": 1.0, "max_waiting": "300"}));
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(config.unwrap().max_waiting, 300);
    }

    #[test]
    fn the_json_schema_describes_every_section_and_refuses_unknown_fields() {
        let schema = json_schema();
        let rule = &schema["$defs"]["RuleSection"];
        assert_eq!(rule["additionalProperties"], json!(false));
        assert_eq!(rule["required"], json!(["match"]));
        assert!(rule["properties"]["use"]["description"].as_str().unwrap().contains("policy"));
        assert!(rule["properties"]["scopes"].is_object(), "shared fields of a policy belong to the rule too");
    }
}
