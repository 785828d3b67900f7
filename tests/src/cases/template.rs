//! What stands in double braces: tokens, forgeries, keys, long texts.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use serde_json::{Value, json};

use super::keyring;
use crate::keys::{Algorithm, base64url};
use crate::mint::{self, Token};

/// What templates are filled in with.
#[derive(Debug, Default)]
pub struct Template {
    /// The time of the case, in seconds since 1970.
    pub now: u64,
    /// How often the request has come, from 1.
    pub n: u64,
    /// Every token made so far.
    pub minted: Vec<String>,
    /// The last `dpop-nonce` of an answer.
    pub nonce: Option<String>,
    /// Stands before the `jti` of every proof, so that cases that share one gateway do not replay each other's.
    pub tag: String,
    /// How many proofs were made, so that each has its own `jti`.
    proofs: u64,
    /// Real certificates that texts stand for, in DER. Any other text stands for its own bytes.
    pub certificates: HashMap<String, Vec<u8>>,
    named: HashMap<String, String>,
}

impl Template {
    /// Templates for the time `now`, in seconds since 1970.
    pub fn at(now: u64) -> Self {
        Self { now, ..Self::default() }
    }

    /// `text` with every `{{...}}` filled in.
    ///
    /// # Errors
    /// A template that the format does not know.
    pub fn fill(&mut self, text: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            let (inside, after) = behind.split_once("}}").ok_or_else(|| anyhow!("{text:?}: `{{{{` without its end"))?;
            filled.push_str(before);
            filled.push_str(&self.make(inside).with_context(|| format!("{{{{{inside}}}}}"))?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// [`fill`](Self::fill), then `\xHH` becomes a byte. Any other backslash stays: it belongs to the body, as in JSON.
    ///
    /// # Errors
    /// A template that the format does not know.
    pub fn body(&mut self, text: &str) -> Result<Vec<u8>> {
        let text = self.fill(text)?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, behind)) = rest.split_once("\\x") {
            bytes.extend_from_slice(before.as_bytes());
            let byte = behind.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            match byte {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(b"\\x"),
            }
            rest = if byte.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(bytes)
    }

    /// [`fill`](Self::fill), then `\xHH` and `\\` become bytes.
    ///
    /// # Errors
    /// A template or an escape that the format does not know.
    pub fn bytes(&mut self, text: &str) -> Result<Vec<u8>> {
        let text = self.fill(text)?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some((before, behind)) = rest.split_once('\\') {
            bytes.extend_from_slice(before.as_bytes());
            let digits = behind.strip_prefix('x').and_then(|hex| hex.get(..2));
            rest = match (behind.strip_prefix('\\'), digits.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
                (Some(after), _) => {
                    bytes.push(b'\\');
                    after
                }
                (None, Some(byte)) => {
                    bytes.push(byte);
                    behind.get(3..).unwrap_or_default()
                }
                (None, None) => bail!("{text:?}: a backslash is `\\\\` or begins `\\xHH`"),
            };
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(bytes)
    }

    fn x5t(&self, text: &str) -> String {
        x5t(self.certificates.get(text).map_or(text.as_bytes(), Vec::as_slice))
    }

    fn make(&mut self, inside: &str) -> Result<String> {
        let words = words(inside)?;
        let mut words = words.iter().map(String::as_str);
        let kind = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        match (kind, rest.as_slice()) {
            ("n", []) => Ok(self.n.to_string()),
            ("now", []) => Ok(self.now.to_string()),
            ("repeat", [text, times]) => Ok(text.repeat(times.parse()?)),
            ("again", [name]) => self.named.get(*name).cloned().ok_or_else(|| anyhow!("no token {name:?} yet")),
            ("secret", []) => Ok(keyring::SECRET.to_owned()),
            ("sha256", [text]) => Ok(hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())),
            ("base64", [text]) => Ok(base64::engine::general_purpose::STANDARD.encode(text)),
            ("jwk", [name, changes @ ..]) => jwk_of(name, changes),
            ("private", [name, changes @ ..]) => private_jwk(name, changes),
            ("jkt", [name]) => keyring::thumbprint(name),
            ("x5t", [text]) => Ok(self.x5t(text)),
            ("dpop", parts) => {
                let (proof, name) = self.proof(parts)?;
                Ok(self.keep(proof, name))
            }
            ("raw", parts) => {
                let token = raw(parts)?;
                Ok(self.keep(token, None))
            }
            ("token", parts) => {
                let plan = Plan::read(parts, self)?;
                let token = plan.token.sign_as(&*keyring::key(&plan.key)?, plan.algorithm()?);
                Ok(self.keep(token, plan.name))
            }
            ("forge", [forgery, parts @ ..]) => {
                let plan = Plan::read(parts, self)?;
                let token = forge(forgery, &plan)?;
                Ok(self.keep(token, plan.name))
            }
            _ => bail!("unknown template"),
        }
    }

    /// A DPoP proof (RFC 9449, 4.2): a good one, changed by its parts; and the name that it is kept under.
    fn proof(&mut self, parts: &[&str]) -> Result<(String, Option<String>)> {
        self.proofs = self.proofs.saturating_add(1);
        let mut token = Token::of("").without("iss").without("aud").without("sub").without("exp");
        token = token.header("typ", json!("dpop+jwt")).header("kid", Value::Null).claim("iat", json!(self.now));
        token = token.claim("htm", json!("GET")).claim("htu", json!("https://api.example/"));
        token = token.claim("jti", json!(format!("{}proof-{}", self.tag, self.proofs)));
        let (mut key, mut signer, mut jwk, mut name) = ("es256-client", None, None, None);
        for part in parts {
            let (member, value) = part.split_once('=').ok_or_else(|| anyhow!("{part:?} is not `name=value`"))?;
            token = match member {
                "as" => {
                    name = Some(value.to_owned());
                    continue;
                }
                "key" => {
                    key = value;
                    continue;
                }
                "signer" => {
                    signer = Some(value);
                    continue;
                }
                "jwk" => {
                    jwk = Some(value);
                    continue;
                }
                "token" => {
                    let named = self.named.get(value).map_or(value, String::as_str);
                    token.claim("ath", json!(x5t(named.as_bytes())))
                }
                "nonce" if value == "answered" => {
                    // In monitor mode no answer gives one.
                    let nonce = self.nonce.clone().unwrap_or_default();
                    token.claim("nonce", json!(nonce))
                }
                "jti" if !self.tag.is_empty() && !value.is_empty() => {
                    token.claim("jti", json!(format!("{}{value}", self.tag)))
                }
                "htm" | "htu" | "jti" | "nonce" => token.claim(member, text_or_json(value)),
                "iat" | "exp" | "nbf" => token.claim(member, time(value, self.now)?),
                "typ" | "alg" => token.header(member, header_value(value)),
                "without" => value.split(',').fold(token, |token, claim| token.without(claim)),
                _ => bail!("unknown part {part:?}"),
            };
        }
        let public: Value = serde_json::from_str(&match jwk {
            Some("-") => "null".to_owned(),
            Some("private") => private_jwk(key, &[])?,
            Some(other) => bail!("unknown part {:?}", format!("jwk={other}")),
            None => jwk_of(key, &["kid=-", "use=-", "alg=-"])?,
        })?;
        let proof = token.header("jwk", public).sign(&*keyring::key(signer.unwrap_or(key))?);
        Ok((proof, name))
    }

    fn keep(&mut self, token: String, name: Option<String>) -> String {
        if let Some(name) = name {
            self.named.insert(name, token.clone());
        }
        self.minted.push(token.clone());
        token
    }
}

/// A token as it is asked for.
struct Plan {
    token: Token,
    key: String,
    algorithm: Option<String>,
    name: Option<String>,
}

impl Plan {
    fn read(parts: &[&str], template: &Template) -> Result<Self> {
        let now = template.now;
        let token = Token::of("alice").claim("iat", json!(now)).claim("exp", json!(now.saturating_add(600)));
        let mut plan = Self { token, key: "es256".to_owned(), algorithm: None, name: None };
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| anyhow!("{part:?} is not `name=value`"))?;
            plan.token = match name {
                "key" => {
                    plan.key = value.to_owned();
                    continue;
                }
                "alg" => {
                    plan.algorithm = Some(value.to_owned());
                    continue;
                }
                "as" => {
                    plan.name = Some(value.to_owned());
                    continue;
                }
                "without" => value.split(',').fold(plan.token, |token, claim| token.without(claim)),
                "pad" => plan.token.claim("pad", json!("x".repeat(value.parse()?))),
                "exp" | "nbf" | "iat" => plan.token.claim(name, time(value, now)?),
                "sub" | "iss" | "aud" | "jti" | "scope" | "scp" | "client_id" => {
                    plan.token.claim(name, text_or_json(value))
                }
                // What the token is bound to (RFC 7800): a key, or a certificate.
                "jkt" => plan.token.claim("cnf", json!({"jkt": keyring::thumbprint(value)?})),
                "x5t" => plan.token.claim("cnf", json!({"x5t#S256": template.x5t(value)})),
                "kid" | "typ" => plan.token.header(name, header_value(value)),
                other => match (other.strip_prefix("claim."), other.strip_prefix("header.")) {
                    (Some(claim), _) => plan.token.claim(claim, json_or_text(value)),
                    (_, Some(member)) => plan.token.header(member, json_or_text(value)),
                    _ => bail!("unknown part {part:?}"),
                },
            };
        }
        Ok(plan)
    }

    fn algorithm(&self) -> Result<Algorithm> {
        match &self.algorithm {
            Some(name) => keyring::algorithm(name),
            None => Ok(keyring::key(&self.key)?.algorithm()),
        }
    }
}

