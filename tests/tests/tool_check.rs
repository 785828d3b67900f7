//! `portcullis check` on the reference gateway's `envoy.yaml` with mistakes planted in its text: each is found where it is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use portcullis_tests::paths::{self, WorkDir};
use portcullis_tests::pki::Pki;
use serde_json::Value;

fn check(arguments: &[&str]) -> Output {
    let mut command = Command::new(paths::tool().unwrap());
    command.current_dir(paths::root()).arg("check").args(arguments).output().unwrap()
}

/// The findings of a file's text, and the exit code.
fn findings(dir: &WorkDir, name: &str, text: &str) -> (Vec<Value>, Option<i32>) {
    let file = dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    let output = check(&["--json", file.to_str().unwrap()]);
    let found = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (found, output.status.code())
}

fn reference() -> String {
    std::fs::read_to_string(paths::root().join("envoy.yaml")).unwrap()
}

/// A mistake: `old` becomes `new` in the file; then the first line with `at` has a finding at a path that ends with `path`,
/// whose problem or hint contains `says`.
struct Mistake {
    old: &'static str,
    new: &'static str,
    at: &'static str,
    severity: &'static str,
    path: &'static str,
    says: &'static str,
}

const fn error(
    old: &'static str,
    new: &'static str,
    at: &'static str,
    path: &'static str,
    says: &'static str,
) -> Mistake {
    Mistake { old, new, at, severity: "error", path, says }
}

const fn warning(
    old: &'static str,
    new: &'static str,
    at: &'static str,
    path: &'static str,
    says: &'static str,
) -> Mistake {
    Mistake { old, new, at, severity: "warning", path, says }
}

