//! Whole requests: where values are found, and what the head and the framing say.

use portcullis_payload::arguments::{self, Request};
use portcullis_payload::{Place, Scanner, Scratch, Settings, Verdict};

type Headers<'a> = &'a [(&'a str, &'a str)];

#[allow(clippy::unwrap_used)]
fn inspected(method: &str, target: &str, headers: Headers<'_>, body: &str) -> Verdict {
    let scanner = Scanner::new().unwrap();
    let (settings, mut scratch) = (Settings::default(), Scratch::default());
    let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    let mut inspection = scanner.begin(&settings, &mut scratch);
    let request =
        Request { method: method.as_bytes(), target: target.as_bytes(), headers: &headers, body: body.as_bytes() };
    arguments::inspect(&request, &mut inspection);
    inspection.finish()
}

fn places(verdict: &Verdict) -> Vec<(Place, String)> {
    verdict.findings().iter().map(|f| (f.place, String::from_utf8_lossy(&f.name).into_owned())).collect()
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const PARTS: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");
const XML: (&str, &str) = ("content-type", "application/xml");

#[test]
fn an_attack_is_found_wherever_it_stands() {
    let script = "<script>alert(1)</script>";
    let cases: &[(&str, &str, Headers<'_>, String, Place, &str)] = &[
        ("GET", "/?q=%3Cscript%3Ealert(1)%3C/script%3E", &[], String::new(), Place::Query, "q"),
        ("GET", "/a/%3Cscript%3Ealert(1)", &[], String::new(), Place::Path, ""),
        ("GET", "/?%3Cscript%3E=1", &[], String::new(), Place::Name, "<script>"),
        ("GET", "/", &[("cookie", "a=b; c=%3Cscript%3E")], String::new(), Place::Cookie, "c"),
        ("GET", "/", &[("x-note", "<script>")], String::new(), Place::Header, "x-note"),
        ("GET", "/", &[("user-agent", "<script>")], String::new(), Place::UserAgent, "user-agent"),
        ("GET", "/", &[("referer", "http://a/?b=%3Cscript%3E")], String::new(), Place::Referer, "referer"),
        ("POST", "/", &[FORM], format!("a=1&b={script}"), Place::Form, "b"),
        ("POST", "/", &[JSON], format!("{{\"a\":[1,{{\"b\":\"{script}\"}}]}}"), Place::Json, "b"),
        ("POST", "/", &[JSON], "{\"a\":\"\\u003cscript\\u003e\"}".to_owned(), Place::Json, "a"),
        ("POST", "/", &[JSON], format!("{{\"{script}\":1}}"), Place::Name, script),
        ("POST", "/", &[XML], format!("<a><![CDATA[{script}]]></a>"), Place::Xml, ""),
        ("POST", "/", &[XML], "<a b=\"&lt;script&gt;\"/>".to_owned(), Place::Xml, ""),
        (
            "POST",
            "/",
            &[PARTS],
            format!("--b\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n{script}\r\n--b--\r\n"),
            Place::Multipart,
            "c",
        ),
        ("POST", "/", &[("content-type", "text/plain")], format!("see {script}"), Place::Text, ""),
    ];
    for (method, target, headers, body, place, name) in cases {
        let verdict = inspected(method, target, headers, body);
        assert!(places(&verdict).contains(&(*place, (*name).to_owned())), "{target} {body}: {:?}", places(&verdict));
        assert!(verdict.worst().is_some_and(|(_, score)| score >= 5), "{target} {body}");
    }
}

#[test]
fn the_head_and_the_framing_are_judged() {
    let cases: &[(&str, &str, &str, Headers<'_>, &str)] = &[
        ("protocol-method", "|GET", "/", &[], ""),
        ("protocol-unusual-method", "TRACE", "/", &[], ""),
        ("protocol-fragment", "GET", "/a#b", &[], ""),
        ("protocol-body-without-type", "POST", "/", &[], "abc"),
        ("protocol-content-type", "POST", "/", &[("content-type", "nonsense")], "abc"),
        ("protocol-content-type", "POST", "/", &[("content-type", "multipart/; boundary=x")], "abc"),
        ("protocol-charset", "POST", "/", &[("content-type", "text/plain; charset=utf-7")], "abc"),
        ("protocol-second-content-type", "POST", "/", &[("content-type", "text/plain; x=\"application/xml\"")], "abc"),
        ("protocol-empty-host", "GET", "/", &[("host", "")], ""),
        ("protocol-content-length", "POST", "/", &[FORM, ("content-length", "1, 2")], "a=b"),
        ("protocol-ranges", "GET", "/", &[("range", "bytes=0-1,1-2,2-3,3-4,4-5,5-6,6-7")], ""),
        ("protocol-stacked-encoding", "POST", "/", &[FORM, ("content-encoding", "gzip, gzip")], "a=b"),
        ("protocol-method-override", "POST", "/", &[FORM, ("x-http-method-override", "DELETE")], "a=b"),
        ("protocol-old-cookie", "GET", "/", &[("cookie", "$Version=1; a=\"b\"")], ""),
        ("protocol-forbidden-header", "GET", "/", &[("proxy", "http://a")], ""),
        ("protocol-forbidden-header", "GET", "/", &[("x-middleware-subrequest", "middleware")], ""),
        ("protocol-charset", "GET", "/", &[("accept", "text/html;charset=\"cp037\", */*")], ""),
        ("protocol-accept-encoding", "GET", "/", &[("accept-encoding", &"gzip, ".repeat(20))], ""),
        ("protocol-form-in-get", "GET", "/", &[FORM], "a=b"),
        (
            "protocol-part-header",
            "POST",
            "/",
            &[PARTS],
            "--b\r\nContent-Disposition: form-data; name=\"c\"\r\nX-A: 1\r\n\r\nd\r\n--b--",
        ),
        (
            "protocol-part-encoding",
            "POST",
            "/",
            &[PARTS],
            "--b\r\nContent-Disposition: form-data; name=\"c\"\r\nContent-Transfer-Encoding: base64\r\n\r\nd\r\n--b--",
        ),
        (
            "protocol-odd-file-name",
            "POST",
            "/",
            &[PARTS],
            "--b\r\nContent-Disposition: form-data; name=\"c\"; filename=\"a;b.txt\"\r\n\r\nd\r\n--b--",
        ),
        (
            "upload-runnable-file",
            "POST",
            "/",
            &[PARTS],
            "--b\r\nContent-Disposition: form-data; name=\"c\"; filename=\"a.php.jpg\"\r\n\r\nd\r\n--b--",
        ),
        ("xml-doctype-in-body", "POST", "/", &[XML], "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"),
        ("nosqli-comparison", "POST", "/", &[JSON], "{\"user\":{\"$ne\":null}}"),
        ("protocol-nul-byte", "GET", "/?a=b%00c", &[], ""),
        ("protocol-encoding-depth", "GET", "/?a=%252525252541", &[], ""),
        ("traversal-overlong-utf8", "GET", "/?a=%c0%ae", &[], ""),
    ];
    for (rule, method, target, headers, body) in cases {
        let verdict = inspected(method, target, headers, body);
        let found: Vec<_> = verdict.findings().iter().map(|f| f.by.as_str()).collect();
        assert!(found.contains(rule), "{rule}: {method} {target} {headers:?} {body:?} gives {found:?}");
    }
}

#[test]
fn honest_requests_have_no_findings() {
    let browser = (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    );
    let cases: &[(&str, &str, Headers<'_>, &str)] = &[
        ("GET", "/api/v1/orders?id=1234&sort=created&page=2", &[browser, ("accept", "*/*")], ""),
        (
            "PUT",
            "/api/v1/users/42",
            &[browser, JSON],
            "{\"name\":\"O'Brien & Sons\",\"note\":\"50% off -- today only\"}",
        ),
        ("DELETE", "/api/v1/users/42", &[browser], ""),
        ("POST", "/login", &[browser, FORM], "user=alice%40example.com&remember=1"),
        (
            "POST",
            "/files",
            &[browser, PARTS],
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"report.pdf\"\r\nContent-Type: application/pdf\r\n\r\n%PDF\r\n--b--",
        ),
        (
            "POST",
            "/soap",
            &[browser, XML],
            "<?xml version=\"1.0\"?><order id=\"7\"><name>Tea &amp; Cake</name></order>",
        ),
        (
            "GET",
            "/",
            &[
                browser,
                ("cookie", "session=abc; PHPSESSID=9d1b; theme=dark"),
                ("referer", "https://example.com/a?b=c&d=e"),
            ],
            "",
        ),
        ("POST", "/find", &[browser, JSON], "{\"filter\":{\"age\":{\"$gt\":21}}}"),
    ];
    for (method, target, headers, body) in cases {
        let verdict = inspected(method, target, headers, body);
        assert!(verdict.is_clean(), "{method} {target}: {:?}", verdict.findings());
    }
}

#[test]
fn a_family_that_is_off_is_not_judged() {
    let scanner = Scanner::new().unwrap();
    let settings = Settings { without: vec![portcullis_payload::Family::Xss], ..Settings::default() };
    let mut scratch = Scratch::default();
    let mut inspection = scanner.begin(&settings, &mut scratch);
    let request = Request { method: b"GET", target: b"/?q=%3Cscript%3Ealert(1)", headers: &[], body: b"" };
    arguments::inspect(&request, &mut inspection);
    assert_eq!(inspection.finish().score(portcullis_payload::Family::Xss), 0);
}

#[test]
fn many_harmless_values_never_add_up() {
    let items: Vec<String> = (0..200).map(|i| format!("\"see http://localhost:{i} for more of it\"")).collect();
    let verdict = inspected("POST", "/", &[JSON], &format!("[{}]", items.join(",")));
    assert!(verdict.worst().is_none_or(|(_, score)| score < 5), "{:?}", verdict.worst());
}

#[test]
fn a_request_with_too_many_values_is_refused() {
    let body = format!("[{}\"a\"]", "\"a\",".repeat(arguments::MOST));
    let verdict = inspected("POST", "/", &[JSON], &body);
    assert!(verdict.findings().iter().any(|f| f.by.as_str() == "protocol-too-costly"));
    let parts = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n".repeat(300) + "--b--";
    let verdict = inspected("POST", "/", &[PARTS], &parts);
    assert!(verdict.findings().iter().any(|f| f.by.as_str() == "protocol-too-costly"));
}
