//! Which endpoint is asked and how long an answer holds: the checked form of one `introspection` section.

use std::rc::Rc;
use std::time::Duration;

use super::answer::MAX_RESPONSE_BYTES;
use super::client::{ClientAuthentication, append_parameter};
use crate::callout::Callout;
use crate::http::Method;
use crate::key_sets::{FetchId, TIMEOUT_BOUNDS, is_authority, is_path};

/// One provider's introspection endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionSource {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The proxy's cluster that is asked.
    pub cluster: String,
    /// `:authority` of the request.
    pub authority: String,
    /// Path, and query if any, of the endpoint.
    pub path: String,
    /// The gateway's own credentials there.
    pub client: ClientAuthentication,
    /// The longest use of a good answer; `exp` can only shorten it. Zero: every request asks.
    pub cache: Duration,
    /// The use of an answer that refuses. Zero: every request asks.
    pub negative_cache: Duration,
    /// The time limit of one question; kept within [`TIMEOUT_BOUNDS`].
    pub timeout: Duration,
    /// The bound of this provider's cache per worker, in bytes; an eighth of it is for answers that refuse.
    pub max_cache_bytes: usize,
    /// `token_type_hint` (RFC 7662, section 2.1), if one is to be sent.
    pub token_type_hint: Option<String>,
    /// The `iss` that an answer must have where it has one.
    pub issuer: Option<String>,
    /// `aud` must hold one of these; empty: any will do.
    pub audiences: Vec<String>,
    /// How far the issuer's clock may be ahead of this one, for `nbf`. `exp` has no leeway.
    pub leeway: Duration,
    /// A longer token is refused without a question.
    pub max_token_bytes: usize,
    /// The most tokens of this provider that one worker asks about at a time.
    pub max_in_flight: usize,
}

impl IntrospectionSource {
    /// A source with everything else as it is unless configured.
    pub fn new(
        provider: impl Into<String>,
        cluster: impl Into<String>,
        authority: impl Into<String>,
        path: impl Into<String>,
        client: ClientAuthentication,
    ) -> Self {
        Self {
            provider: provider.into(),
            cluster: cluster.into(),
            authority: authority.into(),
            path: path.into(),
            client,
            cache: Duration::from_secs(60),
            negative_cache: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            max_cache_bytes: 8 << 20,
            token_type_hint: Some("access_token".into()),
            issuer: None,
            audiences: Vec::new(),
            leeway: Duration::from_secs(60),
            max_token_bytes: 4096,
            max_in_flight: 256,
        }
    }
}

/// Why an [`IntrospectionSource`] cannot be used.
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
    /// The client's id is empty, or its token has bytes that a header cannot carry.
    Client {
        /// The provider's name.
        provider: String,
    },
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DuplicateProvider(provider) => write!(f, "provider `{provider}` has two introspection endpoints"),
            Self::Authority { provider } => write!(f, "provider `{provider}`: authority is not host or host:port"),
            Self::Path { provider } => write!(f, "provider `{provider}`: path is not a path that begins with `/`"),
            Self::Client { provider } => {
                write!(f, "provider `{provider}`: the client's credentials are empty or cannot be sent")
            }
        }
    }
}

impl std::error::Error for SourceError {}

/// A checked source, with everything that does not change while the configuration lives.
#[derive(Debug)]
pub(super) struct Plan {
    pub name: Rc<str>,
    /// Its times and bounds, within theirs.
    pub source: IntrospectionSource,
    authorization: Option<Authorization>,
}

/// The finished header, which is not shown.
struct Authorization(String);

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorization")
    }
}

impl Plan {
    pub fn new(mut source: IntrospectionSource) -> Result<Self, SourceError> {
        let provider = || source.provider.clone();
        if !is_authority(&source.authority) {
            return Err(SourceError::Authority { provider: provider() });
        }
        if !is_path(&source.path) {
            return Err(SourceError::Path { provider: provider() });
        }
        if !source.client.is_sendable() {
            return Err(SourceError::Client { provider: provider() });
        }
        let (shortest, longest) = TIMEOUT_BOUNDS;
        source.timeout = source.timeout.clamp(shortest, longest);
        let authorization = source.client.header().map(Authorization);
        Ok(Self { name: source.provider.as_str().into(), source, authorization })
    }