/// Mistakes in the filter's own configuration: Envoy refuses to start with it, or requests fail.
const ERRORS: &[Mistake] = &[
    error("version: 1\n", "version: 2\n", "version: 2", "version", "write `version: 1`"),
    error("mode: enforce", "mode: enforced", "mode: enforced", "mode", "did you mean \"enforce\"?"),
    error("mode: enforce", "moed: enforce", "moed:", "moed", "did you mean \"mode\"?"),
    error("providers:\n", "provider:\n", "provider:\n", "provider", "did you mean \"providers\"?"),
    error("[ES256, RS256,", "[ES265, RS256,", "ES265", "providers.corp.algorithms[0]", "did you mean \"ES256\"?"),
    error("[ES256, RS256, EdDSA]", "[none]", "[none]", "providers.corp.algorithms[0]", "known: "),
    error("[ES256, RS256, EdDSA]", "[]", "algorithms: []", "providers.corp.algorithms", "never taken from the token"),
    error("algorithms: [ES256, RS256, EdDSA]", "leeway: 30s", "leeway: 30s", "corp.leeway", "unknown field"),
    error("audiences: [demo-api]", "audience: [demo-api]", "audience:", "corp.audience", "did you mean \"audiences\"?"),
    error("audiences: [demo-api]", "audiences: []", "audiences: []", "corp.audiences", "RFC 8725"),
    error("issuer: https://idp.demo", "issuer: 17", "issuer: 17", "corp.issuer", "expected text, found a number"),
    error("issuer: https://idp.demo", "issuer: \"\"", "issuer: \"\"", "corp.issuer", "is empty"),
    error("{cluster: idp, path:", "{cluster: ipd, path:", "cluster: ipd,", "jwks.cluster", "did you mean \"idp\"?"),
    error("path: /jwks.json", "path: jwks.json", "path: jwks.json", "jwks.path", "begin with a slash"),
    error("cluster: idp, path: /jwks.json,", "cluster: idp,", "jwks: {cluster", "corp.jwks", "needs a `path`"),
    error("cluster: idp, path: /jwks.json, refresh: 5m", "refresh: 5m", "jwks: {", "corp.jwks", "names no key set"),
    error("refresh: 5m", "refresh: 5", "refresh: 5,", "jwks.refresh", "write `30s`"),
    error("refresh: 5m", "authority: a/b", "authority: a/b", "corp.jwks.authority", "is not host"),
    error("keep_stale: 1h", "keep_stale: 1 hour", "1 hour", "jwks.keep_stale", "is not a duration"),
    error("leeway: 30s", "leeway: 6m", "leeway: 6m", "claims.leeway", "maximum of 5m"),
    error("{require: [sub],", "{requires: [sub],", "requires:", "claims.requires", "did you mean \"require\"?"),
    error("{token: keep,", "{token: kept,", "token: kept", "forward.token", "did you mean \"keep\"?"),
    error("{x-user: sub,", "{\"x user\": sub,", "x user", "forward.headers[\"x user\"]", "no header name"),
    error("[principal, ip]", "[principle, ip]", "principle", "limits.per_client.key", "did you mean \"principal\"?"),
    error("rate: 60/min", "rate: 60/week", "60/week", "limits.per_client.rate", "1000/min"),
    error("rate: 60/min", "rate: 0/min", "0/min", "limits.per_client.rate", "is not a rate"),
    error("burst: 20", "burst: 0", "burst: 0", "limits.per_client.burst", "admits at least 1"),
    error("burst: 20", "burst: 1.5", "burst: 1.5", "limits.per_client.burst", "not a whole number"),
    error("burst: 20", "burst: 20, capacity: 99999999", "capacity", "per_client.capacity", "is not between"),
    error("{any: [corp]}", "{any: [crop]}", "[crop]", "require", "did you mean \"corp\"?"),
    error("{any: [corp]}", "{any: []}", "any: []", "require", "names no provider"),
    error("limits: [per_client, in", "limits: [per_clinet, in", "per_clinet", "user.limits[0]", "\"per_client\"?"),
    error("orders_read: {extends: user", "orders_read: {extends: usr", "usr,", "orders_read.extends", "\"user\"?"),
    error("user: {require", "user: {extends: reports, require", "extends: reports", "user.extends", "circle"),
    error("{policy: user, unmatched", "{policy: users, unmatched", "users,", "defaults.policy", "\"user\"?"),
    error("unmatched: deny", "unmatched: allow", "unmatched: allow", "defaults.unmatched", "\"deny\""),
    error("allow: public", "allow: publik", "publik", "rules[0].allow", "did you mean \"public\"?"),
    error("use: orders_read}", "use: ordersread}", "ordersread", "rules[1].use", "did you mean \"orders_read\"?"),
    error("methods: [GET, HEAD]", "methods: [get]", "[get]", "rules[1].match.methods", "\"GET\""),
    error("methods: [GET, HEAD]", "method: GET", "method: GET", "rules[1].match.method", "did you mean \"methods\"?"),
    error("\"/orders/**\"}, use", "\"orders/**\"}, use", "\"orders/**\"", "rules[2].match.path", "/"),
    error("\"/orders/**\"}, use", "\"/orders/**/x\"}, use", "**/x", "rules[2].match.path", "**"),
    error("\"/orders/**\"}, use", "\"/orders/../x\"}, use", "/../x", "rules[2].match.path", "dot segment"),
    error("{path: /healthz}, allow", "{path: /h, prefix: /h}, allow", "prefix: /h", "rules[0].match", "more than one"),
    error("{path: /healthz}, allow", "{regex: \"/h(\"}, allow", "/h(", "rules[0].match.regex", "group"),
    error("allow: public}", "allow: public, require: corp}", "require: corp}", "rules[0].allow", "contradicts"),
    // What Envoy would take without a word.
    error("mode: enforce", "mode: enforce\n                    mode: monitor", "mode: monitor", "mode", "stands twice"),
    error(
        "{policy: reports}",
        "{policy: report}",
        "{policy: report}",
        "portcullis.policy",
        "did you mean \"reports\"?",
    ),
    error("protobuf.Struct\n", "protobuf.Duration\n", "configuration:", "config.configuration", "StringValue"),
    error(
        "domains: [\"*\"]
",
        "domains: [\"*\"
",
        "",
        "",
        "no well-formed YAML",
    ),
];

