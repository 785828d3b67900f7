//! What the client is told: `RateLimit-Policy`, `RateLimit` and `Retry-After`.
//!
//! The first two are lists of structured fields (RFC 9651) as in draft-ietf-httpapi-ratelimit-headers-11 (May 2026):
//! `RateLimit-Policy: "per_client";q=100;w=60` states the quota, `RateLimit: "per_client";r=50;t=30` what is left of it, and the seconds
//! within which the client should use no more ([`Algorithm::told`]). Slots of requests in flight have a policy alone, in the unit
//! `concurrent-requests`: what is free of them changes with every answer. No partition key (`pk`) is sent: it would be a lasting name of the
//! client, and the limit's own name says what is counted.

use std::time::Duration;

use super::algorithm::{Algorithm, Standing, whole_seconds};

/// Appends one limit to the value of `RateLimit-Policy`: its quota (`q`), its unit, where that is not requests (`qu`), and its window in
/// seconds (`w`, rounded up; left out for months, which differ in length).
///
/// Made once, when the configuration is loaded.
///
/// # Errors
/// [`NameError`] where a structured field cannot carry `name`; nothing is appended then.
pub fn push_policy(value: &mut String, name: &str, algorithm: &Algorithm) -> Result<(), NameError> {
    push_quota(value, name, algorithm.per_window(), algorithm.window())?;
    if algorithm.is_in_flight() {
        value.push_str(r#";qu="concurrent-requests""#);
    }
    Ok(())
}

/// As [`push_policy`], in numbers: what `window` admits; `None` for one that is not always as long.
///
/// # Errors
/// [`NameError`] where a structured field cannot carry `name`; nothing is appended then.
pub fn push_quota(value: &mut String, name: &str, quota: u64, window: Option<Duration>) -> Result<(), NameError> {
    push_name(value, name)?;
    push_parameter(value, "q", quota);
    if let Some(window) = window {
        push_parameter(value, "w", whole_seconds(window));
    }
    Ok(())
}

/// Appends one limit to the value of `RateLimit`: what remains (`r`), and the seconds within which the client should use no more (`t`,
/// rounded up).
///
/// # Errors
/// [`NameError`] where a structured field cannot carry `name`; nothing is appended then.
pub fn push_standing(
    value: &mut String,
    name: &str,
    algorithm: &Algorithm,
    standing: &Standing,
) -> Result<(), NameError> {
    let (remaining, window) = algorithm.told(standing);
    push_remaining(value, name, remaining, window)
}

/// Appends the limit that refused the request to the value of `RateLimit`: nothing remains, more comes in `retry_after`.
///
/// # Errors
/// [`NameError`] where a structured field cannot carry `name`; nothing is appended then.
pub fn push_used_up(value: &mut String, name: &str, retry_after: Duration) -> Result<(), NameError> {
    push_remaining(value, name, 0, retry_after)
}

/// The value of `Retry-After` in seconds (RFC 9110, section 10.2.3): rounded up, and at least one, since a client that retries
/// at once would be refused again.
pub fn retry_after(wait: Duration) -> u64 {
    whole_seconds(wait).max(1)
}

/// A structured field string holds printable ASCII only (RFC 9651, section 3.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameError;

impl std::fmt::Display for NameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a limit's name in a header is printable ASCII")
    }
}

impl std::error::Error for NameError {}

/// As [`push_standing`], in numbers; a time of zero is left out.
///
/// # Errors
/// [`NameError`] where a structured field cannot carry `name`; nothing is appended then.
pub fn push_remaining(value: &mut String, name: &str, remaining: u64, window: Duration) -> Result<(), NameError> {
    push_name(value, name)?;
    push_parameter(value, "r", remaining);
    if !window.is_zero() {
        push_parameter(value, "t", whole_seconds(window));
    }
    Ok(())
}

/// Appends `name` as a string (RFC 9651, section 4.1.6), after a comma if it is not the first.
fn push_name(value: &mut String, name: &str) -> Result<(), NameError> {
    if !name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err(NameError);
    }
    if !value.is_empty() {
        value.push_str(", ");
    }
    value.push('"');
    if name.bytes().any(|byte| matches!(byte, b'"' | b'\\')) {
        value.push_str(&name.replace('\\', r"\\").replace('"', "\\\""));
    } else {
        value.push_str(name);
    }
    value.push('"');
    Ok(())
}

