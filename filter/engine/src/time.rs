//! Points in time. The engine has no clock: the shell passes `now` into every call that needs it.

use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00Z, as the host's clock gives them; good until the year 2554.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// The instant `seconds` after the epoch; a value past the year 2554 becomes the last representable instant.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Whole milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This instant moved forward by `span`; stops at the last representable instant.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// The span from `earlier` to `self`; zero if `earlier` lies in the future, as after a clock step.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// `span` in nanoseconds; a span over 584 years becomes the longest representable one.
pub fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// `now` as RFC 3339 with milliseconds.
pub fn to_rfc3339(now: UnixNanos) -> String {
    let seconds = now.as_secs();
    let millis = now.as_millis() % 1_000;
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of the Gregorian calendar, by days since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counts from 0000-03-01, so that the leap day is the last of its year: 146,097 days make 400 years.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The end of the month, in UTC, that holds `now`: the first instant of the next one.
pub fn end_of_month(now: UnixNanos) -> UnixNanos {
    let days = now.as_secs() / 86_400;
    let (year, month, day) = civil(days);
    UnixNanos::from_secs((days + 1 - day + days_in(year, month)) * 86_400)
}

/// The instant that `text` names: a date (its first instant, UTC) or a date and time with offset (RFC 3339, section 5.6),
/// whole seconds. `None` for anything else, and before 1970.
pub fn parse_rfc3339(text: &str) -> Option<UnixNanos> {
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Walks the years and months: dates of a configuration are few.
    let years: u64 = (1970..year).map(|y| if is_leap(y) { 366 } else { 365 }).sum();
    let months: u64 = (1..month).map(|m| days_in(year, m)).sum();
    if day > days_in(year, month) {
        return None;
    }
    let midnight = (years + months + day - 1).checked_mul(86_400)?;
    let seconds = match time {
        None => midnight,
        Some(time) => {
            let (clock, offset) = split_offset(time)?;
            let mut parts = clock.split(':');
            let (hour, minute, second) =
                (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
            if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
                return None;
            }
            midnight.checked_add(hour * 3_600 + minute * 60 + second)?.checked_add_signed(offset.checked_neg()?)?
        }
    };
    Some(UnixNanos::from_secs(seconds))
}

/// The clock and its offset from UTC in seconds.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let sign_at = time.rfind(['+', '-'])?;
    let (clock, offset) = time.split_at_checked(sign_at)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let seconds = i64::try_from(hours * 3_600 + minutes * 60).ok()?;
    (hours < 24 && minutes < 60).then_some((clock, if offset.starts_with('-') { -seconds } else { seconds }))
}

/// Exactly `length` decimal digits.
fn digits(text: &str, length: usize) -> Option<u64> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_yields_no_time() {
        assert_eq!(UnixNanos::from_secs(10).since(UnixNanos::from_secs(11)), Duration::ZERO);
    }

    #[test]
    fn the_far_future_saturates() {
        assert_eq!(UnixNanos::from_secs(u64::MAX).plus(Duration::MAX), UnixNanos(u64::MAX));
    }

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(to_rfc3339(UnixNanos(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(to_rfc3339(UnixNanos(1_709_251_199_999_000_000)), "2024-02-29T23:59:59.999Z");
        assert_eq!(to_rfc3339(UnixNanos::from_secs(1_795_305_600)), "2026-11-22T00:00:00.000Z");
    }

    #[test]
    fn dates_read_as_they_are_written() {
        let seconds = |text: &str| parse_rfc3339(text).map(UnixNanos::as_secs);
        assert_eq!(seconds("1970-01-01"), Some(0));
        assert_eq!(seconds("2024-02-29T23:59:59Z"), Some(1_709_251_199));
        assert_eq!(seconds("2026-11-22T01:30:00+01:30"), Some(1_795_305_600));
        assert_eq!(seconds("2026-11-21T22:30:00-01:30"), Some(1_795_305_600));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "2026-11",
            "2026-13-01",
            "2026-02-29",
            "2026-11-31",
            "2026-1-1",
            "1969-12-31",
            "2026-11-22T",
            "2026-11-22T24:00:00Z",
            "2026-11-22T00:00:00",
            "2026-11-22T00:00Z",
            "2026-11-22T00:00:00+24:00",
            "2026-11-22T00:00:00.5Z",
            "20261122",
            "2026-11-22-01",
            "+026-11-22",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