/// What an attacker makes who has no key of the provider.
fn forge(forgery: &str, plan: &Plan) -> Result<String> {
    let key = keyring::key(&plan.key)?;
    let good = || anyhow::Ok(plan.token.sign_as(&key, plan.algorithm()?));
    Ok(match forgery {
        // No signature at all (RFC 7519, 6.1).
        "none" => plan.token.clone().header("kid", json!(key.kid())).with_signature(b""),
        // The same, with something where the signature would stand.
        "none-with-signature" => plan.token.clone().header("kid", json!(key.kid())).with_signature(b"signature"),
        // The public key, which everybody knows, as the secret of an HMAC (RFC 8725, 2.1).
        "confusion" => {
            let public = crate::keys::SigningKey::from_secret(Algorithm::Hs256, key.kid(), &key.known_bytes());
            plan.token.sign(&public)
        }
        // The forger's own key in the token's header (CVE-2018-0114).
        "embedded-jwk" => {
            let own = keyring::key(&format!("{}-forger", key.algorithm().name().to_ascii_lowercase()))?;
            plan.token.clone().header("kid", json!(key.kid())).header("jwk", own.public_jwk()).sign(&own)
        }
        // Other claims under the old signature.
        "altered" => {
            let token = good()?;
            let (input, signature) = token.rsplit_once('.').ok_or_else(|| anyhow!("a token has dots"))?;
            let (header, _) = input.split_once('.').ok_or_else(|| anyhow!("a token has dots"))?;
            let other = plan.token.clone().claim("sub", json!("mallory")).sign(&key);
            let claims = other.split('.').nth(1).unwrap_or_default();
            format!("{header}.{claims}.{signature}")
        }
        "truncated" => {
            let token = good()?;
            let (input, signature) = token.rsplit_once('.').ok_or_else(|| anyhow!("a token has dots"))?;
            // Whole groups of four characters, or the rest would be no base64url any more.
            let kept = signature.len().saturating_sub(4) / 4 * 4;
            format!("{input}.{}", signature.get(..kept).unwrap_or_default())
        }
        "no-signature-part" => {
            let token = good()?;
            token.rsplit_once('.').map(|(input, _)| input.to_owned()).unwrap_or_default()
        }
        "padded" => format!("{}=", good()?),
        "encrypted" => format!("{}.{}.{}", good()?, base64url(b"text"), base64url(b"tag")),
        other => bail!("no forgery {other:?}"),
    })
}

