//! What other proxies do not say of keys: which algorithms they may be used with.

use serde_json::{Value, json};

use super::Options;

/// The algorithms of a provider: those of its keys where they are known, else those that were asked for.
pub fn algorithms(inline: Option<&str>, options: &Options, comments: &mut Vec<String>) -> Vec<String> {
    let known = inline.and_then(|text| serde_json::from_str::<Value>(text).ok()).map(|keys| of_keys(&keys));
    match known {
        Some(known) if !known.is_empty() => {
            comments.push("The algorithms are those of the keys: jwt_authn names none.".to_owned());
            known
        }
        _ => {
            comments.push(format!(
                "The input names no algorithms: {} were chosen (--algorithms). Others are refused.",
                options.algorithms.join(" and ")
            ));
            options.algorithms.clone()
        }
    }
}

/// Where a token is looked for unless the input says where: a bad one must be seen to be refused.
pub fn default_places(comments: &mut Vec<String>) -> Value {
    comments.push(
        "Both places are the input's default. Leave the query out if nobody uses it: URLs end up in logs.".to_owned(),
    );
    json!([{"header": "authorization", "scheme": "Bearer"}, {"query": "access_token"}])
}

fn of_keys(keys: &Value) -> Vec<String> {
    let one = [keys.clone()];
    let keys = keys.get("keys").and_then(Value::as_array).map_or(&one[..], Vec::as_slice);
    let mut found: Vec<String> = Vec::new();
    for key in keys {
        let text = |member: &str| key.get(member).and_then(Value::as_str);
        let algorithm = match (text("alg"), text("kty"), text("crv")) {
            (Some(named), ..) => named,
            (_, Some("RSA"), _) => "RS256",
            (_, Some("EC"), Some("P-256")) => "ES256",
            (_, Some("EC"), Some("P-384")) => "ES384",
            (_, Some("OKP"), Some("Ed25519")) => "EdDSA",
            (_, Some("oct"), _) => "HS256",
            _ => continue,
        };
        let is_known = portcullis_engine::jwt::Algorithm::ALL.iter().any(|known| known.name() == algorithm);
        if is_known && !found.iter().any(|known| known == algorithm) {
            found.push(algorithm.to_owned());
        }
    }
    found
}

/// Whether a duration of theirs is one of ours.
pub fn is_span(text: &str) -> bool {
    let digits = text.strip_suffix('s').unwrap_or_default();
    !digits.is_empty() && digits.len() < 7 && digits.bytes().all(|b| b.is_ascii_digit())
}
