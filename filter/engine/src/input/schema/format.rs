//! Formats of strings and numbers that schemas name (JSON Schema 2020-12, Validation, 7.3, and those of OpenAPI 3.1, 4.4).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::input::number::Number;

/// A format that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `full-date` of RFC 3339.
    Date,
    /// `full-time` of RFC 3339.
    Time,
    /// `date-time` of RFC 3339.
    DateTime,
    /// `duration` of RFC 3339, appendix A.
    Duration,
    /// RFC 9562, 4.
    Uuid,
    /// RFC 5321, 4.1.2, without quoted local parts and address literals.
    Email,
    /// RFC 1123, 2.1.
    Hostname,
    /// Four decimal numbers.
    Ipv4,
    /// RFC 4291, 2.2, without a zone.
    Ipv6,
    /// RFC 3986, with a scheme.
    Uri,
    /// RFC 3986, with or without a scheme.
    UriReference,
    /// Base64 (RFC 4648, 4).
    Byte,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
}

/// The formats and their names.
pub const FORMATS: &[(&str, Format)] = &[
    ("date", Format::Date),
    ("time", Format::Time),
    ("date-time", Format::DateTime),
    ("duration", Format::Duration),
    ("uuid", Format::Uuid),
    ("email", Format::Email),
    ("hostname", Format::Hostname),
    ("ipv4", Format::Ipv4),
    ("ipv6", Format::Ipv6),
    ("uri", Format::Uri),
    ("uri-reference", Format::UriReference),
    ("byte", Format::Byte),
    ("int32", Format::Int32),
    ("int64", Format::Int64),
];

/// Formats that say how a value is shown or held, and nothing about which values there are.
pub const HINTS: &[&str] = &["password", "float", "double"];

impl Format {
    /// Whether a string of it has room for nothing else: no attack fits in.
    pub fn is_typed(self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::DateTime | Self::Duration | Self::Uuid)
    }

    /// Whether a string is of it. Formats of numbers say nothing about strings.
    pub fn takes(self, text: &str) -> bool {
        let bytes = text.as_bytes();
        match self {
            Self::Date => date(bytes),
            Self::Time => time(bytes),
            Self::DateTime => bytes
                .split_at_checked(10)
                .is_some_and(|(day, rest)| date(day) && matches!(rest.first(), Some(b'T' | b't')) && time(tail(rest))),
            Self::Duration => duration(bytes),
            Self::Uuid => {
                bytes.len() == 36
                    && bytes.iter().enumerate().all(|(index, byte)| match index {
                        8 | 13 | 18 | 23 => *byte == b'-',
                        _ => byte.is_ascii_hexdigit(),
                    })
            }
            Self::Email => {
                bytes.len() <= 254
                    && text.rsplit_once('@').is_some_and(|(local, host)| {
                        local.len() <= 64
                            && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom))
                            && hostname(host)
                    })
            }
            Self::Hostname => hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Uri => uri(bytes) && scheme(text),
            Self::UriReference => uri(bytes),
            Self::Byte => base64(bytes),
            Self::Int32 | Self::Int64 => true,
        }
    }

    /// Whether a number is of it. Formats of strings say nothing about numbers.
    pub fn takes_number(self, number: &Number) -> bool {
        let bits = match self {
            Self::Int32 => 31,
            Self::Int64 => 63,
            _ => return true,
        };
        let beyond = Number::of(1 << bits);
        let lowest = Number::parse(format!("-{}", 1u64 << bits).as_bytes());
        number.is_integer() && *number < beyond && lowest.is_some_and(|lowest| *number >= lowest)
    }
}

fn tail(bytes: &[u8]) -> &[u8] {
    bytes.get(1..).unwrap_or_default()
}

/// A number of exactly so many digits.
fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0u32, |number, byte| Some(number * 10 + char::from(*byte).to_digit(10)?))
}

