//! What comes back: a gRPC message with a `RateLimitResponse`, or a failure.
//!
//! Every byte of it may be hostile: what does not read is a failure, never a yes or a no.

use std::fmt;
use std::time::Duration;

use crate::http::Headers;
use crate::protobuf::{Field, Payload, field};

/// The longest answer that is read.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// What the service said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// One of the limits is used up.
    pub is_over: bool,
    /// How each descriptor stands, in their order; empty where the service does not say (Limitador).
    pub statuses: Vec<Status>,
    /// How the tightest limit stands, by headers that the service wants to see in the response.
    pub headers: Status,
}

/// How one limit stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// It is used up.
    pub is_over: bool,
    /// How much a window admits, and how long it is.
    pub current: Option<(u64, Window)>,
    /// How much is left in this window.
    pub remaining: Option<u64>,
    /// When the next window begins.
    pub reset_after: Option<Duration>,
}

/// The length of a window; months and years have none that is always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(pub Option<Duration>);

/// Why a question brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came in time, or the cluster cannot be reached.
    NoAnswer,
    /// The status was not 200.
    HttpStatus(u16),
    /// `grpc-status` was not 0.
    GrpcStatus(u32),
    /// It is no gRPC message with a `RateLimitResponse`.
    Malformed(&'static str),
    /// Neither yes nor no (`overall_code: UNKNOWN`): the service does not know the domain, perhaps.
    Undecided,
    /// The service has failed lately and is left alone, or too many questions are under way: nobody was asked.
    NotAsked,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("no answer (is the cluster there, and does it speak HTTP/2?)"),
            Self::HttpStatus(status) => write!(f, "status {status}"),
            // The proxy itself says 14 where it has no connection.
            Self::GrpcStatus(14) => {
                f.write_str("grpc-status 14 (is the service there, and does its cluster speak HTTP/2?)")
            }
            Self::GrpcStatus(status) => write!(f, "grpc-status {status}"),
            Self::Malformed(what) => write!(f, "{what}"),
            Self::Undecided => f.write_str("it does not say yes or no (does it know the domain?)"),
            Self::NotAsked => f.write_str("it was not asked: it has failed, or too many questions are under way"),
        }
    }
}

/// Reads the answer to a question with `asked` descriptors.
///
/// # Errors
/// [`Failure`]
pub fn read(headers: &Headers, trailers: Option<&Headers>, body: &[u8], asked: usize) -> Result<Answer, Failure> {
    let number = |headers: &Headers, name: &str| headers.text(name).ok().flatten()?.parse::<u32>().ok();
    match number(headers, ":status") {
        Some(200) => {}
        other => return Err(Failure::HttpStatus(other.and_then(|status| u16::try_from(status).ok()).unwrap_or(0))),
    }
    // An error without a message comes as headers alone ("Trailers-Only").
    match number(headers, "grpc-status").or_else(|| trailers.and_then(|trailers| number(trailers, "grpc-status"))) {
        Some(0) => {}
        Some(status) => return Err(Failure::GrpcStatus(status)),
        None => return Err(Failure::Malformed("it has no grpc-status")),
    }
    let is_grpc = headers.text("content-type").ok().flatten().is_some_and(|kind| kind.starts_with("application/grpc"));
    if !is_grpc {
        return Err(Failure::Malformed("its content-type is not that of gRPC"));
    }
    if body.len() > MAX_RESPONSE_BYTES {
        return Err(Failure::Malformed("it is too long"));
    }
    let message = unframed(body).ok_or(Failure::Malformed("it is not one gRPC message"))?;
    response(message, asked).ok_or(Failure::Malformed("it is no RateLimitResponse"))?
}

/// The one message of a body, which is not compressed: nobody has asked for that.
fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = body.split_first_chunk::<5>()?;
    let [flag, length @ ..] = *prefix;
    (flag == 0 && u32::from_be_bytes(length) as usize == message.len()).then_some(message)
}

const OK: u64 = 1;
const OVER_LIMIT: u64 = 2;

/// `RateLimitResponse { Code overall_code = 1; repeated DescriptorStatus statuses = 2;
/// repeated HeaderValue response_headers_to_add = 3; }`; what else it may have says nothing to us.
fn response(message: &[u8], asked: usize) -> Option<Result<Answer, Failure>> {
    let (mut code, mut statuses) = (0, 0_usize);
    let mut answer = Answer::default();
    for_each_field(message, |field| {
        match (field.number, field.payload) {
            (1, Payload::Varint(value)) => code = value,
            (2, Payload::Bytes(bytes)) => {
                statuses = statuses.saturating_add(1);
                if statuses <= asked {
                    answer.statuses.push(status(bytes)?);
                }
            }
            (3, Payload::Bytes(bytes)) => header(bytes, &mut answer.headers)?,
            (1..=3, _) => return None,
            _ => {}
        }
        Some(())
    })?;
    // Not one for each descriptor: nobody can tell whose they are.
    if statuses != asked {
        answer.statuses.clear();
    }
    match code {
        OK => Some(Ok(answer)),
        OVER_LIMIT => Some(Ok(Answer { is_over: true, ..answer })),
        0 => Some(Err(Failure::Undecided)),
        _ => None,
    }
}

