//! The names under which a request is followed through the reference gateway: its id, and its trace (W3C Trace Context).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::string_slice, reason = "and so has one that finds less than it looks for")]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_tests::client::{Call, Client, Response};
use portcullis_tests::collector::{Collector, Span};
use portcullis_tests::eventually;
use portcullis_tests::mint::Token;
use portcullis_tests::reference::{Grounds, Reference};
use serde_json::{Value, json};

struct World {
    gateway: Reference,
    /// The same gateway with a collector, to which it sends the spans of every request.
    recording: Reference,
    collector: Collector,
    grounds: Grounds,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World::start().unwrap_or_else(|error| panic!("{error:#}")));

impl World {
    fn start() -> anyhow::Result<Self> {
        let grounds = Grounds::prepare("tracing")?;
        let collector = Collector::start()?;
        let gateway = grounds.start("silent", &mut |_| ())?;
        let recording = grounds.start("recording", &mut |config| record_everything(config, collector.port()))?;
        Ok(Self { gateway, recording, collector, grounds })
    }

    /// A call that is served, of somebody new each time: no limit is about these tests.
    fn orders(&self) -> Call {
        static CALLERS: AtomicUsize = AtomicUsize::new(0);
        let caller = format!("trace-{}", CALLERS.fetch_add(1, Ordering::Relaxed));
        Call::get("/orders/17").bearer(&Token::of(&caller).scope("read_orders").sign(&self.grounds.key))
    }
}

/// What an operator with a collector changes in `envoy.yaml`. And the service `reports` is not there.
fn record_everything(config: &mut Value, port: u16) {
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/tracing/random_sampling/value";
    *config.pointer_mut(manager).unwrap() = json!(100);
    let clusters = config["static_resources"]["clusters"].as_array_mut().unwrap();
    for (name, port) in [("traces", port), ("reports", CLOSED_PORT)] {
        let cluster = clusters.iter_mut().find(|cluster| cluster["name"] == name).unwrap();
        let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        cluster["load_assignment"]["endpoints"] = json!([{"lb_endpoints": [{"endpoint": {"address": address}}]}]);
    }
}

/// Nothing listens there.
const CLOSED_PORT: u16 = 1;

fn send(gateway: &Reference, call: &Call) -> Response {
    gateway.client(&WORLD.grounds.pki).unwrap().call(call).unwrap()
}

fn line_of(gateway: &Reference, response: &Response) -> Value {
    gateway.access_log_of(response).unwrap()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// The one `traceparent` that the service has got: trace, span and flags.
fn traceparent(response: &Response) -> [String; 3] {
    let sent = response.upstream_header("traceparent");
    assert_eq!(sent.len(), 1, "{sent:?}");
    let parts: Vec<&str> = sent[0].split('-').collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 32, 16, 2], "{sent:?}");
    assert!(
        parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))),
        "{sent:?}"
    );
    assert_ne!(parts[1], "0".repeat(32));
    [parts[1].to_owned(), parts[2].to_owned(), parts[3].to_owned()]
}

/// The `tracestate` that the service has got, where it says anything.
fn tracestate(response: &Response) -> Vec<String> {
    let mut sent = response.upstream_header("tracestate");
    sent.retain(|value| !value.is_empty());
    sent
}

#[test]
fn a_trace_that_a_client_names_goes_on_to_the_service() {
    let call = WORLD.orders().header("traceparent", &format!("00-{TRACE}-{SPAN}-00")).header("tracestate", "vendor=1");
    let response = send(&WORLD.gateway, &call);
    let [trace, span, _] = traceparent(&response);
    assert_eq!(trace, TRACE);
    assert_ne!(span, SPAN, "the span is the gateway's own");
    assert_eq!(tracestate(&response), ["vendor=1"]);
    assert_eq!(line_of(&WORLD.gateway, &response)["trace"], TRACE);
}

#[test]
fn a_trace_begins_where_a_client_names_none() {
    let response = send(&WORLD.gateway, &WORLD.orders());
    let [trace, ..] = traceparent(&response);
    assert_eq!(line_of(&WORLD.gateway, &response)["trace"], trace.as_str());
    let [another, ..] = traceparent(&send(&WORLD.gateway, &WORLD.orders()));
    assert_ne!(trace, another);
}

