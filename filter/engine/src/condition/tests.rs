//! What expressions say, as facts about whole expressions.

use std::net::IpAddr;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::claims::Claims;
use crate::http::{Headers, RequestHead, RequestPath};
use crate::matching::PathPattern;
use crate::ports::{Attributes, CertificateField};
use crate::time::UnixNanos;

pub(super) const NAMES: Names<'static> = Names { path_variables: Some(&["id", "name"]), identified: true };

/// What the proxy knows.
struct Proxy {
    address: Option<IpAddr>,
    certificate: Option<&'static str>,
}

impl Attributes for Proxy {
    fn source_address(&self) -> Option<IpAddr> {
        self.address
    }

    fn client_certificate_is_verified(&self) -> bool {
        self.certificate.is_some()
    }

    fn client_certificate(&self, field: CertificateField) -> Option<Vec<u8>> {
        (field == CertificateField::UriSan).then(|| self.certificate.map(|name| name.as_bytes().to_vec())).flatten()
    }

    fn route_policy(&self) -> Option<Vec<u8>> {
        None
    }
}

fn claims() -> Claims {
    let claims = json!({
        "sub": "alice", "tenant": "acme", "level": 3, "score": 1.5, "active": true, "nothing": null, "huge": u64::MAX,
        "groups": ["staff", "audit"], "numbers": [1, 2, 3], "mixed": [1, "a", null], "empty": [], "iat": 1_795_305_000,
        "realm_access": {"roles": ["admin"]}, "https://id.example/plan": "gold", "a.b": "dotted",
    });
    Claims::new(claims.as_object().unwrap().clone())
}

