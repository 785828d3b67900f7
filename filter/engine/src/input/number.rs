//! Numbers as they are written: exact decimals, compared without rounding.

use std::cmp::Ordering;

/// A decimal number: `mantissa * 10^exponent`, in the one form that has no trailing zeros.
///
/// It is exact up to [`DIGITS`] significant digits. Of a longer one, that there was more is kept, so that it equals none
/// that is shorter, and lies on the right side of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    is_negative: bool,
    mantissa: u128,
    exponent: i64,
    is_integer: bool,
}

/// Significant digits that are kept; one more says that there were others.
const DIGITS: u32 = 36;

/// Exponents beyond this are as good as infinite.
const MAX_EXPONENT: i64 = 1_000_000_000;

/// The last whole number that every reader of JSON holds exactly (RFC 7493, 2.2): 2^53 - 1.
const LAST_SAFE: u64 = (1 << 53) - 1;

impl Number {
    /// Reads a number of JSON (RFC 8259, 6) from the beginning of `text`; gives how many bytes it takes.
    pub fn read(text: &[u8]) -> Option<(Self, usize)> {
        let at = |index: usize| text.get(index).copied().unwrap_or(0);
        let mut i = usize::from(at(0) == b'-');
        let is_negative = i == 1;
        let mut digits = Digits::default();
        match at(i) {
            b'0' => i += 1,
            b'1'..=b'9' => {
                while at(i).is_ascii_digit() {
                    digits.push(at(i), 0);
                    i += 1;
                }
            }
            _ => return None,
        }
        if at(i) == b'.' {
            i += 1;
            if !at(i).is_ascii_digit() {
                return None;
            }
            while at(i).is_ascii_digit() {
                digits.push(at(i), 1);
                i += 1;
            }
        }
        let mut exponent = 0i64;
        if matches!(at(i), b'e' | b'E') {
            i += 1;
            let is_small = at(i) == b'-';
            i += usize::from(matches!(at(i), b'-' | b'+'));
            if !at(i).is_ascii_digit() {
                return None;
            }
            while at(i).is_ascii_digit() {
                exponent = (exponent * 10 + i64::from(at(i) - b'0')).min(MAX_EXPONENT);
                i += 1;
            }
            exponent = if is_small { -exponent } else { exponent };
        }
        Some((digits.number(is_negative, exponent), i))
    }

