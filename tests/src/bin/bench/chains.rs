//! The chains that are compared, and the Envoy that has a listener for each.

use std::path::{Path, PathBuf};

use portcullis_tests::keys::{Algorithm, SigningKey, base64url, jwks};
use portcullis_tests::mint::{AUDIENCE, ISSUER};
use ring::digest;
use serde_json::{Map, Value, json};

use crate::authority;
use crate::body::Body;
use crate::load::API_KEY_HEADER;
use crate::native::{Native, api_key_auth, ext_authz, jwt_authn, local_ratelimit, rbac};

/// The cluster that is asked about opaque tokens.
const AUTHORITY: &str = "authority";
/// The one that is asked about global limits, over HTTP/2.
const LIMITS: &str = "limits";

/// What stands in front of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// Nothing.
    Empty,
    /// The filter: token, scope, limit, headers that tell the service who calls.
    Portcullis(Algorithm),
    /// The filter, with a rule that asks for a token and nothing else.
    PortcullisJwt(Algorithm),
    /// `jwt_authn` with its cache, `rbac` on the scope, `local_ratelimit`; it says and sets the same headers.
    Native(Algorithm),
    /// The same without the headers that tell the service who calls and the client what is left.
    NativeSilent(Algorithm),
    /// `jwt_authn` alone, without its cache.
    NativeJwt(Algorithm),
    /// The filter, with a provider whose tokens it has to ask about.
    PortcullisOpaque,
    /// `ext_authz` over HTTP, which asks about every request.
    NativeAsking,
    /// The filter, with so many API keys.
    PortcullisApiKeys(usize),
    /// `api_key_auth`, with so many keys.
    NativeApiKeys(usize),
    /// The filter, with a public rule behind so many others.
    PortcullisRules(usize),
    /// The filter, with a public rule and payload rules.
    PortcullisPayload,
    /// The filter, with a public rule and one limit by a header.
    PortcullisLimit,
    /// The filter, with a public rule and one limit that a service counts too: asked each time, or for so many requests at once.
    PortcullisGlobal(Option<u32>),
    /// The filter, with a public rule and one limit of requests in flight by a header.
    PortcullisConcurrency,
    /// The filter, with a public rule and a bound of requests in flight to the service.
    PortcullisSurge,
    /// The filter, with a public rule and bans by address.
    PortcullisBans,
    /// Nothing but a filter that reads the body, as whoever judges it must.
    Buffered,
    /// The filter, with a public rule and input validation, the schema of the posted documents included.
    PortcullisInput,
}

impl Chain {
    /// Whether it is what other chains are measured against.
    pub fn is_base(self) -> bool {
        matches!(self, Self::Empty | Self::Buffered)
    }

    /// Whether the filter is in it.
    fn has_filter(self) -> bool {
        matches!(
            self,
            Self::Portcullis(_)
                | Self::PortcullisJwt(_)
                | Self::PortcullisOpaque
                | Self::PortcullisApiKeys(_)
                | Self::PortcullisRules(_)
                | Self::PortcullisPayload
                | Self::PortcullisLimit
                | Self::PortcullisGlobal(_)
                | Self::PortcullisConcurrency
                | Self::PortcullisSurge
                | Self::PortcullisBans
                | Self::PortcullisInput
        )
    }
}

/// Which tokens the requests carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// None.
    None,
    /// One, sent again and again.
    Repeated(Algorithm),
    /// A new one each time.
    Fresh(Algorithm),
    /// One that only its issuer can read, sent again and again.
    Opaque,
    /// API keys: one of so many after the other.
    ApiKeys(usize),
    /// One of so many clients after the other, by the same header; each has come once before anything is measured.
    Clients(usize),
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// What it is called.
    pub name: &'static str,
    /// The chain.
    pub chain: Chain,
    /// The path that is asked for.
    pub path: &'static str,
    /// What its requests carry.
    pub body: Body,
    /// The tokens.
    pub tokens: Tokens,
    /// The status that every answer must have.
    pub status: u16,
    /// The row that it is compared with, by its place in [`ROWS`].
    pub beside: Option<usize>,
}

const ES: Algorithm = Algorithm::Es256;
const RS: Algorithm = Algorithm::Rs256;
/// Numbers of API keys that are compared.
const FEW: usize = 10;
const MANY: usize = 10_000;

