//! What the service learns of a verified caller: claims as headers.

use serde_json::Value;

use crate::answer::{Denial, Reason};
use crate::claims::Claims;
use crate::engine::HeaderChange;

/// The headers that `wanted` (name and claim path) asks for; a claim that is not there sets none.
///
/// # Errors
/// A [`Denial`] if a claim holds bytes that no header may hold: the service must not get half an identity.
pub fn claim_headers(claims: &Claims, wanted: &[(String, String)]) -> Result<Vec<HeaderChange>, Denial> {
    let mut changes = Vec::with_capacity(wanted.len());
    for (name, claim) in wanted {
        let Some(text) = claims.get(claim).and_then(claim_text) else { continue };
        if text.bytes().any(|b| b < b' ' || b == 0x7f) {
            let detail = format!("claim {claim:?} holds bytes that header {name:?} cannot hold");
            return Err(Denial::new(Reason::TokenClaimMalformed, detail));
        }
        changes.push(HeaderChange::Set(name.clone(), text.into_bytes()));
    }
    Ok(changes)
}

/// A claim as text: strings as they are, numbers and booleans as JSON writes them, lists of such joined by commas,
/// anything else as JSON. A list with an element that holds a comma is written as JSON too.
pub fn claim_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Some(value.to_string()),
        Value::Array(elements) => {
            let plain = |element: &Value| match element {
                Value::String(text) if text.contains(',') || text.starts_with('[') => None,
                Value::String(text) => Some(text.clone()),
                Value::Bool(_) | Value::Number(_) => Some(element.to_string()),
                _ => None,
            };
            let joined: Option<Vec<String>> = elements.iter().map(plain).collect();
            Some(joined.map_or_else(|| value.to_string(), |texts| texts.join(",")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_read_as_a_service_expects_them() {
        assert_eq!(claim_text(&json!("alice")).as_deref(), Some("alice"));
        assert_eq!(claim_text(&json!(["a", "b", 3])).as_deref(), Some("a,b,3"));
        assert_eq!(claim_text(&json!(["a,b"])).as_deref(), Some("[\"a,b\"]"), "two readings would be one too many");
        assert_eq!(claim_text(&json!({"a": [1]})).as_deref(), Some("{\"a\":[1]}"));
        assert_eq!(claim_text(&json!(null)), None);
    }
}
