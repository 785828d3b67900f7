//! Which share of allowed requests has an audit event.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::section::Definitions;
use crate::config::{Node, Problems, Read};

/// A share of all requests: `1%`, `0.1%` or `1/1000`; `0%` is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    numerator: u32,
    denominator: u32,
}

/// What stands for all requests where they are told apart by 32 bits.
const ALL: u64 = 1 << 32;

/// Percent are read to this many parts of one percent.
const PARTS_OF_PERCENT: u32 = 10_000;

impl Sample {
    /// No request.
    pub const NONE: Self = Self { numerator: 0, denominator: 1 };

    /// Reads `1%`, `0.1%` or `1/1000`; nothing above all of them.
    pub fn parse(text: &str) -> Option<Self> {
        let (numerator, denominator) = match text.split_once('/') {
            Some((part, whole)) => (part.trim().parse().ok()?, whole.trim().parse().ok()?),
            None => (parts_of_percent(text.strip_suffix('%')?.trim())?, 100 * PARTS_OF_PERCENT),
        };
        (denominator > 0 && numerator <= denominator).then_some(Self { numerator, denominator })
    }

    /// Whether the request with this id is one of them: the same verdict at every gateway, and for everybody who computes it. Without an
    /// id, every so many: `carried` is kept from one request to the next.
    pub fn takes(self, request_id: Option<&str>, carried: &mut u64) -> bool {
        let threshold = u64::from(self.numerator) * ALL / u64::from(self.denominator);
        if threshold == 0 || threshold == ALL {
            return threshold == ALL;
        }
        let Some(id) = request_id else {
            let sum = *carried + threshold;
            *carried = sum % ALL;
            return sum >= ALL;
        };
        let digest: [u8; 32] = Sha256::digest(id).into();
        let first = digest.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        u64::from(first) < threshold
    }

    /// The share, for the event: one of them stands for `1 / share` requests.
    pub fn share(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }
}

/// `0.1` in parts of one percent.
fn parts_of_percent(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<4}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(PARTS_OF_PERCENT)?.checked_add(fraction)
}

impl Read for Sample {
    fn read(node: &Node<'_>, problems: &mut Problems) -> Option<Self> {
        let text = node.text("a share of requests", problems)?;
        let sample = Self::parse(text);
        if sample.is_none() {
            let problem = format!("{text:?} is not a share of requests");
            problems.add_with_hint(node.path.clone(), problem, "write `1%`, `0.1%` or `1/1000`; `0%` is none of them");
        }
        sample
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "string", "pattern": "^([0-9]+(\\.[0-9]{1,4})? *%|[0-9]+ */ *[0-9]+)$", "examples": ["1%", "1/1000"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(sample: &str, ids: impl Iterator<Item = String>) -> usize {
        let sample = Sample::parse(sample).unwrap();
        ids.filter(|id| sample.takes(Some(id), &mut 0)).count()
    }

    #[test]
    fn shares_read_as_written() {
        assert_eq!(Sample::parse("1%").unwrap().share(), 0.01);
        assert_eq!(Sample::parse("0.25%").unwrap().share(), 0.0025);
        assert_eq!(Sample::parse("1/1000").unwrap().share(), 0.001);
        assert_eq!(Sample::parse("100%").unwrap().share(), 1.0);
        assert_eq!(Sample::parse("0%").unwrap().share(), 0.0);
        for text in
            ["", "1", "%", "101%", "-1%", "1.%", ".5%", "1.00001%", "2/1", "1/0", "1/", "/2", "1e2%", "99999999%"]
        {
            assert_eq!(Sample::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_share_of_ids_is_the_one_asked_for_and_always_the_same() {
        let ids = || (0..20_000).map(|number| format!("request-{number}"));
        let some = taken("1/10", ids());
        assert!((1_800..2_200).contains(&some), "{some}");
        assert_eq!(taken("10%", ids()), some);
        assert_eq!(taken("0%", ids()), 0);
        assert_eq!(taken("100%", ids()), 20_000);
    }

    #[test]
    fn what_a_smaller_share_takes_a_greater_one_takes_too() {
        let (small, great) = (Sample::parse("5%").unwrap(), Sample::parse("20%").unwrap());
        let ids = (0..2_000).map(|number| format!("{number}"));
        for id in ids.filter(|id| small.takes(Some(id), &mut 0)) {
            assert!(great.takes(Some(&id), &mut 0), "{id}");
        }
    }

    #[test]
    fn the_choice_is_the_documented_one() {
        // The first four bytes of SHA-256("a") are ca978112: 79.1 % of all.
        assert!(Sample::parse("80%").unwrap().takes(Some("a"), &mut 0));
        assert!(!Sample::parse("79%").unwrap().takes(Some("a"), &mut 0));
    }

    #[test]
    fn without_ids_every_so_many_are_taken() {
        let sample = Sample::parse("1/4").unwrap();
        let mut carried = 0;
        let taken: Vec<bool> = (0..8).map(|_| sample.takes(None, &mut carried)).collect();
        assert_eq!(taken, [false, false, false, true, false, false, false, true]);
    }
}
