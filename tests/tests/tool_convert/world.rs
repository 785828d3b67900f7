//! The tool, and requests to what it makes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_cli::configured::{self, Configured};
use portcullis_cli::environment::EnvironmentArguments;
use portcullis_cli::explain::Report;
use portcullis_cli::explain::replay::Session;
use portcullis_cli::explain::request::{Attributes, headers};
use portcullis_engine::time::UnixNanos;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::paths::{self, WorkDir};
use serde_json::{Value, json};

/// An address that no configuration here speaks of, and one in 10.0.0.0/8.
pub const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);

pub struct World {
    dir: WorkDir,
    key: SigningKey,
}

/// What came out of the command.
pub struct Outcome {
    pub code: Option<i32>,
    pub text: String,
    pub said: String,
}

impl World {
    pub fn new() -> Self {
        let dir = WorkDir::create("convert").unwrap();
        Self { dir, key: SigningKey::generate(Algorithm::Es256, "k1") }
    }

    pub fn keys(&self) -> String {
        jwks([&self.key]).to_string()
    }

    pub fn convert(&self, input: &str, more: &[&str]) -> Outcome {
        let file = self.dir.path().join("input.yaml");
        std::fs::write(&file, input).unwrap();
        let mut command = Command::new(paths::tool().unwrap());
        let output = command.arg("convert").arg(file).args(more).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome { code: output.status.code(), text: text(output.stdout), said: text(output.stderr) }
    }

    /// The configuration, which `check` finds no error in.
    pub fn configured(&self, text: &str) -> Configured {
        let file = self.dir.path().join("filter.yaml");
        std::fs::write(&file, text).unwrap();
        let output = Command::new(paths::tool().unwrap()).args(["check", "--assume-env"]).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}\n{text}", String::from_utf8_lossy(&output.stdout));
        self.loaded(text)
    }

    pub fn loaded(&self, text: &str) -> Configured {
        let file = self.dir.path().join("filter.yaml");
        std::fs::write(&file, text).unwrap();
        let environment = EnvironmentArguments { env: Vec::new(), assume_env: true };
        configured::load(&file, &environment).unwrap_or_else(|error| panic!("{error:#}\n{text}")).remove(0)
    }

    pub fn token(&self, scope: &str) -> String {
        self.token_with(&json!({"scope": scope}))
    }

    /// A token of alice with these claims.
    pub fn token_with(&self, claims: &Value) -> String {
        let members = claims.as_object().unwrap().iter();
        members.fold(Token::of("alice"), |token, (name, value)| token.claim(name, value.clone())).sign(&self.key)
    }
}

pub fn now() -> UnixNanos {
    UnixNanos(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap())
}

/// `passes`, or the status.
pub fn judge(
    filter: &Configured,
    session: &mut Session<'_>,
    request: &str,
    address: Ipv4Addr,
    lines: &[String],
    token: Option<&str>,
) -> String {
    let attributes = Attributes {
        address: address.into(),
        route_policy: None,
        route_name: None,
        virtual_host_policy: None,
        certificate: BTreeMap::new(),
    };
    let head = headers(request, lines, token).unwrap();
    let explanation = Report::new(filter, &session.judge(head, b"", &attributes, now()), token).to_json();
    if explanation["passes"] == true { "passes".to_owned() } else { explanation["status"].to_string() }
}
