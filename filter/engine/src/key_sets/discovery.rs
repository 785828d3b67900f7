//! OpenID Connect Discovery 1.0: from an issuer to the place of its key set.

use serde::Deserialize;

/// The longest `jwks_uri` that is followed, in bytes.
const MAX_URI_BYTES: usize = 2048;

/// Why a provider's metadata do not lead to a key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryError {
    /// Not a JSON object with the strings `issuer` and `jwks_uri`, each once.
    Malformed,
    /// `issuer` is not exactly the configured one (section 4.3): somebody else's metadata.
    IssuerMismatch,
    /// `jwks_uri` is not an http or https URL that can be asked for: too long, with user info or a fragment, or odd bytes.
    JwksUri,
}

impl std::fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the metadata are not a JSON object with issuer and jwks_uri",
            Self::IssuerMismatch => "the metadata name another issuer than the configuration",
            Self::JwksUri => "jwks_uri is not a URL that can be asked for",
        })
    }
}

impl std::error::Error for DiscoveryError {}

/// What the key set's request carries. The connection goes to the configured cluster all the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JwksPlace {
    pub authority: String,
    pub path: String,
}

/// The path of the metadata of `issuer`: the issuer's own path without a last `/`, then the well-known part (section
/// 4.1). `None` where `issuer` is no http or https URL without query and fragment.
pub(super) fn metadata_path(issuer: &str) -> Option<String> {
    if issuer.contains('?') {
        return None;
    }
    let path = split_url(issuer)?.path;
    let own = path.strip_suffix('/').unwrap_or(&path);
    Some(format!("{own}/.well-known/openid-configuration"))
}

/// The place of the key set that the metadata `document` of `issuer` names.
pub(super) fn jwks_place(document: &[u8], issuer: &str) -> Result<JwksPlace, DiscoveryError> {
    // A member that stands twice is an error here: two readers could follow two different ones.
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }
    // A derived struct would take a JSON array for its members in order as well.
    if document.trim_ascii_start().first() != Some(&b'{') {
        return Err(DiscoveryError::Malformed);
    }
    let metadata: Metadata = serde_json::from_slice(document).map_err(|_| DiscoveryError::Malformed)?;
    if metadata.issuer != issuer {
        return Err(DiscoveryError::IssuerMismatch);
    }
    split_url(&metadata.jwks_uri).ok_or(DiscoveryError::JwksUri)
}

/// Authority and path (with query) of an http or https URL (RFC 3986, section 3), without user info and fragment.
fn split_url(url: &str) -> Option<JwksPlace> {
    if url.len() > MAX_URI_BYTES {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (is_authority(authority) && is_path(&path)).then(|| JwksPlace { authority: authority.to_owned(), path })
}

/// Whether `text` is `host` or `host:port` as a request may carry it.
pub(crate) fn is_authority(text: &str) -> bool {
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    (1..=255).contains(&text.len()) && !text.starts_with(':') && text.bytes().all(in_host)
}

/// Whether `text` is a path, perhaps with a query, as a request line carries it (RFC 3986, sections 3.3 and 3.4).
pub(crate) fn is_path(text: &str) -> bool {
    text.len() <= MAX_URI_BYTES
        && text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://idp.example/realms/x";

    fn place(jwks_uri: &str) -> Result<JwksPlace, DiscoveryError> {
        let document = serde_json::json!({ "issuer": ISSUER, "jwks_uri": jwks_uri, "scopes_supported": ["openid"] });
        jwks_place(document.to_string().as_bytes(), ISSUER)
    }

    #[test]
    fn the_issuers_path_precedes_the_well_known_part() {
        let path = |issuer| metadata_path(issuer).unwrap();
        assert_eq!(path("https://idp.example"), "/.well-known/openid-configuration");
        assert_eq!(path("https://idp.example/"), "/.well-known/openid-configuration");
        assert_eq!(path(ISSUER), "/realms/x/.well-known/openid-configuration");
        assert_eq!(path("https://idp.example/realms/x/"), "/realms/x/.well-known/openid-configuration");
    }

    #[test]
    fn the_key_set_is_asked_for_under_its_own_host_and_path() {
        let expected = JwksPlace { authority: "keys.example:8443".into(), path: "/k?v=1".into() };
        assert_eq!(place("https://keys.example:8443/k?v=1"), Ok(expected));
        assert_eq!(place("HTTP://[::1]"), Ok(JwksPlace { authority: "[::1]".into(), path: "/".into() }));
        assert_eq!(place("https://idp?x"), Ok(JwksPlace { authority: "idp".into(), path: "/?x".into() }));
    }

    #[test]
    fn a_jwks_uri_that_cannot_be_asked_for_is_refused() {
        let long = format!("https://idp/{}", "a".repeat(MAX_URI_BYTES));
        let bad = ["", "/jwks", "file:///etc/passwd", "https://", "https:///k", "https://u:p@idp/k", "https://idp/k#f"];
        for uri in bad.into_iter().chain(["https://idp/a b", "https://idp/\r\nx: y", "https://ídp/k", &long]) {
            assert_eq!(place(uri), Err(DiscoveryError::JwksUri), "{uri:?}");
        }
    }

    #[test]
    fn another_issuer_is_refused_even_by_one_slash() {
        for issuer in ["https://idp.example/realms/x/", "https://IDP.example/realms/x", "https://evil.example", ""] {
            let document = serde_json::json!({ "issuer": issuer, "jwks_uri": "https://idp.example/k" }).to_string();
            assert_eq!(jwks_place(document.as_bytes(), ISSUER), Err(DiscoveryError::IssuerMismatch), "{issuer}");
        }
    }

    #[test]
    fn metadata_that_are_no_plain_object_are_refused() {
        let twice = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"https://a/k","jwks_uri":"https://b/k"}}"#);
        let array = format!(r#"["{ISSUER}","https://a/k"]"#);
        let number = format!(r#"{{"issuer":"{ISSUER}","jwks_uri":1}}"#);
        let deep = "[".repeat(100_000);
        for text in ["", "{}", "null", "<html>", "{\"issuer\":1}", &twice, &array, &number, &deep] {
            assert_eq!(jwks_place(text.as_bytes(), ISSUER), Err(DiscoveryError::Malformed), "{text:.40}");
        }
        assert_eq!(jwks_place(b"{\"issuer\":\"\xff\"}", ISSUER), Err(DiscoveryError::Malformed));
    }
}