/// `DescriptorStatus { Code code = 1; RateLimit current_limit = 2; uint32 limit_remaining = 3; Duration duration_until_reset = 4; }`
fn status(bytes: &[u8]) -> Option<Status> {
    let mut status = Status::default();
    for_each_field(bytes, |field| {
        match (field.number, field.payload) {
            (1, Payload::Varint(code)) => status.is_over = code == OVER_LIMIT,
            (2, Payload::Bytes(bytes)) => status.current = current_limit(bytes)?,
            (3, Payload::Varint(remaining)) => status.remaining = Some(remaining),
            (4, Payload::Bytes(bytes)) => status.reset_after = Some(duration(bytes)?),
            (1..=4, _) => return None,
            _ => {}
        }
        Some(())
    })?;
    // Zero is not sent, and means none where the limit is there at all.
    if status.current.is_some() {
        status.remaining = status.remaining.or(Some(0));
    }
    Some(status)
}

/// `RateLimit { uint32 requests_per_unit = 1; Unit unit = 2; string name = 3; }`
fn current_limit(bytes: &[u8]) -> Option<Option<(u64, Window)>> {
    let (mut requests, mut unit) = (0, 0);
    for_each_field(bytes, |field| {
        match (field.number, field.payload) {
            (1, Payload::Varint(value)) => requests = value,
            (2, Payload::Varint(value)) => unit = value,
            (1 | 2, _) => return None,
            _ => {}
        }
        Some(())
    })?;
    let window = match unit {
        1 => Some(1),
        2 => Some(60),
        3 => Some(3_600),
        4 => Some(86_400),
        5 | 6 => None,
        _ => return Some(None),
    };
    Some(Some((requests, Window(window.map(Duration::from_secs)))))
}

/// `google.protobuf.Duration { int64 seconds = 1; int32 nanos = 2; }`; one that is negative is none.
fn duration(bytes: &[u8]) -> Option<Duration> {
    const LONGEST: u64 = 366 * 86_400;
    let (mut seconds, mut nanos) = (0, 0);
    for_each_field(bytes, |field| {
        match (field.number, field.payload) {
            (1, Payload::Varint(value)) => seconds = value,
            (2, Payload::Varint(value)) => nanos = value,
            _ => return None,
        }
        Some(())
    })?;
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    // Negative numbers are the greatest ones here.
    Some(Duration::new(if i64::try_from(seconds).is_ok() { seconds.min(LONGEST) } else { 0 }, nanos))
}

/// `HeaderValue { string key = 1; string value = 2; bytes raw_value = 3; }`
fn header(bytes: &[u8], status: &mut Status) -> Option<()> {
    let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
    let mut rest = bytes;
    while !rest.is_empty() {
        match field(&mut rest)? {
            Field { number: 1, payload: Payload::Bytes(bytes) } => key = bytes,
            Field { number: 2 | 3, payload: Payload::Bytes(bytes) } => value = bytes,
            Field { number: 1..=3, .. } => return None,
            _ => {}
        }
    }
    let number = || std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if key.eq_ignore_ascii_case(b"x-ratelimit-remaining") {
        status.remaining = number().map(u64::from);
    } else if key.eq_ignore_ascii_case(b"x-ratelimit-reset") || key.eq_ignore_ascii_case(b"retry-after") {
        status.reset_after = number().map(|seconds| Duration::from_secs(seconds.into()));
    }
    Some(())
}

