//! The registered claims, typed (RFC 7519, sections 2 and 4.1).

use serde_json::{Map, Number, Value};

use super::error::TokenError;
use crate::time::UnixNanos;

/// The registered claims that a decision needs, read once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub expires_at: Option<UnixNanos>,
    pub not_before: Option<UnixNanos>,
    pub issued_at: Option<UnixNanos>,
}

/// Reads `exp`, `nbf` and `iat`, each a NumericDate where present.
pub(crate) fn times(claims: &Map<String, Value>) -> Result<Times, TokenError> {
    Ok(Times {
        expires_at: numeric_date(claims, "exp")?,
        not_before: numeric_date(claims, "nbf")?,
        issued_at: numeric_date(claims, "iat")?,
    })
}

/// A claim that must be a string where it is present (StringOrURI; an opaque text here, compared byte by byte).
pub(crate) fn string<'c>(claims: &'c Map<String, Value>, claim: &'static str) -> Result<Option<&'c str>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::ClaimMalformed { claim }),
    }
}

/// The audiences: one string or an array of strings (RFC 7519, section 4.1.3); `None` where the claim is absent.
pub(crate) fn audiences(claims: &Map<String, Value>) -> Result<Option<Vec<&str>>, TokenError> {
    const MALFORMED: TokenError = TokenError::ClaimMalformed { claim: "aud" };
    match claims.get("aud") {
        None => Ok(None),
        Some(Value::String(one)) => Ok(Some(vec![one])),
        Some(Value::Array(many)) => many.iter().map(Value::as_str).collect::<Option<_>>().map(Some).ok_or(MALFORMED),
        Some(_) => Err(MALFORMED),
    }
}

fn numeric_date(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<UnixNanos>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::Number(seconds)) => Ok(Some(instant(seconds))),
        Some(_) => Err(TokenError::ClaimMalformed { claim }),
    }
}

/// Seconds since the epoch, fractions included. Before the epoch counts as the epoch, past the year 2554 as its end.
fn instant(seconds: &Number) -> UnixNanos {
    if let Some(whole) = seconds.as_u64() {
        return UnixNanos::from_secs(whole);
    }
    // A float to integer cast stops at the ends of the range and takes a negative number to zero.
    UnixNanos((seconds.as_f64().unwrap_or(0.0) * 1e9) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    fn exp(number: &str) -> u64 {
        times(&claims(&format!(r#"{{"exp":{number}}}"#))).unwrap().expires_at.unwrap().0
    }

    #[test]
    fn numeric_dates_keep_fractions_and_stop_at_the_ends() {
        assert_eq!(exp("1"), 1_000_000_000);
        assert_eq!(exp("1.5"), 1_500_000_000);
        assert_eq!(exp("15e-1"), 1_500_000_000);
        assert_eq!(exp("1.7e9"), 1_700_000_000_000_000_000);
        for before in ["-1", "-0.5", "-9223372036854775808", "-1e300", "-0.0", "0"] {
            assert_eq!(exp(before), 0, "{before}");
        }
        for huge in ["18446744073709551615", "18446744073709551616", "1e20", "1e308", "99999999999999"] {
            assert_eq!(exp(huge), u64::MAX, "{huge}");
        }
    }

    #[test]
    fn a_date_of_another_type_is_malformed() {
        for value in ["\"1\"", "null", "true", "[1]", "{}"] {
            for claim in ["exp", "nbf", "iat"] {
                let error = times(&claims(&format!(r#"{{"{claim}":{value}}}"#))).unwrap_err();
                assert_eq!(error, TokenError::ClaimMalformed { claim });
            }
        }
    }

    #[test]
    fn an_audience_is_a_string_or_an_array_of_strings() {
        assert_eq!(audiences(&claims("{}")), Ok(None));
        assert_eq!(audiences(&claims(r#"{"aud":"a b"}"#)), Ok(Some(vec!["a b"])));
        assert_eq!(audiences(&claims(r#"{"aud":["a","b"]}"#)), Ok(Some(vec!["a", "b"])));
        assert_eq!(audiences(&claims(r#"{"aud":[]}"#)), Ok(Some(vec![])));
        for value in ["null", "1", "{}", r#"["a",1]"#, r#"[["a"]]"#, "true"] {
            assert!(audiences(&claims(&format!(r#"{{"aud":{value}}}"#))).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn later_numbers_are_never_earlier_instants(a in any::<f64>(), b in any::<f64>()) {
            if let (Some(x), Some(y)) = (Number::from_f64(a.min(b)), Number::from_f64(a.max(b))) {
                prop_assert!(instant(&x) <= instant(&y));
            }
        }
    }
}
