//! A real identity provider: [Glewlwyd](https://github.com/babelouest/glewlwyd) as Debian packages it, on loopback, with
//! a database of its own.
//!
//! What the demo provider ([`crate::idp`]) answers is what we believe that providers answer; this one was written by others.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::client::{Call, Client, Response};
use crate::eventually;
use crate::paths::WorkDir;
use crate::process::{Process, Program};
use crate::server;

/// The audience of every token: the client asks for it as a resource (RFC 8707).
pub const AUDIENCE: &str = "https://api.demo/";
/// The client that may have the scopes `orders:read` and `orders:write`.
pub const BILLING: OAuthClient = OAuthClient { id: "billing", secret: "secret-of-billing" };
/// The gateway's own client: its tokens, of scope [`INTROSPECT`], may ask about the tokens of others.
pub const GATEWAY: OAuthClient = OAuthClient { id: "gateway", secret: "secret-of-gateway" };
/// The scope that opens the introspection endpoint.
pub const INTROSPECT: &str = "introspect";

const PROGRAM: &str = "/usr/bin/glewlwyd";
const DATABASE_TOOL: &str = "/usr/bin/sqlite3";
/// Tables, and the user `admin` with the password `password`.
const SCHEMA: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";

/// A client that is registered at the provider.
#[derive(Debug, Clone, Copy)]
pub struct OAuthClient {
    /// Its `client_id`.
    pub id: &'static str,
    /// Its `client_secret`.
    pub secret: &'static str,
}

/// A running provider; it stops when dropped.
#[derive(Debug)]
pub struct Glewlwyd {
    port: u16,
    /// The administrator's session.
    cookie: String,
    _process: Process,
    _dir: WorkDir,
}

