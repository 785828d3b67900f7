//! What is sent: `RateLimitRequest` in a gRPC message.
//!
//! Field numbers: `envoy/service/ratelimit/v3/rls.proto`, `envoy/extensions/common/ratelimit/v3/ratelimit.proto`,
//! `envoy/type/v3/ratelimit_unit.proto`.

use std::time::Duration;

use super::entries::{entries, entry};
use super::{Asked, Group, LimitService};
use crate::callout::Callout;
use crate::config::schema::LimitServiceKind;
use crate::http::Method;
use crate::key_sets::FetchId;
use crate::limits::Algorithm;
use crate::protobuf::{push_bytes, push_varint};

use super::answer::MAX_RESPONSE_BYTES;

/// The method's path.
const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// The request to send.
pub(super) fn callout(service: &LimitService, group: &Group, id: FetchId) -> Callout {
    Callout {
        id,
        cluster: service.cluster.clone(),
        authority: service.authority.clone(),
        path: PATH.to_owned(),
        method: Method::Post,
        headers: vec![
            ("content-type", "application/grpc".to_owned()),
            // "gRPC over HTTP2": tells the server that trailers will be read.
            ("te", "trailers".to_owned()),
            ("grpc-timeout", format!("{}m", service.timeout.as_millis().clamp(1, 99_999_999))),
        ],
        body: framed(&message(service, group)),
        timeout: service.timeout,
        max_response_bytes: MAX_RESPONSE_BYTES,
    }
}

/// A message with its gRPC prefix: not compressed, and its length ("gRPC over HTTP2", Length-Prefixed-Message).
fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    // A limit's key is bounded by the request's head, far below 4 GiB.
    frame.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// `RateLimitRequest { string domain = 1; repeated RateLimitDescriptor descriptors = 2; uint32 hits_addend = 3; }`
fn message(service: &LimitService, group: &Group) -> Vec<u8> {
    let mut out = Vec::new();
    push_bytes(&mut out, 1, service.domain.as_bytes());
    match service.kind {
        LimitServiceKind::Limitador => push_bytes(&mut out, 2, &together(service, &group.limits)),
        LimitServiceKind::Ratelimit => {
            for asked in &group.limits {
                push_bytes(&mut out, 2, &descriptor(service, asked));
            }
        }
    }
    push_varint(&mut out, 3, group.asks.min(u64::from(u32::MAX)));
    out
}

/// One descriptor for all limits. Limitador finds a descriptor by its place in the question alone, which depends on the rule.
fn together(service: &LimitService, limits: &[Asked]) -> Vec<u8> {
    let mut out = Vec::new();
    for (limit, key) in limits.iter().filter_map(|asked| entry(&asked.descriptor, &service.values)) {
        push_entry(&mut out, &limit, &key);
    }
    out
}

/// `Entry { string key = 1; string value = 2; }`
fn push_entry(out: &mut Vec<u8>, key: &str, value: &str) {
    let mut entry = Vec::new();
    push_bytes(&mut entry, 1, key.as_bytes());
    push_bytes(&mut entry, 2, value.as_bytes());
    push_bytes(out, 1, &entry);
}

/// `RateLimitDescriptor { repeated Entry entries = 1; RateLimitOverride limit = 2; }`
fn descriptor(service: &LimitService, asked: &Asked) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in entries(&asked.descriptor, &service.values) {
        push_entry(&mut out, &key, &value);
    }
    if let Some((requests, unit)) = rate(&asked.algorithm).filter(|_| service.sends_rates) {
        // `RateLimitOverride { uint32 requests_per_unit = 1; RateLimitUnit unit = 2; }`
        let mut limit = Vec::new();
        push_varint(&mut limit, 1, u64::from(requests));
        push_varint(&mut limit, 2, unit);
        push_bytes(&mut out, 2, &limit);
    }
    out
}

