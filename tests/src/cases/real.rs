//! The corpus on a real Envoy: one process with a listener for each case and route policy, and servers that answer as the
//! cases say.
//!
//! Cases share a VM of the filter, as two applications of one gateway would; what they would share beyond that (clusters,
//! limits, variables) gets names of its own. Cases with pushed revocations or bans, which name whom they keep out and not
//! who does, get a VM of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use portcullis_payload::arguments::percent_decoded;
use serde_json::{Value, json};

use super::certificates::{Certificates, transport_socket};
use super::template::Template;
use super::{ADDRESS_LIST, Case, EndpointAnswer, REVOCATION_LIST, Request, Step};
use crate::client::{Client, Response};
use crate::envoy::{Envoy, Options};
use crate::introspection::form;
use crate::paths::{self, WorkDir};
use crate::pieces::{address, cluster, filter, insert};
use crate::pki::Pki;
use crate::server::{Answer, Server, Stall};
use crate::tls;

/// A case as it runs on Envoy.
#[derive(Debug)]
pub struct Prepared {
    /// The case.
    pub case: Case,
    /// The configuration with its templates filled in, and names that no other case has.
    pub configuration: Value,
    /// The variables of the VM, under the names that the configuration has now.
    pub environment: BTreeMap<String, String>,
    /// What the endpoints answer, by provider, [`REVOCATION_LIST`], or [`ADDRESS_LIST`] and a name.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// The certificates that its clients show, where it speaks of any.
    pub certificates: Option<Certificates>,
    number: usize,
    policies: Vec<Option<String>>,
    has_own_vm: bool,
}

/// A server that plays a provider.
#[derive(Debug)]
pub struct Endpoint {
    server: Server,
    answer: Arc<Mutex<EndpointAnswer>>,
    hits: Arc<AtomicUsize>,
}

