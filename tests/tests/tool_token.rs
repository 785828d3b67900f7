//! `portcullis keys` and `portcullis token`, as a user types them: other code verifies what they sign.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_tests::keys::{Algorithm, verifies};
use portcullis_tests::mint::unix_seconds;
use portcullis_tests::paths::{self, WorkDir};
use serde_json::{Value, json};

fn portcullis(arguments: &[&str]) -> Output {
    Command::new(paths::tool().unwrap()).args(arguments).output().unwrap()
}

fn make_key(algorithm: Algorithm, dir: &Path) -> (PathBuf, Value) {
    let output = portcullis(&["keys", "--algorithm", algorithm.name(), "--out", dir.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let set: Value = serde_json::from_slice(&std::fs::read(dir.join("jwks.json")).unwrap()).unwrap();
    (dir.join("private.jwk.json"), set["keys"][0].clone())
}

fn part(token: &str, number: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(number).unwrap()).unwrap()).unwrap()
}

#[test]
fn tokens_of_every_algorithm_verify_under_the_published_key() {
    let dir = WorkDir::create("tool").unwrap();
    for algorithm in Algorithm::ALL {
        let (key, public) = make_key(algorithm, &dir.path().join(algorithm.name()));
        let output = portcullis(&["token", "--key", key.to_str().unwrap(), "--subject", "alice"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let token = String::from_utf8(output.stdout).unwrap();
        let token = token.strip_suffix('\n').unwrap();
        assert_eq!(part(token, 0), json!({"alg": algorithm.name(), "kid": public["kid"], "typ": "JWT"}));
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(verifies(&public, algorithm, input.as_bytes(), &signature), "{}", algorithm.name());
    }
}

#[test]
fn claims_stand_in_the_token_as_asked_for() {
    let dir = WorkDir::create("tool").unwrap();
    let (key, _) = make_key(Algorithm::Es256, dir.path());
    let mut arguments = vec!["token", "--key", key.to_str().unwrap(), "--issuer", "https://idp.demo"];
    arguments.extend(["--audience", "demo-api", "--subject", "alice", "--scope", "a b"]);
    arguments.extend(["--expires-in", "-1m", "--claim", "plan=\"gold\""]);
    let token = String::from_utf8(portcullis(&arguments).stdout).unwrap();
    let claims = part(token.trim(), 1);
    assert_eq!(claims["scope"], "a b");
    assert_eq!(claims["plan"], "gold");
    assert_eq!(claims["exp"].as_i64().unwrap(), claims["iat"].as_i64().unwrap() - 60);
    assert!((unix_seconds() - claims["iat"].as_i64().unwrap()).abs() < 10);
}

#[test]
fn the_private_key_is_its_owners_alone_and_is_not_overwritten() {
    let dir = WorkDir::create("tool").unwrap();
    let (key, _) = make_key(Algorithm::EdDsa, dir.path());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&key), mode(&dir.path().join("jwks.json"))), (0o600, 0o644));
    let before = std::fs::read(&key).unwrap();
    let again = ["keys", "--algorithm", "EdDSA", "--out", dir.path().to_str().unwrap()];
    assert!(!portcullis(&again).status.success());
    assert_eq!(std::fs::read(&key).unwrap(), before);
    assert!(portcullis(&[&again[..], &["--force"]].concat()).status.success());
    assert_ne!(std::fs::read(&key).unwrap(), before);
}

#[test]
fn a_key_that_cannot_be_used_fails_with_a_reason_and_never_shows_it() {
    let dir = WorkDir::create("tool").unwrap();
    let file = dir.path().join("broken");
    std::fs::write(&file, "sup3rsecret {").unwrap();
    for path in [file.to_str().unwrap(), "/nowhere"] {
        let output = portcullis(&["token", "--key", path]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()));
        assert!(message.contains(path) && !message.contains("sup3rsecret"), "{message}");
    }
}