/// Appends an integer parameter; structured fields end at fifteen digits (RFC 9651, section 3.3.1).
fn push_parameter(value: &mut String, key: &str, number: u64) {
    value.push(';');
    value.push_str(key);
    value.push('=');
    push_number(value, number.min(GREATEST_INTEGER));
}

/// Without the machinery of `write!`: it is done for every response.
fn push_number(value: &mut String, number: u64) {
    if let Some(rest) = number.checked_div(10).filter(|rest| *rest > 0) {
        push_number(value, rest);
    }
    value.extend(u32::try_from(number % 10).ok().and_then(|digit| char::from_digit(digit, 10)));
}

const GREATEST_INTEGER: u64 = 999_999_999_999_999;

#[cfg(test)]
mod tests {
    use super::super::{fixed_window, gcra, in_flight, sliding_window};
    use std::num::{NonZeroU32, NonZeroU64};

    use super::*;

    fn hundred() -> NonZeroU64 {
        NonZeroU64::new(100).unwrap()
    }

    fn daily() -> Algorithm {
        Algorithm::FixedWindow(fixed_window::Quota::new(hundred(), Duration::from_secs(86_400)).unwrap())
    }

    fn standing(remaining: u64, more_after: Duration) -> Standing {
        Standing { remaining, more_after, reset_after: Duration::from_secs(60) }
    }

    #[test]
    fn each_algorithm_states_its_quota_and_window() {
        let minute = Duration::from_secs(60);
        let mut value = String::new();
        let gcra = gcra::Quota::new(hundred(), minute, NonZeroU64::MIN).unwrap();
        let day = fixed_window::Quota::new(hundred(), Duration::from_secs(86_400)).unwrap();
        let any = sliding_window::Quota::new(hundred(), Duration::from_millis(1_500)).unwrap();
        push_policy(&mut value, "burst", &Algorithm::Gcra(gcra)).unwrap();
        push_policy(&mut value, "day", &Algorithm::FixedWindow(day)).unwrap();
        push_policy(&mut value, "any", &Algorithm::SlidingWindow(any)).unwrap();
        assert_eq!(value, r#""burst";q=100;w=60, "day";q=100;w=86400, "any";q=100;w=2"#);
        let mut value = String::new();
        let slots = in_flight::Quota::new(NonZeroU32::new(20).unwrap());
        push_policy(&mut value, "few", &Algorithm::InFlight(slots)).unwrap();
        assert_eq!(value, r#""few";q=20;qu="concurrent-requests""#);
    }

    #[test]
    fn the_client_learns_what_is_left_and_for_how_long() {
        let mut value = String::new();
        push_standing(&mut value, "per_client", &daily(), &standing(50, Duration::from_millis(29_001))).unwrap();
        push_used_up(&mut value, "day", Duration::from_secs(7)).unwrap();
        push_standing(&mut value, "idle", &daily(), &standing(100, Duration::ZERO)).unwrap();
        push_standing(&mut value, "overdrawn", &daily(), &standing(101, Duration::from_secs(1))).unwrap();
        assert_eq!(value, r#""per_client";r=50;t=30, "day";r=0;t=7, "idle";r=100, "overdrawn";r=100;t=1"#);
    }

    #[test]
    fn quotes_and_backslashes_are_escaped() {
        let mut value = String::new();
        push_used_up(&mut value, r#"a"b\c;q=9"#, Duration::from_secs(1)).unwrap();
        assert_eq!(value, r#""a\"b\\c;q=9";r=0;t=1"#);
    }

    #[test]
    fn a_name_that_is_no_printable_ascii_leaves_the_value_alone() {
        for name in ["tab\t", "line\r\nx: y", "nul\0", "ü", "\u{7f}"] {
            let mut value = String::from("before");
            assert_eq!(push_used_up(&mut value, name, Duration::ZERO), Err(NameError));
            assert_eq!(value, "before");
        }
    }

    #[test]
    fn great_numbers_stay_within_fifteen_digits() {
        let mut value = String::new();
        push_remaining(&mut value, "n", u64::MAX, Duration::MAX).unwrap();
        assert_eq!(value, r#""n";r=999999999999999;t=999999999999999"#);
    }

    #[test]
    fn retry_after_is_never_zero() {
        assert_eq!(retry_after(Duration::ZERO), 1);
        assert_eq!(retry_after(Duration::from_nanos(1_000_000_001)), 2);
    }
}