impl Endpoint {
    fn start() -> Result<Self> {
        let answer = Arc::new(Mutex::new(EndpointAnswer::Down));
        let hits = Arc::new(AtomicUsize::new(0));
        let (shared, counter) = (Arc::clone(&answer), Arc::clone(&hits));
        let server = Server::start(0, None, move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            match &*shared.lock().unwrap_or_else(PoisonError::into_inner) {
                EndpointAnswer::Answer { status, headers, body } => {
                    Answer { headers: headers.clone(), body: body.clone().into(), ..Answer::status(*status) }
                }
                EndpointAnswer::ByToken(known) => {
                    let asked = form(&request.body).remove("token").unwrap_or_default();
                    let said = known.iter().find(|(token, _)| *token == asked).map(|(_, said)| said.clone());
                    let said = said.unwrap_or_else(|| "{\"active\": false}".to_owned());
                    Answer { body: said.into(), ..Answer::status(200) }
                }
                EndpointAnswer::Hanging => Answer { stall: Stall::BeforeHead, ..Answer::status(200) },
                // Cases with a limit service are played by the engine alone.
                EndpointAnswer::Limits(_) => Answer::status(404),
                // A closed port and a failing server are the same to a client that only wants an answer.
                EndpointAnswer::Down => Answer::status(503),
            }
        })?;
        Ok(Self { server, answer, hits })
    }

    /// What it answers.
    pub fn answer(&self) -> EndpointAnswer {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers so from now on; templates must be filled in.
    pub fn set(&self, answer: EndpointAnswer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

impl Prepared {
    /// Gives case `number` what it needs. `None`: its configuration is one to be refused.
    ///
    /// # Errors
    /// A template that the format does not know, or certificates that cannot be made.
    pub fn new(number: usize, case: Case, now: u64, pki: &Pki) -> Result<Option<Self>> {
        if case.problems.is_some() {
            return Ok(None);
        }
        let mut template = Template::at(now);
        let text = template.fill(&case.config)?;
        let mut configuration: Value = serde_norway::from_str(&text)?;
        let mut endpoints = BTreeMap::new();
        for whose in clusters(&mut configuration, number) {
            endpoints.insert(whose, Endpoint::start()?);
        }
        rename_limits(&mut configuration, number);
        rename_variables(&mut configuration, number);
        let mut environment = BTreeMap::new();
        for (name, text) in &case.facts.environment {
            environment.insert(format!("{name}_{number}"), Template::default().fill(text)?);
        }
        let mut policies = BTreeSet::from([case.facts.route_policy.clone()]);
        for step in &case.steps {
            if let Step::Exchange { request, .. } = step {
                policies.extend(request.route_policy.clone().map(Some));
            }
        }
        let has_own_vm = configuration.pointer("/revocation/push").is_some() || configuration.get("bans").is_some();
        let policies = policies.into_iter().collect();
        let certificates = Certificates::new(&case, pki, &pki.directory().join(format!("case-{number}")))?;
        Ok(Some(Self { case, configuration, environment, endpoints, certificates, number, policies, has_own_vm }))
    }

    /// The name of the route that all of its requests take.
    pub fn route_name(&self) -> &str {
        self.case.facts.route_name.as_deref().unwrap_or("all")
    }

    fn listener_name(&self, policy: Option<&str>) -> String {
        let index = self.policies.iter().position(|known| known.as_deref() == policy).unwrap_or_default();
        format!("case-{}-{index}", self.number)
    }
}

/// Gives every cluster a name of its own; whose each is.
fn clusters(configuration: &mut Value, number: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut rename = |whose: &str, section: Option<&mut Value>| {
        if let Some(cluster) = section.and_then(|section| section.get_mut("cluster")) {
            *cluster = json!(cluster_name(number, whose));
            found.push(whose.to_owned());
        }
    };
    let providers = configuration.get_mut("providers").and_then(Value::as_object_mut);
    for (name, provider) in providers.into_iter().flatten() {
        for kind in ["jwks", "discovery", "introspection"] {
            rename(name, provider.get_mut(kind));
        }
    }
    rename(REVOCATION_LIST, configuration.get_mut("revocation"));
    let lists = configuration.get_mut("address_lists").and_then(Value::as_object_mut);
    for (name, list) in lists.into_iter().flatten() {
        rename(&format!("{ADDRESS_LIST} {name}"), Some(list));
    }
    found
}

fn cluster_name(number: usize, whose: &str) -> String {
    format!("c{number}-{}", whose.replace(' ', "-"))
}

fn rename_limits(configuration: &mut Value, number: usize) {
    let Some(limits) = configuration.get("limits").and_then(Value::as_object) else { return };
    let named = |name: &str| format!("{name}-{number}");
    let renamed: serde_json::Map<String, Value> =
        limits.iter().map(|(name, limit)| (named(name), limit.clone())).collect();
    let known: Vec<String> = limits.keys().cloned().collect();
    let rename = |section: &mut Value| {
        for name in section.get_mut("limits").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(old) = name.as_str().filter(|old| known.iter().any(|known| known == old)) {
                *name = json!(named(old));
            }
        }
    };
    let policies = configuration.get_mut("policies").and_then(Value::as_object_mut);
    policies.into_iter().flatten().for_each(|(_, policy)| rename(policy));
    configuration.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten().for_each(rename);
    configuration.get_mut("defaults").into_iter().for_each(rename);
    if let Some(section) = configuration.get_mut("limits") {
        *section = Value::Object(renamed);
    }
}

fn rename_variables(value: &mut Value, number: usize) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(name) if key == "env" => *name = format!("{name}_{number}"),
                    value => rename_variables(value, number),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| rename_variables(element, number)),
        _ => {}
    }
}

/// Envoy with all cases.
#[derive(Debug)]
pub struct Corpus {
    envoy: Envoy,
    ports: BTreeMap<String, u16>,
    pki: Pki,
    _dir: WorkDir,
}

/// What came back from Envoy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The request reached its route.
    Passed,
    /// The filter refused it; a response to HEAD has no body, and so no reason.
    Refused(u16, Option<String>),
    /// The filter had the answer.
    Served(u16),
    /// An answer without a word of the filter: Envoy itself would not take the request, or the answer has no body.
    Bare(u16),
}

