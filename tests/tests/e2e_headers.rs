//! Headers and paths in the real Envoy: what a service may believe, and bytes that no client should send.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::sync::LazyLock;

use portcullis_tests::client::{Call, Client, Response, call_h2};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::keys::{Algorithm, SigningKey, jwks};
use portcullis_tests::mint::Token;
use portcullis_tests::services::Service;
use portcullis_tests::{filter, refusal};
use serde_json::{Value, json};

struct World {
    gateway: Gateway,
    key: SigningKey,
    orders: Service,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::Es256, "k1");
    let jwks = json!({"inline": jwks([&key])});
    let corp = filter::provider(&["ES256"], jwks.clone());
    let provider = |issuer: &str, from: Value| {
        let mut provider = filter::provider(&["ES256"], jwks.clone());
        provider["issuer"] = json!(issuer);
        provider["token_from"] = json!([from]);
        provider["forward"] = json!({"token": "strip", "headers": {"x-user": "sub"}});
        provider
    };
    let configuration = json!({
        "version": 1,
        "providers": {
            "corp": corp,
            "header": provider("header", json!({"header": "x-token"})),
            "cookie": provider("cookie", json!({"cookie": "session"})),
            "query": provider("query", json!({"query": "token"})),
        },
        "identity_headers": ["X-Internal-Role"],
        "rules": [
            {"match": {"path": "/orders/public"}, "allow": "public"},
            {"match": {"path": "/orders/strict"}, "allow": "public", "headers": {
                "require": ["X-Tenant", "x-app"], "forbid": ["x-debug"],
                "remove": ["x-drop", "cookie"], "set": {"x-zone": "inner", "x-replaced": "ours"},
            }},
            {"match": {"path": "/orders/cookie"}, "require": "cookie"},
            {"match": {"path": "/orders/query"}, "require": "query"},
            {"match": {"path": "/orders/header"}, "require": "header"},
            {"match": {"path": "/orders/admin/**"}, "allow": "nobody"},
            {"match": {"prefix": "/orders/files"}, "allow": "public"},
            {"match": {"prefix": "/orders"}, "require": "corp"},
        ],
    });
    let orders = Service::plain("orders").unwrap();
    let gateway = Gateway::builder()
        .filter(configuration)
        .service(&orders)
        // The filter and not Envoy shall be what stops them.
        .connection_manager(
            "common_http_protocol_options",
            json!({"headers_with_underscores_action": "ALLOW", "max_headers_count": 1000}),
        )
        .connection_manager("max_request_headers_kb", json!(96))
        .start()
        .unwrap();
    World { gateway, key, orders }
});

fn send(call: &Call) -> Response {
    Client::connect(WORLD.gateway.port()).unwrap().call(call).unwrap()
}

fn token(subject: &str, issuer: &str) -> String {
    Token::of(subject).claim("iss", json!(issuer)).scope("read write").sign(&WORLD.key)
}

fn alice() -> String {
    Token::of("alice").scope("read write").sign(&WORLD.key)
}

/// Every header that reached the service and could be taken for one of these, as (name, value).
fn like(response: &Response, names: &[&str]) -> Vec<(String, String)> {
    let headers = response.json()["headers"].as_array().cloned().unwrap_or_default();
    let pairs = headers.iter().map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()));
    pairs.filter(|(name, _)| names.contains(&name.replace('_', "-").as_str())).collect()
}

const IDENTITY: &[&str] = &["x-user", "x-scopes", "x-internal-role"];

fn with_made_up_identity(mut call: Call) -> Call {
    for name in [
        "x-user",
        "X-User",
        "X-USER",
        "x_user",
        "X_User",
        "x-scopes",
        "x_scopes",
        "x-Scopes",
        "x-internal-role",
        "x_internal-role",
    ] {
        call = call.header(name, "admin").header(name, "root, admin");
    }
    call.header("x-user", "")
}