/// A correctly signed token of exactly these texts.
fn raw(parts: &[&str]) -> Result<String> {
    let (mut header, mut claims, mut key) = (None, None, "es256");
    for part in parts {
        match part.split_once('=') {
            Some(("header", text)) => header = Some(text),
            Some(("claims", text)) => claims = Some(text),
            Some(("key", name)) => key = name,
            _ => bail!("unknown part {part:?}"),
        }
    }
    let default = format!("{{\"alg\":\"ES256\",\"kid\":\"{key}\"}}");
    Ok(mint::sign_raw(header.unwrap_or(&default), claims.unwrap_or("{}"), &*keyring::key(key)?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The public JWK of a key, with members changed (`use=enc`) or left out (`alg=-`).
fn jwk_of(name: &str, changes: &[&str]) -> Result<String> {
    let mut jwk = keyring::key(name)?.public_jwk();
    let members = jwk.as_object_mut().ok_or_else(|| anyhow!("a JWK is an object"))?;
    for change in changes {
        match change.split_once('=') {
            Some((member, "-")) => {
                members.remove(member);
            }
            Some((member, value)) => {
                members.insert(member.to_owned(), json_or_text(value));
            }
            None => bail!("{change:?} is not `member=value`"),
        }
    }
    Ok(jwk.to_string())
}

/// A private JWK: EC keys whose private number a test may know.
fn private_jwk(name: &str, changes: &[&str]) -> Result<String> {
    let d = keyring::private_number(name)?;
    let member = format!("d={d}");
    jwk_of(name, &[&[member.as_str()], changes].concat())
}

/// The hash of a certificate, as `x5t#S256` has it; as `ath`, that of a token.
fn x5t(bytes: &[u8]) -> String {
    base64url(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// What keeps `token` from being signed by `key=NAME` with the claims `member=value`; `None` if nothing does.
///
/// # Errors
/// Words that are not of this form.
pub fn token_difference(token: &str, wanted: &str) -> Result<Option<String>> {
    let parts: Vec<&str> = token.split('.').collect();
    let decoded = |part: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    let [header, claims, signature] = parts.as_slice() else { return Ok(Some(format!("no token: {token:?}"))) };
    let members: Value = serde_json::from_slice(&decoded(claims)).unwrap_or_default();
    for word in words(wanted)? {
        let (name, value) = word.split_once('=').ok_or_else(|| anyhow!("{word:?} is not `name=value`"))?;
        if name == "key" {
            let key = keyring::key(value)?;
            let input = format!("{header}.{claims}");
            if !crate::keys::verifies(&key.public_jwk(), key.algorithm(), input.as_bytes(), &decoded(signature)) {
                return Ok(Some(format!("the token is not signed by {value}")));
            }
            continue;
        }
        let expected = if value == "-" { Value::Null } else { time(value, 0)? };
        let seen = members.get(name).cloned().unwrap_or_default();
        if seen != expected {
            return Ok(Some(format!("expected the token's {name} to be {expected}, saw {members}")));
        }
    }
    Ok(None)
}

fn time(value: &str, now: u64) -> Result<Value> {
    let Some(rest) = value.strip_prefix("now") else { return Ok(json_or_text(value)) };
    let now = i64::try_from(now)?;
    let shift: i64 = if rest.is_empty() { 0 } else { rest.parse()? };
    Ok(json!(now.saturating_add(shift)))
}

fn header_value(value: &str) -> Value {
    if value == "-" { Value::Null } else { json!(value) }
}

/// Text, unless it is written as a list or an object.
fn text_or_json(value: &str) -> Value {
    if value.starts_with(['[', '{']) { json_or_text(value) } else { json!(value) }
}

fn json_or_text(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| json!(value))
}

/// Splits at spaces; what stands in `"` or `'` stays together, without the quotes.
fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, ' ') => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        bail!("a quote without its end");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(
            words(r#"token scope="a b" claim.x='["c", 1]' y=''"#).unwrap(),
            ["token", "scope=a b", r#"claim.x=["c", 1]"#, "y="]
        );
        assert!(words("a 'b").is_err());
    }

    #[test]
    fn escapes_become_bytes_and_nothing_else_is_an_escape() {
        let mut template = Template::default();
        assert_eq!(template.bytes(r"a\x00\xffb\\").unwrap(), b"a\0\xffb\\");
        assert!(
            template.bytes(r"\n").is_err() && template.bytes("{{token").is_err() && template.bytes("{{x}}").is_err()
        );
    }

    #[test]
    fn a_named_token_comes_again_as_it_was() {
        let mut template = Template { now: 1_000, ..Template::default() };
        let first = template.fill("{{token as=t sub=bob}}").unwrap();
        assert_eq!(template.fill("{{again t}}").unwrap(), first);
        assert_ne!(template.fill("{{token sub=bob exp=now+1}}").unwrap(), first);
    }
}