fn for_each_field<'a>(message: &'a [u8], mut each: impl FnMut(Field<'a>) -> Option<()>) -> Option<()> {
    let mut rest = message;
    while !rest.is_empty() {
        each(field(&mut rest)?)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::{push_bytes, push_varint};
    use proptest::prelude::*;

    fn map(lines: &[(&str, &str)]) -> Headers {
        let mut bytes = u32::try_from(lines.len()).unwrap().to_le_bytes().to_vec();
        for (name, value) in lines {
            bytes.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
            bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        }
        for (name, value) in lines {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        }
        Headers::from_pairs_buffer(bytes).unwrap()
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend_from_slice(message);
        body
    }

    fn good(message: &[u8], asked: usize) -> Result<Answer, Failure> {
        let headers = map(&[(":status", "200"), ("content-type", "application/grpc+proto")]);
        read(&headers, Some(&map(&[("grpc-status", "0")])), &framed(message), asked)
    }

    fn overall(code: u64) -> Vec<u8> {
        let mut out = Vec::new();
        push_varint(&mut out, 1, code);
        out
    }

    #[test]
    fn yes_no_and_neither() {
        assert_eq!(good(&overall(1), 1), Ok(Answer::default()));
        assert!(good(&overall(2), 1).unwrap().is_over);
        assert_eq!(good(&[], 1), Err(Failure::Undecided));
        assert!(matches!(good(&overall(3), 1), Err(Failure::Malformed(_))));
    }

    #[test]
    fn statuses_say_how_each_limit_stands() {
        let (mut duration, mut limit, mut status) = (Vec::new(), Vec::new(), Vec::new());
        push_varint(&mut duration, 1, 7);
        push_varint(&mut limit, 1, 100);
        push_varint(&mut limit, 2, 2);
        push_varint(&mut status, 1, OVER_LIMIT);
        push_bytes(&mut status, 2, &limit);
        push_bytes(&mut status, 4, &duration);
        let mut message = overall(OVER_LIMIT);
        push_bytes(&mut message, 2, &status);
        push_bytes(&mut message, 2, &[]);
        let answer = good(&message, 2).unwrap();
        let expected = Status {
            is_over: true,
            current: Some((100, Window(Some(Duration::from_secs(60))))),
            remaining: Some(0),
            reset_after: Some(Duration::from_secs(7)),
        };
        assert_eq!(answer.statuses, [expected, Status::default()]);
        assert!(good(&message, 3).unwrap().statuses.is_empty(), "nobody can tell whose they are");
    }

    #[test]
    fn limitador_s_headers_say_how_the_tightest_limit_stands() {
        let mut message = overall(OVER_LIMIT);
        for (key, value) in [("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "42"), ("x-other", "many")] {
            let mut header = Vec::new();
            push_bytes(&mut header, 1, key.as_bytes());
            push_bytes(&mut header, 2, value.as_bytes());
            push_bytes(&mut message, 3, &header);
        }
        let headers = good(&message, 1).unwrap().headers;
        assert_eq!((headers.remaining, headers.reset_after), (Some(0), Some(Duration::from_secs(42))));
    }

    #[test]
    fn what_is_no_grpc_answer_is_a_failure() {
        let body = framed(&overall(1));
        let grpc = ("content-type", "application/grpc");
        let read = |headers: &[(&str, &str)], trailers: &[(&str, &str)], body: &[u8]| {
            read(&map(headers), Some(&map(trailers)), body, 1)
        };
        let zero = [("grpc-status", "0")];
        assert!(read(&[(":status", "200"), grpc], &zero, &body).is_ok());
        assert_eq!(read(&[(":status", "503"), grpc], &zero, &body), Err(Failure::HttpStatus(503)));
        assert_eq!(read(&[grpc], &zero, &body), Err(Failure::HttpStatus(0)));
        assert_eq!(read(&[(":status", "200"), grpc, ("grpc-status", "14")], &[], &[]), Err(Failure::GrpcStatus(14)));
        assert_eq!(read(&[(":status", "200"), grpc], &[("grpc-status", "12")], &body), Err(Failure::GrpcStatus(12)));
        for (headers, trailers, body) in [
            (&[(":status", "200"), grpc][..], &[][..], body.as_slice()),
            (&[(":status", "200"), ("content-type", "text/html")], &zero, &body),
            (&[(":status", "200"), grpc], &zero, &[]),
            (&[(":status", "200"), grpc], &zero, body.split_last().unwrap().1),
            (&[(":status", "200"), grpc], &zero, &[body.as_slice(), &body].concat()),
            (&[(":status", "200"), grpc], &zero, &[1, 0, 0, 0, 2, 8, 1]),
            // A wire type that the field does not have.
            (&[(":status", "200"), grpc], &zero, &framed(b"\x0a\x011")),
            (&[(":status", "200"), grpc], &zero, &framed(b"\x08\x01\x10\x01")),
        ] {
            assert!(matches!(read(headers, trailers, body), Err(Failure::Malformed(_))), "{headers:?} {body:?}");
        }
    }

    #[test]
    fn a_reset_in_the_past_or_a_thousand_years_on_is_bounded() {
        let mut bytes = Vec::new();
        push_varint(&mut bytes, 1, (-5_i64) as u64);
        assert_eq!(duration(&bytes), Some(Duration::ZERO));
        let mut bytes = Vec::new();
        push_varint(&mut bytes, 1, 1 << 40);
        assert_eq!(duration(&bytes), Some(Duration::from_secs(366 * 86_400)));
    }

    proptest! {
        #[test]
        fn no_bytes_harm(body in prop::collection::vec(any::<u8>(), 0..200), asked in 0usize..4) {
            let _ = good(&body, asked);
            let headers = map(&[(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")]);
            let _ = read(&headers, None, &body, asked);
        }

        #[test]
        fn a_good_answer_that_is_cut_short_or_bent_is_never_another_count(
            at in 0usize..40, with in any::<u8>(), cut in 0usize..40,
        ) {
            let mut message = overall(OVER_LIMIT);
            push_bytes(&mut message, 2, b"\x08\x02\x12\x04\x08\x0a\x10\x02\x22\x02\x08\x07");
            if let Some(byte) = message.get_mut(at) {
                *byte = with;
            }
            message.truncate(message.len().saturating_sub(cut));
            if let Ok(answer) = good(&message, 1) {
                prop_assert!(answer.statuses.len() <= 1);
            }
        }
    }
}