    /// The question about `token` (RFC 7662, section 2.1).
    pub fn question(&self, id: FetchId, token: &[u8]) -> Callout {
        let source = &self.source;
        let mut body = Vec::with_capacity(token.len().saturating_add(64));
        append_parameter("token", token, &mut body);
        if let Some(hint) = &source.token_type_hint {
            append_parameter("token_type_hint", hint.as_bytes(), &mut body);
        }
        source.client.append_parameters(&mut body);
        let mut headers = vec![
            ("accept", "application/json".to_owned()),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ];
        headers.extend(self.authorization.iter().map(|value| ("authorization", value.0.clone())));
        Callout {
            id,
            cluster: source.cluster.clone(),
            authority: source.authority.clone(),
            path: source.path.clone(),
            method: Method::Post,
            headers,
            body,
            timeout: source.timeout,
            max_response_bytes: MAX_RESPONSE_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(client: ClientAuthentication) -> IntrospectionSource {
        IntrospectionSource::new("partner", "idp", "idp.example", "/introspect", client)
    }

    fn question(source: IntrospectionSource, token: &str) -> Callout {
        Plan::new(source).unwrap().question(FetchId(7), token.as_bytes())
    }

    #[test]
    fn the_question_is_that_of_rfc_7662() {
        let basic = ClientAuthentication::Basic { id: "gw".into(), secret: "s".into() };
        let callout = question(source(basic), "2YotnFZF&+/=");
        assert_eq!(callout.method, Method::Post);
        assert_eq!(callout.body, b"token=2YotnFZF%26%2B%2F%3D&token_type_hint=access_token");
        let header = |name| callout.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
        assert_eq!(header("accept"), Some("application/json"));
        assert_eq!(header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(header("authorization"), Some("Basic Z3c6cw=="));
        assert_eq!((callout.id, callout.path.as_str(), callout.cluster.as_str()), (FetchId(7), "/introspect", "idp"));
    }

    #[test]
    fn a_token_cannot_add_a_parameter() {
        let post = ClientAuthentication::Post { id: "gw".into(), secret: "s".into() };
        let body = question(source(post), "x&client_id=evil&token=y").body;
        let names: Vec<_> = body.split(|b| *b == b'&').map(|pair| pair.split(|b| *b == b'=').next().unwrap()).collect();
        assert_eq!(names, [&b"token"[..], b"token_type_hint", b"client_id", b"client_secret"]);
    }

    #[test]
    fn without_hint_and_credentials_there_is_only_the_token() {
        let bare = IntrospectionSource { token_type_hint: None, ..source(ClientAuthentication::None) };
        let callout = question(bare, "x");
        assert_eq!((callout.body.as_slice(), callout.headers.len()), (&b"token=x"[..], 2));
    }

    #[test]
    fn a_source_that_cannot_be_asked_is_refused() {
        let good = source(ClientAuthentication::None);
        let plan = |source| Plan::new(source).err();
        let provider = || "partner".to_owned();
        assert_eq!(plan(good.clone()), None);
        let authority = IntrospectionSource { authority: "a b".into(), ..good.clone() };
        assert_eq!(plan(authority), Some(SourceError::Authority { provider: provider() }));
        let path = IntrospectionSource { path: "/x\r\ny: z".into(), ..good };
        assert_eq!(plan(path), Some(SourceError::Path { provider: provider() }));
        let client = source(ClientAuthentication::Bearer { token: "a\nb".into() });
        assert_eq!(plan(client), Some(SourceError::Client { provider: provider() }));
    }

    #[test]
    fn no_secret_is_shown() {
        let plan = Plan::new(source(ClientAuthentication::Bearer { token: "geheim".into() })).unwrap();
        let shown = format!("{plan:?} {:?}", plan.question(FetchId(1), b"offen"));
        assert!(!shown.contains("geheim") && !shown.contains("offen"), "{shown}");
    }
}