fn date(bytes: &[u8]) -> bool {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = bytes else { return false };
    let (Some(year), Some(month), Some(day)) = (digits(&[y1, y2, y3, y4]), digits(&[m1, m2]), digits(&[d1, d2])) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn time(bytes: &[u8]) -> bool {
    let Some((&[h1, h2, b':', m1, m2, b':', s1, s2], mut rest)) = bytes.split_first_chunk::<8>() else { return false };
    let (Some(hour), Some(minute), Some(second)) = (digits(&[h1, h2]), digits(&[m1, m2]), digits(&[s1, s2])) else {
        return false;
    };
    if let Some((b'.', fraction)) = rest.split_first() {
        let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    let (sign, offset) = match rest {
        [b'Z' | b'z'] => (1, 0),
        &[sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => match (digits(&[h1, h2]), digits(&[m1, m2])) {
            (Some(h @ 0..=23), Some(m @ 0..=59)) => (if sign == b'+' { -1i64 } else { 1 }, i64::from(h * 60 + m)),
            _ => return false,
        },
        _ => return false,
    };
    // A leap second is the last one of a day, in UTC.
    let in_utc = (i64::from(hour * 60 + minute) + sign * offset).rem_euclid(24 * 60);
    hour <= 23 && minute <= 59 && (second <= 59 || (second == 60 && in_utc == 24 * 60 - 1))
}

fn duration(bytes: &[u8]) -> bool {
    let Some((b'P', rest)) = bytes.split_first() else { return false };
    let (day, time) = match rest.iter().position(|byte| *byte == b'T') {
        Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
        None => (rest, None),
    };
    let time_is_fine = time.is_none_or(|time| !time.is_empty() && in_order(time, b"HMS"));
    let is_weeks = time.is_none() && !day.is_empty() && in_order(day, b"W");
    is_weeks || (time_is_fine && in_order(day, b"YMD") && (!day.is_empty() || time.is_some()))
}

/// Numbers with units, the units in this order and without a gap.
fn in_order(mut bytes: &[u8], units: &[u8]) -> bool {
    let mut last: Option<usize> = None;
    while !bytes.is_empty() {
        let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let Some(unit) = bytes.get(count).and_then(|unit| units.iter().position(|known| known == unit)) else {
            return false;
        };
        if count == 0 || last.is_some_and(|last| unit != last + 1) {
            return false;
        }
        last = Some(unit);
        bytes = bytes.get(count + 1..).unwrap_or_default();
    }
    true
}

fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn uri(bytes: &[u8]) -> bool {
    let mut index = 0;
    let mut fragments = 0;
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'%' => {
                let escape = bytes.get(index + 1..index + 3);
                if !escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return false;
                }
            }
            b'#' => fragments += 1,
            byte if byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=".contains(byte) => {}
            _ => return false,
        }
        index += 1;
    }
    fragments <= 1
}

fn scheme(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
}

