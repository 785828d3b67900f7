//! Points in time and spans: how they are written, and the parts of a date.

/// Nanoseconds of one second.
pub(super) const SECOND: i128 = 1_000_000_000;
/// CEL's timestamps go from the year 1 to 9999.
const FIRST: i128 = -62_135_596_800 * SECOND;
const LAST: i128 = 253_402_300_800 * SECOND - 1;
/// CEL's durations are as long as that, in both directions.
const LONGEST: i128 = 315_576_000_000 * SECOND;

/// The instant, if it is one of the years 1 to 9999.
pub(super) fn timestamp(nanoseconds: i128) -> Option<i128> {
    (FIRST..=LAST).contains(&nanoseconds).then_some(nanoseconds)
}

/// The span, if it is no longer than about ten thousand years.
pub(super) fn duration(nanoseconds: i128) -> Option<i128> {
    (-LONGEST..=LONGEST).contains(&nanoseconds).then_some(nanoseconds)
}

/// Reads a timestamp: RFC 3339 with an offset, fractions of a second allowed.
pub(super) fn parse_timestamp(text: &str) -> Option<i128> {
    let (date, clock) = text.split_once(['T', 't'])?;
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let at = clock.rfind(['Z', 'z', '+', '-'])?;
    let (clock, offset) = clock.split_at_checked(at)?;
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, parts.next()?);
    let (second, fraction) = second.split_once('.').map_or((second, ""), |(second, fraction)| (second, fraction));
    let second = digits(second, 2)?;
    if date.split('-').count() != 3 || hour > 23 || minute > 59 || second > 59 || clock.ends_with('.') {
        return None;
    }
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i128 = format!("{fraction:0<9}").parse().ok()?;
    let days = days(year, month, day)?;
    let seconds = days * 86_400 + i128::from(hour) * 3_600 + i128::from(minute) * 60 + i128::from(second);
    timestamp((seconds - i128::from(parse_offset(offset)?)) * SECOND + nanoseconds)
}

/// Reads an offset from UTC, in seconds: `Z`, `+01:00`, and `UTC`.
pub(super) fn parse_offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z" | "UTC") {
        return Some(0);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let seconds = i64::try_from(hours * 3_600 + minutes * 60).ok()?;
    (hours < 24 && minutes < 60).then_some(sign * seconds)
}

/// Reads a span such as `90s`, `1h30m`, `1.5h` or `-2m`: units `h`, `m`, `s`, `ms`, `us`, `ns`.
pub(super) fn parse_duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || rest.len() > 64 {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, behind) = rest.split_at_checked(end)?;
        let unit_end = behind.find(|character: char| character.is_ascii_digit() || character == '.');
        let (unit, behind) = behind.split_at_checked(unit_end.unwrap_or(behind.len()))?;
        let unit: i128 = match unit {
            "h" => 3_600 * SECOND,
            "m" => 60 * SECOND,
            "s" => SECOND,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number == "." || number.is_empty() || whole.len() > 12 || fraction.len() > 9 {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        // At most nine digits, so this stays below 3,600 times 10^18.
        let scaled: i128 = format!("{fraction:0<9}").parse().ok()?;
        total = total.checked_add(whole.checked_mul(unit)?)?.checked_add(scaled.checked_mul(unit)? / SECOND)?;
        rest = behind;
    }
    duration(sign * total)
}

/// A date and a clock, of an instant moved by an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    /// From 0, the first of January.
    pub day_of_year: i64,
    /// From 0, Sunday.
    pub day_of_week: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub millisecond: i64,
}