impl Glewlwyd {
    /// What of it is missing on this machine; `None` where it can be started.
    pub fn missing() -> Option<&'static str> {
        [PROGRAM, DATABASE_TOOL, SCHEMA].into_iter().find(|path| !Path::new(path).is_file())
    }

    /// Starts it, and has it issue access tokens as JWTs to [`BILLING`] and [`GATEWAY`].
    ///
    /// # Errors
    /// It does not start or refuses its configuration: with the end of its log.
    pub fn start() -> Result<Self> {
        let dir = WorkDir::create("glewlwyd")?;
        let database = dir.path().join("glewlwyd.db");
        let made = Command::new(DATABASE_TOOL).arg(&database).arg(format!(".read '{SCHEMA}'")).status()?;
        ensure!(made.success(), "{DATABASE_TOOL} cannot read {SCHEMA}");
        // It takes no port 0.
        let port = server::listen(0)?.local_addr()?.port();
        let log = dir.path().join("glewlwyd.log");
        let file = dir.path().join("glewlwyd.conf");
        std::fs::write(&file, configuration(port, &database))?;
        let mut process = Process::start(Program {
            path: PathBuf::from(PROGRAM),
            arguments: vec![OsString::from("--config-file"), file.into()],
            directory: dir.path().to_path_buf(),
            output: File::create(&log)?,
        })?;
        let log_in = || log_in(port).ok();
        let mut cookie = None;
        let ready = eventually(Duration::from_secs(20), || {
            cookie = log_in();
            cookie.is_some() || !matches!(process.exit(), Ok(None))
        });
        let Some(cookie) = cookie.filter(|_| ready) else {
            bail!("{PROGRAM} does not serve: {}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        let provider = Self { port, cookie, _process: process, _dir: dir };
        provider.set_up()?;
        Ok(provider)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The issuer of its tokens.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}/api/oidc", self.port)
    }

    /// An access token for [`AUDIENCE`] from the token endpoint (RFC 6749, 4.4).
    ///
    /// # Errors
    /// It is refused.
    pub fn token(&self, client: OAuthClient, scope: &str) -> Result<String> {
        let scope = scope.replace(' ', "+");
        let form = format!("grant_type=client_credentials&scope={scope}&resource={AUDIENCE}");
        let answer = self.post_form("/api/oidc/token", client, &form)?;
        let token = answer.json().get("access_token").and_then(Value::as_str).map(str::to_owned);
        token.with_context(|| format!("no token: {} {}", answer.status, answer.text()))
    }

    /// Revokes a token of `client` (RFC 7009).
    ///
    /// # Errors
    /// It is refused.
    pub fn revoke(&self, client: OAuthClient, token: &str) -> Result<()> {
        accepted(&self.post_form("/api/oidc/revoke", client, &format!("token={token}"))?)
    }

    /// Signs with a new key from now on; the old one is gone from the key set.
    ///
    /// # Errors
    /// The administrator's request is refused.
    pub fn rotate(&self) -> Result<()> {
        self.admin("PUT", "/api/mod/plugin/oidc", &self.oidc()?)?;
        self.admin("PUT", "/api/mod/plugin/oidc/reset", &Value::Null)
    }

    fn set_up(&self) -> Result<()> {
        for name in ["orders:read", "orders:write", INTROSPECT] {
            let scope = json!({"name": name, "display_name": name, "password_required": false, "scheme": {}});
            self.admin("POST", "/api/scope/", &scope)?;
        }
        let scopes = [(BILLING, vec!["orders:read", "orders:write"]), (GATEWAY, vec![INTROSPECT])];
        for (client, scope) in scopes {
            let client = json!({
                "client_id": client.id,
                "name": client.id,
                "password": client.secret,
                "confidential": true,
                "enabled": true,
                "scope": scope,
                "authorization_type": ["client_credentials"],
                "token_endpoint_auth_method": ["client_secret_basic"],
                "resource": [AUDIENCE],
            });
            self.admin("POST", "/api/client/", &client)?;
        }
        self.admin("POST", "/api/mod/plugin/", &self.oidc()?)
    }

    /// The OpenID Connect plugin with a new key.
    fn oidc(&self) -> Result<Value> {
        let key = key_of_full_length()?;
        Ok(json!({
            "module": "oidc",
            "name": "oidc",
            "display_name": "oidc",
            "enabled": true,
            "parameters": {
                "iss": self.issuer(),
                "jwt-type": "ecdsa",
                "jwt-key-size": "256",
                "key": key.serialize_pem(),
                "cert": key.public_key_pem(),
                "jwks-show": true,
                "access-token-duration": 600,
                "refresh-token-duration": 600,
                "code-duration": 60,
                "refresh-token-rolling": false,
                "subject-type": "public",
                "allowed-scope": ["openid"],
                "allow-non-oidc": true,
                "auth-type-client-enabled": true,
                "auth-type-id-token-enabled": true,
                "resource-allowed": true,
                "resource-client-property": "resource",
                "introspection-revocation-allowed": true,
                // A client may revoke its own tokens; it sees no others.
                "introspection-revocation-allow-target-client": true,
                "introspection-revocation-auth-scope": [INTROSPECT],
            },
        }))
    }

    fn admin(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let call = Call::new(method, path).header("cookie", &self.cookie).header("content-type", "application/json");
        let answer = self.call(&call.body(body.to_string()))?;
        accepted(&answer).with_context(|| format!("{method} {path}"))
    }

    fn post_form(&self, path: &str, client: OAuthClient, form: &str) -> Result<Response> {
        let basic = STANDARD.encode(format!("{}:{}", client.id, client.secret));
        let call = Call::new("POST", path)
            .header("authorization", &format!("Basic {basic}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        self.call(&call)
    }

    fn call(&self, call: &Call) -> Result<Response> {
        Client::connect(self.port)?.call(call)
    }
}

/// A key whose coordinates do not begin with a zero byte: this provider leaves such a byte out of its key set, where RFC
/// 7518, 6.2.1.2 wants the full length, and then no gateway may use the key.
fn key_of_full_length() -> Result<KeyPair> {
    loop {
        let key = KeyPair::generate()?;
        // 04, x, y (SEC 1, 2.3.3).
        let (x, y) = (key.public_key_raw().get(1), key.public_key_raw().get(33));
        if x.is_some_and(|byte| *byte != 0) && y.is_some_and(|byte| *byte != 0) {
            return Ok(key);
        }
    }
}

fn accepted(answer: &Response) -> Result<()> {
    ensure!(answer.status == 200, "the identity provider answers {}: {}", answer.status, answer.text());
    Ok(())
}

/// The administrator's session cookie.
fn log_in(port: u16) -> Result<String> {
    let body = json!({"username": "admin", "password": "password"});
    let call = Call::new("POST", "/api/auth/").header("content-type", "application/json").body(body.to_string());
    let answer = Client::connect(port)?.call(&call)?;
    accepted(&answer)?;
    let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
    Ok(cookie.context("no session")?.to_owned())
}

/// As the package's own file has it, but for the port, the log and the database.
fn configuration(port: u16, database: &Path) -> String {
    let database = database.display();
    format!(
        r#"
port={port}
bind_address="127.0.0.1"
external_url="http://127.0.0.1:{port}/"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="INFO"
cookie_secure=0
session_key="session"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
use_secure_connection=false
secure_connection_key_file="/etc/glewlwyd/cert.key"
secure_connection_pem_file="/etc/glewlwyd/cert.pem"
secure_connection_ca_file="/etc/glewlwyd/ca.crt"
hash_algorithm="SHA512"
database={{ type="sqlite3"; path="{database}"; }};
"#
    )
}
