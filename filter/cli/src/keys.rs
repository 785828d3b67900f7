//! `portcullis keys`: makes a signing key and the key set that verifies its tokens.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use jwt_compact::jwk::JsonWebKey;
use rand::RngCore;
use rand::rngs::OsRng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::es384;

/// The private JWK's file name.
const PRIVATE_FILE: &str = "private.jwk.json";
/// The key set's file name.
const SET_FILE: &str = "jwks.json";

/// Make a signing key: DIR/private.jwk.json for `portcullis token`, DIR/jwks.json for the gateway
///
/// Both files of a symmetric algorithm (HS256, ...) hold the secret.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The JWS algorithm that the key is for
    #[arg(long, value_enum, ignore_case = true)]
    algorithm: Algorithm,

    /// The directory to write to; made if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The key's id; its RFC 7638 thumbprint unless given
    #[arg(long)]
    kid: Option<String>,

    /// The size of an RSA key
    #[arg(long, value_name = "BITS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2048..=8192))]
    bits: u32,

    /// Replace a key that is already there
    #[arg(long)]
    force: bool,
}

/// A JWS algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    #[value(name = "EdDSA")]
    EdDsa,
    Hs256,
    Hs384,
    Hs512,
}

impl Algorithm {
    /// The value of `alg`.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The algorithm called `name`, exactly so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|algorithm| algorithm.name() == name)
    }
}

/// Carries the command out.
///
/// # Errors
/// The files are there already, or cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let private_path = arguments.out.join(PRIVATE_FILE);
    if private_path.exists() && !arguments.force {
        bail!("{} exists\n  hint: --force replaces it, and its tokens stop working", private_path.display());
    }
    let (private, public) = generate(arguments.algorithm, arguments.kid.as_deref(), arguments.bits)?;
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    write_private(&private_path, &private)?;
    let set_path = arguments.out.join(SET_FILE);
    let set = json!({"keys": [public]});
    // The "public" half of a symmetric key is the secret itself.
    write_private(&set_path, &set)?;
    if public.get("kty").and_then(Value::as_str) != Some("oct") {
        make_readable(&set_path)?;
    }
    let _ = writeln!(std::io::stderr(), "wrote {} and {}", private_path.display(), set_path.display());
    Ok(())
}

/// A fresh key as its private and its public JWK (the same for a symmetric one), with `kid`, `alg` and `use`.
fn generate(algorithm: Algorithm, kid: Option<&str>, bits: u32) -> Result<(Value, Value)> {
    let jwk = match algorithm {
        Algorithm::Es256 => owned(&JsonWebKey::from(&p256::ecdsa::SigningKey::random(&mut OsRng)))?,
        Algorithm::Es384 => es384::to_jwk(&p384::ecdsa::SigningKey::random(&mut OsRng)),
        Algorithm::EdDsa => owned(&JsonWebKey::from(&ed25519_dalek::SigningKey::generate(&mut OsRng)))?,
        Algorithm::Hs256 => secret(32),
        Algorithm::Hs384 => secret(48),
        Algorithm::Hs512 => secret(64),
        _ => {
            let bits = usize::try_from(bits)?;
            owned(&JsonWebKey::from(&rsa::RsaPrivateKey::new(&mut OsRng, bits).context("cannot make an RSA key")?))?
        }
    };
    let kid = kid.map_or_else(|| thumbprint(&jwk), |kid| Ok(kid.to_owned()))?;
    let described = |jwk: &JsonWebKey<'_>| -> Result<Value> {
        let Value::Object(mut members) = serde_json::to_value(jwk)? else { bail!("a JWK is an object") };
        members.insert("kid".to_owned(), json!(kid));
        members.insert("alg".to_owned(), json!(algorithm.name()));
        members.insert("use".to_owned(), json!("sig"));
        Ok(Value::Object(members))
    };
    Ok((described(&jwk)?, described(&jwk.to_verifying_key())?))
}

fn secret(bytes: usize) -> JsonWebKey<'static> {
    let mut secret = vec![0; bytes];
    OsRng.fill_bytes(&mut secret);
    JsonWebKey::Symmetric { secret: jwt_compact::alg::SecretBytes::owned(secret) }
}

/// The same JWK, no longer tied to the key that it was made of.
fn owned(jwk: &JsonWebKey<'_>) -> Result<JsonWebKey<'static>> {
    Ok(serde_json::from_value(serde_json::to_value(jwk)?)?)
}

/// SHA-256 over the members that define the public key (RFC 7638, section 3).
fn thumbprint(jwk: &JsonWebKey<'_>) -> Result<String> {
    let Value::Object(members) = serde_json::to_value(jwk)? else { bail!("a JWK is an object") };
    let required = ["crv", "e", "k", "kty", "n", "x", "y"];
    // Sorted by name, as section 3.3 asks.
    let members: BTreeMap<_, _> = members.iter().filter(|(name, _)| required.contains(&name.as_str())).collect();
    let digest = Sha256::digest(serde_json::to_vec(&members)?);
    // A key id only has to differ from others: 16 of the 32 bytes, in hexadecimal.
    Ok(digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file that only its owner may read; an old one of that name goes with its mode.
fn write_private(path: &Path, document: &Value) -> Result<()> {
    let write = || -> Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        if path.exists() {
            fs::remove_file(path)?;
        }
        let text = format!("{}\n", serde_json::to_string_pretty(document)?);
        options.open(path)?.write_all(text.as_bytes())?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn make_readable(path: &Path) -> Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_of_a_key_pair_holds_no_secret() {
        for &algorithm in Algorithm::value_variants() {
            let (private, public) = generate(algorithm, None, 2048).unwrap();
            let symmetric = public["kty"] == "oct";
            for member in ["d", "p", "q", "dp", "dq", "qi"] {
                assert!(public.get(member).is_none(), "{algorithm:?} {member}");
            }
            assert!(symmetric || private.get("d").is_some(), "{algorithm:?}");
            assert_eq!(private["kid"], public["kid"]);
            assert_eq!(public["alg"], algorithm.name());
        }
    }

    #[test]
    fn names_are_those_of_the_registry() {
        assert_eq!(Algorithm::EdDsa.name(), "EdDSA");
        assert_eq!(Algorithm::from_name("ES384"), Some(Algorithm::Es384));
        assert_eq!(Algorithm::from_name("none"), None);
        assert_eq!(Algorithm::from_name("es256"), None);
    }
}