/// The rate in the protocol's words, where it has some: so many per second, minute, hour, day or month.
fn rate(algorithm: &Algorithm) -> Option<(u32, u64)> {
    const UNITS: [(Duration, u64); 4] = [
        (Duration::from_secs(1), 1),
        (Duration::from_secs(60), 2),
        (Duration::from_secs(3_600), 3),
        (Duration::from_secs(86_400), 4),
    ];
    const MONTH: u64 = 5;
    let unit = match algorithm.window() {
        Some(window) => UNITS.iter().find(|(length, _)| *length == window)?.1,
        None => MONTH,
    };
    Some((u32::try_from(algorithm.per_window()).ok()?, unit))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::global_limits::Values;
    use crate::limits::{Descriptor, PartKind, fixed_window, gcra};

    fn service() -> LimitService {
        LimitService {
            cluster: "limits".into(),
            authority: "limits".into(),
            kind: LimitServiceKind::Ratelimit,
            domain: "shop".into(),
            timeout: Duration::from_millis(100),
            deny_on_error: false,
            sends_rates: true,
            values: Values::Clear { secret: Vec::new() },
            max_in_flight: 10,
        }
    }

    fn per(seconds: u64) -> Algorithm {
        let ten = NonZeroU64::new(10).unwrap();
        Algorithm::Gcra(gcra::Quota::new(ten, Duration::from_secs(seconds), ten).unwrap())
    }

    fn asked(algorithm: Algorithm) -> Group {
        let mut descriptor = Descriptor::new();
        descriptor.start("a").part(PartKind::Principal, "corp", b"bo");
        let asked = Asked { limit: 0, descriptor, algorithm, standing: None };
        Group { limits: vec![asked], cost: 2, asks: 2, ..Group::default() }
    }

    #[test]
    fn the_message_is_as_its_definition_says() {
        let callout = callout(&service(), &asked(per(60)), FetchId(1));
        let mut expected = vec![0, 0, 0, 0, 50];
        expected.extend(b"\x0a\x04shop");
        expected.extend(b"\x12\x28");
        expected.extend(b"\x0a\x0a\x0a\x05limit\x12\x01a");
        expected.extend(b"\x0a\x14\x0a\x09principal\x12\x07corp:bo");
        expected.extend(b"\x12\x04\x08\x0a\x10\x02");
        expected.extend(b"\x18\x02");
        assert_eq!(callout.body, expected);
    }

    #[test]
    fn a_rate_is_sent_where_the_protocol_has_a_word_for_its_window() {
        let units: Vec<_> = [1, 60, 3_600, 86_400, 30].map(|seconds| rate(&per(seconds)).map(|(_, unit)| unit)).into();
        assert_eq!(units, [Some(1), Some(2), Some(3), Some(4), None]);
        let monthly = Algorithm::FixedWindow(fixed_window::Quota::monthly(NonZeroU64::new(7).unwrap()));
        assert_eq!(rate(&monthly), Some((7, 5)));
        let endless = NonZeroU64::new(1 << 40).unwrap();
        assert_eq!(rate(&Algorithm::FixedWindow(fixed_window::Quota::monthly(endless))), None);
    }

    #[test]
    fn limitador_gets_one_descriptor_with_an_entry_for_each_limit() {
        let mut group = asked(per(60));
        group.limits.extend(asked(per(60)).limits);
        let service = LimitService { kind: LimitServiceKind::Limitador, ..service() };
        let entry = b"\x0a\x16\x0a\x01a\x12\x11principal=corp:bo";
        let expected = [&b"\x0a\x04shop\x12\x30"[..], entry, entry, b"\x18\x02"].concat();
        assert_eq!(callout(&service, &group, FetchId(1)).body.get(5..), Some(expected.as_slice()));
    }

    #[test]
    fn a_service_that_is_asked_otherwise_is_another_one() {
        let same = service().identity();
        let others = [
            LimitService { cluster: "limit".into(), authority: "slimits".into(), ..service() },
            LimitService { authority: "other".into(), ..service() },
            LimitService { kind: LimitServiceKind::Limitador, ..service() },
            LimitService { domain: "shop2".into(), ..service() },
            LimitService { sends_rates: false, ..service() },
            LimitService { values: Values::Hashed, ..service() },
        ];
        assert!(others.iter().all(|other| other.identity() != same));
        let patient =
            LimitService { timeout: Duration::from_secs(1), deny_on_error: true, max_in_flight: 1, ..service() };
        assert_eq!(patient.identity(), same, "how long it is waited for changes no answer");
    }

    #[test]
    fn without_rates_a_descriptor_is_its_entries() {
        let body = callout(&LimitService { sends_rates: false, ..service() }, &asked(per(60)), FetchId(1)).body;
        assert!(body.ends_with(b"\x0a\x09principal\x12\x07corp:bo\x18\x02"), "{body:?}");
    }
}
