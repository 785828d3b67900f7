//! The protocol as Envoy defines it: questions are read, and answers written, by types that were generated from its definitions
//! (the crate `xds-api`), so that a field that both of our own ends misread would be found.

use portcullis_tests::client::Response;
use portcullis_tests::gateway::Gateway;
use prost::Message;
use xds_api::pb::envoy::config::core::v3::HeaderValue;
use xds_api::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use xds_api::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use xds_api::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use xds_api::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus, Quota, RateLimit};
use xds_api::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use xds_api::pb::envoy::r#type::v3::RateLimitUnit;
use xds_api::pb::google::protobuf::Duration as ProtoDuration;

use super::*;

type Said = Arc<Mutex<(Vec<RateLimitRequest>, RateLimitResponse)>>;

/// A service that keeps what it is asked, and answers what it is told to.
fn start() -> (Server, Said) {
    let said = Said::default();
    let shared = Arc::clone(&said);
    let server = Server::start(0, None, move |request| {
        let (prefix, message) = request.body.split_at(5);
        assert_eq!(prefix, [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat());
        let mut said = shared.lock().unwrap();
        said.0.push(RateLimitRequest::decode(message).unwrap());
        let message = said.1.encode_to_vec();
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        Answer { body: body.into(), ..Reply::default().to_answer() }
    });
    (server.unwrap(), said)
}

fn status(code: Code, most: u32, unit: Unit, left: u32, reset: (i64, i32)) -> DescriptorStatus {
    DescriptorStatus {
        code: code.into(),
        current_limit: Some(RateLimit { name: "named".into(), requests_per_unit: most, unit: unit.into() }),
        limit_remaining: left,
        duration_until_reset: Some(ProtoDuration { seconds: reset.0, nanos: reset.1 }),
        quota: Some(Quota { requests: 7, id: "q".into(), ..Quota::default() }),
    }
}

/// With all that an answer may have.
fn whole(code: Code, statuses: Vec<DescriptorStatus>, headers: &[(&str, &str)]) -> RateLimitResponse {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).into(),
        value: (*value).into(),
        ..HeaderValue::default()
    };
    RateLimitResponse {
        overall_code: code.into(),
        statuses,
        response_headers_to_add: headers.iter().map(header).collect(),
        request_headers_to_add: vec![header(&("x-ratelimit-remaining", "77"))],
        raw_body: b"over".to_vec(),
        dynamic_metadata: Some(Default::default()),
        quota: Some(Quota { requests: 9, id: "q".into(), ..Quota::default() }),
    }
}

fn told(response: &Response) -> [Option<&str>; 3] {
    ["ratelimit-policy", "ratelimit", "retry-after"].map(|name| response.header(name))
}

fn two_limits(service: Value, port: u16) -> (World, Gateway) {
    let limits = json!({
        "by_user": {"key": "principal", "rate": "5000/h", "scope": "global"},
        "by_method": {"key": ["claim:sub", "method"], "quota": "900/day", "scope": "global"},
    });
    let world = World::new(limits, service);
    let gateway = world.gateway(port);
    (world, gateway)
}

#[test]
fn a_question_is_what_the_definition_says() {
    let (server, said) = start();
    said.lock().unwrap().1 = whole(Code::Ok, Vec::new(), &[]);
    let ask = |service: Value| {
        let (world, gateway) = two_limits(service, server.port());
        assert_eq!(world.user(&gateway, "/user-all", "alice").status, 200);
        said.lock().unwrap().0.pop().unwrap()
    };
    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    let rate =
        |requests_per_unit, unit: RateLimitUnit| Some(RateLimitOverride { requests_per_unit, unit: unit.into() });
    let by_method = vec![entry("limit", "by_method"), entry("claim:sub", "alice"), entry("method", "GET")];
    let by_user = vec![entry("limit", "by_user"), entry("principal", "corp:alice")];
    let descriptors = vec![
        RateLimitDescriptor { entries: by_method, limit: rate(900, RateLimitUnit::Day) },
        RateLimitDescriptor { entries: by_user, limit: rate(5_000, RateLimitUnit::Hour) },
    ];
    let asked = ask(json!({"kind": "ratelimit"}));
    assert_eq!(asked, RateLimitRequest { domain: DOMAIN.into(), descriptors, hits_addend: 2 });
    let entries = vec![entry("by_method", "claim:sub=alice,method=GET"), entry("by_user", "principal=corp:alice")];
    let descriptors = vec![RateLimitDescriptor { entries, limit: None }];
    let asked = ask(json!({"kind": "limitador"}));
    assert_eq!(asked, RateLimitRequest { domain: DOMAIN.into(), descriptors, hits_addend: 2 });
}

#[test]
fn an_answer_means_what_the_definition_says() {
    let (server, said) = start();
    let (world, gateway) = two_limits(json!({"kind": "ratelimit"}), server.port());
    let ask = |answer: RateLimitResponse| {
        said.lock().unwrap().1 = answer;
        world.user(&gateway, "/user-all", "alice")
    };
    let units = [(Unit::Second, ";w=1"), (Unit::Minute, ";w=60"), (Unit::Hour, ";w=3600"), (Unit::Day, ";w=86400")];
    for (unit, window) in units.into_iter().chain([(Unit::Month, ""), (Unit::Year, "")]) {
        let statuses =
            vec![status(Code::Ok, 300, unit, 200, (70_000, 1)), status(Code::Ok, 8, Unit::Minute, 0, (9, 0))];
        let passed = ask(whole(Code::Ok, statuses, &[]));
        let policy = format!(r#""by_method";q=300{window}, "by_user";q=8;w=60"#);
        let standing = r#""by_method";r=200;t=70001, "by_user";r=0;t=9"#;
        assert_eq!((passed.status, told(&passed)), (200, [Some(policy.as_str()), Some(standing), None]));
    }
    let statuses = vec![
        status(Code::Ok, 300, Unit::Minute, 200, (70, 0)),
        status(Code::OverLimit, 8, Unit::Hour, 0, (3_000, 500_000_000)),
    ];
    let refused = ask(whole(Code::OverLimit, statuses, &[]));
    refusal::check(&refused, 429, "limit_exceeded_globally").unwrap();
    let (policy, standing) = (r#""by_user";q=8;w=3600"#, r#""by_user";r=0;t=3001"#);
    assert_eq!(told(&refused), [Some(policy), Some(standing), Some("3001")]);
    let headers = [("X-RateLimit-Limit", "8, 8;w=60"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "41")];
    let refused = ask(whole(Code::OverLimit, Vec::new(), &headers));
    assert_eq!(told(&refused), [None, None, Some("41")], "which limit it was, the service does not say");
    // Neither yes nor no: the counter here decides.
    assert_eq!(ask(whole(Code::Unknown, Vec::new(), &[])).status, 200);
    assert!(eventually(Duration::from_secs(5), || counted(&gateway, "by_user", "service_failed") == 1));
    gateway.check_unharmed().unwrap();
}
