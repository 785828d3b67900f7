//! `portcullis check` on `tests/check/good.yaml` with one mistake planted at a time: each is found, in its line, with its
//! severity and in words that help.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::process::Command;

use portcullis_tests::paths::{self, WorkDir};
use serde_json::Value;

/// A mistake: `old` becomes `new`, once; then the first line with `at` has a finding that says `says`.
struct Planted {
    name: &'static str,
    old: &'static str,
    new: &'static str,
    at: &'static str,
    is_error: bool,
    says: &'static str,
}

const fn error(
    name: &'static str,
    old: &'static str,
    new: &'static str,
    at: &'static str,
    says: &'static str,
) -> Planted {
    Planted { name, old, new, at, is_error: true, says }
}

const fn warning(
    name: &'static str,
    old: &'static str,
    new: &'static str,
    at: &'static str,
    says: &'static str,
) -> Planted {
    Planted { name, old, new, at, is_error: false, says }
}

const PLANTED: &[Planted] = &[
    // --- What the engine refuses
    error("an unknown bound", "surge: ledger,", "surge: legder,", "surge: legder", "did you mean \"ledger\"?"),
    error("an unknown priority", "priority: critical", "priority: vital", "priority: vital", "\"critical\""),
    error(
        "a lease that is more than the limit",
        "rate: 600/min, scope: global}",
        "rate: 600/min, scope: global, lease: {size: 601}}",
        "everywhere:",
        "601 is not between 2 and 600",
    ),
    error(
        "a lease of a limit that is counted here alone",
        "tries: {key: ip, rate: 5/min}",
        "tries: {key: ip, rate: 5/min, lease: {size: 2}}",
        "tries:",
        "means nothing to a limit that is counted here alone",
    ),
    error("a bound of one", "max: 200}", "min: 1, max: 1}", "surge: {ledger", "there must be two"),
    error("a bound without a target", "target: 300ms, max: 200", "max: 200", "surge: {ledger", "is required"),
    error(
        "a field is misspelt",
        "audiences: [payments]",
        "audience: [payments]",
        "audience:",
        "did you mean \"audiences\"?",
    ),
    error(
        "a transformation is misspelt",
        "transform: [url_decode, lowercase]",
        "transform: [urldecode, lowercase]",
        "urldecode",
        "did you mean \"url_decode\"?",
    ),
    error(
        "a target is misspelt",
        "targets: [user_agent]",
        "targets: [useragent]",
        "useragent",
        "did you mean \"user_agent\"?",
    ),
    error(
        "an expression that could take forever",
        r"regex: '\bcorp\.internal\b'",
        r"regex: '(?=corp)'",
        "(?=corp)",
        "look-behind, is not supported",
    ),
    error("a rule without an operator", "begins_with: [BankApp/1.], ", "", "old-app:", "has no operator"),
    error("a weight of nothing", "weight: 5}", "weight: 0}", "weight: 0", "points from 1 to 100"),
    error("an algorithm is misspelt", "[ES256, PS256]", "[ES256, PS265]", "PS265", "did you mean \"PS256\"?"),
    error(
        "no algorithm",
        "algorithms: [ES256, PS256]",
        "algorithms: []",
        "algorithms: []",
        "never taken from the token",
    ),
    error("no audiences", "audiences: [payments]\n", "\n", "bank:", "names no audience"),
    error(
        "a provider of two kinds",
        "discovery: {cluster: accounts}",
        "discovery: {cluster: accounts}, basic: {clients: {}}",
        "basic:",
        "",
    ),
    error(
        "an unknown provider",
        "require: partner,",
        "require: partners,",
        "require: partners,",
        "did you mean \"partner\"?",
    ),
    error(
        "an unknown schema",
        "schema: Payment,",
        "schema: Payments,",
        "schema: Payments",
        "did you mean \"Payment\"?",
    ),
    error("a keyword is misspelt", "minimum: 1}", "minimun: 1}", "minimun", "did you mean \"minimum\"?"),
    error(
        "a keyword that is not carried out",
        "required: [amount, to]",
        "unevaluatedProperties: false",
        "unevaluatedProperties",
        "additionalProperties: false",
    ),
    error("a limit of nothing", "max_query: 1KiB", "max_query: 0", "max_query: 0", "checks: off"),
    error(
        "a parameter that the path does not have",
        "{in: path, name: id,",
        "{in: path, name: it,",
        "name: it",
        "every request would be refused",
    ),
    error("an unknown limit", "limits: [tries]", "limits: [trys]", "[trys]", "did you mean \"tries\"?"),
    error("an unknown policy", "use: payer,", "use: payor,", "payor", "did you mean \"payer\"?"),
    error(
        "an unknown policy on a route",
        "{policy: reports}",
        "{policy: report}",
        "{policy: report}",
        "did you mean \"reports\"?",
    ),
    error("a duration without its unit", "leeway: 30s", "leeway: 30", "leeway: 30", "30s"),
    error("a leeway that is longer than allowed", "leeway: 30s", "leeway: 1h", "leeway: 1h", "maximum"),
    error("a rate that is none", "rate: 5/min", "rate: 5 per minute", "5 per minute", "is not a rate"),
    error("methods in lower case", "methods: [POST]", "methods: [post]", "[post]", "\"POST\""),
    error("`**` in the middle", "\"/clearing/**\"", "\"/**/clearing\"", "/**/clearing", "**"),
    error(
        "public and protected at once",
        "limits: [tries]}",
        "limits: [tries], require: bank}",
        "require: bank}",
        "contradicts",
    ),
    error("a hash that is none", "2c70e12b", "2c70e12", "sha256: 2c7", "sha256"),
    error(
        "a key twice",
        "mode: enforce",
        "mode: enforce\n                    mode: monitor",
        "mode: monitor",
        "stands twice",
    ),
    error("policies in a circle", "user: {require:", "user: {extends: reports, require:", "extends: reports", "circle"),
    error(
        "a key set without a path",
        "cluster: idp, path: /jwks.json",
        "cluster: idp",
        "jwks: {cluster: idp}",
        "needs a `path`",
    ),
    error(
        "an unknown cluster of a key set",
        "jwks: {cluster: idp,",
        "jwks: {cluster: ipd,",
        "cluster: ipd,",
        "did you mean \"idp\"?",
    ),
    error(
        "an unknown cluster of discovery",
        "{cluster: accounts}",
        "{cluster: acounts}",
        "acounts",
        "did you mean \"accounts\"?",
    ),
    error(
        "an unknown cluster of introspection",
        "cluster: partner\n",
        "cluster: partnr\n",
        "partnr",
        "did you mean \"partner\"?",
    ),
    error(
        "an unknown cluster of revocations",
        "revocation: {cluster: idp,",
        "revocation: {cluster: id,",
        "cluster: id,",
        "did you mean \"idp\"?",
    ),
    error(
        "an unknown cluster of the limit service",
        "{cluster: limitador,",
        "{cluster: limitadr,",
        "cluster: limitadr,",
        "did you mean \"limitador\"?",
    ),
    warning(
        "a limit service over HTTP/1.1",
        "explicit_http_config: {http2_protocol_options: {}}",
        "explicit_http_config: {http_protocol_options: {}}",
        "limit_service:",
        "does not speak HTTP/2",
    ),
    warning(
        "a limit service in the clear over a network",
        "address: 127.0.0.1, port_value: 9003",
        "address: limits.bank.example, port_value: 9003",
        "limit_service:",
        "in the clear over a network",
    ),
    error(
        "a global limit and no service",
        "                    limit_service: {cluster: limitador, kind: limitador, domain: payments}\n",
        "",
        "scope: global",
        "needs a `limit_service`",
    ),
    error("a scope of limits that is none", "scope: global}", "scope: shared}", "scope: shared", "one of"),
    error("a limit service of no kind", "kind: limitador, ", "", "limit_service:", "is required"),
    error(
        "a limit service that hangs for long",
        "domain: payments}",
        "domain: payments, timeout: 1m}",
        "timeout: 1m",
        "between 1ms and 5s",
    ),
    error("revocations to serve, and none to push", "push: {}", "every: 10s", "serve: revocations", ""),
    // --- Rules that do not do what they look like
    warning(
        "a limit that no rule uses",
        "tries: {key: ip, rate: 5/min}",
        "tries: {key: ip, rate: 5/min}\n                      spare: {key: ip, rate: 7/min}",
        "spare:",
        "no rule and no policy names this limit",
    ),
    warning("a ban that no rule uses", ", bans: [probing]", "", "probing:", "no rule and no policy names this ban"),
    warning(
        "a bound that no rule uses",
        "max: 200}}",
        "max: 200}, spare: {target: 1s, max: 9}}",
        "spare:",
        "no rule and no policy names this bound",
    ),
    warning(
        "a ban for probing where no rule is without match",
        "[auth_failure, forbidden, payload]",
        "[auth_failure, unmatched]",
        "probing:",
        "\"unmatched\" never comes",
    ),
    warning(
        "a ban for limits on rules without one",
        "[auth_failure, forbidden, payload]",
        "[auth_failure, limit]",
        "probing:",
        "no rule with this ban has a limit",
    ),
    warning(
        "a ban for attacks that are only watched",
        "payload: {max_body: 1MiB",
        "payload: {mode: monitor, max_body: 1MiB",
        "probing:",
        "no rule with this ban refuses attacks",
    ),
    warning(
        "a ban for calls that nothing forbids",
        "{require: mesh, scopes: {any: [settle]}, ",
        "{require: mesh, ",
        "probing:",
        "no rule with this ban forbids anything",
    ),
    warning("a rule behind a wider one", ", methods: [GET, HEAD]}", "}", "use: payer", "can never match: rules[2]"),
    warning(
        "a rule behind two that cover it together",
        "- {match: {path: \"/payments/**\"}, use: payer,",
        "- {match: {path: \"/payments/**\", methods: [POST]}, use: payer}\n                    - {match: {path: \"/payments/**\", methods: [GET, POST]}, use: clearing,",
        "[GET, POST]",
        "can never match: rules[2] and rules[3]",
    ),
    warning(
        "a public rule below a protected path",
        "{path: /healthz}",
        "{path: /payments/health}",
        "/payments/health",
        "is public below the paths that rules[2] protects",
    ),
    warning("everything is public", "{path: /healthz}", "{path: \"/**\"}", "{path: \"/**\"}", "every path"),
    warning(
        "a host that Envoy does not serve",
        "host: partners.bank.example}",
        "host: partner.bank.example}",
        "host: partner.",
        "did you mean \"partners.bank.example\"?",
    ),
    warning(
        "a path whose twin with a slash is another rule's",
        "path: \"/clearing/**\"}",
        "path: /payments}",
        "path: /payments}",
        "\"/payments/\"",
    ),
    warning(
        "a scope that no client has",
        "scopes: {all: [read_payments]}",
        "scopes: {all: [read_payment]}",
        "[read_payment]",
        "did you mean \"read_payments\"?",
    ),
    warning(
        "a scope that no certificate has",
        "scopes: {any: [settle]}",
        "scopes: {any: [clear]}",
        "any: [clear]",
        "nobody that rules[5] takes has the scope \"clear\"",
    ),
    warning("no limit on a login", ", limits: [tries]}", "}", "path: /login", "how often a client may try"),
    warning(
        "no limit that is used",
        "tries: {key: ip, rate: 5/min}",
        "tries: {key: ip, rate: 5/min}\n                      spare: {key: ip, rate: 5/min}",
        "spare:",
        "no rule",
    ),
    warning(
        "a bound that nothing is shed by",
        "surge: ledger, priority: critical",
        "mode: enforce",
        "surge: {ledger",
        "no rule",
    ),
    warning(
        "a limit by what a client writes",
        "tries: {key: ip,",
        "tries: {key: \"header:x-forwarded-for\",",
        "tries:",
        "what it likes",
    ),
    warning(
        "a provider that nobody asks for",
        "any: [bank, found, legacy]",
        "any: [bank, found]",
        "legacy:",
        "no rule and no policy",
    ),
    warning(
        "a policy that nobody uses",
        "{policy: reports}",
        "{policy: user}",
        "reports: {extends",
        "no route names this policy",
    ),
    error(
        "an unknown policy on a virtual host",
        "{policy: tenants}",
        "{policy: tenant}",
        "{policy: tenant}",
        "did you mean \"tenants\"?",
    ),
    error(
        "an unknown policy of a named route",
        "names: {statements: statements}",
        "names: {statements: statement}",
        "names: {",
        "did you mean \"statements\"?",
    ),
    warning(
        "a policy for a route that is not there",
        "names: {statements: statements}",
        "names: {statement: statements}",
        "names: {",
        "did you mean \"statements\"?",
    ),
    warning(
        "metadata of a virtual host that nobody reads",
        "metadata: [route, virtual_host],",
        "metadata: [route],",
        "{policy: tenants}",
        "are not read",
    ),
    // --- Credentials
    warning(
        "a secret and a public key in one provider",
        "[ES256, PS256]",
        "[ES256, HS256]",
        "HS256]",
        "its own provider",
    ),
    warning(
        "a secret that is fetched",
        "jwks: {env: LEGACY_SECRET}",
        "jwks: {cluster: idp, path: /old.json}",
        "path: /old.json",
        "fetched like a public key set",
    ),
    warning(
        "a secret in the configuration",
        "{env: PARTNER_SECRET}",
        "{inline: 0123456789abcdef0123456789abcdef}",
        "inline:",
        "stands in the configuration",
    ),
    warning(
        "tokens in URLs",
        "claims: {require: [sub], leeway: 30s}",
        "token_from: [{query: access_token}]",
        "token_from",
        "RFC 6750",
    ),
    warning("API keys in URLs", "header: x-api-key", "query: key", "query: key", "logs and histories"),
    warning("tokens of any issuer", "issuer: https://idp.bank.example\n", "\n", "bank:", "set `issuer`"),
    warning(
        "tokens that never end",
        "{require: [sub], leeway: 30s}",
        "{require_exp: false}",
        "require_exp",
        "for ever",
    ),
    warning("a long leeway", "leeway: 30s", "leeway: 5m", "leeway: 5m", "300 s after its end"),
    warning("a client that has ended", "not_after: 2099-12-31", "not_after: 2020-12-31", "2020-12-31", "has ended"),
    warning("every certificate", "[\"spiffe://bank.example/*\"]", "[\"*\"]", "allow: [\"*\"]", "any certificate"),
    warning("tokens that pass unchecked", "on_error: deny", "on_error: allow", "on_error: allow", "unchecked"),
    // --- Around the filter
    warning("failing open", "FAIL_RELOAD", "FAIL_OPEN", "FAIL_OPEN", "passes unchecked"),
    warning(
        "requests cannot be held",
        "allow_on_headers_stop_iteration: true",
        "allow_on_headers_stop_iteration: false",
        "allow_on_headers",
        "rule \"6\" reads the body",
    ),
    warning("a VM without a name", "vm_id: portcullis\n", "vm_id: \"\"\n", "vm_id: \"\"", "vm_id: portcullis"),
    warning("paths are repaired", "normalize_path: false", "normalize_path: true", "normalize_path", "repaired"),
    warning("slashes are merged", "merge_slashes: false", "merge_slashes: true", "merge_slashes", "repaired"),
    warning(
        "addresses that clients choose",
        "use_remote_address: true",
        "use_remote_address: false",
        "use_remote_address",
        "choose the address",
    ),
    warning(
        "no client certificate is asked for",
        "            validation_context: {trusted_ca: {filename: ca.pem}}\n",
        "",
        "transport_socket:",
        "asks for no client certificate",
    ),
    warning(
        "certificates of anybody",
        "{trusted_ca: {filename: ca.pem}}",
        "{trusted_ca: {filename: ca.pem}, trust_chain_verification: ACCEPT_UNTRUSTED}",
        "ACCEPT_UNTRUSTED",
        "unverified",
    ),
    warning(
        "certificates that a resumed session does not show",
        "          disable_stateless_session_resumption: true\n",
        "",
        "common_tls_context:",
        "set `disable_stateless_session_resumption: true`",
    ),
    warning(
        "a body that Envoy does not hold",
        "max_body: 1MiB, max_inflated: 4MiB",
        "max_body: 2MiB, max_inflated: 4MiB",
        "per_connection_buffer_limit_bytes",
        "413 to a body of more than 1048576 bytes",
    ),
    warning(
        "keys that come in the clear",
        "    transport_socket: {name: envoy.transport_sockets.tls, typed_config: {sni: idp.bank.example}}\n",
        "",
        "jwks: {cluster: idp",
        "in the clear",
    ),
    warning(
        "a listener around the filter",
        "redirect: {https_redirect: true}",
        "route: {cluster: payments}",
        "{name: redirect",
        "without the filter",
    ),
    warning(
        "the filter is off",
        "- name: portcullis\n",
        "- name: portcullis\n            disabled: true\n",
        "disabled: true",
        "is off",
    ),
    warning(
        "the filter is off on a route",
        "match: {prefix: /}\n",
        "match: {prefix: /}\n                typed_per_filter_config: {portcullis: {\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true}}\n",
        "typed_per_filter_config",
        "without the filter",
    ),
    warning(
        "a route that the filter can change",
        "match: {prefix: /}\n",
        "match: {prefix: /, headers: [{name: x-user, present_match: true}]}\n",
        "name: x-user",
        "another route",
    ),
    warning(
        "tokens in the access log",
        "%REQ(USER-AGENT)%",
        "%REQ(AUTHORIZATION)%",
        "AUTHORIZATION",
        "credentials and all",
    ),
    warning(
        "an open admin port",
        "address: 127.0.0.1, port_value: 9901",
        "address: 0.0.0.0, port_value: 9901",
        "port_value: 9901",
        "admin port",
    ),
];