impl Corpus {
    /// Starts Envoy with a listener for each case and route policy.
    ///
    /// # Errors
    /// Envoy refuses the configuration: with the end of its log.
    pub fn start(cases: &[Prepared], pki: &Pki) -> Result<Self> {
        let dir = WorkDir::create("corpus")?;
        let module = paths::module()?;
        let shared: BTreeMap<String, String> =
            cases.iter().filter(|case| !case.has_own_vm).flat_map(|case| case.environment.clone()).collect();
        let mut listeners = Vec::new();
        let mut clusters = Vec::new();
        for case in cases {
            let vm_id = if case.has_own_vm { format!("case-{}", case.number) } else { "corpus".to_owned() };
            let environment = if case.has_own_vm { &case.environment } else { &shared };
            for policy in &case.policies {
                let mut listener = listener(case, policy.as_deref(), &module, &vm_id, environment);
                if let (Some(_), Some(chain)) = (&case.certificates, listener.pointer_mut("/filter_chains/0")) {
                    chain["transport_socket"] = transport_socket(pki);
                }
                listeners.push(listener);
            }
            for (whose, endpoint) in &case.endpoints {
                clusters.push(cluster(&cluster_name(case.number, whose), endpoint.server.port()));
            }
        }
        let config = json!({
            "admin": {"address": address(0)},
            "static_resources": {"clusters": clusters, "listeners": listeners},
        });
        let options = Options { workers: 1, log_level: "warning".to_owned(), ..Options::default() };
        let envoy = Envoy::start(&config, dir.path(), &options)?;
        let listeners = envoy.admin("GET", "/listeners?format=json")?.json();
        let statuses = listeners.get("listener_statuses").and_then(Value::as_array).cloned().unwrap_or_default();
        let port = |status: &Value| {
            let name = status.get("name")?.as_str()?.to_owned();
            let port = status.pointer("/local_address/socket_address/port_value")?.as_u64()?;
            Some((name, u16::try_from(port).ok()?))
        };
        let ports = statuses.iter().filter_map(port).collect();
        Ok(Self { envoy, ports, pki: pki.clone(), _dir: dir })
    }

    /// Waits until every endpoint that answers has been asked, or a while.
    pub fn wait_for_key_sets(&self, cases: &[Prepared]) {
        let asked = |endpoint: &Endpoint| endpoint.hits.load(Ordering::Relaxed) > 0;
        let fetched: Vec<&Endpoint> = cases
            .iter()
            .flat_map(|case| case.endpoints.iter().map(move |(whose, endpoint)| (case, whose, endpoint)))
            .filter(|(case, whose, _)| {
                let introspects = format!("/providers/{whose}/introspection");
                case.configuration.pointer(&introspects).is_none()
            })
            .map(|(_, _, endpoint)| endpoint)
            .collect();
        crate::eventually(Duration::from_secs(20), || fetched.iter().all(|endpoint| asked(endpoint)));
        // What was fetched has to be taken over by the worker, with its next tick.
        std::thread::sleep(Duration::from_secs(4));
    }

    /// Sends a request of a case from `address`, with its templates filled in, and gives what came back, and the nonce
    /// for proofs that it may hold.
    ///
    /// # Errors
    /// No connection, or no answer.
    pub fn send(
        &self,
        case: &Prepared,
        request: &Request,
        address: IpAddr,
        template: &mut Template,
    ) -> Result<(Reply, Option<String>)> {
        let policy = request.route_policy.as_deref().or(case.case.facts.route_policy.as_deref());
        let name = case.listener_name(policy);
        let port = *self.ports.get(&name).ok_or_else(|| anyhow!("no listener {name}"))?;
        let (family, local) = if address.is_ipv4() { ("TCP4", "127.0.0.1") } else { ("TCP6", "::1") };
        let origin = format!("PROXY {family} {address} {local} 40000 443\r\n").into_bytes();
        let mut bytes = head(request, template)?;
        bytes.extend_from_slice(&template.body(&request.body)?);
        let mut client = match &case.certificates {
            None => {
                let mut client = Client::connect(port)?;
                client.send(&origin)?;
                client
            }
            Some(known) => {
                let config = match known.client(request.certificate.as_deref()) {
                    Some(config) => config,
                    None => tls::client(&self.pki, None, &[])?,
                };
                Client::connect_tls_behind(port, &origin, config, "api.demo")?
            }
        };
        client.send(&bytes)?;
        let response =
            client.read(request.method == "HEAD").with_context(|| format!("line {}: no answer", request.line))?;
        let nonce = response.header("dpop-nonce").map(str::to_owned);
        let reason = response.json().get("reason").and_then(Value::as_str).map(str::to_owned);
        let is_problem = response.header("content-type") == Some("application/problem+json");
        let reply = match response.status {
            _ if response.header("x-corpus") == Some("passed") => Reply::Passed,
            _ if response.header("grpc-message").is_some() => refused_call(&response),
            status if is_problem => Reply::Refused(status, reason),
            status if response.body.is_empty() && response.header("content-type").is_none() => Reply::Bare(status),
            status if status >= 400 && !response.text().starts_with('{') => Reply::Bare(status),
            status => Reply::Served(status),
        };
        Ok((reply, nonce))
    }

