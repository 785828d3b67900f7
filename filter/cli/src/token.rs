//! `portcullis token`: mints a token with a private JWK, to try a gateway out.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key, Rsa, RsaPrivateKey};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{AlgorithmExt, Claims, Header};
use serde_json::{Map, Value, json};

use crate::es384::{self, Es384};
use crate::keys::Algorithm;

/// Mint a token; it is the only thing on standard output
///
/// Example: portcullis token --key private.jwk.json --issuer https://idp.demo --audience demo-api
///          --subject alice --scope 'read_orders write_orders' --claim 'plan="gold"'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The private JWK that signs (see `portcullis keys`)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// `iss`
    #[arg(long)]
    issuer: Option<String>,

    /// `aud`; given more than once, an array
    #[arg(long)]
    audience: Vec<String>,

    /// `sub`
    #[arg(long)]
    subject: Option<String>,

    /// `scope`: names separated by spaces
    #[arg(long)]
    scope: Option<String>,

    /// `exp`, from now: 30s, 10m, 2h, 1d; negative for a token that has expired
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = seconds, allow_hyphen_values = true)]
    expires_in: i64,

    /// `nbf`, from now
    #[arg(long, value_name = "SPAN", value_parser = seconds, allow_hyphen_values = true)]
    not_before: Option<i64>,

    /// Any claim, with its value in JSON; may be repeated, and beats the options above
    #[arg(long, value_name = "NAME=JSON", value_parser = claim)]
    claim: Vec<(String, Value)>,

    /// `typ` of the header
    #[arg(long, value_name = "TYPE", default_value = "JWT")]
    token_type: String,

    /// `kid` of the header, in place of the key's own
    #[arg(long)]
    kid: Option<String>,
}

/// Carries the command out.
///
/// # Errors
/// The key cannot be read or does not fit its algorithm.
pub fn run(arguments: &Arguments) -> Result<()> {
    let jwk = read_jwk(&arguments.key)?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())?;
    let token = sign(&jwk, arguments, claims(arguments, now)).with_context(|| arguments.key.display().to_string())?;
    writeln!(std::io::stdout(), "{token}").context("cannot write the token")
}

fn read_jwk(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // The cause is left out: it may quote the secret.
    serde_json::from_slice(&text).map_err(|_| anyhow!("{} is no JSON", path.display()))
}

fn claims(arguments: &Arguments, now: i64) -> Map<String, Value> {
    let mut claims = Map::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    if let Some(issuer) = &arguments.issuer {
        set("iss", json!(issuer));
    }
    match arguments.audience.as_slice() {
        [] => None,
        [one] => set("aud", json!(one)),
        several => set("aud", json!(several)),
    };
    if let Some(subject) = &arguments.subject {
        set("sub", json!(subject));
    }
    if let Some(scope) = &arguments.scope {
        set("scope", json!(scope));
    }
    set("iat", json!(now));
    set("exp", json!(now.saturating_add(arguments.expires_in)));
    if let Some(not_before) = arguments.not_before {
        set("nbf", json!(now.saturating_add(not_before)));
    }
    claims.extend(arguments.claim.iter().cloned());
    claims
}

fn sign(jwk: &Value, arguments: &Arguments, claims: Map<String, Value>) -> Result<String> {
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    let name = member("alg").context("the key has no `alg`\n  hint: `portcullis keys` makes keys that do")?;
    let algorithm = Algorithm::from_name(name).with_context(|| format!("unknown `alg`: {name:?}"))?;
    let key: JsonWebKey<'_> = serde_json::from_value(jwk.clone()).map_err(|_| anyhow!("not a JWK"))?;
    if !key.is_signing_key() {
        bail!("this is a public key, and signing needs the private one");
    }
    let mut header = Header::empty().with_token_type(arguments.token_type.clone());
    if let Some(kid) = arguments.kid.as_deref().or(member("kid")) {
        header = header.with_key_id(kid);
    }
    // All claims are in the map, time included: what is asked for is what stands in the token.
    let claims = Claims::new(claims);
    let token = match algorithm {
        Algorithm::Es256 => Es256.token(&header, &claims, &(&key).try_into()?),
        Algorithm::Es384 => Es384.token(&header, &claims, &es384::from_jwk(&key)?),
        Algorithm::EdDsa => Ed25519.token(&header, &claims, &(&key).try_into()?),
        Algorithm::Hs256 => Hs256.token(&header, &claims, &Hs256Key::try_from(&key)?),
        Algorithm::Hs384 => Hs384.token(&header, &claims, &Hs384Key::try_from(&key)?),
        Algorithm::Hs512 => Hs512.token(&header, &claims, &Hs512Key::try_from(&key)?),
        _ => {
            let rsa: Rsa = name.parse().map_err(|_| anyhow!("unknown `alg`: {name:?}"))?;
            rsa.token(&header, &claims, &RsaPrivateKey::try_from(&key)?)
        }
    };
    Ok(token?)
}

/// A span of time in whole seconds, such as `10m`.
fn seconds(text: &str) -> Result<i64, String> {
    let problem = || format!("{text:?} is no span of time\n  hint: a number and a unit: 30s, 10m, 2h, 1d");
    let unit_at = text.len().checked_sub(1).filter(|&at| text.is_char_boundary(at)).ok_or_else(problem)?;
    let (number, unit) = text.split_at(unit_at);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(problem()),
    };
    number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(problem)
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "NAME=JSON is asked for".to_owned())?;
    let value = serde_json::from_str(value).map_err(|_| {
        format!("{value:?} is no JSON\n  hint: a text needs quotes of its own: --claim '{name}=\"...\"'")
    })?;
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(options: &[&str]) -> Arguments {
        let options = ["token", "--key", "k"].iter().chain(options);
        Command::try_parse_from(options).unwrap().arguments
    }

    #[test]
    fn spans_have_a_number_and_a_unit() {
        assert_eq!((seconds("10m"), seconds("-1m"), seconds("1d")), (Ok(600), Ok(-60), Ok(86_400)));
        for wrong in ["", "10", "m", "1w", "10 m", "9999999999999999d", "1µ", "µ"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_audience_is_a_text_and_several_are_an_array() {
        let claims = |options: &[&str]| Value::Object(claims(&parse(options), 1000));
        assert_eq!(claims(&["--audience", "a"])["aud"], "a");
        assert_eq!(claims(&["--audience", "a", "--audience", "b"])["aud"], json!(["a", "b"]));
        assert_eq!(claims(&[]), json!({"iat": 1000, "exp": 1600}));
    }

    #[test]
    fn a_claim_is_json_and_beats_the_options() {
        let claims = claims(&parse(&["--subject", "alice", "--claim", "sub=7", "--claim", "x={\"y\":[1]}"]), 1000);
        assert_eq!((&claims["sub"], &claims["x"]), (&json!(7), &json!({"y": [1]})));
        assert!(claim("plan=gold").unwrap_err().contains("quotes"));
        assert!(claim("plan").is_err());
    }

    #[test]
    fn a_public_key_signs_nothing() {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "alg": "EdDSA"});
        assert!(sign(&jwk, &parse(&[]), Map::new()).unwrap_err().to_string().contains("public key"));
    }

    #[test]
    fn a_key_of_another_type_than_its_algorithm_is_refused() {
        let jwk = json!({"kty": "oct", "k": "AAAA", "alg": "ES256"});
        assert!(sign(&jwk, &parse(&[]), Map::new()).is_err());
        let jwk = json!({"kty": "oct", "k": "AAAA", "alg": "none"});
        assert!(sign(&jwk, &parse(&[]), Map::new()).is_err());
    }
}