#[test]
fn what_only_the_gateway_may_say_is_removed_from_what_a_client_says() {
    let response = send(&with_made_up_identity(Call::get("/orders/public")));
    assert_eq!((response.status, like(&response, IDENTITY)), (200, vec![]));
    let response = send(&with_made_up_identity(Call::get("/orders/17")).bearer(&alice()));
    let expected = [("x-user", "alice"), ("x-scopes", "read write")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    let mut seen = like(&response, IDENTITY);
    seen.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!((response.status, seen), (200, expected));
    // A claim that the token lacks leaves no made-up one in its place.
    let response = send(&with_made_up_identity(Call::get("/orders/17")).bearer(&Token::of("bob").sign(&WORLD.key)));
    assert_eq!(like(&response, IDENTITY), [("x-user".to_owned(), "bob".to_owned())]);
    let call = Call::get("/orders/public").header("x-user", "admin").header("x_user", "admin");
    let response = call_h2(WORLD.gateway.port(), None, &call).unwrap();
    assert_eq!((response.status, like(&response, IDENTITY)), (200, vec![]));
}

#[test]
fn hop_by_hop_tricks_do_not_drop_what_the_gateway_says() {
    for value in ["x-user", "close, x-user", "x-user, x-scopes, authorization"] {
        let response = send(&Call::get("/orders/17").bearer(&alice()).header("connection", value));
        if response.status == 200 {
            assert_eq!(response.upstream_header("x-user"), ["alice"], "{value}");
        }
    }
}

#[test]
fn a_claim_that_no_header_can_hold_is_refused() {
    for subject in ["a\r\nx-user: admin", "a\u{0}b", "a\nb", "\u{7f}"] {
        let response = send(&Call::get("/orders/17").bearer(&Token::of(subject).sign(&WORLD.key)));
        refusal::check(&response, 401, "token_claim_malformed").unwrap();
    }
    let response = send(&Call::get("/orders/17").bearer(&Token::of("Zoë, \"Z\"").sign(&WORLD.key)));
    assert_eq!(response.status, 200);
    let seen: Vec<u8> =
        response.upstream_header("x-user")[0].chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(seen, "Zoë, \"Z\"".as_bytes());
}

#[test]
fn required_and_forbidden_headers() {
    let strict = || Call::get("/orders/strict").header("x-tenant", "a").header("x-app", "b");
    assert_eq!(send(&strict()).status, 200);
    assert_eq!(send(&Call::get("/orders/strict").header("X-TENANT", "").header("X-App", "b")).status, 200);
    for call in [Call::get("/orders/strict"), Call::get("/orders/strict").header("x-app", "b").header("x-tenants", "a")]
    {
        refusal::check(&send(&call), 400, "header_missing").unwrap();
    }
    for name in ["x-debug", "X-Debug", "X-DEBUG"] {
        refusal::check(&send(&strict().header(name, "")), 400, "header_forbidden").unwrap();
    }
}

#[test]
fn removed_and_set_headers() {
    let call = Call::get("/orders/strict").header("x-tenant", "a").header("x-app", "b");
    let call = call.header("x-drop", "1").header("X-Drop", "2").header("cookie", "a=b").header("x-keep", "3");
    let response = send(&call.header("x-zone", "outer").header("x-replaced", "theirs").header("X-Replaced", "too"));
    assert_eq!(response.status, 200);
    for (name, values) in [
        ("x-drop", &[][..]),
        ("cookie", &[]),
        ("x-keep", &["3"]),
        ("x-zone", &["inner"]),
        ("x-replaced", &["ours"]),
        ("x-tenant", &["a"]),
    ] {
        assert_eq!(response.upstream_header(name), values, "{name}");
    }
}

#[test]
fn a_stripped_token_does_not_reach_the_service() {
    let cookie = token("carl", "cookie");
    let response = send(&Call::get("/orders/cookie").header("cookie", &format!("a=1; session={cookie}; b=2")));
    assert_eq!((response.status, response.upstream_header("cookie")), (200, vec!["a=1; b=2".to_owned()]));
    assert_eq!(response.upstream_header("x-user"), ["carl"]);
    let response = send(&Call::get("/orders/cookie").header("cookie", &format!("session={cookie}")));
    assert_eq!((response.status, response.upstream_header("cookie").len()), (200, 0));
    let query = token("quinn", "query");
    let response = send(&Call::get(&format!("/orders/query?a=1&token={query}&b=%20")));
    assert_eq!((response.status, response.json()["path"].as_str()), (200, Some("/orders/query?a=1&b=%20")));
    let response = send(&Call::get(&format!("/orders/query?%74oken={query}")));
    assert_eq!((response.status, response.json()["path"].as_str()), (200, Some("/orders/query")));
    let response = send(&Call::get("/orders/header").header("x-token", &token("hans", "header")));
    assert_eq!((response.status, response.upstream_header("x-token").len()), (200, 0));
    let response = send(&Call::get("/orders/17").bearer(&alice()));
    assert_eq!(response.upstream_header("authorization").len(), 1, "kept unless said otherwise");
    // Two of a kind.
    let twice = format!("session={cookie}; session={cookie}");
    refusal::check(&send(&Call::get("/orders/cookie").header("cookie", &twice)), 400, "credentials_multiple").unwrap();
    let twice = format!("/orders/query?token={query}&t%6fken={query}");
    refusal::check(&send(&Call::get(&twice)), 400, "credentials_multiple").unwrap();
}

/// Sends bytes as they are. Refused by status or by closing the connection: both are fine, and so is an honest pass.
fn raw(bytes: &[u8]) -> Option<Response> {
    let mut client = Client::connect(WORLD.gateway.port()).unwrap();
    client.raw(bytes).ok()
}

#[test]
fn hostile_bytes_in_headers_harm_nothing() {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for byte in 0..=255_u8 {
        for name in ["x-any", "authorization", "cookie", "x-user", "content-type", "x-forwarded-for"] {
            lines.push([name.as_bytes(), b": a", &[byte], b"b"].concat());
        }
        lines.push([b"x-", &[byte][..], b"y: 1"].concat());
        lines.push([b"authorization: Bearer ", &[byte; 40][..]].concat());
    }
    for line in [
        &b"x-a: b\r\n c"[..],
        b"x-a: b\r\n\tc",
        b" x-a: b",
        b"\tx-user: admin",
        b": b",
        b":: b",
        b"x-a",
        b"x-a:",
        b"x-a :b",
        b"x-a\t: b",
        b"x-user : admin",
        b"x-user\0: admin",
        b"x-a: b\nx-user: admin",
        b"x-a: b\rx-user: admin",
        b"x-a: \r\r\n b",
        b":path: /admin",
        b":authority: evil",
        b":method: POST",
        b":x: y",
        b"host: other.demo",
        b"host:",
        b"content-length: 1\r\ncontent-length: 2",
        b"content-length: -1",
        b"content-length: +5",
        b"content-length: 99999999999999999999",
        b"transfer-encoding: chunked, chunked",
        b"transfer-encoding: xchunked",
        b"transfer-encoding: identity",
        b"transfer-encoding: chunked\r\ncontent-length: 5",
        b"upgrade: h2c\r\nconnection: upgrade",
        b"upgrade: websocket\r\nconnection: upgrade",
        b"te: trailers",
        b"trailer: x-user",
        b"expect: 100-continue",
        b"expect: 200-ok",
        b"x-envoy-original-path: /admin",
        b"x-envoy-internal: true",
        b"x-request-id: \xff\xfe",
        b"x-request-id: a\"b\\c",
        b"x-envoy-expected-rq-timeout-ms: 1",
    ] {
        lines.push(line.to_vec());
    }
    for length in [1_000, 20_000, 80_000, 200_000] {
        lines.push([&b"x-long: "[..], &vec![b'a'; length]].concat());
        lines.push([&vec![b'n'; length][..], b": 1"].concat());
        lines.push([&b"authorization: Bearer "[..], &vec![b'.'; length]].concat());
        lines.push([&b"cookie: "[..], &b"a=b;".repeat(length / 4)].concat());
        lines.push([&b"x-utf: "[..], &vec![0xc3; length]].concat());
    }
    for count in [200, 990, 5_000] {
        let many: Vec<u8> = (0..count).flat_map(|index| format!("x-{index}: {index}\r\n").into_bytes()).collect();
        lines.push(many[..many.len() - 2].to_vec());
        lines.push(b"x-user: admin\r\n".repeat(count)[..15 * count - 2].to_vec());
        lines.push(b"authorization: Bearer a\r\n".repeat(count)[..25 * count - 2].to_vec());
    }
    for line in &lines {
        for path in ["/orders/public", "/orders/17"] {
            let bytes = String::from_utf8_lossy(line.get(..60.min(line.len())).unwrap()).into_owned();
            let request = [format!("GET {path} HTTP/1.1\r\nhost: api.demo\r\n").as_bytes(), line, b"\r\n\r\n"].concat();
            if let Some(response) = raw(&request) {
                // 501: Envoy's answer to a transfer coding that it does not know.
                assert!(response.status < 500 || response.status == 501, "{bytes:?}: {response:?}");
                assert_eq!(like(&response, IDENTITY), [], "{bytes:?}");
            }
        }
    }
    assert_eq!(send(&Call::get("/orders/17").bearer(&alice())).status, 200);
    WORLD.gateway.check_unharmed().unwrap();
}

#[test]
fn hostile_request_lines_harm_nothing() {
    let mut requests: Vec<Vec<u8>> = Vec::new();
    for byte in 0..=255_u8 {
        requests.push([b"GET /orders/fi", &[byte][..], b"les HTTP/1.1\r\nhost: a\r\n\r\n"].concat());
        requests.push([b"GET /orders/files?a=", &[byte][..], b" HTTP/1.1\r\nhost: a\r\n\r\n"].concat());
        requests.push([b"G", &[byte][..], b"T /orders/public HTTP/1.1\r\nhost: a\r\n\r\n"].concat());
        requests.push([b"GET /orders/public HTTP/1.1\r\nhost: a", &[byte][..], b"b\r\n\r\n"].concat());
    }
    let long = "a/".repeat(20_000);
    for line in [
        "GET  HTTP/1.1",
        "GET /orders/public",
        "GET /orders/public HTTP/9.9",
        "GET /orders/public HTTP/1.0",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "GET http://evil.example/orders/public HTTP/1.1",
        "GET //evil.example/orders HTTP/1.1",
        "CONNECT a:80 HTTP/1.1",
        "GET orders HTTP/1.1",
        "GET ?x HTTP/1.1",
        "TRACE /orders/public HTTP/1.1",
        "PRI * HTTP/2.0",
        "get /orders/public HTTP/1.1",
        "X /orders/public HTTP/1.1",
        &format!("GET /{long} HTTP/1.1"),
        &format!("GET /orders/files?{long} HTTP/1.1"),
        &format!("{} / HTTP/1.1", "M".repeat(3000)),
        "GET /orders/public#x HTTP/1.1",
        "GET https:///orders HTTP/1.1",
    ] {
        requests.push(format!("{line}\r\nhost: api.demo\r\n\r\n").into_bytes());
    }
    for host in ["", "a b", "a,b", "user@a", "[::1", "a:99999", "a:b", "a/b", "..", "%61", "a\u{e9}", &"h".repeat(5000)]
    {
        requests.push(format!("GET /orders/public HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes());
    }
    requests.push(b"GET /orders/public HTTP/1.1\r\n\r\n".to_vec());
    for request in requests {
        if let Some(response) = raw(&request) {
            let shown = String::from_utf8_lossy(request.get(..80.min(request.len())).unwrap()).into_owned();
            assert!(response.status < 500 || response.status == 505, "{shown:?}: {response:?}");
        }
    }
    WORLD.gateway.check_unharmed().unwrap();
}

#[test]
fn an_ambiguous_path_is_refused_before_any_rule() {
    let ambiguous = [
        ("/orders/files/..%2fadmin", "path_encoded_slash"),
        ("/orders/files%2F..%2Fadmin", "path_encoded_slash"),
        ("/orders/files/..\\admin", "path_backslash"),
        ("/orders/files%5c..%5cadmin", "path_backslash"),
        ("/orders/files/../admin/x", "path_dot_segment"),
        ("/orders/files/./x", "path_dot_segment"),
        ("/orders/files/%2e%2e/admin", "path_dot_segment"),
        ("/orders/files/.%2E/admin", "path_dot_segment"),
        ("/orders/files/..", "path_dot_segment"),
        ("/orders/files/..;/admin", "path_parameters"),
        ("/orders/files;x=1/..", "path_parameters"),
        ("/orders/admin%3b/x", "path_parameters"),
        ("/orders/files/%252e%252e/admin", "path_double_encoded"),
        ("/orders/files/%25%32%66admin", "path_double_encoded"),
        ("/orders/files/a%00", "path_control_byte"),
        ("/orders/files/a%0d%0ax-user:admin", "path_control_byte"),
        ("/orders/files/a%7f", "path_control_byte"),
        ("/orders/files/%", "path_bad_escape"),
        ("/orders/files/%zz", "path_bad_escape"),
        ("/orders/files/%u002e", "path_bad_escape"),
        ("/orders/files/%c0%ae%c0%ae/admin", "path_bad_utf8"),
        ("/orders/files/%ff", "path_bad_utf8"),
        ("/orders//admin/x", "path_empty_segment"),
        ("//orders/admin/x", "path_empty_segment"),
        ("/orders/admin//x", "path_empty_segment"),
    ];
    for (path, reason) in ambiguous {
        let response = send(&Call::get(path));
        refusal::check(&response, 400, reason).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let seen = WORLD.orders.requests();
    assert!(!seen.iter().any(|request| ambiguous.iter().any(|(path, _)| request.path == *path)), "one got through");
    let long = format!("/orders/files/{}", "a".repeat(9_000));
    refusal::check(&send(&Call::get(&long)), 414, "path_too_long").unwrap();
    // Bytes that Envoy itself may refuse first.
    for path in ["/orders/files/\u{e9}", "/orders/files/a\u{7f}", "/orders/files/a#b"] {
        assert_eq!(send(&Call::get(path)).status, 400, "{path}");
    }
}

#[test]
fn no_other_spelling_of_a_closed_path_is_open() {
    refusal::check(&send(&Call::get("/orders/admin/x")), 403, "rule_denied").unwrap();
    for path in [
        "/orders/%61dmin/x",
        "/orders/a%64min/x",
        "/%6frders/admin/x",
        "/orders/admi%6E/x",
        "/orders/admin/",
        "/orders/admin",
        "/orders/admin/x?y",
        "/orders/admin/x?/orders/public",
        "/orders/admin/x%3f",
        "/orders/admin/x%20",
        "/orders/admin/%C3%A9",
    ] {
        let response = send(&Call::get(path));
        assert!(
            [400, 403, 404].contains(&response.status),
            "{path}: {} {}",
            response.status,
            refusal::reason(&response)
        );
    }
    // Case tells paths apart: another path needs a token, as everything else does.
    for path in ["/orders/ADMIN/x", "/orders/admin.json", "/orders/admin%2Ex"] {
        let response = send(&Call::get(path));
        assert!([400, 401].contains(&response.status), "{path}: {}", response.status);
    }
}

#[test]
fn http2_carries_no_other_head_than_http1() {
    for (path, status) in
        [("/orders/files/..%2fadmin", 400), ("/orders//x", 400), ("/orders/public", 200), ("/orders/17", 401)]
    {
        let response = call_h2(WORLD.gateway.port(), None, &Call::get(path)).unwrap();
        assert_eq!(response.status, status, "{path}");
    }
}
