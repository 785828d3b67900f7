//! Path variables that must equal claims: `/users/{id}` is for the user whose `sub` it is.

use std::fmt;

use serde_json::Value;

use crate::claims::Claims;

/// A path variable, and the claim that it must equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathBinding {
    /// The variable's name in `match.path`.
    pub variable: String,
    /// The claim path.
    pub claim: String,
}

/// Why a path variable does not stand for what the claim says. It never repeats either of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The rule's path has no such variable: the Envoy route named the policy.
    NoVariable(String),
    /// The caller has no such claim.
    NoClaim(String),
    /// They differ.
    Differs {
        /// The variable.
        variable: String,
        /// The claim.
        claim: String,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVariable(variable) => write!(f, "the path has no {{{variable}}}"),
            Self::NoClaim(claim) => write!(f, "there is no claim {claim:?}"),
            Self::Differs { variable, claim } => write!(f, "{{{variable}}} is not the claim {claim:?}"),
        }
    }
}

impl std::error::Error for Mismatch {}

impl PathBinding {
    /// Compares `segment`, what the variable stands for (decoded), with the claim: equal to a text or a whole number, or to one
    /// element of an array of them. Case counts, and nothing is split.
    ///
    /// # Errors
    /// [`Mismatch`] in every other case.
    pub fn check(&self, segment: Option<&str>, claims: &Claims) -> Result<(), Mismatch> {
        let segment = segment.ok_or_else(|| Mismatch::NoVariable(self.variable.clone()))?;
        let value = claims.get(&self.claim).ok_or_else(|| Mismatch::NoClaim(self.claim.clone()))?;
        let equals = match value {
            Value::Array(elements) => elements.iter().any(|element| is(element, segment)),
            one => is(one, segment),
        };
        if equals {
            return Ok(());
        }
        Err(Mismatch::Differs { variable: self.variable.clone(), claim: self.claim.clone() })
    }
}

fn is(value: &Value, segment: &str) -> bool {
    match value {
        Value::String(text) => text == segment,
        // A number is written in one way only: `042` is not 42.
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string() == segment,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn equals(value: Value, segment: &str) -> bool {
        let claims = Claims::new([("id".to_owned(), value)].into_iter().collect());
        let binding = PathBinding { variable: "id".to_owned(), claim: "id".to_owned() };
        binding.check(Some(segment), &claims).is_ok()
    }

    #[test]
    fn only_the_same_text_or_number_is_equal() {
        assert!(equals(json!("alice"), "alice") && equals(json!("é b"), "é b"));
        assert!(equals(json!(42), "42") && equals(json!(-1), "-1") && equals(json!(u64::MAX), "18446744073709551615"));
        assert!(equals(json!(["bob", 7, "alice"]), "alice") && equals(json!(["bob", 7]), "7"));
        for (value, segment) in [
            (json!("alice"), "Alice"),
            (json!("alice"), "alic"),
            (json!("alice"), "alice "),
            (json!("alice bob"), "alice"),
            (json!("alice,bob"), "alice"),
            (json!(42), "042"),
            (json!(42), "42.0"),
            (json!(4.5), "4.5"),
            (json!(42.0), "42"),
            (json!(true), "true"),
            (json!(null), "null"),
            (json!({"alice": 1}), "alice"),
            (json!([]), "alice"),
            (json!([["alice"]]), "alice"),
            (json!("*"), "alice"),
            (json!(""), "alice"),
        ] {
            assert!(!equals(value.clone(), segment), "{value} {segment}");
        }
    }
}