/// The table. The first rows are what the others are measured against: the same requests through the empty chain.
pub const ROWS: &[Row] = &[
    row("empty chain: without a token", Chain::Empty, Tokens::None, 200, None),
    row("empty chain: with an ES256 token", Chain::Empty, Tokens::Repeated(ES), 200, None),
    row("empty chain: with an RS256 token", Chain::Empty, Tokens::Repeated(RS), 200, None),
    row("empty chain: with an opaque token", Chain::Empty, Tokens::Opaque, 200, None),
    row("empty chain: with an API key", Chain::Empty, Tokens::ApiKeys(MANY), 200, None),
    row(
        "portcullis: repeated token, scope, limit, identity headers",
        Chain::Portcullis(ES),
        Tokens::Repeated(ES),
        200,
        Some(6),
    ),
    row("native: jwt_authn with cache, rbac, local_ratelimit", Chain::Native(ES), Tokens::Repeated(ES), 200, None),
    row("native: the same, without headers set", Chain::NativeSilent(ES), Tokens::Repeated(ES), 200, None),
    row(
        "portcullis: the token alone, a new RS256 one each time",
        Chain::PortcullisJwt(RS),
        Tokens::Fresh(RS),
        200,
        Some(9),
    ),
    row("native: jwt_authn alone, a new RS256 token each time", Chain::NativeJwt(RS), Tokens::Fresh(RS), 200, None),
    row(
        "portcullis: the token alone, a new ES256 one each time",
        Chain::PortcullisJwt(ES),
        Tokens::Fresh(ES),
        200,
        Some(11),
    ),
    row("native: jwt_authn alone, a new ES256 token each time", Chain::NativeJwt(ES), Tokens::Fresh(ES), 200, None),
    row("portcullis: 401 without a token, with its audit line", Chain::Portcullis(ES), Tokens::None, 401, Some(13)),
    row("native: 401 without a token", Chain::Native(ES), Tokens::None, 401, None),
    row("portcullis: an opaque token, introspected and cached", Chain::PortcullisOpaque, Tokens::Opaque, 200, Some(15)),
    row("native: ext_authz over HTTP, asked each time", Chain::NativeAsking, Tokens::Opaque, 200, None),
    row("portcullis: an API key among 10,000", Chain::PortcullisApiKeys(MANY), Tokens::ApiKeys(MANY), 200, Some(17)),
    row("native: api_key_auth with 10,000 keys", Chain::NativeApiKeys(MANY), Tokens::ApiKeys(MANY), 200, None),
    row("portcullis: an API key among 10", Chain::PortcullisApiKeys(FEW), Tokens::ApiKeys(FEW), 200, Some(19)),
    row("native: api_key_auth with 10 keys", Chain::NativeApiKeys(FEW), Tokens::ApiKeys(FEW), 200, None),
    Row {
        path: "/public/status",
        ..row("portcullis: a public rule, no checks", Chain::Portcullis(ES), Tokens::None, 200, None)
    },
    posting(SMALL, row("empty chain, body read: 1 KB of JSON", Chain::Buffered, Tokens::None, 200, None)),
    posting(LARGE, row("empty chain, body read: 10 KB of JSON", Chain::Buffered, Tokens::None, 200, None)),
    row("portcullis: a public rule behind 9,999 others", Chain::PortcullisRules(10_000), Tokens::None, 200, Some(24)),
    row("portcullis: a public rule behind 9 others", Chain::PortcullisRules(10), Tokens::None, 200, None),
    row("portcullis: payload rules, a small GET", Chain::PortcullisPayload, Tokens::None, 200, Some(24)),
    posting(SMALL, row("portcullis: payload rules, 1 KB of JSON", Chain::PortcullisPayload, Tokens::None, 200, None)),
    posting(LARGE, row("portcullis: payload rules, 10 KB of JSON", Chain::PortcullisPayload, Tokens::None, 200, None)),
    posting(TEXT, row("portcullis: payload rules, 10 KB of prose", Chain::PortcullisPayload, Tokens::None, 200, None)),
    row(
        "portcullis: one limit, 1,000,000 clients known",
        Chain::PortcullisLimit,
        Tokens::Clients(CROWD),
        200,
        Some(24),
    ),
    row("portcullis: one limit, 100,000 clients known", Chain::PortcullisLimit, Tokens::Clients(TOWN), 200, Some(24)),
    row("portcullis: one limit, 1 client", Chain::PortcullisLimit, Tokens::Clients(1), 200, Some(24)),
    row("portcullis: bans by address, nobody is banned", Chain::PortcullisBans, Tokens::None, 200, Some(24)),
    row("portcullis: input, a small GET with a parameter", Chain::PortcullisInput, Tokens::None, 200, Some(24)),
    posting(
        SMALL,
        row("portcullis: input, 1 KB of JSON with a schema", Chain::PortcullisInput, Tokens::None, 200, None),
    ),
    posting(
        LARGE,
        row("portcullis: input, 10 KB of JSON with a schema", Chain::PortcullisInput, Tokens::None, 200, None),
    ),
    row("portcullis: requests in flight of a client", Chain::PortcullisConcurrency, Tokens::Clients(1), 200, Some(24)),
    row("portcullis: a bound of requests in flight", Chain::PortcullisSurge, Tokens::None, 200, Some(24)),
    row(
        "portcullis: a global limit, leases of 100",
        Chain::PortcullisGlobal(Some(100)),
        Tokens::Clients(1),
        200,
        Some(24),
    ),
    row(
        "portcullis: a global limit, asked each time",
        Chain::PortcullisGlobal(None),
        Tokens::Clients(1),
        200,
        Some(24),
    ),
];