fn check(arguments: &[&str], file: &std::path::Path) -> (Vec<Value>, Option<i32>) {
    let mut command = Command::new(paths::tool().unwrap());
    let output = command.args(["check", "--json", "--assume-env"]).args(arguments).arg(file).output().unwrap();
    let found = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (found, output.status.code())
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let (found, code) = check(&["--strict"], &paths::root().join("tests/check/good.yaml"));
    assert_eq!((found.as_slice(), code), (&[][..], Some(0)));
}

#[test]
fn every_mistake_is_found_in_its_line() {
    let good = std::fs::read_to_string(paths::root().join("tests/check/good.yaml")).unwrap();
    let dir = WorkDir::create("mistakes").unwrap();
    let mut missed = Vec::new();
    for Planted { name, old, new, at, is_error, says } in PLANTED {
        assert!(good.contains(old), "{name}: {old:?} is not in the file any more");
        let text = good.replacen(old, new, 1);
        let line = text.lines().position(|line| line.contains(at)).unwrap_or_else(|| panic!("{name}: {at:?}")) + 1;
        let file = dir.path().join("envoy.yaml");
        std::fs::write(&file, &text).unwrap();
        let (found, code) = check(&[], &file);
        let (strict_found, strict_code) = check(&["--strict"], &file);
        let severity = if *is_error { "error" } else { "warning" };
        let is_it = |finding: &&Value| {
            let part = |member: &str| finding[member].as_str().unwrap_or_default();
            finding["line"] == line
                && part("severity") == severity
                && (part("problem").contains(says) || part("hint").contains(says))
        };
        let has_hint = |finding: &&Value| finding["hint"].as_str().is_some_and(|hint| !hint.is_empty());
        let it: Vec<&Value> = found.iter().filter(is_it).collect();
        let helps = *is_error || it.iter().any(has_hint);
        let codes = (code, strict_code) == (Some(i32::from(*is_error)), Some(1));
        if it.is_empty() || !helps || !codes || strict_found != found {
            missed.push(format!("{name}: line {line}, {says:?}; exit {code:?} and {strict_code:?}, found {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), PLANTED.len(), missed.join("\n"));
    assert!(PLANTED.len() >= 60);
}