    /// A number that is the whole of `text`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::read(text).filter(|(_, length)| *length == text.len()).map(|(number, _)| number)
    }

    /// A whole number.
    pub fn of(whole: u64) -> Self {
        let mut digits = Digits::default();
        whole.to_string().bytes().for_each(|digit| digits.push(digit, 0));
        digits.number(false, 0)
    }

    /// Whether it has no fraction; `1.0` has none.
    pub fn is_integer(&self) -> bool {
        self.is_integer
    }

    /// Whether it is above zero.
    pub fn is_positive(&self) -> bool {
        !self.is_negative && self.mantissa > 0
    }

    /// Whether every reader of JSON holds it: a whole number of at most 2^53 - 1, or a fraction in the range of a double.
    pub fn is_safe(&self) -> bool {
        if !self.is_integer {
            return self.is_double();
        }
        // A whole number has no negative exponent.
        let (mantissa, zeros) = (u64::try_from(self.mantissa).ok(), u32::try_from(self.exponent).ok());
        let whole = mantissa.zip(zeros.and_then(|zeros| 10u64.checked_pow(zeros)));
        whole.and_then(|(mantissa, power)| mantissa.checked_mul(power)).is_some_and(|whole| whole <= LAST_SAFE)
    }

    /// Whether a double can be near it: it is below 10^308.
    pub fn is_double(&self) -> bool {
        self.order() <= 308
    }

    /// Whether it is `divisor` times a whole number. Exact.
    pub fn is_multiple_of(&self, divisor: &Divisor) -> bool {
        if self.mantissa == 0 {
            return true;
        }
        // Neither has a trailing zero: a finer step is needed than the number has digits.
        let Ok(zeros) = u64::try_from(self.exponent - divisor.exponent) else { return false };
        let modulus = u128::from(divisor.mantissa);
        let rest = self.mantissa % modulus;
        (rest * power_of_ten(zeros, modulus)).is_multiple_of(modulus)
    }

    /// The bytes that only equal numbers share.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(if self.is_negative { b'-' } else { b'+' });
        out.extend_from_slice(&self.mantissa.to_be_bytes());
        out.extend_from_slice(&self.exponent.to_be_bytes());
    }

    /// The digits before the decimal point; zero or less where there is none.
    fn order(&self) -> i64 {
        if self.mantissa == 0 { i64::MIN } else { i64::from(self.mantissa.ilog10()) + 1 + self.exponent }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_sign = |number: &Self| if number.is_negative { -1 } else { i32::from(number.mantissa > 0) };
        let signs = by_sign(self).cmp(&by_sign(other));
        if signs != Ordering::Equal {
            return signs;
        }
        let by_size = self.order().cmp(&other.order()).then_with(|| {
            // Of the same order, so the one with fewer digits is padded to as many as the other has.
            let pad = |number: &Self, zeros: i64| {
                let zeros = u32::try_from(zeros.max(0)).unwrap_or(0);
                number.mantissa.saturating_mul(10u128.saturating_pow(zeros))
            };
            let difference = self.exponent.saturating_sub(other.exponent);
            pad(self, difference).cmp(&pad(other, difference.saturating_neg()))
        });
        if self.is_negative { by_size.reverse() } else { by_size }
    }
}

/// What numbers can be multiples of: above zero, with at most 19 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divisor {
    mantissa: u64,
    exponent: i64,
}

impl Divisor {
    /// A number as a divisor, if it can be one.
    pub fn new(number: &Number) -> Option<Self> {
        let mantissa = u64::try_from(number.mantissa).ok().filter(|_| number.is_positive())?;
        Some(Self { mantissa, exponent: number.exponent })
    }
}

/// `10^power` modulo a number below 2^64.
fn power_of_ten(mut power: u64, modulus: u128) -> u128 {
    let (mut result, mut base) = (1 % modulus, 10 % modulus);
    while power > 0 {
        if power & 1 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        power >>= 1;
    }
    result
}

/// The digits of a number, as they come.
#[derive(Debug, Default)]
struct Digits {
    mantissa: u128,
    kept: u32,
    /// Digits before the point that were not kept, less those behind it that were.
    exponent: i64,
    has_more: bool,
    /// Where the last digit stands that is not zero: 0 for the units, -1 for the tenths.
    position: i64,
    last: Option<i64>,
}

impl Digits {
    fn push(&mut self, digit: u8, behind_point: i64) {
        let value = digit - b'0';
        if behind_point == 0 {
            // Each further digit before the point moves the others up.
            self.last = self.last.map(|last| last + 1);
        } else {
            self.position -= 1;
        }
        if value > 0 {
            self.last = Some(self.position);
        }
        if self.kept == 0 && value == 0 {
            self.exponent -= behind_point;
        } else if self.kept < DIGITS {
            self.mantissa = self.mantissa * 10 + u128::from(value);
            self.kept += 1;
            self.exponent -= behind_point;
        } else {
            self.has_more |= value > 0;
            self.exponent += 1 - behind_point;
        }
    }