fn base64(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take_while(|byte| **byte == b'=').count();
    let (data, _) = bytes.split_at_checked(bytes.len() - padding).unwrap_or_default();
    bytes.len().is_multiple_of(4)
        && padding <= 2
        && data.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(name: &str, good: &[&str], bad: &[&str]) {
        let format = FORMATS.iter().find(|(known, _)| *known == name).unwrap().1;
        for text in good {
            assert!(format.takes(text), "{name} {text:?}");
        }
        for text in bad {
            assert!(!format.takes(text), "{name} {text:?}");
        }
    }

    #[test]
    fn dates_and_times_are_those_of_rfc_3339() {
        all(
            "date",
            &["2024-02-29", "2000-02-29", "1963-06-19"],
            &[
                "2023-02-29",
                "1900-02-29",
                "2024-13-01",
                "2024-00-10",
                "2024-04-31",
                "24-04-01",
                "2024-4-1",
                "2024-04-01 ",
                "",
                "2024-04-01T00:00:00Z",
                "২024-04-01",
            ],
        );
        all(
            "time",
            &["08:30:06Z", "23:59:60Z", "08:30:06.283185+01:00", "15:59:60-08:00", "23:29:60+23:30"],
            &[
                "08:30:06",
                "24:00:00Z",
                "08:60:06Z",
                "22:59:60Z",
                "08:30:06.Z",
                "08:30:06+24:00",
                "8:30:06Z",
                "08:30:06#Z",
                "08:30:06 or 1=1",
            ],
        );
        all(
            "date-time",
            &["1990-12-31T23:59:60Z", "1963-06-19t08:30:06.283185z", "2024-01-01T00:00:00+02:00"],
            &["1998-12-31T23:58:60Z", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00", "2024-01-01", "2024-01-01T"],
        );
        all(
            "duration",
            &["P4DT12H30M5S", "P1Y", "PT36H", "P2W", "P1Y2M3D", "PT0S"],
            &["P", "PT", "P1DT", "4D", "P2D1Y", "P1Y2W", "P1H", "PT1D", "P1YT", "P-1D", "P1Y1D", "PD"],
        );
    }

    #[test]
    fn names_and_addresses() {
        all(
            "uuid",
            &["2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2EB8AA08-AA98-11EA-B4AA-73B441D16380"],
            &[
                "2eb8aa08aa9811eab4aa73b441d16380",
                "2eb8aa08-aa98-11ea-b4aa-73b441d1638",
                "2eb8aa08-aa98-11ea-b4aa-73b441d1638g",
                "",
                "2eb8aa08-aa98-11ea-b4aa-73b441d16380' or 1=1",
            ],
        );
        all(
            "email",
            &["joe.bloggs@example.com", "te~st@example.com", "a@b"],
            &[
                "2962",
                ".a@example.com",
                "a.@example.com",
                "a..b@example.com",
                "a@",
                "@b",
                "a b@example.com",
                "\"a b\"@example.com",
                "a@-b.example",
            ],
        );
        all(
            "hostname",
            &["www.example.com", "a", "xn--4gbwdl.xn--wgbh1c"],
            &["", "-a", "a-", "a..b", "a_b", "a b", "a.b."],
        );
        all("ipv4", &["192.168.0.1"], &["127.0.0.0.1", "256.1.1.1", "127.0", "0x7f000001", "087.10.0.1", "1.2.3.4/24"]);
        all(
            "ipv6",
            &["::1", "::ffff:192.168.0.1", "1:2:3:4:5:6:7:8"],
            &["12345::", "1:1", "fe80::a%eth1", "::1/64", "1::2::3"],
        );
    }

    #[test]
    fn references_and_data() {
        all(
            "uri",
            &["http://foo.bar/?baz=qux#quux", "urn:oasis:names", "mailto:a@b.example", "http://223.255.255.254"],
            &[
                "//foo.bar/?baz",
                "/abc",
                "abc",
                "http:// shouldfail.com",
                "http://a/<>",
                "bar,baz:",
                "1a:b",
                "http://a/%zz",
                "a:b#c#d",
            ],
        );
        all("uri-reference", &["/abc?d#e", "", "#x", "http://a"], &["\\\\WINDOWS", "a b", "#fr\\ag"]);
        all("byte", &["", "YQ==", "YWI=", "YWJj"], &["YQ", "YQ=", "Y===", "Y Q=", "YW=J"]);
    }

    #[test]
    fn whole_numbers_of_so_many_bits() {
        let takes = |format: Format, text: &str| format.takes_number(&Number::parse(text.as_bytes()).unwrap());
        assert!(
            takes(Format::Int32, "2147483647")
                && takes(Format::Int32, "-2147483648")
                && takes(Format::Int64, "9223372036854775807")
        );
        assert!(
            !takes(Format::Int32, "2147483648")
                && !takes(Format::Int32, "1.5")
                && !takes(Format::Int64, "9223372036854775808")
        );
        assert!(takes(Format::Date, "1.5") && Format::Int32.takes("text"));
    }
}
