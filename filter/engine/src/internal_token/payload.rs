//! The claims of an internal token: what the gateway says of a caller (RFC 7519; RFC 8693, section 4; RFC 9068, section 2).

use serde_json::{Map, Value};

use super::cache::CredentialKey;
use super::error::MintError;
use super::settings::Settings;
use crate::claims::Claims;
use crate::scopes::ScopeSource;

/// Whom a token is about.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// What is verified of the caller.
    pub claims: &'a Claims,
    /// Where the caller's scopes stand.
    pub scopes: &'a ScopeSource,
    /// The credential, and what is said of it.
    pub credential: CredentialKey,
}

/// What distinguishes one token from the next.
pub(super) struct Occasion<'a> {
    pub audience: &'a str,
    pub token_id: String,
    /// Seconds since the epoch.
    pub issued_at: u64,
    /// Seconds since the epoch.
    pub expires_at: u64,
}

/// The claims of a token for the caller.
pub(super) fn payload(
    settings: &Settings,
    caller: Caller<'_>,
    occasion: Occasion<'_>,
) -> Result<Map<String, Value>, MintError> {
    let claims = caller.claims;
    let subject = claims.subject().filter(|subject| !subject.is_empty()).ok_or(MintError::NoSubject)?;
    let mut payload = Map::new();
    for claim in &settings.copied {
        if let Some(value) = claims.get(&claim.path).filter(|value| !value.is_null()) {
            payload.insert(claim.name.clone(), value.clone());
        }
    }
    // Whom the caller acts for stays visible over the exchange (RFC 8693, section 4.1).
    if let Some(actor @ Value::Object(_)) = claims.members().get("act") {
        payload.insert("act".to_owned(), actor.clone());
    }
    let scope = scope(caller);
    if !scope.is_empty() {
        payload.insert("scope".to_owned(), scope.into());
    }
    // `azp` is what OpenID Connect and many providers call the client.
    if let Some(client) = claims.text("client_id").or_else(|| claims.text("azp")) {
        payload.insert("client_id".to_owned(), client.into());
    }
    if let Some(issuer) = claims.text("iss") {
        payload.insert("orig_iss".to_owned(), issuer.into());
    }
    // Last, so that nothing that was copied could stand in their place.
    payload.insert("iss".to_owned(), settings.issuer.as_str().into());
    payload.insert("sub".to_owned(), subject.into());
    payload.insert("aud".to_owned(), occasion.audience.into());
    payload.insert("iat".to_owned(), occasion.issued_at.into());
    payload.insert("nbf".to_owned(), occasion.issued_at.into());
    payload.insert("exp".to_owned(), occasion.expires_at.into());
    payload.insert("jti".to_owned(), occasion.token_id.into());
    Ok(payload)
}

/// The caller's scopes in one text. A word that would read as two there, such as an array's element with a space, is
/// left out: it would give a service more than the issuer gave (RFC 6749, section 3.3).
fn scope(caller: Caller<'_>) -> String {
    let in_scope = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    caller.scopes.words(caller.claims).filter(|word| word.bytes().all(in_scope)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::internal_token::CopiedClaim;
    use serde_json::json;

    fn minted(claims: &Value, copied: &[(&str, &str)]) -> Result<Value, MintError> {
        let copied =
            copied.iter().map(|(path, name)| CopiedClaim { path: (*path).into(), name: (*name).into() }).collect();
        let settings = Settings { copied, ..Settings::new("https://gateway.example") };
        let occasion = Occasion { audience: "orders", token_id: "t-1".into(), issued_at: 100, expires_at: 160 };
        let claims = Claims::new(claims.as_object().unwrap().clone());
        let scopes = ScopeSource::default();
        let caller = Caller { claims: &claims, scopes: &scopes, credential: CredentialKey::new(0, b"t") };
        payload(&settings, caller, occasion).map(Value::Object)
    }

    #[test]
    fn a_token_says_who_calls_for_whom_it_is_and_how_long() {
        let claims = json!({"sub": "alice", "iss": "https://idp.example", "aud": "gateway", "exp": 9, "scope": "a b",
            "client_id": "shop", "email": "a@b.example"});
        let expected = json!({"iss": "https://gateway.example", "sub": "alice", "aud": "orders", "iat": 100, "nbf": 100,
            "exp": 160, "jti": "t-1", "scope": "a b", "client_id": "shop", "orig_iss": "https://idp.example"});
        assert_eq!(minted(&claims, &[]), Ok(expected));
    }

    #[test]
    fn chosen_claims_are_copied_as_they_are() {
        let claims = json!({"sub": "a", "realm_access": {"roles": ["x", {"y": [1, 2.5, true]}]}, "https://e/t": "gold",
            "org": {"id": 7}, "none": null, "sub2": ""});
        let copied = [
            ("realm_access.roles", "roles"),
            ("https://e/t", "tier"),
            ("org", "org"),
            ("org.id", "org_id"),
            ("sub2", "s"),
        ];
        let token = minted(&claims, &copied).unwrap();
        assert_eq!(token["roles"], json!(["x", {"y": [1, 2.5, true]}]));
        assert_eq!(token["tier"], "gold");
        assert_eq!(token["org"], json!({"id": 7}));
        assert_eq!(token["org_id"], 7);
        assert_eq!(token["s"], "");
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let token =
            minted(&json!({"sub": "a", "none": null, "org": {}}), &[("none", "n"), ("org.id", "o"), ("x", "x")]);
        let names: Vec<String> = token.unwrap().as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"]);
    }

    #[test]
    fn a_caller_without_a_name_gets_no_token() {
        for claims in
            [json!({}), json!({"sub": ""}), json!({"sub": 7}), json!({"sub": null}), json!({"client_id": "c"})]
        {
            assert_eq!(minted(&claims, &[]), Err(MintError::NoSubject), "{claims}");
        }
    }

    #[test]
    fn no_scope_becomes_two() {
        let scope = |scope: Value| minted(&json!({"sub": "a", "scope": scope}), &[]).unwrap()["scope"].clone();
        assert_eq!(scope(json!(["read", "write all", "x\ty", "ok"])), "read ok");
        assert_eq!(scope(json!("read\tadmin ok a\u{a0}b \"q\" a\\b")), "ok");
        assert_eq!(scope(json!("  a  b ")), "a b");
        assert_eq!(scope(json!(["write all"])), Value::Null);
    }

    #[test]
    fn scopes_are_those_of_the_providers_claim() {
        let claims = Claims::new(
            json!({"sub": "a", "scope": "other", "realm": {"grants": ["read", "write"]}}).as_object().unwrap().clone(),
        );
        let scopes = ScopeSource { claim: Some("realm.grants".into()), prefix: "SCOPE_".into() };
        let caller = Caller { claims: &claims, scopes: &scopes, credential: CredentialKey::new(0, b"t") };
        assert_eq!(scope(caller), "read write");
    }

    #[test]
    fn the_actor_and_the_client_stay_visible() {
        let token =
            minted(&json!({"sub": "a", "act": {"sub": "bot", "act": {"sub": "b"}}, "azp": "shop"}), &[]).unwrap();
        assert_eq!(token["act"], json!({"sub": "bot", "act": {"sub": "b"}}));
        assert_eq!(token["client_id"], "shop");
        assert_eq!(minted(&json!({"sub": "a", "act": "bot"}), &[]).unwrap().get("act"), None);
    }
}