    fn number(mut self, is_negative: bool, exponent: i64) -> Number {
        let Some(last) = self.last else {
            return Number { is_negative: false, mantissa: 0, exponent: 0, is_integer: true };
        };
        if self.has_more {
            self.mantissa = self.mantissa * 10 + 1;
            self.exponent -= 1;
        }
        while self.mantissa.is_multiple_of(10) && self.mantissa > 0 {
            self.mantissa /= 10;
            self.exponent += 1;
        }
        let exponent_of_all = self.exponent.saturating_add(exponent);
        Number {
            is_negative,
            mantissa: self.mantissa,
            exponent: exponent_of_all,
            is_integer: last.saturating_add(exponent) >= 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        Number::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn equal_numbers_have_one_form() {
        for (a, b) in
            [("1", "1.0"), ("100", "1e2"), ("0", "-0.0"), ("0.001", "1E-3"), ("12.50", "125e-1"), ("1e-2", "0.01")]
        {
            assert_eq!(number(a), number(b), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_number_of_json_is_none() {
        for text in ["", "-", "01", "+1", "1.", ".5", "1e", "1e+", "0x1", "NaN", "1 ", "--1", "1_0"] {
            assert_eq!(Number::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn integers_are_those_without_a_fraction() {
        for text in ["0", "-0", "1.0", "1e3", "1.5e1", "-7", "12345678901234567890123456789012345678901234567890"] {
            assert!(number(text).is_integer(), "{text}");
        }
        for text in ["0.5", "1e-1", "1.05e1", "100000000000000000000000000000000000000000000000000.5"] {
            assert!(!number(text).is_integer(), "{text}");
        }
    }

    #[test]
    fn order_is_exact_where_a_double_would_round() {
        assert!(number("9007199254740993") > number("9007199254740992"));
        assert!(number("0.1") < number("0.10000000000000000000000000001"));
        assert!(number("1000000000000000000000000000000000000000000001") > number("1e45"));
        assert!(number("-2") < number("-1.5") && number("-1") < number("0") && number("0") < number("1e-400"));
        assert!(number("1e400") > number("1e308"));
    }

    #[test]
    fn multiples_are_exact() {
        let is = |number_: &str, of: &str| number(number_).is_multiple_of(&Divisor::new(&number(of)).unwrap());
        for (a, b) in [
            ("0.0075", "0.0001"),
            ("19.99", "0.01"),
            ("10", "2"),
            ("4.5", "1.5"),
            ("0", "7"),
            ("12391239123", "1e-8"),
            ("-9", "3"),
        ] {
            assert!(is(a, b), "{a} {b}");
        }
        for (a, b) in [("0.00751", "0.0001"), ("7", "2"), ("35", "1.5"), ("1e308", "0.123456789"), ("0.01", "0.1")] {
            assert!(!is(a, b), "{a} {b}");
        }
        assert_eq!(Divisor::new(&number("0")), None);
        assert_eq!(Divisor::new(&number("-1")), None);
    }

    #[test]
    fn what_other_readers_would_round_is_not_safe() {
        assert!(
            number("9007199254740991").is_safe() && number("-9007199254740991").is_safe() && number("0.1").is_safe()
        );
        assert!(!number("9007199254740992").is_safe() && !number("-1e300").is_safe() && !number("1e309").is_double());
        assert!(number("1.7e307").is_double() && number("1e-400").is_double());
    }

    proptest! {
        #[test]
        fn it_orders_small_numbers_as_integers_do(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000, e in 0u32..4) {
            let text = |n: i64| format!("{n}e-{e}");
            prop_assert_eq!(number(&text(a)).cmp(&number(&text(b))), a.cmp(&b));
            prop_assert_eq!(number(&text(a)) == number(&text(b)), a == b);
            prop_assert_eq!(number(&text(a)).is_integer(), a % 10i64.pow(e) == 0);
        }

        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..80), digits in "-?[0-9]{1,60}\\.[0-9]{1,60}e-?[0-9]{1,30}") {
            let _ = Number::read(&text);
            if let Some((number, _)) = Number::read(digits.as_bytes()) {
                let _ = (number.is_safe(), number.cmp(&Number::of(7)));
                let _ = Divisor::new(&Number::of(7)).map(|seven| number.is_multiple_of(&seven));
            }
        }
    }
}