/// Evaluates for alice, who sends `POST /users/al%20ice/x?tenant=acme&n=5&twice=1&twice=2&odd=%ff` from 10.1.2.3 on a Sunday.
pub(super) fn with<T>(work: impl FnOnce(&Subject<'_>) -> T) -> T {
    let pairs: &[(&str, &[u8])] = &[
        (":method", b"POST"),
        (":path", b"/users/al%20ice/x?tenant=acme&n=5&twice=1&twice=2&odd=%ff&sp=a+b"),
        (":scheme", b"https"),
        (":authority", b"API.example:8443"),
        ("x-tenant", b"acme"),
        ("x-twice", b"1"),
        ("x-twice", b"2"),
        ("x-odd", b"\xff"),
        ("x-user", b"mallory"),
        ("x-request-id", b"r-1"),
    ];
    let head = RequestHead::parse(Headers::from_pairs(pairs).unwrap()).unwrap();
    let path = RequestPath::parse(head.target()).unwrap();
    let pattern = PathPattern::parse("/users/{id}/{name}").unwrap();
    let proxy = Proxy { address: Some("10.1.2.3".parse().unwrap()), certificate: Some("spiffe://demo/orders") };
    let claims = claims();
    let subject = Subject {
        head: &head,
        path: &path,
        pattern: Some(&pattern),
        claims: Some(&claims),
        provider: Some("corp"),
        address: &|| proxy.address,
        attributes: &proxy,
        is_identity_header: &|name| name == b"x-user",
        // 2026-11-22T00:00:00Z
        now: UnixNanos::from_secs(1_795_305_600),
    };
    work(&subject)
}

fn holds(source: &str) -> Result<bool, EvaluationError> {
    let condition =
        Condition::compile(source, &NAMES).unwrap_or_else(|error| panic!("{source}: {error} {}", error.hint));
    with(|subject| condition.holds(subject))
}

fn refused(source: &str) -> CompileError {
    match Condition::compile(source, &NAMES) {
        Err(error) => error,
        Ok(_) => panic!("{source} is taken"),
    }
}

#[test]
fn what_is_true_and_what_is_false() {
    for (source, expected) in [
        ("jwt.sub == 'alice' && jwt.tenant == query.tenant", true),
        ("auth.identity.sub == jwt['sub']", true),
        ("path.id == 'al ice' && path.name == 'x'", true),
        ("path.id == jwt.sub", false),
        ("jwt.realm_access.roles.exists(r, r == 'admin')", true),
        ("'admin' in jwt.realm_access.roles && !('adm' in jwt.realm_access.roles)", true),
        ("jwt['https://id.example/plan'] in ['gold', 'silver']", true),
        ("jwt['a.b'] == 'dotted'", true),
        ("method == 'POST' && request.method in ['POST', 'PUT']", true),
        ("host == 'api.example' && request.scheme == 'https'", true),
        ("request.url_path == '/users/al%20ice/x' && request.path.startsWith('/users/al%20ice/x?tenant=acme')", true),
        ("request.query.contains('n=5') && int(query.n) > 4", true),
        ("query.sp == 'a b'", true),
        ("headers['x-tenant'] == jwt.tenant && request.headers['X-Tenant'] == 'acme'", true),
        ("has(headers['x-tenant']) && 'x-tenant' in headers && !('x-none' in headers) && !has(query.none)", true),
        ("has(headers['x-user'])", false),
        ("has(path.id) && has(jwt.sub) && !has(jwt.none) && has(jwt.nothing) && jwt.nothing == null", true),
        ("has(request.id) && request.id == 'r-1'", true),
        ("cidr('10.0.0.0/8').containsIP(source.address)", true),
        ("cidr('192.168.0.0/16').containsIP(source.address) || cidr('::/0').containsIP(source.address)", false),
        ("['10.0.0.0/8', '192.168.0.0/16'].exists(c, cidr(c).containsIP(source.address))", true),
        ("ip(source.address) == ip('::ffff:10.1.2.3') && ip(source.address).family() == 4 && !isIP('x')", true),
        ("source.address == '10.1.2.3'", true),
        ("connection.mtls && connection.uri_san_peer_certificate.startsWith('spiffe://demo/')", true),
        ("has(connection.dns_san_peer_certificate)", false),
        ("auth.provider == 'corp'", true),
        ("now.getDayOfWeek() == 0 && request.time.getHours() == 0 && now.getHours('+01:30') == 1", true),
        ("now.getFullYear() == 2026 && now.getMonth() == 10 && now.getDate() == 22 && now.getDayOfMonth() == 21", true),
        ("now.getHours('-01:00') == 23 && now.getDayOfYear() == 325 && now.getMinutes('+00:30') == 30", true),
        ("now - timestamp(jwt.iat) == duration('10m') && now - duration('1h') < timestamp(jwt.iat)", true),
        ("now < timestamp('2026-11-22T00:00:00Z') || now > timestamp('2026-11-22T00:00:00.5Z')", false),
        ("(now - timestamp(jwt.iat)).getMinutes() == 10", true),
        ("jwt.level >= 3 && jwt.level < 3.5 && jwt.level == 3.0 && jwt.score > 1", true),
        ("jwt.level == '3' || jwt.active == 'true' || jwt.active == 1", false),
        ("jwt.active && !!jwt.active", true),
        ("jwt.numbers.all(n, n > 0) && jwt.empty.all(n, n > 0) && !jwt.empty.exists(n, true)", true),
        ("jwt.numbers.exists_one(n, n == 2) && !jwt.numbers.exists_one(n, n > 1)", true),
        ("jwt.realm_access.exists(name, name == 'roles')", true),
        ("jwt.numbers == [1, 2, 3] && jwt.numbers != [1, 2] && [1] + [2] == [1.0, 2.0]", true),
        ("jwt.numbers[0] == 1 && jwt.groups[1] == 'audit'", true),
        ("size(jwt.groups) == 2 && jwt.sub.size() == 5 && size('\u{e9}') == 1", true),
        ("{'gold': 100, 'free': 1}[jwt['https://id.example/plan']] >= 100", true),
        ("jwt.sub.matches('^a.*e$') && !jwt.sub.matches('^lic$') && matches(jwt.sub, r'l\\w')", true),
        ("jwt.sub.upperAscii() == 'ALICE' && 'ABC'.lowerAscii() == 'abc'", true),
        ("'user-' + jwt.sub == 'user-alice' && string(jwt.level) == '3' && string(true) == 'true'", true),
        ("7 / 2 == 3 && 7 % 3 == 1 && -7 / 2 == -3 && 1.0 / 2.0 == 0.5 && 2 * 3 - 1 == 5", true),
        ("jwt.level > 2 ? jwt.sub == 'alice' : jwt.none == 1", true),
        ("jwt.mixed.exists(m, m == 'a') && 1.0 in jwt.mixed && null in jwt.mixed", true),
        ("jwt.groups.exists(g, jwt.realm_access.roles.exists(r, r == 'admin' && g == 'audit'))", true),
        ("double('1.5') == jwt.score && int('-5') == -5 && int(2.9) == 2", true),
    ] {
        assert_eq!(holds(source), Ok(expected), "{source}");
    }
}

#[test]
fn what_has_no_answer_is_an_error_at_its_column() {
    let mut wrong = Vec::new();
    for (source, column) in [
        ("jwt.none == 1", 5),
        ("jwt.realm_access.none == 1", 18),
        ("jwt.sub.none == 1", 9),
        ("has(jwt.none.sub)", 9),
        ("jwt.huge == 1", 5),
        ("jwt.nothing", 5),
        ("jwt.sub", 5),
        ("jwt.sub > 1", 9),
        ("jwt.nothing > 1", 13),
        ("jwt.sub + 1 == 2", 9),
        ("jwt.level in jwt.sub", 11),
        ("jwt.numbers[3] == 1", 12),
        ("jwt.numbers[-1] == 1", 12),
        ("jwt.numbers['a'] == 1", 12),
        ("jwt[jwt.none] == 1", 9),
        ("jwt[jwt.sub] == 1", 4),
        ("headers['x-none'] == ''", 8),
        ("headers['x-twice'] == '1'", 8),
        ("has(headers['x-twice'])", 1),
        ("headers['x-odd'] == ''", 8),
        ("query.none == ''", 7),
        ("query.twice == '1'", 7),
        ("query.odd == ''", 7),
        ("connection.dns_san_peer_certificate == ''", 12),
        ("headers['x-user'] == 'mallory'", 8),
        ("jwt.level / 0 == 1", 11),
        ("jwt.level % 0 == 1", 11),
        ("jwt.level * 9223372036854775807 == 1", 11),
        ("-(jwt.level - 4 - 9223372036854775807) == 0", 1),
        ("int(jwt.sub) == 1", 1),
        ("int('+1' + string(jwt.level)) == 1", 1),
        ("timestamp(jwt.sub) < now", 1),
        ("timestamp(9223372036854775807 - jwt.level) < now", 1),
        ("now + duration('300000h') + duration('87600000h') < now", 27),
        ("cidr(jwt.sub).containsIP(source.address)", 1),
        ("cidr('10.0.0.0/8').containsIP(jwt.sub)", 20),
        ("now.getHours(jwt.sub) == 1", 5),
        ("jwt.groups.all(g, g.size() < jwt.none)", 34),
        ("jwt.sub.exists(c, true)", 9),
        ("jwt.mixed.exists_one(m, m > 0)", 27),
        ("jwt.sub ? true : false", 5),
        ("!jwt.sub", 6),
        ("jwt.active && jwt.sub", 19),
    ] {
        match holds(source) {
            Err(error) if error.column == column => {}
            other => wrong.push(format!("{source}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_deciding_side_absorbs_the_error_of_the_other() {
    for (source, expected) in [
        ("jwt.none == 1 || true", Some(true)),
        ("true || jwt.none == 1", Some(true)),
        ("jwt.none == 1 || false", None),
        ("jwt.none == 1 && false", Some(false)),
        ("false && jwt.none == 1", Some(false)),
        ("jwt.none == 1 && true", None),
        ("jwt.sub && false", Some(false)),
        ("jwt.sub || true", Some(true)),
        ("jwt.mixed.exists(m, m > 0)", Some(true)),
        ("jwt.mixed.exists(m, m > 5)", None),
        ("jwt.mixed.all(m, m > 5)", Some(false)),
        ("jwt.mixed.all(m, m > 0)", None),
        ("(jwt.none ? true : true) || true", Some(true)),
        ("!(jwt.none == 1)", None),
    ] {
        assert_eq!(holds(source).ok(), expected, "{source}");
    }
}

#[test]
fn a_mistake_is_found_at_load_with_its_column_and_a_way_out() {
    let mut wrong = Vec::new();
    for (source, column, hint) in [
        ("jtw.sub == 'a'", 1, "`jwt`"),
        ("user == 'a'", 1, "jwt.sub"),
        ("request == 'a'", 1, "request.method"),
        ("request.metod == 'GET'", 9, "request.method"),
        ("source.adress == 'a'", 8, "source.address"),
        ("request.headers == 1", 9, "headers["),
        ("path.idd == 'a'", 6, "path.id"),
        ("path['other'] == 'a'", 6, "the path has"),
        ("has(path.other)", 10, "the path has"),
        ("'other' in path", 1, "the path has"),
        ("path[jwt.sub] == 'a'", 10, "path.id"),
        ("headers[':path'] == '/'", 9, "request.path"),
        ("headers.host == '/'", 9, "request.host"),
        ("method == 5", 8, "int("),
        ("method == null", 8, ""),
        ("now > '2026'", 5, "timestamp"),
        ("now > 5", 5, "timestamp"),
        ("method < true", 8, ""),
        ("'a' in 'abc'", 5, "contains"),
        ("1 + 'a' == 2", 3, "string("),
        ("1 + 1.0 == 2", 3, "double("),
        ("method", 1, "compare"),
        ("1", 1, "compare"),
        ("method && true", 1, ""),
        ("!method", 2, ""),
        ("method.id == 1", 8, ""),
        ("method[0] == 'a'", 1, ""),
        ("[1]['a'] == 1", 5, ""),
        ("startswith('a')", 1, "startsWith"),
        ("method.startswith('P')", 8, "startsWith"),
        ("startsWith(method, 'P')", 1, "value.startsWith"),
        ("method.startsWith()", 8, ""),
        ("method.startsWith(5)", 19, ""),
        ("size == 1", 1, "size(...)"),
        ("has(jwt)", 1, "has(jwt.tenant)"),
        ("has(jwt.sub, 1)", 1, "has(jwt.tenant)"),
        ("has(request.headers)", 1, "has(jwt.tenant)"),
        ("cidr('10.0.0.0/33').containsIP(source.address)", 1, "10.0.0.0/8"),
        ("cidr('10.0.0.1/8').containsIP(source.address)", 1, "10.0.0.0/8"),
        ("timestamp('2026') < now", 1, "2027"),
        ("duration('1d') > duration('1h')", 1, "1h30m"),
        ("jwt.sub.matches('(')", 17, "RE2"),
        ("jwt.sub.matches(jwt.sub)", 21, "anything"),
        ("jwt.groups.map(g, g) == []", 12, "exists"),
        ("jwt.groups.exists(g)", 12, "such as"),
        ("jwt.groups.exists('g', true)", 12, "such as"),
        ("jwt.groups.exists(jwt, true)", 19, "another name"),
        ("jwt.groups.exists(a, [1].exists(b, [1].exists(c, true)))", 40, "cost"),
        ("method.exists(c, true)", 1, ""),
        ("{'a': 1, 'a': 2}['a'] == 1", 10, ""),
        ("{1: 1}[1] == 1", 2, "gold"),
        ("getHours() == 1", 1, "value.getHours"),
    ] {
        let error = refused(source);
        if error.column != column || !error.hint.contains(hint) {
            wrong.push(format!("{source}: {error}; {}", error.hint));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn without_an_identity_claims_are_missing_or_a_mistake() {
    let public = Names { path_variables: Some(&[]), identified: false };
    for source in ["jwt.sub == 'a'", "has(auth.identity.sub)", "auth.provider == 'corp'"] {
        assert!(Condition::compile(source, &public).unwrap_err().is_about_identity, "{source}");
    }
    assert!(!Condition::compile("method == 'GET'", &public).unwrap().reads_identity());
    with(|subject| {
        let nobody = Subject { claims: None, provider: None, ..*subject };
        let answer = |source: &str| Condition::compile(source, &NAMES).unwrap().holds(&nobody);
        assert_eq!(answer("has(jwt.sub)"), Ok(false));
        assert!(answer("jwt.sub == 'a'").is_err() && answer("auth.provider == 'a'").is_err());
    });
}

#[test]
fn where_the_route_names_the_policy_there_are_no_path_variables() {
    let names = Names { path_variables: None, identified: true };
    let condition = Condition::compile("path.anything == jwt.sub", &names).unwrap();
    with(|subject| {
        let error = condition.holds(&Subject { pattern: None, ..*subject }).unwrap_err();
        assert_eq!(error.fault, Fault::NoPathVariable("anything".into()));
    });
}

#[test]
fn no_error_repeats_what_a_request_or_a_claim_holds() {
    for source in [
        "jwt[jwt.sub] == 1",
        "int(jwt.sub) == 1",
        "cidr(jwt.tenant).containsIP(source.address)",
        "query[jwt.sub] == ''",
    ] {
        let shown = holds(source).unwrap_err().to_string();
        assert!(!shown.contains("alice") && !shown.contains("acme"), "{shown}");
    }
}

#[test]
fn one_evaluation_takes_a_bounded_number_of_steps() {
    let many: Vec<Value> = (0..2000).map(Value::from).collect();
    let long = "a".repeat(60_000);
    let claims = Claims::new(json!({"many": many, "long": long}).as_object().unwrap().clone());
    for source in [
        "jwt.many.all(a, jwt.many.all(b, a + b >= 0))",
        "jwt.many.all(a, jwt.many.exists(b, a == b && jwt.none)) || true",
        "jwt.many.exists(a, jwt.long.contains('b'))",
        "jwt.many.exists(a, jwt.long + jwt.long == '')",
        "jwt.many.exists(a, jwt.long.matches('(a|aa)*(a|b|c|d|e|f|g|h)*b$'))",
        "jwt.many.exists(a, jwt.many == jwt.many + [1])",
        "jwt.many.all(a, jwt.long == jwt.long)",
    ] {
        let condition = Condition::compile(source, &NAMES).unwrap();
        let outcome = with(|subject| condition.holds(&Subject { claims: Some(&claims), ..*subject }));
        assert_eq!(outcome.map_err(|error| error.fault), Err(Fault::TooCostly), "{source}");
    }
}

/// Well-formed expressions of every form, most of them without any sense.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("null".to_owned()),
        (-3_i64..10).prop_map(|number| number.to_string()),
        Just("9223372036854775807".to_owned()),
        Just("1.5".to_owned()),
        Just("'a'".to_owned()),
        Just("now".to_owned()),
        Just("duration('1h')".to_owned()),
        Just("cidr('10.0.0.0/8')".to_owned()),
        Just("source.address".to_owned()),
        Just("path.id".to_owned()),
        Just("headers['x-twice']".to_owned()),
        Just("query.tenant".to_owned()),
        proptest::sample::select(vec![
            "sub",
            "level",
            "score",
            "groups",
            "mixed",
            "realm_access",
            "nothing",
            "huge",
            "none"
        ])
        .prop_map(|name| format!("jwt.{name}")),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (
                two.clone(),
                proptest::sample::select(vec![
                    "&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in",
                ])
            )
                .prop_map(|((a, b), operator)| format!("({a} {operator} {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            two.clone().prop_map(|(a, b)| format!("{a}[{b}]")),
            two.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            inner.clone().prop_map(|a| format!("{{'a': {a}}}")),
            inner.clone().prop_map(|a| format!("has({a}.sub)")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (two.clone(), proptest::sample::select(vec!["exists", "all", "exists_one"]), "[xy]")
                .prop_map(|((a, b), name, variable)| format!("{a}.{name}({variable}, {variable} == {b})")),
            (
                inner.clone(),
                proptest::sample::select(vec![
                    "size",
                    "int",
                    "double",
                    "string",
                    "timestamp",
                    "duration",
                    "ip",
                    "cidr",
                ])
            )
                .prop_map(|(a, name)| format!("{name}({a})")),
            (two, proptest::sample::select(vec!["startsWith", "contains", "containsIP", "getHours"]))
                .prop_map(|((a, b), name)| format!("{a}.{name}({b})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_compiler_panic(source in "\\PC{0,60}") {
        let _ = Condition::compile(&source, &NAMES);
    }

    #[test]
    fn no_words_make_the_compiler_panic(words in proptest::collection::vec(proptest::sample::select(vec![
        "jwt", ".", "sub", "(", ")", "[", "]", "{", "}", "?", ":", "&&", "||", "!", "-", "==", "in", "'a'", "1", "1.5", ",", "has",
        "exists", "x", "path", "id", "true", "null", "matches", "cidr", "+", "/", "now",
    ]), 0..30)) {
        if let Ok(condition) = Condition::compile(&words.join(" "), &NAMES) {
            let _ = with(|subject| condition.holds(subject));
        }
    }

    #[test]
    fn whatever_compiles_has_an_answer_or_an_error(source in expressions()) {
        let unknown = Names { path_variables: None, identified: true };
        // Most say nothing sensible: those that the types refuse are fine too.
        for source in [source.clone(), format!("{source} == true"), format!("({source}) != null || false")] {
            if let Ok(condition) = Condition::compile(&source, &unknown) {
                let answer = with(|subject| condition.holds(subject));
                prop_assert_eq!(answer.clone(), with(|subject| condition.holds(subject)), "twice the same: {}", source);
            }
        }
    }
}