/// Clients of a limit.
const CROWD: usize = 1_000_000;
const TOWN: usize = 100_000;

/// About 1 KB and 10 KB.
const SMALL: Body = Body::Json(49);
const LARGE: Body = Body::Json(489);
const TEXT: Body = Body::Text(10_000);

const fn posting(body: Body, row: Row) -> Row {
    Row { body, ..row }
}

const fn row(name: &'static str, chain: Chain, tokens: Tokens, status: u16, beside: Option<usize>) -> Row {
    Row { name, chain, path: "/orders/1234?expand=lines", body: Body::None, tokens, status, beside }
}

impl Row {
    /// The row of the empty chain with the same requests, by its place in [`ROWS`].
    pub fn base(&self) -> usize {
        match self.tokens {
            _ if self.body == SMALL => 21,
            _ if self.body == LARGE || self.body == TEXT => 22,
            Tokens::None => 0,
            Tokens::Repeated(RS) | Tokens::Fresh(RS) => 2,
            Tokens::Repeated(_) | Tokens::Fresh(_) => 1,
            Tokens::Opaque => 3,
            Tokens::ApiKeys(_) | Tokens::Clients(_) => 4,
        }
    }
}

/// The keys behind the tokens.
#[derive(Debug)]
pub struct Keys {
    /// ES256.
    pub es: SigningKey,
    /// RS256.
    pub rs: SigningKey,
}

impl Keys {
    /// Fresh ones.
    pub fn generate() -> Self {
        Self { es: SigningKey::generate(ES, "bench-es"), rs: SigningKey::generate(RS, "bench-rs") }
    }

    /// The one of an algorithm.
    pub fn of(&self, algorithm: Algorithm) -> &SigningKey {
        if algorithm == RS { &self.rs } else { &self.es }
    }
}

/// A row as it is measured: with the module, or with an earlier one.
#[derive(Debug, Clone)]
pub struct Lane {
    /// The row, by its place in [`ROWS`].
    pub index: usize,
    /// The row.
    pub row: &'static Row,
    /// The module in it.
    pub module: PathBuf,
    /// Whether that is the earlier one.
    pub is_before: bool,
}

impl Lane {
    /// The lanes of the empty chain, of the rows whose names contain `only`, and of those that they are compared with.
    pub fn chosen(only: &str, module: &Path, before: Option<&Path>) -> Vec<Self> {
        let named = |row: &Row| row.name.contains(only);
        let mut lanes = Vec::new();
        for (index, row) in ROWS.iter().enumerate() {
            if row.chain.is_base() || named(row) || ROWS.iter().any(|other| other.beside == Some(index) && named(other))
            {
                lanes.push(Self { index, row, module: module.to_owned(), is_before: false });
                if let Some(before) = before.filter(|_| row.chain.has_filter()) {
                    lanes.push(Self { index, row, module: before.to_owned(), is_before: true });
                }
            }
        }
        lanes
    }

    /// The name of its listener.
    pub fn listener(&self) -> String {
        format!("{}-{}", if self.is_before { "before" } else { "row" }, self.index)
    }
}

/// An Envoy configuration with a listener for each lane; who is asked about opaque tokens listens on `authority`.
pub fn envoy(lanes: &[Lane], keys: &Keys, authority: u16) -> Value {
    let listeners: Vec<Value> = lanes.iter().map(|lane| listener(&lane.listener(), filters(lane, keys))).collect();
    json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": listeners,
            "clusters": [cluster(AUTHORITY, authority), http2(cluster(LIMITS, authority))],
        },
    })
}

