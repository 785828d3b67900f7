//! Durations, sizes and rates as operators write them: `30s`, `1MiB`, `1000/min`.

use std::num::NonZeroU64;
use std::time::Duration;

use serde_json::{Value, json};

use super::document::{Node, Problems};
use super::section::{Definitions, Read};

/// A duration: `250ms`, `30s`, `5m`, `1h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size in bytes: `512`, `64KiB`, `1MiB`; `KB` and `MB` are powers of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Requests per window: `1000/min`, `10/s`, `5/30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many requests a window admits.
    pub requests: NonZeroU64,
    /// The window.
    pub window: Duration,
}

/// Requests per window of the UTC calendar: `1000000/month`, `10000/day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalendarQuota {
    /// How many requests a window admits.
    pub requests: NonZeroU64,
    /// The window.
    pub period: Period,
}

/// A window of the UTC calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From the first to the last day of a month.
    Month,
}

/// A share of a whole: `80%`, from 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u8);

const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: &[(&str, u64)] =
    &[("", 1), ("B", 1), ("KB", 1_000), ("MB", 1_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const WINDOWS: &[(&str, u64)] = &[
    ("s", 1_000),
    ("sec", 1_000),
    ("second", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("minute", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("d", 86_400_000),
    ("day", 86_400_000),
];

/// Splits `30s` into 30 and `s`.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim()))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

impl Span {
    /// Reads `30s`; `None` for anything that is not a whole number and a unit.
    pub fn parse(text: &str) -> Option<Self> {
        scaled(text, DURATION_UNITS).map(|millis| Span(Duration::from_millis(millis)))
    }
}

impl Size {
    /// Reads `1MiB`.
    pub fn parse(text: &str) -> Option<Self> {
        scaled(text, SIZE_UNITS).map(Size)
    }

    /// The size as a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Rate {
    /// Reads `1000/min` or `5/30s`; zero requests or an empty window are not a rate.
    pub fn parse(text: &str) -> Option<Self> {
        let (requests, window) = text.split_once('/')?;
        let requests = NonZeroU64::new(requests.trim().parse().ok()?)?;
        let window = window.trim();
        let millis = match WINDOWS.iter().find(|(name, _)| *name == window) {
            Some((_, millis)) => *millis,
            None => scaled(window, DURATION_UNITS)?,
        };
        (millis > 0).then_some(Rate { requests, window: Duration::from_millis(millis) })
    }
}

impl CalendarQuota {
    /// Reads `1000000/month`; zero requests are no quota.
    pub fn parse(text: &str) -> Option<Self> {
        let (requests, period) = text.split_once('/')?;
        let requests = NonZeroU64::new(requests.trim().parse().ok()?)?;
        let period = match period.trim() {
            "d" | "day" => Period::Day,
            "month" => Period::Month,
            _ => return None,
        };
        Some(Self { requests, period })
    }
}

impl Percent {
    /// Reads `80%`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = number_and_unit(text)?;
        let percent = u8::try_from(number).ok().filter(|percent| (1..=100).contains(percent))?;
        (unit == "%").then_some(Self(percent))
    }
}

/// Reads text with `parse`; the problem shows `example`.
fn read_text<T>(
    node: &Node<'_>,
    problems: &mut Problems,
    what: &str,
    example: &str,
    parse: fn(&str) -> Option<T>,
) -> Option<T> {
    let number_as_text = match node.value {
        // A size of 1024 written without a unit arrives as a number.
        Value::Number(number) => Some(number.to_string().trim_end_matches(".0").to_owned()),
        _ => None,
    };
    let parsed = match &number_as_text {
        Some(text) => parse(text),
        None => parse(node.text(what, problems)?),
    };
    if parsed.is_none() {
        problems.add_with_hint(node.path.clone(), format!("{} is not {what}", node.value), format!("write {example}"));
    }
    parsed
}

impl Read for Span {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        read_text(node, problems, "a duration", "`30s`, `5m` or `1h`", Span::parse)
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "string", "pattern": "^[0-9]+ *(ms|s|m|min|h|d)$", "examples": ["30s", "5m"]})
    }
}

impl Read for Size {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        read_text(node, problems, "a size", "`512`, `64KiB` or `1MiB`", Size::parse)
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": ["string", "integer"], "pattern": "^[0-9]+ *(B|KB|MB|KiB|MiB|GiB)?$", "examples": ["64KiB"]})
    }
}

impl Read for Rate {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        read_text(node, problems, "a rate", "`1000/min`, `10/s` or `5/30s`", Rate::parse)
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "string", "pattern": "^[0-9]+ */ *([0-9]+ *)?[a-z]+$", "examples": ["1000/min"]})
    }
}

impl Read for CalendarQuota {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        read_text(node, problems, "a quota", "`1000000/month` or `10000/day`", CalendarQuota::parse)
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "string", "pattern": "^[0-9]+ */ *(d|day|month)$", "examples": ["1000000/month"]})
    }
}

impl Read for Percent {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        read_text(node, problems, "a share", "`80%`", Percent::parse)
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "string", "pattern": "^[0-9]+ *%$", "examples": ["80%"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read_as_written() {
        assert_eq!(Span::parse("250ms"), Some(Span(Duration::from_millis(250))));
        assert_eq!(Span::parse("1h"), Some(Span(Duration::from_secs(3600))));
        assert_eq!(Size::parse("64KiB"), Some(Size(65_536)));
        assert_eq!(Size::parse("10"), Some(Size(10)));
        let rate = Rate::parse("5/30s").unwrap();
        assert_eq!((rate.requests.get(), rate.window), (5, Duration::from_secs(30)));
    }

    #[test]
    fn what_is_not_a_unit_is_not_guessed() {
        for text in ["", "30", "s", "-1s", "1.5s", "1 fortnight", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
        for text in ["", "MiB", "1Mib", "-1", "1e3"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
        for text in ["", "10", "0/month", "1/months", "1/week", "1/h", "-1/day"] {
            assert_eq!(CalendarQuota::parse(text), None, "{text}");
        }
        for text in ["", "80", "0%", "101%", "8.5%", "%", "-1%"] {
            assert_eq!(Percent::parse(text), None, "{text}");
        }
        for text in ["", "10", "0/s", "10/", "10/0s", "/s", "10/week", "x/s"] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }
}