    /// What must hold after all requests.
    ///
    /// # Errors
    /// The filter failed.
    pub fn check_unharmed(&self) -> Result<()> {
        self.envoy.check_unharmed()
    }
}

/// The head in HTTP/1.1: the runner's usual lines where the request does not say otherwise.
/// A refusal as Envoy gives it to callers of gRPC: the problem document stands in `grpc-message`, with percent signs.
fn refused_call(response: &Response) -> Reply {
    let message = percent_decoded(response.header("grpc-message").unwrap_or_default().as_bytes(), false);
    let problem: Value = serde_json::from_slice(&message).unwrap_or_default();
    let status = problem.get("status").and_then(Value::as_u64).and_then(|status| status.try_into().ok());
    let reason = problem.get("reason").and_then(Value::as_str).map(str::to_owned);
    Reply::Refused(status.unwrap_or(response.status), reason)
}

fn head(request: &Request, template: &mut Template) -> Result<Vec<u8>> {
    let mut bytes = format!("{} ", request.method).into_bytes();
    bytes.extend(template.bytes(&request.target)?);
    bytes.extend_from_slice(b" HTTP/1.1\r\n");
    let given = |name: &str| request.headers.iter().any(|(known, _)| known == name);
    let left_out = |name: &str| request.without.iter().any(|known| known == name);
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    if !given(":authority") {
        line(b"host", b"api.example");
    }
    if !given("x-request-id") && !left_out("x-request-id") {
        line(b"x-request-id", b"case-1");
    }
    let body = template.body(&request.body)?;
    if !given("content-length") && (!body.is_empty() || request.method == "POST") {
        line(b"content-length", body.len().to_string().as_bytes());
    }
    for (name, value) in &request.headers {
        let name = if name == ":authority" { b"host".to_vec() } else { template.bytes(name)? };
        line(&name, &template.bytes(value)?);
    }
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}

fn listener(
    case: &Prepared,
    policy: Option<&str>,
    module: &Path,
    vm_id: &str,
    environment: &BTreeMap<String, String>,
) -> Value {
    let metadata = |policy: &str| json!({"filter_metadata": {"portcullis": {"policy": policy}}});
    let mut route = json!({
        "name": case.route_name(),
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "passed"}},
        "response_headers_to_add": [{"header": {"key": "x-corpus", "value": "passed"}}],
    });
    if let Some(policy) = policy {
        insert(&mut route, "metadata", metadata(policy));
    }
    let mut host = json!({"name": "all", "domains": ["*"], "routes": [route]});
    if let Some(policy) = &case.case.facts.virtual_host_policy {
        insert(&mut host, "metadata", metadata(policy));
    }
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let filter = filter(&case.configuration, module, vm_id, environment);
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "corpus",
        "use_remote_address": true,
        "normalize_path": false,
        "merge_slashes": false,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "preserve_external_request_id": true,
        // What the filter sees as `:scheme`: the cases are about https.
        "scheme_header_transformation": {"scheme_to_overwrite": "https"},
        "http_filters": [filter, {"name": "envoy.filters.http.router", "typed_config": {"@type": router}}],
        "route_config": {"virtual_hosts": [host]},
    });
    json!({
        "name": case.listener_name(policy),
        "address": address(0),
        // Clients come from the addresses that cases name.
        "listener_filters": [{
            "name": "envoy.filters.listener.proxy_protocol",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
            },
        }],
        "filter_chains": [{
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        }],
    })
}