/// What works, but hardly as it is meant.
const WARNINGS: &[Mistake] = &[
    warning("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN", "FAIL_OPEN", "failure_policy", "unchecked"),
    warning(
        "failure_policy: FAIL_RELOAD",
        "",
        "name: portcullis\n                root_id",
        "failure_policy",
        "for ever",
    ),
    warning(
        "allow_on_headers_stop_iteration: true",
        "allow_on_headers_stop_iteration: off",
        "stop_iteration: off",
        "allow_on_headers_stop_iteration",
        "held back",
    ),
    warning("vm_id: portcullis\n", "vm_id: \"\"\n", "vm_id: \"\"", "vm_config.vm_id", "vm_id: portcullis"),
    warning("normalize_path: false", "normalize_path: true", "normalize_path: true", "normalize_path", "repaired"),
    warning("merge_slashes: false", "merge_slashes: true", "merge_slashes: true", "merge_slashes", "repaired"),
    warning("KEEP_UNCHANGED", "UNESCAPE_AND_FORWARD", "UNESCAPE", "path_with_escaped_slashes_action", "repaired"),
    warning("use_remote_address: true", "use_remote_address: false", "address: false", "use_remote_address", "choose"),
    warning("{path: /healthz}, allow", "{path: /orders/x}, allow", "/orders/x", "rules[0].allow", "rules[1] protects"),
    warning("{path: /healthz}, allow", "{path: \"/**\"}, allow", "\"/**\"", "rules[0].allow", "every path"),
    warning(", methods: [GET, HEAD]}", "}", "use: orders_write}", "rules[2]", "can never match"),
    warning("[ES256, RS256, EdDSA]", "[ES256, HS256]", "HS256", "corp.algorithms", "its own provider"),
    warning("[ES256, RS256, EdDSA]", "[HS256]", "cluster: idp, path", "jwks.cluster", "secret"),
    warning("leeway: 30s}", "require_exp: off}", "require_exp", "claims.require_exp", "for ever"),
    warning("issuer: https://idp.demo\n", "\n", "corp:\n", "providers.corp", "set `issuer`"),
    warning("limits: [per_client, in_flight]}", "limits: [in_flight]}", "per_client:", "limits.per_client", "no rule"),
    warning(
        "match: {path_separated_prefix: /orders}",
        "match: {path_separated_prefix: /orders, headers: [{name: X-User, present_match: true}]}",
        "X-User",
        "match.headers[0]",
        "another route",
    ),
    warning(
        "{portcullis: {policy: reports}}",
        "{portcuilis: {policy: reports}}",
        "portcuilis",
        "portcuilis",
        "\"portcullis\"?",
    ),
    warning("{policy: reports}", "{polcy: reports}", "polcy", "portcullis.polcy", "\"policy\""),
    warning(
        "- {name: orders_read, match: {path: \"/orders/**\", methods: [GET, HEAD]}, use: orders_read}",
        "- {match: {path: /orders}, use: orders_read}",
        "path: /orders}",
        "rules[1].match.path",
        "\"/orders/\"",
    ),
];