impl Civil {
    /// The parts of an instant; `offset` is in seconds east of UTC.
    pub(super) fn of(nanoseconds: i128, offset: i64) -> Option<Self> {
        let seconds = i64::try_from(nanoseconds.div_euclid(SECOND)).ok()?.checked_add(offset)?;
        let (day_number, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Counts from 0000-03-01, so that the leap day is the last of its year: 146,097 days make 400 years.
        let days = day_number.checked_add(719_468)?;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let shifted_day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * shifted_day + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let first = i64::try_from(days_of_civil(year, 1, 1)).ok()?;
        Some(Self {
            year,
            month,
            day: shifted_day - (153 * shifted_month + 2) / 5 + 1,
            day_of_year: day_number - first,
            // 1970-01-01 was a Thursday.
            day_of_week: (day_number + 4).rem_euclid(7),
            hour: second_of_day / 3_600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            millisecond: i64::try_from(nanoseconds.rem_euclid(SECOND) / 1_000_000).ok()?,
        })
    }
}

/// Days from 1970-01-01 to a date, if there is such a date.
fn days(year: u64, month: u64, day: u64) -> Option<i128> {
    let days = days_of_civil(i64::try_from(year).ok()?, i64::try_from(month).ok()?, i64::try_from(day).ok()?);
    let civil = Civil::of(days.checked_mul(86_400 * SECOND)?, 0)?;
    let same = |a: i64, b: u64| u64::try_from(a) == Ok(b);
    // A month 13 or a 31st of April comes out as another date.
    (year > 0 && month > 0 && month < 13 && same(civil.year, year) && same(civil.month, month) && same(civil.day, day))
        .then_some(days)
}

fn days_of_civil(year: i64, month: i64, day: i64) -> i128 {
    let (year, month, day) = (i128::from(year), i128::from(month), i128::from(day));
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Exactly `length` decimal digits.
fn digits(text: &str, length: usize) -> Option<u64> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timestamps_read_as_they_are_written() {
        let seconds = |text: &str| parse_timestamp(text).map(|nanoseconds| nanoseconds / SECOND);
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2024-02-29T23:59:59Z"), Some(1_709_251_199));
        assert_eq!(seconds("2026-11-22T01:30:00+01:30"), Some(1_795_305_600));
        assert_eq!(seconds("1969-12-31T23:59:59-00:00"), Some(-1));
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.25Z"), Some(SECOND / 4));
        for bad in [
            "",
            "2026-11-22",
            "2026-11-22T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T00:00:60Z",
            "2026-11-22T00:00Z",
            "2026-11-22T00:00:00.Z",
            "2026-11-22T00:00:00.1234567890Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "2026-00-10T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-11-22-01T00:00:00Z",
            "+026-11-22T00:00:00Z",
            "2026-11-22T00:00:00+1:00",
        ] {
            assert_eq!(parse_timestamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_read_as_they_are_written() {
        for (text, milliseconds) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("-2m", -120_000),
            ("250ms", 250),
            ("0", 0),
            ("0s", 0),
            (".5s", 500),
            ("1m0.5s", 60_500),
        ] {
            assert_eq!(parse_duration(text), Some(milliseconds * 1_000_000), "{text}");
        }
        for bad in [
            "",
            "-",
            "1",
            "s",
            "1d",
            "1 s",
            "1.s.",
            ".s",
            "1..5s",
            "--1s",
            "9999999999999s",
            "99999999999h",
            "1hh",
            "+1s",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_parts_of_a_date() {
        let civil = Civil::of(1_709_251_199 * SECOND + 5_000_000, 0).unwrap();
        assert_eq!((civil.year, civil.month, civil.day, civil.day_of_year, civil.day_of_week), (2024, 2, 29, 59, 4));
        assert_eq!((civil.hour, civil.minute, civil.second, civil.millisecond), (23, 59, 59, 5));
        let later = Civil::of(1_709_251_199 * SECOND, 3_600).unwrap();
        assert_eq!((later.month, later.day, later.hour), (3, 1, 0));
    }

    proptest! {
        #[test]
        fn a_date_comes_out_as_it_went_in(days_since in -700_000_i64..2_900_000) {
            let civil = Civil::of(i128::from(days_since) * 86_400 * SECOND, 0).unwrap();
            prop_assert_eq!(days_of_civil(civil.year, civil.month, civil.day), i128::from(days_since));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9TtZz:.hms]{0,40}") {
            let _ = (parse_timestamp(&text), parse_duration(&text), parse_offset(&text));
        }
    }
}
