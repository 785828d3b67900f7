//! A provider's answer, which is a stranger's too: what of it is looked at, and what it says about its own lifetime.

use std::time::Duration;

use super::discovery::DiscoveryError;
use super::source::MIN_REFRESH;

/// The most bytes of a key set or of its metadata that are taken.
pub const MAX_RESPONSE_BYTES: usize = 256 * 1024;
/// The most bytes of a parser's complaint that are kept for the log.
const MAX_REASON_BYTES: usize = 200;

/// How a [`Fetch`](super::Fetch) ended, as the shell saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchOutcome<'a> {
    /// A complete HTTP answer came.
    Answer {
        /// The status code.
        status: u16,
        /// The field `cache-control`, several lines joined by commas.
        cache_control: Option<&'a [u8]>,
        /// The whole body.
        body: &'a [u8],
    },
    /// The body is longer than `max_response_bytes`; the shell did not read it.
    TooLarge,
    /// Nothing came: timeout, reset, no such cluster, or the request could not be sent.
    NoAnswer,
}

/// Why an attempt brought no key set. The standing one stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// Nothing came.
    NoAnswer,
    /// The status is not 200.
    Status(u16),
    /// The body is longer than what is taken.
    TooLarge {
        /// The most bytes that are taken.
        max_bytes: usize,
    },
    /// The metadata do not lead to a key set.
    Discovery(DiscoveryError),
    /// The body is no key set with at least one usable key; the parser's reason, cut to a line of the log.
    KeySet(String),
}

impl FetchError {
    /// The stable name for counters and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::Status(_) => "status",
            Self::TooLarge { .. } => "too_large",
            Self::Discovery(_) => "discovery",
            Self::KeySet(_) => "key_set",
        }
    }

    pub(super) fn key_set(mut reason: String) -> Self {
        let end = (0..=MAX_REASON_BYTES).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        reason.truncate(end);
        Self::KeySet(reason)
    }
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("the provider did not answer"),
            Self::Status(status) => write!(f, "the provider answered with status {status}"),
            Self::TooLarge { max_bytes } => write!(f, "the provider's answer is longer than {max_bytes} bytes"),
            Self::Discovery(_) => f.write_str("the provider's metadata cannot be used"),
            Self::KeySet(reason) => write!(f, "the provider's key set cannot be used: {reason}"),
        }
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Discovery(error) => Some(error),
            _ => None,
        }
    }
}

/// The body of a good answer of at most `max_bytes`, and its `cache-control`.
pub(super) fn document<'a>(
    outcome: FetchOutcome<'a>,
    max_bytes: usize,
) -> Result<(&'a [u8], Option<&'a [u8]>), FetchError> {
    match outcome {
        FetchOutcome::NoAnswer => Err(FetchError::NoAnswer),
        FetchOutcome::TooLarge => Err(FetchError::TooLarge { max_bytes }),
        FetchOutcome::Answer { status, .. } if status != 200 => Err(FetchError::Status(status)),
        FetchOutcome::Answer { body, .. } if body.len() > max_bytes => Err(FetchError::TooLarge { max_bytes }),
        FetchOutcome::Answer { body, cache_control, .. } => Ok((body, cache_control)),
    }
}

/// How long the answer may be used before the next fetch: the shorter of `refresh` and its `max-age` (RFC 9111, section
/// 5.2.2.1), and at least [`MIN_REFRESH`].
///
/// `max-age=0`, `no-cache` and `no-store` say nothing here: many providers send them with everything, and `refresh` is
/// what the operator has chosen.
pub(super) fn interval(cache_control: Option<&[u8]>, refresh: Duration) -> Duration {
    let max_age = cache_control.and_then(max_age).filter(|age| !age.is_zero());
    max_age.map_or(refresh, |age| age.min(refresh)).max(MIN_REFRESH)
}

/// The smallest `max-age` of the field; what is malformed is left out.
fn max_age(field: &[u8]) -> Option<Duration> {
    let directives = field.split(|byte| *byte == b',');
    directives.filter_map(max_age_of).min()
}

fn max_age_of(directive: &[u8]) -> Option<Duration> {
    let equals = directive.iter().position(|byte| *byte == b'=')?;
    let (name, value) = directive.split_at_checked(equals)?;
    let value = value.strip_prefix(b"=")?.trim_ascii();
    let value = value.strip_prefix(b"\"").and_then(|open| open.strip_suffix(b"\"")).unwrap_or(value);
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if !name.trim_ascii().eq_ignore_ascii_case(b"max-age") || !digits {
        return None;
    }
    // A number that is too long means "very long" (RFC 9111, section 1.2.2).
    let seconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(300);

    fn seconds(cache_control: &str) -> u64 {
        interval(Some(cache_control.as_bytes()), REFRESH).as_secs()
    }

    #[test]
    fn a_max_age_shortens_the_refresh_within_bounds() {
        assert_eq!(interval(None, REFRESH), REFRESH);
        assert_eq!(seconds("max-age=60"), 60);
        assert_eq!(seconds("public, Max-Age=\"60\" , must-revalidate"), 60);
        assert_eq!(seconds("max-age=90, max-age=60"), 60);
        assert_eq!(seconds("max-age=1"), 5);
        assert_eq!(seconds("max-age=86400"), 300);
        assert_eq!(seconds("max-age=99999999999999999999999999"), 300);
    }

    #[test]
    fn what_says_nothing_leaves_the_refresh() {
        for field in ["", "no-store", "no-cache", "max-age", "max-age=", "max-age=-1", "max-age=1s", "s-maxage=7"] {
            assert_eq!(seconds(field), 300, "{field}");
        }
        assert_eq!(seconds("max-age=0"), 300);
        assert_eq!(seconds("max-age=\"7"), 300);
        assert_eq!(interval(Some(b"max-age=\xff,\xfe=,=,,,"), REFRESH), REFRESH);
    }

    #[test]
    fn only_a_bounded_200_has_a_document() {
        let answer = |status, body| FetchOutcome::Answer { status, cache_control: None, body };
        let document = |outcome| document(outcome, 9);
        let too_large = FetchError::TooLarge { max_bytes: 9 };
        assert!(document(answer(200, b"123456789")).is_ok());
        for status in [0, 100, 199, 201, 204, 206, 301, 304, 404, 500, 504, u16::MAX] {
            assert_eq!(document(answer(status, b"x")), Err(FetchError::Status(status)));
        }
        assert_eq!(document(answer(200, b"1234567890")), Err(too_large.clone()));
        assert_eq!(document(FetchOutcome::TooLarge), Err(too_large));
        assert_eq!(document(FetchOutcome::NoAnswer), Err(FetchError::NoAnswer));
    }

    #[test]
    fn a_parsers_complaint_is_cut_between_characters() {
        let FetchError::KeySet(reason) = FetchError::key_set("ä".repeat(5000)) else { panic!("another error") };
        assert_eq!(reason.len(), 200);
        assert_eq!(FetchError::key_set("short".into()), FetchError::KeySet("short".into()));
        let FetchError::KeySet(reason) = FetchError::key_set(format!("x{}", "ä".repeat(5000))) else { panic!() };
        assert_eq!(reason.len(), 199);
    }
}
