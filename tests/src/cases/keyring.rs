//! The keys of a run, by name: made when they are first asked for, and the same ones from then on.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use anyhow::{Result, anyhow};

use crate::keys::{Algorithm, SigningKey};

/// The secret of the key `secret`, as text: what an operator puts into an environment variable.
pub const SECRET: &str = "a shared secret of the cases, sixty-four bytes or more, so that HS512 takes it too";

/// The key `name`: an algorithm in lower case, then anything after a dash (`es256`, `rs256-mallory`). Its `kid` is its name.
///
/// # Errors
/// The name begins with no algorithm.
pub fn key(name: &str) -> Result<Arc<SigningKey>> {
    static KEYS: LazyLock<Mutex<HashMap<String, Arc<SigningKey>>>> = LazyLock::new(Mutex::default);
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = keys.get(name) {
        return Ok(Arc::clone(key));
    }
    let made = if name == "secret" {
        SigningKey::from_secret(Algorithm::Hs256, name, SECRET.as_bytes())
    } else {
        let wanted = name.split('-').next().unwrap_or_default();
        SigningKey::generate(algorithm(wanted)?, name)
    };
    let made = Arc::new(made);
    keys.insert(name.to_owned(), Arc::clone(&made));
    Ok(made)
}

/// The algorithm of this name, in any case.
///
/// # Errors
/// There is none.
pub fn algorithm(name: &str) -> Result<Algorithm> {
    let found = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| anyhow!("no algorithm {name:?}"))
}