fn filters(lane: &Lane, keys: &Keys) -> Vec<Value> {
    let filter = |configuration: Value| vec![portcullis(&lane.listener(), &lane.module, &configuration)];
    match lane.row.chain {
        Chain::Empty => vec![],
        Chain::Buffered => {
            vec![http_filter("buffer", "buffer.v3.Buffer", json!({"max_request_bytes": 1_048_576}))]
        }
        Chain::Portcullis(algorithm) => {
            let headers = json!({"x-user": "sub", "x-scopes": "scope"});
            filter(configuration(jwt(keys.of(algorithm), headers), "orders"))
        }
        Chain::PortcullisJwt(algorithm) => filter(configuration(jwt(keys.of(algorithm), json!({})), "token")),
        Chain::PortcullisOpaque => filter(configuration(opaque(), "token")),
        Chain::PortcullisApiKeys(count) => filter(configuration(api_keys(count), "token")),
        Chain::Native(algorithm) => {
            vec![jwt_authn(keys.of(algorithm), Native::Full), rbac(), local_ratelimit(Native::Full)]
        }
        Chain::NativeSilent(algorithm) => {
            vec![jwt_authn(keys.of(algorithm), Native::Silent), rbac(), local_ratelimit(Native::Silent)]
        }
        Chain::NativeJwt(algorithm) => vec![jwt_authn(keys.of(algorithm), Native::Uncached)],
        Chain::NativeAsking => vec![ext_authz(AUTHORITY)],
        Chain::NativeApiKeys(count) => vec![api_key_auth(count)],
        Chain::PortcullisRules(count) => filter(public(count, json!({}))),
        Chain::PortcullisPayload => filter(public(10, json!({"payload": {}}))),
        Chain::PortcullisLimit => {
            let limits =
                json!({"one": {"key": key_of_client(), "rate": "1000/d", "burst": 100_000, "capacity": CROWD}});
            filter(with(public(10, json!({"limits": ["one"], "limit_headers": "none"})), "limits", limits))
        }
        Chain::PortcullisGlobal(lease) => {
            let mut limit = json!({"key": key_of_client(), "rate": "1000000/s", "scope": "global"});
            if let (Some(size), Some(limit)) = (lease, limit.as_object_mut()) {
                limit.insert("lease".to_owned(), json!({"size": size, "for": "1s"}));
            }
            let limited = public(10, json!({"limits": ["one"], "limit_headers": "none"}));
            let service = json!({"cluster": LIMITS, "kind": "limitador", "timeout": "5s"});
            filter(with(with(limited, "limits", json!({"one": limit})), "limit_service", service))
        }
        Chain::PortcullisConcurrency => {
            let limits = json!({"one": {"key": key_of_client(), "concurrency": 1000}});
            filter(with(public(10, json!({"limits": ["one"]})), "limits", limits))
        }
        Chain::PortcullisSurge => {
            let mut configuration = public(10, json!({}));
            let rules = configuration.get_mut("rules").and_then(Value::as_array_mut);
            if let Some(rule) = rules.and_then(|rules| rules.last_mut()).and_then(Value::as_object_mut) {
                rule.insert("surge".to_owned(), json!("service"));
            }
            filter(with(configuration, "surge", json!({"service": {"target": "1s", "max": 1000}})))
        }
        Chain::PortcullisBans => {
            let bans = json!({"guessing": {"key": "ip", "limit": "10/10m", "ban": "15m"}});
            filter(with(public(10, json!({"bans": ["guessing"]})), "bans", bans))
        }
        Chain::PortcullisInput => filter(public(10, input())),
    }
}

/// What tells clients apart.
fn key_of_client() -> String {
    format!("header:{API_KEY_HEADER}")
}

/// A listener on any free port, with these filters before the router.
pub fn listener(name: &str, mut filters: Vec<Value>) -> Value {
    filters.push(http_filter("router", "router.v3.Router", json!({})));
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "use_remote_address": true,
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}}},
        ]}]},
    });
    let manager = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    json!({"name": name, "address": address(0), "filter_chains": [{"filters": [manager]}]})
}

/// A port on 127.0.0.1; 0 for any free one.
pub fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn cluster(name: &str, port: u16) -> Value {
    json!({
        "name": name,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    })
}

