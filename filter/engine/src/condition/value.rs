//! Values while an expression is evaluated. They borrow from the request, the claims and the expression.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;

use serde_json::Value as Json;

use super::cidr::Cidr;
use super::error::Fault;

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value<'v> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'v, str>),
    /// Nanoseconds since 1970.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i128),
    Ip(IpAddr),
    Cidr(Cidr),
    List(List<'v>),
    Map(Map<'v>),
}

/// A list: of a claim, or made by the expression.
#[derive(Debug, Clone)]
pub(super) enum List<'v> {
    Json(&'v [Json]),
    Made(Rc<[Value<'v>]>),
}

/// A map: of a claim, made by the expression, or a part of the request.
#[derive(Debug, Clone)]
pub(super) enum Map<'v> {
    Json(&'v serde_json::Map<String, Json>),
    Made(Rc<[(&'v str, Value<'v>)]>),
    Headers,
    Query,
    Path,
}

impl<'v> Value<'v> {
    /// A claim, or a part of one.
    ///
    /// Numbers are whole where they can be written so, else doubles. A whole number beyond 64 bits with sign would become another
    /// number as a double, and perhaps equal to one that it is not: it has no value.
    pub(super) fn of_json(json: &'v Json) -> Result<Self, Fault> {
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.is_u64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, true) => return Err(Fault::Arithmetic),
                (None, false) => Self::Double(number.as_f64().ok_or(Fault::Arithmetic)?),
            },
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(elements) => Self::List(List::Json(elements)),
            Json::Object(members) => Self::Map(Map::Json(members)),
        })
    }

    pub(super) fn text(text: &'v str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// The order of two values of one kind; numbers of both kinds compare as numbers. `None` where one is not a number (NaN).
    ///
    /// # Errors
    /// [`Fault::WrongType`] where there is no order between them.
    pub(super) fn order(&self, other: &Self) -> Result<Option<Ordering>, Fault> {
        Ok(match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Double(b)) => order_of_mixed(*a, *b),
            (Self::Double(a), Self::Int(b)) => order_of_mixed(*b, *a).map(Ordering::reverse),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) | (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            _ => return Err(Fault::WrongType),
        })
    }
}

/// The exact order of a whole number and a double: turning the one into the other could make them equal.
fn order_of_mixed(whole: i64, double: f64) -> Option<Ordering> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        return None;
    }
    if double >= TWO_TO_63 {
        return Some(Ordering::Less);
    }
    if double < -TWO_TO_63 {
        return Some(Ordering::Greater);
    }
    // In range, and `trunc` leaves no fraction: nothing is lost.
    let order = whole.cmp(&(double.trunc() as i64));
    Some(order.then_with(|| 0.0_f64.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_doubles_compare_exactly() {
        for (whole, double, expected) in [
            (1, 1.0, Ordering::Equal),
            (1, 1.5, Ordering::Less),
            (-1, -1.5, Ordering::Greater),
            (2, 1.5, Ordering::Greater),
            (i64::MAX, 9_223_372_036_854_775_807.0, Ordering::Less),
            (i64::MIN, -9_223_372_036_854_775_808.0, Ordering::Equal),
            (9_007_199_254_740_993, 9_007_199_254_740_992.0, Ordering::Greater),
            (0, f64::INFINITY, Ordering::Less),
            (0, f64::NEG_INFINITY, Ordering::Greater),
        ] {
            assert_eq!(order_of_mixed(whole, double), Some(expected), "{whole} {double}");
        }
        assert_eq!(order_of_mixed(0, f64::NAN), None);
    }

    #[test]
    fn a_number_that_a_double_cannot_hold_has_no_value() {
        let json: Json = serde_json::from_str("18446744073709551615").unwrap();
        assert!(Value::of_json(&json).is_err());
    }
}