#[test]
fn the_examples_have_nothing_to_find() {
    let examples = std::fs::read_dir(paths::root().join("docs/examples")).unwrap();
    let files: Vec<String> = examples.map(|entry| entry.unwrap().path().display().to_string()).collect();
    assert!(files.len() >= 5);
    for file in files {
        let output = check(&["--strict", "--assume-env", &file]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_reference_gateway_has_nothing_to_find() {
    let output = check(&["--strict", "envoy.yaml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("envoy.yaml: ok: 3 rules, 1 provider, 2 limits, "), "{text}");
}

#[test]
fn every_planted_mistake_is_found_where_it_is() {
    let reference = reference();
    let dir = WorkDir::create("check").unwrap();
    let mut missed = Vec::new();
    for (number, mistake) in ERRORS.iter().chain(WARNINGS).enumerate() {
        let Mistake { old, new, at, severity, path, says } = mistake;
        assert!(reference.contains(old), "{old:?} is not in envoy.yaml any more");
        let text = reference.replacen(old, new, 1);
        let (before, _) = text.split_once(at).unwrap();
        let line = before.lines().count() + usize::from(before.ends_with('\n'));
        let (found, code) = findings(&dir, &format!("{number}.yaml"), &text);
        let is_it = |finding: &Value| {
            let part = |name: &str| finding[name].as_str().unwrap_or_default();
            (at.is_empty() || finding["line"] == line.max(1))
                && part("severity") == *severity
                && part("path").ends_with(path)
                && (part("problem").contains(says) || part("hint").contains(says))
        };
        let expected_code = if *severity == "error" { 1 } else { 0 };
        if !found.iter().any(is_it) || code != Some(expected_code) {
            missed.push(format!("{new:?}: line {line}, {path}, {says:?}; exit {code:?}, found {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), ERRORS.len() + WARNINGS.len(), missed.join("\n"));
}

/// Has the real Envoy read a configuration, and start nothing. Gives whether it takes it, and its log.
fn envoy_takes(dir: &WorkDir, pki: &Pki, text: &str) -> (bool, String) {
    let module = paths::module().unwrap();
    let text = text
        .replace("target/demo/pki", pki.directory().to_str().unwrap())
        .replace("target/portcullis.wasm", module.to_str().unwrap());
    let file = dir.path().join("validate.yaml");
    std::fs::write(&file, text).unwrap();
    let arguments = ["--mode", "validate", "--disable-hot-restart", "-c", file.to_str().unwrap()];
    let output = Command::new(paths::envoy().unwrap()).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn envoy_refuses_what_check_refuses_in_the_same_words() {
    let reference = reference();
    let dir = WorkDir::create("check").unwrap();
    let pki = Pki::load_or_create(&dir.path().join("pki")).unwrap();
    // What Envoy does not see, and what keeps the filter's configuration from being read at all.
    let unseen = |mistake: &Mistake| {
        let says = ["\"idp\"", "stands twice", "no well-formed", "\"reports\""];
        mistake.path == "config.configuration" || says.iter().any(|text| mistake.says.contains(text))
    };
    let mut left: Vec<&Mistake> = ERRORS.iter().filter(|mistake| !unseen(mistake)).collect();
    let mut rounds = 0;
    while !left.is_empty() {
        // As many at once as do not touch the same place: every run of Envoy takes a second or more.
        let mut text = reference.clone();
        left.retain(|mistake| {
            let fits = text.contains(mistake.old);
            text = text.replacen(mistake.old, mistake.new, 1);
            !fits
        });
        let (found, _) = findings(&dir, "mistakes.yaml", &text);
        let (taken, log) = envoy_takes(&dir, &pki, &text);
        assert!(!taken, "Envoy takes {text}");
        let of_the_engine =
            |finding: &&Value| finding["severity"] == "error" && finding["path"] != "providers.corp.jwks.cluster";
        for finding in found.iter().filter(of_the_engine) {
            let part = |name: &str| finding[name].as_str().unwrap_or_default();
            let said = format!("portcullis: {}: {}", part("path"), part("problem"));
            assert!(log.contains(&said), "{said}\n{log}");
        }
        rounds += 1;
    }
    assert!(rounds < 12, "{rounds}");
}

#[test]
fn envoy_takes_what_check_only_warns_of() {
    let dir = WorkDir::create("check").unwrap();
    let pki = Pki::load_or_create(&dir.path().join("pki")).unwrap();
    let mut text = reference();
    // All at once, but for those that touch what another one changed.
    for mistake in WARNINGS {
        if text.contains(mistake.old) && !mistake.old.contains("failure_policy") {
            text = text.replacen(mistake.old, mistake.new, 1);
        }
    }
    let (found, code) = findings(&dir, "warnings.yaml", &text);
    let (taken, log) = envoy_takes(&dir, &pki, &text);
    assert_eq!((taken, code), (true, Some(0)), "{found:#?}\n{log}");
    assert!(found.len() >= 10, "{found:#?}");
}

#[test]
fn words_are_typed_as_envoy_types_them() {
    let dir = WorkDir::create("check").unwrap();
    let pki = Pki::load_or_create(&dir.path().join("pki")).unwrap();
    let read = |words: [&str; 3]| {
        let places = ["burst: 20", "issuer: https://idp.demo", "leeway: 30s"];
        let text = places.iter().zip(words).fold(reference(), |text, (old, new)| text.replacen(old, new, 1));
        let (_, code) = findings(&dir, "words.yaml", &text);
        let (taken, log) = envoy_takes(&dir, &pki, &text);
        assert_eq!(code == Some(0), taken, "{words:?}\n{log}");
        (taken, log)
    };
    // Octal and hexadecimal numbers are numbers, `on` is a boolean, 1.5 and large numbers are text.
    assert!(read(["burst: 010", "issuer: 1.5", "require_exp: on"]).0);
    assert!(read(["burst: 0x10", "issuer: 3000000000", "require_exp: No"]).0);
    assert!(read(["burst: \"08\"", "issuer: \"yes\"", "require_exp: \"true\""]).0);
    let (taken, log) = read(["burst: 2e1", "issuer: y", "require_exp: tRue"]);
    let refused = ["limits.per_client.burst: ", "providers.corp.issuer: ", "providers.corp.claims.require_exp: "];
    assert!(!taken && refused.iter().all(|path| log.contains(path)), "{log}");
}

#[test]
fn what_envoy_would_take_without_a_word_is_found() {
    let dir = WorkDir::create("check").unwrap();
    // A merge that Envoy does not make.
    let merged = "version: 1\nlimits:\n  a: &a {key: ip, rate: 1/s}\n  b:\n    <<: *a\n    rate: 2/s\n";
    let (found, code) = findings(&dir, "merge.yaml", merged);
    assert_eq!(code, Some(1));
    assert!(found.iter().any(|f| f["line"] == 5 && f["problem"].as_str().unwrap().contains("<<")), "{found:#?}");
    // No filter at all.
    let (found, code) = findings(&dir, "none.yaml", "static_resources: {listeners: []}\n");
    assert_eq!((code, found[0]["problem"].as_str()), (Some(1), Some("there is no Portcullis filter in the file")));
}

#[test]
fn a_secret_that_is_not_here_is_a_warning_and_one_that_is_here_is_checked() {
    let dir = WorkDir::create("check").unwrap();
    let provider = "{audiences: a, issuer: i, algorithms: [HS256], jwks: {env: SECRET}}";
    let rest = "limits: {l: {key: ip, rate: 1/s}}\npolicies: {p: {require: corp, limits: [l]}}\nrules: [{match: {}, use: p}]\n";
    let file = dir.path().join("filter.yaml");
    std::fs::write(&file, format!("version: 1\nproviders:\n  corp: {provider}\n{rest}")).unwrap();
    let file = file.to_str().unwrap();
    let run = |arguments: &[&str]| {
        let output = check(&[arguments, &[file]].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = run(&[]);
    assert!(
        code == Some(0) && text.contains(":3: warning: providers.corp.jwks.env: the variable \"SECRET\""),
        "{text}"
    );
    assert_eq!(run(&["--strict"]).0, Some(1));
    let (code, text) = run(&["--strict", "--assume-env"]);
    assert!(code == Some(0) && text.contains("ok: 1 rule, "), "{text}");
    let (code, text) = run(&["--env", "SECRET=too-short"]);
    assert!(code == Some(1) && text.contains("providers.corp.jwks.env") && !text.contains("too-short"), "{text}");
    assert_eq!(run(&["--strict", "--env", "SECRET=0123456789abcdef0123456789abcdef"]).0, Some(0));
}

#[test]
fn a_file_that_is_not_there_and_a_wrong_command_line_exit_with_2() {
    assert_eq!(check(&["/nowhere.yaml"]).status.code(), Some(2));
    assert_eq!(check(&[]).status.code(), Some(2));
    assert_eq!(check(&["--env", "x", "envoy.yaml"]).status.code(), Some(2));
}

/// The warnings and hints about a filter with these limits and one rule.
fn about_limits(dir: &WorkDir, limits: &str, rule: &str, rest: &str) -> Vec<(String, String, String)> {
    let text = format!(
        "version: 1\n{rest}providers:\n  corp: {{issuer: i, audiences: [a], algorithms: [ES256], jwks: {{cluster: idp, path: /k}}}}\n\
         limits: {{{limits}}}\nrules:\n- {rule}\n- {{match: {{path: /other}}, require: corp}}\n"
    );
    let (found, code) = findings(dir, "limits.yaml", &text);
    assert_eq!(code, Some(0), "{text}\n{found:#?}");
    let of = |finding: &Value, part: &str| finding[part].as_str().unwrap_or_default().to_owned();
    let all = found.iter().map(|f| (of(f, "severity"), of(f, "path"), of(f, "problem") + "; " + &of(f, "hint")));
    all.filter(|(_, path, _)| path.starts_with("limits.") || path == "rules[0].match.path").collect()
}

#[test]
fn a_limit_that_is_only_watched_guards_no_login() {
    let dir = WorkDir::create("check").unwrap();
    let said = |limits: &str, of_rule: &str, rest: &str| {
        let rule = format!("{{match: {{path: /login, methods: [POST]}}, allow: public, {of_rule}}}");
        about_limits(&dir, limits, &rule, rest)
    };
    let enforced = "tries: {key: ip, rate: 5/min}";
    let watched = "tries: {key: ip, rate: 5/min, mode: monitor}";
    for (limits, of_rule, rest) in [
        (enforced, "limits: [tries]", ""),
        ("tries: {key: ip, rate: 5/min, mode: monitor}, all: {key: ip, rate: 9/min}", "limits: [tries, all]", ""),
        // All of the gateway is on trial.
        (enforced, "limits: [tries]", "mode: monitor\n"),
    ] {
        assert_eq!(said(limits, of_rule, rest), [], "{limits} {of_rule} {rest}");
    }
    for (limits, of_rule, rest, hint) in [
        (watched, "limits: [tries]", "", "the limit is in monitor mode"),
        (enforced, "limits: [tries], mode: monitor", "", "the rule is in monitor mode"),
        (
            "tries: {key: ip, rate: 5/min, mode: monitor}, now: {key: ip, concurrency: 5}",
            "limits: [tries, now]",
            "",
            "the limit is in",
        ),
    ] {
        let found = said(limits, of_rule, rest);
        let (severity, path, text) = &found[0];
        assert_eq!((found.len(), severity.as_str(), path.as_str()), (1, "warning", "rules[0].match.path"), "{found:?}");
        assert!(text.contains("(\"login\"): \"tries\" is only watched") && text.contains(hint), "{text}");
    }
    let found = said("tries: {key: ip, concurrency: 5}", "limits: [tries]", "");
    assert!(found[0].2.contains("name a limit with the key `ip`"), "{found:?}");
}

#[test]
fn a_limit_that_a_client_gets_around_is_hinted_at() {
    let dir = WorkDir::create("check").unwrap();
    let said = |limits: &str, names: &str, meets: &str| {
        about_limits(&dir, limits, &format!("{{match: {{path: /a{meets}}}, require: corp, limits: [{names}]}}"), "")
    };
    // A client writes nothing of it, is known by name, or meets another limit beside it.
    for (limits, names, meets) in [
        ("one: {key: ip, rate: 5/min}", "one", ""),
        ("one: {key: [ip, method], rate: 5/min}", "one", ""),
        ("one: {key: rule, rate: 5/min}", "one", ""),
        ("one: {key: {first_of: [principal, ip]}, rate: 5/min}", "one", ""),
        ("one: {key: {first_of: [ip, \"header:x-a\"]}, rate: 5/min}", "one", ""),
        ("one: {key: [principal, \"header:x-a\"], rate: 5/min}", "one", ""),
        ("one: {key: [ip, host], rate: 5/min}", "one", ", host: a.example"),
        ("one: {key: \"header:x-country\", rate: 5/min}, two: {key: ip, rate: 9/min}", "one, two", ""),
        ("one: {key: [ip, \"query:q\"], rate: 5/min}, two: {key: principal, rate: 9/min}", "one, two", ""),
    ] {
        assert_eq!(said(limits, names, meets), [], "{limits}");
    }
    for (limits, names, meets, part, who) in [
        ("one: {key: \"header:x-country\", rate: 5/min}", "one", "", "header:x-country", "a client gets"),
        ("one: {key: \"query:q\", rate: 5/min}", "one", "", "query:q", "a client gets"),
        ("one: {key: [ip, \"header:x-a\"], rate: 5/min}", "one", "", "header:x-a", "one address gets"),
        ("one: {key: {first_of: [\"header:x-a\", ip]}, rate: 5/min}", "one", "", "header:x-a", "one address gets"),
        (
            "one: {key: [{first_of: [principal, ip]}, \"query:q\"], rate: 5/min}",
            "one",
            "",
            "query:q",
            "one address gets",
        ),
        ("one: {key: [ip, host], rate: 5/min}", "one", "", "host", "one address gets"),
        ("one: {key: [ip, host], rate: 5/min}", "one", ", host: \"*.example\"", "host", "one address gets"),
        // What stands beside it must refuse, and must not be got around itself.
        (
            "one: {key: \"query:q\", rate: 5/min}, two: {key: ip, rate: 9/min, mode: monitor}",
            "one, two",
            "",
            "query:q",
            "",
        ),
        ("one: {key: \"query:q\", rate: 5/min}, two: {key: ip, concurrency: 9}", "one, two", "", "query:q", ""),
        ("one: {key: \"query:q\", rate: 5/min}, two: {key: rule, rate: 9/min}", "one, two", "", "query:q", ""),
    ] {
        let found = said(limits, names, meets);
        assert_eq!(found.len(), 1, "{limits}: {found:?}");
        let (severity, path, text) = &found[0];
        assert_eq!((severity.as_str(), path.as_str()), ("hint", "limits.one.key"), "{limits}");
        assert!(text.contains(&format!("each new value of `{part}`")) && text.contains(who), "{text}");
        assert!(text.contains("others are refused") && text.contains("must overwrite what clients send"), "{text}");
    }
    let shared = "one: {key: \"query:q\", rate: 5/min, on_overflow: shared}";
    assert!(!said(shared, "one", "")[0].2.contains("others are refused"));
}

#[test]
fn the_summary_names_what_takes_shared_memory() {
    let text = String::from_utf8(check(&["--strict", "envoy.yaml"]).stdout).unwrap();
    for part in [" of shared memory at most (", "limit per_client ", "limit in_flight ", "key set of corp 257.0 KiB"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
