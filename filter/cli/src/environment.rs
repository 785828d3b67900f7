//! The variables of the filter's VM, as far as they are known away from the proxy.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::json;

use crate::document::Node;
use crate::envoy::Filter;

/// Where `env:` keys come from.
#[derive(Debug, Clone, Default, Args)]
pub struct EnvironmentArguments {
    /// A variable of the VM's environment, for `env:` keys; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub env: Vec<(String, String)>,

    /// Take every other variable as set, and say nothing about it
    #[arg(long)]
    pub assume_env: bool,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "NAME=VALUE is asked for".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The environment of one filter.
#[derive(Debug)]
pub struct Environment {
    known: BTreeMap<String, String>,
    host_keys: Vec<String>,
    stand_ins: RefCell<BTreeSet<String>>,
}

impl Environment {
    /// What the arguments and the filter's `vm_config.environment_variables` say.
    pub fn of(filter: &Filter<'_>, arguments: &EnvironmentArguments) -> Self {
        let variables = filter.plugin.and_then(|plugin| plugin.at(&["vm_config", "environment_variables"]));
        let at = |key: &str| variables.and_then(|variables| variables.at(&[key]));
        let written = at("key_values").map(Node::members).unwrap_or_default();
        let written = written.iter().filter_map(|m| Some((m.key.clone(), m.value.text()?.to_owned())));
        let host_keys = at("host_env_keys").map(Node::elements).unwrap_or_default();
        Self {
            known: written.chain(arguments.env.iter().cloned()).collect(),
            host_keys: host_keys.iter().filter_map(|key| Some(key.text()?.to_owned())).collect(),
            stand_ins: RefCell::default(),
        }
    }

    /// The value of a variable. What is not known here is replaced by keys of every kind, and remembered.
    pub fn look_up(&self, name: &str) -> String {
        self.known.get(name).cloned().unwrap_or_else(|| {
            self.stand_ins.borrow_mut().insert(name.to_owned());
            stand_in()
        })
    }

    /// The variables that were asked for and are not known here.
    pub fn unknown(&self) -> Vec<String> {
        self.stand_ins.borrow().iter().cloned().collect()
    }

    /// Whether the file passes the variable on from Envoy's own environment.
    pub fn is_passed_on(&self, name: &str) -> bool {
        self.host_keys.iter().any(|key| key == name)
    }
}

/// A key set that fits every algorithm and verifies no token, since nobody has the private halves; and, for where a
/// variable holds a signing key, a JWK of its own.
fn stand_in() -> String {
    // The largest number of 2048 bits, the generators of P-256 and P-384 (FIPS 186-5) and of Ed25519 (RFC 8032, 5.1).
    let keys = json!({"kty": "oct", "kid": "stand-in", "k": "c3RhbmQtaW4gc3RhbmQtaW4gc3RhbmQtaW4gc3RhbmQtaW4", "keys": [
        {"kty": "RSA", "kid": "rsa", "n": "_".repeat(341) + "w", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "kid": "p256", "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
         "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"},
        {"kty": "EC", "crv": "P-384", "kid": "p384",
         "x": "qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3",
         "y": "NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed25519", "x": "WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY"},
        {"kty": "oct", "kid": "oct", "k": "c3RhbmQtaW4gc3RhbmQtaW4gc3RhbmQtaW4gc3RhbmQtaW4gc3RhbmQtaW4gc3RhbmQtaW4gc3RhbmQtaW4gc3RhbmQtaW4"},
    ]});
    keys.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_engine::jwt::{Algorithm, KeySet};

    #[test]
    fn the_stand_in_serves_as_a_signing_key_too() {
        assert!(portcullis_engine::internal_token::SigningKey::from_jwk(stand_in().as_bytes()).is_ok());
    }

    #[test]
    fn the_stand_in_has_a_key_for_every_algorithm() {
        let (keys, skipped) = KeySet::from_jwks(stand_in().as_bytes()).unwrap();
        assert!(skipped.is_empty(), "{skipped:?}");
        for algorithm in Algorithm::ALL {
            assert!(keys.keys().iter().any(|key| key.algorithms().contains(algorithm)), "{algorithm:?}");
        }
    }
}