#[test]
fn what_is_no_trace_is_replaced_with_its_state() {
    let (zero_trace, zero_span) = ("0".repeat(32), "0".repeat(16));
    let malformed = [
        "nonsense".to_owned(),
        String::new(),
        format!("00-{zero_trace}-{SPAN}-01"),
        format!("00-{TRACE}-{zero_span}-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("01-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-0g"),
        // As long as it should be, with the parts where they should not be.
        format!("00-{}-{}{SPAN}-01", &TRACE[..31], &TRACE[31..]),
        format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-01 x"),
        format!("00-{}-{SPAN}-01\" or 1=1", &TRACE[..20]),
    ];
    for sent in malformed {
        let call = WORLD.orders().header("traceparent", &sent).header("tracestate", "vendor=1");
        let response = send(&WORLD.gateway, &call);
        assert_eq!(response.status, 200, "{sent}: {}", response.text());
        let [trace, ..] = traceparent(&response);
        assert_ne!(trace, TRACE, "{sent}");
        assert_eq!(tracestate(&response), [""; 0], "{sent}");
        assert_eq!(line_of(&WORLD.gateway, &response)["trace"], trace.as_str(), "{sent}");
    }
}

#[test]
fn of_two_traces_neither_is_believed() {
    let other = TRACE.replace("4bf", "5bf");
    let call = WORLD.orders().header("traceparent", &format!("00-{TRACE}-{SPAN}-00"));
    let response = send(&WORLD.gateway, &call.header("traceparent", &format!("00-{other}-{SPAN}-00")));
    let [trace, ..] = traceparent(&response);
    assert!(trace != TRACE && trace != other, "{trace}");
}

#[test]
fn a_state_without_a_trace_goes_nowhere() {
    let response = send(&WORLD.gateway, &WORLD.orders().header("tracestate", "vendor=1"));
    traceparent(&response);
    assert_eq!(tracestate(&response), [""; 0]);
}

#[test]
fn the_gateways_own_headers_are_nobody_elses() {
    let named = format!("00-{TRACE}-{SPAN}-01");
    let call = WORLD.orders().header("x-gateway-traceparent", &named).header("x-gateway-tracestate", "vendor=1");
    let response = send(&WORLD.gateway, &call);
    assert_ne!(traceparent(&response)[0], TRACE);
    assert_eq!(tracestate(&response), [""; 0]);
    for name in ["x-gateway-traceparent", "x-gateway-tracestate"] {
        assert_eq!(response.upstream_header(name), [""; 0]);
    }
}

#[test]
fn no_stranger_makes_the_gateway_record() {
    let forcing = [
        ("traceparent", format!("00-{TRACE}-{SPAN}-01")),
        ("x-client-trace-id", "1".to_owned()),
        ("x-envoy-force-trace", "true".to_owned()),
        ("b3", format!("{TRACE}-{SPAN}-1")),
        ("x-b3-sampled", "1".to_owned()),
    ];
    for (name, value) in forcing {
        let response = send(&WORLD.gateway, &WORLD.orders().header(name, &value));
        assert_eq!(traceparent(&response)[2], "00", "{name}");
    }
}

/// The spans of a trace, once there are `count` of them.
fn spans_of(trace: &str, count: usize) -> Vec<Span> {
    let find = || WORLD.collector.spans().into_iter().filter(|span| span.trace_id == trace).collect::<Vec<_>>();
    // Envoy exports at intervals.
    assert!(eventually(Duration::from_secs(20), || find().len() >= count), "{:?}", WORLD.collector.spans());
    find()
}

#[test]
fn the_collector_gets_the_spans_of_the_trace_that_service_and_log_have() {
    let response = send(&WORLD.recording, &WORLD.orders());
    assert_eq!(response.status, 200, "{}", response.text());
    let [trace, span, flags] = traceparent(&response);
    assert_eq!(flags, "01");
    assert_eq!(line_of(&WORLD.recording, &response)["trace"], trace.as_str());
    let spans = spans_of(&trace, 1);
    let ids: Vec<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    assert!(ids.contains(&span.as_str()), "the span that the service was told of is none of {spans:?}");
    let first = spans.iter().find(|span| span.parent_id.is_empty()).unwrap();
    // By this the span, the answer, the log and the audit event are of one request.
    assert_eq!(first.attribute("guid:x-request-id"), response.header("x-request-id"), "{first:?}");
    assert_eq!(WORLD.collector.unreadable(), 0);
}

#[test]
fn a_trace_of_a_client_is_recorded_below_the_clients_own_span() {
    let call = WORLD.orders().header("traceparent", &format!("00-{TRACE}-{SPAN}-01"));
    let response = send(&WORLD.recording, &call);
    assert_eq!(traceparent(&response)[0], TRACE);
    let spans = spans_of(TRACE, 1);
    assert!(spans.iter().any(|span| span.parent_id == SPAN), "{spans:?}");
}

#[test]
fn a_refusal_is_recorded_too_and_without_what_was_secret() {
    let call = Call::get("/orders/17?access_token=very-secret").bearer("not.a.token");
    let response = send(&WORLD.recording, &call);
    assert_eq!(response.status, 401);
    let trace = line_of(&WORLD.recording, &response)["trace"].as_str().unwrap().to_owned();
    let spans = spans_of(&trace, 1);
    assert_eq!(spans[0].attribute("http.status_code"), Some("401"), "{spans:?}");
    assert_eq!(spans[0].attribute("url.path"), Some("/orders/17"), "{spans:?}");
    assert!(!format!("{spans:?}").contains("not.a.token"), "{spans:?}");
    assert!(!format!("{spans:?}").contains("very-secret"), "{spans:?}");
}

#[test]
fn without_a_collector_requests_are_served_all_the_same() {
    let call = WORLD.orders().header("traceparent", &format!("00-{TRACE}-{SPAN}-01"));
    assert_eq!(send(&WORLD.gateway, &call).status, 200);
    WORLD.gateway.check_unharmed().unwrap();
}

#[test]
fn the_service_and_the_client_read_the_same_request_id() {
    let response = send(&WORLD.gateway, &WORLD.orders());
    let id = response.header("x-request-id").unwrap();
    assert_eq!(response.upstream_header("x-request-id"), [id]);
    assert_eq!(line_of(&WORLD.gateway, &response)["request"], id);
}

#[test]
fn every_answer_names_its_request_whoever_gives_it() {
    let stopped = |call: Call, status: u16, details: &str| {
        let response = send(&WORLD.recording, &call);
        assert_eq!(response.status, status, "{}", response.text());
        let id = response.header("x-request-id").unwrap_or_else(|| panic!("{status}: {response:?}"));
        assert_eq!(id.len(), 36, "{id}");
        let line = line_of(&WORLD.recording, &response);
        assert_eq!(line["status"], status);
        assert!(line["details"].as_str().unwrap().contains(details), "{line}");
        response
    };
    // The filter, by a rule and before any.
    stopped(Call::get("/orders/17"), 401, "portcullis_credentials_missing");
    stopped(Call::get("/orders/..%2Freports"), 400, "portcullis_path_encoded_slash");
    stopped(Call::get("/nowhere"), 404, "portcullis_route_unmatched");
    // Envoy: a route without a service, and a service that is not there.
    stopped(Call::get("/healthz"), 200, "direct_response");
    let token = Token::of("trace-alice").scope("read_reports").sign(&WORLD.grounds.key);
    let response = stopped(Call::get("/reports/1").bearer(&token), 503, "upstream_reset");
    assert_eq!(response.json()["request_id"], response.header("x-request-id").unwrap());
}

#[test]
fn the_way_to_https_names_its_request_too() {
    let mut client = Client::connect(WORLD.gateway.ports().http).unwrap();
    let response = client.call(&Call::get("/orders/17")).unwrap();
    assert_eq!(response.status, 301);
    assert_eq!(response.header("x-request-id").map(str::len), Some(36));
}