/// The cluster, over HTTP/2.
fn http2(mut cluster: Value) -> Value {
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let options = json!({
        "@type": format!("type.googleapis.com/{name}"),
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    if let Some(cluster) = cluster.as_object_mut() {
        cluster.insert("typed_extension_protocol_options".to_owned(), json!({name: options}));
    }
    cluster
}

/// An HTTP filter of Envoy's, by the last part of its name.
pub fn http_filter(name: &str, message: &str, mut config: Value) -> Value {
    if let Some(config) = config.as_object_mut() {
        config
            .insert("@type".to_owned(), json!(format!("type.googleapis.com/envoy.extensions.filters.http.{message}")));
    }
    json!({"name": format!("envoy.filters.http.{name}"), "typed_config": config})
}

/// A provider of JSON Web Tokens of one key.
pub fn jwt(key: &SigningKey, headers: Value) -> Value {
    json!({
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "algorithms": [key.algorithm().name()],
        "jwks": {"inline": jwks([key])},
        "forward": {"token": "keep", "headers": headers},
    })
}

/// A configuration of so many rules, of which the last one takes everything.
fn public(count: usize, defaults: Value) -> Value {
    let other = |number| {
        let path = format!("/service-{}/resources-{number}/{{id}}", number % 100);
        json!({"match": {"path": path, "methods": ["GET", "PUT"]}, "allow": "public"})
    };
    let mut rules: Vec<Value> = (1..count).map(other).collect();
    rules.push(json!({"match": {"path": "/orders/**"}, "allow": "public"}));
    json!({"version": 1, "defaults": defaults, "rules": rules})
}

/// What the requests of the bench look like.
fn input() -> Value {
    let text = json!({"type": "string", "minLength": 1, "maxLength": 100});
    json!({"input": {
        "parameters": [{"in": "query", "name": "expand", "schema": {"enum": ["lines", "all"]}}],
        "unknown_parameters": "deny",
        "schema": {
            "type": "object",
            "patternProperties": {"^count_": {"type": "integer", "minimum": 0}, "^(name|ref|note)_": text},
            "additionalProperties": false,
        },
    }})
}

/// A configuration with one more section.
fn with(mut configuration: Value, name: &str, section: Value) -> Value {
    if let Some(sections) = configuration.as_object_mut() {
        sections.insert(name.to_owned(), section);
    }
    configuration
}

fn opaque() -> Value {
    json!({
        "introspection": {
            "cluster": AUTHORITY,
            "path": authority::INTROSPECTION_PATH,
            "client_id": "gateway",
            "client_secret": {"inline": "the gateway's own secret"},
            "cache": "1h",
        },
        "forward": {"token": "keep", "headers": {"x-user": "sub"}},
    })
}

fn api_keys(count: usize) -> Value {
    let client = |number| {
        let hash = digest::digest(&digest::SHA256, api_key(number).as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        (format!("client-{number}"), json!({"sha256": hash}))
    };
    let clients: Map<String, Value> = (0..count).map(client).collect();
    json!({
        "api_keys": {"header": API_KEY_HEADER, "clients": clients},
        "forward": {"token": "keep", "headers": {"x-user": "sub"}},
    })
}

/// The API key of a client.
pub fn api_key(number: usize) -> String {
    let hash = digest::digest(&digest::SHA256, &number.to_be_bytes());
    format!("ak_{}", base64url(hash.as_ref()))
}

/// A configuration with one provider, whose rule for orders uses `policy`.
pub fn configuration(provider: Value, policy: &str) -> Value {
    json!({
        "version": 1,
        "providers": {"corp": provider},
        "limits": {"per_client": {"key": {"first_of": ["principal", "ip"]}, "rate": "1000000/s", "burst": 1_000_000}},
        "policies": {
            "token": {"require": {"any": ["corp"]}},
            "orders": {
                "require": {"any": ["corp"]},
                "limits": ["per_client"],
                "scopes": {"all": ["read_orders"]},
            },
        },
        "rules": [
            {"match": {"path": "/public/**"}, "allow": "public"},
            {"match": {"path": "/orders/**", "methods": ["GET", "HEAD"]}, "use": policy},
        ],
    })
}

/// The filter, in a VM of its own for each row: no row finds what another one left in the caches.
pub fn portcullis(vm: &str, module: &Path, configuration: &Value) -> Value {
    http_filter(
        "wasm",
        "wasm.v3.Wasm",
        json!({"config": {
            "name": "portcullis",
            "root_id": "portcullis",
            "failure_policy": "FAIL_RELOAD",
            "allow_on_headers_stop_iteration": true,
            "vm_config": {
                "vm_id": vm,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}},
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": configuration.to_string(),
            },
        }}),
    )
}
